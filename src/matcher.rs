//! Which rule decides on a request. Only `:path`, `:method` and `:authority` are looked at.

mod class;
mod dfa;
mod host;
mod index;
mod nfa;
mod piece;
mod regex;
mod syntax;

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use self::host::HostMatch;
#[cfg(all(feature = "cli", not(target_arch = "wasm32")))]
pub use self::host::{MAX_BYTES as MAX_HOST_BYTES, for_people as host_readings};
use self::index::Index;
use self::regex::{Regex, Threads};
use crate::path::{self, Ambiguous, Budget};
use crate::rule::{Mode, Terms};

/// One entry of `rules`.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name in logs and metrics, unique among all rules.
    pub name: Arc<str>,
    /// The requests that it decides on.
    pub matcher: Matcher,
    /// What the rule says about them.
    pub terms: Terms,
}

/// What rules are matched against.
#[derive(Debug, Clone, Copy)]
pub struct Target<'r> {
    /// `:path` with its query.
    pub path: &'r [u8],
    /// `:method`.
    pub method: &'r [u8],
    /// `:authority` with its port.
    pub authority: &'r [u8],
}

/// Why no rule decides (docs/reference.md#denials, `ambiguous_path` and `ambiguous_host`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// The path itself is unclear.
    #[error("the path {0}")]
    Path(#[from] Ambiguous),
    /// One reading of the path leads to one rule, another to another.
    #[error("readings of the path lead to different rules")]
    DifferentPaths,
    /// `:authority` is neither `name[:digits]` nor an IP literal.
    #[error("the authority is not a valid host")]
    Host,
    /// One reading of the host leads to one rule, another to another.
    #[error("readings of the host lead to different rules")]
    DifferentHosts,
}

/// `rules`, in their order.
#[derive(Debug, Clone)]
pub struct Rules {
    rules: Vec<Rule>,
    index: Index,
    /// The terms if no rule matches.
    otherwise: Terms,
    /// [`NO_RULE`].
    none: Arc<str>,
    look_at_paths: bool,
    look_at_hosts: bool,
}

/// Stands for the rule's name in metrics and logs, if no rule decides.
pub const NO_RULE: &str = "none";

/// A rule and its place in the list.
type Found<'c> = Option<(usize, &'c Rule)>;

impl Rules {
    /// - `otherwise`: the terms if no rule matches.
    pub fn new(rules: Vec<Rule>, otherwise: Terms) -> Self {
        let look_at_paths = rules.iter().any(|rule| !matches!(rule.matcher.path, PathMatch::Any));
        let look_at_hosts = rules.iter().any(|rule| !rule.matcher.hosts.is_empty());
        let index = Index::new(&rules);
        Self { rules, index, otherwise, none: NO_RULE.into(), look_at_paths, look_at_hosts }
    }

    /// Finds the first rule that matches, on every reading of path and host. If readings lead to several rules with
    /// equal terms, it is the rule for path and host as sent. `Ok(None)`: no rule matches.
    ///
    /// # Errors
    /// [`Undecided`] if the readings lead to rules with different terms, or can't be determined.
    pub fn find(&self, target: Target<'_>) -> Result<Found<'_>, Undecided> {
        self.find_within(target, &mut Budget::default())
    }

    /// Like [`Rules::find`], but spends steps of this budget.
    ///
    /// # Errors
    /// [`Undecided`].
    pub fn find_within(&self, target: Target<'_>, budget: &mut Budget) -> Result<Found<'_>, Undecided> {
        if !self.look_at_hosts
            && let Some(path) = self.only_reading(target.path, budget)?
        {
            let host = host::Reading::default();
            return Ok(Fitting::new(self, target.method, &host, false).first(path, &mut Threads::default(), budget)?);
        }
        let (hosts, paths) = self.readings(target, budget)?;
        let mut threads = Threads::default();
        let mut decided = None;
        for host in &hosts {
            let mut of_host = None;
            let mut fitting = Fitting::new(self, target.method, host, paths.len() > 1);
            for path in &paths {
                let found = fitting.first(path, &mut threads, budget)?;
                if !self.are_alike(found, *of_host.get_or_insert(found)) {
                    return Err(Undecided::DifferentPaths);
                }
            }
            let of_host = of_host.flatten();
            if !self.are_alike(of_host, *decided.get_or_insert(of_host)) {
                return Err(Undecided::DifferentHosts);
            }
        }
        Ok(decided.flatten())
    }

    /// The only reading of a path, or the path itself if no rule looks at paths: the usual case, without a list.
    fn only_reading<'p>(&self, path: &'p [u8], budget: &mut Budget) -> Result<Option<&'p [u8]>, Ambiguous> {
        if self.look_at_paths { path::only_reading(path, budget) } else { Ok(Some(path)) }
    }

