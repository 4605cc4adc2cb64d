//! The service that is checked, over HTTP/1.1.

use std::io::{ErrorKind, Read as _};
use std::time::Duration;

use ureq::http::{Request, Uri};

use crate::introspection::{CalloutError, CalloutRequest, CalloutResponse};

/// A client of the service.
#[derive(Debug)]
pub struct Service {
    agent: ureq::Agent,
    /// The URL without a slash at its end.
    base: String,
}

impl Service {
    /// A client for this URL, which may have a path of its own before the service's paths.
    ///
    /// # Errors
    /// A sentence that says why this is no URL of a service.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| format!("{url:?} is not a URL: write http://host:port"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                let hint = "use the service's plain HTTP address, or a proxy that speaks TLS to it";
                return Err(format!("TLS is not supported: {hint}"));
            }
            _ => return Err(format!("{url:?} has no scheme: write http://host:port")),
        }
        if uri.query().is_some() || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("the URL of a service has neither a query nor a user".to_owned());
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(timeout))
            .user_agent("authgate")
            .accept("application/json, application/jwt, text/plain")
            .accept_encoding("identity")
            .build();
        Ok(Self { agent: config.into(), base: url.trim_end_matches('/').to_owned() })
    }

    /// Sends what the filter sends, and reads at most `limit` bytes of the answer's body.
    ///
    /// # Errors
    /// [`CalloutError`], as close to Envoy's as this client can tell.
    pub fn send(&self, request: &CalloutRequest, limit: usize) -> Result<CalloutResponse, CalloutError> {
        let mut builder = Request::builder().method(request.method).uri(format!("{}{}", self.base, request.path));
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        let body = request.body.clone().unwrap_or_default();
        let request = builder.body(body).map_err(|_| CalloutError::NotSent)?;
        let mut response = self.agent.run(request).map_err(|error| outcome(&error))?;
        let status = response.status().as_u16();
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
        let mut body = Vec::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let reader = response.body_mut().as_reader().take(most);
        match { reader }.read_to_end(&mut body) {
            Ok(_) => Ok(CalloutResponse { status, headers, body: (body.len() <= limit).then_some(body) }),
            Err(error) if error.kind() == ErrorKind::TimedOut => Err(CalloutError::TimedOut),
            Err(_) => Err(CalloutError::Broken),
        }
    }
}

fn outcome(error: &ureq::Error) -> CalloutError {
    match error {
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => CalloutError::ConnectTimeout,
        ureq::Error::Timeout(_) => CalloutError::TimedOut,
        ureq::Error::HostNotFound => CalloutError::NoHost,
        ureq::Error::ConnectionFailed => CalloutError::NotConnected,
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                CalloutError::NotConnected
            }
            ErrorKind::TimedOut => CalloutError::TimedOut,
            _ => CalloutError::Reset,
        },
        _ => CalloutError::NotHttp,
    }
}
