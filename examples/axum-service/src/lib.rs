//! authgate inside a service: its rules, its cache and its verdicts as a middleware of axum, without Envoy.
//!
//! - [`Gate`] starts workers and hands requests to them. Each is a thread with a [`Filter`](authgate::Filter) of its own,
//!   as in Envoy: it needs no locks, and workers share what they learn.
//! - [`authenticate`] is the middleware. Requests that pass carry the identity in headers that no client can set.
//! - [`app`] is a service with it.
//!
//! The embedder builds the head of a request ([`authenticate`]), carries out the filter's actions (`worker`), and is its
//! host (`host`).

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
    /// Starts this many workers.
    ///
    /// # Errors
    /// When the system can't start a thread.
    pub fn start(config: &Config, workers: usize) -> io::Result<Arc<Self>> {
        let process = Arc::new(Process::default());
        let start = |_| worker::start(config.clone(), Arc::clone(&process));
        let workers = (0..workers.max(1)).map(start).collect::<io::Result<_>>()?;
        let credentials = config.credentials.clone();
        Ok(Arc::new(Self { workers, streams: AtomicU32::new(0), process, credentials }))
    }

    /// The metrics in the text format of Prometheus.
    pub fn metrics(&self) -> String {
        self.process.metrics()
    }

    /// Asks for the verdict on a request. `None`: the worker is gone, and nobody can be let in.
    async fn ask(&self, client: Client, headers: Vec<(String, Vec<u8>)>, has_body: bool) -> Option<Verdict> {
        // All requests of a connection go to one worker, as in Envoy, so that it can limit the connection's share.
        let index = client.connection % self.workers.len() as u64;
        let worker = self.workers.get(usize::try_from(index).ok()?)?;
        let stream = self.streams.fetch_add(1, Ordering::Relaxed);
        let (sender, verdict) = oneshot::channel();
        worker.send(Event::Arrival(Arrival { stream, client, headers, has_body, verdict: sender })).ok()?;
        let _end = End { worker, stream };
        verdict.await.ok()
    }
}

/// Tells the worker on drop that the stream has ended: there is a verdict, or the client left.
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

/// A service that answers with the user of the request. The configuration says which paths need a credential.
pub fn app(gate: Arc<Gate>) -> Router {
    let who = async |headers: HeaderMap| {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("nobody").to_owned();
        text("x-user-id")
    };
    let metrics = async |State(gate): State<Arc<Gate>>| gate.metrics();
    Router::new()
        .route("/metrics", get(metrics))
        .fallback(who)
        // Last, so that it wraps all routes.
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&gate), authenticate))
        .with_state(gate)
}
