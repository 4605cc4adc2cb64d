//! What is revoked, for how long, and in how many writes.

mod clock;
mod version;

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::claims::MAX_TIME;
use crate::config::MAX_CLOCK_SKEW;
use crate::filter::world::{BEGIN, Process};
use crate::host::{Conflict, Host};
use crate::introspection::CalloutResponse;
use crate::revocation::list::record::TokenDigest;
use crate::testing::{self, Overheard};
use crate::time::UnixTime;

const LIFE: Duration = Duration::from_secs(3900);

/// One of the workers: they are all alike, since they hold nothing themselves.
fn worker() -> List {
    List::new("r.")
}

/// So many seconds after the beginning.
fn at(seconds: i64) -> Instant {
    Instant::from_secs(secs(seconds))
}

/// The same by the wall clock.
fn wall(seconds: i64) -> UnixTime {
    UnixTime::from_secs(secs(seconds))
}

fn secs(seconds: i64) -> u64 {
    BEGIN.checked_add_signed(seconds).unwrap()
}

/// An answer of the feed with these lists.
fn changes(lists: Value) -> Changes {
    let mut body = json!({"cursor": "c", "revoked": []});
    body.as_object_mut().unwrap().append(&mut lists.as_object().unwrap().clone());
    let body = Some(body.to_string().into_bytes());
    crate::revocation::feed::read(Ok(CalloutResponse { status: 200, headers: Vec::new(), body })).unwrap()
}

fn apply(lists: Value, cx: &Cx<'_>) -> Applied {
    worker().apply(&changes(lists), LIFE, cx).unwrap()
}

/// The claims of user 17, client 23, changed by `over`.
fn claims(over: Value) -> Claims {
    Claims::from_json(testing::claims(over).to_string().as_bytes()).unwrap()
}

fn is_revoked(over: Value, host: &Process) -> bool {
    worker().is_revoked(&claims(over), host)
}

fn is_purged(over: Value, verified: Instant, host: &Process) -> bool {
    worker().is_purged(&claims(over), verified, host)
}

fn sweep(cx: &Cx<'_>) {
    (0..worker().rows()).for_each(|row| worker().sweep_row(row, LIFE, cx));
}

/// Different tokens of one row.
fn tokens_of_row(row: u32, count: usize) -> impl Iterator<Item = TokenDigest> {
    let tokens = (0_u128..).map(u128::to_le_bytes);
    tokens.filter(move |token| worker().tokens.row(token, &Process::default()) == row).take(count)
}

fn of_tokens(revoked: Vec<RevokedToken>) -> Changes {
    Changes { revoked, ..changes(json!({})) }
}

#[test]
fn every_worker_sees_exactly_the_revoked_token() {
    let host = Process::default();
    assert!(!is_revoked(json!({"jti": "a"}), &host));
    let applied = apply(json!({"revoked": [{"jti": "a", "exp": secs(60)}]}), &Cx::new(at(0), &host));
    assert_eq!(applied, Applied { revoked: 1, ..Applied::default() });
    assert!(is_revoked(json!({"jti": "a"}), &host));
    assert!(!is_revoked(json!({"jti": "A"}), &host));
    assert!(!is_revoked(json!({"jti": null}), &host));
}

#[test]
fn an_empty_jti_can_be_revoked() {
    let host = Process::default();
    apply(json!({"revoked": [{"jti": "", "exp": secs(60)}]}), &Cx::new(at(0), &host));
    assert!(is_revoked(json!({"jti": ""}), &host));
    assert!(!is_revoked(json!({"jti": null}), &host));
}

#[test]
fn a_token_listed_twice_is_revoked_until_the_later_time() {
    for times in [[30, 60], [60, 30]] {
        let host = Process::default();
        let entries = times.map(|exp| json!({"jti": "a", "exp": secs(exp)}));
        assert_eq!(apply(json!({"revoked": entries}), &Cx::new(at(0), &host)).revoked, 1);
        assert_eq!(worker().size(&host), 1);
        sweep(&Cx::new(at(300 + 59), &host));
        assert!(is_revoked(json!({"jti": "a"}), &host));
        sweep(&Cx::new(at(300 + 60), &host));
        assert!(!is_revoked(json!({"jti": "a"}), &host));
    }
}

