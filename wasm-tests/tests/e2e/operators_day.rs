//! A day at a gateway with two filters: good clients, a denial of each code, a revocation, a rotation, an outage. The
//! access log, the audit and the metrics agree with each other and with what was sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use authgate::Code;
use serde_json::{Value, json};
use wasm_tests::{
    Metrics, Request, Stack,
    corpus::scripted,
    credentials::{claims, forged},
};

use crate::{
    feed,
    investigation::{access_log, audit, builder, digest},
};

/// The codes that no client can provoke: `internal` is for unexpected errors.
const NEVER: [Code; 1] = [Code::Internal];

/// How long a verdict is fresh in the second filter.
const TTL: Duration = Duration::from_secs(1);

/// How a request ended, by the access log and the audit: outcome, reason, source, rule, user.
type Fate = (&'static str, &'static str, &'static str, &'static str, Option<u64>);

/// A request that was sent: its fate, and the credential that the audit identifies.
struct Sent {
    fate: Fate,
    credential: Option<String>,
}

/// The day's requests by their ids, and the stack that they are sent to.
struct Day {
    stack: Stack,
    sent: BTreeMap<String, Sent>,
}

/// The second filter has its own rules, can't get a key, and has a throttle.
fn second_filter(bootstrap: &mut Value) {
    let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
    let mut lab = listeners[0].clone();
    lab["name"] = json!("lab");
    let plugin = lab.pointer_mut("/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config").unwrap();
    plugin["name"] = json!("lab");
    plugin["configuration"]["value"] = json!({
        "auth_service": {"cluster": "auth_service", "public_key_path": "/nowhere", "timeout": "20s", "retries": 0},
        "cache": {"ttl": format!("{}s", TTL.as_secs())},
        "failed_auth_throttle": {"attempts": 3, "window": "1h", "lockout": "1h"},
        "rules": [{"name": "lab", "match": {"prefix": "/"}}],
    });
    listeners.push(lab);
}

fn config() -> Value {
    json!({
        "auth_service": {"timeout": "20s", "retries": 0},
        "jwt": {"public_key": {"min_refetch_interval": "100ms", "grace": "100ms"}},
        "cache": {"ttl": "1h"},
        "credentials": {"cookie": "session"},
        "status_paths": {"health": "/-/health"},
        "rules": [
            {"name": "open", "match": {"prefix": "/open"}, "public": true},
            {"name": "shop", "match": {"prefix": "/shop"}, "optional": true},
            {"name": "admin", "match": {"prefix": "/admin"}, "require": {"is_admin": true}},
            {"name": "sso", "match": {"prefix": "/sso"}, "require": {"sso": true}},
            {"name": "shut", "match": {"prefix": "/shut"}, "deny": true},
            {"name": "trial", "match": {"prefix": "/trial"}, "mode": "shadow", "require": {"is_admin": true}},
            {"name": "remote", "match": {"prefix": "/remote"}, "verification": "remote"},
            {"name": "partner", "match": {"hosts": ["partner.example.com"]}},
        ],
    })
}

impl Day {
    /// Sends a request to the first filter under an id, and checks the status.
    async fn ask(&mut self, id: &str, request: Request, credential: Option<&str>, fate: Fate) {
        let answer = request.header("x-request-id", id).send().await.unwrap();
        let code = Code::ALL.iter().find(|code| fate.0 != "shadow_deny" && code.name() == fate.1);
        assert_eq!(answer.status, code.map_or(200, |code| code.status()), "{id}: {}", answer.text());
        self.note(id, credential, fate);
    }

    fn note(&mut self, id: &str, credential: Option<&str>, fate: Fate) {
        let sent = Sent { fate, credential: credential.map(digest) };
        assert!(self.sent.insert(id.to_owned(), sent).is_none(), "{id} was sent twice");
    }

    async fn bearer(&mut self, id: &str, path: &str, jwt: &str, fate: Fate) {
        let request = self.stack.get(path).bearer(jwt);
        self.ask(id, request, Some(jwt), fate).await;
    }

    async fn api_key(&mut self, id: &str, path: &str, token: &str, fate: Fate) {
        let request = self.stack.get(path).api_key(token);
        self.ask(id, request, Some(token), fate).await;
    }

    async fn lab(&mut self, id: &str, authorization: &str, token: &str, fate: Fate) {
        let request = self.stack.get_at("lab", "/").await.unwrap();
        let request = request.header("authorization", format!("{authorization} {token}"));
        self.ask(id, request, Some(token), fate).await;
    }
}

