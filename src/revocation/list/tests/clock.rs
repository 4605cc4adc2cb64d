//! A wall clock that is set an hour forward and back.

use super::*;

#[test]
fn a_clock_step_admits_no_revoked_token() {
    let host = Process::default();
    apply(json!({"revoked": [{"jti": "a", "exp": secs(600)}], "purge": [{"user_id": 17}]}), &Cx::new(at(0), &host));
    // By a fast clock, neither a check nor an addition elsewhere sweeps any of it; nor does a sweep by a slow one.
    let fast = Cx { wall: wall(3600), ..Cx::new(at(1), &host) };
    apply(json!({"revoked": [{"jti": "b", "exp": secs(4000)}]}), &fast);
    assert!(is_revoked(json!({"jti": "a"}), &host));
    let slow = Cx { wall: wall(-3600), ..Cx::new(at(2), &host) };
    apply(json!({"revoked": [{"jti": "c", "exp": secs(600)}], "purge": [{"user_id": 17}]}), &slow);
    sweep(&slow);
    for jti in ["a", "b", "c"] {
        assert!(is_revoked(json!({"jti": jti}), &host), "{jti}");
    }
    assert!(is_purged(json!({}), at(2), &host) && !is_purged(json!({}), at(3), &host), "up to the last purge");
}
