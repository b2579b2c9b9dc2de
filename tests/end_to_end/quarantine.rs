//! Items of the quarantine that an operator closes by hand: the page counts them no more, and the audit says who and why.

use super::region::{Shared, shared, until};
use anyhow::{Context, ensure};
use event::{Quarantined, avro};
use jiff::{Timestamp, ToSpan};
use proof::{access::Visitor, running::http};
use rdkafka::{
    ClientConfig,
    producer::{FutureProducer, FutureRecord},
};
use region::story;
use serde_json::Value;
use std::time::Duration;
use tokio_postgres::Client;

const SOURCE: &str = "riverside";
const READER: &str = "gp.riverside";
const REASON: &str = "the database refuses the row";
/// The page says so while an item of the patient is open.
const NOTICE: &str = "Incomplete record";
const SEND_WAIT_MAX: Duration = Duration::from_secs(10);

/// A patient of the practice whose page shows everything, once such a page is there.
async fn complete(own: &Client, reader: &Visitor) -> anyhow::Result<Option<(String, String)>> {
    let sql = "select patient, person::text from record.link join record.patient using (source, patient)
        where source = $1 and status <> 'held' and not retracted order by 1";
    for row in own.query(sql, &[&SOURCE]).await? {
        let (patient, page): (String, String) = (row.get(0), format!("/patients/{}", row.get::<_, String>(1)));
        let answer = reader.get(&page).await?;
        if answer.status == 200 && !answer.text.contains(NOTICE) {
            return Ok(Some((patient, page)));
        }
    }
    Ok(None)
}

/// Two items of one patient that nothing but their offsets tells apart.
async fn set_aside(shared: &Shared, patient: &str) -> anyhow::Result<()> {
    let region = &shared.running.region;
    let url = format!("{}/subjects/quarantine-value/versions/latest", region.registry.url());
    let answer: Value = http().get(url).send().await?.error_for_status()?.json().await?;
    let schema = u32::try_from(answer["id"].as_u64().context("no id")?)?;
    let item = Quarantined {
        source: SOURCE.into(),
        stage: "views".into(),
        reason: REASON.into(),
        patient: Some(patient.to_owned()),
        original: Some(b"a row".to_vec()),
        ..Quarantined::default()
    };
    let mut frame = Vec::new();
    change_log::frame::start(schema, &mut frame);
    avro::encode_quarantined(&item, &mut frame);
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", region.kafka.brokers()).create()?;
    for _ in 0..2 {
        let sent = producer.send(FutureRecord::to("quarantine").key("").payload(&frame), SEND_WAIT_MAX).await;
        sent.map_err(|(error, _)| error)?;
    }
    Ok(())
}

async fn refused(shared: &Shared, options: &[&str], want: &str) -> anyhow::Result<()> {
    let error = shared.ask(&["quarantine", "resolve"], options).await.err().context("it was not refused")?;
    ensure!(format!("{error:#}").contains(want), "`{want}` is not said: {error:#}");
    Ok(())
}

