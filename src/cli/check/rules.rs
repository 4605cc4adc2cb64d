//! Warnings about rules and their order.

use super::overlap::Pattern;
use super::warnings::{Warning, Warnings};
use crate::cli::tree::{Node, Value};
use crate::config::ConfigError;

/// One rule, as it is written.
struct Rule<'t> {
    index: usize,
    node: &'t Node,
    matcher: &'t Node,
    regex: Option<Pattern<'t>>,
    is_public: bool,
    /// Whether a request without a credential goes on.
    is_open: bool,
}

/// Whom a rule admits, the least strict first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Admits {
    Everybody,
    /// Everybody with a valid credential.
    Valid,
    /// Those of them who meet its requirements.
    Some,
    Nobody,
}

impl<'t> Rule<'t> {
    fn text(&self, name: &str) -> Option<&'t str> {
        self.matcher.get(name).and_then(Node::text)
    }

    fn list(&self, name: &str) -> Vec<&'t str> {
        self.matcher.get(name).map(Node::entries).unwrap_or_default().iter().filter_map(Node::text).collect()
    }

    /// Whether it matches every path.
    fn matches_every_path(&self) -> bool {
        self.text("prefix").is_some_and(|prefix| prefix.trim_end_matches('/').is_empty())
            || matches!(self.text("regex"), Some(".*" | "/.*" | "^.*$" | "^/.*$"))
            || ["path", "prefix", "regex"].iter().all(|name| self.text(name).is_none())
    }

    /// Whether it matches everything: it restricts neither method nor host, and every path fits.
    fn is_everything(&self) -> bool {
        self.matches_every_path() && self.matcher.get("methods").is_none() && self.matcher.get("hosts").is_none()
    }

    /// Whether this rule matches every path that the other matches.
    fn covers_path(&self, other: &Self) -> bool {
        if self.matches_every_path() {
            return true;
        }
        if let Some(path) = other.text("path") {
            return self.matches_path(path);
        }
        match (self.text("prefix"), &self.regex) {
            (Some(prefix), _) => match other.text("prefix") {
                Some(inside) => is_below(inside, prefix),
                None => other.regex.as_ref().is_some_and(|regex| regex.is_within(prefix)),
            },
            (None, Some(_)) => other.text("regex") == self.text("regex"),
            (None, None) => false,
        }
    }

    /// Whether this rule matches this path.
    fn matches_path(&self, path: &str) -> bool {
        match (self.text("path"), self.text("prefix"), &self.regex) {
            (Some(exact), ..) => exact == path,
            (_, Some(prefix), _) => is_below(path, prefix),
            (.., Some(regex)) => regex.matches(path),
            (None, None, None) => true,
        }
    }

    /// Whom it admits.
    fn admits(&self) -> Admits {
        if self.is_open || self.node.text_of("mode") == "shadow" {
            Admits::Everybody
        } else if self.node.is_on("deny") {
            Admits::Nobody
        } else if self.node.get("require").is_some() {
            Admits::Some
        } else {
            Admits::Valid
        }
    }

    /// Whether this rule's regex matches what the other's prefix was written for, not only an exception from it.
    fn intrudes_on(&self, other: &Self) -> bool {
        self.regex.as_ref().zip(other.text("prefix")).is_some_and(|(regex, prefix)| regex.intrudes_on(prefix))
    }

    /// Whether it matches only the method of preflight requests.
    fn is_for_preflights(&self) -> bool {
        self.matcher.get("methods").is_some() && self.list("methods").iter().all(|method| *method == "OPTIONS")
    }

    /// Whether this rule matches every method that the other matches.
    fn covers_methods(&self, other: &Self) -> bool {
        self.matcher.get("methods").is_none()
            || other.matcher.get("methods").is_some()
                && other.list("methods").iter().all(|method| self.has_method(method))
    }

    /// `GET` covers HEAD.
    fn has_method(&self, method: &str) -> bool {
        let methods = self.list("methods");
        methods.contains(&method) || method == "HEAD" && methods.contains(&"GET")
    }

    /// Whether some method matches both.
    fn shares_methods(&self, other: &Self) -> bool {
        self.matcher.get("methods").is_none()
            || other.matcher.get("methods").is_none()
            || other.list("methods").iter().any(|method| self.has_method(method))
            || self.list("methods").iter().any(|method| other.has_method(method))
    }

    /// Whether this rule matches every host that the other matches.
    fn covers_hosts(&self, other: &Self) -> bool {
        self.matcher.get("hosts").is_none()
            || other.matcher.get("hosts").is_some()
                && other.list("hosts").iter().all(|host| self.list("hosts").iter().any(|own| covers_host(own, host)))
    }

    /// Whether some host matches both.
    fn shares_hosts(&self, other: &Self) -> bool {
        let own = self.list("hosts");
        self.matcher.get("hosts").is_none()
            || other.matcher.get("hosts").is_none()
            || other
                .list("hosts")
                .iter()
                .any(|host| own.iter().any(|own| covers_host(own, host) || covers_host(host, own)))
    }

    fn covers(&self, other: &Self) -> bool {
        self.covers_methods(other) && self.covers_hosts(other) && self.covers_path(other)
    }

    /// The rule's index, and its name if it has one: `rules[3] (admin)`.
    fn name(&self) -> String {
        let name = self.node.text_of("name");
        if name.is_empty() { format!("rules[{}]", self.index) } else { format!("rules[{}] ({name})", self.index) }
    }
}

