//! The identity in the answers, which is the same in each format.

use serde_json::json;

use super::server::{self, Asked, Reply, Server, identity, of_api_token};
use super::{VERIFY, assert_differs, assert_noted, at, found_at};

/// Changes the answers about a good credential in one format.
fn in_format(format: &str, asked: &Asked, reply: Reply, change: impl FnOnce(Reply) -> Reply) -> Reply {
    at(VERIFY, asked, reply, |reply| if reply.status == 200 && asked.has(format) { change(reply) } else { reply })
}

/// Leaves out these headers.
fn without(reply: Reply, names: &[&str]) -> Reply {
    let headers = reply.headers.into_iter().filter(|(name, _)| !names.contains(name)).collect();
    Reply { headers, ..reply }
}

#[test]
fn another_identity_in_another_format_has_its_own_finding() {
    const USES: &str = "uses each answer as it is";
    let user: server::Change = |asked, reply| {
        in_format("jwt_header", asked, reply, |_| identity(asked, &of_api_token(json!({"user_id": 99}))))
    };
    assert_differs(user, "jwt_header", "another user_id than in another format", USES);
    let email: server::Change = |asked, reply| {
        in_format("json_header", asked, reply, |_| identity(asked, &of_api_token(json!({"email": "x@example.com"}))))
    };
    assert_differs(email, "json_header", "another email than in another format", USES);
    let several: server::Change = |asked, reply| {
        let claims = json!({"user_type": "system_admin", "is_admin": true});
        in_format("jwt_body", asked, reply, |_| identity(asked, &of_api_token(claims)))
    };
    assert_differs(several, "jwt_body", "another user_type, is_admin than in another format", USES);
    // The first format lacks it.
    let later: server::Change = |asked, reply| {
        let email = if asked.has("json_body") { json!(null) } else { json!(asked.has("jwt_body").to_string()) };
        at(VERIFY, asked, reply, |reply| {
            if reply.status == 200 { identity(asked, &of_api_token(json!({"email": email}))) } else { reply }
        })
    };
    assert_differs(later, "jwt_body", "another email than in another format", USES);
}

#[test]
fn headers_that_a_format_lacks_are_noted() {
    const NEEDS: &str = "needs only the ids";
    let ids: server::Change = |asked, reply| {
        in_format("json_header", asked, reply, |reply| without(reply, &["X-User-Email", "X-User-Type", "X-Is-Admin"]))
    };
    assert_noted(ids, "json_header", "it lacks X-User-Email, X-User-Type, X-Is-Admin", NEEDS);
    let admin: server::Change =
        |asked, reply| in_format("json_header", asked, reply, |reply| without(reply, &["X-Is-Admin"]));
    assert_noted(admin, "json_header", "it lacks X-Is-Admin", NEEDS);
    let email: server::Change =
        |asked, reply| in_format("jwt_body", asked, reply, |_| identity(asked, &of_api_token(json!({"email": null}))));
    assert_noted(email, "jwt_body", "it lacks email", NEEDS);
    let renames: server::Change = |asked, reply| {
        let renamed = |(name, value)| (if name == "X-User-Email" { "X-Platform-Email" } else { name }, value);
        in_format("json_header", asked, reply, |reply| Reply {
            headers: reply.headers.into_iter().map(renamed).collect(),
            ..reply
        })
    };
    let notes = |header: &str| {
        let server = Server::start(renames);
        let option = format!("email={header}");
        let options = ["--username", "u", "--password", "p", "--answer-header", &option];
        let (status, findings) = found_at(&format!("http://{}", server.address), &options);
        assert_eq!(status, 0, "{findings:#?}");
        let notes = findings.iter().filter(|finding| finding["level"] == "note");
        notes.map(|note| note["found"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(notes("X-Platform-Email"), [""; 0]);
    assert!(notes("X-Other-Email")[0].contains("it lacks X-Other-Email,"), "the configured name");
}
