//! `/health`, `/readiness`, `/metrics` and `/openapi.yaml`.

use std::fmt;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use crate::app::App;
use crate::error::{ApiError, Error};
use crate::store::now;

/// What the service offers, as OpenAPI 3.
const OPENAPI: &str = include_str!("../openapi.yaml");

/// Answers as long as the process serves.
pub(crate) async fn health() -> axum::Json<Value> {
    axum::Json(json!({"status": "ok"}))
}

/// 200 if the database can be read and written, else 503.
pub(crate) async fn readiness(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    app.blocking(|app| {
        Ok(match app.store.check() {
            Ok(()) => axum::Json(json!({"status": "ready"})).into_response(),
            Err(error) => {
                eprintln!("auth-service: not ready: {error}");
                let body = axum::Json(json!({"status": "not_ready", "reason": "database"}));
                (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
            }
        })
    })
    .await
}

pub(crate) async fn openapi() -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "application/yaml")], OPENAPI)
}

/// The labels of a counted request: its route and not its path, so that no client can add a series.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Served {
    route: String,
    status: u16,
}

impl EncodeLabelSet for Served {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        [("route", self.route.clone()), ("status", self.status.to_string())].encode(encoder)
    }
}

/// What the service counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Served, Counter>,
    users: Gauge,
    tokens: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("auth_service");
        let (requests, users, tokens) = (Family::default(), Gauge::default(), Gauge::default());
        registry.register("requests", "Answered requests by route and status", Family::clone(&requests));
        registry.register("users", "Users", Gauge::clone(&users));
        registry.register("api_tokens", "API tokens that are neither deleted nor expired", Gauge::clone(&tokens));
        Self { registry, requests, users, tokens }
    }
}

/// Counts a request when it has been answered.
pub(crate) async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    app.metrics.requests.get_or_create(&Served { route, status: response.status().as_u16() }).inc();
    response
}

pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Result<impl IntoResponse, ApiError> {
    app.blocking(|app| {
        let (users, tokens) = app.store.counts(now())?;
        app.metrics.users.set(users);
        app.metrics.tokens.set(tokens);
        let mut text = String::new();
        encode(&mut text, &app.metrics.registry).map_err(|error| Error::Metrics(error.to_string()))?;
        Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
    })
    .await
}
