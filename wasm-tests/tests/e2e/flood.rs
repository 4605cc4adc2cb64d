//! The cost in memory and cache hits of a flood of one-time tokens while known clients continue.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use tokio::task::JoinSet;
use wasm_tests::{
    Builder, Connection, Stack,
    corpus::keys::{Counter, Signer, encode},
    credentials::claims,
};

const WORKERS: u32 = 2;
/// The number of concurrent requests.
const CONNECTIONS: usize = 64;
/// The number of memory samples.
const SAMPLES: u64 = 20;
/// The most bytes by which the process may grow in the second half of a flood.
const GROWTH: u64 = 16 << 20;
const MIB: f64 = (1 << 20) as f64;

/// The size of a flood, which consists of equal rounds.
#[derive(Clone, Copy)]
struct Scale {
    rounds: u64,
    /// Forged JWTs and unknown API tokens in a round.
    garbage: u64,
    /// One in this many of those is an API token, about which the service is asked.
    api_token_in: u64,
    /// Requests of known clients in a round. Each round also has one valid JWT that never comes again.
    known: u64,
    /// The number of known clients, and the value of `cache.max_entries`.
    clients: u64,
}

impl Scale {
    fn per_round(self) -> u64 {
        self.garbage + 1 + self.known
    }

    fn all(self) -> u64 {
        self.rounds * self.per_round()
    }
}

/// The kind of a request.
enum Kind {
    Garbage(u64),
    /// A valid JWT, by its number.
    Once(u64),
    Known(u64),
}

struct Flood {
    scale: Scale,
    /// One for each known client, then one for each round.
    jwts: Vec<String>,
    /// For each client the cumulative weight: the weights are 1, 1/2, 1/3 and so on.
    weights: Vec<f64>,
    /// The signing input of a valid JWT, and its signature.
    template: (String, Vec<u8>),
    next: AtomicU64,
    known: AtomicU64,
    /// Samples: a request's number, and the resident memory.
    curve: Mutex<Vec<(u64, u64)>>,
}

