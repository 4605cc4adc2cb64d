//! What the authentication service sees of a callout's head, over HTTP/2: servers compare `:scheme` with the connection,
//! route by `:authority`, and compress for who doesn't forbid it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use wasm_tests::{Stack, auth_service_alone, speak_http2};

/// Scheme, authority, path, `accept-encoding`.
type Heads = Arc<Mutex<Vec<(String, String, String, String)>>>;

/// A service that notes the heads of requests and knows nobody.
async fn noting_service() -> (u16, Heads) {
    async fn note(State(heads): State<Heads>, request: axum::extract::Request) -> StatusCode {
        let uri = request.uri();
        let of = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let encoding = request.headers().get("accept-encoding").and_then(|value| value.to_str().ok());
        let authority = uri.authority().map(|authority| authority.as_str());
        heads.lock().unwrap().push((of(uri.scheme_str()), of(authority), uri.path().to_owned(), of(encoding)));
        StatusCode::UNAUTHORIZED
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Heads::default();
    let app = Router::new().fallback(note).with_state(Arc::clone(&heads));
    tokio::spawn(async move { drop(axum::serve(listener, app).await) });
    (port, heads)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_callout_has_the_configured_scheme_and_host() {
    for (scheme, cluster, authority) in [
        (None, "auth_service", "auth_service"),
        (Some("https"), "outbound|8080||auth.ns.svc.cluster.local", "auth.ns.svc.cluster.local"),
    ] {
        let (port, heads) = noting_service().await;
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
        // The key and the list are asked for at the start, beside the request.
        for path in ["/auth/verify", "/iam/public-key", "/auth/blacklist"] {
            let is_asked = || heads.lock().unwrap().iter().any(|(_, _, asked, _)| asked == path);
            let asking = async {
                while !is_asked() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), asking)
                .await
                .unwrap_or_else(|_| panic!("{path} is not asked"));
        }
        for (found, host, path, encoding) in heads.lock().unwrap().iter() {
            let expected = (scheme.unwrap_or("http"), authority, "identity");
            assert_eq!((found.as_str(), host.as_str(), encoding.as_str()), expected, "{path}");
        }
    }
}
