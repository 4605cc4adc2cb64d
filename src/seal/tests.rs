//! What another plugin under the same `vm_id` can do to a sealed value: nothing but spoil it.

use std::collections::HashSet;

use super::*;
use crate::filter::world::Process;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER_KEY: &str = "//////////////////////////////////////////8=";

fn seal(prefix: u8) -> Seal {
    Seal::new(KEY, [prefix; 16]).unwrap()
}

#[test]
fn any_seal_of_the_key_opens_a_sealed_value() {
    for plain in [&b""[..], b"a", &[7; 5000]] {
        let sealed = seal(1).seal("name", plain);
        assert_eq!(sealed.len(), NONCE_BYTES + plain.len() + 16);
        assert_eq!(seal(1).open("name", &sealed).unwrap(), plain);
        assert_eq!(seal(2).open("name", &sealed).unwrap(), plain);
    }
}

#[test]
fn a_sealed_value_is_nonce_and_ciphertext() {
    let seal = seal(0x41);
    for count in 0..3_u64 {
        let sealed = seal.seal("name", b"plain");
        assert_eq!((&sealed[..16], &sealed[16..NONCE_BYTES]), (&[0x41; 16][..], &count.to_be_bytes()[..]));
    }
}

/// Computed by libsodium: workers of another version of this module have to read it.
#[test]
fn a_value_sealed_by_another_implementation_opens() {
    let sealed = STANDARD.decode("QkJCQkJCQkJCQkJCQkJCQgAAAAAAAAAHb1A0n+fgvj61r9mZb6FT9J0d7OKGFGwkutL1").unwrap();
    assert_eq!(seal(1).open("authgate:name", &sealed).unwrap(), b"an identity");
}

#[test]
fn a_flipped_bit_anywhere_makes_a_value_unreadable() {
    let seal = seal(1);
    let sealed = seal.seal("name", b"an identity");
    for bit in 0..sealed.len() * 8 {
        let mut forged = sealed.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(seal.open("name", &forged), None, "bit {bit}");
    }
}

#[test]
fn a_truncated_or_extended_value_is_unreadable() {
    let seal = seal(1);
    let sealed = seal.seal("name", b"an identity");
    for length in 0..sealed.len() {
        assert_eq!(seal.open("name", &sealed[..length]), None, "{length}");
    }
    assert_eq!(seal.open("name", &[&sealed[..], b"\0"].concat()), None);
}

#[test]
fn a_value_sealed_for_another_name_or_key_is_unreadable() {
    let sealed = seal(1).seal("name", b"an identity");
    for name in ["", "nam", "name2", "Name"] {
        assert_eq!(seal(1).open(name, &sealed), None, "{name}");
    }
    assert_eq!(Seal::new(OTHER_KEY, [1; 16]).unwrap().open("name", &sealed), None);
}

#[test]
fn nonces_are_never_repeated() {
    let seals = [seal(1), seal(2)];
    let mut nonces = HashSet::new();
    for _ in 0..100 {
        for seal in &seals {
            for name in ["a", "b"] {
                assert!(nonces.insert(seal.seal(name, b"the same")[..NONCE_BYTES].to_vec()));
            }
        }
    }
}

#[test]
fn a_malformed_key_is_refused_and_not_quoted() {
    let short = KEY.strip_prefix("AAEC").unwrap();
    let long = &format!("AAAA{KEY}");
    for (key, error) in [
        ("", SealKeyError::Length),
        (short, SealKeyError::Length),
        (long, SealKeyError::Length),
        (KEY.trim_end_matches('='), SealKeyError::NotBase64),
        (&format!("{KEY}\n"), SealKeyError::NotBase64),
        (&format!(" {KEY}"), SealKeyError::NotBase64),
        (&OTHER_KEY.replace('/', "_"), SealKeyError::NotBase64),
        // The last character has bits that no byte takes.
        (&KEY.replace("8=", "9="), SealKeyError::NotBase64),
        ("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", SealKeyError::Length),
        ("not a key!", SealKeyError::NotBase64),
    ] {
        let refused = Seal::new(key, [1; 16]).unwrap_err();
        assert_eq!(refused, error, "{key:?}");
        let text = format!("{refused} {refused:?}");
        assert!(text.contains("32 bytes in standard base64"), "{text}");
        assert!(key.is_empty() || !text.contains(key.trim()), "{text}");
    }
}

