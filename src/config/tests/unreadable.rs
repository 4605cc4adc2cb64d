//! What can't be read is one error.

use super::table::{fields, with};
use super::*;

/// No field holds a number with a fraction.
#[test]
fn a_value_of_another_type_is_one_error() {
    for (path, _) in fields() {
        let error = only(Config::from_bytes(with(&path, json!(0.5)).to_string().as_bytes()));
        assert_eq!(error.path, path.replace("[]", "[0]"));
    }
}
