//! Many requests over a connection that stays open, so that none of them pays for a new one.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http::{HeaderValue, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{Response, Stack};

/// How long a request may take before it counts as unanswered.
const LIMIT: Duration = Duration::from_secs(30);

/// An HTTP/1 connection to the gateway, for one request after the other.
#[derive(Debug)]
pub struct Connection {
    sender: http1::SendRequest<Empty<Bytes>>,
    host: HeaderValue,
}

impl Stack {
    /// Opens a connection to the gateway. Which worker gets it is the kernel's choice.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn connect(&self) -> Result<Connection> {
        let address = self.gateway();
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection { sender, host: HeaderValue::from_str(&address.to_string())? })
    }
}

impl Connection {
    /// Sends a `GET` with this `Authorization`, and reads the whole answer.
    ///
    /// # Errors
    /// When the request cannot be written as HTTP, no whole answer came within 30 seconds, or the connection is closed.
    pub async fn get(&mut self, path: &str, authorization: &str) -> Result<Response> {
        tokio::time::timeout(LIMIT, self.exchange(path, authorization))
            .await
            .map_err(|_| anyhow!("no answer within {LIMIT:?}"))
            .flatten()
            .with_context(|| format!("GET {path}"))
    }

    async fn exchange(&mut self, path: &str, authorization: &str) -> Result<Response> {
        let start = Instant::now();
        let request = http::Request::get(path)
            .header(header::HOST, &self.host)
            .header(header::AUTHORIZATION, authorization)
            .body(Empty::new())?;
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        let body = body.collect().await.context("the answer broke off")?.to_bytes();
        Ok(Response {
            status: head.status.as_u16(),
            version: head.version,
            headers: head.headers,
            body,
            elapsed: start.elapsed(),
        })
    }
}
