//! What else happens in the transaction that writes the views: the seam for alerts.

use crate::plan::ObservationRow;
use deadpool_postgres::Transaction;
use event::{Link, Micros, PatientEvent};

/// What a transaction has written, after the guards: replayed and older events are not in it.
#[derive(Debug, Default)]
pub struct Applied<'a> {
    pub observations: Vec<&'a ObservationRow>,
    pub conditions: Vec<&'a PatientEvent>,
    pub medicines: Vec<&'a PatientEvent>,
    pub allergies: Vec<&'a PatientEvent>,
    /// Demographics and encounters: they say which teams a patient is with.
    pub placements: Vec<&'a PatientEvent>,
    pub relinked: Vec<Relinked<'a>>,
    /// The latest commit time of the batch's events.
    pub committed_at: Option<Micros>,
}

/// A source patient whose link has changed.
#[derive(Debug)]
pub struct Relinked<'a> {
    pub link: &'a Link,
    /// The person they were linked to before.
    pub before: Option<String>,
}

impl Applied<'_> {
    pub const fn is_empty(&self) -> bool {
        self.observations.is_empty()
            && self.conditions.is_empty()
            && self.medicines.is_empty()
            && self.allergies.is_empty()
            && self.placements.is_empty()
            && self.relinked.is_empty()
    }
}

/// Called inside the transaction, with the locks of all its persons held. What it writes is
/// committed with the rows, or not at all. It must not fail because of what the rows say.
pub trait Hook: Send + Sync {
    fn applied(
        &self,
        transaction: &Transaction<'_>,
        applied: &Applied<'_>,
    ) -> impl Future<Output = Result<(), tokio_postgres::Error>> + Send;

    /// A rebuild has replayed the past, during which `applied` was not called: look at everything once.
    fn rebuilt(&self, transaction: &Transaction<'_>) -> impl Future<Output = Result<(), tokio_postgres::Error>> + Send;
}

/// Views alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHook;

impl Hook for NoHook {
    async fn applied(&self, _: &Transaction<'_>, _: &Applied<'_>) -> Result<(), tokio_postgres::Error> {
        Ok(())
    }

    async fn rebuilt(&self, _: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        Ok(())
    }
}
