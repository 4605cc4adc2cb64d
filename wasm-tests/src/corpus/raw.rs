//! Requests as bytes, for what no client library writes.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::describe;
use crate::Echo;

/// How long an answer may take until the connection counts as closed without one.
const LIMIT: Duration = Duration::from_secs(10);

/// What came back over a connection until it was closed.
#[derive(Clone, Debug, Default)]
pub struct RawAnswer {
    /// The status; 0 where the connection was closed without an answer.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// Everything after the head.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// The verdict as [`super::seen`] writes it, or `closed`.
    #[must_use]
    pub fn seen(&self) -> String {
        if self.status == 0 { "closed".to_owned() } else { describe(self.status, &self.body) }
    }

    /// What the upstream saw, where the request reached it.
    #[must_use]
    pub fn upstream(&self) -> Option<Echo> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Whether anything in the answer comes from the upstream, further answers included.
    #[must_use]
    pub fn holds_an_echo(&self) -> bool {
        let text = String::from_utf8_lossy(&self.body);
        text.contains("body_sha256") && serde_json::from_slice::<Value>(&self.body).is_err()
    }
}

/// Sends bytes to `address` and reads until the other side closes, which the bytes should ask for:
/// `Connection: close`.
///
/// # Errors
/// When no connection can be made.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> Result<RawAnswer> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    // A peer that has closed already may have answered before.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await;
    Ok(parse(&answer))
}

fn parse(answer: &[u8]) -> RawAnswer {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let Some(end) = end else { return RawAnswer::default() };
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    RawAnswer { status, head, body: answer[end + 4..].to_vec() }
}
