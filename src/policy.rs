//! Identity and rule: allowed or not.

use crate::claims::{Claims, TokenType};
use crate::config::{Config, Jwt};
use crate::decision::Code;
use crate::introspection::Confirmed;
use crate::jwt::VerifiedClaims;
use crate::matcher::Require;

/// Who sent the request. Only verification makes one: of a JWT's signature, or by the service's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    claims: Box<Claims>,
    jwt: Option<Vec<u8>>,
}

impl Identity {
    /// Whose claims these are.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The verified JWT, if the identity came in one.
    pub fn jwt(&self) -> Option<&[u8]> {
        self.jwt.as_deref()
    }
}

impl From<VerifiedClaims> for Identity {
    fn from(verified: VerifiedClaims) -> Self {
        let (claims, jwt) = verified.into_parts();
        Self { claims, jwt: Some(jwt) }
    }
}

impl From<Confirmed> for Identity {
    fn from(confirmed: Confirmed) -> Self {
        Self { claims: confirmed.into_claims(), jwt: None }
    }
}

/// Who presented the credential that the identity came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presenter {
    /// The client sent a JWT, so `jwt.token_types` says which types are good for access.
    Client,
    /// The service answered for a credential of another kind.
    Service,
}

/// The permission to go on. Only [`authorise`] and [`Permit::public`] give one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    identity: Option<Identity>,
}

impl Permit {
    /// For a request that a public rule decides on.
    pub const fn public() -> Self {
        Self { identity: None }
    }

    /// Who was let in; `None` on a public rule.
    pub const fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }
}

/// Checks an identity against the configuration and its rule.
///
/// # Errors
/// The code of the denial.
pub fn authorise(identity: Identity, presenter: Presenter, require: &Require, config: &Config) -> Result<Permit, Code> {
    let kind = identity.claims.token_type();
    let is_accepted = match presenter {
        Presenter::Client => config.jwt.token_types.contains(&kind),
        Presenter::Service => matches!(kind, TokenType::Access | TokenType::ApiToken | TokenType::Technical),
    };
    if !is_accepted || require.token_types.as_ref().is_some_and(|types| !types.contains(&kind)) {
        return Err(Code::TokenTypeNotAccepted);
    }
    if identity.jwt.is_some() {
        check_issuer_and_audience(&identity.claims, &config.jwt)?;
    }
    Ok(Permit { identity: Some(identity) })
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
