//! One shape of one table, ready to encode its rows.

use crate::{
    charset::Charset,
    decode::Cell,
    encode::{Beside, ColumnPlan, write_exact_key, write_key, write_row},
    error::ConnectorError,
};
use change::{
    Position, TableSchema,
    avro::{
        envelope::{self, Head, SourceBlock},
        schema, wire,
    },
};
use change_log::{Records, Registry, RegistryError, control::EXACT_KEY, frame, header::Kind};
use std::sync::Arc;

/// Which source the changes come from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) source: String,
    pub(crate) database: String,
}

impl Origin {
    pub(crate) fn block<'a>(&'a self, schema: &'a str, table: &'a str) -> SourceBlock<'a> {
        SourceBlock {
            version: env!("CARGO_PKG_VERSION"),
            connector: "postgresql",
            name: &self.source,
            db: &self.database,
            schema,
            table,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Relation {
    pub(crate) schema: Arc<TableSchema>,
    columns: Vec<ColumnPlan>,
    /// What its rows' texts are in.
    charset: Charset,
    /// It was said that one of them cannot be read.
    told_spelt: bool,
    envelope_id: u32,
    key: Option<KeyIds>,
    head: Head,
    /// The transaction that `head` and `order` are of.
    stamp: u64,
    order: u64,
    /// The readings that had begun when its key was last looked at.
    round: u64,
}

/// The schemas of keys: the table's own, and the one for what that has no room for.
#[derive(Clone, Copy, Debug)]
struct KeyIds {
    own: u32,
    exact: u32,
}

/// Where a row stands, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) position: Position,
    pub(crate) lsn: u64,
    /// Tells one transaction (or snapshot) from the next.
    pub(crate) stamp: u64,
    pub(crate) committed_at: i64,
    pub(crate) captured_at: i64,
    /// None in a snapshot.
    pub(crate) transaction: Option<Transaction<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Transaction<'a> {
    pub(crate) xid: u32,
    pub(crate) id: &'a str,
}

/// What rows say beside their datums: of `before` and of `after`.
#[derive(Debug, Default)]
pub(crate) struct Margins {
    before: Beside,
    after: Beside,
    /// Changes with values that had to be spelt, since somebody asked.
    pub(crate) spelt: u64,
}

impl Relation {
    /// Registers the table's schemas.
    pub(crate) async fn register(
        registry: &Registry,
        source: &str,
        schema: Arc<TableSchema>,
        charset: &Charset,
    ) -> Result<Self, ConnectorError> {
        let refused = |error| match error {
            RegistryError::Incompatible { subject, differences } => ConnectorError::Incompatible {
                source_name: source.to_owned(),
                table: schema.table.clone(),
                subject,
                differences,
            },
            error => ConnectorError::Registry(error),
        };
        let schemas = schema::of_table(source, &schema);
        let key = match &schemas.key {
            Some((name, text)) => Some(KeyIds {
                own: registry.register_next(name, text).await.map_err(refused)?,
                exact: registry.register(EXACT_KEY.name, EXACT_KEY.text).await?,
            }),
            None => None,
        };
        let envelope_id = registry.register_next(&schemas.envelope_name, &schemas.envelope).await.map_err(refused)?;
        let columns = schema.columns.iter().map(|column| ColumnPlan {
            name: Arc::clone(&column.name),
            kind: column.kind.clone(),
            key: column.key,
        });
        let columns = columns.collect();
        let (charset, told_spelt) = (charset.clone(), false);
        let (head, stamp, order, round) = (Head::default(), 0, 0, 0);
        Ok(Self { schema, columns, charset, told_spelt, envelope_id, key, head, stamp, order, round })
    }

    pub(crate) const fn columns(&self) -> usize {
        self.columns.len()
    }

    pub(crate) const fn charset(&self) -> &Charset {
        &self.charset
    }

    fn plan(&self) -> (&Charset, &[ColumnPlan]) {
        (&self.charset, &self.columns)
    }

    /// The transaction in which a row was last written.
    pub(crate) const fn last_used(&self) -> u64 {
        self.stamp
    }

    /// True once in each round.
    pub(crate) const fn enters(&mut self, round: u64) -> bool {
        std::mem::replace(&mut self.round, round) != round
    }

