//! The service as its clients see it: over HTTP.

mod faults;
mod lifecycle;
mod management;
mod openapi;
mod sessions;
mod status;
mod support;
mod tokens;
mod verify;
