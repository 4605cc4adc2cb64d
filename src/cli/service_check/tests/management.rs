//! Endpoints that clients call and the filter doesn't.

use serde_json::json;

use super::server::{self, Reply};
use super::{assert_noted, at, found};

const REFRESH: &str = "POST /auth/jwt/refresh";
const LIST: &str = "GET /iam/tokens?";
const READ: &str = "GET /iam/tokens/24126";

#[test]
fn each_endpoint_for_clients_is_tested() {
    let (_, findings) = found(|_, reply| reply);
    for case in [
        "POST /auth/jwt/login",
        REFRESH,
        "POST /auth/jwt/logout",
        "POST /iam/tokens",
        "GET /iam/tokens",
        "GET /iam/tokens/{id}",
        "DELETE /iam/tokens/{id}",
        "GET /health",
    ] {
        assert!(findings.iter().any(|finding| finding["case"] == case), "{case}: {findings:#?}");
    }
}

#[test]
fn a_refresh_without_its_parts_is_noted() {
    let clients = "clients do";
    let no_token: server::Change =
        |asked, reply| at(REFRESH, asked, reply, |_| Reply::json(200, &json!({"expires_in": 3600})));
    assert_noted(no_token, REFRESH, "no text under `access`", clients);
    let no_life: server::Change =
        |asked, reply| at(REFRESH, asked, reply, |_| Reply::json(200, &json!({"access": "a"})));
    assert_noted(no_life, REFRESH, "no number under `expires_in`", clients);
    assert_noted(|asked, reply| at(REFRESH, asked, reply, |_| Reply::text(404, "")), REFRESH, "status 404", clients);
}

#[test]
fn an_expires_in_that_the_token_contradicts_is_noted() {
    const LOGIN: &str = "POST /auth/jwt/login";
    fn twice_as_long(reply: Reply) -> Reply {
        let mut body = reply.value();
        body["expires_in"] = json!(7200);
        Reply::json(200, &body)
    }
    let at_login: server::Change = |asked, reply| at(LOGIN, asked, reply, twice_as_long);
    assert_noted(at_login, LOGIN, "`expires_in` is 7200, but the access token expires in 3", "clients do");
    let at_refresh: server::Change = |asked, reply| at(REFRESH, asked, reply, twice_as_long);
    assert_noted(at_refresh, REFRESH, "`expires_in` is 7200, but the access token expires in 3", "clients do");
}

#[test]
fn a_refresh_token_that_works_only_once_is_noted() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let once: server::Change = |asked, reply| {
        let again = |reply| if ASKED.fetch_add(1, Ordering::SeqCst) == 0 { reply } else { Reply::unauthorized() };
        at(REFRESH, asked, reply, again)
    };
    assert_noted(once, REFRESH, "the refresh token works only once: it answered with status 401", "clients do");
}

#[test]
fn api_tokens_that_cannot_be_listed_or_read_are_noted() {
    let clients = "clients do";
    let list = "GET /iam/tokens";
    assert_noted(|asked, reply| at(LIST, asked, reply, |_| Reply::text(405, "")), list, "status 405", clients);
    let bare: server::Change = |asked, reply| at(LIST, asked, reply, |_| Reply::json(200, &json!([])));
    assert_noted(bare, list, "no list under `results`", clients);
    let empty: server::Change = |asked, reply| at(LIST, asked, reply, |_| Reply::json(200, &json!({"results": []})));
    assert_noted(empty, list, "isn't listed", clients);
    let read = "GET /iam/tokens/{id}";
    assert_noted(|asked, reply| at(READ, asked, reply, |_| Reply::text(404, "")), read, "status 404", clients);
    let other: server::Change = |asked, reply| at(READ, asked, reply, |_| Reply::json(200, &json!({"id": 7})));
    assert_noted(other, read, "number under `id`", clients);
    let shown: server::Change =
        |asked, reply| at(READ, asked, reply, |_| Reply::json(200, &json!({"id": 24126, "token": "24126$x"})));
    assert_noted(shown, read, "the token itself", clients);
}
