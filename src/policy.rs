//! Identity and rule: allowed or not.

use std::cell::OnceCell;
use std::iter;
use std::rc::Rc;
use std::sync::Arc;

use crate::claims::{Claims, OwnClaims, TokenType};
use crate::code::Code;
use crate::config::{Config, Jwt};
use crate::introspection::Confirmed;
use crate::jwt::VerifiedClaims;
use crate::matcher::Require;
use crate::public_key::KeyId;

/// The identity headers for the upstream: names in lower case, and values. They are kept with each cached verdict, so
/// they take one allocation: a line for each name and one for its value, neither of which can hold a newline.
///
/// A resolution may go to another thread than its filter's; where there is one thread, an `Arc` costs what an `Rc`
/// does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(Arc<str>);

impl Headers {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut lines = self.0.split_terminator('\n');
        iter::from_fn(move || Some((lines.next()?, lines.next()?)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    /// A header whose name or value holds a newline is left out. No claim with one gets this far.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut lines = String::new();
        for (name, value) in headers {
            let (name, value) = (name.as_ref(), value.as_ref());
            if !name.contains('\n') && !value.contains('\n') {
                lines.extend([name, "\n", value, "\n"]);
            }
        }
        Self(lines.into())
    }
}

/// Who sent the request. Only verification makes an identity: from a JWT with a good signature, or from the service's
/// answer. The verification cache may restore it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    claims: Box<Claims>,
    verified_by: VerifiedBy,
    is_jwt: bool,
    jwt: Option<Vec<u8>>,
    headers: OnceCell<Result<Headers, Code>>,
}

/// Who has vouched for an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifiedBy {
    /// The service, in an answer to a question about the credential.
    Service,
    /// This key, which the credential is signed with.
    Key(KeyId),
}

impl Identity {
    /// The claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The verified JWT, if the identity came in one and was kept with it.
    pub fn jwt(&self) -> Option<&[u8]> {
        self.jwt.as_deref()
    }

    /// Who has vouched for it.
    pub const fn verified_by(&self) -> VerifiedBy {
        self.verified_by
    }

    /// The headers for the upstream, rendered at the first call and kept.
    ///
    /// # Errors
    /// What `render` says, at every call.
    pub fn headers(&self, render: impl FnOnce(&Claims) -> Result<Headers, Code>) -> Result<Headers, Code> {
        self.headers.get_or_init(|| render(&self.claims)).clone()
    }

    /// The same identity, as the service's answer about a credential with these claims of its own. The answer may hold
    /// a signed JWT; still the service vouches for it, not the key.
    #[must_use]
    pub fn by_service(mut self, own: &OwnClaims) -> Self {
        self.claims.narrow(own);
        Self { verified_by: VerifiedBy::Service, ..self }
    }

    /// The same without the JWT's text, which is kept only where it goes upstream.
    #[must_use]
    pub fn without_text(self) -> Self {
        Self { jwt: None, ..self }
    }

    /// Its parts, for the verification cache: claims, verifier, whether it came in a JWT, and that JWT.
    pub(crate) fn parts(&self) -> (&Claims, VerifiedBy, bool, Option<&[u8]>) {
        (&self.claims, self.verified_by, self.is_jwt, self.jwt())
    }

    /// Restores an identity from the [`Self::parts`] that the verification cache kept.
    pub(crate) fn recall(claims: Claims, verified_by: VerifiedBy, is_jwt: bool, jwt: Option<Vec<u8>>) -> Self {
        Self { claims: Box::new(claims), verified_by, is_jwt, jwt, headers: OnceCell::new() }
    }
}

impl From<VerifiedClaims> for Identity {
    fn from(verified: VerifiedClaims) -> Self {
        let verified_by = VerifiedBy::Key(verified.key());
        let (claims, jwt) = verified.into_parts();
        Self { claims, verified_by, is_jwt: true, jwt: Some(jwt), headers: OnceCell::new() }
    }
}

impl From<Confirmed> for Identity {
    fn from(confirmed: Confirmed) -> Self {
        let (claims, verified_by) = (confirmed.into_claims(), VerifiedBy::Service);
        Self { claims, verified_by, is_jwt: false, jwt: None, headers: OnceCell::new() }
    }
}

/// Who presented the credential that the identity came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presenter {
    /// The client sent a JWT, so `jwt.token_types` says which types are good for access.
    Client,
    /// The service answered for it.
    Service,
}

/// The permission to go on. Only [`authorise`] and [`Permit::public`] give one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    identity: Option<Rc<Identity>>,
}

impl Permit {
    /// For a request that a public rule decides on.
    pub const fn public() -> Self {
        Self { identity: None }
    }

    /// Who was let in; `None` on a public rule.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_deref()
    }
}

/// Checks an identity against the configuration and its rule.
///
/// # Errors
/// The code of the denial.
pub fn authorise(
    identity: impl Into<Rc<Identity>>,
    presenter: Presenter,
    require: &Require,
    config: &Config,
) -> Result<Permit, Code> {
    let identity = identity.into();
    check_claims(&identity.claims, presenter, require, config)?;
    if identity.is_jwt {
        check_issuer_and_audience(&identity.claims, &config.jwt)?;
    }
    Ok(Permit { identity: Some(identity) })
}

/// Whether a JWT with these claims would be let in if it were valid. If not, the service need not be asked about it.
///
/// # Errors
/// The code of the denial.
pub fn precheck(unverified: &Claims, require: &Require, config: &Config) -> Result<(), Code> {
    check_claims(unverified, Presenter::Client, require, config)?;
    check_issuer_and_audience(unverified, &config.jwt)
}

fn check_claims(claims: &Claims, presenter: Presenter, require: &Require, config: &Config) -> Result<(), Code> {
    let kind = claims.token_type();
    let is_accepted = match presenter {
        Presenter::Client => config.jwt.token_types.contains(&kind),
        Presenter::Service => matches!(kind, TokenType::Access | TokenType::ApiToken | TokenType::Technical),
    };
    if !is_accepted || require.token_types.as_ref().is_some_and(|types| !types.contains(&kind)) {
        return Err(Code::TokenTypeNotAccepted);
    }
    Ok(())
}

/// RFC 7519 sections 4.1.1 and 4.1.3, where the configuration lists any.
fn check_issuer_and_audience(claims: &Claims, jwt: &Jwt) -> Result<(), Code> {
    let is_known = claims.issuer().is_some_and(|issuer| jwt.issuers.iter().any(|known| known == issuer));
    if !jwt.issuers.is_empty() && !is_known {
        return Err(Code::ClaimsNotSufficient);
    }
    if !jwt.audiences.is_empty() && !claims.is_for_any(&jwt.audiences) {
        return Err(Code::ClaimsNotSufficient);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
