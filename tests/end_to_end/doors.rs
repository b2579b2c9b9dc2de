//! The doors, used as their users use them: David's story, and who is let in.

use super::region::shared;
use anyhow::ensure;
use proof::{checks, report::Report};

#[tokio::test(flavor = "multi_thread")]
async fn david_s_story_comes_true() -> anyhow::Result<()> {
    let shared = shared().await?;
    let mut report = Report::new("story");
    checks::story(&shared.running, &mut report).await?;
    ensure!(report.ok(), "{:#?}", report.checks());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_outside_the_team_is_refused_and_audited() -> anyhow::Result<()> {
    let shared = shared().await?;
    let own = shared.running.own().await?;
    let checked = proof::access::check(&shared.running, &own).await?;
    ensure!(checked.ok, "{}", checked.detail);
    Ok(())
}