impl Flood {
    fn new(scale: Scale) -> Self {
        let jwts = mint(scale.clients + scale.rounds);
        let (text, signature) = jwts[0].rsplit_once('.').unwrap();
        let template = (text.to_owned(), BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap());
        let mut sum = 0.0;
        let weights = (1..=scale.clients).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        let weights = weights.collect();
        let (next, known, curve) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::default());
        Self { scale, jwts, weights, template, next, known, curve }
    }

    /// The kind of a request. Those of known clients are spread over the round.
    fn kind(&self, number: u64) -> Kind {
        let Scale { garbage, known, .. } = self.scale;
        let (round, place) = (number / self.scale.per_round(), number % self.scale.per_round());
        if place == 0 {
            Kind::Once(self.scale.clients + round)
        } else if place * known / (garbage + known) > (place - 1) * known / (garbage + known) {
            Kind::Known(self.client(number))
        } else {
            Kind::Garbage(number)
        }
    }

    /// A client, drawn from a Zipf distribution; the same in each run.
    fn client(&self, number: u64) -> u64 {
        let all = self.weights[self.weights.len() - 1];
        let drawn = Counter(number).below(1 << 53) as f64 / (1_u64 << 53) as f64 * all;
        self.weights.partition_point(|sum| *sum <= drawn) as u64
    }

    /// The value of `Authorization`, and the expected status.
    fn credential(&self, kind: &Kind) -> (String, u16) {
        match *kind {
            Kind::Garbage(number) if number % self.scale.api_token_in > 0 => {
                let (text, mut signature) = self.template.clone();
                // The first bytes stay, so that the signature remains below the modulus.
                for (byte, changed) in signature[8..].iter_mut().zip((number + 1).to_le_bytes()) {
                    *byte ^= changed;
                }
                (format!("Bearer {text}.{}", encode(signature)), 401)
            }
            Kind::Garbage(number) => (format!("APIKey {}${:0128x}", 1_000_000 + number, Counter(number).0), 401),
            Kind::Once(jwt) | Kind::Known(jwt) => (format!("Bearer {}", self.jwts[usize::try_from(jwt).unwrap()]), 200),
        }
    }

    /// Sends the requests with these numbers.
    async fn pour(self: &Arc<Self>, stack: &Arc<Stack>, numbers: Range<u64>) {
        self.next.store(numbers.start, Ordering::SeqCst);
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let connection = stack.connect().await.unwrap();
            connections.spawn(Arc::clone(self).one_by_one(connection, Arc::clone(stack), numbers.end));
        }
        connections.join_all().await;
    }

    async fn one_by_one(self: Arc<Self>, mut connection: Connection, stack: Arc<Stack>, end: u64) {
        let step = self.scale.all() / SAMPLES;
        loop {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            if number >= end {
                return;
            }
            if number.is_multiple_of(step) {
                self.look(number, &stack);
            }
            let kind = self.kind(number);
            let (authorization, status) = self.credential(&kind);
            let answer = connection.get("/orders", &authorization).await.unwrap();
            assert_eq!(answer.status, status, "{authorization}: {}", answer.text());
            if matches!(kind, Kind::Known(_)) {
                self.known.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Samples the memory of Envoy's process.
    fn look(&self, number: u64, stack: &Stack) -> u64 {
        let memory = stack.memory().unwrap();
        self.curve.lock().unwrap().push((number, memory));
        memory
    }
}

/// Valid JWTs, each of a different user.
fn mint(count: u64) -> Vec<String> {
    let threads = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let share = count.div_ceil(threads);
    thread::scope(|scope| {
        let shares: Vec<_> = (0..threads)
            .map(|thread| {
                let users = thread * share..((thread + 1) * share).min(count);
                scope.spawn(move || {
                    let signer = Signer::trusted();
                    users.map(|user| jwt(&signer, user)).collect::<Vec<_>>()
                })
            })
            .collect();
        shares.into_iter().flat_map(|share| share.join().unwrap()).collect()
    })
}

fn jwt(signer: &Signer, user: u64) -> String {
    let mut claims = claims();
    claims["user_id"] = user.into();
    claims["jti"] = format!("00000000-0000-4000-8000-{user:012}").into();
    claims["email"] = format!("user-{user}@example.com").into();
    signer.claims(claims.to_string())
}

/// Envoy answers by itself and has the key, so that a forged JWT is refused at once.
fn gateway(max_entries: u64) -> Builder {
    let config = json!({
        "jwt": {"public_key": {"pem": [Signer::trusted().public_pem()]}},
        "cache": {"max_entries": max_entries, "ttl": "1h"},
    });
    Stack::builder().config(config).envoy(|bootstrap| {
        let manager = wasm_tests::connection_manager(&mut bootstrap["static_resources"]["listeners"][0]);
        manager["route_config"]["virtual_hosts"][0]["routes"][0] =
            json!({"match": {"prefix": "/"}, "direct_response": {"status": 200}});
    })
}

async fn from_cache(stack: &Stack) -> u64 {
    let labels = [("outcome", "allow"), ("source", "cache")];
    stack.metric("auth_validation_requests_total", &labels).await.unwrap()
}

async fn flood(scale: Scale) {
    let stack = Arc::new(gateway(scale.clients).concurrency(WORKERS).start().await.unwrap());
    let flood = Arc::new(tokio::task::spawn_blocking(move || Flood::new(scale)).await.unwrap());
    let half = scale.rounds / 2 * scale.per_round();

    flood.pour(&stack, 0..half).await;
    let warm = flood.look(half, &stack);
    let (known, cached) = (flood.known.load(Ordering::SeqCst), from_cache(&stack).await);
    flood.pour(&stack, half..scale.all()).await;
    let end = flood.look(scale.all(), &stack);
    let known = flood.known.load(Ordering::SeqCst) - known;
    let hits = from_cache(&stack).await - cached;

    let metrics = stack.metrics().await.unwrap();
    let value = |name: &str| metrics.value(name, &[]).unwrap();
    let (entries, bytes) = (value("auth_cache_entries"), value("auth_cache_bytes"));
    let mut curve = flood.curve.lock().unwrap().clone();
    curve.sort_unstable();
    curve.dedup_by_key(|(number, _)| *number);
    println!("requests   memory of the process");
    for (number, memory) in curve {
        println!("{number:8}   {:.1} MiB", memory as f64 / MIB);
    }
    let rate = hits as f64 / known as f64;
    println!("of {known} requests by known clients, {:.2} % were answered from the cache", rate * 100.0);
    println!("{entries} entries in {WORKERS} workers, {} bytes each", bytes / entries);

    assert!(end <= warm + GROWTH, "from {:.1} to {:.1} MiB", warm as f64 / MIB, end as f64 / MIB);
    assert!(rate >= 0.95, "{rate}");
    assert!(entries <= scale.clients * u64::from(WORKERS), "{entries} entries");
    assert!(bytes <= entries * 1024, "{bytes} bytes in {entries} entries");
}

/// Fills the cache and prints its size, by the metrics and by the process: the VM's memory grows by pages, and the
/// shared data belong to the process. The first fifth isn't measured, because code is compiled as it is used.
async fn fill(tokens: u64) {
    let stack = gateway(tokens).start().await.unwrap();
    let jwts = tokio::task::spawn_blocking(move || mint(tokens)).await.unwrap();
    let mut connection = stack.connect().await.unwrap();
    let (first, rest) = jwts.split_at(jwts.len() / 5);
    let mut before = (0, 0);
    for part in [first, rest] {
        before = (stack.memory().unwrap(), heap(&stack).await);
        for jwt in part {
            assert_eq!(connection.get("/orders", &format!("Bearer {jwt}")).await.unwrap().status, 200);
        }
    }
    let after = (stack.memory().unwrap(), heap(&stack).await);
    // The gauge is updated at the next tick.
    let ticked = async {
        while stack.metric("auth_cache_entries", &[]).await.unwrap() < tokens {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ticked).await.expect("all tokens are cached");
    let metrics = stack.metrics().await.unwrap();
    let value = |name: &str| metrics.value(name, &[]).unwrap();
    let (entries, bytes) = (value("auth_cache_entries"), value("auth_cache_bytes"));
    let each = |before: u64, after: u64| after.saturating_sub(before) / rest.len() as u64;
    println!("{entries} entries, {} bytes each by the metrics", bytes / entries);
    let (grown, shared) = (each(before.0, after.0), each(before.1, after.1));
    // About 200 bytes of `grown` are noise: when V8 compiles, and how much memory Envoy's allocator returns.
    println!("the process grew by {grown} bytes for each, its heap by {shared} of them");
    assert_eq!(entries, tokens);
    assert!(bytes <= entries * 1024, "{bytes} bytes");
    assert!(shared <= 512, "{shared} bytes for each in the shared data");
}

/// The bytes allocated through Envoy's own allocator: with the shared data, without the VM's memory.
async fn heap(stack: &Stack) -> u64 {
    let memory = stack.admin("/memory").await.unwrap().json().unwrap();
    memory["allocated"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat_and_known_clients_stay_cached_under_a_flood() {
    // Each worker verifies each JWT itself, so it takes half of the rounds until both know the clients.
    flood(Scale { rounds: 4000, garbage: 15, api_token_in: 5, known: 10, clients: 1000 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_token_takes_no_more_than_a_kilobyte() {
    fill(2000).await;
}

/// `cargo test --release -p wasm-tests --test e2e -- --ignored --nocapture full_size`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes, in a release build too"]
async fn memory_stays_flat_under_a_flood_of_full_size() {
    fill(10_000).await;
    flood(Scale { rounds: 100_000, garbage: 10, api_token_in: 2, known: 8, clients: 10_000 }).await;
}