#[test]
fn debug_output_hides_the_key() {
    let sealed = Sealed::new((), Some(seal(1)));
    assert_eq!(format!("{sealed:?}"), "Sealed { data: (), seal: Some(Seal { .. }) }");
}

fn sealed_host() -> Sealed<Process> {
    Sealed::new(Process::default(), Some(seal(1)))
}

fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

#[test]
fn shared_data_holds_no_plaintext() {
    let host = sealed_host();
    host.set_shared_data("name", b"an identity", Write::Always).unwrap();
    assert_eq!(host.shared_data("name").unwrap().bytes, b"an identity");
    assert!(!contains(&host.inner().shared_data("name").unwrap().bytes, b"identity"));
    assert_eq!(host.shared_data("other"), None);
}

#[test]
fn compare_and_swap_is_left_to_the_host() {
    let host = sealed_host();
    assert_eq!(host.set_shared_data("name", b"1", Write::IfAbsent), Ok(()));
    assert_eq!(host.set_shared_data("name", b"2", Write::IfAbsent), Err(Conflict));
    let first = host.shared_data("name").unwrap();
    assert_eq!((&first.bytes[..], first.cas), (&b"1"[..], host.inner().shared_data("name").unwrap().cas));
    assert_eq!(host.set_shared_data("name", b"3", Write::IfVersion(first.cas)), Ok(()));
    assert_eq!(host.set_shared_data("name", b"4", Write::IfVersion(first.cas)), Err(Conflict));
    assert_eq!(host.shared_data("name").unwrap().bytes, b"3");
}

#[test]
fn a_foreign_value_reads_as_empty_and_can_be_replaced() {
    let host = sealed_host();
    host.set_shared_data("other", b"an identity", Write::Always).unwrap();
    let moved = host.inner().shared_data("other").unwrap().bytes;
    for foreign in [&b"forged"[..], b"", &moved] {
        host.inner().set_shared_data("name", foreign, Write::Always).unwrap();
        let value = host.shared_data("name").unwrap();
        assert_eq!((&value.bytes[..], value.cas), (&b""[..], host.inner().shared_data("name").unwrap().cas));
        assert_eq!(host.set_shared_data("name", b"own", Write::IfAbsent), Err(Conflict));
        assert_eq!(host.set_shared_data("name", b"own", Write::IfVersion(value.cas)), Ok(()));
        assert_eq!(host.shared_data("name").unwrap().bytes, b"own");
    }
}

#[test]
fn without_a_key_values_are_stored_in_plaintext() {
    let host = Sealed::new(Process::default(), None);
    host.set_shared_data("name", b"plain", Write::IfAbsent).unwrap();
    assert_eq!(host.inner().shared_data("name").unwrap().bytes, b"plain");
    host.inner().set_shared_data("name", b"theirs", Write::Always).unwrap();
    assert_eq!(host.shared_data("name"), host.inner().shared_data("name"));
}

#[test]
fn the_keyed_hash_comes_from_the_key_alone() {
    let hash = |key: &str| Sealed::new(Process::default(), Some(Seal::new(key, [1; 16]).unwrap())).keyed_hash(b"name");
    assert_eq!(hash(KEY), hash(KEY), "in another process too");
    assert_ne!(hash(KEY), hash(OTHER_KEY), "so that only who knows the key can choose a row");
}

#[test]
fn the_warning_for_unsealed_data_is_repeated_only_after_sealing() {
    let host = Process::default();
    for (is_sealed, is_said) in
        [(false, true), (false, false), (true, false), (true, false), (false, true), (false, false)]
    {
        assert_eq!(is_newly_unsealed(is_sealed, &host), is_said);
    }
    let sealed_first = Process::default();
    assert!(!is_newly_unsealed(true, &sealed_first));
    assert!(is_newly_unsealed(false, &sealed_first));
}
