//! Three segments of canonical base64url, and what comes close (RFC 7515 sections 2 and 7.1).

use super::{FORGED, MALFORMED, MAX_TOKEN_BYTES, Signer, Token, USUAL_HEADER, Verdict, base, case, encode, good, with};
use serde_json::json;

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const SEGMENTS: [&str; 3] = ["header", "claims", "signature"];
const BASE64: &str = "RFC 7515 section 2: base64url without padding, line breaks, whitespace or other characters";
const CANONICAL: &str =
    "RFC 4648 section 3.5: a decoder may refuse non-zero pad bits; else one token has many spellings";
const COMPACT: &str = "RFC 7515 section 7.1: three segments";
const SIZE: &str = "issue: refused over the documented size before any work is done on it";

pub(super) fn cases(signer: &Signer) -> Vec<Token> {
    let token = good();
    [
        whole(&token),
        spelled(&token),
        bad_credentials(&token),
        segment_cases(&token),
        alphabet_cases(signer),
        size_cases(signer),
    ]
    .concat()
}

/// Other numbers of segments.
fn whole(token: &str) -> Vec<Token> {
    vec![
        case("the base", token, Verdict::Allow, "docs/reference.md#claims: all claims, the usual header"),
        case("one letter", "x", MALFORMED, COMPACT),
        case("a word", "undefined", MALFORMED, "what a client sends that has no token"),
        case("a UUID", "00000000-0000-4000-8000-000000000001", MALFORMED, COMPACT),
        case(
            "an API token as a bearer token",
            format!("1${}", "a".repeat(128)),
            MALFORMED,
            "docs/reference.md#credentials: sent as APIKey",
        ),
        case("one dot", ".", MALFORMED, COMPACT),
        case("two dots", "..", MALFORMED, COMPACT),
        case("three dots", "...", MALFORMED, COMPACT),
        case("a thousand dots", ".".repeat(1000), MALFORMED, COMPACT),
        case("sixteen thousand dots", ".".repeat(16_000), MALFORMED, COMPACT),
        case("a leading dot", format!(".{token}"), MALFORMED, "jwt_authn 1.40 accepts it; RFC 7515 section 7.1"),
        case("a trailing dot", format!("{token}."), MALFORMED, COMPACT),
        case("dots on both sides", format!(".{token}."), MALFORMED, COMPACT),
        case("the token twice, joined by a dot", format!("{token}.{token}"), MALFORMED, COMPACT),
        case(
            "a JWE",
            format!("{0}.{0}.{0}.{0}.{0}", encode("{}")),
            MALFORMED,
            "RFC 7516: five segments, and not a JWS",
        ),
        case("JSON serialisation", json_serialisation(token), MALFORMED, "RFC 7515 section 7.2 is not the compact one"),
    ]
}

