//! The steps of requests. They are counted, not timed, so they are the same on every machine.

mod host;
mod inlining;
mod passage;
mod refusals;
mod trapped;

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use host::{Callout, Host, Steps};
use serde_json::{Value, json};
use wasm_tests::{
    Bootstrap,
    corpus::keys::{Signer, USUAL_HEADER},
    credentials, workspace,
};
use wasmparser::{Parser, Payload};

/// In seconds since the epoch: the year 2100.
const EXP: u64 = 4_102_444_800;

fn claims(token_type: &str) -> Value {
    let mut claims = credentials::claims();
    claims["exp"] = json!(EXP);
    claims["token_type"] = json!(token_type);
    claims
}

fn jwt(number: usize, is_large: bool) -> String {
    let mut claims = claims("access");
    claims["jti"] = json!(format!("client-{number:028}"));
    if is_large {
        claims["permissions"] = (0..185).map(|number| format!("resource-{number:08}:read")).collect();
    }
    let text = format!("{}.{}", BASE64.encode(USUAL_HEADER), BASE64.encode(claims.to_string()));
    let signature = Signer::trusted().sign(text.as_bytes());
    format!("Bearer {text}.{}", BASE64.encode(signature))
}

fn api_token(number: usize) -> String {
    format!("APIKey {number}${number:0128}")
}

fn answer(callout: &Callout) -> String {
    match callout.path() {
        path if path.starts_with("/iam/public-key") => json!({"public_key": Signer::trusted().public_pem()}),
        path if path.starts_with("/auth/blacklist") => json!({"cursor": "1", "revoked": [{"jti": "x", "exp": EXP}]}),
        _ => claims("api_token"),
    }
    .to_string()
}

