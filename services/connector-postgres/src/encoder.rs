//! The step between stream and log: the server's messages to encoded records.

use crate::{
    charset::Charset,
    column_types::Types,
    decode::{self, Cell, Message, OldTuple, Tuple},
    error::ConnectorError,
    left_out::LeftOut,
    meter::Meter,
    quarantine::{Oversized, Quarantine},
    relation::{Margins, Origin, Place, Relation, Transaction as Mark},
    relations::{Found, Relations},
    settings::Settings,
    snapshot::{Answer, At, Coordinator, Difference, Output},
    standing::Standing,
    status::Status,
    trace,
};
use boot::{failpoint, health::Part};
use change::{Batch, Lsn, Position, Step};
use change_log::{Records, Registry, records::TraceParent, topics::RECORD_BYTES_MAX};
use pgwire_replication::ReplicationEvent;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tokio_postgres::Client;

/// No more than this is set aside for a block that may stay small.
const BLOCK_BYTES_MAX: usize = 256 * 1024;

/// What the stream hands over.
pub(crate) enum Input {
    Frames(Vec<ReplicationEvent>),
    /// From a worker of a snapshot.
    Answer(Box<Answer>),
    /// Nothing came, but a snapshot may have something to do.
    Tick,
}

/// Turns messages into records, transaction by transaction.
pub(crate) struct Encoder<'a> {
    pub(crate) settings: &'a Settings,
    /// Tables whose changes are not told.
    pub(crate) left_out: &'a LeftOut,
    pub(crate) origin: Origin,
    pub(crate) registry: &'a Registry,
    pub(crate) catalogue: &'a Client,
    pub(crate) types: Types,
    /// What rows come in.
    pub(crate) charset: Charset,
    pub(crate) quarantine: Quarantine,
    pub(crate) relations: Relations,
    pub(crate) standing: Standing,
    pub(crate) snapshots: Coordinator,
    /// Shapes of tables as chunks have them.
    pub(crate) read_relations: HashMap<u32, Relation>,
    /// Of the table without a key that is being told.
    pub(crate) difference: Difference,
    /// What came while the stream waits for a snapshot.
    pub(crate) deferred: VecDeque<ReplicationEvent>,
    pub(crate) meter: Meter<'a>,
    pub(crate) status: &'a Status,
    pub(crate) health: &'a Part,
    pub(crate) state: State,
}

/// What goes on between batches.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) transaction: Option<Transaction>,
    stamp: u64,
    /// The last record of an open transaction: whether it ends it is not known yet.
    held: Records,
    pub(crate) margins: Margins,
    /// Chunks told, and records since the log last said what was read, and when that was.
    pub(crate) chunks: u64,
    pub(crate) since_told: u64,
    pub(crate) told_at: i64,
    pub(crate) progress_at: i64,
    /// How large the last block was.
    block_bytes: usize,
    pub(crate) messages: Option<(u32, u32)>,
    pub(crate) oversized: Vec<Oversized>,
}

pub(crate) struct Transaction {
    pub(crate) commit: Lsn,
    pub(crate) trace: TraceParent,
    /// The node that the source received it from.
    pub(crate) origin: Option<Arc<str>>,
    pub(crate) xid: u32,
    pub(crate) id: String,
    pub(crate) committed_at: i64,
    pub(crate) ordinal: u64,
    pub(crate) written: u64,
}

