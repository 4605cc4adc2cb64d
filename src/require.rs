//! `require` (docs/reference.md#rules): what a rule asks of an identity, and of how its credential was presented.

use crate::claims::{Claim, ClaimPath, Claims, Scalar};
use crate::credential::Scheme;
use crate::order;

/// One of these values. They are sorted, each once, so that two lists of the same values are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OneOf<T>(Vec<T>);

impl<T: Ord> OneOf<T> {
    /// From values in any order.
    pub fn new(values: impl IntoIterator<Item = T>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        order::sort(&mut values);
        values.dedup();
        Self(values)
    }

    /// The values.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

/// One map of `require`: all of it has to hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Needs {
    /// How the credential was presented.
    pub schemes: Option<OneOf<Scheme>>,
    /// Whether the user signed in by SSO.
    pub sso: Option<bool>,
    /// Each of these claims is, or holds, one of its values.
    pub claims: Vec<(Claim, OneOf<Scalar>)>,
}

impl Needs {
    /// Whether everything but `sso` holds.
    fn holds_but_for_sso(&self, claims: &Claims, scheme: Option<Scheme>) -> bool {
        let is_presented =
            |schemes: &OneOf<Scheme>| scheme.is_some_and(|scheme| schemes.iter().any(|it| *it == scheme));
        self.schemes.as_ref().is_none_or(is_presented)
            && self.claims.iter().all(|(claim, accepted)| {
                let values = claims.values_of(*claim);
                accepted.iter().any(|value| values.has(value))
            })
    }

    fn holds_for_sso(&self, claims: &Claims) -> bool {
        self.sso.is_none() || self.sso == claims.is_sso()
    }
}

/// What of a requirement an identity does not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
    /// Nothing but a sign-in by SSO.
    Sso,
    /// More than that, or something else.
    Claims,
}

/// `require`: one of these maps has to hold; if there are none, nothing is required. They are sorted, each once, so
/// that two lists of the same maps are equal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Require(Vec<Needs>);

impl Require {
    /// From maps in any order.
    pub fn new(alternatives: impl IntoIterator<Item = Needs>) -> Self {
        let sorted = |mut needs: Needs| {
            order::sort(&mut needs.claims);
            needs.claims.dedup();
            needs
        };
        Self(OneOf::new(alternatives.into_iter().map(sorted)).0)
    }

    /// The claims that are checked.
    pub fn claims(&self) -> impl Iterator<Item = Claim> {
        let sso = |needs: &Needs| needs.sso.map(|_| Claim::Known(ClaimPath::SsoEntity));
        self.0.iter().flat_map(move |needs| needs.claims.iter().map(|(claim, _)| *claim).chain(sso(needs)))
    }

    /// Whether an identity with these claims, presented under this scheme, is let in.
    ///
    /// # Errors
    /// What it does not meet.
    pub fn check(&self, claims: &Claims, scheme: Option<Scheme>) -> Result<(), Unmet> {
        let mut unmet = Unmet::Claims;
        for needs in &self.0 {
            if needs.holds_but_for_sso(claims, scheme) {
                if needs.holds_for_sso(claims) {
                    return Ok(());
                }
                if needs.sso == Some(true) {
                    unmet = Unmet::Sso;
                }
            }
        }
        if self.0.is_empty() { Ok(()) } else { Err(unmet) }
    }
}
