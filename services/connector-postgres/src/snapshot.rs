//! The first reading of all tables: one scan per table, at the place where the slot's stream begins.

use crate::{
    catalogue::{self, Table, Types},
    connect::{self, Pulse},
    decode::Cell,
    encode::CopyRow,
    encoder::now,
    error::{ConnectorError, Doing},
    meter::Meter,
    quarantine::{Oversized, Quarantine},
    relation::{Margins, Origin, Place, Relation},
    session::Session,
    status::{Phase, SnapshotView},
    trace,
};
use boot::failpoint;
use change::{Batch, Lsn, Position, Sink};
use change_log::{
    LogWriter, Records,
    control::{SNAPSHOT, Snapshot as SnapshotRecord},
    frame,
    header::Kind,
    topics::RECORD_BYTES_MAX,
};
use futures_util::TryStreamExt;
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_postgres::Client;

/// Bytes of one block of rows.
const BLOCK_BYTES_MAX: usize = 512 * 1024;
/// A slot waits for the transactions that are open when it is made.
const SLOT_TIMEOUT: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Complete,
    Stopped,
}

struct Snapshot<'a> {
    session: &'a Session,
    writer: LogWriter<u64>,
    schema_id: u32,
    id: Arc<str>,
    origin: Origin,
    epoch: u32,
    /// Where the stream begins.
    begins: Lsn,
    ordinal: u64,
    rows: u64,
    tables: Vec<Table>,
    quarantine: Quarantine,
    margins: Margins,
    meter: Meter<'a>,
    started: Instant,
}

/// Makes the slot, and reads all tables as they are where its stream begins.
pub(crate) async fn take(
    session: &Session,
    client: &Client,
    pulse: Pulse,
    epoch: u32,
    drop_slot: bool,
) -> Result<Outcome, ConnectorError> {
    let slot = session.settings.slot();
    let (writer, tail) = session.open_log::<u64>(epoch).await?;
    if tail.last.is_some_and(|last| last.position.epoch >= epoch) {
        return Err(ConnectorError::LogMoved);
    }
    if drop_slot {
        client.execute("select pg_drop_replication_slot($1)", &[&slot]).await.doing("dropping the old slot")?;
    }
    let mut replication = connect::replication(&session.settings, pulse, Lsn(0)).await?;
    let create = format!("CREATE_REPLICATION_SLOT {slot} LOGICAL pgoutput EXPORT_SNAPSHOT");
    let creating = async {
        let made = replication.simple_query(&create).await;
        made.map_err(|source| ConnectorError::Stream { slot: slot.clone(), source })
    };
    let made = tokio::select! {
        () = session.stop.cancelled() => return Ok(Outcome::Stopped),
        made = connect::within(SLOT_TIMEOUT, creating) => made?,
    };
    let (begins, exported) = parse_slot(&made).ok_or_else(|| ConnectorError::Stream {
        slot: slot.clone(),
        source: pgwire_replication::PgWireError::Protocol("the answer to CREATE_REPLICATION_SLOT is not one".into()),
    })?;
    let import = format!(
        "begin transaction isolation level repeatable read read only; set transaction snapshot '{}'",
        exported.replace('\'', "''")
    );
    client.batch_execute(&import).await.doing("importing the exported snapshot")?;
    failpoint::reached("snapshot.slot-created");
    // The exported snapshot lives on in this transaction.
    drop(replication);
    let mut types = Types::default();
    let wanted = |schema: &str, table: &str| session.settings.wants(schema, table);
    let tables = catalogue::published(client, &session.settings.publication(), &mut types, wanted).await?;
    let snapshot = Snapshot {
        session,
        writer,
        schema_id: session.registry.register(SNAPSHOT.name, SNAPSHOT.text).await?,
        id: session.unique_id().into(),
        origin: session.origin(),
        epoch,
        begins,
        ordinal: 0,
        rows: 0,
        tables,
        quarantine: Quarantine::new(&session.kafka, &session.settings.name),
        margins: Margins::default(),
        meter: Meter::new(&session.settings.name, &session.status),
        started: Instant::now(),
    };
    let outcome = snapshot.run(client).await?;
    client.batch_execute("commit").await.doing("ending the snapshot")?;
    Ok(outcome)
}

/// Where the slot's stream begins, and the exported snapshot's name.
fn parse_slot(rows: &[pgwire_replication::client::QueryRow]) -> Option<(Lsn, String)> {
    let [row] = rows else { return None };
    let text = |at: usize| std::str::from_utf8(row.get(at)?.as_ref()?).ok();
    Some((text(1)?.parse().ok()?, text(2)?.to_owned()))
}

