//! A client whose credentials get answers without a verdict: other clients are served, and the service isn't asked
//! about these credentials again and again.

use std::{collections::BTreeMap, net::SocketAddr};

use serde_json::{Value, json};
use wasm_tests::{
    Response, Stack,
    corpus::{
        self,
        answers::{self, Answer},
        scripted::{self, Scripted},
        tokens,
    },
};

/// Tokens from this number on get a good answer.
const GOOD: usize = 1_000_000;

/// How often the attacker asks, each time with another token: more often than it takes to open the breaker.
const TIMES: usize = 5;

/// Answers without a verdict: a name, the `response_format` and the answer.
fn attacks() -> Vec<(&'static str, &'static str, Answer)> {
    let claims = |name: &str, value: Value| {
        let mut claims = tokens::base();
        claims["token_type"] = json!("api_token");
        claims[name] = value;
        Answer::new(200, &[], claims.to_string())
    };
    let status = |status| Answer::new(status, &[], "");
    let latin1: [(&str, &[u8]); 3] =
        [("X-User-Id", b"7"), ("X-Client-Id", b"70"), ("X-User-Email", b"caf\xe9@example.com")];
    let long = vec![b'x'; 70 * 1024];
    vec![
        ("an expiry that is null", "json_body", claims("exp", json!(null))),
        ("an id as a string", "json_body", claims("user_id", json!("7"))),
        ("65 KiB", "json_body", Answer::new(200, &[], vec![b' '; 65 * 1024])),
        ("4 MiB", "json_body", Answer::new(200, &[], vec![b' '; 4 * 1024 * 1024])),
        ("Latin-1 in a header", "json_header", Answer::new(200, &latin1, "")),
        ("500", "json_body", status(500)),
        ("429", "json_body", status(429)),
        ("404", "json_body", status(404)),
        ("302", "json_body", status(302)),
        ("a header of 70 KiB", "json_body", Answer::new(200, &[("X-User-Email", &long)], "")),
        ("a JWT that nobody signed", "jwt_body", Answer::new(200, &[], "a.b.c")),
    ]
}

fn patch(bootstrap: &mut Value, service: SocketAddr) {
    let port = "/static_resources/clusters/1/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address\
        /socket_address/port_value";
    *bootstrap.pointer_mut(port).unwrap() = json!(service.port());
}

async fn ask(stack: &Stack, number: usize) -> Response {
    stack.get("/orders").api_key(&scripted::token(number)).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_credential_does_not_open_the_breaker() {
    for format in ["json_body", "json_header", "jwt_body"] {
        let attacks: Vec<_> = attacks().into_iter().filter(|attack| attack.1 == format).collect();
        let mut script = BTreeMap::new();
        for (place, (.., answer)) in attacks.iter().enumerate() {
            script.extend((0..TIMES).map(|number| (TIMES * place + number, answer.clone())));
            script.insert(GOOD + place, answers::good(format));
        }
        let service = Scripted::start(script).await.unwrap();
        let address = service.address();
        let mut config = corpus::config();
        config["api_token"] = json!({"response_format": format});
        config["circuit_breaker"] = json!({"failures": 3});
        let builder = Stack::builder().config(config).without_auth_service();
        let stack = builder.envoy(move |bootstrap| patch(bootstrap, address)).start().await.unwrap();
        for (place, (name, ..)) in attacks.iter().enumerate() {
            for number in 0..TIMES {
                let answer = ask(&stack, TIMES * place + number).await;
                assert_eq!(answer.code().as_deref(), Some("auth_service_unavailable"), "{name}");
            }
            let other = ask(&stack, GOOD + place).await;
            assert_eq!(other.status, 200, "another client after {name}: {}\n{}", other.text(), stack.envoy_log());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_credential_is_not_asked_about_repeatedly() {
    for (status, code) in
        [(500, "auth_service_unavailable"), (404, "auth_service_unavailable"), (403, "forbidden_by_service")]
    {
        let config = json!({"auth_service": {"timeout": "20s", "retries": 0}, "cache": {"negative_ttl": "1h"}});
        let stack = Stack::builder().concurrency(2).config(config).start().await.unwrap();
        stack.fault(json!({"on": "verify", "kind": "status", "status": status})).await.unwrap();
        for _ in 0..40 {
            let answer = stack.get("/orders").api_key(&scripted::token(1)).send().await.unwrap();
            assert_eq!(answer.code().as_deref(), Some(code), "{status}");
        }
        assert_eq!(stack.counters().await.unwrap()["verify"], 1, "{status}");
    }
}
