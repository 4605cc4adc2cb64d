//! Makes a [`Config`] from the values of fields, with the checks that involve several fields.
//!
//! Most fields are compiled by a function of their own (`inline(never)`): docs/performance.md#start says why.

use super::document::Value;
use super::error::{ConfigErrors, Found};
use super::fields::{
    ANSWER_HEADERS, API_TOKEN, AUTH_SERVICE, CACHE, CIRCUIT_BREAKER, CONFIGURATION, CREDENTIALS, FAILED_AUTH_THROTTLE,
    JWT, PUBLIC_KEY, RESOURCE_METADATA, RESPONSES, REVOCATION, STATUS_PATHS,
};
use super::node::Node;
use super::{
    Access, AnswerHeaders, ApiToken, AuthService, Cache, CircuitBreaker, Config, Credentials, Eviction,
    FailedAuthThrottle, HeaderType, IdentityHeaders, Jwt, Mode, Profile, PublicKeySource, ResourceMetadata,
    ResponseFormat, Revocation, Rule, Scheme, ServiceHost, StatusPaths, StrippedHeaders, Terms, Verification, headers,
    is_token, rules, value,
};
use crate::claims::{Claim, ClaimPath, TokenType};
use crate::matcher::Rules;
use crate::public_key::PublicKey;
use crate::report::Audit;
use crate::require::Require;

/// Compiles what [`super::check`] has checked, with these errors.
pub(super) fn compile(document: &Value, errors: ConfigErrors) -> Result<Config, ConfigErrors> {
    let found = Found::new(errors);
    let root = |profile| Node::new(document, CONFIGURATION, String::new(), profile, &found);
    let profile = root(Profile::Production).word("profile", Profile::Production, &Profile::ALL, Profile::name);
    let config = config(&root(profile));
    let errors = found.into_errors();
    if errors.is_empty() { Ok(config) } else { Err(errors) }
}

#[inline(never)]
fn config(root: &Node<'_>) -> Config {
    let service_node = root.object("auth_service", AUTH_SERVICE);
    let mut auth_service = auth_service(&service_node);
    let jwt = jwt(&root.object("jwt", JWT), &auth_service);
    let api_token = api_token(&root.object("api_token", API_TOKEN));
    let filter = Terms {
        access: Access::Require(Require::default()),
        verification: jwt.verification,
        forward_credential: rules::forward_credential(root, &api_token),
        mode: root.word("mode", Mode::Enforce, &Mode::ALL, Mode::name),
    };
    let (rules, kept_claims) = rules::rules(root, filter, &api_token);
    let credentials = credentials(&root.object("credentials", CREDENTIALS), &api_token);
    let identity_headers = IdentityHeaders::new(&root.object("identity_headers", &[]), &credentials);
    let stripped_headers = StrippedHeaders::new(&identity_headers, root, &credentials);
    let revocation = revocation(&root.object("revocation", REVOCATION), &auth_service);
    auth_service.forward_headers = forward_headers(&service_node, &stripped_headers, &credentials);
    if api_token.response_format == ResponseFormat::JsonHeader
        && let Some(path) = remote_verification(&jwt, &rules)
    {
        // `json_header` says neither of what type a token is nor when it expires.
        root.refuse(&path, "remote can't be combined with api_token.response_format json_header");
    }
    let responses = root.object("responses", RESPONSES);
    let resource_metadata = resource_metadata(&responses);
    Config {
        auth_service,
        cache: cache(&root.object("cache", CACHE)),
        circuit_breaker: circuit_breaker(&root.object("circuit_breaker", CIRCUIT_BREAKER)),
        revocation,
        failed_auth_throttle: throttle(&root.object("failed_auth_throttle", FAILED_AUTH_THROTTLE)),
        kept_claims: kept_claims.with(known_needs(&jwt, &identity_headers, &rules)),
        rules,
        credentials,
        identity_headers,
        stripped_headers,
        audit: root.word("audit", Audit::default(), &Audit::ALL, Audit::name),
        status_paths: status_paths(&root.object("status_paths", STATUS_PATHS), resource_metadata.as_ref()),
        resource_metadata,
        sign_in_url: responses.text("sign_in_url").map(str::to_owned),
        realm: responses.string("realm"),
        cors_origins: responses.texts("cors_origins"),
        jwt,
        api_token,
    }
}

/// The claims known to the filter that are used after a credential is verified, besides those that always are.
#[inline(never)]
fn known_needs(jwt: &Jwt, headers: &IdentityHeaders, rules: &Rules) -> Vec<ClaimPath> {
    let mut needs: Vec<_> = headers.iter().map(|header| header.claim).collect();
    let required = rules.all_terms().filter_map(|terms| terms.access.require()).flat_map(Require::claims);
    needs.extend(required.filter_map(|claim| match claim {
        Claim::Known(path) => Some(path),
        Claim::Kept(_) => None,
    }));
    needs.extend((!jwt.issuers.is_empty()).then_some(ClaimPath::Iss));
    needs.extend((!jwt.audiences.is_empty()).then_some(ClaimPath::Aud));
    needs
}