#[test]
fn a_token_stays_revoked_for_the_largest_clock_skew() {
    let host = Process::default();
    apply(json!({"revoked": [{"jti": "a", "exp": secs(60)}]}), &Cx::new(at(0), &host));
    let last = Instant::from_nanos(at(60).after(MAX_CLOCK_SKEW).as_nanos() - 1);
    let token = claims(json!({"jti": "a", "exp": secs(60)}));
    sweep(&Cx::new(last, &host));
    assert_eq!(token.check_time(Cx::new(last, &host).wall, MAX_CLOCK_SKEW), Ok(()));
    assert!(worker().is_revoked(&token, &host));
    sweep(&Cx::new(at(60).after(MAX_CLOCK_SKEW), &host));
    assert!(token.check_time(wall(60).after(MAX_CLOCK_SKEW), MAX_CLOCK_SKEW).is_err());
    assert!(!worker().is_revoked(&token, &host));
}

#[test]
fn an_expired_token_is_listed_until_the_next_sweep() {
    let host = Process::default();
    let lists = json!({"revoked": [{"jti": "a", "exp": secs(-300)}, {"jti": "b", "exp": secs(-299)}]});
    assert_eq!(apply(lists, &Cx::new(at(0), &host)), Applied { revoked: 2, ..Applied::default() });
    assert!(is_revoked(json!({"jti": "a"}), &host), "the wall clock may be fast");
    sweep(&Cx::new(at(0), &host));
    assert!(!is_revoked(json!({"jti": "a"}), &host));
    assert!(is_revoked(json!({"jti": "b"}), &host));
}

#[test]
fn the_latest_possible_time_is_kept() {
    let host = Process::default();
    apply(json!({"revoked": [{"jti": "a", "exp": u64::MAX}]}), &Cx::new(at(0), &host));
    apply(json!({"users": [{"user_id": 17, "exp_before": 1e300}]}), &Cx::new(at(0), &host));
    sweep(&Cx::new(Instant::from_secs(9_000_000_000), &host));
    assert!(is_revoked(json!({"jti": "a", "user_id": 1}), &host));
    assert!(is_revoked(json!({"jti": "b", "user_id": 17, "exp": MAX_TIME}), &host));
}

#[test]
fn a_sign_out_revokes_that_users_tokens_expiring_before_it() {
    let host = Process::default();
    let applied = apply(json!({"users": [{"user_id": 17, "exp_before": secs(3600)}]}), &Cx::new(at(0), &host));
    assert_eq!(applied, Applied { users: 1, purged: 1, ..Applied::default() });
    assert!(is_revoked(json!({"exp": secs(3599)}), &host));
    assert!(!is_revoked(json!({"exp": secs(3600)}), &host));
    assert!(!is_revoked(json!({"exp": secs(3599), "user_id": 18, "client_id": 17, "token_id": 17}), &host));
    sweep(&Cx::new(at(3600 + 299), &host));
    assert!(is_revoked(json!({"exp": secs(3599)}), &host));
    sweep(&Cx::new(at(3600 + 300), &host));
    assert!(!is_revoked(json!({"exp": secs(3599)}), &host));
}

#[test]
fn a_sign_out_purges_identities_without_an_expiry() {
    let host = Process::default();
    apply(json!({"users": [{"user_id": 17, "exp_before": secs(3600)}]}), &Cx::new(at(0), &host));
    let kind = crate::claims::TokenType::ApiToken;
    let identity = Claims::from_answer_headers(kind, 17, 23, None, None, None);
    assert!(!worker().is_revoked(&identity, &host));
    assert!(worker().is_purged(&identity, at(0), &host));
}

