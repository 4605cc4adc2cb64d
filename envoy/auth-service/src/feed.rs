//! Revocation: what was revoked, and the feed that gateways poll.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::jwt::Token;
use crate::store::Store;

/// How long the feed tells gateways to forget cached verdicts, in seconds: longer than they cache any.
const PURGE_SECONDS: i64 = 86_400;

fn add(
    connection: &Connection,
    kind: &str,
    jti: Option<&str>,
    id: Option<i64>,
    exp: Option<i64>,
    forget: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO feed (kind, jti, id, exp, forget) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![kind, jti, id, exp, forget])?;
    Ok(())
}

/// Tells gateways to forget every verdict on a user.
pub(crate) fn purge_user(connection: &Connection, id: i64, now: i64) -> rusqlite::Result<()> {
    add(connection, "purge_user", None, Some(id), None, now + PURGE_SECONDS)
}

/// Tells gateways to forget every verdict on a client's users.
pub(crate) fn purge_client(connection: &Connection, id: i64, now: i64) -> rusqlite::Result<()> {
    add(connection, "purge_client", None, Some(id), None, now + PURGE_SECONDS)
}

/// Tells gateways to forget every verdict on an API token.
pub(crate) fn purge_token(connection: &Connection, id: i64, now: i64) -> rusqlite::Result<()> {
    add(connection, "purge_token", None, Some(id), None, now + PURGE_SECONDS)
}

impl Store {
    /// Revokes one JWT until it expires.
    pub(crate) fn revoke(&self, jti: &str, exp: i64) -> rusqlite::Result<()> {
        add(&self.lock(), "jti", Some(jti), None, Some(exp), exp)
    }

    /// Revokes every token of a user that expires before `exp_before`, and every refresh token before `refresh_exp_before`.
    pub(crate) fn sign_out(&self, user_id: i64, exp_before: i64, refresh_exp_before: i64) -> rusqlite::Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        transaction
            .prepare_cached(
                "UPDATE users SET exp_before = max(exp_before, ?2), refresh_exp_before = max(refresh_exp_before, ?3) WHERE id = ?1",
            )?
            .execute([user_id, exp_before, refresh_exp_before])?;
        add(&transaction, "user", None, Some(user_id), Some(exp_before), exp_before)?;
        transaction.commit()
    }

    /// Whether a JWT was revoked: alone, with all tokens of its user, or with the API token that it stands for.
    pub(crate) fn is_revoked(&self, token: &Token) -> rusqlite::Result<bool> {
        self.lock()
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM feed WHERE kind = 'jti' AND jti = ?1)
                     OR EXISTS (SELECT 1 FROM users WHERE id = ?2 AND iif(?3 = 'refresh', refresh_exp_before, exp_before) > ?4)
                     OR EXISTS (SELECT 1 FROM tokens WHERE id = ?5 AND deleted)",
            )?
            .query_row(params![token.jti, token.user_id, token.token_type, token.exp, token.token_id], |row| row.get(0))
    }

    /// What was revoked after a cursor, or without one everything that still matters, with the next cursor.
    ///
    /// A cursor is `<epoch>-<sequence number>`, so that a cursor of another database is refused and not misread.
    pub(crate) fn revoked_since(&self, cursor: Option<&str>, now: i64) -> Result<Value, ApiError> {
        let connection = self.lock();
        connection.prepare_cached("DELETE FROM feed WHERE forget <= ?1")?.execute([now])?;
        let epoch: String = connection.prepare_cached("SELECT epoch FROM meta")?.query_row([], |row| row.get(0))?;
        let last: i64 = connection
            .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'feed'")?
            .query_row([], |row| row.get(0))
            .optional()?
            .unwrap_or(0);
        let since = match cursor {
            None => 0,
            Some(cursor) => place(cursor, &epoch)
                .filter(|since| (0..=last).contains(since))
                .ok_or_else(|| ApiError::bad_request("The cursor was not issued by this service"))?,
        };
        let (mut revoked, mut users, mut purge) = (Vec::new(), Vec::new(), Vec::new());
        let mut select =
            connection.prepare_cached("SELECT kind, jti, id, exp FROM feed WHERE seq > ?1 ORDER BY seq")?;
        let mut rows = select.query([since])?;
        while let Some(row) = rows.next()? {
            let (kind, jti, id, exp): (String, Option<String>, Option<i64>, Option<i64>) = row.try_into()?;
            match kind.as_str() {
                "jti" => revoked.push(json!({"jti": jti, "exp": exp})),
                "user" => users.push(json!({"user_id": id, "exp_before": exp})),
                "purge_user" => purge.push(json!({"user_id": id})),
                "purge_client" => purge.push(json!({"client_id": id})),
                _ => purge.push(json!({"token_id": id})),
            }
        }
        Ok(json!({"cursor": format!("{epoch}-{last}"), "revoked": revoked, "users": users, "purge": purge}))
    }
}

/// The sequence number in a cursor of this epoch.
fn place(cursor: &str, epoch: &str) -> Option<i64> {
    let digits = cursor.strip_prefix(epoch)?.strip_prefix('-')?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}
