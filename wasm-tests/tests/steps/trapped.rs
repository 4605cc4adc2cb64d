//! What a VM that traps leaves behind. In Envoy, `e2e/gauges.rs` sees the counts go too, but there they go by
//! themselves once the VM has been silent for three seconds, so only a clock could tell why they went. Here no time
//! passes.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{api_token, jwt, send, start_module, workspace};

const GAUGES: [&str; 3] = ["auth_callouts_in_flight", "auth_cache_entries", "auth_cache_bytes"];

#[test]
fn the_counts_of_a_trapped_vm_are_removed_at_once() -> Result<()> {
    let path = workspace().join("target/test_module.wasm");
    let module = std::fs::read(&path).with_context(|| format!("no {}: `make test-module`", path.display()))?;
    let mut host = start_module(&module, &json!({}))?;
    send(&mut host, "/orders", &jwt(1, false))?;
    let waiting = [(":path", "/orders"), (":method", "GET"), (":authority", "any"), ("authorization", &api_token(1))];
    let (_, passed) = host.begin(&waiting)?;
    ensure!(!passed, "it waits for the service");
    host.pass_a_second();
    host.tick()?;
    let counted = GAUGES.map(|gauge| host.metric(gauge));
    ensure!(counted[0] == 1 && counted[1] == 1 && counted[2] > 0, "{counted:?}");

    let order = [(":path", "/"), (":method", "GET"), (":authority", "any"), ("x-authgate-panic", "request_headers")];
    ensure!(host.begin(&order).is_err(), "it traps");
    let mut next = host.replace(&module)?;
    next.tick()?;
    ensure!(GAUGES.map(|gauge| next.metric(gauge)) == [0; 3], "{:?}", GAUGES.map(|gauge| next.metric(gauge)));
    Ok(())
}