/// Clients without a valid credential, before anything else happens.
async fn strangers(day: &mut Day) {
    let denied = |reason| ("deny", reason, "none", "none", None);
    let jwt = day.stack.mint_claims(&claims()).await.unwrap();
    let plain = day.stack.get("/orders?access_token=canary");
    day.ask("missing", plain, None, denied("missing_credentials")).await;
    let two = day.stack.get("/orders").bearer(&jwt).bearer(&jwt);
    day.ask("two", two, None, denied("malformed_credentials")).await;
    let basic = day.stack.get("/orders").header("authorization", "Basic c2VjcmV0");
    day.ask("basic", basic, None, denied("unsupported_scheme")).await;
    let path = day.stack.get("/open/..%2fadmin").bearer(&jwt);
    day.ask("path", path, None, denied("ambiguous_path")).await;
    let host = day.stack.get("/orders").host("a,b").bearer(&jwt);
    day.ask("host", host, None, denied("ambiguous_host")).await;
    let cookie = day.stack.post("/orders").header("cookie", format!("session={jwt}"));
    day.ask("cookie", cookie, None, denied("cross_site_request")).await;
    let shut = day.stack.get("/shut").bearer(&jwt);
    day.ask("shut", shut, None, ("deny", "denied_by_rule", "none", "shut", None)).await;
    let malformed = day.stack.get("/orders").bearer("canary");
    day.ask("malformed", malformed, None, denied("token_malformed")).await;
    day.bearer("forged", "/orders", &forged(&jwt).unwrap(), ("deny", "signature_invalid", "jwt", "none", None)).await;
    day.api_key("unknown", "/orders", &scripted::token(1000), ("deny", "token_rejected", "callout", "none", None))
        .await;
    day.api_key("again", "/orders", &scripted::token(1000), ("deny", "token_rejected", "cache", "none", None)).await;
    day.stack.fault(json!({"on": "verify", "kind": "status", "status": 403, "times": 1})).await.unwrap();
    let forbidden = ("deny", "forbidden_by_service", "callout", "none", None);
    day.api_key("forbidden", "/orders", &scripted::token(1001), forbidden).await;
}

/// Clients with a good signature, and requests that need no credential.
async fn users(day: &mut Day) {
    let jwt = day.stack.mint_claims(&claims()).await.unwrap();
    let user = Some(7);
    day.bearer("good", "/orders", &jwt, ("allow", "none", "jwt", "none", user)).await;
    day.bearer("known", "/orders", &jwt, ("allow", "none", "cache", "none", user)).await;
    day.bearer("admin", "/admin", &jwt, ("deny", "claims_not_sufficient", "cache", "admin", user)).await;
    let sso = ("deny", "insufficient_user_authentication", "cache", "sso", user);
    day.bearer("sso", "/sso", &jwt, sso).await;
    day.bearer("trial", "/trial", &jwt, ("shadow_deny", "claims_not_sufficient", "cache", "trial", user)).await;
    day.bearer("remote", "/remote", &jwt, ("allow", "none", "callout", "remote", user)).await;
    let partner = day.stack.get("/orders").host("partner.example.com").bearer(&jwt);
    day.ask("partner", partner, Some(&jwt), ("allow", "none", "cache", "partner", user)).await;
    for (id, path, rule) in [("open", "/open", "open"), ("shop", "/shop", "shop"), ("health", "/-/health", "none")] {
        let request = day.stack.get(path);
        day.ask(id, request, None, ("public", "none", "none", rule, None)).await;
    }
    for (id, claim, value, reason, user) in [
        ("expired", "exp", json!(1_600_000_000), "token_expired", None),
        ("early", "nbf", json!(4_102_444_800_u64), "token_not_yet_valid", None),
        ("refresh", "token_type", json!("refresh"), "token_type_not_accepted", Some(7)),
    ] {
        let mut odd = claims();
        odd["exp"] = json!(4_102_444_900_u64);
        odd[claim] = value;
        let jwt = day.stack.mint_claims(&odd).await.unwrap();
        day.bearer(id, "/orders", &jwt, ("deny", reason, "jwt", "none", user)).await;
    }
}

/// A token is signed out and another deleted; the list that says so is read.
async fn revocation(day: &mut Day) {
    let jwt = day.stack.login().await.unwrap().access;
    let (id, token) = day.stack.api_token("deleted").await.unwrap();
    day.bearer("before sign-out", "/orders", &jwt, ("allow", "none", "jwt", "none", Some(1))).await;
    day.api_key("before deletion", "/orders", &token, ("allow", "none", "callout", "none", Some(1))).await;
    let logout = day.stack.service_request(http::Method::POST, "/auth/jwt/logout").unwrap();
    assert_eq!(logout.bearer(&jwt).send().await.unwrap().status, 204);
    day.stack.delete_api_token(id).await.unwrap();
    feed::is_read(&day.stack).await;
    day.bearer("signed out", "/orders", &jwt, ("deny", "token_revoked", "cache", "none", Some(1))).await;
    day.api_key("deleted", "/orders", &token, ("deny", "token_rejected", "callout", "none", None)).await;
}

