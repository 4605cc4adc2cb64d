//! From the values of fields to a [`Config`], with the checks that one field alone doesn't allow.

use super::document::Value;
use super::error::ConfigErrors;
use super::fields::{
    API_TOKEN, AUTH_SERVICE, CACHE, CIRCUIT_BREAKER, CONFIGURATION, FAILED_AUTH_THROTTLE, JWT, MATCH, PUBLIC_KEY,
    REQUIRE, RESPONSES, REVOCATION, RULE,
};
use super::node::Node;
use super::{
    ApiToken, AuthService, Cache, CircuitBreaker, Config, Eviction, FailedAuthThrottle, ForwardCredential, HeaderType,
    IdentityHeaders, Jwt, Profile, PublicKeySource, ResponseFormat, Revocation, Scheme, StrippedHeaders, Verification,
    value,
};
use crate::claims::TokenType;
use crate::matcher::{Matcher, PathMatch, Require, Rule, Rules};
use crate::public_key::PublicKey;

/// Compiles what [`super::check`] has looked at. `None`, if something of it can't be used; the errors say what.
pub(super) fn compile(document: &Value, errors: &mut ConfigErrors) -> Option<Config> {
    let root = |profile| Node::new(Some(document), CONFIGURATION, String::new(), profile);
    let profile = root(Profile::Production).word("profile", &Profile::ALL, Profile::name);
    let root = root(profile.unwrap_or_default());

    let auth_service = auth_service(&root.object("auth_service", AUTH_SERVICE), errors);
    let jwt = jwt(&root.object("jwt", JWT), errors);
    let api_token = api_token(&root.object("api_token", API_TOKEN), errors);
    // All of them, so that each error is told.
    let rules: Vec<Option<Rule>> = root.objects("rules", RULE).map(|rule| self::rule(&rule, errors)).collect();
    let rules: Option<Vec<Rule>> = rules.into_iter().collect();
    let forward_credential = forward_credential(&root, api_token.as_ref(), errors);
    let identity_headers = IdentityHeaders::new(root.pairs("identity_headers"), errors);
    let stripped_headers = StrippedHeaders::new(&identity_headers, root.texts("strip_headers"), errors);
    let responses = root.object("responses", RESPONSES);

    let (jwt, api_token, rules) = (jwt?, api_token?, rules?);
    if api_token.response_format == ResponseFormat::JsonHeader
        && let Some(path) = remote_verification(&jwt, &rules)
    {
        // `json_header` tells neither the type of a token nor when it expires.
        errors.push(path, "remote contradicts api_token.response_format json_header");
    }
    Some(Config {
        auth_service: auth_service?,
        cache: cache(&root.object("cache", CACHE))?,
        circuit_breaker: circuit_breaker(&root.object("circuit_breaker", CIRCUIT_BREAKER))?,
        revocation: revocation(&root.object("revocation", REVOCATION))?,
        failed_auth_throttle: throttle(&root.object("failed_auth_throttle", FAILED_AUTH_THROTTLE))?,
        rules: Rules::new(rules, jwt.verification),
        identity_headers,
        stripped_headers: stripped_headers?,
        forward_credential: forward_credential?,
        realm: responses.text("realm")?.to_owned(),
        cors_origins: responses.texts("cors_origins")?,
        jwt,
        api_token,
    })
}

/// The first field that asks for remote verification.
fn remote_verification(jwt: &Jwt, rules: &[Rule]) -> Option<String> {
    if jwt.verification == Verification::Remote {
        return Some("jwt.verification".to_owned());
    }
    let index = rules.iter().position(|rule| rule.verification == Some(Verification::Remote))?;
    Some(format!("rules[{index}].verification"))
}

fn auth_service(node: &Node<'_>, errors: &mut ConfigErrors) -> Option<AuthService> {
    let cluster = node.text("cluster").filter(|cluster| value::is_visible(cluster))?;
    let authority = match node.text("authority") {
        Some(written) => written,
        None if node.written("authority").is_some() => return None,
        None => {
            let Some(host) = value::host_of_cluster(cluster) else {
                errors.push(node.at("authority"), format!("is required: the cluster's name {cluster:?} is no host"));
                return None;
            };
            host
        }
    };
    Some(AuthService {
        cluster: cluster.to_owned(),
        authority: authority.to_owned(),
        scheme: node.word("scheme", &Scheme::ALL, Scheme::name)?,
        verify_path: node.text("verify_path")?.to_owned(),
        public_key_path: node.text("public_key_path")?.to_owned(),
        timeout: node.duration("timeout")?,
        retries: node.whole("retries")?,
    })
}

fn jwt(node: &Node<'_>, errors: &mut ConfigErrors) -> Option<Jwt> {
    let public_key = public_key(&node.object("public_key", PUBLIC_KEY), errors);
    Some(Jwt {
        verification: node.word("verification", &Verification::ALL, Verification::name)?,
        token_types: node.words("token_types", &TokenType::ALL, TokenType::name)?,
        issuers: node.texts("issuers")?,
        audiences: node.texts("audiences")?,
        clock_skew: node.duration("clock_skew")?,
        public_key: public_key?,
    })
}

