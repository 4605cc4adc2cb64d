//! What the tests of the cache, single-flight and the clock have in common.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::Pending;
use super::{Answer, World, claims};
use crate::cache::Kind;
use crate::cache::refusals::ROWS;
use crate::filter::Filter;
use crate::host::{SharedData as _, StreamId, Write};

pub(super) type Headers = [(String, Vec<u8>)];

/// Workers that have the public key.
pub(super) fn with_key(workers: usize, overrides: Value) -> World {
    let mut world = World::with_workers(workers, overrides);
    world.tick();
    world.settle();
    world.tick();
    world
}

/// The service's answer about an API token, overridden by these claims.
pub(super) fn confirmed(changes: Value) -> Value {
    let mut confirmed = claims();
    confirmed["token_type"] = json!("api_token");
    confirmed.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
    confirmed
}

/// The service's answer with this JWT, for a `response_format`.
pub(super) fn in_format(format: &str, jwt: &str) -> Answer {
    match format {
        "jwt_header" => Answer::Headers(vec![("authorization", format!("Bearer {jwt}").into_bytes())]),
        _ => Answer::Body(200, jwt.to_owned()),
    }
}

pub(super) fn no() -> Answer {
    Answer::Body(401, r#"{"error": "Invalid token", "details": "gone"}"#.to_owned())
}

pub(super) fn down() -> Answer {
    Answer::Error(crate::introspection::CalloutError::Reset)
}

/// The code of a request that is answered at once; empty: it goes on; "waits": it has no answer yet.
pub(super) fn at_once(world: &mut World, worker: usize, headers: &Headers) -> &'static str {
    let stream = world.send_to(worker, headers);
    code_of(world, stream)
}

/// The code of a request; empty: it went on; "waits": it has no answer yet.
pub(super) fn code_of(world: &World, stream: StreamId) -> &'static str {
    world.ending(stream).map_or("waits", |outcome| outcome.code())
}

/// The code of a request while the service answers.
pub(super) fn code(world: &mut World, worker: usize, headers: &Headers) -> &'static str {
    let stream = world.send_to(worker, headers);
    for _ in 0..500 {
        match world.ending(stream) {
            Some(outcome) => return outcome.code(),
            None => world.live(Duration::from_millis(20)),
        }
    }
    "waits for ever"
}

/// The callouts that ask about a credential.
pub(super) fn questions(world: &World) -> Vec<Pending> {
    world.pending.iter().filter(|pending| pending.request.authorization().is_some()).cloned().collect()
}

pub(super) fn answer_question(world: &mut World, answer: &Answer) {
    let question = questions(world).remove(0);
    world.answer(&question, answer);
}

/// How many of the streams have ended.
pub(super) fn ended(world: &World, streams: &[StreamId]) -> usize {
    streams.iter().filter(|stream| world.ending(**stream).is_some()).count()
}

/// Ticks until all streams have ended, with this code and not too many in one event.
pub(super) fn all_end(world: &mut World, streams: &[StreamId], code: &str) {
    let mut before = ended(world, streams);
    for _ in 0..10_000 {
        if before == streams.len() {
            break;
        }
        let period = world.workers.iter().map(Filter::tick_period).min().unwrap();
        world.now = world.now.after(period);
        for worker in 0..world.workers.len() {
            world.tick_one(worker);
            let now = ended(world, streams);
            assert!(now - before <= 32, "{} in one event", now - before);
            before = now;
        }
    }
    for stream in streams {
        assert_eq!(world.ending(*stream).map(|outcome| outcome.code()), Some(code), "stream {stream}");
    }
    assert!(world.workers.iter().all(|worker| worker.waiting() == 0));
}

/// Empties the rows of leases, as if they had had no room.
pub(super) fn forget_leases(world: &World) {
    for (row, _) in world.process.stored(".l.") {
        world.process.set_shared_data(&row, &[], Write::Always).unwrap();
    }
}

/// The row that a refusal of this API token is in.
pub(super) fn refusal_row(world: &World, number: usize) -> u64 {
    let token = format!("{number}${}", "a".repeat(128));
    let digest = world.workers[0].parts.cache.digest(Kind::ApiToken, token.as_bytes());
    world.process.keyed_hash(&digest.0) % u64::from(ROWS)
}
