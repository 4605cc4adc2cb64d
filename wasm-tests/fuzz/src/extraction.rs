//! Credential extraction and the stripping of headers.
//!
//! An input is a byte and lines `name: value`. Six bits say which credentials are accepted, and where.

use std::cell::OnceCell;
use std::sync::LazyLock;

use authgate::config::Config;
use authgate::internals::{extract, headers_to_strip};
use authgate::{Code, Credential, Form, Place, RequestHead, lend};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use regex::bytes::Regex;

/// One scheme, one space, one token of visible ASCII without a comma.
static GRAMMAR: LazyLock<Regex> = LazyLock::new(|| regex(r"\A(?<scheme>[A-Za-z0-9-]+) (?<token>[!-+\--~]+)\z"));
static TOKEN: LazyLock<Regex> = LazyLock::new(|| regex(r"\A[!-+\--~]+\z"));
static JWT: LazyLock<Regex> = LazyLock::new(|| regex(r"\A[^.]*\.[^.]*\.[^.]*\z"));
/// With any number, however it is written.
static API_TOKEN: LazyLock<Regex> = LazyLock::new(|| regex(r"\A(?<number>[0-9]+)\$[0-9a-z]{128}\z"));
static CANONICAL: LazyLock<Regex> = LazyLock::new(|| regex(r"\A(?:0|[1-9][0-9]{0,18})\z"));
/// A cookie with the configured name and a value.
static SESSION: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"\A[^!-~]*session[^!-~]*=[ \t\r\n\x0c]*(?<value>[^ \t\r\n\x0c](?:.*[^ \t\r\n\x0c])?)[ \t\r\n\x0c]*\z")
});
static EMPTY_SESSION: LazyLock<Regex> = LazyLock::new(|| regex(r"\A[^!-~]*session[^!-~]*="));
/// A cookie in which a server may see another one, with the configured name.
static INNER_SESSION: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"(?:\A|[^!-~]|[,"\\\[\]]|GMT)[():<=>?@{}]*session[^!-~]*="#));
/// A protocol that holds a token.
static PROTOCOL_WITH_TOKEN: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\A[^!-~]*base64url\.bearer\.authorization\.k8s\.io\.(?<token>.*?)[^!-~]*\z"));
/// An origin without its scheme, or `:authority`.
static ORIGIN: LazyLock<Regex> = LazyLock::new(|| regex(r"\A(?<host>.*?)(?::(?<port>[^:\]]*))?\z"));
/// `-` matches every byte but letters and digits, as servers fold names.
static STRIPPED: LazyLock<Regex> = LazyLock::new(|| {
    let names = "x-user-id|x-client-id|x-user-email|x-user-type|x-is-admin|x-team|x-remote-user";
    regex(&format!(r"\A(?i:{})\z", names.replace('-', "[^a-z0-9]")))
});

fn regex(text: &str) -> Regex {
    regex::bytes::RegexBuilder::new(text).unicode(false).dot_matches_new_line(true).build().expect("a regex")
}

/// Checks one input.
///
/// # Panics
/// If a promise is broken.
pub fn run(data: &[u8]) {
    thread_local! {
        static CONFIGS: [OnceCell<Config>; 256] = const { [const { OnceCell::new() }; 256] };
    }
    let Some((selector, text)) = data.split_first() else { return };
    // A configuration must accept a form of credential that the service is asked about.
    let choice = match usize::from(*selector) {
        choice if choice & 5 == 0 => choice | 1,
        // A header for API tokens requires that they are accepted.
        choice if choice & 1 == 0 => choice & !API_KEY_HEADER,
        choice => choice,
    };
    let headers = headers(text);
    CONFIGS.with(|configs| check(&headers, choice, configs[choice].get_or_init(|| config(choice))));
}

/// The bits of the places besides `Authorization`. Two bits are unused.
const API_KEY_HEADER: usize = 8;
const COOKIE: usize = 64;
const PROTOCOL: usize = 128;

/// Lines as headers. Names are in lower case, as hosts pass them.
fn headers(text: &[u8]) -> Vec<(String, Vec<u8>)> {
    text.split(|byte| *byte == b'\n')
        .take(64)
        .filter_map(|line| {
            let colon = line.iter().skip(1).position(|byte| *byte == b':')? + 1;
            let value = line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..]);
            Some((String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase(), value.to_vec()))
        })
        .collect()
}

