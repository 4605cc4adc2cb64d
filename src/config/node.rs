//! Reads the values of fields, or their defaults, by the table of fields.
//!
//! What can't be read here, [`super::check`] has refused. It gets a stand-in, such as zero, and the configuration is
//! refused: with the errors of the check, or as a whole if there are none.

use std::time::Duration;

use super::Profile;
use super::document::Value;
use super::error::Found;
use super::field::{Field, Given, Kind};
use super::value::{parse_duration, whole};

/// One object.
pub(super) struct Node<'v> {
    /// `None`: no object, which is an error in itself.
    members: Option<&'v [(String, Value)]>,
    fields: &'static [Field],
    profile: Profile,
    path: String,
    found: &'v Found,
}

/// What an object that isn't written reads as.
static EMPTY: Value = Value::Object(Vec::new());

impl<'v> Node<'v> {
    /// The object in `value`, which stands at `path`. In a value of another type, no field has a default.
    pub(super) fn new(
        value: &'v Value,
        fields: &'static [Field],
        path: String,
        profile: Profile,
        found: &'v Found,
    ) -> Self {
        if let Value::Object(members) = value {
            Self { members: Some(members), fields, profile, path, found }
        } else {
            found.refuse_unreadable();
            Self { members: None, fields: &[], profile, path, found }
        }
    }

    /// The path of one of its fields.
    fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Refuses the field's value. Without an object, the object's own error is enough.
    pub(super) fn refuse(&self, name: &str, problem: &str) {
        if self.members.is_some() {
            self.found.refuse(self.at(name), problem);
        }
    }

    /// Refuses an entry of the field's list.
    pub(super) fn refuse_entry(&self, name: &str, index: usize, problem: &str) {
        self.refuse(&format!("{name}[{index}]"), problem);
    }

    /// Refuses the object itself.
    pub(super) fn refuse_whole(&self, problem: &str) {
        self.found.refuse(self.path.clone(), problem);
    }

    /// Refuses the configuration for what can't be read.
    pub(super) fn refuse_unreadable(&self) {
        self.found.refuse_unreadable();
    }

    /// The value; without one, the configuration is refused, and this is a stand-in.
    pub(super) fn or_refuse<T: Default>(&self, value: Option<T>) -> T {
        if value.is_none() {
            self.refuse_unreadable();
        }
        value.unwrap_or_default()
    }

    /// Whether it is an object without fields.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_some_and(<[_]>::is_empty)
    }

    /// Its keys and their values, as written.
    pub(super) fn members(&self) -> &'v [(String, Value)] {
        self.members.unwrap_or_default()
    }

    /// The field's value as written. A null that stands for no value counts as not written.
    pub(super) fn written(&self, name: &str) -> Option<&'v Value> {
        let (_, value) = self.members().iter().find(|(written, _)| written == name)?;
        let may_be_null = || self.field(name).is_some_and(|field| matches!(field.kind, Kind::OrNull(_)));
        (!matches!(value, Value::Null) || !may_be_null()).then_some(value)
    }

    /// Whether the field is written.
    pub(super) fn has(&self, name: &str) -> bool {
        self.written(name).is_some()
    }

    /// The object in the field, with these fields; an empty one if it isn't written.
    pub(super) fn object(&self, name: &str, fields: &'static [Field]) -> Self {
        let absent = if self.members.is_some() { &EMPTY } else { &Value::Null };
        Self::new(self.written(name).unwrap_or(absent), fields, self.at(name), self.profile, self.found)
    }

    /// The objects in the list, with these fields.
    pub(super) fn objects(&self, name: &str, fields: &'static [Field]) -> Vec<Self> {
        let entries: &[_] = match self.written(name) {
            None => &[],
            Some(Value::List(entries)) => entries,
            Some(_) => self.or_refuse(None),
        };
        let path = self.at(name);
        let each = |(index, entry)| Self::new(entry, fields, format!("{path}[{index}]"), self.profile, self.found);
        entries.iter().enumerate().map(each).collect()
    }

    /// The object in the field, or the objects in its list, with these fields.
    pub(super) fn maps(&self, name: &str, fields: &'static [Field]) -> Vec<Self> {
        match self.written(name) {
            Some(Value::Object(_)) => vec![self.object(name, fields)],
            _ => self.objects(name, fields),
        }
    }

    fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// A field that the table lacks can't be read unless it is written.
    fn given(&self, name: &str) -> Given {
        self.field(name).map_or(Given::Required, |field| field.given)
    }

    /// A string. `None`: it isn't written and has no default.
    pub(super) fn text(&self, name: &str) -> Option<&'v str> {
        match (self.written(name), self.given(name)) {
            (Some(Value::Text(text)), _) => Some(text),
            (None, Given::Text(text)) => Some(text),
            (None, Given::TextBy(texts)) => texts.get(self.profile as usize).copied(),
            (None, Given::Nothing) => None,
            _ => self.or_refuse(None),
        }
    }

    /// A string that is required or has a default.
    pub(super) fn string(&self, name: &str) -> String {
        self.or_refuse(self.text(name)).to_owned()
    }

    /// A string that is one of the names. `otherwise`: what it is if it isn't written and has no default.
    pub(super) fn word<T: Copy>(&self, name: &str, otherwise: T, all: &[T], name_of: fn(T) -> &'static str) -> T {
        let Some(text) = self.text(name) else { return otherwise };
        one_of(text, all, name_of).unwrap_or_else(|| {
            self.refuse_unreadable();
            otherwise
        })
    }

    /// A duration.
    pub(super) fn duration(&self, name: &str) -> Duration {
        self.or_refuse(self.text(name).and_then(parse_duration))
    }

    /// A whole number.
    pub(super) fn whole(&self, name: &str) -> u32 {
        self.or_refuse(match (self.written(name), self.given(name)) {
            (Some(Value::Number(number)), _) => whole(*number).and_then(|number| number.try_into().ok()),
            (None, Given::Whole(number)) => Some(number),
            (None, Given::WholeBy(numbers)) => numbers.get(self.profile as usize).copied(),
            _ => None,
        })
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.or_refuse(match (self.written(name), self.given(name)) {
            (Some(Value::Flag(flag)), _) => Some(*flag),
            (None, Given::Flag(flag)) => Some(flag),
            _ => None,
        })
    }

    /// A list of strings.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let text = |entry: &Value| if let Value::Text(text) = entry { Some(text.clone()) } else { None };
        self.or_refuse(match (self.written(name), self.given(name)) {
            (Some(Value::List(entries)), _) => entries.iter().map(text).collect(),
            (None, Given::Texts(texts)) => Some(texts.iter().map(|text| (*text).to_owned()).collect()),
            _ => None,
        })
    }

    /// A list of strings that are among the names.
    pub(super) fn words<T: Copy>(&self, name: &str, all: &[T], name_of: fn(T) -> &'static str) -> Vec<T> {
        self.or_refuse(self.texts(name).iter().map(|text| one_of(text, all, name_of)).collect())
    }
}

fn one_of<T: Copy>(text: &str, all: &[T], name_of: fn(T) -> &'static str) -> Option<T> {
    all.iter().copied().find(|one| name_of(*one) == text)
}
