//! The JOSE header: what is read of it, and all that must not be.

use super::{FORGED, MALFORMED, Signer, Token, USUAL_HEADER, Verdict, base, case, encode};
use crate::corpus::keys::hmac_sha256;
use serde_json::json;

const ALGORITHM: &str = "docs/reference.md#credentials: RS256 only, whatever the token says";
const CONFUSION: &str = "CVE-2016-5431, CVE-2026-39999: the public key is no HMAC secret";
const NONE: &str = "CVE-2015-9235: alg none";
const TYPE: &str =
    "docs/reference.md#credentials: typ is JWT; RFC 8725 section 3.11: explicit typing keeps other kinds of JWT out";
const CRITICAL: &str = "RFC 7515 section 4.1.11: no extension is understood";
const IGNORED: &str = "issue: jwk, jku, x5u, x5c grant nothing; what the trusted key signed is good";
const INJECTED: &str = "CVE-2018-0114, CVE-2025-59420: a key that the token brings is not trusted";
const KEY_ID: &str = "docs/reference.md#credentials: there is no kid, so none is looked at";
const TWICE: &str = "RFC 7515 section 4: names are unique, also once unescaped";
const STRICT: &str = "RFC 7515 section 4: the header is one JSON object in UTF-8";

pub(super) fn cases(signer: &Signer) -> Vec<Token> {
    [
        no_algorithm(signer),
        algorithms(signer),
        types_of_alg(signer),
        secrets(signer),
        others(signer),
        types(signer),
        extensions(signer),
        keys(signer),
        shapes(signer),
    ]
    .concat()
}

fn no_algorithm(signer: &Signer) -> Vec<Token> {
    let claims = base().to_string();
    let mut cases = Vec::new();
    for alg in ["none", "None", "NONE", "nOnE", "noNe"] {
        let header = json!({"typ": "JWT", "alg": alg}).to_string();
        let text = format!("{}.{}", encode(&header), encode(&claims));
        cases.push(case(format!("alg {alg}, no signature"), format!("{text}."), MALFORMED, NONE));
        cases.push(case(format!("alg {alg}, a signature"), signer.jwt(&header, &claims), MALFORMED, NONE));
    }
    cases
}

/// Other algorithms, and other names of RS256.
fn algorithms(signer: &Signer) -> Vec<Token> {
    let claims = base().to_string();
    let mut cases = Vec::new();
    for alg in [
        "HS256",
        "HS384",
        "HS512",
        "RS1",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES256",
        "ES256K",
        "ES384",
        "ES512",
        "EdDSA",
        "Ed25519",
        "RSA-OAEP",
        "dir",
        "rs256",
        "Rs256",
        "RS256 ",
        " RS256",
        "RS256\u{0}",
        "RS-256",
        "RSA256",
        "SHA256withRSA",
        "",
        "*",
        "RS256,none",
    ] {
        let header = json!({"typ": "JWT", "alg": alg}).to_string();
        cases.push(case(
            format!("alg {alg:?} with an RS256 signature"),
            signer.jwt(header, &claims),
            MALFORMED,
            ALGORITHM,
        ));
    }
    cases
}

