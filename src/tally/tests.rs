//! VMs that come and go.

use super::*;
use crate::filter::world::{BEGIN, Process};

fn at(millis: u64) -> Instant {
    Instant::from_secs(BEGIN).after(Duration::from_millis(millis))
}

fn vm() -> Tally {
    Tally::new("authgate")
}

/// Counts callouts, and writes that down.
fn count(vm: &mut Tally, callouts: i64, now: Instant, host: &Process) {
    vm.count(Gauge::CalloutsInFlight, callouts);
    assert_eq!(vm.settle(), [callouts, 0, 0]);
    vm.write(now, host);
}

fn ticks<const N: usize>(vms: &mut [&mut Tally; N], now: Instant, host: &Process) -> [Option<i64>; N] {
    std::array::from_fn(|index| vms[index].tick(now, host).map(|[callouts, ..]| callouts))
}

#[test]
fn the_gauges_are_the_sum_of_all_tallies() {
    let host = Process::default();
    let (mut one, mut other, mut third) = (vm(), vm(), Tally::new("another"));
    for (gauge, by) in [(Gauge::CalloutsInFlight, 2), (Gauge::CacheEntries, 3), (Gauge::CacheBytes, 500)] {
        one.count(gauge, by);
    }
    assert_eq!(one.flush(at(0), &host), Some([2, 3, 500]));
    count(&mut other, 5, at(0), &host);
    count(&mut third, 100, at(0), &host);
    assert_eq!(other.tick(at(0), &host), Some([7, 3, 500]));
    assert_eq!(third.tick(at(0), &host), Some([100, 0, 0]), "another filter's");
    one.count(Gauge::CalloutsInFlight, 1);
    for (vm, callouts) in [(&one, 8), (&other, 7), (&third, 100)] {
        assert_eq!(vm.level(Gauge::CalloutsInFlight, at(0), &host), callouts);
    }
    one.count(Gauge::CalloutsInFlight, -1);
    count(&mut one, -2, at(100), &host);
    assert_eq!(other.tick(at(1000), &host), Some([5, 3, 500]));
}

#[test]
fn gauges_of_the_cache_wait_for_a_tick_or_a_callout() {
    let host = Process::default();
    let (mut one, mut other) = (vm(), vm());
    one.count(Gauge::CacheEntries, 1);
    one.count(Gauge::CacheBytes, 500);
    assert_eq!(one.flush(at(0), &host), None);
    assert!(host.stored("gauges").is_empty());
    assert_eq!(one.tick(at(0), &host), Some([0, 1, 500]));
    assert_eq!(other.tick(at(0), &host), Some([0, 1, 500]));
    one.count(Gauge::CacheEntries, 1);
    one.count(Gauge::CalloutsInFlight, 1);
    assert_eq!(one.flush(at(100), &host), Some([1, 1, 0]));
    one.count(Gauge::CacheEntries, 1);
    assert_eq!(one.tick(at(200), &host), None, "all tallies were looked at just now");
    assert_eq!(one.tick(at(1000), &host), Some([1, 3, 500]));
}

#[test]
fn only_that_callouts_are_under_way_again_is_written_before_the_next_tick() {
    let host = Process::default();
    let (mut one, other) = (vm(), vm());
    one.count(Gauge::CacheEntries, 1);
    assert_eq!(one.flush(at(0), &host), None);
    one.count(Gauge::CalloutsInFlight, 1);
    assert_eq!(one.flush(at(0), &host), Some([1, 1, 0]));
    assert_eq!(other.level(Gauge::CalloutsInFlight, at(0), &host), 1);
    for by in [1, -1] {
        one.count(Gauge::CalloutsInFlight, by);
        assert_eq!(one.flush(at(1), &host), None);
    }
    assert_eq!(one.tick(at(1000), &host), Some([1, 1, 0]));
}

#[test]
fn the_end_of_the_last_callout_is_written_now_and_then() {
    let host = Process::default();
    let mut vm = vm();
    let mut flush = |by, now| {
        vm.count(Gauge::CalloutsInFlight, by);
        vm.flush(now, &host)
    };
    for second in 0..3 {
        // Like a tick that polls.
        let begin = 1000 * second;
        assert_eq!(flush(1, at(begin)), Some([1, 0, 0]));
        assert_eq!(flush(-1, at(begin + 1)), Some([-1, 0, 0]));
        // Many requests, one after the other.
        assert_eq!(flush(1, at(begin + 2)), Some([1, 0, 0]));
        assert_eq!((flush(-1, at(begin + 3)), flush(1, at(begin + 4)), flush(-1, at(begin + 400))), (None, None, None));
        assert_eq!((flush(1, at(begin + 401)), flush(-1, at(begin + 402))), (None, Some([-1, 0, 0])));
    }
    vm.count(Gauge::CalloutsInFlight, 1);
    assert_eq!(vm.flush(at(3000), &host), Some([1, 0, 0]));
    vm.count(Gauge::CalloutsInFlight, -1);
    assert_eq!(vm.level(Gauge::CalloutsInFlight, at(3000), &host), 0, "it knows better itself");
    assert_eq!(vm.tick(at(4000), &host), Some([0, 0, 0]));
}

