//! The fuzz targets without libFuzzer.
//!
//! - `fuzz-on-stable <target> <file>` runs one input; that of `machine` prints what happens, step by step.
//! - `fuzz-on-stable <target> --runs <n>` runs the corpus and `n` mutations of it, the same ones every time.
//! - `fuzz-on-stable <target> --seconds <n>` runs the corpus and, until the time is up, other mutations every time.

use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use authgate_fuzz::{TARGETS, Target, corpus, machine, mutation};

/// When to stop.
#[derive(Debug, Clone, Copy)]
enum Budget {
    Runs(usize),
    Time(Duration),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("usage: fuzz-on-stable <target> (<file> | --runs <n> | --seconds <n>)");
        eprintln!("targets: {}", names.join(", "));
        ExitCode::from(2)
    })
}

/// `None` if the arguments are wrong.
fn run(arguments: &[&str]) -> Option<ExitCode> {
    let (name, rest) = arguments.split_first()?;
    let target = TARGETS.iter().find(|target| target.name == *name)?;
    Some(match rest {
        ["--runs", number] => fuzz(target, mutation::SEED, Budget::Runs(number.parse().ok()?)),
        ["--seconds", number] => {
            let seed = RandomState::new().hash_one(name);
            fuzz(target, seed, Budget::Time(Duration::from_secs(number.parse().ok()?)))
        }
        [path] => replay(target, Path::new(path)),
        _ => return None,
    })
}

fn replay(target: &Target, path: &Path) -> ExitCode {
    match std::fs::read(path) {
        Ok(input) if target.name == "machine" => machine::trace(&input),
        Ok(input) => (target.run)(&input),
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn fuzz(target: &Target, seed: u64, budget: Budget) -> ExitCode {
    let name = target.name;
    let inputs: Vec<Vec<u8>> = corpus::inputs(name).into_iter().map(|(_, input)| input).collect();
    let mut mutator = mutation::Mutator::new(&inputs, seed);
    let begin = Instant::now();
    let mut mutations = 0;
    let is_over = |mutations| match budget {
        Budget::Runs(most) => mutations >= most,
        Budget::Time(time) => begin.elapsed() >= time,
    };
    for input in &inputs {
        if !holds(target, input) {
            return ExitCode::FAILURE;
        }
    }
    while !is_over(mutations) {
        if !holds(target, &mutator.next_input()) {
            return ExitCode::FAILURE;
        }
        mutations += 1;
    }
    println!("{name}: {} inputs of the corpus, {mutations} mutations, {:?}", inputs.len(), begin.elapsed());
    ExitCode::SUCCESS
}

/// Whether the target keeps its promises. An input that breaks one is saved to a file.
fn holds(target: &Target, input: &[u8]) -> bool {
    if std::panic::catch_unwind(|| (target.run)(input)).is_ok() {
        return true;
    }
    let name = target.name;
    let kept = std::env::temp_dir().join(format!("authgate-fuzz-{name}"));
    match std::fs::write(&kept, input) {
        Ok(()) => eprintln!("{name}: a promise is broken by {}", kept.display()),
        Err(_) => eprintln!("{name}: a promise is broken by {}", input.escape_ascii()),
    }
    false
}
