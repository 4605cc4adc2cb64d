//! Where identities and credentials are read from.

use super::*;

#[test]
fn the_headers_of_an_answer_are_laid_over_the_defaults() {
    let names = json!({"user_id": "X-Platform-User-ID"});
    let config = config(json!({"api_token": {"answer_headers": names}}));
    let expected = AnswerHeaders { user_id: "X-Platform-User-ID".to_owned(), ..AnswerHeaders::default() };
    assert_eq!(config.api_token.answer_headers, expected);
}

#[test]
fn no_two_claims_are_read_from_one_header() {
    assert_paths(&[
        (r#""api_token": {"answer_headers": {"client_id": "x-user-id"}}"#, "api_token.answer_headers.client_id"),
        (r#""api_token": {"answer_headers": {"user_id": ""}}"#, "api_token.answer_headers.user_id"),
        (r#""api_token": {"answer_headers": {"email": "a b"}}"#, "api_token.answer_headers.email"),
        (r#""api_token": {"answer_headers": {"email": null}}"#, "api_token.answer_headers.email"),
        (r#""api_token": {"answer_headers": {"token_type": "X-Type"}}"#, "api_token.answer_headers.token_type"),
        (r#""api_token": {"answer_headers": ["X-Type"]}"#, "api_token.answer_headers"),
    ]);
}
