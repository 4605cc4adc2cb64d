//! Workers that poll, and wall clocks that are wrong.

use super::*;
use crate::filter::world::{BEGIN, Process};
use crate::host::{Host, Write};
use crate::revocation::feed::{Oddity, Unreadable};
use crate::testing::overtaking;
use crate::time::UnixTime;

const INTERVAL: Duration = Duration::from_secs(40);
const LEASE: Duration = Duration::from_secs(11);

/// One of the workers: they are all alike, since they hold nothing themselves.
fn worker() -> Poller {
    Poller::new("poll".to_owned(), INTERVAL, LEASE)
}

/// So many seconds after the beginning.
fn at(seconds: i64) -> Instant {
    Instant::from_secs(BEGIN.checked_add_signed(seconds).unwrap())
}

/// The same by the wall clock.
fn wall(seconds: i64) -> UnixTime {
    UnixTime::from_secs(BEGIN.checked_add_signed(seconds).unwrap())
}

/// An answer with this cursor and nothing else.
fn said(cursor: &str) -> Changes {
    Changes { cursor: cursor.to_owned(), ..Changes::default() }
}

/// An answer with an unreadable entry.
fn said_oddly(cursor: &str) -> Changes {
    let unreadable = Unreadable { count: 1, list: "purge", index: 0, oddity: Oddity::NamesNobody };
    Changes { unreadable: Some(unreadable), ..said(cursor) }
}

/// A poll that begins and succeeds with this cursor.
fn succeed(now: Instant, cursor: &str, host: &Process) -> NewPoll {
    let poll = worker().begin_poll(&Cx::new(now, host)).unwrap();
    worker().succeed(poll.began, &said(cursor), 3, None, host);
    poll
}

#[test]
fn one_worker_polls() {
    let host = Process::default();
    let poll = worker().begin_poll(&Cx::new(at(0), &host));
    assert_eq!(poll, Some(NewPoll { began: at(0), since: None }));
    for seconds in [0, 1, 10] {
        assert_eq!(worker().begin_poll(&Cx::new(at(seconds), &host)), None);
    }
}

/// A process in which another worker begins a poll between one's reading the record and writing it.
fn overtaken(process: &Process, at: Instant) -> impl SharedData + Host {
    overtaking(process, [move || assert!(worker().begin_poll(&Cx::new(at, process)).is_some())])
}

#[test]
fn one_of_two_simultaneous_workers_polls() {
    let process = Process::default();
    for now in [at(0), at(11)] {
        let host = overtaken(&process, now);
        assert_eq!(worker().begin_poll(&Cx::new(now.after(Duration::from_millis(1)), &host)), None);
    }
}

#[test]
fn an_answer_that_loses_to_another_worker_changes_nothing() {
    let process = Process::default();
    let late = worker().begin_poll(&Cx::new(at(0), &process)).unwrap();
    let host = overtaken(&process, at(11));
    worker().succeed(late.began, &said("late"), 1, None, &host);
    assert_eq!(worker().size(&process), 0);
    worker().succeed(at(11), &said("b"), 2, None, &process);
    assert_eq!(worker().size(&process), 2);
}

#[test]
fn a_slightly_old_clock_reading_begins_no_second_poll() {
    let host = Process::default();
    let earlier = at(0);
    assert!(worker().begin_poll(&Cx::new(earlier.after(Duration::from_millis(100)), &host)).is_some());
    assert_eq!(worker().begin_poll(&Cx::new(earlier, &host)), None);
}

#[test]
fn a_poll_continues_from_the_last_cursor_of_any_worker() {
    let host = Process::default();
    assert_eq!(succeed(at(0), "a", &host).since, None);
    assert_eq!(succeed(at(30), "b", &host).since.as_deref(), Some("a"));
    let failing = worker().begin_poll(&Cx::new(at(60), &host)).unwrap();
    worker().fail(failing.began, false, None, &host);
    assert_eq!(worker().begin_poll(&Cx::new(at(90), &host)).unwrap().since.as_deref(), Some("b"));
}

#[test]
fn polls_begin_three_quarters_of_an_interval_apart() {
    for does_succeed in [true, false] {
        let host = Process::default();
        succeed(at(-30), "a", &host);
        let poll = worker().begin_poll(&Cx::new(at(0), &host)).unwrap();
        if does_succeed {
            worker().succeed(poll.began, &said("b"), 0, None, &host);
        } else {
            worker().fail(poll.began, false, None, &host);
        }
        assert_eq!(worker().due_in(&Cx::new(at(0), &host)), Duration::from_secs(30));
        assert_eq!(worker().due_in(&Cx::new(at(29), &host)), Duration::from_secs(1));
        assert_eq!(worker().begin_poll(&Cx::new(at(29), &host)), None);
        assert_eq!(worker().due_in(&Cx::new(at(30), &host)), Duration::ZERO);
        assert!(worker().begin_poll(&Cx::new(at(30), &host)).is_some());
    }
}

