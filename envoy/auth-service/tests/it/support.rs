//! A started service, and requests to it.

use std::time::{SystemTime, UNIX_EPOCH};

use auth_service::{Options, Server, TokenHash, UserSpec};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::sha2::Sha256;
use rsa::signature::{SignatureEncoding, Signer};
use serde_json::{Value, json};

pub struct Service {
    pub server: Server,
    client: Client,
}

/// A free port, alice (a common user) and root (an administrator).
pub fn options() -> Options {
    Options {
        listen: ([127, 0, 0, 1], 0).into(),
        users: vec![
            UserSpec::new("alice", "secret"),
            "name=root,password=toor,email=root@admin.org,type=system_admin,admin=true,client_id=2,client_name=Acme,groups=dev+qa,\
             sso_entity=https://idp,federation_id=5,role=viewer,read_only=true"
                .parse()
                .unwrap(),
        ],
        token_hash: TokenHash::Pbkdf2,
        ..Options::default()
    }
}

pub async fn start() -> Service {
    start_with(options()).await
}

pub async fn start_with_faults() -> Service {
    start_with(Options { faults: true, ..options() }).await
}

pub async fn start_with(options: Options) -> Service {
    Service { server: auth_service::start(options).await.unwrap(), client: Client::new() }
}

pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// The status and JSON of an answer, to compare.
pub async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    if text.is_empty() {
        return (status, Value::Null);
    }
    let body: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    if status.is_client_error() {
        assert!(body["error"].is_string() && body["details"].is_string(), "{status} {body}");
    }
    (status, body)
}

/// The status and the `details` of an error.
pub async fn refusal(request: RequestBuilder) -> (u16, String) {
    let (status, body) = answer(request).await;
    (status.as_u16(), body["details"].as_str().unwrap_or_else(|| panic!("{status} {body}")).to_owned())
}

/// The claims of a JWT, unverified.
pub fn claims(jwt: &str) -> Value {
    let payload = jwt.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// A JWT with any header and claims.
pub fn mint(private_pem: &str, header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    let key = SigningKey::<Sha256>::new(RsaPrivateKey::from_pkcs8_pem(private_pem).unwrap());
    let signature = key.sign(message.as_bytes()).to_vec();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub fn rs256() -> Value {
    json!({"typ": "JWT", "alg": "RS256"})
}

impl Service {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.server.url()))
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    pub fn put(&self, path: &str) -> RequestBuilder {
        self.request(Method::PUT, path)
    }

    pub fn login_as(&self, username: &str, password: &str) -> RequestBuilder {
        self.post("/auth/jwt/login").json(&json!({"username": username, "password": password}))
    }

    /// The access and refresh tokens of a user.
    pub async fn login(&self, username: &str) -> (String, String) {
        let password = if username == "root" { "toor" } else { "secret" };
        let (status, body) = answer(self.login_as(username, password)).await;
        assert_eq!(status, 200, "{body}");
        (body["access"].as_str().unwrap().to_owned(), body["refresh"].as_str().unwrap().to_owned())
    }

    /// The answer to the creation of an API token.
    pub async fn create_token(&self, access: &str, body: Value) -> Value {
        let (status, token) = answer(self.post("/iam/tokens").bearer_auth(access).json(&body)).await;
        assert_eq!(status, 201, "{token}");
        token
    }

    /// A request for a verdict.
    pub fn verify(&self, authorization: &str, header_types: &str, response_format: &str) -> RequestBuilder {
        self.get(&format!("/auth/verify?header_types={header_types}&response_format={response_format}"))
            .header("authorization", authorization)
    }

    pub fn verify_jwt(&self, jwt: &str) -> RequestBuilder {
        self.verify(&format!("Bearer {jwt}"), "jwt", "json_body")
    }

    pub fn verify_token(&self, token: &Value) -> RequestBuilder {
        self.verify(&format!("APIKey {}", token["token"].as_str().unwrap()), "apikey", "json_body")
    }

    pub async fn blacklist(&self, since: Option<&str>) -> Value {
        let query = since.map(|cursor| format!("?since={cursor}")).unwrap_or_default();
        let (status, body) = answer(self.get(&format!("/auth/blacklist{query}"))).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    pub async fn fault(&self, fault: Value) {
        assert_eq!(answer(self.put("/faults").json(&fault)).await, (StatusCode::NO_CONTENT, Value::Null));
    }

    pub async fn counters(&self) -> Value {
        answer(self.get("/faults/counters")).await.1
    }

    pub async fn private_key(&self) -> String {
        self.get("/faults/private-key").send().await.unwrap().text().await.unwrap()
    }

    pub async fn send(&self, request: RequestBuilder) -> Response {
        request.send().await.unwrap()
    }
}
