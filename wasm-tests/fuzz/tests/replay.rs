//! Every input of the corpus, and as many mutations of them as a test has time for.

use std::collections::BTreeSet;

use authgate_fuzz::{TARGETS, configuration, corpus, machine, mutation};

/// Mutations of each target.
const MUTATIONS: usize = 2_000;

#[test]
fn every_target_holds_on_its_corpus() {
    for target in TARGETS {
        let inputs = corpus::inputs(target.name);
        assert!(inputs.len() >= 8, "{} has only {} inputs", target.name, inputs.len());
        for (name, input) in inputs {
            println!("{}/{name}", target.name);
            (target.run)(&input);
        }
    }
}

#[test]
fn every_target_holds_on_mutations_of_its_corpus() {
    for target in TARGETS {
        let inputs: Vec<Vec<u8>> = corpus::inputs(target.name).into_iter().map(|(_, input)| input).collect();
        let mut mutator = mutation::Mutator::new(&inputs);
        for _ in 0..MUTATIONS {
            let input = mutator.next_input();
            println!("{}: {}", target.name, input.escape_ascii());
            (target.run)(&input);
        }
    }
}

/// A script that gets nowhere breaks no promise.
#[test]
fn the_scripts_of_the_corpus_get_everywhere() {
    let ends: BTreeSet<String> = corpus::inputs("machine")
        .into_iter()
        .flat_map(|(_, input)| machine::outcomes(&input))
        .map(|((outcome, code), _)| format!("{outcome:?} {}", code.map_or("", authgate::decision::Code::name)))
        .collect();
    for end in [
        "Allow ",
        "Public ",
        "Cancelled ",
        "Deny missing_credentials",
        "Deny malformed_credentials",
        "Deny token_malformed",
        "Deny signature_invalid",
        "Deny token_expired",
        "Deny token_not_yet_valid",
        "Deny token_type_not_accepted",
        "Deny token_rejected",
        "Deny forbidden_by_service",
        "Deny ambiguous_path",
        "Error auth_service_unavailable",
        "Error public_key_unavailable",
    ] {
        assert!(ends.contains(end), "{end} is missing: {ends:?}");
    }
}

#[test]
fn no_configuration_is_taken_with_a_value_of_a_wrong_type() {
    let (_, full) = corpus::inputs("configuration")
        .into_iter()
        .find(|(name, _)| name == "every-field.json")
        .expect("the configuration that has every field");
    configuration::refuses_every_confusion(&full);
}

#[test]
fn the_corpus_is_small() {
    let bytes: usize =
        TARGETS.iter().flat_map(|target| corpus::inputs(target.name)).map(|(_, input)| input.len()).sum();
    assert!(bytes < 200 * 1024, "{bytes} bytes");
}
