//! What a field of an event is, in every form that it takes: on the wire, in the schema, in the canonical form, as JSON in
//! the views, and as what a mapping tells.
//!
//! # Why
//! One table says which fields a kind has (`record!`), and each type of field says here how it travels. So a field is
//! written down once: codec, schema, canonical form, view and mapping follow from its line.

use crate::{
    Code, Micros,
    avro::{
        DecodeError,
        wire::{self, Reader},
    },
};
use jiff::{Timestamp, civil};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::io::Write as _;

mod tables;

use tables::as_text;
pub(crate) use tables::{record, words};

/// Entries of one list in a datum. More are no datum of ours.
const ENTRIES_MAX: usize = 10_000;
/// What PostgreSQL's text cannot hold.
const NUL: char = '\0';

/// What a mapping has to say for a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Time,
    Day,
    Number,
    Code,
    /// Fields of its own.
    One(Fields),
    /// Any number of such.
    Many(Fields),
    /// It follows from other things, or a mapping tells it in a way of its own.
    Derived,
}

/// The fields of a record in the order of its schema.
pub type Fields = &'static [(&'static str, Shape)];

/// What a mapping has told for a field, by its shape.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Told {
    #[default]
    Nothing,
    Text(String),
    Time(Micros),
    Day(i32),
    Number(Decimal),
    Code(Box<Code>),
    One(Vec<Self>),
    Many(Vec<Vec<Self>>),
}

/// Names of types that a schema has written out: from there on a name stands for them.
pub type Known = Vec<&'static str>;

/// A type of field.
pub trait Datum: Sized {
    const SHAPE: Shape;
    fn write(&self, out: &mut Vec<u8>);
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError>;
    fn schema(known: &mut Known) -> Value;
    /// What a reader takes where a writer had no such field.
    fn unless_told() -> Option<Value> {
        None
    }
    /// Appends what it says. Nothing where it says nothing: then the field is left out.
    fn form(&self, out: &mut Vec<u8>);
    /// Null where it says nothing.
    fn json(&self) -> Value;
    /// None: it is not what the field can be.
    fn told(told: Told) -> Option<Self>;
}

/// A record: its fields are known by name.
pub trait Record: Datum + Default {
    const FIELDS: Fields;
    /// From what a mapping told of each field, in order. What is missing holds its default.
    fn of(told: Vec<Told>) -> Self;
    /// Every field that says something, as JSON, but those with these names.
    fn each(&self, but: &[&str], take: &mut dyn FnMut(&'static str, Value));
}

/// One field of a canonical form.
pub fn form<T: Datum>(name: &str, value: &T, out: &mut Vec<u8>) {
    named(name, out, |out| value.form(out));
}

/// The name, the length of what is appended, and that. Nothing where nothing is appended.
pub fn named(name: &str, out: &mut Vec<u8>, append: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(name.as_bytes());
    if within(out, append) == 0 {
        out.truncate(start);
    }
}

/// What is appended, with its length before it.
fn within(out: &mut Vec<u8>, append: impl FnOnce(&mut Vec<u8>)) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; 8]);
    append(out);
    let length = out.len() - at - 8;
    out[at..at + 8].copy_from_slice(&(length as u64).to_be_bytes());
    length
}

