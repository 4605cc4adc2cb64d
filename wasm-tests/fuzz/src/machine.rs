//! The whole machine: several workers of one process, and everything that can happen to them in any order.
//!
//! An input is a [`script::Script`], as `arbitrary` reads it from bytes.

pub mod script;

mod check;
mod state;
mod tokens;
mod world;

use std::collections::HashMap;

use arbitrary::{Arbitrary as _, Unstructured};
use authgate::decision::Code;
use authgate::metrics::Outcome;

use script::{Event, Script};
use world::Machine;

/// Checks one input.
///
/// # Panics
/// If a promise is broken.
pub fn run(data: &[u8]) {
    outcomes(data);
}

/// How requests ended, and how many of them.
pub type Outcomes = HashMap<(Outcome, Option<Code>), u64>;

/// Checks one input, and tells what became of its requests.
///
/// # Panics
/// If a promise is broken.
pub fn outcomes(data: &[u8]) -> Outcomes {
    Script::arbitrary(&mut Unstructured::new(data)).map_or_else(|_| Outcomes::new(), |script| play(&script))
}

fn play(script: &Script) -> Outcomes {
    let mut machine = Machine::new(script.setup);
    for event in &script.events {
        match event {
            Event::Request { worker, presented, place, is_grpc, preflight } => {
                machine.request(usize::from(*worker), presented, *place, *is_grpc, preflight % 8 == 7);
            }
            Event::Answer { which, reply } => machine.answer(usize::from(*which), reply),
            Event::AnswerAgain { worker, which } => machine.answer_again(usize::from(*worker), usize::from(*which)),
            Event::Tick { worker } => machine.tick(usize::from(*worker)),
            Event::End { which } => machine.end(usize::from(*which)),
            Event::Pass { millis } => machine.pass(script::millis(*millis)),
            Event::Jump { seconds } => machine.jump(i64::from(*seconds)),
            Event::Rotate { key } => machine.rotate(usize::from(*key % script::KEYS)),
            Event::Restart { worker } => machine.restart(usize::from(*worker)),
        }
        machine.check();
    }
    machine.finish(script.leave)
}