/// `alg` of the wrong type, or missing.
fn types_of_alg(signer: &Signer) -> Vec<Token> {
    let claims = base().to_string();
    let mut cases = Vec::new();
    for (name, alg) in [
        ("null", "null"),
        ("a number", "256"),
        ("true", "true"),
        ("a list", r#"["RS256"]"#),
        ("an object", r#"{"RS256":1}"#),
    ] {
        let header = format!(r#"{{"typ":"JWT","alg":{alg}}}"#);
        cases.push(case(
            format!("alg is {name}"),
            signer.jwt(header, &claims),
            MALFORMED,
            "RFC 7515 section 4.1.1: alg is a string",
        ));
    }
    for (name, header) in [
        ("no alg", r#"{"typ":"JWT"}"#),
        ("an empty header", "{}"),
        ("ALG for alg", r#"{"typ":"JWT","ALG":"RS256"}"#),
        ("Alg beside ALG", r#"{"typ":"JWT","Alg":"RS256","ALG":"RS256"}"#),
    ] {
        cases.push(case(
            name,
            signer.jwt(header, &claims),
            MALFORMED,
            "RFC 7515 section 4.1.1: alg must be there, and names are case-sensitive",
        ));
    }
    cases
}

/// Key confusion: HMACs with secrets that everybody knows.
fn secrets(signer: &Signer) -> Vec<Token> {
    let claims = base().to_string();
    let mut cases = Vec::new();
    let secrets = [
        ("the PEM", signer.public_pem().into_bytes()),
        ("the PEM without its last line end", signer.public_pem().trim_end().as_bytes().to_vec()),
        ("the DER", signer.public_der()),
        ("the modulus", signer.modulus()),
        ("nothing", Vec::new()),
    ];
    for (name, secret) in secrets {
        for alg in ["HS256", "RS256"] {
            let text = format!("{}.{}", encode(json!({"typ": "JWT", "alg": alg}).to_string()), encode(&claims));
            let token = format!("{text}.{}", encode(hmac_sha256(&secret, text.as_bytes())));
            cases.push(case(format!("an HMAC keyed with {name}, alg {alg}"), token, MALFORMED, CONFUSION));
        }
    }
    cases
}

/// Good signatures of other algorithms, and RS256 by an escape.
fn others(signer: &Signer) -> Vec<Token> {
    let claims = base().to_string();
    let mut cases = Vec::new();
    let others: [(&str, &str, Vec<u8>); 3] = [
        ("RS384", "RS384", signer.sign_sha384(text("RS384", &claims).as_bytes())),
        ("RS512", "RS512", signer.sign_sha512(text("RS512", &claims).as_bytes())),
        ("PS256", "PS256", signer.sign_pss(text("PS256", &claims).as_bytes())),
    ];
    for (name, alg, signature) in others {
        let token = format!("{}.{}", text(alg, &claims), encode(signature));
        cases.push(case(format!("a good {name} signature"), token, MALFORMED, ALGORITHM));
    }
    cases.push(case(
        "alg with an escape",
        signer.jwt(r#"{"typ":"JWT","alg":"\u0052S256"}"#, &claims),
        Verdict::Allow,
        "RFC 8259 section 8.3: the same string",
    ));
    cases
}

fn text(alg: &str, claims: &str) -> String {
    format!("{}.{}", encode(format!(r#"{{"typ":"JWT","alg":"{alg}"}}"#)), encode(claims))
}

fn types(signer: &Signer) -> Vec<Token> {
    let claims = base().to_string();
    let mut cases = Vec::new();
    for typ in [
        "at+jwt",
        "application/at+jwt",
        "JOSE",
        "JWE",
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "id_token",
        "",
        "JWT ",
    ] {
        let header = json!({"typ": typ, "alg": "RS256"}).to_string();
        cases.push(case(format!("typ {typ:?}"), signer.jwt(header, &claims), MALFORMED, TYPE));
    }
    for (name, typ) in [("a number", "1"), ("true", "true"), ("a list", r#"["JWT"]"#), ("an object", "{}")] {
        let header = format!(r#"{{"typ":{typ},"alg":"RS256"}}"#);
        cases.push(case(
            format!("typ is {name}"),
            signer.jwt(header, &claims),
            MALFORMED,
            "RFC 7515 section 4.1.9: typ is a string",
        ));
    }
    for (name, header) in [
        ("alg before typ", r#"{"alg":"RS256","typ":"JWT"}"#),
        ("typ jwt", r#"{"typ":"jwt","alg":"RS256"}"#),
        ("no typ", r#"{"alg":"RS256"}"#),
        ("whitespace in the header", "{ \"typ\" : \"JWT\" ,\r\n\t\"alg\" : \"RS256\" }"),
    ] {
        cases.push(case(
            name,
            signer.jwt(header, &claims),
            Verdict::Allow,
            "RFC 7519 section 5.1: typ is optional and a media type, which has no case; RFC 8259",
        ));
    }
    cases
}

fn extensions(signer: &Signer) -> Vec<Token> {
    let claims = base().to_string();
    let mut cases = Vec::new();
    for (name, crit) in [
        ("exp", r#"["exp"]"#),
        ("alg", r#"["alg"]"#),
        ("something unknown", r#"["urn:example:unknown"]"#),
        ("b64", r#"["b64"],"b64":true"#),
        ("b64 false", r#"["b64"],"b64":false"#),
        ("nothing", "[]"),
        ("the empty name", r#"[""]"#),
        ("a number in a list", "[1]"),
    ] {
        let header = format!(r#"{{"typ":"JWT","alg":"RS256","crit":{crit}}}"#);
        cases.push(case(format!("crit: {name}"), signer.jwt(header, &claims), MALFORMED, CRITICAL));
    }
    for (name, crit) in
        [("null", "null"), ("false", "false"), ("a string", r#""exp""#), ("an object", "{}"), ("zero", "0")]
    {
        let header = format!(r#"{{"typ":"JWT","alg":"RS256","crit":{crit}}}"#);
        cases.push(case(format!("crit is {name}"), signer.jwt(header, &claims), MALFORMED, CRITICAL));
    }
    cases.push(case(
        "an escaped crit",
        signer.jwt(r#"{"typ":"JWT","alg":"RS256","\u0063rit":["x"]}"#, &claims),
        MALFORMED,
        CRITICAL,
    ));
    for (name, more) in [
        ("b64 true", r#""b64":true"#),
        ("cty", r#""cty":"JWT""#),
        ("zip", r#""zip":"DEF""#),
        ("a name of one's own", r#""https://example.com/x":{"y":[1]}"#),
        ("exp in the header", r#""exp":1"#),
    ] {
        let header = format!(r#"{{"typ":"JWT","alg":"RS256",{more}}}"#);
        cases.push(case(
            format!("{name} in the header"),
            signer.jwt(header, &claims),
            Verdict::Allow,
            "RFC 7515 section 4: what is not understood is ignored",
        ));
    }
    cases
}

/// Keys in the header, once over a signature of the trusted key and once over one of the key that is named.
fn keys(signer: &Signer) -> Vec<Token> {
    let foreign = Signer::foreign();
    let url = "http://127.0.0.1:1/jwks.json";
    let members = [
        ("jwk", json!({"jwk": foreign.jwk()}), IGNORED, INJECTED),
        ("jwk as a string", json!({"jwk": "x"}), IGNORED, INJECTED),
        ("jku", json!({"jku": url}), IGNORED, INJECTED),
        ("jku of a file", json!({"jku": "file:///etc/passwd"}), IGNORED, INJECTED),
        ("x5u", json!({"x5u": url}), IGNORED, INJECTED),
        ("x5c", json!({"x5c": [encode(foreign.public_der())]}), IGNORED, INJECTED),
        ("x5t", json!({"x5t": "AAAA", "x5t#S256": "AAAA"}), IGNORED, INJECTED),
        ("kid", json!({"kid": "1"}), KEY_ID, KEY_ID),
        ("kid as a path", json!({"kid": "../../../../dev/null"}), KEY_ID, KEY_ID),
        ("kid as SQL", json!({"kid": "' UNION SELECT 'x' -- "}), KEY_ID, KEY_ID),
        ("kid as a command", json!({"kid": "|/bin/true"}), KEY_ID, KEY_ID),
        (
            "all of them",
            json!({"jwk": foreign.jwk(), "jku": url, "x5u": url, "x5c": [], "kid": "1"}),
            IGNORED,
            INJECTED,
        ),
    ];
    let claims = base().to_string();
    let mut cases = Vec::new();
    for (name, mut header, ignored, injected) in members {
        header["typ"] = json!("JWT");
        header["alg"] = json!("RS256");
        let header = header.to_string();
        cases.push(case(
            format!("{name}, signed by the trusted key"),
            signer.jwt(&header, &claims),
            Verdict::Allow,
            ignored,
        ));
        cases.push(case(format!("{name}, signed by another key"), foreign.jwt(&header, &claims), FORGED, injected));
    }
    cases
}

fn shapes(signer: &Signer) -> Vec<Token> {
    let claims = base().to_string();
    let mut cases = Vec::new();
    for (name, header) in [
        ("alg twice", r#"{"typ":"JWT","alg":"RS256","alg":"RS256"}"#),
        ("alg none, then RS256", r#"{"typ":"JWT","alg":"none","alg":"RS256"}"#),
        ("alg RS256, then none", r#"{"typ":"JWT","alg":"RS256","alg":"none"}"#),
        ("alg beside its escaped twin", r#"{"typ":"JWT","alg":"RS256","\u0061lg":"RS256"}"#),
        ("typ twice", r#"{"typ":"JWT","typ":"JWT","alg":"RS256"}"#),
        ("an unknown name twice", r#"{"typ":"JWT","alg":"RS256","x":1,"x":1}"#),
        ("a name twice within a value", r#"{"typ":"JWT","alg":"RS256","x":{"y":1,"y":2}}"#),
        ("an empty name twice", r#"{"typ":"JWT","alg":"RS256","":1,"":1}"#),
    ] {
        cases.push(case(format!("header: {name}"), signer.jwt(header, &claims), MALFORMED, TWICE));
    }
    let deep =
        |depth: usize| format!(r#"{{"typ":"JWT","alg":"RS256","x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let shapes: [(&str, Vec<u8>); 22] = [
        ("kid as a number", br#"{"typ":"JWT","alg":"RS256","kid":1}"#.to_vec()),
        ("kid as null", br#"{"typ":"JWT","alg":"RS256","kid":null}"#.to_vec()),
        ("null", b"null".to_vec()),
        ("a list", br#"["RS256"]"#.to_vec()),
        ("a list of its values", br#"["RS256","JWT"]"#.to_vec()),
        ("a longer list of its values", br#"["RS256","JWT",false]"#.to_vec()),
        ("a string", br#""RS256""#.to_vec()),
        ("a number", b"256".to_vec()),
        ("a space", b" ".to_vec()),
        ("no JSON", b"alg=RS256".to_vec()),
        ("cut off", USUAL_HEADER[..USUAL_HEADER.len() - 1].into()),
        ("something behind it", format!("{USUAL_HEADER}x").into()),
        ("two objects", format!("{USUAL_HEADER}{USUAL_HEADER}").into()),
        ("a final comma", br#"{"typ":"JWT","alg":"RS256",}"#.to_vec()),
        ("a comment", br#"{"typ":"JWT",/**/"alg":"RS256"}"#.to_vec()),
        ("single quotes", b"{'typ':'JWT','alg':'RS256'}".to_vec()),
        ("a byte order mark", [b"\xef\xbb\xbf", USUAL_HEADER.as_bytes()].concat()),
        ("UTF-16", USUAL_HEADER.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("a byte that is not UTF-8", b"{\"typ\":\"JWT\",\"alg\":\"RS256\",\"x\":\"\xff\"}".to_vec()),
        ("a lone surrogate", br#"{"typ":"JWT","alg":"RS256","x":"\ud800"}"#.to_vec()),
        ("a raw NUL in a string", b"{\"typ\":\"JWT\",\"alg\":\"RS256\",\"x\":\"\x00\"}".to_vec()),
        ("nested ten thousand deep", deep(5_000).into()),
    ];
    for (name, header) in shapes {
        cases.push(case(format!("header: {name}"), signer.jwt(header, &claims), MALFORMED, STRICT));
    }
    cases
}
