//! authgate in real Envoy: one scenario, one file.
//!
//! A test unwraps what it needs rather than returning an error: where it panics, the harness keeps
//! Envoy's files and prints its log.

mod attack_http2_answers;
mod callout_bytes;
mod callout_heads;
mod cold_start;
mod configuration_forms;
mod configuration_update;
mod corpus_answers;
mod corpus_headers;
mod corpus_paths;
mod corpus_tokens;
mod crowds;
mod demo_rows;
mod disconnects;
mod emptied_rows;
mod failover;
mod feed;
mod flood;
mod forwarding;
mod gauges;
mod grpc_and_cors;
mod harness;
mod held_body;
mod hostile_surroundings;
mod hosts;
mod http2_service;
mod identity_headers;
mod jwt_authn_differences;
mod key_replicas;
mod key_rotation;
mod large_body;
mod local_replies;
mod logs;
mod methods_and_tunnels;
mod metrics;
mod no_verify_signature;
mod odd_entries;
mod one_credential;
mod outage_drill;
mod overload;
mod rapid_resets;
mod refused_configuration;
mod remote_verification;
mod revocation;
mod rule_budget;
mod seal;
mod secrets;
mod service_behind_envoy;
mod single_flight;
mod throttle;
mod traps;
mod verifiers_agree;
mod wycheproof;
