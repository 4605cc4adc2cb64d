//! Where a credential may stand.

use crate::credential::{COOKIE, PROTOCOLS};

/// `credentials`: the places where a credential may stand, besides `Authorization`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The header that holds an API token without a scheme, its name in lower case.
    pub api_key_header: Option<String>,
    /// The name of the cookie that holds a JWT.
    pub cookie: Option<String>,
    /// Whether a WebSocket client may offer a JWT as a protocol.
    pub websocket_protocol: bool,
}

impl Credentials {
    /// The headers that may hold credentials in these places, names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        let cookie = self.cookie.is_some().then_some(COOKIE);
        let protocols = self.websocket_protocol.then_some(PROTOCOLS);
        self.api_key_header.as_deref().into_iter().chain(cookie).chain(protocols)
    }
}
