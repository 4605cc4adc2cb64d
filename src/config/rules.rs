//! `rules`: names, terms, and what identities need.

use std::sync::Arc;

use super::document::Value;
use super::error::ConfigErrors;
use super::fields::{MATCH, REQUIRE, RULE};
use super::node::Node;
use super::value::whole;
use super::{ApiToken, ForwardCredential};
use crate::claims::{Claim, ClaimName, ClaimPath, KeptClaims, Scalar};
use crate::credential::Scheme;
use crate::matcher::{Matcher, PathMatch, Rule, Rules};
use crate::require::{Needs, OneOf, Require};
use crate::rule::{Access, Mode, Terms, Verification};

/// The rules, and the claims to keep: those always kept, and those in rules that the filter doesn't know. `filter`
/// holds what applies if a rule doesn't say.
// Compiled apart: docs/performance.md#start.
#[inline(never)]
pub(super) fn rules(
    root: &Node<'_>,
    filter: Terms,
    api_token: Option<&ApiToken>,
    errors: &mut ConfigErrors,
) -> Option<(Rules, KeptClaims)> {
    let nodes = || root.objects("rules", RULE);
    let named: Vec<_> = nodes().flat_map(|rule| rule.maps("require", REQUIRE)).flat_map(|map| names_in(&map)).collect();
    let kept = KeptClaims::new(named);
    // Sorted.
    let mut names: Vec<(Arc<str>, usize)> = Vec::new();
    let mut rules = Some(Vec::new());
    // Continues after an error, so that all errors are reported.
    for (index, node) in nodes().enumerate() {
        let name: Arc<str> = node.text("name").map_or_else(|| format!("rule_{index}").into(), Arc::from);
        match names.binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(place) => {
                let earlier = names.get(place).map_or(index, |(_, earlier)| *earlier);
                errors.push(node.at("name"), format!("{name:?} is already the name of rules[{earlier}]"));
            }
            Err(place) => names.insert(place, (Arc::clone(&name), index)),
        }
        let rule = rule(&node, name, &filter, api_token, &kept, errors);
        rules = rules.zip(rule).map(|(mut rules, rule)| {
            rules.push(rule);
            rules
        });
    }
    Some((Rules::new(rules?, filter), kept))
}

// Compiled apart: docs/performance.md#start.
#[inline(never)]
fn rule(
    node: &Node<'_>,
    name: Arc<str>,
    filter: &Terms,
    api_token: Option<&ApiToken>,
    kept: &KeptClaims,
    errors: &mut ConfigErrors,
) -> Option<Rule> {
    let matcher = matcher(&node.object("match", MATCH), errors);
    let terms = Terms {
        access: access(node, kept, errors)?,
        verification: node.word("verification", &Verification::ALL, Verification::name).unwrap_or(filter.verification),
        forward_credential: forward_credential(node, api_token, errors).unwrap_or(filter.forward_credential),
        mode: node.word("mode", &Mode::ALL, Mode::name).unwrap_or(filter.mode),
    };
    for (is_said, said, ignored, why) in [
        (terms.access == Access::Public, "public", "verification", "no credential is verified"),
        (terms.access == Access::Deny, "deny", "verification", "no credential is verified"),
        (terms.access == Access::Deny, "deny", "forward_credential", "nothing is forwarded"),
    ] {
        if is_said && node.written(ignored).is_some() {
            errors.push(node.at(ignored), format!("{said} and {ignored} can't be combined: {why}"));
        }
    }
    Some(Rule { name, matcher: matcher?, terms })
}

/// Whom the rule lets in.
fn access(node: &Node<'_>, kept: &KeptClaims, errors: &mut ConfigErrors) -> Option<Access> {
    let maps = node.maps("require", REQUIRE);
    let flags = [("public", Access::Public), ("optional", Access::Optional), ("deny", Access::Deny)];
    let mut said = Vec::new();
    for (name, access) in flags {
        if node.flag(name)? {
            said.push((name, access));
        }
    }
    if matches!(node.written("require"), Some(Value::Object(_) | Value::List(_))) {
        let needs = maps.iter().map(|map| needs(map, kept, errors)).collect::<Option<Vec<_>>>();
        said.push(("require", Access::Require(Require::new(needs.unwrap_or_default()))));
    }
    if let [(one, _), (other, _), ..] = &*said {
        errors.push(node.path(), format!("{one} and {other} can't be combined"));
    }
    Some(said.into_iter().next().map_or(Access::Require(Require::default()), |(_, access)| access))
}

