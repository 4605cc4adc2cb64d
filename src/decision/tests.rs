//! The exact text of denials, and what goes upstream.

mod pages;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::config::ResponseFormat;
use crate::credential::Redacted;
use crate::extractor::lend;
use crate::introspection::{self, CalloutResponse, Verdict};
use crate::jwt::UntrustedJwt;
use crate::policy::{self, Identity, Presenter};
use crate::signature::Rs256;
use crate::testing::{BareHost, Signer, claims, config};

/// docs/reference.md#denials.
const CODES: [(Code, u16, &str); 21] = [
    (Code::MissingCredentials, 401, "missing_credentials"),
    (Code::MalformedCredentials, 401, "malformed_credentials"),
    (Code::UnsupportedScheme, 401, "unsupported_scheme"),
    (Code::TokenMalformed, 401, "token_malformed"),
    (Code::SignatureInvalid, 401, "signature_invalid"),
    (Code::TokenExpired, 401, "token_expired"),
    (Code::TokenNotYetValid, 401, "token_not_yet_valid"),
    (Code::TokenTypeNotAccepted, 401, "token_type_not_accepted"),
    (Code::TokenRevoked, 401, "token_revoked"),
    (Code::TokenRejected, 401, "token_rejected"),
    (Code::InsufficientUserAuthentication, 401, "insufficient_user_authentication"),
    (Code::ClaimsNotSufficient, 403, "claims_not_sufficient"),
    (Code::DeniedByRule, 403, "denied_by_rule"),
    (Code::ForbiddenByService, 403, "forbidden_by_service"),
    (Code::AmbiguousPath, 403, "ambiguous_path"),
    (Code::AmbiguousHost, 403, "ambiguous_host"),
    (Code::CrossSiteRequest, 403, "cross_site_request"),
    (Code::TooManyFailures, 429, "too_many_failures"),
    (Code::AuthServiceUnavailable, 503, "auth_service_unavailable"),
    (Code::PublicKeyUnavailable, 503, "public_key_unavailable"),
    (Code::Internal, 500, "internal"),
];

const HTTP: Client = Client { is_grpc: false, origin: None, navigates: false };
const GRPC: Client = Client { is_grpc: true, origin: None, navigates: false };

fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    let values: Vec<&str> =
        response.headers.iter().filter(|(known, _)| *known == name).map(|(_, value)| value.as_str()).collect();
    assert!(values.len() <= 1, "{name}: {values:?}");
    values.first().copied()
}

fn deny(code: Code) -> Response {
    Denial::from(code).response(&HTTP, Look::plain("authgate"))
}

#[test]
fn every_code_has_its_name_and_its_status() {
    assert_eq!(CODES.map(|(code, ..)| code), Code::ALL);
    for (code, status, name) in CODES {
        assert_eq!((code.status(), code.name()), (status, name));
        let response = deny(code);
        assert_eq!((response.status, response.code), (status, code));
        assert_eq!(response.response_code_details(), format!("authgate_{name}"));
    }
}

#[test]
fn the_reference_has_a_row_for_each_code_and_for_no_other() {
    let reference = include_str!("../../docs/reference.md");
    let (_, section) = reference.split_once("\n## Denials\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let cells = |row: &str| row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows: Vec<_> = section.lines().map(cells).filter(|row| row.len() == 6 && row[2].starts_with('`')).collect();
    let documented: BTreeSet<_> = rows
        .iter()
        .filter(|row| row[2] != "`code`")
        .map(|row| [&row[1], &row[2], &row[4]].map(String::clone))
        .collect();
    let given = Code::ALL
        .map(|code| [code.status().to_string(), format!("`{}`", code.name()), (code.grpc_status() as u8).to_string()]);
    assert_eq!(documented, BTreeSet::from(given));
}

#[test]
fn the_body_is_three_fields_of_json() {
    for (code, _, name) in CODES {
        let response = deny(code);
        let body: Value = serde_json::from_str(&response.body).unwrap();
        let fields: BTreeSet<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, BTreeSet::from(["error", "details", "code"]), "{}", response.body);
        assert_eq!(body["code"], name);
        for field in ["error", "details"] {
            assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{}", response.body);
        }
        assert!(body["details"].as_str().unwrap().ends_with('.'), "a sentence: {}", response.body);
    }
    assert_eq!(
        deny(Code::TokenExpired).body,
        r#"{"error": "Unauthorized", "details": "The token has expired.", "code": "token_expired"}"#
    );
}