fn public_key(node: &Node<'_>, errors: &mut ConfigErrors) -> Option<PublicKeySource> {
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
        pem,
    })
}

fn api_token(node: &Node<'_>, errors: &mut ConfigErrors) -> Option<ApiToken> {
    let api_token = ApiToken {
        response_format: node.word("response_format", &ResponseFormat::ALL, ResponseFormat::name)?,
        header_types: node.words("header_types", &HeaderType::ALL, HeaderType::name)?,
    };
    if !api_token.header_types.is_empty()
        && !api_token.accepts(HeaderType::Apikey)
        && !api_token.accepts(HeaderType::Other)
    {
        errors.push(node.at("header_types"), "without apikey and other nothing is ever asked about");
    }
    if api_token.accepts(HeaderType::Other) && api_token.response_format == ResponseFormat::JsonHeader {
        // `json_header` doesn't tell the type of a token, and other credentials don't tell it either.
        errors.push(node.at("header_types"), "other contradicts response_format json_header");
    }
    Some(api_token)
}

fn cache(node: &Node<'_>) -> Option<Cache> {
    Some(Cache {
        max_entries: node.whole("max_entries")? as usize,
        ttl: node.duration("ttl")?,
        negative_ttl: node.duration("negative_ttl")?,
        stale_ttl: node.duration("stale_ttl")?,
        eviction: node.word("eviction", &Eviction::ALL, Eviction::name)?,
    })
}

fn circuit_breaker(node: &Node<'_>) -> Option<CircuitBreaker> {
    Some(CircuitBreaker {
        failures: node.whole("failures")?,
        open_for: node.duration("open_for")?,
        fallback: node.flag("fallback")?,
    })
}

/// `Some(None)`: the service has no list.
#[expect(clippy::option_option, reason = "the outer one says whether it can be used")]
fn revocation(node: &Node<'_>) -> Option<Option<Revocation>> {
    let poll_interval = node.duration("poll_interval")?;
    Some(node.text("path").map(|path| Revocation { path: path.to_owned(), poll_interval }))
}

/// `Some(None)`: there is no lockout.
#[expect(clippy::option_option, reason = "the outer one says whether it can be used")]
fn throttle(node: &Node<'_>) -> Option<Option<FailedAuthThrottle>> {
    let attempts = node.whole("attempts")?;
    let throttle =
        FailedAuthThrottle { attempts, window: node.duration("window")?, lockout: node.duration("lockout")? };
    Some((attempts > 0).then_some(throttle))
}

fn forward_credential(
    root: &Node<'_>,
    api_token: Option<&ApiToken>,
    errors: &mut ConfigErrors,
) -> Option<ForwardCredential> {
    const NAME: &str = "forward_credential";
    match root.flag(NAME) {
        Some(true) => Some(ForwardCredential::Keep),
        Some(false) => Some(ForwardCredential::Remove),
        None => {
            if root.text(NAME)? == "jwt" && !api_token?.response_format.is_jwt() {
                errors.push(NAME, "\"jwt\" needs api_token.response_format jwt_body or jwt_header");
            }
            Some(ForwardCredential::VerifiedJwt)
        }
    }
}

fn rule(node: &Node<'_>, errors: &mut ConfigErrors) -> Option<Rule> {
    let matcher = matcher(&node.object("match", MATCH), errors);
    let verification = node.word("verification", &Verification::ALL, Verification::name);
    let written = node.object("require", REQUIRE);
    if written.is_empty() {
        errors.push(written.path(), "must not be empty");
    }
    let require = Require { token_types: written.words("token_types", &TokenType::ALL, TokenType::name) };
    let public = node.flag("public")?;
    if public && written.is_object() {
        errors.push(node.path(), "public and require contradict each other");
    }
    if public && verification.is_some() {
        let problem = "public and verification contradict each other: no credential is looked at";
        errors.push(node.at("verification"), problem);
    }
    Some(Rule { matcher: matcher?, public, require, verification })
}

fn matcher(node: &Node<'_>, errors: &mut ConfigErrors) -> Option<Matcher> {
    if node.is_empty() {
        errors.push(node.path(), "must not be empty; {\"prefix\": \"/\"} matches every path");
        return None;
    }
    let compiled = [
        ("path", node.text("path").map(PathMatch::exact)),
        ("prefix", node.text("prefix").map(PathMatch::prefix)),
        ("regex", node.text("regex").map(PathMatch::regex)),
    ];
    let mut paths = Vec::new();
    for (name, compiled) in compiled {
        match compiled {
            None => {}
            Some(Ok(path)) => paths.push(path),
            Some(Err(problem)) => errors.push(node.at(name), problem),
        }
    }
    if paths.len() > 1 {
        errors.push(node.path(), "path, prefix and regex exclude each other");
    }
    Matcher::new(paths.pop().unwrap_or(PathMatch::Any), node.texts("methods")?, node.texts("hosts")?)
        .map_err(|(field, problem)| errors.push(node.at(&field), problem))
        .ok()
}
