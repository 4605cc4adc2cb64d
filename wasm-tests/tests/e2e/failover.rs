//! The auth service's first host fails and recovers. Meanwhile the second host answers, and no client notices.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use wasm_tests::{Builder, Stack};

const CLUSTER: &str = "auth_service";
const CLIENTS: usize = 4;
const HELD: usize = 8;
/// The interval between two checks of a state that a test waits for.
const POLL: Duration = Duration::from_millis(10);
/// A test fails if a state takes longer than this.
const LIMIT: Duration = Duration::from_secs(60);

/// Every request is a question to the service, however many questions fail: the filter's own protection against outages
/// is off.
fn ask_always() -> Value {
    json!({
        "auth_service": {"timeout": "20s"}, "cache": {"ttl": "0s"}, "circuit_breaker": {"failures": 1000},
    })
}

/// Two hosts of the auth service. Envoy checks them every 100 ms and ejects them for no longer. The timeouts allow for
/// a busy machine.
fn two_services() -> Builder {
    Stack::builder().second_auth_service().config(ask_always()).envoy(|bootstrap| {
        let cluster = &mut bootstrap["static_resources"]["clusters"][1];
        let check = &mut cluster["health_checks"][0];
        for name in ["interval", "unhealthy_edge_interval", "no_traffic_interval"] {
            check[name] = json!("0.1s");
        }
        // A check must not fail because the machine is busy.
        check["timeout"] = json!("20s");
        for name in ["interval", "base_ejection_time", "max_ejection_time"] {
            cluster["outlier_detection"][name] = json!("0.1s");
        }
    })
}

