//! An auth service that answers what it is told to, byte for byte: the real one is too well
//! behaved for most of [`super::answers`].

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use anyhow::Result;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{answers::Answer, keys::Signer};

/// A running service. Dropping it stops it.
#[derive(Debug)]
pub struct Scripted {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Scripted {
    /// Starts a service that answers the API token `<number>$…` with the answer of that number, and
    /// serves the corpus' public key.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(answers: BTreeMap<usize, Answer>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let answers = Arc::new(answers);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answers)));
            }
        });
        Ok(Self { address, server })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// An API token that gets the answer of this number.
#[must_use]
pub fn token(number: usize) -> String {
    format!("{number}${}", "s".repeat(128))
}

/// Answers one request and closes the connection.
async fn serve(mut stream: TcpStream, answers: Arc<BTreeMap<usize, Answer>>) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let answer = if head.starts_with("get /iam/public-key ") {
        let body = json!({"public_key": Signer::trusted().public_pem()}).to_string();
        Answer::new(200, &[], body)
    } else {
        let number = head.split("apikey ").nth(1).and_then(|rest| rest.split('$').next()?.parse().ok());
        let unknown = || Answer::new(401, &[], r#"{"error": "Unauthorized", "details": "unknown"}"#);
        number.and_then(|number: usize| answers.get(&number).cloned()).unwrap_or_else(unknown)
    };
    stream.write_all(&answer.0).await?;
    stream.shutdown().await?;
    Ok(())
}
