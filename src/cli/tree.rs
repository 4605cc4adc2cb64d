//! YAML and JSON as a tree that knows its lines.
//!
//! Words mean what they mean to Envoy's reader: `yes` and `on` are `true`.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde::de::IgnoredAny;
use serde_json::{Number, Value as Json};

/// The most nodes of a file, including what aliases repeat.
const MAX_NODES: usize = 1_000_000;
/// How deep they may be nested.
const MAX_DEPTH: usize = 100;

/// A value, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The line that it begins in, counted from 1; of a member of a map, the line of its key.
    pub line: usize,
    /// What it is.
    pub value: Value,
    /// How many nodes it has, itself among them.
    size: usize,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// null, or nothing.
    Null,
    /// A truth value, and how it is written.
    Bool(bool, String),
    /// A number, and how it is written.
    Number(Number, String),
    /// Text, and the line in which its content begins.
    Text(String, usize),
    /// A list.
    List(Vec<Node>),
    /// A map in the order in which it is written. A key may stand there twice.
    Map(Vec<(String, Node)>),
}

/// Why a file can't be read: a line, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Counted from 1.
    pub line: usize,
    /// One phrase.
    pub problem: String,
}

/// The documents in a text whose first line has this number.
///
/// # Errors
/// Where the text stops being YAML.
pub fn parse(text: &str, first_line: usize) -> Result<Vec<Node>, SyntaxError> {
    let mut builder = Builder { offset: first_line.saturating_sub(1), ..Builder::default() };
    // JSON may have tabs where YAML may not.
    let is_json = text.contains('\t') && serde_json::from_str::<IgnoredAny>(text).is_ok();
    let text = if is_json { Cow::Owned(text.replace('\t', " ")) } else { Cow::Borrowed(text) };
    for event in Parser::new_from_str(&text) {
        let (event, span) = event.map_err(|error| {
            let SyntaxError { line, problem } = syntax_error(&text, error.marker().line(), error.info());
            SyntaxError { line: line + builder.offset, problem }
        })?;
        builder.add(event, span)?;
    }
    Ok(builder.documents)
}

/// What to say of a text that the parser refuses in this line, for this reason.
fn syntax_error(text: &str, line: usize, reason: &str) -> SyntaxError {
    const BEFORE: &str = " (the mistake may be in the line before)";
    let is_json = text.trim_start().strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with('"'));
    if is_json && let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        let whole = error.to_string();
        let reason = whole.split(" at line ").next().unwrap_or_default();
        return SyntaxError {
            line: error.line(),
            problem: format!("not valid JSON: {reason}{}", if reason.contains("limit") { "" } else { BEFORE }),
        };
    }
    // The parser takes a line that begins with a tab for a continuation, and reports the line before it.
    let begins_with_tab = |line: &usize| {
        text.lines().nth(line.saturating_sub(1)).is_some_and(|text| text.trim_start_matches(' ').starts_with('\t'))
    };
    if let Some(line) = [line, line + 1].into_iter().find(begins_with_tab) {
        let problem = "not valid YAML: a tab in the indentation, where only spaces are allowed".to_owned();
        return SyntaxError { line, problem };
    }
    let advice = if reason.contains("anchor") { "; a text that begins with `*` needs quotes" } else { BEFORE };
    SyntaxError { line, problem: format!("not valid YAML: {reason}{advice}") }
}

/// A null in this line.
pub const fn null(line: usize) -> Node {
    Node { line, value: Value::Null, size: 1 }
}

#[derive(Default)]
struct Builder {
    offset: usize,
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    size: usize,
}

/// A list or a map that hasn't ended yet.
struct Open {
    line: usize,
    anchor: usize,
    value: Value,
    /// In a map: the key of the next value, and its line.
    key: Option<(String, usize)>,
}