/// Waits until the state is reached.
async fn until(what: &str, state: impl AsyncFn() -> bool) {
    let looking = async {
        while !state().await {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(LIMIT, looking).await.unwrap_or_else(|_| panic!("{what}: not within {LIMIT:?}"));
}

async fn until_health(stack: &Stack, host: SocketAddr, healthy: bool) {
    let what = format!("{host} is {}healthy", if healthy { "" } else { "un" });
    until(&what, async || stack.is_healthy(CLUSTER, host).await.unwrap() == healthy).await;
}

fn verified(counters: Value) -> u64 {
    counters["verify"].as_u64().unwrap()
}

async fn by_first(stack: &Stack) -> u64 {
    verified(stack.counters().await.unwrap())
}

async fn by_second(stack: &Stack) -> u64 {
    verified(stack.counters_of_second().await.unwrap())
}

/// API tokens that the service knows.
async fn tokens(stack: &Stack, count: usize) -> Vec<String> {
    let mut tokens = Vec::new();
    for number in 0..count {
        tokens.push(stack.api_token(&number.to_string()).await.unwrap().1);
    }
    tokens
}

/// Clients that each send one request after another until they are stopped. Every second client has an API token.
struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<u64>,
}

impl Load {
    /// Prepares the requests in advance, so that the clients don't borrow the stack, parts of which the test stops.
    fn start(stack: &Stack, jwt: &str, token: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        let gateway = stack.gateway();
        for client in 0..CLIENTS {
            let (stop, jwt, token) = (Arc::clone(&stop), jwt.to_owned(), token.to_owned());
            clients.spawn(async move {
                let mut served = 0;
                while !stop.load(Ordering::SeqCst) {
                    let request = wasm_tests::corpus::request_to(gateway, http::Method::GET, "/orders");
                    let request = if client % 2 == 0 { request.api_key(&token) } else { request.bearer(&jwt) };
                    let answer = request.send().await.unwrap();
                    assert_eq!(answer.status, 200, "client {client} after {served}: {}", answer.text());
                    assert_eq!(answer.identity().unwrap()["x-user-id"], "1");
                    served += 1;
                }
                served
            });
        }
        Self { stop, clients }
    }

    /// Stops the clients, and fails if one got anything but a 200.
    async fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        let served = self.clients.join_all().await;
        assert!(served.iter().all(|served| *served > 0), "{served:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_notices_when_the_first_host_dies_under_load_and_comes_back() {
    let mut stack = two_services().concurrency(2).start().await.unwrap();
    let (first, second) = (stack.service_address().unwrap(), stack.second_address().unwrap());
    until_health(&stack, second, true).await;
    let jwt = stack.login().await.unwrap().access;
    let (_, token) = stack.api_token("load").await.unwrap();

    let load = Load::start(&stack, &jwt, &token);
    until("the first host answers", async || by_first(&stack).await >= 5).await;
    assert_eq!(by_second(&stack).await, 0, "the second host is asked although the first is well");
    for _ in 0..2 {
        let before = by_second(&stack).await;
        stack.stop_auth().await;
        until_health(&stack, first, false).await;
        until("the second host answers", async || by_second(&stack).await >= before + 5).await;
        stack.start_auth().await.unwrap();
        until_health(&stack, first, true).await;
        until("the first host answers again", async || by_first(&stack).await >= 5).await;
    }
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_dying_host_are_answered_by_the_other() {
    let mut stack = two_services().start().await.unwrap();
    let second = stack.second_address().unwrap();
    until_health(&stack, second, true).await;
    // Requests with the same token would wait for the same callout.
    let tokens = tokens(&stack, HELD).await;
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 3_600_000})).await.unwrap();

    let mut requests = JoinSet::new();
    for token in tokens {
        requests.spawn(stack.get("/orders").api_key(&token).send());
    }
    until("all are held", async || stack.counters().await.unwrap()["verify_in_flight"] == HELD).await;
    stack.stop_auth().await;
    for answer in requests.join_all().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(by_second(&stack).await >= HELD as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_failing_verdicts_is_ejected_despite_good_health() {
    let builder = two_services().envoy(|bootstrap| {
        let outliers = &mut bootstrap["static_resources"]["clusters"][1]["outlier_detection"];
        outliers["base_ejection_time"] = json!("3600s");
        outliers["max_ejection_time"] = json!("3600s");
    });
    let stack = builder.start().await.unwrap();
    let (first, second) = (stack.service_address().unwrap(), stack.second_address().unwrap());
    until_health(&stack, second, true).await;
    let tokens = tokens(&stack, 11).await;
    stack.fault(json!({"on": "verify", "kind": "status", "status": 503})).await.unwrap();

    let ask = async |number: usize| stack.get("/orders").api_key(&tokens[number]).send().await.unwrap().status;
    let mut refused = 0;
    while ask(refused).await != 200 {
        refused += 1;
    }
    // Two failures in a row eject the host. They are one request's, but the ejection may take effect late.
    assert!((1..=10).contains(&refused), "{refused} refused");
    until_health(&stack, first, false).await;
    let asked = by_first(&stack).await;
    let checks = stack.counters().await.unwrap()["health"].as_u64().unwrap();
    until("the first host is checked", async || {
        stack.counters().await.unwrap()["health"].as_u64().unwrap() >= checks + 3
    })
    .await;
    for _ in 0..10 {
        assert_eq!(ask(refused).await, 200);
    }
    assert_eq!(by_first(&stack).await, asked, "it was asked although it was ejected");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_get_500s_eject_no_host() {
    let stack = two_services().start().await.unwrap();
    let second = stack.second_address().unwrap();
    until_health(&stack, second, true).await;
    // A credential that got a 500 isn't asked about again at once, so each request has its own token.
    let tokens = tokens(&stack, 11).await;
    stack.fault(json!({"on": "verify", "kind": "status", "status": 500})).await.unwrap();
    for token in &tokens[..10] {
        assert_eq!(stack.get("/orders").api_key(token).send().await.unwrap().status, 503);
    }
    let ejected = stack.admin("/stats?filter=auth_service.outlier_detection.ejections_enforced_total$").await.unwrap();
    assert_eq!(ejected.text().trim(), "cluster.auth_service.outlier_detection.ejections_enforced_total: 0");
    stack.fault(json!({"on": "verify"})).await.unwrap();
    assert_eq!(stack.get("/orders").api_key(&tokens[10]).send().await.unwrap().status, 200);
    assert_eq!(by_second(&stack).await, 0, "the second host is asked although the first is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_get_503_without_hosts_and_are_served_by_the_first_one_back() {
    let mut stack = two_services().start().await.unwrap();
    let (first, second) = (stack.service_address().unwrap(), stack.second_address().unwrap());
    until_health(&stack, second, true).await;
    let jwt = stack.login().await.unwrap().access;
    let (_, token) = stack.api_token("gone").await.unwrap();
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
    stack.stop_auth().await;
    stack.stop_second_auth().await;
    until_health(&stack, first, false).await;
    until_health(&stack, second, false).await;

    // No request waits for a host: a client gives up after 30 s, and two callout timeouts would take 40 s.
    let denied = stack.get("/orders").api_key(&token).send().await.unwrap();
    assert_eq!((denied.status, denied.code().as_deref()), (503, Some("auth_service_unavailable")));
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);

    stack.start_second_auth().await.unwrap();
    until_health(&stack, second, true).await;
    until("the second host answers", async || stack.get("/orders").api_key(&token).send().await.unwrap().status == 200)
        .await;
    stack.stop_second_auth().await;
    stack.start_auth().await.unwrap();
    until_health(&stack, first, true).await;
    until("the first host answers", async || stack.get("/orders").api_key(&token).send().await.unwrap().status == 200)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_host_still_serves_when_it_is_taken_for_dead() {
    let builder = Stack::builder().config(ask_always()).fault(json!({"on": "health", "kind": "status"}));
    let stack = builder.start().await.unwrap();
    let (_, token) = stack.api_token("alone").await.unwrap();
    assert!(!stack.is_healthy(CLUSTER, stack.service_address().unwrap()).await.unwrap());
    // Every second callout first goes to the host that isn't there. Only this host can answer.
    for _ in 0..20 {
        let answer = stack.get("/orders").api_key(&token).send().await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}
