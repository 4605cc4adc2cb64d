//! Identities in headers.

use super::{Answer, Case, DOWN, IDENTITY, Input, UNREADABLE, Verdict, case, identity};

/// Identities in headers.
pub(super) fn cases() -> Vec<Case<Input>> {
    [numbers(), doubles(), optional_claims(), elsewhere()].concat()
}

/// A good answer with these values of one header.
fn replaced(name: &str, values: &[&[u8]]) -> Answer {
    let mut headers: Vec<(&str, &[u8])> = IDENTITY.into_iter().filter(|(known, _)| *known != name).collect();
    let known = IDENTITY.iter().find(|(known, _)| *known == name).map_or("", |(known, _)| *known);
    headers.extend(values.iter().map(|value| (known, *value)));
    Answer::new(200, &headers, "")
}

/// Ids that are missing, or aren't integers.
fn numbers() -> Vec<Case<Input>> {
    let mut cases = Vec::new();
    let numbers: [&[u8]; 17] = [
        b"",
        b"x",
        b"7x",
        b"7.0",
        b"7,8",
        b"7, 7",
        b"0x7",
        b"7e0",
        b"9223372036854775808",
        b"-9223372036854775809",
        b"None",
        b"null",
        b"true",
        b"\xff",
        b"\xd9\xa7",
        b"7 8",
        b"--7",
    ];
    for name in ["X-User-Id", "X-Client-Id"] {
        cases.push(case(
            "json_header",
            format!("no {name}"),
            replaced(name, &[]),
            DOWN,
            "docs/reference.md#verify: required, else the answer is unreadable",
        ));
        for value in numbers {
            cases.push(case(
                "json_header",
                format!("{name}: {}", value.escape_ascii()),
                replaced(name, &[value]),
                DOWN,
                "docs/reference.md#verify: an integer",
            ));
        }
    }
    cases
}

/// Headers that occur twice, or under another name too.
fn doubles() -> Vec<Case<Input>> {
    let mut cases = Vec::new();
    for (name, value) in IDENTITY {
        cases.push(case(
            "json_header",
            format!("{name} twice"),
            replaced(name, &[value, value]),
            DOWN,
            "which of the two it is, nobody can tell",
        ));
        cases.push(case("json_header", format!("{name} not UTF-8"), replaced(name, &[b"caf\xe9"]), DOWN, UNREADABLE));
        let twin = name.replace('-', "_");
        let mut headers = IDENTITY.to_vec();
        headers.push((&twin, b"1"));
        cases.push(case(
            "json_header",
            format!("{name} beside its twin with _"),
            Answer::new(200, &headers, ""),
            Verdict::Allow,
            "docs/reference.md#verify names X-User-Id, not X_User_Id",
        ));
    }
    cases
}

/// Claims that may be missing.
fn optional_claims() -> Vec<Case<Input>> {
    let mut cases = Vec::new();
    for name in ["X-User-Email", "X-User-Type", "X-Is-Admin"] {
        cases.push(case(
            "json_header",
            format!("no {name}"),
            replaced(name, &[]),
            Verdict::Allow,
            "docs/reference.md#verify: not required",
        ));
    }
    for value in [&b"yes"[..], b"1", b"0", b"", b"truefalse", b"true,false", b"null"] {
        cases.push(case(
            "json_header",
            format!("X-Is-Admin: {}", value.escape_ascii()),
            replaced("X-Is-Admin", &[value]),
            DOWN,
            "docs/reference.md#verify: a boolean",
        ));
    }
    cases.push(case(
        "json_header",
        "X-Is-Admin: True",
        replaced("X-Is-Admin", &[b"True"]),
        Verdict::Allow,
        "a boolean as Python writes it",
    ));
    cases
}

/// An identity in the wrong place.
fn elsewhere() -> Vec<Case<Input>> {
    let in_the_body = Answer::new(200, &[], identity().to_string());
    let beside_garbage = Answer::new(200, &IDENTITY, b"\xff{");
    let in_the_headers = Answer::new(200, &IDENTITY, "");
    vec![
        case("json_header", "an identity in the body alone", in_the_body, DOWN, UNREADABLE),
        case("json_header", "garbage in the body", beside_garbage, Verdict::Allow, "the identity is in the headers"),
        case("json_body", "an identity in the headers alone", in_the_headers, DOWN, UNREADABLE),
    ]
}
