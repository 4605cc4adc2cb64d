//! Rows of records: what a full row drops, and what two workers write at once.

use super::*;

/// Different addresses whose records share one row.
fn neighbours<const N: usize>() -> [Suspect; N] {
    let mut same_row = (0u32..)
        .map(|number| of(&format!("10.{}.{}.{}:1", number >> 16, number >> 8 & 255, number & 255), ""))
        .filter(|subject| throttle().addresses.row(&subject.address, &Process::default()) == 5);
    from_fn(|_| same_row.next().unwrap())
}

/// How many records each key of a table holds.
fn lengths(table: &Table<History>, host: &Process) -> Vec<usize> {
    (0..ROWS).map(|row| table.read(row, host).len()).filter(|length| *length > 0).collect()
}

#[test]
fn a_flood_of_addresses_keeps_rows_within_their_limit() {
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
    let is_kept = |subject: &Suspect| row.iter().any(|record| record.subject == subject.address);
    let lost: Vec<_> = (0..9).filter(|at| !is_kept(&subjects[*at])).collect();
    assert_eq!((lost, row.len()), (vec![2], 8));
    assert_eq!(throttle.check(&subjects[8], &Cx::new(now, &host)), Some(LOCKOUT));
}

#[test]
fn a_full_row_displaces_locks_last() {
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
fn a_row_of_locks_displaces_the_one_that_ends_first() {
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
fn an_ended_lock_is_displaced_before_a_running_window() {
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
fn ended_records_are_displaced_first() {
    let (throttle, host) = (throttle(), Process::default());
    let subjects: [_; 9] = neighbours();
    for subject in &subjects[..8] {
        fail(&throttle, 3, *subject, &Cx::new(start(), &host));
    }
    throttle.fail(&subjects[8], &Cx::new(start().after(LOCKOUT), &host));
    assert_eq!(throttle.addresses.read(5, &host).len(), 1);
}

#[test]
fn simultaneous_failures_in_one_row_both_count() {
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
fn a_busy_row_loses_one_failure_only() {
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
fn an_unreadable_row_locks_no_address_and_is_replaced() {
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
fn an_open_question_is_displaced_after_lighter_records() {
    let (throttle, host) = (throttle(), Process::default());
    let subjects: [_; 10] = neighbours();
    begin(&throttle, 2, &subjects[0], &Cx::new(start(), &host));
    for subject in &subjects[1..] {
        throttle.fail(subject, &Cx::new(start(), &host));
    }
    throttle.fail(&subjects[0], &Cx::new(start(), &host));
    assert_eq!(throttle.begin_guess(&subjects[0], &Cx::new(start(), &host)), Err(Throttled::Busy));
}

/// Different numbers whose records share one row.
fn numbers_of_a_row<const N: usize>() -> [String; N] {
    let mut same_row = (1u32..)
        .map(|number| number.to_string())
        .filter(|number| throttle().numbers.row(&of("192.0.2.1:1", number).number.unwrap(), &Process::default()) == 5);
    from_fn(|_| same_row.next().unwrap())
}

#[test]
fn a_question_that_must_wait_displaces_no_failure() {
    let (throttle, host, cx_now) = (throttle(), Process::default(), start());
    let cx = Cx::new(cx_now, &host);
    let numbers: [String; 9] = numbers_of_a_row();
    for (index, number) in numbers[..8].iter().enumerate() {
        throttle.fail(&of(&format!("203.0.113.{index}:1"), number), &cx);
    }
    begin(&throttle, 3, &a(), &cx);
    assert_eq!(throttle.begin_guess(&of("192.0.2.1:1000", &numbers[8]), &cx), Err(Throttled::Busy));
    assert_eq!(lengths(&throttle.numbers, &host), [8], "a failure of another number is forgotten");
}

#[test]
fn the_end_of_a_displaced_question_displaces_no_record() {
    let (throttle, host, cx_now) = (throttle(), Process::default(), start());
    let cx = Cx::new(cx_now, &host);
    let numbers: [String; 9] = numbers_of_a_row();
    let guess = throttle.begin_guess(&of("192.0.2.1:1000", &numbers[8]), &cx).unwrap().unwrap();
    for (index, number) in numbers[..8].iter().enumerate() {
        (0..2).for_each(|_| throttle.fail(&of(&format!("203.0.113.{index}:1"), number), &cx));
    }
    assert_eq!(lengths(&throttle.numbers, &host), [8]);
    throttle.end_guess(guess, false, &cx);
    assert_eq!(lengths(&throttle.numbers, &host), [8]);
}