impl Builder {
    fn add(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let line = span.start.line() + self.offset;
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.is_some_and(|tag| tag.suffix == "str");
                let value = if style == ScalarStyle::Plain && !is_text {
                    plain(&text, line)
                } else {
                    Value::Text(text.into_owned(), line)
                };
                self.put(Node { line, value, size: 1 }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(line, anchor, Value::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.begin(line, anchor, Value::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { line, anchor, value, .. }) = self.open.pop() else { return Ok(()) };
                let size = match &value {
                    Value::List(entries) => entries.iter().map(|node| node.size).sum(),
                    Value::Map(members) => members.iter().map(|(_, node)| node.size).sum(),
                    _ => 0,
                };
                self.put(Node { line, value, size: size + 1 }, anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(SyntaxError { line, problem: "an alias without an anchor".to_owned() });
                };
                let node = Node { line, ..node.clone() };
                self.put(node, 0)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, line: usize, anchor: usize, value: Value) -> Result<(), SyntaxError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(SyntaxError { line, problem: "this is nested too deep".to_owned() });
        }
        self.open.push(Open { line, anchor, value, key: None });
        Ok(())
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        self.size += node.size;
        if self.size > MAX_NODES {
            return Err(SyntaxError { line: node.line, problem: "the file is too large".to_owned() });
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(Open { value, key, .. }) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        match (value, key.take()) {
            (Value::Map(members), Some((name, line))) => members.push((name, Node { line, ..node })),
            (Value::Map(_), None) => *key = Some((node.key(), node.line)),
            (Value::List(entries), _) => entries.push(node),
            _ => {}
        }
        Ok(())
    }
}

/// A scalar without quotes.
fn plain(text: &str, line: usize) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            Value::Bool(true, text.to_owned())
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            Value::Bool(false, text.to_owned())
        }
        _ => number(text)
            .map_or_else(|| Value::Text(text.to_owned(), line), |number| Value::Number(number, text.to_owned())),
    }
}

fn number(text: &str) -> Option<Number> {
    let digits = text.trim_start_matches(['-', '+']);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let whole = digits.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| i64::from_str_radix(hex, 16).ok());
    whole.map(Number::from).or_else(|| Number::from_f64(text.parse().ok()?))
}

impl Node {
    /// The value as a key of a map.
    fn key(&self) -> String {
        match &self.value {
            Value::Text(text, _) | Value::Number(_, text) => text.clone(),
            Value::Bool(flag, _) => flag.to_string(),
            _ => String::new(),
        }
    }

    /// The members of a map; none of anything else.
    pub fn members(&self) -> &[(String, Self)] {
        if let Value::Map(members) = &self.value { members } else { &[] }
    }

    /// The entries of a list; none of anything else.
    pub fn entries(&self) -> &[Self] {
        if let Value::List(entries) = &self.value { entries } else { &[] }
    }