#[test]
fn an_earlier_sign_out_does_not_replace_a_later_one() {
    let host = Process::default();
    apply(json!({"users": [{"user_id": 17, "exp_before": secs(3600)}]}), &Cx::new(at(0), &host));
    let applied = apply(json!({"users": [{"user_id": 17, "exp_before": secs(60)}]}), &Cx::new(at(1), &host));
    assert_eq!(applied, Applied { purged: 1, ..Applied::default() });
    assert!(is_revoked(json!({"exp": secs(3599)}), &host));
    assert!(is_purged(json!({}), at(1), &host));
}

#[test]
fn a_purge_applies_to_its_subject_only() {
    let (user, client, token) = (json!({"user_id": 5}), json!({"client_id": 5}), json!({"token_id": 5}));
    let none = json!({"user_id": 1, "client_id": 2, "token_id": 3});
    for purged in [&user, &client, &token] {
        let host = Process::default();
        let applied = apply(json!({"purge": [purged]}), &Cx::new(at(0), &host));
        assert_eq!(applied, Applied { purged: 1, ..Applied::default() });
        for subject in [&user, &client, &token] {
            let mut over = none.clone();
            over.as_object_mut().unwrap().append(&mut subject.as_object().unwrap().clone());
            assert_eq!(is_purged(over.clone(), at(0), &host), purged == subject, "{purged} {subject}");
            assert!(!is_revoked(over, &host));
        }
        assert!(!is_purged(json!({"user_id": 1, "client_id": 2, "token_id": null}), at(0), &host));
    }
}

#[test]
fn a_purge_voids_verdicts_up_to_its_time() {
    let host = Process::default();
    apply(json!({"purge": [{"user_id": 17}]}), &Cx::new(at(0), &host));
    assert!(is_purged(json!({}), at(-3600), &host));
    assert!(is_purged(json!({}), at(0), &host));
    assert!(!is_purged(json!({}), Instant::from_nanos(at(0).as_nanos() + 1), &host));
    apply(json!({"purge": [{"user_id": 17}]}), &Cx::new(at(10), &host));
    assert!(is_purged(json!({}), at(10), &host));
}

#[test]
fn a_purge_is_kept_while_an_older_verdict_may_live() {
    let host = Process::default();
    apply(json!({"purge": [{"user_id": 17}]}), &Cx::new(at(0), &host));
    sweep(&Cx::new(at(3899), &host));
    assert!(is_purged(json!({}), at(0), &host));
    sweep(&Cx::new(at(3900), &host));
    assert!(!is_purged(json!({}), at(0), &host));
}

#[test]
fn a_purge_of_everybody_applies_to_every_subject() {
    let host = Process::default();
    let lists = json!({"revoked": [{"jti": "a", "exp": secs(9)}]});
    let all = Changes { purge: vec![Subject::All], ..changes(lists) };
    let applied = worker().apply(&all, LIFE, &Cx::new(at(0), &host)).unwrap();
    assert_eq!(applied, Applied { revoked: 1, purged: 1, ..Applied::default() });
    assert!(is_purged(json!({"user_id": 99}), at(0), &host));
    assert!(!is_purged(json!({"user_id": 99}), at(1), &host));
}

#[test]
fn entries_stay_when_a_later_poll_omits_them() {
    let host = Process::default();
    let lists = json!({"revoked": [{"jti": "a", "exp": secs(60)}], "users": [{"user_id": 17, "exp_before": secs(60)}],
        "purge": [{"client_id": 23}]});
    apply(lists, &Cx::new(at(0), &host));
    assert_eq!(apply(json!({}), &Cx::new(at(1), &host)), Applied::default());
    apply(json!({"revoked": [{"jti": "b", "exp": secs(60)}]}), &Cx::new(at(2), &host));
    assert!(is_revoked(json!({"jti": "a", "user_id": 1}), &host));
    assert!(is_revoked(json!({"jti": "c", "exp": secs(59)}), &host));
    assert!(is_purged(json!({"user_id": 1}), at(0), &host));
}

