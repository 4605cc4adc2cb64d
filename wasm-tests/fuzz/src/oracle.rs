//! Expected results, computed in another way than authgate's.

pub mod base64;
pub mod claims;
pub mod host;
pub mod hosts;
pub mod json;
pub mod paths;
