//! Three replicas of the service, asked in turn, change their key one by one.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use auth_service::{Options, Server, UserSpec};
use http::Method;
use serde_json::json;
use wasm_tests::{Stack, corpus::request_to};

/// How long a token of the old key may stay valid: the grace and two fetches, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The replicas. A replica's database holds its key; with the other database it has changed its key.
struct Replicas {
    options: Options,
    servers: Vec<Server>,
}

impl Replicas {
    async fn start(folder: &Path) -> Self {
        let user = UserSpec::new("admin@example.com", "correct horse battery staple");
        let options = Options { users: vec![user], faults: true, ..Options::default() };
        let mut replicas = Self { options, servers: Vec::new() };
        for _ in 0..3 {
            let server = replicas.serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &folder.join("old.db")).await;
            replicas.servers.push(server);
        }
        replicas
    }

    async fn serve(&self, listen: SocketAddr, database: &Path) -> Server {
        let db = database.to_string_lossy().into_owned();
        auth_service::start(Options { listen, db, ..self.options.clone() }).await.unwrap()
    }

    /// Changes a replica's key. The replica keeps its port.
    async fn change(&mut self, replica: usize, folder: &Path) {
        let server = self.servers.remove(replica);
        let address = server.addr();
        server.stop().await;
        let server = self.serve(address, &folder.join("new.db")).await;
        self.servers.insert(replica, server);
    }

    /// A token newly signed by a replica.
    async fn login(&self, replica: usize) -> String {
        let UserSpec { name, password, .. } = &self.options.users[0];
        let login = request_to(self.servers[replica].addr(), Method::POST, "/auth/jwt/login")
            .json(&json!({"username": name, "password": password}));
        login.send().await.unwrap().json().unwrap()["access"].as_str().unwrap().to_owned()
    }

    /// A gateway with all three in one cluster. Without health checks, only callouts take turns at the hosts.
    async fn gateway(&self) -> Stack {
        let hosts = self.servers.iter().map(|server| {
            let address = json!({"address": "127.0.0.1", "port_value": server.addr().port()});
            json!({"endpoint": {"address": {"socket_address": address}}})
        });
        let hosts: Vec<_> = hosts.collect();
        let builder = Stack::builder().without_auth_service().shipped_config();
        let builder = builder.envoy(move |bootstrap| {
            let cluster = &mut bootstrap["static_resources"]["clusters"][1];
            assert_eq!(cluster["name"], "auth_service");
            cluster["load_assignment"]["endpoints"] = json!([{"lb_endpoints": hosts}]);
            cluster["health_checks"] = json!([]);
        });
        builder.start().await.unwrap()
    }
}

async fn answer(stack: &Stack, jwt: &str) -> (u16, Option<String>) {
    let answer = stack.get("/orders").bearer(jwt).send().await.unwrap();
    (answer.status, answer.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_valid_token_gets_a_401_while_three_replicas_rotate() {
    let folder = tempfile::tempdir().unwrap();
    let mut replicas = Replicas::start(folder.path()).await;
    let stack = replicas.gateway().await;
    let old = replicas.login(0).await;
    assert_eq!(answer(&stack, &old).await, (200, None));

    for changed in 0..3 {
        replicas.change(changed, folder.path()).await;
        // The changed replica signs first: at first only it serves its new key.
        for replica in [changed, changed + 1, changed + 2] {
            let jwt = replicas.login(replica % 3).await;
            let answer = answer(&stack, &jwt).await;
            assert_eq!(answer, (200, None), "{} have changed, a token of {}", changed + 1, replica % 3);
        }
    }

    // The rotation took effect: the old key is invalid once its grace is over. On a slow machine the last fetch may
    // have met a replica before its change. Tokens of the new key trigger another fetch.
    let current = replicas.login(0).await;
    let refused = async {
        while answer(&stack, &old).await != (401, Some("signature_invalid".to_owned())) {
            assert_eq!(answer(&stack, &current).await, (200, None));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LIMIT, refused).await.unwrap();
}