    /// Bytes that are a row's key, and no other's.
    pub(crate) fn key<'a>(&self, out: &mut Vec<u8>, row: impl Iterator<Item = Cell<'a>> + Clone) {
        out.clear();
        out.push(0);
        if !write_key(out, self.plan(), row.clone()) {
            out.clear();
            out.push(1);
            write_exact_key(out, "", self.plan(), row);
        }
    }

    /// The record's key: the row's, or, without one (of truncations, too), the position.
    fn write_record_key<'a>(
        &self,
        out: &mut Vec<u8>,
        row: Option<impl Iterator<Item = Cell<'a>> + Clone>,
        position: Position,
    ) {
        let (Some(ids), Some(row)) = (self.key, row) else {
            return out.extend_from_slice(position.to_string().as_bytes());
        };
        let start = out.len();
        frame::start(ids.own, out);
        if !write_key(out, self.plan(), row.clone()) {
            out.truncate(start);
            frame::start(ids.exact, out);
            write_exact_key(out, &self.schema.table.to_string(), self.plan(), row);
        }
    }

    /// Whether two rows have the same key, as the server printed it.
    pub(crate) fn same_key<'a>(
        &self,
        mut one: impl Iterator<Item = Cell<'a>>,
        mut two: impl Iterator<Item = Cell<'a>>,
    ) -> bool {
        self.columns.iter().all(|column| {
            let pair = (one.next(), two.next());
            !column.key || pair.0 == pair.1 || pair.1 == Some(Cell::Unchanged)
        })
    }

    /// Writes one change into the open record, and closes it.
    pub(crate) fn write<'a, B, A>(
        &mut self,
        out: &mut Records,
        margins: &mut Margins,
        origin: &Origin,
        operation: &str,
        rows: (Option<B>, Option<A>),
        place: &Place<'_>,
    ) where
        B: Iterator<Item = Cell<'a>> + Clone,
        A: Iterator<Item = Cell<'a>> + Clone,
    {
        let (before, after) = rows;
        self.enter(origin, place);
        let buffer = out.buffer();
        match &after {
            Some(row) => self.write_record_key(buffer, Some(row.clone()), place.position),
            None => self.write_record_key(buffer, before.clone(), place.position),
        }
        out.end_part();
        let buffer = out.buffer();
        frame::start(self.envelope_id, buffer);
        margins.before.clear();
        margins.after.clear();
        let has_after = after.is_some();
        write_optional(buffer, self.plan(), before, &mut margins.before);
        write_optional(buffer, self.plan(), after, &mut margins.after);
        self.head.write(buffer, place.lsn);
        match &place.transaction {
            Some(transaction) => {
                self.order += 1;
                envelope::transaction(buffer, transaction.id, place.position.ordinal, self.order);
            }
            None => buffer.push(wire::NULL),
        }
        envelope::tail(buffer, operation, place.captured_at);
        out.end_part();
        let (exact, exact_before) =
            if has_after { (&margins.after.exact, &*margins.before.exact) } else { (&margins.before.exact, "") };
        for part in [&margins.after.unchanged, exact, exact_before] {
            out.buffer().extend_from_slice(part.as_bytes());
            out.end_part();
        }
        // Rows that were read belong to no transaction that could be traced.
        out.close(Kind::Change, place.position, place.transaction.is_some());
        if margins.before.spelt || margins.after.spelt {
            margins.spelt += 1;
            self.tell_spelt(&origin.source, place.position);
        }
    }

    fn tell_spelt(&mut self, source: &str, position: Position) {
        if !std::mem::replace(&mut self.told_spelt, true) {
            tracing::warn!(source, table = %self.schema.table, %position, encoding = ?self.charset,
                "a value has bytes that no character of the database's encoding has: it stands in the header \
                 causeway.exact, spelt, and its column is null; further ones of this table are only counted");
        }
    }

    /// Encodes what all records of one transaction and table share, once.
    fn enter(&mut self, origin: &Origin, place: &Place<'_>) {
        if self.stamp == place.stamp {
            return;
        }
        self.stamp = place.stamp;
        self.order = 0;
        let table = &self.schema.table;
        let block = origin.block(&table.schema, &table.name);
        let xid = place.transaction.map(|transaction| transaction.xid);
        self.head.set(&block, place.committed_at, place.transaction.is_none(), xid);
    }
}

fn write_optional<'a>(
    out: &mut Vec<u8>,
    plan: (&Charset, &[ColumnPlan]),
    row: Option<impl Iterator<Item = Cell<'a>>>,
    beside: &mut Beside,
) {
    match row {
        None => out.push(wire::NULL),
        Some(row) => {
            out.push(wire::SOME);
            write_row(out, plan, row, beside);
        }
    }
}
