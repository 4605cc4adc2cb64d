//! A JWT (RFC 7519) in JWS compact serialisation (RFC 7515 section 7.1): from the bytes of an unknown client to claims
//! that the service has signed.
//!
//! ```text
//! bytes ── UntrustedJwt::parse ──► UntrustedJwt ── verify ──► VerifiedClaims
//! ```
//!
//! [`UntrustedJwt::parse`] refuses everything that can be refused without arithmetic. Keys in the header (`jwk`, `jku`,
//! `x5u`, `x5c`) are never read; its `kid` can only choose among the keys of a [`KeySet`], and its `alg` among the keys
//! of that algorithm.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ascii;
use crate::claims::{self, ClaimName, Claims, ClaimsError, KeptClaims};
use crate::credential::Redacted;
use crate::host::Signatures;
use crate::json::{self, JsonError, Reader};
use crate::key_set::KeySet;
use crate::public_key::{KeyId, SigningAlgorithm};
use crate::signature::{Rs256, Rs256Signature};

/// The longest token that is decoded, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// `{"typ":"JWT","alg":"RS256"}`, as the service writes it.
const USUAL_HEADER: &[u8] = b"eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9";

/// Why bytes are not a JWT of the service, whatever their signature is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not three segments, none of them empty.
    #[error("not three segments separated by dots")]
    Segments,
    /// A segment is not base64url without padding in its one canonical form (RFC 7515 section 2).
    #[error("the {0} is not canonical base64url without padding")]
    Base64(&'static str),
    /// The header is not strict JSON, or lacks `alg`.
    #[error("header: {0}")]
    Header(JsonError),
    /// `alg` isn't RS256.
    #[error("header: `alg` is not RS256")]
    Algorithm,
    /// `typ` isn't JWT.
    #[error("header: `typ` is not JWT")]
    Type,
    /// `crit` requires an extension (RFC 7515 section 4.1.11), and the filter supports none.
    #[error("header: `crit` requires extensions, and none is supported")]
    Critical,
    /// No key of 2048 to 4096 bits makes a signature of this length.
    #[error("the signature's length fits no key of 2048 to 4096 bits")]
    SignatureLength,
    /// The claims are not those of docs/reference.md#claims.
    #[error("claims: {0}")]
    Claims(#[from] ClaimsError),
}

#[derive(Default)]
struct Header {
    alg: Option<Box<str>>,
    typ: Option<Box<str>>,
    kid: Option<Box<str>>,
    /// Whether it is there with any value, null included.
    crit: bool,
}

impl Header {
    fn member(&mut self, reader: &mut Reader<'_>, name: &str) -> Option<()> {
        match name {
            "alg" => self.alg = Some(reader.string()?),
            "typ" => self.typ = Some(reader.string()?),
            "kid" => self.kid = Some(reader.string()?),
            _ => {
                reader.skip()?;
                self.crit |= name == "crit";
            }
        }
        Some(())
    }
}

/// A well-formed JWT that says it is signed with RS256. Its claims mean nothing yet.
#[derive(Debug, Clone)]
pub struct UntrustedJwt<'t> {
    token: Redacted<&'t [u8]>,
    signed_bytes: usize,
    algorithm: SigningAlgorithm,
    kid: Option<Box<str>>,
    signature: Rs256Signature,
    claims: Box<Claims>,
}

