//! What the rules in `setup.rs` say about a place.

use super::script::Place;

impl Place {
    /// The path of the place.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Private => "/private",
            Self::Machines => "/machines/x",
            Self::Public => "/public/x",
            Self::Ambiguous => "/public/..%2fprivate",
            Self::Remote => "/remote/x",
            Self::Local => "/local/x",
            Self::Optional => "/optional/x",
            Self::Denied => "/denied/x",
            Self::Trial => "/trial/x",
            Self::DeniedTrial => "/denied-trial/x",
            Self::Strict => "/strict/x",
            Self::AmbiguousTrial => "/trial/..%2fdenied-trial",
            Self::HalfTrial => "/trial/..%2fpublic",
        }
    }

    /// The name of its rule.
    pub(super) const fn rule(self) -> &'static str {
        match self {
            Self::Private | Self::Ambiguous | Self::AmbiguousTrial | Self::HalfTrial => "none",
            Self::Machines => "machines",
            Self::Public => "public",
            Self::Remote => "remote",
            Self::Local => "local",
            Self::Optional => "optional",
            Self::Denied => "denied",
            Self::Trial => "trial",
            Self::DeniedTrial => "denied_trial",
            Self::Strict => "strict",
        }
    }

    /// Why every request is denied, whatever its credential.
    pub(super) const fn closed_for(self) -> Option<&'static str> {
        match self {
            Self::Denied | Self::DeniedTrial => Some("denied_by_rule"),
            Self::Ambiguous | Self::AmbiguousTrial | Self::HalfTrial => Some("ambiguous_path"),
            _ => None,
        }
    }

    /// Whether a valid token of this type is let in.
    pub(super) fn accepts(self, kind: &str) -> bool {
        let wants_machines = matches!(self, Self::Machines | Self::Trial | Self::Strict);
        kind == "api_token" || (kind == "access" && !wants_machines)
    }
}
