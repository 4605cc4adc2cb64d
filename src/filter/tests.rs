//! The machine as a whole, with a fake clock, a fake host that keeps its state, and a fake service.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "tests"
)]

mod abuse;
mod api_tokens;
mod audit;
mod breaker;
mod cache;
mod cache_workers;
mod clock;
mod crowds;
mod displacement;
mod elsewhere;
mod fast_clock;
mod first_list;
mod forged;
mod gauges;
mod hosts;
mod key_grace;
mod key_refetch;
mod key_replicas;
mod late_news;
mod logs;
mod metrics;
mod neighbours;
mod no_host;
mod odd_entries;
mod outage;
mod pages;
mod places;
mod profiles;
mod refresh_ahead;
mod remote;
mod requests;
mod retirement;
mod revocation;
mod rules;
mod service_jwts;
mod set_back;
mod shares;
mod side_effects;
mod single_flight;
mod stood_still;
mod streams;
mod support;
mod suspicious;
mod sweep;
mod throttle;
mod two_services;
mod unanswered;
mod verifiers;

use super::world::{self, Answer, Ending, World, api_token, bearer, claims, jwt, jwt_of};
