//! Reads tables while the stream goes on: in chunks, without a long transaction, so that a killed snapshot goes on.
//!
//! # How
//! The slot comes first, and the stream with it. Beside it workers read chunks of tables by their keys, each in a short
//! read-only transaction. A chunk waits until the stream has told every transaction that its reader saw; then those of
//! its rows that no transaction touched which the reader did not see go into the log between two commits, and after
//! them a record that says how far the reading is. A table without a key is read in one transaction, and the stream
//! waits while its rows are told.

mod beside;
mod coordinator;
mod named;
mod partitions;
mod place;
mod range;
mod rate;
mod reader;
mod requests;
mod rests;
mod state;
mod stored;
mod window;

pub(crate) use beside::At;
pub(crate) use coordinator::{Coordinator, Shared};
pub(crate) use place::Output;
pub(crate) use reader::{Answer, end_of_record};
pub(crate) use state::{Running, State};
pub use state::{finished_snapshots, was_given_up};
pub(crate) use stored::{Stored, readable};
pub(crate) use window::Difference;

use crate::{
    catalogue,
    connect::{self, Pulse},
    encoder::now,
    error::{ConnectorError, Doing},
    session::Session,
    slot,
};
use boot::failpoint;
use change::{Batch, Lsn, Position, Sink};
use change_log::{
    LastRecord, Records,
    control::{SNAPSHOT, Snapshot as SnapshotRecord},
    frame,
    header::Kind,
};
use std::time::Duration;
use tokio_postgres::Client;

/// A slot waits for the transactions that are open when it is made.
const SLOT_TIMEOUT: Duration = Duration::from_secs(600);

/// Makes the slot, and begins a new epoch of the log with a snapshot of all tables. False: stopped before.
pub(crate) async fn begin(
    session: &Session,
    client: &Client,
    pulse: Pulse,
    (epoch, drop_slot): (u32, bool),
    decided_at: Option<LastRecord>,
) -> Result<bool, ConnectorError> {
    let slot = session.settings.slot();
    let (mut writer, tail) = session.open_log::<Lsn>(epoch).await?;
    // Somebody else goes on with it: what was decided does not hold.
    if tail.last.is_some_and(|last| last.position.epoch >= epoch) || tail.last != decided_at {
        return Err(ConnectorError::LogMoved);
    }
    if drop_slot {
        say_what_is_dropped(client, &session.settings.name, &slot).await?;
        client.execute("select pg_drop_replication_slot($1)", &[&slot]).await.doing("dropping the old slot")?;
    }
    let mut replication = connect::replication(&session.settings, pulse, Lsn(0)).await?;
    let create = format!("CREATE_REPLICATION_SLOT {slot} LOGICAL pgoutput NOEXPORT_SNAPSHOT");
    let creating = async {
        let made = replication.simple_query(&create).await;
        made.map_err(|source| ConnectorError::Stream { slot: slot.clone(), source })
    };
    let made = tokio::select! {
        () = session.stop.cancelled() => return Ok(false),
        made = connect::within(SLOT_TIMEOUT, creating) => made?,
    };
    let begins = consistent_point(&made).ok_or_else(|| ConnectorError::Stream {
        slot: slot.clone(),
        source: pgwire_replication::PgWireError::Protocol("the answer to CREATE_REPLICATION_SLOT is not one".into()),
    })?;
    failpoint::reached("snapshot.slot-created");
    let wanted = |schema: &str, table: &str| session.left_out.captures(&session.settings, schema, table);
    let tables = catalogue::published(client, &session.settings.publication(), wanted).await?;
    let mut state = State { finished: State::of(&tail).finished, ..State::default() };
    state.follow_partitions(&tables);
    let running = Running::new(session.unique_id(), true, None, &tables);
    state.reads(&running, &tables);
    let record = SnapshotRecord {
        snapshot: running.id.clone(),
        table: None,
        rows: 0,
        lsn: begins,
        at: now(),
        tables: running.names(),
        partial: false,
        state: Some(State { running: Some(running), ..state }.text()),
    };
    tracing::info!(source = session.settings.name, tables = tables.len(), epoch, %begins, "taking a snapshot");
    let mut block = Records::default();
    block.snapshot = Some(record.snapshot.as_str().into());
    let id = session.registry.register(SNAPSHOT.name, SNAPSHOT.text).await?;
    write_control(&mut block, id, Kind::SnapshotBegin, &record, Position::START.between(epoch, begins));
    writer.enqueue(Batch { items: vec![block], upto: begins }).await?;
    writer.durable().await?;
    failpoint::reached("snapshot.begun");
    Ok(true)
}

/// A slot that the server still holds keeps WAL that nothing else keeps.
async fn say_what_is_dropped(client: &Client, source: &str, name: &str) -> Result<(), ConnectorError> {
    let slot = slot::look(client, name).await?;
    if let Some(slot) = slot.filter(|slot| slot.wal_status.as_deref() != Some("lost")) {
        let confirmed = slot.confirmed.unwrap_or_default();
        tracing::warn!(source, slot = name, %confirmed,
            "the server still holds this slot: it is dropped with the WAL that it keeps, and all tables are read anew");
    }
    Ok(())
}

fn write_control(block: &mut Records, schema_id: u32, kind: Kind, record: &SnapshotRecord, position: Position) {
    block.buffer().extend_from_slice(kind.name().as_bytes());
    block.end_part();
    frame::start(schema_id, block.buffer());
    record.encode(block.buffer());
    block.close(kind, position, false);
    block.end_commit(record.lsn);
}

/// Where the slot's stream begins.
fn consistent_point(rows: &[pgwire_replication::client::QueryRow]) -> Option<Lsn> {
    let [row] = rows else { return None };
    std::str::from_utf8(row.get(1)?.as_ref()?).ok()?.parse().ok()
}
