//! Every input of the corpus, and mutations of them.

use std::collections::BTreeSet;

use authgate::Code;
use authgate_fuzz::{TARGETS, configuration, corpus, machine, mutation};

/// The number of mutations for each target.
const MUTATIONS: usize = 2_000;

#[test]
fn every_target_passes_on_its_corpus() {
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
fn every_target_passes_on_mutations_of_its_corpus() {
    for target in TARGETS {
        let inputs: Vec<Vec<u8>> = corpus::inputs(target.name).into_iter().map(|(_, input)| input).collect();
        let mut mutator = mutation::Mutator::new(&inputs, mutation::SEED);
        for _ in 0..MUTATIONS {
            let input = mutator.next_input();
            println!("{}: {}", target.name, input.escape_ascii());
            (target.run)(&input);
        }
    }
}

/// Scripts that reach no outcome break no promise either.
#[test]
fn the_scripts_of_the_corpus_reach_every_outcome() {
    let ends: BTreeSet<String> = corpus::inputs("machine")
        .into_iter()
        .flat_map(|(_, input)| machine::outcomes(&input))
        .map(|(counter, _)| counter.to_string().trim_start_matches("auth_").to_owned())
        .collect();
    let request = |rest: &str| format!("validation_requests_total.{rest}");
    let allowed =
        ["jwt", "cache", "stale", "callout", "fallback"].map(|source| format!("outcome=allow.source={source}"));
    for end in allowed.iter().map(String::as_str).chain(["outcome=public", "outcome=cancelled", "outcome=shadow_deny"])
    {
        assert!(ends.iter().any(|known| known.starts_with(&request(end))), "{end} is missing: {ends:?}");
    }
    let unreached = [Code::Internal, Code::AmbiguousHost, Code::InsufficientUserAuthentication, Code::CrossSiteRequest];
    for code in Code::ALL.iter().filter(|code| !unreached.contains(code)) {
        let reason = format!(".reason={}", code.name());
        // Enforced, and in shadow mode.
        for is_shadow in [false, true] {
            let is_wanted = |known: &&String| known.contains("outcome=shadow_deny") == is_shadow;
            assert!(
                ends.iter().filter(is_wanted).any(|known| known.ends_with(&reason)),
                "{reason} is missing, in shadow mode: {is_shadow}: {ends:?}"
            );
        }
    }
    for event in [
        "cache_events_total.event=hit",
        "cache_events_total.event=negative",
        "cache_events_total.event=coalesced",
        "cache_events_total.event=evict",
        "blacklist_checks_total.result=revoked",
        "blacklist_polls_total.outcome=failure",
        "public_key_refresh_total.outcome=success",
    ] {
        assert!(ends.contains(event), "{event} is missing: {ends:?}");
    }
}

#[test]
fn a_configuration_with_a_value_of_the_wrong_type_is_refused() {
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
