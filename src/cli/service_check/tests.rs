//! A service that does everything right, and many that do one thing wrong.

mod formats;
mod identity;
mod management;
mod server;

use clap::Parser as _;
use serde_json::{Value, json};

use crate::cli::{Arguments, run};
use server::{Asked, Reply, Server, api_token, identity, of_api_token};

/// The findings about a service for a user who may log in, as JSON, and the exit status.
fn found(change: server::Change) -> (u8, Vec<Value>) {
    let server = Server::start(change);
    found_at(&format!("http://{}", server.address), &["--username", "u", "--password", "p"])
}

fn found_at(url: &str, options: &[&str]) -> (u8, Vec<Value>) {
    let mut out = Vec::new();
    let arguments = ["authgate", "service-check", url, "--format", "json", "--timeout", "2"];
    let status = run(arguments.iter().chain(options), &mut out, false);
    let found: Value = serde_json::from_slice(&out).unwrap();
    (status, found["findings"].as_array().unwrap().clone())
}

/// Asserts that a service gets a finding of this level with these texts.
#[track_caller]
fn assert_finding(change: server::Change, level: &str, case: &str, problem: &str, filter: &str) {
    let (status, findings) = found(change);
    let has = |finding: &Value, name: &str, part: &str| finding[name].as_str().is_some_and(|text| text.contains(part));
    let is_it = |finding: &&Value| {
        finding["level"] == level
            && has(finding, "case", case)
            && has(finding, "found", problem)
            && has(finding, "filter", filter)
    };
    let odd: Vec<_> = findings.iter().filter(|finding| finding["level"] != "ok").collect();
    assert!(findings.iter().any(|finding| is_it(&finding)), "{case}: {problem}: {filter}: {odd:#?}");
    let differs = findings.iter().any(|finding| finding["level"] == "differs");
    assert_eq!(status, u8::from(differs));
    assert!(!differs || level == "differs", "{findings:#?}");
}

#[track_caller]
fn assert_differs(change: server::Change, case: &str, problem: &str, filter: &str) {
    assert_finding(change, "differs", case, problem, filter);
}

#[track_caller]
fn assert_noted(change: server::Change, case: &str, problem: &str, filter: &str) {
    assert_finding(change, "note", case, problem, filter);
}

#[test]
fn the_range_of_the_timeout_is_told() {
    for timeout in ["0", "61", "1s"] {
        let error = Arguments::try_parse_from(["authgate", "service-check", "http://a", "--timeout", timeout]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("a timeout is a number of seconds from 1 to 60"), "{error}");
    }
}

#[test]
fn a_good_service_passes() {
    let (status, findings) = found(|_, reply| reply);
    let others: Vec<_> = findings.iter().filter(|finding| finding["level"] != "ok").collect();
    assert_eq!((status, others), (0, vec![]));
}

#[test]
fn without_credentials_the_other_checks_run() {
    let server = Server::start(|_, reply| reply);
    let (status, findings) = found_at(&format!("http://{}/", server.address), &[]);
    let skipped: Vec<_> = findings.iter().filter(|finding| finding["level"] == "skipped").collect();
    assert_eq!((status, skipped.len()), (0, 2), "{findings:#?}");
    assert!(findings.iter().all(|finding| finding["level"] == "ok" || finding["level"] == "skipped"));
}

#[test]
fn given_credentials_are_neither_revoked_nor_deleted() {
    let server = Server::start(|asked, reply| {
        assert!(!asked.is("POST") && !asked.is("DELETE"), "{asked:?}");
        reply
    });
    let (status, findings) = found_at(&format!("http://{}", server.address), &["--api-token", &api_token()]);
    assert_eq!(status, 0, "{findings:#?}");
}

#[test]
fn a_failing_health_check_is_noted() {
    let change: server::Change = |asked, reply| if asked.is("GET /health") { Reply::text(404, "") } else { reply };
    assert_noted(change, "GET /health", "404", "but the health check in Envoy's shipped bootstraps does");
}

#[test]
fn no_finding_quotes_a_credential() {
    let refuses: server::Change =
        |asked, reply| if asked.is("GET /auth/verify") { Reply::text(500, "") } else { reply };
    let (_, findings) = found(refuses);
    let text = Value::from(findings).to_string();
    assert!(!text.contains("eyJ") && !text.contains("mhvv84d1"), "{text}");
}

#[test]
fn an_unreachable_service_is_one_finding() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (status, findings) = found_at(&format!("http://{address}"), &[]);
    assert_eq!((status, findings.len()), (1, 1), "{findings:#?}");
}

