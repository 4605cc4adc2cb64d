//! The corpus: what a client may send, or the auth service may answer, each with its verdict and the
//! reason for it.
//!
//! The verdicts come from docs/reference.md, the RFCs and published defects, never from what the filter
//! does. Every entry is the same in every run: its tokens are signed with keys in `testdata/`, and
//! expire in the year 2100.
//!
//! - [`tokens`]: what follows `Bearer`.
//! - [`headers`]: how the credential is sent, and what is sent beside it.
//! - [`paths`]: which path the request has.
//! - [`answers`]: what the auth service says of an API token, through [`scripted::Scripted`].

pub mod answers;
pub mod headers;
pub mod keys;
pub mod paths;
mod raw;
pub mod scripted;
pub mod tokens;

use std::{collections::BTreeSet, fmt, future::Future, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

pub use raw::{RawAnswer, raw};

use crate::{Request, Response, Stack, client::Client};

/// How many requests of a corpus are under way at once.
const BATCH: usize = 24;

/// How a request has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It reaches the upstream.
    Allow,
    /// It is denied with this code of docs/reference.md#denials.
    Deny(&'static str),
    /// It isn't HTTP, or nothing that a gateway forwards: Envoy refuses it with any 4xx or 501, or
    /// closes the connection.
    Unacceptable,
}

impl Verdict {
    /// Whether this is the verdict that was seen, in the form of [`seen`].
    #[must_use]
    pub fn is(self, seen: &str) -> bool {
        match self {
            Self::Unacceptable => seen == "closed" || seen == "501" || (seen.starts_with('4') && seen.len() == 3),
            _ => self.to_string() == seen,
        }
    }
}

/// In the form of [`seen`].
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("200"),
            Self::Deny(code) => write!(f, "{} {code}", status(code)),
            Self::Unacceptable => f.write_str("4xx by Envoy"),
        }
    }
}

/// The status that goes with a code (docs/reference.md#denials).
#[must_use]
pub fn status(code: &str) -> u16 {
    match code {
        "claims_not_sufficient"
        | "denied_by_rule"
        | "forbidden_by_service"
        | "ambiguous_path"
        | "ambiguous_host"
        | "cross_site_request" => 403,
        "auth_service_unavailable" | "public_key_unavailable" => 503,
        "too_many_failures" => 429,
        "internal" => 500,
        _ => 401,
    }
}

/// One entry of a corpus.
#[derive(Clone, Debug)]
pub struct Case<I> {
    /// A short description, unique in its corpus.
    pub name: String,
    /// What is sent or answered.
    pub input: I,
    /// The verdict that it must have.
    pub expected: Verdict,
    /// Why this is the verdict.
    pub reason: &'static str,
}

impl<I> Case<I> {
    /// A case.
    pub fn new(name: impl Into<String>, input: I, expected: Verdict, reason: &'static str) -> Self {
        Self { name: name.into(), input, expected, reason }
    }
}

/// A verdict as it was seen: `200`, `401 token_malformed`, or `400` where Envoy itself refused.
///
/// A 200 that isn't the upstream's echo is no verdict, nor is a denial whose status doesn't fit its code.
#[must_use]
pub fn seen(answer: &Response) -> String {
    describe(answer.status, &answer.body)
}

pub(crate) fn describe(status: u16, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    match (status, body["code"].as_str()) {
        (200, None) if body["body_sha256"].is_string() => "200".to_owned(),
        (200, _) => "200, but not the upstream's".to_owned(),
        (status, Some(code)) => format!("{status} {code}"),
        (status, None) => status.to_string(),
    }
}

/// Begins a request to any address, such as another listener of the stack's Envoy.
pub fn request_to(address: SocketAddr, method: Method, path: &str) -> Request {
    Client::default().request(address, method, path)
}

/// Runs every case through `run`, many at a time, and returns a line for each case with another verdict
/// than expected.
///
/// # Errors
/// When two cases share a name.
pub async fn failures<I, F>(cases: &[Case<I>], run: impl Fn(&Case<I>) -> F) -> Result<Vec<String>>
where
    F: Future<Output = Result<String>> + Send + 'static,
{
    let verdicts = verdicts(cases, run).await?;
    let wrong = cases.iter().zip(verdicts).filter(|(case, seen)| !case.expected.is(seen));
    Ok(wrong
        .map(|(case, seen)| format!("{}: got {seen}, expected {} ({})", case.name, case.expected, case.reason))
        .collect())
}

