//! An outage from beginning to end: the auth service is slow, fails, is gone and comes back, with clients throughout.

use std::collections::BTreeSet;
use std::ops::RangeFrom;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::{sync::RwLock, task::JoinSet, time::Instant};
use wasm_tests::credentials::{claims, forged, now, unsigned};
use wasm_tests::{Connection, Response, Stack};

const LOCAL_JWTS: u64 = 80;
const REMOTE_JWTS: u64 = 80;
/// The service verifies each one by an expensive hash, so many clients share one.
const API_TOKENS: u64 = 2;
const CLIENTS_PER_API_TOKEN: u64 = 20;
const KNOWN: usize = 200;

const TTL: Duration = Duration::from_secs(3);
/// Longer than every `ttl` in the configuration.
const GONE_FOR: Duration = Duration::from_secs(8);
/// The time between two requests of a client.
const PAUSE: Duration = Duration::from_millis(300);
/// The interval between two checks of a state that the test waits for.
const POLL: Duration = Duration::from_millis(50);
/// The test fails if a state takes longer than this.
const LIMIT: Duration = Duration::from_secs(60);

const CLOSED: u64 = 0;
const OPEN: u64 = 2;

/// Under this path the service verifies JWTs.
const REMOTE: &str = "/remote";
const LOCAL: &str = "/orders";

/// The expected result of a client's requests, in every state of the service.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// 200, as this user.
    Served(u64),
    /// 401, or 503 with `Retry-After`.
    Kept,
}

#[derive(Clone, Debug)]
struct Client {
    what: &'static str,
    path: &'static str,
    authorization: String,
    expected: Expected,
}

impl Client {
    fn known(what: &'static str, path: &'static str, authorization: String, user: u64) -> Self {
        Self { what, path, authorization, expected: Expected::Served(user) }
    }

    fn stranger(what: &'static str, path: &'static str, authorization: String) -> Self {
        Self { what, path, authorization, expected: Expected::Kept }
    }

    /// Sends one request on its own connection, so to any worker.
    async fn ask(&self, stack: &Stack) -> Response {
        stack.get(self.path).header("authorization", &self.authorization).send().await.unwrap()
    }

    /// Asks until the status is this one: even when the service works, a busy machine may delay it.
    async fn ask_until(&self, status: u16, stack: &Stack) {
        let what = format!("{} on {} is answered with {status}", self.what, self.path);
        until(&what, async || self.ask(stack).await.status == status).await;
    }

    fn problem(&self, answer: &Response) -> Option<String> {
        let is_fine = match self.expected {
            Expected::Served(user) => {
                answer.status == 200
                    && answer.identity().is_ok_and(|identity| identity["x-user-id"] == user.to_string())
            }
            Expected::Kept => answer.status == 401 || answer.status == 503 && answer.header("retry-after").is_some(),
        };
        (!is_fine).then(|| format!("{} on {}: {} {}", self.what, self.path, answer.status, answer.text()))
    }
}

/// Clients that send one request after another, each client on its own connection.
struct Crowd {
    /// The number of answers that each client has got.
    answered: Vec<Arc<AtomicU64>>,
    problems: Arc<Mutex<Vec<String>>>,
    /// Dropping this stops the clients.
    _clients: JoinSet<()>,
}

impl Crowd {
    /// A client holds a read lock of the gate during each request. Whoever holds the write lock has stopped them all.
    async fn start(stack: &Stack, gate: &Arc<RwLock<()>>, clients: &[Client]) -> Self {
        let problems = Arc::new(Mutex::default());
        let mut answered = Vec::new();
        let mut tasks = JoinSet::new();
        for client in clients.iter().cloned() {
            let count = Arc::new(AtomicU64::new(0));
            answered.push(Arc::clone(&count));
            let connection = stack.connect().await.unwrap();
            tasks.spawn(flow(client, connection, Arc::clone(gate), count, Arc::clone(&problems)));
        }
        Self { answered, problems, _clients: tasks }
    }

    /// Waits until each client has got two more answers, none of them wrong. The request of the second one was sent
    /// after this call began.
    async fn goes_on(&self, when: &str) {
        let counts = || self.answered.iter().map(|count| count.load(Ordering::SeqCst)).collect::<Vec<_>>();
        let before = counts();
        until(&format!("everybody is answered {when}"), async || {
            self.is_well(when);
            counts().iter().zip(&before).all(|(count, before)| *count >= before + 2)
        })
        .await;
    }