impl Step<Input, Records, Lsn> for Encoder<'_> {
    type Error = ConnectorError;

    /// `upto` of the result is the last commit that it completes.
    async fn step(&mut self, batch: Batch<Input, Lsn>) -> Result<Batch<Records, Lsn>, ConnectorError> {
        let captured_at = now();
        let mut out = Output { current: std::mem::take(&mut self.state.held), ..Output::default() };
        if let Some(transaction) = self.state.transaction.as_ref().filter(|_| out.current.is_empty()) {
            out.current.set_trace(transaction.trace);
            out.current.set_origin(transaction.origin.clone());
        }
        // Sized like the block before: growing it step by step would copy it again and again.
        out.current.buffer().reserve(self.state.block_bytes);
        for input in batch.items {
            match input {
                Input::Frames(frames) if self.deferred.is_empty() => self.deferred = frames.into(),
                Input::Frames(frames) => self.deferred.extend(frames),
                Input::Answer(answer) => {
                    self.snapshots.answer(*answer);
                }
                Input::Tick => {}
            }
        }
        loop {
            if self.state.transaction.is_none() {
                if let Some(ReplicationEvent::Begin { final_lsn, .. }) = self.deferred.front() {
                    self.standing.pass(Lsn(final_lsn.as_u64()));
                }
                self.between(&mut out).await?;
                if self.snapshots.holds() {
                    break;
                }
            }
            let Some(event) = self.deferred.pop_front() else { break };
            self.event(&mut out, &event, captured_at).await?;
        }
        self.snapshots.dispatch();
        self.show_trouble();
        if self.state.transaction.as_ref().is_some_and(|transaction| transaction.written > 0) {
            self.state.held = out.current.split_last();
        }
        self.tell_oversized().await?;
        self.tell_spelt();
        self.state.block_bytes = out.current.bytes().min(BLOCK_BYTES_MAX);
        let blocks = out.finish();
        self.meter.add(blocks.iter().map(Records::len).sum());
        failpoint::reached("capture.encoded");
        Ok(Batch { items: blocks, upto: self.standing.upto() })
    }
}

