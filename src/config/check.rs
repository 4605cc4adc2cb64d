//! Checks a configuration against the table of fields: unknown and repeated fields, types, words, ranges. Whatever
//! depends on several fields is checked in [`super::compile`].

use super::document::Value;
use super::error::ConfigErrors;
use super::field::{Field, Given, Kind, Text};
use super::headers;
use super::rules::scalar;
use super::value::{
    is_authority, is_cluster, is_https_url, is_origin, is_realm, is_rule_name, is_service_path, is_visible,
    parse_duration, whole,
};
use crate::claims::{ClaimName, ClaimPath};

/// Checks the whole configuration.
pub(super) fn check(value: &Value, fields: &'static [Field], errors: &mut ConfigErrors) {
    Checker { path: String::new(), errors }.object(value, fields);
}

/// What a claim can be compared with.
const COMPARABLE: &str = "a string, true, false, or an integer from -(2^53 - 1) to 2^53 - 1";

struct Checker<'e> {
    path: String,
    errors: &'e mut ConfigErrors,
}

impl Checker<'_> {
    fn refuse(&mut self, problem: impl Into<String>) {
        let path = if self.path.is_empty() { "configuration" } else { &self.path };
        self.errors.push(path, problem);
    }

    /// Goes one step down, to a field or an entry.
    fn below(&mut self, step: &str, look: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if length > 0 && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(step);
        look(self);
        self.path.truncate(length);
    }

    fn value(&mut self, value: &Value, kind: &'static Kind) {
        match (kind, value) {
            (Kind::Object(fields), _) => self.object(value, fields),
            (Kind::ObjectOrObjects(fields), Value::List(entries)) => self.objects(entries, fields),
            (Kind::ObjectOrObjects(fields), Value::Object(_) | Value::Null) => self.object(value, fields),
            (Kind::Integer, Value::Number(number)) if whole(*number).is_some() => {}
            (Kind::Claims, Value::Object(members)) => self.claims(members),
            (Kind::OrNull(_), Value::Null) | (Kind::Flag | Kind::FlagOr(_), Value::Flag(_)) => {}
            (Kind::OrNull(kind), _) => self.value(value, kind),
            (_, Value::Null) => self.refuse("is null: write a value, or omit the field"),
            (Kind::Whole { least, most }, Value::Number(number)) => {
                if number.fract() != 0.0 || !(f64::from(*least)..=f64::from(*most)).contains(number) {
                    self.refuse(format!("is {}, but must be {}", shown(value), expected(kind)));
                }
            }
            (Kind::Duration { least, most }, Value::Text(text)) => {
                let range = parse_duration(least)..=parse_duration(most);
                match parse_duration(text) {
                    None => self.refuse(no_duration(text)),
                    found if range.contains(&found) => {}
                    _ => self.refuse(format!("is {}, but must be from {least} to {most}", shown(value))),
                }
            }
            (Kind::Word(words) | Kind::FlagOr(words), Value::Text(text)) => {
                if !words.contains(&text.as_str()) {
                    self.refuse(format!("is {}, but must be {}", shown(value), expected(kind)));
                }
            }
            (Kind::Text(form), Value::Text(text)) => {
                if let Some(problem) = problem_of(*form, text) {
                    self.refuse(problem);
                }
            }
            (Kind::List(of), Value::List(entries)) => self.entries(entries, of),
            (Kind::Distinct(of), Value::List(entries)) => {
                if entries.is_empty() {
                    self.refuse("must not be empty");
                }
                self.entries(entries, of);
                self.distinct(entries);
            }
            (Kind::Headers(of), Value::Object(members)) => self.headers(members, of),
            _ => self.refuse(format!("is {}, but must be {}{}", shown(value), expected(kind), hint(value, kind))),
        }
    }

    fn entries(&mut self, entries: &[Value], of: &'static Kind) {
        for (index, entry) in entries.iter().enumerate() {
            if self.errors.is_full() {
                return;
            }
            self.below(&format!("[{index}]"), |at| at.value(entry, of));
        }
    }

    fn distinct(&mut self, entries: &[Value]) {
        for (index, entry) in entries.iter().enumerate() {
            if entries.iter().take(index).any(|earlier| earlier == entry) {
                self.below(&format!("[{index}]"), |at| at.refuse(format!("{} is given twice", shown(entry))));
            }
        }
    }

    fn objects(&mut self, entries: &[Value], fields: &'static [Field]) {
        if entries.is_empty() {
            self.refuse("must not be empty");
        }
        for (index, entry) in entries.iter().enumerate() {
            self.below(&format!("[{index}]"), |at| at.object(entry, fields));
        }
    }

    fn claims(&mut self, members: &[(String, Value)]) {
        if members.is_empty() {
            self.refuse("must not be empty");
        }
        for (index, (name, value)) in members.iter().enumerate() {
            let is_repeated = members.iter().take(index).any(|(earlier, _)| earlier == name);
            self.below(name, |at| match (name.parse::<ClaimName>(), value) {
                (Err(problem), _) => at.refuse(problem),
                _ if is_repeated => at.refuse("is given twice"),
                (Ok(name), Value::List(values)) => at.values(&name, values),
                (Ok(_), value) => at.refuse(format!("is {}, but must be a list", shown(value))),
            });
        }
    }

    /// The values of a claim in a rule.
    fn values(&mut self, name: &ClaimName, values: &[Value]) {
        if values.is_empty() {
            self.refuse("must not be empty");
        }
        let known = name.as_str().parse::<ClaimPath>();
        for (index, value) in values.iter().enumerate() {
            self.below(&format!("[{index}]"), |at| match (scalar(value), &known) {
                (None, _) => at.refuse(format!("is {}, but must be {COMPARABLE}", shown(value))),
                (Some(scalar), Ok(claim)) if scalar.scalar_type() != claim.scalar_type() => {
                    at.refuse(format!("is {}, but the claim {claim} is {}", scalar.scalar_type(), claim.scalar_type()));
                }
                _ => {}
            });
        }
        self.distinct(values);
    }

    fn headers(&mut self, members: &[(String, Value)], of: &'static Kind) {
        for (index, (name, value)) in members.iter().enumerate() {
            self.below(name, |at| {
                if members.iter().take(index).any(|(earlier, _)| earlier == name) {
                    at.refuse(headers::TWICE);
                }
                at.value(value, of);
            });
        }
    }

    fn object(&mut self, value: &Value, fields: &'static [Field]) {
        let Value::Object(members) = value else {
            return self.refuse(match value {
                Value::Null => "is null: write its fields below it, or omit it".to_owned(),
                _ => format!("is {}, but must be an object", shown(value)),
            });
        };
        for (index, (name, value)) in members.iter().enumerate() {
            if self.errors.is_full() {
                return;
            }
            let field = fields.iter().find(|field| field.name == name);
            let is_repeated = || members.iter().take(index).any(|(earlier, _)| earlier == name);
            self.below(name, |at| match field {
                None => at.refuse(unknown(name, fields)),
                Some(_) if is_repeated() => at.refuse("is given twice"),
                Some(field) => at.value(value, &field.kind),
            });
        }
        for field in fields.iter().filter(|field| matches!(field.given, Given::Required)) {
            if !members.iter().any(|(name, _)| name == field.name) {
                self.below(field.name, |at| at.refuse("is required"));
            }
        }
    }
}

