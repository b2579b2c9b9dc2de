//! Puts what was read into the log, between two commits.

use super::{
    coordinator::{Changed, Due},
    reader::Chunk,
    state::Running,
    window::Kept,
    write_control,
};
use crate::{
    decode::Cell,
    encode::CopyRow,
    encoder::{Encoder, now},
    error::ConnectorError,
    left_out,
    quarantine::Oversized,
    relation::{Place, Relation},
    status::{Phase, SnapshotView},
};
use boot::failpoint;
use change::TableId;
use change_log::{
    Records,
    control::{PROGRESS, Progress, SNAPSHOT, Snapshot as SnapshotRecord},
    frame,
    header::Kind,
    topics::RECORD_BYTES_MAX,
};
use std::{sync::Arc, time::Duration};

/// Bytes of one block of rows.
const BLOCK_BYTES_MAX: usize = 512 * 1024;
/// After so many records the log says again what was read, so that a start need not read far back.
const CHECKPOINT_RECORDS: u64 = 20_000;
/// It says so once a day, too: the log forgets after some, and what was read would be read again.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// A larger state is not told with every chunk, …
const STATE_BYTES_SMALL: usize = 16 * 1024;
/// … but after so long.
const STATE_INTERVAL: Duration = Duration::from_millis(250);

/// Blocks of records in the order of the log; the last one is being written.
#[derive(Default)]
pub(crate) struct Output {
    pub(crate) blocks: Vec<Records>,
    pub(crate) current: Records,
}

