//! The shipped bootstrap with TLS everywhere: curl as the client, and the service and the upstream behind TLS, with the
//! test's own certificates.

use std::{fs, net::TcpListener, path::Path, process::Command};

use serde_json::{Value, json};
use tempfile::TempDir;
use wasm_tests::{Bootstrap, Stack, certificates};

const GATEWAY: &str = "gateway.example.com";

/// A gateway whose service and upstream have certificates for these names.
async fn start(service: &str, upstream: &str) -> (Stack, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    certificates::write(&path, &[("gateway", GATEWAY), ("service", service), ("upstream", upstream)]).unwrap();
    let stack = Stack::builder()
        .bootstrap("envoy/envoy-tls.yaml")
        .config(json!({"auth_service": {"retries": 0}}))
        .envoy(move |bootstrap| {
            behind_tls(bootstrap, "upstream", &json!({"codec_type": "HTTP1"}), &path);
            behind_tls(bootstrap, "auth_service", &json!({"codec_type": "HTTP2"}), &path);
            let mut whole = Bootstrap::from(bootstrap.take());
            whole.set_certificates(&path);
            *bootstrap = whole.value().take();
        })
        .start()
        .await
        .unwrap();
    (stack, folder)
}

/// Puts a TLS listener in front of a cluster's host, and makes the listener the cluster's host.
fn behind_tls(bootstrap: &mut Value, cluster: &str, settings: &Value, folder: &Path) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let resources = &mut bootstrap["static_resources"];
    let clusters = resources["clusters"].as_array_mut().unwrap();
    let tls = clusters.iter_mut().find(|one| one["name"] == cluster).unwrap();
    let plain = format!("{cluster}_plain");
    let mut host = tls["load_assignment"].clone();
    host["cluster_name"] = json!(plain);
    let address = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/port_value";
    *tls.pointer_mut(address).unwrap() = json!(port);
    clusters.push(json!({"name": plain, "type": "STATIC", "load_assignment": host}));
    let file = if cluster == "auth_service" { "service" } else { "upstream" };
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": plain,
        "route_config": {"virtual_hosts": [{
            "name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": plain}}],
        }]},
        "http_filters": [{
            "name": "router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        }],
        "access_log": [{"name": "file", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": folder.join(format!("{cluster}.log")),
            "log_format": {"text_format_source": {
                "inline_string": "%PROTOCOL% %REQ(:SCHEME)% %REQ(:AUTHORITY)% %REQ(:PATH)%\n",
            }},
        }}],
    });
    manager["codec_type"] = settings["codec_type"].clone();
    let certificate = |extension: &str| json!({"filename": format!("{file}.{extension}")});
    resources["listeners"].as_array_mut().unwrap().push(json!({
        "name": plain,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{
            "filters": [{"name": "manager", "typed_config": manager}],
            "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_certificates": [{"certificate_chain": certificate("crt"), "private_key": certificate("key")}],
                },
            }},
        }],
    }));
}

/// What curl prints: the version of HTTP with the status, and the body; or its exit code.
fn curl(stack: &Stack, folder: &TempDir, arguments: &[&str]) -> Result<(String, String), i32> {
    let port = stack.gateway().port();
    let output = tokio::task::block_in_place(|| {
        Command::new("curl")
            .args(["--silent", "--max-time", "20", "--write-out", "\n%{http_version} %{http_code}"])
            .arg("--cacert")
            .arg(folder.path().join("ca.crt"))
            .args(["--resolve", &format!("{GATEWAY}:{port}:127.0.0.1"), "--connect-timeout", "5"])
            .args(arguments.iter().map(|argument| argument.replace("GATEWAY", &format!("{GATEWAY}:{port}"))))
            .output()
            .expect("curl is missing: install it (Debian: apt-get install curl)")
    });
    match output.status.code() {
        Some(0) => {
            let text = String::from_utf8(output.stdout).unwrap();
            let (body, summary) = text.rsplit_once('\n').unwrap();
            Ok((summary.to_owned(), body.to_owned()))
        }
        code => Err(code.unwrap_or(-1)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_works_to_clients_the_service_and_the_upstream() {
    let (stack, folder) = start("auth.example.com", "upstream.example.com").await;
    let jwt = format!("Authorization: Bearer {}", stack.login().await.unwrap().access);
    let (_, token) = stack.api_token("any").await.unwrap();
    let token = format!("Authorization: APIKey {token}");
    let url = "https://GATEWAY/orders";
    for (version, header, summary) in [("--http2", &jwt, "2 200"), ("--http1.1", &token, "1.1 200")] {
        let (got, body) = curl(&stack, &folder, &[version, "-H", header, url]).unwrap();
        assert_eq!(got, summary, "{body}");
        assert!(body.contains("admin@example.com"), "{body}");
    }
    let (got, body) = curl(&stack, &folder, &[url]).unwrap();
    assert_eq!(got, "2 401", "{body}");
    assert!(body.contains("missing_credentials"), "{body}");

    let asked = "HTTP/2 https auth.example.com /auth/verify?";
    let log = || fs::read_to_string(folder.path().join("auth_service.log")).unwrap_or_default();
    while !log().contains(asked) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(!log().contains(" http "), "{}", log());

    // curl's exit codes: 52 and 56 for no answer to plain HTTP, 35 for a failed handshake, 60 for a wrong name.
    assert!(matches!(curl(&stack, &folder, &["http://GATEWAY/orders"]), Err(52 | 56)));
    assert_eq!(curl(&stack, &folder, &["--tls-max", "1.1", url]), Err(35));
    let address = format!("https://{}/orders", stack.gateway());
    assert_eq!(curl(&stack, &folder, &[&address]), Err(60));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_or_upstream_with_a_wrong_certificate_is_refused() {
    let (stack, folder) = start("upstream.example.com", "auth.example.com").await;
    let (_, token) = stack.api_token("any").await.unwrap();
    let (got, body) =
        curl(&stack, &folder, &["-H", &format!("Authorization: APIKey {token}"), "https://GATEWAY/orders"]).unwrap();
    assert_eq!(got, "2 503", "{body}");
    assert!(body.contains("auth_service_unavailable"), "{body}");
    let (got, body) = curl(&stack, &folder, &["https://GATEWAY/public/page"]).unwrap();
    assert_eq!(got, "2 503", "{body}");
    for cluster in ["auth_service", "upstream"] {
        let labels = [("envoy_cluster_name", cluster)];
        assert!(stack.metric("envoy_cluster_ssl_fail_verify_san", &labels).await.unwrap() > 0, "{cluster}");
    }
    assert_eq!(stack.counters().await.unwrap()["verify"], 0);
    assert_eq!(stack.upstream_hits(), 0);
}
