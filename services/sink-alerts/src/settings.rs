//! Settings of the alerts. What raises one is in the site's `alerts.toml`.

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A department still receives alerts about a patient so long after the encounter's end.
    pub encounter_grace_hours: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { encounter_grace_hours: 72 }
    }
}
