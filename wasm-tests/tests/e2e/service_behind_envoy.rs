//! A service behind its own Envoy, as in a mesh: an answer of that Envoy counts as an answer of a host.

use std::{collections::BTreeMap, net::SocketAddr};

use serde_json::{Value, json};
use wasm_tests::{
    Stack,
    corpus::{
        self,
        answers::{self, Answer},
        scripted::{self, Scripted},
    },
};

/// As many failures as open the breaker.
const TIMES: usize = 3;

/// A gateway whose service is behind a listener with `suppress_envoy_headers`, as a mesh may configure it. `limits` are
/// the circuit breakers between the listener and the service.
async fn gateway(service: SocketAddr, limits: Value) -> Stack {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut config = corpus::config();
    config["auth_service"] = json!({"cluster": "auth_service", "timeout": "20s", "retries": 0});
    config["circuit_breaker"] = json!({"failures": TIMES, "open_for": "1h"});
    let builder = Stack::builder().without_auth_service().replace_config(config).envoy(move |bootstrap| {
        let resources = &mut bootstrap["static_resources"];
        let address = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
        let hosts = |name: &str, port: u16| {
            let endpoint = json!({"endpoint": {"address": address(port)}});
            json!({"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]})
        };
        let cluster = resources["clusters"][1].as_object_mut().unwrap();
        cluster.remove("health_checks");
        cluster.remove("outlier_detection");
        cluster["load_assignment"] = hosts("auth_service", port);
        let service = json!({
            "name": "service", "type": "STATIC", "load_assignment": hosts("service", service.port()),
            "circuit_breakers": {"thresholds": [limits]},
        });
        resources["clusters"].as_array_mut().unwrap().push(service);
        let types = "type.googleapis.com/envoy.extensions.filters";
        let router = json!({"@type": format!("{types}.http.router.v3.Router"), "suppress_envoy_headers": true});
        let routes = json!([{"match": {"prefix": "/"}, "route": {"cluster": "service"}}]);
        let manager = json!({
            "@type": format!("{types}.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "sidecar",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        });
        let filters = json!([{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]);
        let sidecar = json!({"name": "sidecar", "address": address(port), "filter_chains": [{"filters": filters}]});
        resources["listeners"].as_array_mut().unwrap().push(sidecar);
    });
    builder.start().await.unwrap()
}

async fn code_of(stack: &Stack, number: usize) -> Option<String> {
    stack.get("/orders").api_key(&scripted::token(number)).send().await.unwrap().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overflow_at_the_services_envoy_is_the_services_outage() {
    let service = Scripted::start(BTreeMap::from([(9, answers::good("json_body"))])).await.unwrap();
    let stack = gateway(service.address(), json!({"max_pending_requests": 0, "max_connections": 0})).await;
    for number in 0..TIMES {
        assert_eq!(code_of(&stack, number).await.as_deref(), Some("auth_service_unavailable"));
    }
    assert_eq!(stack.metric("auth_breaker_state", &[]).await.unwrap(), 2, "{}", stack.envoy_log());
    let log = stack.envoy_log();
    assert!(log.contains("auth service (cluster auth_service): it answered with status 503"), "{log}");
    assert!(log.contains("public key not fetched (cluster auth_service), no key yet: it answered with status 503"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_breaks_for_one_credential_is_up_for_the_others() {
    let mut script: BTreeMap<_, _> = (0..TIMES).map(|number| (number, Answer(b"\x00\x01\x02".to_vec()))).collect();
    script.insert(9, answers::good("json_body"));
    let service = Scripted::start(script).await.unwrap();
    let stack = gateway(service.address(), json!({})).await;
    for number in 0..TIMES {
        assert_eq!(code_of(&stack, number).await.as_deref(), Some("auth_service_unavailable"));
    }
    let other = stack.get("/orders").api_key(&scripted::token(9)).send().await.unwrap();
    assert_eq!(other.status, 200, "{}\n{}", other.text(), stack.envoy_log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_imitates_envoys_local_reply_has_answered() {
    let text = "upstream connect error or disconnect/reset before headers. reset reason: overflow";
    for headers in [&[][..], &[("x-envoy-upstream-service-time", &b"1"[..])]] {
        let answer = Answer::new(503, headers, text);
        let script = (0..TIMES).map(|number| (number, answer.clone())).collect();
        let service = Scripted::start(script).await.unwrap();
        let stack = gateway(service.address(), json!({})).await;
        for number in 0..TIMES {
            assert_eq!(code_of(&stack, number).await.as_deref(), Some("auth_service_unavailable"));
        }
        assert_eq!(stack.metric("auth_breaker_state", &[]).await.unwrap(), 2, "{headers:?}\n{}", stack.envoy_log());
    }
}