#[test]
fn the_size_counts_tokens_and_signed_out_users() {
    let host = Process::default();
    assert_eq!(worker().size(&host), 0);
    let lists = json!({"revoked": [{"jti": "a", "exp": secs(60)}, {"jti": "b", "exp": secs(70)}],
        "users": [{"user_id": 17, "exp_before": secs(60)}], "purge": [{"client_id": 23}, {"user_id": 18}]});
    apply(lists, &Cx::new(at(0), &host));
    assert_eq!(worker().size(&host), 3);
    sweep(&Cx::new(at(365), &host));
    assert_eq!(worker().size(&host), 2, "the user's mark is still a purge");
}

/// What was written, and how often.
#[derive(Default)]
struct Writes(RefCell<Vec<String>>);

impl Writes {
    /// A host that notes here what is written. Another worker always writes the key `contended` first.
    fn noted(&self, process: &Process, contended: &str) -> impl SharedData + Host {
        let heard = move |key: &str| {
            if key == contended {
                return Err(Conflict);
            }
            self.0.borrow_mut().push(key.to_owned());
            Ok(())
        };
        Overheard { host: process, heard }
    }

    fn all(&self) -> usize {
        self.0.borrow().len()
    }

    fn keys(&self) -> usize {
        self.0.borrow().iter().collect::<BTreeSet<_>>().len()
    }
}

#[test]
fn a_full_list_of_a_hundred_thousand_writes_every_row_once() {
    let (process, writes) = (Process::default(), Writes::default());
    let host = writes.noted(&process, "");
    let revoked = (0..100_000).map(|id| RevokedToken { token: token_digest(&format!("{id:x}")), exp: secs(60) });
    let mut list = of_tokens(revoked.collect());
    list.users = (0..10_000).map(|id| (id * 1024, secs(60))).collect();
    list.purge = (0..10_000).flat_map(|id| [Subject::User(id), Subject::Token(id)]).collect();
    let applied = worker().apply(&list, LIFE, &Cx::new(at(0), &host)).unwrap();
    let both = (0..10_000).filter(|id| id % 1024 == 0).count();
    assert_eq!(applied, Applied { revoked: 100_000, users: 10_000, purged: 30_000 - both, dropped: 0 });
    assert_eq!(worker().size(&host), 110_000);
    let all = 1024 + 256 + 1;
    assert_eq!((writes.all(), writes.keys()), (all, all), "the rows, and the version");

    assert_eq!(worker().apply(&list, LIFE, &Cx::new(at(0), &host)), Ok(Applied::default()));
    assert_eq!(writes.all(), all, "the same once more changes nothing");
}

#[test]
fn a_full_row_drops_the_tokens_that_expire_first() {
    let host = Process::default();
    let exp = |number: usize| secs(1000 + i64::try_from(number * 7 % (MAX_ROW + 3)).unwrap());
    let tokens = tokens_of_row(5, MAX_ROW + 3).enumerate();
    let tokens: Vec<_> = tokens.map(|(number, token)| RevokedToken { token, exp: exp(number) }).collect();
    let (first, later) = tokens.split_at(100);
    assert_eq!(worker().apply(&of_tokens(first.to_vec()), LIFE, &Cx::new(at(0), &host)).unwrap().dropped, 0);
    let applied = worker().apply(&of_tokens(later.to_vec()), LIFE, &Cx::new(at(0), &host)).unwrap();
    assert_eq!(applied.dropped, 3);
    let kept = worker().tokens.read(5, &host);
    assert_eq!(kept.len(), MAX_ROW);
    assert!(kept.iter().all(|token| token.exp >= secs(1003)));

    let again = worker().apply(&of_tokens(tokens), LIFE, &Cx::new(at(0), &host)).unwrap();
    assert_eq!(again, Applied { dropped: 3, ..Applied::default() }, "nothing else changes");
    assert_eq!(worker().tokens.read(5, &host), kept);
}

