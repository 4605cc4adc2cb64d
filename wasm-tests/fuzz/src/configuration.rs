//! The configuration, as JSON and as a serialised `google.protobuf.Struct`. JSON is tried first: a
//! `Struct` contains control bytes, so it is never JSON.

use std::collections::BTreeSet;
use std::time::Duration;

use authgate::config::{Access, Config, ConfigErrors, Mode, ResponseFormat, Terms, Verification};
use authgate::host::Cx;
use authgate::internals::world::Process;
use authgate::{Filter, Instant, RequestHead, Resolution, Step, TokenType, lend};
use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as Proto};
use serde_json::Value;

use crate::oracle::json::{self, Json};

/// Far below the limit of serde_json, and far above what any configuration needs.
const DEPTH: usize = 100;

/// In milliseconds.
const HOUR: u64 = 3_600_000;

/// The number of confusions that are tried for one input.
const CONFUSIONS: usize = 6;

/// Checks one input.
///
/// # Panics
/// If a promise is broken.
pub fn run(data: &[u8]) {
    let found = Config::from_bytes(data);
    if let Err(errors) = &found {
        assert!(errors.iter().count() > 0, "a refusal says why");
        for error in errors.iter() {
            assert!(!error.path.is_empty() && !error.problem.is_empty(), "an error names its field: {error:?}");
        }
    }
    let Some(written) = json::parse(data, DEPTH) else {
        // Neither JSON nor a `Struct`; or a `Struct`, which means the same as its JSON. Envoy writes each field once,
        // so a repeated field may be refused, whatever protobuf makes of it.
        let decoded = Struct::decode(data).ok();
        assert!(found.is_err() || decoded.is_some(), "bytes are taken that are neither JSON nor a Struct");
        if let Some(decoded) = decoded {
            let plain = decoded.encode_to_vec();
            let of_json = Config::from_bytes(object(decoded).to_string().as_bytes());
            same(&of_json, &Config::from_bytes(&plain));
            if found.is_ok() {
                same(&of_json, &found);
            }
        }
        return;
    };
    if !written.is_unambiguous() {
        assert!(found.is_err(), "a configuration with a repeated key is taken");
        return;
    }
    let value: Value = serde_json::from_slice(data).expect("JSON for one reader is JSON for the other");
    same(&Config::from_bytes(value.to_string().as_bytes()), &found);
    if let Value::Object(members) = &value {
        let fields = members.iter().map(|(name, value)| (name.clone(), proto(value))).collect();
        same(&Config::from_bytes(&Struct { fields }.encode_to_vec()), &found);
    } else {
        assert!(found.is_err(), "a configuration that is no object is taken");
    }
    if let Ok(config) = found {
        in_bounds(&config);
        serves(config);
        let seed = data.iter().fold(data.len(), |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        for number in 0..CONFUSIONS {
            confuse(&written, seed.wrapping_add(number * 7));
        }
    }
}

/// Checks that a configuration is refused once a value has another type or an object another key.
///
/// # Panics
/// If one isn't refused.
pub fn refuses_every_confusion(data: &[u8]) {
    let written = json::parse(data, DEPTH).expect("JSON");
    assert!(Config::from_bytes(data).is_ok(), "only of a good configuration");
    for number in 0..written.nodes() * 4 {
        confuse(&written, number);
    }
}

fn same(one: &Result<Config, ConfigErrors>, other: &Result<Config, ConfigErrors>) {
    match (one, other) {
        (Ok(one), Ok(other)) => assert_eq!(shape(one), shape(other), "one value, two configurations"),
        (Err(_), Err(_)) => {}
        _ => panic!("one spelling is taken and the other isn't: {one:?} and {other:?}"),
    }
}

/// All that a configuration says. The order of headers isn't part of it, because a `Struct` has none.
fn shape(config: &Config) -> String {
    let mut headers: Vec<String> = config.identity_headers.iter().map(|header| format!("{header:?}")).collect();
    headers.sort();
    let text = format!("{config:?}").replace(&format!("{:?}", config.stripped_headers), "");
    text.replace(&format!("{:?}", config.identity_headers), &headers.concat())
}

/// Gives one value of an accepted configuration another type, or one object an extra key.
fn confuse(written: &Json, number: usize) {
    let mut confused = written.clone();
    forget_claims(&mut confused);
    let nodes = confused.nodes();
    let node = confused.node(number % nodes).expect("a number below the count");
    let one = || Json::Number("1".to_owned());
    *node = match (&*node, number / nodes % 4) {
        (Json::Object(members), 0) => {
            let mut members = members.clone();
            members.push(("not_a_field".to_owned(), one()));
            Json::Object(members)
        }
        (Json::Object(members), 1) => Json::Array(members.iter().map(|(_, value)| value.clone()).collect()),
        (Json::Object(members), 2) if !members.is_empty() => {
            let mut members = members.clone();
            members.push(members[0].clone());
            Json::Object(members)
        }
        (Json::Object(_), _) => one(),
        (Json::Array(entries), 0) => {
            let numbered = entries.iter().enumerate().map(|(index, entry)| (index.to_string(), entry.clone()));
            Json::Object(numbered.collect())
        }
        (Json::Array(_), 1) => Json::Text("GET".to_owned()),
        (Json::Array(_), _) => one(),
        (Json::Text(text), 0) => Json::Object(vec![(text.clone(), Json::Null)]),
        (Json::Text(text), 1) => Json::Array(vec![Json::Text(text.clone())]),
        (Json::Text(_), _) => one(),
        (Json::Number(number), 0) => Json::Text(number.clone()),
        (Json::Number(number), 1) => Json::Array(vec![Json::Number(number.clone())]),
        (Json::Bool(flag), 0) => Json::Text(flag.to_string()),
        (Json::Bool(flag), 1) => Json::Number(u8::from(*flag).to_string()),
        (Json::Number(_) | Json::Bool(_), _) => Json::Object(Vec::new()),
        (Json::Null, 0) => Json::Object(Vec::new()),
        (Json::Null, 1) => Json::Array(vec![Json::Null]),
        (Json::Null, _) => Json::Bool(false),
    };
    let text = confused.text();
    assert!(Config::from_bytes(text.as_bytes()).is_err(), "taken in spite of a wrong type: {text}");
}

/// Removes each `claims`: a value of a claim that the filter doesn't know may have another type.
fn forget_claims(json: &mut Json) {
    match json {
        Json::Object(members) => {
            members.retain(|(name, _)| name != "claims");
            members.iter_mut().for_each(|(_, value)| forget_claims(value));
        }
        Json::Array(entries) => entries.iter_mut().for_each(forget_claims),
        _ => {}
    }
}

/// The ranges of values in docs/reference.md#configuration.
fn in_bounds(config: &Config) {
    let between = |low, value, high| Duration::from_millis(low) <= value && value <= Duration::from_millis(high);
    let service = &config.auth_service;
    assert!(between(1, service.timeout, 60_000) && service.retries <= 3);
    for text in [&service.cluster, &service.authority, &service.verify_path, &service.public_key_path] {
        assert!(!text.is_empty() && text.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{text:?}");
    }
    assert!(service.verify_path.starts_with('/') && service.public_key_path.starts_with('/'));
    assert!(between(0, config.jwt.clock_skew, 300_000));
    assert!(between(100, config.jwt.public_key.min_refetch_interval, 300_000));
    assert!(between(0, config.jwt.public_key.grace, 86_400_000));
    assert!(config.jwt.public_key.ttl >= Duration::from_secs(1));
    assert!((1..=1_000_000).contains(&config.cache.max_entries));
    assert!(between(0, config.cache.ttl, 24 * HOUR) && between(0, config.cache.negative_ttl, HOUR));
    assert!(between(0, config.cache.stale_ttl, 168 * HOUR));
    assert!(
        (1..=1000).contains(&config.circuit_breaker.failures) && between(100, config.circuit_breaker.open_for, HOUR)
    );
    if let Some(revocation) = &config.revocation {
        assert!(revocation.path.starts_with('/') && revocation.path.bytes().all(|byte| (0x21..0x7f).contains(&byte)));
        assert!(between(1_000, revocation.poll_interval, HOUR));
    }
    if let Some(throttle) = &config.failed_auth_throttle {
        assert!((1..=1_000_000).contains(&throttle.attempts));
        assert!(between(1_000, throttle.window, 24 * HOUR) && between(1_000, throttle.lockout, 24 * HOUR));
    }
    let asks = config.rules.all_terms().any(|terms| terms.verification == Verification::Remote);
    assert!(!asks || config.api_token.response_format != ResponseFormat::JsonHeader, "an answer that says too little");
    assert!(!config.jwt.token_types.is_empty() && !config.api_token.header_types.is_empty());
    for kind in [TokenType::Refresh, TokenType::PasswordReset, TokenType::Unknown] {
        assert!(!config.jwt.token_types.contains(&kind), "such a token is never an access token");
    }
    assert!(!config.forwards_jwt() || config.api_token.response_format.is_jwt());
    rules(config);
    assert!(!config.realm.is_empty() && config.realm.bytes().all(|byte| (b' '..0x7f).contains(&byte)));
    assert!(!config.realm.contains(['"', '\\']), "a realm that ends its own quotes");
    assert!(config.cors_origins.iter().all(|origin| origin != "*" && origin.bytes().all(|byte| byte > b' ')));
    for name in ["x-user-id", "x-client-id", "x-user-email", "x-user-type", "x-is-admin"] {
        assert!(config.stripped_headers.covers(name.as_bytes()), "{name} is left to clients");
    }
    for name in ["authorization", "host", "cookie", "content-length", "transfer-encoding", "te", "connection", ":path"]
    {
        assert!(!config.stripped_headers.covers(name.as_bytes()), "{name} is stripped");
    }
    let names: Vec<String> = config.identity_headers.iter().map(|header| folded(&header.name)).collect();
    for (index, name) in names.iter().enumerate() {
        assert!(!names[..index].contains(name), "{name} is set twice");
        assert!(name.bytes().all(|byte| byte > b' ' && byte < 0x7f && !byte.is_ascii_uppercase()), "{name:?}");
        assert!(config.stripped_headers.covers(name.as_bytes()), "{name} is left to clients");
        for reserved in ["authorization", "host", "cookie", "content-length", "transfer-encoding", "te", "connection"] {
            assert_ne!(name, reserved);
        }
    }
}

/// Each rule has a unique name that is valid in a label, and no setting without effect.
fn rules(config: &Config) {
    let names: BTreeSet<&str> = config.rules.iter().map(|rule| &*rule.name).collect();
    assert_eq!(names.len(), config.rules.len(), "two rules of one name");
    for name in names {
        assert!(name != "none" && name.len() <= 64 && name.starts_with(|first: char| first.is_ascii_alphabetic()));
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)), "{name:?}");
    }
    let filter = config.rules.terms(None);
    for Terms { access, verification, forward_credential, .. } in config.rules.iter().map(|rule| &rule.terms) {
        assert!(!matches!(access, Access::Public | Access::Deny) || *verification == filter.verification);
        assert!(*access != Access::Deny || *forward_credential == filter.forward_credential);
    }
}

