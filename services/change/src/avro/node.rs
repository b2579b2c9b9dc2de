//! A writer's schema as a tree: enough to skip what is not ours and to read what is.

use super::{
    BITS_NAME, COLUMN_PROPERTY, DATE_NAME, DECIMAL_NAME, DIGITS_PROPERTY, ENUM_NAME, FLAGGED_NAME, HSTORE,
    INTERVAL_NAME, JSON_NAME, LTREE_NAME, MONEY, POINT_NAME, PlanError, SCHEMA_PROPERTY, TABLE_PROPERTY, TIME_NAME,
    TIME_TZ_NAME, TIMESTAMP_NAME, TSVECTOR_NAME, TYPE_PROPERTY, UUID_NAME, VARIABLE_SCALE_NAME, XML_NAME, ZONED_NAME,
    point,
    value::ELEMENTS_MAX,
    wire::{DecodeError, Reader},
};
use crate::table::{ColumnType, SECOND_DIGITS};
use serde_json::{Map, Value};
use std::{collections::HashMap, sync::Arc};

/// A larger schema is refused.
pub(super) const SCHEMA_BYTES_MAX: usize = 4 * 1024 * 1024;
const DEPTH_MAX: usize = 32;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Null,
    Boolean,
    /// `int` and `long` look the same on the wire; so do `bytes` and `string`.
    Integer,
    Float,
    Double,
    Bytes,
    Fixed(usize),
    Array(Arc<Self>),
    Map(Arc<Self>),
    Union(Arc<[Self]>),
    Record(Arc<Record>),
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) full_name: String,
    /// The database's own names, where the schema tells.
    pub(super) schema: Option<String>,
    pub(super) table: Option<String>,
    pub(super) fields: Vec<Field>,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    /// The column's name as the database spells it.
    pub(super) column: String,
    pub(super) node: Node,
    /// How the field travels as a column; none when it is not one of ours.
    pub(super) kind: Option<ColumnType>,
}

/// Parses one schema document.
pub(super) fn parse(schema: &str) -> Result<Node, PlanError> {
    if schema.len() > SCHEMA_BYTES_MAX {
        return Err(PlanError::TooLarge);
    }
    let json: Value = serde_json::from_str(schema).map_err(|_| PlanError::NotAvro)?;
    Parser { named: HashMap::new() }.node(&json, "", 0)
}

struct Parser {
    named: HashMap<String, Node>,
}

