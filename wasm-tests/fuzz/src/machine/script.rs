//! What can happen to the workers of a process, in any order.
//!
//! Scripts are read byte by byte, so that a change of one byte changes one event.

use arbitrary::{Arbitrary, Result, Unstructured};

use super::setup::Setup;

/// The number of keys that the service can have.
pub const KEYS: usize = 3;

/// The most events of a script.
const MAX_EVENTS: usize = 300;

/// A configuration, and what happens under it.
#[derive(Debug)]
pub struct Script {
    /// The configuration.
    pub setup: Setup,
    /// Whether the clients leave at the end; otherwise they wait for their answers.
    pub leave: bool,
    /// What happens.
    pub events: Vec<Event>,
}

/// As many events as the bytes allow.
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

/// Something that happens. Numbers are taken modulo what there is.
#[derive(Debug)]
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
        /// Whether it is a CORS preflight request.
        is_preflight: bool,
        /// From which address.
        address: u8,
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
        /// Which; `None`: each, one after the other.
        worker: Option<u8>,
    },
    /// The timers of all workers fire until nothing is left to sweep.
    Sweep,
    /// A stream ends: its client leaves, or the response is complete.
    End {
        /// Which of all.
        which: u8,
    },
    /// Time passes; callouts that take too long are answered by the host.
    Pass {
        /// How much.
        millis: u64,
    },
    /// The wall clock is set.
    Jump {
        /// By how many seconds.
        seconds: i64,
    },
    /// The service has a new key.
    Rotate {
        /// Which.
        key: u8,
    },
    /// A worker ends, and another takes its place.
    Restart {
        /// Which.
        worker: u8,
        /// Whether it dies, and so can't give back what it holds.
        dies: bool,
    },
    /// A worker gets another configuration, which differs in the cache's settings alone.
    Update {
        /// Which.
        worker: u8,
        /// Which of the settings.
        cache: u8,
        /// Whether it dies, and so can't give back what it holds.
        dies: bool,
    },
    /// The clients get a new JWT.
    Issue {
        /// Which JWT it replaces.
        slot: u8,
        /// The key that signs it.
        key: u8,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The service adds an entry to its revocation list.
    List {
        /// What.
        what: u8,
        /// About which credential.
        which: u8,
    },
}

const PASSES: [u64; 16] = [1, 1, 5, 20, 100, 250, 500, 999, 1_000, 1_000, 2_000, 3_000, 6_000, 20_000, 70_000, 400_000];

const JUMPS: [i64; 8] = [-3_600, -600, -5, -1, 1, 5, 600, 3_600];

impl<'a> Arbitrary<'a> for Event {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let kind: u8 = bytes.arbitrary()?;
        Ok(match kind % 32 {
            0..=10 => {
                let (worker, presented, place): (u8, _, _) =
                    (bytes.arbitrary()?, bytes.arbitrary()?, bytes.arbitrary()?);
                let is_preflight = worker >= 250;
                Self::Request { worker, presented, place, is_grpc: worker & 64 != 0, is_preflight, address: kind / 32 }
            }
            11..=18 => Self::Answer { which: kind / 32, reply: bytes.arbitrary()? },
            19..=21 => Self::Tick { worker: Some(kind / 32) },
            22..=23 if kind < 247 => Self::Tick { worker: None },
            22..=23 => Self::Sweep,
            24..=26 => Self::Pass { millis: PASSES[usize::from(bytes.arbitrary::<u8>()? % 16)] },
            27 => Self::End { which: bytes.arbitrary()? },
            28 => Self::List { what: kind / 32, which: bytes.arbitrary()? },
            29 => Self::Issue { slot: kind / 32, key: bytes.arbitrary()?, flaw: bytes.arbitrary()? },
            30 => match kind / 32 {
                0..=3 => Self::Rotate { key: bytes.arbitrary()? },
                4..=5 => {
                    let worker: u8 = bytes.arbitrary()?;
                    Self::Restart { worker, dies: worker < 128 }
                }
                worker => {
                    let cache: u8 = bytes.arbitrary()?;
                    Self::Update { worker, cache, dies: cache < 128 }
                }
            },
            _ => match kind / 32 {
                0..=4 => Self::Jump { seconds: JUMPS[usize::from(bytes.arbitrary::<u8>()? % 8)] },
                worker => Self::AnswerAgain { worker, which: bytes.arbitrary()? },
            },
        })
    }
}