/// The service gets another key: tokens of the new one are valid at once, those of the old one only briefly.
async fn rotation(day: &mut Day) {
    let old = day.stack.mint_claims(&claims()).await.unwrap();
    day.stack.rotate().await.unwrap();
    let new = day.stack.mint_claims(&claims()).await.unwrap();
    day.bearer("new key", "/orders", &new, ("allow", "none", "jwt", "none", Some(7))).await;
    // `grace` is over after this sleep, however long the rest takes.
    tokio::time::sleep(Duration::from_millis(200)).await;
    day.bearer("old key", "/orders", &old, ("deny", "signature_invalid", "jwt", "none", None)).await;
}

/// The second filter has no key, and locks out clients that guess.
async fn lab(day: &mut Day) -> String {
    let (_, token) = day.stack.api_token("lab").await.unwrap();
    day.lab("lab good", "APIKey", &token, ("allow", "none", "callout", "lab", Some(1))).await;
    let jwt = day.stack.mint_claims(&claims()).await.unwrap();
    day.lab("lab key", "Bearer", &jwt, ("error", "public_key_unavailable", "jwt", "lab", None)).await;
    token
}

async fn outage(day: &mut Day, token_of_lab: &str) {
    let jwt = day.stack.mint_claims(&claims()).await.unwrap();
    // This client leaves while its question is under way.
    day.stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 60_000})).await.unwrap();
    let slow = day.stack.get("/orders").header("x-request-id", "left").api_key(&scripted::token(1002));
    let leaving = tokio::spawn(slow.send());
    while day.stack.counters().await.unwrap()["verify_in_flight"] != 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    leaving.abort();
    day.note("left", Some(&scripted::token(1002)), ("cancelled", "none", "callout", "none", None));
    // The verdict is no longer fresh after this sleep, however fast the rest was.
    tokio::time::sleep(TTL).await;
    day.stack.stop_auth().await;

    day.bearer("stand-in", "/remote", &jwt, ("allow", "none", "fallback", "remote", Some(7))).await;
    let down = ("error", "auth_service_unavailable", "callout", "none", None);
    day.api_key("outage", "/orders", &scripted::token(1003), down).await;
    day.lab("lab stale", "APIKey", token_of_lab, ("allow", "none", "stale", "lab", Some(1))).await;

    day.stack.start_auth().await.unwrap();
    let (_, token) = day.stack.api_token("afterwards").await.unwrap();
    day.api_key("afterwards", "/orders", &token, ("allow", "none", "callout", "none", Some(1))).await;
    for id in ["first guess", "second guess", "third guess"] {
        let guess = scripted::token(2000 + day.sent.len());
        day.lab(id, "APIKey", &guess, ("deny", "token_rejected", "callout", "lab", None)).await;
    }
    let locked = ("deny", "too_many_failures", "none", "lab", None);
    day.lab("locked", "APIKey", &scripted::token(3000), locked).await;
}

/// How many requests have each combination of values: a metric's labels, or the matching fields of a line.
type Sums = BTreeMap<Vec<String>, u64>;

fn sums(lines: &[Value], values: impl Fn(&Value) -> Vec<String>) -> Sums {
    let mut sums = Sums::new();
    for line in lines {
        *sums.entry(values(line)).or_default() += 1;
    }
    sums
}

/// The counts of a metric, by these labels.
fn counted(metrics: &Metrics, name: &str, labels: &[&str]) -> Sums {
    let mut sums = Sums::new();
    for (its, value) in metrics.series(name).unwrap() {
        assert_eq!(its.keys().map(String::as_str).collect::<BTreeSet<_>>(), labels.iter().copied().collect(), "{name}");
        *sums.entry(labels.iter().map(|label| its[*label].clone()).collect()).or_default() += value;
    }
    sums.retain(|_, value| *value > 0);
    sums
}

/// A field of a line; `none` if it is absent.
fn field(line: &Value, name: &str) -> String {
    line[name].as_str().unwrap_or("none").to_owned()
}

/// The filter that a line is about: all rules of the second filter have the filter's name.
fn filter(line: &Value) -> String {
    if line["rule"] == "lab" { "lab" } else { "authgate" }.to_owned()
}