/// What is wrong with a text. What takes work to check, such as a regular expression, is left to [`super::compile`].
fn problem_of(form: Text, text: &str) -> Option<String> {
    if text.is_empty() && !matches!(form, Text::RulePath | Text::HeaderName) {
        return Some("must not be empty".to_owned());
    }
    let (is_good, must) = match form {
        Text::Cluster => (is_cluster(text), "must be the name of an Envoy cluster: visible ASCII, and not a URL"),
        Text::Authority => (is_authority(text), "must be a host name or an address, with or without a port"),
        Text::ServicePath => (is_service_path(text), "must be visible ASCII, begin with / and contain no #"),
        Text::OwnPath => (
            is_service_path(text) && !text.contains('?'),
            "must be visible ASCII, begin with / and contain neither ? nor #",
        ),
        Text::Url => (is_https_url(text), "must be an https URL without a fragment"),
        Text::Resource => {
            (is_https_url(text) && !text.contains('?'), "must be an https URL without query and fragment")
        }
        Text::Scope => (is_visible(text) && is_realm(text), "must be visible ASCII without \" and \\"),
        Text::Realm => (is_realm(text), "must be visible ASCII without \" and \\"),
        Text::Origin => {
            (is_origin(text), "must be an origin as a browser writes it, as in \"https://app.example.com\"")
        }
        Text::RuleName => (
            is_rule_name(text),
            "must be a letter, then letters, digits, _ and -, at most 64 in all, and must not be none",
        ),
        Text::ClaimName => return text.parse::<ClaimName>().err(),
        Text::CookieName => (headers::is_token(text.as_bytes()), "must be a cookie's name (RFC 6265 section 4.1.1)"),
        Text::Some
        | Text::HeaderName
        | Text::Claim
        | Text::RulePath
        | Text::Regex
        | Text::Method
        | Text::Host
        | Text::Pem => return None,
    };
    (!is_good).then(|| format!("is {}, but {must}", quoted(text)))
}

