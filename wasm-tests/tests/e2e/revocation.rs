//! What the service revokes is refused by every worker once the feed has been read, even if the caches are warm.

use std::time::Duration;

use auth_service::UserSpec;
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use wasm_tests::{Builder, Request, Response, Stack};

use crate::feed;

const WORKERS: u32 = 2;
/// Each request has its own connection, and there are enough of them to reach every worker.
const REQUESTS: usize = 50;
/// A test fails if a state takes longer than this.
const LIMIT: Duration = Duration::from_secs(60);

/// A user for each name, of clients 1, 2, 3 and so on. JWTs are verified by the service under `/remote`.
fn builder(users: &'static [&'static str]) -> Builder {
    let config = json!({
        // A busy machine must not cause an outage.
        "auth_service": {"timeout": "20s"},
        "rules": [{"match": {"prefix": "/remote"}, "verification": "remote"}],
    });
    Stack::builder().concurrency(WORKERS).config(feed::config()).config(config).service(|options| {
        let user = |(client, name): (i64, &&str)| UserSpec { client_id: client, ..UserSpec::new(*name, "secret") };
        options.users.extend((1..).zip(users).map(user));
    })
}

/// The service's answer, which must be a success.
async fn service(request: Request) -> Response {
    let answer = request.send().await.unwrap();
    assert!(answer.status < 300, "{} {}", answer.status, answer.text());
    answer
}

async fn jwt(stack: &Stack, user: &str) -> String {
    let login = stack.service_request(Method::POST, "/auth/jwt/login").unwrap();
    let tokens = service(login.json(&json!({"username": user, "password": "secret"}))).await.json().unwrap();
    tokens["access"].as_str().unwrap().to_owned()
}

async fn api_token(stack: &Stack, user: &str) -> (u64, String) {
    let jwt = jwt(stack, user).await;
    let create = stack.service_request(Method::POST, "/iam/tokens").unwrap().bearer(&jwt);
    let created = service(create.json(&json!({"name": "any", "description": "", "exp_date": null}))).await;
    let created = created.json().unwrap();
    (created["id"].as_u64().unwrap(), created["token"].as_str().unwrap().to_owned())
}

/// The `user_id` and `client_id` of a JWT.
fn ids(jwt: &str) -> (i64, i64) {
    let claims = wasm_tests::credentials::claims_of(jwt).unwrap();
    (claims["user_id"].as_i64().unwrap(), claims["client_id"].as_i64().unwrap())
}

async fn log_out(stack: &Stack, jwt: &str, query: &str) {
    service(stack.service_request(Method::POST, &format!("/auth/jwt/logout{query}")).unwrap().bearer(jwt)).await;
}

/// A credential and where it is sent.
#[derive(Clone)]
struct Access(&'static str, &'static str, String);

impl Access {
    fn local(jwt: &str) -> Self {
        Self("/orders", "Bearer", jwt.to_owned())
    }

    fn remote(jwt: &str) -> Self {
        Self("/remote/orders", "Bearer", jwt.to_owned())
    }

    fn token(token: &str) -> Self {
        Self("/orders", "APIKey", token.to_owned())
    }

    fn request(&self, stack: &Stack) -> Request {
        let Self(path, scheme, credential) = self;
        stack.get(path).header("authorization", format!("{scheme} {credential}"))
    }

    async fn ask(&self, stack: &Stack) -> Response {
        self.request(stack).send().await.unwrap()
    }

    /// The results of many requests at once: 200, or a denial's code.
    async fn verdicts(&self, stack: &Stack) -> Vec<String> {
        let requests: JoinSet<_> = (0..REQUESTS).map(|_| self.request(stack).send()).collect();
        let code = |answer: Response| answer.code().unwrap_or_else(|| answer.status.to_string());
        let mut all: Vec<_> = requests.join_all().await.into_iter().map(|answer| code(answer.unwrap())).collect();
        all.sort();
        all.dedup();
        all
    }
}

async fn callouts(stack: &Stack) -> u64 {
    stack.counters().await.unwrap()["verify"].as_u64().unwrap()
}

