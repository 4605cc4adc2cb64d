//! Warnings: what is no error but probably a mistake. Each judges only what the file shows, and says nothing about what
//! the file can't show.

use std::time::Duration;

use super::find::Plugin;
use super::{rules, surroundings};
use crate::cli::tree::{Node, Value};
use crate::config::{Config, ConfigError};

/// How long an access token lives.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// The names of warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    RuleNeverReached,
    PublicCoversProtected,
    PublicEverything,
    PatternInPrefix,
    HostWithoutStrip,
    FailurePolicy,
    IdleTimeout,
    ThrottleAddress,
    VmId,
    StatsTags,
    UnknownCluster,
    FilterDisabledOnRoute,
    StaleBeyondLife,
    NoJti,
    RevocationOff,
    YamlBoolean,
    FinalSlash,
}

impl Warning {
    #[cfg(test)]
    pub const ALL: [Self; 17] = [
        Self::RuleNeverReached,
        Self::PublicCoversProtected,
        Self::PublicEverything,
        Self::PatternInPrefix,
        Self::HostWithoutStrip,
        Self::FailurePolicy,
        Self::IdleTimeout,
        Self::ThrottleAddress,
        Self::VmId,
        Self::StatsTags,
        Self::UnknownCluster,
        Self::FilterDisabledOnRoute,
        Self::StaleBeyondLife,
        Self::NoJti,
        Self::RevocationOff,
        Self::YamlBoolean,
        Self::FinalSlash,
    ];

    /// Its name in the output and in docs/commands.md.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RuleNeverReached => "rule-never-reached",
            Self::PublicCoversProtected => "public-covers-protected",
            Self::PublicEverything => "public-everything",
            Self::PatternInPrefix => "pattern-in-prefix",
            Self::HostWithoutStrip => "host-without-strip",
            Self::FailurePolicy => "failure-policy",
            Self::IdleTimeout => "idle-timeout",
            Self::ThrottleAddress => "throttle-address",
            Self::VmId => "vm-id",
            Self::StatsTags => "stats-tags",
            Self::UnknownCluster => "unknown-cluster",
            Self::FilterDisabledOnRoute => "filter-disabled-on-route",
            Self::StaleBeyondLife => "stale-beyond-life",
            Self::NoJti => "no-jti",
            Self::RevocationOff => "revocation-off",
            Self::YamlBoolean => "yaml-boolean",
            Self::FinalSlash => "final-slash",
        }
    }
}

/// One warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its kind.
    pub warning: Warning,
    /// Counted from 1.
    pub line: usize,
    /// The field of the configuration, or of what surrounds it.
    pub field: String,
    /// One sentence.
    pub problem: String,
}

/// The warnings about one filter.
pub struct Warnings<'t> {
    tree: &'t Node,
    /// In the order in which they were found.
    pub found: Vec<Found>,
}

impl Warnings<'_> {
    /// Adds one about a field of the configuration.
    pub fn add(&mut self, warning: Warning, field: &str, problem: impl Into<String>) {
        self.add_at(warning, self.tree.line_of(field), field, problem);
    }

    /// Adds one about a line of what surrounds it.
    pub fn add_at(&mut self, warning: Warning, line: usize, field: &str, problem: impl Into<String>) {
        self.found.push(Found { warning, line, field: field.to_owned(), problem: problem.into() });
    }
}

/// Finds all warnings.
///
/// - `documents`: all of its file.
/// - `config`: the configuration, or the errors in it.
pub fn check(plugin: &Plugin<'_>, documents: &[Node], config: Result<&Config, &[ConfigError]>) -> Vec<Found> {
    let mut warnings = Warnings { tree: &plugin.tree, found: Vec::new() };
    rules::check(&plugin.tree, config.err().unwrap_or_default(), &mut warnings);
    check_revocation(plugin, &mut warnings);
    surroundings::check(plugin, documents, config.ok(), &mut warnings);
    if let Ok(config) = config {
        check_stale(config, &mut warnings);
    }
    warnings.found
}

fn check_revocation(plugin: &Plugin<'_>, warnings: &mut Warnings<'_>) {
    let has_list = plugin.tree.at(&["revocation", "path"]).is_some_and(|path| path.text().is_some());
    if plugin
        .tree
        .get("revocation")
        .is_some_and(|node| matches!(node.value, Value::Map(_)) && node.get("path").is_none())
    {
        let problem = "without its path no list is read, so nothing is revoked: write path, or path: null";
        warnings.add(Warning::RevocationOff, "revocation", problem);
    }
    let required = plugin.tree.at(&["jwt", "required_claims"]).map(Node::entries).unwrap_or_default();
    if has_list && !required.iter().any(|claim| claim.text() == Some("jti")) {
        let problem = "a token without `jti` can't be revoked: write jwt.required_claims: [jti]";
        warnings.add(Warning::NoJti, "revocation.path", problem);
    }
}

fn check_stale(config: &Config, warnings: &mut Warnings<'_>) {
    if config.cache.stale_ttl > TOKEN_LIFE && !config.cache.is_off() {
        let problem = "in an outage a verdict stands in for longer than an access token lives (1h): an API token that \
                       was revoked meanwhile stays good as long";
        warnings.add(Warning::StaleBeyondLife, "cache.stale_ttl", problem);
    }
}
