//! The rows of `make demo`, over both versions of HTTP, with one worker and with two.

use wasm_tests::{Protocol, Stack, demo};

async fn every_row_is_right(protocol: Protocol, workers: u32) {
    let mut stack = Stack::builder().protocol(protocol).concurrency(workers).start().await.unwrap();
    let rows = demo::run(&mut stack, |_| ()).await.unwrap();
    let wrong: Vec<_> = rows.iter().filter(|row| !row.is_right()).map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{}\n{}", demo::heading(), wrong.join("\n"));
    // Without this check, missing rows would pass.
    assert!(rows.len() >= 13, "only {} rows", rows.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_right_over_http1_with_one_worker() {
    every_row_is_right(Protocol::Http1, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_right_over_http1_with_two_workers() {
    every_row_is_right(Protocol::Http1, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_right_over_http2_with_one_worker() {
    every_row_is_right(Protocol::Http2, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_right_over_http2_with_two_workers() {
    every_row_is_right(Protocol::Http2, 2).await;
}
