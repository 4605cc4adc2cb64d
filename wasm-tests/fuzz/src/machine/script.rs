//! What can happen to the workers of a process, in any order.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use authgate::config::Config;
use serde_json::json;

/// How many keys the service can have.
pub const KEYS: u8 = 3;

/// The only origin that is listed.
pub const ORIGIN: &str = "https://app.example";

/// The most events of a script.
const MAX_EVENTS: usize = 300;

/// A configuration, and what happens under it.
#[derive(Debug)]
pub struct Script {
    /// The configuration.
    pub setup: Setup,
    /// At the end, whether the clients leave; else they stay until they have their answers.
    pub leave: bool,
    /// What happens.
    pub events: Vec<Event>,
}

/// As many events as there are bytes for: those that are derived for a `Vec` are two on average.
impl<'a> Arbitrary<'a> for Script {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let (setup, leave) = (bytes.arbitrary()?, bytes.arbitrary()?);
        let mut events = Vec::new();
        while !bytes.is_empty() && events.len() < MAX_EVENTS {
            events.push(bytes.arbitrary()?);
        }
        Ok(Self { setup, leave, events })
    }
}

/// The parts of the configuration that make a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Arbitrary)]
pub struct Setup {
    format: u8,
    retries: u8,
    interval: u8,
    forward: u8,
    workers: u8,
    has_skew: bool,
    is_pinned: bool,
}

impl Setup {
    /// How many workers there are.
    pub fn workers(self) -> usize {
        usize::from(self.workers % 3) + 1
    }

    /// `api_token.response_format`.
    pub fn format(self) -> &'static str {
        ["json_body", "json_header", "jwt_body", "jwt_header"][usize::from(self.format % 4)]
    }

    /// Whether the service answers with JWTs.
    pub fn answers_in_jwts(self) -> bool {
        self.format % 4 >= 2
    }

    /// `auth_service.retries`.
    pub fn retries(self) -> u32 {
        u32::from(self.retries % 3)
    }

    /// `auth_service.timeout`.
    pub const fn timeout(self) -> Duration {
        Duration::from_secs(1)
    }

    /// `jwt.public_key.min_refetch_interval`.
    pub fn interval(self) -> Duration {
        Duration::from_millis([100, 500, 5_000, 60_000][usize::from(self.interval % 4)])
    }

    /// `jwt.clock_skew`.
    pub fn skew(self) -> Duration {
        Duration::from_secs(if self.has_skew { 30 } else { 0 })
    }

    /// Whether the service's first key is pinned.
    pub fn is_pinned(self) -> bool {
        self.is_pinned
    }

    /// `forward_credential`.
    pub fn forward(self) -> &'static str {
        match self.forward % 3 {
            0 => "true",
            1 => "false",
            _ if self.answers_in_jwts() => "\"jwt\"",
            _ => "true",
        }
    }

    /// How long a fetch of the key may take, after which another worker may begin one.
    pub fn lease(self) -> Duration {
        self.timeout() * (self.retries() + 1) + Duration::from_secs(1)
    }

    /// How long a request may wait for a key.
    pub fn longest_wait(self) -> Duration {
        (self.lease() * 2 + self.interval()).min(Duration::from_secs(20))
    }

    /// The configuration itself.
    ///
    /// # Panics
    /// Never: each of them is one.
    pub fn config(self) -> Config {
        // An answer in headers doesn't tell what kind of token it is about.
        let types = if self.format() == "json_header" { vec!["apikey"] } else { vec!["apikey", "other"] };
        let pem: Vec<&str> = authgate::filter::world::KEYS.into_iter().take(usize::from(self.is_pinned)).collect();
        let json = json!({
            "auth_service": {"cluster": "auth", "retries": self.retries(), "timeout": "1s"},
            "jwt": {
                "clock_skew": format!("{}s", self.skew().as_secs()),
                "public_key": {
                    "ttl": "600s",
                    "min_refetch_interval": format!("{}ms", self.interval().as_millis()),
                    "pem": pem,
                },
            },
            "cache": {"ttl": "0s", "negative_ttl": "0s", "stale_ttl": "0s"},
            "circuit_breaker": {"failures": 1000},
            "api_token": {"response_format": self.format(), "header_types": types},
            "rules": [
                {"match": {"prefix": "/public"}, "public": true},
                {"match": {"prefix": "/machines"}, "require": {"token_types": ["api_token"]}},
            ],
            "forward_credential": serde_json::from_str::<serde_json::Value>(self.forward()).expect("JSON"),
            "responses": {"cors_origins": [ORIGIN]},
        });
        Config::from_bytes(json.to_string().as_bytes()).expect("a configuration")
    }
}

