//! The shipped manifests in real Envoy: Istio's `EnvoyFilter`, and the bootstrap of the containers.

use std::{fs, net::TcpListener};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use wasm_tests::{
    Bootstrap, Builder, Ports, Response, Stack, connection_manager, corpus::scripted, istio, plugin, workspace,
};

use crate::investigation::access_log;

/// Checks what every deployment must do: a good token passes with its identity, a missing one is refused, a public path
/// is open, and the metrics have their labels.
async fn serves(stack: &Stack) {
    let jwt = stack.login().await.unwrap().access;
    let passed = stack.get("/orders").bearer(&jwt).header("x-user-id", "0").send().await.unwrap();
    assert_eq!(passed.status, 200, "{passed:?}");
    assert_eq!(passed.identity().unwrap()["x-user-email"], "admin@example.com");
    let (_, token) = stack.api_token("any").await.unwrap();
    assert_eq!(stack.get("/orders").api_key(&token).send().await.unwrap().status, 200);
    let denied = stack.get("/orders").send().await.unwrap();
    assert_eq!((denied.status, denied.code().as_deref()), (401, Some("missing_credentials")));
    assert_eq!(stack.get("/public/page").host("any:8080").send().await.unwrap().status, 200);
    let labels = [("filter", "authgate"), ("outcome", "deny"), ("reason", "missing_credentials")];
    assert_eq!(stack.metric("auth_validation_requests_total", &labels).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn istios_envoy_filter_puts_authgate_into_a_gateway() {
    const CLUSTER: &str = "outbound|443||auth.example.com";
    let text = fs::read_to_string(workspace().join("envoy/istio/envoyfilter.yaml")).unwrap();
    let filter: Value = serde_norway::from_str(&text).unwrap();
    let stack = Stack::builder()
        .without_filter()
        .envoy(move |bootstrap| {
            // Like Istio's own gateway, without the settings that the manifest adds.
            bootstrap.as_object_mut().unwrap().remove("stats_config");
            let manager = connection_manager(&mut bootstrap["static_resources"]["listeners"][0]);
            for name in ["stream_idle_timeout", "request_headers_timeout", "strip_any_host_port", "access_log"] {
                manager.as_object_mut().unwrap().remove(name).unwrap();
            }
            manager["normalize_path"] = json!(true);
            let cluster = &mut bootstrap["static_resources"]["clusters"][1];
            cluster["name"] = json!(CLUSTER);
            cluster["load_assignment"]["cluster_name"] = json!(CLUSTER);
            istio::apply(&filter, bootstrap).unwrap();
            bootstrap["static_resources"]["listeners"][1]["address"]["socket_address"] =
                json!({"address": "127.0.0.1", "port_value": 0});
            // Argon2 is slow on a busy machine.
            let plugin = plugin(&mut bootstrap["static_resources"]["listeners"][0]);
            plugin["configuration"]["value"]["auth_service"]["timeout"] = json!("5s");
            let mut patched = Bootstrap::from(bootstrap.take());
            patched.set_module(&workspace().join("target/authgate.wasm"));
            *bootstrap = patched.value().take();
        })
        .start()
        .await
        .unwrap();
    serves(&stack).await;
    let mut gateway = running(&stack, "gateway").await;
    let manager = connection_manager(&mut gateway).clone();
    for (field, expected) in [
        ("stream_idle_timeout", json!("30s")),
        ("request_headers_timeout", json!("10s")),
        ("strip_any_host_port", json!(true)),
    ] {
        assert_eq!(manager[field], expected, "{field}");
    }
    let plugin = plugin(&mut gateway);
    assert_eq!((&plugin["failure_policy"], &plugin["vm_config"]["vm_id"]), (&json!("FAIL_RELOAD"), &json!("authgate")));
    let denied = |line: &Value| line["reason"] == "missing_credentials" && line["outcome"] == "deny";
    assert!(access_log(&stack, 4).await.iter().any(denied), "{}", stack.access_log());
    assert_eq!(readiness(&stack, "authgate-status").await, (200, None));
    assert_eq!(health(&stack, "authgate-status").await["status"], "healthy");
    assert_eq!(at(&stack, "authgate-status", "/orders").await.code().as_deref(), Some("denied_by_rule"));
    assert_eq!(stack.get("/-/auth/ready").send().await.unwrap().status, 401, "nobody's business outside");
}

/// A listener of the bootstrap, as Envoy runs it.
async fn running(stack: &Stack, name: &str) -> Value {
    let dump = stack.admin("/config_dump?resource=static_listeners").await.unwrap().json().unwrap();
    let mut listeners = dump["configs"].as_array().unwrap().iter().map(|config| &config["listener"]);
    listeners.find(|listener| listener["name"] == name).unwrap_or_else(|| panic!("no {name}: {dump}")).clone()
}

/// The containers' bootstrap on free ports. It has two workers, so probes and requests may reach different ones.
fn containers() -> Builder {
    let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    Stack::builder()
        .bootstrap("envoy/kubernetes/envoy.yaml")
        .concurrency(2)
        .ports(Ports { admin, ..Ports::default() })
        .environment("AUTHGATE_SEAL_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
        .envoy(move |bootstrap| {
            let resources = &mut bootstrap["static_resources"];
            let endpoint = "/clusters/2/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
            resources.pointer_mut(endpoint).unwrap()["port_value"] = json!(admin);
            for listener in resources["listeners"].as_array_mut().unwrap().iter_mut().skip(1) {
                listener["address"]["socket_address"] = json!({"address": "127.0.0.1", "port_value": 0});
            }
        })
}

/// The answer at a path of another listener.
async fn at(stack: &Stack, listener: &str, path: &str) -> Response {
    stack.get_at(listener, path).await.unwrap().send().await.unwrap()
}

/// What the readiness probe gets: the status and, if the gateway isn't ready, the reason.
async fn readiness(stack: &Stack, listener: &str) -> (u16, Option<String>) {
    let answer = at(stack, listener, "/-/auth/ready").await;
    (answer.status, answer.json().unwrap()["reason"].as_str().map(str::to_owned))
}

/// What the liveness probe gets. Its status is 200 even in an outage.
async fn health(stack: &Stack, listener: &str) -> Value {
    let answer = at(stack, listener, "/-/auth/health").await;
    assert_eq!(answer.status, 200);
    answer.json().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bootstrap_of_the_containers_serves_and_shows_status_and_metrics_alone() {
    let stack = containers().start().await.unwrap();
    serves(&stack).await;
    assert_eq!(readiness(&stack, "status").await, (200, None));
    assert_eq!(health(&stack, "status").await["status"], "healthy");
    stack.metrics().await.unwrap();
    let metrics = at(&stack, "metrics", "/stats/prometheus").await.text();
    assert!(metrics.contains("auth_validation_requests_total{"), "{metrics}");
    for path in ["/config_dump", "/quitquitquit", "/stats", "/-/auth/ready", "/"] {
        assert_eq!(at(&stack, "metrics", path).await.status, 404, "{path}");
    }
    let jwt = stack.login().await.unwrap().access;
    for path in ["/orders", "/public/page", "/stats/prometheus", "/-/auth/ready/", "/"] {
        let request = stack.get_at("status", path).await.unwrap().bearer(&jwt);
        let denied = request.send().await.unwrap();
        assert_eq!((denied.status, denied.code().as_deref()), (403, Some("denied_by_rule")), "{path}");
    }
    assert_eq!(stack.get("/-/auth/ready").send().await.unwrap().status, 401, "nobody's business outside");
    assert!(!stack.envoy_log().contains("not sealed"), "{}", stack.envoy_log());
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_waits_for_the_key_and_an_outage_restarts_nothing() {
    let no_key = json!({"on": "public_key", "kind": "status", "status": 503});
    let mut stack = containers().fault(no_key).start().await.unwrap();
    assert_eq!(readiness(&stack, "status").await, (503, Some("public_key_not_loaded".to_owned())));
    let starting = health(&stack, "status").await;
    assert_eq!(
        (&starting["status"], &starting["checks"]["public_key_cache"]["status"]),
        (&json!("degraded"), &json!("empty"))
    );

    stack.fault(json!({"on": "public_key", "kind": "none"})).await.unwrap();
    // A request that waits for the key triggers its fetch.
    let jwt = stack.login().await.unwrap().access;
    while stack.get("/orders").bearer(&jwt).send().await.unwrap().status != 200 {}
    assert_eq!(readiness(&stack, "status").await, (200, None));
    assert_eq!(health(&stack, "status").await["status"], "healthy");

    stack.stop_auth().await;
    for number in 0..5 {
        let unknown = stack.get("/orders").api_key(&scripted::token(number)).send().await.unwrap();
        assert_eq!(unknown.status, 503);
    }
    for _ in 0..10 {
        let said = health(&stack, "status").await;
        assert_eq!((&said["status"], &said["checks"]["breaker"]["state"]), (&json!("degraded"), &json!("open")));
        assert_eq!(said["checks"]["auth_service"], json!({"status": "down", "error": "circuit_breaker_open"}));
        assert_eq!(readiness(&stack, "status").await, (200, None));
    }
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_use_up_all_connections_fail_no_probe() {
    let builder = containers().envoy(|bootstrap| {
        let monitor = &mut bootstrap["overload_manager"]["resource_monitors"][0];
        monitor["typed_config"]["max_active_downstream_connections"] = json!(1);
    });
    let stack = builder.start().await.unwrap();
    let mut only = TcpStream::connect(stack.gateway()).await.unwrap();
    only.write_all(b"GET /public/page HTTP/1.1\r\nHost: any\r\n\r\n").await.unwrap();
    let mut status = [0; 12];
    only.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    assert!(stack.get("/public/page").send().await.is_err(), "a second client");
    for _ in 0..10 {
        assert_eq!(at(&stack, "status", "/-/auth/health").await.status, 200);
        assert_eq!(at(&stack, "metrics", "/stats/prometheus").await.status, 200);
    }
    drop(only);
}