fn offsets(rows: &Value) -> Vec<String> {
    rows.as_array().into_iter().flatten().map(|row| row["offset"].to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_is_closed_by_hand_is_counted_no_more() -> anyhow::Result<()> {
    let shared = shared().await?;
    let own = shared.running.own().await?;
    let password = shared.running.passwords.get(READER).context("no password")?;
    let reader = Visitor::sign_in(&shared.running.gateway, READER, password).await?;
    let (patient, page) = until("a page that is complete", async || complete(&own, &reader).await).await?;
    let shown = async |open: i64| {
        until(&format!("the page counts {open} items"), async || {
            let answer = reader.get(&page).await?;
            let words = if open > 0 { format!("{open} of this patient") } else { "none of this patient".to_owned() };
            let so = answer.text.contains(&words) && answer.text.contains(NOTICE) == (open > 0);
            Ok(so.then_some(()))
        })
        .await
    };
    let of_patient = ["--source", SOURCE, "--patient", &patient];
    set_aside(&shared, &patient).await?;
    shown(2).await?;
    let listed = shared.ask(&["quarantine", "list"], &of_patient).await?;
    let [first, second] = &offsets(&listed)[..] else { anyhow::bail!("two items are not listed: {listed}") };

    let done = shared.ask(&["quarantine", "resolve"], &[first, "--reason", "typed in by hand"]).await?;
    ensure!(done["closed"] == true && offsets(&done["items"]).join(" ") == *first, "{done}");
    shown(1).await?;
    let matching = [&["--all-matching", "--item-reason", REASON, "--reason", "a duplicate"][..], &of_patient].concat();
    let asked = shared.ask(&["quarantine", "drop"], &matching).await?;
    ensure!(asked["closed"] == false && offsets(&asked["items"]).join(" ") == *second, "without --yes: {asked}");
    ensure!(offsets(&shared.ask(&["quarantine", "list"], &of_patient).await?).join(" ") == *second);
    let dropped = shared.ask(&["quarantine", "drop"], &[&matching[..], &["--yes"]].concat()).await?;
    ensure!(dropped["closed"] == true, "{dropped}");
    shown(0).await?;

    let all = shared.ask(&["quarantine", "list"], &[&of_patient[..], &["--all"]].concat()).await?;
    ensure!((&all[0]["state"], &all[1]["state"]) == (&"resolved".into(), &"dropped".into()), "{all}");
    ensure!(shared.ask(&["quarantine", "show"], &[second]).await?["state"] == "dropped");
    let why = ["--reason", "a test"];
    refused(&shared, &[&[first.as_str()][..], &why].concat(), &format!("offset {first} is resolved already")).await?;
    refused(&shared, &[&["99999999"][..], &why].concat(), "there is no item at offset 99999999").await?;
    refused(&shared, &[&["--all-matching", "--yes"][..], &why].concat(), "--all-matching needs a filter").await?;
    refused(&shared, &[first, "--reason", " "], "--reason must say why").await?;
    let kept = shared.ask(&["quarantine", "list"], &["--item-reason", "missing patient", "--limit", "1"]).await?;
    let kept = offsets(&kept).pop().context("no item that its source keeps")?;
    refused(&shared, &[&[kept.as_str()][..], &why].concat(), "is kept by its source").await?;

    let sql = "select action, reason from access.audit where source = $1 and patient = $2
        and action like 'quarantine-item-%' order by id";
    let audited = own.query(sql, &[&SOURCE, &patient]).await?;
    let audited: Vec<(String, String)> = audited.iter().map(|row| (row.get(0), row.get(1))).collect();
    let want = [("quarantine-item-resolved", "typed in by hand"), ("quarantine-item-dropped", "a duplicate")];
    let want = want.map(|(action, reason)| (action.to_owned(), reason.to_owned()));
    ensure!(audited == want, "{audited:?}");
    Ok(())
}

/// A result that the database refuses, as a column of a view may that was made too narrow.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_refused_is_in_the_record_once_it_is_tried_again() -> anyhow::Result<()> {
    let shared = shared().await?;
    let (own, gp) = (shared.running.own().await?, shared.running.source(SOURCE).await?);
    let now = Timestamp::now();
    let taken = now - 90.minutes();
    let refuse = format!(
        "alter table record.observation add constraint refused_by_a_test check
            (source <> '{SOURCE}' or effective_at <> timestamptz '{taken}') not valid"
    );
    own.batch_execute(&refuse).await?;
    let bloods = story::monday_bloods(&gp, taken, now).await?;
    // Of what was told first and of what was told last, the last counts.
    let worse = format!("update emis.observation set numeric_value = 119 where observation_id = '{}'", bloods.sodium);
    gp.batch_execute(&worse).await?;
    let records: Vec<String> =
        [bloods.sodium, bloods.potassium, bloods.creatinine].map(|id| format!("observation/{id}")).into();
    let of_these = ["--source", SOURCE, "--item-reason", REASON];
    let matching = [&["--all-matching", "--reason", "the column is mended"][..], &of_these].concat();
    let waiting = until("the results are in quarantine", async || {
        let told = shared.ask(&["quarantine", "replay"], &matching).await?;
        Ok((offsets(&told["items"]).len() > records.len()).then_some(told))
    })
    .await?;
    ensure!(waiting["tried"] == false, "without --yes: {waiting}");
    let one = &offsets(&waiting["items"])[0];
    let early = shared.ask(&["quarantine", "replay"], &[one, "--reason", "too early"]).await;
    ensure!(early.is_err_and(|error| format!("{error:#}").contains("1 items stay open")), "it is refused still");

    own.batch_execute("alter table record.observation drop constraint refused_by_a_test").await?;
    let there = async |wanted: &[String]| -> anyhow::Result<i64> {
        let sql = "select count(*) from record.observation where source = $1 and record = any($2)";
        Ok(own.query_one(sql, &[&SOURCE, &wanted]).await?.get(0))
    };
    ensure!(there(&records).await? == 0, "nobody has tried again");
    let done = shared.ask(&["quarantine", "replay"], &[&matching[..], &["--yes"]].concat()).await?;
    let outcomes: Vec<&Value> = done["items"].as_array().into_iter().flatten().map(|item| &item["outcome"]).collect();
    ensure!(outcomes.iter().all(|outcome| *outcome == "in the record"), "{done}");
    ensure!(there(&records).await? == 3, "{done}");
    let raised = "select from alert.alert where source = $1 and record = $2";
    ensure!(!own.query(raised, &[&SOURCE, &records[0]]).await?.is_empty(), "a critical sodium");
    until("the items are closed", async || {
        let left = shared.ask(&["quarantine", "list"], &["--source", SOURCE, "--reason", REASON]).await?;
        Ok(offsets(&left).is_empty().then_some(()))
    })
    .await?;

    // What its source keeps is looked at by its source.
    let kept = shared.ask(&["quarantine", "list"], &["--reason", "missing patient", "--limit", "1"]).await?;
    let kept = offsets(&kept).pop().context("no item that its source keeps")?;
    let asked = shared.ask(&["quarantine", "replay"], &[&kept, "--reason", "is it mended?"]).await?;
    let outcome = asked["items"][0]["outcome"].as_str().unwrap_or_default();
    ensure!(outcome.contains("looks at all its rows again"), "{asked}");
    let sql = "select count(*) from access.audit where action = 'quarantine-item-replayed'";
    ensure!(own.query_one(sql, &[]).await?.get::<_, i64>(0) >= 5, "each is audited");
    Ok(())
}