#[test]
fn a_denial_is_json_that_nobody_may_store() {
    for (code, ..) in CODES {
        let response = deny(code);
        assert_eq!(header(&response, "content-type"), Some("application/json"));
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
        assert!(response.headers.iter().all(|(name, _)| *name == name.to_ascii_lowercase()));
    }
}

#[test]
fn only_a_401_has_a_challenge() {
    for (code, status, _) in CODES {
        assert_eq!(header(&deny(code), "www-authenticate").is_some(), status == 401, "{code:?}");
    }
}

#[test]
fn a_challenge_has_the_form_of_rfc_6750() {
    for (code, error) in [
        (Code::MissingCredentials, None),
        (Code::UnsupportedScheme, None),
        (Code::MalformedCredentials, Some("invalid_request")),
        (Code::TokenMalformed, Some("invalid_token")),
        (Code::SignatureInvalid, Some("invalid_token")),
        (Code::TokenExpired, Some("invalid_token")),
        (Code::TokenNotYetValid, Some("invalid_token")),
        (Code::TokenTypeNotAccepted, Some("invalid_token")),
        (Code::TokenRejected, Some("invalid_token")),
        (Code::TokenRevoked, Some("invalid_token")),
        // RFC 9470 section 3.
        (Code::InsufficientUserAuthentication, Some("insufficient_user_authentication")),
    ] {
        let response = Denial::from(code).response(&HTTP, Look::plain("my gate"));
        let expected = match error {
            None => r#"Bearer realm="my gate""#.to_owned(),
            Some(error) => {
                format!(r#"Bearer realm="my gate", error="{error}", error_description="{}""#, code.details())
            }
        };
        assert_eq!(header(&response, "www-authenticate"), Some(expected.as_str()), "{code:?}");
        // RFC 6750 section 3: the characters that error_description may hold.
        assert!(code.details().bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)));
    }
}

#[test]
fn a_429_and_a_503_have_a_retry_after() {
    for (code, status, _) in CODES {
        assert_eq!(header(&deny(code), "retry-after"), matches!(status, 429 | 503).then_some("1"), "{code:?}");
    }
}

#[test]
fn the_wait_is_rounded_up_to_whole_seconds() {
    for (wait, seconds) in [
        (Duration::ZERO, "1"),
        (Duration::from_nanos(1), "1"),
        (Duration::from_millis(999), "1"),
        (Duration::from_secs(1), "1"),
        (Duration::from_nanos(1_000_000_001), "2"),
        (Duration::from_millis(59_001), "60"),
        (Duration::from_secs(3_600), "3600"),
    ] {
        for client in [HTTP, GRPC] {
            let denial = Denial { code: Code::AuthServiceUnavailable, retry_after: Some(wait) };
            let response = denial.response(&client, Look::plain("authgate"));
            assert_eq!(header(&response, "retry-after"), Some(seconds), "{wait:?}");
        }
    }
}

#[test]
fn a_grpc_denial_has_both_statuses_and_only_the_code() {
    for (code, status, name) in CODES {
        let response = Denial::from(code).response(&GRPC, Look::plain("authgate"));
        let expected = match status {
            401 => 16,
            403 => 7,
            429 => 8,
            503 => 14,
            _ => 13,
        };
        assert_eq!((response.grpc as u8, response.body.as_str(), response.status), (expected, name, status));
        assert_eq!(deny(code).grpc, response.grpc);
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
        assert_eq!(header(&response, "content-type"), None, "it is gRPC's own");
        assert_eq!(header(&response, "www-authenticate").is_some(), status == 401);
    }
}

fn head(headers: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}

const ORIGIN: &str = "https://app.example";

