use std::array::from_fn;

use super::*;
use crate::filter::world::{BEGIN, Process};
use crate::host::Write;
use crate::testing::overtaking;

const WINDOW: Duration = Duration::from_secs(60);
const LOCKOUT: Duration = Duration::from_secs(300);
const TICK: Duration = Duration::from_nanos(1);
const LONGEST: Duration = Duration::from_secs(3);
const HOUR: Duration = Duration::from_secs(3_600);

fn start() -> UnixTime {
    UnixTime::from_secs(BEGIN)
}

fn earlier(by: Duration) -> UnixTime {
    UnixTime::from_nanos(start().as_nanos() - u64::try_from(by.as_nanos()).unwrap())
}

fn throttle() -> Throttle {
    throttle_of(3, WINDOW, LOCKOUT)
}

/// A question takes 3 s at the longest.
fn throttle_of(attempts: u32, window: Duration, lockout: Duration) -> Throttle {
    Throttle::new("f.", attempts, window, lockout, LONGEST)
}

fn of(address: &str, number: &str) -> Subject {
    Subject::new(address, Some(number).filter(|it| !it.is_empty())).unwrap()
}

fn a() -> Subject {
    of("192.0.2.1:1000", "")
}

fn b() -> Subject {
    of("192.0.2.2:1000", "")
}

fn fail(throttle: &Throttle, times: usize, subject: Subject, cx: &Cx<'_>) {
    (0..times).for_each(|_| throttle.fail(&subject, cx));
}

fn begin(throttle: &Throttle, times: usize, subject: &Subject, cx: &Cx<'_>) {
    for _ in 0..times {
        throttle.begin(subject, cx).unwrap();
    }
}

/// Different addresses whose records share one row.
fn neighbours<const N: usize>() -> [Subject; N] {
    let mut same_row = (0u32..)
        .map(|number| of(&format!("10.{}.{}.{}:1", number >> 16, number >> 8 & 255, number & 255), ""))
        .filter(|subject| throttle().addresses.row(&subject.address, &Process::default()) == 5);
    from_fn(|_| same_row.next().unwrap())
}

/// How many records each key of a table holds.
fn lengths(table: &Table<Record>, host: &Process) -> Vec<usize> {
    (0..ROWS).map(|row| table.read(row, host).len()).filter(|length| *length > 0).collect()
}

/// Locks a number by failures of other addresses.
fn lock_number(throttle: &Throttle, number: &str, now: UnixTime, host: &Process) {
    (1..=3).for_each(|other| throttle.fail(&of(&format!("203.0.113.{other}:1"), number), &Cx::new(now, host)));
}