/// Revoked JWTs pass until there is a list. The service may have come up just after the poll that failed.
#[test]
fn without_a_list_a_poll_begins_every_five_seconds() {
    let host = Process::default();
    for seconds in [0, 5, 10] {
        let poll = worker().begin_poll(&Cx::new(at(seconds), &host)).unwrap();
        worker().fail(poll.began, false, None, &host);
        assert_eq!(worker().begin_poll(&Cx::new(at(seconds + 4), &host)), None);
    }
    succeed(at(15), "a", &host);
    assert_eq!(worker().begin_poll(&Cx::new(at(44), &host)), None);
    assert!(worker().begin_poll(&Cx::new(at(45), &host)).is_some());
}

/// Polls of a service that hangs take so long that one is nearly always under way.
#[test]
fn after_a_poll_that_failed_nobody_waits_for_the_first_list() {
    let host = Process::default();
    assert!(worker().awaits_first(&host));
    let poll = worker().begin_poll(&Cx::new(at(0), &host)).unwrap();
    assert!(worker().awaits_first(&host));
    worker().fail(poll.began, false, None, &host);
    worker().begin_poll(&Cx::new(at(7), &host)).unwrap();
    assert!(!worker().awaits_first(&host));
}

#[test]
fn without_a_list_polls_are_no_rarer_than_with_one() {
    let host = Process::default();
    let worker = Poller::new("poll".to_owned(), Duration::from_secs(4), LEASE);
    let poll = worker.begin_poll(&Cx::new(at(0), &host)).unwrap();
    worker.fail(poll.began, false, None, &host);
    assert_eq!(worker.due_in(&Cx::new(at(0), &host)), Duration::from_secs(3));
}

#[test]
fn ticks_every_quarter_give_a_poll_each_interval() {
    for offset in 0..10 {
        let host = Process::default();
        let (mut last, mut polls) = (None, 0);
        for tick in 0..100 {
            let now = at(offset + tick * 10).after(Duration::from_millis(u64::try_from(tick * 37 % 10).unwrap()));
            if let Some(poll) = worker().begin_poll(&Cx::new(now, &host)) {
                worker().fail(poll.began, false, None, &host);
                assert!(last.is_none_or(|last| now.since(last) < INTERVAL + Duration::from_millis(10)));
                (last, polls) = (Some(now), polls + 1);
            }
        }
        assert!(polls >= 25, "{polls}");
    }
}

#[test]
fn a_poll_of_a_dead_worker_is_free_after_its_lease() {
    let host = Process::default();
    worker().begin_poll(&Cx::new(at(0), &host)).unwrap();
    assert_eq!(worker().due_in(&Cx::new(at(10), &host)), Duration::from_secs(1));
    assert_eq!(worker().begin_poll(&Cx::new(at(10), &host)), None);
    assert!(worker().begin_poll(&Cx::new(at(11), &host)).is_some());
    assert_eq!(worker().begin_poll(&Cx::new(at(12), &host)), None);
}

#[test]
fn a_late_answer_does_not_set_the_cursor_back() {
    let host = Process::default();
    succeed(at(0), "a", &host);
    let late = worker().begin_poll(&Cx::new(at(30), &host)).unwrap();
    let next = worker().begin_poll(&Cx::new(at(41), &host)).unwrap();
    worker().succeed(late.began, &said("b"), 1, None, &host);
    assert_eq!(worker().begin_poll(&Cx::new(at(42), &host)), None, "the other poll is still in flight");
    worker().succeed(next.began, &said("c"), 2, None, &host);
    worker().succeed(late.began, &said("b"), 1, None, &host);
    worker().fail(late.began, false, None, &host);
    assert_eq!(worker().size(&host), 2);
    assert_eq!(worker().begin_poll(&Cx::new(at(71), &host)).unwrap().since.as_deref(), Some("c"));
}

#[test]
fn a_second_end_of_a_poll_is_ignored() {
    let host = Process::default();
    let poll = succeed(at(0), "a", &host);
    worker().fail(poll.began, false, None, &host);
    worker().succeed(poll.began, &said("z"), 9, None, &host);
    assert_eq!(worker().size(&host), 3);
    assert_eq!(worker().begin_poll(&Cx::new(at(30), &host)).unwrap().since.as_deref(), Some("a"));
}

#[test]
fn a_list_is_stale_until_a_poll_of_the_last_two_intervals_succeeds() {
    let host = Process::default();
    assert!(worker().is_stale(&Cx::new(at(0), &host)));
    let poll = worker().begin_poll(&Cx::new(at(0), &host)).unwrap();
    assert!(worker().is_stale(&Cx::new(at(1), &host)));
    worker().succeed(poll.began, &said("a"), 0, None, &host);
    assert!(!worker().is_stale(&Cx::new(at(1), &host)));
    // What counts is when a poll began, and only if it succeeds.
    let poll = worker().begin_poll(&Cx::new(at(30), &host)).unwrap();
    worker().fail(poll.began, false, None, &host);
    assert!(!worker().is_stale(&Cx::new(at(79), &host)));
    assert!(worker().is_stale(&Cx::new(at(80), &host)));
    worker().begin_poll(&Cx::new(at(80), &host)).unwrap();
    assert!(worker().is_stale(&Cx::new(at(80), &host)));
}

