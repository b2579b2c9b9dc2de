//! Data of another version of one of our schemas, by the rules of "Schema Resolution" in the Avro specification (1.12).
//!
//! # Why
//! apache-avro resolves values, which do not know the name of their record: of a union's records the first that fits is
//! taken, and a condition fits where a medicine stands. Here writer and reader are compared once, branch by name, and
//! the plan that results turns the writer's datum into ours, which the codec then reads as always.

use super::{DecodeError, wire, wire::Reader};
use serde_json::Value;
use std::{borrow::Cow, collections::HashMap};

/// Records inside records that a schema may have.
const DEPTH_MAX: usize = 16;

/// Why one schema cannot be read as another. Names the field, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what a writer of that schema says cannot be read here: {0}")]
pub struct Unresolvable(String);

/// How a datum of one schema becomes a datum of another.
#[derive(Clone, Debug)]
pub struct Resolution(Option<Step>);

#[derive(Clone, Debug)]
enum Step {
    Null,
    Boolean,
    /// `int`, `long` and the index of an enum: one form.
    Long,
    Float,
    Double,
    /// `string` and `bytes`.
    Bytes,
    Fixed(usize),
    /// The writer's symbols as the reader counts them; none: the reader has no such symbol.
    Enum(Vec<Option<i64>>),
    /// The writer's fields in their order, then how the reader's are put together.
    Record {
        fields: Vec<Step>,
        order: Vec<Part>,
    },
    /// The writer's branches: which of the reader's each is.
    Union(Vec<Result<Branch, Missing>>),
    /// The writer has no union, the reader has.
    Into(i64, Box<Step>),
    Array(Box<Step>),
    Map(Box<Step>),
    /// To be read by the writer's schema and left out.
    Skip(Box<Step>),
}

/// Why the reader has no branch for one of the writer's.
#[derive(Clone, Copy, Debug)]
enum Missing {
    /// It has no type of that name: the writer's version has more than ours.
    Newer,
    Unfit,
}

#[derive(Clone, Debug)]
enum Part {
    /// The writer's field of this index.
    Of(usize),
    /// The reader's default, encoded.
    Default(Vec<u8>),
}

#[derive(Clone, Debug)]
struct Branch {
    /// None: the reader has no union.
    index: Option<i64>,
    step: Step,
}

impl Resolution {
    /// Compares the schemas. Whatever can be known without data is refused here.
    pub fn new(writer: &str, reader: &str) -> Result<Self, Unresolvable> {
        let parse = |text| serde_json::from_str::<Value>(text).map_err(|_| Unresolvable("not a schema".into()));
        let (writer, reader) = (parse(writer)?, parse(reader)?);
        if writer == reader {
            return Ok(Self(None));
        }
        let mut names = Names::default();
        collect(&writer, &mut names.writer);
        collect(&reader, &mut names.reader);
        Ok(Self(Some(names.step(&writer, &reader, 0, "datum")?)))
    }

    /// The schemas are one.
    pub const fn is_equal(&self) -> bool {
        self.0.is_none()
    }

    /// The datum as the reader's schema has it.
    pub fn datum<'a>(&self, datum: &'a [u8]) -> Result<Cow<'a, [u8]>, DecodeError> {
        let Some(step) = &self.0 else { return Ok(Cow::Borrowed(datum)) };
        let mut reader = Reader::new(datum);
        let mut out = Vec::with_capacity(datum.len() + 64);
        run(step, &mut reader, &mut out)?;
        reader.finish()?;
        Ok(Cow::Owned(out))
    }
}

#[derive(Default)]
struct Names {
    writer: HashMap<String, Value>,
    reader: HashMap<String, Value>,
}

