//! The claims: their form, their types, their times, and what they may carry upstream.

mod times;

use serde_json::{Value, json};

use super::{FUTURE, MALFORMED, PAST, Signer, Token, Verdict, base, case, text_with, with, without};

const TYPES: &str = "docs/reference.md#claims: each claim has one type; integers are integers";
const REQUIRED: &str = "docs/reference.md#claims: exp, user_id, client_id and token_type are required";
const EXPIRY: &str = "CVE-2026-25537: exp is required, a number, and in range";
const TIME: &str = "issue: a time is an integer in range";
const TWICE: &str = "RFC 7519 section 4: claim names are unique, also once unescaped";
const STRICT: &str = "RFC 7519 section 7.2: the claims are one JSON object in UTF-8";
const HEADER: &str = "issue: a claim that can't be a header's value refuses the token";
const UNKNOWN: &str = "RFC 7519 section 4: claims that are not understood are ignored";
const KIND: Verdict = Verdict::Deny("token_type_not_accepted");
const EXPIRED: Verdict = Verdict::Deny("token_expired");
const TOO_EARLY: Verdict = Verdict::Deny("token_not_yet_valid");

pub(super) fn cases(signer: &Signer) -> Vec<Token> {
    [good(signer), times::times(signer), kinds(signer), types(signer), twins(signer), shapes(signer), carried(signer)]
        .concat()
}

