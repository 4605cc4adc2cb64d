//! `rules`: names, terms, and what identities need.

use std::sync::Arc;

use super::document::Value;
use super::fields::{MATCH, REQUIRE, RULE};
use super::node::Node;
use super::value::whole;
use super::{ApiToken, ForwardCredential};
use crate::claims::{Claim, ClaimPath, KeptClaims, Scalar};
use crate::credential::Scheme;
use crate::matcher::{Matcher, PathMatch, Rule, Rules};
use crate::require::{Needs, OneOf, Require};
use crate::rule::{Access, Mode, Terms, Verification};

/// The rules, and the claims to keep: those always kept, and those in rules that the filter doesn't know. `filter`
/// holds what applies if a rule doesn't say.
// Compiled apart: docs/performance.md#start.
#[inline(never)]
pub(super) fn rules(root: &Node<'_>, filter: Terms, api_token: &ApiToken) -> (Rules, KeptClaims) {
    let nodes = root.objects("rules", RULE);
    let maps = nodes.iter().flat_map(|rule| rule.maps("require", REQUIRE));
    let claims = maps.flat_map(|map| map.object("claims", &[]).members());
    let kept = KeptClaims::new(claims.filter_map(|(name, _)| name.parse().ok()).collect::<Vec<_>>());
    // Sorted.
    let mut names: Vec<(Arc<str>, usize)> = Vec::new();
    let mut rules = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let name: Arc<str> = node.text("name").map_or_else(|| format!("rule_{index}").into(), Arc::from);
        let is_readable = node.text("name").is_some() || !node.has("name");
        match names.binary_search_by(|(known, _)| known.cmp(&name)) {
            _ if !is_readable => {}
            Ok(place) => {
                let earlier = names.get(place).map_or(index, |(_, earlier)| *earlier);
                node.refuse("name", &format!("{name:?} is already the name of rules[{earlier}]"));
            }
            Err(place) => names.insert(place, (Arc::clone(&name), index)),
        }
        rules.push(rule(node, name, &filter, api_token, &kept));
    }
    (Rules::new(rules, filter), kept)
}

// Compiled apart: docs/performance.md#start.
#[inline(never)]
fn rule(node: &Node<'_>, name: Arc<str>, filter: &Terms, api_token: &ApiToken, kept: &KeptClaims) -> Rule {
    let matcher = matcher(&node.object("match", MATCH));
    let access = access(node, kept);
    let written = node.has(FORWARD_CREDENTIAL).then(|| forward_credential(node, api_token));
    let terms = Terms {
        access,
        verification: node.word("verification", filter.verification, &Verification::ALL, Verification::name),
        forward_credential: written.unwrap_or(filter.forward_credential),
        mode: node.word("mode", filter.mode, &Mode::ALL, Mode::name),
    };
    for (is_said, said, ignored, why) in [
        (terms.access == Access::Public, "public", "verification", "no credential is verified"),
        (terms.access == Access::Deny, "deny", "verification", "no credential is verified"),
        (terms.access == Access::Deny, "deny", FORWARD_CREDENTIAL, "nothing is forwarded"),
    ] {
        if is_said && node.has(ignored) {
            node.refuse(ignored, &format!("{said} and {ignored} can't be combined: {why}"));
        }
    }
    Rule { name, matcher, terms }
}

/// Whom the rule lets in.
// Compiled apart: docs/performance.md#start.
#[inline(never)]
fn access(node: &Node<'_>, kept: &KeptClaims) -> Access {
    let flags = [("public", Access::Public), ("optional", Access::Optional), ("deny", Access::Deny)];
    let mut said: Vec<_> = flags.into_iter().filter(|(name, _)| node.flag(name)).collect();
    let maps = node.maps("require", REQUIRE);
    if maps.is_empty() && node.has("require") {
        node.refuse_unreadable();
    } else if !maps.is_empty() {
        said.push(("require", Access::Require(Require::new(maps.iter().map(|map| needs(map, kept))))));
    }
    if let [(one, _), (other, _), ..] = &*said {
        node.refuse_whole(&format!("{one} and {other} can't be combined"));
    }
    said.into_iter().next().map_or(Access::Require(Require::default()), |(_, access)| access)
}

const FORWARD_CREDENTIAL: &str = "forward_credential";

/// What becomes of the client's credential.
pub(super) fn forward_credential(node: &Node<'_>, api_token: &ApiToken) -> ForwardCredential {
    match node.written(FORWARD_CREDENTIAL) {
        Some(Value::Text(text)) if text == "jwt" => {
            if !api_token.response_format.is_jwt() {
                let problem = "\"jwt\" needs api_token.response_format jwt_body or jwt_header";
                node.refuse(FORWARD_CREDENTIAL, problem);
            }
            ForwardCredential::VerifiedJwt
        }
        _ if node.flag(FORWARD_CREDENTIAL) => ForwardCredential::Keep,
        _ => ForwardCredential::Remove,
    }
}

/// One map of `require`.
// Compiled apart: docs/performance.md#start.
#[inline(never)]
fn needs(node: &Node<'_>, kept: &KeptClaims) -> Needs {
    if node.is_empty() {
        node.refuse_whole("must not be empty");
    }
    let mut claims = Vec::new();
    for (field, claim) in [
        ("token_types", ClaimPath::TokenType),
        ("user_types", ClaimPath::UserType),
        ("groups", ClaimPath::UserGroups),
        ("roles", ClaimPath::Role),
        ("client_ids", ClaimPath::ClientId),
        ("federation_ids", ClaimPath::FederationId),
        ("is_admin", ClaimPath::IsAdmin),
        ("read_only", ClaimPath::RoleReadOnly),
    ] {
        if let Some(value) = node.written(field) {
            claims.push((Claim::Known(claim), one_of(node, value)));
        }
    }
    for (name, values) in node.object("claims", &[]).members() {
        match name.parse().ok().and_then(|name| kept.claim(&name)) {
            Some(claim) => claims.push((claim, one_of(node, values))),
            None => node.refuse_unreadable(),
        }
    }
    Needs {
        schemes: node.has("schemes").then(|| OneOf::new(node.words("schemes", &Scheme::ALL, Scheme::name))),
        sso: node.has("sso").then(|| node.flag("sso")),
        claims,
    }
}

/// The values that a claim is compared with: those in a list, or a single one.
fn one_of(node: &Node<'_>, value: &Value) -> OneOf<Scalar> {
    let values = if let Value::List(values) = value { values } else { std::slice::from_ref(value) };
    OneOf::new(node.or_refuse(values.iter().map(scalar).collect::<Option<Vec<_>>>()))
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

// Compiled apart: docs/performance.md#start.
#[inline(never)]
fn matcher(node: &Node<'_>) -> Matcher {
    if node.is_empty() {
        node.refuse_whole("must not be empty; {\"prefix\": \"/\"} matches every path");
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
            Some(Err(problem)) => node.refuse(name, &problem),
        }
    }
    if paths.len() > 1 {
        node.refuse_whole("only one of path, prefix and regex is allowed");
    }
    let path = paths.pop().unwrap_or_default();
    Matcher::new(path, node.texts("methods"), node.texts("hosts")).unwrap_or_else(|problems| {
        problems.iter().for_each(|(field, problem)| node.refuse(field, problem));
        Matcher::default()
    })
}
