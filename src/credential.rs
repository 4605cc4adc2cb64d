//! A credential, from the request's head to the callout that asks about it.

use std::borrow::Cow;
use std::fmt;

/// The header that holds the credential, unless the configuration names other places.
pub const AUTHORIZATION: &str = "authorization";

/// The header with cookies (RFC 6265 section 5.4).
pub const COOKIE: &str = "cookie";

/// The header with the protocols that a WebSocket client offers (RFC 6455 section 11.3.4).
pub const PROTOCOLS: &str = "sec-websocket-protocol";

/// The one credential of a request.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential<'r> {
    /// What it looks like.
    pub form: Form,
    /// Where it stood.
    pub place: Place,
    /// The token, in visible ASCII; for [`Form::Other`], the whole value: a scheme, a space and such a token.
    pub token: Cow<'r, [u8]>,
}

/// What a credential looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `Bearer`, with what may be a JWT.
    Jwt,
    /// `APIKey`, with an API token of the right form.
    ApiToken,
    /// Anything else, for the service to judge.
    Other,
}

/// How a client presents a credential, as rules name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// `APIKey`.
    Apikey,
    /// `Bearer`.
    Bearer,
}

impl Scheme {
    pub(crate) const ALL: [Self; 2] = [Self::Apikey, Self::Bearer];

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Apikey => "apikey",
            Self::Bearer => "bearer",
        }
    }
}

/// Where a credential stood in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The header `Authorization`.
    Authorization,
    /// The header that `credentials.api_key_header` names.
    ApiKeyHeader,
    /// The cookie that `credentials.cookie` names.
    Cookie,
    /// One of the protocols that a WebSocket client offers.
    WebSocketProtocol,
}

impl<'r> Credential<'r> {
    /// A credential in `Authorization`.
    pub const fn in_authorization(form: Form, token: &'r [u8]) -> Self {
        Self { form, place: Place::Authorization, token: Cow::Borrowed(token) }
    }

    /// [`Self::token`] as text, for the question to the service.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.token).unwrap_or_default()
    }

    /// The scheme under which it was presented. `None`: one that no rule can name.
    pub fn scheme(&self) -> Option<Scheme> {
        match self.form {
            Form::Jwt => Some(Scheme::Bearer),
            Form::ApiToken => Some(Scheme::Apikey),
            Form::Other => {
                let scheme = self.token.get(..self.token.iter().position(|byte| *byte == b' ')?)?;
                Scheme::ALL.into_iter().find(|known| scheme.eq_ignore_ascii_case(known.name().as_bytes()))
            }
        }
    }

    /// The number of an API token, as it was sent.
    pub fn token_id(&self) -> Option<&str> {
        let number = || self.token.split(|byte| *byte == b'$').next();
        if self.form == Form::ApiToken { str::from_utf8(number()?).ok() } else { None }
    }

    /// The same credential, to be kept longer than its request.
    pub fn into_owned(self) -> Credential<'static> {
        Credential { form: self.form, place: self.place, token: Cow::Owned(self.token.into_owned()) }
    }
}

impl fmt::Debug for Credential<'_> {
    /// Without the token.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { form, place, .. } = self;
        formatter.debug_struct("Credential").field("form", form).field("place", place).finish_non_exhaustive()
    }
}

/// What holds a token. Its debug form doesn't show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Redacted<T>(pub T);

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(redacted)")
    }
}

impl<T> std::ops::Deref for Redacted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