#[test]
fn only_a_listed_origin_may_read_a_denial() {
    let config = config(json!({"responses": {"cors_origins": [ORIGIN, "http://localhost:3000"]}}));
    for (origin, is_listed) in [
        (Some(ORIGIN), true),
        (Some("http://localhost:3000"), true),
        (Some("https://app.example.evil"), false),
        (Some("https://app.example:444"), false),
        (Some("http://app.example"), false),
        (Some("https://APP.example"), false),
        (Some("null"), false),
        (Some("*"), false),
        (Some(""), false),
        (None, false),
    ] {
        let headers = head(&origin.map(|origin| ("origin", origin)).into_iter().collect::<Vec<_>>());
        let client = Client::of(&RequestHead { headers: &lend(&headers), has_body: false }, &config);
        for (code, ..) in CODES {
            let response = Denial::from(code).response(&client, Look::plain("authgate"));
            let allowed = header(&response, "access-control-allow-origin");
            assert_eq!(allowed, origin.filter(|_| is_listed), "{origin:?}");
            for name in ["access-control-allow-credentials", "access-control-expose-headers", "vary"] {
                assert_eq!(header(&response, name).is_some(), is_listed, "{origin:?}: {name}");
            }
        }
    }
}

#[test]
fn a_page_of_a_listed_origin_may_read_the_challenge_and_the_wait() {
    let client = Client { origin: Some(ORIGIN.to_owned()), ..HTTP };
    for code in Code::ALL {
        let response = Denial::from(code).response(&client, Look::plain("authgate"));
        for (name, value) in [
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "www-authenticate, retry-after"),
            ("vary", "origin"),
        ] {
            assert_eq!(header(&response, name), Some(value), "{code:?}");
        }
    }
}

#[test]
fn a_preflight_request_names_a_listed_origin_and_a_method() {
    let config = config(json!({"responses": {"cors_origins": [ORIGIN]}}));
    for (headers, is_preflight) in [
        (&[(":method", "OPTIONS"), ("origin", ORIGIN), ("access-control-request-method", "PUT")][..], true),
        (&[(":method", "OPTIONS"), ("origin", ORIGIN)], false),
        (&[(":method", "OPTIONS"), ("origin", ORIGIN), ("access-control-request-method", "")], false),
        (&[(":method", "GET"), ("origin", ORIGIN), ("access-control-request-method", "PUT")], false),
        (&[(":method", "options"), ("origin", ORIGIN), ("access-control-request-method", "PUT")], false),
        (&[(":method", "OPTIONS"), ("origin", "https://x"), ("access-control-request-method", "PUT")], false),
        (&[(":method", "OPTIONS"), ("access-control-request-method", "PUT")], false),
    ] {
        let headers = head(headers);
        let head = RequestHead { headers: &lend(&headers), has_body: false };
        assert_eq!(Client::is_preflight(&head, &config), is_preflight, "{headers:?}");
    }
}

#[test]
fn a_preflight_request_has_no_body_and_asks_for_no_tunnel() {
    let config = config(json!({"responses": {"cors_origins": [ORIGIN]}}));
    let is_preflight = |name: &str, value: &str, has_body: bool| {
        let headers = head(&[
            (":method", "OPTIONS"),
            ("origin", ORIGIN),
            ("access-control-request-method", "PUT"),
            (name, value),
        ]);
        let head = RequestHead { headers: &lend(&headers), has_body };
        Client::is_preflight(&head, &config)
    };
    assert!(is_preflight("content-length", "0", false));
    assert!(is_preflight("connection", "keep-alive", false));
    assert!(!is_preflight("x-other", "", true));
    for (name, value) in [
        ("upgrade", "websocket"),
        ("upgrade", ""),
        (":protocol", "websocket"),
        ("content-length", "1"),
        ("content-length", "00"),
        ("content-length", ""),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
    ] {
        assert!(!is_preflight(name, value, false), "{name}: {value}");
    }
}

fn by_jwt(token: &str) -> Identity {
    let jwt = UntrustedJwt::parse(token.as_bytes()).unwrap();
    jwt.verify(&Rs256::new(&BareHost::default()), &[Signer::a().public()][..]).unwrap().into()
}

fn by_answer(changes: Value) -> Identity {
    let body = Some(claims(changes).to_string().into_bytes());
    match introspection::read(
        &CalloutResponse { status: 200, headers: vec![], body },
        ResponseFormat::JsonBody,
        &crate::config::AnswerHeaders::default(),
    ) {
        Ok(Verdict::Identity(confirmed)) => confirmed.into(),
        verdict => panic!("{verdict:?}"),
    }
}

