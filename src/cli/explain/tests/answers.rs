//! The service's answers, its key, and requests that no client can send.

use serde_json::json;

use super::{CONFIG, File, Signer, claims, denied, jwt, output, told};

#[test]
fn an_answer_that_is_no_verdict_is_told_with_its_reason() {
    let api_token = format!("7${}", "a".repeat(128));
    let asked = |options: &[&str]| {
        let told = told(&[&["--path", "/a", "--token", &api_token], options].concat());
        assert_eq!(denied(&told), "auth_service_unavailable", "{told}");
        told["answer"].as_str().unwrap_or_default().to_owned()
    };
    let empty = asked(&["--answer", "200"]);
    assert_eq!(empty, "no verdict: its claims are unreadable: it is empty; give its body with --answer-body");
    assert_eq!(asked(&["--answer", "500"]), "no verdict: it answered with status 500");
    let lacking = File::new(r#"{"exp": 1, "user_id": 1, "client_id": 1}"#);
    let lacking = asked(&["--answer-body", lacking.path()]);
    assert!(lacking.contains("token_type") && !lacking.contains("--answer-body"), "{lacking}");
}

#[test]
fn a_jwt_in_an_answer_that_is_no_verdict_is_told_with_its_reason() {
    let config = "{auth_service: {cluster: auth}, api_token: {response_format: jwt_body}}";
    let api_token = format!("7${}", "a".repeat(128));
    let expired = File::new(&jwt(json!({"exp": 1, "token_type": "api_token"})));
    let options = ["--token", &api_token, "--key", "KEY", "--answer-body", expired.path()];
    let (_, text) = output(config, &options);
    assert!(text.contains("answer        no verdict: its JWT is unusable: "), "{text}");
}

#[test]
fn missing_headers_of_an_answer_are_told() {
    let config = "{auth_service: {cluster: auth}, api_token: {response_format: json_header}}";
    let api_token = format!("7${}", "a".repeat(128));
    let told = |options: &[&str]| output(config, &[&["--token", &api_token], options].concat()).1;
    let bare = told(&["--answer", "200"]);
    assert!(bare.contains("lacks a readable X-User-Id; give its headers with --answer-header\n"), "{bare}");
    let partial = told(&["--answer-header", "X-User-Id: 1"]);
    assert!(partial.contains("lacks a readable X-Client-Id\n"), "{partial}");
}

#[test]
fn the_claims_of_an_answer_stand_below_the_question() {
    let answer = File::new(&claims(json!({"email": "answer@example.com"})).to_string());
    let token = jwt(json!({"email": "client@example.com"}));
    let remote = ["--path", "/remote", "--token", &token, "--key", "KEY"];
    let (_, text) = output(CONFIG, &[&remote[..], &["--answer-body", answer.path()]].concat());
    let lines: Vec<_> = text.lines().collect();
    let place = |line: &str| lines.iter().position(|known| *known == line);
    let claim = place("answer        claim email: \"answer@example.com\"");
    let asks = lines.iter().position(|line| line.starts_with("asks  "));
    assert!(claim.is_some() && claim > asks, "{text}");
    assert!(!text.contains("\nclaim ") && !text.contains("client@example.com"), "{text}");
    // Without an answer, they are those of the client's JWT.
    let (_, text) = output(CONFIG, &remote);
    assert!(text.contains("\nclaim         email: \"client@example.com\"\n"), "{text}");
}

#[test]
fn a_verdict_needs_no_explanation() {
    let api_token = format!("7${}", "a".repeat(128));
    let told = told(&["--path", "/a", "--token", &api_token, "--answer", "401"]);
    assert_eq!((denied(&told), told.get("answer")), ("token_rejected", None));
}

#[test]
fn a_path_begins_with_a_slash() {
    let (status, _) = output(CONFIG, &["--path", "admin"]);
    assert_eq!(status, 2);
    assert_eq!(told(&["--path", "*", "--method", "OPTIONS"])["request"], "OPTIONS localhost*");
}

#[test]
fn the_key_may_be_the_services_answer() {
    let answer = File::new(&json!({"public_key": Signer::a().public().to_pem()}).to_string());
    let told = told(&["--path", "/a", "--token", &jwt(json!({})), "--key", answer.path()]);
    assert_eq!(told["decision"]["outcome"], "allow");
    for other in ["{\"key\": \"x\"}", "{\"public_key\": \"x\"}", "x"] {
        assert_eq!(output(CONFIG, &["--key", File::new(other).path()]).0, 2, "{other}");
    }
}
