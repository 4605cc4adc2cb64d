//! What users and administrators do besides signing in: `/auth/password` and `/iam/revocations`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::app::{App, Json, bearer};
use crate::error::ApiError;
use crate::options::TokenHash;
use crate::store::{User, now};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Password {
    old_password: String,
    new_password: String,
}

/// Changes the password of the user who is signed in, and signs the user out everywhere.
pub(crate) async fn password(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    password: Result<Json<Password>, ApiError>,
) -> Result<StatusCode, ApiError> {
    let jwt = bearer(&headers)?;
    let user = app.blocking(move |app| app.signed_in(&jwt, "access")).await?;
    let Json(password) = password?;
    if password.new_password.is_empty() {
        return Err(ApiError::bad_request("new_password is empty"));
    }
    if !app.hasher.verify(user.password_hash, password.old_password).await? {
        return Err(ApiError::WrongPassword);
    }
    let hash = app.hasher.hash(TokenHash::Argon2id, password.new_password).await?;
    app.blocking(move |app| {
        app.store.set_password(user.id, &hash)?;
        sign_out(app, user.id)
    })
    .await
}

/// Signs a user out everywhere.
pub(crate) fn sign_out(app: &App, user_id: i64) -> Result<StatusCode, ApiError> {
    // One second more than the lifetime, to include tokens that are issued within this second.
    let exp_before = now() + app.access_ttl + 1;
    let refresh_exp_before = now() + app.refresh_ttl + 1;
    app.store.sign_out(user_id, exp_before, refresh_exp_before)?;
    Ok(StatusCode::NO_CONTENT)
}

/// What an administrator revokes: exactly one of `jti`, `user_id` and `token_id`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revocation {
    /// One JWT; `exp` goes with it.
    jti: Option<String>,
    exp: Option<i64>,
    /// All tokens of a user, who may sign in again.
    user_id: Option<i64>,
    /// An API token, which is deleted.
    token_id: Option<i64>,
}

pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    revocation: Result<Json<Revocation>, ApiError>,
) -> Result<StatusCode, ApiError> {
    let jwt = bearer(&headers)?;
    app.blocking(move |app| {
        let administrator: User = app.signed_in(&jwt, "access")?;
        if !administrator.is_admin {
            return Err(ApiError::NotAdministrator);
        }
        let Json(revocation) = revocation?;
        match revocation {
            Revocation { jti: Some(jti), exp: Some(exp), user_id: None, token_id: None } if !jti.is_empty() => {
                app.store.revoke(&jti, exp)?;
                Ok(StatusCode::NO_CONTENT)
            }
            Revocation { jti: None, exp: None, user_id: Some(id), token_id: None } => {
                app.store.user(id)?.ok_or(ApiError::NotFound("There is no such user"))?;
                sign_out(app, id)
            }
            Revocation { jti: None, exp: None, user_id: None, token_id: Some(id) } => {
                if app.store.delete_token(id, None, now())? {
                    Ok(StatusCode::NO_CONTENT)
                } else {
                    Err(ApiError::NotFound("There is no such token"))
                }
            }
            _ => Err(ApiError::bad_request("expected jti with exp, user_id, or token_id")),
        }
    })
    .await
}
