//! Known cases, and which verifier is asked.

use serde::Deserialize;

use super::*;
use crate::host::Signatures;
use crate::testing::{BareHost, Signer};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Suite {
    number_of_tests: usize,
    test_groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    public_key_pem: String,
    public_key_der: String,
    sha: String,
    tests: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    tc_id: u32,
    comment: String,
    msg: String,
    sig: String,
    result: String,
}

fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn verify(host: &impl Signatures, key: &PublicKey, signature: &[u8], message: &[u8]) -> bool {
    Rs256::new(host).verify(key, &Rs256Signature::new(signature.to_vec()), message)
}

#[test]
fn every_wycheproof_case_has_the_right_verdict() {
    let suite: Suite = serde_json::from_str(include_str!("testdata/rsa_signature_2048_sha256_test.json")).unwrap();
    let mut counts = (0, 0, 0);
    for group in &suite.test_groups {
        assert_eq!(group.sha, "SHA-256");
        let key = PublicKey::from_pem(&group.public_key_pem).unwrap();
        assert_eq!(key.der(), hex(&group.public_key_der));
        for case in &group.tests {
            let expected = match case.result.as_str() {
                "valid" => {
                    counts.0 += 1;
                    true
                }
                "invalid" => {
                    counts.1 += 1;
                    false
                }
                "acceptable" => {
                    counts.2 += 1;
                    false
                }
                other => panic!("{other}"),
            };
            let (signature, message) = (hex(&case.sig), hex(&case.msg));
            let what = format!("{}: {} ({})", case.tc_id, case.comment, case.result);
            assert_eq!(verify_in_module(&key, &signature, &message), expected, "in the module, {what}");
            assert_eq!(verify(&BareHost::default(), &key, &signature, &message), expected, "Rs256, {what}");
        }
    }
    assert_eq!(counts, (9, 249, 1));
    assert_eq!(suite.number_of_tests, 259);
}

#[test]
fn a_signature_fits_only_its_key_and_its_message() {
    let (a, b) = (Signer::a(), Signer::b());
    let signature = a.sign(b"message");
    assert!(verify(&BareHost::default(), &a.public(), &signature, b"message"));
    assert!(!verify(&BareHost::default(), &b.public(), &signature, b"message"));
    assert!(!verify(&BareHost::default(), &a.public(), &signature, b"messagf"));
    assert!(!verify(&BareHost::default(), &a.public(), &signature, b""));
    for at in [0, 1, 128, 255] {
        let mut changed = signature.clone();
        changed[at] ^= 1;
        assert!(!verify(&BareHost::default(), &a.public(), &changed, b"message"), "byte {at}");
    }
}

#[test]
fn a_signature_of_the_wrong_length_reaches_no_verifier() {
    let host = BareHost { verdict: Some(true), ..BareHost::default() };
    let key = Signer::a().public();
    for length in [0, 1, 255, 257, 384, 512] {
        assert!(!verify(&host, &key, &vec![1; length], b"message"), "{length}");
    }
    assert!(host.asked.borrow().is_empty());

    // A leading zero doesn't change the number, but makes another signature.
    let signature = Signer::a().sign(b"message");
    assert!(!verify(&BareHost::default(), &key, &[&[0], signature.as_slice()].concat(), b"message"));
    assert!(!verify_in_module(&key, &[&[0], signature.as_slice()].concat(), b"message"));
}

#[test]
fn the_hosts_verdict_is_final() {
    let (key, good) = (Signer::a().public(), Signer::a().sign(b"message"));
    let bad = vec![1; 256];
    for (verdict, signature, expected) in
        [(Some(true), &bad, true), (Some(false), &good, false), (None, &good, true), (None, &bad, false)]
    {
        let host = BareHost { verdict, ..BareHost::default() };
        assert_eq!(verify(&host, &key, signature, b"message"), expected, "{verdict:?}");
        let asked = host.asked.borrow();
        assert_eq!(*asked, [[key.der().to_vec(), signature.clone(), b"message".to_vec()]]);
    }
}

#[test]
fn only_the_lengths_of_accepted_keys_are_accepted() {
    for (length, possible) in
        [(0, false), (32, false), (255, false), (256, true), (384, true), (512, true), (513, false)]
    {
        assert_eq!(Rs256Signature::new(vec![0; length]).has_possible_length(), possible, "{length}");
    }
}
