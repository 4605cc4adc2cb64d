//! A case that triggers each warning, and one that doesn't.

use super::{brief, found};
use crate::cli::check::warnings::Warning;

#[test]
fn the_documentation_lists_each_warning() {
    let page = include_str!("../../../../docs/commands.md");
    let table = page.split("| warning | means |").nth(1).unwrap().split("\n\n").next().unwrap();
    let listed: Vec<_> = table.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(listed, Warning::ALL.map(Warning::name));
}

/// Asserts that a warning is given for the first text, and none for the second.
#[track_caller]
pub(super) fn assert_warns(name: &str, field: &str, bad: &str, good: &str) {
    let found = brief(bad);
    assert!(found.iter().any(|(_, level, at)| level == name && at == field), "{found:?}");
    assert!(found.iter().all(|(_, level, _)| level != "error"), "{found:?}");
    let found = brief(good);
    assert!(found.iter().all(|(_, level, _)| level != name && level != "error"), "{found:?}");
}

/// A plain configuration with these rules.
pub(super) fn rules(rules: &str) -> String {
    format!("auth_service: {{cluster: c}}\nrules: [{rules}]\n")
}

#[track_caller]
fn assert_rules_warn(name: &str, field: &str, bad: &str, good: &str) {
    assert_warns(name, field, &rules(bad), &rules(good));
}

#[test]
fn warns_of_a_rule_that_is_never_reached() {
    let name = "rule-never-reached";
    for (bad, good) in [
        ("{match: {prefix: /a}}, {match: {prefix: /a/b}}", "{match: {prefix: /a}}, {match: {prefix: /ab}}"),
        ("{match: {prefix: /a}}, {match: {path: /a}}", "{match: {path: /a}}, {match: {prefix: /a}}"),
        ("{match: {regex: '/x.*'}}, {match: {regex: '/x.*'}}", "{match: {regex: '/x.*'}}, {match: {regex: '/y.*'}}"),
        ("{match: {prefix: /}}, {match: {regex: '/y.*'}}", "{match: {prefix: /a}}, {match: {regex: '/y.*'}}"),
        (
            "{match: {methods: [GET]}}, {match: {path: /a, methods: [HEAD]}}",
            "{match: {methods: [HEAD]}}, {match: {path: /a, methods: [GET]}}",
        ),
        (
            "{match: {hosts: ['*.x.com:*']}}, {match: {hosts: [a.x.com]}}",
            "{match: {hosts: ['*.x.com']}}, {match: {hosts: ['a.x.com:*', x.com]}}",
        ),
        ("{match: {methods: [GET]}}, {match: {methods: [GET]}}", "{match: {methods: [GET]}}, {match: {prefix: /}}"),
    ] {
        assert_rules_warn(name, "rules[1]", bad, good);
    }
}

#[test]
fn warns_of_a_public_rule_before_a_protected_one() {
    let name = "public-covers-protected";
    for (bad, good) in [
        (
            "{match: {prefix: /a}, public: true}, {match: {prefix: /a/b}}",
            "{match: {prefix: /a/b}}, {match: {prefix: /a}, public: true}",
        ),
        (
            "{match: {prefix: /a, methods: [GET]}, public: true}, {match: {prefix: /a/b}}",
            "{match: {prefix: /a, methods: [GET]}, public: true}, {match: {prefix: /a/b, methods: [POST]}}",
        ),
        (
            "{match: {prefix: /a, hosts: [x.com]}, public: true}, {match: {path: /a/b}}",
            "{match: {prefix: /a, hosts: [x.com]}, public: true}, {match: {path: /a/b, hosts: [y.com]}}",
        ),
        (
            "{match: {prefix: /a}, optional: true}, {match: {path: /a/b}, deny: true}",
            "{match: {prefix: /a}, deny: true}, {match: {path: /b}, optional: true}",
        ),
        (
            "{match: {prefix: /a}, public: true}, {match: {path: /a}, verification: remote}",
            "{match: {prefix: /a}, public: true}, {match: {path: /a/b}, public: true}",
        ),
        (
            "{match: {hosts: [x.com]}, public: true}, {match: {path: /a}}",
            "{match: {methods: [OPTIONS]}, public: true}, {match: {path: /a}}",
        ),
        (
            "{match: {prefix: /a}, public: true}, {match: {prefix: /a}}",
            "{match: {prefix: /a, methods: [OPTIONS]}, public: true}, {match: {prefix: /a}}",
        ),
        (
            "{match: {prefix: /a}, public: true}, {match: {regex: '/a/v[0-9]+/b(/.*)?'}}",
            "{match: {prefix: /a}, public: true}, {match: {regex: '.*\\.pdf'}}",
        ),
        (
            "{match: {methods: [GET]}, public: true}, {match: {prefix: /a}}",
            "{match: {methods: [GET]}, public: true}, {match: {prefix: /a, methods: [POST]}}",
        ),
        (
            "{match: {regex: '/docs/.*'}, public: true}, {match: {prefix: /docs}}",
            "{match: {regex: '/docs/?'}, public: true}, {match: {prefix: /docs}}",
        ),
    ] {
        assert_rules_warn(name, "rules[1]", bad, good);
    }
}