#[test]
fn a_wall_clock_set_back_makes_the_next_poll_read_everything_at_once() {
    let host = Process::default();
    succeed(at(0), "a", &host);
    let cx = Cx { wall: wall(-3600), ..Cx::new(at(1), &host) };
    assert!(!worker().is_stale(&cx));
    assert_eq!(worker().due_in(&cx), Duration::ZERO);
    let poll = worker().begin_poll(&cx).unwrap();
    assert_eq!(poll, NewPoll { began: at(1), since: None });
    worker().succeed(poll.began, &said("c"), 0, None, &host);
    assert_eq!(worker().due_in(&cx), Duration::from_secs(30));
    let later = Cx { wall: wall(-3570), ..Cx::new(at(31), &host) };
    assert_eq!(worker().begin_poll(&later).unwrap().since.as_deref(), Some("c"));
}

#[test]
fn a_poll_under_way_is_waited_for_when_the_wall_clock_is_set_back() {
    let host = Process::default();
    worker().begin_poll(&Cx::new(at(0), &host)).unwrap();
    let cx = Cx { wall: wall(-3600), ..Cx::new(at(1), &host) };
    assert_eq!(worker().begin_poll(&cx), None);
    let late = Cx { wall: wall(-3580), ..Cx::new(at(20), &host) };
    assert_eq!(worker().begin_poll(&late).unwrap().since, None);
}

#[test]
fn a_wall_clock_set_forward_makes_a_poll_due() {
    let host = Process::default();
    succeed(at(0), "a", &host);
    let cx = Cx { wall: wall(3600), ..Cx::new(at(1), &host) };
    assert!(!worker().is_stale(&cx));
    assert_eq!(worker().begin_poll(&cx).unwrap().since.as_deref(), Some("a"), "what is new");
}

#[test]
fn the_size_is_that_of_the_last_successful_poll() {
    let host = Process::default();
    assert_eq!(worker().size(&host), 0);
    succeed(at(0), "a", &host);
    let poll = worker().begin_poll(&Cx::new(at(30), &host)).unwrap();
    assert_eq!(worker().size(&host), 3);
    worker().fail(poll.began, false, None, &host);
    assert_eq!(worker().size(&host), 3);
}

#[test]
fn a_foreign_record_is_ignored() {
    for bytes in [&b""[..], b"\x00", b"\x03aaaaaaaabbbbbbbbcccccccc", b"\x02aaaaaaaabbbbbbbbcccccccc\xff"] {
        let host = Process::default();
        host.set_shared_data("poll", bytes, Write::Always).unwrap();
        assert!(worker().is_stale(&Cx::new(at(0), &host)));
        assert_eq!(succeed(at(0), "a", &host).since, None);
        assert!(!worker().is_stale(&Cx::new(at(0), &host)));
    }
}

/// A poll with an unreadable entry, or with none. Returns whether it voids all verdicts.
fn poll(seconds: i64, is_odd: bool, does_fail: bool, host: &Process) -> bool {
    let (now, answer) = (at(seconds), if is_odd { said_oddly("c") } else { said("c") });
    let poll = worker().begin_poll(&Cx::new(now, host)).unwrap();
    let voids = worker().voids(is_odd, &Cx::new(now, host));
    let voided = voids.then_some(now);
    if does_fail {
        worker().fail(poll.began, is_odd, voided, host);
    } else {
        worker().succeed(poll.began, &answer, 0, voided, host);
    }
    voids
}

#[test]
fn unreadable_entries_void_at_most_once_a_minute_and_are_not_lost() {
    for does_fail in [false, true] {
        let host = Process::default();
        for (seconds, is_odd, voids) in [
            (0, false, false),
            (40, true, true),
            (80, true, false),
            (120, false, true),
            (160, false, false),
            (200, false, false),
            (240, true, true),
            (280, true, false),
            (320, true, true),
            (400, false, false),
        ] {
            assert_eq!(poll(seconds, is_odd, does_fail, &host), voids, "after {seconds} s, failing: {does_fail}");
        }
    }
}

#[test]
fn a_partial_list_is_used_and_counts_as_stale() {
    let host = Process::default();
    poll(0, true, false, &host);
    assert!(worker().has_list(&host) && worker().is_stale(&Cx::new(at(1), &host)));
    assert_eq!(worker().begin_poll(&Cx::new(at(40), &host)).unwrap().since.as_deref(), Some("c"));
    let host = Process::default();
    poll(0, false, false, &host);
    poll(40, true, false, &host);
    assert!(!worker().is_stale(&Cx::new(at(79), &host)) && worker().is_stale(&Cx::new(at(80), &host)));
}

#[test]
fn a_failed_poll_keeps_the_cursor_and_the_owed_void() {
    let host = Process::default();
    poll(0, true, false, &host);
    poll(40, true, true, &host);
    assert!(worker().voids(false, &Cx::new(at(80), &host)));
    assert_eq!(worker().begin_poll(&Cx::new(at(80), &host)).unwrap().since.as_deref(), Some("c"));
}
