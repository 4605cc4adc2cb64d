//! The configuration as it is written, and its way into a [`Config`].

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, IntoDeserializer as _, MapAccess, Visitor};

use super::{
    ApiToken, AuthService, Config, ConfigError, ForwardCredential, HeaderType, IdentityHeaders, Jwt, PublicKeySource,
    ResponseFormat, protobuf, value,
};
use crate::claims::TokenType;
use crate::json::{Object, object};
use crate::matcher::{Matcher, PathMatch, Require, Rule};
use crate::public_key::PublicKey;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

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
    #[serde(deserialize_with = "object")]
    auth_service: RawAuthService,
    #[serde(default, deserialize_with = "object")]
    jwt: RawJwt,
    #[serde(default, deserialize_with = "object")]
    api_token: RawApiToken,
    #[serde(default)]
    rules: Vec<Object<RawRule>>,
    #[serde(default)]
    identity_headers: Pairs<Option<String>>,
    #[serde(default)]
    forward_credential: RawForwardCredential,
    #[serde(default, deserialize_with = "object")]
    responses: RawResponses,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAuthService {
    cluster: String,
    #[serde(default, deserialize_with = "present")]
    authority: Option<String>,
    #[serde(default = "verify_path")]
    verify_path: String,
    #[serde(default = "public_key_path")]
    public_key_path: String,
    #[serde(default = "one_second")]
    timeout: String,
    #[serde(default = "one", deserialize_with = "integer")]
    retries: u32,
}

fn verify_path() -> String {
    "/auth/verify".to_owned()
}

fn public_key_path() -> String {
    "/iam/public-key".to_owned()
}

fn one_second() -> String {
    "1s".to_owned()
}

const fn one() -> u32 {
    1
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawJwt {
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
            token_types: vec![TokenType::Access, TokenType::ApiToken],
            issuers: Vec::new(),
            audiences: Vec::new(),
            clock_skew: "0s".to_owned(),
            public_key: RawPublicKey::default(),
        }
    }
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPublicKey {
    ttl: String,
    min_refetch_interval: String,
    pem: Vec<String>,
}

impl Default for RawPublicKey {
    fn default() -> Self {
        Self { ttl: "1h".to_owned(), min_refetch_interval: "5s".to_owned(), pem: Vec::new() }
    }
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

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    #[serde(deserialize_with = "object")]
    r#match: RawMatch,
    #[serde(default)]
    public: bool,
    #[serde(default, deserialize_with = "present")]
    require: Option<Object<RawRequire>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMatch {
    #[serde(default, deserialize_with = "present")]
    path: Option<String>,
    #[serde(default, deserialize_with = "present")]
    prefix: Option<String>,
    #[serde(default, deserialize_with = "present")]
    regex: Option<String>,
    #[serde(default, deserialize_with = "present")]
    methods: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    hosts: Option<Vec<String>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequire {
    #[serde(default, deserialize_with = "present")]
    token_types: Option<Vec<TokenType>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawResponses {
    #[serde(deserialize_with = "present")]
    realm: Option<String>,
    cors_origins: Vec<String>,
}

/// What is there has a value: null, which YAML makes of nothing behind a key, is an error rather than an absence.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// One of a set of words: what serde derives for an enum takes an object with the word as its key as well.
#[derive(Debug)]
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

impl TryFrom<RawConfig> for Config {
    type Error = ConfigError;

    fn try_from(raw: RawConfig) -> Result<Self, ConfigError> {
        let api_token = ApiToken {
            response_format: raw.api_token.response_format.0,
            header_types: value::distinct(
                "api_token.header_types",
                raw.api_token.header_types.into_iter().map(|Word(kind)| kind).collect(),
            )?,
        };
        if !api_token.accepts(HeaderType::Apikey) && !api_token.accepts(HeaderType::Other) {
            return Err(ConfigError::new(
                "api_token.header_types",
                "without apikey and other nothing is ever asked about",
            ));
        }
        if api_token.accepts(HeaderType::Other) && api_token.response_format == ResponseFormat::JsonHeader {
            // It doesn't tell the type of a token, and of other credentials nothing is known.
            return Err(ConfigError::new("api_token.header_types", "other contradicts response_format json_header"));
        }
        let forward_credential = match raw.forward_credential {
            RawForwardCredential::Flag(true) => ForwardCredential::Keep,
            RawForwardCredential::Flag(false) => ForwardCredential::Remove,
            RawForwardCredential::Jwt(Word(JwtWord::Jwt)) if api_token.response_format.is_jwt() => {
                ForwardCredential::VerifiedJwt
            }
            RawForwardCredential::Jwt(Word(JwtWord::Jwt)) => {
                return Err(ConfigError::new(
                    "forward_credential",
                    "\"jwt\" needs api_token.response_format jwt_body or jwt_header",
                ));
            }
        };
        let rules = raw
            .rules
            .into_iter()
            .enumerate()
            .map(|(index, Object(rule))| rule.compile(index))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            auth_service: raw.auth_service.try_into()?,
            jwt: raw.jwt.try_into()?,
            api_token,
            rules,
            identity_headers: IdentityHeaders::new(raw.identity_headers.0)?,
            forward_credential,
            realm: realm(raw.responses.realm)?,
            cors_origins: cors_origins(raw.responses.cors_origins)?,
        })
    }
}

impl TryFrom<RawAuthService> for AuthService {
    type Error = ConfigError;

