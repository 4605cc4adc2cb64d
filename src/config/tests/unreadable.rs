//! What can't be read is one error, and never a default of a configuration that is used.

use super::table::{fields, with};
use super::*;

/// The errors without those of the check.
#[track_caller]
fn unchecked(text: &str) -> ConfigErrors {
    compile::compile(&read(text.as_bytes()).unwrap(), ConfigErrors::none()).expect_err(text)
}

/// No field holds a number with a fraction.
#[test]
fn a_value_of_another_type_is_one_error() {
    for (path, _) in fields() {
        let error = only(Config::from_bytes(with(&path, json!(0.5)).to_string().as_bytes()));
        assert_eq!(error.path, path.replace("[]", "[0]"));
    }
}

#[test]
fn a_value_of_another_type_is_refused_if_the_check_misses_it() {
    for (path, _) in fields() {
        let errors = unchecked(&with(&path, json!(0.5)).to_string());
        assert!(errors.iter().all(|error| ["configuration", path.as_str()].contains(&&*error.path)), "{errors}");
    }
}

#[test]
fn whatever_else_cannot_be_read_is_refused_if_the_check_misses_it() {
    for text in ["[]", "{}", r#"{"auth_service": {}}"#] {
        assert_eq!(unchecked(text).to_string(), "configuration: can't be used", "{text}");
    }
    for changes in [
        json!({"auth_service": {"cluster": "auth", "retries": -1}}),
        json!({"auth_service": {"cluster": "auth", "timeout": "1"}}),
        json!({"auth_service": {"cluster": "auth", "timeout": null}}),
        json!({"auth_service": {"cluster": "auth", "scheme": "ftp"}}),
        json!({"profile": "tests"}),
        json!({"jwt": {"required_claims": ["a..b"]}}),
        json!({"jwt": {"token_types": ["acces"]}}),
        json!({"strip_headers": ["x-a", null]}),
        json!({"forward_credential": "no"}),
        json!({"rules": [null]}),
        json!({"rules": [{"match": {"prefix": null}}]}),
        json!({"rules": [{"match": {"prefix": "/"}, "require": []}]}),
        json!({"rules": [{"match": {"prefix": "/"}, "require": [null]}]}),
        json!({"rules": [{"match": {"prefix": "/"}, "require": {"groups": [0.5]}}]}),
        json!({"rules": [{"match": {"prefix": "/"}, "require": {"claims": {"a..b": [1]}}}]}),
        json!({"rules": [{"match": {"prefix": "/"}, "require": {"claims": {"a": [null]}}}]}),
    ] {
        let mut whole = json!({"auth_service": {"cluster": "auth"}});
        whole.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        assert_eq!(unchecked(&whole.to_string()).to_string(), "configuration: can't be used", "{whole}");
    }
}

#[test]
fn a_value_that_cannot_be_read_causes_no_error_elsewhere() {
    assert_paths(&[
        (r#""api_token": 1, "forward_credential": "jwt", "credentials": {"api_key_header": "X-Key"}"#, "api_token"),
        (
            r#""api_token": {"response_format": "xml"}, "forward_credential": "jwt", "jwt": {"verification": "remote"}"#,
            "api_token.response_format",
        ),
        (
            r#""api_token": {"header_types": ["basic"]}, "credentials": {"api_key_header": "X-Key"}"#,
            "api_token.header_types[0]",
        ),
        (
            r#""rules": [{"name": 5, "match": {"prefix": "/a"}}, {"name": "rule_0", "match": {"prefix": "/b"}}]"#,
            "rules[0].name",
        ),
        (r#""auth_service": {"cluster": "a b"}, "revocation": {"path": "/revoked"}"#, "auth_service.cluster"),
        (
            r#""rules": [{"match": {"prefix": "/"}, "require": {"claims": {"a..b": [1]}}}]"#,
            "rules[0].require.claims.a..b",
        ),
        (
            r#""responses": {"resource_metadata": {"resource": 1}}, "status_paths": {"health": "/.well-known/oauth-protected-resource"}"#,
            "responses.resource_metadata.resource",
        ),
    ]);
}
