//! How many requests and callouts one worker holds at once, and how many bytes of them.
//!
//! Other limits are defined where they apply: the length of a JWT in `jwt`, the share of one connection in
//! `questions::shares`, this worker's cache in `cache`, the number of keys in `keys::store`, and the rows of shared
//! data in `cache`, `throttle`, `questions` and `revocation::list`.

/// The most callouts that are under way at once, including those whose client has left.
pub const MAX_CALLOUTS: usize = 4096;

/// The most bytes of questions that are under way, or whose answers have yet to reach waiting requests.
pub const MAX_CALLOUT_BYTES: usize = 16 * 1024 * 1024;

/// The most requests that wait at once.
pub const MAX_WAITING: usize = 16_384;

/// The most bytes that they hold besides their questions: tokens that wait for a key, and what is known about each
/// request.
pub const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;

/// The most requests that wait for a key at once.
pub const MAX_WAITING_FOR_KEY: usize = 4096;

/// The estimated bytes that a map's entry, with its counterpart in the shell, takes besides its key and value.
pub(crate) const MAP_ENTRY_BYTES: usize = 64;

/// The most requests that are ended in one go. Envoy sends the responses nested in one another, and some 300 of them
/// exhaust the VM's stack; verifying their signatures would also keep the worker's other clients waiting.
pub(crate) const AT_ONCE: usize = 32;
