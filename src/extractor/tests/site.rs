//! Which requests may bring their credential in a cookie.

use super::*;

/// Whether the cookie counts, over HTTPS at `api.example.com` unless the headers say otherwise.
fn counts(lines: &[(&str, &str)]) -> bool {
    let defaults = [(":scheme", "https"), (":authority", "api.example.com"), (":method", "POST")];
    let kept = defaults.iter().filter(|(name, _)| !lines.iter().any(|(other, _)| other == name));
    let all: Vec<_> = kept.chain(lines).chain(&[("cookie", "session=a.b.c")]).copied().collect();
    let all: Vec<_> = all.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let headers = headers(&all);
    let credentials = config(json!({"credentials": {"cookie": "session"}})).credentials;
    let head = RequestHead { headers: &lend(&headers), has_body: false };
    match extract(&head, &accepting(&["apikey"]), &credentials) {
        Ok(credential) => credential.place == Place::Cookie,
        Err(Code::CrossSiteRequest) => false,
        Err(code) => panic!("{code:?} for {lines:?}"),
    }
}

#[test]
fn a_safe_method_is_allowed_from_any_site() {
    let elsewhere = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
    for method in ["GET", "HEAD", "OPTIONS", "get"] {
        assert!(counts(&[&[(":method", method)], &elsewhere[..]].concat()), "{method}");
        assert!(counts(&[(":method", method)]), "{method}");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "QUERY", "", "GETS"] {
        assert!(!counts(&[&[(":method", method)], &elsewhere[..]].concat()), "{method}");
        assert!(!counts(&[(":method", method)]), "{method}");
    }
}

#[test]
fn an_upgrade_needs_the_requests_own_origin() {
    for upgrade in [("upgrade", "websocket"), ("upgrade", "h2c"), ("upgrade", ""), (":protocol", "websocket")] {
        assert!(!counts(&[(":method", "GET"), upgrade]), "{upgrade:?}");
        assert!(counts(&[(":method", "GET"), upgrade, ("origin", "https://api.example.com")]), "{upgrade:?}");
    }
}

#[test]
fn sec_fetch_site_decides_where_it_is_sent() {
    let own = ("origin", "https://api.example.com");
    for (site, may) in [
        ("same-origin", true),
        ("none", true),
        ("same-site", false),
        ("cross-site", false),
        ("Same-Origin", false),
        ("same-origin, cross-site", false),
        ("", false),
    ] {
        assert_eq!(counts(&[("sec-fetch-site", site)]), may, "{site}");
        assert_eq!(counts(&[("sec-fetch-site", site), own]), may, "{site} with an origin");
        assert_eq!(counts(&[("sec-fetch-site", site), ("origin", "https://evil.example")]), may, "{site}");
    }
    assert!(!counts(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")]), "twice");
}

#[test]
fn without_sec_fetch_site_the_origin_must_match() {
    for (origin, authority, may) in [
        ("https://api.example.com", "api.example.com", true),
        ("https://API.example.com", "api.Example.com", true),
        // Envoy may have removed the port.
        ("https://api.example.com:8443", "api.example.com", true),
        ("https://api.example.com:8443", "api.example.com:8443", true),
        ("https://api.example.com", "api.example.com:443", true),
        ("https://api.example.com", "api.example.com:8443", false),
        ("https://api.example.com:8443", "api.example.com:443", false),
        ("https://[::1]:8443", "[::1]:8443", true),
        ("https://[::1]", "[::1]", true),
        ("https://[::1]", "[::2]", false),
        ("http://api.example.com", "api.example.com", false),
        ("https://example.com", "api.example.com", false),
        ("https://api.example.com.evil.example", "api.example.com", false),
        ("https://evil.example/api.example.com", "api.example.com", false),
        ("https://api.example.com@evil.example", "api.example.com", false),
        ("https://api.example.com/", "api.example.com", false),
        ("https://api.example.com https://evil.example", "api.example.com", false),
        ("https:api.example.com", "api.example.com", false),
        ("api.example.com", "api.example.com", false),
        ("null", "null", false),
        ("", "", false),
        ("https://", "", false),
        ("https://:443", ":443", false),
    ] {
        assert_eq!(counts(&[("origin", origin), (":authority", authority)]), may, "{origin} to {authority}");
    }
    let plain = [(":scheme", "http"), ("origin", "http://api.example.com")];
    assert!(counts(&plain));
    assert!(!counts(&[plain[0], ("origin", "https://api.example.com")]));
    let twice = [("origin", "https://api.example.com"), ("origin", "https://api.example.com")];
    assert!(!counts(&twice), "two origins");
}
