//! What an open page tells: which sources are behind, and that it is not its reader.

use super::{DAVID, Doors, PATIENCE, POTASSIUM, Stream, answers::MATTER, tell};
use anyhow::{Context, ensure};
use change_log::told::{self, Told};
use event::alert::AlertChange;
use rdkafka::producer::{FutureProducer, FutureRecord};
use reqwest::StatusCode;
use std::time::{Duration, Instant};

/// As the normaliser says how far it has told a source.
pub async fn fresh(doors: &Doors<'_>, source: &str, organisation: &str, seconds_ago: i64) -> anyhow::Result<()> {
    let at = jiff::Timestamp::now().as_microsecond() - seconds_ago * 1_000_000;
    let told = Told { source: source.into(), organisation: organisation.into(), at }.encode();
    let producer: FutureProducer = doors.region.kafka.client().create()?;
    let topic = doors.region.kafka.topic(told::TOPIC);
    producer.send(FutureRecord::to(&topic).key(source).payload(&told), PATIENCE).await.map_err(|(error, _)| error)?;
    Ok(())
}

const SHOWN: &str = "class=\"notice behind\" role=\"alert\">";

/// Traffic does not say it: nothing has come of the practice for four hours, and it is not behind until it says so.
pub async fn a_source_behind_is_told(doors: &Doors<'_>) -> anyhow::Result<()> {
    let token = doors.token("ed.stmarys").await?;
    let david = format!("/patients/{DAVID}");
    ensure!(!doors.get(&token, &david).await?.1.contains("may be behind"), "a quiet source is not behind");
    for (seconds, behind) in [(600, true), (-3_600, false)] {
        fresh(doors, "riverside", "R1V01", seconds).await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (inbox, record) = (doors.get(&token, "/inbox").await?.1, doors.get(&token, &david).await?.1);
            let loud = inbox.contains(SHOWN) && inbox.contains("Riverside Practice, riverside (nothing after");
            if (loud, inbox.contains(SHOWN), record.contains("may be behind")) == (behind, behind, behind) {
                break;
            }
            ensure!(Instant::now() < deadline, "{seconds} s behind: the pages do not say {behind}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}

/// Its stream and the rows that it fetches are not its reader's doing.
pub async fn an_open_page_keeps_no_session_alive(doors: &Doors<'_>) -> anyhow::Result<()> {
    let token = doors.token("ed.stmarys").await?;
    let client = doors.region.pool.get().await?;
    client.execute("update access.session set used_at = now() - interval '10 minutes'", &[]).await?;
    let used = "select count(*) from access.session where used_at > now() - interval '5 minutes'";
    drop(Stream::open(doors, &token, None).await?);
    ensure!(doors.get(&token, &format!("/inbox/{MATTER}")).await?.0.is_success());
    ensure!(doors.count(used).await? == 0, "what the page does by itself is taken for its reader");
    doors.get(&token, "/inbox").await?;
    ensure!(doors.count(used).await? == 1, "and a reader is not");
    Ok(())
}

/// On a result that the hospital marks as confidential.
const KEPT_BACK: &str = "0197f2a0-0000-7000-8000-0000000000a5";

/// An alert on a confidential result is given to a team of another organisation too: nothing of it reaches their streams.
pub async fn what_is_kept_back_reaches_no_stream(doors: &Doors<'_>) -> anyhow::Result<()> {
    let (ed, gp) = (doors.token("ed.stmarys").await?, doors.token("gp.riverside").await?);
    let (mut at_ed, mut at_gp) = (Stream::open(doors, &ed, None).await?, Stream::open(doors, &gp, None).await?);
    let both = ["riverside", "stmarys-ed"];
    tell(doors, 20, KEPT_BACK, AlertChange::Raised, &both).await?;
    tell(doors, 21, POTASSIUM, AlertChange::Seen, &both).await?;
    for want in [KEPT_BACK, POTASSIUM] {
        let (_, told) = at_ed.next("alert").await?.context("the hospital's own")?;
        ensure!(told["alert"] == want, "the hospital is told {told}");
    }
    let (_, told) = at_gp.next("alert").await?.context("the next")?;
    ensure!(told["alert"] == POTASSIUM, "the practice is told {told}");
    let refused = "select count(*) from access.audit where actor = 'gp.riverside' and action = 'view-alerts'
        and decision = 'refuse' and source = 'stmarys' and patient = '45'";
    ensure!(doors.count(refused).await? >= 1, "what is kept back is audited");
    // Lifted, it is told: nothing but the mark kept it back.
    let mark = "update record.observation set confidential = $1 where source = 'stmarys' and record = 'result/9'";
    let client = doors.region.pool.get().await?;
    client.execute(mark, &[&false]).await?;
    tell(doors, 22, KEPT_BACK, AlertChange::Seen, &both).await?;
    let told = at_gp.next("alert").await;
    client.execute(mark, &[&true]).await?;
    let (_, told) = told?.context("after the mark")?;
    ensure!(told["alert"] == KEPT_BACK, "{told}");
    Ok(())
}

const READERS: usize = 40;

/// One change, many readers: few transactions, and a row for each of them.
pub async fn readers_are_told_together_and_audited_apart(doors: &Doors<'_>) -> anyhow::Result<()> {
    let ed = doors.token("ed.stmarys").await?;
    let mut streams = Vec::new();
    for _ in 0..READERS {
        streams.push(Stream::open(doors, &ed, None).await?);
    }
    let before = doors.count("select coalesce(max(id), 0) from access.audit").await?;
    tell(doors, 30, POTASSIUM, AlertChange::Seen, &["stmarys-ed"]).await?;
    for stream in &mut streams {
        let (_, told) = stream.next("alert").await?.context("told")?;
        ensure!(told["alert"] == POTASSIUM, "{told}");
    }
    let of = |what: &str| {
        format!(
            "select {what} from access.audit where id > {before} and action = 'view-alerts' and decision = 'allow'
             and actor = 'ed.stmarys' and source = 'stmarys' and patient = '42'"
        )
    };
    let readers = doors.count(&of("count(distinct request_id)")).await?;
    ensure!(readers == i64::try_from(READERS)?, "{readers} of {READERS} readers are in the audit");
    let transactions = doors.count(&of("count(distinct xmin::text)")).await?;
    ensure!(transactions <= readers / 2, "{transactions} transactions for {readers} readers");
    Ok(())
}

/// Every connection that streams have is taken.
pub async fn pages_answer_while_streams_wait(doors: &Doors<'_>) -> anyhow::Result<()> {
    let token = doors.token("ed.stmarys").await?;
    let streams = &doors.region.pools.streams;
    let mut held = Vec::new();
    for _ in 0..streams.status().max_size {
        held.push(streams.get().await?);
    }
    let waits = tokio::time::timeout(Duration::from_millis(500), streams.get()).await;
    ensure!(waits.is_err(), "there is a connection for streams left");
    for path in ["/inbox", "/patients", &format!("/patients/{DAVID}"), &format!("/fhir/Patient/{DAVID}")] {
        let (status, _) = doors.get(&token, path).await?;
        ensure!(status == StatusCode::OK, "{path}: {status}");
    }
    // A stream waits, is told to come again, and comes again.
    let answer = doors.client.get(format!("{}/events", doors.region.url)).bearer_auth(&token).send().await?;
    ensure!(answer.status() == StatusCode::SERVICE_UNAVAILABLE, "{}", answer.status());
    ensure!(answer.headers().contains_key("retry-after"), "when to come again is not said");
    held.clear();
    drop(Stream::open(doors, &token, None).await?);
    Ok(())
}
