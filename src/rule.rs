//! What an entry of `rules` says about the requests that it decides on.

use crate::require::Require;

/// What a rule says about its requests: everything except its name and what it matches. What the rule itself doesn't
/// say comes from the filter's settings. Rules with equal terms ask for the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Whom it lets in.
    pub access: Access,
    /// Who verifies a JWT.
    pub verification: Verification,
    /// What becomes of the client's credential.
    pub forward_credential: ForwardCredential,
    /// Whether its denials are enforced.
    pub mode: Mode,
}

/// Whom a rule lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Everybody: no credential is needed, none is looked at.
    Public,
    /// Everybody; but a credential that is presented must be valid.
    Optional,
    /// Nobody.
    Deny,
    /// Whoever has such an identity.
    Require(Require),
}

impl Access {
    /// What is required of an identity.
    pub const fn require(&self) -> Option<&Require> {
        match self {
            Self::Require(require) => Some(require),
            Self::Public | Self::Optional | Self::Deny => None,
        }
    }
}

/// Who verifies a JWT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// The filter, with the service's key.
    Local,
    /// The service, by callout.
    Remote,
}

impl Verification {
    pub(crate) const ALL: [Self; 2] = [Self::Local, Self::Remote];

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
}

/// Whether denials are enforced. The strictest mode comes first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// They are enforced.
    #[default]
    Enforce,
    /// They are counted and reported, and the request goes on.
    Shadow,
}

impl Mode {
    pub(crate) const ALL: [Self; 2] = [Self::Enforce, Self::Shadow];

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
        }
    }
}

/// What becomes of the client's `Authorization` upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardCredential {
    /// It goes on as it came.
    Keep,
    /// It is removed.
    Remove,
    /// It is replaced by the JWT that was verified, and removed where none was.
    VerifiedJwt,
}
