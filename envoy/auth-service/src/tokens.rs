//! `/iam/tokens`: API tokens.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use rand::Rng;
use rand::rngs::OsRng;
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::app::{App, Json, Query, bearer};
use crate::error::ApiError;
use crate::store::{User, now};
use crate::tokens_store::{Filter, NewToken, TokenRow};

const SECRET_LENGTH: usize = 128;
const SECRET_ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const MAX_NAME: usize = 255;
const MAX_LIMIT: i64 = 1000;

/// The number and the secret of an API token: `^(0|[1-9][0-9]{0,18})\$[0-9a-z]{128}$`. A number has one spelling.
pub(crate) fn parse(token: &str) -> Option<(i64, &str)> {
    let (id, secret) = token.split_once('$')?;
    let good = id.bytes().all(|byte| byte.is_ascii_digit())
        && (id == "0" || !id.starts_with('0'))
        && secret.len() == SECRET_LENGTH
        && secret.bytes().all(|byte| SECRET_ALPHABET.contains(&byte));
    if good { Some((id.parse().ok()?, secret)) } else { None }
}

/// A new secret part of an API token.
pub(crate) fn new_secret() -> String {
    (0..SECRET_LENGTH).map(|_| char::from(SECRET_ALPHABET[OsRng.gen_range(0..SECRET_ALPHABET.len())])).collect()
}

/// An API token in an answer.
#[derive(Serialize)]
pub(crate) struct TokenView {
    id: i64,
    name: String,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    exp_date: Option<String>,
    created: Option<String>,
    user_id: i64,
    user_email: String,
    last_usage: Option<String>,
}

pub(crate) fn rfc3339(seconds: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()
}

impl From<TokenRow> for TokenView {
    fn from(row: TokenRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            description: row.description,
            token: None,
            exp_date: row.exp_date.and_then(rfc3339),
            created: rfc3339(row.created),
            user_id: row.user_id,
            user_email: row.user_email,
            last_usage: row.last_usage.and_then(rfc3339),
        }
    }
}

/// The user whose tokens a user may see; `None` means everybody's.
fn owner(user: &User) -> Option<i64> {
    if user.is_admin { None } else { Some(user.id) }
}

