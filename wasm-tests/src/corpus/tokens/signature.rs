//! The signature: made by another key, of another text, in another way, or by nobody.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;

use super::{FORGED, MALFORMED, Signer, Token, USUAL_HEADER, base, case, encode, good, with};

/// `DigestInfo` of SHA-256 up to the digest (RFC 8017 section 9.2, note 1).
const DIGEST_INFO: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];
const ONE_WAY: &str =
    "RFC 8017 section 8.2.2: the encoded message is compared, not parsed (CVE-2006-4339, CVE-2022-24771)";
const LENGTH: &str = "RFC 8017 section 8.2.2 step 1: as long as the modulus";
const IMPOSSIBLE: &str = "docs/reference.md#credentials: no key of 2048 to 4096 bits makes a signature of this length";
const RANGE: &str = "RFC 8017 section 5.2.2: a signature representative is below the modulus";
const OTHER_TEXT: &str = "the signature is of another text";

pub(super) fn cases(signer: &Signer) -> Vec<Token> {
    [altered(), lengths(), made_otherwise(signer), of_others(signer)].concat()
}

fn with_signature(text: &str, signature: &[u8]) -> String {
    format!("{text}.{}", encode(signature))
}

/// The text and the signature of the good token.
fn parts() -> (String, Vec<u8>) {
    let token = good();
    let (text, signature) = token.rsplit_once('.').unwrap_or_default();
    (text.to_owned(), BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap_or_default())
}

fn altered() -> Vec<Token> {
    let (text, signature) = parts();
    let mut cases = Vec::new();
    for bit in [0, 1, 7, 8, 1023, 1024, 2040, 2046, 2047] {
        let mut other = signature.clone();
        other[bit / 8] ^= 0x80 >> (bit % 8);
        cases.push(case(
            format!("bit {bit} of the signature turned"),
            with_signature(&text, &other),
            FORGED,
            "one bit",
        ));
    }
    for (name, other) in [
        ("of zeros", vec![0; 256]),
        ("of ones", vec![0xff; 256]),
        ("of the number one", [vec![0; 255], vec![1]].concat()),
        ("backwards", signature.iter().rev().copied().collect()),
        ("inverted", signature.iter().map(|byte| !byte).collect()),
        ("of the padding alone", [vec![0, 1], vec![0xff; 253], vec![0]].concat()),
    ] {
        cases.push(case(
            format!("a signature {name}"),
            with_signature(&text, &other),
            FORGED,
            "CVE-2022-21449: a signature that is none",
        ));
    }
    cases.push(case(
        "the modulus as the signature",
        with_signature(&text, &Signer::trusted().modulus()),
        FORGED,
        RANGE,
    ));
    cases
}

fn lengths() -> Vec<Token> {
    let (text, signature) = parts();
    let front = |count: usize| [vec![0; count], signature.clone()].concat();
    let back = |count: usize| [signature.clone(), vec![0; count]].concat();
    let mut cases = vec![
        case("the signature with a zero before it", with_signature(&text, &front(1)), FORGED, LENGTH),
        case("the signature with 256 zeros before it", with_signature(&text, &front(256)), FORGED, LENGTH),
        case("the signature with 257 zeros before it", with_signature(&text, &front(257)), MALFORMED, IMPOSSIBLE),
        case("the signature with a zero behind it", with_signature(&text, &back(1)), FORGED, LENGTH),
        case("the signature with 256 zeros behind it", with_signature(&text, &back(256)), FORGED, LENGTH),
        case(
            "the signature twice",
            with_signature(&text, &[signature.clone(), signature.clone()].concat()),
            FORGED,
            LENGTH,
        ),
        case("the signature without its first byte", with_signature(&text, &signature[1..]), MALFORMED, IMPOSSIBLE),
        case("the signature without its last byte", with_signature(&text, &signature[..255]), MALFORMED, IMPOSSIBLE),
    ];
    for length in [1, 20, 32, 64, 70, 128, 255, 513, 1024, 4096] {
        cases.push(case(
            format!("{length} bytes as the signature"),
            with_signature(&text, &vec![0x5a; length]),
            MALFORMED,
            IMPOSSIBLE,
        ));
    }
    for length in [257, 384, 512] {
        cases.push(case(
            format!("{length} bytes as the signature"),
            with_signature(&text, &vec![0x5a; length]),
            FORGED,
            LENGTH,
        ));
    }
    cases
}

/// Signatures of the trusted key that aren't RS256, or of another text.
fn made_otherwise(signer: &Signer) -> Vec<Token> {
    [otherwise_padded(signer), put_together(signer), of_other_texts(signer)].concat()
}

