//! Configurations that are accepted, and what they become.

use super::*;
use crate::require::Require;

#[test]
fn the_example_is_the_same_as_json_and_as_a_struct() {
    let from_json = Config::from_bytes(example().to_string().as_bytes()).unwrap();
    let from_struct = from_struct(&example()).unwrap();
    assert_eq!(format!("{from_json:?}"), format!("{from_struct:?}"));

    assert_eq!(
        from_json.auth_service,
        AuthService {
            cluster: "auth_service".to_owned(),
            authority: "auth.internal".to_owned(),
            scheme: Scheme::Https,
            verify_path: "/auth/verify".to_owned(),
            public_key_path: "/iam/public-key".to_owned(),
            timeout: Duration::from_secs(1),
            retries: 1,
            forward_headers: ["x-request-id", "traceparent", "tracestate"].map(str::to_owned).to_vec(),
        }
    );
    assert_eq!(from_json.jwt.issuers, ["auth"]);
    assert_eq!(from_json.jwt.public_key.pem, [PublicKey::from_pem(RSA_2048).unwrap()]);
    assert_eq!(from_json.api_token.response_format, ResponseFormat::JwtHeader);
    assert_eq!(from_json.api_token.header_types, [HeaderType::Apikey, HeaderType::Other]);
    let is_public = |rule: &Rule| rule.terms.access == Access::Public;
    assert_eq!(from_json.rules.iter().map(is_public).collect::<Vec<_>>(), [true, false, false, false]);
    assert_ne!(from_json.rules[1].terms.access, from_json.rules.terms(None).access);
    let verification: Vec<_> = from_json.rules.iter().map(|rule| rule.terms.verification).collect();
    let (local, remote) = (Verification::Local, Verification::Remote);
    assert_eq!(verification, [local, local, remote, local]);
    assert_eq!(from_json.jwt.verification, Verification::Local);
    assert_eq!((from_json.revocation, from_json.failed_auth_throttle), (None, None));
    assert_eq!(from_json.rules.terms(None).forward_credential, ForwardCredential::VerifiedJwt);
    assert_eq!(from_json.realm, "my gateway");
    let names: Vec<&str> = from_json.identity_headers.iter().map(|header| header.name.as_ref()).collect();
    assert_eq!(names, ["x-user-id", "x-client-id", "x-user-type", "x-is-admin", "x-role"]);
}

#[test]
fn only_the_cluster_is_required() {
    let config = config(json!({}));
    assert_eq!(
        config.auth_service,
        AuthService {
            cluster: "auth_service".to_owned(),
            authority: "auth_service".to_owned(),
            scheme: Scheme::Http,
            verify_path: "/auth/verify".to_owned(),
            public_key_path: "/iam/public-key".to_owned(),
            timeout: Duration::from_secs(1),
            retries: 1,
            forward_headers: ["x-request-id", "traceparent", "tracestate"].map(str::to_owned).to_vec(),
        }
    );
    assert_eq!(config.jwt.token_types, [TokenType::Access, TokenType::ApiToken]);
    assert_eq!((config.jwt.issuers, config.jwt.audiences), (vec![], vec![]));
    assert_eq!(config.jwt.clock_skew, Duration::ZERO);
    assert_eq!(config.jwt.public_key.ttl, Duration::from_secs(3600));
    assert_eq!(config.jwt.public_key.min_refetch_interval, Duration::from_secs(5));
    assert_eq!(config.jwt.public_key.grace, Duration::from_secs(5));
    assert_eq!(config.jwt.public_key.pem, []);
    let api_token = ApiToken {
        response_format: ResponseFormat::JsonBody,
        answer_headers: AnswerHeaders::default(),
        header_types: vec![HeaderType::Apikey],
        accept_technical: false,
    };
    assert_eq!(config.api_token, api_token);
    assert!(config.rules.is_empty());
    let headers: Vec<(String, String)> =
        config.identity_headers.iter().map(|header| (header.name.to_string(), header.claim.to_string())).collect();
    let expected = [
        ("x-user-id", "user_id"),
        ("x-client-id", "client_id"),
        ("x-user-email", "email"),
        ("x-user-type", "user_type"),
        ("x-is-admin", "is_admin"),
    ];
    assert_eq!(headers, expected.map(|(name, claim)| (name.to_owned(), claim.to_owned())));
    let terms = Terms {
        access: Access::Require(Require::default()),
        verification: Verification::Local,
        forward_credential: ForwardCredential::Keep,
        mode: Mode::Enforce,
    };
    assert_eq!(config.rules.terms(None), &terms);
    assert!(config.jwt.required_claims.is_empty() && !config.kept_claims.has_others());
    assert_eq!(config.realm, "authgate");
    let empty = json!({
        "jwt": {"public_key": {}}, "api_token": {}, "cache": {}, "circuit_breaker": {}, "revocation": {},
        "failed_auth_throttle": {}, "rules": [], "identity_headers": {}, "strip_headers": [], "responses": {},
    });
    assert_eq!(format!("{:?}", self::config(empty)), format!("{:?}", self::config(json!({}))));
}

