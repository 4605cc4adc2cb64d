//! Denials in the forms that gRPC clients and browsers understand, and challenges by RFC 6750.

use http::Method;
use serde_json::{Value, json};
use wasm_tests::{
    Request, Response, Stack,
    corpus::{self, keys::Signer, tokens},
};

const ORIGIN: &str = "https://app.example.com";

async fn stack(config: Value) -> Stack {
    let builder = Stack::builder().config(corpus::config()).config(config).fault(corpus::trusted_key());
    builder.envoy(add_cors).start().await.unwrap()
}

/// Adds Envoy's own cors filter behind authgate, with a policy for one origin.
fn add_cors(bootstrap: &mut Value) {
    let manager =
        bootstrap.pointer_mut("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config").unwrap();
    let kind = "type.googleapis.com/envoy.extensions.filters.http.cors.v3";
    let filter = json!({"name": "envoy.filters.http.cors", "typed_config": {"@type": format!("{kind}.Cors")}});
    manager["http_filters"].as_array_mut().unwrap().insert(1, filter);
    manager["route_config"]["virtual_hosts"][0]["typed_per_filter_config"] = json!({
        "envoy.filters.http.cors": {
            "@type": format!("{kind}.CorsPolicy"),
            "allow_origin_string_match": [{"exact": ORIGIN}],
            "allow_methods": "GET, PUT",
            "allow_headers": "authorization",
            "max_age": "600",
        },
    });
}

