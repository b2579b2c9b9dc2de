//! The region that all tests of this group share: started by the first of them, with hostile rows among the histories, so
//! that the snapshots meet them too. It ends with the process that runs the tests.

use anyhow::{Context, ensure};
use jiff::Timestamp;
use proof::running::{Histories, Running};
use region::{
    history,
    hostile::{self, Bad},
};
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tokio_postgres::Client;

pub const WAIT_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(250);
/// Set to repeat a run.
const SEED_VARIABLE: &str = "CAUSEWAY_SEED";
const PEOPLE: u64 = 40;

pub struct Shared {
    pub running: Running,
    pub seed: u64,
    /// Whose rows a test may spoil: index of the histories.
    pub known: u64,
    /// What was wrong in each source before the snapshots.
    pub gp_before: Vec<Bad>,
    pub hospital_before: Vec<Bad>,
}

/// The region, for one test at a time.
pub async fn shared() -> anyhow::Result<MutexGuard<'static, Shared>> {
    static SHARED: OnceCell<Mutex<Shared>> = OnceCell::const_new();
    Ok(SHARED.get_or_try_init(start).await?.lock().await)
}

async fn start() -> anyhow::Result<Mutex<Shared>> {
    let seed = seed()?;
    let folder = stack::local().join("tests").join("end_to_end");
    let mut running = Running::prepare(&folder, &Histories { seed, people: PEOPLE }, |_| {}).await?;
    let (gp, hospital) = (running.source("riverside").await?, running.source("stmarys").await?);
    let known = known_at_both(&gp, &hospital).await?;
    let now = Timestamp::now();
    let gp_before = hostile::gp_rows(&gp, seed, known[0], now).await?;
    let hospital_before = hostile::hospital_rows(&hospital, seed, known[0], now).await?;
    running.call_witnesses().await?;
    running.launch()?;
    running.wait_live(|_, _| {}).await?;
    Ok(Mutex::new(Shared { running, seed, known: known[1], gp_before, hospital_before }))
}

/// Two of the people that both sources know.
async fn known_at_both(gp: &Client, hospital: &Client) -> anyhow::Result<[u64; 2]> {
    let mut known = Vec::new();
    for index in 1..PEOPLE {
        let (patient, person) = (history::gp_patient(index), history::hospital_person(index));
        let at_gp = gp
            .query_opt(
                "select from emis.patient where patient_id::text = $1 and not is_deleted",
                &[&patient.to_string()],
            )
            .await?;
        let at_hospital =
            hospital.query_opt(&format!("select from pas.patient where person_id = {person}"), &[]).await?;
        known.extend((at_gp.is_some() && at_hospital.is_some()).then_some(index));
    }
    known.first_chunk().copied().context("both sources know fewer than two people")
}

/// From the environment, else by the clock; printed, so that a failure can be repeated.
pub fn seed() -> anyhow::Result<u64> {
    let seed = match std::env::var(SEED_VARIABLE) {
        Ok(text) => text.parse().with_context(|| format!("{SEED_VARIABLE} is no number"))?,
        Err(_) => Timestamp::now().as_microsecond().unsigned_abs(),
    };
    println!("{SEED_VARIABLE}={seed}");
    Ok(seed)
}

/// Asks until there is an answer.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        ensure!(Instant::now() < deadline, "waited {} s in vain: {what}", WAIT_MAX.as_secs());
        tokio::time::sleep(POLL).await;
    }
}

impl Shared {
    /// What a verb of the binary answers as JSON.
    pub async fn ask(&self, verb: &[&str], options: &[&str]) -> anyhow::Result<Value> {
        let config = self.running.config.display().to_string();
        let arguments: Vec<&str> = [&["--output", "json"], verb, &[config.as_str()], options].concat();
        Ok(serde_json::from_str(&self.running.verb(&arguments).await?)?)
    }

    /// Whether every process that was started still runs, and is ready.
    pub async fn all_well(&mut self) -> anyhow::Result<()> {
        for (name, process) in &mut self.running.processes {
            if let Some(status) = process.part.exited()? {
                anyhow::bail!("{name} ended ({status}):\n{}", proof::running::tail(process.part.log()));
            }
        }
        let running = &self.running;
        until("every process is ready", async || {
            for process in running.processes.values() {
                if !process.part.is_ready().await {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await
    }
}