#[test]
fn values_at_their_limits_are_accepted() {
    for changes in [
        json!({"auth_service": {"cluster": "c", "timeout": "1ms", "retries": 0}}),
        json!({"auth_service": {"cluster": "c", "timeout": "60s", "retries": 3}}),
        json!({"auth_service": {"cluster": "c", "timeout": "1m", "retries": 3.0}}),
        json!({"jwt": {"clock_skew": "5m", "public_key": {"ttl": "1s", "min_refetch_interval": "100ms", "grace": "0s"}}}),
        json!({"jwt": {"token_types": ["technical", "api_token"], "public_key": {"ttl": "8760h"}}}),
        json!({"forward_credential": false}),
        json!({"responses": {"realm": "a'b c,d=e"}}),
    ] {
        config(changes);
    }
}

#[test]
fn the_authority_defaults_to_the_clusters_host() {
    for (cluster, authority) in [
        ("auth_service", "auth_service"),
        ("auth.example.com:8443", "auth.example.com:8443"),
        ("outbound|8080||auth.ns.svc.cluster.local", "auth.ns.svc.cluster.local"),
        ("outbound|443|v1|auth.example.com", "auth.example.com"),
    ] {
        assert_eq!(config(json!({"auth_service": {"cluster": cluster}})).auth_service.authority, authority);
    }
    for authority in ["a", "AUTH.example.com.", "10.0.0.1:80", "[::1]", "[2001:db8::1]:8443", "auth_1:80"] {
        let written = json!({"auth_service": {"cluster": "httproute/ns/auth/rule/0", "authority": authority}});
        assert_eq!(config(written).auth_service.authority, authority);
    }
}

#[test]
fn identity_headers_may_have_the_names_of_other_proxies() {
    for name in ["User", "Email", "Groups", "Preferred-Username", "Access-Token", "Roles"] {
        let name = format!("X-Forwarded-{name}");
        let config = config(json!({"identity_headers": {&name: "email"}, "strip_headers": ["X-Forwarded-For", &name]}));
        assert!(config.identity_headers.iter().any(|header| header.name.eq_ignore_ascii_case(&name)));
        assert!(config.stripped_headers.covers(name.replace('-', ".").as_bytes()));
    }
}

#[test]
fn another_spelling_of_a_default_header_replaces_it() {
    let config = config(json!({"identity_headers": {"x.user_id": "token_id", "X-CLIENT-ID": "client_id"}}));
    let names: Vec<&str> = config.identity_headers.iter().map(|header| header.name.as_ref()).collect();
    assert_eq!(names, ["x.user_id", "x-client-id", "x-user-email", "x-user-type", "x-is-admin"]);
}
