//! The example in front of the real authentication service.

use std::time::Duration;

use auth_service::{Options, Server, UserSpec};
use authgate::config::Config;
use axum_service::{Client, Gate, app};
use reqwest::header::AUTHORIZATION;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How long to wait for a state.
const LIMIT: Duration = Duration::from_secs(30);
/// How often to check for it.
const POLL: Duration = Duration::from_millis(50);

/// The user that everything is done as.
const USER: &str = "1";

struct World {
    /// `None` once it is stopped.
    service: Option<Server>,
    /// Where the example listens.
    address: String,
    client: reqwest::Client,
}

impl World {
    /// Starts the service, and the example in front of it with two workers.
    async fn start() -> Self {
        let service = auth_service::start(Options {
            listen: ([127, 0, 0, 1], 0).into(),
            users: vec![UserSpec::new("alice", "secret")],
            faults: true,
            ..Options::default()
        });
        let service = service.await.unwrap();
        let mut config: Value = serde_json::from_str(include_str!("../config.json")).unwrap();
        config["auth_service"]["authority"] = service.addr().to_string().into();
        // A long timeout for busy machines, and a short poll for a fast test.
        config["auth_service"]["timeout"] = "10s".into();
        config["revocation"]["poll_interval"] = "1s".into();
        config["jwt"] = json!({"public_key": {"min_refetch_interval": "1s"}});
        let config = Config::from_bytes(config.to_string().as_bytes()).unwrap();
        let app = app(Gate::start(&config, 2).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            axum::serve(listener, app.into_make_service_with_connect_info::<Client>()).await.unwrap();
        });
        // A connection for each request, so that both workers get some.
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { service: Some(service), address, client }
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("http://{}{path}", self.address))
    }

    fn service_url(&self, path: &str) -> String {
        format!("{}{path}", self.service.as_ref().unwrap().url())
    }

    fn service_post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.service_url(path))
    }

    async fn jwt(&self) -> String {
        let login = self.service_post("/auth/jwt/login").json(&json!({"username": "alice", "password": "secret"}));
        let tokens: Value = login.send().await.unwrap().json().await.unwrap();
        tokens["access"].as_str().unwrap().to_owned()
    }

    async fn api_token(&self, name: &str) -> String {
        let token = json!({"name": name, "description": "", "exp_date": null});
        let create = self.service_post("/iam/tokens").bearer_auth(self.jwt().await).json(&token);
        let token: Value = create.send().await.unwrap().json().await.unwrap();
        format!("APIKey {}", token["token"].as_str().unwrap())
    }

    async fn fault(&self, fault: Value) {
        let put = self.client.put(self.service_url("/faults")).json(&fault);
        assert_eq!(put.send().await.unwrap().status(), 204);
    }

    async fn counters(&self) -> Value {
        self.client.get(self.service_url("/faults/counters")).send().await.unwrap().json().await.unwrap()
    }

    /// The lines of a metric.
    async fn metric(&self, start: &str) -> Vec<String> {
        let page = self.get("/metrics").send().await.unwrap().text().await.unwrap();
        page.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
    }

    /// Polls until the state is reached.
    async fn until(&self, what: &str, mut state: impl AsyncFnMut() -> bool) {
        let looking = async {
            while !state().await {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(LIMIT, looking).await.unwrap_or_else(|_| panic!("{what}: not within {LIMIT:?}"));
    }
}

/// The user that the example saw.
async fn user(request: RequestBuilder) -> String {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

/// The status and the code of a denial.
async fn denial(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["code"].as_str().unwrap().to_owned())
}

async fn denied(request: RequestBuilder) -> (u16, String) {
    denial(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_valid_credential_gives_its_owners_identity() {
    let world = World::start().await;
    let (jwt, token) = (world.jwt().await, world.api_token("any").await);
    for _ in 0..2 {
        assert_eq!(user(world.get("/orders").bearer_auth(&jwt)).await, USER);
        assert_eq!(user(world.get("/orders").header(AUTHORIZATION, &token)).await, USER);
    }
    assert_eq!(user(world.get("/orders").bearer_auth(&jwt).header("x-user-id", "0")).await, USER);
}

#[tokio::test]
async fn an_invalid_credential_is_denied() {
    let world = World::start().await;
    let answer = world.get("/orders").send().await.unwrap();
    assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer realm="));
    assert_eq!(denial(answer).await, (401, "missing_credentials".to_owned()));

    let jwt = world.jwt().await;
    let (text, signature) = jwt.rsplit_once('.').unwrap();
    let forged = format!("{text}.{}{}", if signature.starts_with('A') { "B" } else { "A" }, &signature[1..]);
    assert_eq!(denied(world.get("/orders").bearer_auth(forged)).await, (401, "signature_invalid".to_owned()));

    let unknown = format!("APIKey 4711${}", "a1".repeat(64));
    assert_eq!(denied(world.get("/orders").header(AUTHORIZATION, unknown)).await, (401, "token_rejected".to_owned()));
    assert_eq!(
        denied(world.get("/public/..%2forders")).await.0,
        403,
        "a path that the next server may take for another"
    );
}

#[tokio::test]
async fn a_public_path_is_served_without_an_identity() {
    let world = World::start().await;
    assert_eq!(user(world.get("/public/page").header("x-user-id", "0")).await, "nobody");
}

#[tokio::test]
async fn a_revoked_token_is_refused() {
    let world = World::start().await;
    let jwt = world.jwt().await;
    assert_eq!(user(world.get("/orders").bearer_auth(&jwt)).await, USER);
    assert_eq!(world.service_post("/auth/jwt/logout").bearer_auth(&jwt).send().await.unwrap().status(), 204);
    // Two connections in a row reach both workers: both have read the list once both requests are refused.
    world
        .until("the list is read", async || {
            for _ in 0..2 {
                let answer = world.get("/orders").bearer_auth(&jwt).send().await.unwrap();
                if answer.status() == 200 {
                    return false;
                }
                assert_eq!(denial(answer).await, (401, "token_revoked".to_owned()));
            }
            true
        })
        .await;
}

#[tokio::test]
async fn known_clients_pass_while_the_service_is_down() {
    let mut world = World::start().await;
    let (jwt, known, unseen) = (world.jwt().await, world.api_token("known").await, world.api_token("unseen").await);
    for _ in 0..2 {
        assert_eq!(user(world.get("/orders").bearer_auth(&jwt)).await, USER);
        assert_eq!(user(world.get("/orders").header(AUTHORIZATION, &known)).await, USER);
    }
    world.service.take().unwrap().stop().await;

    assert_eq!(user(world.get("/orders").bearer_auth(&jwt)).await, USER);
    assert_eq!(user(world.get("/orders").header(AUTHORIZATION, &known)).await, USER);
    let answer = world.get("/orders").header(AUTHORIZATION, &unseen).send().await.unwrap();
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(denial(answer).await, (503, "auth_service_unavailable".to_owned()));
}

#[tokio::test]
async fn concurrent_requests_with_one_token_make_one_callout() {
    let world = World::start().await;
    let token = world.api_token("popular").await;
    let requests: Vec<_> =
        (0..20).map(|_| tokio::spawn(user(world.get("/orders").header(AUTHORIZATION, &token)))).collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), USER);
    }
    assert_eq!(world.counters().await["verify"], 1);
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_resources() {
    let world = World::start().await;
    let token = world.api_token("slow").await;
    world.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 600_000})).await;
    let request = world.get("/orders").header(AUTHORIZATION, &token).timeout(Duration::from_secs(1));
    assert!(request.send().await.unwrap_err().is_timeout());
    let cancelled = r#"auth_validation_requests_total{outcome="cancelled""#;
    world.until("it is counted", async || world.metric(cancelled).await.len() == 1).await;
}

#[tokio::test]
async fn a_request_with_two_hosts_is_refused() {
    let world = World::start().await;
    let mut stream = TcpStream::connect(&world.address).await.unwrap();
    let request = b"GET /public/page HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}
