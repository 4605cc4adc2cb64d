//! A table of rules and requests: what becomes of each, what goes upstream, and what is counted.
//! `wasm-tests/tests/e2e/rules.rs` sends most of the rows through Envoy.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::world::{head, jwt_of};
use super::support::with_key;
use super::{Answer, Ending, World, api_token, bearer, jwt};
use crate::decision::Authorization;
use crate::metrics::Counter;

const TABLE: &str = include_str!("../../../wasm-tests/src/corpus/rules.json");

/// The claims of a row: the table's base, overridden by the row's.
fn claims(base: &Value, changes: &Value, now: u64) -> Value {
    let mut claims = base.clone();
    claims["exp"] = json!(now + 3600);
    let members = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match (name.as_str(), value.as_str()) {
            ("exp_in", _) => {
                members.insert("exp".to_owned(), json!(now.saturating_add_signed(value.as_i64().unwrap())));
            }
            (_, Some("$absent")) => drop(members.remove(name)),
            _ => drop(members.insert(name.clone(), value.clone())),
        }
    }
    claims
}

/// The identity headers that the upstream gets.
fn identity(claims: &Value) -> Vec<(String, String)> {
    let names = [
        ("x-client-id", "client_id"),
        ("x-is-admin", "is_admin"),
        ("x-user-email", "email"),
        ("x-user-id", "user_id"),
        ("x-user-type", "user_type"),
    ];
    let header = |(name, claim): (&str, &str)| {
        let value = claims.get(claim).filter(|value| !value.is_null())?;
        Some((name.to_owned(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
    };
    names.into_iter().filter_map(header).collect()
}

/// The table's worlds, one for each configuration.
fn world(config: &Value, now: u64) -> World {
    let mut world = World::new(config.clone());
    world.feed = Answer::json(&json!({"cursor": "c", "revoked": [{"jti": "revoked", "exp": now + 3600}]}));
    world.tick();
    world.settle();
    world.tick();
    world
}

/// The headers of a row's credential, and the claims that it stands for, if anybody vouches for them.
fn credential(world: &mut World, spec: &Value, base: &Value, number: usize) -> (Vec<(String, String)>, Value) {
    let now = world.now.as_nanos() / 1_000_000_000;
    let value = |headers: Vec<(String, Vec<u8>)>| {
        let header = headers.into_iter().find(|(name, _)| name == "authorization").unwrap();
        vec![(header.0, String::from_utf8(header.1).unwrap())]
    };
    let mut confirmed = base.clone();
    confirmed["token_type"] = json!("api_token");
    let answer = |world: &World, claims: &Value| match world.workers[0].config().api_token.response_format.is_jwt() {
        true => Answer::Body(200, jwt_of(0, claims)),
        false => Answer::json(claims),
    };
    let Some((kind, changes)) = spec.as_object().and_then(|spec| spec.iter().next()) else {
        return (Vec::new(), Value::Null);
    };
    let api_token = || value(super::world::api_token_of(number));
    match kind.as_str() {
        "jwt" => {
            let claims = claims(base, changes, now);
            (value(bearer(&jwt_of(0, &claims))), claims)
        }
        "forged" => {
            let token = jwt_of(0, &claims(base, changes, now));
            let (signed, _) = token.rsplit_once('.').unwrap();
            (value(bearer(&format!("{signed}.{}", "A".repeat(342)))), Value::Null)
        }
        "api" => {
            let claims = claims(&confirmed, changes, now);
            world.verify = answer(world, &claims);
            (api_token(), claims)
        }
        "own" | "remote" => {
            let claims = claims(base, &spec["remote"], now);
            world.verify = answer(world, &claims);
            let mut own = self::claims(base, &spec["own"], now);
            own["jti"] = json!(format!("row {number}"));
            (value(bearer(&jwt_of(0, &own))), claims)
        }
        "other" => {
            let claims = claims(&confirmed, &json!({}), now);
            world.verify = answer(world, &claims);
            (vec![("authorization".to_owned(), changes.as_str().unwrap().to_owned())], claims)
        }
        "refused" => {
            world.verify = Answer::Body(u16::try_from(changes.as_u64().unwrap()).unwrap(), String::new());
            (api_token(), Value::Null)
        }
        "raw" => (vec![("authorization".to_owned(), changes.as_str().unwrap().to_owned())], Value::Null),
        "preflight" => {
            let headers =
                [(":method", "OPTIONS"), ("origin", "https://app.example"), ("access-control-request-method", "GET")];
            (headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(), Value::Null)
        }
        kind => panic!("{kind}"),
    }
}

/// What was counted since `before`: for the request itself, and for its rule.
fn counted(world: &World, before: &HashMap<Counter, u64>) -> (Vec<String>, Vec<String>) {
    let now = world.process.counted.borrow();
    let new = now.iter().filter(|(counter, times)| before.get(counter).copied().unwrap_or(0) != **times);
    let new: Vec<_> = new.map(|(counter, _)| counter).collect();
    let names = |is_wanted: fn(&Counter) -> bool| {
        new.iter().filter(|counter| is_wanted(counter)).map(|counter| counter.to_string()).collect()
    };
    (
        names(|counter| matches!(counter, Counter::Request { .. })),
        names(|counter| matches!(counter, Counter::Rule { .. })),
    )
}

/// Sends a row's request. The error says how its end differs from the row.
fn run(world: &mut World, base: &Value, number: usize, row: &Value) -> Result<(), String> {
    let (target, end) = (row[0].as_str().unwrap(), row[2].as_str().unwrap());
    let (path, host) = target.split_once(' ').unwrap_or((target, "gateway.example"));
    let (headers, claims) = credential(world, &row[1], base, number);
    let mut all = vec![(":path", path), (":authority", host)];
    all.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let before = world.process.counted.borrow().clone();
    let stream = world.send(&head(&all));
    for _ in 0..1_000 {
        if world.ending(stream).is_none() {
            world.live(Duration::from_millis(20));
        }
    }
    let outcome = world.ending(stream).ok_or("waits for ever")?;
    let (expected, is_shadow) = (end.strip_prefix("shadow "), end.starts_with("shadow "));
    let code = expected.unwrap_or(end).split(' ').next().unwrap();
    let goes_on = is_shadow || matches!(end, "allow" | "public");
    let has_identity = end == "allow" || end.ends_with(" with identity");
    let wanted = if has_identity { identity(&claims) } else { Vec::new() };
    match &outcome {
        Ending::Forwarded(set) if goes_on && *set == wanted => {}
        Ending::Denied(_, denied, _) if !goes_on && *denied == code => {}
        outcome => return Err(format!("{outcome:?}")),
    }
    let kept = match row[3].as_str() {
        _ if !goes_on => None,
        Some("none") => None,
        Some("removed") => Some(Authorization::Remove),
        Some("replaced") => match world.authorizations[&stream].clone() {
            Authorization::Replace(value) if value.starts_with("Bearer ey") => None,
            other => return Err(format!("{other:?}")),
        },
        _ => Some(Authorization::Keep),
    };
    if kept.as_ref().is_some_and(|kept| *kept != world.authorizations[&stream]) {
        return Err(format!("{:?}", world.authorizations[&stream]));
    }
    let (requests, rules) = counted(world, &before);
    let outcome = match (end, code) {
        ("allow" | "public", _) => end,
        _ if is_shadow => "shadow_deny",
        (_, "auth_service_unavailable") => "error",
        _ => "deny",
    };
    let reason = if matches!(end, "allow" | "public") { "none" } else { code };
    let is_right =
        |name: &str| name.contains(&format!("outcome={outcome}.")) && name.ends_with(&format!("reason={reason}"));
    let is_one = requests.len() == 1 && is_right(&requests[0]) && rules.len() == 1;
    if is_one && rules[0].ends_with(&format!(".outcome={outcome}")) {
        Ok(())
    } else {
        Err(format!("counted as {requests:?} and {rules:?}"))
    }
}

#[test]
fn every_row_of_the_table_has_its_outcome() {
    let table: Value = serde_json::from_str(TABLE).unwrap();
    let mut wrong = Vec::new();
    let (mut rows, mut in_envoy) = (0, 0);
    for group in table["groups"].as_array().unwrap() {
        let mut world = world(&group["config"], super::super::world::BEGIN);
        for row in group["rows"].as_array().unwrap() {
            rows += 1;
            in_envoy += usize::from(group["envoy"] == json!(true));
            if let Err(problem) = run(&mut world, &table["base"], rows, row) {
                wrong.push(format!("{}: {row}: {problem}", group["about"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {rows} rows:\n{}", wrong.len(), wrong.join("\n"));
    assert!(rows >= 200 && in_envoy >= rows / 3, "{rows} rows, of which Envoy gets {in_envoy}");
}

#[test]
fn a_cached_identity_keeps_only_the_claims_that_rules_use() {
    let rules =
        json!([{"match": {"path": "/a"}, "require": {"claims": {"tenant": ["acme"], "address.country": ["DE"]}}}]);
    let mut world = World::with_workers(2, json!({"rules": rules}));
    let mut answer = super::claims();
    answer["token_type"] = json!("api_token");
    answer["tenant"] = json!("acme");
    answer["address"] = json!({"country": "DE", "street": "Secret Street"});
    answer["other"] = json!("something else");
    world.verify = Answer::json(&answer);
    let to_a = |mut headers: Vec<(String, Vec<u8>)>| {
        headers[1].1 = b"/a".to_vec();
        headers
    };
    assert_eq!(world.ask(&to_a(api_token())).code(), "");
    // The other worker has the verdict from the shared data.
    assert_eq!(world.ask_at(1, &to_a(api_token())).code(), "");
    assert_eq!(world.verifications, 1);
    let stored: Vec<u8> = world.process.stored(".v.").into_iter().flat_map(|(_, bytes)| bytes).collect();
    let stored = String::from_utf8_lossy(&stored);
    assert!(stored.contains("acme") && stored.contains("DE"), "{stored}");
    assert!(!stored.contains("Street") && !stored.contains("something"), "{stored}");
}

#[test]
fn filters_whose_rules_use_different_claims_share_no_verdicts() {
    let of = |claim: &str| json!({"rules": [{"match": {"path": "/a"}, "require": {"claims": {claim: ["x"]}}}]});
    for (other, verifications) in [
        (of("tenant"), 1),
        (of("email"), 2),
        (of("team"), 2),
        (json!({}), 2),
        (json!({"jwt": {"required_claims": ["jti"]}}), 2),
        (json!({"api_token": {"accept_technical": true}}), 2),
    ] {
        let mut world = World::with_workers(2, of("tenant"));
        world.update(1, &other);
        assert_eq!(world.ask(&api_token()).code(), "");
        assert_eq!(world.ask_at(1, &api_token()).code(), "");
        assert_eq!(world.verifications, verifications, "{other}");
    }
}

#[test]
fn accepted_technical_tokens_are_counted_as_deprecated() {
    let count = |accept: bool, mode: &str| {
        let mut world = World::new(json!({"mode": mode, "api_token": {"accept_technical": accept}}));
        let mut answer = super::claims();
        answer["token_type"] = json!("technical");
        world.verify = Answer::json(&answer);
        for _ in 0..3 {
            world.ask(&api_token());
        }
        world.process.count_of(Counter::DeprecatedToken)
    };
    assert_eq!([count(true, "enforce"), count(false, "enforce"), count(false, "shadow")], [3, 0, 0]);
}

/// Many clients at once, good and bad, with the service slow: in shadow mode verdicts are counted as they would be, no
/// request is stopped, and none carries an identity that isn't its own.
#[test]
fn shadow_mode_counts_denials_and_lets_every_request_through() {
    let run = |mode: &str| {
        let rules = json!([
            {"match": {"prefix": "/admin"}, "require": {"is_admin": true}},
            {"match": {"prefix": "/internal"}, "deny": true},
        ]);
        let mut world = with_key(2, json!({"mode": mode, "rules": rules}));
        let mut streams = Vec::new();
        for number in 0..2_000_usize {
            let path = ["/x", "/admin", "/internal"][number % 3];
            let mut claims = super::claims();
            claims["user_id"] = json!(number);
            claims["jti"] = json!(number.to_string());
            claims["is_admin"] = json!(number % 2 == 0);
            let token = match number % 7 {
                0 => jwt(1),
                1 => "a.b.c".to_owned(),
                _ => jwt_of(0, &claims),
            };
            let mut request = if number % 5 == 0 { super::world::api_token_of(number % 40) } else { bearer(&token) };
            request.iter_mut().find(|(name, _)| name == ":path").unwrap().1 = path.as_bytes().to_vec();
            let stream = world.send_to(number % 2, &request);
            streams.push((stream, number % 5 != 0, number));
            if number % 50 == 0 {
                world.live(Duration::from_millis(20));
            }
        }
        world.live(Duration::from_secs(30));
        let ends: Vec<_> =
            streams.iter().map(|(stream, is_jwt, number)| (world.ending(*stream).unwrap(), *is_jwt, *number)).collect();
        let counted = world.process.counted.borrow();
        let denied = counted.iter().filter_map(|(counter, times)| match counter {
            Counter::Request { reason: Some(code), .. } => Some((code.name(), *times)),
            _ => None,
        });
        let mut by_reason: HashMap<&str, u64> = HashMap::new();
        denied.for_each(|(code, times)| *by_reason.entry(code).or_default() += times);
        drop(counted);
        assert_eq!(world.process.counted_requests(), 2_000);
        (ends, by_reason)
    };
    let (enforced, denied) = run("enforce");
    let (shadowed, would_be) = run("shadow");
    assert_eq!(denied, would_be);
    assert!(denied.len() >= 4, "{denied:?}");
    for ((enforced, ..), (shadowed, is_jwt, number)) in enforced.iter().zip(&shadowed) {
        let Ending::Forwarded(set) = shadowed else { panic!("stopped: {shadowed:?}") };
        let user = set.iter().find(|(name, _)| name == "x-user-id").map(|(_, value)| value.clone());
        match enforced {
            Ending::Forwarded(_) => assert_eq!(enforced, shadowed),
            Ending::Denied(_, "claims_not_sufficient", _) => assert!(user.is_some()),
            Ending::Denied(..) => assert_eq!(*set, Vec::new()),
            Ending::Served(..) => panic!("nothing is served"),
        }
        assert!(!is_jwt || user.is_none_or(|user| user == number.to_string()));
    }
}
