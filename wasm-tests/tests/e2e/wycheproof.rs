//! Project Wycheproof's RSA-2048 signatures, checked by both verifiers inside real Envoy.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use wasm_tests::{Request, Stack};

const VECTORS: &str = include_str!("../../../src/signature/testdata/rsa_signature_2048_sha256_test.json");

fn base64_of(hex: &Value) -> String {
    let hex = hex.as_str().unwrap().as_bytes();
    let bytes: Vec<u8> =
        hex.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
    BASE64_STANDARD.encode(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_verifiers_give_every_wycheproof_vector_its_verdict() {
    // The probe replaces the filter: vectors aren't JWTs, so no request to the filter could carry them.
    let builder = Stack::builder().without_auth_service().module("test_module.wasm").environment("VERIFIER_PROBE", "1");
    let stack = builder.start().await.unwrap();
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let mut judged = 0;
    for group in vectors["testGroups"].as_array().unwrap() {
        let key = base64_of(&group["publicKeyDer"]);
        for case in group["tests"].as_array().unwrap() {
            let request: Request = stack.get("/").header("x-key", &key);
            let request = request.header("x-signature", base64_of(&case["sig"]));
            let answer = request.header("x-message", base64_of(&case["msg"])).send().await.unwrap().text();
            // Only one case is "acceptable", a DigestInfo without its NULL, and it isn't acceptable here.
            let valid = case["result"] == "valid";
            assert_eq!(answer, format!("host: Some({valid}), module: {valid}"), "{case}");
            judged += 1;
        }
    }
    assert_eq!(judged, vectors["numberOfTests"]);
}
