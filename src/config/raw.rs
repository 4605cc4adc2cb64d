//! The configuration as it is written.

mod compile;

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, IntoDeserializer as _, MapAccess, Visitor};

use super::{ConfigError, Eviction, HeaderType, Profile, ResponseFormat, Scheme, Verification, protobuf};
use crate::claims::TokenType;
use crate::json::{Object, not_null, object};

/// The largest configuration that is read, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// Parses strictly: unknown fields, wrong types and fields that stand there twice are errors with their path.
pub(super) fn parse(bytes: &[u8]) -> Result<RawConfig, ConfigError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ConfigError::new("auth_service.cluster", "is required, and the configuration is empty"));
    }
    if bytes.len() > MAX_BYTES {
        return Err(ConfigError::new("configuration", format!("is larger than {MAX_BYTES} bytes")));
    }
    // A serialised Struct holds control bytes, so it is never JSON; JSON is tried first, for its better errors.
    let is_json = serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    if let Some(value) = protobuf::decode(bytes).filter(|_| !is_json) {
        return deserialize(value);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let raw = deserialize(&mut deserializer)?;
    deserializer.end().map_err(|error| ConfigError::new("configuration", error.to_string()))?;
    Ok(raw)
}

fn deserialize<'de, D: Deserializer<'de, Error = serde_json::Error>>(
    deserializer: D,
) -> Result<RawConfig, ConfigError> {
    serde_path_to_error::deserialize(deserializer).map(|Object(raw)| raw).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." || path.is_empty() { "configuration".to_owned() } else { path };
        ConfigError::new(path, error.inner().to_string())
    })
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    #[serde(default)]
    profile: Word<Profile>,
    #[serde(deserialize_with = "object")]
    auth_service: RawAuthService,
    #[serde(default, deserialize_with = "object")]
    jwt: RawJwt,
    #[serde(default, deserialize_with = "object")]
    api_token: RawApiToken,
    #[serde(default, deserialize_with = "object")]
    cache: RawCache,
    #[serde(default, deserialize_with = "object")]
    circuit_breaker: RawCircuitBreaker,
    #[serde(default, deserialize_with = "object")]
    revocation: RawRevocation,
    #[serde(default, deserialize_with = "object")]
    failed_auth_throttle: RawFailedAuthThrottle,
    #[serde(default)]
    rules: Vec<Object<RawRule>>,
    #[serde(default)]
    identity_headers: Pairs<Option<String>>,
    #[serde(default)]
    strip_headers: Vec<String>,
    #[serde(default)]
    forward_credential: RawForwardCredential,
    #[serde(default, deserialize_with = "object")]
    responses: RawResponses,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAuthService {
    cluster: String,
    #[serde(default, deserialize_with = "not_null")]
    authority: Option<String>,
    #[serde(default)]
    scheme: Word<Scheme>,
    #[serde(default = "verify_path")]
    verify_path: String,
    #[serde(default = "public_key_path")]
    public_key_path: String,
    #[serde(default, deserialize_with = "not_null")]
    timeout: Option<String>,
    #[serde(default = "one", deserialize_with = "integer")]
    retries: u32,
}

fn verify_path() -> String {
    "/auth/verify".to_owned()
}

fn public_key_path() -> String {
    "/iam/public-key".to_owned()
}

