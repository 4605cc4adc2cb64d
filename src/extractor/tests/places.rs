//! Credentials outside `Authorization`.

use super::*;
use crate::jwt::UntrustedJwt;
use crate::testing::base64url;

const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

fn everywhere() -> Credentials {
    config(json!({"credentials": {"api_key_header": "X-API-Key", "cookie": "session", "websocket_protocol": true}}))
        .credentials
}

type Lines<'l> = [(&'l str, &'l str)];

/// What is found in a GET with these headers, with credentials allowed in every place.
fn found_in(lines: &Lines<'_>) -> Result<(Form, Place, String), Code> {
    found_with(lines, &everywhere(), &["apikey"])
}

fn found_with(lines: &Lines<'_>, credentials: &Credentials, types: &[&str]) -> Result<(Form, Place, String), Code> {
    let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let headers = headers(&[&[(":method", &b"GET"[..]), (":path", b"/")], &lines[..]].concat());
    let head = RequestHead { headers: &lend(&headers), has_body: false };
    extract(&head, &accepting(types), credentials)
        .map(|credential| (credential.form, credential.place, credential.text().to_owned()))
}

/// The code for a request with a valid `Authorization`, and this header beside it.
fn beside_authorization(name: &str, value: &[u8]) -> Result<Place, Code> {
    let authorization = format!("APIKey {}", api_token("17", 128));
    let lines = [
        (":method", &b"GET"[..]),
        ("upgrade", b"websocket"),
        ("authorization", authorization.as_bytes()),
        (name, value),
    ];
    let headers = headers(&lines);
    let head = RequestHead { headers: &lend(&headers), has_body: false };
    extract(&head, &accepting(&["apikey"]), &everywhere()).map(|credential| credential.place)
}

/// Bytes that some servers trim, as blanks of Latin-1 or in UTF-8.
const BLANKS: [&[u8]; 6] = [b"\xa0", b"\x85", b"\xc2\xa0", b"\xe2\x80\x80", b"\xe3\x80\x80", b" \xa0\t"];

#[test]
fn a_cookie_counts_also_with_blanks_of_other_encodings_beside_its_name() {
    for blank in BLANKS {
        for cookie in [[b"a=1; ", blank, b"session=a.b.c"].concat(), [b"session", blank, b"=a.b.c; a=1"].concat()] {
            let text = String::from_utf8_lossy(&cookie).into_owned();
            assert_eq!(beside_authorization("cookie", &cookie), Err(Code::MalformedCredentials), "{text}");
            let headers = headers(&[("cookie", &cookie)]);
            let credentials = everywhere();
            let left = taken_off(&lend(&headers), &credentials).into_iter().find(|(name, _)| *name == "cookie");
            assert_eq!(left, Some(("cookie", Some(b"a=1".to_vec()))), "{text}");
        }
    }
    assert_eq!(beside_authorization("cookie", b"a=1; \xa0sessions=a.b.c"), Ok(Place::Authorization));
}

/// Some servers end a cookie at a blank, a comma, or a byte that they take for no part of a value.
#[test]
fn a_cookie_counts_also_inside_another_ones_value() {
    for cookie in [
        &b"a=1 session=d.e.f"[..],
        b"a=1, session=d.e.f",
        b"a=1,session=d.e.f",
        b"a=1\tsession = d.e.f",
        b"$Version=1, session=d.e.f",
        b"Secure session=d.e.f",
        b"a=\"1\"session=d.e.f",
        b"\\session=d.e.f",
        b"a=1\xc2\xbbsession=d.e.f",
        b"a=1[session=d.e.f",
        b"a=[1]session=d.e.f",
        b"a=Mon, 01-Jan-2030 00:00:00 GMTsession=d.e.f",
        b"=session=d.e.f",
        b">session = d.e.f",
        b" ({<@:?=})session=d.e.f",
        b"a=1,:session=d.e.f",
    ] {
        let text = String::from_utf8_lossy(cookie).into_owned();
        assert_eq!(beside_authorization("cookie", cookie), Err(Code::MalformedCredentials), "{text}");
        let headers = headers(&[("cookie", &[b"b=2; ", cookie].concat())]);
        let credentials = everywhere();
        let left = taken_off(&lend(&headers), &credentials).into_iter().find(|(name, _)| *name == "cookie");
        assert_eq!(left, Some(("cookie", Some(b"b=2".to_vec()))), "{text}");
        // Alone it is no token either.
        let alone = found_in(&[("cookie", &text)]).map(|(.., token)| UntrustedJwt::parse(token.as_bytes()).is_ok());
        assert!(matches!(alone, Err(_) | Ok(false)), "{text}");
    }
    for other in [
        &b"a=session=d.e.f"[..],
        b"mysession=d.e.f",
        b"a=/x?session=d.e.f&session=1",
        b"a=1 sessions=2",
        b"a=(session=d.e.f",
        b"/session=d.e.f",
        b"=",
    ] {
        let text = String::from_utf8_lossy(other).into_owned();
        assert_eq!(beside_authorization("cookie", other), Ok(Place::Authorization), "{text}");
    }
}

