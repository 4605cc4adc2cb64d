//! What a stable toolchain can do without libFuzzer.
//!
//! `fuzz-on-stable <target> <seconds>` replays the target's inputs in `corpus/` and then mutations of them, the same
//! ones at every run, until the time is up. `fuzz-on-stable <target> <file>` replays one input.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use authgate_fuzz::{TARGETS, Target, corpus, mutation};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let target = arguments.first().and_then(|name| TARGETS.iter().find(|target| target.name == name));
    let (Some(target), [_, what]) = (target, &arguments[..]) else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("usage: fuzz-on-stable <target> <seconds or file>; the targets are {}", names.join(", "));
        return ExitCode::from(2);
    };
    match what.parse() {
        Ok(seconds) => fuzz(target, Duration::from_secs(seconds)),
        Err(_) => replay(target, Path::new(what)),
    }
}

fn replay(target: &Target, path: &Path) -> ExitCode {
    match std::fs::read(path) {
        Ok(input) => {
            (target.run)(&input);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            ExitCode::from(2)
        }
    }
}

fn fuzz(target: &Target, time: Duration) -> ExitCode {
    let name = target.name;
    let inputs: Vec<Vec<u8>> = corpus::inputs(name).into_iter().map(|(_, input)| input).collect();
    let mut mutator = mutation::Mutator::new(&inputs);
    let end = Instant::now() + time;
    let mut executions = 0;
    while executions < inputs.len() || Instant::now() < end {
        let input = inputs.get(executions).cloned().unwrap_or_else(|| mutator.next_input());
        if std::panic::catch_unwind(|| (target.run)(&input)).is_err() {
            let kept = std::env::temp_dir().join(format!("authgate-fuzz-{name}"));
            match std::fs::write(&kept, &input) {
                Ok(()) => eprintln!("{name}: a promise is broken by {}", kept.display()),
                Err(_) => eprintln!("{name}: a promise is broken by {}", input.escape_ascii()),
            }
            return ExitCode::FAILURE;
        }
        executions += 1;
    }
    println!("{name}: {executions} executions, {} of them from the corpus", inputs.len());
    ExitCode::SUCCESS
}
