//! Panics on demand, for tests of what Envoy does after one. Without the feature `panic-injection` nothing of this
//! is in the module.

#[cfg(feature = "panic-injection")]
mod armed {
    use std::cell::RefCell;

    thread_local! {
        static POINT: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
    }

    /// The header that names the point at which this VM is to panic next.
    const HEADER: &str = "x-authgate-panic";

    /// Arms the point that a request names.
    pub(crate) fn arm(headers: &[(&str, &[u8])]) {
        if let Some((_, point)) = headers.iter().find(|(name, _)| *name == HEADER) {
            POINT.with(|armed| *armed.borrow_mut() = Some(point.to_vec()));
        }
    }

    /// Panics if this point is armed.
    pub(crate) fn point(name: &str) {
        let is_armed = POINT.with(|armed| armed.borrow().as_deref() == Some(name.as_bytes()));
        assert!(!is_armed, "injected at {name}");
    }
}

#[cfg(not(feature = "panic-injection"))]
mod armed {
    pub(crate) const fn arm(_headers: &[(&str, &[u8])]) {}

    pub(crate) const fn point(_name: &str) {}
}

pub(super) use armed::{arm, point};
