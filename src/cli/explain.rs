//! `authgate explain`: what the filter does with a request, step by step. The filter itself decides. Steps that it
//! doesn't report are found by asking it again with part of the configuration.

mod probe;
mod service;
mod story;

use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::check::find::{self, Plugin};
use super::check::{self, Problem, Report};
use super::machine::Answer;
use super::tree::Node;
use super::{FINE, Format, WRONG};
use crate::extractor::{RequestHead, lend, site};
use crate::introspection::CalloutError;
use crate::time::UnixTime;
use probe::Probe;
use service::Service;
use story::Story;

/// Print what the filter does with a request, step by step
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The file with the configuration, as for `authgate check`
    file: PathBuf,
    /// The name of the filter, if the file has several
    #[arg(long)]
    filter: Option<String>,
    /// The request's method
    #[arg(long, default_value = "GET")]
    method: String,
    /// The request's path as it is sent, with its query
    #[arg(long, default_value = "/", value_parser = path)]
    path: String,
    /// The request's host, with its port if it has one
    #[arg(long, default_value = "localhost")]
    host: String,
    /// The scheme that the client used
    #[arg(long, default_value = "https")]
    scheme: String,
    /// A header, as in `Origin: https://example.com`
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The request has a body
    #[arg(long)]
    body: bool,
    /// A JWT, an API token, or a complete value of Authorization
    #[arg(long, env = "AUTHGATE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A file with the service's public key: in PEM, or the answer of /iam/public-key
    #[arg(long)]
    key: Option<PathBuf>,
    /// The status of the service's answer about the credential
    #[arg(long, value_name = "STATUS", value_parser = status)]
    answer: Option<u16>,
    /// A file with the body of that answer: claims in JSON, or a JWT
    #[arg(long, value_name = "FILE")]
    answer_body: Option<PathBuf>,
    /// A header of that answer
    #[arg(long = "answer-header", value_name = "NAME: VALUE")]
    answer_headers: Vec<String>,
    /// A file with the service's revocation list; empty by default
    #[arg(long, value_name = "FILE")]
    revoked: Option<PathBuf>,
    /// The time, in seconds since 1970; by default now
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    at: Option<u64>,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Explains, and returns the exit status.
///
/// # Errors
/// A sentence: an option can't be used.
pub fn run(options: &Options, out: &mut impl Write, has_colour: bool) -> Result<u8, String> {
    let text = check::read(&options.file)?;
    let name = options.file.display().to_string();
    let refuse = |configurations, problems, out: &mut _| {
        Report { configurations, problems }.print(options.format, out, has_colour).map(|()| WRONG)
    };
    let documents = match check::documents(&text) {
        Ok(documents) => documents,
        Err(error) => return refuse(0, vec![Problem::of_syntax(&name, error)], out),
    };
    let plugins = find::find(&documents);
    let plugin = choose(&plugins, options.filter.as_deref()).map_err(|problem| format!("{name}: {problem}"))?;
    let config = match check::parse(plugin) {
        Ok(config) => config,
        Err(errors) => {
            let problems = errors.into_iter().map(|error| Problem::of_field(&name, plugin, error));
            return refuse(1, problems.collect(), out);
        }
    };
    let written: Value = serde_json::from_str(&plugin.tree.to_json()).map_err(text_of)?;
    let service = Service::new(options)?;
    let headers = headers(options, plugin.manager)?;
    let head = RequestHead { headers: &lend(&headers), has_body: options.body };
    let probe = Probe { written: &written, config: &config, head, service: &service, now: now(options) };
    let story = Story { note: plugin.manager.and_then(note_on_path), ..probe.tell() };
    match options.format {
        Format::Text => story.print(out, has_colour).map_err(text_of)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &story).map_err(text_of)?;
            writeln!(out).map_err(text_of)?;
        }
    }
    Ok(FINE)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text_of(error: impl ToString) -> String {
    error.to_string()
}

/// A path as a client may send it: `*` asks about the server itself (RFC 9112 section 3.2.4).
fn path(text: &str) -> Result<String, &'static str> {
    if text.starts_with('/') || text == "*" { Ok(text.to_owned()) } else { Err("a path begins with /") }
}

