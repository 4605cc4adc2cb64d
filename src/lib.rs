//! authgate: an Envoy filter that authenticates every request at the gateway.
//!
//! # A request's way
//!
//! 1. `extractor::headers_to_strip`: the headers that the filter sets are stripped from the request, on every route.
//! 2. `matcher::Rules::find`: the first rule whose path, method and host fit, on every reading of the path (`path`).
//! 3. `extractor::extract`: the one credential.
//! 4. Verification: with the service's key (`jwt`, `signature`, `keys`), or by a callout (`introspection`). Both end in
//!    a `policy::Identity`. Nothing else makes one; the cache restores those that it was given.
//! 5. `policy::accept`, `policy::authorise`: identity and rule make a `policy::Permit`.
//! 6. `decision`: the permit's headers, or the one response of a denial.
//!
//! [`Filter`] connects these steps. It is pure: time, shared data and the host come with the events ([`host::Cx`]), and
//! whatever has to be waited for is an [`Action`] that the caller carries out. Only the `shell` and the module's start
//! function use `proxy_wasm`. Both are compiled only for wasm32; building the crate for another target proves that the
//! core doesn't need it.
//!
//! # In a service of your own
//!
//! The same rules, cache and verdicts work outside Envoy. Make a [`Config`](config::Config) and one [`Filter`] for each
//! thread; implement [`SharedData`](host::SharedData), [`Signatures`](host::Signatures), [`Metrics`](host::Metrics) and
//! [`Peer`](host::Peer). Then pass each event to the filter, with a [`Cx`](host::Cx) or with the host alone:
//!
//! - [`Filter::on_request`] with the head of each request, and [`Filter::on_end`] once it has ended,
//! - [`Filter::on_answer`] with what came of each [`Action::Callout`],
//! - [`Filter::on_tick`] every [`Filter::tick_period`],
//! - [`Filter::on_retirement`] at the end.
//!
//! After each of them, carry out what [`Filter::next_action`] returns, until it returns nothing more.
//! `examples/axum-service` in the repository does this in a middleware.
//!
//! docs/architecture.md follows a request, an answer and a tick through the modules, and says where each thing is.
#![cfg_attr(not(target_arch = "wasm32"), forbid(unsafe_code))]
#![deny(unsafe_code)]

mod ascii;
mod audit;
mod breaker;
mod cache;
mod claims;
#[cfg(all(feature = "cli", not(target_arch = "wasm32")))]
#[doc(hidden)]
pub mod cli;
mod code;
pub mod config;
mod credential;
mod decision;
mod extractor;
mod filter;
pub mod host;
mod introspection;
mod json;
mod jwt;
mod key_set;
mod keys;
#[cfg(any(target_arch = "wasm32", test))]
mod label;
mod limits;
mod map;
mod matcher;
pub mod metrics;
mod order;
mod path;
mod policy;
mod public_key;
mod questions;
mod report;
mod require;
mod revocation;
mod rule;
#[cfg(any(target_arch = "wasm32", test))]
mod seal;
#[cfg(any(target_arch = "wasm32", test, feature = "testing"))]
mod secret;
#[cfg(target_arch = "wasm32")]
mod shell;
mod signature;
mod suspicious;
mod table;
#[cfg(any(target_arch = "wasm32", test))]
mod tally;
#[cfg(test)]
mod testing;
mod throttle;
mod time;
mod turn;

pub use claims::{ClaimPath, Claims, ClaimsError, NotAHeaderValue, TimeError, TokenType};
pub use code::{Code, GrpcStatus};
pub use credential::{Credential, Form, Place, Redacted, Scheme};
pub use decision::{Authorization, Forward, Page, Response};
pub use extractor::{Change, Header, RequestHead, lend, trailers_to_strip};
pub use filter::{Action, CallId, Filter, Reception, Resolution, Step};
pub use introspection::{
    AuthVerify, CalloutError, CalloutRequest, CalloutResponse, Confirmed, Destination, Outage, Scope, Verdict, Verifier,
};
pub use json::JsonError;
pub use policy::Headers;
pub use public_key::{KeyError, KeyId, PublicKey};
pub use report::{Audit, Report, Who};
pub use time::{Instant, UnixTime};

/// What else tests in other crates use.
#[cfg(feature = "testing")]
pub mod internals {
    pub use crate::cache::prefix;
    pub use crate::claims::MAX_TIME;
    pub use crate::extractor::{extract, headers_to_strip};
    #[cfg(not(target_arch = "wasm32"))]
    pub use crate::filter::world;
    pub use crate::introspection::{read, read_public_key};
    pub use crate::jwt::{MAX_TOKEN_BYTES, UntrustedJwt};
    pub use crate::keys::{BETWEEN_SEARCHES, QUESTIONS};
    pub use crate::matcher::{Target, Undecided};
    pub use crate::path::{Ambiguous, Budget, is_plain, readings};
    pub use crate::questions::shares::FIRST_QUESTIONS;
    #[cfg(target_arch = "wasm32")]
    pub use crate::shell::{EnvoyHost, Root, vacate_at_panic};
    pub use crate::signature::{Rs256, verify_in_module};
}

#[cfg(all(target_arch = "wasm32", feature = "entry"))]
#[allow(unsafe_code, reason = "the SDK's macro exports the module's start function")]
mod entry {
    use crate::shell;

    proxy_wasm::main! {{
        // Envoy's own level replaces this one as soon as the host may be asked.
        proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Info);
        shell::vacate_at_panic();
        proxy_wasm::set_root_context(|id| Box::new(shell::Root::new(id)));
    }}
}