/// The name of a header, folded as by servers.
fn folded(name: &str) -> String {
    name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-")
}

/// A filter runs with it. Without a credential, a request goes on only in shadow mode or if its rule needs none.
fn serves(config: Config) {
    let may_pass = config
        .rules
        .all_terms()
        .any(|terms| matches!(terms.access, Access::Public | Access::Optional) || terms.mode == Mode::Shadow);
    let may_deny = config.rules.all_terms().any(|terms| terms.access == Access::Deny);
    let headers: Vec<(String, Vec<u8>)> = [(":path", "/"), (":method", "GET"), (":authority", "gateway.example")]
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect();
    let mut filter = Filter::new(config);
    let head = RequestHead { headers: &lend(&headers), has_body: false };
    let now = Instant::from_secs(1_800_000_000);
    let host = Process::default();
    match filter.on_request(1, &head, &Cx::new(now, &host)).step {
        Step::Wait => panic!("nothing to wait for"),
        Step::Resolve(Resolution::Forward(forward)) => assert!(may_pass && forward.set.is_empty()),
        // A page of the filter needs no credential.
        Step::Resolve(Resolution::Serve(_)) => {}
        Step::Resolve(Resolution::Deny(response)) => {
            let code = response.code.name();
            assert!(code == "missing_credentials" || may_deny && code == "denied_by_rule", "{code}");
        }
    }
    filter.on_tick(&Cx::new(now, &host));
}

fn proto(value: &Value) -> Proto {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(entries) => Kind::ListValue(ListValue { values: entries.iter().map(proto).collect() }),
        Value::Object(members) => Kind::StructValue(Struct {
            fields: members.iter().map(|(name, value)| (name.clone(), proto(value))).collect(),
        }),
    };
    Proto { kind: Some(kind) }
}

fn object(value: Struct) -> Value {
    Value::Object(value.fields.into_iter().map(|(name, value)| (name, json_of(value))).collect())
}

fn json_of(value: Proto) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(flag),
        Some(Kind::NumberValue(number)) => Value::from(number),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(json_of).collect()),
        Some(Kind::StructValue(inner)) => object(inner),
    }
}
