//! PEM and key sizes.

use super::*;

const RSA_2048: &str = include_str!("testdata/rsa_2048.pem");
const RSA_3072: &str = include_str!("testdata/rsa_3072.pem");
const RSA_4096: &str = include_str!("testdata/rsa_4096.pem");

fn der_of(pem: &str) -> Vec<u8> {
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(base64).unwrap()
}

fn pem_of(der: &[u8]) -> String {
    format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der))
}

#[test]
fn keys_of_2048_to_4096_bits_are_accepted() {
    for (pem, bytes) in [(RSA_2048, 256), (RSA_3072, 384), (RSA_4096, 512)] {
        let key = PublicKey::from_pem(pem).unwrap();
        assert_eq!(key.modulus_bytes(), bytes);
        assert_eq!(key.der(), der_of(pem), "the host gets what the service sent");
        assert_eq!(PublicKey::from_der(key.der()), Ok(key));
    }
}

#[test]
fn smaller_and_larger_keys_are_refused() {
    for (pem, bits) in [
        (include_str!("testdata/rsa_1024.pem"), 1024),
        (include_str!("testdata/rsa_2047.pem"), 2047),
        (include_str!("testdata/rsa_4097.pem"), 4097),
    ] {
        assert_eq!(PublicKey::from_pem(pem), Err(KeyError::Size(bits)));
    }
}

#[test]
fn other_algorithms_are_refused() {
    for pem in [
        include_str!("testdata/ec_p256.pem"),
        include_str!("testdata/ed25519.pem"),
        include_str!("testdata/rsa_pss_2048.pem"),
    ] {
        assert_eq!(PublicKey::from_pem(pem), Err(KeyError::NotRsa), "{pem}");
    }
}

#[test]
fn any_line_length_line_end_and_outer_white_space_is_accepted() {
    let key = PublicKey::from_pem(RSA_2048).unwrap();
    for pem in [
        RSA_2048.trim_end().to_owned(),
        RSA_2048.replace('\n', "\r\n"),
        RSA_2048.replace('\n', ""),
        RSA_2048.replace('\n', "\n\n"),
        format!("\n  {RSA_2048}\t\r\n"),
        pem_of(&der_of(RSA_2048)),
    ] {
        assert_eq!(PublicKey::from_pem(&pem), Ok(key.clone()), "{pem:?}");
    }
}

#[test]
fn anything_but_one_public_key_block_is_refused() {
    let certificate = RSA_2048.replace("PUBLIC KEY", "CERTIFICATE");
    let private = RSA_2048.replace("PUBLIC KEY", "PRIVATE KEY");
    let body = RSA_2048.replace("-----BEGIN PUBLIC KEY-----", "").replace("-----END PUBLIC KEY-----", "");
    for pem in [
        String::new(),
        "-----BEGIN PUBLIC KEY-----".to_owned(),
        "-----END PUBLIC KEY----------BEGIN PUBLIC KEY-----".to_owned(),
        include_str!("testdata/pkcs1_2048.pem").to_owned(),
        certificate,
        private,
        body,
        RSA_2048.replace("BEGIN PUBLIC", "begin public"),
        RSA_2048.replace("-----END", "----END"),
        RSA_2048.replace("-----BEGIN", "Key: x\n-----BEGIN"),
        RSA_2048.replace("KEY-----\nMII", "KEY-----\nProc-Type: 4,ENCRYPTED\n\nMII"),
        format!("{RSA_2048}{RSA_3072}"),
        format!("{RSA_2048}x"),
        RSA_2048.replacen("MII", "M!I", 1),
        RSA_2048.replacen("MII", "MI=", 1),
        RSA_2048.replacen("MII", "MII\0", 1),
        RSA_2048.replacen("MII", "MIIé", 1),
    ] {
        assert_eq!(PublicKey::from_pem(&pem), Err(KeyError::NotPem), "{pem:?}");
    }
}

#[test]
fn broken_der_is_refused() {
    let der = der_of(RSA_2048);
    let mut longer = der.clone();
    longer.push(0);
    let mut other_tag = der.clone();
    other_tag[0] = 0x31;
    for broken in [&[][..], &der[..der.len() - 1], &der[..20], &longer, &other_tag] {
        assert_eq!(PublicKey::from_pem(&pem_of(broken)), Err(KeyError::NotRsa), "{broken:02x?}");
        assert_eq!(PublicKey::from_der(broken), Err(KeyError::NotRsa));
    }
}

#[test]
fn impossible_numbers_are_refused() {
    let der = der_of(RSA_2048);
    assert!(der.ends_with(&[0x02, 0x03, 0x01, 0x00, 0x01]), "the exponent 65537 comes last");
    for exponent in [[0, 0, 0], [0, 0, 1], [0x01, 0x00, 0x00], [0xff, 0xff, 0xff]] {
        let mut changed = der.clone();
        let at = changed.len() - 3;
        changed[at..].copy_from_slice(&exponent);
        assert_eq!(PublicKey::from_der(&changed), Err(KeyError::NotRsa), "{exponent:02x?}");
    }
    let mut even_modulus = der.clone();
    let at = even_modulus.len() - 6;
    even_modulus[at] &= 0xfe;
    assert_eq!(PublicKey::from_der(&even_modulus), Err(KeyError::NotRsa));
}

#[test]
fn a_much_too_long_text_is_refused_unread() {
    let padded = |bytes: usize| format!("{RSA_2048}{}", " ".repeat(bytes - RSA_2048.len()));
    assert!(PublicKey::from_pem(&padded(MAX_PEM_BYTES)).is_ok());
    assert_eq!(PublicKey::from_pem(&padded(MAX_PEM_BYTES + 1)), Err(KeyError::NotPem));
}

#[test]
fn a_fingerprint_identifies_the_key() {
    let [one, other] = [RSA_2048, RSA_3072].map(|pem| PublicKey::from_pem(pem).unwrap());
    assert_ne!(one.fingerprint(), other.fingerprint());
    assert_eq!(one.fingerprint(), short_digest(one.der()));
    assert_eq!(format!("{one:?}"), format!("PublicKey({}, 2048 bits)", one.fingerprint()));
    // FIPS 180-2, appendix B.1.
    assert_eq!(short_digest(b"abc"), "ba7816bf");
}
