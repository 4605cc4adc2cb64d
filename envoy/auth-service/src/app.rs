//! What all endpoints share.

use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{FromRequest, FromRequestParts};
use axum::http::{HeaderMap, header};

use crate::error::{ApiError, Error};
use crate::hash::Hasher;
use crate::jwt::{self, Claims, Token, TokenType};
use crate::keys::Key;
use crate::options::TokenHash;
use crate::status::Metrics;
use crate::store::{Store, User, now};

/// The state of the service.
pub(crate) struct App {
    pub(crate) store: Arc<Store>,
    pub(crate) hasher: Hasher,
    pub(crate) token_hash: TokenHash,
    /// Seconds.
    pub(crate) access_ttl: i64,
    /// Seconds.
    pub(crate) refresh_ttl: i64,
    /// The key of the last signature or check, read from its PEM.
    pub(crate) key: RwLock<Arc<Key>>,
    pub(crate) metrics: Metrics,
}

impl App {
    /// The current signing key, read from the database: another service on it may have rotated the key.
    pub(crate) fn key(&self) -> Result<Arc<Key>, Error> {
        let known = Arc::clone(&self.key.read().unwrap_or_else(PoisonError::into_inner));
        match self.store.private_key()? {
            Some(pem) if pem != known.private_pem => {
                let key = Arc::new(Key::from_pem(&pem)?);
                *self.key.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&key);
                Ok(key)
            }
            _ => Ok(known),
        }
    }

    /// Runs work that waits for the database or signs, off the async threads.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let app = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&app)).await.map_err(|error| Error::Task(error.to_string()))?
    }

    /// The expiry of an access token that is issued now: late enough that the last sign-out doesn't revoke it.
    pub(crate) fn access_exp(&self, user: &User) -> i64 {
        (now() + self.access_ttl).max(user.exp_before)
    }

    /// Signs an access token.
    pub(crate) fn access_token(&self, user: &User) -> Result<String, Error> {
        Claims::new(user, TokenType::Access, self.access_exp(user)).sign(&*self.key()?)
    }

    /// Signs a refresh token.
    pub(crate) fn refresh_token(&self, user: &User) -> Result<String, Error> {
        let exp = (now() + self.refresh_ttl).max(user.refresh_exp_before);
        Claims::new(user, TokenType::Refresh, exp).sign(&*self.key()?)
    }

    /// Reads a JWT that has one of these types and isn't revoked, and whose user isn't disabled.
    pub(crate) fn check_jwt(&self, jwt: &str, token_types: &[&str]) -> Result<Token, ApiError> {
        let token = jwt::read(jwt, &*self.key()?, now())?;
        if !token_types.contains(&token.token_type.as_str()) {
            return Err(ApiError::Unauthorized("Tokens of this type are not accepted here"));
        }
        if self.store.is_revoked(&token)? {
            return Err(ApiError::Unauthorized("Token has been revoked"));
        }
        if self.store.user(token.user_id)?.is_some_and(|user| user.disabled) {
            return Err(ApiError::Disabled);
        }
        Ok(token)
    }

    /// The user to whom a JWT of this type belongs.
    pub(crate) fn signed_in(&self, jwt: &str, token_type: &str) -> Result<User, ApiError> {
        let token = self.check_jwt(jwt, &[token_type])?;
        self.store.user(token.user_id)?.ok_or(ApiError::Unauthorized("Token belongs to an unknown user"))
    }
}

/// The one `Authorization` of a request.
pub(crate) fn authorization(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(ApiError::Unauthorized("Authorization is missing"))?;
    if values.next().is_some() {
        return Err(ApiError::Unauthorized("Authorization is given more than once"));
    }
    value.to_str().map_err(|_| ApiError::Unauthorized("Authorization is malformed"))
}

/// The credential of a request's `Authorization: Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<String, ApiError> {
    match authorization(headers)?.split_once(' ') {
        Some((scheme, jwt)) if scheme.eq_ignore_ascii_case("bearer") => Ok(jwt.to_owned()),
        _ => Err(ApiError::Unauthorized("Authorization is not a Bearer token")),
    }
}

/// A JSON body whose errors are answered as an `ApiError`.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(ApiError))]
pub(crate) struct Json<T>(pub(crate) T);

/// A query whose errors are answered as an `ApiError`.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub(crate) struct Query<T>(pub(crate) T);
