//! Rules for hosts, in an Envoy with several virtual hosts: a path that is public under one name opens no other virtual
//! host, and another spelling of a name doesn't bypass its strict rule.

use std::net::SocketAddr;

use serde_json::{Value, json};
use wasm_tests::{
    Stack,
    corpus::{self, RawAnswer, raw, tokens},
};

/// The header that names the virtual host through which a request reached the upstream.
const VIA: &str = "x-virtual-host";

/// A virtual host for each of two names, and one for all others. The second listener leaves `:authority` unchanged.
fn several_virtual_hosts(bootstrap: &mut Value) {
    let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
    let manager = listeners[0].pointer_mut("/filter_chains/0/filters/0/typed_config").unwrap();
    manager["delayed_close_timeout"] = json!("0.01s");
    let hosts = [("public", "public.example.com"), ("admin", "admin.example.com"), ("fallback", "*")];
    manager["route_config"]["virtual_hosts"] = hosts
        .iter()
        .map(|(name, domain)| {
            json!({
                "name": name,
                "domains": [domain],
                "request_headers_to_add": [{"header": {"key": VIA, "value": name}}],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
            })
        })
        .collect();
    let mut untouched = listeners[0].clone();
    untouched["name"] = json!("untouched");
    let manager = untouched.pointer_mut("/filter_chains/0/filters/0/typed_config").unwrap();
    manager["strip_any_host_port"] = json!(false);
    manager["strip_trailing_host_dot"] = json!(false);
    listeners.push(untouched);
}

async fn stack(rules: Value) -> (Stack, [SocketAddr; 2]) {
    let builder = Stack::builder().config(corpus::config()).config(json!({"rules": rules}));
    let stack = builder.fault(corpus::trusted_key()).envoy(several_virtual_hosts).start().await.unwrap();
    let listeners: Value = stack.admin("/listeners?format=json").await.unwrap().json().unwrap();
    let port = listeners["listener_statuses"]
        .as_array()
        .unwrap()
        .iter()
        .find(|listener| listener["name"] == "untouched")
        .and_then(|listener| listener.pointer("/local_address/socket_address/port_value")?.as_u64());
    let untouched = SocketAddr::new(stack.gateway().ip(), u16::try_from(port.unwrap()).unwrap());
    let gateway = stack.gateway();
    (stack, [gateway, untouched])
}

async fn get(address: SocketAddr, host: &str) -> RawAnswer {
    let head = format!("GET /x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    raw(address, head.as_bytes()).await.unwrap()
}

/// The virtual host that a request reached, the code of its denial, or Envoy's own status.
fn seen(answer: &RawAnswer) -> String {
    answer.upstream().map_or_else(|| answer.seen(), |echo| format!("via {}", echo.header(VIA).unwrap_or_default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_host_does_not_open_other_virtual_hosts() {
    let (stack, [gateway, untouched]) =
        stack(json!([{"match": {"hosts": ["public.example.com"]}, "public": true}])).await;
    for (host, shipped, as_sent) in [
        ("public.example.com", "via public", "via public"),
        ("PUBLIC.example.com", "via public", "via public"),
        ("public.example.com:80", "via public", "403 ambiguous_host"),
        ("public.example.com:8443", "via public", "403 ambiguous_host"),
        ("public.example.com.", "via public", "403 ambiguous_host"),
        ("public.example.com.:80", "via public", "403 ambiguous_host"),
        ("admin.example.com", "401 missing_credentials", "401 missing_credentials"),
        ("other.example.com:80", "401 missing_credentials", "401 missing_credentials"),
    ] {
        assert_eq!(seen(&get(gateway, host).await), shipped, "{host}, as the shipped bootstrap has it");
        assert_eq!(seen(&get(untouched, host).await), as_sent, "{host}, untouched");
    }
    assert_eq!(stack.scars(&tokens::good()).await, Vec::<String>::new());
}

/// Spellings of `admin.example.com` that Envoy takes for another host, while a server behind it may not.
const SPELLINGS: [&str; 18] = [
    "u@admin.example.com",
    "u:p@admin.example.com",
    "admin.example.com..",
    "admin.example.com:80:80",
    "admin.example.com:80a",
    "admin.example.com:",
    "admin.example.com,x",
    "x,admin.example.com",
    "admin%2eexample.com",
    "[admin.example.com]",
    "[admin.example.com]:80",
    ".admin.example.com",
    "admin..example.com",
    "admin.example.com;x",
    "admin.example.com:80",
    "admin.example.com.",
    "admin.example.com.:80",
    "ADMIN.example.com:443",
];

#[tokio::test(flavor = "multi_thread")]
async fn another_spelling_does_not_evade_a_strict_host() {
    let rules = json!([
        {"match": {"hosts": ["admin.example.com"]}, "require": {"token_types": ["api_token"]}},
        {"match": {"prefix": "/"}, "public": true},
    ]);
    let (stack, [gateway, untouched]) = stack(rules).await;
    assert_eq!(seen(&get(untouched, "admin.example.com").await), "401 missing_credentials");
    assert_eq!(seen(&get(untouched, "other.example.com").await), "via fallback");
    let before = stack.upstream_hits();
    for host in SPELLINGS {
        let answer = seen(&get(untouched, host).await);
        assert!(answer == "403 ambiguous_host" || answer == "400", "{host:?}, untouched: {answer}");
        let answer = seen(&get(gateway, host).await);
        let is_refused = matches!(answer.as_str(), "403 ambiguous_host" | "401 missing_credentials" | "400");
        assert!(is_refused, "{host:?}, as the shipped bootstrap has it: {answer}");
    }
    assert_eq!(stack.upstream_hits(), before);
    // Without a host there is nothing to decide by. Envoy itself refuses the request.
    let none = raw(untouched, b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    assert_eq!(none.status, 400);
    let old = raw(untouched, b"GET /x HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(old.upstream().is_none(), "{}", old.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn host_rules_apply_to_http_2() {
    let rules = json!([
        {"match": {"hosts": ["admin.example.com:*"]}, "require": {"token_types": ["api_token"]}},
        {"match": {"prefix": "/"}, "public": true},
    ]);
    let (stack, _) = stack(rules).await;
    for host in ["admin.example.com", "Admin.Example.com:80"] {
        let answer = stack.get("/x").host(host).http2().send().await.unwrap();
        assert_eq!(answer.code().as_deref(), Some("missing_credentials"), "{host}");
    }
    for host in ["admin.example.com..", "admin..example.com", "[admin.example.com]"] {
        // Nothing is left to decide if the client or Envoy already refuses the host.
        let Ok(answer) = stack.get("/x").host(host).http2().send().await else { continue };
        let code = answer.code().unwrap_or_else(|| answer.status.to_string());
        assert!(code == "ambiguous_host" || code == "400", "{host}: {code}");
    }
    let other = stack.get("/x").host("other.example.com:81").http2().send().await.unwrap();
    assert_eq!(other.upstream().unwrap().header(VIA).as_deref(), Some("fallback"));
    assert_eq!(other.version, http::Version::HTTP_2);
}
