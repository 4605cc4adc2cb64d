//! Serves the example: `cargo run -p axum-service -- examples/axum-service/config.json 127.0.0.1:8080`.

use anyhow::Context as _;
use authgate::config::Config;
use axum_service::{Client, Gate, app};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().context("usage: axum-service CONFIGURATION [ADDRESS:PORT]")?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let config = Config::from_bytes(&std::fs::read(&path).with_context(|| path.clone())?).context(path)?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let app = app(Gate::start(&config, workers)?);
    let listener = TcpListener::bind(&address).await.with_context(|| address.clone())?;
    println!("listening on {address}");
    axum::serve(listener, app.into_make_service_with_connect_info::<Client>()).await?;
    Ok(())
}
