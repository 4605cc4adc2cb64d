mod rows;
mod under_way;

use std::array::from_fn;

use super::*;
use crate::filter::world::{BEGIN, Process};
use crate::host::Write;
use crate::testing::{BareHost, overtaking};

const WINDOW: Duration = Duration::from_secs(60);
const LOCKOUT: Duration = Duration::from_secs(300);
const TICK: Duration = Duration::from_nanos(1);
const LONGEST: Duration = Duration::from_secs(3);

fn start() -> Instant {
    Instant::from_secs(BEGIN)
}

fn earlier(by: Duration) -> Instant {
    Instant::from_nanos(start().as_nanos() - u64::try_from(by.as_nanos()).unwrap())
}

fn throttle() -> Throttle {
    throttle_of(3, WINDOW, LOCKOUT)
}

/// A question takes 3 s at the longest.
fn throttle_of(attempts: u32, window: Duration, lockout: Duration) -> Throttle {
    Throttle::new("f.", attempts, window, lockout, LONGEST)
}

fn of(address: &str, number: &str) -> Suspect {
    Suspect::new(address, Some(number).filter(|it| !it.is_empty()), &Process::default()).unwrap()
}

fn a() -> Suspect {
    of("192.0.2.1:1000", "")
}

fn b() -> Suspect {
    of("192.0.2.2:1000", "")
}

fn fail(throttle: &Throttle, times: usize, subject: Suspect, cx: &Cx<'_>) {
    (0..times).for_each(|_| throttle.fail(&subject, cx));
}

fn begin(throttle: &Throttle, times: usize, subject: &Suspect, cx: &Cx<'_>) {
    for _ in 0..times {
        throttle.begin_guess(subject, cx).unwrap();
    }
}

/// Locks a number by failures of other addresses.
fn lock_number(throttle: &Throttle, number: &str, now: Instant, host: &Process) {
    (1..=3).for_each(|other| throttle.fail(&of(&format!("203.0.113.{other}:1"), number), &Cx::new(now, host)));
}

#[test]
fn both_workers_lock_an_address_with_too_many_failures() {
    let (one, other, host) = (throttle(), throttle(), Process::default());
    one.fail(&a(), &Cx::new(start(), &host));
    other.fail(&a(), &Cx::new(start(), &host));
    assert_eq!(one.check(&a(), &Cx::new(start(), &host)), None);
    let last = start().after(WINDOW - TICK);
    other.fail(&a(), &Cx::new(last, &host));
    for worker in [&one, &other] {
        assert_eq!(worker.check(&a(), &Cx::new(last, &host)), Some(LOCKOUT));
        assert_eq!(worker.check(&a(), &Cx::new(last.after(LOCKOUT - TICK), &host)), Some(TICK));
        assert_eq!(worker.check(&a(), &Cx::new(last.after(LOCKOUT), &host)), None);
    }
}

#[test]
fn a_lockout_applies_to_its_address_only() {
    let (throttle, host) = (throttle(), Process::default());
    fail(&throttle, 3, a(), &Cx::new(start(), &host));
    fail(&throttle, 2, b(), &Cx::new(start(), &host));
    assert_eq!(throttle.check(&a(), &Cx::new(start(), &host)), Some(LOCKOUT));
    assert_eq!(throttle.check(&b(), &Cx::new(start(), &host)), None);
}

#[test]
fn later_failures_do_not_extend_a_window() {
    let (throttle, host) = (throttle(), Process::default());
    throttle.fail(&a(), &Cx::new(start(), &host));
    throttle.fail(&a(), &Cx::new(start().after(WINDOW - TICK), &host));
    let next = start().after(WINDOW);
    fail(&throttle, 2, a(), &Cx::new(next, &host));
    assert_eq!(throttle.check(&a(), &Cx::new(next, &host)), None);
    throttle.fail(&a(), &Cx::new(next.after(WINDOW - TICK), &host));
    assert_eq!(throttle.check(&a(), &Cx::new(next.after(WINDOW), &host)), Some(LOCKOUT - TICK));
}