/// The first field that asks for remote verification.
fn remote_verification(jwt: &Jwt, rules: &[Rule]) -> Option<String> {
    if jwt.verification == Verification::Remote {
        return Some("jwt.verification".to_owned());
    }
    let index = rules.iter().position(|rule| rule.terms.verification == Verification::Remote)?;
    Some(format!("rules[{index}].verification"))
}

#[inline(never)]
fn auth_service(node: &Node<'_>) -> AuthService {
    let ServiceHost { cluster, authority } = host(node, node.text("cluster").unwrap_or_default());
    AuthService {
        cluster,
        authority,
        scheme: node.word("scheme", Scheme::Http, &Scheme::ALL, Scheme::name),
        verify_path: node.string("verify_path"),
        public_key_path: node.string("public_key_path"),
        timeout: node.duration("timeout"),
        retries: node.whole("retries"),
        forward_headers: Vec::new(),
    }
}

/// The host behind a cluster: with the `authority` that is written, else with the host in the cluster's name.
fn host(node: &Node<'_>, cluster: &str) -> ServiceHost {
    let written = node.text("authority").or_else(|| value::host_of_cluster(cluster));
    if written.is_none() && value::is_cluster(cluster) {
        let problem = format!("is required: the cluster's name {cluster:?} is not a valid host");
        node.refuse("authority", &problem);
    }
    ServiceHost { cluster: cluster.to_owned(), authority: node.or_refuse(written).to_owned() }
}

/// The host that is named here, else the service's.
fn own_host(node: &Node<'_>, service: &AuthService) -> ServiceHost {
    match node.text("cluster") {
        Some(cluster) => host(node, cluster),
        None => ServiceHost {
            cluster: service.cluster.clone(),
            authority: node.text("authority").unwrap_or(&service.authority).to_owned(),
        },
    }
}

/// The headers to copy to callouts. A default that a client may not send, or that holds credentials, is left out.
#[inline(never)]
fn forward_headers(node: &Node<'_>, stripped: &StrippedHeaders, credentials: &Credentials) -> Vec<String> {
    const NAME: &str = "forward_headers";
    let mut names: Vec<String> = Vec::new();
    for (index, written) in node.texts(NAME).iter().enumerate() {
        let name = written.to_ascii_lowercase();
        let is_stripped = stripped.covers(name.as_bytes());
        let problem = headers::problem_of_forwarded_header(&name, credentials)
            .or_else(|| is_stripped.then_some("is a header that no client may send"))
            .or_else(|| names.contains(&name).then_some("is given twice"));
        match problem {
            None => names.push(name),
            Some(problem) if node.has(NAME) => node.refuse_entry(NAME, index, &headers::named(written, problem)),
            Some(_) => {}
        }
    }
    names
}

#[inline(never)]
fn jwt(node: &Node<'_>, service: &AuthService) -> Jwt {
    let required_claims = node.texts("required_claims").iter().map(|name| name.parse().ok()).collect();
    Jwt {
        public_key: public_key(&node.object("public_key", PUBLIC_KEY), service),
        verification: node.word("verification", Verification::Local, &Verification::ALL, Verification::name),
        token_types: node.words("token_types", &TokenType::ALL, TokenType::name),
        required_claims: node.or_refuse(required_claims),
        issuers: node.texts("issuers"),
        audiences: node.texts("audiences"),
        clock_skew: node.duration("clock_skew"),
    }
}

fn public_key(node: &Node<'_>, service: &AuthService) -> PublicKeySource {
    let mut pem = Vec::new();
    for (index, text) in node.texts("pem").iter().enumerate() {
        match PublicKey::from_pem(text) {
            Ok(key) => pem.push(key),
            Err(error) => node.refuse_entry("pem", index, &error.to_string()),
        }
    }
    PublicKeySource {
        ttl: node.duration("ttl"),
        min_refetch_interval: node.duration("min_refetch_interval"),
        grace: node.duration("grace"),
        host: own_host(node, service),
        pem,
    }
}