impl<'t> UntrustedJwt<'t> {
    /// Parses a token.
    ///
    /// # Errors
    /// `ParseError` says why it isn't a JWT of the service.
    pub fn parse(token: &'t [u8]) -> Result<Self, ParseError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(ParseError::TooLong);
        }
        let [header, claims, signature] = segments(token).ok_or(ParseError::Segments)?;
        let (algorithm, kid) = if header == USUAL_HEADER {
            (SigningAlgorithm::Rs256, None)
        } else {
            read_header(&decode("header", header)?)?
        };
        let signed_bytes = header.len() + 1 + claims.len();
        let signature = Rs256Signature::new(decode("signature", signature)?);
        if !signature.has_possible_length() {
            return Err(ParseError::SignatureLength);
        }
        let claims = Box::new(Claims::from_json(&decode("claims", claims)?)?);
        Ok(Self { token: Redacted(token), signed_bytes, algorithm, kid, signature, claims })
    }

    /// The unverified claims: they may suffice to refuse the JWT, never to accept it.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The first of these claims that the JWT lacks.
    pub fn missing<'n>(&self, required: &'n [ClaimName]) -> Option<&'n ClaimName> {
        if required.is_empty() { None } else { claims::missing(required, &claims_json(&self.token)) }
    }

    /// The token itself, to be kept longer than its request.
    pub fn into_token(self) -> Vec<u8> {
        self.token.to_vec()
    }

    /// Tries the keys in turn. This is the only way to `VerifiedClaims`.
    ///
    /// # Errors
    /// The JWT itself if its signature fits none of these keys, so that others can be tried.
    pub fn verify<H: Signatures + ?Sized>(
        self,
        rs256: &Rs256<'_, H>,
        keys: &(impl KeySet + ?Sized),
    ) -> Result<VerifiedClaims, Self> {
        let signed = self.token.get(..self.signed_bytes).unwrap_or_default();
        for key in keys.candidates(self.kid.as_deref()).filter(|key| key.algorithm() == self.algorithm) {
            if rs256.verify(key, &self.signature, signed) {
                return Ok(VerifiedClaims { claims: self.claims, token: Redacted(self.token.to_vec()), key: key.id() });
            }
        }
        Err(self)
    }
}

/// Claims that the service has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedClaims {
    claims: Box<Claims>,
    token: Redacted<Vec<u8>>,
    key: KeyId,
}

impl VerifiedClaims {
    /// The key that the signature fits.
    pub const fn key(&self) -> KeyId {
        self.key
    }

    /// Adds the kept claims that the filter doesn't know.
    #[must_use]
    pub fn keeping(mut self, kept: &KeptClaims) -> Self {
        if kept.has_others() {
            self.claims.keep(kept, &claims_json(&self.token));
        }
        self
    }

    /// The claims, and the token that carried them.
    pub fn into_parts(self) -> (Box<Claims>, Vec<u8>) {
        (self.claims, self.token.0)
    }
}

/// Three segments between dots, none of them empty.
fn segments(token: &[u8]) -> Option<[&[u8]; 3]> {
    let (header, rest) = ascii::split_at_dot(token)?;
    let (claims, signature) = ascii::split_at_dot(rest)?;
    let is_whole = !header.is_empty() && !claims.is_empty() && !signature.is_empty();
    (is_whole && ascii::split_at_dot(signature).is_none()).then_some([header, claims, signature])
}

fn decode(name: &'static str, segment: &[u8]) -> Result<Vec<u8>, ParseError> {
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| ParseError::Base64(name))
}

/// The JSON of the claims in a token that was parsed.
fn claims_json(token: &[u8]) -> Vec<u8> {
    let segment = token.split(|byte| *byte == b'.').nth(1).unwrap_or_default();
    URL_SAFE_NO_PAD.decode(segment).unwrap_or_default()
}

/// The algorithm that the header names, and the id of the key.
fn read_header(header: &[u8]) -> Result<(SigningAlgorithm, Option<Box<str>>), ParseError> {
    let (header, alg) = json::parse(header, |reader| {
        let mut header = Header::default();
        reader.object(&mut |reader, name| header.member(reader, name))?;
        let alg = reader.required(header.alg.take(), "missing field `alg`")?;
        Some((header, alg))
    })
    .map_err(ParseError::Header)?;
    if header.crit {
        return Err(ParseError::Critical);
    }
    let algorithm = SigningAlgorithm::from_name(&alg).ok_or(ParseError::Algorithm)?;
    if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
        return Err(ParseError::Type);
    }
    Ok((algorithm, header.kid))
}

#[cfg(test)]
mod tests;