impl Day {
    /// The access log has a line for each request, with the request's fate.
    fn check_access_log(&self, log: &[Value]) {
        assert_eq!(log.len(), self.sent.len());
        for line in log {
            let Sent { fate: (outcome, reason, source, rule, user), .. } = &self.sent[&field(line, "request_id")];
            let expected = [*outcome, reason, source, rule].map(str::to_owned);
            assert_eq!(["outcome", "reason", "source", "rule"].map(|name| field(line, name)), expected, "{line}");
            assert_eq!(line["user_id"], json!(user.map(|user| user.to_string())), "{line}");
            if ["deny", "error"].contains(outcome) {
                assert_eq!(line["details"], format!("authgate_{reason}"), "{line}");
            }
        }
    }

    /// The audit has a line for each denial, and agrees with the access log.
    fn check_audit(&self, audit: &[Value], log: &[Value]) {
        let by_id = |lines: &[Value]| -> BTreeMap<String, Value> {
            lines.iter().map(|line| (field(line, "request_id"), line.clone())).collect()
        };
        let mut denials = by_id(log);
        denials.retain(|_, line| ["deny", "error", "shadow_deny"].iter().any(|outcome| line["outcome"] == *outcome));
        let audit_by_id = by_id(audit);
        assert_eq!(audit.len(), denials.len(), "{audit:?}");
        assert_eq!(audit_by_id.keys().collect::<Vec<_>>(), denials.keys().collect::<Vec<_>>());
        for (id, line) in audit_by_id {
            for name in ["outcome", "reason", "source", "rule", "method", "path"] {
                assert_eq!(line[name], denials[&id][name], "{name} of {line}");
            }
            let Sent { fate: (.., user), credential } = &self.sent[&id];
            assert_eq!((&line["user_id"], &line["credential"]), (&json!(user), &json!(credential)), "{line}");
            assert_eq!(line["address"], "127.0.0.1", "{line}");
        }
    }
}

/// The metrics' counts equal the sums over the lines of the access log.
fn check_metrics(metrics: &Metrics, log: &[Value]) {
    let by = |names: &'static [&'static str]| {
        move |line: &Value| [vec![filter(line)], names.iter().map(|name| field(line, name)).collect()].concat()
    };
    let requests = counted(metrics, "auth_validation_requests_total", &["filter", "outcome", "source", "reason"]);
    assert_eq!(requests, sums(log, by(&["outcome", "source", "reason"])));
    let rules = counted(metrics, "auth_rule_requests_total", &["filter", "rule", "outcome"]);
    assert_eq!(rules, sums(log, by(&["rule", "outcome"])));
    let denied: Vec<_> =
        log.iter().filter(|line| line["outcome"] == "deny" || line["outcome"] == "error").cloned().collect();
    let errors = counted(metrics, "auth_validation_errors_total", &["filter", "reason"]);
    assert_eq!(errors, sums(&denied, by(&["reason"])));
    let types = counted(metrics, "auth_token_type_requests", &["filter", "type"]);
    assert_eq!(types.values().sum::<u64>(), log.len() as u64, "{types:?}");
    let lockouts = counted(metrics, "auth_throttle_lockouts_total", &["filter", "kind"]);
    assert_eq!(lockouts, BTreeMap::from([(vec!["lab".to_owned(), "address".to_owned()], 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn access_log_audit_and_metrics_agree_with_what_was_sent() {
    let stack = builder().config(config()).config(feed::config()).envoy(second_filter).start().await.unwrap();
    let mut day = Day { stack, sent: BTreeMap::new() };
    // This comes first, because it voids cached verdicts.
    feed::is_read(&day.stack).await;
    strangers(&mut day).await;
    users(&mut day).await;
    revocation(&mut day).await;
    rotation(&mut day).await;
    let token_of_lab = lab(&mut day).await;
    outage(&mut day, &token_of_lab).await;

    // Every code is provoked, except those in `NEVER`.
    let provoked: BTreeSet<_> = day.sent.values().map(|sent| sent.fate.1).collect();
    for code in Code::ALL {
        assert_eq!(provoked.contains(code.name()), !NEVER.contains(&code), "{}", code.name());
    }
    let log = access_log(&day.stack, day.sent.len()).await;
    let audit = audit(&day.stack);
    day.check_access_log(&log);
    day.check_audit(&audit, &log);
    check_metrics(&day.stack.metrics().await.unwrap(), &log);
    for text in [day.stack.access_log(), day.stack.envoy_log()] {
        assert!(!text.contains("canary") && !text.contains("c2VjcmV0"), "{text}");
    }
}
