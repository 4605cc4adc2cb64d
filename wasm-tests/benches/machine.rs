//! The steps of the decision machine, natively: `cargo bench -p wasm-tests`. Their cost in Envoy is in
//! docs/performance.md; here a change in one step shows that a whole request would hide.

use std::hint::black_box;

use authgate::{
    Action, CalloutResponse, Filter, PublicKey, RequestHead, Resolution, Step,
    config::{AnswerHeaders, Config, ResponseFormat},
    host::Cx,
    internals::{
        Target, UntrustedJwt, extract, headers_to_strip, read, verify_in_module,
        world::{Answer, World, api_token_of, bearer, claims, head, jwt_of},
    },
    lend,
};
use divan::{Bencher, counter::ItemsCount};
use serde_json::{Value, json};
use wasm_tests::corpus::keys::Signer;

fn main() {
    divan::main();
}

/// The claims of a JWT with this many permissions: 185 make it 7 KB long.
fn with_permissions(count: usize) -> Value {
    let mut claims = claims();
    claims["permissions"] = (0..count).map(|number| format!("resource-{number:08}:read")).collect();
    claims
}

#[divan::bench(args = [0, 185])]
fn parse_jwt(bencher: Bencher, permissions: usize) {
    let jwt = jwt_of(0, &with_permissions(permissions));
    bencher.bench(|| UntrustedJwt::parse(black_box(jwt.as_bytes())).is_ok());
}

/// With the compiled-in verifier. Envoy's own cryptography, which the filter uses if it can, is faster.
#[divan::bench]
fn verify_signature(bencher: Bencher) {
    let signer = Signer::trusted();
    let key = PublicKey::from_pem(&signer.public_pem()).expect("the corpus has a good key");
    let message = jwt_of(0, &claims());
    let signature = signer.sign(message.as_bytes());
    assert!(verify_in_module(&key, &signature, message.as_bytes()));
    bencher.bench(|| verify_in_module(&key, black_box(&signature), message.as_bytes()));
}

/// A request from its head to its permit, including the work of the fake host.
fn forwarded(bencher: Bencher, world: &mut World, headers: &[(String, Vec<u8>)]) {
    world.tick();
    world.settle();
    world.ask(headers);
    let (now, process) = (world.now, &world.process);
    let filter: &mut Filter = &mut world.workers[0];
    let mut stream = 1_000_000;
    let head = RequestHead { headers: &lend(headers), has_body: false };
    bencher.bench_local(|| {
        stream += 1;
        let passed = matches!(filter.on_request(stream, &head, &Cx::new(now, process)).step, Step::Resolve(_));
        filter.on_end(stream, process);
        assert!(passed, "the request waits");
    });
}

#[divan::bench(args = [0, 185])]
fn cached_jwt(bencher: Bencher, permissions: usize) {
    let headers = bearer(&jwt_of(0, &with_permissions(permissions)));
    forwarded(bencher, &mut World::new(json!({})), &headers);
}

/// A request with a new JWT, from its head to its permit. The fake host verifies signatures with one hash.
#[divan::bench]
fn new_jwt(bencher: Bencher) {
    let mut world = World::new(json!({}));
    world.tick();
    world.settle();
    let (now, process) = (world.now, &world.process);
    let filter: &mut Filter = &mut world.workers[0];
    let mut stream = 1_000_000;
    let heads = || {
        stream += 1;
        let mut claims = claims();
        claims["jti"] = json!(stream.to_string());
        (stream, bearer(&jwt_of(0, &claims)))
    };
    bencher.with_inputs(heads).bench_local_values(|(stream, headers)| {
        let head = RequestHead { headers: &lend(&headers), has_body: false };
        let passed = matches!(filter.on_request(stream, &head, &Cx::new(now, process)).step, Step::Resolve(_));
        filter.on_end(stream, process);
        assert!(passed, "the request waits");
    });
}

