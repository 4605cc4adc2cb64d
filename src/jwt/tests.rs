//! Bytes that aren't a token, tokens of other signers, and tokens of the service.

use serde_json::{Value, json};

use super::*;
use crate::claims::TokenType;
use crate::public_key::PublicKey;
use crate::signature::Rs256;
use crate::testing::{BareHost, HEADER, Signer, base64url, claims};

fn refused(token: &str) -> ParseError {
    match UntrustedJwt::parse(token.as_bytes()) {
        Ok(_) => panic!("{token} was taken for a JWT"),
        Err(error) => error,
    }
}

/// A token of these parts, with a made-up signature of a possible length.
fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}.{}", base64url(header), base64url(claims), base64url([7; 256]))
}

fn usual() -> String {
    unsigned(HEADER, &claims(json!({})).to_string())
}

#[test]
fn a_token_of_the_service_is_parsed() {
    let token = usual();
    let jwt = UntrustedJwt::parse(token.as_bytes()).unwrap();
    assert_eq!(jwt.claims().token_type(), TokenType::Access);
    assert_eq!(jwt.into_token(), token.as_bytes());
    assert!(token.as_bytes().starts_with(USUAL_HEADER), "the shortcut is for the header that the service writes");
}

#[test]
fn a_token_has_three_non_empty_segments() {
    let token = usual();
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        header.to_owned(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!("{header}..{signature}"),
        format!(".{claims}.{signature}"),
        format!(".{header}.{claims}.{signature}"),
        format!("{header}.{claims}.{signature}."),
        format!("{header}.{claims}.{signature}.{signature}"),
        format!("{header}.{claims}.{signature}.{signature}.{signature}"),
        format!("{header}..{claims}.{signature}"),
    ] {
        assert_eq!(refused(&token), ParseError::Segments, "{token}");
    }
}

#[test]
fn segments_are_canonical_base64url() {
    // The length of each segment isn't a multiple of three, so that its base64url ends in bits without meaning.
    let mut claims = claims(json!({})).to_string();
    while claims.len() % 3 != 1 {
        claims.push(' ');
    }
    let token = unsigned(r#"{"alg":"RS256" }"#, &claims);
    assert!(UntrustedJwt::parse(token.as_bytes()).is_ok());
    let parts: Vec<&str> = token.split('.').collect();
    for (index, part) in parts.iter().enumerate() {
        for changed in [
            format!("{part}="),
            format!("{part}=="),
            format!("{part} "),
            format!(" {part}"),
            format!("{part}\n"),
            part.replacen(char::is_alphanumeric, "+", 1),
            part.replacen(char::is_alphanumeric, "/", 1),
            part.replacen(char::is_alphanumeric, "%", 1),
            part.replacen(char::is_alphanumeric, "\u{e9}", 1),
            part.replacen(char::is_alphanumeric, "\0", 1),
            with_trailing_bits(part),
        ] {
            let mut parts = parts.clone();
            parts[index] = &changed;
            assert!(matches!(refused(&parts.join(".")), ParseError::Base64(_)), "segment {index}: {changed:?}");
        }
    }
}

/// The same bytes to a lenient decoder: only the bits without meaning differ.
fn with_trailing_bits(segment: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    assert_ne!(segment.len() % 4, 0);
    let (head, last) = segment.split_at(segment.len() - 1);
    let value = ALPHABET.find(last).unwrap();
    format!("{head}{}", ALPHABET.chars().nth(value + 1).unwrap())
}

#[test]
fn only_rs256_is_accepted() {
    let claims = claims(json!({})).to_string();
    for alg in [
        "none", "None", "NONE", "HS256", "HS384", "RS384", "RS512", "PS256", "ES256", "EdDSA", "rs256", "Rs256",
        "RS256 ", " RS256", "RS256\0", "",
    ] {
        let header = json!({"typ": "JWT", "alg": alg}).to_string();
        assert_eq!(refused(&unsigned(&header, &claims)), ParseError::Algorithm, "{alg:?}");
    }
    for header in [
        r#"{"typ":"JWT"}"#,
        r#"{}"#,
        r#"{"alg":null}"#,
        r#"{"alg":1}"#,
        r#"{"alg":true}"#,
        r#"{"alg":["RS256"]}"#,
        r#"{"alg":{"RS256":1}}"#,
        r#"{"ALG":"RS256"}"#,
        r#"{"alg ":"RS256"}"#,
    ] {
        assert!(matches!(refused(&unsigned(header, &claims)), ParseError::Header(_)), "{header}");
    }
}

#[test]
fn the_type_is_jwt_or_absent() {
    let claims = claims(json!({})).to_string();
    for header in [
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"RS256","typ":"JWT"}"#,
        r#"{"alg":"RS256","typ":"jwt"}"#,
        r#"{"alg":"\u0052S256","typ":"JWT"}"#,
        r#" { "typ" : "JWT" , "alg" : "RS256" } "#,
    ] {
        assert!(UntrustedJwt::parse(unsigned(header, &claims).as_bytes()).is_ok(), "{header}");
    }
    for typ in ["", "at+jwt", "JWE", "JOSE", "JWT ", "logout+jwt"] {
        let header = json!({"alg": "RS256", "typ": typ}).to_string();
        assert_eq!(refused(&unsigned(&header, &claims)), ParseError::Type, "{typ:?}");
    }
    for header in [r#"{"alg":"RS256","typ":1}"#, r#"{"alg":"RS256","typ":["JWT"]}"#, r#"{"alg":"RS256","typ":{}}"#] {
        assert!(matches!(refused(&unsigned(header, &claims)), ParseError::Header(_)), "{header}");
    }
}

