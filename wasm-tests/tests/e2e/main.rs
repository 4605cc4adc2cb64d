//! authgate in real Envoy: one scenario, one file.
//!
//! A test unwraps what it needs rather than returning an error: where it panics, the harness keeps
//! Envoy's files and prints its log.

mod cold_start;
mod configuration_forms;
mod demo_rows;
mod harness;
mod hostile_surroundings;
mod key_rotation;
mod refused_configuration;
mod wycheproof;
