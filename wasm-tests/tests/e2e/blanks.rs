//! Blanks that a server trims, and Envoy doesn't: at the end of a path, and beside names of credentials.

use std::time::Duration;

use serde_json::json;
use wasm_tests::{Stack, corpus::scripted};

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_path_with_a_blank_at_its_end_is_ambiguous() {
    let rules = json!([{"match": {"path": "/secret"}, "deny": true}, {"match": {"prefix": "/"}, "public": true}]);
    let stack = Stack::builder().config(json!({"rules": rules})).start().await.unwrap();
    let mut frames = stack.frames().await.unwrap();
    // Over HTTP/1.1 Envoy refuses these bytes.
    frames.get(&[b"/secret\xa0", b"/secret\x85", b"/secret\xa0\x85?x=1", b"/public\xa0"]).await.unwrap();
    let counted = async |outcome| {
        let labels = [("outcome", outcome), ("filter", "authgate")];
        stack.metric("auth_validation_requests_total", &labels).await.unwrap()
    };
    let all = async {
        while counted("public").await + counted("deny").await < 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.unwrap();
    let ambiguous = [("filter", "authgate"), ("reason", "ambiguous_path")];
    assert_eq!(stack.metric("auth_validation_errors_total", &ambiguous).await.unwrap(), 3);
    assert_eq!(counted("public").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_behind_a_blank_counts_and_is_taken_off() {
    let credentials = json!({"cookie": "session"});
    let rules = json!([{"match": {"prefix": "/public"}, "public": true}]);
    let config = json!({"credentials": credentials, "forward_credential": false, "rules": rules});
    let stack = Stack::builder().config(config).start().await.unwrap();
    let with_cookie = |path: &str| stack.get(path).header("cookie", b"a=1; \xa0session=forged");
    let twice = with_cookie("/orders").api_key(&scripted::token(1)).send().await.unwrap();
    assert_eq!((twice.status, twice.code().as_deref()), (401, Some("malformed_credentials")));
    let public = with_cookie("/public").send().await.unwrap();
    assert_eq!(public.upstream().unwrap().header("cookie").as_deref(), Some("a=1"));
    // Python's http.cookies and aiohttp see two cookies here.
    let inner = stack.get("/public").header("cookie", "b=2; a=1 session=forged").send().await.unwrap();
    assert_eq!(inner.upstream().unwrap().header("cookie").as_deref(), Some("b=2"));
}
