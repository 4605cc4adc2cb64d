//! A server that records its requests, for tests of what a callout carries.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
};
use tokio::net::TcpListener;

/// The head of a request.
#[derive(Debug, Clone)]
pub struct Head {
    /// Only over HTTP/2, otherwise empty.
    pub scheme: String,
    /// Only over HTTP/2, otherwise empty and in `headers` as `host`.
    pub authority: String,
    pub path: String,
    /// Without its `?`; empty if there is none.
    pub query: String,
    /// Values of the same name are joined by a comma.
    pub headers: BTreeMap<String, String>,
}

/// The requests so far.
pub type Heads = Arc<Mutex<Vec<Head>>>;

/// Starts a server that records each request and answers by its path. Returns its port.
pub async fn start(answer: fn(&str) -> Response) -> (u16, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Heads::default();
    let note = async move |State(heads): State<Heads>, request: Request| {
        let head = head(&request);
        let answer = answer(&head.path);
        heads.lock().unwrap().push(head);
        answer
    };
    let app = Router::new().fallback(note).with_state(Arc::clone(&heads));
    tokio::spawn(async move { drop(axum::serve(listener, app).await) });
    (port, heads)
}

fn head(request: &Request) -> Head {
    let uri = request.uri();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let values = |name| request.headers().get_all(name).iter().map(text).collect::<Vec<_>>().join(", ");
    Head {
        scheme: uri.scheme_str().unwrap_or_default().to_owned(),
        authority: uri.authority().map(ToString::to_string).unwrap_or_default(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        headers: request.headers().keys().map(|name| (name.to_string(), values(name))).collect(),
    }
}
