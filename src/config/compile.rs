//! Makes a [`Config`] from the values of fields, with the checks that involve several fields.
//!
//! Most fields are compiled by a function of their own (`inline(never)`): docs/performance.md#start says why.

use super::document::Value;
use super::error::ConfigErrors;
use super::fields::{
    ANSWER_HEADERS, API_TOKEN, AUTH_SERVICE, CACHE, CIRCUIT_BREAKER, CONFIGURATION, CREDENTIALS, FAILED_AUTH_THROTTLE,
    JWT, PUBLIC_KEY, RESOURCE_METADATA, RESPONSES, REVOCATION, STATUS_PATHS,
};
use super::headers::NO_NAME;
use super::node::Node;
use super::{
    Access, AnswerHeaders, ApiToken, AuthService, Cache, CircuitBreaker, Config, Credentials, Eviction,
    FailedAuthThrottle, ForwardCredential, HeaderType, IdentityHeaders, Jwt, Mode, Profile, PublicKeySource,
    ResourceMetadata, ResponseFormat, Revocation, Rule, Scheme, ServiceHost, StatusPaths, StrippedHeaders, Terms,
    Verification, headers, is_token, rules, value,
};
use crate::claims::{Claim, ClaimPath, TokenType};
use crate::matcher::Rules;
use crate::public_key::PublicKey;
use crate::report::Audit;
use crate::require::Require;

