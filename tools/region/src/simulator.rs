//! The clinics' day: real transactions on both databases, at a rate, until told to stop.
//!
//! # Why
//! The simulator is not the oracle. It counts what it did for people to see; what was committed, a witness reads from
//! the server. So a transaction whose outcome is unknown is counted as that and forgotten, and later work never builds
//! on rows that may not exist.

mod at_gp;
mod at_hospital;
mod pool;
mod session;
mod transaction;

pub use session::{Outcome, Session};
pub use transaction::{Operation, Transaction};

use crate::RegionError;
use jiff::Timestamp;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tokio_postgres::{Client, Config};
use tokio_util::sync::CancellationToken;

/// One connection does about this many changes a second on a small machine.
const CHANGES_PER_CONNECTION: f64 = 500.0;
const CONNECTIONS_PER_DATABASE_MAX: f64 = 4.0;
const RATE_MIN: f64 = 0.1;
/// Behind by more than this, lost time is lost: no flood after an outage.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// What was done so far.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Counts {
    pub committed: u64,
    pub unknown: u64,
    pub refused: u64,
    /// Changes of committed transactions, by table and operation.
    pub changes: BTreeMap<String, BTreeMap<&'static str, u64>>,
}

impl Counts {
    pub fn changes_total(&self) -> u64 {
        self.changes.values().flat_map(BTreeMap::values).sum()
    }

    fn add(&mut self, outcome: Outcome, transaction: &Transaction) {
        match outcome {
            Outcome::Committed => {
                self.committed += 1;
                for (table, operation) in transaction.changes() {
                    let table = self.changes.entry(table.replace('"', "")).or_default();
                    *table.entry(operation.as_str()).or_default() += 1;
                }
            }
            Outcome::Unknown => self.unknown += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Stopped => {}
        }
    }
}

/// What a clinic does next. It remembers new rows only once they have committed.
trait Clinic {
    fn next(&mut self, now: Timestamp) -> Transaction;
    fn settled(&mut self, committed: bool);
}

/// The part of the patients that one connection works on: no two touch the same.
#[derive(Clone, Copy)]
struct Share {
    index: i64,
    of: i64,
}

pub struct Simulator {
    seed: u64,
    gp: Config,
    hospital: Config,
    /// Changes a second, over both databases together.
    rate: f64,
    counts: Arc<Mutex<Counts>>,
}

impl Simulator {
    pub fn new(seed: u64, gp: Config, hospital: Config, rate: f64) -> Self {
        Self { seed, gp, hospital, rate: rate.max(RATE_MIN), counts: Arc::default() }
    }

    /// Reads the counts while the simulator runs.
    pub fn counts(&self) -> impl Fn() -> Counts + Send + Sync + 'static {
        let counts = Arc::clone(&self.counts);
        move || counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Works until `stop`. Databases that go away are waited for.
    pub async fn run(&self, stop: CancellationToken) -> Result<Counts, RegionError> {
        let per_database = self.rate / 2.0;
        let connections = (per_database / CHANGES_PER_CONNECTION).ceil().clamp(1.0, CONNECTIONS_PER_DATABASE_MAX);
        let pace = Pace { changes_per_s: per_database / connections, counts: Arc::clone(&self.counts), stop };
        let of = connections as i64;
        let mut workers = tokio::task::JoinSet::new();
        for index in 0..of {
            let share = Share { index, of };
            workers.spawn(gp_worker(Session::new(self.gp.clone()), self.seed, share, pace.clone()));
            workers.spawn(hospital_worker(Session::new(self.hospital.clone()), self.seed, share, pace.clone()));
        }
        // A worker that fails stops the others.
        let mut failed = None;
        while let Some(done) = workers.join_next().await {
            match done {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    pace.stop.cancel();
                    failed = Some(error);
                }
                Err(ended) => std::panic::resume_unwind(ended.into_panic()),
            }
        }
        failed.map_or_else(|| Ok(self.counts()()), Err)
    }
}

#[derive(Clone)]
struct Pace {
    changes_per_s: f64,
    counts: Arc<Mutex<Counts>>,
    stop: CancellationToken,
}

async fn gp_worker(mut session: Session, seed: u64, share: Share, pace: Pace) -> Result<(), RegionError> {
    let Some(client) = session.client(&pace.stop).await else {
        return Ok(());
    };
    let clinic = at_gp::GpClinic::open(client, seed, share).await?;
    work(clinic, session, pace).await;
    Ok(())
}

async fn hospital_worker(mut session: Session, seed: u64, share: Share, pace: Pace) -> Result<(), RegionError> {
    let Some(client) = session.client(&pace.stop).await else {
        return Ok(());
    };
    let clinic = at_hospital::HospitalClinic::open(client, seed, share).await?;
    work(clinic, session, pace).await;
    Ok(())
}

async fn work(mut clinic: impl Clinic, mut session: Session, pace: Pace) {
    let mut due = Instant::now();
    while !pace.stop.is_cancelled() {
        let transaction = clinic.next(Timestamp::now());
        if transaction.changes().is_empty() {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = pace.stop.cancelled() => return,
        }
        let outcome = session.run(&transaction, &pace.stop).await;
        clinic.settled(outcome == Outcome::Committed);
        pace.counts.lock().unwrap_or_else(PoisonError::into_inner).add(outcome, &transaction);
        due += Duration::from_secs_f64(transaction.changes().len() as f64 / pace.changes_per_s);
        due = due.max(Instant::now() - CATCH_UP_MAX);
    }
}

/// A generator that a second run over the same database does not repeat: the server's transaction id is mixed in.
async fn generator(client: &Client, seed: u64, share: Share) -> Result<StdRng, RegionError> {
    let id: String = client.query_one("select pg_current_xact_id()::text", &[]).await?.get(0);
    let run: u64 = id.parse().unwrap_or(0);
    let mut rng = crate::person::rng(seed, run);
    Ok(StdRng::seed_from_u64(rng.random::<u64>() ^ share.index.unsigned_abs()))
}
