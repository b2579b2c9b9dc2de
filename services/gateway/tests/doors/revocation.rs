//! What is revoked reaches open streams, and every other door, within five seconds.

use super::{CRISIS, DAVID, Doors, PATIENCE, POTASSIUM, Stream, tell};
use anyhow::{Context, ensure};
use event::alert::AlertChange;
use std::time::{Duration, Instant};

/// From the revocation until nobody is told any more.
const WITHIN: Duration = Duration::from_secs(5);
/// So often a change is told meanwhile.
const EVERY: Duration = Duration::from_millis(250);
/// As a source writes it: without the dot that fills the code up.
const OBJECTION: &str = "insert into record.condition
    (source, patient, record, organisation, position, revision, event_id, committed_at, effective_at, snapshot, code_text,
    code_system, code, active)
    values ('stmarys', '42', 'consent/1', 'RSM01', '1', 1, 'xc', now(), now(), true, 'Objects to sharing',
        'http://read.info/readv2', '93C1', false)";
const AGREEMENT: &str = "stmarys-to-riverside.toml";

pub async fn reaches_every_door(doors: &Doors<'_>) -> anyhow::Result<()> {
    let file = doors.region.agreements.join(AGREEMENT);
    let text = std::fs::read_to_string(&file)?;
    let ended = text.replace("until = \"2029-12-31\"", "until = \"2026-01-02\"").replace("2027-12-01", "2026-01-01");
    ensure!(ended != text, "the file has another last day");
    std::fs::write(&file, ended)?;
    silent(doors, 100, "the agreement has ended").await?;
    // What has a mistake opens nothing, and closes nothing.
    std::fs::write(&file, text.replace("[agreement]\n", "[agreement]\ncolour = \"blue\"\n"))?;
    let deadline = Instant::now() + PATIENCE;
    let said = || doors.region.health.parts().remove("agreements").flatten().unwrap_or_default();
    while !said().contains("agreement.colour: unknown field") {
        ensure!(Instant::now() < deadline, "the part does not say that a file has a mistake: {}", said());
        tokio::time::sleep(EVERY).await;
    }
    ensure!(said().starts_with("what was last good holds") && doors.region.health.ready(), "{}", said());
    silent(doors, 400, "the agreement had ended, and the file has a mistake").await?;
    std::fs::write(&file, &text)?;
    told_again(doors, 500).await?;
    let client = doors.region.pool.get().await?;
    client.execute("update record.patient set objection = true where patient = 'p-1'", &[]).await?;
    silent(doors, 600, "the patient objects").await?;
    client.execute("update record.patient set objection = false where patient = 'p-1'", &[]).await?;
    told_again(doors, 700).await?;
    client.batch_execute(OBJECTION).await?;
    silent(doors, 800, "a coded objection at the hospital").await?;
    client.execute("update record.condition set retracted = true where record = 'consent/1'", &[]).await?;
    told_again(doors, 900).await?;
    client.execute("delete from record.condition where record = 'consent/1'", &[]).await?;
    Ok(())
}

/// The practice's stream is open while it is revoked: within five seconds nothing is told to it, nor shown at any door.
async fn silent(doors: &Doors<'_>, first: i64, why: &str) -> anyhow::Result<()> {
    let token = doors.token("gp.riverside").await?;
    let _open = Stream::open(doors, &token, None).await?;
    let newest = "select coalesce(max(id), 0) from access.audit";
    let before = doors.count(newest).await?;
    let rows = |decision: &str, after: i64| {
        format!(
            "select count(*) from access.audit where id > {after} and actor = 'gp.riverside' and action = 'view-alerts'
             and decision = '{decision}' and patient = '42'"
        )
    };
    // By the database's clock, which dates the audit: how slow this test is does not count.
    let revoked: String = {
        let client = doors.region.pool.get().await?;
        client.query_one("select clock_timestamp()::text", &[]).await?.get(0)
    };
    let deadline = Instant::now() + PATIENCE;
    let mut id = first;
    while doors.count(&rows("refuse", before)).await? == 0 {
        ensure!(Instant::now() < deadline, "{why}: the stream still tells");
        tell(doors, id, POTASSIUM, AlertChange::Seen, &["riverside"]).await?;
        id += 1;
        tokio::time::sleep(EVERY).await;
    }
    let seconds = WITHIN.as_secs();
    let late = format!("{} and at > '{revoked}'::timestamptz + interval '{seconds} seconds'", rows("allow", before));
    ensure!(doors.count(&late).await? == 0, "{why}: the stream told later than {seconds} s after");
    let silent = doors.count(newest).await?;
    for id in id..id + 3 {
        tell(doors, id, POTASSIUM, AlertChange::Seen, &["riverside"]).await?;
        tokio::time::sleep(EVERY).await;
    }
    ensure!(doors.count(&rows("allow", silent)).await? == 0, "{why}: the stream tells again");
    ensure!(doors.count(&rows("refuse", silent)).await? > 0, "{why}: the stream has ended instead");
    ensure!(!doors.get(&token, "/inbox").await?.1.contains("Potassium 6.7"), "{why}: the inbox shows it");
    let (_, page) = doors.get(&token, &format!("/patients/{DAVID}")).await?;
    ensure!(page.contains("Incomplete:") && !page.contains("<td>42</td>"), "{why}: the page shows it");
    let bundle = doors.json(&token, &format!("/fhir/Observation?patient={DAVID}")).await?.to_string();
    ensure!(!bundle.contains("urn:causeway:source:stmarys"), "{why}: FHIR shows it");
    Ok(())
}

async fn told_again(doors: &Doors<'_>, id: i64) -> anyhow::Result<()> {
    let token = doors.token("gp.riverside").await?;
    let deadline = Instant::now() + PATIENCE;
    while !doors.get(&token, "/inbox").await?.1.contains("Potassium 6.7") {
        ensure!(Instant::now() < deadline, "what holds again is not read");
        tokio::time::sleep(EVERY).await;
    }
    ensure!(doors.get(&token, &format!("/patients/{DAVID}")).await?.1.contains("<td>42</td>"));
    let bundle = doors.json(&token, &format!("/fhir/Observation?patient={DAVID}")).await?.to_string();
    ensure!(bundle.contains("urn:causeway:source:stmarys"), "{bundle}");
    let mut stream = Stream::open(doors, &token, None).await?;
    tell(doors, id, POTASSIUM, AlertChange::Seen, &["riverside"]).await?;
    let (_, told) = stream.next("alert").await?.context("told again")?;
    ensure!(told["alert"] == POTASSIUM, "{told}");
    Ok(())
}

/// Their teams are taken away, then the account.
pub async fn of_a_user_ends_the_stream(doors: &Doors<'_>) -> anyhow::Result<()> {
    let token = doors.token("ed.stmarys").await?;
    let mut stream = Stream::open(doors, &token, None).await?;
    let client = doors.region.pool.get().await?;
    client.execute("update access.user set teams = '{}' where id = 'ed.stmarys'", &[]).await?;
    tell(doors, 5, CRISIS, AlertChange::Seen, &["stmarys-ed"]).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.execute("update access.user set disabled = true where id = 'ed.stmarys'", &[]).await?;
    let revoked = Instant::now();
    ensure!(stream.next("bye").await?.is_some());
    ensure!(revoked.elapsed() <= Duration::from_secs(5), "it took {:?}", revoked.elapsed());
    ensure!(!stream.text.contains(CRISIS) && stream.next("alert").await?.is_none(), "and the stream has ended");
    client
        .execute("update access.user set teams = '{stmarys-ed}', disabled = false where id = 'ed.stmarys'", &[])
        .await?;
    Ok(())
}