const TYPES: [&str; 3] = ["apikey", "jwt", "other"];

fn config(choice: usize) -> Config {
    let types: Vec<&str> = (0..3).filter(|bit| choice & (1 << bit) != 0).map(|bit| TYPES[bit]).collect();
    let json = serde_json::json!({
        "auth_service": {"cluster": "auth"},
        "api_token": {"header_types": types},
        "credentials": {
            "api_key_header": (choice & API_KEY_HEADER != 0).then_some("X-API-Key"),
            "cookie": (choice & COOKIE != 0).then_some("session"),
            "websocket_protocol": choice & PROTOCOL != 0,
        },
        "identity_headers": {"X-User-Email": null, "X_Team": "user_groups"},
        "strip_headers": ["X.Remote.User"],
    });
    Config::from_bytes(json.to_string().as_bytes()).expect("a configuration")
}

fn check(headers: &[(String, Vec<u8>)], choice: usize, config: &Config) {
    let head = RequestHead { headers: &lend(headers), has_body: false };
    let found = extract(&head, &config.api_token, &config.credentials);
    assert_eq!(found, expected(headers, choice), "what is extracted");

    let stripped = headers_to_strip(&head, &config.stripped_headers);
    let is_twin = |name: &str| {
        let folded = name.bytes().map(|byte| if byte.is_ascii_alphanumeric() { byte } else { b'-' });
        let is_like = |wanted: &str| name != wanted && folded.clone().eq(wanted.bytes());
        choice & API_KEY_HEADER != 0 && is_like("x-api-key")
            || choice & PROTOCOL != 0 && is_like("sec-websocket-protocol")
    };
    let is_stripped = |name: &&str| STRIPPED.is_match(name.as_bytes()) || is_twin(name);
    let expected: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).filter(is_stripped).collect();
    assert_eq!(stripped, expected, "what is stripped");
}

/// The values in all places.
fn values(headers: &[(String, Vec<u8>)], choice: usize) -> Result<Vec<(Place, Vec<u8>)>, Code> {
    let of = |wanted: &'static str| headers.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value);
    let mut values: Vec<_> = of("authorization").map(|value| (Place::Authorization, value.clone())).collect();
    if choice & API_KEY_HEADER != 0 {
        values.extend(of("x-api-key").map(|value| (Place::ApiKeyHeader, value.clone())));
    }
    if choice & COOKIE != 0 {
        let line = of("cookie").map(Vec::as_slice).collect::<Vec<_>>().join(&b';');
        for cookie in line.split(|byte| *byte == b';') {
            if let Some(session) = SESSION.captures(cookie) {
                values.push((Place::Cookie, session["value"].to_vec()));
            } else if !EMPTY_SESSION.is_match(cookie) && INNER_SESSION.is_match(cookie) {
                values.push((Place::Cookie, cookie.trim_ascii().to_vec()));
            }
        }
    }
    let mut upgrades = of("upgrade");
    let is_websocket = upgrades.next().is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"));
    if choice & PROTOCOL != 0 && is_websocket && upgrades.next().is_none() {
        let line = of("sec-websocket-protocol").map(Vec::as_slice).collect::<Vec<_>>().join(&b',');
        let protocols = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|one| !one.is_empty());
        let (tokens, others): (Vec<_>, Vec<_>) = protocols.partition(|one| PROTOCOL_WITH_TOKEN.is_match(one));
        if !tokens.is_empty() && others.is_empty() {
            return Err(Code::MalformedCredentials);
        }
        let tokens = tokens.into_iter().filter_map(|protocol| PROTOCOL_WITH_TOKEN.captures(protocol));
        values.extend(tokens.map(|protocol| (Place::WebSocketProtocol, protocol["token"].to_vec())));
    }
    Ok(values)
}