/// A request with a new API token, from its head to its permit, including the service's answer.
#[divan::bench]
fn new_api_token(bencher: Bencher) {
    let mut world = World::new(json!({}));
    world.tick();
    world.settle();
    let mut identity = claims();
    identity["token_type"] = json!("api_token");
    let answer = CalloutResponse { status: 200, headers: Vec::new(), body: Some(identity.to_string().into_bytes()) };
    let (now, process) = (world.now, &world.process);
    let filter: &mut Filter = &mut world.workers[0];
    let mut number = 1_000_000;
    let heads = || {
        number += 1;
        (u32::try_from(number).unwrap_or_default(), api_token_of(number), answer.clone())
    };
    bencher.with_inputs(heads).bench_local_values(|(stream, headers, answer)| {
        let cx = Cx::new(now, process);
        let head = RequestHead { headers: &lend(&headers), has_body: false };
        assert!(matches!(filter.on_request(stream, &head, &cx).step, Step::Wait));
        let Some(Action::Callout { call, .. }) = filter.next_action() else { panic!("no callout") };
        filter.on_answer(call, Ok(answer), &cx);
        let resolved = filter.next_action();
        filter.on_end(stream, process);
        assert!(matches!(resolved, Some(Action::Resolve { resolution: Resolution::Forward(_), .. })));
    });
}

#[divan::bench]
fn public_rule(bencher: Bencher) {
    let rules = json!({"rules": [{"match": {"prefix": "/"}, "public": true}]});
    forwarded(bencher, &mut World::new(rules), &head(&[]));
}

fn config(overrides: &Value) -> Config {
    let mut config = json!({"auth_service": {"cluster": "auth"}});
    for (name, value) in overrides.as_object().into_iter().flatten() {
        config[name] = value.clone();
    }
    Config::from_bytes(config.to_string().as_bytes()).expect("a good configuration")
}

fn find_rule(bencher: Bencher, count: usize, end: &str) {
    let rules: Value = (0..count).map(|number| json!({"match": {"prefix": format!("/area-{number:04}")}})).collect();
    let config = config(&json!({"rules": rules}));
    let path = format!("/area-{:04}/{end}", count - 1);
    let target = Target { path: path.as_bytes(), method: b"GET", authority: b"gateway.example" };
    assert!(config.rules.find(target).is_ok());
    bencher.bench(|| config.rules.find(black_box(target)).is_ok());
}

#[divan::bench(args = [1, 10, 100, 1000])]
fn rule_of_a_plain_path(bencher: Bencher, rules: usize) {
    find_rule(bencher, rules, "items");
}

#[divan::bench(args = [1, 10, 100, 1000])]
fn rule_of_an_escaped_path(bencher: Bencher, rules: usize) {
    find_rule(bencher, rules, "it%65ms");
}

/// Finds the headers to strip, and the credential.
#[divan::bench(args = [10, 50])]
fn headers(bencher: Bencher, others: usize) {
    let config = config(&json!({}));
    let mut headers = bearer(&jwt_of(0, &claims()));
    headers.extend((0..others).map(|number| (format!("x-header-{number}"), b"value".to_vec())));
    let headers = lend(&headers);
    bencher.bench(|| {
        let head = RequestHead { headers: black_box(&headers), has_body: false };
        let strip = headers_to_strip(&head, &config.stripped_headers).len();
        (strip, extract(&head, &config.api_token, &config.credentials).is_ok())
    });
}

#[divan::bench]
fn answer_of_the_service(bencher: Bencher) {
    let mut identity = claims();
    identity["token_type"] = json!("api_token");
    let answer = CalloutResponse { status: 200, headers: Vec::new(), body: Some(identity.to_string().into_bytes()) };
    assert!(read(&answer, ResponseFormat::JsonBody, &AnswerHeaders::default()).is_ok());
    bencher.bench(|| read(black_box(&answer), ResponseFormat::JsonBody, &AnswerHeaders::default()).is_ok());
}

/// From the answer to the shared data; the rate is per id.
#[divan::bench(args = [100, 10_000])]
fn revocation_list(bencher: Bencher, ids: usize) {
    let exp = claims()["exp"].clone();
    let revoked: Value = (0..ids).map(|number| json!({"jti": format!("revoked-{number}"), "exp": exp})).collect();
    let feed = Answer::json(&json!({"cursor": "c", "revoked": revoked}));
    let asked = || {
        let mut world = World::new(json!({"revocation": {"path": "/auth/blacklist"}}));
        world.tick();
        let poll = world.pending.iter().find(|pending| pending.is_poll()).cloned().expect("a poll");
        (world, poll)
    };
    bencher.counter(ItemsCount::new(ids)).with_inputs(asked).bench_local_values(|(mut world, poll)| {
        world.answer(&poll, &feed);
        world
    });
}
