//! What browsers, and clients that look for metadata, are told.

use super::*;

#[test]
fn the_challenge_names_the_resource_s_metadata() {
    let look = Look { resource_metadata: Some("https://a.example/.well-known/x"), ..Look::plain("r") };
    let challenge = |code| Denial::from(code).response(&HTTP, look);
    assert_eq!(
        header(&challenge(Code::MissingCredentials), "www-authenticate"),
        Some(r#"Bearer realm="r", resource_metadata="https://a.example/.well-known/x""#)
    );
    assert_eq!(
        header(&challenge(Code::TokenExpired), "www-authenticate"),
        Some(
            "Bearer realm=\"r\", error=\"invalid_token\", error_description=\"The token has expired.\", \
             resource_metadata=\"https://a.example/.well-known/x\""
        )
    );
    assert_eq!(header(&challenge(Code::AmbiguousPath), "www-authenticate"), None);
}

#[test]
fn a_navigating_browser_gets_a_page() {
    let config = config(json!({"responses": {"sign_in_url": "https://app.example/login?a=1&b='2'"}}));
    let browser = Client { navigates: true, ..Client::default() };
    for (code, status, name) in CODES {
        let response = Denial::from(code).response(&browser, Look::from(&config));
        assert_eq!((response.status, header(&response, "cache-control")), (status, Some("no-store")));
        assert_eq!(header(&response, "content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(header(&response, "www-authenticate").is_some(), status == 401);
        assert!(response.body.contains(code.details()) && response.body.contains(name), "{}", response.body);
        let link = r#"<a href="https://app.example/login?a=1&amp;b=&#39;2&#39;">Sign in</a>"#;
        assert_eq!(response.body.contains(link), status < 500, "{}", response.body);
        let plain = Denial::from(code).response(&browser, Look::plain("r"));
        assert!(!plain.body.contains("href"), "{}", plain.body);
        let grpc = Client { is_grpc: true, ..browser.clone() };
        assert_eq!(Denial::from(code).response(&grpc, Look::from(&config)).body, name);
    }
}

#[test]
fn a_request_for_html_that_is_no_websocket_is_navigation() {
    let config = config(json!({}));
    for (lines, navigates) in [
        (&[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")][..], true),
        (&[("accept", "application/json, TEXT/HTML ;q=0.9")], true),
        (&[("accept", "application/json"), ("accept", "text/html")], true),
        (&[("accept", "*/*")], false),
        (&[("accept", "text/htmlx, text/*")], false),
        (&[("accept", "application/json")], false),
        (&[("accept", "text/html"), ("upgrade", "websocket")], false),
        (&[], false),
    ] {
        let headers: Vec<_> =
            lines.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let head = RequestHead { headers: &lend(&headers), has_body: false };
        assert_eq!(Client::of(&head, &config).navigates, navigates, "{lines:?}");
    }
}
