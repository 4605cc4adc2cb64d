//! From the configuration as it is written to a [`Config`].

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{
    JwtWord, RawApiToken, RawAuthService, RawCache, RawCircuitBreaker, RawConfig, RawFailedAuthThrottle,
    RawForwardCredential, RawJwt, RawMatch, RawPublicKey, RawRequire, RawRevocation, RawRule, Word,
};
use crate::claims::TokenType;
use crate::config::profile::Defaults;
use crate::config::{
    ApiToken, AuthService, Cache, CircuitBreaker, Config, ConfigError, FailedAuthThrottle, ForwardCredential,
    HeaderType, IdentityHeaders, Jwt, MAX_CLOCK_SKEW, PublicKeySource, ResponseFormat, Revocation, StrippedHeaders,
    Verification, value,
};
use crate::json::Object;
use crate::matcher::{Matcher, PathMatch, Require, Rule, Rules};
use crate::public_key::PublicKey;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl TryFrom<RawConfig> for Config {
    type Error = ConfigError;

    fn try_from(raw: RawConfig) -> Result<Self, ConfigError> {
        let defaults = raw.profile.0.defaults();
        let api_token = raw.api_token.compile()?;
        let forward_credential = raw.forward_credential.compile(api_token.response_format)?;
        let rules: Vec<Rule> = raw
            .rules
            .into_iter()
            .enumerate()
            .map(|(index, Object(rule))| rule.compile(index))
            .collect::<Result<_, _>>()?;
        let jwt = raw.jwt.compile(&defaults)?;
        if api_token.response_format == ResponseFormat::JsonHeader
            && let Some(path) = remote_verification(&jwt, &rules)
        {
            // `json_header` tells neither the type of a token nor when it expires.
            return Err(ConfigError::new(path, "remote contradicts api_token.response_format json_header"));
        }
        let identity_headers = IdentityHeaders::new(raw.identity_headers.0)?;
        let rules = Rules::new(rules, jwt.verification);
        Ok(Self {
            auth_service: raw.auth_service.compile(&defaults)?,
            jwt,
            api_token,
            cache: raw.cache.compile(&defaults.cache)?,
            circuit_breaker: raw.circuit_breaker.compile(&defaults.circuit_breaker)?,
            revocation: raw.revocation.compile(&defaults)?,
            failed_auth_throttle: raw.failed_auth_throttle.compile()?,
            rules,
            stripped_headers: StrippedHeaders::new(&identity_headers, &raw.strip_headers)?,
            identity_headers,
            forward_credential,
            realm: realm(raw.responses.realm)?,
            cors_origins: cors_origins(raw.responses.cors_origins)?,
        })
    }
}

/// The first field that asks for remote verification.
fn remote_verification(jwt: &Jwt, rules: &[Rule]) -> Option<String> {
    if jwt.verification == Verification::Remote {
        return Some("jwt.verification".to_owned());
    }
    let index = rules.iter().position(|rule| rule.verification == Some(Verification::Remote))?;
    Some(format!("rules[{index}].verification"))
}

impl RawApiToken {
    fn compile(self) -> Result<ApiToken, ConfigError> {
        let api_token = ApiToken {
            response_format: self.response_format.0,
            header_types: value::distinct(
                "api_token.header_types",
                self.header_types.into_iter().map(|Word(kind)| kind).collect(),
            )?,
        };
        if !api_token.accepts(HeaderType::Apikey) && !api_token.accepts(HeaderType::Other) {
            return Err(ConfigError::new(
                "api_token.header_types",
                "without apikey and other nothing is ever asked about",
            ));
        }
        if api_token.accepts(HeaderType::Other) && api_token.response_format == ResponseFormat::JsonHeader {
            // `json_header` doesn't tell the type of a token, and other credentials don't tell it either.
            return Err(ConfigError::new("api_token.header_types", "other contradicts response_format json_header"));
        }
        Ok(api_token)
    }
}

impl RawForwardCredential {
    fn compile(self, response_format: ResponseFormat) -> Result<ForwardCredential, ConfigError> {
        Ok(match self {
            RawForwardCredential::Flag(true) => ForwardCredential::Keep,
            RawForwardCredential::Flag(false) => ForwardCredential::Remove,
            RawForwardCredential::Jwt(Word(JwtWord::Jwt)) if response_format.is_jwt() => ForwardCredential::VerifiedJwt,
            RawForwardCredential::Jwt(Word(JwtWord::Jwt)) => {
                return Err(ConfigError::new(
                    "forward_credential",
                    "\"jwt\" needs response_format jwt_body or jwt_header",
                ));
            }
        })
    }
}

impl RawAuthService {
    fn compile(self, defaults: &Defaults) -> Result<AuthService, ConfigError> {
        let cluster = value::visible("auth_service.cluster", self.cluster)?;
        let authority = value::authority("auth_service.authority", self.authority, &cluster)?;
        Ok(AuthService {
            cluster,
            authority,
            scheme: self.scheme.0,
            verify_path: value::service_path("auth_service.verify_path", self.verify_path)?,
            public_key_path: value::service_path("auth_service.public_key_path", self.public_key_path)?,
            timeout: duration("auth_service.timeout", self.timeout, defaults.timeout, MILLISECOND..=MINUTE)?,
            retries: value::number("auth_service.retries", self.retries, 0..=3)?,
        })
    }
}

