//! Reads the values of fields, or their defaults, by the table of fields. What [`super::check`] has refused reads as
//! `None`, without a second error.

use std::time::Duration;

use super::Profile;
use super::document::Value;
use super::field::{Field, Given};
use super::value::parse_duration;

/// One object.
pub(super) struct Node<'v> {
    members: &'v [(String, Value)],
    is_object: bool,
    fields: &'static [Field],
    profile: Profile,
    path: String,
}

impl<'v> Node<'v> {
    /// The object in `value`, which stands at `path`.
    pub(super) fn new(value: Option<&'v Value>, fields: &'static [Field], path: String, profile: Profile) -> Self {
        let members: Option<&[_]> = if let Some(Value::Object(members)) = value { Some(members) } else { None };
        Self { members: members.unwrap_or_default(), is_object: members.is_some(), fields, profile, path }
    }

    /// The path of one of its fields.
    pub(super) fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Its own path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is written as an object without fields.
    pub(super) fn is_empty(&self) -> bool {
        self.is_object && self.members.is_empty()
    }

    /// The field's value as written.
    pub(super) fn written(&self, name: &str) -> Option<&'v Value> {
        self.members.iter().find(|(written, _)| written == name).map(|(_, value)| value)
    }

    /// The object in the field, with these fields; an empty one if it isn't written.
    pub(super) fn object(&self, name: &str, fields: &'static [Field]) -> Self {
        Self::new(self.written(name), fields, self.at(name), self.profile)
    }

    /// The objects in the list, with these fields.
    pub(super) fn objects(&self, name: &str, fields: &'static [Field]) -> impl Iterator<Item = Self> {
        let entries: &[_] = if let Some(Value::List(entries)) = self.written(name) { entries } else { &[] };
        let (path, profile) = (self.at(name), self.profile);
        let each = move |(index, entry)| Self::new(Some(entry), fields, format!("{path}[{index}]"), profile);
        entries.iter().enumerate().map(each)
    }

    /// The object in the field, or the objects in its list, with these fields.
    pub(super) fn maps(&self, name: &str, fields: &'static [Field]) -> Vec<Self> {
        match self.written(name) {
            Some(Value::Object(_)) => vec![self.object(name, fields)],
            _ => self.objects(name, fields).collect(),
        }
    }

    fn given(&self, name: &str) -> Given {
        self.fields.iter().find(|field| field.name == name).map_or(Given::Nothing, |field| field.given)
    }

    /// A string.
    pub(super) fn text(&self, name: &str) -> Option<&'v str> {
        match (self.written(name), self.given(name)) {
            (Some(Value::Text(text)), _) => Some(text),
            (None, Given::Text(text)) => Some(text),
            (None, Given::TextBy(texts)) => texts.get(self.profile as usize).copied(),
            _ => None,
        }
    }

    /// A string that is one of the names.
    pub(super) fn word<T: Copy>(&self, name: &str, all: &[T], name_of: fn(T) -> &'static str) -> Option<T> {
        one_of(self.text(name)?, all, name_of)
    }

    /// A duration.
    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        parse_duration(self.text(name)?)
    }

    /// A whole number.
    pub(super) fn whole(&self, name: &str) -> Option<u32> {
        match (self.written(name), self.given(name)) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "its range is checked")]
            (Some(Value::Number(number)), _) => Some(*number as u32),
            (None, Given::Whole(number)) => Some(number),
            (None, Given::WholeBy(numbers)) => numbers.get(self.profile as usize).copied(),
            _ => None,
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match (self.written(name), self.given(name)) {
            (Some(Value::Flag(flag)), _) => Some(*flag),
            (None, Given::Flag(flag)) => Some(flag),
            _ => None,
        }
    }

    /// A list of strings.
    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        match (self.written(name), self.given(name)) {
            (Some(Value::List(entries)), _) => entries
                .iter()
                .map(|entry| if let Value::Text(text) = entry { Some(text.clone()) } else { None })
                .collect(),
            (None, Given::Texts(texts)) => Some(texts.iter().map(|text| (*text).to_owned()).collect()),
            _ => None,
        }
    }

    /// A list of strings that are among the names.
    pub(super) fn words<T: Copy>(&self, name: &str, all: &[T], name_of: fn(T) -> &'static str) -> Option<Vec<T>> {
        self.texts(name)?.iter().map(|text| one_of(text, all, name_of)).collect()
    }

    /// Its keys and their values, a string or null.
    pub(super) fn pairs(&self, name: &str) -> Vec<(String, Option<String>)> {
        let members: &[_] = if let Some(Value::Object(members)) = self.written(name) { members } else { &[] };
        let pair = |(key, value): &(String, Value)| match value {
            Value::Text(text) => Some((key.clone(), Some(text.clone()))),
            Value::Null => Some((key.clone(), None)),
            _ => None,
        };
        members.iter().filter_map(pair).collect()
    }
}

fn one_of<T: Copy>(text: &str, all: &[T], name_of: fn(T) -> &'static str) -> Option<T> {
    all.iter().copied().find(|one| name_of(*one) == text)
}
