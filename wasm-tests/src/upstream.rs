//! The service behind the gateway: it answers with what it got.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::State,
    serve::ListenerExt as _,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::service::local;

/// What the upstream saw of one request; it is the body of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// The method.
    pub method: String,
    /// The path with its query, as sent.
    pub path: String,
    /// Name and value of each header, duplicates one by one. A value that isn't UTF-8 is lossy
    /// and followed by its bytes in base64.
    pub headers: Vec<Vec<String>>,
    /// The length of the body.
    pub body_bytes: usize,
    /// The SHA-256 of the body, in hexadecimal.
    pub body_sha256: String,
}

impl Echo {
    /// Every value of a header, by its lower-case name.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|header| header.first().is_some_and(|n| n == name));
        named.filter_map(|header| header.get(1).map(String::as_str)).collect()
    }

    /// The values of a header joined by a comma, by its lower-case name; nothing when it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let all = self.all(name);
        (!all.is_empty()).then(|| all.join(", "))
    }
}

/// Counts what arrived.
#[derive(Debug, Default)]
struct Hits {
    all: AtomicU64,
    anonymous: AtomicU64,
}

/// A running upstream, for HTTP/1 and HTTP/2. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    hits: Arc<Hits>,
    server: JoinHandle<()>,
}

impl Upstream {
    /// Listens on a port of localhost; 0 lets the system pick one.
    ///
    /// # Errors
    /// When the port is taken.
    pub(crate) async fn start(port: u16) -> Result<Self> {
        Self::start_at(local(port)).await
    }

    async fn start_at(address: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("the upstream cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        // A failure only makes answers milliseconds slower.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let hits = Arc::new(Hits::default());
        let app = Router::new().fallback(echo).with_state(Arc::clone(&hits));
        let server = tokio::spawn(async move {
            // It only returns when its listener fails for good, and requests show that.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, hits, server })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests it got.
    pub(crate) fn hits(&self) -> u64 {
        self.hits.all.load(Ordering::SeqCst)
    }

    /// How many requests it got without an `Authorization`.
    pub(crate) fn anonymous_hits(&self) -> u64 {
        self.hits.anonymous.load(Ordering::SeqCst)
    }
}

/// Serves an upstream alone, as long as this process lives.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve_upstream(address: SocketAddr) -> Result<()> {
    let mut upstream = Upstream::start_at(address).await?;
    (&mut upstream.server).await.context("the upstream ended")
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn echo(State(hits): State<Arc<Hits>>, request: http::Request<Body>) -> Json<Echo> {
    hits.all.fetch_add(1, Ordering::SeqCst);
    if !request.headers().contains_key(http::header::AUTHORIZATION) {
        hits.anonymous.fetch_add(1, Ordering::SeqCst);
    }
    let (head, body) = request.into_parts();
    // A body that breaks off counts as empty: the gateway sees the broken connection itself.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    Json(Echo {
        method: head.method.to_string(),
        path: head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        headers: readable(&head.headers),
        body_bytes: body.len(),
        body_sha256: Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

fn readable(headers: &HeaderMap) -> Vec<Vec<String>> {
    let entry = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let bytes = value.as_bytes();
        let mut entry = vec![name.to_string(), String::from_utf8_lossy(bytes).into_owned()];
        if std::str::from_utf8(bytes).is_err() {
            entry.push(BASE64_STANDARD.encode(bytes));
        }
        entry
    };
    headers.iter().map(entry).collect()
}
