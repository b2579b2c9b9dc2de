//! The step between stream and log: the server's messages to encoded records.

use crate::{
    catalogue::{self, Types},
    decode::{self, Cell, Message, OldTuple, Tuple},
    error::ConnectorError,
    meter::Meter,
    quarantine::{Oversized, Quarantine},
    relation::{Margins, Origin, Place, Relation, Transaction as Mark},
    settings::Settings,
    trace,
};
use boot::failpoint;
use change::{Batch, Column, Lsn, Position, Step, TableId, TableSchema, avro::envelope};
use change_log::{
    Records, Registry,
    control::{PROGRESS, Progress},
    frame,
    header::Kind,
    records::TraceParent,
    topics::RECORD_BYTES_MAX,
};
use pgwire_replication::ReplicationEvent;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio_postgres::Client;

/// WAL without changes of ours is confirmed this often at most, …
const PROGRESS_INTERVAL: Duration = Duration::from_secs(3);
/// … or once there is so much of it.
const PROGRESS_BYTES: u64 = 16 * 1024 * 1024;
/// No more than this is set aside for a block that may stay small.
const BLOCK_BYTES_MAX: usize = 256 * 1024;
/// Tables with different shapes that are known at a time. PostgreSQL describes one again when it is asked to.
const RELATIONS_MAX: usize = 50_000;

/// Turns messages into records, transaction by transaction.
pub(crate) struct Encoder<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) origin: Origin,
    pub(crate) registry: &'a Registry,
    pub(crate) catalogue: &'a Client,
    pub(crate) types: Types,
    pub(crate) quarantine: Quarantine,
    /// None: a table that is not wanted.
    pub(crate) relations: HashMap<u32, Option<Relation>>,
    pub(crate) epoch: u32,
    /// The last position in the log: nothing up to it is written again.
    pub(crate) last: Position,
    /// Everything that the source committed before this place is in the records made so far.
    pub(crate) upto: Lsn,
    pub(crate) meter: Meter<'a>,
    pub(crate) state: State,
}

/// What goes on between batches.
#[derive(Default)]
pub(crate) struct State {
    transaction: Option<Transaction>,
    stamp: u64,
    /// The last record of an open transaction: whether it ends it is not known yet.
    held: Records,
    margins: Margins,
    progress_at: i64,
    /// How large the last block was.
    block_bytes: usize,
    messages: Option<(u32, u32)>,
    oversized: Vec<Oversized>,
}

struct Transaction {
    commit: Lsn,
    trace: TraceParent,
    xid: u32,
    id: String,
    committed_at: i64,
    ordinal: u64,
    written: u64,
}

impl Step<ReplicationEvent, Records, Lsn> for Encoder<'_> {
    type Error = ConnectorError;

    /// `upto` of the result is the last commit that it completes.
    async fn step(&mut self, batch: Batch<ReplicationEvent, Lsn>) -> Result<Batch<Records, Lsn>, ConnectorError> {
        let captured_at = now();
        let mut out = std::mem::take(&mut self.state.held);
        if let Some(transaction) = self.state.transaction.as_ref().filter(|_| out.is_empty()) {
            out.set_trace(transaction.trace);
        }
        // Sized like the block before: growing it step by step would copy it again and again.
        out.buffer().reserve(self.state.block_bytes);
        for event in &batch.items {
            match event {
                ReplicationEvent::XLogData { wal_start, data, .. } => {
                    let message = decode::decode(data)?;
                    self.take(&mut out, message, wal_start.as_u64(), captured_at).await?;
                }
                ReplicationEvent::Begin { final_lsn, xid, commit_time_micros } => {
                    self.begin(&mut out, Lsn(final_lsn.as_u64()), *xid, *commit_time_micros);
                }
                ReplicationEvent::Commit { end_lsn, commit_time_micros, .. } => {
                    self.commit(&mut out, Lsn(end_lsn.as_u64()), *commit_time_micros, captured_at).await?;
                }
                ReplicationEvent::Message { transactional, lsn, prefix, content } => {
                    self.message(&mut out, *transactional, Lsn(lsn.as_u64()), prefix, content, captured_at).await?;
                }
                ReplicationEvent::KeepAlive { wal_end, server_time_micros, .. } => {
                    self.idle(&mut out, Lsn(wal_end.as_u64()), *server_time_micros, captured_at).await?;
                }
                ReplicationEvent::StoppedAt { .. } => {}
            }
        }
        if self.state.transaction.as_ref().is_some_and(|transaction| transaction.written > 0) {
            self.state.held = out.split_last();
        }
        for row in std::mem::take(&mut self.state.oversized) {
            tracing::warn!(source = self.origin.source, table = row.table, position = %row.position, bytes = row.bytes,
                "a row is too large for the log; it is told in the quarantine");
            metrics::counter!("causeway_capture_quarantined_total", "source" => self.origin.source.clone())
                .increment(1);
            self.quarantine.put(self.registry, row).await?;
        }
        self.state.block_bytes = out.bytes().min(BLOCK_BYTES_MAX);
        self.meter.add(out.len());
        failpoint::reached("capture.encoded");
        Ok(Batch { items: vec![out], upto: self.upto })
    }
}

