//! The client's side: requests over HTTP/1 or HTTP/2 that arrive as they were written.
//!
//! Each request has a connection of its own, so nothing depends on what an earlier one left in a
//! pool, and requests spread over Envoy's workers. Nothing normalises the path on its way.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::Echo;

/// How long a request may take before it counts as unanswered.
const LIMIT: Duration = Duration::from_secs(30);

/// The identity headers, unless the configuration names others.
pub const IDENTITY_HEADERS: [&str; 5] = ["x-user-id", "x-client-id", "x-user-email", "x-user-type", "x-is-admin"];

/// The version of HTTP that a request is sent with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    Http2,
}

/// Makes requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Client {
    pub(crate) protocol: Protocol,
}

impl Client {
    pub(crate) fn request(self, address: SocketAddr, method: Method, path: &str) -> Request {
        Request {
            address,
            protocol: self.protocol,
            host: address.to_string(),
            method,
            path: path.to_owned(),
            headers: Ok(HeaderMap::new()),
            body: Bytes::new(),
        }
    }

    pub(crate) fn get(self, address: SocketAddr, path: &str) -> Request {
        self.request(address, Method::GET, path)
    }
}

/// A request that is being written; [`Request::send`] sends it.
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    address: SocketAddr,
    protocol: Protocol,
    host: String,
    method: Method,
    path: String,
    headers: Result<HeaderMap>,
    body: Bytes,
}

impl Request {
    /// Adds a header; one that is there already stays, so this can send duplicates. The value may
    /// hold any byte that HTTP can carry, UTF-8 or not.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers = self.headers.and_then(|mut headers| {
            let value = HeaderValue::from_bytes(value.as_ref())
                .with_context(|| format!("a value that HTTP cannot carry for {name}"))?;
            headers.append(HeaderName::from_bytes(name.as_bytes())?, value);
            Ok(headers)
        });
        self
    }

    /// Sends a JWT: `Authorization: Bearer …`.
    pub fn bearer(self, jwt: &str) -> Self {
        self.header("authorization", format!("Bearer {jwt}"))
    }

    /// Sends an API token: `Authorization: APIKey …`.
    pub fn api_key(self, token: &str) -> Self {
        self.header("authorization", format!("APIKey {token}"))
    }

    /// Sets `Host` or `:authority`, which is the address by default.
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Sends a body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends a value as JSON.
    pub fn json(self, value: &Value) -> Self {
        self.header("content-type", "application/json").body(value.to_string())
    }

    /// Sends this request over HTTP/2, whatever the stack's own protocol is.
    pub fn http2(mut self) -> Self {
        self.protocol = Protocol::Http2;
        self
    }

    /// Sends the request and reads the whole answer.
    ///
    /// # Errors
    /// When the request cannot be written as HTTP, or no whole answer came within 30 seconds.
    pub async fn send(self) -> Result<Response> {
        let what = format!("{} {}", self.method, self.path);
        tokio::time::timeout(LIMIT, self.exchange())
            .await
            .map_err(|_| anyhow!("no answer within {LIMIT:?}"))
            .flatten()
            .context(what)
    }

    async fn exchange(self) -> Result<Response> {
        let start = Instant::now();
        let path: Uri = self.path.parse().context("no path that HTTP can carry")?;
        let mut request = http::Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.headers_mut() = self.headers?;
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream = TokioIo::new(stream);
        let answer = match self.protocol {
            Protocol::Http1 => {
                *request.uri_mut() = path;
                request.headers_mut().insert(header::HOST, HeaderValue::from_str(&self.host)?);
                let (mut sender, connection) = http1::handshake(stream).await?;
                tokio::spawn(connection);
                collect(sender.send_request(request).await?).await
            }
            Protocol::Http2 => {
                let mut parts = path.into_parts();
                parts.scheme = Some(http::uri::Scheme::HTTP);
                parts.authority = Some(self.host.parse()?);
                *request.uri_mut() = Uri::from_parts(parts)?;
                let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
                tokio::spawn(connection);
                collect(sender.send_request(request).await?).await
            }
        };
        answer.map(|answer| Response { elapsed: start.elapsed(), ..answer })
    }
}

async fn collect(answer: http::Response<Incoming>) -> Result<Response> {
    let (head, body) = answer.into_parts();
    let body = body.collect().await.context("the answer broke off")?.to_bytes();
    Ok(Response {
        status: head.status.as_u16(),
        version: head.version,
        headers: head.headers,
        body,
        elapsed: Duration::ZERO,
    })
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The version of HTTP that it came with.
    pub version: http::Version,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The time from before the connection was opened to the last byte.
    pub elapsed: Duration,
}

impl Response {
    /// The body as text, lossy where it isn't UTF-8.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When the body isn't JSON, with its beginning.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| {
            let start: String = self.text().chars().take(200).collect();
            format!("no JSON in an answer {}: {start}", self.status)
        })
    }

    /// The first value of a header, lossy where it isn't UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// The `code` of a denial (docs/reference.md#denials).
    #[must_use]
    pub fn code(&self) -> Option<String> {
        Some(self.json().ok()?.get("code")?.as_str()?.to_owned())
    }

    /// What the upstream saw of the request.
    ///
    /// # Errors
    /// When the answer isn't the upstream's, as when the gateway answered instead.
    pub fn upstream(&self) -> Result<Echo> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{} {}: not the upstream's answer", self.status, self.text()))
    }

    /// The identity headers that the upstream saw; several values of one are joined by a comma.
    ///
    /// # Errors
    /// When the answer isn't the upstream's.
    pub fn identity(&self) -> Result<BTreeMap<&'static str, String>> {
        let echo = self.upstream()?;
        Ok(IDENTITY_HEADERS.into_iter().filter_map(|name| Some((name, echo.header(name)?))).collect())
    }
}
