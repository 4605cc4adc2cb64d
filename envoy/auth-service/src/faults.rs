//! `/faults`: broken answers on demand, counters, and what else only tests may ask for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::{self, StreamExt};
use rsa::sha2::{Digest, Sha256};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::app::{App, Json};
use crate::error::{ApiError, Error};
use crate::keys::Key;
use crate::store::now;

/// The endpoint that a request is counted for, and that a fault applies to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
enum Endpoint {
    Verify,
    PublicKey,
    Login,
    Refresh,
    Logout,
    Blacklist,
    Tokens,
    Health,
    Other,
    /// All endpoints that have no fault of their own.
    All,
}

const COUNTED: [Endpoint; 9] = [
    Endpoint::Verify,
    Endpoint::PublicKey,
    Endpoint::Login,
    Endpoint::Refresh,
    Endpoint::Logout,
    Endpoint::Blacklist,
    Endpoint::Tokens,
    Endpoint::Health,
    Endpoint::Other,
];

impl Endpoint {
    fn of(path: &str) -> Self {
        match path {
            "/auth/verify" => Self::Verify,
            "/iam/public-key" => Self::PublicKey,
            "/auth/jwt/login" => Self::Login,
            "/auth/jwt/refresh" => Self::Refresh,
            "/auth/jwt/logout" => Self::Logout,
            "/auth/blacklist" => Self::Blacklist,
            "/health" => Self::Health,
            _ if path == "/iam/tokens" || path.starts_with("/iam/tokens/") => Self::Tokens,
            _ => Self::Other,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// No fault: the service answers.
    #[default]
    None,
    /// The service answers after the delay.
    Delay,
    /// A status (default 500) with an error body.
    Status,
    /// The connection is closed before any answer.
    Reset,
    /// The connection is closed within the body.
    ResetMidBody,
    /// 200 with a meaningless body.
    Garbage,
    /// 200 with a very long body.
    Huge,
    /// Exactly this status (default 200), headers and body.
    Raw,
}

/// A fault, as tests describe it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    on: Endpoint,
    #[serde(default)]
    kind: Kind,
    /// Delays every kind of answer, in milliseconds.
    #[serde(default)]
    delay_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// The size of a huge body.
    #[serde(default = "default_megabytes")]
    megabytes: u64,
    /// How many requests it applies to; if absent, all until it is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
}

fn default_megabytes() -> u64 {
    50
}

/// Marks an answer that is replaced by closing the connection.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the connection is reset on demand")]
pub(crate) struct Reset;

#[derive(Default)]
struct Counters {
    requests: BTreeMap<Endpoint, u64>,
    /// Verifications by the fingerprint of the credential: the first 8 hex digits of its SHA-256.
    credentials: BTreeMap<String, u64>,
    verify_in_flight: u64,
    verify_peak_in_flight: u64,
}

pub(crate) struct Faults {
    faults: Mutex<BTreeMap<Endpoint, Fault>>,
    counters: Mutex<Counters>,
    /// The key for the next rotation, made ahead because that takes a while.
    next_key: tokio::sync::Mutex<oneshot::Receiver<Result<Key, Error>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a key on a thread of its own, so that the service can stop without waiting for it.
fn generate_key() -> oneshot::Receiver<Result<Key, Error>> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || drop(sender.send(Key::generate())));
    receiver
}

impl Faults {
    pub(crate) fn new() -> Self {
        Self { faults: Mutex::default(), counters: Mutex::default(), next_key: tokio::sync::Mutex::new(generate_key()) }
    }

    /// The fault for a request to this endpoint. Uses up one of its `times`.
    fn take(&self, endpoint: Endpoint) -> Option<Fault> {
        let mut faults = lock(&self.faults);
        let on = if faults.contains_key(&endpoint) { endpoint } else { Endpoint::All };
        let fault = faults.get_mut(&on)?;
        let taken = fault.clone();
        match &mut fault.times {
            Some(0 | 1) => drop(faults.remove(&on)),
            Some(times) => *times -= 1,
            None => {}
        }
        Some(taken)
    }
}

/// Counts one verification as in flight until it is dropped.
struct InFlight(Arc<Faults>);