fn otherwise_padded(signer: &Signer) -> Vec<Token> {
    let text = parts().0;
    let message = text.as_bytes();
    // BER where DER is asked for: the outer length in two bytes.
    let ber = [&[0x30, 0x81, 0x31][..], &DIGEST_INFO[2..]].concat();
    // The algorithm's NULL left out, which RFC 8017 appendix A.2.4 note 2 has some accept.
    let without_null = [&[0x30, 0x2f, 0x30, 0x0b][..], &DIGEST_INFO[4..15], &DIGEST_INFO[17..]].concat();
    let sha512 = [&DIGEST_INFO[..14], &[0x03], &DIGEST_INFO[15..]].concat();
    let null_of_more =
        [&[0x30, 0x33, 0x30, 0x0f][..], &DIGEST_INFO[4..15], &[0x05, 0x02, 0x00, 0x00, 0x04, 0x20]].concat();
    vec![
        case("signed as RS384", with_signature(&text, &signer.sign_sha384(message)), FORGED, "the digest is SHA-256"),
        case("signed as RS512", with_signature(&text, &signer.sign_sha512(message)), FORGED, "the digest is SHA-256"),
        case(
            "signed as PS256",
            with_signature(&text, &signer.sign_pss(message)),
            FORGED,
            "the padding is PKCS #1 v1.5",
        ),
        case(
            "signed without a DigestInfo",
            with_signature(&text, &signer.sign_prefixed(&[], message)),
            FORGED,
            ONE_WAY,
        ),
        case("a DigestInfo in BER", with_signature(&text, &signer.sign_prefixed(&ber, message)), FORGED, ONE_WAY),
        case(
            "a DigestInfo without its NULL",
            with_signature(&text, &signer.sign_prefixed(&without_null, message)),
            FORGED,
            ONE_WAY,
        ),
        case(
            "a DigestInfo of SHA-512",
            with_signature(&text, &signer.sign_prefixed(&sha512, message)),
            FORGED,
            ONE_WAY,
        ),
        case(
            "a DigestInfo with a longer NULL",
            with_signature(&text, &signer.sign_prefixed(&null_of_more, message)),
            FORGED,
            ONE_WAY,
        ),
        case(
            "a byte more before the DigestInfo",
            with_signature(&text, &signer.sign_prefixed(&[&[0], &DIGEST_INFO[..]].concat(), message)),
            FORGED,
            ONE_WAY,
        ),
        case(
            "a byte less in the DigestInfo",
            with_signature(&text, &signer.sign_prefixed(&DIGEST_INFO[1..], message)),
            FORGED,
            ONE_WAY,
        ),
    ]
}

/// A good signature put together by hand, and the number after it with the same power.
fn put_together(signer: &Signer) -> Vec<Token> {
    let text = parts().0;
    let control = with_signature(&text, &signer.sign_prefixed(&DIGEST_INFO, text.as_bytes()));
    vec![
        case(
            "the DigestInfo as it should be",
            control,
            crate::corpus::Verdict::Allow,
            "the same signature, put together by hand",
        ),
        case("the representative plus the modulus", beyond_the_modulus(signer), FORGED, RANGE),
    ]
}

fn of_other_texts(signer: &Signer) -> Vec<Token> {
    let (text, signature) = parts();
    let mut cases = Vec::new();
    let (header, claims) = text.split_once('.').unwrap_or_default();
    let decoded = [USUAL_HEADER.to_owned(), ".".to_owned(), base().to_string()].concat();
    for (name, other) in [
        ("the decoded text", decoded.into_bytes()),
        ("the claims alone", claims.as_bytes().to_vec()),
        ("the header alone", header.as_bytes().to_vec()),
        ("the text without its dot", text.replace('.', "").into_bytes()),
        ("the text and a dot", format!("{text}.").into_bytes()),
        ("the text in lower case", text.to_lowercase().into_bytes()),
        ("nothing", Vec::new()),
        ("itself", signature),
    ] {
        cases.push(case(format!("signed: {name}"), with_signature(&text, &signer.sign(&other)), FORGED, OTHER_TEXT));
    }
    cases
}

/// `s + n` has the same power modulo `n` as `s`: a second spelling of a good signature.
fn beyond_the_modulus(signer: &Signer) -> String {
    let modulus = signer.modulus();
    let sum = |text: &str| {
        let mut sum = signer.sign(text.as_bytes());
        let mut carry = 0;
        for (byte, more) in sum.iter_mut().zip(&modulus).rev() {
            let total = u16::from(*byte) + u16::from(*more) + carry;
            *byte = total.to_le_bytes()[0];
            carry = total >> 8;
        }
        (carry == 0).then_some(sum)
    };
    // About every second signature leaves room for it.
    let found = (0..64).find_map(|number| {
        let claims = with("jti", &json!(format!("beyond-{number}"))).to_string();
        let text = format!("{}.{}", encode(USUAL_HEADER), encode(claims));
        Some(with_signature(&text, &sum(&text)?))
    });
    found.unwrap_or_default()
}

fn of_others(signer: &Signer) -> Vec<Token> {
    let (text, signature) = parts();
    let foreign = Signer::foreign();
    let administrator = with("is_admin", &json!(true)).to_string();
    let graft = |claims: &str| with_signature(&format!("{}.{}", encode(USUAL_HEADER), encode(claims)), &signature);
    let spaced =
        with_signature(&format!("{}.{}", encode(format!("{USUAL_HEADER} ")), encode(base().to_string())), &signature);
    let other = signer.claims(with("jti", &json!("other")).to_string());
    let other_signature = other.rsplit_once('.').map_or("", |(_, signature)| signature);
    vec![
        case("signed by another key", foreign.claims(base().to_string()), FORGED, "only the service's key is trusted"),
        case("the signature of another token", format!("{text}.{other_signature}"), FORGED, OTHER_TEXT),
        case("an administrator's claims under the signature", graft(&administrator), FORGED, OTHER_TEXT),
        case(
            "a later exp under the signature",
            graft(&with("exp", &json!(super::FUTURE + 1)).to_string()),
            FORGED,
            OTHER_TEXT,
        ),
        case("a space more in the claims", graft(&format!("{} ", base())), FORGED, OTHER_TEXT),
        case("a space more in the header", spaced, FORGED, "what is signed is the text, not its meaning"),
    ]
}