fn grpc(answer: &Response) -> (u16, Option<String>, Option<String>) {
    (answer.status, answer.header("grpc-status"), answer.header("grpc-message"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_client_gets_only_a_status_and_the_code() {
    let mut stack = stack(json!({"rules": [{"match": {"prefix": "/public"}, "public": true}]})).await;
    let jwt = tokens::good();
    let unknown = format!("999$\u{61}{}", "a".repeat(127));
    // Another token: the 401 of the first one is remembered.
    let forbidden = format!("998${}", "a".repeat(128));
    let call =
        |path: &str| stack.post(path).header("content-type", "application/grpc").header("te", "trailers").http2();
    let mut told: Vec<(Response, &str, &str)> = Vec::new();
    let forged = Signer::foreign().claims(tokens::base().to_string());
    for (request, status, code) in [
        (call("/pkg.Service/Call"), "16", "missing_credentials"),
        (call("/pkg.Service/Call").header("authorization", "Bearer"), "16", "malformed_credentials"),
        (call("/pkg.Service/Call").header("authorization", "Basic eDp5"), "16", "unsupported_scheme"),
        (call("/pkg.Service/Call").bearer("x.y.z"), "16", "token_malformed"),
        (call("/pkg.Service/Call").bearer(&forged), "16", "signature_invalid"),
        (call("/pkg.Service/Call").api_key(&unknown), "16", "token_rejected"),
        (call("/public/../private").bearer(&jwt), "7", "ambiguous_path"),
    ] {
        told.push((request.send().await.unwrap(), status, code));
    }
    stack.fault(json!({"on": "verify", "kind": "status", "status": 403})).await.unwrap();
    told.push((call("/pkg.Service/Call").api_key(&forbidden).send().await.unwrap(), "7", "forbidden_by_service"));
    stack.fault(json!({"on": "verify", "kind": "none"})).await.unwrap();
    stack.stop_auth().await;
    let call = || stack.post("/x").header("content-type", "application/grpc+proto").http2();
    told.push((
        call().api_key(&format!("1${}", "b".repeat(128))).send().await.unwrap(),
        "14",
        "auth_service_unavailable",
    ));
    for (answer, status, code) in &told {
        assert_eq!(grpc(answer), (200, Some((*status).to_owned()), Some((*code).to_owned())), "{answer:?}");
        assert_eq!(answer.text(), "", "{code}");
        assert_eq!(answer.header("content-type").as_deref(), Some("application/grpc"), "{code}");
        assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"), "{code}");
    }
    let passed = call().bearer(&jwt).send().await.unwrap();
    assert_eq!((passed.status, passed.header("grpc-status")), (200, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_type_that_only_begins_like_grpc_is_ordinary() {
    let stack = stack(json!({})).await;
    for kind in [
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc-web-text",
        "application/grpcx",
        "application/grp",
        "text/application/grpc",
        "application/json",
    ] {
        let answer = stack.post("/x").header("content-type", kind).http2().send().await.unwrap();
        assert_eq!(
            (grpc(&answer), answer.code()),
            ((401, None, None), Some("missing_credentials".to_owned())),
            "{kind}"
        );
    }
    for kind in ["application/grpc", "application/grpc+proto", "application/grpc+json"] {
        let answer = stack.post("/x").header("content-type", kind).http2().send().await.unwrap();
        assert_eq!(grpc(&answer), (200, Some("16".to_owned()), Some("missing_credentials".to_owned())), "{kind}");
    }
}

fn cors(answer: &Response) -> Vec<(String, String)> {
    let about_cors = answer.headers.iter().filter(|(name, _)| name.as_str().starts_with("access-control-"));
    about_cors.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_page_of_a_listed_origin_may_read_a_denial() {
    let stack = stack(json!({"responses": {"cors_origins": [ORIGIN, "https://other.example.com"]}})).await;
    let from = |origin: &str| stack.get("/orders").header("origin", origin);
    let denials: [(&str, Request); 3] = [
        ("missing", from(ORIGIN)),
        ("malformed", from(ORIGIN).bearer("x.y.z")),
        ("ambiguous", stack.get("/public/../x").header("origin", ORIGIN)),
    ];
    for (name, request) in denials {
        let answer = request.send().await.unwrap();
        assert!(answer.status == 401 || answer.status == 403, "{name}: {}", answer.status);
        assert_eq!(answer.header("access-control-allow-origin").as_deref(), Some(ORIGIN), "{name}");
        assert_eq!(answer.headers.get_all("access-control-allow-origin").iter().count(), 1, "{name}");
        assert_eq!(answer.header("access-control-allow-credentials").as_deref(), Some("true"), "{name}");
        let vary = answer.header("vary").unwrap().to_ascii_lowercase();
        assert!(vary.split(',').any(|name| name.trim() == "origin"), "{name}: {vary}");
    }
    let second = from("https://other.example.com").send().await.unwrap();
    assert_eq!(second.header("access-control-allow-origin").as_deref(), Some("https://other.example.com"));
    for origin in [
        "https://evil.example",
        "https://app.example.com.evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://APP.example.com",
        "https://app.example.com/",
        "null",
        "*",
        "",
        "https://app.example.com, https://evil.example",
    ] {
        let answer = from(origin).send().await.unwrap();
        assert_eq!((answer.status, cors(&answer)), (401, Vec::new()), "{origin}");
    }
    let none = stack.get("/orders").send().await.unwrap();
    assert_eq!((none.status, cors(&none)), (401, Vec::new()));
    // With two origins it is unclear which page asks.
    let two = from(ORIGIN).header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!((two.status, cors(&two)), (401, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_of_a_listed_origin_is_answered_by_envoys_cors_filter() {
    let stack = stack(json!({"responses": {"cors_origins": [ORIGIN]}})).await;
    let options = |origin: &str| stack.request(Method::OPTIONS, "/orders").header("origin", origin);
    let answer = options(ORIGIN).header("access-control-request-method", "PUT").send().await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("access-control-allow-origin").as_deref(), Some(ORIGIN));
    assert_eq!(answer.header("access-control-allow-methods").as_deref(), Some("GET, PUT"));
    assert_eq!(stack.upstream_hits(), 0);

    let unlisted = options("https://evil.example").header("access-control-request-method", "PUT").send().await.unwrap();
    assert_eq!((unlisted.status, unlisted.code().as_deref()), (401, Some("missing_credentials")));
    // Not preflights: a request without a requested method, and one whose method isn't OPTIONS.
    let plain = options(ORIGIN).send().await.unwrap();
    assert_eq!((plain.status, plain.code().as_deref()), (401, Some("missing_credentials")));
    let get = stack.get("/orders").header("origin", ORIGIN).header("access-control-request-method", "PUT");
    assert_eq!(get.send().await.unwrap().status, 401);
    let overridden = stack.get("/orders").header("origin", ORIGIN).header("access-control-request-method", "PUT");
    assert_eq!(overridden.header("x-http-method-override", "OPTIONS").send().await.unwrap().status, 401);
    assert_eq!(stack.upstream_hits(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_needs_a_credential_if_no_origin_is_listed() {
    let stack = stack(json!({})).await;
    let preflight = stack.request(Method::OPTIONS, "/orders").header("origin", ORIGIN);
    let answer = preflight.header("access-control-request-method", "PUT").send().await.unwrap();
    assert_eq!((answer.status, cors(&answer)), (401, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn challenges_follow_rfc_6750() {
    let stack = stack(json!({"responses": {"realm": "The Gate"}})).await;
    let signer = Signer::trusted();
    let with = |name: &str, value: Value| {
        let mut claims = tokens::base();
        claims[name] = value;
        signer.claims(claims.to_string())
    };
    let get = || stack.get("/orders");
    let forged = Signer::foreign().claims(tokens::base().to_string());
    let table: [(Request, &str, Option<&str>); 9] = [
        (get(), "missing_credentials", None),
        (get().header("authorization", "Basic eDp5"), "unsupported_scheme", None),
        (get().header("authorization", "Bearer"), "malformed_credentials", Some("invalid_request")),
        (get().bearer("x.y.z"), "token_malformed", Some("invalid_token")),
        (get().bearer(&forged), "signature_invalid", Some("invalid_token")),
        (get().bearer(&with("exp", json!(1))), "token_expired", Some("invalid_token")),
        (get().bearer(&with("nbf", json!(4_102_444_799_u64))), "token_not_yet_valid", Some("invalid_token")),
        (get().bearer(&with("token_type", json!("refresh"))), "token_type_not_accepted", Some("invalid_token")),
        (get().api_key(&format!("1${}", "a".repeat(128))), "token_rejected", Some("invalid_token")),
    ];
    for (request, code, error) in table {
        let answer = request.send().await.unwrap();
        assert_eq!((answer.status, answer.code().as_deref()), (401, Some(code)));
        assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 1, "{code}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer realm=\"The Gate\""), "{code}: {challenge}");
        // RFC 6750 section 3.1: no error if the client didn't try to use a bearer token.
        match error {
            None => assert_eq!(challenge, "Bearer realm=\"The Gate\"", "{code}"),
            Some(error) => assert!(challenge.contains(&format!("error=\"{error}\"")), "{code}: {challenge}"),
        }
    }
    let ambiguous = stack.get("/public/../x").send().await.unwrap();
    assert_eq!((ambiguous.status, ambiguous.header("www-authenticate")), (403, None));
}
