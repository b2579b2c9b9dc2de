//! What an operator says about sources.

use coding::lab::Lab;
use serde::Deserialize;
use std::{path::PathBuf, sync::Arc, time::Duration};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Partitions of `patient.events`, when it is created here.
    pub events_partitions: u16,
    /// The folder of what is kept of each source between two starts. On a disk of this machine; holds patient data.
    pub state: PathBuf,
    /// It goes to the disk this often at least, in seconds: a start reads again what came after.
    pub checkpoint_s: u16,
    /// Rows that a replay, or a new mapping, looks at in a second, of each source; 0: as fast as it goes.
    pub walk_rows_per_s: u32,
    /// What codes and units are read by: of the site's settings, not of this section.
    #[serde(skip)]
    pub lab: Arc<Lab>,
    /// The release that codes are read by: of the site's settings, not of this section.
    #[serde(skip)]
    pub release: Option<terminology::Release>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            events_partitions: 6,
            state: "state".into(),
            checkpoint_s: 60,
            walk_rows_per_s: 0,
            lab: Lab::shipped(),
            release: None,
        }
    }
}

impl Settings {
    pub fn checkpoint_every(&self) -> Duration {
        Duration::from_secs(self.checkpoint_s.into())
    }
}

/// One captured database.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    pub name: String,
    /// The mapping file of its system.
    pub mapping: PathBuf,
    /// ODS code of the organisation that runs it, for rows that name none.
    pub organisation: String,
}