/// What becomes of the client's credential; `None`: the rule doesn't say.
pub(super) fn forward_credential(
    node: &Node<'_>,
    api_token: Option<&ApiToken>,
    errors: &mut ConfigErrors,
) -> Option<ForwardCredential> {
    const NAME: &str = "forward_credential";
    match node.flag(NAME) {
        Some(true) => Some(ForwardCredential::Keep),
        Some(false) => Some(ForwardCredential::Remove),
        None => {
            if node.text(NAME)? == "jwt" && !api_token?.response_format.is_jwt() {
                errors.push(node.at(NAME), "\"jwt\" needs api_token.response_format jwt_body or jwt_header");
            }
            Some(ForwardCredential::VerifiedJwt)
        }
    }
}

/// One map of `require`.
fn needs(node: &Node<'_>, kept: &KeptClaims, errors: &mut ConfigErrors) -> Option<Needs> {
    if node.is_empty() {
        errors.push(node.path(), "must not be empty");
    }
    let mut claims = Vec::new();
    let texts = |texts: Vec<String>| OneOf::new(texts.into_iter().map(|text| Scalar::Text(text.into())));
    for (field, claim) in [
        ("token_types", ClaimPath::TokenType),
        ("user_types", ClaimPath::UserType),
        ("groups", ClaimPath::UserGroups),
        ("roles", ClaimPath::Role),
    ] {
        if let Some(accepted) = node.texts(field) {
            claims.push((Claim::Known(claim), texts(accepted)));
        }
    }
    for (field, claim) in [("client_ids", ClaimPath::ClientId), ("federation_ids", ClaimPath::FederationId)] {
        if let Some(Value::List(ids)) = node.written(field) {
            claims.push((Claim::Known(claim), OneOf::new(ids.iter().filter_map(scalar))));
        }
    }
    for (field, claim) in [("is_admin", ClaimPath::IsAdmin), ("read_only", ClaimPath::RoleReadOnly)] {
        if let Some(flag) = node.flag(field) {
            claims.push((Claim::Known(claim), OneOf::new([Scalar::Flag(flag)])));
        }
    }
    for (name, values) in named(node) {
        // The check has refused what can't be read.
        let claim = name.parse().ok().and_then(|name| kept.claim(&name))?;
        let Value::List(values) = values else { return None };
        claims.push((claim, OneOf::new(values.iter().filter_map(scalar))));
    }
    let schemes = node.words("schemes", &Scheme::ALL, Scheme::name).map(OneOf::new);
    Some(Needs { schemes, sso: node.flag("sso"), claims })
}

/// `require.claims`, as written.
fn named<'v>(node: &Node<'v>) -> &'v [(String, Value)] {
    if let Some(Value::Object(members)) = node.written("claims") { members } else { &[] }
}

fn names_in(node: &Node<'_>) -> Vec<ClaimName> {
    named(node).iter().filter_map(|(name, _)| name.parse().ok()).collect()
}

/// A value that a claim is compared with. `None`: no claim can be compared with it.
pub(super) fn scalar(value: &Value) -> Option<Scalar> {
    match value {
        Value::Flag(flag) => Some(Scalar::Flag(*flag)),
        Value::Number(number) => whole(*number).map(Scalar::Number),
        Value::Text(text) => Some(Scalar::Text(text.as_str().into())),
        Value::Null | Value::List(_) | Value::Object(_) => None,
    }
}

fn matcher(node: &Node<'_>, errors: &mut ConfigErrors) -> Option<Matcher> {
    if node.is_empty() {
        errors.push(node.path(), "must not be empty; {\"prefix\": \"/\"} matches every path");
        return None;
    }
    let compiled = [
        ("path", node.text("path").map(PathMatch::exact)),
        ("prefix", node.text("prefix").map(PathMatch::prefix)),
        ("regex", node.text("regex").map(PathMatch::regex)),
    ];
    let mut paths = Vec::new();
    for (name, compiled) in compiled {
        match compiled {
            None => {}
            Some(Ok(path)) => paths.push(path),
            Some(Err(problem)) => errors.push(node.at(name), problem),
        }
    }
    if paths.len() > 1 {
        errors.push(node.path(), "only one of path, prefix and regex is allowed");
    }
    Matcher::new(paths.pop().unwrap_or(PathMatch::Any), node.texts("methods")?, node.texts("hosts")?)
        .map_err(|(field, problem)| errors.push(node.at(&field), problem))
        .ok()
}
