//! Workers that poll, and clocks that don't keep time.

use super::*;
use crate::filter::world::{BEGIN, Process};
use crate::testing::overtaking;

const INTERVAL: Duration = Duration::from_secs(40);
const LEASE: Duration = Duration::from_secs(11);
const HOUR: Duration = Duration::from_secs(3600);

/// One of the workers: they are all alike, since they hold nothing themselves.
fn worker() -> Poller {
    Poller::new("poll".to_owned(), INTERVAL, LEASE)
}

/// So many seconds after the beginning.
fn at(seconds: i64) -> UnixTime {
    UnixTime::from_secs(BEGIN.checked_add_signed(seconds).unwrap())
}

/// An answer with this cursor and nothing else.
fn said(cursor: &str) -> Changes {
    said_with(cursor, &[])
}

/// An answer with this cursor and these unreadable entries.
fn said_with(cursor: &str, unreadable: &[u8]) -> Changes {
    let unreadable = unreadable.iter().map(|number| (*number).into()).collect();
    Changes { cursor: cursor.to_owned(), revoked: vec![], users: vec![], purge: vec![], unreadable }
}

/// A poll that begins and succeeds with this cursor.
fn succeed(now: UnixTime, cursor: &str, host: &Process) -> Poll {
    let poll = worker().begin(now, host).unwrap();
    worker().succeed(poll.began, &said(cursor), 3, host);
    poll
}

#[test]
fn one_worker_polls() {
    let host = Process::default();
    let poll = worker().begin(at(0), &host);
    assert_eq!(poll, Some(Poll { began: at(0), since: None }));
    for seconds in [0, 1, 10] {
        assert_eq!(worker().begin(at(seconds), &host), None);
    }
}

/// A process in which another worker begins a poll between one's reading the record and writing it.
fn overtaken(process: &Process, at: UnixTime) -> impl Host {
    overtaking(process, [move || assert!(worker().begin(at, process).is_some())])
}

#[test]
fn of_two_workers_that_begin_at_once_one_polls() {
    let process = Process::default();
    for now in [at(0), at(11)] {
        let host = overtaken(&process, now);
        assert_eq!(worker().begin(now.after(Duration::from_millis(1)), &host), None);
    }
}

#[test]
fn an_answer_that_comes_while_another_worker_takes_over_changes_nothing() {
    let process = Process::default();
    let late = worker().begin(at(0), &process).unwrap();
    let host = overtaken(&process, at(11));
    worker().succeed(late.began, &said("late"), 1, &host);
    assert_eq!(worker().size(&process), 0);
    worker().succeed(at(11), &said("b"), 2, &process);
    assert_eq!(worker().size(&process), 2);
}

#[test]
fn a_worker_whose_clock_was_read_a_moment_before_is_no_second_one() {
    let host = Process::default();
    let earlier = at(0);
    assert!(worker().begin(earlier.after(SIMULTANEOUS), &host).is_some());
    assert_eq!(worker().begin(earlier, &host), None);
}

#[test]
fn a_poll_goes_on_from_the_last_cursor_whoever_got_it() {
    let host = Process::default();
    assert_eq!(succeed(at(0), "a", &host).since, None);
    assert_eq!(succeed(at(30), "b", &host).since.as_deref(), Some("a"));
    let failing = worker().begin(at(60), &host).unwrap();
    worker().fail(failing.began, false, &host);
    assert_eq!(worker().begin(at(90), &host).unwrap().since.as_deref(), Some("b"));
}

#[test]
fn the_next_poll_begins_three_quarters_of_an_interval_after_the_last_one_began() {
    for does_succeed in [true, false] {
        let host = Process::default();
        let poll = worker().begin(at(0), &host).unwrap();
        if does_succeed {
            worker().succeed(poll.began, &said("a"), 0, &host);
        } else {
            worker().fail(poll.began, false, &host);
        }
        assert_eq!(worker().due_in(at(0), &host), Duration::from_secs(30));
        assert_eq!(worker().due_in(at(29), &host), Duration::from_secs(1));
        assert_eq!(worker().begin(at(29), &host), None);
        assert_eq!(worker().due_in(at(30), &host), Duration::ZERO);
        assert!(worker().begin(at(30), &host).is_some());
    }
}

