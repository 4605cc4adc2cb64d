//! Credential extraction and the stripping of headers.
//!
//! An input is a byte, of which three bits say what the configuration accepts, and then lines `name: value`.

use std::cell::OnceCell;
use std::sync::LazyLock;

use authgate::config::Config;
use authgate::internals::{extract, headers_to_strip};
use authgate::{Code, Credential, Form, RequestHead};
use regex::bytes::Regex;

/// One scheme, one space, one token of visible ASCII without a comma.
static GRAMMAR: LazyLock<Regex> = LazyLock::new(|| regex(r"\A(?<scheme>[A-Za-z0-9-]+) (?<token>[!-+\--~]+)\z"));
static JWT: LazyLock<Regex> = LazyLock::new(|| regex(r"\A[^.]*\.[^.]*\.[^.]*\z"));
/// With any number, in any spelling.
static API_TOKEN: LazyLock<Regex> = LazyLock::new(|| regex(r"\A(?<number>[0-9]+)\$[0-9a-z]{128}\z"));
static CANONICAL: LazyLock<Regex> = LazyLock::new(|| regex(r"\A(?:0|[1-9][0-9]{0,18})\z"));
/// As servers fold names, `-` stands for every byte but letters and digits.
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
        static CONFIGS: [OnceCell<Config>; 8] = const { [const { OnceCell::new() }; 8] };
    }
    let Some((selector, text)) = data.split_first() else { return };
    // Without API tokens and others there would be nothing to ask the service about, which can't be configured.
    let types = match usize::from(selector & 7) {
        types if types & 5 == 0 => types | 1,
        types => types,
    };
    let headers = headers(text);
    CONFIGS.with(|configs| check(&headers, types, configs[types].get_or_init(|| config(types))));
}

/// Lines as headers: names in lower case, as hosts hand them over.
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

fn config(types: usize) -> Config {
    let types: Vec<&str> = (0..3).filter(|bit| types & (1 << bit) != 0).map(|bit| TYPES[bit]).collect();
    let json = serde_json::json!({
        "auth_service": {"cluster": "auth"},
        "api_token": {"header_types": types},
        "identity_headers": {"X-User-Email": null, "X_Team": "user_groups"},
        "strip_headers": ["X.Remote.User"],
    });
    Config::from_bytes(json.to_string().as_bytes()).expect("a configuration")
}

fn check(headers: &[(String, Vec<u8>)], types: usize, config: &Config) {
    let head = RequestHead { headers, has_body: false };
    let found = extract(&head, &config.api_token);
    assert_eq!(found, expected(headers, types), "what is extracted");

    let stripped = headers_to_strip(&head, &config.stripped_headers);
    let expected: Vec<&str> =
        headers.iter().map(|(name, _)| name.as_str()).filter(|name| STRIPPED.is_match(name.as_bytes())).collect();
    assert_eq!(stripped, expected, "what is stripped");
}

fn expected(headers: &[(String, Vec<u8>)], types: usize) -> Result<Credential<'_>, Code> {
    let values: Vec<&[u8]> =
        headers.iter().filter(|(name, _)| name == "authorization").map(|(_, value)| value.as_slice()).collect();
    let value = match values[..] {
        [] => return Err(Code::MissingCredentials),
        [value] => value,
        _ => return Err(Code::MalformedCredentials),
    };
    let parts = GRAMMAR.captures(value).ok_or(Code::MalformedCredentials)?;
    let token = parts.name("token").expect("a group of the regex").as_bytes();
    let (takes_api_tokens, takes_others) = (types & 1 != 0, types & 4 != 0);
    let code = match parts["scheme"].to_ascii_lowercase().as_slice() {
        b"bearer" if JWT.is_match(token) => return Ok(Credential::in_authorization(Form::Jwt, ascii(token))),
        b"apikey" if takes_api_tokens && API_TOKEN.is_match(token) => {
            let number = ascii(&API_TOKEN.captures(token).expect("a match")["number"]).to_owned();
            // Nineteen digits compare as numbers do.
            let fits = number.len() < 19 || number.as_str() <= "9223372036854775807";
            let is_token = CANONICAL.is_match(number.as_bytes()) && fits;
            return if is_token {
                Ok(Credential::in_authorization(Form::ApiToken, ascii(token)))
            } else {
                Err(Code::TokenMalformed)
            };
        }
        b"bearer" => Code::TokenMalformed,
        b"apikey" if takes_api_tokens => Code::TokenMalformed,
        _ => Code::UnsupportedScheme,
    };
    if takes_others { Ok(Credential::in_authorization(Form::Other, ascii(value))) } else { Err(code) }
}

fn ascii(bytes: &[u8]) -> &str {
    assert!(bytes.is_ascii(), "the grammar is ASCII");
    str::from_utf8(bytes).expect("ASCII is UTF-8")
}