fn no_duration(text: &str) -> String {
    let bytes = text.as_bytes();
    // One loop is less code than a search for each.
    let (mut decimals, mut has_point, mut has_letter, mut has_two_units) = (0, false, false, false);
    for byte in bytes {
        has_point |= *byte == b'.';
        has_letter |= matches!(byte, b'h' | b'm' | b's');
        has_two_units |= has_letter && byte.is_ascii_digit();
        decimals += u32::from(has_point && byte.is_ascii_digit());
    }
    let (advice, number, end) = match bytes {
        [b'-', ..] => (": not a negative one", "", ""),
        [.., b'0'..=b'9', b'd'] => (": a day is 24h", "", ""),
        _ if has_two_units => (": only one unit", "", ""),
        _ if decimals > 3 => (": at most three decimal places", "", ""),
        _ if !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit) => (": write \"", text, "s\""),
        _ => (", as in \"30s\"", "", ""),
    };
    format!("is {}, but a duration is a number with a unit (ms, s, m or h){advice}{number}{end}", quoted(text))
}

fn unknown(name: &str, fields: &[Field]) -> String {
    let near = fields.iter().find(|field| is_near(name, field.name));
    match near {
        Some(field) => format!("is not a field; did you mean {}?", field.name),
        None => {
            let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
            format!("is not a field; the fields here are {}", names.join(", "))
        }
    }
}

/// Whether two names are nearly the same: letter case and signs aside, they differ by one letter or two swapped ones.
pub fn is_near(written: &str, name: &str) -> bool {
    let folded = |text: &str| -> Vec<u8> {
        text.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase()).collect()
    };
    let (one, other) = (folded(written), folded(name));
    let same = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
    let same_end = one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| one == other).count();
    let longer = one.len().max(other.len());
    longer > 2 && longer.abs_diff(one.len().min(other.len())) <= 1 && same + same_end + 1 >= longer
        || one.len() == other.len() && longer > 3 && is_swapped(&one, &other)
}

/// Whether they differ only in that two letters are swapped.
fn is_swapped(one: &[u8], other: &[u8]) -> bool {
    let mut differing = one.iter().zip(other).filter(|(one, other)| one != other);
    let (first, second) = (differing.next(), differing.next());
    matches!((first, second), (Some((a, b)), Some((c, d))) if a == d && b == c) && differing.next().is_none()
}

/// What a field of this kind holds, in words.
fn expected(kind: &Kind) -> String {
    match kind {
        Kind::Flag => "true or false".to_owned(),
        Kind::Whole { least, most } => format!("a whole number from {least} to {most}"),
        Kind::Duration { .. } => "a duration".to_owned(),
        Kind::Word(words) => words.join(" or "),
        Kind::FlagOr(words) => format!("true, false or \"{}\"", words.join("\" or \"")),
        Kind::Text(_) => "a string".to_owned(),
        Kind::OrNull(kind) => expected(kind),
        Kind::List(_) | Kind::Distinct(_) => "a list".to_owned(),
        Kind::Object(_) | Kind::Headers(_) | Kind::Claims => "an object".to_owned(),
        Kind::ObjectOrObjects(_) => "an object or a list of objects".to_owned(),
        Kind::Integer => "an integer from -(2^53 - 1) to 2^53 - 1".to_owned(),
    }
}

/// How to write what was probably meant.
fn hint(value: &Value, kind: &Kind) -> String {
    match (kind, value) {
        (Kind::OrNull(kind), _) => hint(value, kind),
        (Kind::Duration { .. }, Value::Number(_)) => match shown_whole(value) {
            Some(number) => format!(", a string with a unit: write \"{number}s\""),
            None => ", a string with a unit: write \"1.5s\"".to_owned(),
        },
        (Kind::Duration { .. }, _) => ", a string with a unit, as in \"1s\"".to_owned(),
        // YAML has other words for it, such as `yes`.
        (Kind::Text(_), Value::Flag(_)) => ": write it in quotes".to_owned(),
        (Kind::Text(_), Value::Number(_)) => match shown(value).as_str() {
            "a number" => String::new(),
            shown => format!(": write \"{shown}\""),
        },
        (Kind::List(_) | Kind::Distinct(_), Value::Text(text)) => format!(": write [{}]", quoted(text)),
        (Kind::Flag, Value::Text(text)) if text == "true" || text == "false" => ", without quotes".to_owned(),
        (Kind::Whole { .. }, Value::Text(text)) if text.parse::<u32>().is_ok() => ", without quotes".to_owned(),
        _ => String::new(),
    }
}

/// The value as messages show it, so that it can be found.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Flag(flag) => flag.to_string(),
        Value::Number(_) => shown_whole(value).map_or("a number".to_owned(), |number| number.to_string()),
        Value::Text(text) => quoted(text),
        Value::List(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The text in quotes; if it is long, only its beginning.
fn quoted(text: &str) -> String {
    const LETTERS: usize = 60;
    match text.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// A number that can be shown without the code that formats fractions, which is large.
fn shown_whole(value: &Value) -> Option<i64> {
    match value {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => Some(*number as i64),
        _ => None,
    }
}
