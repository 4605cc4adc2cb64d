//! Which rule decides.

mod first;
mod hosts;
mod work;

use serde_json::{Value, json};

use super::*;
use crate::rule::Access;
use crate::testing::config;

/// The index of the rule that decides on a GET of `path`, `Ok(None)` for none.
fn decide(rules: &Value, path: &str) -> Result<Option<usize>, Undecided> {
    ask(rules, path, "GET", "gateway.example")
}

fn ask(rules: &Value, path: &str, method: &str, authority: &str) -> Result<Option<usize>, Undecided> {
    let config = config(json!({"rules": rules}));
    let target = Target { path: path.as_bytes(), method: method.as_bytes(), authority: authority.as_bytes() };
    config.rules.find(target).map(|found| found.map(|(index, _)| index))
}

fn one(condition: &Value) -> Value {
    json!([{"match": condition}])
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = json!([
        {"match": {"path": "/a/b"}, "public": true},
        {"match": {"prefix": "/a"}},
        {"match": {"prefix": "/a/b/c"}, "public": true},
        {"match": {"regex": "/x/[0-9]+"}},
        {"match": {"prefix": "/x"}},
    ]);
    for (path, index) in [
        ("/a/b", Some(0)),
        ("/a/b/c", Some(1)),
        ("/a", Some(1)),
        ("/x/17", Some(3)),
        ("/x/17a", Some(4)),
        ("/", None),
        ("/other", None),
    ] {
        assert_eq!(decide(&rules, path), Ok(index), "{path}");
    }
    assert_eq!(decide(&json!([]), "/a"), Ok(None));
}

#[test]
fn find_returns_the_deciding_rule() {
    let config = config(json!({"rules": [
        {"match": {"prefix": "/a"}, "require": {"token_types": ["api_token"]}},
        {"name": "everything", "match": {"prefix": "/"}, "public": true},
    ]}));
    let target = |path| Target { path, method: b"GET", authority: b"" };
    let (_, rule) = config.rules.find(target(b"/a")).unwrap().unwrap();
    assert_eq!(&*rule.name, "rule_0");
    assert!(rule.terms.access.require().is_some());
    let (_, rule) = config.rules.find(target(b"/b")).unwrap().unwrap();
    assert_eq!((&*rule.name, &rule.terms.access), ("everything", &Access::Public));
}

#[test]
fn an_exact_path_matches_only_itself() {
    let rules = one(&json!({"path": "/a/b"}));
    for (path, matches) in [
        ("/a/b", true),
        ("/a/b?x=1", true),
        ("/a/b#x", true),
        ("/a/b/", false),
        ("/a/b/c", false),
        ("/a", false),
        ("/A/b", false),
        ("a/b", false),
        ("", false),
    ] {
        assert_eq!(decide(&rules, path), Ok(matches.then_some(0)), "{path}");
    }
}

#[test]
fn a_prefix_matches_whole_segments() {
    for prefix in ["/a", "/a/"] {
        let rules = one(&json!({"prefix": prefix}));
        for (path, matches) in [
            ("/a", true),
            ("/a/", true),
            ("/a/b", true),
            ("/a/b/c", true),
            ("/a?b", true),
            ("/ab", false),
            ("/a.b", false),
            ("/a-", false),
            ("/A", false),
            ("/b/a", false),
            ("/", false),
            ("a", false),
            ("", false),
            ("*", false),
        ] {
            assert_eq!(decide(&rules, path), Ok(matches.then_some(0)), "{prefix} {path}");
        }
    }
}

#[test]
fn the_prefix_slash_matches_every_path_that_begins_with_a_slash() {
    let rules = one(&json!({"prefix": "/"}));
    for (path, matches) in [("/", true), ("/a", true), ("/a/b?c", true), ("*", false), ("", false), ("a", false)] {
        assert_eq!(decide(&rules, path), Ok(matches.then_some(0)), "{path}");
    }
}

#[test]
fn a_regex_matches_the_whole_path() {
    for (regex, path, matches) in [
        ("/a", "/a", true),
        ("/a", "/ab", false),
        ("/a", "/b/a", false),
        ("/a|/b", "/b", true),
        ("/a|/b", "/ax", false),
        ("/a|/b", "x/b", false),
        ("/a|/b", "/a/b", false),
        ("(?i)/a", "/A", true),
        ("(?m)^/a$", "/a", true),
        ("/[^/]+", "/\u{e9}", true),
        (r"/\d+", "/17", true),
        (r"/\d+", "/17\u{661}", false),
        (r"/v1(/.*)?", "/v1/x", true),
        (r"/a\b.*", "/a-b", true),
        (r"/a\b.*", "/ab", false),
        ("/(?:ab|a)(?:c|bcd)?", "/abcd", true),
        ("/x{2,3}", "/xxxx", false),
        ("/a.*", "/a?b", true),
        (r"/a\?b", "/a?b", false),
        (".*", "*", true),
        (".*", "", true),
    ] {
        assert_eq!(decide(&one(&json!({"regex": regex})), path), Ok(matches.then_some(0)), "{regex} {path}");
    }
    let config = config(json!({"rules": [{"match": {"regex": "/a.b"}}]}));
    let target = Target { path: b"/a\xffb", method: b"GET", authority: b"" };
    assert!(config.rules.find(target).unwrap().is_some(), "a byte that is not UTF-8 is one that . matches");
}