impl Parser {
    fn node(&mut self, json: &Value, namespace: &str, depth: usize) -> Result<Node, PlanError> {
        if depth > DEPTH_MAX {
            return Err(PlanError::TooDeep);
        }
        match json {
            Value::String(name) => self.named_or_primitive(name, namespace),
            Value::Array(branches) => {
                let branches: Result<Vec<Node>, _> =
                    branches.iter().map(|branch| self.node(branch, namespace, depth + 1)).collect();
                Ok(Node::Union(branches?.into()))
            }
            Value::Object(object) => self.object(object, namespace, depth),
            _ => Err(PlanError::NotAvro),
        }
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str, depth: usize) -> Result<Node, PlanError> {
        let kind = object.get("type").ok_or(PlanError::NotAvro)?;
        let Some(kind) = kind.as_str() else { return self.node(kind, namespace, depth + 1) };
        match kind {
            "record" => self.record(object, namespace, depth),
            "array" => {
                let items = object.get("items").ok_or(PlanError::NotAvro)?;
                Ok(Node::Array(Arc::new(self.node(items, namespace, depth + 1)?)))
            }
            "map" => {
                let values = object.get("values").ok_or(PlanError::NotAvro)?;
                Ok(Node::Map(Arc::new(self.node(values, namespace, depth + 1)?)))
            }
            "enum" => {
                let (name, _) = names(object, namespace)?;
                self.named.insert(name, Node::Integer);
                Ok(Node::Integer)
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64).ok_or(PlanError::NotAvro)?;
                let node = Node::Fixed(usize::try_from(size).map_err(|_| PlanError::NotAvro)?);
                let (name, _) = names(object, namespace)?;
                self.named.insert(name, node.clone());
                Ok(node)
            }
            name => self.named_or_primitive(name, namespace),
        }
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: &str, depth: usize) -> Result<Node, PlanError> {
        let (full_name, namespace) = names(object, namespace)?;
        let fields = object.get("fields").and_then(Value::as_array).ok_or(PlanError::NotAvro)?;
        let mut parsed = Vec::with_capacity(fields.len());
        for field in fields {
            let name = field.get("name").and_then(Value::as_str).ok_or(PlanError::NotAvro)?;
            let json = field.get("type").ok_or(PlanError::NotAvro)?;
            let node = self.node(json, &namespace, depth + 1)?;
            let column = field.get(COLUMN_PROPERTY).and_then(Value::as_str).unwrap_or(name).to_owned();
            let kind = column_type(json, &node);
            parsed.push(Field { name: name.to_owned(), column, node, kind });
        }
        let property = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
        let record = Record {
            full_name: full_name.clone(),
            schema: property(SCHEMA_PROPERTY),
            table: property(TABLE_PROPERTY),
            fields: parsed,
        };
        let node = Node::Record(Arc::new(record));
        self.named.insert(full_name, node.clone());
        Ok(node)
    }

    fn named_or_primitive(&self, name: &str, namespace: &str) -> Result<Node, PlanError> {
        Ok(match name {
            "null" => Node::Null,
            "boolean" => Node::Boolean,
            "int" | "long" => Node::Integer,
            "float" => Node::Float,
            "double" => Node::Double,
            "bytes" | "string" => Node::Bytes,
            name => {
                let qualified = qualified(name, namespace);
                let known = self.named.get(&qualified).or_else(|| self.named.get(name));
                known.cloned().ok_or(PlanError::NotAvro)?
            }
        })
    }
}

