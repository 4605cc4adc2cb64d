//! Nothing confidential from a client or the auth service appears in what Envoy writes, even at the most verbose log
//! level, or in a denial.

use std::net::SocketAddr;

use http::Method;
use serde_json::{Value, json};
use wasm_tests::{
    Request, Stack,
    corpus::{answers, keys::Signer, request_to},
    credentials::{claims_of, forged},
};

use crate::{
    confidential::{CANARIES, Record, canary_claims, refused_claims},
    feed,
};

/// Adds a listener for each `response_format`.
fn add_listeners(bootstrap: &mut Value) {
    let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
    for format in answers::FORMATS {
        let mut listener = listeners[0].clone();
        listener["name"] = json!(format);
        let config = "/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/configuration/value";
        // An identity in headers has no token type, so in this format the filter asks only about API tokens.
        let kinds = if format == "json_header" { json!(["apikey"]) } else { json!(["apikey", "jwt", "other"]) };
        listener.pointer_mut(config).unwrap()["api_token"] = json!({"response_format": format, "header_types": kinds});
        listeners.push(listener);
    }
}

/// Sends every kind of request to one listener.
async fn every_kind(record: &mut Record, stack: &Stack, listener: SocketAddr, api: &str) {
    let get = |path: &str| request_to(listener, Method::GET, path);
    let access = record.token(stack.login().await.unwrap().access);
    let refresh = record.token(stack.login().await.unwrap().refresh);
    let canary = record.token(stack.mint_claims(&canary_claims()).await.unwrap());
    let altered = record.token(forged(&canary).unwrap());
    let foreign = record.token(Signer::foreign().claims(canary_claims().to_string()));
    let mut requests = vec![
        get("/orders"),
        get("/orders").bearer(&access),
        get("/orders").bearer(&refresh),
        get("/orders").bearer(&canary),
        get("/orders").bearer(&altered),
        get("/orders").bearer(&foreign),
        get("/webhooks/x").bearer(&canary),
        get("/orders").api_key(api),
        get("/webhooks/x").api_key(api),
        get("/public/page").bearer(&canary),
        get("/public/../orders").bearer(&canary),
        get("/orders").bearer(&canary).bearer(&access),
        get("/orders").header("authorization", format!("Bearer {canary} {access}")),
        get("/orders").header("authorization", format!("Bearer  {canary}")),
        get("/orders").header("authorization", &canary),
        get("/orders").header("authorization", format!("Basic {}", record.secret("dXNlcjpjYW5hcnk="))),
        get("/orders").header("authorization", format!("Canary {}", record.secret("canary-of-another-scheme"))),
        get("/orders").header("authorization", [b"Bearer \xff", canary.as_bytes()].concat()),
        get("/orders").bearer(&format!("{canary}=")),
        get("/orders").bearer(&canary.replacen('.', "..", 1)),
        get("/orders").api_key(&record.token(format!("77${}", "canarysecret0000".repeat(8)))),
        get("/orders").api_key(&record.token(format!("77${}", "CANARYSECRET0000".repeat(8)))),
        get("/orders").header("cookie", format!("session={}", record.secret("canary-in-a-cookie"))),
        get(&format!("/orders?access_token={}", record.secret("canary-in-the-query"))),
        get("/orders").header("x-user-email", record.secret("canary-of-a-spoofed@header.example")),
        get("/orders").header("content-type", "application/grpc").bearer(&altered),
        get("/orders")
            .header("content-type", "application/grpc")
            .api_key(&format!("78${}", "canarysecret0000".repeat(8))),
        get("/orders").header("origin", "https://app.example.com").bearer(&altered),
        get("/orders").header("accept", "text/html").bearer(&altered),
        traced(get("/orders"), record),
    ];
    for header in [
        json!({"typ": "JWT", "alg": record.secret("canary-alg")}),
        json!({"alg": "RS256", "typ": record.secret("canary-typ")}),
        json!({"alg": "RS256", "crit": [record.secret("canary-crit")]}),
        json!({"alg": "RS256", "kid": record.secret("canary-kid")}),
    ] {
        let token = stack.mint(&header.to_string(), &canary_claims().to_string()).await.unwrap();
        requests.push(get("/orders").bearer(&record.token(token)));
    }
    for claims in refused_claims() {
        let token = stack.mint(r#"{"typ":"JWT","alg":"RS256"}"#, &claims).await.unwrap();
        requests.push(get("/orders").bearer(&record.token(token)));
    }
    for request in requests {
        record.send(request).await;
    }
}

/// The request within a trace, whose headers go to the service with the question about its API token.
fn traced(request: Request, record: &mut Record) -> Request {
    request
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .header("tracestate", format!("vendor={}", record.secret("canary-of-a-trace")))
        .api_key(&record.token(format!("79${}", "canarysecret0000".repeat(8))))
}

fn raw(status: u16, headers: Value, body: &str) -> Value {
    json!({"on": "verify", "kind": "raw", "status": status, "headers": headers, "body": body})
}

/// Answers that a parser might quote when it refuses them.
fn answers_with_canaries() -> Vec<Value> {
    let error = r#"{"error": "canary-username", "details": "canary@secret.example is unknown"}"#;
    let mut all: Vec<_> = refused_claims().iter().map(|claims| raw(200, json!([]), claims)).collect();
    all.extend([200, 302, 401, 403, 429, 500, 503].map(|status| {
        raw(
            status,
            json!([["X-Reason", "canary-username"], ["WWW-Authenticate", "Bearer realm=\"canary-entity\""]]),
            error,
        )
    }));
    all.extend([
        raw(200, json!([["X-User-Id", "canary-username"], ["X-Client-Id", "70"]]), ""),
        raw(
            200,
            json!([
                ["X-User-Id", "7"],
                ["X-Client-Id", "70"],
                ["X-Is-Admin", "canary-group"],
                ["X-User-Email", "canary@secret.example"]
            ]),
            "",
        ),
        raw(
            200,
            json!([["Authorization", "Bearer canary-jti-7f3a.canary-username.canary-group"]]),
            "canary-jti-7f3a.canary-username.canary-group",
        ),
        raw(200, json!([["Authorization", "canary-username"]]), "canary-username"),
        json!({"on": "verify", "kind": "garbage"}),
        json!({"on": "verify", "kind": "reset"}),
        json!({"on": "verify", "kind": "reset_mid_body"}),
    ]);
    all
}

/// Pages that the filter serves itself, each with a text in it: two of the service, and one of the resource.
const PAGES: [(&str, &str); 3] = [
    ("/-/health", "status"),
    ("/-/ready", "status"),
    ("/.well-known/oauth-protected-resource/v1", "https://auth.example.com"),
];

/// Results that must occur, because otherwise there is nothing to leak.
const VERDICTS: [&str; 14] = [
    "200",
    "missing_credentials",
    "malformed_credentials",
    "token_malformed",
    "signature_invalid",
    "token_expired",
    "token_not_yet_valid",
    "token_type_not_accepted",
    "token_revoked",
    "token_rejected",
    "forbidden_by_service",
    "ambiguous_path",
    "auth_service_unavailable",
    "public_key_unavailable",
];

/// Asks about tokens and gets answers that contain canaries but no verdict.
async fn unverified(record: &mut Record, stack: &Stack, listeners: &[(String, SocketAddr)], part: &str) {
    for (number, fault) in answers_with_canaries().into_iter().enumerate() {
        stack.fault(fault).await.unwrap();
        // The token is unknown at first. The second request shows what was kept of the answer.
        let token = format!("{}${part}", 1000 + number);
        for (_, listener) in listeners {
            for _ in 0..2 {
                record.send(request_to(*listener, Method::GET, "/orders").api_key(&token)).await;
            }
        }
    }
    stack.fault(json!({"on": "all", "kind": "none"})).await.unwrap();
}

/// Lets a technical token in, which has a line of its own in the log.
async fn deprecated(record: &mut Record, stack: &Stack) {
    let mut claims = canary_claims();
    claims["token_type"] = json!("technical");
    stack.fault(raw(200, json!([]), &claims.to_string())).await.unwrap();
    let token = record.token(format!("80${}", "canarysecret0000".repeat(8)));
    assert_eq!(record.send(stack.get("/orders").api_key(&token)).await.status, 200);
    stack.fault(json!({"on": "verify", "kind": "none"})).await.unwrap();
}

/// Signs out, rotates the key and stops the service, with tokens from before and after. Returns the service's keys.
async fn changes(
    record: &mut Record,
    stack: &mut Stack,
    listeners: &[(String, SocketAddr)],
    api: &str,
    part: &str,
) -> Vec<String> {
    let before = record.token(stack.login().await.unwrap().access);
    record.secret(claims_of(&before).unwrap()["jti"].as_str().unwrap());
    let logout = stack.service_request(Method::POST, "/auth/jwt/logout").unwrap().bearer(&before).send().await.unwrap();
    assert!(logout.status < 300, "{}", logout.text());
    record.send(stack.get("/orders").bearer(&before)).await;
    feed::is_read(stack).await;
    record.send(stack.get("/orders").bearer(&before)).await;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let key = stack.service_request(Method::GET, "/iam/public-key").unwrap().send().await.unwrap().json().unwrap();
        keys.push(key["public_key"].as_str().unwrap().to_owned());
        if keys.len() == 1 {
            stack.rotate().await.unwrap();
        }
    }
    let after = record.token(stack.login().await.unwrap().access);
    record.send(stack.get("/orders").bearer(&after)).await;
    record.send(stack.get("/orders").bearer(&before)).await;
    for body in [
        "canary-username",
        r#"{"public_key": "canary-username"}"#,
        r#"{"public_key": 7, "canary-username": 1}"#,
        "-----BEGIN PUBLIC KEY-----\ncanary-username\n-----END PUBLIC KEY-----",
    ] {
        stack.fault(json!({"on": "public_key", "kind": "raw", "body": body})).await.unwrap();
        let strange = record.token(Signer::foreign().claims(canary_claims().to_string()));
        record.send(stack.get("/orders").bearer(&strange)).await;
    }
    stack.stop_auth().await;
    for (_, listener) in listeners {
        let get = || request_to(*listener, Method::GET, "/orders");
        record.send(get().api_key(api)).await;
        record.send(get().api_key(&format!("2000${part}"))).await;
        record.send(get().bearer(&after)).await;
        record.send(get().bearer(&before)).await;
    }
    keys
}