#[test]
fn a_regex_is_contained_in_its_group_and_bounded_in_size() {
    for regex in ["a)|(?:b", "(", "[", "a{1000}{1000}{1000}", r"\p{L}", "(?=a)", r"(a)\1", ""] {
        assert!(PathMatch::regex(regex).is_err(), "{regex}");
    }
}

#[test]
fn methods_are_case_insensitive_and_get_covers_head() {
    let rules = one(&json!({"prefix": "/a", "methods": ["GET", "M-SEARCH"]}));
    for (method, matches) in [
        ("GET", true),
        ("M-SEARCH", true),
        ("get", true),
        ("Get", true),
        ("m-search", true),
        ("HEAD", true),
        ("head", true),
        ("GETS", false),
        ("POST", false),
        ("", false),
    ] {
        assert_eq!(ask(&rules, "/a", method, ""), Ok(matches.then_some(0)), "{method}");
    }
    assert_eq!(ask(&rules, "/b", "GET", ""), Ok(None), "path and method both have to fit");
    let head = one(&json!({"prefix": "/a", "methods": ["HEAD"]}));
    assert_eq!((ask(&head, "/a", "HEAD", ""), ask(&head, "/a", "GET", "")), (Ok(Some(0)), Ok(None)));
    let delete = json!([
        {"match": {"prefix": "/", "methods": ["DELETE"]}, "require": {"token_types": ["api_token"]}},
        {"match": {"prefix": "/"}, "public": true},
    ]);
    for (method, rule) in [("DELETE", 0), ("delete", 0), ("dELETE", 0), ("GET", 1)] {
        assert_eq!(ask(&delete, "/a", method, ""), Ok(Some(rule)), "{method}");
    }
    assert_eq!(ask(&one(&json!({"methods": ["OPTIONS"]})), "*", "OPTIONS", ""), Ok(Some(0)));
}

#[test]
fn a_path_passes_where_one_rule_covers_all_its_readings() {
    let rules = json!([
        {"match": {"prefix": "/files"}, "require": {"token_types": ["access"]}},
        {"match": {"prefix": "/public"}, "public": true},
        {"match": {"path": "/health"}, "public": true},
    ]);
    for (path, index) in [
        ("/files/100%25", Some(0)),
        ("/public/100%25", Some(1)),
        ("/other/100%25", None),
        ("/files/a%2Fb", Some(0)),
        ("/files/a//b;v=1/./c", Some(0)),
        ("/public/a%20b", Some(1)),
        ("/public/x/../y", Some(1)),
        ("/public/%2e", Some(1)),
        ("/health?x=/../files", Some(2)),
        ("/other/%61", None),
        ("/other/../another", None),
        ("/health/", None),
    ] {
        assert_eq!(decide(&rules, path), Ok(index), "{path}");
    }
}

#[test]
fn readings_that_lead_to_different_rules_are_undecided() {
    let rules = json!([
        {"match": {"prefix": "/public"}, "public": true},
        {"match": {"prefix": "/private"}, "require": {"token_types": ["api_token"]}},
        {"match": {"path": "/health"}, "public": true},
    ]);
    for path in [
        "/public/..%2Fprivate",
        "/public/../private",
        "/public/%2e%2e/private",
        "/public/..;/private",
        r"/public\..\private",
        "/public/%252e%252e%252fprivate",
        "/public/../other",
        "/private/../public",
        "/publi%63",
        "/public/..",
        "//public",
        "/public;x",
        "/health%3fx",
        "/health;x",
        "/health/.",
        "/health/x/..",
        "/health%2f",
        "/x/../health",
        "/public/%2e%2e/private/..%2fpublic/x",
    ] {
        assert_eq!(decide(&rules, path), Err(Undecided::DifferentPaths), "{path}");
    }
}

