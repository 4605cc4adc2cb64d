//! The names that headers can't have, as lists: for documents and tests. [`super`] checks names by the same lists.

use super::{
    DEFAULTS, NEVER_FORWARDED, NEVER_FORWARDED_PREFIXES, NEVER_STRIPPED, PROTOCOLS, RESERVED, RESERVED_FORWARDED,
    RESERVED_PREFIXES, fold,
};
use crate::config::field::HeaderUse;

/// Names that no header of one use can have: in lower case, where `-` stands for any byte that is neither a letter nor
/// a digit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// Whole names.
    pub names: Vec<String>,
    /// What further names begin with.
    pub prefixes: Vec<&'static str>,
}

/// The identity headers that are set by default, in the form of [`Refused::names`].
pub fn defaults() -> Vec<String> {
    DEFAULTS.iter().map(|(name, _)| fold(name)).collect()
}

/// The names that no header of this use can have, whatever else is configured.
pub fn names(of: HeaderUse) -> Refused {
    let mut refused = Refused::default();
    let mut add = |names: &[&str]| refused.names.extend(names.iter().map(|name| (*name).to_owned()));
    match of {
        HeaderUse::Any => {}
        HeaderUse::Identity => add(&RESERVED),
        HeaderUse::Credential => {
            add(&RESERVED);
            add(&NEVER_STRIPPED);
            add(&[PROTOCOLS]);
        }
        HeaderUse::Stripped => add(&NEVER_STRIPPED),
        HeaderUse::Forwarded => {
            add(&NEVER_STRIPPED);
            add(&NEVER_FORWARDED);
        }
    }
    if matches!(of, HeaderUse::Identity | HeaderUse::Credential) {
        refused.names.extend(RESERVED_FORWARDED.iter().map(|name| format!("x-forwarded-{name}")));
        refused.prefixes.extend(RESERVED_PREFIXES);
    }
    if matches!(of, HeaderUse::Credential | HeaderUse::Forwarded) {
        refused.names.extend(defaults());
    }
    if of == HeaderUse::Forwarded {
        refused.prefixes.extend(NEVER_FORWARDED_PREFIXES);
    }
    refused.names.sort();
    refused.names.dedup();
    refused
}
