//! The hosts of the service, and the headers from which an answer is read.

/// A host that callouts go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceHost {
    /// The Envoy cluster.
    pub cluster: String,
    /// `:authority`.
    pub authority: String,
}

/// `api_token.answer_headers`: the names of the headers in which the service answers, for
/// [`JsonHeader`](super::ResponseFormat::JsonHeader). No two are the same, letter case aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerHeaders {
    /// Required in an answer.
    pub user_id: String,
    /// Required in an answer.
    pub client_id: String,
    /// May be missing.
    pub email: String,
    /// May be missing.
    pub user_type: String,
    /// May be missing.
    pub is_admin: String,
}

#[cfg(any(test, feature = "testing"))]
impl Default for AnswerHeaders {
    fn default() -> Self {
        let [user_id, client_id, email, user_type, is_admin] =
            ["X-User-Id", "X-Client-Id", "X-User-Email", "X-User-Type", "X-Is-Admin"].map(str::to_owned);
        Self { user_id, client_id, email, user_type, is_admin }
    }
}

impl AnswerHeaders {
    /// Each claim and the name of its header.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let Self { user_id, client_id, email, user_type, is_admin } = self;
        [
            ("user_id", user_id),
            ("client_id", client_id),
            ("email", email),
            ("user_type", user_type),
            ("is_admin", is_admin),
        ]
        .into_iter()
        .map(|(claim, name)| (claim, name.as_str()))
    }
}