/// Turns on everything that writes.
fn config() -> Value {
    json!({
        "api_token": {"accept_technical": true},
        // An open breaker would keep the answers from the filter.
        "circuit_breaker": {"failures": 1000},
        "revocation": {"path": "/auth/blacklist", "poll_interval": "1s"},
        "jwt": {"public_key": {"min_refetch_interval": "100ms"}},
        "audit": "all",
        "status_paths": {"health": PAGES[0].0, "readiness": PAGES[1].0},
        "responses": {
            "cors_origins": ["https://app.example.com"],
            "sign_in_url": "https://app.example.com/login",
            "resource_metadata": {"resource": "https://api.example.com/v1", "authorization_servers": [PAGES[2].1]},
        },
        "rules": [
            {"match": {"prefix": "/public"}, "public": true},
            {"match": {"prefix": "/webhooks"}, "require": {"token_types": ["api_token"]}},
        ],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_metric_or_denial_contains_a_secret() {
    let builder = Stack::builder().config(config()).component_log_level("wasm:trace,main:warn");
    let mut stack = builder.envoy(add_listeners).start().await.unwrap();
    let listeners = stack.listeners().await.unwrap();
    let mut record = Record::default();
    for canary in CANARIES {
        record.secret(canary);
    }
    let (user, password) = stack.user();
    record.secrets.extend([user.to_owned(), password.to_owned()]);
    let (_, api) = stack.api_token("secrets").await.unwrap();
    record.token(api.as_str());

    for (_, listener) in &listeners {
        every_kind(&mut record, &stack, *listener, &api).await;
    }
    let part = record.secret("canaryverdict000".repeat(8));
    unverified(&mut record, &stack, &listeners, &part).await;
    deprecated(&mut record, &stack).await;
    let keys = changes(&mut record, &mut stack, &listeners, &api, &part).await;
    record.keys(keys);

    for event in ["hit", "negative"] {
        let events = stack.metric("auth_cache_events_total", &[("event", event)]).await.unwrap();
        assert!(events > 0, "the cache has had its part: {event}");
    }
    let log = stack.envoy_log();
    assert!(
        log.contains("[trace][wasm]") && log.contains("public key"),
        "the module logs at its most talkative:\n{log}"
    );
    assert!(log.contains(r#"{"authgate": "audit""#), "the audit is on:\n{log}");
    assert!(log.contains("a technical token of user 7"), "its use was told:\n{log}");
    assert!(log.contains(r#""suspicious": "repeated_failures""#), "the refusals were told:\n{log}");
    let access_log = stack.access_log();
    assert!(access_log.contains("signature_invalid"), "there is an access log:\n{access_log}");
    let mut written = vec![("the log", log), ("the access log", access_log)];
    for page in ["/stats", "/stats/prometheus", "/stats?format=json", "/clusters", "/listeners"] {
        written.push((page, stack.admin(page).await.unwrap().text()));
    }
    for (page, word) in PAGES {
        let answer = stack.get(&format!("{page}?access_token={api}")).api_key(&api).send().await.unwrap();
        assert!(answer.text().contains(word), "{page}: {}", answer.text());
        written.push((page, format!("{:?} {}", answer.headers, answer.text())));
    }
    for link in ["https://app.example.com/login", "/.well-known/oauth-protected-resource/v1"] {
        assert!(record.denials.iter().any(|denial| denial.contains(link)), "no denial names {link}");
    }
    written.extend(record.denials.iter().map(|denial| ("a denial", denial.clone())));
    let found = record.found_in(&written);
    assert!(found.is_empty(), "{}", found.join("\n"));

    for code in VERDICTS {
        assert!(record.verdicts.iter().any(|verdict| verdict.ends_with(code)), "{code}: {:?}", record.verdicts);
    }
}