#[test]
fn warns_of_a_strict_path_that_is_lax_with_a_slash() {
    let name = "final-slash";
    for (bad, good) in [
        ("{match: {path: /a}, deny: true}", "{match: {prefix: /a}, deny: true}"),
        ("{match: {path: /a}, require: {is_admin: true}}", "{match: {path: /a/}, require: {is_admin: true}}"),
        (
            "{match: {path: /a}, deny: true}, {match: {prefix: /}, public: true}",
            "{match: {path: /a}, require: {is_admin: true}}, {match: {prefix: /}, require: {is_admin: true}}",
        ),
        (
            "{match: {path: /a}, deny: true}, {match: {prefix: /}, require: {is_admin: true}}",
            "{match: {path: /a}, deny: true}, {match: {prefix: /}, deny: true}",
        ),
        (
            "{match: {path: /a}, deny: true}, {match: {prefix: /a}, deny: true, mode: shadow}",
            "{match: {path: /a}, deny: true, mode: shadow}, {match: {prefix: /a}, deny: true}",
        ),
        (
            "{match: {path: /a}}, {match: {prefix: /}, public: true}",
            "{match: {path: /a}}, {match: {prefix: /}, require: {is_admin: true}}",
        ),
        ("{match: {path: /a}}, {match: {prefix: /}, optional: true}", "{match: {path: /a}}, {match: {prefix: /}}"),
        (
            "{match: {path: /a}, deny: true}, {match: {path: /a/, methods: [GET]}, deny: true}",
            "{match: {path: /a}, deny: true}, {match: {path: /a/}, deny: true}",
        ),
        (
            "{match: {path: /a}, deny: true}, {match: {regex: '/b/?'}, deny: true}",
            "{match: {path: /a}, deny: true}, {match: {regex: '/a/?'}, deny: true}",
        ),
        // Any valid credential may go there anyway.
        ("{match: {path: /a}, deny: true}", "{match: {path: /a}}"),
        ("{match: {path: /a}, deny: true}", "{match: {path: /}, deny: true}"),
        ("{match: {path: /a}, deny: true}", "{match: {path: /a}, public: true}"),
    ] {
        assert_rules_warn(name, "rules[0].match.path", bad, good);
    }
}

#[test]
fn warns_of_a_public_regex_that_matches_a_protected_path() {
    let name = "public-covers-protected";
    for (regex, rule) in [
        ("/files/.*", "{prefix: /files/private}"),
        ("/files/.*", "{path: /files/private/a}"),
        ("/v[0-9]+/.*", "{prefix: /v1/admin, methods: [POST]}"),
        ("/a|/b", "{path: /b}"),
        // It matches any name below the prefix.
        ("/admin/.+", "{prefix: /admin}"),
        ("/admin/[^/]+", "{prefix: /admin}"),
        ("/admin/[a-z].*", "{prefix: /admin}"),
        ("/admin/[a-zA-Z0-9_/-]*", "{prefix: /admin}"),
        ("(?x) /adm[i]n/.* # all", "{prefix: /admin}"),
        // It matches below the prefix what it matches elsewhere, with names of any length.
        (r".*\.(js|css|png)", "{prefix: /admin}"),
        (r"(?i).*\.(js|css|png)$", "{prefix: /admin/}"),
        ("/[^/]+/[^/]+/status", "{prefix: /admin}"),
        // It matches the prefix itself.
        ("/[^/]*", "{prefix: /admin}"),
        ("/(admin|login)", "{prefix: /admin}"),
    ] {
        let bad = format!("{{match: {{regex: '{regex}'}}, public: true}}, {{match: {rule}}}");
        let good = format!("{{match: {rule}}}, {{match: {{regex: '{regex}'}}, public: true}}");
        assert_rules_warn(name, "rules[1]", &bad, &good);
    }
    for (regex, prefix) in [
        // Exceptions.
        (r"/files/[a-z]+\.css", "/files"),
        ("/admin/login(/.*)?", "/admin"),
        ("/[a-z]+/login", "/admin"),
        ("/[^/]+/status", "/admin"),
        ("/v[0-9]+/public/.*", "/v1"),
        ("/tenants/[^/]+/public/.*", "/tenants/acme"),
        ("/[a-z]{2}/blog/.*", "/en"),
        (r".*\.(js|css|png)", "/"),
        // It matches nothing there.
        ("/(de|en)/.*", "/admin"),
        ("/administrators/.*", "/admin"),
    ] {
        let text = format!("{{match: {{regex: '{regex}'}}, public: true}}, {{match: {{prefix: {prefix}}}}}");
        assert_eq!(brief(&rules(&text)), [], "{regex}");
    }
}