impl Encoder<'_> {
    fn begin(&mut self, out: &mut Records, commit: Lsn, xid: u32, committed_at: i64) {
        self.state.stamp += 1;
        let trace = trace::parent(&self.origin.source, Position::new(self.epoch, commit, 0));
        out.set_trace(trace);
        self.state.transaction = Some(Transaction {
            commit,
            trace,
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
        if transaction.written > 0 {
            out.end_commit(end);
            self.upto = self.upto.max(end);
        } else if transaction.ordinal > 0 && self.last.commit >= transaction.commit {
            // All of it was in the log already.
            self.upto = self.upto.max(end);
        } else {
            self.idle(out, end, server_time, captured_at).await?;
        }
        Ok(())
    }

    /// WAL up to here has nothing more for us: say so in the log before the slot may forget it.
    async fn idle(
        &mut self,
        out: &mut Records,
        lsn: Lsn,
        server_time: i64,
        captured_at: i64,
    ) -> Result<(), ConnectorError> {
        let waited = captured_at.saturating_sub(self.state.progress_at);
        let due = u128::try_from(waited).is_ok_and(|micros| micros >= PROGRESS_INTERVAL.as_micros());
        let position = Position::new(self.epoch, lsn, 0);
        let news = lsn > self.upto && position > self.last && self.state.transaction.is_none();
        if !news || !(due || lsn.0 - self.upto.0 >= PROGRESS_BYTES) {
            return Ok(());
        }
        let id = self.registry.register(PROGRESS.name, PROGRESS.text).await?;
        let at = server_time.saturating_add(decode::POSTGRES_EPOCH_MICROS);
        out.buffer().extend_from_slice(Kind::Progress.name().as_bytes());
        out.end_part();
        frame::start(id, out.buffer());
        Progress { source: self.origin.source.clone(), lsn, at }.encode(out.buffer());
        out.close(Kind::Progress, position, false);
        failpoint::reached("capture.progress");
        self.state.progress_at = captured_at;
        self.upto = lsn;
        self.last = position;
        Ok(())
    }

    async fn take(
        &mut self,
        out: &mut Records,
        message: Message<'_>,
        lsn: u64,
        captured_at: i64,
    ) -> Result<(), ConnectorError> {
        const NONE: Option<decode::Cells<'static>> = None;
        match message {
            Message::Relation(relation) => self.describe(&relation).await?,
            Message::Type { oid, schema, name } => {
                self.types.learn(self.catalogue, std::iter::once(oid)).await?;
                self.types.name(oid, schema, name);
            }
            Message::Insert { relation, new } => {
                self.row(out, relation, "c", (NONE, Some(new.cells())), lsn, captured_at)?;
            }
            Message::Delete { relation, old } => {
                self.row(out, relation, "d", (Some(old.tuple().cells()), NONE), lsn, captured_at)?;
            }
            Message::Update { relation, old, new } => self.update(out, relation, old, &new, lsn, captured_at)?,
            Message::Truncate { relations } => {
                for relation in relations {
                    self.row(out, relation, "t", (NONE, NONE), lsn, captured_at)?;
                }
            }
            // The transport hands these over as events of their own.
            Message::Begin { .. } | Message::Commit { .. } | Message::Logical { .. } | Message::Origin => {}
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
            return self.row(out, relation, "u", (NONE, Some(new.cells())), lsn, captured_at);
        };
        let before = old.tuple().cells();
        let known = self.relations.get(&relation).and_then(Option::as_ref);
        let moved = known.is_some_and(|known| !known.same_key(before.clone(), new.cells()));
        match old {
            // Another key is another row: the old one goes, the new one comes.
            OldTuple::Key(_) if moved => {
                self.row(out, relation, "d", (Some(before), NONE), lsn, captured_at)?;
                self.row(out, relation, "c", (NONE, Some(new.cells())), lsn, captured_at)
            }
            OldTuple::Key(_) => {
                // A large key that did not change is told again.
                self.row(out, relation, "u", (Some(before), Some(new.cells())), lsn, captured_at)
            }
            OldTuple::Full(_) => {
                let after = filled(before.clone(), new.cells());
                if moved {
                    self.row(out, relation, "d", (Some(before), NONE), lsn, captured_at)?;
                    return self.row(out, relation, "c", (NONE, Some(after)), lsn, captured_at);
                }
                self.row(out, relation, "u", (Some(before), Some(after)), lsn, captured_at)
            }
        }
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
        let position = Position::new(self.epoch, transaction.commit, transaction.ordinal);
        let known = self.relations.get_mut(&relation).ok_or(ConnectorError::UnknownRelation { relation })?;
        let (Some(known), true) = (known, position > self.last) else { return Ok(()) };
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
        self.last = position;
        Ok(())
    }

    /// A message that an application put into the log itself.
    async fn message(
        &mut self,
        out: &mut Records,
        transactional: bool,
        lsn: Lsn,
        prefix: &str,
        content: &[u8],
        captured_at: i64,
    ) -> Result<(), ConnectorError> {
        let (value_id, key_id) = self.message_schemas().await?;
        // One outside of transactions stands between them, at its own place.
        let (position, committed_at) = match &mut self.state.transaction {
            Some(transaction) if transactional => {
                transaction.ordinal += 1;
                (Position::new(self.epoch, transaction.commit, transaction.ordinal), transaction.committed_at)
            }
            _ => (Position::new(self.epoch, lsn, 1), captured_at),
        };
        if position <= self.last {
            return Ok(());
        }
        let mut head = envelope::Head::default();
        head.set(&self.origin.block("", ""), committed_at, false, None);
        frame::start(key_id, out.buffer());
        out.buffer().push(change::avro::wire::SOME);
        change::avro::wire::string(out.buffer(), prefix);
        out.end_part();
        frame::start(value_id, out.buffer());
        envelope::message(out.buffer(), &head, lsn.0, captured_at, prefix, content);
        out.close(Kind::Change, position, false);
        if out.last_bytes() > RECORD_BYTES_MAX {
            let (key, bytes) = (out.last_key().to_vec(), out.last_bytes());
            out.drop_last();
            self.state.oversized.push(Oversized { position, table: "message".into(), key, bytes, committed_at });
            return Ok(());
        }
        self.last = position;
        match &mut self.state.transaction {
            Some(transaction) if transactional => transaction.written += 1,
            _ => out.end_commit(lsn),
        }
        Ok(())
    }

    async fn message_schemas(&mut self) -> Result<(u32, u32), ConnectorError> {
        if let Some(ids) = self.state.messages {
            return Ok(ids);
        }
        let ((value_name, value), (key_name, key)) = change::avro::schema::of_messages();
        let ids = (self.registry.register(&value_name, &value).await?, self.registry.register(&key_name, &key).await?);
        self.state.messages = Some(ids);
        Ok(ids)
    }

    /// Takes in a table's shape: new, or changed while the stream runs.
    async fn describe(&mut self, relation: &decode::Relation<'_>) -> Result<(), ConnectorError> {
        if self.relations.len() >= RELATIONS_MAX {
            self.relations.clear();
        }
        if !self.settings.wants(relation.schema, relation.name) {
            self.relations.insert(relation.oid, None);
            return Ok(());
        }
        self.types.learn(self.catalogue, relation.columns.iter().map(|column| column.type_oid)).await?;
        // A replica identity of the whole row marks every column.
        let primary = match relation.identity {
            b'f' => Some(catalogue::primary_key(self.catalogue, relation.oid).await?),
            _ => None,
        };
        let columns = relation.columns.iter().map(|column| Column {
            name: column.name.into(),
            kind: self.types.column_type(column.type_oid, column.type_modifier),
            key: primary.as_ref().map_or(column.in_identity, |key| key.iter().any(|name| name == column.name)),
        });
        let table = TableId { schema: relation.schema.into(), name: relation.name.into() };
        let schema = Arc::new(TableSchema { table, columns: columns.collect() });
        let known = self.relations.get(&relation.oid).and_then(Option::as_ref);
        if known.is_some_and(|known| known.schema == schema) {
            return Ok(());
        }
        if known.is_some() {
            tracing::info!(source = self.origin.source, table = %schema.table, "a table has a new shape");
        }
        let registered = Relation::register(self.registry, &self.origin.source, schema).await?;
        failpoint::reached("capture.schema-registered");
        self.relations.insert(relation.oid, Some(registered));
        Ok(())
    }
}

/// A new row with the large values that the log left out, from the whole old row.
fn filled<'r>(
    before: impl Iterator<Item = Cell<'r>> + Clone,
    after: impl Iterator<Item = Cell<'r>> + Clone,
) -> impl Iterator<Item = Cell<'r>> + Clone {
    before.zip(after).map(|(old, new)| if new == Cell::Unchanged { old } else { new })
}

/// Microseconds since the epoch.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