#[test]
fn an_invalid_address_is_a_usage_error() {
    for url in ["127.0.0.1:9000", "https://auth.example.com", "http://user@host", "http://host/?x=1", "ftp://host", ""]
    {
        assert_eq!(run(["authgate", "service-check", url], &mut Vec::new(), false), 2, "{url}");
    }
    assert_eq!(run(["authgate", "service-check", "http://h", "--verify-path", "x"], &mut Vec::new(), false), 2);
    assert_eq!(run(["authgate", "service-check", "http://h", "--username", "u"], &mut Vec::new(), false), 2);
}

/// Changes the answers to requests that begin with `begin`.
fn at(begin: &str, asked: &Asked, reply: Reply, change: impl FnOnce(Reply) -> Reply) -> Reply {
    if asked.is(begin) { change(reply) } else { reply }
}

const KEY: &str = "GET /iam/public-key";
const VERIFY: &str = "GET /auth/verify";
const LIST: &str = "GET /auth/blacklist";

#[test]
fn each_unusable_key_has_its_own_finding() {
    let gets = "503 public_key_unavailable";
    assert_differs(|asked, reply| at(KEY, asked, reply, |_| Reply::text(404, "")), KEY, "status 404", gets);
    assert_differs(
        |asked, reply| at(KEY, asked, reply, |r| Reply::text(200, r.body.replace("public_key", "key"))),
        KEY,
        "missing field `public_key`",
        gets,
    );
    assert_differs(
        |asked, reply| at(KEY, asked, reply, |r| Reply::text(200, r.value()["public_key"].as_str().unwrap())),
        KEY,
        "unreadable",
        gets,
    );
    assert_differs(
        |asked, reply| at(KEY, asked, reply, |r| Reply::text(200, r.body.replace("PUBLIC KEY", "RSA PUBLIC KEY"))),
        KEY,
        "PEM block",
        gets,
    );
    let small: server::Change = |asked, reply| {
        let pem = include_str!("../../public_key/testdata/rsa_1024.pem");
        at(KEY, asked, reply, |_| Reply::json(200, &json!({"public_key": pem})))
    };
    assert_differs(small, KEY, "1024 bits", gets);
    let other: server::Change = |asked, reply| {
        let pem = include_str!("../../public_key/testdata/rsa_2048.pem");
        at(KEY, asked, reply, |_| Reply::json(200, &json!({"public_key": pem})))
    };
    assert_differs(other, "the access token", "isn't signed with the public key", "401 signature_invalid");
    assert_differs(
        other,
        "jwt_body: a valid API token",
        "isn't signed with the public key",
        "503 auth_service_unavailable",
    );
}

#[test]
fn each_wrong_verdict_on_a_bad_credential_has_its_own_finding() {
    let unknown = "json_body: an unknown API token";
    fn bad(status: u16) -> impl Fn(Reply) -> Reply {
        move |reply| if reply.status == 401 { Reply::text(status, "{}") } else { reply }
    }
    assert_differs(
        |asked, reply| at(VERIFY, asked, reply, bad(404)),
        unknown,
        "status 404",
        "no verdict on this credential: answers 503",
    );
    assert_differs(
        |asked, reply| at(VERIFY, asked, reply, bad(500)),
        unknown,
        "status 500",
        "no verdict on this credential: answers 503",
    );
    assert_differs(|asked, reply| at(VERIFY, asked, reply, bad(503)), unknown, "status 503", "opens the breaker");
    assert_differs(
        |asked, reply| at(VERIFY, asked, reply, bad(403)),
        unknown,
        "403 instead of 401",
        "403 forbidden_by_service",
    );
    assert_differs(|asked, reply| at(VERIFY, asked, reply, bad(302)), unknown, "status 302", "answers 503");
    let lets_all_in: server::Change =
        |asked, reply| at(VERIFY, asked, reply, |_| identity(asked, &of_api_token(json!({}))));
    assert_differs(lets_all_in, unknown, "200 instead of 401", "lets the request pass");
    assert_differs(lets_all_in, "no credential", "200 instead of 401", "never asks without");
    let breaks: server::Change = |asked, reply| at(VERIFY, asked, reply, |reply| Reply { breaks: true, ..reply });
    assert_differs(breaks, unknown, "the connection broke", "opens the breaker: answers 503");
    let goes_by_numbers: server::Change = |asked, reply| {
        let is_known = asked.authorization.starts_with("APIKey 24126$");
        at(VERIFY, asked, reply, |r| if is_known { identity(asked, &of_api_token(json!({}))) } else { r })
    };
    assert_differs(
        goes_by_numbers,
        "an API token with another's secret",
        "200 instead of 401",
        "lets the request pass",
    );
    assert_differs(goes_by_numbers, "a deleted API token", "200 instead of 401", "lets the request pass");
    let bare: server::Change =
        |asked, reply| at(VERIFY, asked, reply, |r| if r.status == 401 { Reply::text(401, "no") } else { r });
    assert_noted(bare, unknown, "its body isn't", "doesn't look at it");
}