#[test]
fn readings_that_lead_to_rules_that_ask_for_the_same_are_decided() {
    let rules = json!([
        {"match": {"prefix": "/a"}, "public": true},
        {"match": {"prefix": "/b"}, "public": true},
        {"match": {"prefix": "/c"}, "require": {"token_types": ["access", "api_token"]}},
        {"match": {"prefix": "/d"}, "require": {"token_types": ["api_token", "access"]}, "verification": "local"},
        {"match": {"prefix": "/e"}},
        {"match": {"prefix": "/f"}, "public": false, "verification": "local"},
        {"match": {"prefix": "/g"}, "verification": "remote"},
        {"match": {"prefix": "/h"}, "require": {"token_types": ["access"]}},
    ]);
    for (path, decided) in [
        ("/a/../b", Ok(Some(0))),
        ("/b/..%2fa", Ok(Some(1))),
        ("/c/../d", Ok(Some(2))),
        ("/d/../c", Ok(Some(3))),
        ("/e/../f", Ok(Some(4))),
        ("/f/../other", Ok(Some(5))),
        ("/other/../f", Ok(None)),
        ("/a/../c", Err(Undecided::DifferentPaths)),
        ("/a/../other", Err(Undecided::DifferentPaths)),
        ("/c/../e", Err(Undecided::DifferentPaths)),
        ("/e/../g", Err(Undecided::DifferentPaths)),
        ("/other/../g", Err(Undecided::DifferentPaths)),
        ("/c/../h", Err(Undecided::DifferentPaths)),
        ("/h/../c", Err(Undecided::DifferentPaths)),
    ] {
        assert_eq!(decide(&rules, path), decided, "{path}");
    }
}

#[test]
fn an_authority_in_a_path_hides_no_path() {
    let rules = json!([
        {"match": {"prefix": "/admin"}, "require": {"token_types": ["api_token"]}},
        {"match": {"prefix": "/"}, "public": true},
    ]);
    for path in [
        "//x/admin/y",
        "//x/admin",
        "///x/admin",
        "////x/admin",
        r"/\x/admin",
        r"\/x/admin",
        r"\\x/admin",
        r"/\x\admin",
        r"//x\admin",
        r"//x\y/admin",
        "/%2fx/admin",
        "/%2Fx%2Fadmin",
        "/%5cx/admin",
        "%2f%2fx/admin",
        "/%252fx/admin",
        "//x//y/admin",
        "//x/a/../admin",
        "//x;p/admin",
        "//u:p@x:80/admin",
        "//x/%61dmin",
        "/.//x/admin",
        "/a/..//x/admin",
        "//%78/admin",
        "//x%3f/admin",
        "http://x/admin",
        "HTTPS://x:443/admin/y",
        r"http:\\x/admin",
        "http:///admin",
    ] {
        assert_eq!(decide(&rules, path), Err(Undecided::DifferentPaths), "{path}");
    }
    for path in ["//", "//x", "///", "//x/y", "/a//b/admin", "/x//admin/../y", "/a:b", "/http://x/admin"] {
        assert_eq!(decide(&rules, path), Ok(Some(1)), "{path}");
    }
}

#[test]
fn an_unreadable_path_is_undecided_where_a_rule_has_a_path() {
    for (path, why) in [
        ("/a%00", Ambiguous::Control),
        ("/a%2500", Ambiguous::Control),
        ("/a\u{1}", Ambiguous::Control),
        ("/a%", Ambiguous::BrokenEscape),
        ("/a%2", Ambiguous::BrokenEscape),
    ] {
        assert_eq!(decide(&one(&json!({"prefix": "/"})), path), Err(Undecided::Path(why)), "{path}");
        assert_eq!(decide(&json!([]), path), Ok(None), "{path}");
        assert_eq!(decide(&one(&json!({"methods": ["GET"]})), path), Ok(Some(0)), "{path}");
        assert_eq!(decide(&one(&json!({"hosts": ["gateway.example"]})), path), Ok(Some(0)), "{path}");
    }
    assert_eq!(Undecided::Path(Ambiguous::Control).to_string(), "the path holds a control character");
}

#[test]
fn the_query_is_ignored() {
    let rules = json!([{"match": {"path": "/public"}, "public": true}, {"match": {"prefix": "/"}}]);
    for (path, index) in
        [("/public?/../private%00%", 0), ("/private?/public", 1), ("/private?x=%2fpublic", 1), ("/private#/public", 1)]
    {
        assert_eq!(decide(&rules, path), Ok(Some(index)), "{path}");
    }
}

#[test]
fn rules_with_unmatchable_paths_are_refused() {
    for path in [
        "", "a", "/a//b", "/a/./b", "/a/../b", "/a%20b", r"/a\b", "/a;b", "/a?b", "/a#b", "/a\n", "//", "/.", "/a b",
        "/é",
    ] {
        assert!(PathMatch::exact(path).is_err(), "{path:?}");
        assert!(PathMatch::prefix(path).is_err(), "{path:?}");
    }
    for path in ["/.well-known/jwks.json", "/a.b/..c/d..", "/...", "/~a/$b/@c"] {
        assert!(PathMatch::exact(path).is_ok(), "{path:?}");
        let rules = json!([{"match": {"path": path}, "public": true}]);
        assert_eq!(decide(&rules, path), Ok(Some(0)), "{path:?}");
    }
}

#[test]
fn rules_with_unmatchable_methods_are_refused() {
    for method in ["", "get", "Get", "GET ", "GET,POST", "*"] {
        let methods = vec!["GET".to_owned(), method.to_owned()];
        let [(field, _)] = &*Matcher::new(PathMatch::Any, methods, vec![]).unwrap_err() else { panic!("{method:?}") };
        assert_eq!(field, "methods[1]", "{method:?}");
    }
}
