//! Claim sets of every form.

mod values;

use serde_json::{Value, json};

use super::path::UnknownClaim;
use super::*;
use crate::testing::{NOW, claims};

fn parse(claims: &Value) -> Result<Claims, ClaimsError> {
    Claims::from_json(claims.to_string().as_bytes())
}

/// The usual claims, with one of them as this raw text.
fn with_raw(name: &str, raw: &str) -> Result<Claims, ClaimsError> {
    let mut text = claims(json!({name: null})).to_string();
    assert_eq!(text.pop(), Some('}'));
    Claims::from_json(format!("{text},\"{name}\":{raw}}}").as_bytes())
}

pub(super) fn everything() -> Value {
    claims(json!({
        "nbf": NOW, "iat": NOW - 10, "iss": "auth", "sub": "17", "aud": ["a", "b"], "token_id": 5,
        "issued_by": {"user_id": 7, "user_type": "system_admin"},
        "user_groups": ["dev", "ops"],
        "role_params": {
            "role": "manager", "read_only": true, "federations": [1, -2], "alias": "m", "resellers_wl": [3],
            "resellers_bl": [],
        },
        "username": "user", "sso_entity": "https://idp.example/saml", "client_name": "Client, Inc.",
        "federation_id": -9, "is_admin": true,
    }))
}

#[test]
fn a_full_claim_set_is_read() {
    let claims = parse(&everything()).unwrap();
    assert_eq!(claims.exp(), Some(NOW + 3600));
    assert_eq!(claims.nbf(), Some(NOW));
    assert_eq!(claims.token_type(), TokenType::Access);
    assert_eq!(claims.issuer(), Some("auth"));
}

#[test]
fn four_claims_are_required() {
    let least = json!({"exp": 1, "user_id": 1, "client_id": 2, "token_type": "access"});
    let claims = parse(&least).unwrap();
    assert_eq!((claims.exp(), claims.nbf(), claims.issuer()), (Some(1), None, None));
    for name in ["exp", "user_id", "client_id", "token_type"] {
        for value in [None, Some(Value::Null)] {
            let mut claims = least.clone();
            let object = claims.as_object_mut().unwrap();
            object.remove(name);
            if let Some(value) = value {
                object.insert(name.to_owned(), value);
            }
            assert!(parse(&claims).is_err(), "{claims}");
        }
    }
}

#[test]
fn optional_claims_may_be_null_and_unknown_claims_are_allowed() {
    let mut nulls = everything();
    let required = ["exp", "user_id", "client_id", "token_type"];
    let registered = ["nbf", "iat", "jti", "iss", "sub", "aud"];
    for (name, value) in nulls.as_object_mut().unwrap() {
        if !required.contains(&name.as_str()) && !registered.contains(&name.as_str()) {
            *value = Value::Null;
        }
    }
    assert!(parse(&nulls).is_ok());
    for name in registered {
        let mut null = everything();
        null[name] = Value::Null;
        assert!(parse(&null).is_err(), "{name}");
    }
    for wrong in [json!({"sub": 7}), json!({"iat": "x"}), json!({"iat": 1.5}), json!({"iat": -1}), json!({"aud": 7})] {
        assert!(parse(&claims(wrong.clone())).is_err(), "{wrong}");
    }
    let nulls = json!({"role": null, "read_only": null, "federations": null, "new": {"x": 1}});
    assert!(parse(&claims(json!({"role_params": nulls, "issued_by": {}, "scope": "x", "x": [{"y": 1.5}]}))).is_ok());
}

