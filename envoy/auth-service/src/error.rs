//! Errors of startup and of requests.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why the service doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address can't be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// The database can't be opened or used.
    #[error("database: {0}")]
    Store(#[from] rusqlite::Error),
    /// The system refuses a file, a signal handler or an output.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The RSA key can't be made, read, written or used.
    #[error("signing key: {0}")]
    Key(String),
    /// A password or token can't be hashed, or its stored hash is broken.
    #[error("hash: {0}")]
    Hash(argon2::password_hash::Error),
    /// Stored or issued JSON is broken.
    #[error("json: {0}")]
    Json(#[from] serde_json::Error),
    /// A command can't be carried out.
    #[error("{0}")]
    Command(String),
    /// The metrics can't be written.
    #[error("metrics: {0}")]
    Metrics(String),
    /// A background task panicked or was cancelled.
    #[error("background task: {0}")]
    Task(String),
}

impl From<argon2::password_hash::Error> for Error {
    fn from(error: argon2::password_hash::Error) -> Self {
        Self::Hash(error)
    }
}

/// Why a request is refused; answered as `{"error", "details"}`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("{0}")]
    BadRequest(String),
    /// The body isn't what the endpoint takes.
    #[error("{1}")]
    Body(StatusCode, String),
    #[error("{0}")]
    Unauthorized(&'static str),
    #[error("Username or password is wrong")]
    WrongPassword,
    #[error("User is disabled")]
    Disabled,
    #[error("Only an administrator may do this")]
    NotAdministrator,
    #[error("{0}")]
    NotFound(&'static str),
    #[error("This path does not take this method")]
    MethodNotAllowed,
    #[error("The service could not answer")]
    Internal(#[from] Error),
}

impl ApiError {
    pub(crate) fn bad_request(details: impl Into<String>) -> Self {
        Self::BadRequest(details.into())
    }
}

impl From<rusqlite::Error> for ApiError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Internal(error.into())
    }
}

impl From<serde_json::Error> for ApiError {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(error.into())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::BadRequest(rejection.body_text())
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        match rejection.status() {
            StatusCode::UNPROCESSABLE_ENTITY => Self::BadRequest(rejection.body_text()),
            status => Self::Body(status, rejection.body_text()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, error) = match &self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "Bad request"),
            Self::Body(status, _) => (*status, "Bad request"),
            Self::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "Invalid token"),
            Self::WrongPassword => (StatusCode::UNAUTHORIZED, "Invalid credentials"),
            Self::Disabled | Self::NotAdministrator => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "Not found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
            Self::Internal(source) => {
                eprintln!("auth-service: {source}");
                (StatusCode::INTERNAL_SERVER_ERROR, "Internal error")
            }
        };
        let body = Json(json!({"error": error, "details": self.to_string()}));
        let mut response = (status, body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