impl Output {
    /// What was written so far goes first.
    fn close(&mut self) {
        if !self.current.is_empty() {
            self.blocks.push(std::mem::take(&mut self.current));
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Records> {
        self.close();
        self.blocks
    }
}

impl Encoder<'_> {
    /// What is due between two transactions. One that the log holds in part comes first: a place behind its last record
    /// is that of its next.
    pub(crate) async fn between(&mut self, out: &mut Output) -> Result<(), ConnectorError> {
        if self.standing.is_inside() {
            return Ok(());
        }
        while self.snapshots.waiting()
            && let Some(due) = self.snapshots.due(self.standing.passed())
        {
            self.place(out, due).await?;
        }
        self.start_snapshot(out).await?;
        let micros = now().saturating_sub(self.state.told_at);
        let aged = u128::try_from(micros).is_ok_and(|micros| micros >= CHECKPOINT_INTERVAL.as_micros());
        let forgotten = std::mem::take(&mut self.snapshots.forgotten);
        if forgotten || aged || self.state.since_told >= CHECKPOINT_RECORDS {
            self.checkpoint(out).await?;
        }
        Ok(())
    }

    /// The next snapshot that is wanted begins; one that has read everything ends.
    async fn start_snapshot(&mut self, out: &mut Output) -> Result<(), ConnectorError> {
        if self.snapshots.state.running.as_ref().is_some_and(Running::done) {
            self.end_snapshot(out).await?;
        }
        if self.snapshots.state.running.is_some() {
            return Ok(());
        }
        let Some(running) = self.snapshots.queue.pop_front() else { return Ok(()) };
        let (tables, partial) = (running.names(), running.predicate.is_some());
        tracing::info!(source = self.origin.source, tables = tables.len(), partial, "taking a snapshot");
        self.snapshots.start(running);
        out.close();
        self.control(out, Kind::SnapshotBegin, None, 0, tables).await?;
        failpoint::reached("snapshot.begun");
        Ok(())
    }

    async fn end_snapshot(&mut self, out: &mut Output) -> Result<(), ConnectorError> {
        let Some(running) = self.snapshots.state.running.clone() else { return Ok(()) };
        out.close();
        self.show(&running, None);
        self.snapshots.state.finish();
        let record = self.record(&running, None, running.rows, running.names());
        self.write(out, Kind::SnapshotEnd, &record).await?;
        failpoint::reached("snapshot.finished");
        tracing::info!(source = self.origin.source, rows = running.rows, "the snapshot is complete");
        self.status.update(|view| view.phase = Phase::Streaming);
        left_out::well(self.health, self.status);
        Ok(())
    }

    /// The rows of a chunk that hold, and a record that they are told.
    async fn place(&mut self, out: &mut Output, due: Due) -> Result<(), ConnectorError> {
        let Some(running) = self.snapshots.state.running.clone() else { return Ok(()) };
        let table = running.tables[due.table].id();
        out.close();
        let mut relation = self.read_relation(due.oid, &due.chunk).await?;
        if matches!(due.changed, Changed::Keyless(Some(_))) {
            // It may have been read in part before: those rows have no names by which they would be known again.
            self.snapshots.begins_anew(&table);
            self.control(out, Kind::SnapshotBegin, None, 0, vec![table.to_string()]).await?;
        }
        self.snapshots.tells(&relation.schema);
        let Chunk { rows, last, complete, .. } = *due.chunk;
        let mut block = self.block(&running.id);
        let mut told = 0;
        match due.changed {
            Changed::Keyed(superseded) => {
                let order = self.stream_order(due.oid, &relation);
                let (mut row, mut key) = (CopyRow::default(), Vec::new());
                for line in &rows {
                    parse(&mut row, line, &relation)?;
                    relation.key(&mut key, row.cells());
                    if superseded.spares(&key) {
                        told += 1;
                        self.read_row(&mut block, &mut relation, row.cells()).await?;
                    }
                    for newer in superseded.fills(&key) {
                        told += 1;
                        self.read_row(&mut block, &mut relation, filled(row.cells(), newer, &order)).await?;
                    }
                    if block.bytes() >= BLOCK_BYTES_MAX {
                        out.blocks.push(std::mem::replace(&mut block, self.block(&running.id)));
                    }
                }
            }
            Changed::Keyless(difference) => {
                if let Some(difference) = difference {
                    self.difference = difference;
                }
                let order = self.stream_order(due.oid, &relation);
                let mut row = CopyRow::default();
                for line in &rows {
                    parse(&mut row, line, &relation)?;
                    if self.difference.spares(row.cells()) {
                        told += 1;
                        self.read_row(&mut block, &mut relation, row.cells()).await?;
                    }
                    if block.bytes() >= BLOCK_BYTES_MAX {
                        out.blocks.push(std::mem::replace(&mut block, self.block(&running.id)));
                    }
                }
                for newer in std::mem::take(&mut self.difference.more) {
                    told += 1;
                    let nothing = std::iter::repeat_n(Cell::Null, relation.columns());
                    self.read_row(&mut block, &mut relation, filled(nothing, &newer, &order)).await?;
                }
            }
        }
        self.read_relations.insert(due.oid, relation);
        out.blocks.push(block);
        failpoint::reached("snapshot.chunk-encoded");
        self.advance(out, &table, (due.table, due.segment), told, (last, complete)).await
    }

    async fn advance(
        &mut self,
        out: &mut Output,
        table: &TableId,
        (at, segment): (usize, usize),
        told: u64,
        (last, complete): (Option<Vec<String>>, bool),
    ) -> Result<(), ConnectorError> {
        let Some(running) = self.snapshots.state.running.as_mut() else { return Ok(()) };
        running.rows += told;
        self.snapshots.rate.spend(told);
        running.tables[at].advance(segment, told, last, complete);
        let done = running.tables[at].done;
        let running = running.clone();
        self.control(out, Kind::SnapshotChunk, Some(table.to_string()), told, Vec::new()).await?;
        failpoint::reached("snapshot.chunk-finished");
        metrics::counter!("causeway_capture_snapshot_rows_total", "source" => self.origin.source.clone())
            .increment(told);
        if done {
            tracing::info!(source = self.origin.source, %table, rows = running.tables[at].rows, "read a table");
        }
        self.show(&running, Some(table));
        Ok(())
    }

    async fn read_row<'c>(
        &mut self,
        block: &mut Records,
        relation: &mut Relation,
        row: impl Iterator<Item = Cell<'c>> + Clone,
    ) -> Result<(), ConnectorError> {
        let (position, at) = (self.standing.beside(), now());
        let lsn = self.standing.upto().0;
        let stamp = self.state.chunks;
        let place = Place { position, lsn, stamp, committed_at: at, captured_at: at, transaction: None };
        let none: Option<std::iter::Empty<Cell<'_>>> = None;
        relation.write(block, &mut self.state.margins, &self.origin, "r", (none, Some(row)), &place);
        if block.last_bytes() > RECORD_BYTES_MAX {
            let table = relation.schema.table.to_string();
            let (key, bytes) = (block.last_key().to_vec(), block.last_bytes());
            block.drop_last();
            let row = Oversized { position, table, key, bytes, committed_at: at };
            self.quarantine.put(self.registry, row).await?;
            return Ok(());
        }
        self.standing.told(position);
        Ok(())
    }

    /// The table's shape as the chunk has it.
    async fn read_relation(&mut self, oid: u32, chunk: &Chunk) -> Result<Relation, ConnectorError> {
        self.state.chunks += 1;
        match self.read_relations.remove(&oid).filter(|known| known.schema == chunk.schema) {
            Some(known) => Ok(known),
            None => {
                Ok(Relation::register(self.registry, &self.origin.source, Arc::clone(&chunk.schema), &self.charset)
                    .await?)
            }
        }
    }

    /// For each column of the chunk, its place in the stream's rows.
    fn stream_order(&self, oid: u32, relation: &Relation) -> Vec<Option<usize>> {
        let stream = self.relations.get(oid);
        let place = |name: &str| stream.and_then(|stream| stream.schema.index_of(name));
        relation.schema.columns.iter().map(|column| place(&column.name)).collect()
    }

    fn block(&self, snapshot: &str) -> Records {
        let mut block = Records::default();
        block.snapshot = Some(snapshot.into());
        block
    }