/// The token in other spellings, or with something around it.
fn spelled(token: &str) -> Vec<Token> {
    vec![
        case("quoted", format!("\"{token}\""), MALFORMED, BASE64),
        case("in angle brackets", format!("<{token}>"), MALFORMED, BASE64),
        case("a semicolon behind it", format!("{token};"), MALFORMED, BASE64),
        case("a parameter behind it", format!("{token};q=1"), MALFORMED, BASE64),
        case("a fragment behind it", format!("{token}#x"), MALFORMED, BASE64),
        case("escaped dots", token.replace('.', "%2E"), MALFORMED, "percent-encoding has no place in a header"),
        case("all escaped", token.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>(), MALFORMED, BASE64),
        case(
            "unsecured with a detached payload",
            format!("{}..", encode(r#"{"alg":"none"}"#)),
            MALFORMED,
            "RFC 7515 appendix F",
        ),
        case("reversed", token.bytes().rev().collect::<Vec<_>>(), MALFORMED, COMPACT),
        case("upper case", token.to_uppercase(), MALFORMED, "base64url is case-sensitive"),
        case("lower case", token.to_lowercase(), MALFORMED, "base64url is case-sensitive"),
        case("base64url of the whole token", encode(token), MALFORMED, COMPACT),
    ]
}

/// Credentials that aren't exactly one token after the scheme.
fn bad_credentials(token: &str) -> Vec<Token> {
    vec![
        case(
            "a fullwidth dot",
            token.replacen('.', "\u{ff0e}", 1),
            Verdict::Deny("malformed_credentials"),
            "RFC 6750 section 2.1: a bearer token is ASCII",
        ),
        case(
            "a byte that is not UTF-8 behind it",
            [token.as_bytes(), b"\xff"].concat(),
            Verdict::Deny("malformed_credentials"),
            "RFC 6750 section 2.1: a bearer token is ASCII",
        ),
        case(
            "a space in it",
            token.replacen('.', ". ", 1),
            Verdict::Deny("malformed_credentials"),
            "docs/reference.md#credentials: one credential, one space",
        ),
        case(
            "a tab in it",
            token.replacen('.', "\t.", 1),
            Verdict::Deny("malformed_credentials"),
            "docs/reference.md#credentials: one credential, one space",
        ),
        case(
            "a comma behind it",
            format!("{token},"),
            Verdict::Deny("malformed_credentials"),
            "docs/reference.md#credentials: a comma-joined pair is refused",
        ),
        case(
            "itself behind a comma",
            format!("{token},{token}"),
            Verdict::Deny("malformed_credentials"),
            "docs/reference.md#credentials: a comma-joined pair is refused",
        ),
    ]
}

fn json_serialisation(token: &str) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    format!(r#"{{"payload":"{}","protected":"{}","signature":"{}"}}"#, parts[1], parts[0], parts[2]).replace(',', ";")
}

/// Each segment left out, emptied, doubled, padded, and spelled with other pad bits.
fn segment_cases(token: &str) -> Vec<Token> {
    let parts: Vec<&str> = token.split('.').collect();
    let replaced = |index: usize, segment: &str| {
        let mut parts = parts.clone();
        parts[index] = segment;
        parts.join(".")
    };
    let mut cases = Vec::new();
    for (index, name) in SEGMENTS.into_iter().enumerate() {
        let segment = parts[index];
        let mut shorter = parts.clone();
        shorter.remove(index);
        cases.extend([
            case(format!("no {name} segment"), shorter.join("."), MALFORMED, COMPACT),
            case(format!("an empty {name} segment"), replaced(index, ""), MALFORMED, COMPACT),
            case(format!("the {name} segment alone"), segment, MALFORMED, COMPACT),
            case(format!("one = behind the {name}"), replaced(index, &format!("{segment}=")), MALFORMED, BASE64),
            case(format!("two = behind the {name}"), replaced(index, &format!("{segment}==")), MALFORMED, BASE64),
            case(
                format!("= in the {name}"),
                replaced(index, &format!("{}={}", &segment[..4], &segment[4..])),
                MALFORMED,
                BASE64,
            ),
            case(
                format!("four characters more behind the {name}"),
                replaced(index, &format!("{segment}AAAA")),
                if index == 2 { FORGED } else { MALFORMED },
                "no JSON any more, or another signature",
            ),
            case(
                format!("a length that base64 doesn't have, of the {name}"),
                replaced(index, &"A".repeat(segment.len() / 4 * 4 + 1)),
                MALFORMED,
                BASE64,
            ),
            case(format!("+ in the {name}"), replaced(index, &format!("+{}", &segment[1..])), MALFORMED, BASE64),
            case(format!("/ in the {name}"), replaced(index, &format!("/{}", &segment[1..])), MALFORMED, BASE64),
            case(format!("~ in the {name}"), replaced(index, &format!("~{}", &segment[1..])), MALFORMED, BASE64),
        ]);
    }
    [cases, swapped(&parts), pad_bits(&parts)].concat()
}

/// Swapped segments.
fn swapped(parts: &[&str]) -> Vec<Token> {
    vec![
        case(
            "header and claims swapped",
            format!("{}.{}.{}", parts[1], parts[0], parts[2]),
            MALFORMED,
            "claims are no header",
        ),
        case(
            "claims and signature swapped",
            format!("{}.{}.{}", parts[0], parts[2], parts[1]),
            MALFORMED,
            "a signature is no claims",
        ),
        case(
            "header in the place of all three",
            format!("{0}.{0}.{0}", parts[0]),
            MALFORMED,
            "a header is no signature",
        ),
    ]
}

/// The signature with other pad bits.
fn pad_bits(parts: &[&str]) -> Vec<Token> {
    let mut cases = Vec::new();
    // 256 bytes leave four pad bits in the last character.
    let signature = parts[2];
    let last = ALPHABET.iter().position(|letter| signature.ends_with(char::from(*letter))).unwrap_or_default();
    for bits in 1..16 {
        let letter = char::from(ALPHABET[last & 0x30 | bits]);
        let spelled = format!("{}{letter}", &signature[..signature.len() - 1]);
        let token = [parts[0], parts[1], &spelled].join(".");
        cases.push(case(format!("pad bits {bits:04b} in the signature"), token, MALFORMED, CANONICAL));
    }
    cases
}

/// The same, signed: only the spelling is wrong.
fn alphabet_cases(signer: &Signer) -> Vec<Token> {
    let (header, claims) = (encode(USUAL_HEADER), encode(base().to_string()));
    let other_bits = |segment: &str| {
        let last = ALPHABET.iter().position(|letter| segment.ends_with(char::from(*letter))).unwrap_or_default();
        format!("{}{}", &segment[..segment.len() - 1], char::from(ALPHABET[last | 1]))
    };
    // One byte more leaves pad bits: the texts' own lengths are multiples of three.
    let header_with_bits = other_bits(&encode(format!("{USUAL_HEADER} ")));
    let short =
        (0..3).map(|spaces| encode(format!("{}{}", base(), " ".repeat(spaces)))).find(|text| text.len() % 4 != 0);
    let claims_with_bits = other_bits(&short.unwrap_or_default());
    let standard = encode(with("client_name", &json!("~~~???>>>")).to_string()).replace('-', "+").replace('_', "/");
    vec![
        case("a signed header with pad bits", signer.segments(&header_with_bits, &claims), MALFORMED, CANONICAL),
        case("signed claims with pad bits", signer.segments(&header, &claims_with_bits), MALFORMED, CANONICAL),
        case(
            "a signed header with padding",
            signer.segments(&format!("{}==", encode(format!("{USUAL_HEADER} "))), &claims),
            MALFORMED,
            BASE64,
        ),
        case("signed claims with padding", signer.segments(&header, &format!("{claims}=")), MALFORMED, BASE64),
        case("signed claims in standard base64", signer.segments(&header, &format!("{standard}+/")), MALFORMED, BASE64),
        case("signed claims with a plain brace", signer.segments(&header, "{}"), MALFORMED, BASE64),
        case(
            "a signed header in plain JSON",
            signer.segments(&USUAL_HEADER.replace(',', ";"), &claims),
            MALFORMED,
            BASE64,
        ),
    ]
}

fn size_cases(signer: &Signer) -> Vec<Token> {
    // The segments are multiples of four characters here, so that every length in bytes can be had exactly.
    let of = |bytes: usize| {
        let rest = bytes - encode(USUAL_HEADER).len() - 2 - 342;
        let length = rest * 3 / 4;
        let empty = with("client_name", &json!("")).to_string().len();
        signer.claims(with("client_name", &json!("x".repeat(length - empty))).to_string())
    };
    let sized = |bytes: usize, expected, reason| {
        let token = of(bytes);
        case(format!("{} bytes", token.len()), token, expected, reason)
    };
    vec![
        sized(4096, Verdict::Allow, "a large token, below the documented size"),
        sized(MAX_TOKEN_BYTES, Verdict::Allow, "the documented size itself"),
        sized(MAX_TOKEN_BYTES + 2, MALFORMED, SIZE),
        sized(32 * 1024, MALFORMED, SIZE),
        case("48 KB of the letter A", "A".repeat(48 * 1024), MALFORMED, SIZE),
        case("48 KB of segments", "AAAA.".repeat(9800), MALFORMED, SIZE),
    ]
}