fn status(text: &str) -> Result<u16, &'static str> {
    let status = text.parse().ok().filter(|status| (100..=599).contains(status));
    status.ok_or("a status is a number from 100 to 599")
}

fn seconds(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "a time is a number of seconds since 1970, as `date +%s` prints it")
}

fn now(options: &Options) -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    options.at.map_or_else(|| UnixTime::from_secs(since.as_secs()), UnixTime::from_secs)
}

fn choose<'p, 't>(plugins: &'p [Plugin<'t>], name: Option<&str>) -> Result<&'p Plugin<'t>, String> {
    let fits = |plugin: &&Plugin<'_>| name.is_none_or(|name| plugin.name() == name);
    let mut fitting = plugins.iter().filter(fits);
    let names = || plugins.iter().map(Plugin::name).collect::<Vec<_>>().join(", ");
    match (fitting.next(), fitting.next()) {
        (Some(plugin), None) => Ok(plugin),
        (Some(_), Some(_)) => {
            Err(format!("it contains several filters: choose one with --filter (names: {})", names()))
        }
        (None, _) if plugins.is_empty() => Err(find::NOTHING.to_owned()),
        (None, _) => Err(format!("it contains no filter of this name (names: {})", names())),
    }
}

/// The request's headers, as Envoy hands them over behind this connection manager.
fn headers(options: &Options, manager: Option<&Node>) -> Result<Vec<(String, Vec<u8>)>, String> {
    let pseudo = [(":method", &options.method), (":path", &options.path), (":scheme", &options.scheme)];
    let mut headers: Vec<_> =
        pseudo.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    let mut host = options.host.clone();
    for header in &options.headers {
        match split(header)? {
            (name, value) if name == "host" => host = value,
            (name, value) => headers.push((name, value.into_bytes())),
        }
    }
    headers.push((":authority".to_owned(), left_of(&host, manager).into_bytes()));
    if let Some(token) = &options.token {
        let value = if token.contains(' ') {
            token.clone()
        } else {
            format!("{} {token}", if token.contains('$') { "APIKey" } else { "Bearer" })
        };
        headers.push(("authorization".to_owned(), value.into_bytes()));
    }
    Ok(headers)
}

/// A request's host as a connection manager leaves it.
fn left_of(host: &str, manager: Option<&Node>) -> String {
    let is_on = |name: &str| manager.is_some_and(|manager| manager.is_on(name));
    let (name, port) = host.split_at(site::split_port(host.as_bytes()).0.len());
    // Envoy leaves a port that is no number.
    let is_port = port.get(1..).is_some_and(|digits| digits.parse::<u32>().is_ok());
    let port = if is_on("strip_any_host_port") && is_port { "" } else { port };
    let name = if is_on("strip_trailing_host_dot") { name.strip_suffix('.').unwrap_or(name) } else { name };
    format!("{name}{port}")
}

/// What to know about the path behind a connection manager that doesn't hand it over as it was sent.
fn note_on_path(manager: &Node) -> Option<String> {
    const ACTION: &str = "path_with_escaped_slashes_action";
    let keeps = ["null", "IMPLEMENTATION_SPECIFIC_DEFAULT", "0", "KEEP_UNCHANGED", "1"];
    let mut settings: Vec<_> =
        ["normalize_path", "merge_slashes"].into_iter().filter(|name| manager.is_on(name)).collect();
    let action = manager.get(ACTION).map_or_else(|| "null".to_owned(), Node::to_json);
    if !keeps.contains(&action.trim_matches('"')) {
        settings.push(ACTION);
    }
    (!settings.is_empty()).then(|| {
        format!(
            "the connection manager may change or refuse the path before the filter sees it ({}), and explain reads it as \
             given: give the path as Envoy forwards it",
            settings.join(", ")
        )
    })
}

fn split(header: &str) -> Result<(String, String), String> {
    // The header may hold a credential, so the error doesn't quote it.
    let (name, value) = header.split_once(':').ok_or("a header has no colon: write Name: value")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

/// Stands in for an answer that the user hasn't given.
pub(super) const NO_ANSWER: Answer = Err(CalloutError::NotConnected);

#[cfg(test)]
mod tests;
