//! Parsing and validation of JWTs.
//!
//! An input is a byte, of which four bits say what the rest is. With bit 8 it is a token, otherwise three lines:
//! header, claims and tail. Bits 1 and 2 say how to make a token of them: 0 is signed with the service's first key, 1
//! with its second; 2 is signed with the first and has the tail after its claims; 3 has the tail as its signature. With
//! bit 4 the tail also lists edits of the token's bytes: position and value.

use std::sync::LazyLock;
use std::time::Duration;

use authgate::internals::world::{key, sign};
use authgate::internals::{MAX_TOKEN_BYTES, Rs256, UntrustedJwt};
use authgate::{Claims, PublicKey, TimeError, UnixTime};
use rsa::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePublicKey as _};
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, RsaPrivateKey, RsaPublicKey};
use sha2::{Digest as _, Sha256};

use crate::oracle::base64;
use crate::oracle::claims::{self, Values};
use crate::oracle::host::Recorder;
use crate::oracle::json::{self, Json};

/// A key that signed real tokens of the corpus.
static REAL: LazyLock<PublicKey> = LazyLock::new(|| {
    let pem = include_str!("../../../src/signature/testdata/signing_key_a.pem");
    let key = RsaPrivateKey::from_pkcs8_pem(pem).expect("a key in PEM").to_public_key();
    PublicKey::from_der(key.to_public_key_der().expect("DER of a key").as_bytes()).expect("a key of a usable size")
});

static FAKE: LazyLock<[PublicKey; 2]> = LazyLock::new(|| [key(0), key(1)]);

/// Checks one input.
///
/// # Panics
/// If a promise is broken.
pub fn run(data: &[u8]) {
    let Some((selector, rest)) = data.split_first() else { return };
    check(&token(selector & 15, rest));
}

fn token(kind: u8, rest: &[u8]) -> Vec<u8> {
    if kind & 8 != 0 {
        return rest.to_vec();
    }
    let mut lines = rest.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (header, claims, tail) = (line(), line(), line());
    let signed = format!("{}.{}", base64::encode(header), base64::encode(claims));
    let by = &FAKE[usize::from(kind & 3 == 1)];
    let signature = if kind & 3 == 3 { tail.to_vec() } else { sign(by, signed.as_bytes()) };
    let signed = if kind & 3 == 2 { signed + &String::from_utf8_lossy(tail) } else { signed };
    let mut token = format!("{signed}.{}", base64::encode(&signature)).into_bytes();
    if kind & 4 != 0 {
        for edit in tail.chunks_exact(3).take(16) {
            let place = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % token.len();
            token[place] = edit[2];
        }
    }
    token
}

