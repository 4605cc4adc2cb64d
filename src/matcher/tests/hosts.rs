//! `hosts`, and what `:authority` may mean.

use super::*;

const HOST: Result<Option<usize>, Undecided> = Err(Undecided::Host);
const SEVERAL: Result<Option<usize>, Undecided> = Err(Undecided::DifferentHosts);

#[test]
fn a_name_matches_itself_in_any_letter_case() {
    for (host, authority, matches) in [
        ("a.example", "a.example", true),
        ("a.example", "A.Example", true),
        ("A.EXAMPLE", "a.example", true),
        ("a.example", "b.a.example", false),
        ("a.example", "xa.example", false),
        ("a.example", "a.example.evil", false),
        ("a_b.example", "a_b.example", true),
        ("127.0.0.1", "127.0.0.1", true),
        ("[::1]", "[::1]", true),
        ("[2001:DB8::1]", "[2001:db8::1]", true),
        ("[::1]", "[::2]", false),
        ("*.example.com", "a.example.com", true),
        ("*.example.com", "a.b.EXAMPLE.com", true),
        ("*.example.com", "example.com", false),
        ("*.example.com", "aexample.com", false),
        ("*.example.com", "a.example.com.evil", false),
    ] {
        let rules = one(&json!({"prefix": "/", "hosts": [host]}));
        assert_eq!(ask(&rules, "/", "GET", authority), Ok(matches.then_some(0)), "{host} {authority}");
    }
}

/// Rules of which one is public, so that it matters which one a reading leads to.
fn public(hosts: &[&str]) -> Value {
    json!([{"match": {"hosts": hosts}, "public": true}])
}

#[test]
fn a_port_is_ambiguous_unless_the_rule_covers_any_port() {
    for (hosts, authority, expected) in [
        (&["a.example"][..], "a.example:80", SEVERAL),
        (&["a.example"], "A.example:8443", SEVERAL),
        (&["a.example"], "b.example:80", Ok(None)),
        (&["a.example:*"], "a.example:80", Ok(Some(0))),
        (&["a.example:*"], "a.example:00080", Ok(Some(0))),
        (&["a.example:*"], "a.example", Ok(Some(0))),
        (&["a.example:*"], "b.example:80", Ok(None)),
        (&["*.example"], "a.example:80", SEVERAL),
        (&["*.example:*"], "a.example:80", Ok(Some(0))),
        (&["*.example:*"], "a.b.example", Ok(Some(0))),
        (&["*.example:*"], "example:80", Ok(None)),
        (&["[::1]"], "[::1]:80", SEVERAL),
        (&["[::1]:*"], "[::1]:80", Ok(Some(0))),
        (&["[::1]:*"], "[::1]", Ok(Some(0))),
        (&["127.0.0.1:*"], "127.0.0.1:80", Ok(Some(0))),
    ] {
        assert_eq!(ask(&public(hosts), "/", "GET", authority), expected, "{hosts:?} {authority}");
    }
}

#[test]
fn a_final_dot_is_ambiguous() {
    for (hosts, authority, expected) in [
        (&["a.example"][..], "a.example.", SEVERAL),
        (&["a.example:*"], "a.example.", SEVERAL),
        (&["a.example:*"], "a.example.:80", SEVERAL),
        (&["*.example"], "a.example.", SEVERAL),
        (&["a.example"], "b.example.:80", Ok(None)),
    ] {
        assert_eq!(ask(&public(hosts), "/", "GET", authority), expected, "{hosts:?} {authority}");
    }
}

#[test]
fn spellings_of_an_ipv6_address_match() {
    for authority in ["[0:0:0:0:0:0:0:1]", "[::0001]", "[0::1]", "[::0.0.0.1]", "[0::1]:80"] {
        assert_eq!(ask(&public(&["[::1]"]), "/", "GET", authority), SEVERAL, "{authority}");
        assert_eq!(ask(&public(&["[::2]"]), "/", "GET", authority), Ok(None), "{authority}");
    }
}

#[test]
fn readings_of_the_host_that_ask_for_the_same_are_decided() {
    let rules = json!([
        {"match": {"prefix": "/open", "hosts": ["a.example"]}, "public": true},
        {"match": {"prefix": "/open"}, "public": true},
        {"match": {"hosts": ["a.example"]}},
    ]);
    assert_eq!(ask(&rules, "/open", "GET", "a.example:80"), Ok(Some(1)), "the rule of what was sent");
    assert_eq!(ask(&rules, "/other", "GET", "a.example.:80"), Ok(None));
}

