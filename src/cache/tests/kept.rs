//! Which claims an entry keeps, on either level.

use super::*;
use crate::claims::Claims;

/// Every claim that the filter knows.
const KNOWN: [&str; 27] = [
    "exp",
    "nbf",
    "iat",
    "jti",
    "iss",
    "sub",
    "aud",
    "user_id",
    "client_id",
    "token_id",
    "issued_by.user_id",
    "issued_by.user_type",
    "token_type",
    "user_type",
    "user_groups",
    "role_params.role",
    "role_params.read_only",
    "role_params.federations",
    "role_params.alias",
    "role_params.resellers_wl",
    "role_params.resellers_bl",
    "email",
    "username",
    "sso_entity",
    "is_admin",
    "client_name",
    "federation_id",
];

/// What revocation, logs and the checks at each use need, whatever the configuration says.
const ALWAYS: [&str; 7] = ["exp", "nbf", "jti", "user_id", "client_id", "token_id", "token_type"];

/// All of these claims.
fn everything() -> Value {
    json!({
        "nbf": 7, "iat": 8, "iss": "i", "sub": "s", "aud": ["a", "b"], "token_id": 3, "token_type": "api_token",
        "issued_by": {"user_id": 4, "user_type": "sales"}, "user_groups": ["g", "h"], "username": "u",
        "role_params": {
            "role": "r", "read_only": true, "federations": [1], "alias": "al", "resellers_wl": [2], "resellers_bl": [5],
        },
        "sso_entity": "saml", "client_name": "\u{1f980}\"\\\n", "federation_id": 9,
    })
}

/// These fields, without the headers that are set by default.
fn without_headers(mut changes: Value) -> Value {
    let defaults = ["X-User-Id", "X-Client-Id", "X-User-Email", "X-User-Type", "X-Is-Admin"];
    let headers = changes.as_object_mut().unwrap().entry("identity_headers").or_insert_with(|| json!({}));
    defaults.iter().for_each(|name| headers[*name] = Value::Null);
    changes
}

/// The names of the claims that are there.
fn names(claims: &Claims) -> Vec<&'static str> {
    let is_there = |name: &&str| claims.header_value(name.parse().unwrap()) != Ok(None);
    KNOWN.into_iter().filter(is_there).collect()
}

fn claims_of(cache: &mut VerificationCache, digest: &Digest, kind: Kind, host: &Process) -> Claims {
    match cache.look_up(digest, kind, &mut Validity::new(&mut no_keys(), None, host), &Cx::new(at(1), host)) {
        Lookup::Fresh(entry) => entry.claims().clone(),
        found => panic!("{found:?}"),
    }
}

/// The names of the claims that are kept under this configuration, the same on both levels.
fn kept_by(changes: &Value) -> Vec<&'static str> {
    let host = Process::default();
    let (mut one, mut other) = (worker(changes.clone()), worker(changes.clone()));
    let shared = digest(&one, 0);
    let used = one.store(&shared, KIND, identity(everything()), at(0), &Cx::new(at(0), &host)).unwrap();
    let local = one.digest(Kind::LocalJwt, b"a.b.c");
    one.store(&local, Kind::LocalJwt, identity(everything()), at(0), &Cx::new(at(0), &host)).unwrap();
    let kept = claims_of(&mut one, &shared, KIND, &host);
    assert_eq!(*used.claims(), kept, "its first use sees no more than later ones");
    assert_eq!(claims_of(&mut other, &shared, KIND, &host), kept, "in shared data");
    assert_eq!(claims_of(&mut one, &local, Kind::LocalJwt, &host), kept, "of a JWT that is verified here");
    names(&kept)
}

fn always_and(more: &[&str]) -> Vec<&'static str> {
    KNOWN.into_iter().filter(|name| ALWAYS.contains(name) || more.contains(name)).collect()
}

#[test]
fn a_claim_that_nothing_needs_is_in_no_entry() {
    assert_eq!(kept_by(&without_headers(json!({}))), ALWAYS);
    assert_eq!(kept_by(&json!({})), always_and(&["email", "user_type", "is_admin"]), "the default headers");

    let host = Process::default();
    let mut cache = worker(json!({}));
    let digest = digest(&cache, 0);
    let private = json!({"username": "ann.example", "client_name": "Example, Inc.", "user_groups": ["patients"]});
    cache.store(&digest, KIND, identity(private), at(0), &Cx::new(at(0), &host)).unwrap();
    let record = String::from_utf8_lossy(&host.stored(".v.").remove(0).1).into_owned();
    assert!(record.contains("user@example.com"), "{record}");
    for value in ["ann.example", "Example, Inc.", "patients"] {
        assert!(!record.contains(value), "{record}");
    }
}

