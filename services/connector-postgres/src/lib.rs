//! Captures a PostgreSQL database: every committed change of the wanted tables into
//! `changes.<source>`, exactly once and in commit order.
//!
//! # Why
//! The connector keeps nothing of its own: where it stands is in the log, and what it has not
//! read yet is in the slot. The slot may forget only what Kafka has acknowledged. The transport
//! (`pgwire-replication`) carries frames and keeps the session alive; what the frames mean is
//! decoded here, from borrowed bytes, and encoded to Avro without a value in between.

mod aside;
mod ask;
mod budget;
mod catalogue;
pub mod charset;
mod column_types;
mod connect;
pub mod contract;
pub mod decode;
mod described;
pub mod encode;
mod encoder;
mod error;
mod lag;
mod lanes;
mod left_out;
mod listed;
mod load;
mod look;
mod meter;
mod plan;
mod quarantine;
mod relation;
mod relations;
mod script;
mod session;
mod settings;
mod setup;
mod shape;
mod slot;
mod snapshot;
mod standing;
mod status;
mod stream;
mod trace;
mod upkeep;
mod watch;

pub use ask::Asking;
pub use budget::SlotView;
pub use described::{described, surveyed};
pub use error::{Break, ConnectorError};
pub use look::{Published, ReplicaIdentity, advice, check_predicate, published, subjects};
pub use script::{setup_sql, setup_sql_of};
pub use settings::{LINGER_MS, Settings, SnapshotSettings, WhenLost, WhenOver};
pub use snapshot::{finished_snapshots, was_given_up};
pub use status::{LeftOutTable, Phase, SnapshotView, Status, View};
pub use upkeep::Advice;

use boot::{Stop, health::Part, restart, turns::in_turn};
use change_log::{KafkaSettings, Registry};
use charset::Charset;
use plan::Identity;
use session::Session;
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::OnceCell;

/// Captures the source until the stop signal, across outages of the source, of Kafka and of the registry.
/// Ends with an error only when an operator must decide. The registry lets in what this source's operators let in.
pub async fn run(
    settings: Settings,
    kafka: KafkaSettings,
    registry: Registry,
    status: Arc<Status>,
    health: Part,
    stop: Stop,
) -> Result<(), ConnectorError> {
    if let Some((key, what)) = settings.mistakes().into_iter().next() {
        return Err(ConnectorError::Settings { name: settings.name.clone(), what: format!("{key}: {what}") });
    }
    let (outlets, signs) = watch::signs();
    let session = Session {
        settings: Arc::new(settings),
        kafka,
        registry: registry.apart(),
        status,
        health,
        stop,
        identity: Identity::default(),
        signals: Arc::new(OnceCell::new()),
        signs,
        captured: BTreeSet::new(),
        left_out: left_out::LeftOut::default(),
        charset: Charset::default(),
        doubted: false,
        unreadable: false,
    };
    lanes::run(move || async move {
        tokio::select! {
            outcome = until_stopped(&session) => outcome,
            // Looks until it is dropped.
            () = watch::run(Arc::clone(&session.settings), Arc::clone(&session.status), outlets) => Ok(()),
        }
    })
    .await?
}

async fn until_stopped(session: &Session) -> Result<(), ConnectorError> {
    let attempt = || attempt(session.clone());
    let ended = restart::retried(&session.health, &session.stop, ConnectorError::worth_retrying, attempt).await;
    session.status.update(|view| view.phase = Phase::Stopped);
    ended
}

async fn attempt(mut session: Session) -> Result<(), ConnectorError> {
    let (status, stop, name) = (Arc::clone(&session.status), session.stop.clone(), session.settings.name.clone());
    let again = status.view_of(|view| view.phase == Phase::Waiting);
    status.update(|view| view.phase = Phase::Starting);
    let health = session.health.clone();
    let outcome = tokio::select! {
        outcome = in_turn(&health, again, session.run()) => outcome,
        // What waits for the source or for Kafka does not keep the process.
        () = long_after(&stop) => Ok(()),
    };
    if outcome.is_err() {
        metrics::counter!("causeway_capture_reconnects_total", "source" => name).increment(1);
        status.update(|view| {
            view.phase = Phase::Waiting;
            view.reconnects += 1;
        });
    }
    outcome
}

async fn long_after(stop: &Stop) {
    stop.cancelled().await;
    tokio::time::sleep(session::DRAIN_MAX + session::DRAIN_MAX / 2).await;
}