#[test]
fn failures_during_a_lockout_are_not_counted() {
    let (throttle, host) = (throttle(), Process::default());
    let subject = of("192.0.2.1:1", "7");
    fail(&throttle, 3, subject, &Cx::new(start(), &host));
    fail(&throttle, 5, subject, &Cx::new(start().after(LOCKOUT - TICK), &host));
    let end = start().after(LOCKOUT);
    assert_eq!(throttle.check(&subject, &Cx::new(start().after(LOCKOUT - TICK), &host)), Some(TICK));
    fail(&throttle, 2, subject, &Cx::new(end, &host));
    assert_eq!(throttle.check(&subject, &Cx::new(end, &host)), None);
    throttle.fail(&subject, &Cx::new(end, &host));
    assert_eq!(throttle.check(&subject, &Cx::new(end, &host)), Some(LOCKOUT));
}

#[test]
fn a_lockout_shorter_than_the_window_ends_and_a_new_window_begins() {
    let (throttle, host) = (throttle_of(3, LOCKOUT, WINDOW), Process::default());
    fail(&throttle, 3, a(), &Cx::new(start(), &host));
    let end = start().after(WINDOW);
    assert_eq!(throttle.check(&a(), &Cx::new(end, &host)), None);
    fail(&throttle, 2, a(), &Cx::new(end, &host));
    assert_eq!(throttle.check(&a(), &Cx::new(end, &host)), None);
    throttle.fail(&a(), &Cx::new(end, &host));
    assert_eq!(throttle.check(&a(), &Cx::new(end, &host)), Some(WINDOW));
}

#[test]
fn one_attempt_locks_at_once() {
    let host = Process::default();
    let strict = throttle_of(1, WINDOW, LOCKOUT);
    strict.fail(&a(), &Cx::new(start(), &host));
    assert_eq!(strict.check(&a(), &Cx::new(start(), &host)), Some(LOCKOUT));
}

#[test]
fn guesses_at_a_locked_token_get_one_try_per_address() {
    let (one, other, host) = (throttle(), throttle(), Process::default());
    for number in 0..50 {
        let guesser = of(&format!("198.51.100.{number}:1"), "7");
        assert_eq!(one.check(&guesser, &Cx::new(start(), &host)), None, "{number}");
        one.fail(&guesser, &Cx::new(start(), &host));
        assert_eq!(other.check(&guesser, &Cx::new(start(), &host)).is_some(), number >= 2, "{number}");
    }
    assert_eq!(one.check(&of("198.51.100.0:1", "7"), &Cx::new(start(), &host)), Some(LOCKOUT));
}

#[test]
fn others_cannot_lock_out_a_tokens_owner() {
    let (throttle, host) = (throttle(), Process::default());
    for number in 0..50 {
        throttle.fail(&of(&format!("198.51.100.{number}:1"), "7"), &Cx::new(start(), &host));
    }
    assert_eq!(throttle.check(&of("192.0.2.1:1", "7"), &Cx::new(start(), &host)), None);
}

#[test]
fn a_tokens_lock_does_not_lock_the_addresses_other_tokens() {
    let (throttle, host) = (throttle(), Process::default());
    for number in 0..3 {
        throttle.fail(&of(&format!("198.51.100.{number}:1"), "7"), &Cx::new(start(), &host));
    }
    assert_eq!(throttle.check(&of("198.51.100.0:1", "7"), &Cx::new(start(), &host)), Some(LOCKOUT));
    assert_eq!(throttle.check(&of("198.51.100.0:1", "8"), &Cx::new(start(), &host)), None);
    assert_eq!(throttle.check(&of("198.51.100.0:1", ""), &Cx::new(start(), &host)), None);
}

#[test]
fn an_address_that_failed_with_another_token_is_locked_out_of_the_locked_one() {
    let (throttle, host) = (throttle(), Process::default());
    for number in 0..3 {
        throttle.fail(&of(&format!("198.51.100.{number}:1"), "7"), &Cx::new(start(), &host));
    }
    throttle.fail(&of("192.0.2.1:1", "8"), &Cx::new(start(), &host));
    assert_eq!(throttle.check(&of("192.0.2.1:1", "7"), &Cx::new(start(), &host)), Some(LOCKOUT));
}

