//! What an operator reads: what is wrong, and what to write instead.

use super::*;

/// What replaces a field, and the message about it.
const MESSAGES: &[(&str, &str)] = &[
    (r#""cache": {"ttl": 300}"#, r#"cache.ttl: is 300, but must be a duration, a string with a unit: write "300s""#),
    (
        r#""cache": {"ttl": 0.5}"#,
        r#"cache.ttl: is a number, but must be a duration, a string with a unit: write "1.5s""#,
    ),
    (
        r#""cache": {"ttl": "300"}"#,
        r#"cache.ttl: is "300", but a duration is a number with a unit (ms, s, m or h): write "300s""#,
    ),
    (
        r#""cache": {"ttl": "soon"}"#,
        r#"cache.ttl: is "soon", but a duration is a number with a unit (ms, s, m or h), as in "30s""#,
    ),
    (
        r#""cache": {"ttl": "5min"}"#,
        r#"cache.ttl: is "5min", but a duration is a number with a unit (ms, s, m or h), as in "30s""#,
    ),
    (
        r#""cache": {"ttl": "1h30m"}"#,
        r#"cache.ttl: is "1h30m", but a duration is a number with a unit (ms, s, m or h): only one unit"#,
    ),
    (
        r#""cache": {"ttl": "1.2345s"}"#,
        r#"cache.ttl: is "1.2345s", but a duration is a number with a unit (ms, s, m or h): at most three decimal places"#,
    ),
    (
        r#""cache": {"ttl": "-5s"}"#,
        r#"cache.ttl: is "-5s", but a duration is a number with a unit (ms, s, m or h): not a negative one"#,
    ),
    (
        r#""cache": {"ttl": "1d"}"#,
        r#"cache.ttl: is "1d", but a duration is a number with a unit (ms, s, m or h): a day is 24h"#,
    ),
    (r#""cache": {"ttl": "25h"}"#, r#"cache.ttl: is "25h", but must be from 0s to 24h"#),
    (r#""cache": {"eviction": "fifo"}"#, r#"cache.eviction: is "fifo", but must be lru or lfu"#),
    (r#""cache": {"eviction": 1}"#, "cache.eviction: is 1, but must be lru or lfu"),
    (r#""cache": {"max_entries": 0}"#, "cache.max_entries: is 0, but must be a whole number from 1 to 1000000"),
    (
        r#""cache": {"max_entries": "10"}"#,
        r#"cache.max_entries: is "10", but must be a whole number from 1 to 1000000, without quotes"#,
    ),
    (
        r#""cache": {"max_entries": 0.5}"#,
        "cache.max_entries: is a number, but must be a whole number from 1 to 1000000",
    ),
    (r#""auth_service": {"cluster": 1}"#, r#"auth_service.cluster: is 1, but must be a string: write "1""#),
    (r#""auth_service": {"cluster": true}"#, "auth_service.cluster: is true, but must be a string: write it in quotes"),
    (
        r#""auth_service": {"cluster": "http://auth.default.svc:9000"}"#,
        r#"auth_service.cluster: is "http://auth.default.svc:9000", but must be the name of an Envoy cluster: visible ASCII, and not a URL"#,
    ),
    (
        r#""auth_service": {"cluster": "https://c", "authority": "c"}"#,
        r#"auth_service.cluster: is "https://c", but must be the name of an Envoy cluster: visible ASCII, and not a URL"#,
    ),
    (
        r#""revocation": {"path": "/r", "cluster": "http://r"}"#,
        r#"revocation.cluster: is "http://r", but must be the name of an Envoy cluster: visible ASCII, and not a URL"#,
    ),
    (
        r#""auth_service": {"cluster": "c", "authority": "http://a"}"#,
        r#"auth_service.authority: is "http://a", but must be a host name or an address, with or without a port"#,
    ),
    (r#""auth_service": "c""#, r#"auth_service: is "c", but must be an object"#),
    (r#""jwt": null"#, "jwt: is null: write its fields below it, or omit it"),
    (r#""jwt": {"issuers": "iam"}"#, r#"jwt.issuers: is "iam", but must be a list: write ["iam"]"#),
    (
        r#""rules": [{"match": {"path": "/a"}, "require": "is_admin"}]"#,
        r#"rules[0].require: is "is_admin", but must be an object or a list of objects"#,
    ),
    (r#""rules": null"#, "rules: is null: write a value, or omit the field"),
    (
        r#""rules": [{"match": {"path": "/a"}, "public": "true"}]"#,
        r#"rules[0].public: is "true", but must be true or false, without quotes"#,
    ),
    (r#""forward_credential": "yes""#, r#"forward_credential: is "yes", but must be true, false or "jwt""#),
    (
        r#""jwt": {"token_types": ["access", "refresh"]}"#,
        r#"jwt.token_types[1]: is "refresh", but must be access or api_token or technical"#,
    ),
    (
        r#""rules": [{"match": {"regex": "/c("}}]"#,
        r#"rules[0].match.regex: "/c(" is not a valid regular expression: unclosed group"#,
    ),
    (
        r#""rules": [{"match": {"prefix": "/a%20b"}}]"#,
        r#"rules[0].match.prefix: "/a%20b" contains a space or a non-ASCII character, escaped or not: match both forms with a regex, as in /a( |%20)b"#,
    ),
    (
        r#""rules": [{"match": {"path": "/caf%c3%A9"}}]"#,
        r#"rules[0].match.path: "/caf%c3%A9" contains a space or a non-ASCII character, escaped or not: match both forms with a regex, as in /a( |%20)b"#,
    ),
    (
        r#""rules": [{"match": {"path": "/%61"}}]"#,
        r#"rules[0].match.path: "/%61" can be read in several ways: write it decoded, without //, /., \, ;, ? and #"#,
    ),
    (r#""strip_headers": ["Host"]"#, r#"strip_headers[0]: "Host" is a header that the filter must not remove"#),
    (r#""strip_headers": ["X A"]"#, r#"strip_headers[0]: "X A" is not a header's name (RFC 9110 section 5.6.2)"#),
    (
        r#""auth_service": {"cluster": "c", "forward_headers": ["Accept"]}"#,
        r#"auth_service.forward_headers[0]: "Accept" is a header whose value would be wrong in a callout"#,
    ),
    (
        r#""credentials": {"api_key_header": "Host"}"#,
        r#"credentials.api_key_header: "Host" is a standard header, or Envoy's"#,
    ),
    (
        r#""api_token": {"answer_headers": {"email": "X Email"}}"#,
        r#"api_token.answer_headers.email: "X Email" is not a header's name (RFC 9110 section 5.6.2)"#,
    ),
    (
        r#""identity_headers": {"X-Role": "role"}"#,
        r#"identity_headers.X-Role: "role" is not a claim that a header can hold; did you mean role_params.role?"#,
    ),
    (
        r#""identity_headers": {"X-Roles": "roles"}"#,
        r#"identity_headers.X-Roles: "roles" is not a claim that a header can hold; did you mean role_params.role?"#,
    ),
    (
        r#""identity_headers": {"X-Type": "usertype"}"#,
        r#"identity_headers.X-Type: "usertype" is not a claim that a header can hold; did you mean user_type?"#,
    ),
    (r#""jwt": {"token_type": []}"#, "jwt.token_type: is not a field; did you mean token_types?"),
    (r#""rule": []"#, "rule: is not a field; did you mean rules?"),
    (r#""Cache": {}"#, "Cache: is not a field; did you mean cache?"),
    (r#""cahce": {}"#, "cahce: is not a field; did you mean cache?"),
    (r#""failedAuthThrottle": {}"#, "failedAuthThrottle: is not a field; did you mean failed_auth_throttle?"),
    (
        r#""revocation": {"interval": "1s"}"#,
        "revocation.interval: is not a field; the fields here are path, poll_interval, cluster, authority",
    ),
];

#[test]
fn each_message_says_what_is_expected() {
    for &(changes, message) in MESSAGES {
        assert_eq!(refused(changes).to_string(), message);
    }
}

#[test]
fn claims_are_listed_where_none_is_near() {
    let message = refused(r#""identity_headers": {"X-Team": "team"}"#).to_string();
    let expected =
        r#"identity_headers.X-Team: "team" is not a claim that a header can hold; these are: exp, nbf, iat, "#;
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn invalid_json_is_reported_with_line_and_column() {
    for (text, message) in [
        (
            "{\n  \"auth_service\": {cluster: 1}}",
            "configuration: must be JSON (line 2, column 20: expected a field's name in double quotes)",
        ),
        ("[]", "configuration: is a list, but must be an object"),
    ] {
        assert_eq!(only(Config::from_bytes(text.as_bytes())).to_string(), message);
    }
}

#[test]
fn all_errors_are_reported_at_once() {
    let text = r#"{
        "auth_service": {"timeout": 5, "retries": 9},
        "jwt": {"public_key": {"pem": ["x"]}},
        "api_token": {"header_types": ["jwt"]},
        "cache": {"size": 1, "ttl": null},
        "rules": [
            {"match": {"regex": "("}, "public": 1},
            {"match": {}},
            {"match": {"path": "/a", "prefix": "/b"}, "public": true, "verification": "local"},
            {"match": {"methods": ["get", "GET", "put"], "hosts": ["a.example", "b.*.example", "c.example.", "d.example:80"]}}
        ],
        "identity_headers": {"Host": "jti", "X-A": "nothing", "X-B": 1},
        "strip_headers": ["X A", "Host"]
    }"#;
    let errors = Config::from_bytes(text.as_bytes()).unwrap_err();
    let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    let mut expected = [
        "auth_service.cluster",
        "auth_service.timeout",
        "auth_service.retries",
        "jwt.public_key.pem[0]",
        "api_token.header_types",
        "cache.size",
        "cache.ttl",
        "rules[0].match.regex",
        "rules[0].public",
        "rules[1].match",
        "rules[2].match",
        "rules[2].verification",
        "rules[3].match.methods[0]",
        "rules[3].match.methods[2]",
        "rules[3].match.hosts[1]",
        "rules[3].match.hosts[2]",
        "rules[3].match.hosts[3]",
        "identity_headers.Host",
        "identity_headers.X-A",
        "identity_headers.X-B",
        "strip_headers[0]",
        "strip_headers[1]",
    ];
    expected.sort_unstable();
    let mut sorted = paths.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected, "{errors}");
    assert_eq!(errors.to_string().lines().count(), paths.len());
}

#[test]
fn a_file_of_another_kind_is_not_quoted_in_full() {
    let entries: Vec<String> = (0..10_000).map(|number| format!("\"field{number}\": 1")).collect();
    let errors = Config::from_bytes(format!("{{{}}}", entries.join(",")).as_bytes()).unwrap_err();
    assert_eq!(errors.iter().count(), 100);
}
