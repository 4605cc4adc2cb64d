//! Every form in which a credential may come, and forms in which it may not.

mod places;
mod site;

use serde_json::{Value, json};

use super::*;
use crate::testing::config;

fn headers(headers: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect()
}

fn accepting(header_types: &[&str]) -> ApiToken {
    config(json!({"api_token": {"header_types": header_types}})).api_token
}

/// What is found in one `authorization` header, as owned values.
fn found(value: &[u8], accepted: &ApiToken) -> Result<(&'static str, Vec<u8>), Code> {
    let headers = headers(&[(":path", b"/"), ("authorization", value), ("accept", b"*/*")]);
    extract(&RequestHead { headers: &lend(&headers), has_body: false }, accepted, &Credentials::default()).map(
        |credential| {
            let form = match credential.form {
                Form::Jwt => "jwt",
                Form::ApiToken => "api token",
                Form::Other => "other",
            };
            (form, credential.token.into_owned())
        },
    )
}

fn api_token(number: &str, secret: usize) -> String {
    format!("{number}${}", "0az9".chars().cycle().take(secret).collect::<String>())
}

#[test]
fn schemes_are_case_insensitive() {
    let accepted = accepting(&["apikey"]);
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        assert_eq!(found(format!("{scheme} a.b.c").as_bytes(), &accepted), Ok(("jwt", b"a.b.c".to_vec())));
    }
    let token = api_token("17", 128);
    for scheme in ["APIKey", "apikey", "APIKEY", "ApiKey"] {
        let expected = Ok(("api token", token.clone().into_bytes()));
        assert_eq!(found(format!("{scheme} {token}").as_bytes(), &accepted), expected);
    }
}

#[test]
fn an_empty_header_is_malformed_and_an_absent_one_is_missing() {
    let accepted = accepting(&["apikey"]);
    let none = headers(&[(":path", b"/"), ("x-authorization", b"Bearer a.b.c"), ("cookie", b"authorization=x")]);
    assert_eq!(
        extract(&RequestHead { headers: &lend(&none), has_body: false }, &accepted, &Credentials::default()),
        Err(Code::MissingCredentials)
    );
    assert_eq!(found(b"", &accepted), Err(Code::MalformedCredentials));
}

#[test]
fn two_authorization_headers_are_refused() {
    for types in [&["apikey"][..], &["apikey", "other"]] {
        for (one, other) in [("Bearer a.b.c", "Bearer a.b.c"), ("Bearer a.b.c", ""), ("", "Bearer a.b.c"), ("", "")] {
            let headers = headers(&[("authorization", one.as_bytes()), ("authorization", other.as_bytes())]);
            let head = RequestHead { headers: &lend(&headers), has_body: false };
            assert_eq!(
                extract(&head, &accepting(types), &Credentials::default()),
                Err(Code::MalformedCredentials),
                "{one:?} {other:?}"
            );
        }
    }
}

#[test]
fn a_value_that_is_not_scheme_space_token_is_malformed() {
    let token = api_token("17", 128);
    let joined = format!("APIKey {token},APIKey {token}");
    // `other` makes no difference: the service is never asked about two credentials.
    for types in [&["apikey"][..], &["apikey", "other"]] {
        let accepted = accepting(types);
        for value in [
            &b"Bearer a.b.c,Bearer a.b.c"[..],
            b"Bearer a.b.c, Bearer d.e.f",
            b"Bearer a.b.c,",
            b",Bearer a.b.c",
            joined.as_bytes(),
            b"Bearer  a.b.c",
            b"Bearer\ta.b.c",
            b"Bearer \ta.b.c",
            b" Bearer a.b.c",
            b"Bearer a.b.c ",
            b"Bearer a.b.c\t",
            b"Bearer a.b.c d",
            b"Bearer",
            b"Bearer ",
            b" ",
            b"a.b.c",
            b"Bearer: a.b.c",
            b"Bearer=a.b.c",
            b"Be\xc3\xa4rer a.b.c",
            b"Bearer a.b.\xff",
            b"Bearer a.b.\xc3\xa9",
            b"Bearer a.b.c\0",
            b"Bearer a\0.b.c",
            b"Bearer\0 a.b.c",
            b"Bearer a.b.c\r\nx-user-id: 1",
            b"Bearer a.b\x7f.c",
            b"\xff",
        ] {
            assert_eq!(
                found(value, &accepted),
                Err(Code::MalformedCredentials),
                "{:?}",
                String::from_utf8_lossy(value)
            );
        }
    }
}