#[inline(never)]
fn api_token(node: &Node<'_>) -> ApiToken {
    // A stand-in to which no other check objects: `forward_credential: jwt` and remote verification agree with it.
    let response_format = ResponseFormat::JwtBody;
    let api_token = ApiToken {
        response_format: node.word("response_format", response_format, &ResponseFormat::ALL, ResponseFormat::name),
        answer_headers: answer_headers(&node.object("answer_headers", ANSWER_HEADERS)),
        header_types: node.words("header_types", &HeaderType::ALL, HeaderType::name),
        accept_technical: node.flag("accept_technical"),
    };
    if !api_token.header_types.is_empty()
        && !api_token.accepts(HeaderType::Apikey)
        && !api_token.accepts(HeaderType::Other)
    {
        node.refuse("header_types", "must contain apikey or other: the service is asked only about these");
    }
    if api_token.accepts(HeaderType::Other) && api_token.response_format == ResponseFormat::JsonHeader {
        // Neither `json_header` nor other credentials say of what type a token is.
        node.refuse("header_types", "other can't be combined with response_format json_header");
    }
    api_token
}

#[inline(never)]
fn answer_headers(node: &Node<'_>) -> AnswerHeaders {
    let headers = AnswerHeaders {
        user_id: node.string("user_id"),
        client_id: node.string("client_id"),
        email: node.string("email"),
        user_type: node.string("user_type"),
        is_admin: node.string("is_admin"),
    };
    for (index, (claim, name)) in headers.iter().enumerate() {
        if !is_token(name.as_bytes()) {
            node.refuse(claim, &headers::named(name, headers::NO_NAME));
        }
        // One header can't hold two claims.
        if headers.iter().take(index).any(|(_, earlier)| earlier.eq_ignore_ascii_case(name)) {
            node.refuse(claim, "is already the header of another claim");
        }
    }
    headers
}

#[inline(never)]
fn credentials(node: &Node<'_>, api_token: &ApiToken) -> Credentials {
    const HEADER: &str = "api_key_header";
    if let Some(name) = node.text(HEADER) {
        if let Some(problem) = headers::problem_of_credential_header(name) {
            node.refuse(HEADER, &headers::named(name, problem));
        }
        if !api_token.header_types.is_empty() && !api_token.accepts(HeaderType::Apikey) {
            node.refuse(HEADER, "needs apikey in api_token.header_types");
        }
    }
    Credentials {
        api_key_header: node.text(HEADER).map(str::to_ascii_lowercase),
        cookie: node.text("cookie").map(str::to_owned),
        websocket_protocol: node.flag("websocket_protocol"),
    }
}

#[inline(never)]
fn cache(node: &Node<'_>) -> Cache {
    Cache {
        max_entries: node.whole("max_entries") as usize,
        ttl: node.duration("ttl"),
        negative_ttl: node.duration("negative_ttl"),
        stale_ttl: node.duration("stale_ttl"),
        eviction: node.word("eviction", Eviction::Lru, &Eviction::ALL, Eviction::name),
    }
}

#[inline(never)]
fn circuit_breaker(node: &Node<'_>) -> CircuitBreaker {
    CircuitBreaker {
        failures: node.whole("failures"),
        open_for: node.duration("open_for"),
        fallback: node.flag("fallback"),
    }
}

/// `None`: the service has no list.
#[inline(never)]
fn revocation(node: &Node<'_>, service: &AuthService) -> Option<Revocation> {
    let (poll_interval, host) = (node.duration("poll_interval"), own_host(node, service));
    node.text("path").map(|path| Revocation { path: path.to_owned(), poll_interval, host })
}

/// `None`: there is no lockout.
#[inline(never)]
fn throttle(node: &Node<'_>) -> Option<FailedAuthThrottle> {
    let attempts = node.whole("attempts");
    let throttle = FailedAuthThrottle { attempts, window: node.duration("window"), lockout: node.duration("lockout") };
    (attempts > 0).then_some(throttle)
}

#[inline(never)]
fn status_paths(node: &Node<'_>, metadata: Option<&ResourceMetadata>) -> StatusPaths {
    let path = |name| node.text(name).map(str::to_owned);
    for name in ["health", "readiness"] {
        if node.text(name).is_some_and(|path| metadata.is_some_and(|metadata| metadata.path == path)) {
            node.refuse(name, "is already the path of the resource metadata");
        }
    }
    let paths = StatusPaths { health: path("health"), readiness: path("readiness") };
    if paths.health.is_some() && paths.health == paths.readiness {
        node.refuse("readiness", "is already the path of health");
    }
    paths
}

/// `None`: none is served.
#[inline(never)]
fn resource_metadata(responses: &Node<'_>) -> Option<ResourceMetadata> {
    const NAME: &str = "resource_metadata";
    responses.written(NAME)?;
    let node = responses.object(NAME, RESOURCE_METADATA);
    let (servers, scopes) = (node.texts("authorization_servers"), node.texts("scopes_supported"));
    Some(ResourceMetadata::new(node.text("resource")?, &servers, &scopes))
}