fn qualified(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

/// A named type's full name, and the namespace inside it.
fn names(object: &Map<String, Value>, namespace: &str) -> Result<(String, String), PlanError> {
    let name = object.get("name").and_then(Value::as_str).ok_or(PlanError::NotAvro)?;
    let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
    let full = qualified(name, namespace);
    let inside = full.rsplit_once('.').map_or("", |(inside, _)| inside).to_owned();
    Ok((full, inside))
}

/// The column type that a field's schema stands for.
fn column_type(json: &Value, node: &Node) -> Option<ColumnType> {
    let (json, node) = match (json, node) {
        (Value::Array(branches), Node::Union(nodes)) => {
            let at = nodes.iter().position(|node| !matches!(node, Node::Null))?;
            (branches.get(at)?, nodes.get(at)?)
        }
        pair => pair,
    };
    let property = |name: &str| json.get(name).and_then(Value::as_str);
    let parameter = |name: &str| json.get("connect.parameters")?.get(name)?.as_str();
    let base = json.as_str().or_else(|| property("type"))?;
    let named = property("connect.name").unwrap_or("");
    Some(match (node, base, named) {
        (Node::Boolean, ..) => ColumnType::Bool,
        (Node::Integer, "int", DATE_NAME) => ColumnType::Date,
        (Node::Integer, "long", TIME_NAME) => ColumnType::Time,
        (Node::Integer, "long", TIMESTAMP_NAME) => ColumnType::Timestamp,
        (Node::Integer, "int", "") if property("connect.type") == Some("int16") => ColumnType::Int16,
        (Node::Integer, "int", "") => ColumnType::Int32,
        (Node::Integer, "long", "") => ColumnType::Int64,
        (Node::Float, ..) => ColumnType::Float32,
        (Node::Double, ..) => ColumnType::Float64,
        (Node::Bytes, "bytes", DECIMAL_NAME) => {
            let number = |name: &str| u16::try_from(json.get(name)?.as_u64()?).ok();
            let scale = number("scale")?;
            if property(TYPE_PROPERTY) == Some(MONEY) {
                return Some(ColumnType::Money { scale });
            }
            ColumnType::Decimal { precision: number("precision")?, scale }
        }
        (Node::Bytes, "bytes", BITS_NAME) => ColumnType::Bits { length: parameter("length")?.parse().ok()? },
        (Node::Bytes, "bytes", _) => ColumnType::Bytes,
        (Node::Bytes, "string", ZONED_NAME) => {
            let digits = json.get(DIGITS_PROPERTY).and_then(Value::as_u64).and_then(|digits| u8::try_from(digits).ok());
            ColumnType::TimestampTz { digits: digits.unwrap_or(SECOND_DIGITS).min(SECOND_DIGITS) }
        }
        (Node::Bytes, "string", UUID_NAME) => ColumnType::Uuid,
        (Node::Bytes, "string", JSON_NAME) if property(TYPE_PROPERTY) == Some(HSTORE) => ColumnType::Hstore,
        (Node::Bytes, "string", JSON_NAME) => ColumnType::Json,
        (Node::Bytes, "string", XML_NAME) => ColumnType::Xml,
        (Node::Bytes, "string", LTREE_NAME) => ColumnType::Ltree,
        (Node::Bytes, "string", TSVECTOR_NAME) => ColumnType::Tsvector,
        (Node::Bytes, "string", TIME_TZ_NAME) => ColumnType::TimeTz,
        (Node::Bytes, "string", INTERVAL_NAME) => ColumnType::Interval,
        (Node::Bytes, "string", ENUM_NAME) => {
            let allowed = parameter("allowed")?.split(',').filter(|label| !label.is_empty()).map(Arc::from);
            ColumnType::Enum { allowed: allowed.collect() }
        }
        (Node::Bytes, "string", FLAGGED_NAME) => ColumnType::Flagged { type_name: parameter("type")?.into() },
        (Node::Bytes, "string", _) => ColumnType::Text,
        (Node::Record(record), ..) if record.full_name == VARIABLE_SCALE_NAME => ColumnType::Numeric,
        (Node::Record(record), ..) if record.full_name == POINT_NAME => {
            let same = record.fields.iter().map(|field| &*field.name).eq(point::FIELDS);
            same.then_some(ColumnType::Point)?
        }
        (Node::Array(element), ..) => ColumnType::Array(Arc::new(column_type(json.get("items")?, element)?)),
        _ => return None,
    })
}

/// Reads past one datum of the node.
pub(super) fn skip(reader: &mut Reader<'_>, node: &Node) -> Result<(), DecodeError> {
    match node {
        Node::Null => Ok(()),
        Node::Boolean => reader.boolean().map(drop),
        Node::Integer => reader.long().map(drop),
        Node::Float => reader.float().map(drop),
        Node::Double => reader.double().map(drop),
        Node::Bytes => reader.bytes().map(drop),
        Node::Fixed(size) => reader.take(*size).map(drop),
        Node::Union(branches) => {
            let branch = branches.get(reader.index()?).ok_or(DecodeError::Malformed("union"))?;
            skip(reader, branch)
        }
        Node::Record(record) => record.fields.iter().try_for_each(|field| skip(reader, &field.node)),
        Node::Array(element) => skip_blocks(reader, |reader| skip(reader, element)),
        Node::Map(value) => skip_blocks(reader, |reader| {
            reader.bytes()?;
            skip(reader, value)
        }),
    }
}

fn skip_blocks<'a>(
    reader: &mut Reader<'a>,
    mut item: impl FnMut(&mut Reader<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    loop {
        let count = reader.long()?;
        if count == 0 {
            return Ok(());
        }
        if count < 0 {
            let bytes = reader.index()?;
            reader.take(bytes)?;
            continue;
        }
        if count.unsigned_abs() > ELEMENTS_MAX as u64 {
            return Err(DecodeError::Malformed("array"));
        }
        for _ in 0..count {
            item(reader)?;
        }
    }
}
