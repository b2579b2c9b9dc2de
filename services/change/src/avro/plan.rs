//! Reading envelopes: a plan compiled once from the writer's schema, then datum by datum.

use super::{
    node::{self, Node, Record},
    value,
    wire::{DecodeError, Reader},
};
use crate::{
    entry::Change,
    row::{Cell, Row, Value},
    table::{Column, TableId, TableSchema},
};
use std::{collections::HashMap, ops::Range, sync::Arc};

/// A schema that is no envelope of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("the schema is not Avro")]
    NotAvro,
    #[error("the schema is larger than this reader takes")]
    TooLarge,
    #[error("the schema nests deeper than this reader takes")]
    TooDeep,
    #[error("the schema is not an envelope with before, after, source and op")]
    NotEnvelope,
    #[error("a column has a type that this reader does not know")]
    UnknownType,
}

/// What the headers say beside the datum, each as its JSON text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Folded<'a> {
    /// Columns that the log left out of `after`.
    pub unchanged: Option<&'a str>,
    /// Column → the server's text, of `after` (of `before` when there is no `after`).
    pub exact: Option<&'a str>,
    /// The same of `before`, when there are both.
    pub exact_before: Option<&'a str>,
}

/// One envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// None of a logical message.
    pub table: Option<Arc<TableSchema>>,
    pub change: Change,
    /// Microseconds since the epoch.
    pub committed_at: i64,
}

/// How to read the envelopes of one writer's schema.
#[derive(Debug)]
pub struct EnvelopePlan {
    table: Option<Arc<TableSchema>>,
    row: Vec<RowField>,
    steps: Vec<Step>,
}

/// A column's place in the union: which branch is null.
#[derive(Debug)]
struct RowField {
    null_branch: Option<usize>,
}

#[derive(Debug)]
enum Step {
    /// With the branch of the union that is the row.
    Before(usize),
    After(usize),
    Source(Vec<SourceStep>),
    Operation,
    Message,
    Skip(Node),
}

#[derive(Debug)]
enum SourceStep {
    Millis,
    /// With the branch that is the number.
    Micros(usize),
    Skip(Node),
}

#[derive(Default)]
struct Parts<'a> {
    before: Option<Vec<Cell>>,
    after: Option<Vec<Cell>>,
    operation: &'a str,
    committed_at: i64,
    message: Option<(String, Vec<u8>)>,
}

impl EnvelopePlan {
    /// Compiles the schema.
    pub fn compile(schema: &str) -> Result<Self, PlanError> {
        let Node::Record(envelope) = node::parse(schema)? else { return Err(PlanError::NotEnvelope) };
        let mut plan = Self { table: None, row: Vec::new(), steps: Vec::with_capacity(envelope.fields.len()) };
        for field in &envelope.fields {
            let step = match (&*field.name, &field.node) {
                ("before", Node::Union(branches)) => Step::Before(plan.row_branch(branches)?),
                ("after", Node::Union(branches)) => Step::After(plan.row_branch(branches)?),
                ("source", Node::Record(source)) => Step::Source(source_steps(source)),
                ("op", Node::Bytes) => Step::Operation,
                ("message", Node::Record(message)) if is_message(message) => Step::Message,
                (_, node) => Step::Skip(node.clone()),
            };
            plan.steps.push(step);
        }
        let has = |wanted: fn(&Step) -> bool| plan.steps.iter().any(wanted);
        let rows = has(|s| matches!(s, Step::Before(_))) && has(|s| matches!(s, Step::After(_)));
        let message = has(|s| matches!(s, Step::Message));
        let common = has(|s| matches!(s, Step::Operation)) && has(|s| matches!(s, Step::Source(_)));
        if common && (rows || message) { Ok(plan) } else { Err(PlanError::NotEnvelope) }
    }

    pub fn table(&self) -> Option<&Arc<TableSchema>> {
        self.table.as_ref()
    }

    fn row_branch(&mut self, branches: &[Node]) -> Result<usize, PlanError> {
        let found = branches.iter().enumerate().find_map(|(index, branch)| match branch {
            Node::Record(record) => Some((index, record)),
            _ => None,
        });
        let (index, record) = found.ok_or(PlanError::NotEnvelope)?;
        if self.table.is_none() {
            let (table, row) = row_plan(record)?;
            self.table = Some(Arc::new(table));
            self.row = row;
        }
        Ok(index)
    }

