//! Certificates for tests: an authority, and what it signs.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, PublicKeyData,
    SerialNumber, SignatureAlgorithm, SigningKey,
};
use rsa::{
    RsaPrivateKey,
    pkcs1::EncodeRsaPublicKey as _,
    pkcs1v15,
    pkcs8::DecodePrivateKey as _,
    sha2::Sha256,
    signature::{SignatureEncoding as _, Signer as _},
};

use crate::workspace;

/// Writes `ca.crt`, and for each pair of a file and a host's name the host's certificate as `<file>.crt` and
/// `<file>.key`. All have keys of the corpora, which everybody knows.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write(folder: &Path, names: &[(&str, &str)]) -> Result<()> {
    fs::create_dir_all(folder)?;
    let (authority_key, _) = Key::read("corpus_key.pem")?;
    let (key, pem) = Key::read("foreign_key.pem")?;
    let authority = authority()?;
    let certificate = authority.self_signed(&authority_key)?;
    fs::write(folder.join("ca.crt"), certificate.pem())?;
    let issuer = Issuer::new(authority, authority_key);
    for (number, (file, host)) in (2_u64..).zip(names) {
        let mut params = CertificateParams::new(vec![(*host).to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, *host);
        params.serial_number = Some(SerialNumber::from(number));
        let certificate = params.signed_by(&key, &issuer)?;
        fs::write(folder.join(format!("{file}.crt")), certificate.pem())?;
        fs::write(folder.join(format!("{file}.key")), &pem)?;
    }
    Ok(())
}

fn authority() -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "authgate's tests");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.key_identifier_method = KeyIdMethod::PreSpecified(vec![1; 20]);
    params.serial_number = Some(SerialNumber::from(1_u64));
    Ok(params)
}

/// A key that signs with the `rsa` crate.
struct Key {
    signer: pkcs1v15::SigningKey<Sha256>,
    public: Vec<u8>,
}

impl Key {
    fn read(file: &str) -> Result<(Self, String)> {
        let path = workspace().join("wasm-tests/testdata").join(file);
        let pem = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let key = RsaPrivateKey::from_pkcs8_pem(&pem)?;
        let public = key.to_public_key().to_pkcs1_der()?.into_vec();
        Ok((Self { signer: pkcs1v15::SigningKey::new(key), public }, pem))
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.signer.try_sign(message).map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature.to_vec())
    }
}