#[test]
fn a_protocol_counts_also_with_blanks_of_other_encodings_beside_it() {
    let token = protocol("a.b.c");
    for blank in BLANKS {
        for offered in [[b"chat, ", blank, token.as_bytes()].concat(), [token.as_bytes(), blank, b",chat"].concat()] {
            let text = String::from_utf8_lossy(&offered).into_owned();
            let beside = beside_authorization("sec-websocket-protocol", &offered);
            assert_eq!(beside, Err(Code::MalformedCredentials), "{text}");
            let headers = headers(&[("sec-websocket-protocol", &offered)]);
            let head = RequestHead { headers: &lend(&headers), has_body: false };
            assert_eq!(crate::extractor::places::protocols(&head), Some(b"chat".to_vec()), "{text}");
        }
    }
}

fn protocol(token: &str) -> String {
    format!("{TOKEN_PROTOCOL}{}", base64url(token))
}

#[test]
fn a_header_holds_an_api_token_without_a_scheme() {
    let token = api_token("17", 128);
    let found = |value: &str| found_in(&[("x-api-key", value)]);
    assert_eq!(found(&token), Ok((Form::ApiToken, Place::ApiKeyHeader, token.clone())));
    for value in [api_token("017", 128), api_token("17", 127), "a.b.c".to_owned(), "x".to_owned()] {
        assert_eq!(found(&value), Err(Code::TokenMalformed), "{value}");
        let other = found_with(&[("x-api-key", &value)], &everywhere(), &["apikey", "other"]);
        assert_eq!(other, Err(Code::TokenMalformed), "{value}");
    }
    for value in [format!("APIKey {token}"), format!("{token},{token}"), format!("{token} "), String::new()] {
        assert_eq!(found(&value), Err(Code::MalformedCredentials), "{value}");
    }
}

#[test]
fn a_cookie_holds_a_jwt() {
    let jwt = || Ok((Form::Jwt, Place::Cookie, "a.b.c".to_owned()));
    for value in [
        "session=a.b.c",
        "x=1; session=a.b.c",
        "x=1;session=a.b.c;y=2",
        " session = a.b.c ; y",
        "Session=d.e.f; session=a.b.c",
        "session; session=a.b.c",
        "session=; session=a.b.c",
        "xsession=d.e.f; session=a.b.c; sessions=d.e.f",
    ] {
        assert_eq!(found_in(&[("cookie", value)]), jwt(), "{value}");
    }
    assert_eq!(found_in(&[("cookie", "x=1"), ("cookie", "session=a.b.c")]), jwt());
    for none in ["", "session", "session=", "session= ; x=session=a.b.c", "SESSION=a.b.c"] {
        assert_eq!(found_in(&[("cookie", none)]), Err(Code::MissingCredentials), "{none}");
    }
    for malformed in ["session=a.b.c,d", "session=a b.c", "session=a.b.c=\u{e4}"] {
        assert_eq!(found_in(&[("cookie", malformed)]), Err(Code::MalformedCredentials), "{malformed}");
    }
    let token = api_token("17", 128);
    for value in ["session=a.b", "session=\"a.b\"", &format!("session={token}")] {
        assert_eq!(found_in(&[("cookie", value)]), Err(Code::TokenMalformed), "{value}");
        let other = found_with(&[("cookie", value)], &everywhere(), &["apikey", "other"]);
        assert_eq!(other, Err(Code::TokenMalformed), "{value}");
    }
}

