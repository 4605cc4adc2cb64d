//! Every way to send a credential gets its verdict, over HTTP/1, over HTTP/2 and as raw bytes.

use http::Method;
use serde_json::json;
use wasm_tests::{
    Stack,
    corpus::{self, Case, headers, raw, seen, tokens},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_a_request_gets_its_verdict() {
    let builder = Stack::builder().config(corpus::config()).config(json!({"rules": headers::rules()}));
    let stack = builder.fault(corpus::trusted_key()).start().await.unwrap();
    let (_, api) = stack.api_token("corpus").await.unwrap();
    let other = corpus::keys::Signer::trusted().claims(tokens::base().to_string() + " ");
    let credentials = headers::Credentials { jwt: tokens::good(), other, api };
    stack.reset_counters().await.unwrap();

    let cases = headers::all();
    let http2: Vec<Case<headers::Sent>> = cases.iter().filter(|case| case.input.http2).cloned().collect();
    let request = |case: &Case<headers::Sent>| {
        let sent = &case.input;
        let request = stack.request(sent.method.parse::<Method>().unwrap(), sent.path);
        sent.headers.iter().fold(request, |request, (name, value)| request.header(name, credentials.render(value)))
    };
    let first = corpus::failures(&cases, |case| {
        let request = request(case);
        async move { Ok(seen(&request.send().await?)) }
    });
    let mut wrong = first.await.unwrap();
    let second = corpus::failures(&http2, |case| {
        let request = request(case).http2();
        async move { Ok(seen(&request.send().await?)) }
    });
    wrong.extend(second.await.unwrap().into_iter().map(|line| format!("HTTP/2: {line}")));

    let bytes = headers::raw();
    let gateway = stack.gateway();
    let third = corpus::failures(&bytes, |case| {
        let bytes = credentials.render(&case.input);
        async move {
            let answer = raw(gateway, &bytes).await?;
            anyhow::ensure!(!answer.holds_an_echo(), "a second answer: {answer:?}");
            Ok(answer.seen())
        }
    });
    wrong.extend(third.await.unwrap().into_iter().map(|line| format!("bytes: {line}")));
    let count = cases.len() + http2.len() + bytes.len();
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));

    // The service was asked only about possible API tokens: the good one in four spellings, and three unknown ones.
    let asked = stack.counters().await.unwrap();
    assert!(asked["verify"].as_u64().unwrap() <= 2 * (4 + 3), "{asked}");
    assert_eq!(stack.scars(&credentials.jwt).await, Vec::<String>::new());
}
