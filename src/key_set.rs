//! Keys that a JWT may be signed with.

use crate::public_key::PublicKey;

/// A set of keys.
pub trait KeySet {
    /// The keys to try on a JWT, the likeliest first.
    ///
    /// - `kid`: the key's id in the JWT's header (RFC 7515 section 4.1.4). A set whose keys have no ids ignores it.
    fn candidates<'s>(&'s self, kid: Option<&str>) -> Box<dyn Iterator<Item = &'s PublicKey> + 's>;
}

/// These keys have no ids.
impl KeySet for [PublicKey] {
    fn candidates<'s>(&'s self, _kid: Option<&str>) -> Box<dyn Iterator<Item = &'s PublicKey> + 's> {
        Box::new(self.iter())
    }
}