    /// Whether the two have equal terms.
    fn are_alike(&self, one: Found<'_>, other: Found<'_>) -> bool {
        let terms = |found: Found<'_>| self.terms(found.map(|(index, _)| index));
        let (one, other) = (terms(one), terms(other));
        std::ptr::eq(one, other) || one == other
    }

    /// The terms of the rule at this index. `None`: no rule matches.
    pub fn terms(&self, index: Option<usize>) -> &Terms {
        index.and_then(|index| self.rules.get(index)).map_or(&self.otherwise, |rule| &rule.terms)
    }

    /// The name of the rule at this index.
    pub fn name(&self, index: Option<usize>) -> &Arc<str> {
        index.and_then(|index| self.rules.get(index)).map_or(&self.none, |rule| &rule.name)
    }

    /// The terms of every rule, and those if no rule matches.
    pub fn all_terms(&self) -> impl Iterator<Item = &Terms> {
        self.rules.iter().map(|rule| &rule.terms).chain([&self.otherwise])
    }

    /// The mode for a request on which no rule decides: the strictest that any of its readings leads to, or the
    /// strictest of all if its readings can't be determined.
    pub fn mode_of_undecided(&self, target: Target<'_>) -> Mode {
        let strictest = self.all_terms().map(|terms| terms.mode).min().unwrap_or_default();
        if self.all_terms().all(|terms| terms.mode == strictest) {
            return strictest;
        }
        self.mode_of_readings(target, &mut Budget::default()).unwrap_or(strictest)
    }

    /// The strictest mode that the readings lead to.
    fn mode_of_readings(&self, target: Target<'_>, budget: &mut Budget) -> Result<Mode, Undecided> {
        let mut mode = Mode::Shadow;
        let mut threads = Threads::default();
        let (hosts, paths) = self.readings(target, budget)?;
        for host in &hosts {
            let mut fitting = Fitting::new(self, target.method, host, true);
            for path in &paths {
                let found = fitting.first(path, &mut threads, budget)?;
                mode = mode.min(self.terms(found.map(|(index, _)| index)).mode);
            }
        }
        Ok(mode)
    }

    /// The readings of host and path, as far as any rule looks at them.
    fn readings<'t>(&self, target: Target<'t>, budget: &mut Budget) -> Result<Readings<'t>, Undecided> {
        let hosts = if self.look_at_hosts {
            host::readings(target.authority).ok_or(Undecided::Host)?
        } else {
            vec![host::Reading::default()]
        };
        let paths =
            if self.look_at_paths { path::readings(target.path, budget)? } else { vec![Cow::Borrowed(target.path)] };
        Ok((hosts, paths))
    }
}

/// The readings of a request's host, and of its path.
type Readings<'t> = (Vec<host::Reading>, Vec<Cow<'t, [u8]>>);

/// The rules that fit a method and one reading of the host. Their number depends only on the configuration, so looking
/// at each once doesn't count as work on the request's path.
struct Fitting<'c, 'r> {
    rules: &'c Rules,
    method: &'r [u8],
    host: &'r host::Reading,
    /// The first rule that fits in each list that was looked at, by the list's number. `None`: there is only one path
    /// to look up.
    known: Option<Vec<(usize, Option<usize>)>>,
    /// The rules that fit, of those that have to be tried on every path.
    others: Option<Vec<usize>>,
}

impl<'c, 'r> Fitting<'c, 'r> {
    fn new(rules: &'c Rules, method: &'r [u8], host: &'r host::Reading, has_many_paths: bool) -> Self {
        Self { rules, method, host, known: has_many_paths.then(Vec::new), others: None }
    }

    fn fits(&self, index: usize) -> bool {
        let matcher = self.rules.get(index).map(|rule| &rule.matcher);
        matcher.is_some_and(|matcher| matcher.covers_method(self.method) && matcher.covers_host(self.host))
    }

    /// The first rule that fits in a list.
    fn first_of(&mut self, number: usize, list: &[usize]) -> Option<usize> {
        let find = |rules: &Self| list.iter().copied().find(|index| rules.fits(*index));
        let Some(known) = &self.known else { return find(self) };
        match known.binary_search_by_key(&number, |(number, _)| *number) {
            Ok(place) => known.get(place).and_then(|(_, first)| *first),
            Err(place) => {
                let first = find(self);
                if let Some(known) = &mut self.known {
                    known.insert(place, (number, first));
                }
                first
            }
        }
    }

    /// The first rule that fits a path.
    fn first(&mut self, path: &[u8], threads: &mut Threads, budget: &mut Budget) -> Result<Found<'c>, Ambiguous> {
        let rules = self.rules;
        budget.spend(path.len() / 16)?;
        let mut first: Option<usize> = None;
        for (number, list) in rules.index.lists(path) {
            budget.spend(1)?;
            let of_list = self.first_of(number, list);
            first = first.into_iter().chain(of_list).min();
        }
        if self.known.is_some() && self.others.is_none() {
            self.others = Some(rules.index.others.iter().copied().filter(|index| self.fits(*index)).collect());
        }
        if let Some(others) = &self.others {
            budget.spend(others.len())?;
        }
        for index in self.others.as_ref().unwrap_or(&rules.index.others) {
            if first.is_some_and(|first| first < *index) {
                break;
            }
            if let Some(rule) = rules.get(*index)
                && (self.others.is_some() || self.fits(*index))
                && rule.matcher.path.matches(path, threads, budget)?
            {
                return Ok(Some((*index, rule)));
            }
        }
        Ok(first.and_then(|index| Some((index, rules.get(index)?))))
    }
}

