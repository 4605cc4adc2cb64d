//! Whether the configuration and a rule allow an identity.

use std::cell::OnceCell;
use std::iter;
use std::rc::Rc;
use std::sync::Arc;

use crate::claims::{Claims, KeptClaims, OwnClaims, TokenType};
use crate::code::Code;
use crate::config::{Config, Jwt};
use crate::credential::{Redacted, Scheme};
use crate::introspection::Confirmed;
use crate::jwt::VerifiedClaims;
use crate::public_key::KeyId;
use crate::require::{Require, Unmet};

/// The identity headers for the upstream: names in lower case, and values. They are kept with each cached verdict, so
/// they take one allocation: a line for each name and one for its value, neither of which can hold a newline.
///
/// A resolution may go to another thread than its filter's, so this is an `Arc`. With a single thread, it costs no more
/// than an `Rc`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(Arc<str>);

impl Headers {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.0;
        // Looks at one byte after another: the lines are short, and searching for a `char` is made for long texts.
        let mut line = move || {
            let end = rest.bytes().position(|byte| byte == b'\n')?;
            let line = rest.get(..end)?;
            rest = rest.get(end + 1..)?;
            Some(line)
        };
        iter::from_fn(move || Some((line()?, line()?)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    /// A header whose name or value holds a newline is left out. No claim with one gets this far.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        // Most headers fit in this.
        let mut lines = String::with_capacity(256);
        for (name, value) in headers {
            let (name, value) = (name.as_ref(), value.as_ref());
            if !name.contains('\n') && !value.contains('\n') {
                lines.extend([name, "\n", value, "\n"]);
            }
        }
        Self(lines.into())
    }
}

/// Who sent the request. Only verification makes an identity: from a JWT with a valid signature, or from the service's
/// answer. The verification cache may restore it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    claims: Box<Claims>,
    verified_by: VerifiedBy,
    is_jwt: bool,
    jwt: Option<Redacted<Vec<u8>>>,
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
        self.jwt.as_ref().map(|jwt| jwt.as_slice())
    }

    /// Who has vouched for it.
    pub const fn verified_by(&self) -> VerifiedBy {
        self.verified_by
    }

    /// The headers for the upstream, rendered at the first call and kept.
    ///
    /// # Errors
    /// The error of `render`, at every call.
    pub fn headers(&self, render: impl FnOnce(&Claims) -> Result<Headers, Code>) -> Result<Headers, Code> {
        self.headers.get_or_init(|| render(&self.claims)).clone()
    }

    /// The same identity, as the service's answer about a credential with these claims of its own. Even if the answer
    /// holds a signed JWT, it is the service that vouches for the identity, not the key.
    #[must_use]
    pub fn by_service(mut self, own: &OwnClaims) -> Self {
        self.claims.narrow(own);
        Self { verified_by: VerifiedBy::Service, ..self }
    }

    /// What a verdict keeps of it: these claims, and with `with_text` the JWT's text, which is kept only if it goes
    /// upstream.
    #[must_use]
    pub fn reduced_to(mut self, kept: &KeptClaims, with_text: bool) -> Self {
        self.claims.retain(kept);
        Self { jwt: self.jwt.filter(|_| with_text), ..self }
    }

    /// Its parts, for the verification cache: claims, verifier, whether it came in a JWT, and that JWT.
    pub(crate) fn parts(&self) -> (&Claims, VerifiedBy, bool, Option<&[u8]>) {
        (&self.claims, self.verified_by, self.is_jwt, self.jwt())
    }

    /// Restores an identity from the [`Self::parts`] that the verification cache kept.
    pub(crate) fn recall(claims: Claims, verified_by: VerifiedBy, is_jwt: bool, jwt: Option<Vec<u8>>) -> Self {
        Self { claims: Box::new(claims), verified_by, is_jwt, jwt: jwt.map(Redacted), headers: OnceCell::new() }
    }
}

impl From<VerifiedClaims> for Identity {
    fn from(verified: VerifiedClaims) -> Self {
        let verified_by = VerifiedBy::Key(verified.key());
        let (claims, jwt) = verified.into_parts();
        Self { claims, verified_by, is_jwt: true, jwt: Some(Redacted(jwt)), headers: OnceCell::new() }
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
    /// The client sent a JWT, so `jwt.token_types` says which types are accepted.
    Client,
    /// The service answered with the identity.
    Service,
}

/// An identity that passed every check except the rule's. Only [`accept`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted(Rc<Identity>);

/// The permission to go on. Only [`authorise`], [`Permit::without_identity`] and [`Permit::in_shadow`] give one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    identity: Option<Rc<Identity>>,
}

impl Permit {
    /// For a request that needs no credential.
    pub const fn without_identity() -> Self {
        Self { identity: None }
    }

    /// For a request that would be denied if shadow mode didn't let it go on.
    pub fn in_shadow(accepted: Option<Accepted>) -> Self {
        Self { identity: accepted.map(|Accepted(identity)| identity) }
    }

    /// Who was let in; `None` where no credential is needed.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_deref()
    }
}

/// Checks an identity against the configuration.
///
/// # Errors
/// The code of the denial.
pub fn accept(identity: impl Into<Rc<Identity>>, presenter: Presenter, config: &Config) -> Result<Accepted, Code> {
    let identity = identity.into();
    check_type(&identity.claims, presenter, config)?;
    if identity.is_jwt {
        check_issuer_and_audience(&identity.claims, &config.jwt)?;
    }
    Ok(Accepted(identity))
}

/// Checks an identity against its rule. `scheme` and `presenter` tell how its credential was presented, and by whom.
///
/// # Errors
/// The code of the denial.
pub fn authorise(
    Accepted(identity): Accepted,
    presenter: Presenter,
    scheme: Option<Scheme>,
    require: Option<&Require>,
) -> Result<Permit, Code> {
    let claims = identity.claims();
    match require.map_or(Ok(()), |require| require.check(claims, scheme)) {
        Ok(()) => Ok(Permit { identity: Some(identity) }),
        // Signing in again can help only a user.
        Err(Unmet::Sso) if presenter == Presenter::Client && claims.token_type() == TokenType::Access => {
            Err(Code::InsufficientUserAuthentication)
        }
        Err(Unmet::Sso | Unmet::Claims) => Err(Code::ClaimsNotSufficient),
    }
}

/// Whether a JWT with these claims would be accepted if it were valid. If not, the service need not be asked about it.
/// The rule isn't checked here: its requirements apply to the identity in the service's answer.
///
/// # Errors
/// The code of the denial.
pub fn precheck(unverified: &Claims, config: &Config) -> Result<(), Code> {
    check_type(unverified, Presenter::Client, config)?;
    check_issuer_and_audience(unverified, &config.jwt)
}

fn check_type(claims: &Claims, presenter: Presenter, config: &Config) -> Result<(), Code> {
    let kind = claims.token_type();
    let is_accepted = match (presenter, kind) {
        (Presenter::Client, _) => config.jwt.token_types.contains(&kind),
        (Presenter::Service, TokenType::Access | TokenType::ApiToken) => true,
        (Presenter::Service, TokenType::Technical) => config.api_token.accept_technical,
        (Presenter::Service, TokenType::Refresh | TokenType::PasswordReset | TokenType::Unknown) => false,
    };
    if is_accepted { Ok(()) } else { Err(Code::TokenTypeNotAccepted) }
}

/// RFC 7519 sections 4.1.1 and 4.1.3, if the configuration lists any issuers or audiences.
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