/// Whether a path is this prefix, or below it.
fn is_below(path: &str, prefix: &str) -> bool {
    let (path, prefix) = (path.trim_end_matches('/'), prefix.trim_end_matches('/'));
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether an entry of `hosts` matches all that another one matches.
fn covers_host(own: &str, other: &str) -> bool {
    let (own, other) = (own.to_ascii_lowercase(), other.to_ascii_lowercase());
    let (own, any_port) = own.strip_suffix(":*").map_or((own.as_str(), false), |name| (name, true));
    let (other, has_port) = other.strip_suffix(":*").map_or((other.as_str(), false), |name| (name, true));
    let covers_name = match own.strip_prefix('*') {
        Some(suffix) => other.strip_suffix(suffix).is_some_and(|rest| !rest.is_empty()),
        None => own == other,
    };
    covers_name && (any_port || !has_port)
}

/// Adds the warnings about a configuration's rules. What a rule with an error in its `match` matches is not known, so
/// nothing is said about its order.
pub fn check(tree: &Node, errors: &[ConfigError], warnings: &mut Warnings<'_>) {
    let empty = crate::cli::tree::null(tree.line);
    let entries = tree.get("rules").map(Node::entries).unwrap_or_default();
    let mut rules: Vec<_> = entries
        .iter()
        .enumerate()
        .map(|(index, node)| {
            let matcher = node.get("match").unwrap_or(&empty);
            let is_public = node.is_on("public");
            let regex = matcher.get("regex").and_then(Node::text).map(Pattern::new);
            Rule { index, node, matcher, regex, is_public, is_open: is_public || node.is_on("optional") }
        })
        .collect();
    rules.iter().for_each(|rule| check_pattern(rule, warnings));
    rules.iter().for_each(|rule| check_claims(rule, warnings));
    rules.retain(|rule| {
        let place = format!("rules[{}]", rule.index);
        let is_about = |error: &ConfigError| {
            error.path == place || error.path.strip_prefix(&place).is_some_and(|rest| rest.starts_with(".match"))
        };
        !errors.iter().any(is_about)
    });
    for (position, rule) in rules.iter().enumerate() {
        let earlier = rules.iter().take(position);
        if let Some(before) = earlier.clone().find(|before| before.is_public && before.is_everything()) {
            // Warn once, about the earlier rule.
            if earlier.clone().next_back().is_some_and(|last| last.index == before.index) {
                let field = format!("rules[{}]", before.index);
                let problem = "it makes everything public: the rules after it never decide".to_owned();
                warnings.add(Warning::PublicEverything, &field, problem);
            }
            continue;
        }
        if let Some(before) = earlier.clone().find(|before| lets_in(before, rule)) {
            let field = format!("rules[{}]", rule.index);
            let share = if before.covers(rule) { "all" } else { "some" };
            let is = if before.is_public { "public" } else { "optional" };
            let problem = format!("the earlier {is} rule {} lets in {share} of its requests", before.name());
            warnings.add(Warning::PublicCoversProtected, &field, problem);
        } else if let Some(before) = earlier.clone().find(|before| before.covers(rule)) {
            let problem = format!("it never decides: {} covers everything that it matches", before.name());
            warnings.add(Warning::RuleNeverReached, &format!("rules[{}]", rule.index), problem);
        } else if let Some(problem) = slash_problem(rule, &rules) {
            warnings.add(Warning::FinalSlash, &format!("rules[{}].match.path", rule.index), problem);
        }
    }
}

/// Whether a public or optional rule decides on requests that a later, stricter rule was written for.
fn lets_in(before: &Rule<'_>, rule: &Rule<'_>) -> bool {
    let says_path = |rule: &Rule<'_>| ["path", "prefix", "regex"].iter().any(|name| rule.text(name).is_some());
    let is_wide = before.text("path").is_none() && !before.is_for_preflights() && !before.matcher.members().is_empty();
    before.is_open
        && !rule.is_open
        && is_wide
        && says_path(rule)
        && before.shares_methods(rule)
        && before.shares_hosts(rule)
        && (before.covers_path(rule) || before.intrudes_on(rule))
}

/// What is wrong if this rule is for a path alone, and a less strict one decides on the same path with a slash at its
/// end.
fn slash_problem(rule: &Rule<'_>, rules: &[Rule<'_>]) -> Option<String> {
    let path = rule.text("path").filter(|path| !path.ends_with('/') && !path.contains(PATTERN))?;
    let folder = format!("{path}/");
    let others = rules.iter().filter(|other| other.matches_path(&folder));
    let mut others = others.filter(|other| other.shares_methods(rule) && other.shares_hosts(rule));
    let is_all = |other: &&Rule<'_>| other.covers_methods(rule) && other.covers_hosts(rule);
    let is_less = |other: &Rule<'_>| other.admits() < rule.admits();
    let who = match others.find(|other| is_less(other) || is_all(other)) {
        Some(other) if is_less(other) => format!("{}, which is less strict, decides there", other.name()),
        None if Admits::Valid < rule.admits() => "every valid credential passes there".to_owned(),
        _ => return None,
    };
    Some(format!(
        "it doesn't cover {folder}, which many servers take for the same path, and {who}: use `prefix`, or a second rule"
    ))
}

