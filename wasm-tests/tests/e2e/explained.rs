//! `authgate explain` predicts what Envoy does with a request.

use std::{collections::BTreeMap, fs, path::PathBuf};

use http::Method;
use serde_json::{Value, json};
use wasm_tests::{Response, Stack, credentials::claims};

/// A request, sent to Envoy and described to the command.
#[derive(Clone, Default)]
struct Sent {
    method: Option<Method>,
    path: &'static str,
    host: Option<&'static str>,
    headers: Vec<(&'static str, String)>,
}

fn get(path: &'static str) -> Sent {
    Sent { path, ..Sent::default() }
}

impl Sent {
    fn method(self, method: Method) -> Self {
        Self { method: Some(method), ..self }
    }

    fn host(self, host: &'static str) -> Self {
        Self { host: Some(host), ..self }
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn bearer(self, jwt: &str) -> Self {
        self.header("authorization", &format!("Bearer {jwt}"))
    }

    fn api_key(self, token: &str) -> Self {
        self.header("authorization", &format!("APIKey {token}"))
    }
}

/// The files that the command reads.
struct Files {
    bootstrap: PathBuf,
    key: PathBuf,
    answer: PathBuf,
}

/// How a request ends: the code of its denial, or its identity upstream.
type End = Result<BTreeMap<String, String>, String>;

async fn in_envoy(stack: &Stack, sent: &Sent) -> End {
    let mut request = stack.request(sent.method.clone().unwrap_or(Method::GET), sent.path);
    if let Some(host) = sent.host {
        request = request.host(host);
    }
    for (name, value) in &sent.headers {
        request = request.header(name, value);
    }
    let answer = request.send().await.unwrap();
    match answer.code() {
        Some(code) => Err(code),
        None => {
            let identity = answer.identity().unwrap();
            Ok(identity.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        }
    }
}

/// The command's prediction. If it needs the service's answer, it gets the one that the service gave.
fn told(files: &Files, sent: &Sent, status: u16) -> End {
    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let method = sent.method.clone().unwrap_or(Method::GET).to_string();
    let mut arguments: Vec<String> = ["authgate", "explain"].map(str::to_owned).to_vec();
    arguments.extend([text(&files.bootstrap), "--format".into(), "json".into(), "--key".into(), text(&files.key)]);
    arguments.extend(["--method".into(), method, "--path".into(), sent.path.into()]);
    arguments.extend(["--answer".into(), status.to_string(), "--answer-body".into(), text(&files.answer)]);
    arguments.extend(sent.host.into_iter().flat_map(|host| ["--host".to_owned(), host.to_owned()]));
    for (name, value) in &sent.headers {
        arguments.extend(["--header".to_owned(), format!("{name}: {value}")]);
    }
    let mut out = Vec::new();
    assert_eq!(authgate::cli::run(arguments, &mut out, false), 0);
    let story: Value = serde_json::from_slice(&out).unwrap();
    let decision = &story["decision"];
    if let Some(code) = decision["deny"]["code"].as_str() {
        return Err(code.to_owned());
    }
    let set = decision["forward"]["set"].as_array().unwrap_or_else(|| panic!("{story:#}"));
    Ok(set.iter().map(|pair| (pair[0].as_str().unwrap().into(), pair[1].as_str().unwrap().into())).collect())
}

async fn requests(stack: &Stack, token: &str) -> Vec<(Sent, u16)> {
    let jwt = |changes: Value| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        async move { stack.mint_claims(&claims).await.unwrap() }
    };
    let access = jwt(json!({})).await;
    let forged = format!("{}A", access.trim_end_matches(|last| last != '.').to_owned() + &"A".repeat(341));
    let unknown = format!("{}{}", &token[..token.len() - 1], if token.ends_with('0') { '1' } else { '0' });
    vec![
        (get("/health"), 0),
        (get("/health").header("x_user_id", "1").header("X-User-Id", "1"), 0),
        (get("/health").method(Method::DELETE), 0),
        (get("/orders"), 0),
        (get("/orders").bearer(&access).header("X-Is-Admin", "true"), 0),
        (get("/orders").bearer(&forged), 0),
        (get("/orders").bearer(&jwt(json!({"exp": 1})).await), 0),
        (get("/orders").bearer(&jwt(json!({"token_type": "refresh"})).await), 0),
        (get("/orders").bearer("a.b.c"), 0),
        (get("/orders").header("authorization", "Basic eA=="), 0),
        (get("/orders").header("authorization", "Bearer  x"), 0),
        (get("/orders").api_key(token), 200),
        (get("/orders").api_key(&unknown), 401),
        (get("/orders").api_key("007$x"), 0),
        (get("/machines").bearer(&access), 0),
        (get("/machines").api_key(token), 200),
        (get("/machines/a/../b").bearer(&access), 0),
        (get("/public/a"), 0),
        (get("/public/..%2Forders"), 0),
        (get("/public%2fa"), 0),
        (get("/public/%zz"), 0),
        (get("/public;x/a"), 0),
        (get("/hosts").host("open.example.com"), 0),
        (get("/hosts").host("OPEN.example.com:80"), 0),
        (get("/hosts").host("other.example.com"), 0),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_agrees_with_envoy() {
    let rules = json!([
        {"match": {"path": "/health", "methods": ["GET"]}, "public": true},
        {"match": {"prefix": "/public"}, "public": true},
        {"match": {"prefix": "/machines"}, "require": {"token_types": ["api_token"]}},
        {"match": {"prefix": "/hosts", "hosts": ["open.example.com:*"]}, "public": true},
    ]);
    let stack = Stack::builder().config(json!({"rules": rules})).start().await.unwrap();
    let (_, token) = stack.api_token("explained").await.unwrap();
    let service = |path: &str| stack.service_request(Method::GET, path).unwrap();
    let key: Response = service("/iam/public-key").send().await.unwrap();
    let answer = service("/auth/verify?header_types=apikey&response_format=json_body").api_key(&token);
    let answer: Response = answer.send().await.unwrap();
    let files = Files {
        bootstrap: stack.folder().join("bootstrap.json"),
        key: stack.folder().join("key.pem"),
        answer: stack.folder().join("answer.json"),
    };
    fs::write(&files.key, key.json().unwrap()["public_key"].as_str().unwrap()).unwrap();
    fs::write(&files.answer, answer.text()).unwrap();
    for (sent, status) in requests(&stack, &token).await {
        let done = in_envoy(&stack, &sent).await;
        let told = told(&files, &sent, if status == 0 { 503 } else { status });
        assert_eq!(told, done, "{} {:?}", sent.path, sent.host);
    }
}