impl RawJwt {
    fn compile(self, defaults: &Defaults) -> Result<Jwt, ConfigError> {
        let token_types = access_types("jwt.token_types", self.token_types)?;
        Ok(Jwt {
            verification: self.verification.0,
            token_types,
            issuers: non_empty("jwt.issuers", self.issuers)?,
            audiences: non_empty("jwt.audiences", self.audiences)?,
            clock_skew: value::duration("jwt.clock_skew", &self.clock_skew, Duration::ZERO..=MAX_CLOCK_SKEW)?,
            public_key: self.public_key.compile(defaults)?,
        })
    }
}

impl RawPublicKey {
    fn compile(self, defaults: &Defaults) -> Result<PublicKeySource, ConfigError> {
        let pem = self
            .pem
            .iter()
            .enumerate()
            .map(|(index, pem)| {
                PublicKey::from_pem(pem)
                    .map_err(|error| ConfigError::new(format!("jwt.public_key.pem[{index}]"), error.to_string()))
            })
            .collect::<Result<_, _>>()?;
        Ok(PublicKeySource {
            ttl: duration("jwt.public_key.ttl", self.ttl, defaults.public_key_ttl, SECOND..=YEAR)?,
            min_refetch_interval: duration(
                "jwt.public_key.min_refetch_interval",
                self.min_refetch_interval,
                defaults.min_refetch_interval,
                100 * MILLISECOND..=5 * MINUTE,
            )?,
            grace: duration("jwt.public_key.grace", self.grace, 5 * SECOND, Duration::ZERO..=DAY)?,
            pem,
        })
    }
}

impl RawCache {
    fn compile(self, defaults: &Cache) -> Result<Cache, ConfigError> {
        let max_entries = match self.max_entries {
            Some(entries) => value::number("cache.max_entries", entries, 1..=1_000_000)? as usize,
            None => defaults.max_entries,
        };
        Ok(Cache {
            max_entries,
            ttl: duration("cache.ttl", self.ttl, defaults.ttl, Duration::ZERO..=DAY)?,
            negative_ttl: duration(
                "cache.negative_ttl",
                self.negative_ttl,
                defaults.negative_ttl,
                Duration::ZERO..=HOUR,
            )?,
            stale_ttl: duration("cache.stale_ttl", self.stale_ttl, defaults.stale_ttl, Duration::ZERO..=7 * DAY)?,
            eviction: self.eviction.map_or(defaults.eviction, |Word(eviction)| eviction),
        })
    }
}

impl RawCircuitBreaker {
    fn compile(self, defaults: &CircuitBreaker) -> Result<CircuitBreaker, ConfigError> {
        let failures = self.failures.unwrap_or(defaults.failures);
        Ok(CircuitBreaker {
            failures: value::number("circuit_breaker.failures", failures, 1..=1000)?,
            open_for: duration("circuit_breaker.open_for", self.open_for, defaults.open_for, 100 * MILLISECOND..=HOUR)?,
            fallback: self.fallback.unwrap_or(defaults.fallback),
        })
    }
}

impl RawRevocation {
    fn compile(self, defaults: &Defaults) -> Result<Option<Revocation>, ConfigError> {
        let poll_interval =
            duration("revocation.poll_interval", self.poll_interval, defaults.poll_interval, SECOND..=HOUR)?;
        let path = self.path.map(|path| value::service_path("revocation.path", path)).transpose()?;
        Ok(path.map(|path| Revocation { path, poll_interval }))
    }
}

impl RawFailedAuthThrottle {
    fn compile(self) -> Result<Option<FailedAuthThrottle>, ConfigError> {
        let throttle = FailedAuthThrottle {
            attempts: value::number("failed_auth_throttle.attempts", self.attempts, 0..=1_000_000)?,
            window: value::duration("failed_auth_throttle.window", &self.window, SECOND..=DAY)?,
            lockout: value::duration("failed_auth_throttle.lockout", &self.lockout, SECOND..=DAY)?,
        };
        Ok((throttle.attempts > 0).then_some(throttle))
    }
}

impl RawRule {
    fn compile(self, index: usize) -> Result<Rule, ConfigError> {
        let path = format!("rules[{index}]");
        if self.public && self.require.is_some() {
            return Err(ConfigError::new(path, "public and require contradict each other"));
        }
        if self.public && self.verification.is_some() {
            let problem = "public and verification contradict each other: no credential is looked at";
            return Err(ConfigError::new(format!("{path}.verification"), problem));
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
        Ok(Rule {
            matcher: self.r#match.compile(&format!("{path}.match"))?,
            public: self.public,
            require,
            verification: self.verification.map(|Word(verification)| verification),
        })
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

/// Types of tokens that give access.
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

/// The value of a field, or its default, which is in range.
fn duration(
    path: &str,
    text: Option<String>,
    default: Duration,
    range: RangeInclusive<Duration>,
) -> Result<Duration, ConfigError> {
    text.map_or(Ok(default), |text| value::duration(path, &text, range))
}
