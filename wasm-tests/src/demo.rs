//! The rows of `make demo`: one request each, with the expected result and the actual one.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    IDENTITY_HEADERS, Request, Response, Stack,
    credentials::{claims, claims_of, forged, now, unsigned},
};

/// One request of the demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What was sent.
    pub request: &'static str,
    /// What should come back, as the table writes it: the status, and the user that the upstream saw or the code.
    pub expected: String,
    /// What came back.
    pub got: String,
    /// How long it took.
    pub elapsed: Duration,
}

impl Row {
    /// Whether the answer is the expected one.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.expected == self.got
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<42} {:<29} {:<29} {:>6} {}",
            self.request,
            self.expected,
            self.got,
            self.elapsed.as_millis(),
            if self.is_right() { '✓' } else { '✗' }
        )
    }
}

/// The heading of the table whose lines are [`Row`]s.
#[must_use]
pub fn heading() -> String {
    format!("{:<42} {:<29} {:<29} {:>6}", "request", "expected", "got", "ms")
}

/// Sends the demo's requests one after the other, and reports each as it is answered.
///
/// It deletes a token, rotates the service's key and stops the service, so the stack is of little
/// use afterwards.
///
/// # Errors
/// When the requests cannot be prepared. A request that fails is a row that is not right.
pub async fn run(stack: &mut Stack, report: impl FnMut(&Row)) -> Result<Vec<Row>> {
    let jwt = stack.login().await?.access;
    let identity = identity(&claims_of(&jwt)?);
    let mut table = Table { rows: Vec::new(), report, user: as_user(&identity), identity };
    credentials(&mut table, stack, &jwt).await?;
    places(&mut table, stack, &jwt).await;
    changes(&mut table, stack).await?;
    Ok(table.rows)
}

/// Credentials, good and bad.
async fn credentials<F: FnMut(&Row)>(table: &mut Table<F>, stack: &Stack, jwt: &str) -> Result<()> {
    let user = table.user.clone();
    let (_, api_token) = stack.api_token("demo").await?;

    table.row("valid JWT", &user, stack.get("/orders").bearer(jwt)).await;
    table.row("API token", &user, stack.get("/orders").api_key(&api_token)).await;
    table.row("no credential", "401 missing_credentials", stack.get("/orders")).await;

    let expired = stack.mint_claims(&with(claims(), "exp", json!(now() - 60))).await?;
    table.row("expired JWT", "401 token_expired", stack.get("/orders").bearer(&expired)).await;
    let forged = forged(jwt)?;
    table.row("forged signature", "401 signature_invalid", stack.get("/orders").bearer(&forged)).await;
    let none = unsigned(r#"{"typ":"JWT","alg":"none"}"#, &claims().to_string());
    table.row("alg: none", "401 token_malformed", stack.get("/orders").bearer(&none)).await;
    let refresh = stack.login().await?.refresh;
    table
        .row("refresh token as access token", "401 token_type_not_accepted", stack.get("/orders").bearer(&refresh))
        .await;

    let (id, deleted) = stack.api_token("deleted").await?;
    stack.delete_api_token(id).await?;
    table
        .row("API token after DELETE /iam/tokens/{id}", "401 token_rejected", stack.get("/orders").api_key(&deleted))
        .await;
    table
        .row(
            "unknown scheme",
            "401 unsupported_scheme",
            stack.get("/orders").header("authorization", "Basic YWRtaW46YWRtaW4="),
        )
        .await;
    Ok(())
}

/// Paths that the rules tell apart, and headers that only the filter sets.
async fn places<F: FnMut(&Row)>(table: &mut Table<F>, stack: &Stack, jwt: &str) {
    let user = table.user.clone();
    table.row("public path", "200 as nobody", stack.get("/public/page")).await;
    table
        .row(
            "public path, X-User-Id sent by the client",
            "200 as nobody",
            stack.get("/public/page").header("x-user-id", "0"),
        )
        .await;
    table
        .row("JWT, X-User-Id sent by the client", &user, stack.get("/orders").bearer(jwt).header("x-user-id", "0"))
        .await;
    table.row("JWT where only API tokens may", "403 claims_not_sufficient", stack.get("/webhooks").bearer(jwt)).await;
}

/// The service rotates its key, and stops.
async fn changes<F: FnMut(&Row)>(table: &mut Table<F>, stack: &mut Stack) -> Result<()> {
    let user = table.user.clone();
    stack.rotate().await?;
    let rotated = stack.login().await?.access;
    table.row("key rotated, new JWT", &user, stack.get("/orders").bearer(&rotated)).await;

    let (_, unseen) = stack.api_token("unseen").await?;
    stack.stop_auth().await;
    table
        .row(
            "service stopped, uncached API token",
            "503 auth_service_unavailable",
            stack.get("/orders").api_key(&unseen),
        )
        .await;
    table.row("service stopped, JWT", &user, stack.get("/orders").bearer(&rotated)).await;
    Ok(())
}

struct Table<F> {
    rows: Vec<Row>,
    report: F,
    identity: Identity,
    /// What [`summary`] writes for the user of the demo.
    user: String,
}

impl<F: FnMut(&Row)> Table<F> {
    async fn row(&mut self, request: &'static str, expected: &str, send: Request) {
        let (got, elapsed) = match send.send().await {
            Ok(answer) => (summary(&answer, &self.identity), answer.elapsed),
            Err(error) => (format!("{error:#}"), Duration::ZERO),
        };
        let row = Row { request, expected: expected.to_owned(), got, elapsed };
        (self.report)(&row);
        self.rows.push(row);
    }
}

/// The identity headers that the upstream should see, by their lower-case names.
type Identity = BTreeMap<&'static str, String>;

/// An answer in a few words: the user that the upstream saw, or the denial's code.
fn summary(answer: &Response, user: &Identity) -> String {
    let status = answer.status;
    match answer.identity() {
        Ok(seen) if seen.is_empty() => format!("{status} as nobody"),
        Ok(seen) if seen == *user => as_user(user),
        Ok(seen) => format!("{status} as {seen:?}"),
        Err(_) => format!("{status} {}", answer.code().as_deref().unwrap_or("without a code")),
    }
}

/// What [`summary`] writes when all five headers say who the user is.
fn as_user(user: &Identity) -> String {
    format!("200 as {}", user["x-user-email"])
}

/// What the upstream should learn from these claims.
fn identity(claims: &Value) -> Identity {
    let names = ["user_id", "client_id", "email", "user_type", "is_admin"];
    let text = |name| claims[name].as_str().map_or_else(|| claims[name].to_string(), str::to_owned);
    IDENTITY_HEADERS.into_iter().zip(names.map(text)).collect()
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}
