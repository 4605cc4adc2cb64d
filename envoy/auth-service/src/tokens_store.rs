//! API tokens in the database.

use rusqlite::{OptionalExtension, Row, named_params, params};

use crate::store::{Store, User};

/// A row of `tokens`, with the owner's email.
#[derive(Clone, Debug)]
pub(crate) struct TokenRow {
    pub(crate) id: i64,
    pub(crate) user_id: i64,
    pub(crate) user_email: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) exp_date: Option<i64>,
    pub(crate) created: i64,
    pub(crate) last_usage: Option<i64>,
}

impl TokenRow {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            user_id: row.get("user_id")?,
            user_email: row.get("user_email")?,
            name: row.get("name")?,
            description: row.get("description")?,
            exp_date: row.get("exp_date")?,
            created: row.get("created")?,
            last_usage: row.get("last_usage")?,
        })
    }
}

/// A token to store.
pub(crate) struct NewToken {
    pub(crate) user_id: i64,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) hash: String,
    pub(crate) exp_date: Option<i64>,
}

/// What is needed to verify a token.
pub(crate) struct StoredToken {
    pub(crate) hash: String,
    pub(crate) exp_date: Option<i64>,
}

/// Which tokens to list.
pub(crate) struct Filter {
    /// Only tokens of this user.
    pub(crate) owner: Option<i64>,
    pub(crate) deleted: bool,
    pub(crate) expired: Option<bool>,
    /// Part of the name; ASCII case doesn't matter.
    pub(crate) name: Option<String>,
    pub(crate) user_email: Option<String>,
}

impl Store {
    /// Stores a token. The row has its number.
    pub(crate) fn add_token(&self, new: NewToken, user_email: String, now: i64) -> rusqlite::Result<TokenRow> {
        let connection = self.lock();
        connection
            .prepare_cached(
                "INSERT INTO tokens (user_id, name, description, hash, exp_date, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![new.user_id, new.name, new.description, new.hash, new.exp_date, now])?;
        Ok(TokenRow {
            id: connection.last_insert_rowid(),
            user_id: new.user_id,
            user_email,
            name: new.name,
            description: new.description,
            exp_date: new.exp_date,
            created: now,
            last_usage: None,
        })
    }

    /// A token, deleted or not, and its owner.
    pub(crate) fn token_and_user(&self, id: i64) -> rusqlite::Result<Option<(StoredToken, User)>> {
        self.lock()
            .prepare_cached(
                "SELECT users.*, t.hash AS token_hash, t.exp_date AS token_exp_date
                 FROM tokens t JOIN users ON users.id = t.user_id WHERE t.id = ?1",
            )?
            .query_row([id], |row| {
                let token = StoredToken { hash: row.get("token_hash")?, exp_date: row.get("token_exp_date")? };
                Ok((token, User::from_row(row)?))
            })
            .optional()
    }

    /// Records that a token was used. False if it is deleted.
    pub(crate) fn touch_token(&self, id: i64, now: i64) -> rusqlite::Result<bool> {
        let changed = self
            .lock()
            .prepare_cached("UPDATE tokens SET last_usage = ?2 WHERE id = ?1 AND NOT deleted")?
            .execute([id, now])?;
        Ok(changed == 1)
    }

    /// A token that is not deleted.
    pub(crate) fn token(&self, id: i64, owner: Option<i64>) -> rusqlite::Result<Option<TokenRow>> {
        self.lock()
            .prepare_cached(
                "SELECT t.*, u.email AS user_email FROM tokens t JOIN users u ON u.id = t.user_id
                 WHERE t.id = ?1 AND NOT t.deleted AND (?2 IS NULL OR t.user_id = ?2)",
            )?
            .query_row(params![id, owner], TokenRow::from_row)
            .optional()
    }

    /// Changes a token, and has gateways forget the verdicts on it. False if there is no such token.
    pub(crate) fn change_token(&self, row: &TokenRow, now: i64) -> rusqlite::Result<bool> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        let found = transaction
            .prepare_cached(
                "UPDATE tokens SET name = ?2, description = ?3, exp_date = ?4 WHERE id = ?1 AND NOT deleted",
            )?
            .execute(params![row.id, row.name, row.description, row.exp_date])?
            == 1;
        if found {
            crate::feed::purge_token(&transaction, row.id, now)?;
        }
        transaction.commit()?;
        Ok(found)
    }

    /// The tokens that expire after `now` and before `until`, in order of expiry.
    pub(crate) fn expiring_tokens(&self, now: i64, until: i64) -> rusqlite::Result<Vec<TokenRow>> {
        self.lock()
            .prepare_cached(
                "SELECT t.*, u.email AS user_email FROM tokens t JOIN users u ON u.id = t.user_id
                 WHERE NOT t.deleted AND t.exp_date > ?1 AND t.exp_date <= ?2 ORDER BY t.exp_date, t.id",
            )?
            .query_map(params![now, until], TokenRow::from_row)?
            .collect()
    }

    /// Deletes a token, and has gateways forget the verdicts on it. False if there is no such token.
    pub(crate) fn delete_token(&self, id: i64, owner: Option<i64>, now: i64) -> rusqlite::Result<bool> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        let found = transaction
            .prepare_cached(
                "UPDATE tokens SET deleted = 1 WHERE id = ?1 AND NOT deleted AND (?2 IS NULL OR user_id = ?2)",
            )?
            .execute(params![id, owner])?
            == 1;
        if found {
            crate::feed::purge_token(&transaction, id, now)?;
        }
        transaction.commit()?;
        Ok(found)
    }

    /// How many tokens there are, and one page of them. `order` is one of our own `ORDER BY`s.
    pub(crate) fn tokens(
        &self,
        filter: &Filter,
        order: &'static str,
        limit: i64,
        offset: i64,
        now: i64,
    ) -> rusqlite::Result<(i64, Vec<TokenRow>)> {
        const FROM: &str = "FROM tokens t JOIN users u ON u.id = t.user_id
            WHERE (:owner IS NULL OR t.user_id = :owner)
              AND t.deleted = :deleted
              AND (:expired IS NULL OR (t.exp_date IS NOT NULL AND t.exp_date <= :now) = :expired)
              AND (:name IS NULL OR instr(lower(t.name), lower(:name)) > 0)
              AND (:user_email IS NULL OR u.email = :user_email)";
        let connection = self.lock();
        let filters = named_params! {
            ":owner": filter.owner,
            ":deleted": filter.deleted,
            ":expired": filter.expired,
            ":now": now,
            ":name": filter.name,
            ":user_email": filter.user_email,
        };
        let count =
            connection.prepare_cached(&format!("SELECT count(*) {FROM}"))?.query_row(filters, |row| row.get(0))?;
        let page = [filters, named_params! {":limit": limit, ":offset": offset}].concat();
        let rows = connection
            .prepare_cached(&format!(
                "SELECT t.*, u.email AS user_email {FROM} ORDER BY {order} LIMIT :limit OFFSET :offset"
            ))?
            .query_map(page.as_slice(), TokenRow::from_row)?
            .collect::<rusqlite::Result<_>>()?;
        Ok((count, rows))
    }
}