fn expected(headers: &[(String, Vec<u8>)], choice: usize) -> Result<Credential<'static>, Code> {
    let mut values = values(headers, choice)?;
    let (place, value) = match values.len() {
        0 => return Err(Code::MissingCredentials),
        1 => values.remove(0),
        _ => return Err(Code::MalformedCredentials),
    };
    let value = match place {
        Place::Authorization => return in_authorization(&value, choice),
        Place::Cookie if !is_same_origin(headers) => return Err(Code::CrossSiteRequest),
        Place::WebSocketProtocol => BASE64_URL_SAFE_NO_PAD.decode(value).map_err(|_| Code::TokenMalformed)?,
        Place::ApiKeyHeader | Place::Cookie => value,
    };
    if !TOKEN.is_match(&value) {
        return Err(Code::MalformedCredentials);
    }
    let form = if place == Place::ApiKeyHeader { Form::ApiToken } else { Form::Jwt };
    let is_good = if form == Form::Jwt { JWT.is_match(&value) } else { is_api_token(&value) };
    if is_good { Ok(credential(form, place, &value)) } else { Err(Code::TokenMalformed) }
}

/// Whether a browser says that a page of the same origin sent the request, or whether its method is safe.
fn is_same_origin(headers: &[(String, Vec<u8>)]) -> bool {
    let all = |wanted: &str| -> Vec<Vec<u8>> {
        headers.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.clone()).collect()
    };
    let first = |wanted: &str| all(wanted).into_iter().next().unwrap_or_default();
    let method = first(":method").to_ascii_uppercase();
    let is_upgrade = !all("upgrade").is_empty() || !all(":protocol").is_empty();
    if !is_upgrade && matches!(method.as_slice(), b"GET" | b"HEAD" | b"OPTIONS") {
        return true;
    }
    match (all("sec-fetch-site").as_slice(), all("origin").as_slice()) {
        ([site], _) => site == b"same-origin" || site == b"none",
        ([], [origin]) => {
            let parts = |text: &[u8]| {
                let parts = ORIGIN.captures(text)?;
                let port = parts.name("port").map(|port| port.as_bytes().to_vec());
                Some((parts["host"].to_ascii_lowercase(), port))
            };
            let (scheme, authority) = (first(":scheme"), first(":authority"));
            let (own, default): (_, &[u8]) = match scheme.to_ascii_lowercase().as_slice() {
                b"http" => (b"http://".to_vec(), b"80"),
                b"https" => (b"https://".to_vec(), b"443"),
                _ => return false,
            };
            let Some(rest) = origin.strip_prefix(own.as_slice()) else { return false };
            let (Some((host, port)), Some((own_host, own_port))) = (parts(rest), parts(&authority)) else {
                return false;
            };
            !host.is_empty()
                && host == own_host
                && own_port.is_none_or(|own| own == port.unwrap_or_else(|| default.to_vec()))
        }
        _ => false,
    }
}

fn is_api_token(token: &[u8]) -> bool {
    API_TOKEN.captures(token).is_some_and(|parts| {
        let number = ascii(&parts["number"]);
        // Texts of nineteen digits compare like numbers.
        CANONICAL.is_match(number.as_bytes()) && (number.len() < 19 || number <= "9223372036854775807")
    })
}

fn in_authorization(value: &[u8], choice: usize) -> Result<Credential<'static>, Code> {
    let parts = GRAMMAR.captures(value).ok_or(Code::MalformedCredentials)?;
    let token = parts.name("token").expect("a group of the regex").as_bytes();
    let (takes_api_tokens, takes_others) = (choice & 1 != 0, choice & 4 != 0);
    let code = match parts["scheme"].to_ascii_lowercase().as_slice() {
        b"bearer" if JWT.is_match(token) => return Ok(credential(Form::Jwt, Place::Authorization, token)),
        b"apikey" if takes_api_tokens && API_TOKEN.is_match(token) => {
            return if is_api_token(token) {
                Ok(credential(Form::ApiToken, Place::Authorization, token))
            } else {
                Err(Code::TokenMalformed)
            };
        }
        b"bearer" => Code::TokenMalformed,
        b"apikey" if takes_api_tokens => Code::TokenMalformed,
        _ => Code::UnsupportedScheme,
    };
    if takes_others { Ok(credential(Form::Other, Place::Authorization, value)) } else { Err(code) }
}

fn credential(form: Form, place: Place, text: &[u8]) -> Credential<'static> {
    Credential { form, place, token: ascii(text).as_bytes().to_owned().into() }
}

fn ascii(bytes: &[u8]) -> &str {
    assert!(bytes.is_ascii(), "the grammar is ASCII");
    str::from_utf8(bytes).expect("ASCII is UTF-8")
}
