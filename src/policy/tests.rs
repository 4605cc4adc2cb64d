//! Which identities a rule lets pass.

use serde_json::{Value, json};

use super::*;
use crate::config::ResponseFormat;
use crate::introspection::{self, CalloutResponse, Verdict};
use crate::jwt::UntrustedJwt;
use crate::signature::Rs256;
use crate::testing::{BareHost, Signer, claims, config};

const TYPES: [&str; 6] = ["access", "refresh", "password_reset", "api_token", "technical", "something_new"];

/// An identity out of a JWT with these claims.
fn by_jwt(changes: Value) -> Identity {
    let signer = Signer::a();
    let token = signer.jwt(&claims(changes));
    let jwt = UntrustedJwt::parse(token.as_bytes()).unwrap();
    jwt.verify(&Rs256::new(&BareHost::default()), &[signer.public()][..]).unwrap().into()
}

/// An identity out of the service's answer with these claims.
fn by_answer(changes: Value) -> Identity {
    let body = claims(changes).to_string().into_bytes();
    let answer = CalloutResponse { status: 200, headers: vec![], body: Some(body) };
    match introspection::read(&answer, ResponseFormat::JsonBody, &crate::config::AnswerHeaders::default()).unwrap() {
        Verdict::Identity(confirmed) => confirmed.into(),
        verdict => panic!("{verdict:?}"),
    }
}

fn verdict(identity: Identity, presenter: Presenter, config: &Config) -> Result<(), Code> {
    accept(identity, presenter, config).map(drop)
}

fn outcome(accepted: bool) -> Result<(), Code> {
    if accepted { Ok(()) } else { Err(Code::TokenTypeNotAccepted) }
}

#[test]
fn a_token_must_have_a_configured_type() {
    for configured in
        [json!(["access"]), json!(["access", "api_token"]), json!(["technical"]), json!(["technical", "api_token"])]
    {
        let config = config(json!({"jwt": {"token_types": configured}}));
        for kind in TYPES {
            let accepted = configured.as_array().unwrap().contains(&json!(kind));
            let result = verdict(by_jwt(json!({"token_type": kind})), Presenter::Client, &config);
            assert_eq!(result, outcome(accepted), "{kind} where {configured} are configured");
        }
    }
}

#[test]
fn by_default_access_and_api_tokens_are_accepted() {
    for kind in TYPES {
        let result = verdict(by_jwt(json!({"token_type": kind})), Presenter::Client, &config(json!({})));
        assert_eq!(result, outcome(matches!(kind, "access" | "api_token")), "{kind}");
    }
}

#[test]
fn an_identity_from_the_service_must_have_an_access_type() {
    // `jwt.token_types` is about what a client presents.
    for accept_technical in [false, true] {
        let settings = json!({"accept_technical": accept_technical});
        let config = config(json!({"jwt": {"token_types": ["technical"]}, "api_token": settings}));
        for kind in TYPES {
            let is_good = matches!(kind, "access" | "api_token") || kind == "technical" && accept_technical;
            for identity in [by_jwt(json!({"token_type": kind})), by_answer(json!({"token_type": kind}))] {
                assert_eq!(verdict(identity, Presenter::Service, &config), outcome(is_good), "{kind}");
            }
        }
    }
}

#[test]
fn the_issuer_must_be_configured() {
    let with_issuers = config(json!({"jwt": {"issuers": ["auth", "auth-2"]}}));
    for (issuer, result) in [
        (json!("auth"), Ok(())),
        (json!("auth-2"), Ok(())),
        (json!("Auth"), Err(Code::ClaimsNotSufficient)),
        (json!("auth-3"), Err(Code::ClaimsNotSufficient)),
        (json!(""), Err(Code::ClaimsNotSufficient)),
        (Value::Null, Err(Code::ClaimsNotSufficient)),
    ] {
        for presenter in [Presenter::Client, Presenter::Service] {
            let identity = || by_jwt(json!({"iss": issuer}));
            assert_eq!(verdict(identity(), presenter, &with_issuers), result, "{issuer}");
            assert_eq!(verdict(identity(), presenter, &config(json!({}))), Ok(()), "{issuer}");
        }
    }
}

