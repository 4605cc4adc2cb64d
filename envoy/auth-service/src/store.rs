//! The database: users and the signing key. API tokens and the revocation feed have modules of their own.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, named_params, params};
use serde_json::{Value, json};

use crate::error::Error;
use crate::options::UserSpec;

/// How long to wait for a database that another service has locked: as long as rusqlite waits elsewhere.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
const BUSY_POLL: Duration = Duration::from_millis(5);

/// One connection: SQLite has one writer anyway, and a query takes microseconds.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Mutex<Connection>,
}

/// A row of `users`.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) username: String,
    pub(crate) password_hash: String,
    pub(crate) email: String,
    pub(crate) user_type: String,
    pub(crate) is_admin: bool,
    pub(crate) client_id: i64,
    pub(crate) client_name: String,
    pub(crate) groups: Value,
    pub(crate) role_params: Option<Value>,
    pub(crate) sso_entity: Option<String>,
    pub(crate) federation_id: Option<i64>,
    pub(crate) disabled: bool,
    pub(crate) exp_before: i64,
    pub(crate) refresh_exp_before: i64,
}

impl User {
    /// Reads a row of `SELECT users.*`.
    pub(crate) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            username: row.get("username")?,
            password_hash: row.get("password_hash")?,
            email: row.get("email")?,
            user_type: row.get("user_type")?,
            is_admin: row.get("is_admin")?,
            client_id: row.get("client_id")?,
            client_name: row.get("client_name")?,
            groups: row.get("groups")?,
            role_params: row.get("role_params")?,
            sso_entity: row.get("sso_entity")?,
            federation_id: row.get("federation_id")?,
            disabled: row.get("disabled")?,
            exp_before: row.get("exp_before")?,
            refresh_exp_before: row.get("refresh_exp_before")?,
        })
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

impl Store {
    /// Opens a database, and creates it if there is none.
    pub(crate) fn open(path: &str) -> Result<Self, Error> {
        let connection = if path == ":memory:" {
            Connection::open_in_memory()?
        } else {
            make_private(Path::new(path))?;
            Connection::open(path)?
        };
        write_ahead(&connection)?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.execute_batch(include_str!("schema.sql"))?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The PEM of the private key, if there is one.
    pub(crate) fn private_key(&self) -> rusqlite::Result<Option<String>> {
        self.lock().prepare_cached("SELECT private_pem FROM signing_key")?.query_row([], |row| row.get(0)).optional()
    }

    /// Stores a private key unless there is one, so that two services that start at once use the same key.
    pub(crate) fn add_private_key(&self, pem: &str) -> rusqlite::Result<()> {
        self.lock()
            .prepare_cached("INSERT OR IGNORE INTO signing_key (id, private_pem) VALUES (1, ?1)")?
            .execute([pem])?;
        Ok(())
    }

    /// Replaces the private key.
    pub(crate) fn set_private_key(&self, pem: &str) -> rusqlite::Result<()> {
        self.lock()
            .prepare_cached("INSERT OR REPLACE INTO signing_key (id, private_pem) VALUES (1, ?1)")?
            .execute([pem])?;
        Ok(())
    }

    pub(crate) fn has_user(&self, username: &str) -> rusqlite::Result<bool> {
        self.lock().prepare_cached("SELECT 1 FROM users WHERE username = ?1")?.exists([username])
    }

    /// Adds a user, unless another service on this database added one of that name meanwhile.
    pub(crate) fn add_user(&self, user: &UserSpec, password_hash: &str) -> rusqlite::Result<()> {
        let role_params = user.role.as_ref().map(|role| {
            json!({"role": role.role, "read_only": role.read_only, "federations": [], "alias": "", "resellers_wl": [], "resellers_bl": []})
        });
        self.lock()
            .prepare_cached(
                "INSERT INTO users (username, password_hash, email, user_type, is_admin, client_id, client_name, groups, role_params,
                                    sso_entity, federation_id)
                 VALUES (:username, :password_hash, :email, :user_type, :is_admin, :client_id, :client_name, :groups, :role_params,
                         :sso_entity, :federation_id)
                 ON CONFLICT (username) DO NOTHING",
            )?
            .execute(named_params! {
                ":username": user.name,
                ":password_hash": password_hash,
                ":email": user.email,
                ":user_type": user.user_type,
                ":is_admin": user.admin,
                ":client_id": user.client_id,
                ":client_name": user.client_name,
                ":groups": json!(user.groups),
                ":role_params": role_params,
                ":sso_entity": user.sso_entity,
                ":federation_id": user.federation_id,
            })?;
        Ok(())
    }