    async fn control(
        &mut self,
        out: &mut Output,
        kind: Kind,
        table: Option<String>,
        rows: u64,
        tables: Vec<String>,
    ) -> Result<(), ConnectorError> {
        let Some(running) = self.snapshots.state.running.clone() else { return Ok(()) };
        let mut record = self.record(&running, table, rows, tables);
        let small = record.state.as_ref().is_none_or(|state| state.len() <= STATE_BYTES_SMALL);
        let waited = now().saturating_sub(self.state.told_at);
        if kind == Kind::SnapshotChunk && !small && u128::try_from(waited).is_ok_and(|w| w < STATE_INTERVAL.as_micros())
        {
            record.state = None;
        }
        self.write(out, kind, &record).await
    }

    fn record(&self, running: &Running, table: Option<String>, rows: u64, tables: Vec<String>) -> SnapshotRecord {
        SnapshotRecord {
            snapshot: running.id.clone(),
            table,
            rows,
            lsn: self.standing.upto(),
            at: now(),
            tables,
            partial: running.predicate.is_some(),
            state: Some(self.snapshots.state.text()),
        }
    }

    async fn write(&mut self, out: &mut Output, kind: Kind, record: &SnapshotRecord) -> Result<(), ConnectorError> {
        let id = self.registry.register(SNAPSHOT.name, SNAPSHOT.text).await?;
        let position = self.standing.beside();
        let mut block = self.block(&record.snapshot);
        write_control(&mut block, id, kind, record, position);
        self.standing.told(position);
        out.blocks.push(block);
        if record.state.is_some() {
            (self.state.since_told, self.state.told_at) = (0, record.at);
        }
        Ok(())
    }

    /// A progress record that also says what was read.
    async fn checkpoint(&mut self, out: &mut Output) -> Result<(), ConnectorError> {
        let id = self.registry.register(PROGRESS.name, PROGRESS.text).await?;
        let position = self.standing.beside();
        let at = now();
        let state = Some(self.snapshots.state.text());
        let block = &mut out.current;
        block.buffer().extend_from_slice(Kind::Progress.name().as_bytes());
        block.end_part();
        frame::start(id, block.buffer());
        Progress { source: self.origin.source.clone(), lsn: self.standing.upto(), at, state }.encode(block.buffer());
        block.close(Kind::Progress, position, false);
        block.end_commit(self.standing.upto());
        self.standing.told(position);
        (self.state.since_told, self.state.told_at) = (0, at);
        Ok(())
    }

    /// A part that could not be read, or a snapshot that waits, is told where people look.
    pub(crate) fn show_trouble(&mut self) {
        let news = self.snapshots.waits_otherwise() || self.snapshots.problem().is_some();
        if let Some(running) = self.snapshots.state.running.as_ref().filter(|_| news) {
            self.show(running, None);
        }
    }

    fn show(&self, running: &Running, table: Option<&TableId>) {
        let seconds = self.snapshots.started.elapsed().as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rows_per_s = running.rows.saturating_sub(self.snapshots.rows_at_start) as f64 / seconds;
        let estimate: u64 = self.snapshots.plans.values().map(|plan| plan.rows_estimated).sum();
        let rows_estimated = estimate.max(running.rows);
        #[expect(clippy::cast_precision_loss, reason = "a time for people")]
        let left = (rows_estimated - running.rows) as f64;
        let view = SnapshotView {
            id: running.id.clone(),
            table: table.map(TableId::to_string).unwrap_or_default(),
            tables_done: running.tables_done(),
            tables: running.tables.len(),
            rows: running.rows,
            rows_estimated,
            rows_per_s,
            seconds_left: (rows_per_s > 0.0).then(|| left / rows_per_s),
            done: running.done(),
            paused: self.snapshots.paused,
            waits_for: self.snapshots.waits_for(),
            problem: self.snapshots.problem(),
        };
        if running.initial && !view.done {
            let why = match &view.problem {
                Some(problem) => format!("the snapshot waits: {problem}"),
                None => {
                    format!("taking a snapshot: {} rows, {} of {} tables", view.rows, view.tables_done, view.tables)
                }
            };
            self.health.not_ready(why);
            self.status.update(|shown| shown.phase = Phase::Snapshot);
        }
        self.status.update(|shown| shown.snapshot = Some(view));
    }
}

fn parse(row: &mut CopyRow, line: &[u8], relation: &Relation) -> Result<(), ConnectorError> {
    if row.parse(line, relation.columns()) {
        return Ok(());
    }
    Err(ConnectorError::SnapshotRow { table: relation.schema.table.to_string() })
}

/// The newer row, with the values that only the chunk has.
fn filled<'r>(
    read: impl Iterator<Item = Cell<'r>> + Clone,
    newer: &'r [Kept],
    order: &'r [Option<usize>],
) -> impl Iterator<Item = Cell<'r>> + Clone {
    read.zip(order).map(|(read, place)| match place.and_then(|place| newer.get(place)).map(Kept::cell) {
        None | Some(Cell::Unchanged) => read,
        Some(newer) => newer,
    })
}
