//! What the connector survives, in the short form of `./run faults`.

use super::SEED_VARIABLE;
use anyhow::{Context, ensure};
use proof::faults::{self, Act, Scale};

/// One yard for all acts: starting its components takes longer than most of them.
#[tokio::test(flavor = "multi_thread")]
async fn capture_survives_faults_of_every_kind() -> anyhow::Result<()> {
    let seed = match std::env::var(SEED_VARIABLE) {
        Ok(text) => text.parse().with_context(|| format!("{SEED_VARIABLE} is no number"))?,
        Err(_) => rand::random::<u32>().into(),
    };
    println!("{SEED_VARIABLE}={seed}");
    let folder = stack::local().join("tests").join("faults");
    let report = faults::run(&folder, &Act::ALL, &Scale::short(), seed, |text| println!("{text}")).await?;
    report.print();
    ensure!(report.ok(), "something was lost, duplicated or out of order; repeat with {SEED_VARIABLE}={seed}");
    Ok(())
}

#[test]
fn there_is_a_failpoint_after_every_step() {
    let points = faults::points().expect("the services' code");
    let steps = ["snapshot.slot-created", "stream.read", "capture.encoded", "log.produced", "log.acknowledged"];
    let more = ["stream.confirmed", "log.session-written", "capture.progress", "snapshot.chunk-finished"];
    for step in steps.iter().chain(&more) {
        assert!(points.iter().any(|point| point == step), "no failpoint {step} among {points:?}");
    }
}