/// What makes a path look like a pattern.
pub const PATTERN: [char; 3] = ['*', '{', '('];

fn check_pattern(rule: &Rule<'_>, warnings: &mut Warnings<'_>) {
    for name in ["prefix", "path"] {
        if let Some(text) = rule.text(name)
            && let Some(letter) = PATTERN.into_iter().find(|letter| text.contains(*letter))
        {
            let hint = if name == "prefix" && text.trim_end_matches('/').ends_with('*') {
                "a prefix already covers everything below it"
            } else {
                "`regex` matches patterns, as in /users/[^/]+"
            };
            let problem = format!("`{letter}` has no special meaning here; {hint}");
            warnings.add(Warning::PatternInPrefix, &format!("rules[{}].match.{name}", rule.index), problem);
        }
    }
}

/// Looks for words that are texts to whoever wrote them: a claim may be compared with a boolean, so they are no error.
fn check_claims(rule: &Rule<'_>, warnings: &mut Warnings<'_>) {
    let Some(require) = rule.node.get("require") else { return };
    let field = format!("rules[{}].require", rule.index);
    let entries = require.entries().iter().enumerate().map(|(index, map)| (format!("{field}[{index}]"), map));
    for (field, map) in entries.chain([(field.clone(), require)]) {
        for (name, values) in map.get("claims").map(Node::members).unwrap_or_default() {
            for (index, value) in values.entries().iter().enumerate() {
                if let Value::Bool(flag, text) = &value.value
                    && !text.eq_ignore_ascii_case(&flag.to_string())
                {
                    let problem = format!("`{text}` is {flag} in YAML: write {text:?} for the text, or {flag}");
                    let field = format!("{field}.claims.{name}[{index}]");
                    warnings.add_at(Warning::YamlBoolean, value.line, &field, problem);
                }
            }
        }
    }
}

/// The field of the first host without `:*` in any rule.
pub fn host_without_any_port(tree: &Node) -> Option<String> {
    let rules = tree.get("rules").map(Node::entries).unwrap_or_default();
    rules.iter().enumerate().find_map(|(index, rule)| {
        let hosts = rule.at(&["match", "hosts"]).map(Node::entries).unwrap_or_default();
        let is_bare = |host: &Node| matches!(&host.value, Value::Text(text, _) if !text.ends_with(":*"));
        let entry = hosts.iter().position(is_bare)?;
        Some(format!("rules[{index}].match.hosts[{entry}]"))
    })
}
