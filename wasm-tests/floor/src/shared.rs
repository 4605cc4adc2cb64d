//! The calls by which workers know each other's verdicts and refusals, ask once together, and stop asking when the
//! service is down.

use proxy_wasm::hostcalls;

/// Before the service is asked: looks for what is known, and records that this worker asks.
pub(crate) fn begin(refusals: &str, verdict: &str, lease: &str) {
    for name in [refusals, verdict, "floor.breaker", lease] {
        let _ = hostcalls::get_shared_data(name);
    }
    let _ = hostcalls::set_shared_data(lease, Some(&[1; 33]), None);
}

/// After the service has answered: records the verdict.
pub(crate) fn end(verdict: &str, lease: &str, record: &[u8]) {
    for name in ["floor.breaker", verdict, lease] {
        let _ = hostcalls::get_shared_data(name);
    }
    let _ = hostcalls::set_shared_data(verdict, Some(record), None);
    let _ = hostcalls::set_shared_data(lease, None, None);
}