#[test]
fn the_audience_must_contain_a_configured_one() {
    let with_audiences = config(json!({"jwt": {"audiences": ["gateway", "api"]}}));
    for (audience, result) in [
        (json!("gateway"), Ok(())),
        (json!(["x", "api"]), Ok(())),
        (json!("x"), Err(Code::ClaimsNotSufficient)),
        (json!(["x"]), Err(Code::ClaimsNotSufficient)),
        (json!([]), Err(Code::ClaimsNotSufficient)),
        (Value::Null, Err(Code::ClaimsNotSufficient)),
    ] {
        let identity = || by_jwt(json!({"aud": audience}));
        assert_eq!(verdict(identity(), Presenter::Client, &with_audiences), result, "{audience}");
        assert_eq!(verdict(identity(), Presenter::Client, &config(json!({}))), Ok(()), "{audience}");
    }
}

#[test]
fn issuer_and_audience_must_both_match() {
    let config = config(json!({"jwt": {"issuers": ["auth"], "audiences": ["gateway"]}}));
    for (changes, result) in [
        (json!({"iss": "auth", "aud": "gateway"}), Ok(())),
        (json!({"iss": "auth", "aud": "x"}), Err(Code::ClaimsNotSufficient)),
        (json!({"iss": "x", "aud": "gateway"}), Err(Code::ClaimsNotSufficient)),
        // The type is checked first, so that a refresh token doesn't show what else would be accepted.
        (json!({"iss": "x", "aud": "x", "token_type": "refresh"}), Err(Code::TokenTypeNotAccepted)),
    ] {
        assert_eq!(verdict(by_jwt(changes.clone()), Presenter::Client, &config), result, "{changes}");
    }
}

#[test]
fn an_answer_that_is_not_a_jwt_needs_no_issuer_or_audience() {
    let config = config(json!({"jwt": {"issuers": ["auth"], "audiences": ["gateway"]}}));
    let identity = by_answer(json!({"token_type": "api_token"}));
    assert_eq!(verdict(identity, Presenter::Service, &config), Ok(()));
}

#[test]
fn a_permit_holds_the_identity() {
    let config = config(json!({}));
    let identity = by_jwt(json!({}));
    let accepted = accept(identity.clone(), Presenter::Client, &config).unwrap();
    assert_eq!(Permit::in_shadow(Some(accepted.clone())).identity(), Some(&identity));
    let permit = authorise(accepted, Presenter::Client, None, None).unwrap();
    assert_eq!(permit.identity(), Some(&identity));
    assert_eq!(identity.jwt(), Some(Signer::a().jwt(&claims(json!({}))).as_bytes()));
    assert_eq!(by_answer(json!({})).jwt(), None);
    assert_eq!(by_answer(json!({})).claims(), identity.claims());
    assert_eq!(Permit::without_identity().identity(), None);
    assert_eq!(Permit::in_shadow(None).identity(), None);
}

#[test]
fn header_values_are_exact_and_cannot_contain_another_header() {
    let made = |headers: &[(&str, &str)]| headers.iter().copied().collect::<Headers>();
    assert!(made(&[]).is_empty());
    for headers in [&[("x-user-id", "7")][..], &[("a", ""), ("b", "β ,;")], &[("a", "1"), ("", ""), ("a", "1")]] {
        assert_eq!(made(headers).iter().collect::<Vec<_>>(), headers);
        assert_eq!(made(headers).is_empty(), headers.is_empty());
    }
    let injected = made(&[("a", "1\nx-is-admin\ntrue"), ("b\n", "2"), ("c", "3")]);
    assert_eq!(injected.iter().collect::<Vec<_>>(), [("c", "3")]);
}
