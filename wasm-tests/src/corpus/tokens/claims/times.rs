//! When tokens expire and begin.

use serde_json::json;

use super::*;

pub(super) fn times(signer: &Signer) -> Vec<Token> {
    [moments(signer), no_times(signer)].concat()
}

fn moments(signer: &Signer) -> Vec<Token> {
    let late = 253_402_300_799_u64;
    vec![
        case(
            "no exp",
            signer.claims(without("exp").to_string()),
            MALFORMED,
            "jwt_authn 1.40 accepts it; CVE-2026-25537",
        ),
        case(
            "expired years ago",
            signer.claims(with("exp", &json!(PAST)).to_string()),
            EXPIRED,
            "RFC 7519 section 4.1.4",
        ),
        case("exp 0", signer.claims(with("exp", &json!(0)).to_string()), EXPIRED, "RFC 7519 section 4.1.4: 1970"),
        case("exp 1", signer.claims(with("exp", &json!(1)).to_string()), EXPIRED, "RFC 7519 section 4.1.4: 1970"),
        case(
            "exp at the end of the year 9999",
            signer.claims(with("exp", &json!(late)).to_string()),
            Verdict::Allow,
            TIME,
        ),
        case("exp in the year 10000", signer.claims(with("exp", &json!(late + 1)).to_string()), MALFORMED, EXPIRY),
        case(
            "expired and not yet valid",
            signer.claims(text_with(&format!(r#""exp":{PAST},"nbf":{FUTURE}"#), "exp")),
            EXPIRED,
            "RFC 7519 section 4.1.4",
        ),
        case(
            "nbf in the past",
            signer.claims(with("nbf", &json!(PAST)).to_string()),
            Verdict::Allow,
            "RFC 7519 section 4.1.5",
        ),
        case("nbf 0", signer.claims(with("nbf", &json!(0)).to_string()), Verdict::Allow, "RFC 7519 section 4.1.5"),
        case(
            "nbf in 2099",
            signer.claims(with("nbf", &json!(FUTURE - 86400)).to_string()),
            TOO_EARLY,
            "RFC 7519 section 4.1.5",
        ),
        case(
            "nbf after exp",
            signer.claims(with("nbf", &json!(FUTURE + 1)).to_string()),
            TOO_EARLY,
            "RFC 7519 section 4.1.5",
        ),
        case("nbf in the year 10000", signer.claims(with("nbf", &json!(late + 1)).to_string()), MALFORMED, TIME),
        case(
            "expired and signed by another key",
            Signer::foreign().claims(with("exp", &json!(PAST)).to_string()),
            EXPIRED,
            "no arithmetic for what is refused anyway",
        ),
    ]
}

/// Values that are no times.
fn no_times(signer: &Signer) -> Vec<Token> {
    let odd = [
        ("null", "null"),
        ("a string", r#""4102444800""#),
        ("an empty string", r#""""#),
        ("a float", "4102444800.5"),
        ("a float without a fraction", "4102444800.0"),
        ("an exponent", "4.1024448e9"),
        ("a large exponent", "1e400"),
        ("true", "true"),
        ("a list", "[4102444800]"),
        ("an object", r#"{"$date":4102444800}"#),
        ("negative", "-1"),
        ("minus zero", "-0"),
        ("2^63", "9223372036854775808"),
        ("2^64", "18446744073709551616"),
        ("2^64 - 1", "18446744073709551615"),
        ("in milliseconds", "4102444800000"),
        ("a leading zero", "04102444800"),
        ("hexadecimal", "0xF4865700"),
        ("a plus sign", "+4102444800"),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("nothing", ""),
        ("a thousand digits", ""),
    ];
    let mut cases = Vec::new();
    for (name, value) in odd {
        for claim in ["exp", "nbf"] {
            // RFC 7519 doesn't know a null nbf; optional claims may be null.
            if claim == "nbf" && name == "null" {
                continue;
            }
            let value = if name == "a thousand digits" { "9".repeat(1000) } else { value.to_owned() };
            let claims = text_with(&format!(r#""{claim}":{value}"#), claim);
            let reason = if claim == "exp" { EXPIRY } else { TIME };
            cases.push(case(format!("{claim}: {name}"), signer.claims(claims), MALFORMED, reason));
        }
    }
    cases
}