/// The verdict on each case, in the order of the cases.
///
/// # Errors
/// When two cases share a name.
pub async fn verdicts<I, F>(cases: &[Case<I>], run: impl Fn(&Case<I>) -> F) -> Result<Vec<String>>
where
    F: Future<Output = Result<String>> + Send + 'static,
{
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    let twice =
        || cases.iter().map(|case| &case.name).filter(|name| !names.contains(name.as_str())).collect::<Vec<_>>();
    ensure!(names.len() == cases.len(), "names stand there twice: {:?}", twice());
    let mut all = Vec::with_capacity(cases.len());
    for batch in cases.chunks(BATCH) {
        let mut running = JoinSet::new();
        for (index, case) in batch.iter().enumerate() {
            let run = run(case);
            running.spawn(async move { (index, run.await) });
        }
        let mut batch = running.join_all().await;
        batch.sort_by_key(|(index, _)| *index);
        all.extend(batch.into_iter().map(|(_, seen)| seen.unwrap_or_else(|error| format!("no answer: {error:#}"))));
    }
    Ok(all)
}

impl Stack {
    /// The addresses of all listeners by their names.
    ///
    /// # Errors
    /// When Envoy doesn't tell them.
    pub async fn listeners(&self) -> Result<Vec<(String, SocketAddr)>> {
        let listeners = self.admin("/listeners?format=json").await?.json()?;
        let all = listeners["listener_statuses"].as_array().context("no listeners")?;
        all.iter()
            .map(|listener| {
                let address = &listener["local_address"]["socket_address"];
                let port = u16::try_from(address["port_value"].as_u64().context("no port")?)?;
                let name = listener["name"].as_str().context("no name")?;
                Ok((name.to_owned(), SocketAddr::new(address["address"].as_str().context("no host")?.parse()?, port)))
            })
            .collect()
    }

    /// What is wrong with the gateway after all requests: the worker must still serve, with the VM that it
    /// had from the start.
    pub async fn scars(&self, jwt: &str) -> Vec<String> {
        let mut scars = Vec::new();
        match self.get("/orders").bearer(jwt).send().await {
            Ok(answer) if seen(&answer) == "200" => {}
            Ok(answer) => scars.push(format!("the next request gets {}: {}", answer.status, answer.text())),
            Err(error) => scars.push(format!("the next request gets no answer: {error:#}")),
        }
        let log = self.envoy_log();
        let marks = ["panicked", "Wasm VM failed", "Function: proxy_on", "could not be", "not under way", "[critical]"];
        scars.extend(log.lines().filter(|line| marks.iter().any(|mark| line.contains(mark))).map(str::to_owned));
        scars.extend(self.envoy_exit().map(|exit| format!("Envoy ended: {exit}")));
        scars
    }
}

/// A body for `PUT /faults` that makes the auth service serve the key that signs the corpus' tokens.
#[must_use]
pub fn trusted_key() -> Value {
    let body = json!({"public_key": keys::Signer::trusted().public_pem()}).to_string();
    json!({"on": "public_key", "kind": "raw", "body": body})
}

/// The configuration of a stack for the corpus: a signature that fails makes the filter fetch the key
/// again, and requests wait for that.
#[must_use]
pub fn config() -> Value {
    json!({"jwt": {"public_key": {"min_refetch_interval": "100ms"}}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_has_enough_cases_with_unique_names_and_reasons() {
        fn names<I>(kind: &str, cases: &[Case<I>]) -> Vec<String> {
            assert!(cases.iter().all(|case| !case.reason.is_empty()), "{kind}");
            cases.iter().map(|case| format!("{kind}: {}", case.name)).collect()
        }
        let all = [
            names("token", &tokens::all()),
            names("header", &headers::all()),
            names("bytes", &headers::raw()),
            names("path", &paths::all()),
            names("answer", &answers::all()),
        ];
        let counts = all.each_ref().map(Vec::len);
        let all: Vec<_> = all.concat();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(counts.iter().sum::<usize>() >= 1500, "{counts:?}");
        println!("tokens, headers, bytes, paths, answers: {counts:?}");
    }

    #[test]
    fn verdicts_are_written_as_in_the_reference() {
        assert!(Verdict::Deny("token_malformed").is("401 token_malformed"));
        assert!(!Verdict::Deny("token_malformed").is("403 token_malformed"));
        assert!(!Verdict::Allow.is("200, but not the upstream's"));
        assert!(Verdict::Unacceptable.is("400") && Verdict::Unacceptable.is("closed"));
        assert!(!Verdict::Unacceptable.is("200") && !Verdict::Unacceptable.is("401 token_malformed"));
    }
}
