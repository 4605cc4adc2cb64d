//! The fields on what the service answers: identities in headers, and its revocation list.

use crate::config::field::{Field, Given, Kind, Text};

pub(in crate::config) static ANSWER_HEADERS: &[Field] = &[
    Field::new("user_id", Kind::Text(Text::HeaderName), Given::Text("X-User-Id"), "the user's id, required"),
    Field::new("client_id", Kind::Text(Text::HeaderName), Given::Text("X-Client-Id"), "the client's id, required"),
    Field::new("email", Kind::Text(Text::HeaderName), Given::Text("X-User-Email"), "may be missing in an answer"),
    Field::new("user_type", Kind::Text(Text::HeaderName), Given::Text("X-User-Type"), "may be missing in an answer"),
    Field::new("is_admin", Kind::Text(Text::HeaderName), Given::Text("X-Is-Admin"), "may be missing in an answer"),
];

pub(in crate::config) static REVOCATION: &[Field] = &[
    Field::new(
        "path",
        Kind::OrNull(&Kind::Text(Text::ServicePath)),
        Given::Nothing,
        "the path of the revocation feed; null: there is none",
    )
    .example("\"/auth/blacklist\""),
    Field::new(
        "poll_interval",
        Kind::Duration { least: "1s", most: "1h" },
        Given::TextBy(["30s", "2s", "1s"]),
        "the time within which a revocation takes effect",
    ),
    Field::new(
        "cluster",
        Kind::OrNull(&Kind::Text(Text::Cluster)),
        Given::Nothing,
        "the Envoy cluster that serves it; null: the service's",
    )
    .example("\"revocations\""),
    Field::new(
        "authority",
        Kind::OrNull(&Kind::Text(Text::Authority)),
        Given::Nothing,
        ":authority there; null: the name of the other cluster, or the service's authority",
    )
    .example("\"revocations.internal\""),
];
