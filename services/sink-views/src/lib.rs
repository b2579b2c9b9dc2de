//! The live record: `patient.events`, `person.links` and `quarantine` into PostgreSQL.
//!
//! # Why
//! Each row is guarded by its own place, (generation, position), and a retraction leaves a marker, so any
//! batch, any replay and any order of partitions leave the same rows; no offset has to be exact.
//! Rows are kept by source patient, and persons are found through links, so a merge moves nothing.
//!
//! Alerts share the transaction (see [`Hook`]): an alert can go out only once the record shows its
//! result, because both become visible in the same commit.

pub mod again;
mod consume;
mod database;
mod decode;
mod error;
mod hook;
mod lag;
mod locks;
pub mod plan;
mod quarantine;
mod settings;
mod write;

pub use consume::{BATCH_BYTES_MAX, HELD_MAX};
pub use database::{GROUP, Mark, checksum, migrate, migrate_schema, rebuild, wipe};
pub use error::ViewsError;
pub use hook::{Applied, Hook, NoHook, Relinked};
pub use settings::{BATCH_ROWS_MAX, Settings};
pub use write::{Outcome, apply};

use boot::{Stop, health::Health, restart::until_stopped};
use change_log::{KafkaSettings, Registry};
use deadpool_postgres::Pool;

/// What the sinks work with.
#[derive(Clone)]
pub struct World {
    pub kafka: KafkaSettings,
    pub registry: Registry,
    pub pool: Pool,
}

/// Keeps the views until the stop signal, calling the hook in each transaction.
pub async fn run<H: Hook>(
    settings: Settings,
    world: World,
    hook: H,
    health: &Health,
    stop: Stop,
) -> Result<(), ViewsError> {
    settings.check()?;
    let part = health.part("sink-views");
    let attempt = || consume::attempt(&settings, &world, &hook, &part, &stop);
    until_stopped(&part, &stop, ViewsError::worth_retrying, attempt).await
}
