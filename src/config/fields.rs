//! Every field of the configuration. The parser, its messages and the documents follow from this table.

mod answers;
mod clients;

pub(super) use answers::{ANSWER_HEADERS, REVOCATION};
pub(super) use clients::{CREDENTIALS, FAILED_AUTH_THROTTLE, RESOURCE_METADATA, RESPONSES, STATUS_PATHS};

use super::field::{Field, Given, HeaderUse, Kind, Text};
use super::{Audit, Eviction, HeaderType, Mode, Profile, ResponseFormat, Scheme, Verification};
use crate::credential::Scheme as Presented;

/// The whole configuration.
pub static CONFIGURATION: &[Field] = &[
    Field::new("profile", Kind::Word(PROFILES), Given::Text("production"), "which defaults apply"),
    Field::new(
        "mode",
        Kind::Word(MODES),
        Given::Text("enforce"),
        "whether denials are carried out; shadow: they are counted and reported, and the requests pass",
    ),
    Field::new("auth_service", Kind::Object(AUTH_SERVICE), Given::Required, "how to reach the authentication service"),
    Field::new("jwt", Kind::Object(JWT), Given::Nothing, "how a JWT is verified"),
    Field::new("api_token", Kind::Object(API_TOKEN), Given::Nothing, "how an API token is verified"),
    Field::new(
        "credentials",
        Kind::Object(CREDENTIALS),
        Given::Nothing,
        "further places for the credential, besides Authorization; a request has one credential in all places together",
    ),
    Field::new("cache", Kind::Object(CACHE), Given::Nothing, "how long the service's verdicts are kept"),
    Field::new(
        "circuit_breaker",
        Kind::Object(CIRCUIT_BREAKER),
        Given::Nothing,
        "when the service counts as down and isn't asked",
    ),
    Field::new("revocation", Kind::Object(REVOCATION), Given::Nothing, "the service's feed of revoked tokens"),
    Field::new(
        "failed_auth_throttle",
        Kind::Object(FAILED_AUTH_THROTTLE),
        Given::Nothing,
        "when clients that fail too often are locked out",
    ),
    Field::new(
        "rules",
        Kind::List(&Kind::Object(RULE)),
        Given::Nothing,
        "what each request needs; the first rule that matches decides; if none does, a credential is required",
    )
    .example(r#"[{"match": {"path": "/health"}, "public": true}, {"match": {"prefix": "/"}}]"#),
    Field::new(
        "identity_headers",
        Kind::Headers(&Kind::OrNull(&Kind::Text(Text::Claim))),
        Given::Nothing,
        "the headers that carry claims upstream, in addition to the five defaults; null removes a default",
    )
    .example(r#"{"X-Role": "role_params.role", "X-User-Email": null}"#)
    .header_use(HeaderUse::Identity),
    Field::new(
        "strip_headers",
        Kind::List(&Kind::Text(Text::HeaderName)),
        Given::Texts(&[]),
        "further headers that no client may send",
    )
    .example(r#"["X-Remote-User"]"#)
    .header_use(HeaderUse::Stripped),
    Field::new(
        "forward_credential",
        FORWARD,
        Given::Flag(true),
        "whether the client's credential is forwarded; jwt: the verified JWT in Authorization instead, which needs \
         response_format jwt_body or jwt_header",
    ),
    Field::new(
        "audit",
        Kind::Word(&[Audit::Off.name(), Audit::Denials.name(), Audit::All.name()]),
        Given::Text("denials"),
        "which requests are written to Envoy's log, as one line of JSON each; denials: including those of shadow mode",
    ),
    Field::new("status_paths", Kind::Object(STATUS_PATHS), Given::Nothing, "paths of the filter's own status"),
    Field::new("responses", Kind::Object(RESPONSES), Given::Nothing, "the filter's answers to clients"),
];

const PROFILES: &[&str] = &[Profile::Production.name(), Profile::Development.name(), Profile::Test.name()];

const VERIFICATIONS: &[&str] = &[Verification::Local.name(), Verification::Remote.name()];

const MODES: &[&str] = &[Mode::Enforce.name(), Mode::Shadow.name()];

/// Neither a refresh token nor one that resets a password can be an access token.
const TOKEN_TYPES: &[&str] = &["access", "api_token", "technical"];

const FORWARD: Kind = Kind::FlagOr(&["jwt"]);

pub(super) static AUTH_SERVICE: &[Field] = &[
    Field::new("cluster", Kind::Text(Text::Cluster), Given::Required, "an Envoy cluster").example("\"auth_service\""),
    Field::new(
        "authority",
        Kind::Text(Text::Authority),
        Given::Nothing,
        ":authority of callouts; by default the cluster's name, or the host in one of Istio's names",
    )
    .example("\"auth.internal:8080\""),
    Field::new(
        "scheme",
        Kind::Word(&[Scheme::Http.name(), Scheme::Https.name()]),
        Given::Text("http"),
        ":scheme of callouts; https if the cluster has TLS",
    ),
    Field::new(
        "verify_path",
        Kind::Text(Text::ServicePath),
        Given::Text("/auth/verify"),
        "the path for questions about credentials",
    ),
    Field::new(
        "public_key_path",
        Kind::Text(Text::ServicePath),
        Given::Text("/iam/public-key"),
        "the path of the public key",
    ),
    Field::new(
        "timeout",
        Kind::Duration { least: "1ms", most: "60s" },
        Given::TextBy(["1s", "5s", "5s"]),
        "the timeout of one attempt",
    ),
    Field::new("retries", Kind::Whole { least: 0, most: 3 }, Given::Whole(1), "further attempts after a failed one"),
    Field::new(
        "forward_headers",
        Kind::List(&Kind::Text(Text::HeaderName)),
        Given::Texts(&["x-request-id", "traceparent", "tracestate"]),
        "request headers that are copied to the question about its credential; the service must not decide by them",
    )
    .header_use(HeaderUse::Forwarded),
];

pub(super) static JWT: &[Field] = &[
    Field::new(
        "verification",
        Kind::Word(VERIFICATIONS),
        Given::Text("local"),
        "who verifies JWTs, unless a rule says otherwise: the filter with the service's key, or the service",
    ),
    Field::new(
        "token_types",
        Kind::Distinct(&Kind::Word(TOKEN_TYPES)),
        Given::Texts(&["access", "api_token"]),
        "the types of JWT that a client may present",
    ),
    Field::new(
        "required_claims",
        Kind::List(&Kind::Text(Text::ClaimName)),
        Given::Texts(&[]),
        "claims that a JWT, or the service's answer in JSON, must have in addition to the four that are always required",
    )
    .example(r#"["jti", "address.country"]"#),
    Field::new("issuers", Kind::List(&Kind::Text(Text::Some)), Given::Texts(&[]), "accepted iss; unchecked when empty")
        .example(r#"["https://auth.example.com"]"#),
    Field::new(
        "audiences",
        Kind::List(&Kind::Text(Text::Some)),
        Given::Texts(&[]),
        "accepted aud; unchecked when empty",
    )
    .example(r#"["gateway"]"#),
    Field::new("clock_skew", Kind::Duration { least: "0s", most: "5m" }, Given::Text("0s"), "leeway for exp and nbf"),
    Field::new("public_key", Kind::Object(PUBLIC_KEY), Given::Nothing, "the service's public key"),
];

pub(super) static PUBLIC_KEY: &[Field] = &[
    Field::new(
        "ttl",
        Kind::Duration { least: "1s", most: "8760h" },
        Given::TextBy(["1h", "1m", "1m"]),
        "the age at which the key is fetched again",
    ),
    Field::new(
        "min_refetch_interval",
        Kind::Duration { least: "100ms", most: "5m" },
        Given::TextBy(["5s", "1s", "1s"]),
        "the least time between two fetches",
    ),
    Field::new(
        "grace",
        Kind::Duration { least: "0s", most: "24h" },
        Given::Text("5s"),
        "how long a replaced key is accepted",
    ),
    Field::new("pem", Kind::List(&Kind::Text(Text::Pem)), Given::Texts(&[]), "pinned keys, instead of fetched ones"),
    Field::new(
        "cluster",
        Kind::OrNull(&Kind::Text(Text::Cluster)),
        Given::Nothing,
        "the Envoy cluster that serves it; null: the service's",
    )
    .example("\"keys\""),
    Field::new(
        "authority",
        Kind::OrNull(&Kind::Text(Text::Authority)),
        Given::Nothing,
        ":authority there; null: the name of the other cluster, or the service's authority",
    )
    .example("\"keys.internal\""),
];

pub(super) static API_TOKEN: &[Field] = &[
    Field::new(
        "response_format",
        Kind::Word(&[
            ResponseFormat::JsonBody.name(),
            ResponseFormat::JsonHeader.name(),
            ResponseFormat::JwtBody.name(),
            ResponseFormat::JwtHeader.name(),
        ]),
        Given::Text("json_body"),
        "how the service answers",
    ),
    Field::new(
        "answer_headers",
        Kind::Object(ANSWER_HEADERS),
        Given::Nothing,
        "the headers of an answer in the format json_header",
    ),
    Field::new(
        "header_types",
        Kind::Distinct(&Kind::Word(&[HeaderType::Apikey.name(), HeaderType::Jwt.name(), HeaderType::Other.name()])),
        Given::Texts(&["apikey"]),
        "the credentials about which the service is asked; must contain apikey or other",
    ),
    Field::new(
        "accept_technical",
        Kind::Flag,
        Given::Flag(false),
        "whether technical tokens (deprecated) are accepted if the service vouches for them",
    ),
];

pub(super) static CACHE: &[Field] = &[
    Field::new(
        "max_entries",
        Kind::Whole { least: 1, most: 1_000_000 },
        Given::Whole(10_000),
        "the most verdicts per worker, at 1 KiB each",
    ),
    Field::new(
        "ttl",
        Kind::Duration { least: "0s", most: "24h" },
        Given::TextBy(["300s", "10s", "0s"]),
        "how long a verdict is fresh; 0s: no cache",
    ),
    Field::new(
        "negative_ttl",
        Kind::Duration { least: "0s", most: "1h" },
        Given::TextBy(["10s", "1s", "0s"]),
        "how long a refusal is the answer; 0s: refusals aren't kept",
    ),
    Field::new(
        "stale_ttl",
        Kind::Duration { least: "0s", most: "168h" },
        Given::TextBy(["1h", "1m", "0s"]),
        "how much longer a verdict may stand in for the service",
    ),
    Field::new(
        "eviction",
        Kind::Word(&[Eviction::Lru.name(), Eviction::Lfu.name()]),
        Given::Text("lru"),
        "which entry a full cache evicts: the least recently or the least frequently used",
    ),
];

pub(super) static CIRCUIT_BREAKER: &[Field] = &[
    Field::new(
        "failures",
        Kind::Whole { least: 1, most: 1000 },
        Given::WholeBy([5, 5, 1000]),
        "failures in a row that open the breaker",
    ),
    Field::new(
        "open_for",
        Kind::Duration { least: "100ms", most: "1h" },
        Given::TextBy(["60s", "5s", "1s"]),
        "how long the breaker stays open before one probe",
    ),
    Field::new(
        "fallback",
        Kind::Flag,
        Given::Flag(true),
        "whether a remote JWT may pass by its signature while the service is down",
    ),
];

pub(super) static RULE: &[Field] = &[
    Field::new(
        "name",
        Kind::Text(Text::RuleName),
        Given::Nothing,
        "the rule's name in logs and metrics, unique; by default rule_<index>",
    )
    .example("\"admin\""),
    Field::new("match", Kind::Object(MATCH), Given::Required, "the requests that the rule decides on; not empty")
        .example(r#"{"prefix": "/admin"}"#),
    Field::new("public", Kind::Flag, Given::Flag(false), "whether no credential is needed or verified"),
    Field::new(
        "optional",
        Kind::Flag,
        Given::Flag(false),
        "whether no credential is needed, but one that is sent must be valid",
    ),
    Field::new("deny", Kind::Flag, Given::Flag(false), "whether nobody is let in"),
    Field::new(
        "require",
        Kind::ObjectOrObjects(REQUIRE),
        Given::Nothing,
        "requirements on the identity: all fields of the object, or of one object of the list; not empty",
    )
    .example(r#"[{"user_types": ["system_admin"], "sso": true}, {"groups": ["ops"]}]"#),
    Field::new(
        "verification",
        Kind::Word(VERIFICATIONS),
        Given::Nothing,
        "who verifies JWTs; by default as in jwt.verification",
    ),
    Field::new(
        "forward_credential",
        FORWARD,
        Given::Nothing,
        "whether the client's credential is forwarded; by default as in the filter's forward_credential",
    )
    .example("false"),
    Field::new(
        "mode",
        Kind::Word(MODES),
        Given::Nothing,
        "whether denials are carried out; by default as in the filter's mode",
    ),
];

pub(super) static MATCH: &[Field] = &[
    Field::new("path", Kind::Text(Text::RulePath), Given::Nothing, "exactly this path").example("\"/health\""),
    Field::new("prefix", Kind::Text(Text::RulePath), Given::Nothing, "this path and all below it")
        .example("\"/admin\""),
    Field::new("regex", Kind::Text(Text::Regex), Given::Nothing, "a regular expression that matches the whole path")
        .example("\"/files/[^/]+\""),
    Field::new(
        "methods",
        Kind::Distinct(&Kind::Text(Text::Method)),
        Given::Texts(&[]),
        "methods in upper case, by default all; GET covers HEAD",
    )
    .example(r#"["GET", "POST"]"#),
    Field::new("hosts", Kind::Distinct(&Kind::Text(Text::Host)), Given::Texts(&[]), "hosts, by default all")
        .example(r#"["api.example.com", "*.example.org"]"#),
];

pub(super) static REQUIRE: &[Field] = &[
    Field::new(
        "schemes",
        Kind::Distinct(&Kind::Word(&[Presented::Apikey.name(), Presented::Bearer.name()])),
        Given::Nothing,
        "how the client presented the credential",
    )
    .example(r#"["apikey"]"#),
    Field::new(
        "token_types",
        Kind::Distinct(&Kind::Word(TOKEN_TYPES)),
        Given::Nothing,
        "one of these types of token, by default any",
    )
    .example(r#"["access"]"#),
    texts("user_types", "user_type is one of these").example(r#"["system_admin", "sales"]"#),
    ids("client_ids", "client_id is one of these"),
    Field::new("sso", Kind::Flag, Given::Nothing, "whether the user signed in by SSO, as sso_entity says")
        .example("true"),
    Field::new("is_admin", Kind::Flag, Given::Nothing, "is_admin has this value").example("true"),
    texts("groups", "user_groups contains one of these").example(r#"["admins"]"#),
    texts("roles", "role_params.role is one of these").example(r#"["support"]"#),
    Field::new("read_only", Kind::Flag, Given::Nothing, "role_params.read_only has this value").example("false"),
    ids("federation_ids", "federation_id is one of these"),
    Field::new(
        "claims",
        Kind::Claims,
        Given::Nothing,
        "each claim, by its dotted path, has one of these values, of the same type",
    )
    .example(r#"{"role_params.alias": ["s"], "tenant": ["acme", 7, true]}"#),
];

const fn texts(name: &'static str, about: &'static str) -> Field {
    Field::new(name, Kind::Distinct(&Kind::Text(Text::Some)), Given::Nothing, about)
}

const fn ids(name: &'static str, about: &'static str) -> Field {
    Field::new(name, Kind::Distinct(&Kind::Integer), Given::Nothing, about).example("[1, 2]")
}
