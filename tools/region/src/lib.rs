//! A region to run Causeway on: the source schemas, people with plausible histories, David's story, a simulator of the
//! clinics' day, hostile rows, and real GP Connect records as rows.
//!
//! # Why
//! The sources are the ground truth of every proof, so nothing here shares code with what is proven: codes, units and
//! NHS numbers are written out anew. Rows are text, in PostgreSQL's own form, because one form then serves COPY, INSERT
//! and idempotent loading, and because a server reads what a clinician would have typed.

pub mod catalogue;
pub mod gp;
pub mod gp_connect;
pub mod history;
pub mod hospital;
pub mod hostile;
pub mod linkage;
pub mod load;
pub mod person;
pub mod row;
pub mod simulator;
pub mod story;

#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// The driver's message may quote a row, so it is kept to the source.
    #[error("a source database refused or lost a statement")]
    Database(#[from] tokio_postgres::Error),
    #[error("cannot read {path}")]
    Unreadable { path: std::path::PathBuf, source: std::io::Error },
    #[error("{path} is not a FHIR bundle")]
    NotABundle { path: std::path::PathBuf },
}

impl RegionError {
    pub fn worth_retrying(&self) -> bool {
        match self {
            Self::Database(error) => error.is_closed() || error.code().is_none(),
            Self::Unreadable { .. } | Self::NotABundle { .. } => false,
        }
    }
}
