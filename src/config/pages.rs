//! What the filter serves itself.

/// `status_paths`: visible ASCII without a query; no two are the same.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct StatusPaths {
    /// Answers whether the filter can serve.
    pub health: Option<String>,
    /// Answers whether the filter has all that it needs.
    pub readiness: Option<String>,
}

/// `responses.resource_metadata`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceMetadata {
    /// Where it is served (RFC 9728 section 3.1).
    pub path: String,
    /// The same as a URL, ready to stand between quotes.
    pub url: String,
    /// The metadata as JSON.
    pub body: String,
}

impl ResourceMetadata {
    /// - `resource`: an https URL without a query.
    pub(crate) fn new(resource: &str, authorization_servers: &[String], scopes_supported: &[String]) -> Self {
        const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
        let host_end = resource.match_indices('/').nth(2).map_or(resource.len(), |(index, _)| index);
        let (origin, path) = resource.split_at(host_end);
        let path = format!("{WELL_KNOWN}{}", if path == "/" { "" } else { path });
        // Neither URLs nor scopes have bytes that need escapes in JSON: the table of fields allows none.
        let list = |name, list: &[String]| match list {
            [] => String::new(),
            _ => format!("\"{name}\":[\"{}\"]", list.join("\",\"")),
        };
        let servers = list("authorization_servers", authorization_servers);
        let scopes = list("scopes_supported", scopes_supported);
        let resource = format!("\"resource\":\"{resource}\"");
        let members: Vec<_> = [servers, resource, scopes].into_iter().filter(|member| !member.is_empty()).collect();
        let body = format!("{{{}}}", members.join(","));
        Self { url: format!("{origin}{path}"), path, body }
    }
}
