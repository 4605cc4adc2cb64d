//! The fields on what clients send and what they are answered.

use crate::config::field::{Field, Given, HeaderUse, Kind, Text};

pub(in crate::config) static CREDENTIALS: &[Field] = &[
    Field::new(
        "api_key_header",
        Kind::OrNull(&Kind::Text(Text::HeaderName)),
        Given::Nothing,
        "a header that holds an API token without a scheme; null: none does",
    )
    .example("\"X-API-Key\"")
    .header_use(HeaderUse::Credential),
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
        "always 200, with the state of the service as JSON; null: not served",
    )
    .example("\"/-/auth/health\""),
    Field::new(
        "readiness",
        Kind::OrNull(&Kind::Text(Text::OwnPath)),
        Given::Nothing,
        "200 once the public key and the revocation list are there, before that 503; null: not served",
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
    Field::new(
        "scopes_supported",
        Kind::List(&Kind::Text(Text::Scope)),
        Given::Texts(&[]),
        "the scopes that clients may request",
    )
    .example(r#"["read"]"#),
];

pub(in crate::config) static RESPONSES: &[Field] = &[
    Field::new(
        "sign_in_url",
        Kind::OrNull(&Kind::Text(Text::Url)),
        Given::Nothing,
        "where the page for denied browsers links to for signing in; null: no link",
    )
    .example("\"https://app.example.com/login\""),
    Field::new(
        "resource_metadata",
        Kind::OrNull(&Kind::Object(RESOURCE_METADATA)),
        Given::Nothing,
        "the metadata of RFC 9728, to whose URL challenges refer; null: not served",
    )
    .example(r#"{"resource": "https://api.example.com"}"#),
    Field::new(
        "realm",
        Kind::Text(Text::Realm),
        Given::Text("authgate"),
        "the realm of WWW-Authenticate; visible ASCII without \" and \\",
    ),
    Field::new(
        "cors_origins",
        Kind::List(&Kind::Text(Text::Origin)),
        Given::Texts(&[]),
        "the origins that may read denials and send preflights, as browsers write them",
    )
    .example(r#"["https://app.example.com"]"#),
];

pub(in crate::config) static FAILED_AUTH_THROTTLE: &[Field] = &[
    Field::new(
        "attempts",
        Kind::Whole { least: 0, most: 1_000_000 },
        Given::Whole(0),
        "the number of failures that lock a client out; 0: off",
    ),
    Field::new(
        "window",
        Kind::Duration { least: "1s", most: "24h" },
        Given::Text("60s"),
        "the time in which these failures count",
    ),
    Field::new("lockout", Kind::Duration { least: "1s", most: "24h" }, Given::Text("300s"), "how long the lock lasts"),
];