    /// Reads one datum.
    pub fn decode(&self, datum: &[u8], folded: &Folded<'_>) -> Result<Decoded, DecodeError> {
        let mut reader = Reader::new(datum);
        let mut parts = Parts::default();
        for step in &self.steps {
            match step {
                Step::Before(branch) => parts.before = self.optional_row(&mut reader, *branch)?,
                Step::After(branch) => parts.after = self.optional_row(&mut reader, *branch)?,
                Step::Source(steps) => parts.committed_at = committed_at(&mut reader, steps)?,
                Step::Operation => parts.operation = reader.string()?,
                Step::Message => parts.message = Some(read_message(&mut reader)?),
                Step::Skip(node) => node::skip(&mut reader, node)?,
            }
        }
        reader.finish()?;
        let committed_at = parts.committed_at;
        Ok(Decoded { table: self.table.clone(), change: self.change(parts, folded)?, committed_at })
    }

    /// Where the row `after` lies in the datum, for whoever puts another in its place. None where there is none.
    pub fn after_in(&self, datum: &[u8]) -> Result<Option<Range<usize>>, DecodeError> {
        let mut reader = Reader::new(datum);
        for step in &self.steps {
            match step {
                Step::Before(branch) => drop(self.optional_row(&mut reader, *branch)?),
                Step::After(branch) => {
                    let mut row = reader.clone();
                    let there = row.index()? == *branch;
                    drop(self.optional_row(&mut reader, *branch)?);
                    return Ok(there.then(|| datum.len() - row.left()..datum.len() - reader.left()));
                }
                Step::Source(_) | Step::Operation | Step::Message | Step::Skip(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    fn optional_row(&self, reader: &mut Reader<'_>, branch: usize) -> Result<Option<Vec<Cell>>, DecodeError> {
        if reader.index()? != branch {
            return Ok(None);
        }
        let table = self.table.as_ref().ok_or(DecodeError::Malformed("row"))?;
        let mut cells = Vec::with_capacity(table.columns.len());
        for (column, field) in table.columns.iter().zip(&self.row) {
            let null = match field.null_branch {
                Some(null) => match reader.index()? {
                    branch if branch == null => true,
                    0 | 1 => false,
                    _ => return Err(DecodeError::Malformed("union")),
                },
                None => false,
            };
            cells.push(if null { Cell::Null } else { Cell::Value(value::read(reader, &column.kind)?) });
        }
        Ok(Some(cells))
    }

    fn change(&self, parts: Parts<'_>, folded: &Folded<'_>) -> Result<Change, DecodeError> {
        if let Some((prefix, content)) = parts.message {
            return Ok(Change::Message { prefix, content });
        }
        let Parts { mut before, mut after, .. } = parts;
        match (&mut before, &mut after) {
            (before, Some(after)) => {
                self.fold_unchanged(after, folded.unchanged)?;
                self.fold_exact(after, folded.exact)?;
                if let Some(before) = before {
                    self.fold_exact(before, folded.exact_before)?;
                }
            }
            (Some(before), None) => self.fold_exact(before, folded.exact)?,
            (None, None) => {}
        }
        let old = before.map(|cells| self.old_row(cells)).transpose()?;
        let new = after.map(|cells| self.row(cells)).transpose()?;
        match (parts.operation, new) {
            ("r", Some(new)) => Ok(Change::Snapshot { new }),
            ("c", Some(new)) => Ok(Change::Insert { new }),
            ("u", Some(new)) => Ok(Change::Update { old, new }),
            ("d", None) => Ok(Change::Delete { old }),
            ("t", None) => Ok(Change::Truncate),
            _ => Err(DecodeError::Malformed("operation")),
        }
    }

    fn row(&self, cells: Vec<Cell>) -> Result<Row, DecodeError> {
        let table = self.table.as_ref().ok_or(DecodeError::Malformed("row"))?;
        Row::new(Arc::clone(table), cells).ok_or(DecodeError::Malformed("row"))
    }

    /// A replica identity that is only the key leaves all other cells null: they are not known. Of a table without a key
    /// only whole rows are told, so there a null is one.
    fn old_row(&self, mut cells: Vec<Cell>) -> Result<Row, DecodeError> {
        if let Some(table) = self.table.as_ref().filter(|table| table.columns.iter().any(|column| column.key)) {
            let mut others = table.columns.iter().zip(&cells).filter(|(column, _)| !column.key);
            if others.all(|(_, cell)| *cell == Cell::Null) {
                for (column, cell) in table.columns.iter().zip(&mut cells) {
                    if !column.key {
                        *cell = Cell::Unchanged;
                    }
                }
            }
        }
        self.row(cells)
    }

    fn fold_unchanged(&self, cells: &mut [Cell], json: Option<&str>) -> Result<(), DecodeError> {
        let (Some(json), Some(table)) = (json, &self.table) else { return Ok(()) };
        let columns: Vec<String> =
            serde_json::from_str(json).map_err(|_| DecodeError::Malformed("list of unchanged columns"))?;
        for column in columns {
            let at = table.index_of(&column).ok_or(DecodeError::Malformed("list of unchanged columns"))?;
            cells[at] = Cell::Unchanged;
        }
        Ok(())
    }

    fn fold_exact(&self, cells: &mut [Cell], json: Option<&str>) -> Result<(), DecodeError> {
        let (Some(json), Some(table)) = (json, &self.table) else { return Ok(()) };
        let texts: HashMap<String, String> =
            serde_json::from_str(json).map_err(|_| DecodeError::Malformed("list of exact values"))?;
        for (column, text) in texts {
            let at = table.index_of(&column).ok_or(DecodeError::Malformed("list of exact values"))?;
            cells[at] = Cell::Value(Value::Exact(text));
        }
        Ok(())
    }
}

fn row_plan(record: &Record) -> Result<(TableSchema, Vec<RowField>), PlanError> {
    // Of a log that another tool wrote, the namespace tells: <source>.<schema>.<table>.Value.
    let mut parts = record.full_name.rsplit('.').skip(1);
    let name = record.table.clone().or_else(|| parts.next().map(str::to_owned)).ok_or(PlanError::NotEnvelope)?;
    let schema = record.schema.clone().or_else(|| parts.next().map(str::to_owned)).unwrap_or_default();
    let mut columns = Vec::with_capacity(record.fields.len());
    let mut fields = Vec::with_capacity(record.fields.len());
    for field in &record.fields {
        let null_branch = match &field.node {
            Node::Union(branches) if branches.len() == 2 => {
                let null = branches.iter().position(|branch| matches!(branch, Node::Null));
                Some(null.ok_or(PlanError::UnknownType)?)
            }
            Node::Union(_) => return Err(PlanError::UnknownType),
            _ => None,
        };
        let kind = field.kind.clone().ok_or(PlanError::UnknownType)?;
        columns.push(Column { name: field.column.as_str().into(), kind, key: null_branch.is_none() });
        fields.push(RowField { null_branch });
    }
    Ok((TableSchema { table: TableId { schema: schema.into(), name: name.into() }, columns }, fields))
}

fn source_steps(source: &Record) -> Vec<SourceStep> {
    let steps = source.fields.iter().map(|field| match (&*field.name, &field.node) {
        ("ts_ms", Node::Integer) => SourceStep::Millis,
        ("ts_us", Node::Union(branches)) if branches.len() == 2 => {
            let number = branches.iter().position(|branch| matches!(branch, Node::Integer));
            number.map_or_else(|| SourceStep::Skip(field.node.clone()), SourceStep::Micros)
        }
        (_, node) => SourceStep::Skip(node.clone()),
    });
    steps.collect()
}

fn committed_at(reader: &mut Reader<'_>, steps: &[SourceStep]) -> Result<i64, DecodeError> {
    let (mut millis, mut micros) = (0, None);
    for step in steps {
        match step {
            SourceStep::Millis => millis = reader.long()?,
            SourceStep::Micros(branch) => {
                if reader.index()? == *branch {
                    micros = Some(reader.long()?);
                }
            }
            SourceStep::Skip(node) => node::skip(reader, node)?,
        }
    }
    Ok(micros.unwrap_or(millis.saturating_mul(1_000)))
}

fn is_message(record: &Record) -> bool {
    let names: Vec<&str> = record.fields.iter().map(|field| &*field.name).collect();
    names == ["prefix", "content"]
}

fn read_message(reader: &mut Reader<'_>) -> Result<(String, Vec<u8>), DecodeError> {
    let prefix = if reader.index()? == 1 { reader.string()?.to_owned() } else { String::new() };
    let content = if reader.index()? == 1 { reader.bytes()?.to_vec() } else { Vec::new() };
    Ok((prefix, content))
}