/// Compiles what [`super::check`] has checked. `None` if some of it can't be used; `errors` says what.
#[inline(never)]
pub(super) fn compile(document: &Value, errors: &mut ConfigErrors) -> Option<Config> {
    let root = |profile| Node::new(Some(document), CONFIGURATION, String::new(), profile);
    let profile = root(Profile::Production).word("profile", &Profile::ALL, Profile::name);
    let root = root(profile.unwrap_or_default());

    let auth_service = auth_service(&root.object("auth_service", AUTH_SERVICE), errors);
    let jwt = jwt(&root.object("jwt", JWT), auth_service.as_ref(), errors);
    let api_token = api_token(&root.object("api_token", API_TOKEN), errors);
    let filter = Terms {
        access: Access::Require(Require::default()),
        verification: jwt.as_ref().map_or(Verification::Local, |jwt| jwt.verification),
        forward_credential: rules::forward_credential(&root, api_token.as_ref(), errors)
            .unwrap_or(ForwardCredential::Keep),
        mode: root.word("mode", &Mode::ALL, Mode::name).unwrap_or_default(),
    };
    let rules = rules::rules(&root, filter, api_token.as_ref(), errors);
    let credentials = credentials(&root.object("credentials", CREDENTIALS), api_token.as_ref(), errors);
    let identity_headers = IdentityHeaders::new(root.pairs("identity_headers"), &credentials, errors);
    let stripped_headers = StrippedHeaders::new(&identity_headers, root.texts("strip_headers"), &credentials, errors);
    let revocation =
        auth_service.as_ref().and_then(|service| revocation(&root.object("revocation", REVOCATION), service, errors));
    let forward_headers = stripped_headers.as_ref().and_then(|stripped| {
        forward_headers(&root.object("auth_service", AUTH_SERVICE), stripped, &credentials, errors)
    });
    let responses = root.object("responses", RESPONSES);
    let resource_metadata = resource_metadata(&responses);

    let (jwt, api_token, (rules, kept_claims), resource_metadata) = (jwt?, api_token?, rules?, resource_metadata?);
    let known_needs = known_needs(&jwt, &identity_headers, &rules);
    if api_token.response_format == ResponseFormat::JsonHeader
        && let Some(path) = remote_verification(&jwt, &rules)
    {
        // `json_header` says neither of what type a token is nor when it expires.
        errors.push(path, "remote can't be combined with api_token.response_format json_header");
    }
    Some(Config {
        auth_service: AuthService { forward_headers: forward_headers?, ..auth_service? },
        cache: cache(&root.object("cache", CACHE))?,
        circuit_breaker: circuit_breaker(&root.object("circuit_breaker", CIRCUIT_BREAKER))?,
        revocation: revocation?,
        failed_auth_throttle: throttle(&root.object("failed_auth_throttle", FAILED_AUTH_THROTTLE))?,
        rules,
        credentials,
        identity_headers,
        stripped_headers: stripped_headers?,
        kept_claims: kept_claims.with(known_needs),
        audit: root.word("audit", &Audit::ALL, Audit::name).unwrap_or_default(),
        status_paths: status_paths(&root.object("status_paths", STATUS_PATHS), resource_metadata.as_ref(), errors),
        resource_metadata,
        sign_in_url: responses.text("sign_in_url").map(str::to_owned),
        realm: responses.text("realm")?.to_owned(),
        cors_origins: responses.texts("cors_origins")?,
        jwt,
        api_token,
    })
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
fn auth_service(node: &Node<'_>, errors: &mut ConfigErrors) -> Option<AuthService> {
    let cluster = node.text("cluster").filter(|cluster| value::is_visible(cluster))?;
    let ServiceHost { cluster, authority } = host(node, cluster, errors)?;
    Some(AuthService {
        cluster,
        authority,
        scheme: node.word("scheme", &Scheme::ALL, Scheme::name)?,
        verify_path: node.text("verify_path")?.to_owned(),
        public_key_path: node.text("public_key_path")?.to_owned(),
        timeout: node.duration("timeout")?,
        retries: node.whole("retries")?,
        forward_headers: Vec::new(),
    })
}

/// The host behind a cluster: with the `authority` that is written, else with the host in the cluster's name.
fn host(node: &Node<'_>, cluster: &str, errors: &mut ConfigErrors) -> Option<ServiceHost> {
    let authority = match (node.text("authority"), node.written("authority")) {
        (Some(written), _) => written,
        (None, Some(written)) if *written != Value::Null => return None,
        (None, _) => {
            let Some(host) = value::host_of_cluster(cluster) else {
                errors.push(
                    node.at("authority"),
                    format!("is required: the cluster's name {cluster:?} is not a valid host"),
                );
                return None;
            };
            host
        }
    };
    Some(ServiceHost { cluster: cluster.to_owned(), authority: authority.to_owned() })
}

/// The host that is named here, else the service's.
fn own_host(node: &Node<'_>, service: &AuthService, errors: &mut ConfigErrors) -> Option<ServiceHost> {
    match node.text("cluster") {
        Some(cluster) => value::is_visible(cluster).then(|| host(node, cluster, errors)).flatten(),
        None => Some(ServiceHost {
            cluster: service.cluster.clone(),
            authority: node.text("authority").unwrap_or(&service.authority).to_owned(),
        }),
    }
}

/// The headers to copy to callouts. A default that a client may not send, or that holds credentials, is left out.
#[inline(never)]
fn forward_headers(
    node: &Node<'_>,
    stripped: &StrippedHeaders,
    credentials: &Credentials,
    errors: &mut ConfigErrors,
) -> Option<Vec<String>> {
    const NAME: &str = "forward_headers";
    let mut names: Vec<String> = Vec::new();
    for (index, name) in node.texts(NAME)?.iter().map(|name| name.to_ascii_lowercase()).enumerate() {
        let is_stripped = stripped.covers(name.as_bytes());
        let problem = headers::problem_of_forwarded_header(&name, credentials)
            .or_else(|| is_stripped.then_some("is a header that no client may send"))
            .or_else(|| names.contains(&name).then_some("is given twice"));
        match problem {
            None => names.push(name),
            Some(_) if node.written(NAME).is_none() => {}
            Some(problem) => errors.push(format!("{}[{index}]", node.at(NAME)), problem),
        }
    }
    Some(names)
}

#[inline(never)]
fn jwt(node: &Node<'_>, service: Option<&AuthService>, errors: &mut ConfigErrors) -> Option<Jwt> {
    let public_key = public_key(&node.object("public_key", PUBLIC_KEY), service, errors);
    Some(Jwt {
        verification: node.word("verification", &Verification::ALL, Verification::name)?,
        token_types: node.words("token_types", &TokenType::ALL, TokenType::name)?,
        required_claims: node.texts("required_claims")?.iter().map(|name| name.parse().ok()).collect::<Option<_>>()?,
        issuers: node.texts("issuers")?,
        audiences: node.texts("audiences")?,
        clock_skew: node.duration("clock_skew")?,
        public_key: public_key?,
    })
}

fn public_key(node: &Node<'_>, service: Option<&AuthService>, errors: &mut ConfigErrors) -> Option<PublicKeySource> {
    let mut pem = Vec::new();
    for (index, text) in node.texts("pem")?.iter().enumerate() {
        match PublicKey::from_pem(text) {
            Ok(key) => pem.push(key),
            Err(error) => errors.push(format!("{}[{index}]", node.at("pem")), error.to_string()),
        }
    }
    Some(PublicKeySource {
        ttl: node.duration("ttl")?,
        min_refetch_interval: node.duration("min_refetch_interval")?,
        grace: node.duration("grace")?,
        host: own_host(node, service?, errors)?,
        pem,
    })
}

#[inline(never)]
fn api_token(node: &Node<'_>, errors: &mut ConfigErrors) -> Option<ApiToken> {
    let answer_headers = answer_headers(&node.object("answer_headers", ANSWER_HEADERS), errors);
    let api_token = ApiToken {
        response_format: node.word("response_format", &ResponseFormat::ALL, ResponseFormat::name)?,
        answer_headers: answer_headers?,
        header_types: node.words("header_types", &HeaderType::ALL, HeaderType::name)?,
        accept_technical: node.flag("accept_technical")?,
    };
    if !api_token.header_types.is_empty()
        && !api_token.accepts(HeaderType::Apikey)
        && !api_token.accepts(HeaderType::Other)
    {
        errors.push(node.at("header_types"), "must contain apikey or other: the service is asked only about these");
    }
    if api_token.accepts(HeaderType::Other) && api_token.response_format == ResponseFormat::JsonHeader {
        // Neither `json_header` nor other credentials say of what type a token is.
        errors.push(node.at("header_types"), "other can't be combined with response_format json_header");
    }
    Some(api_token)
}

#[inline(never)]
fn answer_headers(node: &Node<'_>, errors: &mut ConfigErrors) -> Option<AnswerHeaders> {
    let name = |claim| node.text(claim).map(str::to_owned);
    let headers = AnswerHeaders {
        user_id: name("user_id")?,
        client_id: name("client_id")?,
        email: name("email")?,
        user_type: name("user_type")?,
        is_admin: name("is_admin")?,
    };
    for (index, (claim, name)) in headers.iter().enumerate() {
        if !is_token(name.as_bytes()) {
            errors.push(node.at(claim), NO_NAME);
        }
        // One header can't hold two claims.
        if headers.iter().take(index).any(|(_, earlier)| earlier.eq_ignore_ascii_case(name)) {
            errors.push(node.at(claim), "is already the header of another claim");
        }
    }
    Some(headers)
}

#[inline(never)]
fn credentials(node: &Node<'_>, api_token: Option<&ApiToken>, errors: &mut ConfigErrors) -> Credentials {
    const HEADER: &str = "api_key_header";
    if let Some(name) = node.text(HEADER) {
        if let Some(problem) = headers::problem_of_credential_header(name) {
            errors.push(node.at(HEADER), problem);
        }
        if api_token.is_some_and(|api_token| !api_token.accepts(HeaderType::Apikey)) {
            errors.push(node.at(HEADER), "needs apikey in api_token.header_types");
        }
    }
    Credentials {
        api_key_header: node.text(HEADER).map(str::to_ascii_lowercase),
        cookie: node.text("cookie").map(str::to_owned),
        websocket_protocol: node.flag("websocket_protocol").unwrap_or_default(),
    }
}

#[inline(never)]
fn cache(node: &Node<'_>) -> Option<Cache> {
    Some(Cache {
        max_entries: node.whole("max_entries")? as usize,
        ttl: node.duration("ttl")?,
        negative_ttl: node.duration("negative_ttl")?,
        stale_ttl: node.duration("stale_ttl")?,
        eviction: node.word("eviction", &Eviction::ALL, Eviction::name)?,
    })
}

#[inline(never)]
fn circuit_breaker(node: &Node<'_>) -> Option<CircuitBreaker> {
    Some(CircuitBreaker {
        failures: node.whole("failures")?,
        open_for: node.duration("open_for")?,
        fallback: node.flag("fallback")?,
    })
}

/// `Some(None)`: the service has no list.
#[expect(clippy::option_option, reason = "the outer one says whether it can be used")]
#[inline(never)]
fn revocation(node: &Node<'_>, service: &AuthService, errors: &mut ConfigErrors) -> Option<Option<Revocation>> {
    let (poll_interval, host) = (node.duration("poll_interval")?, own_host(node, service, errors)?);
    Some(node.text("path").map(|path| Revocation { path: path.to_owned(), poll_interval, host }))
}

/// `Some(None)`: there is no lockout.
#[expect(clippy::option_option, reason = "the outer one says whether it can be used")]
#[inline(never)]
fn throttle(node: &Node<'_>) -> Option<Option<FailedAuthThrottle>> {
    let attempts = node.whole("attempts")?;
    let throttle =
        FailedAuthThrottle { attempts, window: node.duration("window")?, lockout: node.duration("lockout")? };
    Some((attempts > 0).then_some(throttle))
}

#[inline(never)]
fn status_paths(node: &Node<'_>, metadata: Option<&ResourceMetadata>, errors: &mut ConfigErrors) -> StatusPaths {
    let path = |name| node.text(name).map(str::to_owned);
    for name in ["health", "readiness"] {
        if node.text(name).is_some_and(|path| metadata.is_some_and(|metadata| metadata.path == path)) {
            errors.push(node.at(name), "is already the path of the resource metadata");
        }
    }
    let paths = StatusPaths { health: path("health"), readiness: path("readiness") };
    if paths.health.is_some() && paths.health == paths.readiness {
        errors.push(node.at("readiness"), "is already the path of health");
    }
    paths
}

/// `Some(None)`: there is none.
#[expect(clippy::option_option, reason = "the outer one says whether it can be used")]
#[inline(never)]
fn resource_metadata(responses: &Node<'_>) -> Option<Option<ResourceMetadata>> {
    const NAME: &str = "resource_metadata";
    if responses.written(NAME).is_none_or(|written| *written == Value::Null) {
        return Some(None);
    }
    let node = responses.object(NAME, RESOURCE_METADATA);
    let (servers, scopes) = (node.texts("authorization_servers")?, node.texts("scopes_supported")?);
    Some(Some(ResourceMetadata::new(node.text("resource")?, &servers, &scopes)))
}
