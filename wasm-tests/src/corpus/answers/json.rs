//! Claims as JSON in the body, and bodies that aren't.

use serde_json::Value;

use super::{Answer, Case, DOWN, Input, MAX_BODY, UNREADABLE, Verdict, case, identity, jwt, values_alone};

/// Claims as JSON, and other bodies.
pub(super) fn cases() -> Vec<Case<Input>> {
    [required_claims(), types_of_claims(), values_of_claims(), bodies()].concat()
}

fn with_body(name: String, body: String, expected: Verdict, reason: &'static str) -> Case<Input> {
    case("json_body", name, Answer::new(200, &[], body), expected, reason)
}

fn without(claim: &str) -> Value {
    let mut claims = identity();
    claims.as_object_mut().map(|claims| claims.remove(claim));
    claims
}

/// The claims but the one that is left out, with this member in front.
fn text_with(member: &str, left_out: &str) -> String {
    format!("{{{member},{}", &without(left_out).to_string()[1..])
}

/// Required claims that are missing or occur twice.
fn required_claims() -> Vec<Case<Input>> {
    let mut cases = Vec::new();
    let mut push = |name, body, expected, reason| cases.push(with_body(name, body, expected, reason));
    for claim in ["exp", "user_id", "client_id", "token_type"] {
        push(
            format!("no {claim}"),
            without(claim).to_string(),
            DOWN,
            "docs/reference.md#verify: required, else the answer is unreadable",
        );
        push(
            format!("{claim}: null"),
            text_with(&format!(r#""{claim}":null"#), claim),
            DOWN,
            "docs/reference.md#verify: required, else the answer is unreadable",
        );
        push(
            format!("{claim} twice"),
            text_with(&format!(r#""{claim}":{}"#, identity()[claim]), ""),
            DOWN,
            "docs/reference.md#credentials: unreadable, for readers differ",
        );
        let twin = format!("\\u{:04x}{}", u32::from(claim.as_bytes()[0]), &claim[1..]);
        push(
            format!("{claim} beside its escaped twin"),
            text_with(&format!(r#""{twin}":{}"#, identity()[claim]), ""),
            DOWN,
            "docs/reference.md#credentials: unreadable, for readers differ",
        );
    }
    cases
}

/// Claims of the wrong type.
fn types_of_claims() -> Vec<Case<Input>> {
    let values = [
        ("exp", "\"4102444800\""),
        ("exp", "4102444800.5"),
        ("exp", "4102444800.0"),
        ("exp", "-1"),
        ("exp", "1e400"),
        ("exp", "253402300800"),
        ("exp", "true"),
        ("user_id", "\"7\""),
        ("user_id", "7.0"),
        ("user_id", "9223372036854775808"),
        ("user_id", "[7]"),
        ("client_id", "\"70\""),
        ("client_id", "{}"),
        ("token_id", "\"9\""),
        ("is_admin", "\"true\""),
        ("is_admin", "1"),
        ("email", "7"),
        ("email", "[\"x\"]"),
        ("user_groups", "\"x\""),
        ("token_type", "7"),
        ("role_params", "[]x"),
    ];
    let of = |(claim, value)| {
        let body = text_with(&format!(r#""{claim}":{value}"#), claim);
        with_body(format!("{claim}: {value}"), body, DOWN, "docs/reference.md#verify: each claim has one type")
    };
    values.map(of).into()
}

/// Claims whose values decide.
fn values_of_claims() -> Vec<Case<Input>> {
    let mut cases = Vec::new();
    let mut push = |name, body, expected, reason| cases.push(with_body(name, body, expected, reason));
    for (member, name, expected, reason) in [
        (
            r#""exp":1600000000"#,
            "expired",
            Verdict::Deny("token_expired"),
            "docs/reference.md#verify: its own expiry is checked",
        ),
        (r#""exp":0"#, "exp 0", Verdict::Deny("token_expired"), "docs/reference.md#verify: its own expiry is checked"),
        (
            r#""nbf":4102444799,"exp":4102444800"#,
            "not yet valid",
            Verdict::Deny("token_not_yet_valid"),
            "RFC 7519 section 4.1.5",
        ),
        (
            r#""x":{"y":[{"z":1}]},"exp":4102444800"#,
            "a claim of its own",
            Verdict::Allow,
            "RFC 7519 section 4: ignored",
        ),
    ] {
        push(name.to_owned(), text_with(member, "exp"), expected, reason);
    }
    for kind in ["refresh", "password_reset", "unknown", ""] {
        push(
            format!("token_type {kind:?}"),
            text_with(&format!(r#""token_type":"{kind}""#), "token_type"),
            Verdict::Deny("token_type_not_accepted"),
            "docs/reference.md#verification: a refresh token is never an access token",
        );
    }
    for (name, email) in
        [("CR LF", r"a\r\nX-Is-Admin: true"), ("LF", r"a\nb"), ("NUL", r"a\u0000b"), ("DEL", r"a\u007fb")]
    {
        push(
            format!("an email with {name}"),
            text_with(&format!(r#""email":"{email}""#), "email"),
            Verdict::Deny("token_malformed"),
            "issue: a claim that can't be a header's value refuses the token",
        );
    }
    cases
}

/// Bodies that aren't JSON, or are too long.
fn bodies() -> Vec<Case<Input>> {
    let text = identity().to_string();
    let padded = |length: usize| format!("{text}{}", " ".repeat(length - text.len()));
    let deep = |depth: usize| format!(r#"{{"x":{}{},{}"#, "[".repeat(depth), "]".repeat(depth), &text[1..]);
    let table: Vec<(&str, Vec<u8>, Verdict)> = vec![
        ("an empty body", Vec::new(), DOWN),
        ("a space", b" ".to_vec(), DOWN),
        ("null", b"null".to_vec(), DOWN),
        ("true", b"true".to_vec(), DOWN),
        ("a list of the claims' values", values_alone(&identity()).into(), DOWN),
        ("a list", format!("[{text}]").into(), DOWN),
        ("a string", b"\"ok\"".to_vec(), DOWN),
        ("a number", b"200".to_vec(), DOWN),
        ("an empty object", b"{}".to_vec(), DOWN),
        ("an error", br#"{"error": "x", "details": "y"}"#.to_vec(), DOWN),
        ("an identity within another object", format!(r#"{{"data":{text}}}"#).into(), DOWN),
        ("HTML", b"<html><body>It works!</body></html>".to_vec(), DOWN),
        ("a form", b"user_id=7&client_id=70".to_vec(), DOWN),
        ("a JWT", jwt().into(), DOWN),
        ("cut off", text[..text.len() - 1].into(), DOWN),
        ("something behind it", format!("{text}x").into(), DOWN),
        ("two objects", format!("{text}{text}").into(), DOWN),
        ("lines", format!("{text}\n{text}").into(), DOWN),
        ("a final comma", text.replacen('}', ",}", 1).into(), DOWN),
        ("single quotes", text.replace('"', "'").into(), DOWN),
        ("a byte order mark", [b"\xef\xbb\xbf", text.as_bytes()].concat(), DOWN),
        ("a prefix against hijacking", format!(")]}}',\n{text}").into(), DOWN),
        ("UTF-16", text.encode_utf16().flat_map(u16::to_le_bytes).collect(), DOWN),
        (
            "a byte that is not UTF-8",
            text.replace("seven@", "\u{1}")
                .into_bytes()
                .iter()
                .map(|byte| if *byte == 1 { 0xff } else { *byte })
                .collect(),
            DOWN,
        ),
        ("random bytes", (0..=255).collect(), DOWN),
        ("zeros", vec![0; 1000], DOWN),
        ("gzip", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0], DOWN),
        ("nine levels", deep(8).into(), DOWN),
        ("thirty thousand levels", deep(30_000).into(), DOWN),
        ("levels that nobody closes", "[".repeat(60_000).into(), DOWN),
        ("whitespace around it", format!("\r\n {text}\n").into(), Verdict::Allow),
        ("the documented size", padded(MAX_BODY).into(), Verdict::Allow),
        ("a byte more than the documented size", padded(MAX_BODY + 1).into(), DOWN),
        ("ten megabytes", vec![b' '; 10 << 20], DOWN),
    ];
    table
        .into_iter()
        .map(|(name, body, expected)| case("json_body", name, Answer::new(200, &[], body), expected, UNREADABLE))
        .collect()
}