#[test]
fn an_unknown_scheme_is_refused_without_other() {
    let accepted = accepting(&["apikey"]);
    for value in
        ["Basic dXNlcjpwYXNz", "Digest x", "Negotiate a.b.c", "BearerX a.b.c", "JWT a.b.c", "Api-Key 1$a", "- x"]
    {
        assert_eq!(found(value.as_bytes(), &accepted), Err(Code::UnsupportedScheme), "{value}");
    }
}

#[test]
fn a_bearer_token_has_three_segments() {
    for token in ["a", "a.b", "a.b.c.d", "a.b.c.d.e", ".", "..."] {
        let value = format!("Bearer {token}");
        assert_eq!(found(value.as_bytes(), &accepting(&["apikey"])), Err(Code::TokenMalformed), "{token}");
        let expected = Ok(("other", value.clone().into_bytes()));
        assert_eq!(found(value.as_bytes(), &accepting(&["apikey", "other"])), expected, "{token}");
    }
    // The JWT's parser checks the content of the segments.
    for token in ["..", "a.b.c", "a==.b.c=", "a+/.b.c"] {
        let expected = Ok(("jwt", token.as_bytes().to_vec()));
        assert_eq!(found(format!("Bearer {token}").as_bytes(), &accepting(&["apikey", "other"])), expected, "{token}");
    }
}

#[test]
fn an_api_token_has_a_number_a_dollar_sign_and_128_characters() {
    let max = "9223372036854775807";
    let good = [api_token("1", 128), api_token("0", 128), api_token("70", 128), api_token(max, 128)];
    for token in good {
        let expected = Ok(("api token", token.clone().into_bytes()));
        assert_eq!(found(format!("APIKey {token}").as_bytes(), &accepting(&["apikey"])), expected, "{token}");
    }
    for token in [
        api_token("17", 127),
        api_token("17", 129),
        api_token("17", 0),
        api_token("", 128),
        api_token("-1", 128),
        api_token("+1", 128),
        api_token("1a", 128),
        api_token("0x1", 128),
        api_token("1$1", 128),
        api_token("17", 128).to_ascii_uppercase(),
        api_token("17", 128).replacen('0', "A", 1),
        api_token("17", 128).replacen('0', "-", 1),
        api_token("17", 128).replacen('0', "$", 1),
        api_token("17", 128).replace('$', "."),
        api_token("17", 128).replace('$', ""),
        "a.b.c".to_owned(),
        "$".to_owned(),
        "17".to_owned(),
    ] {
        let value = format!("APIKey {token}");
        assert_eq!(found(value.as_bytes(), &accepting(&["apikey"])), Err(Code::TokenMalformed), "{token}");
        let expected = Ok(("other", value.clone().into_bytes()));
        assert_eq!(found(value.as_bytes(), &accepting(&["apikey", "other"])), expected, "{token}");
    }
    let token = api_token("17", 128);
    assert_eq!(found(format!("Bearer {token}").as_bytes(), &accepting(&["apikey"])), Err(Code::TokenMalformed));
}

/// Otherwise one token would have several verdicts, and its guesses would count for several numbers.
#[test]
fn an_api_token_of_another_spelling_is_refused() {
    for number in ["00", "007", "017", "9223372036854775808", "18446744073709551615", &"1".repeat(21), &"0".repeat(19)]
    {
        let value = format!("APIKey {}", api_token(number, 128));
        for types in [&["apikey"][..], &["apikey", "other"]] {
            assert_eq!(found(value.as_bytes(), &accepting(types)), Err(Code::TokenMalformed), "{number} {types:?}");
        }
    }
}

