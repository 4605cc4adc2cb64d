//! A host without `verify_signature`: the module verifies with its own RSA code, with the same verdicts.

use serde_json::{Map, Value, json};
use wasm_tests::{Stack, credentials, plugin};

/// All functions that the module may import and export, except `proxy_call_foreign_function` and `clock_time_get`. Envoy
/// answers calls of those with an error, as a host without them does. So this also shows that the module then measures by
/// the wall clock.
const CAPABILITIES: [&str; 28] = [
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

#[tokio::test(flavor = "multi_thread")]
async fn the_modules_own_verifier_gives_the_same_verdicts() {
    let also = ["proxy_set_shared_data", "proxy_set_tick_period_milliseconds", "random_get", "proc_exit"];
    let allowed: Map<String, Value> =
        CAPABILITIES.iter().chain(&also).map(|name| ((*name).to_owned(), json!({}))).collect();
    let builder = Stack::builder().envoy(move |bootstrap| {
        plugin(&mut bootstrap["static_resources"]["listeners"][0])["capability_restriction_config"] =
            json!({"allowed_capabilities": allowed});
    });
    let stack = builder.start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;

    let answer = stack.get("/orders").bearer(&jwt).send().await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.identity().unwrap()["x-user-id"], "1");
    let forged = credentials::forged(&jwt).unwrap();
    let answer = stack.get("/orders").bearer(&forged).send().await.unwrap();
    assert_eq!(answer.code().as_deref(), Some("signature_invalid"));
    assert!(stack.envoy_log().contains("the host has no verify_signature"), "{}", stack.envoy_log());
}