#[test]
fn changes_that_cancel_out_are_not_written() {
    let host = Process::default();
    let mut vm = vm();
    vm.count(Gauge::CalloutsInFlight, 1);
    vm.count(Gauge::CalloutsInFlight, -1);
    vm.count(Gauge::BreakerState, 2);
    assert_eq!(vm.flush(at(0), &host), None);
    assert_eq!(vm.tick(at(0), &host), Some([0, 0, 0]));
    assert_eq!(vm.tick(at(100), &host), None, "all tallies were looked at just now");
    assert!(host.stored("gauges").is_empty());
}

#[test]
fn a_vm_that_ends_removes_its_tally() {
    let host = Process::default();
    let (mut one, mut other) = (vm(), vm());
    count(&mut one, 4, at(0), &host);
    count(&mut other, 5, at(0), &host);
    assert_eq!(one.end(at(10), &host), [5, 0, 0]);
    one.count(Gauge::CalloutsInFlight, -4);
    assert_eq!((one.flush(at(20), &host), one.tick(at(2000), &host)), (None, None));
    assert_eq!(other.tick(at(2000), &host), Some([5, 0, 0]));
    let mut next = vm();
    count(&mut next, 1, at(2000), &host);
    assert_eq!((next.place_name(), host.stored("gauges").len()), (Some("authgate.2.gauges.authgate.0".to_owned()), 2));
}

#[test]
fn the_tally_of_a_trapped_vm_is_removed_at_once() {
    let host = Process::default();
    let (mut trapped, mut other) = (vm(), vm());
    count(&mut trapped, 4, at(0), &host);
    host.set_shared_data(&trapped.place_name().unwrap(), &[], Write::Always).unwrap();
    assert_eq!(other.tick(at(1), &host), Some([0, 0, 0]));
}

#[test]
fn the_tally_of_a_silent_vm_expires_after_a_few_ticks() {
    let host = Process::default();
    let (mut trapped, mut other) = (vm(), vm());
    count(&mut trapped, 4, at(0), &host);
    count(&mut other, 5, at(0), &host);
    for (millis, sum) in [(1000, 9), (2000, 9), (3000, 5), (4000, 5)] {
        assert_eq!(ticks(&mut [&mut other], at(millis), &host), [Some(sum)], "{millis} ms");
    }
}

#[test]
fn a_vm_whose_tally_expired_counts_again() {
    let host = Process::default();
    let (mut slow, mut other) = (vm(), vm());
    count(&mut slow, 4, at(0), &host);
    count(&mut other, 5, at(4000), &host);
    assert_eq!(other.place_name(), slow.place_name(), "its place was free");
    assert_eq!(ticks(&mut [&mut other, &mut slow], at(5000), &host), [Some(5), Some(9)]);
    assert_eq!(ticks(&mut [&mut other, &mut slow], at(6000), &host), [Some(9), Some(9)]);
    // If the slow VM writes before it notices, the other one notices.
    let (mut slow, mut other, host) = (vm(), vm(), Process::default());
    count(&mut slow, 4, at(0), &host);
    count(&mut other, 5, at(4000), &host);
    count(&mut slow, 1, at(4001), &host);
    assert_eq!(ticks(&mut [&mut other, &mut slow], at(5000), &host), [Some(10), Some(10)]);
}

#[test]
fn places_are_bounded_and_foreign_bytes_are_not_counted() {
    let host = Process::default();
    for _ in 0..2 * MAX_VMS {
        count(&mut vm(), 1, at(0), &host);
    }
    assert_eq!(host.stored("gauges").len(), 256);
    assert_eq!(vm().tick(at(0), &host), Some([256, 0, 0]));
    host.set_shared_data("authgate.2.gauges.authgate.0", b"1234567", Write::Always).unwrap();
    host.set_shared_data("authgate.2.gauges.authgate.1", &[255; 40], Write::Always).unwrap();
    assert_eq!(vm().tick(at(1), &host), Some([254, 0, 0]));
}