#[test]
fn a_websocket_client_offers_a_jwt_as_a_protocol() {
    let token = protocol("a.b.c");
    let upgrade = ("upgrade", "websocket");
    let found = |protocols: &str| found_in(&[upgrade, ("sec-websocket-protocol", protocols)]);
    let jwt = || Ok((Form::Jwt, Place::WebSocketProtocol, "a.b.c".to_owned()));
    assert_eq!(found(&format!("chat, {token}")), jwt());
    assert_eq!(found(&format!("{token},chat,superchat")), jwt());
    let lines = [("upgrade", "WebSocket"), ("sec-websocket-protocol", "chat"), ("sec-websocket-protocol", &token)];
    assert_eq!(found_in(&lines), jwt());

    assert_eq!(found(&token), Err(Code::MalformedCredentials), "alone");
    assert_eq!(found(&format!("{token}, ,")), Err(Code::MalformedCredentials), "alone among commas");
    assert_eq!(found(&format!("chat, {token}, {token}")), Err(Code::MalformedCredentials), "twice");
    assert_eq!(found("chat"), Err(Code::MissingCredentials));
    assert_eq!(found(&format!("chat, {}", token.to_uppercase())), Err(Code::MissingCredentials), "another protocol");
    for bad in [TOKEN_PROTOCOL.to_owned() + "a.b.c", TOKEN_PROTOCOL.to_owned() + "YQ==", protocol("a.b")] {
        assert_eq!(found(&format!("chat, {bad}")), Err(Code::TokenMalformed), "{bad}");
    }
    for bad in [TOKEN_PROTOCOL.to_owned(), protocol("a.b.c\u{e4}"), protocol("a.b.c d")] {
        assert_eq!(found(&format!("chat, {bad}")), Err(Code::MalformedCredentials), "{bad}");
    }
}

#[test]
fn a_protocol_is_read_only_for_a_websocket() {
    let protocols = format!("chat, {}", protocol("a.b.c"));
    for upgrade in [&[][..], &[("upgrade", "h2c")], &[("upgrade", "websocket, x")], &[("upgrade", "")]] {
        let lines = [upgrade, &[("sec-websocket-protocol", protocols.as_str())]].concat();
        assert_eq!(found_in(&lines), Err(Code::MissingCredentials), "{upgrade:?}");
    }
    let twice = [("upgrade", "websocket"), ("upgrade", "websocket"), ("sec-websocket-protocol", &protocols)];
    assert_eq!(found_in(&twice), Err(Code::MissingCredentials));
}

#[test]
fn two_credentials_in_any_two_places_are_refused() {
    let (token, protocols) = (api_token("17", 128), format!("chat, {}", protocol("a.b.c")));
    let places = [
        ("authorization", "Bearer a.b.c"),
        ("authorization", "Basic dXNlcjpwYXNz"),
        ("authorization", ""),
        ("x-api-key", &token),
        ("x-api-key", ""),
        ("cookie", "session=a.b.c"),
        ("cookie", "x=1; session=a.b.c; y=2"),
        ("sec-websocket-protocol", &protocols),
    ];
    for one in places {
        for other in places {
            let lines = [("upgrade", "websocket"), ("origin", "null"), one, other];
            assert_eq!(found_in(&lines), Err(Code::MalformedCredentials), "{one:?} {other:?}");
        }
    }
    let twice = [("cookie", "session=a.b.c; session=a.b.c")];
    assert_eq!(found_in(&twice), Err(Code::MalformedCredentials));
    let empty = [("authorization", "Bearer a.b.c"), ("cookie", "session=")];
    assert_eq!(found_in(&empty), Ok((Form::Jwt, Place::Authorization, "a.b.c".to_owned())), "an empty cookie is none");
}

#[test]
fn a_place_that_is_not_configured_is_not_read() {
    let token = api_token("17", 128);
    let protocols = format!("chat, {}", protocol("a.b.c"));
    let lines = [
        ("x-api-key", token.as_str()),
        ("cookie", "session=a.b.c"),
        ("upgrade", "websocket"),
        ("sec-websocket-protocol", &protocols),
    ];
    assert_eq!(found_with(&lines, &Credentials::default(), &["apikey"]), Err(Code::MissingCredentials));
    let lines = [&lines[..], &[("authorization", "Bearer a.b.c")]].concat();
    let found = found_with(&lines, &Credentials::default(), &["apikey"]);
    assert_eq!(found, Ok((Form::Jwt, Place::Authorization, "a.b.c".to_owned())));
}

#[test]
fn credential_headers_are_stripped_in_other_spellings_and_from_trailers() {
    let credentials = json!({"api_key_header": "X-API-Key", "cookie": "session", "websocket_protocol": true});
    let config = config(json!({"credentials": credentials}));
    let twins = ["x_api_key", "x.api-key", "sec_websocket_protocol"];
    let kept = ["x-api-key", "cookie", "sec-websocket-protocol", "x-api-keys", "cookie2", "apikey"];
    let all: Vec<_> = twins.iter().chain(&kept).map(|name| ((*name).to_owned(), b"1".to_vec())).collect();
    let head = RequestHead { headers: &lend(&all), has_body: false };
    assert_eq!(headers_to_strip(&head, &config.stripped_headers), twins);

    let trailers = [&twins[..], &kept[..3], &["authorization", "X-API-Key", "grpc-status"]].concat();
    let trailers: Vec<_> = trailers.iter().map(|name| ((*name).to_owned(), b"1".to_vec())).collect();
    let stripped = trailers_to_strip(&lend(&trailers), &config.stripped_headers);
    let expected = [&twins[..], &kept[..3], &["authorization", "X-API-Key"]].concat();
    assert_eq!(stripped, expected);

    let off = super::config(json!({}));
    assert_eq!(headers_to_strip(&head, &off.stripped_headers), [""; 0], "nothing where they are off");
}