/// A path, by its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// No rule.
    Private,
    /// Only API tokens.
    Machines,
    /// Public.
    Public,
    /// Two rules.
    Ambiguous,
    /// A rule with JWTs verified by the service, if the setup allows that.
    Remote,
    /// A rule with JWTs verified by the filter.
    Local,
    /// A rule that needs no credential; one that is present must be valid.
    Optional,
    /// Every request is denied.
    Denied,
    /// Only API tokens; in shadow mode.
    Trial,
    /// Every request is denied; in shadow mode.
    DeniedTrial,
    /// Only API tokens; enforced in every mode of the filter.
    Strict,
    /// Two rules, both in shadow mode.
    AmbiguousTrial,
    /// Two rules, one of them in shadow mode.
    HalfTrial,
}

impl<'a> Arbitrary<'a> for Place {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let byte: u8 = bytes.arbitrary()?;
        if byte / 16 % 4 == 3 {
            return Ok(match byte % 16 {
                0..=4 => Self::Optional,
                5..=9 => Self::Trial,
                10..=11 => Self::Strict,
                12 => Self::Denied,
                13 => Self::DeniedTrial,
                14 => Self::AmbiguousTrial,
                _ => Self::HalfTrial,
            });
        }
        Ok(match byte % 16 {
            0..=4 => Self::Private,
            5..=6 => Self::Machines,
            7 => Self::Public,
            8 => Self::Ambiguous,
            9..=12 => Self::Remote,
            _ => Self::Local,
        })
    }
}

/// A credential. There are few of each kind, so that they recur.
#[derive(Debug)]
pub enum Presented {
    /// None.
    Nothing,
    /// The JWT in a slot.
    Jwt(u8),
    /// An API token.
    ApiToken(u8),
    /// Something that only the service knows.
    Other(u8),
    /// Two at once.
    Two,
    /// Any bytes.
    Bytes(Vec<u8>),
}

impl<'a> Arbitrary<'a> for Presented {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let byte: u8 = bytes.arbitrary()?;
        Ok(match byte % 16 {
            0..=6 => Self::ApiToken(byte % 16 / 2),
            7 => Self::Other(byte / 16),
            8..=13 => Self::Jwt(byte % 16 - 8),
            _ => match byte / 16 {
                0..=7 => Self::Other(byte),
                8..=9 => Self::Nothing,
                10..=11 => Self::Two,
                _ => {
                    let length = usize::from(bytes.arbitrary::<u8>()? % 24).min(bytes.len());
                    Self::Bytes(bytes.bytes(length)?.to_vec())
                }
            },
        })
    }
}

/// What may be wrong with claims, or with the JWT around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

impl<'a> Arbitrary<'a> for Flaw {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match bytes.arbitrary::<u8>()? % 16 {
            0..=4 => Self::None,
            5..=7 => Self::Short,
            8 => Self::Expired,
            9 => Self::Early,
            10 => Self::Refresh,
            11 => Self::OtherType,
            12 => Self::Unspeakable,
            13 => Self::Incomplete,
            14 => Self::Forged,
            _ => Self::Foreign,
        })
    }
}

/// How the service answers, or fails to.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With what was asked for: an identity, the key or the list.
    Good {
        /// The key that signs a JWT; `None`: the one that the service serves.
        key: Option<u8>,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// With the answer to another question.
    Crossed,
    /// With a status and a body that would be right with another. 0: with a head that has no status.
    Status(u16),
    /// With these bytes.
    Bytes(Vec<u8>),
    /// With too many bytes.
    TooLarge,
    /// The callout couldn't be sent.
    NotSent,
    /// The connection broke.
    Reset,
    /// With the right head, after which it breaks off.
    BreaksOff,
    /// With an invalid status line.
    NotHttp,
    /// With the right head; then the stream is reset, and the connection stays.
    StreamReset,
    /// With the right head and an unreadable body.
    Unread,
    /// With the right head and the beginning of the right body.
    Part,
}

impl<'a> Arbitrary<'a> for Reply {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let byte: u8 = bytes.arbitrary()?;
        Ok(match byte % 16 {
            0..=5 => Self::Good { key: None, flaw: Flaw::None },
            6..=8 => Self::Status(401),
            9 => Self::Status(403),
            10 => Self::Good { key: Some(byte / 16), flaw: bytes.arbitrary()? },
            11 => Self::Status(bytes.arbitrary()?),
            12..=13 => Self::Status([500, 502, 503, 504, 400, 404, 408, 429][usize::from(byte / 32)]),
            14 => Self::Crossed,
            _ => match byte / 16 {
                0..=1 => Self::Bytes(vec![byte]),
                2 => Self::BreaksOff,
                3 => Self::StreamReset,
                4..=5 => Self::TooLarge,
                6 => Self::NotHttp,
                7 => Self::Status(0),
                8..=9 => Self::NotSent,
                10 => Self::Unread,
                11 => Self::BreaksOff,
                12..=13 => Self::Reset,
                _ => Self::Part,
            },
        })
    }
}
