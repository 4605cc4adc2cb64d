//! Paths, and which rule they lead to.
//!
//! Every way in which a server behind the gateway might read a path counts (docs/reference.md#paths). The
//! expectations are written down by hand; [`may_lead_to`] is a second, independent and generous reader
//! for what reached the upstream.

mod ambiguous;
mod reader;

use serde_json::{Value, json};

use super::Case;
use super::Verdict;
use ambiguous::{AUTHORITIES, BROKEN, CONTROLS, DOTS, ESCAPES, LETTERS, PARAMETERS, SLASHES};
pub use reader::may_lead_to;

/// What a path leads to for a request without credentials. With good ones, [`Leads::Private`] passes too,
/// and nothing else changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leads {
    /// A public rule covers all its readings.
    Public,
    /// No reading leads to a public rule, and all to the same one.
    Private,
    /// Its readings lead to different rules, or can't be determined.
    Ambiguous,
    /// HTTP/1 can't carry it.
    Unacceptable,
}

impl Leads {
    /// The verdict on a request without credentials.
    #[must_use]
    pub const fn anonymous(self) -> Verdict {
        match self {
            Self::Public => Verdict::Allow,
            Self::Private => Verdict::Deny("missing_credentials"),
            Self::Ambiguous => Verdict::Deny("ambiguous_path"),
            Self::Unacceptable => Verdict::Unacceptable,
        }
    }

    /// The verdict on a request with a good JWT.
    #[must_use]
    pub const fn authenticated(self) -> Verdict {
        match self {
            Self::Private => Verdict::Allow,
            _ => self.anonymous(),
        }
    }
}

/// The rules that the paths are matched against.
#[must_use]
pub fn rules() -> Value {
    json!([
        {"match": {"path": "/health"}, "public": true},
        {"match": {"prefix": "/public"}, "public": true},
        {"match": {"prefix": "/files"}, "require": {"token_types": ["access"]}},
        {"match": {"regex": "/v[0-9]+/open"}, "public": true},
    ])
}

/// All paths, as they stand in the request line.
#[must_use]
pub fn all() -> Vec<Case<(&'static [u8], Leads)>> {
    let groups: [(Leads, &'static str, &[&'static [u8]]); 14] = [
        (Leads::Public, "the rule covers its one reading", PUBLIC),
        (Leads::Private, "no public rule covers it", PRIVATE),
        (Leads::Public, "docs/reference.md#paths: one rule covers all its readings", PUBLIC_IN_ALL_READINGS),
        (
            Leads::Public,
            "docs/reference.md#paths: rules that ask for the same cover its readings",
            PUBLIC_IN_SEVERAL_RULES,
        ),
        (
            Leads::Private,
            "docs/reference.md#paths: one rule, or none, covers all its readings",
            PRIVATE_IN_ALL_READINGS,
        ),
        (Leads::Ambiguous, "CVE-2019-9901, CVE-2020-8595: dots", DOTS),
        (Leads::Ambiguous, "CVE-2021-29492: escaped slashes, dots and backslashes, once and twice", ESCAPES),
        (Leads::Ambiguous, "GHSA-7rh7-c77v-6434, Orange Tsai 2018: parameters behind ;", PARAMETERS),
        (Leads::Ambiguous, "merged slashes and backslashes lead elsewhere", SLASHES),
        (Leads::Ambiguous, "WHATWG URL Standard, RFC 3986 section 4.2: //host/path", AUTHORITIES),
        (Leads::Ambiguous, "escaped letters, read by those who decode, are another rule's", LETTERS),
        (Leads::Ambiguous, "docs/reference.md#paths: a control character, however often it is escaped", CONTROLS),
        (Leads::Ambiguous, "docs/reference.md#paths: a broken escape", BROKEN),
        (Leads::Unacceptable, "RFC 9112 section 3.2: no target", UNACCEPTABLE),
    ];
    let cases = groups.into_iter().flat_map(|(leads, reason, paths)| {
        paths
            .iter()
            .map(move |path| Case::new(path.escape_ascii().to_string(), (*path, leads), leads.anonymous(), reason))
    });
    cases.collect()
}