#[test]
fn a_critical_extension_is_refused() {
    let claims = claims(json!({})).to_string();
    for crit in ["[\"exp\"]", "[\"b64\"]", "[]", "null", "false", "0", "\"\"", "{}"] {
        let header = format!(r#"{{"alg":"RS256","crit":{crit},"b64":false}}"#);
        assert_eq!(refused(&unsigned(&header, &claims)), ParseError::Critical, "{crit}");
    }
    let escaped = r#"{"alg":"RS256","c\u0072it":["exp"]}"#;
    assert_eq!(refused(&unsigned(escaped, &claims)), ParseError::Critical);
}

#[test]
fn a_header_is_one_strict_object() {
    let claims = claims(json!({})).to_string();
    for header in [
        r#"{"alg":"none","alg":"RS256"}"#,
        r#"{"alg":"RS256","alg":"RS256"}"#,
        r#"{"alg":"RS256","\u0061lg":"none"}"#,
        r#"{"alg":"RS256","kid":"a","kid":"b"}"#,
        r#"{"alg":"RS256","jwk":{"kty":"RSA","kty":"oct"}}"#,
        r#"{"alg":"RS256"}{}"#,
        r#"{"alg":"RS256"}x"#,
        r#"{"alg":"RS256",}"#,
        r#"{'alg':'RS256'}"#,
        r#"{"alg":"RS256","x":[[[[[[[[1]]]]]]]]}"#,
        r#"["RS256","JWT"]"#,
        r#"["RS256",null,false]"#,
        r#"[{"alg":"RS256"}]"#,
        r#""RS256""#,
        "null",
        "x",
        "\u{feff}{\"alg\":\"RS256\"}",
    ] {
        assert!(matches!(refused(&unsigned(header, &claims)), ParseError::Header(_)), "{header}");
    }
}

#[test]
fn the_signatures_length_is_that_of_an_accepted_key() {
    let claims = base64url(claims(json!({})).to_string());
    for (length, is_possible) in
        [(1, false), (32, false), (128, false), (255, false), (256, true), (384, true), (512, true), (513, false)]
    {
        let token = format!("{}.{claims}.{}", base64url(HEADER), base64url(vec![7; length]));
        match UntrustedJwt::parse(token.as_bytes()) {
            Ok(_) => assert!(is_possible, "{length}"),
            Err(error) => assert_eq!((error, is_possible), (ParseError::SignatureLength, false), "{length}"),
        }
    }
}

#[test]
fn a_token_with_bad_claims_is_refused() {
    let mut negative = claims(json!({}));
    negative["exp"] = json!(-1);
    for claims in [
        "{}".to_owned(),
        "[]".to_owned(),
        "x".to_owned(),
        claims(json!({"exp": null})).to_string(),
        claims(json!({"exp": "1800003600"})).to_string(),
        claims(json!({"exp": 1_800_003_600.0})).to_string(),
        claims(json!({"user_id": null})).to_string(),
        claims(json!({"client_id": null})).to_string(),
        claims(json!({"token_type": null})).to_string(),
        claims(json!({})).to_string().replacen('{', r#"{"exp":1,"#, 1),
        claims(json!({})).to_string().replacen('{', r#"{"\u0065xp":1,"#, 1),
        negative.to_string(),
    ] {
        assert!(matches!(refused(&unsigned(HEADER, &claims)), ParseError::Claims(_)), "{claims}");
    }
}

#[test]
fn a_token_of_more_than_16_kib_is_not_decoded() {
    let with_padding = |bytes: usize| unsigned(HEADER, &format!("{}{}", claims(json!({})), " ".repeat(bytes)));
    let longest =
        (0..).map(|bytes| 11_000 + bytes).map(with_padding).take_while(|token| token.len() <= MAX_TOKEN_BYTES);
    let longest = longest.last().unwrap();
    assert!(UntrustedJwt::parse(longest.as_bytes()).is_ok());
    assert_eq!(refused(&format!("{longest}AAAA")), ParseError::TooLong);
    assert_eq!(refused(&"!".repeat(MAX_TOKEN_BYTES + 1)), ParseError::TooLong);
}

fn verify(token: &str, keys: &[PublicKey]) -> Option<VerifiedClaims> {
    UntrustedJwt::parse(token.as_bytes()).unwrap().verify(&Rs256::new(&BareHost::default()), keys).ok()
}

#[test]
fn the_keys_are_tried_in_turn() {
    let (a, b) = (Signer::a(), Signer::b());
    let token = a.jwt(&claims(json!({"user_id": 99})));
    for (keys, is_verified) in [
        (vec![a.public()], true),
        (vec![b.public(), a.public()], true),
        (vec![a.public(), b.public()], true),
        (vec![b.public()], false),
        (vec![], false),
    ] {
        let verified = verify(&token, &keys);
        assert_eq!(verified.is_some(), is_verified);
        if let Some(verified) = verified {
            let (claims, jwt) = verified.into_parts();
            assert_eq!(claims.header_value("user_id".parse().unwrap()).unwrap().as_deref(), Some("99"));
            assert_eq!(jwt, token.as_bytes());
        }
    }
}

#[test]
fn a_token_that_fits_no_key_can_be_tried_again() {
    let (a, b) = (Signer::a(), Signer::b());
    let token = a.jwt(&claims(json!({})));
    let host = BareHost::default();
    let algorithm = Rs256::new(&host);
    let jwt = UntrustedJwt::parse(token.as_bytes()).unwrap();
    let jwt = jwt.verify(&algorithm, &[b.public()][..]).unwrap_err();
    let kept = jwt.verify(&algorithm, &[b.public()][..]).unwrap_err().into_token();
    let jwt = UntrustedJwt::parse(&kept).unwrap();
    assert!(jwt.verify(&algorithm, &[a.public()][..]).is_ok());
}

#[test]
fn a_changed_byte_fails_verification() {
    let signer = Signer::a();
    let keys = [signer.public()];
    let (mine, admins) = (signer.jwt(&claims(json!({}))), signer.jwt(&claims(json!({"is_admin": true}))));
    let split = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (mine, admins) = (split(&mine), split(&admins));
    assert!(verify(&mine.join("."), &keys).is_some());

    let under_other_claims = [&admins[0], &admins[1], &mine[2]].map(String::as_str).join(".");
    assert!(verify(&under_other_claims, &keys).is_none());
    let other_header = [&base64url(r#"{"alg":"RS256","typ":"JWT"}"#), &mine[1], &mine[2]].map(String::as_str).join(".");
    assert!(verify(&other_header, &keys).is_none(), "the header is signed as it was written");
    let spaced = base64url(format!(" {}", claims(json!({}))));
    assert!(verify(&[&mine[0], &spaced, &mine[2]].map(String::as_str).join("."), &keys).is_none());
}

#[test]
fn keys_in_the_header_are_ignored() {
    let (service, attacker) = (Signer::a(), Signer::b());
    let claims = claims(json!({})).to_string();
    for name in ["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "kid"] {
        for value in [
            json!("https://attacker.example/keys"),
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
            json!(["x"]),
            json!("../../../dev/null"),
            Value::Null,
        ] {
            let header = json!({"typ": "JWT", "alg": "RS256", name: value}).to_string();
            if name == "kid" && !value.is_string() {
                assert!(matches!(refused(&service.token(&header, &claims)), ParseError::Header(_)), "{header}");
                continue;
            }
            assert!(verify(&attacker.token(&header, &claims), &[service.public()]).is_none(), "{header}");
            assert!(verify(&service.token(&header, &claims), &[service.public()]).is_some(), "{header}");
        }
    }
}

#[test]
fn an_hmac_under_the_public_key_is_refused() {
    // HS256 with the PEM or the DER as its key, cut to the length of a signature: the filter never computes it.
    let key = Signer::a().public();
    let claims = base64url(claims(json!({})).to_string());
    let header = base64url(r#"{"typ":"JWT","alg":"HS256"}"#);
    let token = format!("{header}.{claims}.{}", base64url(&key.der()[..256]));
    assert_eq!(refused(&token), ParseError::Algorithm);
}

/// A set whose keys have ids, as in a JWKS (RFC 7517 section 4.5).
struct ByKid(Vec<(&'static str, PublicKey)>);

impl KeySet for ByKid {
    fn candidates<'s>(&'s self, kid: Option<&str>) -> Box<dyn Iterator<Item = &'s PublicKey> + 's> {
        let kid = kid.map(str::to_owned);
        let fits = move |id: &str| kid.as_deref().is_none_or(|kid| kid == id);
        Box::new(self.0.iter().filter(move |(id, _)| fits(id)).map(|(_, key)| key))
    }
}

#[test]
fn a_key_set_may_choose_the_key_by_its_id() {
    let (a, b) = (Signer::a(), Signer::b());
    let keys = ByKid(vec![("a", a.public()), ("b", b.public())]);
    let header = |kid: &str| format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#);
    let text = claims(json!({})).to_string();
    for (token, expected) in [
        (b.token(&header("b"), &text), Some(b.public().id())),
        (b.token(&header("a"), &text), None),
        (b.token(&header("c"), &text), None),
        (b.token(HEADER, &text), Some(b.public().id())),
    ] {
        let jwt = UntrustedJwt::parse(token.as_bytes()).unwrap();
        let verified = jwt.verify(&Rs256::new(&BareHost::default()), &keys).ok();
        assert_eq!(verified.map(|verified| verified.key()), expected);
    }
}