#[test]
fn each_unusable_identity_has_its_own_finding() {
    fn with(asked: &Asked, reply: Reply, changes: Value) -> Reply {
        if asked.is(VERIFY) && reply.status == 200 && asked.authorization.starts_with("APIKey") {
            identity(asked, &of_api_token(changes))
        } else {
            reply
        }
    }
    let good = "json_body: a valid API token";
    let gets = "no verdict on this credential: answers 503 auth_service_unavailable";
    assert_differs(
        |asked, reply| with(asked, reply, json!({"client_id": null})),
        good,
        "missing field `client_id`",
        gets,
    );
    assert_differs(|asked, reply| with(asked, reply, json!({"exp": "1795669861"})), good, "wrong type", gets);
    assert_differs(|asked, reply| with(asked, reply, json!({"exp": 1})), good, "expired", "401 token_expired");
    assert_differs(
        |asked, reply| with(asked, reply, json!({"token_type": "refresh"})),
        good,
        "\"refresh\"",
        "401 token_type_not_accepted",
    );
    assert_differs(
        |asked, reply| with(asked, reply, json!({"email": "a\nb"})),
        good,
        "let nobody in",
        "401 token_malformed",
    );
    let padded: server::Change = |asked, reply| with(asked, reply, json!({"username": "x".repeat(70_000)}));
    assert_differs(padded, good, "larger than 65536 bytes", gets);
}

#[test]
fn each_unreadable_format_has_its_own_finding() {
    let gets = "answers 503 auth_service_unavailable";
    let always_json: server::Change = |asked, reply| {
        at(VERIFY, asked, reply, |r| if r.status == 200 { Reply::json(200, &of_api_token(json!({}))) } else { r })
    };
    assert_differs(always_json, "json_header: a valid API token", "lacks a readable X-User-Id", gets);
    assert_differs(always_json, "jwt_body: a valid API token", "its JWT is unusable", gets);
    assert_differs(always_json, "jwt_header: a valid API token", "lacks a readable JWT in Authorization", gets);
    let platform: server::Change = |asked, reply| {
        at(VERIFY, asked, reply, |mut r| {
            for (name, _) in &mut r.headers {
                *name = match *name {
                    "X-User-Id" => "X-Platform-User-ID",
                    "X-Client-Id" => "X-Platform-Client-ID",
                    other => other,
                };
            }
            r
        })
    };
    assert_differs(platform, "json_header: a valid API token", "--answer-header", gets);
    let server = Server::start(platform);
    let mut options = vec!["--username", "u", "--password", "p", "--answer-header", "user_id=X-Platform-User-ID"];
    options.extend(["--answer-header", "client_id=X-Platform-Client-ID"]);
    let (status, findings) = found_at(&format!("http://{}", server.address), &options);
    assert_eq!(status, 0, "{findings:#?}");
    let quoted: server::Change =
        |asked, reply| {
            at(VERIFY, asked, reply, |r| {
                if asked.has("jwt_body") { Reply { body: format!("\"{}\"", r.body), ..r } } else { r }
            })
        };
    assert_differs(quoted, "jwt_body: a valid API token", "its JWT is unusable", gets);
}

#[test]
fn findings_name_the_kind_of_credential() {
    let no_lists: server::Change = |asked, reply| {
        if asked.is(VERIFY) && asked.has("apikey,jwt") { Reply::text(400, "") } else { reply }
    };
    assert_differs(no_lists, "json_body: a valid JWT", "status 400", "answers 503");
    let takes_refresh: server::Change = |asked, reply| {
        let is_bearer = asked.authorization.starts_with("Bearer");
        at(VERIFY, asked, reply, |r| if is_bearer { identity(asked, &of_api_token(json!({}))) } else { r })
    };
    assert_differs(takes_refresh, "a refresh token", "200 instead of 401", "401 token_type_not_accepted");
    assert_differs(takes_refresh, "a JWT with a forged signature", "200 instead of 401", "lets the request pass");
    assert_differs(takes_refresh, "a JWT that was logged out", "200 instead of 401", "lets the request pass");
    let takes_any: server::Change = |asked, reply| {
        let is_known = asked.authorization == format!("APIKey {}", api_token()) && asked.has("header_types=jwt&");
        at(VERIFY, asked, reply, |r| if is_known { identity(asked, &of_api_token(json!({}))) } else { r })
    };
    assert_noted(takes_any, "header_types=jwt", "ignores header_types", "asks only about the kinds");
    let takes_zeros: server::Change = |asked, reply| {
        let is_known = asked.authorization == format!("APIKey 0{}", api_token());
        at(VERIFY, asked, reply, |r| if is_known { identity(asked, &of_api_token(json!({}))) } else { r })
    };
    assert_noted(
        takes_zeros,
        "a valid API token with a 0 before its number",
        "another spelling",
        "401 token_malformed",
    );
    let short: server::Change = |asked, reply| {
        at("POST /iam/tokens", asked, reply, |_| Reply::json(201, &json!({"id": 24126, "token": "24126$short"})))
    };
    assert_differs(short, "the API token", "it isn't <number>$", "401 token_malformed");
}