    /// The total number of answers that these clients have got.
    fn answered(&self, clients: RangeFrom<usize>) -> u64 {
        self.answered[clients].iter().map(|count| count.load(Ordering::SeqCst)).sum()
    }

    fn is_well(&self, when: &str) {
        let problems = self.problems.lock().unwrap();
        assert!(problems.is_empty(), "{when}: {} wrong answers, so {}", problems.len(), problems[0]);
    }
}

async fn flow(
    client: Client,
    mut connection: Connection,
    gate: Arc<RwLock<()>>,
    answered: Arc<AtomicU64>,
    problems: Arc<Mutex<Vec<String>>>,
) {
    loop {
        let open = gate.read().await;
        let answer = connection.get(client.path, &client.authorization).await;
        let problem = match answer {
            Ok(answer) => client.problem(&answer),
            Err(error) => Some(format!("{} on {}: {error:#}", client.what, client.path)),
        };
        problems.lock().unwrap().extend(problem);
        answered.fetch_add(1, Ordering::SeqCst);
        drop(open);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until the state is reached.
async fn until(what: &str, mut state: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !state().await {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(LIMIT, looking).await.unwrap_or_else(|_| panic!("{what}: not within {LIMIT:?}"));
}

async fn breaker(stack: &Stack) -> u64 {
    stack.metric("auth_breaker_state", &[]).await.unwrap()
}

/// How often the breaker has opened, including after a failed probe.
fn openings(stack: &Stack) -> usize {
    stack.envoy_log().matches("the circuit breaker is open").count()
}

/// How many verifications the service has been asked for since it started.
async fn verifications(stack: &Stack) -> u64 {
    stack.counters().await.unwrap()["verify"].as_u64().unwrap()
}

async fn allowed(stack: &Stack, source: &str) -> u64 {
    let labels = [("outcome", "allow"), ("source", source)];
    stack.metric("auth_validation_requests_total", &labels).await.unwrap()
}

async fn break_answers(stack: &Stack, mut fault: Value) {
    fault["on"] = "verify".into();
    stack.fault(fault).await.unwrap();
}

async fn mint(stack: &Stack, user: u64) -> String {
    let mut claims = claims();
    claims["user_id"] = user.into();
    claims["jti"] = format!("drill-{user}").into();
    format!("Bearer {}", stack.mint_claims(&claims).await.unwrap())
}

async fn api_token(stack: &Stack, name: &str) -> (u64, String) {
    let (id, token) = stack.api_token(name).await.unwrap();
    (id, format!("APIKey {token}"))
}

async fn known_clients(stack: &Stack) -> Vec<Client> {
    let mut clients = Vec::new();
    for number in 0..LOCAL_JWTS + REMOTE_JWTS {
        let user = 1000 + number;
        let path = if number < LOCAL_JWTS { LOCAL } else { REMOTE };
        let client = Client::known("a known JWT", path, mint(stack, user).await, user);
        client.ask_until(200, stack).await;
        clients.push(client);
    }
    for number in 0..API_TOKENS {
        let (_, token) = api_token(stack, &format!("known {number}")).await;
        let client = Client::known("a known API token", LOCAL, token, 1);
        client.ask_until(200, stack).await;
        clients.extend(std::iter::repeat_n(client, usize::try_from(CLIENTS_PER_API_TOKEN).unwrap()));
    }
    clients
}

/// Clients that the gateway has let in, and has since seen the service refuse.
async fn refused_clients(stack: &Stack) -> Vec<Client> {
    let (id, token) = api_token(stack, "deleted").await;
    let deleted = Client::stranger("a deleted API token", LOCAL, token);
    let jwt = stack.login().await.unwrap().access;
    let signed_out = Client::stranger("a JWT that was signed out", REMOTE, format!("Bearer {jwt}"));
    let refused = vec![deleted, signed_out];
    for client in &refused {
        client.ask_until(200, stack).await;
    }
    stack.delete_api_token(id).await.unwrap();
    let logout = stack.service_request(Method::POST, "/auth/jwt/logout").unwrap().bearer(&jwt).send().await.unwrap();
    assert_eq!(logout.status, 204);
    for client in &refused {
        client.ask_until(401, stack).await;
    }
    refused
}

/// Clients that the service has never let in and never would.
async fn impostors(stack: &Stack) -> Vec<Client> {
    let good = mint(stack, 1).await;
    let good = good.strip_prefix("Bearer ").unwrap();
    let bearer = |jwt: String| format!("Bearer {jwt}");
    let mut expired = claims();
    expired["exp"] = (now() - 1).into();
    let unsigned = unsigned(r#"{"typ":"JWT","alg":"none"}"#, &claims().to_string());
    vec![
        Client::stranger("an unknown API token", LOCAL, format!("APIKey 4711${}", "a1".repeat(64))),
        Client::stranger("another's API token", LOCAL, format!("APIKey 1${}", "b2".repeat(64))),
        Client::stranger("a forged JWT", LOCAL, bearer(forged(good).unwrap())),
        Client::stranger("a forged JWT", REMOTE, bearer(forged(good).unwrap())),
        Client::stranger("an unsigned JWT", LOCAL, bearer(unsigned.clone())),
        Client::stranger("an unsigned JWT", REMOTE, bearer(unsigned)),
        Client::stranger("an expired JWT", REMOTE, bearer(stack.mint_claims(&expired).await.unwrap())),
        Client::stranger("garbage", LOCAL, "Bearer garbage".to_owned()),
    ]
}

/// Answers without a verdict don't open the breaker: the service is there.
async fn answers_without_a_verdict(stack: &Stack, gate: &Arc<RwLock<()>>, crowd: &Crowd, strangers: &[Client]) {
    for fault in [json!({"kind": "status", "status": 500}), json!({"kind": "garbage"})] {
        break_answers(stack, fault.clone()).await;
        let crowd_of_strangers = Crowd::start(stack, gate, strangers).await;
        crowd.goes_on(&format!("while the answers are {fault}")).await;
        crowd_of_strangers.goes_on(&format!("while the answers are {fault}")).await;
        assert_eq!(openings(stack), 0, "{fault}");
    }
}

/// Answers that exceed the gateway's timeout. Returns the strangers, who go on asking from here on.
async fn slow_answers(stack: &Stack, gate: &Arc<RwLock<()>>, crowd: &Crowd, strangers: &[Client]) -> Crowd {
    break_answers(stack, json!({"kind": "delay", "delay_ms": 10_000})).await;
    let strange_crowd = Crowd::start(stack, gate, strangers).await;
    until("the breaker opens", async || breaker(stack).await == OPEN).await;
    let opened = openings(stack);
    until("a probe fails", async || openings(stack) > opened).await;
    crowd.goes_on("while the service is slow").await;
    strange_crowd.goes_on("while the service is slow").await;
    strange_crowd
}

/// Answers that report a failure, and resets. Returns the breaker's states meanwhile.
async fn failing_answers(stack: &Stack, crowds: [&Crowd; 2]) -> BTreeSet<u64> {
    let mut states = BTreeSet::new();
    for (fault, kind) in [("a 503", json!({"kind": "status", "status": 503})), ("a reset", json!({"kind": "reset"}))] {
        break_answers(stack, kind).await;
        let (asked, opened) = (verifications(stack).await, openings(stack));
        until(&format!("two probes fail by {fault}"), async || {
            states.insert(breaker(stack).await);
            verifications(stack).await >= asked + 2 && openings(stack) >= opened + 2
        })
        .await;
        crowds.into_iter().for_each(|crowd| crowd.is_well(fault));
    }
    for crowd in crowds {
        crowd.goes_on("while the service fails").await;
    }
    states
}

/// The service's port refuses connections. `states` are the breaker's states so far.
async fn while_gone(stack: &Stack, crowds: [&Crowd; 2], mut states: BTreeSet<u64>) {
    let (gone, opened) = (Instant::now(), openings(stack));
    until("probes fail for longer than any ttl", async || {
        states.insert(breaker(stack).await);
        gone.elapsed() >= GONE_FOR && openings(stack) >= opened + 4
    })
    .await;
    for crowd in crowds {
        crowd.goes_on("while the service is gone").await;
    }
    assert!(states.contains(&OPEN) && !states.contains(&CLOSED), "the breaker's states: {states:?}");
}

/// The service is asked again, and its first answer closes the breaker.
async fn comes_back(stack: &Stack, lone: &Client) {
    // All requests go to one worker, which knows the verdict by then. The other worker might ask again.
    let mut connection = stack.connect().await.unwrap();
    until("the service is asked again", async || {
        let answer = connection.get(lone.path, &lone.authorization).await.unwrap();
        assert_eq!(lone.problem(&answer), None);
        verifications(stack).await > 0
    })
    .await;
    until("the breaker closes", async || breaker(stack).await == CLOSED).await;
    assert_eq!(verifications(stack).await, 1, "callouts until the breaker closed");
}

/// A JWT proves its identity by itself: the gateway needn't have seen it before.
async fn newcomers_pass(stack: &Stack, local: String, remote: String) {
    let fallback = allowed(stack, "fallback").await;
    for (path, jwt, user) in [(LOCAL, local, 2001), (REMOTE, remote, 2002)] {
        let client = Client::known("a JWT not seen before", path, jwt, user);
        let answer = client.ask(stack).await;
        assert_eq!(client.problem(&answer), None);
    }
    assert_eq!(allowed(stack, "fallback").await, fallback + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_known_clients_are_served_in_an_outage() {
    let shortened = json!({
        "auth_service": {"timeout": "2s", "retries": 1},
        "jwt": {"public_key": {"ttl": "3s"}},
        "cache": {"ttl": format!("{}s", TTL.as_secs()), "negative_ttl": "1s", "stale_ttl": "1h"},
        "circuit_breaker": {"failures": 5, "open_for": "1s"},
        "rules": [{"match": {"prefix": REMOTE}, "verification": "remote"}],
    });
    let mut stack = Stack::builder().concurrency(2).config(shortened).start().await.unwrap();

    // Before the outage, known clients are let in, and clients that have to be refused are refused.
    let known = known_clients(&stack).await;
    assert_eq!(known.len(), KNOWN);
    let mut unseen = Vec::new();
    for name in ["unseen 1", "unseen 2"] {
        unseen.push(Client::stranger("an API token not seen before", LOCAL, api_token(&stack, name).await.1));
    }
    let (newcomer, remote_newcomer) = (mint(&stack, 2001).await, mint(&stack, 2002).await);
    let refused = refused_clients(&stack).await;
    let impostors = impostors(&stack).await;
    let strangers = [unseen.clone(), refused.clone(), impostors.clone()].concat();
    let gate = Arc::new(RwLock::new(()));
    let crowd = Crowd::start(&stack, &gate, &known).await;
    crowd.goes_on("while all is well").await;
    until("the breaker is closed", async || breaker(&stack).await == CLOSED).await;

    answers_without_a_verdict(&stack, &gate, &crowd, &strangers).await;
    let strange_crowd = slow_answers(&stack, &gate, &crowd, &strangers).await;
    let states = failing_answers(&stack, [&crowd, &strange_crowd]).await;

    stack.stop_auth().await;
    while_gone(&stack, [&crowd, &strange_crowd], states).await;

    // Clients that depend on the service are now answered from stale verdicts.
    let need_it = usize::try_from(LOCAL_JWTS).unwrap()..;
    let closed_gate = gate.write().await;
    let (stale, answered) = (allowed(&stack, "stale").await, crowd.answered(need_it.clone()));
    drop(closed_gate);
    crowd.goes_on("long after the service went").await;
    let closed_gate = gate.write().await;
    assert_eq!(allowed(&stack, "stale").await - stale, crowd.answered(need_it) - answered);
    newcomers_pass(&stack, newcomer, remote_newcomer).await;
    until("the last probe ends", async || stack.metric("auth_callouts_in_flight", &[]).await.unwrap() == 0).await;
    until("the breaker is open", async || breaker(&stack).await == OPEN).await;

    // The service is back: the first callout closes the breaker.
    stack.start_auth().await.unwrap();
    comes_back(&stack, &known[usize::try_from(LOCAL_JWTS).unwrap()]).await;
    for client in &unseen {
        client.ask_until(200, &stack).await;
    }
    for client in refused.iter().chain(&impostors) {
        client.ask_until(401, &stack).await;
    }
    drop(strange_crowd);
    drop(closed_gate);
    crowd.goes_on("after the outage").await;
    until("the breaker stays closed", async || breaker(&stack).await == CLOSED).await;
}
