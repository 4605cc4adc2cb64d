//! Every spelling of a path leads to its rule, with Envoy's own normalisation off and on.

use std::net::SocketAddr;

use serde_json::{Value, json};
use wasm_tests::{
    Stack,
    corpus::{self, RawAnswer, paths, raw, tokens},
};

/// Name, `normalize_path`, `merge_slashes` and `path_with_escaped_slashes_action` of the listeners beside the first.
/// The first normalises nothing.
const NORMALISING: [(&str, bool, bool, &str); 7] = [
    ("normalize_path", true, false, "KEEP_UNCHANGED"),
    ("merge_slashes", false, true, "KEEP_UNCHANGED"),
    ("both", true, true, "KEEP_UNCHANGED"),
    ("unescaping", true, true, "UNESCAPE_AND_FORWARD"),
    ("unescaping alone", false, false, "UNESCAPE_AND_FORWARD"),
    ("redirecting", true, true, "UNESCAPE_AND_REDIRECT"),
    ("rejecting", true, true, "REJECT_REQUEST"),
];

fn add_listeners(bootstrap: &mut Value) {
    let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
    // How long Envoy waits for the client to close the connection first. No client here does.
    let manager = listeners[0].pointer_mut("/filter_chains/0/filters/0/typed_config").unwrap();
    manager["delayed_close_timeout"] = json!("0.01s");
    for (name, normalize, merge, action) in NORMALISING {
        let mut listener = listeners[0].clone();
        listener["name"] = json!(name);
        let manager = listener.pointer_mut("/filter_chains/0/filters/0/typed_config").unwrap();
        manager["normalize_path"] = json!(normalize);
        manager["merge_slashes"] = json!(merge);
        manager["path_with_escaped_slashes_action"] = json!(action);
        listeners.push(listener);
    }
}

fn is_public(path: &str) -> bool {
    let is_open = |version: &str| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    matches!(path, "/health" | "/public")
        || path.starts_with("/public/")
        || path.strip_prefix("/v").and_then(|rest| rest.strip_suffix("/open")).is_some_and(is_open)
}

async fn get(address: SocketAddr, path: &'static [u8], jwt: Option<String>) -> anyhow::Result<RawAnswer> {
    let authorization = jwt.map(|jwt| format!("Authorization: Bearer {jwt}\r\n")).unwrap_or_default();
    let head = format!(" HTTP/1.1\r\nHost: gateway.example\r\n{authorization}Connection: close\r\n\r\n");
    raw(address, &[b"GET ", path, head.as_bytes()].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_of_the_corpus_reaches_its_rule() {
    let builder = Stack::builder().config(corpus::config()).config(json!({"rules": paths::rules()}));
    let stack = builder.fault(corpus::trusted_key()).envoy(add_listeners).start().await.unwrap();
    let jwt = tokens::good();
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
    let cases = paths::all();
    let mut wrong = Vec::new();

    let gateway = stack.gateway();
    for with_jwt in [false, true] {
        let verdicts = corpus::verdicts(&cases, |case| {
            let (path, _) = case.input;
            let jwt = with_jwt.then(|| jwt.clone());
            async move {
                let answer = get(gateway, path, jwt).await?;
                // A path that passes arrives unchanged.
                let changed = answer.upstream().filter(|echo| echo.path.as_bytes() != path);
                Ok(changed.map_or_else(|| answer.seen(), |echo| format!("changed to {}", echo.path)))
            }
        });
        for (case, seen) in cases.iter().zip(verdicts.await.unwrap()) {
            let leads = case.input.1;
            let expected = if with_jwt { leads.authenticated() } else { leads.anonymous() };
            if !expected.is(&seen) {
                let who = if with_jwt { "with a JWT" } else { "without credentials" };
                wrong.push(format!("{} {who}: got {seen}, expected {expected} ({})", case.name, case.reason));
            }
        }
    }

    // A normalised path may lead to another rule, but a request that reaches the upstream without credentials must be
    // public in every reading of its path.
    for (name, address) in stack.listeners().await.unwrap() {
        let verdicts = corpus::verdicts(&cases, |case| {
            let (path, _) = case.input;
            async move {
                let answer = get(address, path, None).await?;
                let Some(echo) = answer.upstream().filter(|_| answer.status == 200) else { return Ok(answer.seen()) };
                let leads = paths::may_lead_to(&echo.path, is_public);
                Ok(leads.map_or_else(|| "public".to_owned(), |reading| format!("{} as {reading}", echo.path)))
            }
        });
        for (case, seen) in cases.iter().zip(verdicts.await.unwrap()) {
            let is_refused = seen == "closed" || seen.starts_with('4') || seen == "307";
            if seen != "public" && !is_refused {
                wrong.push(format!("{} by {name}: reached the upstream as {seen}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len() * 10, wrong.join("\n"));
    assert_eq!(stack.scars(&jwt).await, Vec::<String>::new());
}