#[test]
fn a_failure_counts_against_an_address_for_the_length_of_a_lockout() {
    let (throttle, host) = (throttle(), Process::default());
    let early = of("192.0.2.1:1", "7");
    throttle.fail(&early, &Cx::new(start(), &host));
    let locked = start().after(WINDOW - TICK);
    lock_number(&throttle, "7", locked, &host);
    // The token's lock lasts longer than the memory of the address's failure.
    assert_eq!(throttle.check(&early, &Cx::new(locked, &host)), Some(LOCKOUT - (WINDOW - TICK)));
    assert_eq!(throttle.check(&early, &Cx::new(start().after(LOCKOUT - TICK), &host)), Some(TICK));
    assert_eq!(throttle.check(&early, &Cx::new(start().after(LOCKOUT), &host)), None);
    assert!(throttle.check(&of("203.0.113.1:1", "7"), &Cx::new(start().after(LOCKOUT), &host)).is_some());
}

#[test]
fn the_longer_of_two_locks_is_reported() {
    let (throttle, host) = (throttle_of(3, LOCKOUT, WINDOW), Process::default());
    let (both, later) = (of("192.0.2.1:1", "7"), start().after(WINDOW / 2));
    fail(&throttle, 3, a(), &Cx::new(start(), &host));
    assert_eq!(throttle.check(&both, &Cx::new(later, &host)), Some(WINDOW / 2));
    lock_number(&throttle, "7", later, &host);
    assert_eq!(throttle.check(&both, &Cx::new(later, &host)), Some(WINDOW));
    fail(&throttle, 3, b(), &Cx::new(later.after(TICK), &host));
    assert_eq!(throttle.check(&of("192.0.2.2:1", "7"), &Cx::new(later.after(TICK), &host)), Some(WINDOW));
}

#[test]
fn addresses_are_normalised_without_port_ipv6_to_64_bits() {
    let address = |text| Suspect::new(text, None, &Process::default()).unwrap();
    for (one, other) in [
        ("192.0.2.1:1000", "192.0.2.1:0"),
        ("[2001:db8:1:2::1]:80", "[2001:db8:1:2:ffff:ffff:ffff:ffff]:81"),
        ("[2001:db8:1:2::1]:80", "[2001:DB8:0001:2:0::9]:80"),
        ("[::ffff:192.0.2.1]:5", "192.0.2.1:6"),
        ("[::ffff:c000:201]:5", "192.0.2.1:6"),
    ] {
        assert_eq!(address(one), address(other), "{one} {other}");
    }
    for (one, other) in [
        ("192.0.2.1:1000", "192.0.2.2:1000"),
        ("[2001:db8:1:2::1]:80", "[2001:db8:1:3::1]:80"),
        ("[::ffff:192.0.2.1]:5", "[::ffff:192.0.2.2]:5"),
        ("[::192.0.2.1]:5", "192.0.2.1:5"),
    ] {
        assert_ne!(address(one), address(other), "{one} {other}");
    }
}

#[test]
fn an_unreadable_address_is_none() {
    for text in [
        "",
        ":",
        ":80",
        "192.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "192.0.2.1:-1",
        "256.0.2.1:1",
        "192.0.2:1",
        "2001:db8::1",
        "[2001:db8::1]",
        "[]:1",
        "[2001:db8::1",
        "[192.0.2.1]:1",
        "localhost:80",
        "/run/envoy.sock",
        "192.0.2.1:1,192.0.2.2:1",
        " 192.0.2.1:1",
        "192.0.2.1:1\0",
        "\u{661}92.0.2.1:1",
        "é",
    ] {
        assert_eq!(Suspect::new(text, None, &Process::default()), None, "{text:?}");
        assert_eq!(
            Suspect::new(text, Some("7"), &Process::default()),
            None,
            "{text:?}: nobody is locked out by a number alone"
        );
    }
}

