//! authgate in a service of one's own: its rules, its cache and its verdicts in a middleware of axum, without Envoy.
//!
//! - [`Gate`] starts workers and hands requests to them. Each is a thread with a [`Filter`](authgate::Filter) of its own,
//!   as in Envoy: it needs no locks, and workers share what one of them has learnt.
//! - [`authenticate`] is the middleware. What it lets through carries the identity in headers that no client can set.
//! - [`app`] is a service with it.
//!
//! Three things are the embedder's: to build the head of a request ([`authenticate`]), to carry out what the filter asks for
//! (`worker`), and to be its host (`host`).

mod host;
mod middleware;
mod worker;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use authgate::config::{Config, Credentials};
use authgate::host::StreamId;
use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use host::Process;
use worker::{Arrival, Event, Verdict};

pub use middleware::{Client, authenticate};

/// The workers that decide on requests. They end when this is dropped.
#[derive(Debug)]
pub struct Gate {
    workers: Vec<UnboundedSender<Event>>,
    streams: AtomicU32,
    process: Arc<Process>,
    credentials: Credentials,
}

impl Gate {
    /// Starts so many workers.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(config: &Config, workers: usize) -> io::Result<Arc<Self>> {
        let process = Arc::new(Process::default());
        let start = |_| worker::start(config.clone(), Arc::clone(&process));
        let workers = (0..workers.max(1)).map(start).collect::<io::Result<_>>()?;
        let credentials = config.credentials.clone();
        Ok(Arc::new(Self { workers, streams: AtomicU32::new(0), process, credentials }))
    }

    /// What was counted, for Prometheus.
    pub fn metrics(&self) -> String {
        self.process.metrics()
    }

    /// Asks about a request's head. Nothing: the worker is gone, and nobody can be let in.
    async fn ask(&self, client: Client, headers: Vec<(String, Vec<u8>)>, has_body: bool) -> Option<Verdict> {
        // All requests of a connection go to one worker, as in Envoy: it sees to it that none takes all the room.
        let index = client.connection % self.workers.len() as u64;
        let worker = self.workers.get(usize::try_from(index).ok()?)?;
        let stream = self.streams.fetch_add(1, Ordering::Relaxed);
        let (sender, verdict) = oneshot::channel();
        worker.send(Event::Arrival(Arrival { stream, client, headers, has_body, verdict: sender })).ok()?;
        let _end = End { worker, stream };
        verdict.await.ok()
    }
}

/// Tells a worker that a stream has ended: there is a verdict, or its client left, and this was dropped.
struct End<'g> {
    worker: &'g UnboundedSender<Event>,
    stream: StreamId,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        // A worker that is gone holds nothing.
        let _ = self.worker.send(Event::End(self.stream));
    }
}

/// A service that says whom it takes a request to be from. Which paths need a credential is in the configuration.
pub fn app(gate: Arc<Gate>) -> Router {
    let who = async |headers: HeaderMap| {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("nobody").to_owned();
        text("x-user-id")
    };
    let metrics = async |State(gate): State<Arc<Gate>>| gate.metrics();
    Router::new()
        .route("/metrics", get(metrics))
        .fallback(who)
        // Last, so that it is around all of them.
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&gate), authenticate))
        .with_state(gate)
}
