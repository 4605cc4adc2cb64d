//! What the rule requires, for paths with several readings.

use serde_json::{Value, json};

use super::{denied, jwt, output};

#[test]
fn require_is_explained_if_readings_lead_to_rules_with_equal_terms() {
    let config = "
auth_service: {cluster: auth}
mode: shadow
rules:
  - {match: {prefix: /p/one}, require: {is_admin: true}, mode: enforce}
  - {name: two, match: {prefix: /p/two}, mode: enforce, require: {is_admin: true}}
  - {match: {prefix: /p/three}, require: [{is_admin: true}]}
  - {match: {prefix: /p/four}, require: {is_admin: true}, mode: shadow}
  - {match: {prefix: /p/five}}
";
    let tell = |path: &str, token: &str| -> Value {
        let options = ["--path", path, "--token", token, "--key", "KEY", "--format", "json"];
        serde_json::from_str(&output(config, &options).1).unwrap()
    };
    let (other, admin) = (jwt(json!({})), jwt(json!({"is_admin": true})));
    let expected = |holds: &str| json!([{"field": "is_admin: true", "holds": holds}]);
    for path in ["/p/one", "/p/one/..%2Ftwo", "/p/two/..%2Fone", "/p/three/..%2Ffour", "/p/four/..%2Fthree"] {
        let told = tell(path, &other);
        assert_eq!(told["require"], expected("no"), "{path}: {told}");
        assert_eq!(tell(path, &admin)["require"], expected("yes"), "{path}");
    }
    // Rules with other terms.
    let told = tell("/p/one/..%2Ffive", &admin);
    assert_eq!((denied(&told), &told["require"]), ("ambiguous_path", &json!([])));
}
