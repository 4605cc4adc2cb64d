use super::*;
use crate::filter::world::{BEGIN, Process};
use crate::host::SharedData as _;
use crate::throttle::Suspect;

const ME: i64 = 7;

fn watch() -> Watch {
    Watch::new("a.")
}

/// In milliseconds from the beginning.
fn at(millis: u64, process: &Process) -> Cx<'_> {
    Cx::new(Instant::from_nanos(BEGIN * 1_000_000_000 + millis * 1_000_000), process)
}

fn address(number: u32) -> Hash {
    let [_, b, c, d] = number.to_be_bytes();
    Suspect::new(&format!("10.{b}.{c}.{d}:80"), None, &Process::default()).unwrap().address()
}

fn good(number: u32, millis: u64, process: &Process) -> bool {
    watch().good(ME, &address(number), &at(millis, process)) == Some(Suspicion::ManyAddresses)
}

fn refused(number: u32, millis: u64, process: &Process) -> bool {
    watch().refused(&address(number), &at(millis, process)) == Some(Suspicion::RepeatedFailures)
}

#[test]
fn a_sixth_address_of_a_user_within_ten_minutes_is_suspicious() {
    let process = Process::default();
    for number in 0..5 {
        assert!(!good(number, 1000 * u64::from(number), &process));
    }
    for number in [0, 4, 2] {
        assert!(!good(number, 6000, &process), "it is known");
    }
    assert!(watch().good(8, &address(5), &at(7000, &process)).is_none(), "another user");
    assert!(good(5, 599_999, &process));
}

#[test]
fn an_address_that_was_seen_ten_minutes_ago_counts_no_more() {
    let process = Process::default();
    for number in 0..5 {
        assert!(!good(number, 0, &process));
    }
    assert!(!good(0, 300_000, &process));
    assert!(!good(5, 600_000, &process), "four of them are forgotten");
    for number in 6..9 {
        assert!(!good(number, 600_000, &process));
    }
    assert!(good(9, 899_999, &process), "one was seen again meanwhile");
}

#[test]
fn a_twentieth_refusal_within_a_minute_is_suspicious() {
    let process = Process::default();
    for number in 0..19 {
        assert!(!refused(1, number, &process), "{number}");
        assert!(!refused(2, 30_000 + number, &process), "{number}: another address");
    }
    assert!(refused(1, 59_999, &process));
    assert!(!refused(2, 90_000, &process), "the first is a minute old");
    assert!(refused(2, 90_000, &process));
}

#[test]
fn refusals_are_counted_over_any_minute() {
    let process = Process::default();
    assert!(!refused(1, 0, &process));
    for number in 0..18 {
        assert!(!refused(1, 55_000 + number, &process));
    }
    assert!(!refused(1, 65_000, &process), "the nineteenth");
    assert!(refused(1, 65_001, &process));
}

#[test]
fn tells_once_and_again_when_the_window_is_over() {
    let process = Process::default();
    let told = |from: u64, to: u64| (from..to).filter(|second| refused(1, second * 1000, &process)).count();
    assert_eq!(told(0, 20), 1);
    assert_eq!(told(20, 79), 0, "for a minute from then on nothing is noted");
    assert_eq!(told(79, 98), 0);
    assert_eq!(told(98, 99), 1);
    let told = |from: u32, to: u32| (from..to).filter(|number| good(*number, 1_000_000, &process)).count();
    assert_eq!((told(0, 6), told(6, 100)), (1, 0));
    assert!(!good(100, 1_599_999, &process));
    let again: Vec<u32> = (200..206).filter(|number| good(*number, 1_600_000, &process)).collect();
    assert_eq!(again, [205]);
}

#[test]
fn an_event_after_it_was_told_costs_one_read_and_no_write() {
    let process = Process::default();
    (0..20).for_each(|number| _ = refused(1, number, &process));
    let stored = process.stored("a.");
    let reads = process.reads.get();
    (0..100).for_each(|number| assert!(!refused(1, 20 + number, &process)));
    assert_eq!(process.reads.get() - reads, 100);
    assert_eq!(process.stored("a."), stored);
}

#[test]
fn an_address_that_was_noted_within_a_second_is_not_written_again() {
    let process = Process::default();
    good(1, 0, &process);
    let stored = process.stored("a.");
    good(1, 999, &process);
    assert_eq!(process.stored("a."), stored);
    good(1, 1000, &process);
    assert_ne!(process.stored("a."), stored);
}

#[test]
fn records_of_the_future_end_when_the_clock_is_set_back() {
    let process = Process::default();
    (0..20).for_each(|number| _ = refused(1, 500_000 + number, &process));
    for number in 0..19 {
        assert!(!refused(1, number, &process));
    }
    assert!(refused(1, 20, &process));
}

#[test]
fn a_flood_takes_no_more_room_than_its_bound() {
    let process = Process::default();
    for number in 0..20_000 {
        refused(number, 0, &process);
        watch().good(i64::from(number), &address(0), &at(0, &process));
    }
    let taken = |part: &str| process.stored(part).iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    let most = |rows: usize, record: usize| rows * RECORDS_PER_ROW * record;
    let (users, addresses) = (taken("a.user."), taken("a.address."));
    assert!((most(500, 328)..=most(512, 328)).contains(&users), "{users}");
    assert!((most(250, 328)..=most(256, 328)).contains(&addresses), "{addresses}");
    assert_eq!(process.stored("").len(), 512 + 256);
}

#[test]
fn a_flood_displaces_no_told_record_and_none_near_its_limit() {
    let process = Process::default();
    (0..19).for_each(|_| assert!(!refused(1, 0, &process)));
    (0..20).for_each(|_| _ = refused(2, 0, &process));
    (0..5).for_each(|number| assert!(!good(number, 0, &process)));
    for number in 10..20_000 {
        refused(number, 1, &process);
        watch().good(i64::from(number), &address(0), &at(1, &process));
    }
    assert!(refused(1, 2, &process));
    assert!((0..100).all(|_| !refused(2, 2, &process)));
    assert!(good(6, 2, &process));
}

#[test]
fn strange_bytes_are_no_record() {
    let process = Process::default();
    (0..19).for_each(|_| assert!(!refused(1, 0, &process)));
    let [(name, bytes)] = process.stored("a.").try_into().unwrap();
    process.set_shared_data(&name, &bytes[1..], crate::host::Write::Always).unwrap();
    assert!(!refused(1, 0, &process));
}