fn good(signer: &Signer) -> Vec<Token> {
    let mut cases: Vec<_> = good_claims()
        .into_iter()
        .map(|(name, claims, why)| case(name, signer.claims(claims.to_string()), Verdict::Allow, why))
        .collect();
    let spaced = serde_json::to_string_pretty(&base()).unwrap_or_default();
    cases.push(case(
        "whitespace in the claims",
        signer.claims(format!("\r\n\t {spaced} ")),
        Verdict::Allow,
        "RFC 8259 section 2",
    ));
    let escaped = base().to_string().replace("\"exp\"", r#""\u0065\u0078\u0070""#);
    cases.push(case("an escaped name", signer.claims(escaped), Verdict::Allow, "RFC 8259 section 8.3: the same name"));
    cases
}

/// Names, claims, and why they are good.
fn good_claims() -> Vec<(&'static str, Value, &'static str)> {
    let least = json!({"exp": FUTURE, "user_id": 7, "client_id": 70, "token_type": "access"});
    let issued_later = with("issued_by", &json!({"user_id": null, "user_type": null, "more": 1}));
    let mut values = vec![
        ("the required claims alone", least, REQUIRED),
        ("a claim of one's own", with("https://example.com/x", &json!({"a": [1, {"b": null}]})), UNKNOWN),
        ("a name of another case", with("EXP", &json!(1)), UNKNOWN),
        ("sub, iat and kid", with_all(&[("sub", json!("7")), ("iat", json!(PAST)), ("kid", json!("1"))]), UNKNOWN),
        (
            "iss and aud",
            with_all(&[("iss", json!("x")), ("aud", json!("y"))]),
            "docs/reference.md#claims: checked when configured",
        ),
        ("aud as a list", with("aud", &json!(["x", "y"])), "RFC 7519 section 4.1.3"),
        ("members of issued_by missing", issued_later, "docs/reference.md#claims requires none of them"),
        ("a sub", with("sub", &json!("seven")), UNKNOWN),
        ("iat in 2099", with("iat", &json!(FUTURE - 86_400)), UNKNOWN),
        ("user_id 0", with("user_id", &json!(0)), TYPES),
        ("a negative user_id", with("user_id", &json!(-7)), TYPES),
        ("the largest user_id", with("user_id", &json!(i64::MAX)), TYPES),
        ("the smallest client_id", with("client_id", &json!(i64::MIN)), TYPES),
        ("a federation", with("federation_id", &json!(5)), TYPES),
        ("an SSO entity", with("sso_entity", &json!("https://idp.example.com")), TYPES),
        ("an administrator", with("is_admin", &json!(true)), TYPES),
        ("no groups", with("user_groups", &json!([])), TYPES),
        ("no role", without("role_params"), "docs/reference.md#claims: role_params is optional"),
        ("a token_id", with("token_id", &json!(9)), TYPES),
        ("a user_type that nobody knows", with("user_type", &json!("visitor")), "no rule asks for a type here"),
        (
            "an email beyond ASCII",
            with("email", &json!("j\u{fc}rgen@ex\u{e4}mple.com")),
            "RFC 9110 section 5.5: obs-text; UTF-8 is bytes to it",
        ),
        ("an escaped email", with("email", &json!("seven@example.com")), "RFC 8259 section 8.3"),
        ("a user name that is no header's value", with("username", &json!("a\r\nb")), "no header carries it"),
        ("eight levels", with("x", &nested(7)), "the documented depth itself"),
    ];
    values.extend((1..5).map(|count| {
        let name = ["", "one group", "two groups", "three groups", "four groups"][count];
        (name, with("user_groups", &json!(vec!["Users"; count])), TYPES)
    }));
    values
}

/// The usual claims, with these.
fn with_all(members: &[(&str, Value)]) -> Value {
    let mut all = base();
    members.iter().for_each(|(claim, value)| all[*claim] = value.clone());
    all
}

fn nested(depth: usize) -> Value {
    (1..depth).fold(json!([]), |inner, _| json!([inner]))
}

fn kinds(signer: &Signer) -> Vec<Token> {
    let mut cases = vec![case(
        "token_type api_token",
        signer.claims(with("token_type", &json!("api_token")).to_string()),
        Verdict::Allow,
        "docs/reference.md#verification: jwt.token_types",
    )];
    for kind in [
        "refresh",
        "password_reset",
        "technical",
        "",
        "ACCESS",
        "Access",
        "access ",
        " access",
        "access\u{0}",
        "acc\u{435}ss",
        "admin",
        "id",
        "access,refresh",
    ] {
        let claims = with("token_type", &json!(kind)).to_string();
        cases.push(case(
            format!("token_type {kind:?}"),
            signer.claims(claims),
            KIND,
            "docs/reference.md#verification: access and api_token, no other",
        ));
    }
    let refresh = Signer::foreign().claims(with("token_type", &json!("refresh")).to_string());
    cases.push(case(
        "a refresh token of another key",
        refresh,
        Verdict::Deny("signature_invalid"),
        "what isn't verified isn't authorised",
    ));
    cases
}

/// Every claim of docs/reference.md#claims with values of other types than its own.
fn types(signer: &Signer) -> Vec<Token> {
    const INTEGER: [&str; 8] = ["\"7\"", "7.0", "7.5", "true", "[7]", "{}", "9223372036854775808", "7e0"];
    const STRING: [&str; 5] = ["7", "true", "[\"x\"]", "{}", "7.5"];
    const BOOLEAN: [&str; 6] = ["\"true\"", "1", "0", "\"\"", "[true]", "{}"];
    const LIST: [&str; 5] = ["\"Users\"", "7", "true", "{}", "[7]"];
    const OBJECT: [&str; 4] = ["\"x\"", "7", "true", "[\"x\"]"];
    const REGISTERED: [&str; 4] = ["7", "null", "true", "{}"];
    let table: [(&str, &[&str]); 19] = [
        ("iss", &REGISTERED),
        ("sub", &REGISTERED),
        ("iat", &["\"x\"", "null", "-1", "1.5"]),
        ("aud", &REGISTERED),
        ("user_id", &INTEGER),
        ("client_id", &INTEGER),
        ("token_id", &INTEGER),
        ("federation_id", &INTEGER),
        ("token_type", &STRING),
        ("jti", &STRING),
        ("user_type", &STRING),
        ("email", &STRING),
        ("username", &STRING),
        ("sso_entity", &STRING),
        ("client_name", &STRING),
        ("is_admin", &BOOLEAN),
        ("user_groups", &LIST),
        ("role_params", &OBJECT),
        ("issued_by", &OBJECT),
    ];
    let mut cases = Vec::new();
    for (claim, values) in table {
        for value in values {
            let claims = text_with(&format!(r#""{claim}":{value}"#), claim);
            cases.push(case(format!("{claim}: {value}"), signer.claims(claims), MALFORMED, TYPES));
        }
    }
    [cases, absent(signer), types_within(signer)].concat()
}

/// Claims that are missing or null.
fn absent(signer: &Signer) -> Vec<Token> {
    let mut cases = Vec::new();
    for claim in ["user_id", "client_id", "token_type"] {
        cases.push(case(format!("no {claim}"), signer.claims(without(claim).to_string()), MALFORMED, REQUIRED));
        cases.push(case(
            format!("{claim}: null"),
            signer.claims(with(claim, &Value::Null).to_string()),
            MALFORMED,
            REQUIRED,
        ));
    }
    for claim in ["token_id", "federation_id", "sso_entity", "role_params", "email"] {
        cases.push(case(
            format!("{claim}: null"),
            signer.claims(with(claim, &Value::Null).to_string()),
            Verdict::Allow,
            "docs/reference.md#claims: not required; null says that there is none",
        ));
    }
    cases
}

/// Members of claims that are objects, with values of other types than their own.
fn types_within(signer: &Signer) -> Vec<Token> {
    let mut cases = Vec::new();
    for (claim, value) in
        [("read_only", "\"no\""), ("role", "7"), ("federations", "[\"1\"]"), ("resellers_wl", "7"), ("alias", "true")]
    {
        let claims = text_with(&format!(r#""role_params":{{"{claim}":{value}}}"#), "role_params");
        cases.push(case(format!("role_params.{claim}: {value}"), signer.claims(claims), MALFORMED, TYPES));
    }
    for claims in
        [with("issued_by", &json!([7, "common"])), with("role_params", &json!([null, true, [], null, [], []]))]
    {
        let name = if claims["issued_by"].is_array() { "issued_by" } else { "role_params" };
        cases.push(case(format!("{name}: a list of its values"), signer.claims(claims.to_string()), MALFORMED, TYPES));
    }
    cases.push(case(
        "issued_by.user_id: \"7\"",
        signer.claims(with("issued_by", &json!({"user_id": "7"})).to_string()),
        MALFORMED,
        TYPES,
    ));
    cases
}

/// Names that occur twice: parsers differ on which one counts.
fn twins(signer: &Signer) -> Vec<Token> {
    let mut cases = Vec::new();
    for claim in ["exp", "user_id", "client_id", "token_type", "user_type", "email", "is_admin", "jti", "issued_by"] {
        let value = base()[claim].to_string();
        let escaped: String = claim.chars().map(|letter| format!("\\u{:04X}", u32::from(letter))).collect();
        let (first, rest) = claim.split_at(1);
        let half = format!("\\u{:04x}{rest}", u32::from(first.as_bytes()[0]));
        for (name, twin) in [
            ("twice", claim),
            ("beside its escaped twin", half.as_str()),
            ("beside its twin in escapes", escaped.as_str()),
        ] {
            let claims = text_with(&format!(r#""{twin}":{value}"#), "");
            cases.push(case(format!("{claim} {name}"), signer.claims(claims), MALFORMED, TWICE));
        }
    }
    for (name, members) in [
        ("exp past, then future", format!(r#""exp":{PAST}"#)),
        ("an unknown claim twice", r#""x":1,"x":1"#.to_owned()),
        ("a member of a claim twice", r#""x":{"y":1,"y":2}"#.to_owned()),
        ("a member in a list twice", r#""x":[{"y":1,"y":2}]"#.to_owned()),
        ("an empty name twice", r#""":1,"":2"#.to_owned()),
        ("a member of role_params twice", r#""y":{"read_only":true,"read_only":false}"#.to_owned()),
    ] {
        cases.push(case(name, signer.claims(text_with(&members, "")), MALFORMED, TWICE));
    }
    cases
}

fn shapes(signer: &Signer) -> Vec<Token> {
    let text = base().to_string();
    let deep = |depth: usize| text_with(&format!(r#""x":{}{}"#, "[".repeat(depth), "]".repeat(depth)), "").into_bytes();
    let objects = |depth: usize| {
        text_with(&format!(r#""x":{}0{}"#, r#"{"y":"#.repeat(depth), "}".repeat(depth)), "").into_bytes()
    };
    let shapes: Vec<(&str, Vec<u8>)> = vec![
        ("null", b"null".to_vec()),
        ("a list of their values", crate::corpus::answers::values_alone(&base()).into()),
        ("a list", format!("[{text}]").into()),
        ("a string", format!("{text:?}").into()),
        ("a number", b"7".to_vec()),
        ("true", b"true".to_vec()),
        ("an empty object", b"{}".to_vec()),
        ("a space", b" ".to_vec()),
        ("a form", b"exp=4102444800&user_id=7".to_vec()),
        ("cut off", text[..text.len() - 1].into()),
        ("cut off in a string", text[..12].into()),
        ("something behind it", format!("{text}x").into()),
        ("two objects", format!("{text}{text}").into()),
        ("lines of JSON", format!("{text}\n{text}").into()),
        ("a final comma", text.replacen('}', ",}", 1).into()),
        ("single quotes", text.replace('"', "'").into()),
        ("a comment", format!("/**/{text}").into()),
        ("a NUL behind it", format!("{text}\0").into()),
        ("a byte order mark", [b"\xef\xbb\xbf", text.as_bytes()].concat()),
        ("UTF-16", text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("compressed", vec![0x78, 0x9c, 0xab, 0x56, 0x4a, 0xad, 0x28, 0x50, 0xb2, 0x32, 0x00, 0x00]),
        ("a byte that is not UTF-8", [br#"{"x":""#, &b"\xff"[..], br#"","#, &text.as_bytes()[1..]].concat()),
        ("overlong UTF-8", [br#"{"x":""#, &b"\xc0\xae"[..], br#"","#, &text.as_bytes()[1..]].concat()),
        ("a surrogate in UTF-8", [br#"{"x":""#, &b"\xed\xa0\x80"[..], br#"","#, &text.as_bytes()[1..]].concat()),
        ("a lone surrogate", text_with(r#""email":"\ud800""#, "email").into()),
        ("a broken escape", text_with(r#""email":"\u12""#, "email").into()),
        ("an escape that is none", text_with(r#""email":"\x41""#, "email").into()),
        ("a raw line end in a string", text_with("\"email\":\"a\nb\"", "email").into()),
        ("a raw NUL in a string", text_with("\"email\":\"a\0b\"", "email").into()),
        ("nine levels", deep(8)),
        ("sixty-four levels", deep(64)),
        ("five thousand levels", deep(5_000)),
        ("sixty-four levels of objects", objects(64)),
        ("two thousand levels of objects", objects(1_200)),
        ("levels that nobody closes", text_with(&format!(r#""x":{}"#, "[".repeat(5_000)), "").into()),
    ];
    let reason = |name: &str| if name.contains("levels") { "issue: claims nested too deep" } else { STRICT };
    shapes
        .into_iter()
        .map(|(name, claims)| case(format!("claims: {name}"), signer.claims(claims), MALFORMED, reason(name)))
        .collect()
}

/// Claims that go upstream as headers.
fn carried(signer: &Signer) -> Vec<Token> {
    let mut cases = Vec::new();
    for (name, text) in [
        ("CR LF and a header", "a@example.com\r\nX-Is-Admin: true"),
        ("a LF", "a\nb"),
        ("a CR", "a\rb"),
        ("a NUL", "a\0b"),
        ("a LF at its end", "a\n"),
        ("a LF at its start", "\na"),
        ("a DEL", "a\u{7f}b"),
        ("an escape character", "a\u{1b}[0mb"),
        ("a unit separator", "a\u{1f}b"),
        ("a request", "a\r\n\r\nGET /admin HTTP/1.1"),
    ] {
        for claim in ["email", "user_type"] {
            let claims = with(claim, &json!(text)).to_string();
            cases.push(case(format!("{claim} with {name}"), signer.claims(claims), MALFORMED, HEADER));
        }
    }
    cases
}