#[test]
fn each_unreadable_revocation_list_has_its_own_finding() {
    fn list(asked: &Asked, reply: Reply, change: fn(&mut Value)) -> Reply {
        at(LIST, asked, reply, |r| {
            if r.status != 200 {
                return r;
            }
            let mut list = r.value();
            change(&mut list);
            Reply::json(200, &list)
        })
    }
    assert_differs(
        |asked, reply| at(LIST, asked, reply, |_| Reply::text(404, "")),
        LIST,
        "status 404",
        "can't read a list",
    );
    let renamed: server::Change =
        |asked, reply| list(asked, reply, |list| *list = json!({"cursor": "c-1", "tokens": []}));
    assert_differs(renamed, LIST, "none of the lists", "every poll fails");
    let no_cursor: server::Change = |asked, reply| list(asked, reply, |list| list["cursor"] = json!(""));
    assert_differs(no_cursor, LIST, "its cursor is unreadable", "every poll fails");
    let partial: server::Change = |asked, reply| {
        list(asked, reply, |list| list["revoked"] = json!([{"jti": "x"}, {"jti": "a", "exp": 4_000_000_000_u64}]))
    };
    assert_differs(partial, LIST, "revoked[0]: missing field `exp`", "the other entries take effect");
    let forgets_cursors: server::Change =
        |asked, reply| if asked.is(LIST) && asked.has("since=") { Reply::text(400, "") } else { reply };
    assert_differs(forgets_cursors, "since=<cursor>", "refused the cursor", "reads the whole list each time");
    let fails_on_cursors: server::Change =
        |asked, reply| if asked.is(LIST) && asked.has("since=authgate") { Reply::text(500, "") } else { reply };
    assert_differs(fails_on_cursors, "since=<unknown cursor>", "status 500", "doesn't start again");
    let lists_nothing: server::Change = |asked, reply| list(asked, reply, |list| list["revoked"] = json!([]));
    assert_differs(lists_nothing, "after the logout", "not among what is new", "lets the token in until it expires");
    let ends_early: server::Change = |asked, reply| {
        list(asked, reply, |list| {
            for entry in list["revoked"].as_array_mut().unwrap() {
                entry["exp"] = json!(1);
            }
        })
    };
    assert_differs(ends_early, "after the logout", "an `exp` before the token's own", "forgets");
    let purges_nothing: server::Change = |asked, reply| list(asked, reply, |list| list["purge"] = json!([]));
    assert_noted(purges_nothing, "after the deletion", "no purge", "cached verdicts");
}

#[test]
fn credentials_that_cannot_be_obtained_are_reported() {
    const LOGIN: &str = "POST /auth/jwt/login";
    const TOKENS: &str = "POST /iam/tokens";
    assert_differs(
        |asked, reply| at(LOGIN, asked, reply, |_| Reply::unauthorized()),
        LOGIN,
        "status 401; check --username and --password",
        "this check needs it",
    );
    assert_differs(
        |asked, reply| at(LOGIN, asked, reply, |_| Reply::json(200, &json!({"token": "x"}))),
        LOGIN,
        "`access`",
        "this check needs it",
    );
    assert_differs(
        |asked, reply| at(TOKENS, asked, reply, |_| Reply::text(200, "<html>")),
        TOKENS,
        "not JSON",
        "this check needs it",
    );
    let no_jti: server::Change = |asked, reply| {
        let jwt = crate::testing::Signer::a().jwt(&of_api_token(json!({"token_type": "access", "jti": null})));
        at("POST /auth/jwt/login", asked, reply, |_| Reply::json(200, &json!({"access": jwt})))
    };
    assert_differs(no_jti, "the access token", "no `jti`", "revocation list");
}
