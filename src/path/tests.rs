//! What a path may mean to a server.

#![allow(clippy::string_slice, reason = "tests")]

mod transforms;

use std::collections::BTreeSet;

use super::*;

fn read(path: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, Ambiguous> {
    readings(path, &mut Budget::default())
}

fn texts(path: &str) -> BTreeSet<String> {
    read(path.as_bytes())
        .unwrap_or_else(|error| panic!("{path}: {error}"))
        .into_iter()
        .map(|reading| String::from_utf8(reading.into_owned()).unwrap())
        .collect()
}

#[track_caller]
fn assert_exactly(path: &str, expected: &[&str]) {
    assert_eq!(texts(path), expected.iter().map(|reading| (*reading).to_owned()).collect(), "{path}");
}

#[test]
fn a_plain_path_has_one_reading() {
    for path in ["/", "/a", "/a/b.c/d-e_f~", "/a/b/", "/a.b", "/a..", "/a/b..c", "*", "", "a", "/é", "/a:b@c!$&'()*+,="]
    {
        assert_exactly(path, &[path]);
        assert!(is_plain(path.as_bytes()));
    }
    assert_eq!(read(b"/\xff\xfe"), Ok(vec![Cow::Borrowed(&b"/\xff\xfe"[..])]), "not UTF-8 is no reason to refuse");
}

/// Servers split the request line at blanks, some also at those of Latin-1.
#[test]
fn blanks_at_the_end_may_be_dropped() {
    for (path, expected) in [
        (&b"/secret\xa0"[..], &[&b"/secret\xa0"[..], b"/secret"][..]),
        (b"/secret\x85\xa0?x=1", &[b"/secret\x85\xa0", b"/secret"]),
        (b"/secret ", &[b"/secret ", b"/secret"]),
        (b"/secret\xc2\xa0", &[b"/secret\xc2\xa0", b"/secret\xc2"]),
        (b"/secret/\xa0", &[b"/secret/\xa0", b"/secret/"]),
        (b"/\xa0", &[b"/\xa0", b"/"]),
        (b"/secret\xa0/x", &[b"/secret\xa0/x"]),
    ] {
        let expected = expected.iter().map(|reading| Cow::Borrowed(*reading)).collect();
        assert_eq!(read(path), Ok(expected), "{}", String::from_utf8_lossy(path));
    }
}

#[test]
fn the_query_and_the_fragment_are_cut() {
    for (path, expected) in [
        ("/a?b", "/a"),
        ("/a?b/../c", "/a"),
        ("/a?%zz%00", "/a"),
        ("/a?\u{1}", "/a"),
        ("/a#b", "/a"),
        ("/a#b?c", "/a"),
        ("/a?b#c", "/a"),
        ("/?", "/"),
        ("?x", ""),
        ("*?x", "*"),
    ] {
        assert_exactly(path, &[expected]);
    }
}

#[test]
fn escapes_are_decoded_up_to_twice() {
    assert_exactly("/%61", &["/%61", "/a"]);
    assert_exactly("/%2561", &["/%2561", "/%61", "/a"]);
    assert_exactly("/%252561", &["/%252561", "/%2561", "/%61"]);
    assert_exactly("/files/a%2Fb", &["/files/a%2Fb", "/files/a/b"]);
    assert_exactly("/files/a%2fb", &["/files/a%2fb", "/files/a/b"]);
    assert_exactly("/a%252Fb", &["/a%252Fb", "/a%2Fb", "/a/b"]);
    assert_exactly("/a%20b", &["/a%20b", "/a b"]);
    assert_eq!(read(b"/%ff"), Ok(vec![Cow::Borrowed(&b"/%ff"[..]), Cow::Borrowed(&b"/\xff"[..])]));
}

#[test]
fn dots_slashes_and_backslashes_are_read_in_every_way() {
    assert_exactly("//a", &["//a", "/a", "/"]);
    assert_exactly("//a/b", &["//a/b", "/a/b", "/b"]);
    assert_exactly("/a//b///c", &["/a//b///c", "/a/b/c"]);
    assert_exactly("/a/./b", &["/a/./b", "/a/b"]);
    assert_exactly("/a/.", &["/a/.", "/a/", "/a"]);
    assert_exactly("/a/../b", &["/a/../b", "/b"]);
    assert_exactly("/a/b/..", &["/a/b/..", "/a/", "/a"]);
    assert_exactly("/../../a", &["/../../a", "/../a", "/a"]);
    assert_exactly("/..", &["/..", "/"]);
    assert_exactly("/.hidden", &["/.hidden"]);
    assert_exactly("/a/...", &["/a/..."]);
    assert_exactly("/a//../b", &["/a//../b", "/a/b", "/a/../b", "/b"]);
    assert_exactly(r"/a\b", &[r"/a\b", "/a/b"]);
    assert_exactly(r"/a\..\b", &[r"/a\..\b", "/a/../b", "/b"]);
    assert_exactly("/a;b", &["/a;b", "/a"]);
    assert_exactly("/a;b/c", &["/a;b/c", "/a", "/a/c"]);
}

/// Go's `path.Clean` and Python's `posixpath.normpath` leave no slash at the end, wherever it comes from.
#[test]
fn a_slash_at_the_end_that_was_not_sent_is_read_in_both_ways() {
    assert_exactly("/a%2f", &["/a%2f", "/a/", "/a"]);
    assert_exactly("/a%2F%2f?b", &["/a%2F%2f", "/a//", "/a/", "/a"]);
    assert_exactly("/a/%2e", &["/a/%2e", "/a/.", "/a/", "/a"]);
    assert_exactly("/a/%3fb", &["/a/%3fb", "/a/?b", "/a/"]);
    assert_exactly(r"/a\", &[r"/a\", "/a/", "/a"]);
    assert_exactly("/a/..", &["/a/..", "/"]);
    assert_exactly("/a/./", &["/a/./", "/a/"]);
    assert_exactly("/%61/", &["/%61/", "/a/"]);
}

/// uWSGI and HAProxy's FastCGI find a script among the first segments, with their dots resolved, and leave what follows
/// as the script's PATH_INFO.
#[test]
fn dots_are_resolved_up_to_any_place() {
    assert_exactly("/a/../b/../a/x", &["/a/../b/../a/x", "/b/../a/x", "/a/x"]);
    assert_exactly("/./s.php/..", &["/./s.php/..", "/s.php/..", "/"]);
    assert_exactly("/../s/./../x", &["/../s/./../x", "/s/./../x", "/s/../x", "/x"]);
    for path in [
        "/public/../private/../public/x",
        "/public/%2e%2e/private/%2e%2e/public/x",
        "/public/..%2fprivate%2f..%2fpublic%2fx",
        r"/public\..\private/../../public/x",
        "/public/..;/private/..;/public/x",
    ] {
        assert!(texts(path).iter().any(|reading| reading.starts_with("/private/")), "{path}: {:?}", texts(path));
    }
}

/// What follows the last slash may be cut off later, so it doesn't matter how the path as sent ends.
#[test]
fn a_slash_before_a_cut_is_the_sent_one_only_in_its_place() {
    let reads_as_a = |path: &str| texts(path).contains("/a");
    for path in ["/a/.%3F/", "/a/.%23/", "/a/x/..%3Fb/", "/a%2F%3F/", "/a%5c%3bx/", "/a/.;/", "/a/.%253F/"] {
        assert!(reads_as_a(path), "{path}: {:?}", texts(path));
    }
    for path in ["/a/%23b", "/a/%3Fb", "/a/;b", "/a/;b/", "/a/%3Fb/", "/a//%23b"] {
        assert!(!reads_as_a(path), "{path}: {:?}", texts(path));
    }
}

/// Ways to write `/private` that begin with `/public`, each known to work on some server.
#[test]
fn readings_include_the_dangerous_ones() {
    for path in [
        "/public/../private",
        "/public/..%2Fprivate",
        "/public/..%2fprivate",
        "/public%2f..%2fprivate",
        "/public/%2e%2e/private",
        "/public/%2E./private",
        "/public/.%2e/private",
        "/public/%2e%2e%2fprivate",
        "/public/..%252fprivate",
        "/public/%252e%252e/private",
        "/public/%252e%252e%252fprivate",
        "/public/%25%32%65%252e/private",
        r"/public/..\private",
        r"/public\..\private",
        "/public/..%5cprivate",
        "/public%5C..%5Cprivate",
        "/public/..%255cprivate",
        "/public/..;/private",
        "/public/..;a=b/private",
        "/public/..;jsessionid=1/private;v=1",
        "/public/..%3b/private",
        "/public/..%3Ba/private",
        "/public/..%253b/private",
        "/public/%2e%2e;/private",
        "/public/%2e%2e%3b%2fprivate",
        "/public/.;/../private",
        "/public/x;/../../private",
        "/public//../../private",
        "/public/./../private",
        "/public/x/../../private",
        "/public/../private?",
        "/public/../private#",
        "/public/..%2fprivate%3f/public",
        "/public/..%2fprivate%23/public",
        "/public/..%2fprivate%253fpublic",
        "/public/../private;/public",
        "/public/..//private",
        "/public/../%70rivate",
        "/public/../%2570rivate",
    ] {
        assert!(texts(path).contains("/private"), "{path}: {:?}", texts(path));
    }
}

/// Apache with `AllowEncodedSlashes NoDecode`, Tomcat with `encodedSolidusHandling=passthrough` and every parser of
/// the WHATWG URL Standard take `%2e%2e` for `..`, but not `%2f` for `/`. What comes after `%2f..` must not hide
/// where that leads.
#[test]
fn a_reading_decodes_escapes_except_slashes() {
    for path in [
        "/public/%2e%2e/private/..%2fpublic",
        "/public/%2e%2e/private/%2e%2e%2fpublic",
        "/public/%2E%2e/private/x%2f..%2f..%2fpublic",
        "/public/%2e%2e/private/..%5cpublic",
        "/public/%252e%252e/private/..%252fpublic",
        // Each of the two has a setting of its own.
        "/public/..%5cprivate/..%2fpublic",
        "/public/..%2fprivate/..%5cpublic",
    ] {
        let readings = texts(path);
        assert!(readings.iter().any(|reading| reading.starts_with("/private/")), "{path}: {readings:?}");
        assert!(readings.iter().any(|reading| reading.starts_with("/public")), "{path}: {readings:?}");
    }
}

/// Every parser of the WHATWG URL Standard takes `%2e%2e` as a segment for `..` and keeps all other escapes. Envoy can
/// be set to decode only slashes of either kind (`UNESCAPE_AND_FORWARD`). A name that is public once it is decoded must
/// not hide that such a server reads another one.
#[test]
fn a_reading_decodes_nothing_but_dot_segments_or_slashes() {
    for path in [
        "/public/%2e%2e/%70ublic/x",
        "/public/.%2E/%70ublic/x",
        r"/public/%2e%2e\%70ublic/x",
        "/public/..%2f%70ublic/x",
        "/public/..%5C%70ublic/x",
        "/public/%2e%2e%2f%70ublic/x",
        "/public/%252e%252e/%2570ublic/x",
    ] {
        assert!(texts(path).contains("/%70ublic/x"), "{path}: {:?}", texts(path));
    }
    assert_exactly(
        "/public/%2e%2e/a%2eb",
        &["/public/%2e%2e/a%2eb", "/public/../a%2eb", "/a%2eb", "/public/../a.b", "/a.b"],
    );
    assert_exactly("/a%2eb", &["/a%2eb", "/a.b"]);
}

#[test]
fn control_characters_are_refused_in_any_spelling() {
    for path in [
        "/\0",
        "/\t",
        "/\n",
        "/\r",
        "/\u{1f}",
        "/\u{7f}",
        "/a\u{1}?b",
        "/%00",
        "/%0a",
        "/%0D",
        "/%1f",
        "/%7f",
        "/%7F",
        "/%09",
        "/%2500",
        "/%250a",
        "/%257F",
        "/a%2500b",
        "/%25%30%30",
        "/public/..%2f%00",
        "/a;%00",
        "/a;v=%250a/b",
        "/a%3f%00",
        "/a%23%250d",
    ] {
        assert_eq!(read(path.as_bytes()), Err(Ambiguous::Control), "{path:?}");
    }
    // Decoding three times gives no reading, and the query isn't part of the path.
    assert!(read(b"/%252500").is_ok());
    assert!(read(b"/a?%00\0").is_ok());
    // C1 controls and the halves of characters are bytes like any other.
    assert!(read(b"/%80\x80").is_ok());
}

#[test]
fn a_broken_escape_is_refused() {
    for path in [
        "/%", "/%2", "/%zz", "/%2g", "/%g2", "/%%32%65", "/a%", "/a%/b", "/% 2", "/%+2", "/%-1", "/%u002e", "/%\u{e9}",
        "/a;%zz", "/%61%", "/a/%/..", "%", "/%25%",
    ] {
        assert_eq!(read(path.as_bytes()), Err(Ambiguous::BrokenEscape), "{path:?}");
    }
    assert!(read(b"/a?100%").is_ok());
}

#[test]
fn an_escape_broken_by_decoding_is_kept() {
    assert_exactly("/%25", &["/%25", "/%"]);
    assert_exactly("/files/100%25", &["/files/100%25", "/files/100%"]);
    assert_exactly("/%25zz", &["/%25zz", "/%zz"]);
    assert_exactly("/%252", &["/%252", "/%2"]);
    assert_exactly("/a%25/b", &["/a%25/b", "/a%/b"]);
    assert_exactly("/%25%2561", &["/%25%2561", "/%%61", "/%a"]);
    assert_exactly("/%25%32%65", &["/%25%32%65", "/%2e", "/.", "/"]);
    assert_exactly("/%25%25", &["/%25%25", "/%%"]);
    assert_exactly("/%2525zz", &["/%2525zz", "/%25zz", "/%zz"]);
    assert_eq!(read(b"/%25%2500"), Err(Ambiguous::Control));
}

#[test]
fn an_authority_is_dropped_from_any_reading() {
    assert_exactly("//", &["//", "/"]);
    assert_exactly("//x", &["//x", "/x", "/"]);
    assert_exactly("//x/", &["//x/", "/x/", "/"]);
    assert_exactly("///x/a", &["///x/a", "/x/a", "/a"]);
    assert_exactly(r"/\x/a", &[r"/\x/a", "//x/a", "/x/a", "/a"]);
    assert_exactly(r"/\x\a", &[r"/\x\a", "//x/a", "/x/a", "/a", "/"]);
    assert_exactly("/%2fx/a", &["/%2fx/a", "//x/a", "/x/a", "/a"]);
    assert_exactly("//x//y/a", &["//x//y/a", "/x/y/a", "//y/a", "/y/a", "/a"]);
    assert_exactly("/x//y/a", &["/x//y/a", "/x/y/a"]);
    assert_exactly("http://x/a", &["http://x/a", "//x/a", "http:/x/a", "/x/a", "/a"]);
    assert_exactly("http:x", &["http:x", "x"]);
    assert_exactly("x/http://y", &["x/http://y", "x/http:/y"]);
}

#[test]
fn the_work_is_bounded() {
    let plain = format!("/{}", "a".repeat(100_000));
    assert_eq!(read(plain.as_bytes()).unwrap().len(), 1, "nothing to interpret");
    assert_eq!(read(format!("/{}%61", "a".repeat(4_000)).as_bytes()).unwrap().len(), 2);
    assert_eq!(read(format!("/{}%61", "a".repeat(60_000)).as_bytes()), Err(Ambiguous::TooMuchWork));
    assert_eq!(read(format!("/?{}", "%".repeat(100_000)).as_bytes()).unwrap().len(), 1);

    let twisted = r"/a;x/..;y\b%5c%2e%2e%3bz%2f//c%252f%252e%252e%253b/%255c..%3fd";
    assert_eq!(read(twisted.as_bytes()), Err(Ambiguous::TooMuchWork));
    assert!(read("/%25252525252e".repeat(100).as_bytes()).is_ok());
    assert!(read(format!("/a{}", "/../x".repeat(20)).as_bytes()).is_ok());
    assert!(read("/../x".repeat(1_000).as_bytes()).is_err(), "a step for each dot segment");
}

#[test]
fn ordinary_paths_are_not_refused() {
    for path in [
        "/api/v1/users/17",
        "/files/a%2Fb",
        "/search/caf%C3%A9%20au%20lait",
        "/matrix;a=1;b=2/rows;c=3",
        "/repos/owner%2Fname/contents/dir%2Ffile.txt",
        "/mail/user%40example.com",
        "/k8s//double//slashes/",
        "/.well-known/openid-configuration",
        "/a/%7Euser/%2e/index.html",
        r"/windows\style\path",
    ] {
        assert!(read(path.as_bytes()).is_ok(), "{path}: {:?}", read(path.as_bytes()));
    }
}

#[test]
fn readings_are_distinct_and_begin_with_the_path_as_sent() {
    for path in ["/files/a%2Fb", "/a/../b", "/a;b/c", "/%2561"] {
        let found = read(path.as_bytes()).unwrap();
        let distinct: BTreeSet<_> = found.iter().collect();
        assert_eq!(found.first().map(|first| first.as_ref()), Some(path.as_bytes()), "as sent comes first");
        assert_eq!(distinct.len(), found.len(), "{path}: {found:?}");
    }
}
