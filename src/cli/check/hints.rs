//! Hints: what to write in place of what the filter refuses, where the file shows what was meant. The module contains
//! neither them nor the search for them.

use super::rules;
use crate::cli::tree::{Node, Value, steps};
use crate::config::table::{CONFIGURATION, Field, Given, Kind, Text};
use crate::path;

static WHOLE: Kind = Kind::Object(CONFIGURATION);

/// What to write in place of what is refused at this path of the configuration.
pub fn hint(tree: &Node, path: &str) -> Option<String> {
    let (mut node, mut kind, mut place) = (tree, &WHOLE, String::new());
    for step in steps(path) {
        if step.starts_with('[') {
            kind = entry(kind)?;
            place.push_str("[]");
        } else {
            let fields = kind.fields();
            let Some(field) = fields.iter().find(|field| field.name == step) else {
                // Elsewhere the keys are the operator's own.
                return if fields.is_empty() { None } else { misplaced(&step, &place) };
            };
            kind = &field.kind;
            place = below(&place, &step);
        }
        node = node.step(&step)?;
    }
    wrong_type(node, kind, &place).or_else(|| escaped(node, kind, &place))
}

/// What an entry of a list holds.
const fn entry(kind: &'static Kind) -> Option<&'static Kind> {
    match kind {
        Kind::List(of) | Kind::Distinct(of) => Some(of),
        Kind::ObjectOrObjects(_) => Some(kind),
        _ => None,
    }
}

fn below(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}

/// Where the field is that was written as one of the object at `place`.
fn misplaced(name: &str, place: &str) -> Option<String> {
    /// More places than these don't help.
    const MOST: usize = 3;
    let place = place.strip_suffix(".require[]").map_or_else(|| place.to_owned(), |rule| format!("{rule}.require"));
    let mut places = Vec::new();
    find(name, CONFIGURATION, "", &mut places);
    let is_within = |inner: &str, outer: &str| outer.is_empty() || inner.starts_with(&format!("{outer}."));
    let inner: Vec<_> = places.iter().filter(|inner| is_within(inner, &place)).collect();
    let outer = places.iter().filter(|outer| is_within(&place, outer)).max_by_key(|outer| outer.len());
    let (found, advice) = match outer {
        _ if !inner.is_empty() => {
            let inner = inner.iter().map(|inner| inner.strip_prefix(&format!("{place}.")).unwrap_or(inner));
            (inner.map(shown).collect(), ": write it there, indented further")
        }
        Some(outer) => (vec![shown(outer)], ": indent it less"),
        None => (places.iter().map(|place| shown(place)).collect::<Vec<_>>(), ""),
    };
    let (last, others) = found.split_last()?;
    let others = if others.is_empty() { String::new() } else { format!("{} or ", others.join(", ")) };
    let whose = if last == TOP { TOP.to_owned() } else { format!("of {others}{last}") };
    (found.len() <= MOST).then(|| format!("`{name}` is a field {whose}{advice}"))
}

const TOP: &str = "at the top";

/// A place in words.
fn shown(place: &str) -> String {
    match (place, place.strip_suffix("[]")) {
        ("", _) => TOP.to_owned(),
        (_, Some(list)) => format!("the entries in `{list}`"),
        (object, None) => format!("`{object}`"),
    }
}

/// The places of objects with a field of this name.
fn find(name: &str, among: &[Field], place: &str, places: &mut Vec<String>) {
    if among.iter().any(|field| field.name == name) {
        places.push(place.to_owned());
    }
    for field in among {
        let place = below(place, field.name);
        match &field.kind {
            Kind::List(of) => find(name, of.fields(), &format!("{place}[]"), places),
            kind => find(name, kind.fields(), &place, places),
        }
    }
}

/// How to write a value of the right type.
fn wrong_type(node: &Node, kind: &Kind, place: &str) -> Option<String> {
    match (kind, &node.value) {
        (Kind::Text(Text::RulePath), Value::List(entries)) if !entries.is_empty() => {
            let is_prefix = place.ends_with("prefix");
            let end = if is_prefix { "(/.*)?" } else { "" };
            let paths: Option<Vec<_>> = entries.iter().map(Node::text).collect();
            let whole = |path: &str| pattern(if is_prefix { path.trim_end_matches('/') } else { path });
            let paths = paths?.into_iter().map(whole).collect::<Option<Vec<_>>>()?;
            Some(format!(
                "write a rule for each, or one with regex: {}",
                quoted(&format!("({}){end}", paths.join("|")))
            ))
        }
        (Kind::List(of), Value::Map(_)) if of.fields().iter().any(|field| node.get(field.name).is_some()) => {
            Some("put `- ` before the first field of each entry".to_owned())
        }
        (_, Value::Text(text, _)) if !kind.fields().is_empty() => Some(object(text, kind.fields(), place)),
        _ => None,
    }
}

/// The object that was meant by a text.
fn object(text: &str, fields: &[Field], place: &str) -> String {
    let required = fields.iter().find(|field| matches!(field.given, Given::Required));
    let named = fields.iter().find(|field| field.name == text);
    match (named.and_then(|field| field.example), required) {
        _ if place.ends_with(".match") && is_plain_prefix(text) => {
            format!("write {{prefix: {text:?}}}, or path or regex in place of prefix")
        }
        (Some(example), _) => format!("write {{{text}: {example}}}"),
        (None, Some(Field { name, kind: Kind::Text(_), .. })) if is_name(text) => format!("write {{{name}: {text:?}}}"),
        (None, Some(Field { name, example: Some(example), .. })) => format!("write {{{name}: {example}}}"),
        _ => {
            let names: Vec<_> = fields.iter().map(|field| field.name).collect();
            format!("its fields are {}", names.join(", "))
        }
    }
}

/// Whether a rule may have this prefix, and no part of it looks like a pattern.
fn is_plain_prefix(text: &str) -> bool {
    let is_plain = path::is_plain(text.as_bytes()) && !path::needs_escapes(text.as_bytes());
    text.starts_with('/') && is_plain && !text.contains(rules::PATTERN)
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.|".contains(&byte))
}

/// The regex in place of a path that clients have to escape.
fn escaped(node: &Node, kind: &Kind, place: &str) -> Option<String> {
    let text = node.text().filter(|text| path::needs_escapes(text.as_bytes()))?;
    let (text, end) = match kind {
        Kind::Text(Text::RulePath) if place.ends_with("prefix") => (text.trim_end_matches('/'), "(/.*)?"),
        Kind::Text(Text::RulePath) => (text, ""),
        _ => return None,
    };
    Some(format!("write regex: {}", quoted(&format!("{}{end}", pattern(text)?))))
}

/// A regex that matches a path, and what clients escape in it in both forms. `None`: the path is wrong in another way.
fn pattern(path: &str) -> Option<String> {
    let decoded = path::decode(path.as_bytes(), |_| false).ok()?;
    let decoded =
        str::from_utf8(&decoded).ok().filter(|path| path.starts_with('/') && path::is_plain(path.as_bytes()))?;
    let one = |letter: char| {
        let plain = regex_syntax::escape(letter.encode_utf8(&mut [0; 4]));
        let bytes = letter.to_string().into_bytes();
        let escapes: String = bytes.iter().map(|byte| format!("%{}{}", digit(byte >> 4), digit(byte & 15))).collect();
        if letter.is_ascii_graphic() { plain } else { format!("({plain}|{escapes})") }
    };
    Some(decoded.chars().map(one).collect())
}

/// A hexadecimal digit, in both letter cases.
fn digit(number: u8) -> String {
    let digit = char::from_digit(number.into(), 16).unwrap_or_default();
    if digit.is_ascii_digit() { digit.to_string() } else { format!("[{digit}{}]", digit.to_ascii_uppercase()) }
}

/// In YAML's single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
