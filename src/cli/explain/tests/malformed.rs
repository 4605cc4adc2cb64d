//! Why a credential is malformed, as the filter's log has it.

use serde_json::{Value, json};

use super::{CONFIG, denied, jwt, output, told};

/// The reason for a denial as malformed.
#[track_caller]
fn why(told: &Value) -> &str {
    assert_eq!(denied(told), "token_malformed", "{told}");
    told["decision"]["deny"]["why"].as_str().unwrap_or_default()
}

#[test]
fn a_malformed_jwt_is_told_with_its_reason() {
    let good = jwt(json!({}));
    let (signed, _) = good.rsplit_once('.').unwrap();
    for (token, reason) in [
        (jwt(json!({"user_id": null})), "claims: missing field `user_id`"),
        (format!("{good}="), "the signature is not canonical base64url without padding"),
        (format!("{signed}.AAAA"), "the signature's length fits no key of 2048 to 4096 bits"),
        ("a.b".to_owned(), "neither a JWT (three segments separated by dots) nor an API token (number$secret)"),
        ("1$a".to_owned(), "neither a JWT (three segments separated by dots) nor an API token (number$secret)"),
        (jwt(json!({"email": "a\nb"})), "claims: email cannot be a header's value"),
    ] {
        let told = told(&["--token", &token, "--key", "KEY"]);
        assert!(why(&told).starts_with(reason), "{reason}: {told}");
    }
}

#[test]
fn a_claim_that_the_configuration_requires_is_told() {
    let config = "{auth_service: {cluster: auth}, jwt: {required_claims: [jti, tenant]}}";
    let (_, text) = output(config, &["--token", &jwt(json!({})), "--key", "KEY"]);
    let expected = "\ndecision      401 token_malformed\n              The token is malformed.\n              claims: missing \
                    field `tenant`\n";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn other_denials_have_no_such_reason() {
    let (_, text) = output(CONFIG, &["--token", &jwt(json!({"exp": 1})), "--format", "json"]);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((denied(&told), told["decision"]["deny"].get("why")), ("token_expired", None));
}
