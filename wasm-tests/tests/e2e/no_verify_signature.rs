//! A host without a function that the module calls. Without `verify_signature`, the module verifies with its own RSA code,
//! with the same verdicts; without a clock, it serves nothing.

use serde_json::{Map, Value, json};
use wasm_tests::{Builder, Stack, credentials, plugin};

/// All functions that the module may import and export, except `proxy_call_foreign_function`. Envoy answers calls of
/// that function with an error, as a host without it does.
const CAPABILITIES: [&str; 29] = [
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proxy_add_header_map_value",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_log_level",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_http_call_response",
    "proxy_on_log",
    "proxy_on_request_headers",
    "proxy_on_tick",
    "proxy_on_vm_start",
    "proxy_record_metric",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_send_local_response",
    "proxy_set_effective_context",
];

/// A gateway whose module may call and export what it needs, but for this function.
fn without(name: &str) -> Builder {
    let also = ["proxy_set_shared_data", "proxy_set_tick_period_milliseconds", "random_get", "proc_exit"];
    let functions = CAPABILITIES.iter().chain(&also).filter(|function| **function != name);
    let allowed: Map<String, Value> = functions.map(|name| ((*name).to_owned(), json!({}))).collect();
    Stack::builder().envoy(move |bootstrap| {
        plugin(&mut bootstrap["static_resources"]["listeners"][0])["capability_restriction_config"] =
            json!({"allowed_capabilities": allowed});
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_monotonic_clock_the_configuration_is_refused() {
    let error = format!("{:#}", without("clock_time_get").start().await.unwrap_err());
    assert!(error.contains("capability_restriction_config must allow clock_time_get"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_modules_own_verifier_gives_the_same_verdicts() {
    let stack = without("proxy_call_foreign_function").start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;

    let answer = stack.get("/orders").bearer(&jwt).send().await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.identity().unwrap()["x-user-id"], "1");
    let forged = credentials::forged(&jwt).unwrap();
    let answer = stack.get("/orders").bearer(&forged).send().await.unwrap();
    assert_eq!(answer.code().as_deref(), Some("signature_invalid"));
    assert!(stack.envoy_log().contains("the host has no verify_signature"), "{}", stack.envoy_log());
}