const fn one() -> u32 {
    1
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawJwt {
    verification: Word<Verification>,
    token_types: Vec<TokenType>,
    issuers: Vec<String>,
    audiences: Vec<String>,
    clock_skew: String,
    #[serde(deserialize_with = "object")]
    public_key: RawPublicKey,
}

impl Default for RawJwt {
    fn default() -> Self {
        Self {
            verification: Word(Verification::Local),
            token_types: vec![TokenType::Access, TokenType::ApiToken],
            issuers: Vec::new(),
            audiences: Vec::new(),
            clock_skew: "0s".to_owned(),
            public_key: RawPublicKey::default(),
        }
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPublicKey {
    #[serde(deserialize_with = "not_null")]
    ttl: Option<String>,
    #[serde(deserialize_with = "not_null")]
    min_refetch_interval: Option<String>,
    #[serde(deserialize_with = "not_null")]
    grace: Option<String>,
    pem: Vec<String>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawApiToken {
    response_format: Word<ResponseFormat>,
    header_types: Vec<Word<HeaderType>>,
}

impl Default for RawApiToken {
    fn default() -> Self {
        Self { response_format: Word(ResponseFormat::JsonBody), header_types: vec![Word(HeaderType::Apikey)] }
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawCache {
    #[serde(deserialize_with = "some_integer")]
    max_entries: Option<u32>,
    #[serde(deserialize_with = "not_null")]
    ttl: Option<String>,
    #[serde(deserialize_with = "not_null")]
    negative_ttl: Option<String>,
    #[serde(deserialize_with = "not_null")]
    stale_ttl: Option<String>,
    #[serde(deserialize_with = "not_null")]
    eviction: Option<Word<Eviction>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawCircuitBreaker {
    #[serde(deserialize_with = "some_integer")]
    failures: Option<u32>,
    #[serde(deserialize_with = "not_null")]
    open_for: Option<String>,
    #[serde(deserialize_with = "not_null")]
    fallback: Option<bool>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRevocation {
    /// Null stands for a service without a list.
    path: Option<String>,
    #[serde(deserialize_with = "not_null")]
    poll_interval: Option<String>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawFailedAuthThrottle {
    #[serde(deserialize_with = "integer")]
    attempts: u32,
    window: String,
    lockout: String,
}

impl Default for RawFailedAuthThrottle {
    fn default() -> Self {
        Self { attempts: 0, window: "60s".to_owned(), lockout: "300s".to_owned() }
    }
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    #[serde(deserialize_with = "object")]
    r#match: RawMatch,
    #[serde(default)]
    public: bool,
    #[serde(default, deserialize_with = "not_null")]
    require: Option<Object<RawRequire>>,
    #[serde(default, deserialize_with = "not_null")]
    verification: Option<Word<Verification>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMatch {
    #[serde(default, deserialize_with = "not_null")]
    path: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    prefix: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    regex: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    methods: Option<Vec<String>>,
    #[serde(default, deserialize_with = "not_null")]
    hosts: Option<Vec<String>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequire {
    #[serde(default, deserialize_with = "not_null")]
    token_types: Option<Vec<TokenType>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawResponses {
    #[serde(deserialize_with = "not_null")]
    realm: Option<String>,
    cors_origins: Vec<String>,
}

/// One of a set of words, as a string alone: what serde derives for an enum would also take an object with the word as
/// its key.
#[derive(Debug, Default, Clone, Copy)]
struct Word<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(String::deserialize(deserializer)?.into_deserializer()).map(Self)
    }
}

/// `true`, `false` or `"jwt"`.
#[derive(Debug, serde::Deserialize)]
#[serde(untagged, expecting = "expected true, false or \"jwt\"")]
enum RawForwardCredential {
    Flag(bool),
    Jwt(Word<JwtWord>),
}

#[derive(Debug, serde::Deserialize)]
enum JwtWord {
    #[serde(rename = "jwt")]
    Jwt,
}

impl Default for RawForwardCredential {
    fn default() -> Self {
        Self::Flag(true)
    }
}

/// An object in the order in which it is written; a key that stands there twice is an error.
#[derive(Debug)]
struct Pairs<T>(Vec<(String, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for PairsVisitor<T> {
            type Value = Pairs<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
                let mut pairs: Vec<(String, T)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, T>()? {
                    if pairs.iter().any(|(earlier, _)| *earlier == key) {
                        return Err(A::Error::custom(format!("duplicate field `{key}`")));
                    }
                    pairs.push((key, value));
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

/// A whole number. Envoy's `Struct` keeps every number as a double, so `1.0` is one too.
fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just above")]
        Ok(number as u32)
    } else {
        Err(D::Error::custom(format!("{number} is not a whole number from 0 up")))
    }
}

/// For `deserialize_with` and `default`: an [`integer`] that may be missing.
fn some_integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    integer(deserializer).map(Some)
}