#[test]
fn a_claim_of_the_wrong_type_is_refused() {
    let integer = ["1.0", "1.5", "1e3", "\"1\"", "true", "[1]", "{}", "1e400", "18446744073709551616"];
    let text = ["1", "true", "[\"a\"]", "{}", "[]"];
    let boolean = ["0", "1", "\"true\"", "\"\"", "[]", "{}"];
    for (names, values) in [
        (&["exp", "nbf", "user_id", "client_id", "token_id", "federation_id"][..], &integer[..]),
        (&["jti", "iss", "token_type", "user_type", "email", "username", "sso_entity", "client_name"], &text),
        (&["is_admin"], &boolean),
        (&["user_groups"], &["1", "\"a\"", "{}", "[1]", "[null]", "[\"a\", 1]", "[[\"a\"]]"]),
        (&["aud"], &["1", "true", "{}", "[1]", "[null]", "[[\"a\"]]"]),
        (&["issued_by", "role_params"], &["1", "\"a\"", "true", "[]", "[{}]", "[1, \"common\"]"]),
        (&["issued_by"], &[r#"{"user_id": "1"}"#, r#"{"user_id": 1.0}"#, r#"{"user_type": 1}"#, r#"{"user_id": {}}"#]),
        (
            &["role_params"],
            &[
                r#"{"role": 1}"#,
                r#"{"read_only": "true"}"#,
                r#"{"federations": "1"}"#,
                r#"{"federations": ["1"]}"#,
                r#"{"alias": []}"#,
                r#"{"resellers_wl": {}}"#,
                r#"{"resellers_bl": [1.0]}"#,
            ],
        ),
    ] {
        for name in names {
            for value in values {
                assert!(with_raw(name, value).is_err(), "{name}: {value}");
            }
        }
    }
}

#[test]
fn times_are_whole_seconds_from_1970_to_9999() {
    for name in ["exp", "nbf"] {
        for (value, is_fine) in [
            ("0", true),
            ("1800000000", true),
            ("253402300799", true),
            ("253402300800", false),
            ("9223372036854775807", false),
            ("9223372036854775808", false),
            ("18446744073709551615", false),
            ("-1", false),
            ("-0", false),
            ("1800000000.0", false),
            ("1.8e9", false),
            ("\"1800000000\"", false),
            ("NaN", false),
            ("Infinity", false),
            ("01", false),
            ("+1", false),
        ] {
            assert_eq!(with_raw(name, value).is_ok(), is_fine, "{name}: {value}");
        }
    }
    assert_eq!(with_raw("exp", "253402300800"), Err(ClaimsError::OutOfRange("exp")));
    assert_eq!(with_raw("nbf", "253402300800"), Err(ClaimsError::OutOfRange("nbf")));
    assert_eq!(parse(&claims(json!({"exp": null}))), Err(ClaimsError::NoExpiry));
}

#[test]
fn identifiers_are_64_bit_integers() {
    for name in ["user_id", "client_id"] {
        for (value, is_fine) in [
            ("-9223372036854775808", true),
            ("9223372036854775807", true),
            ("0", true),
            ("9223372036854775808", false),
            ("-9223372036854775809", false),
        ] {
            assert_eq!(with_raw(name, value).is_ok(), is_fine, "{name}: {value}");
        }
    }
}

#[test]
fn a_repeated_key_is_refused() {
    for extra in [
        r#""exp": 1"#,
        r#""user_id": 17"#,
        r#""\u0065xp": 9999999999"#,
        r#""user_\u0069d": 1"#,
        r#""unknown": 1, "unknown": 1"#,
        r#""unknown": 1, "unk\u006eown": 1"#,
        r#""role_params": {"role": "a", "role": "b"}"#,
        r#""x": [{"y": {"z": 1, "\u007a": 2}}]"#,
    ] {
        let text = claims(json!({})).to_string();
        let text = format!("{},{extra}}}", &text.get(..text.len() - 1).unwrap());
        let error = Claims::from_json(text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("is given twice"), "{extra}: {error}");
    }
}

#[test]
fn a_claim_set_is_one_object_of_bounded_size() {
    let good = claims(json!({})).to_string();
    for text in [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "\"x\"".to_owned(),
        "1".to_owned(),
        format!("[{good}]"),
        format!("{good}{good}"),
        format!("{good}x"),
        format!("\u{feff}{good}"),
        good.replace('"', "'"),
        good.replacen('{', "{/* */", 1),
        good.get(..good.len() - 1).unwrap().to_owned(),
        good.replacen("5f0c", "\\ud800", 1),
        good.replacen("5f0c", "\n", 1),
    ] {
        assert!(Claims::from_json(text.as_bytes()).is_err(), "{text}");
    }
    let not_utf8: Vec<u8> = good.bytes().map(|byte| if byte == b'@' { 0xff } else { byte }).collect();
    assert!(Claims::from_json(&not_utf8).is_err());
    assert!(Claims::from_json(format!(" \n{good}\t ").as_bytes()).is_ok(), "white space is part of JSON");

    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(with_raw("x", &nested(json::MAX_DEPTH - 1)).is_ok());
    assert!(with_raw("x", &nested(json::MAX_DEPTH)).is_err());
    assert!(with_raw("x", &nested(5_000)).is_err());
}

/// A claim set whose values come without names, in the order of some reader's fields.
#[test]
fn an_array_of_values_is_not_a_claim_set() {
    let values = format!(
        "[{},null,null,null,null,17,23,null,null,\"access\",null,null,null,null,null,null,true,null,null]",
        NOW + 3600
    );
    assert!(Claims::from_json(values.as_bytes()).is_err());
}

#[test]
fn known_token_types_have_names_and_others_are_unknown() {
    for (name, kind) in [
        ("access", TokenType::Access),
        ("refresh", TokenType::Refresh),
        ("password_reset", TokenType::PasswordReset),
        ("api_token", TokenType::ApiToken),
        ("technical", TokenType::Technical),
    ] {
        assert_eq!(parse(&claims(json!({"token_type": name}))).unwrap().token_type(), kind);
        assert_eq!(kind.name(), name);
        assert!(TokenType::ALL.contains(&kind), "in a configuration: {name}");
    }
    for name in ["", "Access", "access ", "ACCESS", "id", "unknown", "Unknown"] {
        assert_eq!(parse(&claims(json!({"token_type": name}))).unwrap().token_type(), TokenType::Unknown, "{name}");
        assert!(!TokenType::ALL.iter().any(|kind| kind.name() == name), "in a configuration: {name}");
    }
    assert_eq!(TokenType::Unknown.name(), "");
}

#[test]
fn an_audience_is_one_string_or_several() {
    let accepted = ["gateway".to_owned(), "other".to_owned()];
    for (audience, is_for_us) in [
        (json!("gateway"), true),
        (json!("other"), true),
        (json!(["x", "gateway"]), true),
        (json!("Gateway"), false),
        (json!("gateway "), false),
        (json!("gateway,other"), false),
        (json!(["x"]), false),
        (json!([]), false),
        (json!(""), false),
        (Value::Null, false),
    ] {
        let claims = parse(&claims(json!({"aud": audience}))).unwrap();
        assert_eq!(claims.is_for_any(&accepted), is_for_us, "{audience}");
        assert!(!claims.is_for_any(&[]));
    }
}

fn check(exp: u64, nbf: Option<u64>, now_nanos: u64, skew: Duration) -> Result<(), TimeError> {
    let claims = parse(&claims(json!({"exp": exp, "nbf": nbf}))).unwrap();
    claims.check_time(UnixTime::from_nanos(now_nanos), skew)
}

#[test]
fn a_token_is_valid_until_just_before_its_expiry() {
    const SECOND: u64 = 1_000_000_000;
    let exp = NOW;
    for (now, skew, expected) in [
        ((exp - 1) * SECOND, Duration::ZERO, Ok(())),
        (exp * SECOND - 1, Duration::ZERO, Ok(())),
        (exp * SECOND, Duration::ZERO, Err(TimeError::Expired)),
        (exp * SECOND + 1, Duration::ZERO, Err(TimeError::Expired)),
        ((exp + 1) * SECOND, Duration::ZERO, Err(TimeError::Expired)),
        (exp * SECOND, Duration::from_secs(5), Ok(())),
        ((exp + 5) * SECOND - 1, Duration::from_secs(5), Ok(())),
        ((exp + 5) * SECOND, Duration::from_secs(5), Err(TimeError::Expired)),
        (exp * SECOND, Duration::from_millis(1), Ok(())),
        (exp * SECOND + 1_000_000, Duration::from_millis(1), Err(TimeError::Expired)),
        (0, Duration::ZERO, Ok(())),
        (u64::MAX, Duration::ZERO, Err(TimeError::Expired)),
    ] {
        assert_eq!(check(exp, None, now, skew), expected, "{now} {skew:?}");
    }
    assert_eq!(check(0, None, 0, Duration::ZERO), Err(TimeError::Expired));
    assert_eq!(check(MAX_TIME, None, NOW * SECOND, Duration::from_secs(300)), Ok(()), "no overflow");
}

#[test]
fn a_token_is_valid_from_its_nbf_on() {
    const SECOND: u64 = 1_000_000_000;
    let (nbf, exp) = (NOW, NOW + 100);
    for (now, skew, expected) in [
        (nbf * SECOND - 1, Duration::ZERO, Err(TimeError::NotYetValid)),
        (nbf * SECOND, Duration::ZERO, Ok(())),
        (nbf * SECOND + 1, Duration::ZERO, Ok(())),
        ((nbf - 5) * SECOND - 1, Duration::from_secs(5), Err(TimeError::NotYetValid)),
        ((nbf - 5) * SECOND, Duration::from_secs(5), Ok(())),
        (0, Duration::from_secs(5), Err(TimeError::NotYetValid)),
    ] {
        assert_eq!(check(exp, Some(nbf), now, skew), expected, "{now} {skew:?}");
    }
    assert_eq!(check(NOW, Some(NOW + 1), NOW * SECOND, Duration::ZERO), Err(TimeError::Expired), "expiry comes first");
    assert_eq!(check(MAX_TIME, Some(MAX_TIME), NOW * SECOND, Duration::ZERO), Err(TimeError::NotYetValid));
}

#[test]
fn a_record_returns_every_claim() {
    let least = json!({"exp": 1, "user_id": 1, "client_id": 2, "token_type": "access"});
    let of_nulls = claims(json!({"issued_by": {}, "role_params": {"alias": null}, "email": null}));
    let quoted = claims(json!({"email": "\"\\\n\u{7}\u{10ffff}", "user_groups": ["", ","], "aud": "a"}));
    for claims in [everything(), least, of_nulls, quoted] {
        let parsed = parse(&claims).unwrap();
        assert_eq!(Claims::recall(&parsed.record()), Some(parsed), "{claims}");
    }
    let headers = Claims::from_answer_headers(TokenType::Technical, i64::MIN, i64::MAX, None, None, None);
    assert_eq!(Claims::recall(&headers.record()), Some(headers));
    let numbers = [i64::MIN, -129, -128, -1, 0, 1, 127, 128, 255, 256, i64::MAX].map(Scalar::Number);
    let texts = ["", "a", &"b".repeat(300)].map(|text| Scalar::Text(text.into()));
    let flags = [false, true].map(Scalar::Flag);
    let kept = numbers.into_iter().chain(texts).chain(flags).map(Some).chain([None]);
    let claims = Claims { kept: kept.collect(), ..parse(&everything()).unwrap() };
    assert_eq!(Claims::recall(&claims.record()), Some(claims));
}

#[test]
fn a_record_is_hardly_longer_than_its_values() {
    let claims = parse(&everything()).unwrap();
    assert!(claims.record().len() < everything().to_string().len() * 3 / 5, "{} bytes", claims.record().len());
}

#[test]
fn bytes_of_another_form_are_not_a_record() {
    let record = parse(&everything()).unwrap().record();
    for length in 0..record.len() {
        assert_eq!(Claims::recall(&record[..length]), None, "{length}");
    }
    assert_eq!(Claims::recall(&[&record[..], &[0]].concat()), None, "a claim that this version doesn't know");
    assert_eq!(Claims::recall(everything().to_string().as_bytes()), None);
}
