//! The normaliser: a source's log of row changes becomes coded patient events.
//!
//! # Why
//! What a log's rows mean is decided elsewhere, in rooms that do no IO: `mapping`, `coding` and `fold`. Here is the shell
//! around them: it reads a log, folds, produces, and then moves the offset.

mod commit;
pub mod error;
mod inherited;
mod keeping;
mod left_out;
mod missing;
mod progress;
mod publish;
mod replays;
pub mod run;
pub mod settings;
mod tell;
mod telling;
mod walk_rate;

pub use error::NormaliserError;
pub use run::run;
pub use settings::{Settings, SourceSettings};