    fn try_from(raw: RawAuthService) -> Result<Self, ConfigError> {
        let cluster = value::visible("auth_service.cluster", raw.cluster)?;
        let authority = match raw.authority {
            Some(authority) => value::visible("auth_service.authority", authority)?,
            None => cluster.clone(),
        };
        if raw.retries > 3 {
            return Err(ConfigError::new("auth_service.retries", format!("{} is out of range: 0 to 3", raw.retries)));
        }
        Ok(Self {
            cluster,
            authority,
            verify_path: value::service_path("auth_service.verify_path", raw.verify_path)?,
            public_key_path: value::service_path("auth_service.public_key_path", raw.public_key_path)?,
            timeout: value::duration("auth_service.timeout", &raw.timeout, MILLISECOND..=MINUTE)?,
            retries: raw.retries,
        })
    }
}

impl TryFrom<RawJwt> for Jwt {
    type Error = ConfigError;

    fn try_from(raw: RawJwt) -> Result<Self, ConfigError> {
        let token_types = access_types("jwt.token_types", raw.token_types)?;
        Ok(Self {
            token_types,
            issuers: non_empty("jwt.issuers", raw.issuers)?,
            audiences: non_empty("jwt.audiences", raw.audiences)?,
            clock_skew: value::duration("jwt.clock_skew", &raw.clock_skew, Duration::ZERO..=5 * MINUTE)?,
            public_key: raw.public_key.try_into()?,
        })
    }
}

impl TryFrom<RawPublicKey> for PublicKeySource {
    type Error = ConfigError;