    /// The user who signs in as `login`: the username, or else the email.
    pub(crate) fn user_by_login(&self, login: &str) -> rusqlite::Result<Option<User>> {
        self.lock()
            .prepare_cached(
                "SELECT * FROM users WHERE username = ?1 OR email = ?1 ORDER BY username = ?1 DESC LIMIT 1",
            )?
            .query_row([login], User::from_row)
            .optional()
    }

    pub(crate) fn user(&self, id: i64) -> rusqlite::Result<Option<User>> {
        self.lock().prepare_cached("SELECT * FROM users WHERE id = ?1")?.query_row([id], User::from_row).optional()
    }

    /// Replaces the hash of a user's password.
    pub(crate) fn set_password(&self, id: i64, password_hash: &str) -> rusqlite::Result<()> {
        self.lock()
            .prepare_cached("UPDATE users SET password_hash = ?2 WHERE id = ?1")?
            .execute(params![id, password_hash])?;
        Ok(())
    }

    /// Checks that the database can be read and written. Rolls back what it writes.
    pub(crate) fn check(&self) -> rusqlite::Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        transaction.prepare_cached("UPDATE meta SET epoch = epoch")?.execute([])?;
        transaction.rollback()
    }

    /// How many users there are, and how many API tokens that are neither deleted nor expired.
    pub(crate) fn counts(&self, now: i64) -> rusqlite::Result<(i64, i64)> {
        let connection = self.lock();
        let count =
            |sql: &str| connection.prepare_cached(sql)?.query_row(named_params! {":now": now}, |row| row.get(0));
        Ok((
            count("SELECT count(*) FROM users WHERE :now IS NOT NULL")?,
            count("SELECT count(*) FROM tokens WHERE NOT deleted AND (exp_date IS NULL OR exp_date > :now)")?,
        ))
    }

    /// Disables or enables a user, and has gateways forget the verdicts on the user. False if there is no such user.
    pub(crate) fn set_user_disabled(&self, id: i64, disabled: bool, now: i64) -> rusqlite::Result<bool> {
        self.set_disabled("UPDATE users SET disabled = ?2 WHERE id = ?1", id, disabled, |connection| {
            crate::feed::purge_user(connection, id, now)
        })
    }

    /// Disables or enables all users of a client, and has gateways forget the verdicts on them. False if it has no user.
    pub(crate) fn set_client_disabled(&self, id: i64, disabled: bool, now: i64) -> rusqlite::Result<bool> {
        self.set_disabled("UPDATE users SET disabled = ?2 WHERE client_id = ?1", id, disabled, |connection| {
            crate::feed::purge_client(connection, id, now)
        })
    }

    fn set_disabled(
        &self,
        update: &'static str,
        id: i64,
        disabled: bool,
        purge: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<bool> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        let found = transaction.prepare_cached(update)?.execute(params![id, disabled])? > 0;
        if found {
            purge(&transaction)?;
        }
        transaction.commit()?;
        Ok(found)
    }
}

/// Turns the write-ahead log on. If another service does so at the same time, SQLite doesn't wait for the lock as it does
/// elsewhere, but returns at once that the database is busy.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + BUSY_LIMIT;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && Instant::now() < deadline => {
                std::thread::sleep(BUSY_POLL);
            }
            done => return done,
        }
    }
}

/// Creates the file with a mode that keeps others from the signing key; SQLite gives its side files the same mode.
///
/// An existing file isn't opened: closing it would release this process's locks on it.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}