impl Encoder<'_> {
    async fn event(
        &mut self,
        out: &mut Output,
        event: &ReplicationEvent,
        captured_at: i64,
    ) -> Result<(), ConnectorError> {
        match event {
            ReplicationEvent::XLogData { wal_start, data, .. } => {
                let message = decode::decode(data, &self.charset)?;
                self.take(&mut out.current, (message, data), wal_start.as_u64(), captured_at).await?;
            }
            ReplicationEvent::Begin { final_lsn, xid, commit_time_micros } => {
                self.begin(&mut out.current, Lsn(final_lsn.as_u64()), *xid, *commit_time_micros);
            }
            ReplicationEvent::Commit { end_lsn, commit_time_micros, .. } => {
                self.commit(&mut out.current, Lsn(end_lsn.as_u64()), *commit_time_micros, captured_at).await?;
            }
            ReplicationEvent::Message { transactional, lsn, prefix, content } => {
                let lsn = Lsn(lsn.as_u64());
                self.message(&mut out.current, *transactional, lsn, prefix, content, captured_at).await?;
            }
            ReplicationEvent::KeepAlive { wal_end, server_time_micros, .. } => {
                let end = Lsn(wal_end.as_u64());
                if self.state.transaction.is_none() {
                    self.standing.pass(end);
                }
                self.idle(&mut out.current, end, *server_time_micros, captured_at).await?;
            }
            ReplicationEvent::StoppedAt { .. } => {}
        }
        Ok(())
    }

    fn tell_spelt(&mut self) {
        let spelt = std::mem::take(&mut self.state.margins.spelt);
        if spelt > 0 {
            metrics::counter!("causeway_capture_spelt_total", "source" => self.origin.source.clone()).increment(spelt);
            self.status.update(|view| view.spelt += spelt);
        }
    }

    /// Returns once they are told: only then may the source forget the rows.
    async fn tell_oversized(&mut self) -> Result<(), ConnectorError> {
        for row in std::mem::take(&mut self.state.oversized) {
            tracing::warn!(source = self.origin.source, table = row.table, position = %row.position, bytes = row.bytes,
                "a row is too large for the log; it is told in the quarantine");
            metrics::counter!("causeway_capture_quarantined_total", "source" => self.origin.source.clone())
                .increment(1);
            self.quarantine.put(self.registry, row).await?;
        }
        Ok(())
    }

    fn begin(&mut self, out: &mut Records, commit: Lsn, xid: u32, committed_at: i64) {
        self.state.stamp += 1;
        self.snapshots.begin_transaction(xid);
        let trace = trace::parent(&self.origin.source, Position::new(self.standing.epoch(), commit, 0));
        out.set_trace(trace);
        self.state.transaction = Some(Transaction {
            commit,
            trace,
            origin: None,
            xid,
            id: format!("{xid}:{}", commit.0),
            committed_at: committed_at.saturating_add(decode::POSTGRES_EPOCH_MICROS),
            ordinal: 0,
            written: 0,
        });
    }

    async fn commit(
        &mut self,
        out: &mut Records,
        end: Lsn,
        server_time: i64,
        captured_at: i64,
    ) -> Result<(), ConnectorError> {
        let Some(transaction) = self.state.transaction.take() else { return Ok(()) };
        out.set_origin(None);
        self.standing.pass(end);
        if transaction.written > 0 {
            out.end_commit(end);
            self.standing.complete(end);
        } else if self.standing.lacks_end_of(transaction.commit) {
            // What it holds of it is all that is wanted now: the log says that it ends before the slot may forget it.
            self.progress(out, end, server_time, captured_at).await?;
        } else if transaction.ordinal > 0 && self.standing.has(transaction.commit) {
            // All of it was in the log already.
            self.standing.complete(end);
        } else {
            self.idle(out, end, server_time, captured_at).await?;
        }
        Ok(())
    }

    async fn take(
        &mut self,
        out: &mut Records,
        (message, frame): (Message<'_>, &[u8]),
        lsn: u64,
        captured_at: i64,
    ) -> Result<(), ConnectorError> {
        const NONE: Option<decode::Cells<'static>> = None;
        if let Message::Insert { relation, .. } | Message::Update { relation, .. } | Message::Delete { relation, .. } =
            &message
        {
            self.ready(*relation).await?;
        }
        match message {
            Message::Relation(relation) => self.describe(&relation, frame).await?,
            Message::Type { oid, schema, name } => {
                self.types.learn(self.catalogue, std::iter::once(oid)).await?;
                self.types.name(oid, &schema, &name);
            }
            Message::Insert { relation, new } => {
                if let Some((snapshots, at)) = self.watched(relation) {
                    snapshots.inserted(at, new.cells());
                }
                self.row(out, relation, "c", (NONE, Some(new.cells())), lsn, captured_at)?;
            }
            Message::Delete { relation, old } => {
                if let Some((snapshots, at)) = self.watched(relation) {
                    snapshots.deleted(at, old.tuple().cells());
                }
                self.row(out, relation, "d", (Some(old.tuple().cells()), NONE), lsn, captured_at)?;
            }
            Message::Update { relation, old, new } => self.update(out, relation, old, &new, lsn, captured_at)?,
            Message::Truncate { relations } => {
                for relation in relations {
                    self.ready(relation).await?;
                    if let Some((snapshots, at)) = self.watched(relation) {
                        snapshots.truncated(&at);
                    }
                    self.row(out, relation, "t", (NONE, NONE), lsn, captured_at)?;
                }
            }
            Message::Origin { name } => {
                if let Some(transaction) = &mut self.state.transaction {
                    transaction.origin = Some((&*name).into());
                    out.set_origin(transaction.origin.clone());
                }
            }
            // The transport hands these over as events of their own.
            Message::Begin { .. } | Message::Commit { .. } | Message::Logical { .. } => {}
        }
        Ok(())
    }

    fn update(
        &mut self,
        out: &mut Records,
        relation: u32,
        old: Option<OldTuple<'_>>,
        new: &Tuple<'_>,
        lsn: u64,
        captured_at: i64,
    ) -> Result<(), ConnectorError> {
        const NONE: Option<decode::Cells<'static>> = None;
        let Some(old) = old else {
            if let Some((snapshots, at)) = self.watched(relation) {
                snapshots.updated(at, new.cells(), new.cells());
            }
            return self.row(out, relation, "u", (NONE, Some(new.cells())), lsn, captured_at);
        };
        let before = old.tuple().cells();
        let after = filled(before.clone(), new.cells());
        let known = self.relations.get(relation);
        let moved = known.is_some_and(|known| !known.same_key(before.clone(), new.cells()));
        if let Some((snapshots, at)) = self.watched(relation) {
            snapshots.updated(at, before.clone(), after.clone());
        }
        if moved
            && matches!(old, OldTuple::Key(_))
            && let Some(known) = self.relations.get(relation)
            && self.snapshots.moved(relation, known, after.clone())
        {
            // The log must say so before anything more is forgotten.
            self.state.since_told = u64::MAX;
        }
        // Another key is another row: the old one goes, the new one comes.
        if moved {
            self.row(out, relation, "d", (Some(before), NONE), lsn, captured_at)?;
            return self.row(out, relation, "c", (NONE, Some(after)), lsn, captured_at);
        }
        self.row(out, relation, "u", (Some(before), Some(after)), lsn, captured_at)
    }

    /// Counts the message, and writes it if it is wanted and not in the log yet.
    fn row<'r, B, A>(
        &mut self,
        out: &mut Records,
        relation: u32,
        operation: &str,
        rows: (Option<B>, Option<A>),
        lsn: u64,
        captured_at: i64,
    ) -> Result<(), ConnectorError>
    where
        B: Iterator<Item = Cell<'r>> + Clone,
        A: Iterator<Item = Cell<'r>> + Clone,
    {
        let State { transaction, margins, stamp, oversized, .. } = &mut self.state;
        let Some(transaction) = transaction else { return Ok(()) };
        transaction.ordinal += 1;
        let position = self.standing.of_change(transaction.commit, transaction.ordinal);
        let (known, position) = match (self.relations.find(relation), position) {
            (Found::Unknown, _) => return Err(ConnectorError::UnknownRelation { relation }),
            (Found::Ready(known), Some(position)) => (known, position),
            (Found::Ready(_) | Found::Unwanted, _) => return Ok(()),
        };
        // A truncation names no row.
        if operation != "t" && known.enters(self.snapshots.round()) {
            self.snapshots.tells(&known.schema);
        }
        let place = Place {
            position,
            lsn,
            stamp: *stamp,
            committed_at: transaction.committed_at,
            captured_at,
            transaction: Some(Mark { xid: transaction.xid, id: &transaction.id }),
        };
        known.write(out, margins, &self.origin, operation, rows, &place);
        if out.last_bytes() > RECORD_BYTES_MAX {
            let (table, committed_at) = (known.schema.table.to_string(), transaction.committed_at);
            let (key, bytes) = (out.last_key().to_vec(), out.last_bytes());
            out.drop_last();
            oversized.push(Oversized { position, table, key, bytes, committed_at });
            return Ok(());
        }
        transaction.written += 1;
        self.state.since_told = self.state.since_told.saturating_add(1);
        self.standing.told(position);
        Ok(())
    }

    /// Whether a snapshot reads the table meanwhile: then what happens to it is noted.
    #[inline]
    fn watched(&mut self, relation: u32) -> Option<(&mut Coordinator, At<'_>)> {
        if !self.snapshots.watches(relation) {
            return None;
        }
        let xid = self.state.transaction.as_ref()?.xid;
        let known = self.relations.get(relation)?;
        Some((&mut self.snapshots, At { oid: relation, xid, relation: known }))
    }
}

/// A new row with the large values that the log left out, where the old row has them: all of a whole one, those of the
/// key of any other.
fn filled<'r>(
    before: impl Iterator<Item = Cell<'r>> + Clone,
    after: impl Iterator<Item = Cell<'r>> + Clone,
) -> impl Iterator<Item = Cell<'r>> + Clone {
    let told = |old: Cell<'r>| matches!(old, Cell::Text(_));
    before.zip(after).map(move |(old, new)| if new == Cell::Unchanged && told(old) { old } else { new })
}

/// Microseconds since the epoch.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