    /// A member of a map, by its name in snake case: protobuf's JSON has a second spelling, `typedConfig`.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let camel = camel_case(name);
        self.members().iter().find(|(known, _)| known == name || *known == camel).map(|(_, node)| node)
    }

    /// The member of a member, and so on.
    pub fn at(&self, names: &[&str]) -> Option<&Self> {
        names.iter().try_fold(self, |node, name| node.get(name))
    }

    /// The text, if this is a text.
    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text, _) = &self.value { Some(text) } else { None }
    }

    /// The text of a member; empty where there is none.
    pub fn text_of(&self, name: &str) -> &str {
        self.get(name).and_then(Self::text).unwrap_or_default()
    }

    /// Whether a member is `true`.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|node| matches!(node.value, Value::Bool(true, _)))
    }

    /// The line of a field with a path such as `rules[2].match.regex`, or of the nearest written field around it.
    pub fn line_of(&self, path: &str) -> usize {
        let mut node = self;
        for step in steps(path) {
            match node.step(&step) {
                Some(next) => node = next,
                None => break,
            }
        }
        node.line
    }

    /// The value at one of the [`steps`] of a path.
    pub fn step(&self, step: &str) -> Option<&Self> {
        match step.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(index) => self.entries().get(index.parse::<usize>().ok()?),
            None => self.members().iter().rfind(|(name, _)| name == step).map(|(_, node)| node),
        }
    }

    /// The node as JSON, with duplicate keys kept.
    pub fn to_json(&self) -> String {
        match &self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(flag, _) => flag.to_string(),
            Value::Number(number, _) => number.to_string(),
            Value::Text(text, _) => quoted(text),
            Value::List(entries) => {
                let entries: Vec<_> = entries.iter().map(Self::to_json).collect();
                format!("[{}]", entries.join(","))
            }
            Value::Map(members) => {
                let members = members.iter().map(|(name, node)| format!("{}:{}", quoted(name), node.to_json()));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// The steps of a path such as `rules[2].match`: `rules`, `[2]`, `match`.
pub fn steps(path: &str) -> Vec<String> {
    path.replace('[', ".[").split('.').map(str::to_owned).collect()
}

fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Node {
        parse(text, 1).unwrap().remove(0)
    }

    #[test]
    fn yaml_becomes_json() {
        for (yaml, json) in [
            ("a: {b: [1, 2.5, x, true, null, ~, yes, off]}", r#"{"a":{"b":[1,2.5,"x",true,null,null,true,false]}}"#),
            (
                "a: 'yes'\nb: \"1\"\nc: 300s\nd: -1\ne: 0x10\nf: !!str 1",
                r#"{"a":"yes","b":"1","c":"300s","d":-1,"e":16,"f":"1"}"#,
            ),
            ("a: 1\na: 2", r#"{"a":1,"a":2}"#),
            ("a: &x {b: 1}\nc: *x", r#"{"a":{"b":1},"c":{"b":1}}"#),
            ("a: |\n  x\n  y\nb: >-\n  x\n  y", r#"{"a":"x\ny\n","b":"x y"}"#),
            (r#"{"a": "\u00e9\n", "b": [], "c": {}}"#, r#"{"a":"é\n","b":[],"c":{}}"#),
            ("{\n\t\"a\":\t1,\n\t\"b\": [\n\t\t2\n\t]\n}", r#"{"a":1,"b":[2]}"#),
        ] {
            assert_eq!(one(yaml).to_json(), json, "{yaml}");
        }
    }

    #[test]
    fn fields_have_lines() {
        let node = one("a: 1\nrules:\n  - match:\n      path: /\n  - match:\n      {prefix: /a,\n       regex: b}\n");
        for (path, line) in [
            ("a", 1),
            ("rules", 2),
            ("rules[0].match", 3),
            ("rules[0].match.path", 4),
            ("rules[1].match.regex", 7),
            ("rules[1].require.roles[3]", 5),
            ("rules[7]", 2),
            ("b", 1),
        ] {
            assert_eq!(node.line_of(path), line, "{path}");
        }
        assert_eq!(parse("a: 1\n---\nb: 2\n", 10).unwrap()[1].line_of("b"), 12);
    }

    #[test]
    fn names_have_two_spellings() {
        let node = one("{typedConfig: {vm_config: {vmId: x}}}");
        assert_eq!(node.at(&["typed_config", "vm_config", "vm_id"]).and_then(Node::text), Some("x"));
    }

    #[test]
    fn invalid_yaml_is_refused_with_its_line() {
        assert_eq!(parse("a: 1\nb: [1,\nc: 2\n", 1).unwrap_err().line, 3);
        assert!(parse("a: *x\n", 1).is_err());
        assert!(parse(&"[".repeat(1000), 1).is_err());
        let bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\n".to_owned()
            + &('b'..='i')
                .map(|c| {
                    let before = char::from(c as u8 - 1);
                    format!("{c}: &{c} [{}]\n", vec![format!("*{before}"); 10].join(","))
                })
                .collect::<String>();
        assert!(parse(&bomb, 1).unwrap_err().problem.contains("too large"));
    }
}