impl Deref for Rules {
    type Target = [Rule];

    fn deref(&self) -> &[Rule] {
        &self.rules
    }
}

/// `match`.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    path: PathMatch,
    methods: Vec<String>,
    hosts: Vec<HostMatch>,
}

impl Matcher {
    /// Empty lists match everything.
    ///
    /// # Errors
    /// Each entry of a list that is wrong, and what is wrong with it.
    // Compiled apart: docs/performance.md#start.
    #[inline(never)]
    pub fn new(path: PathMatch, methods: Vec<String>, hosts: Vec<String>) -> Result<Self, Vec<(String, String)>> {
        let mut problems = Vec::new();
        for (index, method) in methods.iter().enumerate() {
            if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
                let problem =
                    format!("{method:?} is not a method: write upper-case letters and -, as in GET or M-SEARCH");
                problems.push((format!("methods[{index}]"), problem));
            }
        }
        let mut known = Vec::new();
        for (index, host) in hosts.iter().enumerate() {
            let refuse = |problem| problems.push((format!("hosts[{index}]"), problem));
            HostMatch::new(host).map_or_else(refuse, |host| known.push(host));
        }
        if problems.is_empty() { Ok(Self { path, methods, hosts: known }) } else { Err(problems) }
    }

    fn covers_method(&self, method: &[u8]) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|known| is_method(known, method))
    }

    fn covers_host(&self, reading: &host::Reading) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|known| known.matches(reading))
    }
}

/// HTTP/2 delivers methods in any letter case, and many servers take `delete` for DELETE.
fn is_method(known: &str, method: &[u8]) -> bool {
    method.eq_ignore_ascii_case(known.as_bytes()) || known == "GET" && method.eq_ignore_ascii_case(b"HEAD")
}

/// `path`, `prefix` or `regex`.
#[derive(Debug, Clone, Default)]
pub enum PathMatch {
    /// No condition.
    #[default]
    Any,
    /// This path and no other.
    Exact(Vec<u8>),
    /// This path and what lies below it, segment by segment: `/a` covers `/a` and `/a/b`, not `/ab`.
    Prefix(Vec<u8>),
    /// The whole path matches.
    Regex(Regex),
}

impl PathMatch {
    /// `match.path`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn exact(path: &str) -> Result<Self, String> {
        plain(path).map(Self::Exact)
    }

    /// `match.prefix`. A slash at its end makes no difference.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn prefix(prefix: &str) -> Result<Self, String> {
        let mut prefix = plain(prefix)?;
        prefix.pop_if(|byte| *byte == b'/');
        Ok(Self::Prefix(prefix))
    }

    /// `match.regex`, in the syntax of the regex crate, on bytes; it has to match the whole path.
    ///
    /// # Errors
    /// Why it doesn't compile.
    pub fn regex(regex: &str) -> Result<Self, String> {
        if regex.is_empty() {
            return Err("must not be empty".to_owned());
        }
        Regex::new(regex).map(Self::Regex)
    }

    fn matches(&self, path: &[u8], threads: &mut Threads, budget: &mut Budget) -> Result<bool, Ambiguous> {
        match self {
            Self::Any => Ok(true),
            Self::Exact(exact) => {
                budget.spend(exact.len().min(path.len()) / 16)?;
                Ok(path == exact)
            }
            Self::Prefix(prefix) => {
                budget.spend(prefix.len().min(path.len()) / 16)?;
                let rest = path.strip_prefix(prefix.as_slice());
                Ok(path.starts_with(b"/") && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")))
            }
            Self::Regex(regex) => regex.matches(path, threads, budget),
        }
    }
}

/// A path in a rule must have only one reading, or it could never match.
fn plain(path: &str) -> Result<Vec<u8>, String> {
    if !path.starts_with('/') {
        Err(format!("{path:?} must begin with /"))
    } else if path::needs_escapes(path.as_bytes()) {
        // A client has to escape these; then the path as sent and the decoded path lead to different rules.
        const ADVICE: &str = "escaped or not: match both forms with a regex, as in /a( |%20)b";
        Err(format!("{path:?} contains a space or a non-ASCII character, {ADVICE}"))
    } else if path::is_plain(path.as_bytes()) {
        Ok(path.as_bytes().to_vec())
    } else {
        Err(format!("{path:?} can be read in several ways: write it decoded, without //, /., \\, ;, ? and #"))
    }
}

#[cfg(test)]
mod tests;
