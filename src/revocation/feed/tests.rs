//! Answers of every kind.

use serde_json::{Value, json};

use super::*;

fn answer(status: u16, body: impl Into<Vec<u8>>) -> Result<CalloutResponse, CalloutError> {
    Ok(CalloutResponse { status, headers: Vec::new(), body: Some(body.into()) })
}

fn read_json(body: &Value) -> Result<Changes, FeedError> {
    read(answer(200, body.to_string()))
}

/// The list of this name with these entries, between two that are fine.
fn read_list(name: &str, entry: &str) -> Changes {
    let fine = match name {
        "revoked" => [r#"{"jti": "a", "exp": 1}"#, r#"{"jti": "b", "exp": 2}"#],
        "users" => [r#"{"user_id": 1, "exp_before": 1}"#, r#"{"user_id": 2, "exp_before": 2}"#],
        _ => [r#"{"user_id": 1}"#, r#"{"user_id": 2}"#],
    };
    read(answer(200, format!(r#"{{"cursor": "c", "{name}": [{}, {entry}, {}]}}"#, fine[0], fine[1]))).unwrap()
}

fn token(jti: &str, exp: u64) -> RevokedToken {
    RevokedToken { token: token_digest(jti), exp }
}

#[test]
fn an_answer_with_every_list_is_read() {
    let body = r#"{"cursor": "e-17", "revoked": [{"jti": "…", "exp": 1682345678}],
        "users": [{"user_id": 1, "exp_before": 1682349278}],
        "purge": [{"user_id": 1}, {"client_id": 2}, {"token_id": 3}]}"#;
    assert_eq!(
        read(answer(200, body)),
        Ok(Changes {
            cursor: "e-17".to_owned(),
            revoked: vec![token("…", 1_682_345_678)],
            users: vec![(1, 1_682_349_278)],
            purge: vec![Subject::User(1), Subject::Client(2), Subject::Token(3)],
            unreadable: None,
        })
    );
}

#[test]
fn missing_lists_are_empty_and_unknown_fields_are_ignored() {
    let empty =
        Changes { cursor: "c".to_owned(), revoked: Vec::new(), users: Vec::new(), purge: Vec::new(), unreadable: None };
    for body in [
        json!({"cursor": "c", "revoked": []}),
        json!({"cursor": "c", "users": null}),
        json!({"cursor": "c", "revoked": null, "users": null, "purge": null}),
        json!({"cursor": "c", "revoked": [], "users": [], "purge": [], "more": [1]}),
        json!({"cursor": "c", "purge": [], "tokens": [{"jti": "a", "exp": 1}]}),
    ] {
        assert_eq!(read_json(&body), Ok(empty.clone()), "{body}");
    }
    let body = json!({"cursor": "c", "revoked": [{"jti": "a", "exp": 1, "why": "theft"}],
        "users": [{"user_id": 1, "exp_before": 2, "by": {"user_id": 3}}], "purge": [{"user_id": 4, "client_id": null}]});
    let changes = read_json(&body).unwrap();
    assert_eq!((changes.revoked, changes.users), (vec![token("a", 1)], vec![(1, 2)]));
    assert_eq!((changes.purge, changes.unreadable), (vec![Subject::User(4)], None));
}

#[test]
fn only_a_400_means_a_refused_cursor() {
    let body = r#"{"cursor": "c", "revoked": []}"#;
    assert_eq!(read(answer(400, body)), Err(FeedError::BadCursor));
    for status in [0, 204, 206, 301, 304, 401, 403, 404, 410, 500, 503, 504] {
        assert_eq!(read(answer(status, body)), Err(FeedError::Status(status)));
    }
    for error in [CalloutError::NotSent, CalloutError::Reset] {
        assert_eq!(read(Err(error)), Err(FeedError::Callout(error)));
    }
    let too_large = CalloutResponse { status: 200, headers: Vec::new(), body: None };
    assert_eq!(read(Ok(too_large)), Err(FeedError::TooLarge));
}

#[test]
fn an_answer_that_is_not_a_feed_is_unreadable() {
    for body in [
        "",
        "null",
        "[]",
        r#"["c", [], [], []]"#,
        "<html>",
        "{}",
        r#"{"revoked": []}"#,
        r#"{"cursor": null}"#,
        r#"{"cursor": 17}"#,
        r#"{"cursor": "c", "cursor": "d"}"#,
        r#"{"cursor": "c", "revoked": {}}"#,
        r#"{"cursor": "c", "users": "none"}"#,
        r#"{"cursor": "c", "purge": 0}"#,
        r#"{"cursor": "c", "revoked": [{"jti": "a", "exp": 1}"#,
        r#"{"cursor": "c", "revoked": [{"jti": "a", "jti": "b", "exp": 1}]}"#,
        r#"{"cursor": "c", "revoked": null, "revoked": []}"#,
        r#"{"cursor": "c", "revoked": [], "users": false}"#,
        r#"{"cursor": "c", "revoked": []} {}"#,
    ] {
        assert!(matches!(read(answer(200, body)), Err(FeedError::Json(_))), "{body}");
    }
}

#[test]
fn a_list_under_another_name_is_not_read() {
    for lists in [
        "",
        r#", "tokens": [{"jti": "a", "exp": 1}]"#,
        r#", "Revoked": []"#,
        r#", "REVOKED": [], "Users": []"#,
        r#", "revoked ": [], "revoked_tokens": []"#,
        r#", "purges": [{"user_id": 1}]"#,
        r#", "data": {"revoked": [], "users": [], "purge": []}"#,
        r#", "blacklist": {"revoked": [{"jti": "a", "exp": 1}]}"#,
        r#", "error": "database is locked""#,
    ] {
        let body = format!(r#"{{"cursor": "1"{lists}}}"#);
        assert_eq!(read(answer(200, body.clone())), Err(FeedError::NoList), "{body}");
    }
}

#[test]
fn a_cursor_must_be_short_and_printable() {
    let longest = "x".repeat(MAX_CURSOR);
    for cursor in ["!", "~", "a+b/c=%&?#", &longest] {
        assert_eq!(read_json(&json!({"cursor": cursor, "revoked": []})).unwrap().cursor, cursor);
    }
    for cursor in ["", " ", "a b", "a\n", "a\u{7f}", "é", &format!("{longest}x")] {
        assert_eq!(read_json(&json!({"cursor": cursor, "revoked": []})), Err(FeedError::Cursor), "{cursor:?}");
    }
}

#[test]
fn an_unreadable_entry_does_not_stop_the_others() {
    use Oddity::{Missing, NamesNobody, NoObject, Type};
    let odd = [
        ("revoked", r#"{"jti": "x"}"#, Missing("exp")),
        ("revoked", r#"{"exp": 5}"#, Missing("jti")),
        ("revoked", r#"{"token_jti": "x", "exp": 5}"#, Missing("jti")),
        ("revoked", r#"{"jti": null, "exp": 5}"#, Type("jti")),
        ("revoked", r#"{"jti": "x", "exp": "5"}"#, Type("exp")),
        ("revoked", r#"{"jti": 7, "exp": 5}"#, Type("jti")),
        ("revoked", r#"["x", 5]"#, NoObject),
        ("revoked", "\"x\"", NoObject),
        ("users", r#"{"user_id": 3}"#, Missing("exp_before")),
        ("users", r#"{"user_id": "3", "exp_before": 5}"#, Type("user_id")),
        ("users", r#"{"user_id": 9223372036854775808, "exp_before": 5}"#, Type("user_id")),
        ("users", r#"{"user_id": 3, "exp_before": null}"#, Type("exp_before")),
        ("users", "[3, 5]", NoObject),
        ("purge", r#"{"federation_id": 3}"#, NamesNobody),
        ("purge", "{}", NamesNobody),
        ("purge", r#"{"user_id": null}"#, NamesNobody),
        ("purge", r#"{"user_id": "3"}"#, Type("user_id")),
        ("purge", r#"{"user_id": 3.0}"#, Type("user_id")),
        ("purge", r#"{"user_id": 3, "client_id": "4"}"#, Type("client_id")),
        ("purge", "[3]", NoObject),
        ("purge", "null", NoObject),
    ];
    for (name, entry, oddity) in odd {
        let changes = read_list(name, entry);
        assert_eq!(changes.unreadable, Some(Unreadable { count: 1, list: name, index: 1, oddity }), "{entry}");
        match name {
            "revoked" => assert_eq!(changes.revoked, [token("a", 1), token("b", 2)], "{entry}"),
            "users" => assert_eq!(changes.users, [(1, 1), (2, 2)], "{entry}"),
            _ => assert_eq!(changes.purge, [Subject::User(1), Subject::User(2)], "{entry}"),
        }
    }
}

#[test]
fn an_answer_without_a_readable_entry_is_refused() {
    let odd = json!({"token_jti": "secret", "exp": 5});
    for body in [
        json!({"cursor": "c", "revoked": [odd]}),
        json!({"cursor": "c", "revoked": [odd], "users": [], "purge": null}),
        json!({"cursor": "c", "revoked": [odd], "users": [{"user": "secret"}], "purge": ["secret"]}),
    ] {
        assert!(matches!(read_json(&body), Err(FeedError::Unreadable(_))), "{body}");
    }
    assert!(read_json(&json!({"cursor": "c", "revoked": [odd], "purge": [{"user_id": 1}]})).is_ok());
}

#[test]
fn the_error_counts_unreadable_entries_and_quotes_none() {
    let body = json!({"cursor": "c", "revoked": [{"jti": "a", "exp": 1}, {"jti": "secret", "exp": "secret"}],
        "users": ["secret"], "purge": [{}]});
    assert_eq!(
        read_json(&body).unwrap().unreadable.unwrap().to_string(),
        "the first of 3 unreadable entries is revoked[1]: field `exp` has the wrong type"
    );
    assert_eq!(
        read_json(&json!({"cursor": "c", "revoked": [{"token_jti": "secret"}]})).unwrap_err().to_string(),
        "none of its entries can be read: \
         the first of 1 unreadable entries is revoked[0]: missing field `jti`"
    );
}

#[test]
fn a_purge_of_several_subjects_is_split() {
    let changes = read_list("purge", r#"{"token_id": -3, "client_id": 4}"#);
    let purge = [Subject::User(1), Subject::Client(4), Subject::Token(-3), Subject::User(2)];
    assert_eq!((changes.purge.as_slice(), changes.unreadable), (&purge[..], None));
}

#[test]
fn any_number_is_accepted_as_a_time() {
    let late = MAX_TIME + 1;
    for (number, seconds) in [
        ("0", 0),
        ("-1", 0),
        ("-9223372036854775808", 0),
        ("-1e300", 0),
        ("5.0", 5),
        ("5.1", 6),
        ("1.6e9", 1_600_000_000),
        ("253402300799", MAX_TIME),
        ("253402300800", late),
        ("18446744073709551615", late),
        ("18446744073709551616", late),
        ("1e300", late),
    ] {
        let changes = read_list("revoked", &format!(r#"{{"jti": "x", "exp": {number}}}"#));
        assert_eq!(changes.revoked[1], token("x", seconds), "{number}");
        let changes = read_list("users", &format!(r#"{{"user_id": 3, "exp_before": {number}}}"#));
        assert_eq!(changes.users[1], (3, seconds), "{number}");
    }
}

#[test]
fn a_list_of_a_hundred_thousand_tokens_is_read() {
    let list = |length| {
        let entry = format!(r#"{{"jti": "{}", "exp": 1800000000}}"#, "0".repeat(32));
        format!(r#"{{"cursor": "c", "revoked": [{}]}}"#, vec![entry; length].join(","))
    };
    assert_eq!(read(answer(200, list(10_000))).unwrap().revoked.len(), 10_000);
    assert!(list(100_000).len() < MAX_FEED_BODY);
}

#[test]
fn a_cursor_is_encoded_in_the_path() {
    assert_eq!(path("/auth/blacklist", None), "/auth/blacklist");
    assert_eq!(path("/auth/blacklist", Some("aZ09-._~")), "/auth/blacklist?since=aZ09-._~");
    assert_eq!(path("/b?all=1", Some("+/=&?#%")), "/b?all=1&since=%2B%2F%3D%26%3F%23%25");
}
