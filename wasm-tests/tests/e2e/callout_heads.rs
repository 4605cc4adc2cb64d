//! The head of a callout as the authentication service sees it over HTTP/2: servers compare `:scheme` with the
//! connection, route by `:authority`, and compress unless the client forbids it.

use std::time::Duration;

use axum::{http::StatusCode, response::IntoResponse as _};
use serde_json::json;
use wasm_tests::{Stack, auth_service_alone, speak_http2};

use crate::noting;

#[tokio::test(flavor = "multi_thread")]
async fn every_callout_has_the_configured_scheme_and_host() {
    for (scheme, cluster, authority) in [
        (None, "auth_service", "auth_service"),
        (Some("https"), "outbound|8080||auth.ns.svc.cluster.local", "auth.ns.svc.cluster.local"),
    ] {
        let (port, heads) = noting::start(|_| StatusCode::UNAUTHORIZED.into_response()).await;
        let mut config = json!({"auth_service": {"cluster": cluster}, "revocation": {"path": "/auth/blacklist"}});
        if let Some(scheme) = scheme {
            config["auth_service"]["scheme"] = json!(scheme);
        }
        let builder = Stack::builder().without_auth_service().config(config).envoy(move |bootstrap| {
            let service = auth_service_alone(bootstrap, port);
            service["name"] = json!(cluster);
            service["load_assignment"]["cluster_name"] = json!(cluster);
            speak_http2(service);
        });
        let stack = builder.start().await.unwrap();
        let token = format!("1${}", "a".repeat(128));
        let denied = stack.get("/orders").api_key(&token).send().await.unwrap();
        assert_eq!((denied.status, denied.code().as_deref()), (401, Some("token_rejected")), "{cluster}");
        // The filter asks for the key and the list at the start, at the same time as the request.
        for path in ["/auth/verify", "/iam/public-key", "/auth/blacklist"] {
            let is_asked = || heads.lock().unwrap().iter().any(|head| head.path == path);
            let asking = async {
                while !is_asked() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), asking)
                .await
                .unwrap_or_else(|_| panic!("{path} is not asked"));
        }
        for head in heads.lock().unwrap().iter() {
            assert_eq!((head.scheme.as_str(), head.authority.as_str()), (scheme.unwrap_or("http"), authority));
            assert_eq!(head.headers["accept-encoding"], "identity", "{}", head.path);
        }
    }
}
