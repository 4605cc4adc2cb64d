//! Turns a request into its head, and a verdict into the request that goes on or the response.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use authgate::config::Credentials;
use authgate::{Authorization, Change, Forward, Resolution};
use axum::body::HttpBody as _;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::serve::IncomingStream;
use tokio::net::TcpListener;

use crate::Gate;
use crate::worker::Verdict;

/// Where a request comes from. Serve the router with `into_make_service_with_connect_info::<Client>()`.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub(crate) address: SocketAddr,
    /// Unique among the connections of this process.
    pub(crate) connection: u64,
}

impl Connected<IncomingStream<'_, TcpListener>> for Client {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
        Self { address: *stream.remote_addr(), connection: CONNECTIONS.fetch_add(1, Ordering::Relaxed) }
    }
}

/// The middleware: lets a request through as the rules say, or answers with the denial.
pub async fn authenticate(
    State(gate): State<Arc<Gate>>,
    ConnectInfo(client): ConnectInfo<Client>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(headers) = head(&request) else { return StatusCode::BAD_REQUEST.into_response() };
    let has_body = !request.body().is_end_stream();
    let Some(Verdict { strip, changes, resolution }) = gate.ask(client, headers, has_body).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    match resolution {
        Resolution::Deny(denial) => respond(denial.status, &denial.headers, denial.body),
        Resolution::Serve(page) => respond(page.status, &page.headers, page.body),
        Resolution::Forward(forward) => {
            match change_all(request.headers_mut(), &strip, changes, &forward, &gate.credentials) {
                Some(()) => next.run(request).await,
                None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
    }
}

/// The head as the filter reads it, with HTTP/2's pseudo-headers instead of request line and `Host`. `None`: there are
/// several hosts, and the rules can't tell which one counts.
fn head(request: &Request) -> Option<Vec<(String, Vec<u8>)>> {
    let uri = request.uri();
    let mut hosts = request.headers().get_all(header::HOST).iter().map(HeaderValue::as_bytes);
    let (host, another) = (hosts.next().unwrap_or_default(), hosts.next());
    if another.is_some() {
        return None;
    }
    let authority = uri.authority().map_or(host, |authority| authority.as_str().as_bytes());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let pseudo =
        [(":method", request.method().as_str().as_bytes()), (":path", path.as_bytes()), (":authority", authority)];
    let others = request.headers().iter().filter(|(name, _)| *name != header::HOST);
    let others = others.map(|(name, value)| (name.as_str(), value.as_bytes()));
    Some(pseudo.into_iter().chain(others).map(|(name, value)| (name.to_owned(), value.to_vec())).collect())
}

/// Changes a request's headers to what goes on. `None`: a header can't be written, and the request must not go on.
fn change_all(
    headers: &mut HeaderMap,
    strip: &[String],
    changes: Vec<Change<'_>>,
    forward: &Forward,
    credentials: &Credentials,
) -> Option<()> {
    for name in strip {
        headers.remove(name.as_str());
    }
    changes.into_iter().try_for_each(|it| change(headers, it))?;
    for (name, value) in forward.set.iter() {
        change(headers, (name, Some(value.as_bytes().to_vec())))?;
    }
    match &forward.authorization {
        Authorization::Keep => {}
        Authorization::Remove => change(headers, ("authorization", None))?,
        Authorization::Replace(value) => change(headers, ("authorization", Some(value.as_bytes().to_vec())))?,
    }
    let known: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    forward.taken_off(&known, credentials).into_iter().try_for_each(|it| change(headers, it))
}

fn change(headers: &mut HeaderMap, (name, value): Change<'_>) -> Option<()> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    match value {
        Some(value) => drop(headers.insert(name, HeaderValue::from_bytes(&value).ok()?)),
        None => drop(headers.remove(name)),
    }
    Some(())
}

/// The response to an HTTP client. A service that speaks gRPC answers a denial with its `grpc` instead.
fn respond(status: u16, headers: &[(&'static str, String)], body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, body).into_response();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(*name, value);
        }
    }
    response
}