const PUBLIC: &[&[u8]] = &[
    b"/health",
    b"/public",
    b"/public/",
    b"/public/page",
    b"/public/a/b/c.html",
    b"/public/.well-known/x",
    b"/public/...",
    b"/public/a..b",
    b"/health?",
    b"/health?x=1",
    b"/health?/../private",
    b"/public/page?next=/../../private",
    b"/public/page?x=%00",
    b"/public/page?%",
    b"/public/page?a;b",
    b"/public/~user",
    b"/public/a:b@c",
    b"/public/a+b",
    b"/v1/open",
    b"/v12/open?x",
    b"/public/Private",
];
const PRIVATE: &[&[u8]] = &[
    b"/",
    b"/orders",
    b"/private",
    b"/publicity",
    b"/public-private",
    b"/public.html",
    b"/publi",
    b"/Public/page",
    b"/PUBLIC",
    b"/pUBLIC/page",
    b"/healthy",
    b"/health/",
    b"/health/x",
    b"/Health",
    b"/v1/open/",
    b"/v/open",
    b"/v1/opened",
    b"/x/v1/open",
    b"/v1x/open",
    b"/files/a",
    b"/private?/public",
    b"/private?path=/public/page",
    b"/?/health",
    b"/?",
    b"/private/public",
    b"/orders?x=%00",
];
const PUBLIC_IN_ALL_READINGS: &[&[u8]] = &[
    b"/public/a%2Fb",
    b"/public/a%2fb",
    b"/public/a%252Fb",
    b"/public//a",
    b"/public/a//b",
    b"/public/./a",
    b"/public/a/./b",
    b"/public/a/../b",
    b"/public/a/b/../../c",
    b"/public/%61",
    b"/public/%2561",
    b"/public/a;v=1",
    b"/public/a;v=1/b",
    b"/public/a%3Bv",
    b"/public/a%20b",
    b"/public/%e4%bd%a0",
    b"/public/%ff",
    b"/public/a\\b",
    b"/public/a%5cb",
    b"/public/a%3Fb",
    b"/public/a%23b",
    b"/public/.",
    b"/public/100%25",
    b"/public/%25zz",
    b"/public/%252",
    b"/public/%25%25/a",
];
const PUBLIC_IN_SEVERAL_RULES: &[&[u8]] = &[
    b"/public/../health",
    b"/public/..%2fhealth",
    b"/public/../v1/open",
    b"/public/%2e%2e/health?x",
    b"/public/..\\health",
];
const PRIVATE_IN_ALL_READINGS: &[&[u8]] = &[
    b"/files/a%2Fb",
    b"/files/a%252Fb",
    b"/files//a",
    b"/files/./a",
    b"/files/a/../b",
    b"/files/a\\b",
    b"/files/a;v=1",
    b"/files/%61",
    b"/orders/a%2Fb",
    b"/orders//a",
    b"/orders/../private",
    b"/orders/%2e%2e/private",
    b"/orders;v=1",
    b"/orders/..;/private",
    b"//",
    b"///",
    b"//orders",
    b"/./orders",
    b"/%6frders",
    b"/..",
    b"/../..",
    b"/../../orders",
    b"/orders%20",
    b"/orders/a%3fb",
    b"/orders\\a",
    b"/%6Frders/%2570",
    b"/a%2fb%2fc",
    b"/health/%3fx",
    b"/health/%23x",
    b"/health/..",
    b"/health/../private",
    b"/health%2e%2e",
    b"/health%2f..%2fprivate",
    b"/health\\..\\private",
    b"/.//x/../private",
    b"/files/100%25",
    b"/orders/100%25",
    b"/orders/%25zz",
    b"//orders/private",
    b"/\\orders/private",
    b"/orders//public/page",
];
const UNACCEPTABLE: &[&[u8]] = &[
    b"/health#x",
    b"/public/page#/../../private",
    b"/private#/public",
    b"/public/../private#x",
    b"",
    b"orders",
    b"public/page",
    b"*",
    b"?/public",
    b"/public/a b",
    b"/public/\x00",
    b"/public/\x01",
    b"/public/\x7f",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_reader_resolves_every_spelling_of_the_table() {
        let covered = |path: &str| path == "/health" || path == "/public" || path.starts_with("/public/");
        assert_eq!(may_lead_to("/public/a%2Fb//c", covered), None);
        for group in [DOTS, ESCAPES, PARAMETERS, SLASHES, AUTHORITIES, LETTERS] {
            for path in group {
                let path = String::from_utf8_lossy(path);
                assert!(may_lead_to(&path, covered).is_some(), "{path}");
            }
        }
    }
}