#[test]
fn a_token_id_must_be_a_number() {
    let token = |id| Suspect::new("192.0.2.1:1", Some(id), &Process::default()).unwrap();
    assert_eq!(token("7"), token("007"));
    assert_eq!(token("0"), token("00"));
    for (one, other) in [("7", "70"), ("0", "7"), ("18446744073709551617", "1")] {
        assert_ne!(token(one), token(other), "{one} {other}");
    }
    for id in ["", "-7", "+7", "7$", "7a", " 7", "\u{667}"] {
        assert_eq!(token(id), a(), "{id:?}");
    }
    assert_ne!(token("0"), a());
}

#[test]
fn a_token_id_and_an_address_of_equal_bytes_are_distinguished() {
    let (throttle, host) = (throttle(), Process::default());
    // The bytes of 49.50.51.52 are those of "1234".
    lock_number(&throttle, "1234", start(), &host);
    assert_eq!(throttle.check(&of("49.50.51.52:1", ""), &Cx::new(start(), &host)), None);
}

#[test]
fn records_contain_neither_addresses_nor_ids() {
    let (throttle, host) = (throttle(), Process::default());
    let subject = of("192.0.2.1:1", "1234567");
    throttle.fail(&subject, &Cx::new(start(), &host));
    for (name, stored) in host.stored("f.") {
        assert_eq!(stored.len(), 56, "{name}");
        assert!(!stored.windows(4).any(|bytes| bytes == [192, 0, 2, 1]));
        assert!(!stored.windows(7).any(|bytes| bytes == b"1234567"));
    }
    assert_eq!(host.stored("f.").len(), 2);
}

#[test]
fn subjects_are_hashed_under_the_secret_of_the_process() {
    // Its hash is always 0.
    let host = BareHost::default();
    let [one, other] = ["192.0.2.1:1", "192.0.2.2:1"].map(|address| Suspect::new(address, Some("1"), &host).unwrap());
    assert_eq!(one, other);
    assert_ne!(of("192.0.2.1:1", "1"), of("192.0.2.2:1", "1"));
    let hash = of("192.0.2.1:1", "1").address();
    assert_ne!(hash[..8], hash[8..], "of 128 bits");
}

#[test]
fn a_slightly_old_clock_reading_keeps_windows_and_locks() {
    let (throttle, host) = (throttle(), Process::default());
    fail(&throttle, 2, a(), &Cx::new(start(), &host));
    throttle.fail(&a(), &Cx::new(earlier(TICK), &host));
    assert_eq!(throttle.check(&a(), &Cx::new(earlier(TICK * 2), &host)), Some(LOCKOUT));
}

#[test]
fn simultaneous_failures_at_two_workers_both_count() {
    let (one, other, host) = (throttle(), throttle(), Process::default());
    one.fail(&a(), &Cx::new(start(), &host));
    let overtaking = overtaking(&host, [|| other.fail(&a(), &Cx::new(start(), &host))]);
    one.fail(&a(), &Cx::new(start(), &overtaking));
    assert_eq!(one.check(&a(), &Cx::new(start(), &host)), Some(LOCKOUT));
}

#[test]
fn a_late_failure_does_not_extend_the_lock() {
    let (one, other, host) = (throttle(), throttle(), Process::default());
    fail(&one, 2, a(), &Cx::new(start(), &host));
    let overtaking = overtaking(&host, [|| other.fail(&a(), &Cx::new(start(), &host))]);
    let later = start().after(TICK);
    one.fail(&a(), &Cx::new(later, &overtaking));
    assert_eq!(one.check(&a(), &Cx::new(later, &host)), Some(LOCKOUT - TICK));
}

#[test]
fn open_guesses_of_a_number_count_for_all_addresses_and_workers() {
    let (one, other, host) = (throttle(), throttle(), Process::default());
    let cx = Cx::new(start(), &host);
    let address = |index: usize| of(&format!("203.0.113.{index}:1"), "7");
    let mut guesses = Vec::new();
    for index in 0..10 {
        for worker in [&one, &other] {
            guesses.extend(worker.begin_guess(&address(index), &cx).ok().flatten());
        }
    }
    // The first two addresses put the three questions that the attempts allow, the others one each.
    assert_eq!(guesses.len(), 3 + 8);
    for guess in guesses {
        one.end_guess(guess, false, &cx);
    }
    assert!(one.begin_guess(&address(0), &cx).is_ok(), "none of them was a failure");
}