    fn try_from(raw: RawPublicKey) -> Result<Self, ConfigError> {
        let path = "jwt.public_key";
        let pem = raw
            .pem
            .iter()
            .enumerate()
            .map(|(index, pem)| {
                PublicKey::from_pem(pem)
                    .map_err(|error| ConfigError::new(format!("{path}.pem[{index}]"), error.to_string()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            ttl: value::duration(&format!("{path}.ttl"), &raw.ttl, SECOND..=YEAR)?,
            min_refetch_interval: value::duration(
                &format!("{path}.min_refetch_interval"),
                &raw.min_refetch_interval,
                100 * MILLISECOND..=5 * MINUTE,
            )?,
            pem,
        })
    }
}

impl RawRule {
    fn compile(self, index: usize) -> Result<Rule, ConfigError> {
        let path = format!("rules[{index}]");
        if self.public && self.require.is_some() {
            return Err(ConfigError::new(path, "public and require contradict each other"));
        }
        let require = match self.require {
            None => Require::default(),
            Some(Object(RawRequire { token_types: None })) => {
                return Err(ConfigError::new(format!("{path}.require"), "must not be empty"));
            }
            Some(Object(RawRequire { token_types: Some(types) })) => {
                Require { token_types: Some(access_types(&format!("{path}.require.token_types"), types)?) }
            }
        };
        Ok(Rule { matcher: self.r#match.compile(&format!("{path}.match"))?, public: self.public, require })
    }
}

impl RawMatch {
    fn compile(self, path: &str) -> Result<Matcher, ConfigError> {
        let path_match = match (self.path, self.prefix, self.regex) {
            (None, None, None) if self.methods.is_none() && self.hosts.is_none() => {
                return Err(ConfigError::new(path, "must not be empty; {\"prefix\": \"/\"} matches every path"));
            }
            (None, None, None) => PathMatch::Any,
            (Some(exact), None, None) => PathMatch::exact(&exact).map_err(at(path, "path"))?,
            (None, Some(prefix), None) => PathMatch::prefix(&prefix).map_err(at(path, "prefix"))?,
            (None, None, Some(regex)) => PathMatch::regex(&regex).map_err(at(path, "regex"))?,
            _ => return Err(ConfigError::new(path, "path, prefix and regex exclude each other")),
        };
        let methods = self.methods.map(|methods| value::distinct(&format!("{path}.methods"), methods)).transpose()?;
        let hosts = self.hosts.map(|hosts| value::distinct(&format!("{path}.hosts"), hosts)).transpose()?;
        Matcher::new(path_match, methods.unwrap_or_default(), hosts.unwrap_or_default())
            .map_err(|(field, problem)| ConfigError::new(format!("{path}.{field}"), problem))
    }
}

/// Types of tokens that are to give access.
fn access_types(path: &str, types: Vec<TokenType>) -> Result<Vec<TokenType>, ConfigError> {
    let types = value::distinct(path, types)?;
    match types.iter().position(|kind| *kind == TokenType::Refresh) {
        Some(index) => Err(ConfigError::new(format!("{path}[{index}]"), "a refresh token is never an access token")),
        None => Ok(types),
    }
}

fn at(path: &str, field: &str) -> impl FnOnce(String) -> ConfigError {
    let path = format!("{path}.{field}");
    move |problem| ConfigError::new(path, problem)
}

fn non_empty(path: &str, list: Vec<String>) -> Result<Vec<String>, ConfigError> {
    match list.iter().position(String::is_empty) {
        Some(index) => Err(ConfigError::new(format!("{path}[{index}]"), "must not be empty")),
        None => Ok(list),
    }
}

fn realm(raw: Option<String>) -> Result<String, ConfigError> {
    let realm = raw.unwrap_or_else(|| "authgate".to_owned());
    let quotable = |byte: u8| (byte == b' ' || byte.is_ascii_graphic()) && byte != b'"' && byte != b'\\';
    if !realm.is_empty() && realm.bytes().all(quotable) {
        Ok(realm)
    } else {
        Err(ConfigError::new("responses.realm", "must be visible ASCII without \" and \\, and not empty"))
    }
}

/// RFC 6454 section 6.2: scheme, host and, where it isn't the scheme's own, port. `*` can't be meant: denials are
/// answered with credentials allowed.
fn cors_origins(origins: Vec<String>) -> Result<Vec<String>, ConfigError> {
    for (index, origin) in origins.iter().enumerate() {
        let is_host = |host: &str| {
            let byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]".contains(&byte);
            !host.is_empty() && host.bytes().all(byte)
        };
        if !origin.split_once("://").is_some_and(|(scheme, host)| is_host(scheme) && is_host(host)) {
            return Err(ConfigError::new(
                format!("responses.cors_origins[{index}]"),
                format!("{origin:?} is no origin: write it as a browser does, as in \"https://app.example.com\""),
            ));
        }
    }
    Ok(origins)
}