#[test]
fn a_claim_that_a_header_needs_is_in_each_entry() {
    for name in KNOWN {
        let config = without_headers(json!({"identity_headers": {"X-Claim": name}}));
        assert_eq!(kept_by(&config), always_and(&[name]), "{name}");
    }
    let headers: serde_json::Map<_, _> =
        KNOWN.iter().enumerate().map(|(number, name)| (format!("X-{number}"), json!(name))).collect();
    assert_eq!(kept_by(&json!({"identity_headers": headers})), KNOWN);
}

#[test]
fn a_claim_that_a_rule_needs_is_in_each_entry() {
    for (require, needed) in [
        (json!({"schemes": ["bearer"], "token_types": ["access"], "client_ids": [1]}), &[][..]),
        (json!({"user_types": ["a"]}), &["user_type"]),
        (json!({"sso": true}), &["sso_entity"]),
        (json!({"is_admin": true}), &["is_admin"]),
        (json!({"groups": ["a"]}), &["user_groups"]),
        (json!({"roles": ["a"]}), &["role_params.role"]),
        (json!({"read_only": false}), &["role_params.read_only"]),
        (json!({"federation_ids": [1]}), &["federation_id"]),
        (json!({"claims": {"issued_by.user_type": ["a"], "other": [1]}}), &["issued_by.user_type"]),
        (
            json!([{"groups": ["a"]}, {"roles": ["a"], "sso": false}]),
            &["user_groups", "role_params.role", "sso_entity"],
        ),
    ] {
        let rules = json!([
            {"name": "open", "match": {"prefix": "/open"}, "public": true},
            {"name": "tried", "match": {"prefix": "/"}, "mode": "shadow", "require": require},
        ]);
        assert_eq!(kept_by(&without_headers(json!({"rules": rules}))), always_and(needed), "{rules}");
    }
}

#[test]
fn what_is_compared_with_issuers_and_audiences_is_in_each_entry() {
    for (jwt, needed) in [(json!({"issuers": ["i"]}), "iss"), (json!({"audiences": ["a"]}), "aud")] {
        assert_eq!(kept_by(&without_headers(json!({"jwt": jwt}))), always_and(&[needed]));
    }
}

#[test]
fn filters_know_a_credential_by_one_digest_only_where_they_keep_the_same_claims() {
    let digest_under = |changes: Value| digest(&worker(changes), 0);
    let header = |name: &str| json!({"identity_headers": {"X-Claim": name}});
    let rule = |require: Value| json!({"rules": [{"name": "a", "match": {"prefix": "/"}, "require": require}]});
    let by_default = digest_under(json!({}));
    for name in KNOWN {
        let is_kept_anyway = ALWAYS.contains(&name) || ["email", "user_type", "is_admin"].contains(&name);
        assert_eq!(digest_under(header(name)) == by_default, is_kept_anyway, "{name}");
    }
    assert_ne!(digest_under(without_headers(json!({}))), by_default);
    assert_ne!(digest_under(rule(json!({"groups": ["a"]}))), by_default);
    assert_ne!(digest_under(rule(json!({"groups": ["a"]}))), digest_under(rule(json!({"roles": ["a"]}))));
    assert_eq!(digest_under(rule(json!({"groups": ["a"]}))), digest_under(rule(json!({"groups": ["b"]}))));
    assert_eq!(digest_under(rule(json!({"groups": ["a"]}))), digest_under(header("user_groups")));
    assert_eq!(digest_under(rule(json!({"is_admin": true}))), by_default);
}

#[test]
fn the_text_of_a_forwarded_jwt_is_kept_whole() {
    let config = json!({"api_token": {"response_format": "jwt_body"}, "forward_credential": "jwt"});
    let host = Process::default();
    let (mut one, mut other) = (worker(config.clone()), worker(config));
    let digest = digest(&one, 0);
    let claims = identity(everything()).claims().clone();
    let identity = Identity::recall(claims, VerifiedBy::Service, true, Some(b"a.b.c".to_vec()));
    let kept = one.store(&digest, KIND, identity, at(0), &Cx::new(at(0), &host)).unwrap();
    let mut keys = no_keys();
    match other.look_up(&digest, KIND, &mut Validity::new(&mut keys, None, &host), &Cx::new(at(1), &host)) {
        Lookup::Fresh(entry) => {
            assert_eq!(entry.identity.jwt(), Some(&b"a.b.c"[..]));
            assert_eq!(entry.identity, kept);
        }
        found => panic!("{found:?}"),
    }
}
