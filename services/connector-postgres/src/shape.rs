//! A table's shape as the stream describes it: its columns from the server's message, their types' names from the
//! catalogue, and, of what the catalogue has lost since, what the log itself said last.

use crate::{
    catalogue,
    decode::{self, Message},
    encoder::Encoder,
    error::ConnectorError,
    relation::Relation,
};
use boot::failpoint;
use change::{
    Column, TableId, TableSchema,
    avro::{EnvelopePlan, schema},
};
use std::sync::Arc;

impl Encoder<'_> {
    /// Takes in what the server says of a table. One that is in use has another shape from here on; any other gets its
    /// shape with its first row.
    pub(crate) async fn describe(
        &mut self,
        relation: &decode::Relation<'_>,
        frame: &[u8],
    ) -> Result<(), ConnectorError> {
        if !self.left_out.captures(self.settings, &relation.schema, &relation.name) {
            self.relations.leave_out(relation.oid);
            return Ok(());
        }
        let in_use = self.relations.get(relation.oid).is_some();
        self.relations.describe(relation.oid, frame);
        if in_use { self.shape(relation).await } else { Ok(()) }
    }

    /// Before a row of the table is written.
    pub(crate) async fn ready(&mut self, oid: u32) -> Result<(), ConnectorError> {
        let Some(frame) = self.relations.waiting(oid) else { return Ok(()) };
        let frame: Box<[u8]> = frame.into();
        match decode::decode(&frame, &self.charset)? {
            Message::Relation(relation) => self.shape(&relation).await,
            _ => Ok(()),
        }
    }

    async fn shape(&mut self, relation: &decode::Relation<'_>) -> Result<(), ConnectorError> {
        let schema = Arc::new(self.schema_of(relation).await?);
        let known = self.relations.get(relation.oid);
        if known.is_some_and(|known| known.schema == schema) {
            return Ok(());
        }
        if known.is_some() {
            tracing::info!(source = self.origin.source, table = %schema.table, "a table has a new shape");
            self.snapshots.reshaped(relation.oid);
        }
        let registered = Relation::register(self.registry, &self.origin.source, schema, &self.charset).await?;
        failpoint::reached("capture.schema-registered");
        let snapshots = &self.snapshots;
        // The rows of a chunk are filled in with the stream's.
        let last_used = |oid: u32, relation: &Relation| (!snapshots.reads(oid)).then(|| relation.last_used());
        self.relations.make_ready(relation.oid, registered, last_used);
        Ok(())
    }

    async fn schema_of(&mut self, relation: &decode::Relation<'_>) -> Result<TableSchema, ConnectorError> {
        let types = relation.columns.iter().map(|column| column.type_oid);
        self.types.learn(self.catalogue, types.clone()).await?;
        let table = TableId { schema: (&*relation.schema).into(), name: (&*relation.name).into() };
        // A replica identity of the whole row marks every column: which are the key, only the catalogue knows.
        let primary = match relation.identity {
            b'f' => Some(catalogue::primary_key(self.catalogue, relation.oid).await?),
            _ => None,
        };
        let in_row = |name: &String| relation.columns.iter().any(|column| column.name == *name);
        let key_lost = matches!(&primary, Some(None)) || primary.iter().flatten().flatten().any(|name| !in_row(name));
        let types_lost = types.clone().any(|oid| self.types.is_gone(oid));
        let before = if key_lost || types_lost { self.told_last(&table).await? } else { None };
        let before = |name: &str| before.as_ref().and_then(|before| before.columns.get(before.index_of(name)?));
        let columns = relation.columns.iter().map(|column| {
            let (told, is_named) =
                (before(&column.name), |key: &Vec<String>| key.iter().any(|name| *name == column.name));
            let key = match &primary {
                None => column.in_identity,
                Some(_) if key_lost => told.is_some_and(|told| told.key),
                Some(primary) => primary.as_ref().is_some_and(is_named),
            };
            let told = told.filter(|_| self.types.is_gone(column.type_oid));
            let kind = told.map_or_else(
                || self.types.column_type(column.type_oid, column.type_modifier),
                |told| told.kind.clone(),
            );
            Column { name: (&*column.name).into(), kind, key }
        });
        let columns = columns.collect();
        Ok(TableSchema { table, columns })
    }

    /// The table's newest shape in the log.
    async fn told_last(&self, table: &TableId) -> Result<Option<TableSchema>, ConnectorError> {
        let nothing = TableSchema { table: table.clone(), columns: Vec::new() };
        let subject = schema::of_table(&self.origin.source, &nothing).envelope_name;
        let Some((_, text)) = self.registry.latest(&subject).await? else { return Ok(None) };
        // One that somebody else registered says nothing.
        let plan = EnvelopePlan::compile(&text).ok();
        Ok(plan.and_then(|plan| plan.table().map(|table| TableSchema::clone(table))))
    }
}
