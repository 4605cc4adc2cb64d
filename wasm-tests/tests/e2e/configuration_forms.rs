//! A configuration means the same as a `Struct` and as JSON text in a `StringValue`.

use serde_json::json;
use wasm_tests::{Builder, Stack};

async fn the_configuration_is_read(builder: Builder) {
    let open = json!({"match": {"prefix": "/only-here"}, "public": true});
    let stack = builder.config(json!({"rules": [open]})).start().await.unwrap();
    assert_eq!(stack.get("/only-here/x").send().await.unwrap().status, 200);
    let elsewhere = stack.get("/public/x").send().await.unwrap();
    assert_eq!((elsewhere.status, elsewhere.code().as_deref()), (401, Some("missing_credentials")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_struct_is_accepted() {
    the_configuration_is_read(Stack::builder()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_in_a_string_is_accepted() {
    the_configuration_is_read(Stack::builder().config_as_text()).await;
}