/// Every named type of a schema, by its name without a namespace: ours are unambiguous so, and the specification
/// compares unqualified names.
fn collect(schema: &Value, into: &mut HashMap<String, Value>) {
    match schema {
        Value::Array(branches) => branches.iter().for_each(|branch| collect(branch, into)),
        Value::Object(object) => {
            if let Some(name) = object.get("name").and_then(Value::as_str)
                && object.contains_key("type")
                && matches!(kind(schema), "record" | "enum" | "fixed")
            {
                into.insert(last(name).to_owned(), schema.clone());
            }
            for inner in ["type", "items", "values"] {
                object.get(inner).filter(|inner| !inner.is_string()).into_iter().for_each(|it| collect(it, into));
            }
            let fields = object.get("fields").and_then(Value::as_array).into_iter().flatten();
            fields.filter_map(|field| field.get("type")).for_each(|it| collect(it, into));
        }
        _ => {}
    }
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// `record`, `string`, …, or the name of a type.
fn kind(schema: &Value) -> &str {
    match schema {
        Value::String(name) => name,
        Value::Array(_) => "union",
        Value::Object(object) => object.get("type").map_or("", kind),
        _ => "",
    }
}

fn named(schema: &Value) -> Option<&str> {
    schema.get("name").and_then(Value::as_str).map(last)
}

impl Names {
    fn resolved<'a>(names: &'a HashMap<String, Value>, schema: &'a Value) -> &'a Value {
        // `{"type": {"type": "enum", …}}` and `"Name"` stand for what they hold.
        match schema {
            Value::String(name) => names.get(last(name)).unwrap_or(schema),
            Value::Object(object) => match object.get("type") {
                Some(inner @ (Value::Object(_) | Value::Array(_))) => Self::resolved(names, inner),
                Some(Value::String(name)) => names.get(last(name)).unwrap_or(schema),
                _ => schema,
            },
            _ => schema,
        }
    }

    fn step(&self, writer: &Value, reader: &Value, depth: usize, at: &str) -> Result<Step, Unresolvable> {
        if depth > DEPTH_MAX {
            return Err(Unresolvable(format!("{at} is nested too deeply")));
        }
        let (writer, reader) = (Self::resolved(&self.writer, writer), Self::resolved(&self.reader, reader));
        if let Value::Array(branches) = writer {
            let branch = |branch| {
                let named = named(Self::resolved(&self.writer, branch)).is_some() && matches!(reader, Value::Array(_));
                let missing = if named { Missing::Newer } else { Missing::Unfit };
                self.branch(branch, reader, depth + 1, at).ok_or(missing)
            };
            let branches: Vec<Result<Branch, Missing>> = branches.iter().map(branch).collect();
            if branches.iter().all(Result::is_err) {
                return Err(Unresolvable(format!("no branch of {at} is known")));
            }
            return Ok(Step::Union(branches));
        }
        if matches!(reader, Value::Array(_)) {
            let found = self.branch(writer, reader, depth + 1, at);
            let Some(Branch { index: Some(index), step }) = found else {
                return Err(Unresolvable(format!("{at} has no such branch")));
            };
            return Ok(Step::Into(index, Box::new(step)));
        }
        self.plain(writer, reader, depth, at)
    }

    /// The reader's branch for one of the writer's: of the same name, else the first that can be read so.
    fn branch(&self, writer: &Value, reader: &Value, depth: usize, at: &str) -> Option<Branch> {
        let Value::Array(branches) = reader else {
            let step = self.step(writer, reader, depth, at).ok()?;
            return Some(Branch { index: None, step });
        };
        let own = Self::resolved(&self.writer, writer);
        let same = branches.iter().position(|branch| {
            let branch = Self::resolved(&self.reader, branch);
            kind(branch) == kind(own) && named(branch) == named(own)
        });
        let candidates = same.into_iter().chain(0..branches.len());
        for index in candidates {
            // A record is only ever the record of its name.
            let branch = Self::resolved(&self.reader, &branches[index]);
            if named(branch) != named(own) {
                continue;
            }
            if let Ok(step) = self.step(writer, branch, depth, at) {
                return Some(Branch { index: i64::try_from(index).ok(), step });
            }
        }
        None
    }

    fn plain(&self, writer: &Value, reader: &Value, depth: usize, at: &str) -> Result<Step, Unresolvable> {
        let differs = || Unresolvable(format!("{at} is `{}` there and `{}` here", kind(writer), kind(reader)));
        let items = |of: &Value, name: &str| of.get(name).cloned().unwrap_or(Value::Null);
        Ok(match (kind(writer), kind(reader)) {
            ("null", "null") => Step::Null,
            ("boolean", "boolean") => Step::Boolean,
            ("int", "int" | "long") | ("long", "long") => Step::Long,
            ("float", "float") => Step::Float,
            ("double", "double") => Step::Double,
            ("string" | "bytes", "string" | "bytes") => Step::Bytes,
            ("enum", "enum") if named(writer) == named(reader) => symbols(writer, reader),
            ("fixed", "fixed") if writer.get("size") == reader.get("size") => {
                let size = writer.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
                Step::Fixed(size.ok_or_else(differs)?)
            }
            ("array", "array") => {
                let (from, to) = (items(writer, "items"), items(reader, "items"));
                Step::Array(Box::new(self.step(&from, &to, depth + 1, at)?))
            }
            ("map", "map") => {
                let (from, to) = (items(writer, "values"), items(reader, "values"));
                Step::Map(Box::new(self.step(&from, &to, depth + 1, at)?))
            }
            ("record", "record") if named(writer) == named(reader) => self.record(writer, reader, depth)?,
            _ => return Err(differs()),
        })
    }

    fn record(&self, writer: &Value, reader: &Value, depth: usize) -> Result<Step, Unresolvable> {
        let (theirs, ours) = (fields(writer), fields(reader));
        let mut steps = Vec::with_capacity(theirs.len());
        for field in &theirs {
            let known = ours.iter().find(|own| named(own) == named(field));
            let of = |field: &Value| field.get("type").cloned().unwrap_or(Value::Null);
            let at = named(field).unwrap_or("a field");
            let step = match known {
                Some(own) => self.step(&of(field), &of(own), depth + 1, at)?,
                None => Step::Skip(Box::new(self.skipped(&of(field), depth + 1, at)?)),
            };
            steps.push(step);
        }
        let mut order = Vec::with_capacity(ours.len());
        for own in &ours {
            let at = named(own).unwrap_or("a field");
            order.push(match theirs.iter().position(|field| named(field) == named(own)) {
                Some(index) => Part::Of(index),
                None => {
                    let missing = || Unresolvable(format!("{at} is not there and has no default here"));
                    let value = own.get("default").ok_or_else(missing)?;
                    let mut encoded = Vec::new();
                    let kind = own.get("type").cloned().unwrap_or(Value::Null);
                    self.encoded_default(&kind, value, &mut encoded).ok_or_else(missing)?;
                    Part::Default(encoded)
                }
            });
        }
        Ok(Step::Record { fields: steps, order })
    }

    /// How a writer's field is read that the reader does not have.
    fn skipped(&self, writer: &Value, depth: usize, at: &str) -> Result<Step, Unresolvable> {
        let same = Self { writer: self.writer.clone(), reader: self.writer.clone() };
        same.step(writer, writer, depth, at)
    }

    /// A default as a datum: of a union, the first branch's.
    fn encoded_default(&self, schema: &Value, value: &Value, out: &mut Vec<u8>) -> Option<()> {
        let schema = Self::resolved(&self.reader, schema);
        match (kind(schema), value) {
            ("union", _) => {
                wire::long(out, 0);
                self.encoded_default(schema.get(0)?, value, out)?;
            }
            ("null", Value::Null) => {}
            ("boolean", Value::Bool(value)) => wire::boolean(out, *value),
            ("int" | "long", Value::Number(number)) => wire::long(out, number.as_i64()?),
            ("string" | "bytes", Value::String(text)) => wire::string(out, text),
            ("array" | "map", Value::Array(_) | Value::Object(_)) if empty(value) => wire::long(out, 0),
            ("enum", Value::String(symbol)) => {
                let symbols = schema.get("symbols")?.as_array()?;
                wire::long(out, i64::try_from(symbols.iter().position(|known| known == symbol)?).ok()?);
            }
            _ => return None,
        }
        Some(())
    }
}

fn empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn fields(record: &Value) -> Vec<Value> {
    record.get("fields").and_then(Value::as_array).cloned().unwrap_or_default()
}

fn symbols(writer: &Value, reader: &Value) -> Step {
    let of = |schema: &Value| schema.get("symbols").and_then(Value::as_array).cloned().unwrap_or_default();
    let ours = of(reader);
    let index = |symbol: &Value| ours.iter().position(|own| own == symbol).and_then(|at| i64::try_from(at).ok());
    let fallback = reader.get("default").and_then(index);
    Step::Enum(of(writer).iter().map(|symbol| index(symbol).or(fallback)).collect())
}

fn run(step: &Step, r: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    match step {
        Step::Null => {}
        Step::Boolean => wire::boolean(out, r.boolean()?),
        Step::Long => wire::long(out, r.long()?),
        Step::Float => out.extend_from_slice(r.take(4)?),
        Step::Double => out.extend_from_slice(r.take(8)?),
        Step::Bytes => wire::bytes(out, r.bytes()?),
        Step::Fixed(size) => out.extend_from_slice(r.take(*size)?),
        Step::Enum(symbols) => {
            let told = usize::try_from(r.long()?).ok().and_then(|index| symbols.get(index).copied());
            let known = told.ok_or(DecodeError::Malformed("symbol"))?;
            wire::long(out, known.ok_or(DecodeError::Newer("a symbol"))?);
        }
        Step::Record { fields, order } => record(fields, order, r, out)?,
        Step::Union(branches) => {
            let branch = usize::try_from(r.long()?).ok().and_then(|index| branches.get(index));
            let Branch { index, step } = match branch {
                Some(Ok(branch)) => branch,
                Some(Err(Missing::Newer)) => return Err(DecodeError::Newer("a kind of record")),
                Some(Err(Missing::Unfit)) | None => return Err(DecodeError::Malformed("union")),
            };
            index.iter().for_each(|index| wire::long(out, *index));
            run(step, r, out)?;
        }
        Step::Into(index, step) => {
            wire::long(out, *index);
            run(step, r, out)?;
        }
        Step::Array(step) => blocks(r, out, |r, out| run(step, r, out))?,
        Step::Map(step) => blocks(r, out, |r, out| {
            wire::bytes(out, r.bytes()?);
            run(step, r, out)
        })?,
        Step::Skip(step) => run(step, r, &mut Vec::new())?,
    }
    Ok(())
}

fn record(fields: &[Step], order: &[Part], r: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut read = Vec::new();
    let mut ends = Vec::with_capacity(fields.len());
    for field in fields {
        let from = read.len();
        run(field, r, &mut read)?;
        ends.push(from..read.len());
    }
    for part in order {
        match part {
            Part::Of(index) => out.extend_from_slice(&read[ends[*index].clone()]),
            Part::Default(encoded) => out.extend_from_slice(encoded),
        }
    }
    Ok(())
}

fn blocks(
    r: &mut Reader<'_>,
    out: &mut Vec<u8>,
    mut item: impl FnMut(&mut Reader<'_>, &mut Vec<u8>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    loop {
        let count = r.long()?;
        if count < 0 {
            // The block's size in bytes, which nothing here needs.
            r.long()?;
        }
        let count = count.unsigned_abs();
        // An item may be nothing (null), so that only what is left bounds the count.
        if count > u64::try_from(r.left()).unwrap_or(u64::MAX) {
            return Err(DecodeError::Truncated);
        }
        wire::long(out, i64::try_from(count).map_err(|_| DecodeError::Malformed("count"))?);
        if count == 0 {
            return Ok(());
        }
        for _ in 0..count {
            item(r, out)?;
        }
    }
}