#[test]
fn warns_of_a_public_host_before_a_protected_path() {
    let name = "public-covers-protected";
    let bad = "{match: {hosts: ['x.com:*']}, public: true}, {match: {prefix: /admin}}";
    let good = "{match: {hosts: ['x.com:*']}, public: true}, {match: {prefix: /admin, hosts: ['y.com:*']}}";
    assert_rules_warn(name, "rules[1]", bad, good);
}

#[test]
fn warns_of_a_feed_without_its_path() {
    let field = "revocation";
    for revocation in ["{poll_interval: 10s}", "{cluster: feed}", "{}"] {
        let text = format!("auth_service: {{cluster: c}}\nrevocation: {revocation}\n");
        assert_eq!(brief(&text), [(2, "revocation-off".to_owned(), field.to_owned())]);
    }
    for good in ["revocation: {path: null, poll_interval: 10s}", "jwt: {}"] {
        assert_eq!(brief(&format!("auth_service: {{cluster: c}}\n{good}\n")), []);
    }
}

#[test]
fn warns_of_a_word_that_yaml_takes_for_a_boolean() {
    let name = "yaml-boolean";
    let claims =
        |value: &str| format!("{{match: {{prefix: /}}, require: {{claims: {{address.country: [DE, {value}]}}}}}}");
    let either =
        |value: &str| format!("{{match: {{prefix: /}}, require: [{{sso: true}}, {{claims: {{c: [{value}]}}}}]}}");
    assert_rules_warn(name, "rules[0].require.claims.address.country[1]", &claims("NO"), &claims("'NO'"));
    assert_rules_warn(name, "rules[0].require[1].claims.c[0]", &either("on"), &either("true"));
    assert_eq!(brief(&rules(&claims("False"))), []);
}

#[test]
fn warns_of_a_public_rule_for_everything() {
    let (bad, good) = ("{match: {prefix: /}, public: true}", "{match: {prefix: /a}}");
    assert_rules_warn("public-everything", "rules[0]", &format!("{bad}, {good}"), &format!("{good}, {bad}"));
    let methods = "{match: {prefix: /, methods: [OPTIONS]}, public: true}";
    assert_rules_warn("public-everything", "rules[0]", &format!("{bad}, {good}"), &format!("{methods}, {good}"));
    assert_eq!(brief(&rules(&format!("{bad}, {good}, {good}"))).len(), 1);
}

#[test]
fn warns_of_a_pattern_in_a_prefix() {
    let name = "pattern-in-prefix";
    assert_rules_warn(name, "rules[0].match.prefix", "{match: {prefix: '/public/*'}}", "{match: {prefix: /public}}");
    assert_eq!(brief(&rules("{match: {path: '/admin/*'}, deny: true}")).len(), 1, "and nothing about the slash");
    assert_rules_warn(
        name,
        "rules[0].match.path",
        "{match: {path: '/users/{id}'}}",
        "{match: {regex: '/users/[^/]*'}}",
    );
}

#[test]
fn the_hint_about_a_pattern_fits_the_pattern() {
    for (prefix, hint) in [
        ("/public/*", "a prefix already covers everything below it"),
        ("/public/*/", "a prefix already covers everything below it"),
        ("/users/{id}", "`regex` matches patterns, as in /users/[^/]+"),
        ("/users/*/orders", "`regex` matches patterns, as in /users/[^/]+"),
    ] {
        let (_, problems) =
            found(&format!("auth_service: {{cluster: c}}\nrules: [{{match: {{prefix: '{prefix}'}}}}]\n"));
        assert!(problems[0]["problem"].as_str().unwrap().ends_with(hint), "{prefix}: {problems:?}");
    }
}

#[test]
fn no_warning_rests_on_a_match_with_an_error() {
    let names = |rules: &str| {
        let (_, problems) = found(&format!("auth_service: {{cluster: c}}\nrules: [{rules}]\n"));
        problems.iter().map(|one| one["name"].as_str().unwrap_or("error").to_owned()).collect::<Vec<_>>()
    };
    let (open, after) = ("{match: {prefix: /a, methods: [M_SEARCH]}, public: true}", "{match: {prefix: /a/b}}");
    assert_eq!(names(&format!("{open}, {after}")), ["error"]);
    assert_eq!(names(&format!("{open}, {after}, {after}")), ["error", "rule-never-reached"]);
    assert_eq!(
        names(&format!("{{match: {{prefix: /}}, public: true}}, {open}, {after}")),
        ["error", "public-everything"]
    );
}

#[test]
fn warns_of_a_stale_ttl_beyond_the_tokens_life() {
    let with = |ttl: &str| format!("auth_service: {{cluster: c}}\ncache: {{stale_ttl: {ttl}}}\n");
    assert_warns("stale-beyond-life", "cache.stale_ttl", &with("61m"), &with("1h"));
}

#[test]
fn warns_of_revocation_without_a_jti() {
    let bad = "auth_service: {cluster: c}\nrevocation: {path: /auth/blacklist}\n";
    for good in [bad.replace("/auth/blacklist", "null"), format!("{bad}jwt: {{required_claims: [jti]}}\n")] {
        assert_warns("no-jti", "revocation.path", bad, &good);
    }
}
