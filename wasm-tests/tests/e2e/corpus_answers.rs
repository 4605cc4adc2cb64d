//! Every answer of the auth service gets its verdict, in every format.

use std::{collections::BTreeMap, net::SocketAddr};

use http::Method;
use serde_json::{Value, json};
use wasm_tests::{
    Response, Stack, auth_service_alone,
    corpus::{self, answers, request_to, scripted, scripted::Scripted, seen, tokens},
};

/// Tokens from `GOOD * (n + 1)` on get a good answer in format number `n`.
const GOOD: usize = 1_000_000;

/// Adds a listener for each format, with the scripted service as the auth service.
fn patch(bootstrap: &mut Value, service: SocketAddr) {
    let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
    let first = listeners[0].clone();
    listeners.clear();
    for format in answers::FORMATS {
        let mut listener = first.clone();
        listener["name"] = json!(format);
        let config = "/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/configuration/value";
        listener.pointer_mut(config).unwrap()["api_token"]["response_format"] = json!(format);
        listeners.push(listener);
    }
    // Envoy doesn't check or eject the host: many of the answers are those of a failing host.
    auth_service_alone(bootstrap, service.port());
}

async fn ask(listener: SocketAddr, number: usize) -> Response {
    let request = request_to(listener, Method::GET, "/orders").api_key(&scripted::token(number));
    request.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_the_service_gets_its_verdict() {
    let cases = answers::all();
    let mut script: BTreeMap<_, _> = cases.iter().map(|case| case.input.1.clone()).enumerate().collect();
    for (place, format) in answers::FORMATS.into_iter().enumerate() {
        script.extend((0..cases.len()).map(|number| (GOOD * (place + 1) + number, answers::good(format))));
    }
    let service = Scripted::start(script).await.unwrap();
    let address = service.address();
    let builder = Stack::builder().config(corpus::config()).without_auth_service();
    let stack = builder.envoy(move |bootstrap| patch(bootstrap, address)).start().await.unwrap();
    let listeners: BTreeMap<_, _> = stack.listeners().await.unwrap().into_iter().collect();
    // The first tick fetches the key.
    assert_eq!(stack.get("/orders").bearer(&tokens::good()).send().await.unwrap().status, 200);

    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let listener = listeners[case.input.0];
        let answer = ask(listener, number).await;
        let mut seen = seen(&answer);
        if seen == "200" {
            let identity = answer.identity().unwrap();
            if (identity["x-user-id"].as_str(), identity["x-client-id"].as_str()) != ("7", "70") {
                seen = format!("200 as {identity:?}");
            }
        }
        if seen.starts_with("503") && answer.header("retry-after").is_none() {
            seen = "503 without Retry-After".to_owned();
        }
        if !case.expected.is(&seen) {
            wrong.push(format!("{}: got {seen}, expected {} ({})", case.name, case.expected, case.reason));
        }
        // The next question gets a good answer, so that failures don't accumulate.
        let place = answers::FORMATS.iter().position(|format| *format == case.input.0).unwrap();
        let next = ask(listener, GOOD * (place + 1) + number).await;
        if next.status != 200 {
            wrong.push(format!("after {}: a good answer gets {} {}", case.name, next.status, next.text()));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert_eq!(stack.scars(&tokens::good()).await, Vec::<String>::new());
}