/// What changes on arrival.
fn changes(lines: &Lines<'_>, credentials: &Value) -> Vec<(&'static str, Option<String>)> {
    let config = config(json!({"credentials": credentials}));
    let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let headers = headers(&lines);
    let head = RequestHead { headers: &lend(&headers), has_body: false };
    let text = |value: Vec<u8>| String::from_utf8(value).unwrap();
    let changes = headers_to_change(&head, &config.stripped_headers, &config.credentials);
    changes.into_iter().map(|(name, value)| (name, value.map(text))).collect()
}

#[test]
fn the_token_is_removed_from_the_protocols() {
    let on = json!({"websocket_protocol": true});
    let token = protocol("a.b.c");
    let left = |protocols: &str| changes(&[("sec-websocket-protocol", protocols)], &on);
    let becomes = |value: &str| vec![("sec-websocket-protocol", Some(value.to_owned()))];
    assert_eq!(left(&format!("chat, {token}")), becomes("chat"));
    assert_eq!(left(&format!("a,{token} ,b,{TOKEN_PROTOCOL}x")), becomes("a, b"));
    assert_eq!(left(&token), [("sec-websocket-protocol", None)], "also where there is no upgrade");
    assert_eq!(left("chat,  superchat"), [], "as it came");
    let lines = [("sec-websocket-protocol", token.as_str()), ("sec-websocket-protocol", "chat")];
    assert_eq!(changes(&lines, &on), becomes("chat"));
    assert_eq!(changes(&lines, &json!({})), [], "where it is off");
}

/// Some servers join the lines with a comma, so that a cookie's value would end elsewhere than here.
#[test]
fn several_cookie_headers_become_one() {
    let lines = [("cookie", "session=a.b.c"), ("x-a", "1"), ("cookie", "x=1; y=2"), ("cookie", "")];
    let on = json!({"cookie": "session"});
    assert_eq!(changes(&lines, &on), [("cookie", Some("session=a.b.c; x=1; y=2; ".to_owned()))]);
    assert_eq!(changes(&lines[..2], &on), [], "as it came");
    assert_eq!(changes(&lines, &json!({})), [], "where no cookie is a credential");
}

#[test]
fn a_connection_header_cannot_name_a_credential_header() {
    let credentials = json!({"api_key_header": "X-API-Key", "cookie": "session", "websocket_protocol": true});
    let named = "Upgrade, x-api-key, X_API_Key, Cookie, Sec-WebSocket-Protocol";
    assert_eq!(changes(&[("connection", named)], &credentials), [("connection", Some("Upgrade".to_owned()))]);
    let off = changes(&[("connection", "Upgrade, x-api-key, cookie")], &json!({}));
    assert_eq!(off, []);
}

/// What is left of the headers when the credential isn't forwarded.
fn left(lines: &Lines<'_>) -> Vec<(String, Option<String>)> {
    let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let credentials = everywhere();
    let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
    let changes = taken_off(&lend(&headers(&lines)), &credentials);
    changes.into_iter().map(|(name, value)| (name.to_owned(), value.map(text))).collect()
}

#[test]
fn the_other_cookies_are_forwarded_unchanged() {
    for (cookie, becomes) in [
        ("session=a.b.c", None),
        ("session=a.b.c; x=1", Some("x=1")),
        ("x=1; session=a.b.c", Some("x=1")),
        ("x=1; session=a.b.c; y=\"a b\";z = 3 ", Some("x=1; y=\"a b\";z = 3 ")),
        ("x=1;session=a.b.c;session=;y=2", Some("x=1;y=2")),
        (" session = a.b.c ;; y", Some("; y")),
    ] {
        let expected = [("x-api-key".to_owned(), None), ("cookie".to_owned(), becomes.map(str::to_owned))];
        assert_eq!(left(&[("cookie", cookie)]), expected, "{cookie}");
    }
    let untouched = [("x-api-key".to_owned(), None)];
    assert_eq!(left(&[("cookie", "x=1;  y=2;"), ("accept", "*/*")]), untouched);
    let two = [("cookie", "x=1; session=a.b.c"), ("cookie", "y=2")];
    assert_eq!(left(&two)[1], ("cookie".to_owned(), Some("x=1; y=2".to_owned())));
}
