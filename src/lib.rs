//! authgate: an Envoy filter that authenticates every request at the gateway.
//!
//! # The request's way
//!
//! 1. [`extractor::headers_to_strip`]: whatever the filter itself can set is taken off the request, on every route.
//! 2. [`matcher::Rules::find`]: the first rule whose path, method and host fit, on every reading of the path ([`path`]).
//! 3. [`extractor::extract`]: the one credential.
//! 4. Verification: of a JWT with the cached key ([`jwt`], [`signature`], [`public_key::store`]), of an API token by a
//!    callout ([`introspection`]). Both end in a [`policy::Identity`], which nothing else can make.
//! 5. [`policy::authorise`]: identity and rule make a [`policy::Permit`].
//! 6. [`decision`]: the permit's headers, or the one response of a denial.
//!
//! [`filter::Filter`] strings these together. It is pure: time is an argument, the host's services are the trait
//! [`host::Host`], and whatever has to be waited for is an [`filter::Action`] that the caller carries out. The
//! `shell`, which is compiled for wasm32 alone, is the only user of `proxy_wasm`; building the crate for any other
//! target proves that the core needs none of it.
#![cfg_attr(not(target_arch = "wasm32"), forbid(unsafe_code))]
#![deny(unsafe_code)]

pub mod breaker;
pub mod cache;
pub mod claims;
pub mod config;
pub mod decision;
pub mod extractor;
pub mod filter;
pub mod host;
pub mod introspection;
pub mod json;
pub mod jwt;
pub mod matcher;
pub mod metrics;
pub mod path;
pub mod policy;
pub mod public_key;
pub mod revocation;
pub mod seal;
pub mod secret;
pub mod signature;
pub mod table;
#[cfg(test)]
mod testing;
pub mod throttle;
pub mod time;

#[cfg(target_arch = "wasm32")]
pub mod shell;

#[cfg(all(target_arch = "wasm32", feature = "entry"))]
#[allow(unsafe_code, reason = "the SDK's macro exports the module's start function")]
mod entry {
    use crate::shell;

    proxy_wasm::main! {{
        // Replaced by Envoy's own level as soon as the host may be asked for it.
        proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Info);
        shell::vacate_at_panic();
        proxy_wasm::set_root_context(|id| Box::new(shell::Root::new(id)));
    }}
}
