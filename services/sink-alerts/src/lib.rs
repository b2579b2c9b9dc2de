//! Real-time result alerts: each result version alerts once, whoever needs to know is told, and
//! what was taken back is withdrawn.
//!
//! # Why
//! Rules run in the transaction that writes the record, on what the record then shows, so an alert can
//! never be ahead of its result nor be lost after it. They are pure and total: nothing that a result
//! says can hold up the record. An alert's id is a digest of its rule and its result's version, so the
//! same alert is the same row whatever is replayed. What goes out leaves through an outbox.

mod alerts;
mod around;
mod database;
mod deliver;
mod error;
pub mod escalate;
pub mod matter;
mod read;
pub mod reconcile;
mod settings;
mod write;

pub use alert::{Limits, Rule};
pub use alerts::Alerts;
pub use database::migrate;
pub use deliver::TOPIC;
pub use error::AlertsError;
pub use settings::Settings;

use boot::{Stop, database::DatabaseSettings, health::Health, organisations::Organisations, restart::until_stopped};
use event::Teams;
use sink_views::World;

/// What the alerts work with.
#[derive(Clone)]
pub struct Alerting {
    pub world: World,
    /// For a connection that listens, which a pool cannot.
    pub database: DatabaseSettings,
    pub teams: Teams,
    /// The organisation whose database each source is, by its ODS code.
    pub organisations: Organisations,
    pub limits: Limits,
}

impl Alerting {
    /// What raises alerts in the transaction that writes the record.
    pub fn hook(&self, settings: &Settings) -> Alerts {
        Alerts {
            limits: self.limits.clone(),
            teams: self.teams.clone(),
            organisations: self.organisations.clone(),
            encounter_grace_hours: settings.encounter_grace_hours,
            clock: || jiff::Timestamp::now().as_microsecond(),
        }
    }
}

/// The `sinks` service: views, alerts and their delivery, until the stop signal.
pub async fn run(
    settings: Settings,
    views: sink_views::Settings,
    alerting: Alerting,
    health: Health,
    stop: Stop,
) -> Result<(), AlertsError> {
    let part = health.part("sink-alerts");
    let schema = || async { migrate(&alerting.world.pool).await.map_err(AlertsError::from) };
    until_stopped(&part, &stop, AlertsError::worth_retrying, schema).await?;
    let hook = alerting.hook(&settings);
    let writing = async {
        sink_views::run(views, alerting.world.clone(), hook.clone(), &health, stop.clone())
            .await
            .map_err(AlertsError::from)
    };
    let attempt = || deliver::attempt(&alerting, &hook, &part, &stop);
    let delivering = until_stopped(&part, &stop, AlertsError::worth_retrying, attempt);
    tokio::try_join!(writing, delivering).map(|((), ())| ())
}
