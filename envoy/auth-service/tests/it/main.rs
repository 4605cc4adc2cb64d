//! The service as its clients see it: over HTTP.

mod faults;
mod lifecycle;
mod sessions;
mod support;
mod tokens;
mod verify;