impl InFlight {
    fn new(faults: &Arc<Faults>) -> Self {
        let mut counters = lock(&faults.counters);
        counters.verify_in_flight += 1;
        counters.verify_peak_in_flight = counters.verify_peak_in_flight.max(counters.verify_in_flight);
        Self(Arc::clone(faults))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        lock(&self.0.counters).verify_in_flight -= 1;
    }
}

/// Identifies the credential of a request without revealing it. The scheme, if there is one, doesn't count.
fn fingerprint(headers: &HeaderMap) -> String {
    let value = headers.get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    let credential = value.splitn(2, |byte| *byte == b' ').last().unwrap_or_default();
    Sha256::digest(credential).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// Counts a request and applies its fault, unless the request is for `/faults` itself.
pub(crate) async fn intercept(State(faults): State<Arc<Faults>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == "/faults" || path.starts_with("/faults/") {
        return next.run(request).await;
    }
    let endpoint = Endpoint::of(path);
    *lock(&faults.counters).requests.entry(endpoint).or_default() += 1;
    if endpoint == Endpoint::Verify {
        let credential = fingerprint(request.headers());
        *lock(&faults.counters).credentials.entry(credential).or_default() += 1;
    }
    let _in_flight = (endpoint == Endpoint::Verify).then(|| InFlight::new(&faults));
    let Some(fault) = faults.take(endpoint) else { return next.run(request).await };
    if fault.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    }
    match fault.answer() {
        Some(Ok(response)) => response,
        Some(Err(error)) => error.into_response(),
        None => next.run(request).await,
    }
}

impl Fault {
    /// The broken answer; `None` means that the service answers.
    fn answer(&self) -> Option<Result<Response, ApiError>> {
        Some(match self.kind {
            Kind::None | Kind::Delay => return None,
            Kind::Status => {
                self.given(500, &json!({"error": "Injected fault", "details": "A test asked for it"}).to_string())
            }
            Kind::Raw => self.given(200, ""),
            Kind::Reset => {
                let mut response = Response::default();
                response.extensions_mut().insert(Reset);
                Ok(response)
            }
            Kind::ResetMidBody => {
                let length = [(header::CONTENT_LENGTH, HeaderValue::from_static("1000"))];
                Ok(json_body(breaks_off_after(Bytes::from_static(b"{\"exp\": 1")), &length))
            }
            Kind::Garbage => {
                Ok(json_body(Body::from(&b"\xff\xfe\x00\x80{\x01\xc3\x28.\xf8\x88\x00.\r\n\xed\xa0\x80"[..]), &[]))
            }
            Kind::Huge => {
                let megabyte = Bytes::from(vec![b'x'; 1 << 20]);
                let chunks = (0..self.megabytes).map(move |_| Ok::<_, Reset>(megabyte.clone()));
                Ok(json_body(Body::from_stream(stream::iter(chunks)), &[]))
            }
        })
    }

    /// The fault's status, headers and body; the arguments are the defaults of status and body.
    fn given(&self, status: u16, body: &str) -> Result<Response, ApiError> {
        let refused = |what| ApiError::bad_request(format!("{what} is not valid in an answer"));
        let status = self.status.unwrap_or(status);
        if !(200..=999).contains(&status) {
            return Err(refused("status"));
        }
        let body = match (&self.body, &self.body_base64) {
            (None, None) => Bytes::copy_from_slice(body.as_bytes()),
            (Some(text), None) => Bytes::copy_from_slice(text.as_bytes()),
            (None, Some(base64)) => STANDARD.decode(base64).map_err(|_| refused("body_base64"))?.into(),
            (Some(_), Some(_)) => return Err(ApiError::bad_request("body and body_base64 exclude each other")),
        };
        let length_given = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let body = if length_given { breaks_off_after(body) } else { Body::from(body) };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).map_err(|_| refused("status"))?;
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused("a header's name"))?;
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| refused("a header's value"))?;
            response.headers_mut().append(name, value);
        }
        Ok(response)
    }
}

/// A body that may be shorter than its `Content-Length`: if so, the connection is closed after these bytes.
fn breaks_off_after(bytes: Bytes) -> Body {
    let end = async {
        tokio::task::yield_now().await; // lets the bytes be sent first
        Err(Reset)
    };
    Body::from_stream(stream::once(async { Ok(bytes) }).chain(stream::once(end)))
}