#[test]
fn with_a_tick_every_quarter_no_interval_passes_without_a_poll() {
    for offset in 0..10 {
        let host = Process::default();
        let (mut last, mut polls) = (None, 0);
        for tick in 0..100 {
            let now = at(offset + tick * 10).after(Duration::from_millis(u64::try_from(tick * 37 % 10).unwrap()));
            if let Some(poll) = worker().begin(now, &host) {
                worker().fail(poll.began, false, &host);
                assert!(last.is_none_or(|last| now.since(last).unwrap() < INTERVAL + Duration::from_millis(10)));
                (last, polls) = (Some(now), polls + 1);
            }
        }
        assert!(polls >= 25, "{polls}");
    }
}

#[test]
fn a_poll_whose_worker_died_is_free_after_its_lease() {
    let host = Process::default();
    worker().begin(at(0), &host).unwrap();
    assert_eq!(worker().due_in(at(10), &host), Duration::from_secs(1));
    assert_eq!(worker().begin(at(10), &host), None);
    assert!(worker().begin(at(11), &host).is_some());
    assert_eq!(worker().begin(at(12), &host), None);
}

#[test]
fn a_late_answer_does_not_set_the_cursor_back() {
    let host = Process::default();
    succeed(at(0), "a", &host);
    let late = worker().begin(at(30), &host).unwrap();
    let next = worker().begin(at(41), &host).unwrap();
    worker().succeed(late.began, &said("b"), 1, &host);
    assert_eq!(worker().begin(at(42), &host), None, "the other poll is still in flight");
    worker().succeed(next.began, &said("c"), 2, &host);
    worker().succeed(late.began, &said("b"), 1, &host);
    worker().fail(late.began, true, &host);
    assert_eq!(worker().size(&host), 2);
    assert_eq!(worker().begin(at(71), &host).unwrap().since.as_deref(), Some("c"));
}

#[test]
fn a_poll_ends_once() {
    let host = Process::default();
    let poll = succeed(at(0), "a", &host);
    worker().fail(poll.began, true, &host);
    worker().succeed(poll.began, &said("z"), 9, &host);
    assert_eq!(worker().size(&host), 3);
    assert_eq!(worker().begin(at(30), &host).unwrap().since.as_deref(), Some("a"));
}

#[test]
fn after_a_refused_cursor_polling_begins_anew_at_once() {
    let host = Process::default();
    succeed(at(0), "a", &host);
    let refused = worker().begin(at(30), &host).unwrap();
    worker().fail(refused.began, true, &host);
    assert_eq!(worker().begin(at(31), &host), Some(Poll { began: at(31), since: None }));
    assert_eq!(worker().begin(at(32), &host), None);
    // That the service refuses no cursor at all is no reason to hurry.
    worker().fail(at(31), true, &host);
    assert_eq!(worker().due_in(at(32), &host), Duration::from_secs(29));
}

#[test]
fn a_list_is_stale_until_a_poll_of_the_last_two_intervals_succeeds() {
    let host = Process::default();
    assert!(worker().is_stale(at(0), &host));
    let poll = worker().begin(at(0), &host).unwrap();
    assert!(worker().is_stale(at(1), &host));
    worker().succeed(poll.began, &said("a"), 0, &host);
    assert!(!worker().is_stale(at(1), &host));
    // It is when a poll began that counts, and only of those that succeed.
    let poll = worker().begin(at(30), &host).unwrap();
    worker().fail(poll.began, false, &host);
    assert!(!worker().is_stale(at(79), &host));
    assert!(worker().is_stale(at(80), &host));
    worker().begin(at(80), &host).unwrap();
    assert!(worker().is_stale(at(80), &host));
}