impl Snapshot<'_> {
    async fn run(mut self, client: &Client) -> Result<Outcome, ConnectorError> {
        tracing::info!(source = self.origin.source, tables = self.tables.len(), epoch = self.epoch, begins = %self.begins,
            "taking a snapshot");
        self.control(Kind::SnapshotBegin, None, 0).await?;
        failpoint::reached("snapshot.begun");
        let tables = std::mem::take(&mut self.tables);
        let estimate: u64 = tables.iter().map(|table| table.rows_estimated).sum();
        for (done, table) in tables.iter().enumerate() {
            let name = table.schema.table.to_string();
            self.show(&name, done, tables.len(), estimate);
            let before = self.rows;
            if self.table(client, table, &name, (done, tables.len(), estimate)).await? == Outcome::Stopped {
                return Ok(Outcome::Stopped);
            }
            let rows = self.rows - before;
            self.control(Kind::SnapshotChunk, Some(name.clone()), rows).await?;
            failpoint::reached("snapshot.chunk-finished");
            tracing::info!(source = self.origin.source, table = name, rows, "read a table");
        }
        self.control(Kind::SnapshotEnd, None, self.rows).await?;
        failpoint::reached("snapshot.end-written");
        while self.writer.durable().await?.point() < self.ordinal {}
        failpoint::reached("snapshot.end-durable");
        self.show("", tables.len(), tables.len(), self.rows);
        tracing::info!(source = self.origin.source, rows = self.rows, "the snapshot is complete");
        Ok(Outcome::Complete)
    }

    async fn table(
        &mut self,
        client: &Client,
        table: &Table,
        name: &str,
        (done, of, estimate): (usize, usize, u64),
    ) -> Result<Outcome, ConnectorError> {
        let schema = Arc::clone(&table.schema);
        let mut relation = Relation::register(&self.session.registry, &self.origin.source, schema).await?;
        let columns: Vec<String> = table.schema.columns.iter().map(|column| quoted(&column.name)).collect();
        let id = &table.schema.table;
        // Otherwise rows of tables that inherit from this one would be read twice, once as its own.
        let only = if table.without_heirs { "only " } else { "" };
        let select = format!(
            "copy (select {} from {only}{}.{}) to stdout",
            columns.join(", "),
            quoted(&id.schema),
            quoted(&id.name)
        );
        let rows = client.copy_out(select.as_str()).await.doing("reading a table")?;
        let mut rows = pin!(rows);
        let mut row = CopyRow::default();
        let mut block = self.block();
        loop {
            let line = tokio::select! {
                biased;
                () = self.session.stop.cancelled() => return Ok(Outcome::Stopped),
                line = rows.try_next() => line.doing("reading a table")?,
            };
            let Some(line) = line else { break };
            failpoint::reached("snapshot.row-read");
            if !row.parse(&line, relation.columns()) {
                return Err(ConnectorError::SnapshotRow { table: name.to_owned() });
            }
            self.row(&mut block, &mut relation, &row).await?;
            if block.bytes() >= BLOCK_BYTES_MAX {
                self.write(std::mem::take(&mut block)).await?;
                failpoint::reached("snapshot.rows-written");
                block = self.block();
                self.show(name, done, of, estimate);
            }
        }
        self.write(block).await?;
        Ok(Outcome::Complete)
    }

    async fn row(&mut self, block: &mut Records, relation: &mut Relation, row: &CopyRow) -> Result<(), ConnectorError> {
        self.ordinal += 1;
        self.rows += 1;
        let at = now();
        let position = self.position();
        let place = Place {
            position,
            lsn: self.begins.0,
            stamp: u64::MAX,
            committed_at: at,
            captured_at: at,
            transaction: None,
        };
        let none: Option<std::iter::Empty<Cell<'_>>> = None;
        relation.write(block, &mut self.margins, &self.origin, "r", (none, Some(row.cells())), &place);
        if block.last_bytes() > RECORD_BYTES_MAX {
            let table = relation.schema.table.to_string();
            let (key, bytes) = (block.last_key().to_vec(), block.last_bytes());
            block.drop_last();
            let row = Oversized { position, table, key, bytes, committed_at: at };
            self.quarantine.put(&self.session.registry, row).await?;
        }
        Ok(())
    }

    /// Just before the stream begins: a commit can stand exactly where it does.
    fn position(&self) -> Position {
        Position::new(self.epoch, Lsn(self.begins.0.saturating_sub(1)), self.ordinal)
    }

    fn block(&self) -> Records {
        let mut block = Records::default();
        block.snapshot = Some(Arc::clone(&self.id));
        block.set_trace(trace::parent(&self.origin.source, Position { ordinal: 0, ..self.position() }));
        block
    }

    async fn control(&mut self, kind: Kind, table: Option<String>, rows: u64) -> Result<(), ConnectorError> {
        if kind != Kind::SnapshotBegin {
            self.ordinal += 1;
        }
        let mut block = self.block();
        block.buffer().extend_from_slice(kind.name().as_bytes());
        block.end_part();
        frame::start(self.schema_id, block.buffer());
        let record = SnapshotRecord { snapshot: self.id.to_string(), table, rows, lsn: self.begins, at: now() };
        record.encode(block.buffer());
        block.close(kind, self.position(), false);
        if kind == Kind::SnapshotEnd {
            block.end_commit(self.begins);
        }
        self.write(block).await
    }

    async fn write(&mut self, block: Records) -> Result<(), ConnectorError> {
        if !block.is_empty() {
            self.meter.add(block.len());
            self.writer.enqueue(Batch { items: vec![block], upto: self.ordinal }).await?;
        }
        Ok(())
    }

    fn show(&self, table: &str, tables_done: usize, tables: usize, estimate: u64) {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let (rows, seconds) = (self.rows as f64, self.started.elapsed().as_secs_f64().max(0.001));
        metrics::gauge!("causeway_capture_snapshot_rows", "source" => self.origin.source.clone()).set(rows);
        let why = format!("taking a snapshot: {} rows, {tables_done} of {tables} tables", self.rows);
        self.session.health.not_ready(why);
        self.session.status.update(|view| {
            view.phase = Phase::Snapshot;
            view.snapshot = Some(SnapshotView {
                table: table.to_owned(),
                tables_done,
                tables,
                rows: self.rows,
                rows_estimated: estimate.max(self.rows),
                rows_per_s: rows / seconds,
                done: tables_done == tables,
            });
        });
    }
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
