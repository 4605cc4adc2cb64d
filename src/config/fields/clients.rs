//! The fields on what clients send and what they are answered.

use crate::config::field::{Field, Given, Kind, Text};

pub(in crate::config) static CREDENTIALS: &[Field] = &[
    Field::new(
        "api_key_header",
        Kind::OrNull(&Kind::Text(Text::HeaderName)),
        Given::Nothing,
        "a header that holds an API token without a scheme; null: none does",
    )
    .example("\"X-API-Key\""),
    Field::new(
        "cookie",
        Kind::OrNull(&Kind::Text(Text::CookieName)),
        Given::Nothing,
        "the name of a cookie that holds a JWT; null: none does",
    )
    .example("\"session\""),
    Field::new(
        "websocket_protocol",
        Kind::Flag,
        Given::Flag(false),
        "whether a WebSocket client may offer a JWT as a protocol, base64url.bearer.authorization.k8s.io.<token>",
    ),
];

pub(in crate::config) static STATUS_PATHS: &[Field] = &[
    Field::new(
        "health",
        Kind::OrNull(&Kind::Text(Text::OwnPath)),
        Given::Nothing,
        "200 as long as known clients can be served, with what is up as JSON; null: there is none",
    )
    .example("\"/-/auth/health\""),
    Field::new(
        "readiness",
        Kind::OrNull(&Kind::Text(Text::OwnPath)),
        Given::Nothing,
        "200 once the public key and the revocation list are there, else 503; null: there is none",
    )
    .example("\"/-/auth/ready\""),
];

pub(in crate::config) static RESOURCE_METADATA: &[Field] = &[
    Field::new("resource", Kind::Text(Text::Resource), Given::Required, "the URL that names the protected resource")
        .example("\"https://api.example.com\""),
    Field::new(
        "authorization_servers",
        Kind::List(&Kind::Text(Text::Resource)),
        Given::Texts(&[]),
        "the issuers of its tokens",
    )
    .example(r#"["https://auth.example.com"]"#),
    Field::new("scopes_supported", Kind::List(&Kind::Text(Text::Scope)), Given::Texts(&[]), "scopes to ask for")
        .example(r#"["read"]"#),
];

pub(in crate::config) static RESPONSES: &[Field] = &[
    Field::new(
        "sign_in_url",
        Kind::OrNull(&Kind::Text(Text::Url)),
        Given::Nothing,
        "where a denied browser is told to sign in; null: nowhere",
    )
    .example("\"https://app.example.com/login\""),
    Field::new(
        "resource_metadata",
        Kind::OrNull(&Kind::Object(RESOURCE_METADATA)),
        Given::Nothing,
        "what is served as metadata of RFC 9728, whose URL a challenge names; null: nothing",
    )
    .example(r#"{"resource": "https://api.example.com"}"#),
    Field::new(
        "realm",
        Kind::Text(Text::Realm),
        Given::Text("authgate"),
        "of WWW-Authenticate; visible ASCII without \" and \\",
    ),
    Field::new(
        "cors_origins",
        Kind::List(&Kind::Text(Text::Origin)),
        Given::Texts(&[]),
        "the origins whose pages may read denials, as browsers write them",
    )
    .example(r#"["https://app.example.com"]"#),
];

pub(in crate::config) static FAILED_AUTH_THROTTLE: &[Field] = &[
    Field::new(
        "attempts",
        Kind::Whole { least: 0, most: 1_000_000 },
        Given::Whole(0),
        "failures that lock out; 0: none do",
    ),
    Field::new(
        "window",
        Kind::Duration { least: "1s", most: "24h" },
        Given::Text("60s"),
        "the time in which they have to come",
    ),
    Field::new("lockout", Kind::Duration { least: "1s", most: "24h" }, Given::Text("300s"), "how long the lock lasts"),
];