/// Something that happens. Numbers are taken modulo what there is.
#[derive(Debug, Arbitrary)]
pub enum Event {
    /// A request arrives.
    Request {
        /// At which worker.
        worker: u8,
        /// With which credential.
        presented: Presented,
        /// For which path.
        place: Place,
        /// Whether the client speaks gRPC.
        is_grpc: bool,
        /// Of eight, one makes it a CORS preflight request.
        preflight: u8,
    },
    /// A callout is answered.
    Answer {
        /// Which of those under way.
        which: u8,
        /// Like this.
        reply: Reply,
    },
    /// A callout is answered once more.
    AnswerAgain {
        /// At which worker.
        worker: u8,
        /// Which of those that have been answered.
        which: u8,
    },
    /// A worker's timer fires.
    Tick {
        /// Which.
        worker: u8,
    },
    /// A stream ends: its client leaves, or the response is complete.
    End {
        /// Which of all.
        which: u8,
    },
    /// Time passes; callouts that take too long are answered by the host.
    Pass {
        /// How much, as [`millis`] reads it.
        millis: u16,
    },
    /// The wall clock is set.
    Jump {
        /// By how many seconds.
        seconds: i16,
    },
    /// The service has a new key.
    Rotate {
        /// Which.
        key: u8,
    },
    /// A worker dies, and another takes its place.
    Restart {
        /// Which.
        worker: u8,
    },
}

/// A path, by the rule that it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
pub enum Place {
    /// None.
    Private,
    /// Only API tokens.
    Machines,
    /// Public.
    Public,
    /// Two of them.
    Ambiguous,
}

/// A credential.
#[derive(Debug, Arbitrary)]
pub enum Presented {
    /// None.
    Nothing,
    /// A JWT, signed with a key of the service.
    Jwt {
        /// Which key.
        key: u8,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// An API token.
    ApiToken,
    /// Something that only the service knows.
    Other,
    /// Two at once.
    Two,
    /// Any bytes.
    Bytes(Vec<u8>),
}

/// What may be wrong with claims, or with the JWT around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
pub enum Flaw {
    /// Nothing.
    None,
    /// Nothing yet: it expires in two seconds.
    Short,
    /// It has expired.
    Expired,
    /// It isn't valid yet, for ten seconds.
    Early,
    /// A refresh token.
    Refresh,
    /// A user's token where a machine's is asked for, and the other way round.
    OtherType,
    /// A claim that would end its header.
    Unspeakable,
    /// A required claim is missing.
    Incomplete,
    /// The claims were changed after they had been signed.
    Forged,
    /// Signed by somebody else.
    Foreign,
}

/// How the service answers, or fails to.
#[derive(Debug, Clone, Arbitrary)]
pub enum Reply {
    /// With what was asked for: an identity or the key.
    Good {
        /// For a JWT, by which key it is signed.
        key: u8,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// With the answer to the other question.
    Crossed,
    /// With a status, as [`status`] reads it, and a body that would be right with another.
    Status(u16),
    /// With bytes.
    Bytes(Vec<u8>),
    /// With too many of them.
    TooLarge,
    /// It couldn't be asked.
    NotSent,
    /// The connection broke.
    Reset,
}

/// Every other number is a status that means something, the rest are themselves.
pub fn status(number: u16) -> u16 {
    const TELLING: [u16; 8] = [401, 403, 500, 503, 204, 404, 302, 200];
    TELLING.get(usize::from(number % 16)).copied().unwrap_or(number)
}

/// Mostly less than a callout may take, so that more than timeouts come of it.
pub fn millis(number: u16) -> u64 {
    u64::from(if number.is_multiple_of(8) { number } else { number % 700 })
}
