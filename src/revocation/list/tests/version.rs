//! The version of the list, which says that it has changed.

use serde_json::json;

use super::*;

#[test]
fn each_change_of_the_list_has_a_new_version() {
    let host = Process::default();
    let mut known = vec![worker().version(&host)];
    for lists in [
        json!({"revoked": [{"jti": "a", "exp": secs(60)}]}),
        json!({"users": [{"user_id": 17, "exp_before": secs(60)}]}),
        json!({"users": [{"user_id": 17, "exp_before": secs(61)}]}),
        json!({"purge": [{"client_id": 2}]}),
        json!({"purge": [{"token_id": 3}]}),
    ] {
        apply(lists.clone(), &Cx::new(at(0), &host));
        let version = worker().version(&host);
        assert!(!known.contains(&version), "{lists}");
        known.push(version);
        apply(lists.clone(), &Cx::new(at(0), &host));
        assert_eq!(worker().version(&host), version, "the same once more: {lists}");
    }
    let all = Changes { purge: vec![Subject::All], ..Changes::default() };
    worker().apply(&all, LIFE, &Cx::new(at(0), &host)).unwrap();
    assert!(!known.contains(&worker().version(&host)));
}
