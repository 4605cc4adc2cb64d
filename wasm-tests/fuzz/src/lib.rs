//! Fuzz targets of authgate's core.
//!
//! A target is a function of bytes that panics if a promise is broken. `cargo fuzz` calls it with inputs from libFuzzer
//! (`fuzz_targets/`). The test `replay` and the command `fuzz-on-stable` call it on a stable toolchain, with the inputs
//! of `corpus/` and mutations of them. Expected results are computed by code that shares nothing with authgate
//! ([`oracle`]).

pub mod answers;
pub mod configuration;
pub mod corpus;
pub mod extraction;
pub mod hosts;
pub mod jwt;
pub mod machine;
pub mod mutation;
pub mod oracle;
pub mod paths;

/// One fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is also that of its folder in `corpus/`.
    pub name: &'static str,
    /// Checks one input.
    ///
    /// # Panics
    /// If a promise is broken.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 7] = [
    Target { name: "extraction", run: extraction::run },
    Target { name: "jwt", run: jwt::run },
    Target { name: "answers", run: answers::run },
    Target { name: "configuration", run: configuration::run },
    Target { name: "paths", run: paths::run },
    Target { name: "hosts", run: hosts::run },
    Target { name: "machine", run: machine::run },
];
