//! What the service answers.

use serde_json::Value;

use crate::introspection::{CalloutError, CalloutResponse};

/// How the service answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This status and body.
    Body(u16, String),
    /// 200 and these headers.
    Headers(Vec<(&'static str, Vec<u8>)>),
    /// A body that is too large to be read.
    TooLarge,
    /// Not at all.
    Error(CalloutError),
}

impl Answer {
    /// 200 and this JSON.
    pub fn json(body: &Value) -> Self {
        Self::Body(200, body.to_string())
    }

    pub(super) fn response(&self) -> Result<CalloutResponse, CalloutError> {
        let response = |status, headers, body| Ok(CalloutResponse { status, headers, body });
        match self {
            Self::Body(status, body) => response(*status, Vec::new(), Some(body.clone().into_bytes())),
            Self::Headers(headers) => {
                let owned = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
                response(200, owned.collect(), Some(Vec::new()))
            }
            Self::TooLarge => response(200, Vec::new(), None),
            Self::Error(error) => Err(*error),
        }
    }
}