#[test]
fn an_address_is_locked_out_once_it_has_failed_too_often_by_both_workers() {
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
fn one_addresss_lockout_is_not_anothers() {
    let (throttle, host) = (throttle(), Process::default());
    fail(&throttle, 3, a(), &Cx::new(start(), &host));
    fail(&throttle, 2, b(), &Cx::new(start(), &host));
    assert_eq!(throttle.check(&a(), &Cx::new(start(), &host)), Some(LOCKOUT));
    assert_eq!(throttle.check(&b(), &Cx::new(start(), &host)), None);
}

#[test]
fn a_window_begins_with_its_first_failure_and_ends_whatever_comes_in_it() {
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
fn failures_during_a_lockout_neither_prolong_it_nor_count_afterwards() {
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
fn a_single_attempt_locks_at_once_and_none_turns_the_throttle_off() {
    let host = Process::default();
    let off = throttle_of(0, WINDOW, LOCKOUT);
    fail(&off, 5, of("192.0.2.1:1", "7"), &Cx::new(start(), &host));
    assert!(host.stored("f.").is_empty());
    let strict = throttle_of(1, WINDOW, LOCKOUT);
    strict.fail(&a(), &Cx::new(start(), &host));
    assert_eq!(strict.check(&a(), &Cx::new(start(), &host)), Some(LOCKOUT));
    assert_eq!(off.check(&a(), &Cx::new(start(), &host)), None);
}

#[test]
fn who_guesses_a_tokens_secret_from_many_addresses_gets_one_try_from_each() {
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
fn a_tokens_owner_is_not_locked_out_by_others() {
    let (throttle, host) = (throttle(), Process::default());
    for number in 0..50 {
        throttle.fail(&of(&format!("198.51.100.{number}:1"), "7"), &Cx::new(start(), &host));
    }
    assert_eq!(throttle.check(&of("192.0.2.1:1", "7"), &Cx::new(start(), &host)), None);
}

#[test]
fn a_tokens_lock_is_no_lock_of_the_addresses_other_tokens() {
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
fn a_failure_is_held_against_an_address_for_as_long_as_a_lockout() {
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
fn the_longer_of_two_locks_is_told() {
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
fn an_address_is_taken_without_its_port_ipv6_by_its_64_and_ipv4_mapped_as_ipv4() {
    let address = |text| Subject::new(text, None).unwrap();
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
fn what_is_no_address_is_none() {
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
        assert_eq!(Subject::new(text, None), None, "{text:?}");
        assert_eq!(Subject::new(text, Some("7")), None, "{text:?}: nobody is locked out by a number alone");
    }
}

#[test]
fn a_token_id_is_its_number_and_what_is_no_number_is_none() {
    let token = |id| Subject::new("192.0.2.1:1", Some(id)).unwrap();
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
fn a_token_id_that_looks_like_an_address_is_none() {
    let (throttle, host) = (throttle(), Process::default());
    // The bytes of 49.50.51.52 are those of "1234".
    lock_number(&throttle, "1234", start(), &host);
    assert_eq!(throttle.check(&of("49.50.51.52:1", ""), &Cx::new(start(), &host)), None);
}

#[test]
fn no_address_and_no_id_stand_in_the_records() {
    let (throttle, host) = (throttle(), Process::default());
    let subject = of("192.0.2.1:1", "1234567");
    throttle.fail(&subject, &Cx::new(start(), &host));
    for (name, stored) in host.stored("f.") {
        assert_eq!(stored.len(), 56, "{name}");
        assert!(!stored.windows(4).any(|bytes| bytes == [192, 0, 2, 1]));
        assert!(!stored.windows(7).any(|bytes| bytes == b"1234567"));
    }
    assert_eq!(host.stored("f.").len(), 2);
    let digest = Sha256::digest(b"token\x001234567");
    assert_eq!(subject.number.unwrap()[..], digest[..16]);
}

#[test]
fn a_flood_of_addresses_fills_no_row_beyond_its_limit() {
    let (throttle, host) = (throttle(), Process::default());
    for number in 0..20_000u32 {
        let [high, low] = [number >> 8, number & 255];
        throttle.fail(&of(&format!("10.1.{high}.{low}:1"), &number.to_string()), &Cx::new(start(), &host));
        throttle.fail(&of(&format!("[2001:db8:{number:x}::1]:1"), ""), &Cx::new(start(), &host));
    }
    for table in [&throttle.addresses, &throttle.numbers] {
        let lengths = lengths(table, &host);
        assert_eq!((lengths.len(), lengths.iter().max()), (1024, Some(&8)));
    }
    fail(&throttle, 3, a(), &Cx::new(start(), &host));
    assert_eq!(throttle.check(&a(), &Cx::new(start(), &host)), Some(LOCKOUT));
}

#[test]
fn a_full_row_displaces_the_window_that_ends_first() {
    let (throttle, host) = (throttle(), Process::default());
    let subjects: [_; 9] = neighbours();
    for (order, subject) in [3, 1, 0, 2, 4, 5, 6, 7].into_iter().zip(&subjects) {
        fail(&throttle, 2, *subject, &Cx::new(start().after(TICK * order), &host));
    }
    let now = start().after(TICK * 10);
    fail(&throttle, 3, subjects[8], &Cx::new(now, &host));
    let row = throttle.addresses.read(5, &host);
    let is_kept = |subject: &Subject| row.iter().any(|record| record.subject == subject.address);
    let lost: Vec<_> = (0..9).filter(|at| !is_kept(&subjects[*at])).collect();
    assert_eq!((lost, row.len()), (vec![2], 8));
    assert_eq!(throttle.check(&subjects[8], &Cx::new(now, &host)), Some(LOCKOUT));
}

#[test]
fn a_full_row_displaces_no_live_lock_while_there_is_anything_else() {
    let (throttle, host) = (throttle(), Process::default());
    let subjects: [_; 12] = neighbours();
    for subject in &subjects[..7] {
        fail(&throttle, 3, *subject, &Cx::new(start(), &host));
    }
    // Their windows would all end later than the locks of these times do.
    let late = start().after(LOCKOUT - TICK);
    for subject in &subjects[7..] {
        throttle.fail(subject, &Cx::new(late, &host));
    }
    for subject in &subjects[..7] {
        assert_eq!(throttle.check(subject, &Cx::new(late, &host)), Some(TICK));
    }
    assert_eq!(throttle.addresses.read(5, &host).len(), 8);
}

#[test]
fn a_row_of_locks_alone_loses_the_one_that_ends_first() {
    let (throttle, host) = (throttle(), Process::default());
    let subjects: [_; 9] = neighbours();
    for (order, subject) in [1, 2, 0, 3, 4, 5, 6, 7].into_iter().zip(&subjects) {
        fail(&throttle, 3, *subject, &Cx::new(start().after(TICK * order), &host));
    }
    let now = start().after(TICK * 10);
    fail(&throttle, 3, subjects[8], &Cx::new(now, &host));
    let locked: Vec<_> = (0..9).filter(|at| throttle.check(&subjects[*at], &Cx::new(now, &host)).is_some()).collect();
    assert_eq!(locked, [0, 1, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_lock_that_is_over_is_displaced_before_a_window_that_is_not() {
    let (throttle, host) = (throttle_of(3, LOCKOUT, WINDOW), Process::default());
    let subjects: [_; 9] = neighbours();
    for subject in &subjects[..7] {
        fail(&throttle, 2, *subject, &Cx::new(start(), &host));
    }
    fail(&throttle, 3, subjects[7], &Cx::new(start().after(TICK), &host));
    let now = start().after(WINDOW + TICK);
    throttle.fail(&subjects[8], &Cx::new(now, &host));
    for subject in &subjects[..7] {
        throttle.fail(subject, &Cx::new(now, &host));
        assert_eq!(throttle.check(subject, &Cx::new(now, &host)), Some(WINDOW));
    }
}

#[test]
fn what_is_over_makes_room_first() {
    let (throttle, host) = (throttle(), Process::default());
    let subjects: [_; 9] = neighbours();
    for subject in &subjects[..8] {
        fail(&throttle, 3, *subject, &Cx::new(start(), &host));
    }
    throttle.fail(&subjects[8], &Cx::new(start().after(LOCKOUT), &host));
    assert_eq!(throttle.addresses.read(5, &host).len(), 1);
}

#[test]
fn a_clock_that_steps_either_way_ends_locks_and_windows() {
    for now in [earlier(HOUR), earlier(Duration::from_secs(2)), start().after(HOUR)] {
        let (throttle, host) = (throttle(), Process::default());
        let subject = of("192.0.2.1:1", "7");
        fail(&throttle, 3, subject, &Cx::new(start(), &host));
        assert_eq!(throttle.check(&subject, &Cx::new(now, &host)), None);
        fail(&throttle, 2, subject, &Cx::new(now, &host));
        assert_eq!(throttle.check(&subject, &Cx::new(now, &host)), None);
        throttle.fail(&subject, &Cx::new(now, &host));
        assert_eq!(throttle.check(&subject, &Cx::new(now, &host)), Some(LOCKOUT));

        let counting = b();
        fail(&throttle, 2, counting, &Cx::new(start(), &host));
        fail(&throttle, 2, counting, &Cx::new(now, &host));
        assert_eq!(throttle.check(&counting, &Cx::new(now, &host)), None);
    }
}

#[test]
fn a_worker_whose_clock_reading_is_a_moment_old_counts_on_and_unlocks_nobody() {
    let (throttle, host) = (throttle(), Process::default());
    fail(&throttle, 2, a(), &Cx::new(start(), &host));
    throttle.fail(&a(), &Cx::new(earlier(TICK), &host));
    assert_eq!(throttle.check(&a(), &Cx::new(earlier(TICK * 2), &host)), Some(LOCKOUT));
}

#[test]
fn failures_at_two_workers_at_once_all_count() {
    let (one, other, host) = (throttle(), throttle(), Process::default());
    one.fail(&a(), &Cx::new(start(), &host));
    let overtaking = overtaking(&host, [|| other.fail(&a(), &Cx::new(start(), &host))]);
    one.fail(&a(), &Cx::new(start(), &overtaking));
    assert_eq!(one.check(&a(), &Cx::new(start(), &host)), Some(LOCKOUT));
}

#[test]
fn a_failure_that_the_locking_one_overtakes_doesnt_prolong_the_lock() {
    let (one, other, host) = (throttle(), throttle(), Process::default());
    fail(&one, 2, a(), &Cx::new(start(), &host));
    let overtaking = overtaking(&host, [|| other.fail(&a(), &Cx::new(start(), &host))]);
    let later = start().after(TICK);
    one.fail(&a(), &Cx::new(later, &overtaking));
    assert_eq!(one.check(&a(), &Cx::new(later, &host)), Some(LOCKOUT - TICK));
}

#[test]
fn neighbours_that_two_workers_write_at_once_are_both_counted() {
    let (one, other, host) = (throttle(), throttle(), Process::default());
    let [left, right] = neighbours();
    fail(&one, 2, left, &Cx::new(start(), &host));
    fail(&one, 2, right, &Cx::new(start(), &host));
    one.fail(&left, &Cx::new(start(), &overtaking(&host, [|| other.fail(&right, &Cx::new(start(), &host))])));
    for subject in [left, right] {
        assert_eq!(one.check(&subject, &Cx::new(start(), &host)), Some(LOCKOUT));
    }
}

#[test]
fn a_row_that_is_always_being_written_costs_a_failure_and_no_more() {
    let (throttle, host) = (throttle(), Process::default());
    let key = format!("f.3.60000.300000.address.{:x}", throttle.addresses.row(&a().address, &host));
    let touch = || host.set_shared_data(&key, &[], Write::Always).unwrap();
    throttle.fail(&a(), &Cx::new(start(), &overtaking(&host, [touch; 16])));
    fail(&throttle, 2, a(), &Cx::new(start(), &host));
    assert_eq!(throttle.check(&a(), &Cx::new(start(), &host)), None);
    throttle.fail(&a(), &Cx::new(start(), &host));
    assert_eq!(throttle.check(&a(), &Cx::new(start(), &host)), Some(LOCKOUT));
}

#[test]
fn an_unreadable_row_locks_nobody_and_is_written_over() {
    let (throttle, host) = (throttle(), Process::default());
    let key = format!("f.3.60000.300000.address.{:x}", throttle.addresses.row(&a().address, &host));
    for bytes in [&b"x"[..], &[0xff; 56 * 20 + 7], &[0; 56 * 20]] {
        host.set_shared_data(&key, bytes, Write::Always).unwrap();
        assert_eq!(throttle.check(&a(), &Cx::new(start(), &host)), None);
        fail(&throttle, 3, a(), &Cx::new(start(), &host));
        assert_eq!(throttle.check(&a(), &Cx::new(start(), &host)), Some(LOCKOUT));
    }
}

#[test]
fn a_full_row_displaces_the_fewest_failures() {
    let (throttle, host) = (throttle(), Process::default());
    let subjects: [_; 12] = neighbours();
    fail(&throttle, 2, subjects[0], &Cx::new(start(), &host));
    for subject in &subjects[1..] {
        throttle.fail(subject, &Cx::new(start().after(TICK), &host));
    }
    throttle.fail(&subjects[0], &Cx::new(start().after(TICK), &host));
    assert_eq!(throttle.check(&subjects[0], &Cx::new(start().after(TICK), &host)), Some(LOCKOUT));
}

#[test]
fn a_flood_of_numbers_displaces_no_address() {
    let (throttle, host) = (throttle_of(40_000, WINDOW, LOCKOUT), Process::default());
    for number in 0..39_999 {
        throttle.fail(&of("192.0.2.1:1", &number.to_string()), &Cx::new(start(), &host));
    }
    assert_eq!(throttle.check(&a(), &Cx::new(start(), &host)), None);
    throttle.fail(&a(), &Cx::new(start(), &host));
    assert_eq!(throttle.check(&a(), &Cx::new(start(), &host)), Some(LOCKOUT));
}

#[test]
fn questions_under_way_count_like_failures_until_they_are_answered() {
    let (one, other, host) = (throttle(), throttle(), Process::default());
    one.fail(&a(), &Cx::new(start(), &host));
    let first = one.begin(&a(), &Cx::new(start(), &host)).unwrap().unwrap();
    let second = other.begin(&a(), &Cx::new(start(), &host)).unwrap().unwrap();
    for worker in [&one, &other] {
        assert_eq!(worker.begin(&a(), &Cx::new(start(), &host)), Err(Throttled::Busy));
        assert_eq!(worker.check(&a(), &Cx::new(start(), &host)), None, "busy is not locked");
    }
    assert!(one.begin(&b(), &Cx::new(start(), &host)).is_ok());
    other.end(first, false, &Cx::new(start(), &host));
    let third = one.begin(&a(), &Cx::new(start(), &host)).unwrap().unwrap();
    one.end(second, true, &Cx::new(start(), &host));
    assert_eq!(one.begin(&a(), &Cx::new(start(), &host)), Err(Throttled::Busy));
    one.end(third, true, &Cx::new(start(), &host));
    assert_eq!(other.begin(&a(), &Cx::new(start(), &host)), Err(Throttled::Locked(LOCKOUT)));
    assert_eq!(other.check(&a(), &Cx::new(start(), &host)), Some(LOCKOUT));
}

#[test]
fn questions_of_a_worker_that_died_run_out_whatever_others_ask() {
    let (throttle, host) = (throttle(), Process::default());
    begin(&throttle, 3, &a(), &Cx::new(start(), &host));
    assert_eq!(throttle.begin(&a(), &Cx::new(start().after(LONGEST - TICK), &host)), Err(Throttled::Busy));
    let end = start().after(LONGEST * 2);
    let alive = throttle.begin(&a(), &Cx::new(end, &host)).unwrap().unwrap();
    throttle.begin(&a(), &Cx::new(end, &host)).unwrap();
    throttle.begin(&a(), &Cx::new(end, &host)).unwrap();
    assert_eq!(throttle.begin(&a(), &Cx::new(end, &host)), Err(Throttled::Busy));
    throttle.end(alive, false, &Cx::new(end.after(LONGEST), &host));
    assert!(throttle.begin(&a(), &Cx::new(end.after(LONGEST), &host)).is_ok());
}

#[test]
fn an_end_takes_no_other_question_away() {
    let (throttle, host) = (throttle(), Process::default());
    let late = throttle.begin(&a(), &Cx::new(start(), &host)).unwrap().unwrap();
    let later = start().after(LONGEST * 4);
    begin(&throttle, 3, &a(), &Cx::new(later, &host));
    throttle.end(late, false, &Cx::new(later, &host));
    assert_eq!(throttle.begin(&a(), &Cx::new(later, &host)), Err(Throttled::Busy));
}

#[test]
fn a_clock_that_steps_either_way_ends_questions_under_way() {
    for now in [earlier(HOUR), start().after(HOUR)] {
        let (throttle, host) = (throttle(), Process::default());
        begin(&throttle, 3, &a(), &Cx::new(start(), &host));
        assert!(throttle.begin(&a(), &Cx::new(now, &host)).is_ok());
    }
}

#[test]
fn a_worker_whose_clock_is_a_moment_behind_takes_its_own_question_away() {
    let (throttle, host) = (throttle_of(1, WINDOW, LOCKOUT), Process::default());
    // A span of 3 s begins with this second.
    let begin = UnixTime::from_secs(BEGIN - BEGIN % 3);
    let first = throttle.begin(&a(), &Cx::new(begin, &host)).unwrap().unwrap();
    throttle.end(first, false, &Cx::new(begin, &host));
    let behind = UnixTime::from_nanos(begin.as_nanos() - 1);
    let guess = throttle.begin(&a(), &Cx::new(behind, &host)).unwrap().unwrap();
    throttle.end(guess, false, &Cx::new(begin, &host));
    assert!(throttle.begin(&a(), &Cx::new(begin, &host)).is_ok());
}

#[test]
fn who_guesses_at_a_locked_number_gets_one_try_from_each_address_at_once_too() {
    let (throttle, host) = (throttle(), Process::default());
    lock_number(&throttle, "7", start(), &host);
    let guesser = of("192.0.2.1:1", "7");
    let first = throttle.begin(&guesser, &Cx::new(start(), &host)).unwrap().unwrap();
    assert_eq!(throttle.begin(&guesser, &Cx::new(start(), &host)), Err(Throttled::Busy));
    assert!(throttle.begin(&of("192.0.2.1:1", "8"), &Cx::new(start(), &host)).is_ok());
    throttle.end(first, true, &Cx::new(start(), &host));
    assert_eq!(throttle.begin(&guesser, &Cx::new(start(), &host)), Err(Throttled::Locked(LOCKOUT)));
}

#[test]
fn a_question_under_way_is_displaced_after_what_weighs_less() {
    let (throttle, host) = (throttle(), Process::default());
    let subjects: [_; 10] = neighbours();
    begin(&throttle, 2, &subjects[0], &Cx::new(start(), &host));
    for subject in &subjects[1..] {
        throttle.fail(subject, &Cx::new(start(), &host));
    }
    throttle.fail(&subjects[0], &Cx::new(start(), &host));
    assert_eq!(throttle.begin(&subjects[0], &Cx::new(start(), &host)), Err(Throttled::Busy));
}

#[test]
fn filters_with_other_settings_neither_end_locks_nor_forget_guesses() {
    let host = Process::default();
    let (strict, lax) = (throttle(), throttle_of(100, Duration::from_secs(1), Duration::from_secs(1)));
    fail(&strict, 3, a(), &Cx::new(start(), &host));
    let later = start().after(Duration::from_secs(70));
    fail(&lax, 1, a(), &Cx::new(later, &host));
    assert_eq!(strict.check(&a(), &Cx::new(later, &host)), Some(Duration::from_secs(230)));

    let patient = Throttle::new("f.", 3, WINDOW, LOCKOUT, LONGEST * 7);
    begin(&strict, 2, &b(), &Cx::new(start(), &host));
    begin(&patient, 1, &b(), &Cx::new(start(), &host));
    for throttle in [&strict, &patient] {
        assert_eq!(throttle.begin(&b(), &Cx::new(start().after(TICK), &host)), Err(Throttled::Busy));
    }
    assert!(
        strict.begin(&b(), &Cx::new(start().after(LONGEST * 2), &host)).is_ok(),
        "they run out by the settings of the first"
    );
}

#[test]
fn guesses_of_a_number_that_are_under_way_count_together_over_all_addresses_and_workers() {
    let (one, other, host) = (throttle(), throttle(), Process::default());
    let cx = Cx::new(start(), &host);
    let address = |index: usize| of(&format!("203.0.113.{index}:1"), "7");
    let mut guesses = Vec::new();
    for index in 0..10 {
        for worker in [&one, &other] {
            guesses.extend(worker.begin(&address(index), &cx).ok().flatten());
        }
    }
    // The first two addresses have put two each or what is left of three attempts, the others one each.
    assert_eq!(guesses.len(), 3 + 8);
    for guess in guesses {
        one.end(guess, false, &cx);
    }
    assert!(one.begin(&address(0), &cx).is_ok(), "none of them was a failure");
}