/// A token as required by docs/reference.md#credentials and RFC 7515.
struct Expected {
    claims: Json,
    values: Values,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

fn expected(token: &[u8]) -> Option<Expected> {
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let segments: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
    let [header, payload, signature] = segments[..] else { return None };
    if segments.iter().any(|segment| segment.is_empty()) {
        return None;
    }
    let header = json::strict(&base64::decode(header)?)?;
    let is_jwt = match header.get("typ") {
        None => true,
        Some(Json::Text(typ)) => typ.eq_ignore_ascii_case("jwt"),
        Some(_) => false,
    };
    if !matches!(header.get("kid"), None | Some(Json::Text(_))) {
        return None;
    }
    if header.get("alg") != Some(&Json::Text("RS256".to_owned())) || !is_jwt || header.get("crit").is_some() {
        return None;
    }
    let signature = base64::decode(signature)?;
    let claims = json::strict(&base64::decode(payload)?)?;
    let values = claims::values(&claims)?;
    let signed = token[..token.iter().rposition(|byte| *byte == b'.')?].to_vec();
    (256..=512).contains(&signature.len()).then_some(Expected { claims, values, signed, signature })
}

fn check(token: &[u8]) {
    let (parsed, expected) = match (UntrustedJwt::parse(token), expected(token)) {
        (Ok(parsed), Some(expected)) => (parsed, expected),
        (Err(_), None) => return,
        (Ok(_), None) => panic!("a token is taken for a JWT that is none"),
        (Err(error), Some(_)) => panic!("a JWT is refused: {error}"),
    };
    assert_eq!(claims::read(parsed.claims()), expected.values, "what the claims say");
    times(parsed.claims(), &expected.claims);

    let first = parsed.claims().clone();
    let parsed = verified(parsed, token, &expected, &[], &first).expect_err("verified without a key");
    let Err(parsed) = verified(parsed, token, &expected, &FAKE[1..], &first) else { return };
    let _ = verified(parsed, token, &expected, &FAKE[..], &first);
    real(token, &expected);
}

/// Verifies with these keys and the fake verifier, which must have accepted exactly these bytes.
fn verified<'t>(
    jwt: UntrustedJwt<'t>,
    token: &[u8],
    expected: &Expected,
    keys: &[PublicKey],
    claims: &Claims,
) -> Result<(), UntrustedJwt<'t>> {
    let host = Recorder::default();
    let verdict = jwt.verify(&Rs256::new(&host), keys);
    let asked = host.asked.borrow();
    for asked in asked.iter() {
        assert_eq!(asked.message, expected.signed, "the verifier is asked about header.claims");
        assert_eq!(asked.signature, expected.signature, "the verifier is asked about the token's own signature");
        assert!(keys.contains(&asked.key), "the verifier is asked about a key that is not to be tried");
    }
    let said_yes = asked.iter().any(|asked| asked.said);
    assert_eq!(verdict.is_ok(), said_yes, "whether it is verified is what the verifier said");
    let fits = keys.iter().any(|key| sign(key, &expected.signed) == expected.signature);
    assert_eq!(said_yes, fits, "whether one of the keys has signed it");
    verdict.map(|verified| {
        let (kept, bytes) = verified.into_parts();
        assert_eq!(*kept, *claims, "verification changes no claim");
        assert_eq!(bytes, token, "verification changes no byte");
    })
}

/// Verifies with a real key and the compiled-in verifier.
fn real(token: &[u8], expected: &Expected) {
    let host = Recorder { is_bare: true, ..Recorder::default() };
    let jwt = UntrustedJwt::parse(token).expect("parsed before");
    let verdict = jwt.verify(&Rs256::new(&host), std::slice::from_ref(&*REAL)).is_ok();
    assert_eq!(verdict, is_rs256(&REAL, &expected.signature, &expected.signed), "what RSA says");
}

/// RFC 8017 section 8.2.2, by its arithmetic.
fn is_rs256(key: &PublicKey, signature: &[u8], message: &[u8]) -> bool {
    let size = key.modulus_bytes();
    let value = BigUint::from_bytes_be(signature);
    let key = RsaPublicKey::from_public_key_der(key.der()).expect("DER of a key");
    if signature.len() != size || value >= *key.n() {
        return false;
    }
    let mut encoded = vec![0, 1];
    encoded.resize(size - 52, 0xff);
    encoded.extend_from_slice(b"\0\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20");
    encoded.extend_from_slice(&Sha256::digest(message));
    value.modpow(key.e(), key.n()) == BigUint::from_bytes_be(&encoded)
}

/// Checks that a token is valid exactly between `nbf` and `exp`.
fn times(claims: &Claims, json: &Json) {
    let time = |name| match json.get(name) {
        Some(Json::Number(number)) => number.parse::<u64>().ok(),
        _ => None,
    };
    let (exp, nbf) = (time("exp").expect("a required claim"), time("nbf"));
    assert_eq!((claims.exp(), claims.nbf()), (Some(exp), nbf));
    for skew in [0, 30] {
        for edge in [0, exp, exp + skew, nbf.unwrap_or(0), nbf.unwrap_or(0).saturating_sub(skew)] {
            for now in [edge.saturating_sub(1), edge, edge + 1] {
                // Times beyond the clock's end, in 2554, can't be told apart.
                if exp + skew > 18_000_000_000 || nbf.is_some_and(|nbf| nbf > 18_000_000_000) {
                    continue;
                }
                let wanted = if now >= exp + skew {
                    Err(TimeError::Expired)
                } else if nbf.is_some_and(|nbf| now + skew < nbf) {
                    Err(TimeError::NotYetValid)
                } else {
                    Ok(())
                };
                let found = claims.check_time(UnixTime::from_secs(now), Duration::from_secs(skew));
                assert_eq!(found, wanted, "exp {exp} nbf {nbf:?} now {now} skew {skew}");
            }
        }
    }
}
