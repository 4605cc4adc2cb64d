//! `auth-service tokens …`: API tokens from the command line, without a server.

use std::io::{self, Write};

use clap::{Subcommand, ValueEnum};
use serde_json::json;

use crate::error::{ApiError, Error};
use crate::hash::Hasher;
use crate::options::TokenHash;
use crate::store::{Store, now};
use crate::tokens::{check_name, exp_date, new_secret, rfc3339};
use crate::tokens_store::{Filter, NewToken, TokenRow};

const DAY: i64 = 86_400;

/// What to do instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Manage the API tokens in the database
    Tokens {
        /// The output format
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        /// What to do
        #[command(subcommand)]
        action: Action,
    },
}

/// How tokens are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns
    Table,
    /// One JSON object per line
    Json,
}

/// What to do with API tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// List the tokens that aren't deleted
    List,
    /// Create a token and print it; its secret part is shown only now
    Create {
        /// The user's name or email
        #[arg(long)]
        user: String,
        /// The token's name
        #[arg(long)]
        name: String,
        /// The expiry date in RFC 3339 format; without it the token never expires
        #[arg(long)]
        exp_date: Option<String>,
    },
    /// Delete a token; gateways discard their verdicts on it at their next poll
    Revoke {
        /// The token's number
        id: i64,
    },
    /// List the tokens that expire soon
    Expiring {
        /// Within how long from now, such as 14d, 12h or 30m
        #[arg(long, value_parser = duration)]
        within: i64,
    },
}

/// Parses a number with `d`, `h` or `m` as seconds.
fn duration(text: &str) -> Result<i64, String> {
    let seconds = match text.char_indices().next_back() {
        Some((end, unit)) => {
            let unit = match unit {
                'd' => DAY,
                'h' => 3600,
                'm' => 60,
                _ => 0,
            };
            text.get(..end).and_then(|number| number.parse::<u32>().ok()).map(|number| i64::from(number) * unit)
        }
        None => None,
    };
    seconds.filter(|seconds| *seconds > 0).ok_or_else(|| format!("{text:?} is not a duration: write 14d, 12h or 30m"))
}

impl Command {
    /// Runs the command on the database at this path, which has to exist.
    ///
    /// # Errors
    /// When the database or the output fails, or an argument is invalid.
    pub async fn run(self, db: &str, token_hash: TokenHash) -> Result<(), Error> {
        let Self::Tokens { format, action } = self;
        if !std::path::Path::new(db).is_file() {
            return Err(Error::Command(format!("--db {db}: there is no such database")));
        }
        let store = Store::open(db)?;
        match action {
            Action::List => {
                let filter = Filter { owner: None, deleted: false, expired: None, name: None, user_email: None };
                print(&store.tokens(&filter, "t.id", i64::MAX, 0, now())?.1, format)
            }
            Action::Expiring { within } => print(&store.expiring_tokens(now(), now().saturating_add(within))?, format),
            Action::Revoke { id } => {
                let found = store.delete_token(id, None, now())?;
                if found { Ok(()) } else { Err(Error::Command(format!("there is no token {id}"))) }
            }
            Action::Create { user, name, exp_date: text } => {
                let refused = |error: ApiError| Error::Command(error.to_string());
                check_name(&name).map_err(refused)?;
                let exp_date = text.as_deref().map(exp_date).transpose().map_err(refused)?;
                let owner = store.user_by_login(&user)?;
                let owner = owner.ok_or_else(|| Error::Command(format!("there is no user {user}")))?;
                let secret = new_secret();
                let hash = Hasher::new().hash(token_hash, secret.clone()).await?;
                let new = NewToken { user_id: owner.id, name, description: String::new(), hash, exp_date };
                let row = store.add_token(new, owner.email, now())?;
                Ok(writeln!(io::stdout(), "{}${secret}", row.id)?)
            }
        }
    }
}

/// Prints tokens, never a hash.
fn print(rows: &[TokenRow], format: Format) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    if format == Format::Table {
        writeln!(out, "{:<10} {:<30} {:<30} {:<20} LAST USED", "ID", "NAME", "USER", "EXPIRES")?;
    }
    for row in rows {
        let date = |seconds: Option<i64>| seconds.and_then(rfc3339);
        let (expires, used) = (date(row.exp_date), date(row.last_usage));
        if format == Format::Json {
            let token = json!({
                "id": row.id, "name": row.name, "user_email": row.user_email, "exp_date": expires, "last_usage": used,
            });
            writeln!(out, "{token}")?;
        } else {
            let (expires, used) = (expires.unwrap_or_else(|| "never".into()), used.unwrap_or_else(|| "never".into()));
            // A name may hold anything; a terminal must not act on it.
            let name: String = row.name.escape_debug().collect();
            writeln!(out, "{:<10} {name:<30} {:<30} {expires:<20} {used}", row.id, row.user_email)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_unit() {
        assert_eq!([duration("14d"), duration("12h"), duration("30m")], [Ok(14 * DAY), Ok(12 * 3600), Ok(1800)]);
        for text in ["", "14", "d", "-1d", "0d", "1w", "99999999999d", "1 d", "д"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }
}
