//! `/auth/jwt/*`, `/auth/blacklist` and `/iam/public-key`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admin::sign_out;
use crate::app::{App, Json, Query, bearer};
use crate::error::ApiError;
use crate::options::TokenHash;
use crate::store::now;

pub(crate) async fn public_key(State(app): State<Arc<App>>) -> Result<axum::Json<Value>, ApiError> {
    app.blocking(|app| Ok(axum::Json(json!({"public_key": app.key()?.public_pem})))).await
}

#[derive(Deserialize)]
pub(crate) struct Login {
    username: String,
    password: String,
}

pub(crate) async fn login(
    State(app): State<Arc<App>>,
    Json(login): Json<Login>,
) -> Result<axum::Json<Value>, ApiError> {
    let user = app.blocking(move |app| Ok(app.store.user_by_login(&login.username)?)).await?;
    let Some(user) = user else {
        // As slow as a wrong password, so that the time doesn't reveal which names exist.
        app.hasher.hash(TokenHash::Argon2id, login.password).await?;
        return Err(ApiError::WrongPassword);
    };
    if !app.hasher.verify(user.password_hash.clone(), login.password).await? {
        return Err(ApiError::WrongPassword);
    }
    if user.disabled {
        return Err(ApiError::Disabled);
    }
    app.blocking(move |app| {
        let (access, refresh) = (app.access_token(&user)?, app.refresh_token(&user)?);
        Ok(axum::Json(json!({"access": access, "refresh": refresh, "expires_in": app.access_ttl})))
    })
    .await
}

pub(crate) async fn refresh(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<axum::Json<Value>, ApiError> {
    let jwt = bearer(&headers)?;
    app.blocking(move |app| {
        let user = app.signed_in(&jwt, "refresh")?;
        Ok(axum::Json(json!({"access": app.access_token(&user)?, "expires_in": app.access_ttl})))
    })
    .await
}

#[derive(Deserialize)]
pub(crate) struct Logout {
    #[serde(default)]
    everywhere: bool,
}

/// Revokes the access or refresh token of the request, or all tokens of its user.
pub(crate) async fn logout(
    State(app): State<Arc<App>>,
    Query(query): Query<Logout>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let jwt = bearer(&headers)?;
    app.blocking(move |app| {
        let token = app.check_jwt(&jwt, &["access", "refresh"])?;
        let jti = token.jti.ok_or(ApiError::Unauthorized("Token has no jti to revoke"))?;
        app.store.revoke(&jti, token.exp)?;
        if query.everywhere {
            sign_out(app, token.user_id)?;
        }
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

#[derive(Deserialize)]
pub(crate) struct Since {
    since: Option<String>,
}

pub(crate) async fn blacklist(
    State(app): State<Arc<App>>,
    Query(query): Query<Since>,
) -> Result<axum::Json<Value>, ApiError> {
    app.blocking(move |app| Ok(axum::Json(app.store.revoked_since(query.since.as_deref(), now())?))).await
}