fn token_id(path: Result<Path<i64>, PathRejection>) -> Result<i64, ApiError> {
    path.map(|Path(id)| id).map_err(|_| ApiError::NotFound("There is no such token"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Create {
    name: String,
    #[serde(default)]
    description: String,
    exp_date: Option<String>,
}

/// Parses an `exp_date` as seconds since 1970. It has to be in the future.
pub(crate) fn exp_date(text: &str) -> Result<i64, ApiError> {
    let date =
        OffsetDateTime::parse(text, &Rfc3339).map_err(|_| ApiError::bad_request("exp_date is not an RFC 3339 date"))?;
    if date.unix_timestamp() <= now() {
        return Err(ApiError::bad_request("exp_date is not in the future"));
    }
    Ok(date.unix_timestamp())
}

pub(crate) fn check_name(name: &str) -> Result<(), ApiError> {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME {
        return Err(ApiError::bad_request("name is empty or longer than 255 characters"));
    }
    Ok(())
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    create: Result<Json<Create>, ApiError>,
) -> Result<(StatusCode, axum::Json<TokenView>), ApiError> {
    let jwt = bearer(&headers)?;
    let user = app.blocking(move |app| app.signed_in(&jwt, "access")).await?;
    let Json(create) = create?;
    check_name(&create.name)?;
    let exp_date = create.exp_date.as_deref().map(exp_date).transpose()?;
    let secret = new_secret();
    let hash = app.hasher.hash(app.token_hash, secret.clone()).await?;
    app.blocking(move |app| {
        let new = NewToken { user_id: user.id, name: create.name, description: create.description, hash, exp_date };
        let row = app.store.add_token(new, user.email, now())?;
        let token = Some(format!("{}${secret}", row.id));
        Ok((StatusCode::CREATED, axum::Json(TokenView { token, ..row.into() })))
    })
    .await
}

#[derive(Deserialize)]
pub(crate) struct List {
    #[serde(default = "default_limit")]
    limit: i64,
    #[serde(default)]
    offset: i64,
    #[serde(default)]
    deleted: bool,
    expired: Option<bool>,
    name: Option<String>,
    user_email: Option<String>,
    ordering: Option<String>,
}

fn default_limit() -> i64 {
    20
}

/// A page of a list.
#[derive(Serialize)]
pub(crate) struct Page {
    count: i64,
    next: Option<String>,
    previous: Option<String>,
    results: Vec<TokenView>,
}

/// The `ORDER BY` of an `ordering`. Tokens without the date come last in either direction.
fn order(ordering: Option<&str>) -> Result<&'static str, ApiError> {
    Ok(match ordering.unwrap_or("id") {
        "id" => "t.id",
        "-id" => "t.id DESC",
        "created" => "t.created, t.id",
        "-created" => "t.created DESC, t.id DESC",
        "exp_date" => "t.exp_date NULLS LAST, t.id",
        "-exp_date" => "t.exp_date DESC NULLS LAST, t.id DESC",
        "last_usage" => "t.last_usage NULLS LAST, t.id",
        "-last_usage" => "t.last_usage DESC NULLS LAST, t.id DESC",
        _ => {
            return Err(ApiError::bad_request(
                "ordering must be id, created, exp_date or last_usage, with - before it to reverse it",
            ));
        }
    })
}

/// The address of another page: the request's own query with another offset.
fn page_address(query: &str, limit: i64, offset: i64) -> String {
    let mut address = format!("/iam/tokens?limit={limit}&offset={offset}");
    for field in query.split('&') {
        let name = field.split('=').next().unwrap_or_default();
        if !matches!(name, "" | "limit" | "offset") {
            address.push('&');
            address.push_str(field);
        }
    }
    address
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Query(list): Query<List>,
    RawQuery(query): RawQuery,
) -> Result<axum::Json<Page>, ApiError> {
    let jwt = bearer(&headers)?;
    app.blocking(move |app| {
        let user = app.signed_in(&jwt, "access")?;
        let (limit, offset) = (list.limit, list.offset);
        if !(1..=MAX_LIMIT).contains(&limit) || offset < 0 {
            return Err(ApiError::bad_request("limit must be 1 to 1000, and offset must not be negative"));
        }
        let order = order(list.ordering.as_deref())?;
        let filter = Filter {
            owner: owner(&user),
            deleted: list.deleted,
            expired: list.expired,
            name: list.name,
            user_email: list.user_email,
        };
        let (count, rows) = app.store.tokens(&filter, order, limit, offset, now())?;
        let query = query.unwrap_or_default();
        let next = offset.saturating_add(limit);
        Ok(axum::Json(Page {
            count,
            next: (next < count).then(|| page_address(&query, limit, next)),
            previous: (offset > 0).then(|| page_address(&query, limit, (offset - limit).max(0))),
            results: rows.into_iter().map(TokenView::from).collect(),
        }))
    })
    .await
}

pub(crate) async fn read(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    id: Result<Path<i64>, PathRejection>,
) -> Result<axum::Json<TokenView>, ApiError> {
    let jwt = bearer(&headers)?;
    app.blocking(move |app| {
        let user = app.signed_in(&jwt, "access")?;
        let row = app.store.token(token_id(id)?, owner(&user))?.ok_or(ApiError::NotFound("There is no such token"))?;
        Ok(axum::Json(row.into()))
    })
    .await
}

/// Changes to a token. Absent fields stay as they are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    name: Option<String>,
    description: Option<String>,
    /// Null means that the token never expires.
    #[serde(default, deserialize_with = "present")]
    exp_date: Option<Option<String>>,
}

/// Tells a null from an absent field.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

pub(crate) async fn change(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    id: Result<Path<i64>, PathRejection>,
    change: Result<Json<Change>, ApiError>,
) -> Result<axum::Json<TokenView>, ApiError> {
    let jwt = bearer(&headers)?;
    app.blocking(move |app| {
        let user = app.signed_in(&jwt, "access")?;
        let Json(change) = change?;
        let missing = || ApiError::NotFound("There is no such token");
        let mut row = app.store.token(token_id(id)?, owner(&user))?.ok_or_else(missing)?;
        if let Some(name) = change.name {
            check_name(&name)?;
            row.name = name;
        }
        row.description = change.description.unwrap_or(row.description);
        if let Some(text) = change.exp_date {
            row.exp_date = text.as_deref().map(exp_date).transpose()?;
        }
        if app.store.change_token(&row, now())? { Ok(axum::Json(row.into())) } else { Err(missing()) }
    })
    .await
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    id: Result<Path<i64>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    let jwt = bearer(&headers)?;
    app.blocking(move |app| {
        let user = app.signed_in(&jwt, "access")?;
        if app.store.delete_token(token_id(id)?, owner(&user), now())? {
            Ok(StatusCode::NO_CONTENT)
        } else {
            Err(ApiError::NotFound("There is no such token"))
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_secret_makes_a_well_formed_token() {
        let secret = new_secret();
        assert_eq!(parse(&format!("24126${secret}")), Some((24126, secret.as_str())));
        assert_ne!(secret, new_secret());
        assert_eq!(parse(&format!("0${secret}")), Some((0, secret.as_str())));
        assert_eq!(parse(&format!("{}${secret}", i64::MAX)), Some((i64::MAX, secret.as_str())));
    }

    #[test]
    fn a_token_of_another_format_is_refused() {
        let secret = "a".repeat(128);
        for token in [
            String::new(),
            secret.clone(),
            format!("${secret}"),
            format!("01${secret}"),
            format!("00${secret}"),
            format!("9223372036854775808${secret}"),
            format!("x${secret}"),
            format!("+1${secret}"),
            format!("1${secret}a"),
            format!("1${}", &secret[1..]),
            format!("1${}A", &secret[1..]),
            format!("1${}\n", &secret[1..]),
            format!("99999999999999999999${secret}"),
        ] {
            assert_eq!(parse(&token), None, "{token}");
        }
    }

    #[test]
    fn the_address_of_a_page_keeps_the_filters() {
        assert_eq!(
            page_address("offset=2&name=a%20b&limit=2&expired=false", 2, 4),
            "/iam/tokens?limit=2&offset=4&name=a%20b&expired=false"
        );
        assert_eq!(page_address("", 20, 20), "/iam/tokens?limit=20&offset=20");
    }
}