/// Waits until every worker has its own entry for each credential, so that a hit depends on no other worker.
async fn warm_up(stack: &Stack, all: &[Access]) {
    let warming = async {
        while stack.metric("auth_cache_entries", &[]).await.unwrap() < all.len() as u64 * u64::from(WORKERS) {
            for access in all {
                let answer = access.ask(stack).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
        }
    };
    tokio::time::timeout(LIMIT, warming).await.unwrap();
    let before = callouts(stack).await;
    for access in all {
        assert_eq!(access.verdicts(stack).await, ["200"]);
    }
    assert_eq!(callouts(stack).await, before, "there is nothing left to ask the service");
}

/// Every request with each of these gets the same denial, and none reaches the upstream.
async fn all_refused(stack: &Stack, all: &[Access], code: &str) {
    let hits = stack.upstream_hits();
    for (number, access) in all.iter().enumerate() {
        assert_eq!(access.verdicts(stack).await, [code], "{number}: {}", access.0);
    }
    assert_eq!(stack.upstream_hits(), hits);
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_revokes_one_jwt_and_logout_everywhere_all_of_the_user() {
    let stack = builder(&["ann", "bob"]).start().await.unwrap();
    let [left, stays] = [jwt(&stack, "ann").await, jwt(&stack, "ann").await];
    let [one, other] = [jwt(&stack, "bob").await, jwt(&stack, "bob").await];
    let both = |jwt: &str| [Access::local(jwt), Access::remote(jwt)];
    let all = [both(&left), both(&stays), both(&one), both(&other)].concat();
    warm_up(&stack, &all).await;

    log_out(&stack, &left, "").await;
    feed::is_read(&stack).await;
    all_refused(&stack, &both(&left), "token_revoked").await;
    for access in &all[2..] {
        assert_eq!(access.verdicts(&stack).await, ["200"]);
    }

    log_out(&stack, &one, "?everywhere=true").await;
    feed::is_read(&stack).await;
    let [local, remote] = [Access::local, Access::remote].map(|access| [access(&one), access(&other)]);
    all_refused(&stack, &local, "token_revoked").await;
    // Verdicts on a user who has signed out are purged, and the service refuses the JWT itself.
    all_refused(&stack, &remote, "token_rejected").await;
    all_refused(&stack, &both(&left), "token_revoked").await;
    for access in both(&stays) {
        assert_eq!(access.verdicts(&stack).await, ["200"]);
    }
    assert!(stack.metric("auth_blacklist_checks_total", &[("result", "revoked")]).await.unwrap() >= 100);
    let denial = local[0].ask(&stack).await;
    assert_eq!(denial.status, 401);
    assert!(denial.header("www-authenticate").unwrap().contains("invalid_token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_token_a_disabled_user_and_a_disabled_client_are_refused() {
    let stack = builder(&["ann", "bob", "cat"]).start().await.unwrap();
    let (id, deleted) = api_token(&stack, "ann").await;
    let (_, stays) = api_token(&stack, "ann").await;
    let (ann, bob, cat) = (jwt(&stack, "ann").await, jwt(&stack, "bob").await, jwt(&stack, "cat").await);
    let of_bob = [Access::token(&api_token(&stack, "bob").await.1), Access::remote(&bob)];
    let of_cat = [Access::token(&api_token(&stack, "cat").await.1), Access::remote(&cat)];
    let of_ann = [Access::token(&stays), Access::remote(&ann)];
    let all = [vec![Access::token(&deleted)], of_bob.to_vec(), of_cat.to_vec(), of_ann.to_vec()].concat();
    warm_up(&stack, &all).await;

    let delete = stack.service_request(Method::DELETE, &format!("/iam/tokens/{id}")).unwrap();
    service(delete.bearer(&ann)).await;
    feed::is_read(&stack).await;
    all_refused(&stack, &all[..1], "token_rejected").await;

    let disable = async |what: &str, id: i64| {
        let path = format!("/faults/{what}/{id}");
        service(stack.service_request(Method::PUT, &path).unwrap().json(&json!({"disabled": true}))).await;
        feed::is_read(&stack).await;
    };
    disable("users", ids(&bob).0).await;
    all_refused(&stack, &of_bob, "forbidden_by_service").await;
    disable("clients", ids(&cat).1).await;
    all_refused(&stack, &of_cat, "forbidden_by_service").await;

    let before = callouts(&stack).await;
    for access in &of_ann {
        assert_eq!(access.verdicts(&stack).await, ["200"]);
    }
    assert_eq!(callouts(&stack).await, before, "nobody else's verdicts were forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_verdict_is_requested_again() {
    let stack = builder(&["ann", "bob"]).start().await.unwrap();
    let purged = [Access::token(&api_token(&stack, "ann").await.1), Access::remote(&jwt(&stack, "ann").await)];
    let kept = [Access::token(&api_token(&stack, "bob").await.1), Access::remote(&jwt(&stack, "bob").await)];
    warm_up(&stack, &[purged.clone(), kept.clone()].concat()).await;
    let (_, client) = ids(&purged[1].2);

    // This changes nothing, but makes the service tell gateways to purge verdicts.
    let enable = stack.service_request(Method::PUT, &format!("/faults/clients/{client}")).unwrap();
    service(enable.json(&json!({"disabled": false}))).await;
    feed::is_read(&stack).await;
    let before = callouts(&stack).await;
    for access in &kept {
        assert_eq!(access.verdicts(&stack).await, ["200"]);
    }
    assert_eq!(callouts(&stack).await, before);
    for (number, access) in purged.iter().enumerate() {
        let before = callouts(&stack).await;
        assert_eq!(access.verdicts(&stack).await, ["200"], "{number}");
        let asked = callouts(&stack).await - before;
        assert!((1..=u64::from(WORKERS)).contains(&asked), "{number}: {asked} callouts");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_feed_refuses_no_client_and_catches_up() {
    let stack = builder(&["ann"]).start().await.unwrap();
    let [left, stays] = [jwt(&stack, "ann").await, jwt(&stack, "ann").await];
    let all = [Access::local(&left), Access::remote(&left), Access::local(&stays), Access::remote(&stays)];
    feed::is_read(&stack).await;
    warm_up(&stack, &all).await;
    let counted = async |name: &str, labels: &[(&str, &str)]| stack.metric(name, labels).await.unwrap();
    assert_eq!(counted("auth_blacklist_polls_total", &[("outcome", "failure")]).await, 0);

    stack.fault(json!({"on": "blacklist", "kind": "status", "status": 500})).await.unwrap();
    log_out(&stack, &left, "").await;
    let stale = async || counted("auth_blacklist_checks_total", &[("result", "stale")]).await;
    let before = stale().await;
    let both_seen = async {
        while stale().await < before + REQUESTS as u64
            || counted("auth_blacklist_polls_total", &[("outcome", "failure")]).await < 2
        {
            for access in &all {
                assert_eq!(access.ask(&stack).await.status, 200);
            }
        }
    };
    tokio::time::timeout(LIMIT, both_seen).await.unwrap();
    assert!(stack.envoy_log().contains("revocation feed not read"), "{}", stack.envoy_log());

    stack.fault(json!({"on": "blacklist", "kind": "none"})).await.unwrap();
    feed::is_read(&stack).await;
    all_refused(&stack, &all[..2], "token_revoked").await;
    let before = stale().await;
    for access in &all[2..] {
        assert_eq!(access.verdicts(&stack).await, ["200"]);
    }
    assert_eq!(stale().await, before, "the list is up to date again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_cursor_loses_no_entry() {
    let stack = builder(&["ann"]).start().await.unwrap();
    let left = jwt(&stack, "ann").await;
    let all = [Access::local(&left), Access::remote(&left)];
    warm_up(&stack, &all).await;
    // One answer has the cursor of a database that no longer exists.
    let answer: Value = json!({"cursor": "elsewhere-7", "revoked": [], "users": [], "purge": []});
    let fault = json!({"on": "blacklist", "kind": "raw", "body": answer.to_string(), "times": 1});
    stack.fault(fault).await.unwrap();
    feed::is_read(&stack).await;
    log_out(&stack, &left, "").await;
    feed::is_read(&stack).await;
    all_refused(&stack, &all, "token_revoked").await;
    assert!(stack.envoy_log().contains("refused the cursor"), "{}", stack.envoy_log());
}