fn go_on(identity: Identity, changes: Value) -> Result<Forward, Code> {
    let config = config(changes);
    let accepted = policy::accept(identity, Presenter::Service, &config).unwrap();
    let permit = policy::authorise(accepted, Presenter::Service, None, None).unwrap();
    forward(&permit, None, config.rules.terms(None).forward_credential, &config)
}

fn set(forward: &Forward) -> Vec<(&str, &str)> {
    forward.set.iter().collect()
}

#[test]
fn the_identity_goes_upstream_in_the_default_headers() {
    for identity in [by_jwt(&Signer::a().jwt(&claims(json!({})))), by_answer(json!({}))] {
        let forward = go_on(identity, json!({})).unwrap();
        assert_eq!(
            set(&forward),
            [
                ("x-user-id", "17"),
                ("x-client-id", "23"),
                ("x-user-email", "user@example.com"),
                ("x-user-type", "common"),
                ("x-is-admin", "false"),
            ]
        );
        assert_eq!(forward.authorization, Authorization::Keep);
    }
}

#[test]
fn an_absent_claim_sets_no_header() {
    let identity = by_answer(json!({"email": null, "user_type": null, "is_admin": null}));
    assert_eq!(set(&go_on(identity, json!({})).unwrap()), [("x-user-id", "17"), ("x-client-id", "23")]);
}

#[test]
fn configured_headers_carry_configured_claims() {
    let headers = json!({
        "X-User-Email": null, "X-Is-Admin": null, "X-User-Type": null, "X-Client-Id": "federation_id",
        "X-Groups": "user_groups", "X-Role": "role_params.role", "X-Sso": "sso_entity",
    });
    let identity = by_answer(json!({"user_groups": ["a", "b"], "role_params": {"role": "r"}, "federation_id": 4}));
    let forward = go_on(identity, json!({"identity_headers": headers})).unwrap();
    let mut found = set(&forward);
    found.sort_unstable();
    assert_eq!(found, [("x-client-id", "4"), ("x-groups", "a,b"), ("x-role", "r"), ("x-user-id", "17")]);
}

#[test]
fn a_claim_that_is_no_header_value_denies_the_request() {
    for changes in [json!({"email": "a\r\nx-is-admin: true"}), json!({"user_type": "\0"})] {
        assert_eq!(go_on(by_answer(changes), json!({})), Err(Code::TokenMalformed));
    }
    let grouped = json!({"identity_headers": {"X-Groups": "user_groups"}});
    assert_eq!(go_on(by_answer(json!({"user_groups": ["a,admin"]})), grouped), Err(Code::TokenMalformed));
    let unused = by_answer(json!({"client_name": "a\nb", "user_groups": ["a,admin"]}));
    assert!(go_on(unused, json!({})).is_ok(), "claims that go nowhere do no harm");
}

#[test]
fn the_credential_is_forwarded_removed_or_replaced() {
    let token = Signer::a().jwt(&claims(json!({})));
    let to_jwt = json!({"forward_credential": "jwt", "api_token": {"response_format": "jwt_body"}});
    for (changes, of_jwt, of_answer) in [
        (json!({"forward_credential": true}), Authorization::Keep, Authorization::Keep),
        (json!({"forward_credential": false}), Authorization::Remove, Authorization::Remove),
        (to_jwt, Authorization::Replace(Redacted(format!("Bearer {token}"))), Authorization::Remove),
    ] {
        assert_eq!(go_on(by_jwt(&token), changes.clone()).unwrap().authorization, of_jwt, "{changes}");
        assert_eq!(go_on(by_answer(json!({})), changes.clone()).unwrap().authorization, of_answer, "{changes}");
        let config = config(changes.clone());
        let public =
            forward(&Permit::without_identity(), None, config.rules.terms(None).forward_credential, &config).unwrap();
        assert!(public.set.is_empty(), "a public request has no identity");
        let of_public = if of_jwt == Authorization::Keep { Authorization::Keep } else { Authorization::Remove };
        assert_eq!(public.authorization, of_public, "{changes}");
    }
}