#[test]
fn other_schemes_are_sent_to_the_service_in_full() {
    let accepted = accepting(&["other"]);
    for value in ["Basic dXNlcjpwYXNz", "basic x", "Custom-1 !#$%&'*+-./:;<=>?@[]^_`{|}~\"\\()"] {
        assert_eq!(found(value.as_bytes(), &accepted), Ok(("other", value.as_bytes().to_vec())), "{value}");
    }
    assert_eq!(found(b"Bearer a.b.c", &accepted), Ok(("jwt", b"a.b.c".to_vec())), "a JWT stays one");
}

#[test]
fn without_apikey_an_api_token_is_refused() {
    let value = format!("APIKey {}", api_token("17", 128));
    assert_eq!(found(value.as_bytes(), &accepting(&["jwt", "other"])), Ok(("other", value.clone().into_bytes())));
    assert_eq!(found(value.as_bytes(), &accepting(&["other", "apikey"])).unwrap().0, "api token");
}

fn stripped(identity_headers: &Value, names: &[&str]) -> Vec<String> {
    let config = config(json!({"identity_headers": identity_headers}));
    let headers: Vec<_> = names.iter().map(|name| ((*name).to_owned(), b"1".to_vec())).collect();
    let head = RequestHead { headers: &lend(&headers), has_body: false };
    headers_to_strip(&head, &config.stripped_headers).into_iter().map(str::to_owned).collect()
}

#[test]
fn other_spellings_of_the_filters_headers_are_stripped() {
    let twins = [
        "x-user-id",
        "x_user_id",
        "x-user_id",
        "x_user-id",
        "x-client-id",
        "x_client_id",
        "x-user-email",
        "x-user-type",
        "x_user_type",
        "x-is-admin",
        "x_is_admin",
        "x-is_admin",
        "X-User-Id",
        "X_USER_ID",
        "x-Is-aDmin",
        "x.user.id",
        "x!user!id",
        "x~user~id",
        "x+user|id",
        "x'client`id",
        "x^user&type",
        "x#is%admin",
        "x$is*admin",
    ];
    assert_eq!(stripped(&json!({}), &twins), twins);
    let others = [
        ":path",
        "host",
        "authorization",
        "cookie",
        "x-user",
        "x-user-id-",
        "x-user-idx",
        "xuser-id",
        "x-user--id",
        "x-user-id.",
        "x..user.id",
        ":x-user-id",
        "xauserxid",
        "x0user0id",
        "ax-user-id",
        "x-request-id",
        "",
    ];
    assert_eq!(stripped(&json!({}), &others), [""; 0]);
}

#[test]
fn a_repeated_header_is_listed_each_time() {
    assert_eq!(stripped(&json!({}), &["x-is-admin", "accept", "x-is-admin"]), ["x-is-admin", "x-is-admin"]);
}

#[test]
fn configured_identity_headers_are_stripped() {
    let renamed = json!({"X-User-Id": null, "X-Auth_User": "user_id", "x_client_id": "client_id"});
    let names = ["x-auth-user", "x_auth_user", "x-auth_user", "x-client-id", "x_client_id", "x-user-email"];
    assert_eq!(stripped(&renamed, &names), names);
    assert_eq!(stripped(&renamed, &["x-user-id"]), ["x-user-id"], "which no client may set either");
}

#[test]
fn headers_of_any_length_are_stripped() {
    for length in (1..130).chain([255]) {
        let name = format!("x{}", "-y".repeat(200)).chars().take(length).collect::<String>();
        let twin = name.replace('-', "_");
        assert_eq!(stripped(&json!({name.clone(): "user_id"}), &[&twin]), [twin.as_str()]);
        let longer = format!("{name}z");
        assert_eq!(stripped(&json!({name: "user_id"}), &[&longer]), [""; 0]);
    }
}

#[test]
fn headers_listed_for_stripping_are_stripped() {
    let config = config(json!({"strip_headers": ["X-Remote-User", "X_Ssl_Client"]}));
    let names = ["x-remote-user", "x.remote_user", "x-ssl-client", "x-user-id", "x-remote-users", "remote-user"];
    let headers: Vec<_> = names.iter().map(|name| ((*name).to_owned(), b"1".to_vec())).collect();
    let head = RequestHead { headers: &lend(&headers), has_body: false };
    assert_eq!(headers_to_strip(&head, &config.stripped_headers), names[..4]);
}