/// A request as a browser or a proxy sends it.
fn send(host: &mut Host, path: &str, authorization: &str) -> Result<Steps> {
    let mut headers = vec![
        (":authority", "api.example.com"),
        (":path", path),
        (":method", "GET"),
        (":scheme", "https"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("accept", "application/json, text/plain, */*"),
        ("accept-encoding", "gzip, deflate, br"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "2f1f0c5e-6a7b-4c8d-9e0f-0123456789ab"),
    ];
    if !authorization.is_empty() {
        headers.push(("authorization", authorization));
    }
    host.request(&headers, answer)
}

/// The module of `make build`, or another one to measure.
fn module() -> PathBuf {
    env::var_os("AUTHGATE_MODULE").map_or_else(|| workspace().join("target/authgate.wasm"), Into::into)
}

/// The module with the shipped configuration, overridden by these settings.
fn start(settings: &Value) -> Result<Host> {
    let module = fs::read(module()).with_context(|| format!("no module at {}", module().display()))?;
    start_module(&module, settings)
}

fn start_module(module: &[u8], settings: &Value) -> Result<Host> {
    let mut configuration = Bootstrap::shipped()?.filter_config()?.clone();
    for (field, value) in settings.as_object().into_iter().flatten() {
        configuration[field] = value.clone();
    }
    let mut host = Host::start(module, &configuration.to_string())?;
    for callout in host.callouts() {
        let body = answer(&callout);
        host.answer(&callout, &body)?;
    }
    host.tick()?;
    Ok(host)
}

/// The cost of each kind of request in a warm module.
fn measure() -> Result<Vec<(String, Steps)>> {
    let mut found = Vec::new();
    let mut host = start(&json!({}))?;
    let mut warm = |host: &mut Host, name: String, request: &dyn Fn(&mut Host, usize) -> Result<Steps>| -> Result<()> {
        for number in 0..3 {
            request(host, number)?;
        }
        found.push((name, request(host, 3)?));
        Ok(())
    };
    warm(&mut host, "public".to_owned(), &|host, _| send(host, "/public/a", ""))?;
    let token = jwt(1, false);
    warm(&mut host, "repeated JWT".to_owned(), &|host, _| send(host, "/", &token))?;
    let large = jwt(2, true);
    warm(&mut host, "repeated JWT of 7 KB".to_owned(), &|host, _| send(host, "/", &large))?;
    warm(&mut host, "new JWT".to_owned(), &|host, number| send(host, "/", &jwt(100 + number, false)))?;
    warm(&mut host, "cached API token".to_owned(), &|host, _| send(host, "/", &api_token(1)))?;
    warm(&mut host, "new API token".to_owned(), &|host, number| send(host, "/", &api_token(100 + number)))?;
    let mut host = start(&json!({"revocation": {"path": "/auth/blacklist"}}))?;
    warm(&mut host, "repeated JWT, with a revocation list".to_owned(), &|host, _| send(host, "/", &token))?;
    warm(&mut host, "cached API token, with a revocation list".to_owned(), &|host, _| send(host, "/", &api_token(1)))?;
    let throttle = json!({"failed_auth_throttle": {"attempts": 20, "window": "60s", "lockout": "300s"}});
    let mut host = start(&throttle)?;
    warm(&mut host, "cached API token, with a throttle".to_owned(), &|host, _| send(host, "/", &api_token(1)))?;
    for count in [1, 1000] {
        let mut host = start(&json!({"rules": rules(count)}))?;
        for (kind, path) in [("a plain path", "/0/orders/17"), ("an escaped path", "/0/orders/a%20b%2Fc")] {
            let name = if count == 1 { format!("{kind} under 1 rule") } else { format!("{kind} under 1,000 rules") };
            warm(&mut host, name, &|host, _| send(host, path, ""))?;
        }
    }
    Ok(found)
}

/// This many public rules, prefixes and paths in turn. The last one is that of `/0`.
fn rules(count: usize) -> Vec<Value> {
    let kinds = ["prefix", "path"].into_iter().cycle();
    let rules = (0..count).rev().zip(kinds.skip(count % 2 + 1));
    rules.map(|(number, kind)| json!({"match": {kind: format!("/{number}")}, "public": true})).collect()
}

/// `budget.json`: the limits for the module and each kind of request.
fn budget() -> PathBuf {
    workspace().join("wasm-tests/tests/steps/budget.json")
}

/// The current cost, in the form of the budget. `with_margin` adds 2 % to values that depend on the compiler.
fn taken(with_margin: bool) -> Result<Value> {
    let more = |number: u64| number + number.div_ceil(50) * u64::from(with_margin);
    let requests = measure()?.into_iter().map(|(name, steps)| {
        println!("{name}: {steps:?}");
        let Steps { instructions, callbacks, host_calls } = steps;
        let steps = json!({"instructions": more(instructions), "callbacks": callbacks, "host_calls": host_calls});
        (name, steps)
    });
    let requests: serde_json::Map<_, _> = requests.collect();
    let module = fs::read(module())?;
    let compiled = inlining::compiled_bytes(&module)?;
    println!("compiled bytes: {compiled}");
    Ok(json!({
        "module_bytes": more(u64::try_from(module.len())?),
        "largest_function_bytes": more(largest_function(&module)?),
        "compiled_bytes": more(u64::try_from(compiled)?),
        "requests": requests,
    }))
}

/// The bytes of the largest function: the memory of Envoy's compiler depends on it, and isn't all given back.
fn largest_function(module: &[u8]) -> Result<u64> {
    let mut largest = 0;
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CodeSectionEntry(body) = payload? {
            largest = largest.max(body.range().len());
        }
    }
    Ok(u64::try_from(largest)?)
}

/// Every number in `taken` that exceeds the budget's or is missing there, by its path.
fn beyond(taken: &Value, budget: &Value, path: &str, found: &mut Vec<String>) {
    match taken {
        Value::Object(fields) => {
            for (name, value) in fields {
                beyond(value, budget.get(name).unwrap_or(&Value::Null), &format!("{path}/{name}"), found);
            }
        }
        taken if taken.as_u64() > budget.as_u64() => found.push(format!("{path}: {taken}, budget {budget}")),
        _ => {}
    }
}

/// `RECORD_STEPS=1` rewrites the budget, after a change that is worth its steps or that saves steps.
#[test]
fn requests_take_no_more_steps_than_their_budget() -> Result<()> {
    if env::var_os("RECORD_STEPS").is_some() {
        fs::write(budget(), serde_json::to_string_pretty(&taken(true)?)? + "\n")?;
    }
    let allowed: Value = serde_json::from_str(&fs::read_to_string(budget())?)?;
    let mut found = Vec::new();
    beyond(&taken(false)?, &allowed, "", &mut found);
    ensure!(found.is_empty(), "beyond the budget ({}):\n{}", budget().display(), found.join("\n"));
    Ok(())
}
