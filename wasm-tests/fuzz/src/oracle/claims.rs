//! docs/reference.md#claims: which JSON is a claim set, and which values it has.

use authgate::internals::MAX_TIME;
use authgate::{ClaimPath, Claims};

use super::json::Json;

/// The type of a claim.
#[derive(Clone, Copy)]
enum Kind {
    Time,
    Integer,
    Text,
    Flag,
    Integers,
    Texts,
}

const CLAIMS: [(&str, Kind); 24] = [
    ("exp", Kind::Time),
    ("nbf", Kind::Time),
    ("jti", Kind::Text),
    ("iss", Kind::Text),
    ("user_id", Kind::Integer),
    ("client_id", Kind::Integer),
    ("token_id", Kind::Integer),
    ("issued_by.user_id", Kind::Integer),
    ("issued_by.user_type", Kind::Text),
    ("token_type", Kind::Text),
    ("user_type", Kind::Text),
    ("user_groups", Kind::Texts),
    ("role_params.role", Kind::Text),
    ("role_params.read_only", Kind::Flag),
    ("role_params.federations", Kind::Integers),
    ("role_params.alias", Kind::Text),
    ("role_params.resellers_wl", Kind::Integers),
    ("role_params.resellers_bl", Kind::Integers),
    ("email", Kind::Text),
    ("username", Kind::Text),
    ("sso_entity", Kind::Text),
    ("is_admin", Kind::Flag),
    ("client_name", Kind::Text),
    ("federation_id", Kind::Integer),
];

/// RFC 7519 section 4.1, without `aud`: of these types, or absent.
const REGISTERED: [(&str, Kind); 6] = [
    ("exp", Kind::Time),
    ("nbf", Kind::Time),
    ("iat", Kind::Time),
    ("jti", Kind::Text),
    ("iss", Kind::Text),
    ("sub", Kind::Text),
];

const REQUIRED: [&str; 4] = ["exp", "user_id", "client_id", "token_type"];

const TOKEN_TYPES: [&str; 5] = ["access", "refresh", "password_reset", "api_token", "technical"];

/// Claims as headers carry them, `None` if a header can't.
pub type Values = Vec<(&'static str, Option<Option<String>>)>;

/// The values that must be read from `json`, or `None` if it isn't a claim set.
pub fn values(json: &Json) -> Option<Values> {
    let Json::Object(_) = json else { return None };
    for folder in ["issued_by", "role_params"] {
        if !matches!(json.get(folder), None | Some(Json::Null | Json::Object(_))) {
            return None;
        }
    }
    let is_audience = match json.get("aud") {
        None | Some(Json::Text(_)) => true,
        Some(Json::Array(entries)) => entries.iter().all(|entry| matches!(entry, Json::Text(_))),
        Some(_) => false,
    };
    let is_registered = |(name, kind): &(&str, Kind)| json.get(name).is_none_or(|value| header(value, *kind).is_some());
    if !is_audience || !REGISTERED.iter().all(is_registered) {
        return None;
    }
    let mut values = Vec::new();
    for (path, kind) in CLAIMS {
        let value = match path.split_once('.') {
            Some((folder, name)) => json.get(folder).and_then(|folder| folder.get(name)),
            None => json.get(path),
        };
        let value = value.filter(|value| **value != Json::Null);
        if value.is_none() && REQUIRED.contains(&path) {
            return None;
        }
        let mut text = match value {
            Some(value) => Some(header(value, kind)?),
            None => None,
        };
        if path == "token_type" && !text.as_ref().is_some_and(|text| TOKEN_TYPES.contains(&text.as_str())) {
            text = Some(String::new());
        }
        let is_split =
            |entry: &Json| matches!(entry, Json::Text(text) if text.contains(',') || text.trim_matches(' ') != text);
        let is_ambiguous =
            matches!((kind, value), (Kind::Texts, Some(Json::Array(entries))) if entries.iter().any(is_split));
        let is_visible = |text: &String| {
            let has_edge = text.starts_with(' ') || text.ends_with(' ');
            !has_edge && text.bytes().all(|byte| byte >= b' ' && byte != 0x7f)
        };
        values.push((path, (!is_ambiguous && text.iter().all(is_visible)).then_some(text)));
    }
    Some(values)
}

/// The values that authgate has read.
pub fn read(claims: &Claims) -> Values {
    CLAIMS
        .iter()
        .map(|(path, _)| {
            let known: ClaimPath = path.parse().expect("a known claim");
            let value = claims.header_value(known).ok();
            (*path, value.map(|value| value.map(std::borrow::Cow::into_owned)))
        })
        .collect()
}

fn header(value: &Json, kind: Kind) -> Option<String> {
    let list = |value: &Json, entry: fn(&Json) -> Option<String>| match value {
        Json::Array(entries) => Some(entries.iter().map(entry).collect::<Option<Vec<_>>>()?.join(",")),
        _ => None,
    };
    match kind {
        Kind::Time => integer(value).filter(|text| text.parse().is_ok_and(|time: u64| time <= MAX_TIME)),
        Kind::Integer => integer(value),
        Kind::Text => text(value),
        Kind::Flag => match value {
            Json::Bool(flag) => Some(flag.to_string()),
            _ => None,
        },
        Kind::Integers => list(value, integer),
        Kind::Texts => list(value, text),
    }
}

fn text(value: &Json) -> Option<String> {
    match value {
        Json::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// A 64-bit integer that is written as one, unlike `1.0`, `1e0` and `-0`.
fn integer(value: &Json) -> Option<String> {
    let Json::Number(number) = value else { return None };
    let value: i64 = number.parse().ok()?;
    (value.to_string() == *number).then(|| number.clone())
}