/// Authorities that can't be read as a host.
const UNREADABLE: &[&str] = &[
    "u@admin.example.com",
    "u:p@admin.example.com",
    "admin.example.com..",
    ".admin.example.com",
    "admin..example.com",
    "admin.example.com:80:80",
    "admin.example.com:80a",
    "admin.example.com:a",
    "admin.example.com:",
    "admin.example.com:-1",
    "admin.example.com:+80",
    "admin.example.com:80.",
    "admin.example.com,x",
    "x,admin.example.com",
    "admin%2eexample.com",
    "admin.example.com%2e",
    "[admin.example.com]",
    "[admin.example.com]:80",
    "admin.example.com ",
    " admin.example.com",
    "admin.example.com/",
    "admin.example.com/x",
    "admin.example.com?x",
    "admin.example.com#x",
    "admin.example.com\\x",
    "admin.example.com;x",
    "http://admin.example.com",
    "admin\u{3002}example.com",
    "admin.example.com\0",
    "",
    ".",
    "..",
    ":80",
    "[]",
    "[",
    "[::1",
    "::1",
    "[::1]x",
    "[::1].",
    "[::1]:",
    "[::1]:80:80",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[v1.x]",
    "[127.0.0.1]",
    "*",
    "*.example.com",
];

#[test]
fn a_strict_rule_for_a_host_is_not_evaded() {
    let rules = json!([
        {"match": {"hosts": ["admin.example.com"]}, "require": {"token_types": ["api_token"]}},
        {"match": {"prefix": "/"}, "public": true},
    ]);
    for authority in UNREADABLE {
        assert_eq!(ask(&rules, "/", "GET", authority), HOST, "{authority:?}");
    }
    for authority in ["admin.example.com:80", "admin.example.com.", "ADMIN.example.com.:80"] {
        assert_eq!(ask(&rules, "/", "GET", authority), SEVERAL, "{authority}");
    }
    assert_eq!(ask(&rules, "/", "GET", &format!("{}.example", "a".repeat(300))), HOST);
    let target = Target { path: b"/", method: b"GET", authority: b"admin.example.com\xff" };
    assert_eq!(config(json!({"rules": rules})).rules.find(target).unwrap_err(), Undecided::Host);
}

#[test]
fn any_host_is_accepted_where_no_rule_has_hosts() {
    let rules = one(&json!({"prefix": "/"}));
    for authority in ["u@a.example", "a..b", "", "[x]", "a.example:80."] {
        assert_eq!(ask(&rules, "/", "GET", authority), Ok(Some(0)), "{authority:?}");
    }
}

#[test]
fn rules_with_unmatchable_hosts_are_refused() {
    for (host, problem) in [
        ("", "is not a host name"),
        (".", "is not a host name"),
        ("*", "leave hosts out to match every host"),
        ("*:*", "leave hosts out to match every host"),
        ("*.", "is not a host name"),
        (":*", "is not a host name"),
        ("*a.example", "whole labels at the beginning"),
        ("a.*.example", "* stands only for whole labels at the beginning"),
        ("*.*.example", "* stands only for whole labels at the beginning"),
        ("**.example", "* stands only for whole labels at the beginning"),
        ("a.example.*", "* stands only for whole labels at the beginning"),
        ("a.example:80", "has a port: write \"a.example:*\" for"),
        ("[::1]:80", "has a port"),
        ("*.example:80", "has a port"),
        ("a.example:80:*", "has a port"),
        ("a.example:", "is not a host name"),
        ("a.example:*:*", "is not a host name"),
        ("https://*.example", "is not a host name"),
        ("a.example.", "several spellings; write \"a.example\""),
        ("[0::1]", "several spellings; write \"[::1]\""),
        ("a..example", "is not a host name"),
        ("[a.example]", "is not a host name"),
        ("*.[::1]", "is not a host name"),
        ("https://a.example", "is not a host name"),
        ("a.example/x", "is not a host name"),
        ("a b", "is not a host name"),
        ("user@a.example", "is not a host name"),
        ("caf\u{e9}.example", "is not a host name"),
    ] {
        let hosts = vec!["a.example".to_owned(), host.to_owned()];
        let [(field, found)] = &*Matcher::new(PathMatch::Any, vec![], hosts).unwrap_err() else { panic!("{host:?}") };
        assert_eq!(field, "hosts[1]", "{host:?}");
        assert!(found.contains(problem), "{host:?}: {found}");
    }
}
