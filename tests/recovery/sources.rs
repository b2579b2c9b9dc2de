//! One process with many sources: what is wrong with one stops that one, and they come and go without a restart. The short
//! form of `./run bench sources`.

use anyhow::{Context, ensure};
use proof::{bench::sources::Stage, running::tail};
use serde_json::Value;
use stack::Causeway;
use std::time::{Duration, Instant};

const SOURCES: u64 = 40;
const WAIT_MAX: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(250);
/// What one process may hold with so few sources.
const RESIDENT_MAX_KB: u64 = 600_000;
/// The source's store has a thread, and the client that commits how far its log is told about five; capture has none.
const THREADS_MAX: u64 = 300 + 6 * SOURCES;

/// How a work of a source stands, by what the process says.
fn standing(status: &Value, number: u64, work: &str) -> (String, String) {
    let told = &status["states"][Stage::name(number)][work];
    let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("why"))
}

/// Asks until it is so.
async fn until(stage: &Stage, causeway: &Causeway, what: &str, is: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        let status = stage.ask("/status").await.unwrap_or_default();
        if is(&status) {
            return Ok(status);
        }
        let log = tail(causeway.log());
        ensure!(Instant::now() < deadline, "not so: {what}; {}; {}\n{log}", status["states"], status["problems"]);
        tokio::time::sleep(POLL).await;
    }
}

fn running(status: &Value, number: u64) -> bool {
    ["connector", "normaliser"].iter().all(|work| standing(status, number, work).0 == "running")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_sources_stops_alone_and_sources_come_and_go() -> anyhow::Result<()> {
    let folder = stack::local().join("tests").join("sources");
    let stage = Stage::start(&folder, SOURCES).await?;
    let mut causeway = stage.causeway()?;
    // One of them meets it, when most of the others run: it is looked at again after half a minute.
    let failpoint = format!("stream.started:{}:panic", SOURCES - 5);
    causeway.spec_mut().environment.insert("CAUSEWAY_FAILPOINT".to_owned(), failpoint);
    causeway.launch()?;
    let stopped = |status: &Value| {
        let panicked = |number: &u64| {
            let (state, why) = standing(status, *number, "connector");
            state == "waiting-for-operator" && why.contains("panicked at services/")
        };
        (0..SOURCES).filter(panicked).count()
    };
    let others = |status: &Value| (0..SOURCES).filter(|number| running(status, *number)).count() as u64;
    let alone = "one panicked, the others run";
    until(&stage, &causeway, alone, |status| stopped(status) == 1 && others(status) == SOURCES - 1).await?;
    until(&stage, &causeway, "it runs again, too", |status| others(status) == SOURCES).await?;
    come_and_go(&stage, &causeway).await?;
    let pid = causeway.pid().context("the process is gone")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let number = |key: &str| -> anyhow::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    };
    let (threads, resident) = (number("Threads:")?, number("VmHWM:")?);
    println!("{SOURCES} sources: {threads} threads, {resident} kB resident at most");
    ensure!(threads <= THREADS_MAX, "{threads} threads");
    ensure!(resident <= RESIDENT_MAX_KB, "{resident} kB resident");
    let log = std::fs::read_to_string(causeway.log())?;
    ensure!(!log.contains("failpoint stream.started"), "what a panic said is in the log");
    causeway.stop().await?;
    stage.stop().await
}

async fn come_and_go(stage: &Stage, causeway: &Causeway) -> anyhow::Result<()> {
    // Added: one that is well, one without its mapping, one that is no source.
    for number in [SOURCES, SOURCES + 1] {
        stage.make(number).await?;
        std::fs::write(stage.file(number), stage.block(number)?)?;
    }
    std::fs::remove_file(stage.folder.join(format!("{}.mapping.toml", Stage::name(SOURCES + 1))))?;
    std::fs::write(stage.file(11), "[[source]]\nname = \"gp11\"\ntabels = []\n")?;
    until(stage, causeway, "a source was added", |status| running(status, SOURCES)).await?;
    let told = until(stage, causeway, "one has no mapping", |status| {
        standing(status, SOURCES + 1, "normaliser").0 == "waiting-for-operator"
    });
    let status = told.await?;
    ensure!(standing(&status, SOURCES + 1, "normaliser").1.contains("cannot be read"), "{}", status["states"]);
    let connected = |status: &Value| standing(status, SOURCES + 1, "connector").0 == "running";
    until(stage, causeway, "its database is captured nonetheless", connected).await?;
    let status =
        until(stage, causeway, "a file is refused", |status| status["problems"]["gp11.toml"].is_string()).await?;
    let why = status["problems"]["gp11.toml"].as_str().unwrap_or_default();
    ensure!(why.contains("line 3: source.tabels: unknown field") && why.ends_with("goes on"), "{why}");
    ensure!(running(&status, 11), "what the file said before goes on");
    // Taken away: the slot stays, and that is said.
    std::fs::remove_file(stage.file(12))?;
    // Its parts say first that they were asked to stop, and then what that leaves behind.
    let left_behind = "pg_drop_replication_slot('causeway_gp12')";
    let gone = |status: &Value| {
        let ended = |work| standing(status, 12, work).0 == "stopped";
        ended("connector") && ended("normaliser") && standing(status, 12, "connector").1.contains(left_behind)
    };
    let status = until(stage, causeway, "a source was taken away, and all of it ended", gone).await?;
    ensure!(stage.has_slot(12).await?, "its slot is kept");
    ensure!(status["sources"]["gp12"].is_null(), "nothing is shown of it any more");
    // Mended, and put back.
    std::fs::write(stage.file(11), stage.block(11)?)?;
    std::fs::write(stage.file(12), stage.block(12)?)?;
    let back = |status: &Value| running(status, 12) && status["problems"]["gp11.toml"].is_null();
    until(stage, causeway, "it goes on where it stood", back).await?;
    Ok(())
}