#[test]
fn pseudo_headers_are_not_stripped() {
    let config = config(json!({"identity_headers": {"-Path": "email"}, "strip_headers": ["_Method", ".scheme"]}));
    let headers = headers(&[(":path", b"/"), (":method", b"GET"), (":scheme", b"http"), ("-path", b"1")]);
    let head = RequestHead { headers: &lend(&headers), has_body: false };
    assert_eq!(headers_to_strip(&head, &config.stripped_headers), ["-path"]);
}

#[test]
fn the_credential_is_stripped_from_trailers() {
    let config = config(json!({"strip_headers": ["X-Remote-User"]}));
    let trailers = headers(&[
        ("authorization", b"Bearer a.b.c"),
        ("Authorization", b"1"),
        ("grpc-status", b"0"),
        ("x_user_id", b"1"),
        ("x.remote.user", b"1"),
        ("x-authorization", b"1"),
    ]);
    let expected = ["authorization", "Authorization", "x_user_id", "x.remote.user"];
    assert_eq!(trailers_to_strip(&lend(&trailers), &config.stripped_headers), expected);
}

#[test]
fn a_connection_header_cannot_name_the_filters_headers() {
    let stripped = config(json!({"strip_headers": ["X-Remote-User"]})).stripped_headers;
    for (values, becomes) in [
        (&["Upgrade"][..], None),
        (&["keep-alive, Upgrade,HTTP2-Settings"], None),
        (&["Upgrade, X-User-Id"], Some("Upgrade")),
        (&["x-user-id ,\tUpgrade"], Some("Upgrade")),
        (&["Upgrade,X_User.Id,x-client-id,X-IS-ADMIN,x-other"], Some("Upgrade, x-other")),
        (&["Upgrade, Authorization"], Some("Upgrade")),
        (&["Upgrade, x-remote-user"], Some("Upgrade")),
        (&["Upgrade, keep-alive", "X-User-Id"], Some("Upgrade, keep-alive")),
        // A server might read these as names, although they aren't.
        (&["Upgrade, X-User-Id;q=1"], Some("Upgrade")),
        (&["Upgrade, \"X-User-Id\""], Some("Upgrade")),
        (&["Upgrade, X-User-Id X-Client-Id"], Some("Upgrade")),
        (&["Upgrade,,"], Some("Upgrade")),
        (&["X-User-Id"], Some("")),
        (&[], None),
    ] {
        let headers: Vec<_> = values.iter().map(|value| ("connection", value.as_bytes())).collect();
        let headers = self::headers(&headers);
        let found = connection(&RequestHead { headers: &lend(&headers), has_body: false }, &stripped);
        assert_eq!(found.as_deref(), becomes.map(str::as_bytes), "{values:?}");
    }
}

#[test]
fn the_content_type_identifies_grpc() {
    for (value, is_grpc) in [
        (&b"application/grpc"[..], true),
        (b"application/grpc+proto", true),
        (b"application/grpc+json; charset=utf-8", true),
        (b"application/grpc;x=y", false),
        (b"Application/gRPC", false),
        (b"application/grpc-web", false),
        (b"application/grpc-web+proto", false),
        (b"application/grpcx", false),
        (b"application/json", false),
        (b"text/plain; application/grpc", false),
        (b"\xff", false),
        (b"", false),
    ] {
        let headers = headers(&[("content-type", value)]);
        assert_eq!(RequestHead { headers: &lend(&headers), has_body: false }.is_grpc(), is_grpc, "{value:?}");
    }
    assert!(!RequestHead { headers: &Vec::<(&str, &[u8])>::new(), has_body: false }.is_grpc());
}

#[test]
fn values_are_looked_up_by_their_exact_name() {
    let headers = headers(&[("a", b"1"), ("b", b"2"), ("a", b"3")]);
    let head = RequestHead { headers: &lend(&headers), has_body: false };
    assert_eq!(head.values("a").collect::<Vec<_>>(), [b"1", b"3"]);
    assert_eq!((head.value("a"), head.value("c")), (&b"1"[..], &b""[..]));
}
