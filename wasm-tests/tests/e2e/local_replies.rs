//! A denial is a local reply of Envoy, which knows the client's protocol even if an earlier filter has changed the
//! request. It carries details for access logs and `local_reply_config`.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use prost::Message as _;
use prost_types::{
    DescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto,
};
use serde_json::{Value, json};
use wasm_tests::{
    Request, Response, Stack, connection_manager,
    corpus::{self, keys::Signer},
};

/// A gRPC service with two methods: authgate protects one, `jwt_authn` the other.
fn descriptors() -> String {
    let message = || DescriptorProto { name: Some("Empty".to_owned()), ..DescriptorProto::default() };
    let method = |name: &str| MethodDescriptorProto {
        name: Some(name.to_owned()),
        input_type: Some(".test.Empty".to_owned()),
        output_type: Some(".test.Empty".to_owned()),
        ..MethodDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("test.proto".to_owned()),
        package: Some("test".to_owned()),
        message_type: vec![message()],
        service: vec![ServiceDescriptorProto {
            name: Some("Echo".to_owned()),
            method: vec![method("Call"), method("Native")],
            ..ServiceDescriptorProto::default()
        }],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    BASE64_STANDARD.encode(FileDescriptorSet { file: vec![file] }.encode_to_vec())
}

fn filter(name: &str, mut settings: Value) -> Value {
    let kind = match name {
        "grpc_json_transcoder" => "GrpcJsonTranscoder",
        "connect_grpc_bridge" | "grpc_web" | "grpc_http1_reverse_bridge" => "FilterConfig",
        _ => "JwtAuthentication",
    };
    let kind = match name {
        "grpc_web" => "GrpcWeb",
        _ => kind,
    };
    settings["@type"] = format!("type.googleapis.com/envoy.extensions.filters.http.{name}.v3.{kind}").into();
    json!({"name": format!("envoy.filters.http.{name}"), "typed_config": settings})
}

/// Envoy's own JWT filter behind authgate, for the method `Native`.
fn native() -> Value {
    let provider = json!({"local_jwks": {"inline_string": json!({"keys": [Signer::trusted().jwk()]}).to_string()}});
    filter(
        "jwt_authn",
        json!({
            "providers": {"one": provider},
            "rules": [{"match": {"path": "/test.Echo/Native"}, "requires": {"provider_name": "one"}}],
        }),
    )
}

/// A gateway with these filters in front of authgate, and `jwt_authn` behind it.
async fn behind(in_front: Vec<Value>) -> Stack {
    let rules = json!({"rules": [
        {"match": {"path": "/test.Echo/Native"}, "public": true},
        {"match": {"prefix": "/public"}, "public": true},
    ]});
    let builder = Stack::builder().config(corpus::config()).config(rules).fault(corpus::trusted_key());
    let builder = builder.envoy(move |bootstrap| {
        let manager = connection_manager(&mut bootstrap["static_resources"]["listeners"][0]);
        let filters = manager["http_filters"].as_array_mut().unwrap();
        filters.insert(1, native());
        for filter in in_front.into_iter().rev() {
            filters.insert(0, filter);
        }
    });
    builder.start().await.unwrap()
}

/// What tells a client whether it may call: the HTTP status, and the gRPC status in a header.
fn verdict(answer: &Response) -> (u16, Option<String>) {
    (answer.status, answer.header("grpc-status"))
}

/// Sends the same request to the method that authgate protects and to the one that `jwt_authn` protects.
async fn both(stack: &Stack, request: impl Fn(Request) -> Request) -> [Response; 2] {
    let of = |path| request(stack.post(path)).send();
    [of("/test.Echo/Call").await.unwrap(), of("/test.Echo/Native").await.unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rest_client_of_the_transcoder_gets_the_http_status() {
    let settings = json!({"proto_descriptor_bin": descriptors(), "services": ["test.Echo"], "auto_mapping": true});
    let stack = behind(vec![filter("grpc_json_transcoder", settings)]).await;
    let [ours, native] = both(&stack, |request| request.json(&json!({}))).await;
    assert_eq!(verdict(&ours), (401, None), "{ours:?}");
    assert_eq!(verdict(&native), verdict(&ours), "{native:?}");
    assert_eq!(ours.text(), "missing_credentials");
    assert!(ours.header("www-authenticate").is_some() && ours.header("cache-control").as_deref() == Some("no-store"));
    let ambiguous = stack.post("/public/%2e%2e/x").json(&json!({})).send().await.unwrap();
    assert_eq!(verdict(&ambiguous), (403, None), "what the transcoder leaves alone is denied as ever");
    assert_eq!(ambiguous.code().as_deref(), Some("ambiguous_path"));
    // The transcoder leaves requests of gRPC clients alone.
    let [ours, native] = both(&stack, |request| request.header("content-type", "application/grpc").http2()).await;
    assert_eq!(verdict(&ours), (200, Some("16".to_owned())), "{ours:?}");
    assert_eq!(verdict(&native), verdict(&ours), "{native:?}");
    assert_eq!(ours.header("grpc-message").as_deref(), Some("missing_credentials"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_request_gets_the_same_answer_as_from_jwt_authn() {
    let stack = behind(vec![filter("connect_grpc_bridge", json!({}))]).await;
    for kind in ["application/json", "application/proto"] {
        let connect =
            |request: Request| request.header("content-type", kind).header("connect-protocol-version", "1").body("{}");
        let [ours, native] = both(&stack, connect).await;
        assert_eq!(verdict(&ours), (401, None), "{kind}: {ours:?}");
        assert_eq!(verdict(&native), verdict(&ours), "{kind}: {native:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_web_client_gets_the_grpc_status() {
    let stack = behind(vec![filter("grpc_web", json!({}))]).await;
    for kind in ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text"] {
        for http2 in [false, true] {
            let web = |request: Request| {
                let request = request.header("content-type", kind).header("x-grpc-web", "1").body("AAAAAAA=");
                if http2 { request.http2() } else { request }
            };
            let [ours, native] = both(&stack, web).await;
            // The HTTP status is Envoy's choice.
            assert_eq!(ours.header("grpc-status").as_deref(), Some("16"), "{kind}: {ours:?}");
            assert_eq!(verdict(&native), verdict(&ours), "{kind}: {native:?}");
            assert_eq!(ours.header("grpc-message").as_deref(), Some("missing_credentials"), "{kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unrecognised_grpc_content_type_gets_the_http_status() {
    let stack = behind(Vec::new()).await;
    for kind in [
        "application/grpc;charset=utf-8",
        "application/grpc; charset=utf-8",
        "application/grpc ;x",
        "application/grpc;",
        "application/grpc,application/json",
        "Application/gRPC",
        "application/grpc-web",
        "application/grpcx",
        "application/json",
    ] {
        for http2 in [false, true] {
            let plain = |request: Request| {
                let request = request.header("content-type", kind);
                if http2 { request.http2() } else { request }
            };
            let [ours, native] = both(&stack, plain).await;
            assert_eq!(verdict(&ours), (401, None), "{kind}: {ours:?}");
            assert_eq!(verdict(&native), verdict(&ours), "{kind}: {native:?}");
            assert_eq!(ours.code().as_deref(), Some("missing_credentials"), "{kind}");
            assert_eq!(ours.header("content-type").as_deref(), Some("application/json"), "{kind}");
        }
    }
    // Over HTTP/1, too, the content type decides whether a request is gRPC.
    for kind in ["application/grpc", "application/grpc+proto"] {
        let [ours, native] = both(&stack, |request| request.header("content-type", kind)).await;
        assert_eq!(verdict(&ours), (200, Some("16".to_owned())), "{kind}: {ours:?}");
        assert_eq!(verdict(&native), verdict(&ours), "{kind}: {native:?}");
    }
}

/// A file for Envoy's access log, removed at the end.
struct AccessLog(tempfile::TempDir);

impl AccessLog {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("access.log")
    }

    /// The details of each path, once the log has this many lines.
    async fn details(&self, lines: usize) -> BTreeMap<String, String> {
        let read = async {
            loop {
                let text = fs::read_to_string(self.path()).unwrap_or_default();
                if text.lines().count() >= lines {
                    return text;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let text = tokio::time::timeout(Duration::from_secs(20), read).await.unwrap();
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(path, of)| (path.to_owned(), of.to_owned()))
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_response_code_details_name_the_code_and_can_be_used_in_local_replies() {
    let log = AccessLog::new();
    let path = log.path();
    let rules = json!({"rules": [
        {"match": {"prefix": "/public"}, "public": true},
        {"match": {"prefix": "/machines"}, "require": {"token_types": ["api_token"]}},
    ]});
    let builder = Stack::builder().config(corpus::config()).config(rules).fault(corpus::trusted_key());
    let builder = builder.envoy(move |bootstrap| {
        let manager = connection_manager(&mut bootstrap["static_resources"]["listeners"][0]);
        manager["access_log"] = json!([{
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": path,
                "log_format": {"text_format_source": {"inline_string": "%REQ(:PATH)% %RESPONSE_CODE_DETAILS%\n"}},
            },
        }]);
        manager["local_reply_config"] = json!({"mappers": [{
            "filter": {"extension_filter": {
                "name": "envoy.access_loggers.extension_filters.cel",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                    "expression": "response.code_details == 'authgate_token_malformed'",
                },
            }},
            "headers_to_add": [{"header": {"key": "x-details", "value": "%RESPONSE_CODE_DETAILS%"}}],
        }]});
    });
    let mut stack = builder.start().await.unwrap();
    let jwt = corpus::tokens::good();
    let token = |digit: &str| format!("1${}", digit.repeat(128));
    let missing = stack.get("/missing").send().await.unwrap();
    let malformed = stack.get("/malformed").bearer("x.y.z").send().await.unwrap();
    assert_eq!((missing.status, missing.header("x-details")), (401, None));
    assert_eq!(malformed.header("x-details").as_deref(), Some("authgate_token_malformed"));
    assert_eq!(malformed.code().as_deref(), Some("token_malformed"), "the rest of the reply stays");
    stack.get("/public/../x").send().await.unwrap();
    stack.get("/machines").bearer(&jwt).send().await.unwrap();
    stack.get("/rejected").api_key(&token("a")).send().await.unwrap();
    stack.post("/grpc").header("content-type", "application/grpc").http2().send().await.unwrap();
    stack.stop_auth().await;
    stack.get("/outage").api_key(&token("b")).send().await.unwrap();
    stack.get("/good").bearer(&jwt).send().await.unwrap();
    let details = log.details(8).await;
    for (path, expected) in [
        ("/missing", "authgate_missing_credentials"),
        ("/malformed", "authgate_token_malformed"),
        ("/public/../x", "authgate_ambiguous_path"),
        ("/machines", "authgate_claims_not_sufficient"),
        ("/rejected", "authgate_token_rejected"),
        ("/grpc", "authgate_missing_credentials"),
        ("/outage", "authgate_auth_service_unavailable"),
        ("/good", "via_upstream"),
    ] {
        assert_eq!(details.get(path).map(String::as_str), Some(expected), "{details:?}");
    }
}