/// The doc of a schema, from the lines of a doc comment.
pub fn doc(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// One field of a record's schema.
pub fn field<T: Datum>(name: &str, lines: &[&str], known: &mut Known) -> Value {
    let mut field = json!({"name": name, "type": T::schema(known)});
    if let Some(default) = T::unless_told() {
        field["default"] = default;
    }
    field["doc"] = doc(lines).into();
    field
}

impl Datum for String {
    const SHAPE: Shape = Shape::Text;

    fn write(&self, out: &mut Vec<u8>) {
        wire::string(out, self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.string()
    }

    fn schema(_: &mut Known) -> Value {
        "string".into()
    }

    fn form(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn json(&self) -> Value {
        if self.contains(NUL) { self.replace(NUL, "\u{FFFD}").into() } else { self.as_str().into() }
    }

    fn told(told: Told) -> Option<Self> {
        if let Told::Text(text) = told { Some(text) } else { None }
    }
}

impl Datum for bool {
    const SHAPE: Shape = Shape::Derived;

    fn write(&self, out: &mut Vec<u8>) {
        wire::boolean(out, *self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.boolean()
    }

    fn schema(_: &mut Known) -> Value {
        "boolean".into()
    }

    fn unless_told() -> Option<Value> {
        Some(false.into())
    }

    fn form(&self, out: &mut Vec<u8>) {
        if *self {
            out.push(1);
        }
    }

    fn json(&self) -> Value {
        if *self { true.into() } else { Value::Null }
    }

    fn told(_: Told) -> Option<Self> {
        None
    }
}

/// A time, in microseconds.
impl Datum for Micros {
    const SHAPE: Shape = Shape::Time;

    fn write(&self, out: &mut Vec<u8>) {
        wire::long(out, *self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.long()
    }

    fn schema(_: &mut Known) -> Value {
        json!({"type": "long", "logicalType": "timestamp-micros"})
    }

    fn form(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn json(&self) -> Value {
        // What no calendar has is not shown.
        Timestamp::from_microsecond(*self).map_or(Value::Null, |time| time.to_string().into())
    }

    fn told(told: Told) -> Option<Self> {
        if let Told::Time(time) = told { Some(time) } else { None }
    }
}

/// A day, counted from 1970-01-01.
impl Datum for i32 {
    const SHAPE: Shape = Shape::Day;

    fn write(&self, out: &mut Vec<u8>) {
        wire::long(out, Micros::from(*self));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.int()
    }

    fn schema(_: &mut Known) -> Value {
        json!({"type": "int", "logicalType": "date"})
    }

    fn form(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn json(&self) -> Value {
        let days = jiff::Span::new().try_days(*self).ok();
        let day = days.and_then(|days| civil::date(1970, 1, 1).checked_add(days).ok());
        day.map_or(Value::Null, |day| day.to_string().into())
    }

    fn told(told: Told) -> Option<Self> {
        if let Told::Day(day) = told { Some(day) } else { None }
    }
}

/// In digits, with its zeros: 6.70 was written by somebody.
impl Datum for Decimal {
    const SHAPE: Shape = Shape::Number;

    fn write(&self, out: &mut Vec<u8>) {
        wire::string(out, &self.to_string());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.parsed("number", |text| text.parse().ok())
    }

    fn schema(_: &mut Known) -> Value {
        "string".into()
    }

    fn form(&self, out: &mut Vec<u8>) {
        // Writing to a vector cannot fail.
        let _ = write!(out, "{self}");
    }

    fn json(&self) -> Value {
        self.to_string().into()
    }

    fn told(told: Told) -> Option<Self> {
        if let Told::Number(number) = told { Some(number) } else { None }
    }
}

impl<T: Datum> Datum for Option<T> {
    const SHAPE: Shape = T::SHAPE;

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            None => wire::long(out, 0),
            Some(value) => {
                wire::long(out, 1);
                value.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.optional(T::read)
    }

    fn schema(known: &mut Known) -> Value {
        json!(["null", T::schema(known)])
    }

    fn unless_told() -> Option<Value> {
        Some(Value::Null)
    }

    fn form(&self, out: &mut Vec<u8>) {
        if let Some(value) = self {
            // Empty words are not the same as none.
            out.push(1);
            value.form(out);
        }
    }

    fn json(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::json)
    }

    fn told(told: Told) -> Option<Self> {
        Some(T::told(told))
    }
}

impl<T: Datum> Datum for Vec<T> {
    const SHAPE: Shape = match T::SHAPE {
        Shape::One(fields) => Shape::Many(fields),
        _ => Shape::Derived,
    };

    fn write(&self, out: &mut Vec<u8>) {
        if !self.is_empty() {
            wire::long(out, i64::try_from(self.len()).unwrap_or(i64::MAX));
            self.iter().for_each(|entry| entry.write(out));
        }
        wire::long(out, 0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut entries = Self::new();
        from.blocks(ENTRIES_MAX, |from| {
            entries.push(T::read(from)?);
            Ok(())
        })?;
        Ok(entries)
    }

    fn schema(known: &mut Known) -> Value {
        json!({"type": "array", "items": T::schema(known)})
    }

    fn unless_told() -> Option<Value> {
        Some(Value::Array(Vec::new()))
    }

    fn form(&self, out: &mut Vec<u8>) {
        for entry in self {
            within(out, |out| entry.form(out));
        }
    }

    fn json(&self) -> Value {
        if self.is_empty() { Value::Null } else { self.iter().map(T::json).collect() }
    }

    fn told(told: Told) -> Option<Self> {
        let Told::Many(entries) = told else { return None };
        Some(entries.into_iter().filter_map(|entry| T::told(Told::One(entry))).collect())
    }
}

/// What says how a thing came about. The canonical form leaves it out: it changes nothing of what is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aside<T>(pub T);

impl<T: Datum> Datum for Aside<T> {
    const SHAPE: Shape = Shape::Derived;

    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        T::read(from).map(Self)
    }

    fn schema(known: &mut Known) -> Value {
        T::schema(known)
    }

    fn unless_told() -> Option<Value> {
        T::unless_told()
    }

    fn form(&self, _: &mut Vec<u8>) {}

    fn json(&self) -> Value {
        self.0.json()
    }

    fn told(_: Told) -> Option<Self> {
        None
    }
}

as_text! {
    crate::NhsNumber, "NHS number", crate::NhsNumber::parse, |it: &crate::NhsNumber| it.as_str().to_owned();
    crate::PartialDate, "partial date", crate::PartialDate::parse, |it: &crate::PartialDate| it.to_string();
    crate::Comparator, "comparator", crate::Comparator::parse, |it: &crate::Comparator| it.as_str();
}