#[test]
fn expired_entries_make_room_and_are_not_counted_as_dropped() {
    let host = Process::default();
    let of = |range: std::ops::Range<usize>, exp| {
        let tokens = tokens_of_row(5, range.end).skip(range.start);
        of_tokens(tokens.map(|token| RevokedToken { token, exp: secs(exp) }).collect())
    };
    worker().apply(&of(0..MAX_ROW, 60), LIFE, &Cx::new(at(0), &host)).unwrap();
    let applied = worker().apply(&of(MAX_ROW..2 * MAX_ROW, 4000), LIFE, &Cx::new(at(360), &host)).unwrap();
    assert_eq!(applied, Applied { revoked: MAX_ROW, ..Applied::default() });
}

#[test]
fn a_purge_that_does_not_fit_becomes_a_purge_of_everybody() {
    let host = Process::default();
    let row = |id: i64, marks: &Table<Mark>| marks.row(&Subject::User(id).name(), &Process::default());
    let marks = worker().marks;
    let users: Vec<i64> = (0..).filter(|id| row(*id, &marks) == row(0, &marks)).take(MAX_ROW + 1).collect();
    let purge = |ids: &[i64]| Changes { purge: ids.iter().copied().map(Subject::User).collect(), ..changes(json!({})) };
    assert_eq!(worker().apply(&purge(&users[..MAX_ROW]), LIFE, &Cx::new(at(0), &host)).unwrap().dropped, 0);
    assert!(!is_purged(json!({"user_id": 1_000_000_000}), at(0), &host));
    assert_eq!(worker().apply(&purge(&users[MAX_ROW..]), LIFE, &Cx::new(at(1), &host)).unwrap().dropped, 1);
    for user in users.iter().chain(&[1_000_000_000]) {
        assert!(is_purged(json!({"user_id": user}), at(0), &host), "{user}");
    }
}

#[test]
fn a_busy_row_fails_the_poll_but_the_others_are_written() {
    let token = RevokedToken { token: token_digest("a"), exp: secs(60) };
    let busy = format!("r.revoked.{:x}", worker().tokens.row(&token.token, &Process::default()));
    let (process, writes) = (Process::default(), Writes::default());
    let host = writes.noted(&process, &busy);
    let others = (0..3000).map(|id| RevokedToken { token: token_digest(&format!("o{id}")), exp: secs(60) });
    let mut list = of_tokens(others.chain([token]).collect());
    list.purge.push(Subject::User(17));
    assert_eq!(worker().apply(&list, LIFE, &Cx::new(at(0), &host)), Err(Busy));
    let rows: BTreeSet<u32> =
        list.revoked.iter().map(|token| worker().tokens.row(&token.token, &Process::default())).collect();
    assert_eq!(writes.keys(), rows.len() + 1, "all but that one, the mark's, and the version");
    assert!(worker().is_purged(&claims(json!({})), at(0), &host));
    assert!(!worker().is_revoked(&claims(json!({"jti": "a"})), &host));
}

#[test]
fn sweeping_writes_only_where_something_expired() {
    let (process, writes) = (Process::default(), Writes::default());
    let host = writes.noted(&process, "");
    let token = |jti, exp| RevokedToken { token: token_digest(jti), exp: secs(exp) };
    worker().apply(&of_tokens(vec![token("a", 60), token("b", 90)]), LIFE, &Cx::new(at(0), &host)).unwrap();
    let before = writes.all();
    (0..worker().rows()).for_each(|row| worker().sweep_row(row, LIFE, &Cx::new(at(360), &host)));
    assert_eq!(writes.all(), before + 1);
    assert_eq!(worker().size(&host), 1);
    worker().sweep_row(u32::MAX, LIFE, &Cx::new(at(9000), &host));
    assert_eq!(worker().size(&host), 1);
}

#[test]
fn sequential_numbers_spread_over_the_rows() {
    let marks = worker().marks;
    for step in [1, 2, 100, 256, 1024, 65_536, 1 << 31, -1] {
        let mut rows = [0_u32; MARK_ROWS as usize];
        for number in 0..25_600 {
            rows[usize::try_from(marks.row(&Subject::User(number * step).name(), &Process::default())).unwrap()] += 1;
        }
        assert!(rows.iter().all(|count| (50..=200).contains(count)), "step {step}: {rows:?}");
    }
}
