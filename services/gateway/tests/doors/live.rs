//! What an open page tells: which sources are behind, and that it is not its reader.

use super::{DAVID, Doors, PATIENCE, POTASSIUM, Stream};
use anyhow::ensure;
use change_log::told::{self, Told};
use rdkafka::producer::{FutureProducer, FutureRecord};
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
    ensure!(doors.get(&token, &format!("/inbox/{POTASSIUM}")).await?.0.is_success());
    ensure!(doors.count(used).await? == 0, "what the page does by itself is taken for its reader");
    doors.get(&token, "/inbox").await?;
    ensure!(doors.count(used).await? == 1, "and a reader is not");
    Ok(())
}
