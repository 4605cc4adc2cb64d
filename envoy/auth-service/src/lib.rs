//! An authentication service for authgate on SQLite, for local use and tests.
//!
//! It verifies API tokens and JWTs, signs users in and out, manages API tokens, and publishes its public key and revocations.
//! With [`Options::faults`] it also breaks its answers on demand, so that tests can check how a gateway reacts.
//!
//! ```no_run
//! # async fn example() -> Result<(), auth_service::Error> {
//! use auth_service::{Options, UserSpec};
//!
//! let server = auth_service::start(Options {
//!     listen: ([127, 0, 0, 1], 0).into(),
//!     users: vec![UserSpec::new("alice", "secret")],
//!     ..Options::default()
//! })
//! .await?;
//! println!("{}", server.url());
//! server.stop().await;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod admin;
mod app;
mod command;
mod error;
mod faults;
mod feed;
mod hash;
mod jwt;
mod keys;
mod options;
mod server;
mod session;
mod status;
mod store;
mod tokens;
mod tokens_store;
mod verify;

pub use command::Command;
pub use error::Error;
pub use options::{Options, RoleSpec, TokenHash, UserSpec, UserSpecError};
pub use server::{Server, paths, start};