fn json_body(body: Body, headers: &[(HeaderName, HeaderValue)]) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().extend(headers.iter().cloned());
    response
}

#[derive(Clone)]
struct Control {
    app: Arc<App>,
    faults: Arc<Faults>,
}

pub(crate) fn router(app: Arc<App>, faults: Arc<Faults>) -> Router {
    Router::new()
        .route("/faults", get(show).put(set))
        .route("/faults/counters", get(counters))
        .route("/faults/counters/reset", post(reset_counters))
        .route("/faults/rotate", post(rotate))
        .route("/faults/private-key", get(private_key))
        .route("/faults/users/{id}", put(set_user))
        .route("/faults/clients/{id}", put(set_client))
        .with_state(Control { app, faults })
}

async fn show(State(control): State<Control>) -> axum::Json<Vec<Fault>> {
    axum::Json(lock(&control.faults.faults).values().cloned().collect())
}

/// Replaces the endpoint's fault. A fault for all endpoints replaces every other.
async fn set(State(control): State<Control>, Json(fault): Json<Fault>) -> Result<StatusCode, ApiError> {
    if let Some(Err(error)) = fault.answer() {
        return Err(error);
    }
    let mut faults = lock(&control.faults.faults);
    if fault.on == Endpoint::All {
        faults.clear();
    }
    let nothing = fault.kind == Kind::None && fault.delay_ms == 0;
    if fault.times == Some(0) || (nothing && !faults.contains_key(&Endpoint::All)) {
        faults.remove(&fault.on);
    } else {
        faults.insert(fault.on, fault);
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn counters(State(control): State<Control>) -> axum::Json<BTreeMap<String, Value>> {
    let counters = lock(&control.faults.counters);
    let mut shown: BTreeMap<String, Value> = COUNTED
        .iter()
        .filter_map(|endpoint| {
            let Ok(Value::String(name)) = serde_json::to_value(endpoint) else { return None };
            Some((name, json!(counters.requests.get(endpoint).copied().unwrap_or(0))))
        })
        .collect();
    shown.insert("verify_in_flight".to_owned(), json!(counters.verify_in_flight));
    shown.insert("verify_peak_in_flight".to_owned(), json!(counters.verify_peak_in_flight));
    shown.insert("verify_by_credential".to_owned(), json!(counters.credentials));
    axum::Json(shown)
}

async fn reset_counters(State(control): State<Control>) -> StatusCode {
    let mut counters = lock(&control.faults.counters);
    let under_way = counters.verify_in_flight;
    *counters = Counters { verify_in_flight: under_way, verify_peak_in_flight: under_way, ..Counters::default() };
    StatusCode::NO_CONTENT
}

async fn rotate(State(control): State<Control>) -> Result<axum::Json<Value>, ApiError> {
    let mut next = control.faults.next_key.lock().await;
    let made = (&mut *next).await;
    *next = generate_key();
    drop(next);
    let key = made.map_err(|error| Error::Task(error.to_string()))??;
    let public_pem = key.public_pem.clone();
    control.app.blocking(move |app| Ok(app.store.set_private_key(&key.private_pem)?)).await?;
    Ok(axum::Json(json!({"public_key": public_pem})))
}

async fn private_key(State(control): State<Control>) -> Result<String, ApiError> {
    control.app.blocking(|app| Ok(app.key()?.private_pem.clone())).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    disabled: bool,
}

async fn set_user(
    State(control): State<Control>,
    id: Result<Path<i64>, PathRejection>,
    Json(change): Json<Change>,
) -> Result<StatusCode, ApiError> {
    let unknown = || ApiError::NotFound("There is no such user");
    let Path(id) = id.map_err(|_| unknown())?;
    let found = control.app.blocking(move |app| Ok(app.store.set_user_disabled(id, change.disabled, now())?)).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(unknown()) }
}

async fn set_client(
    State(control): State<Control>,
    id: Result<Path<i64>, PathRejection>,
    Json(change): Json<Change>,
) -> Result<StatusCode, ApiError> {
    let unknown = || ApiError::NotFound("There is no such client");
    let Path(id) = id.map_err(|_| unknown())?;
    let found = control.app.blocking(move |app| Ok(app.store.set_client_disabled(id, change.disabled, now())?)).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(unknown()) }
}
