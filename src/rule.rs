//! What an entry of `rules` says of the requests that it decides on.

use crate::require::Require;

/// What a rule says of its requests: everything but its name and what it matches. What the rule itself leaves open is
/// filled in from the filter's own settings. Rules of equal terms ask for the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Whom it lets in.
    pub access: Access,
    /// Who verifies a JWT.
    pub verification: Verification,
    /// What becomes of the client's credential.
    pub forward_credential: ForwardCredential,
    /// Whether its denials are carried out.
    pub mode: Mode,
}

/// Whom a rule lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Everybody: no credential is needed, none is looked at.
    Public,
    /// Everybody; but a credential that is there must be good.
    Optional,
    /// Nobody.
    Deny,
    /// Whoever has an identity like this.
    Require(Require),
}

impl Access {
    /// What an identity has to be like.
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

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
}

/// Whether denials are carried out. The strictest comes first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// They are.
    #[default]
    Enforce,
    /// They are counted and reported, and the request goes on.
    Shadow,
}

impl Mode {
    pub(crate) const ALL: [Self; 2] = [Self::Enforce, Self::Shadow];

    /// As it is written.
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