#[test]
fn a_clock_that_is_set_back_stops_nothing_and_everything_is_asked_for_again() {
    for is_in_flight in [true, false] {
        let host = Process::default();
        succeed(at(0), "a", &host);
        let poll = worker().begin(at(30), &host).unwrap();
        if !is_in_flight {
            worker().succeed(poll.began, &said("b"), 0, &host);
        }
        let now = UnixTime::from_nanos(at(31).as_nanos() - u64::try_from(HOUR.as_nanos()).unwrap());
        assert!(worker().is_stale(now, &host));
        assert_eq!(worker().due_in(now, &host), Duration::ZERO);
        let poll = worker().begin(now, &host).unwrap();
        assert_eq!(poll, Poll { began: now, since: None });
        worker().succeed(poll.began, &said("c"), 0, &host);
        assert!(!worker().is_stale(now, &host));
        let later = now.after(Duration::from_secs(30));
        assert_eq!(worker().begin(later, &host).unwrap().since.as_deref(), Some("c"));
    }
}

#[test]
fn a_clock_that_is_set_forward_only_brings_the_next_poll_forward() {
    let host = Process::default();
    succeed(at(0), "a", &host);
    let now = at(1).after(HOUR);
    assert!(worker().is_stale(now, &host));
    assert_eq!(succeed(now, "b", &host).since.as_deref(), Some("a"));
    assert!(!worker().is_stale(now, &host));
    assert_eq!(worker().due_in(now, &host), Duration::from_secs(30));
}

#[test]
fn the_size_is_the_one_that_the_last_success_told() {
    let host = Process::default();
    assert_eq!(worker().size(&host), 0);
    succeed(at(0), "a", &host);
    let poll = worker().begin(at(30), &host).unwrap();
    assert_eq!(worker().size(&host), 3);
    worker().fail(poll.began, true, &host);
    assert_eq!(worker().size(&host), 3);
}

#[test]
fn a_record_of_a_strangers_is_none() {
    for bytes in [&b""[..], b"\x00", b"\x03aaaaaaaabbbbbbbbcccccccc", b"\x02aaaaaaaabbbbbbbbcccccccc\xff"] {
        let host = Process::default();
        host.set_shared_data("poll", bytes, Write::Always).unwrap();
        assert!(worker().is_stale(at(0), &host));
        assert_eq!(succeed(at(0), "a", &host).since, None);
        assert!(!worker().is_stale(at(0), &host));
    }
}

#[test]
fn an_unreadable_entry_is_new_unless_the_last_answer_had_it_as_often() {
    let host = Process::default();
    let mut now = at(0);
    let mut is_new = |unreadable: &[u8]| {
        now = now.after(INTERVAL);
        let answer = said_with("c", unreadable);
        let is_new = worker().has_new(&answer.unreadable, &host);
        let poll = worker().begin(now, &host).unwrap();
        worker().succeed(poll.began, &answer, 0, &host);
        is_new
    };
    for (unreadable, expected) in [
        (&[][..], false),
        (&[3], true),
        (&[3], false),
        (&[3, 3], true),
        (&[3, 3], false),
        (&[1, 3], true),
        (&[1, 3], false),
        (&[1, 3, 5], true),
        (&[5, 3], false),
        (&[2, 5], true),
        (&[], false),
        (&[5], true),
    ] {
        assert_eq!(is_new(unreadable), expected, "{unreadable:?}");
    }
    let many: Vec<u8> = (1..=255).collect();
    for (unreadable, expected) in [(&many[..], true), (&many[..], false), (&many[1..], true), (&many[1..], false)] {
        assert_eq!(is_new(unreadable), expected, "{} entries", unreadable.len());
    }
}

#[test]
fn a_poll_that_fails_forgets_neither_the_cursor_nor_the_unreadable_entries() {
    let host = Process::default();
    let poll = worker().begin(at(0), &host).unwrap();
    worker().succeed(poll.began, &said_with("c", &[1]), 0, &host);
    let failed = worker().begin(at(40), &host).unwrap();
    worker().fail(failed.began, false, &host);
    assert!(!worker().has_new(&[1], &host));
    assert_eq!(worker().begin(at(80), &host).unwrap().since.as_deref(), Some("c"));
}
