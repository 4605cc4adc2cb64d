//! Questions under way, which count like failures.

use super::*;

#[test]
fn open_questions_count_as_failures_until_answered() {
    let (one, other, host) = (throttle(), throttle(), Process::default());
    one.fail(&a(), &Cx::new(start(), &host));
    let first = one.begin_guess(&a(), &Cx::new(start(), &host)).unwrap().unwrap();
    let second = other.begin_guess(&a(), &Cx::new(start(), &host)).unwrap().unwrap();
    for worker in [&one, &other] {
        assert_eq!(worker.begin_guess(&a(), &Cx::new(start(), &host)), Err(Throttled::Busy));
        assert_eq!(worker.check(&a(), &Cx::new(start(), &host)), None, "busy is not locked");
    }
    assert!(one.begin_guess(&b(), &Cx::new(start(), &host)).is_ok());
    other.end_guess(first, false, &Cx::new(start(), &host));
    let third = one.begin_guess(&a(), &Cx::new(start(), &host)).unwrap().unwrap();
    one.end_guess(second, true, &Cx::new(start(), &host));
    assert_eq!(one.begin_guess(&a(), &Cx::new(start(), &host)), Err(Throttled::Busy));
    one.end_guess(third, true, &Cx::new(start(), &host));
    assert_eq!(other.begin_guess(&a(), &Cx::new(start(), &host)), Err(Throttled::Locked(LOCKOUT)));
    assert_eq!(other.check(&a(), &Cx::new(start(), &host)), Some(LOCKOUT));
}

#[test]
fn questions_of_a_dead_worker_expire_while_others_ask() {
    let (throttle, host) = (throttle(), Process::default());
    begin(&throttle, 3, &a(), &Cx::new(start(), &host));
    assert_eq!(throttle.begin_guess(&a(), &Cx::new(start().after(LONGEST - TICK), &host)), Err(Throttled::Busy));
    let end = start().after(LONGEST * 2);
    let alive = throttle.begin_guess(&a(), &Cx::new(end, &host)).unwrap().unwrap();
    throttle.begin_guess(&a(), &Cx::new(end, &host)).unwrap();
    throttle.begin_guess(&a(), &Cx::new(end, &host)).unwrap();
    assert_eq!(throttle.begin_guess(&a(), &Cx::new(end, &host)), Err(Throttled::Busy));
    throttle.end_guess(alive, false, &Cx::new(end.after(LONGEST), &host));
    assert!(throttle.begin_guess(&a(), &Cx::new(end.after(LONGEST), &host)).is_ok());
}

#[test]
fn ending_a_question_removes_no_other() {
    let (throttle, host) = (throttle(), Process::default());
    let late = throttle.begin_guess(&a(), &Cx::new(start(), &host)).unwrap().unwrap();
    let later = start().after(LONGEST * 4);
    begin(&throttle, 3, &a(), &Cx::new(later, &host));
    throttle.end_guess(late, false, &Cx::new(later, &host));
    assert_eq!(throttle.begin_guess(&a(), &Cx::new(later, &host)), Err(Throttled::Busy));
}

#[test]
fn a_worker_with_a_slightly_slow_clock_ends_its_own_question() {
    let (throttle, host) = (throttle_of(1, WINDOW, LOCKOUT), Process::default());
    // A span of 3 s begins with this second.
    let begin = Instant::from_secs(BEGIN - BEGIN % 3);
    let first = throttle.begin_guess(&a(), &Cx::new(begin, &host)).unwrap().unwrap();
    throttle.end_guess(first, false, &Cx::new(begin, &host));
    let behind = Instant::from_nanos(begin.as_nanos() - 1);
    let guess = throttle.begin_guess(&a(), &Cx::new(behind, &host)).unwrap().unwrap();
    throttle.end_guess(guess, false, &Cx::new(begin, &host));
    assert!(throttle.begin_guess(&a(), &Cx::new(begin, &host)).is_ok());
}

#[test]
fn simultaneous_guesses_at_a_locked_number_get_one_try_per_address() {
    let (throttle, host) = (throttle(), Process::default());
    lock_number(&throttle, "7", start(), &host);
    let guesser = of("192.0.2.1:1", "7");
    let first = throttle.begin_guess(&guesser, &Cx::new(start(), &host)).unwrap().unwrap();
    assert_eq!(throttle.begin_guess(&guesser, &Cx::new(start(), &host)), Err(Throttled::Busy));
    assert!(throttle.begin_guess(&of("192.0.2.1:1", "8"), &Cx::new(start(), &host)).is_ok());
    throttle.end_guess(first, true, &Cx::new(start(), &host));
    assert_eq!(throttle.begin_guess(&guesser, &Cx::new(start(), &host)), Err(Throttled::Locked(LOCKOUT)));
}

#[test]
fn filters_with_other_settings_keep_locks_and_guesses() {
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
        assert_eq!(throttle.begin_guess(&b(), &Cx::new(start().after(TICK), &host)), Err(Throttled::Busy));
    }
    assert!(
        strict.begin_guess(&b(), &Cx::new(start().after(LONGEST * 2), &host)).is_ok(),
        "they run out by the settings of the first"
    );
}

#[test]
fn questions_of_a_dead_worker_do_not_count_again_after_a_pause() {
    let (throttle, host) = (throttle(), Process::default());
    throttle.fail(&a(), &Cx::new(start(), &host));
    begin(&throttle, 2, &a(), &Cx::new(start(), &host));
    let later = Cx::new(start().after(LONGEST * 4), &host);
    let guess = throttle.begin_guess(&a(), &later).unwrap().unwrap();
    throttle.end_guess(guess, false, &later);
    assert!(throttle.begin_guess(&a(), &later).is_ok());
}
