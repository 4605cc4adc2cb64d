//! `GET /auth/blacklist`: the list of what is revoked.

use super::Context;
use super::findings::Findings;
use crate::introspection::{CalloutRequest, Destination};
use crate::revocation::feed::{self, Changes, FeedError, MAX_FEED_BODY};
use crate::revocation::{RevokedToken, Subject, token_digest};

/// A cursor that no service has issued.
const UNKNOWN_CURSOR: &str = "authgate-service-check";

const LATE: &str = "keeps letting in cached verdicts until they expire";

/// Reads the list, and asks for what is new since. Returns the next cursor, if there is a list.
pub fn check(context: &Context<'_>, path: &str, findings: &mut Findings) -> Option<String> {
    let case = format!("GET {path}");
    let list = match poll(context, path, None) {
        Ok(list) => list,
        Err(error) => {
            let filter = match error {
                FeedError::Status(404 | 405) => "with revocation.path it can't read a list; without it, it doesn't ask",
                _ => "every poll fails: nothing that is revoked takes effect before its verdict expires",
            };
            findings.differs(case, error.to_string(), filter);
            return None;
        }
    };
    report_list(&case, &list, findings);
    check_increment(context, path, &list, findings);
    check_unknown_cursor(context, path, findings);
    Some(list.cursor)
}

fn report_list(case: &str, list: &Changes, findings: &mut Findings) {
    match &list.unreadable {
        Some(unreadable) => {
            let filter =
                "the other entries take effect; all cached verdicts are verified again, at most once per minute";
            findings.differs(case, unreadable.to_string(), filter);
        }
        None => {
            let (revoked, users, purges) = (list.revoked.len(), list.users.len(), list.purge.len());
            findings.ok(case, format!("a list of {revoked} tokens, {users} users, {purges} purges"));
        }
    }
}

fn check_increment(context: &Context<'_>, path: &str, list: &Changes, findings: &mut Findings) {
    let case = format!("GET {path}?since=<cursor>");
    let length = |list: &Changes| list.revoked.len() + list.users.len() + list.purge.len();
    match poll(context, path, Some(&list.cursor)) {
        Ok(news) if length(&news) > 0 && length(&news) >= length(list) => {
            findings.note(case, "the whole list again", "accepts it, but reads the whole list each time");
        }
        Ok(news) => findings.ok(case, format!("{} entries", length(&news))),
        Err(FeedError::BadCursor) => {
            let filter = "reads the whole list each time, in two requests";
            findings.differs(case, "it refused the cursor that it had just given", filter);
        }
        Err(error) => {
            findings.differs(case, error.to_string(), "reads the list once; after that every poll fails");
        }
    }
}

fn check_unknown_cursor(context: &Context<'_>, path: &str, findings: &mut Findings) {
    let case = format!("GET {path}?since=<unknown cursor>");
    match poll(context, path, Some(UNKNOWN_CURSOR)) {
        Err(FeedError::BadCursor) => findings.ok(case, "400"),
        Ok(_) => {
            let filter = "uses the answer: if it isn't the whole list, earlier revocations are missing";
            findings.note(case, "it answered instead of refusing it with 400", filter);
        }
        Err(error) => {
            let filter = "doesn't start again: after the service has lost its cursors, every poll fails";
            findings.differs(case, error.to_string(), filter);
        }
    }
}

/// Checks that a token that was logged out is on the list.
pub fn check_revoked(context: &Context<'_>, path: &str, cursor: &str, token: (&str, u64), findings: &mut Findings) {
    let case = format!("GET {path} after the logout");
    let (jti, exp) = token;
    let digest = token_digest(jti);
    let entry = |list: Changes| list.revoked.into_iter().find(|entry| entry.token == digest);
    let found = poll(context, path, Some(cursor)).map(entry);
    match found {
        Ok(Some(RevokedToken { exp: until, .. })) if until < exp => {
            let filter = "forgets that the token is revoked before the token expires";
            findings.differs(case, "the token's entry has an `exp` before the token's own", filter);
        }
        Ok(Some(_)) => findings.ok(case, "the token is on the list"),
        Ok(None) => {
            let filter = "lets the token in until it expires";
            findings.differs(case, "the token's `jti` is not among what is new since the cursor", filter);
        }
        Err(error) => findings.differs(case, error.to_string(), LATE),
    }
}

/// Checks that the list purges a deleted API token.
pub fn check_purged(context: &Context<'_>, path: &str, cursor: &str, id: i64, findings: &mut Findings) {
    let case = format!("GET {path} after the deletion");
    match poll(context, path, Some(cursor)) {
        Ok(list) if list.purge.contains(&Subject::Token(id)) => findings.ok(case, "the API token is purged"),
        Ok(_) => findings.note(case, "no purge of the API token's number", format!("{LATE} (cache.ttl)")),
        Err(error) => findings.differs(case, error.to_string(), LATE),
    }
}

fn poll(context: &Context<'_>, path: &str, since: Option<&str>) -> Result<Changes, FeedError> {
    let request = CalloutRequest::get(Destination::Revocation, feed::path(path, since));
    feed::read(context.service.send(&request, MAX_FEED_BODY))
}
