//! The whole machine: several workers of one process, and all events in any order.
//!
//! An input is a [`script::Script`], which `arbitrary` reads from bytes. Every answer of the service about a credential
//! has its own `client_id`, so that a request that goes on shows which answer it relies on.
//!
//! A script may set the wall clock. Only `exp` and `nbf` depend on it, and what the workers forget once a token has
//! expired. All else goes by the monotonic clock.

pub mod script;
pub mod setup;

mod breaker;
mod callouts;
mod checks;
mod credentials;
mod denial;
mod feed;
mod forward;
mod keys;
mod place;
mod polls;
mod requests;
mod shadow;
mod state;
mod sweep;
mod throttle;
mod world;

use std::collections::HashMap;

use arbitrary::{Arbitrary as _, Unstructured};
use authgate::Code;
use authgate::metrics::{Counter, Outcome};

use script::{Event, Script};
use world::Machine;

/// Checks one input.
///
/// # Panics
/// If a promise is broken.
pub fn run(data: &[u8]) {
    outcomes(data);
}

/// What was counted, and how often.
pub type Outcomes = HashMap<Counter, u64>;

/// How requests ended, and how many of them.
type Counted = HashMap<(Outcome, Option<Code>), u64>;

/// Checks one input, and returns what was counted.
///
/// # Panics
/// If a promise is broken.
pub fn outcomes(data: &[u8]) -> Outcomes {
    Script::arbitrary(&mut Unstructured::new(data)).map_or_else(|_| Outcomes::new(), |script| play(&script, false))
}

/// Checks one input, and prints each step.
///
/// # Panics
/// If a promise is broken.
pub fn trace(data: &[u8]) {
    if let Ok(script) = Script::arbitrary(&mut Unstructured::new(data)) {
        println!("{:?}", script.setup);
        play(&script, true);
    }
}

fn play(script: &Script, is_traced: bool) -> Outcomes {
    let mut machine = Machine::new(script.setup);
    machine.is_traced = is_traced;
    for event in &script.events {
        machine.trace(format_args!("{event:?}"));
        match event {
            Event::Request { worker, presented, place, is_grpc, is_preflight, address } => {
                machine.request(*worker, presented, *place, *is_grpc, *is_preflight, *address);
            }
            Event::Answer { which, reply } => machine.answer(usize::from(*which), reply),
            Event::AnswerAgain { worker, which } => machine.answer_again(usize::from(*worker), usize::from(*which)),
            Event::Tick { worker: Some(worker) } => machine.tick(usize::from(*worker)),
            Event::Tick { worker: None } => (0..script.setup.workers()).for_each(|worker| machine.tick(worker)),
            Event::Sweep => machine.sweep_all(),
            Event::End { which } => machine.end(usize::from(*which)),
            Event::Pass { millis } => machine.pass(*millis),
            Event::Jump { seconds } => machine.set_by += seconds,
            Event::Rotate { key } => machine.serves = usize::from(*key) % script::KEYS,
            Event::Restart { worker, dies } => machine.restart(usize::from(*worker), *dies),
            Event::Update { worker, cache, dies } => machine.update(usize::from(*worker), *cache, *dies),
            Event::Issue { slot, key, flaw } => machine.issue(usize::from(*slot), usize::from(*key), *flaw),
            Event::List { what, which } => machine.list(*what, usize::from(*which)),
        }
        machine.check();
    }
    machine.finish(script.leave)
}
