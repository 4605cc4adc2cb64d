//! The OpenAPI document says what is served: its paths, its statuses, and its bodies.

use std::collections::BTreeSet;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{Service, claims, now, start};

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// The document, and which of its operations have succeeded.
struct Document {
    document: Value,
    succeeded: BTreeSet<(String, String)>,
}

impl Document {
    async fn of(service: &Service) -> Self {
        let text = service.send(service.get("/openapi.yaml")).await.text().await.unwrap();
        let mut document = serde_norway::from_str(&text).unwrap();
        to_json_schema(&mut document);
        Self { document, succeeded: BTreeSet::new() }
    }

    fn operation(&self, method: &Method, path: &str) -> Option<&Value> {
        self.document["paths"][path].get(method.as_str().to_lowercase())
    }

    /// Sends a request, and checks its answer against what the document says about this operation.
    async fn check(&mut self, method: Method, path: &str, request: RequestBuilder) -> Value {
        let response = request.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        let operation = self.operation(&method, path).unwrap_or_else(|| panic!("{method} {path} is not documented"));
        let known = operation["responses"].get(status.as_str());
        let known = known.unwrap_or_else(|| panic!("{method} {path}: {status} is not documented: {text}"));
        // Responses that many operations share are under components.
        let pointer = known["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        let known = pointer.map_or(known, |pointer| self.document.pointer(pointer).unwrap());
        let body = match known.pointer("/content/application~1json/schema") {
            Some(schema) => {
                let mut schema = schema.clone();
                schema["components"] = self.document["components"].clone();
                let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{method} {path}: {text}"));
                let validator = jsonschema::draft202012::new(&schema).unwrap();
                let wrong: Vec<_> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
                assert!(wrong.is_empty(), "{method} {path} {status}: {wrong:?} {body}");
                body
            }
            None => Value::String(text),
        };
        assert_eq!(status == 204, body == json!(""), "{method} {path}: {body}");
        if status.is_success() {
            self.succeeded.insert((path.to_owned(), method.to_string()));
        }
        body
    }

    /// All operations, by path and method.
    fn operations(&self) -> BTreeSet<(String, String)> {
        let paths = self.document["paths"].as_object().unwrap().keys();
        let all = paths.flat_map(|path| METHODS.map(|method| (path, method)));
        let all = all.filter(|(path, method)| self.operation(method, path).is_some());
        all.map(|(path, method)| (path.clone(), method.to_string())).collect()
    }
}

/// Makes schemas of OpenAPI 3.0 schemas of JSON: `nullable` becomes a type. Fields that no schema names are forbidden.
fn to_json_schema(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.remove("nullable") == Some(json!(true)) {
                fields["type"] = json!([fields["type"], "null"]);
            }
            if fields.get("type") == Some(&json!("object")) && fields.contains_key("properties") {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
            fields.values_mut().for_each(to_json_schema);
        }
        Value::Array(items) => items.iter_mut().for_each(to_json_schema),
        _ => {}
    }
}

#[tokio::test]
async fn every_path_and_method_is_documented() {
    let service = start().await;
    let document = Document::of(&service).await;
    let documented: BTreeSet<_> = document.document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(auth_service::paths().collect::<BTreeSet<_>>(), documented);
    for path in documented {
        for method in METHODS {
            let request = service.request(method.clone(), &path.replace("{id}", "1"));
            let is_served = service.send(request).await.status() != 405;
            assert_eq!(is_served, document.operation(&method, path).is_some(), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn every_operation_succeeds_as_documented() {
    let service = start().await;
    let mut document = Document::of(&service).await;
    for path in ["/health", "/readiness", "/metrics", "/openapi.yaml", "/iam/public-key"] {
        document.check(Method::GET, path, service.get(path)).await;
    }
    let tokens = document.check(Method::POST, "/auth/jwt/login", service.login_as("root", "toor")).await;
    let (access, refresh) = (tokens["access"].as_str().unwrap(), tokens["refresh"].as_str().unwrap());
    let request = service.post("/auth/jwt/refresh").bearer_auth(refresh);
    document.check(Method::POST, "/auth/jwt/refresh", request).await;

    let body = json!({"name": "a", "description": "d", "exp_date": "2100-01-01T00:00:00Z"});
    let request = service.post("/iam/tokens").bearer_auth(access).json(&body);
    let token = document.check(Method::POST, "/iam/tokens", request).await;
    document.check(Method::GET, "/auth/verify", service.verify_token(&token)).await;
    document.check(Method::GET, "/iam/tokens", service.get("/iam/tokens").bearer_auth(access)).await;
    let path = format!("/iam/tokens/{}", token["id"]);
    let changed = json!({"name": "b", "exp_date": null});
    let of_token = |method: Method| service.request(method, &path).bearer_auth(access);
    for request in [of_token(Method::GET), of_token(Method::PATCH).json(&changed), of_token(Method::DELETE)] {
        let method = request.try_clone().unwrap().build().unwrap().method().clone();
        document.check(method, "/iam/tokens/{id}", request).await;
    }

    let (jwt, _) = service.login("alice").await;
    for body in [json!({"jti": claims(&jwt)["jti"], "exp": now() + 60}), json!({"user_id": claims(&jwt)["user_id"]})] {
        let request = service.post("/iam/revocations").bearer_auth(access).json(&body);
        document.check(Method::POST, "/iam/revocations", request).await;
    }
    let list = document.check(Method::GET, "/auth/blacklist", service.get("/auth/blacklist")).await;
    for part in ["revoked", "users", "purge"] {
        assert!(!list[part].as_array().unwrap().is_empty(), "{part}: {list}");
    }
    let (jwt, _) = service.login("alice").await;
    document.check(Method::POST, "/auth/jwt/logout", service.post("/auth/jwt/logout").bearer_auth(jwt)).await;
    let body = json!({"old_password": "toor", "new_password": "new"});
    let request = service.post("/auth/password").bearer_auth(access).json(&body);
    document.check(Method::POST, "/auth/password", request).await;
    assert_eq!(document.succeeded, document.operations());
}

#[tokio::test]
async fn every_operation_fails_as_documented() {
    let service = start().await;
    let mut document = Document::of(&service).await;
    let (access, _) = service.login("alice").await;
    for (path, method) in document.operations() {
        let method: Method = method.parse().unwrap();
        let request = || service.request(method.clone(), &path.replace("{id}", "1"));
        let takes_body = document.operation(&method, &path).unwrap().get("requestBody").is_some();
        let mut requests = vec![request(), request().bearer_auth("a.b.c"), request().bearer_auth(&access)];
        if takes_body {
            let bodies = [json!({}), json!({"unknown": 1}), json!([])];
            requests.extend(bodies.iter().map(|body| request().bearer_auth(&access).json(body)));
        }
        for request in requests {
            document.check(method.clone(), &path, request).await;
        }
    }
}
