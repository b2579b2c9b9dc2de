//! Settings of the views.

use crate::ViewsError;
use serde::Deserialize;

pub const BATCH_ROWS_MAX: usize = 16_384;

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Messages applied in one transaction, at most. A quiet stream is applied message by message.
    pub batch_rows: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { batch_rows: 4_096 }
    }
}

impl Settings {
    pub fn check(&self) -> Result<(), ViewsError> {
        let fits = (1..=BATCH_ROWS_MAX).contains(&self.batch_rows);
        if fits { Ok(()) } else { Err(ViewsError::BatchRows { max: BATCH_ROWS_MAX }) }
    }
}
