//! What became of a request, for the host's access log (docs/reference.md#access-log-and-audit).

use std::sync::Arc;

use crate::claims::{Claims, TokenType};
use crate::code::Code;
use crate::metrics::{Outcome, Source};

/// Which requests the audit writes down.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Audit {
    /// None.
    Off,
    /// Those that are denied, and those that only shadow mode lets go on.
    #[default]
    Denials,
    /// All of them.
    All,
}

impl Audit {
    pub(crate) const ALL: [Self; 3] = [Self::Off, Self::Denials, Self::All];

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Denials => "denials",
            Self::All => "all",
        }
    }

    /// Whether a request that ended like this is written down.
    pub const fn wants(self, outcome: Outcome) -> bool {
        match self {
            Self::Off => false,
            Self::Denials => matches!(outcome, Outcome::Deny | Outcome::Error | Outcome::ShadowDeny),
            Self::All => true,
        }
    }
}

/// Who sent a request, by its verified credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    /// The user.
    pub user_id: i64,
    /// The client that the user belongs to.
    pub client_id: i64,
    /// The token's type.
    pub token_type: TokenType,
}

impl From<&Claims> for Who {
    fn from(claims: &Claims) -> Self {
        Self { user_id: claims.user_id(), client_id: claims.client_id(), token_type: claims.token_type() }
    }
}

/// What became of a request, and by whom it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended. For a request that waits: [`Outcome::Cancelled`], in case nothing ends its wait.
    pub outcome: Outcome,
    /// The code of its denial.
    pub reason: Option<Code>,
    /// What its verdict rests on.
    pub source: Source,
    /// The name of its rule, or `none`.
    pub rule: Arc<str>,
    /// Who sent it: also known if the rule denies it, or if its token is revoked.
    pub who: Option<Who>,
}

impl Report {
    /// Passes what the access log needs to `set`: names of filter state, without the `wasm.` that Envoy puts before
    /// them, and values. It leaves out what is absent, and what the access log knows from the report `told`.
    pub fn each(&self, told: Option<&Self>, mut set: impl FnMut(&'static str, &str)) {
        let is_new = |is_same: fn(&Self, &Self) -> bool| !told.is_some_and(|told| is_same(self, told));
        if is_new(|one, other| one.outcome == other.outcome) {
            set("authgate.outcome", self.outcome.name());
        }
        if let Some(reason) = self.reason.filter(|_| is_new(|one, other| one.reason == other.reason)) {
            set("authgate.reason", reason.name());
        }
        if is_new(|one, other| one.source == other.source) {
            set("authgate.source", self.source.name());
        }
        if is_new(|one, other| one.rule == other.rule) {
            set("authgate.rule", &self.rule);
        }
        if let Some(Who { user_id, client_id, .. }) = self.who.filter(|_| is_new(|one, other| one.who == other.who)) {
            decimal(user_id, |text| set("authgate.user_id", text));
            decimal(client_id, |text| set("authgate.client_id", text));
        }
    }
}

/// Writes a number as text. Every cached verdict needs this twice, so it doesn't allocate.
fn decimal(number: i64, then: impl FnOnce(&str)) {
    let mut digits = [0; 20];
    let (mut rest, mut free) = (number.unsigned_abs(), digits.len());
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        (rest, free) = (rest / 10, free - 1);
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        free = free.saturating_sub(1);
        digits.iter_mut().skip(free).take(1).for_each(|sign| *sign = b'-');
    }
    then(digits.get(free..).and_then(|digits| str::from_utf8(digits).ok()).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_only_what_has_changed() {
        let told = |report: &Report, before: Option<&Report>| {
            let mut told = Vec::new();
            report.each(before, |name, value| told.push(format!("{}={value}", name.trim_start_matches("authgate."))));
            told.join(" ")
        };
        let (outcome, source, rule) = (Outcome::Cancelled, Source::Callout, Arc::from("orders"));
        let held = Report { outcome, reason: None, source, rule, who: None };
        assert_eq!(told(&held, None), "outcome=cancelled source=callout rule=orders");
        assert_eq!(told(&held, Some(&held)), "");
        let who = Who { user_id: 7, client_id: 70, token_type: TokenType::ApiToken };
        let allowed = Report { outcome: Outcome::Allow, who: Some(who), ..held.clone() };
        assert_eq!(told(&allowed, Some(&held)), "outcome=allow user_id=7 client_id=70");
        let denied =
            Report { outcome: Outcome::Deny, reason: Some(Code::TokenRejected), source: Source::Cache, ..held.clone() };
        assert_eq!(told(&denied, Some(&held)), "outcome=deny reason=token_rejected source=cache");
    }

    #[test]
    fn the_mode_and_the_outcome_decide_what_is_written() {
        use Outcome::{Allow, Cancelled, Deny, Error, Public, ShadowDeny};
        for outcome in [Allow, Public, Cancelled, Deny, Error, ShadowDeny] {
            assert!(Audit::All.wants(outcome) && !Audit::Off.wants(outcome));
            assert_eq!(Audit::Denials.wants(outcome), matches!(outcome, Deny | Error | ShadowDeny), "{outcome:?}");
        }
    }

    #[test]
    fn numbers_are_formatted_as_by_the_standard_library() {
        for number in [0, 7, 10, 99, 1_234_567, -1, -10, i64::MAX, i64::MIN] {
            decimal(number, |text| assert_eq!(text, number.to_string()));
        }
    }
}
