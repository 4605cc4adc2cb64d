//! Paths, and which rule they lead to.
//!
//! Every way in which a server behind the gateway might read a path counts (docs/reference.md#paths). The
//! expectations are written down by hand; [`may_lead_to`] is a second, independent and generous reader
//! for what reached the upstream.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Case;
use super::Verdict;

/// What a path leads to for a request without credentials. With good ones, what is [`Leads::Private`]
/// passes too, and nothing else changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leads {
    /// A public rule covers all its readings.
    Public,
    /// No reading leads to a public rule, and all to the same one.
    Private,
    /// Its readings lead to different rules, or can't be told.
    Ambiguous,
    /// It isn't one that HTTP/1 can carry.
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
    b"/health/.",
    b"/health/..",
    b"/health/../private",
    b"/health%2f",
    b"/health%2e%2e",
    b"/health%2f..%2fprivate",
    b"/health\\",
    b"/health\\..\\private",
    b"/.//x/../private",
    b"/files/100%25",
    b"/orders/100%25",
    b"/orders/%25zz",
    b"//orders/private",
    b"/\\orders/private",
    b"/orders//public/page",
];
const DOTS: &[&[u8]] = &[
    b"/public/../private",
    b"/public/../../private",
    b"/public/./../private",
    b"/public/a/../../private",
    b"/public/a/b/../../../private",
    b"/public/..",
    b"/public/../",
    b"/public/../public/../private",
    b"/private/../public/page",
    b"/private/../public",
    b"/x/../health",
    b"/./health",
    b"/private/../health",
    b"/../public/page",
    b"/../health",
    b"/public/../files/a",
    b"/files/../public/a",
    b"/files/../orders",
    b"/public/../private?x",
    b"/public/.././private",
    b"/orders/../../public/x",
    b"/v1/./open",
    b"/v1/x/../open",
];
const ESCAPES: &[&[u8]] = &[
    b"/public/..%2Fprivate",
    b"/public/..%2fprivate",
    b"/public%2f..%2fprivate",
    b"/public%2F..%2Fprivate",
    b"/public/%2e%2e/private",
    b"/public/%2E%2E/private",
    b"/public/%2e./private",
    b"/public/.%2e/private",
    b"/public/.%2E/private",
    b"/public/%2e%2e%2fprivate",
    b"/public/%2e%2e%2Fprivate",
    b"/public/..%252fprivate",
    b"/public/..%252Fprivate",
    b"/public/%252e%252e/private",
    b"/public/%252e%252e%252fprivate",
    b"/public/%252E%252E/private",
    b"/public/%25%32%65%252e/private",
    b"/public/%252e./private",
    b"/public/..%5cprivate",
    b"/public/..%5Cprivate",
    b"/public%5c..%5cprivate",
    b"/public/..%255cprivate",
    b"/public%255c..%255cprivate",
    b"/public/%2e%2e%5cprivate",
    b"/public%2fpage",
    b"/public%2Fpage",
    b"/public%5cpage",
    b"/public%252fpage",
    b"/%2fpublic/page",
    b"/%2e%2e/public/page",
    b"/%2e/public/page",
    b"/private%2f..%2fpublic/page",
    b"/private/..%2fpublic",
    b"/private/%2e%2e/public",
    b"/v1%2fopen",
    b"/v1%252fopen",
    b"/public/%2e%2e/private/..%2fpublic",
    b"/public/%2e%2e/private/%2e%2e%2fpublic",
    b"/public/a%2f..%2f..%2fprivate",
    b"/public/..%2f..%2fprivate",
    b"/public/%2e%2e%2f%2e%2e%2fprivate",
    b"/public/..%2fprivate%3f/public",
    b"/public/..%2fprivate%23/public",
    b"/public/..%2fprivate%3b/public",
    b"/health%3fx",
    b"/health%23x",
    b"/health%253fx",
    b"/files%2f..%2fpublic",
    b"/files/..%2fpublic/a",
];
const PARAMETERS: &[&[u8]] = &[
    b"/public/..;/private",
    b"/public/..;a=b/private",
    b"/public/..;a/private",
    b"/public/..;jsessionid=1/private;v=1",
    b"/public/..%3b/private",
    b"/public/..%3B/private",
    b"/public/..%3Ba/private",
    b"/public/..%253b/private",
    b"/public/%2e%2e;/private",
    b"/public/%2e%2e%3b/private",
    b"/public/%2e%2e%3b%2fprivate",
    b"/public/.;/../private",
    b"/public/x;/../../private",
    b"/public;/page/../../private",
    b"/health;v=1",
    b"/health;",
    b"/health%3bx",
    b"/health;/../private",
    b"/;/public/page",
    b"/;x/health",
    b"/private;/../public/page",
    b"/private;x/../public/page",
    b"/..;/public/page",
    b"/v1;x/open",
    b"/v1/open;x",
    b"/public/../private;/public",
    b"/private/..;/public",
    b"/x;/..;/public",
    b"/public/..;/health",
];
const SLASHES: &[&[u8]] = &[
    b"//public/page",
    b"///public",
    b"/public//../../private",
    b"/public/..//private",
    b"/public///../private",
    b"//health",
    b"//x/../public/page",
    b"/\\public/page",
    b"/public\\page",
    b"/public\\..\\private",
    b"/public/..\\private",
    b"/public\\../private",
    b"/public\\..\\..\\private",
    b"/v1//open",
    b"/v1\\open",
    b"/private\\..\\public",
    b"//private//..//public",
];
const AUTHORITIES: &[&[u8]] = &[
    b"//x/public/page",
    b"//x/health",
    b"///x/health",
    b"//x:80/public/page",
    b"//u@x/public/page",
    b"/\\x/public/page",
    b"/\\x\\public/page",
    b"/%2fx/public/page",
    b"/%2Fx%2Fhealth",
    b"/%5cx/health",
    b"/%252fx/health",
    b"/.//x/health",
    b"/a/..//x/health",
    b"//x//y/health",
    b"//public/files/a",
    b"//public/orders",
    b"/public/..//x/public/page",
];
const LETTERS: &[&[u8]] = &[
    b"/%70ublic/page",
    b"/%2570ublic/page",
    b"/publi%63",
    b"/public/../%70rivate",
    b"/h%65alth",
    b"/%68%65%61%6c%74%68",
    b"/h%2565alth",
    b"/%76%31/open",
    b"/v%31/open",
    b"/%66iles/a",
    b"/fil%65s",
    b"/v1%2Fopen%3F",
];
const CONTROLS: &[&[u8]] = &[
    b"/public/%00",
    b"/public/a%00b",
    b"/public/%0a",
    b"/public/%0d%0a",
    b"/public/%0d%0aX-User-Id:%201",
    b"/public/%09",
    b"/public/%1f",
    b"/public/%7f",
    b"/public/%2500",
    b"/public/%250a",
    b"/public/%25%30%30",
    b"/public/%257f",
    b"/health%00",
    b"/health%0a",
    b"/health%2500",
    b"/orders/%00",
    b"/orders/%250d",
    b"/private%00/../public",
    b"/files/%00",
    b"/public/..%2f%00",
    b"/public/;%00",
];
const BROKEN: &[&[u8]] = &[
    b"/public/%",
    b"/public/%2",
    b"/public/%zz",
    b"/public/%2g",
    b"/public/%g2",
    b"/public/%u002e%u002e/private",
    b"/public/%%32%65",
    b"/public/%%",
    b"/public/%-1",
    b"/health%",
    b"/orders/%",
    b"/orders/%u2215",
    b"/public/%2525%zz",
    b"/files/100%",
    b"/public/%c0%ae%c0%a",
    b"/%",
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

/// Whether some server, of many, might read `path` as another one than those that `is_covered` knows:
/// decoded up to three times, slashes too or all but these, dots resolved, slashes merged, backslashes turned, cut at
/// `;`, `?` and `#`, in any order.
pub fn may_lead_to(path: &str, is_covered: impl Fn(&str) -> bool) -> Option<String> {
    let mut known: BTreeSet<(Vec<u8>, u8)> = BTreeSet::new();
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut queue = vec![(path.as_bytes().to_vec(), 0)];
    while let Some((reading, decoded)) = queue.pop() {
        if known.len() > 4096 || !known.insert((reading.clone(), decoded)) {
            continue;
        }
        let segments = |keep: &dyn Fn(&[u8]) -> Vec<u8>| {
            reading.split(|byte| *byte == b'/').map(keep).collect::<Vec<_>>().join(&b'/')
        };
        let cut = |segment: &[u8]| segment.split(|byte| *byte == b';').next().unwrap_or_default().to_vec();
        let mut merged = reading.clone();
        merged.dedup_by(|next, before| *next == b'/' && *before == b'/');
        queue.push((segments(&cut), decoded));
        queue.push((cut(&reading), decoded));
        queue.push((reading.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect(), decoded));
        queue.push((merged, decoded));
        queue.push((resolved(&reading), decoded));
        queue.push((without_authority(&reading), decoded));
        queue.push((reading.split(|byte| b"?#\0".contains(byte)).next().unwrap_or_default().to_vec(), decoded));
        if decoded < 3 {
            queue.push((unescaped(&reading, b""), decoded + 1));
            queue.push((unescaped(&reading, b"/\\"), decoded + 1));
        }
    }
    // A reading that still holds what another step would take away is none that a server ends with.
    let mut readings = known.iter().map(|(reading, _)| String::from_utf8_lossy(reading));
    readings.find(|reading| !is_covered(reading)).map(|reading| reading.into_owned())
}

/// What is left of `//host/path`.
fn without_authority(path: &[u8]) -> Vec<u8> {
    let end = path.iter().position(|byte| !b"/\\".contains(byte)).unwrap_or(path.len());
    if end < 2 {
        return path.to_vec();
    }
    let rest = path[end..].iter().position(|byte| *byte == b'/');
    rest.map_or_else(|| b"/".to_vec(), |rest| path[end + rest..].to_vec())
}

fn resolved(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/').skip(1) {
        match segment {
            b"." => {}
            b".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    [b"/", kept.join(&b'/').as_slice()].concat()
}

/// Escapes decoded, but for those of the bytes in `kept`.
fn unescaped(path: &[u8], kept: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(path.len());
    let mut index = 0;
    while index < path.len() {
        match (path[index], digit(path.get(index + 1)), digit(path.get(index + 2))) {
            (b'%', Some(high), Some(low)) if !kept.iter().any(|byte| u32::from(*byte) == high * 16 + low) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                index += 3;
            }
            (byte, ..) => {
                out.push(byte);
                index += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_reader_sees_through_every_spelling_of_the_table() {
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
