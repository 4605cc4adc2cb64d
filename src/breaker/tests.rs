use super::*;
use crate::filter::world::{BEGIN, Process};
use crate::host::{Cx, Write};
use crate::testing::overtaking;
use crate::time::WORKERS_APART;

const OPEN_FOR: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_nanos(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn start() -> Instant {
    Instant::from_secs(BEGIN)
}

/// `by` before the start.
fn earlier(by: Duration) -> Instant {
    Instant::from_nanos(start().as_nanos() - u64::try_from(by.as_nanos()).unwrap())
}

fn workers() -> (Breaker, Breaker, Process) {
    let worker = || Breaker::new("b".to_owned(), 3, OPEN_FOR, LEASE);
    (worker(), worker(), Process::default())
}

fn closed(breaker: &Breaker, cx: &Cx<'_>) -> Ticket {
    match breaker.admit(cx) {
        Admission::Closed(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn probe(breaker: &Breaker, cx: &Cx<'_>) -> Ticket {
    match breaker.admit(cx) {
        Admission::Probe(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn open(retry_after: Duration) -> Admission {
    Admission::Open { retry_after }
}

fn state(breaker: &Breaker, host: &Process) -> State {
    breaker.peek(&Cx::new(start(), host)).state
}

/// Opens the breaker at the start; the ticket is that of a call which is still under way.
fn trip(breaker: &Breaker, host: &Process) -> Ticket {
    let ticket = closed(breaker, &Cx::new(start(), host));
    let outcomes: Vec<_> = (0..3).map(|_| breaker.fail(ticket, &Cx::new(start(), host))).collect();
    assert_eq!(outcomes, [None, None, Some(State::Open)]);
    ticket
}

#[test]
fn consecutive_failures_of_all_workers_open_the_breaker() {
    let (a, b, host) = workers();
    let (by_a, by_b) = (closed(&a, &Cx::new(start(), &host)), closed(&b, &Cx::new(start(), &host)));
    assert_eq!(a.fail(by_a, &Cx::new(start(), &host)), None);
    assert_eq!(b.fail(by_b, &Cx::new(start(), &host)), None);
    closed(&a, &Cx::new(start(), &host));
    assert_eq!(a.fail(by_a, &Cx::new(start(), &host)), Some(State::Open));
    assert_eq!(
        (a.admit(&Cx::new(start(), &host)), b.admit(&Cx::new(start(), &host))),
        (open(OPEN_FOR), open(OPEN_FOR))
    );
}

#[test]
fn a_success_resets_the_count_of_failures() {
    let (a, b, host) = workers();
    let ticket = closed(&a, &Cx::new(start(), &host));
    for _ in 0..2 {
        a.fail(ticket, &Cx::new(start(), &host));
        a.fail(ticket, &Cx::new(start(), &host));
        assert_eq!(b.succeed(ticket, &Cx::new(start(), &host)), None);
    }
    assert_eq!(state(&a, &host), State::Closed);
    a.fail(ticket, &Cx::new(start(), &host));
    a.fail(ticket, &Cx::new(start(), &host));
    assert_eq!(a.fail(ticket, &Cx::new(start(), &host)), Some(State::Open));
}

#[test]
fn a_limit_of_zero_or_one_opens_at_the_first_failure() {
    for failures in [0, 1] {
        let (breaker, host) = (Breaker::new("b".to_owned(), failures, OPEN_FOR, LEASE), Process::default());
        let ticket = closed(&breaker, &Cx::new(start(), &host));
        assert_eq!(breaker.fail(ticket, &Cx::new(start(), &host)), Some(State::Open));
    }
}

#[test]
fn a_success_without_a_failure_before_it_writes_nothing() {
    let (a, _, host) = workers();
    let ticket = closed(&a, &Cx::new(start(), &host));
    a.succeed(ticket, &Cx::new(start(), &host));
    assert_eq!(host.shared_data("b"), None);
    a.fail(ticket, &Cx::new(start(), &host));
    a.succeed(ticket, &Cx::new(start(), &host));
    let written = host.shared_data("b");
    a.succeed(ticket, &Cx::new(start(), &host));
    assert_eq!((host.shared_data("b"), written.is_some()), (written.clone(), true));
}

#[test]
fn one_worker_gets_the_probe_after_open_for() {
    let (a, b, host) = workers();
    trip(&a, &host);
    let due = start().after(OPEN_FOR);
    assert_eq!(b.admit(&Cx::new(start().after(OPEN_FOR - TICK), &host)), open(TICK));
    probe(&b, &Cx::new(due, &host));
    assert_eq!(a.admit(&Cx::new(due, &host)), open(LEASE));
    assert_eq!(b.admit(&Cx::new(due.after(TICK), &host)), open(LEASE - TICK));
}

#[test]
fn a_worker_that_loses_the_race_for_the_probe_is_not_admitted() {
    let (a, b, host) = workers();
    trip(&a, &host);
    let due = start().after(OPEN_FOR);
    let overtaking = overtaking(&host, [|| assert!(matches!(b.admit(&Cx::new(due, &host)), Admission::Probe(_)))]);
    assert_eq!(a.admit(&Cx::new(due, &overtaking)), open(LEASE));
}

#[test]
fn a_worker_is_not_admitted_when_every_write_conflicts() {
    let (a, b, host) = workers();
    trip(&a, &host);
    let due = start().after(OPEN_FOR);
    let written = host.shared_data("b").unwrap().bytes;
    let touch = || host.set_shared_data("b", &written, Write::Always).unwrap();
    assert_eq!(a.admit(&Cx::new(due, &overtaking(&host, [touch; 16]))), open(LEASE));
    probe(&b, &Cx::new(due, &host));
}

#[test]
fn a_successful_probe_closes_the_breaker_and_resets_the_count() {
    let (a, b, host) = workers();
    trip(&a, &host);
    let due = start().after(OPEN_FOR);
    let won = probe(&a, &Cx::new(due, &host));
    assert_eq!(a.succeed(won, &Cx::new(due, &host)), Some(State::Closed));
    let ticket = closed(&b, &Cx::new(due, &host));
    let outcomes: Vec<_> = (0..3).map(|_| b.fail(ticket, &Cx::new(due, &host))).collect();
    assert_eq!(outcomes, [None, None, Some(State::Open)]);
}

#[test]
fn a_failed_probe_opens_the_breaker_for_another_period() {
    let (a, b, host) = workers();
    trip(&a, &host);
    let won = probe(&a, &Cx::new(start().after(OPEN_FOR), &host));
    let failed = start().after(OPEN_FOR + TICK);
    assert_eq!(a.fail(won, &Cx::new(failed, &host)), Some(State::Open));
    assert_eq!(b.admit(&Cx::new(failed, &host)), open(OPEN_FOR));
    assert_eq!(a.admit(&Cx::new(failed.after(OPEN_FOR - TICK), &host)), open(TICK));
    probe(&b, &Cx::new(failed.after(OPEN_FOR), &host));
}

#[test]
fn an_unreported_probe_is_available_again_after_its_lease() {
    let (a, b, host) = workers();
    trip(&a, &host);
    let due = start().after(OPEN_FOR);
    probe(&a, &Cx::new(due, &host));
    assert_eq!(b.admit(&Cx::new(due.after(LEASE - TICK), &host)), open(TICK));
    let won = probe(&b, &Cx::new(due.after(LEASE), &host));
    assert_eq!(a.admit(&Cx::new(due.after(LEASE), &host)), open(LEASE));
    assert_eq!(b.succeed(won, &Cx::new(due.after(LEASE), &host)), Some(State::Closed));
}

#[test]
fn a_late_probe_still_decides_if_no_other_has_begun() {
    for (succeeds, expected) in [(true, State::Closed), (false, State::Open)] {
        let (a, _, host) = workers();
        trip(&a, &host);
        let won = probe(&a, &Cx::new(start().after(OPEN_FOR), &host));
        let late = start().after(OPEN_FOR + LEASE + TICK);
        let changed = if succeeds { a.succeed(won, &Cx::new(late, &host)) } else { a.fail(won, &Cx::new(late, &host)) };
        assert_eq!((changed, state(&a, &host)), (Some(expected), expected));
    }
}

#[test]
fn only_the_later_of_two_probes_decides() {
    for old_is_first in [true, false] {
        for old_succeeds in [true, false] {
            for new_succeeds in [true, false] {
                let (a, b, host) = workers();
                trip(&a, &host);
                let due = start().after(OPEN_FOR);
                let old = probe(&a, &Cx::new(due, &host));
                let new = probe(&b, &Cx::new(due.after(LEASE), &host));
                let now = due.after(LEASE + TICK);
                let report_old = || {
                    if old_succeeds { a.succeed(old, &Cx::new(now, &host)) } else { a.fail(old, &Cx::new(now, &host)) }
                };
                let report_new = || {
                    if new_succeeds { b.succeed(new, &Cx::new(now, &host)) } else { b.fail(new, &Cx::new(now, &host)) }
                };
                let (by_old, by_new) = if old_is_first {
                    let by_old = report_old();
                    assert_eq!(state(&a, &host), State::HalfOpen);
                    (by_old, report_new())
                } else {
                    let by_new = report_new();
                    (report_old(), by_new)
                };
                let expected = if new_succeeds { State::Closed } else { State::Open };
                assert_eq!((by_old, by_new, state(&a, &host)), (None, Some(expected), expected));
            }
        }
    }
}

#[test]
fn a_call_admitted_before_the_breaker_opened_is_not_counted() {
    for succeeds in [true, false] {
        let (a, b, host) = workers();
        let late = trip(&a, &host);
        let due = start().after(OPEN_FOR);
        let report = |now| {
            let before = host.shared_data("b");
            for _ in 0..4 {
                let changed =
                    if succeeds { b.succeed(late, &Cx::new(now, &host)) } else { b.fail(late, &Cx::new(now, &host)) };
                assert_eq!((changed, host.shared_data("b")), (None, before.clone()));
            }
        };
        report(due);
        let won = probe(&a, &Cx::new(due, &host));
        report(due);
        a.succeed(won, &Cx::new(due, &host));
        report(due);
        let ticket = closed(&a, &Cx::new(due, &host));
        a.fail(ticket, &Cx::new(due, &host));
        report(due);
        a.fail(ticket, &Cx::new(due, &host));
        assert_eq!(a.fail(ticket, &Cx::new(due, &host)), Some(State::Open));
    }
}

#[test]
fn a_second_report_of_a_probe_is_ignored() {
    for succeeds in [true, false] {
        let (a, _, host) = workers();
        trip(&a, &host);
        let due = start().after(OPEN_FOR);
        let won = probe(&a, &Cx::new(due, &host));
        if succeeds {
            a.succeed(won, &Cx::new(due, &host))
        } else {
            a.fail(won, &Cx::new(due, &host))
        };
        let before = host.shared_data("b");
        assert_eq!((a.succeed(won, &Cx::new(due, &host)), a.fail(won, &Cx::new(due, &host))), (None, None));
        assert_eq!(host.shared_data("b"), before);
    }
}

#[test]
fn simultaneous_failures_of_two_workers_both_count() {
    let (a, b, host) = workers();
    let ticket = closed(&a, &Cx::new(start(), &host));
    a.fail(ticket, &Cx::new(start(), &host));
    let overtaking = overtaking(&host, [|| assert_eq!(b.fail(ticket, &Cx::new(start(), &host)), None)]);
    assert_eq!(a.fail(ticket, &Cx::new(start(), &overtaking)), Some(State::Open));
}

#[test]
fn a_late_failure_does_not_restart_the_open_period() {
    let (a, b, host) = workers();
    let ticket = closed(&a, &Cx::new(start(), &host));
    a.fail(ticket, &Cx::new(start(), &host));
    a.fail(ticket, &Cx::new(start(), &host));
    let by_b = || assert_eq!(b.fail(ticket, &Cx::new(start(), &host)), Some(State::Open));
    let later = start().after(TICK);
    assert_eq!(a.fail(ticket, &Cx::new(later, &overtaking(&host, [by_b]))), None);
    assert_eq!(a.admit(&Cx::new(later, &host)), open(OPEN_FOR - TICK));
}

#[test]
fn a_clock_reading_that_is_slightly_old_counts_as_the_beginning() {
    for behind in [TICK, WORKERS_APART] {
        let (a, b, host) = workers();
        trip(&a, &host);
        assert_eq!(b.admit(&Cx::new(earlier(behind), &host)), open(OPEN_FOR));
        let later = start().after(OPEN_FOR + behind);
        probe(&a, &Cx::new(later, &host));
        assert_eq!(b.admit(&Cx::new(start().after(OPEN_FOR), &host)), open(LEASE));
    }
}

#[test]
fn an_unreadable_record_counts_as_closed() {
    for bytes in [&b""[..], b"garbage", &[9; 33], &[0; 32], &[0xff; 64]] {
        let (a, b, host) = workers();
        host.set_shared_data("b", bytes, Write::Always).unwrap();
        let Snapshot { state, has_failed, is_probe_due, .. } = a.peek(&Cx::new(start(), &host));
        assert_eq!((state, has_failed, is_probe_due), (State::Closed, false, false));
        trip(&b, &host);
        assert_eq!(a.admit(&Cx::new(start(), &host)), open(OPEN_FOR));
    }
}

#[test]
fn a_corrupt_count_of_failures_opens_the_breaker_at_the_next_failure() {
    let (a, _, host) = workers();
    // A free probe that never began; openings and failures; the time of opening: never.
    let bytes = [&[0; 9][..], &[0xff; 16], &[0; 8]].concat();
    host.set_shared_data("b", &bytes, Write::Always).unwrap();
    let ticket = closed(&a, &Cx::new(start(), &host));
    assert_eq!(a.fail(ticket, &Cx::new(start(), &host)), Some(State::Open));
}

#[test]
fn peek_tells_when_a_probe_is_due_and_writes_nothing() {
    let (a, b, host) = workers();
    let look = |now, state, is_probe_due| {
        let before = host.shared_data("b");
        let found = b.peek(&Cx::new(now, &host));
        assert_eq!((found.state, found.has_failed, found.is_probe_due), (state, false, is_probe_due));
        assert_eq!(host.shared_data("b"), before);
    };
    look(start(), State::Closed, false);
    trip(&a, &host);
    let due = start().after(OPEN_FOR);
    look(start().after(OPEN_FOR - TICK), State::Open, false);
    look(due, State::Open, true);
    let won = probe(&a, &Cx::new(due, &host));
    look(due.after(LEASE - TICK), State::HalfOpen, false);
    look(due.after(LEASE), State::HalfOpen, true);
    a.succeed(won, &Cx::new(due, &host));
    look(due.after(HOUR), State::Closed, false);
}

#[test]
fn each_state_has_its_number_in_the_metric() {
    assert_eq!([State::Closed, State::HalfOpen, State::Open].map(State::number), [0, 1, 2]);
}
