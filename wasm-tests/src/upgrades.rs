//! An upstream that accepts every upgrade; the stack's own answers with what it got.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use crate::{connection_manager, service::local};

/// Starts the upstream. Returns its port, and the head of each request that comes to it.
///
/// # Errors
/// When it can't listen.
pub async fn upgrading_upstream() -> Result<(u16, UnboundedReceiver<String>)> {
    let listener = TcpListener::bind(local(0)).await?;
    let port = listener.local_addr()?.port();
    let (tell, told) = unbounded_channel();
    tokio::spawn(accept(listener, tell));
    Ok((port, told))
}

async fn accept(listener: TcpListener, tell: UnboundedSender<String>) -> Result<()> {
    loop {
        let (mut connection, _) = listener.accept().await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await?);
        }
        tell.send(String::from_utf8(head)?)?;
        let accepted = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        connection.write_all(accepted).await?;
    }
}

/// Lets WebSockets through the gateway of a bootstrap.
pub fn allow_websockets(bootstrap: &mut Value) {
    let manager = connection_manager(&mut bootstrap["static_resources"]["listeners"][0]);
    manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
}

/// Lets the gateway forward to this port: the upstream is the first cluster.
///
/// # Errors
/// When the bootstrap has no such cluster.
pub fn forward_to(bootstrap: &mut Value, port: u16) -> Result<()> {
    let endpoint = "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address";
    let address = bootstrap.pointer_mut(endpoint).context("a bootstrap without an upstream")?;
    address["socket_address"]["port_value"] = port.into();
    Ok(())
}

/// The values of a header in a head as bytes.
#[must_use]
pub fn values<'h>(head: &'h str, name: &str) -> Vec<&'h str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}
