//! The label `filter` of all metrics.

use crate::host::{SharedData, SharedValue, Write};

/// The filter's name in the host, as a label's value: Envoy makes labels of the parts between dots.
pub fn value(name: &[u8]) -> String {
    let label = |byte: &u8| if byte.is_ascii_alphanumeric() || b"_-".contains(byte) { char::from(*byte) } else { '_' };
    if name.is_empty() { "unnamed".to_owned() } else { name.iter().map(label).collect() }
}

/// The most names that are noted for one label.
const MAX_NAMES: usize = 8;

/// Notes that a filter of this name has this label. Returns the name of another filter that has the same label, once
/// for each name, however many workers there are. Filters of different `vm_id`s don't see one another.
pub fn newly_mixed_with(name: &[u8], label: &str, shared: &dyn SharedData) -> Option<String> {
    let key = format!("authgate.names.{label}");
    // Other workers note names at the same time. After a conflict, read what they wrote.
    for _ in 0..16 {
        let (noted, write) = match shared.shared_data(&key) {
            None => (Vec::new(), Write::IfAbsent),
            Some(SharedValue { bytes, cas }) => (bytes, Write::IfVersion(cas)),
        };
        let mut names: Vec<&[u8]> = noted.split(|byte| *byte == 0).filter(|known| !known.is_empty()).collect();
        if names.contains(&name) || names.len() >= MAX_NAMES {
            return None;
        }
        let other = names.first().map(|other| String::from_utf8_lossy(other).into_owned());
        names.push(name);
        if shared.set_shared_data(&key, &names.join(&0), write).is_ok() {
            return other;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::world::Process;

    #[test]
    fn a_label_value_holds_letters_digits_and_two_signs() {
        for (name, label) in [
            ("authgate", "authgate"),
            ("Gate-1_a", "Gate-1_a"),
            ("istio-system.authgate", "istio-system_authgate"),
            ("a b/c=\"d\"\n", "a_b_c__d__"),
            ("é", "__"),
            ("", "unnamed"),
        ] {
            assert_eq!(value(name.as_bytes()), label, "{name}");
        }
        assert_eq!(value(b"\xff."), "__");
    }

    #[test]
    fn filters_that_share_a_label_are_reported_once() {
        let process = Process::default();
        let mixed = |name: &str| newly_mixed_with(name.as_bytes(), &value(name.as_bytes()), &process);
        for name in ["authgate", "a.b", "a-b", "authgate", "a.b"] {
            assert_eq!(mixed(name), None, "{name}");
        }
        for (name, other) in [("a_b", Some("a.b")), ("a_b", None), ("a b", Some("a.b")), ("a.b", None)] {
            assert_eq!(mixed(name).as_deref(), other, "{name}");
        }
    }
}
