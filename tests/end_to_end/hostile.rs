//! Rows that real systems write and nobody wants: each is shown, as its source wrote it and marked, or it is in the
//! quarantine. No service stops, and the operator is told where to look.

use super::region::{Shared, shared, until};
use anyhow::{Context, ensure};
use jiff::Timestamp;
use proof::{alerts, topic, views};
use region::{history, hostile, hostile::Bad, story};
use serde_json::Value;
use tokio_postgres::Client;

/// Where a bad row has to be found again.
enum Found {
    /// In this table of the record, under this name, and this holds of it.
    Shown(&'static str, &'static str, &'static str),
    /// In the quarantine, for this reason.
    Waits(&'static str),
}

const NO_NUMBER: &str = "number is null and canonical_number is null and unchecked is not null";
const NO_UNIT: &str = "number is not null and canonical_number is null and unchecked is not null";

#[rustfmt::skip] // a table
const GP: &[(&str, Found)] = &[
    ("unit Banana", Found::Shown("observation", "observation", "unit = 'Banana' and number is not null and canonical_number is null and unchecked is not null")),
    ("no unit", Found::Shown("observation", "observation", NO_UNIT)),
    ("words for a number", Found::Shown("observation", "observation", "value_text = 'see comment' and number is null and unchecked is not null")),
    ("unknown code", Found::Shown("observation", "observation", "code = '99999999' and snomed is null and loinc is null")),
    ("date in the future", Found::Shown("observation", "observation", "effective_at > now() + interval '2 years'")),
    ("patient that does not exist", Found::Waits("missing patient")),
    ("no patient", Found::Waits("missing patient")),
    ("NaN", Found::Shown("observation", "observation", NO_NUMBER)),
    ("date at infinity", Found::Shown("observation", "observation", "effective_at is null")),
    ("date before Christ", Found::Shown("observation", "observation", "effective_at is null or effective_at < '0001-01-01'")),
    ("1 MB of text", Found::Shown("observation", "observation", "length(comment) > 1000000")),
    ("wrong check digit", Found::Shown("patient", "patient", "nhs_number is null and nhs_number_text is not null")),
    ("one digit ten times", Found::Shown("patient", "patient", "nhs_number is null and nhs_number_text = '9999999999'")),
    ("words for an NHS number", Found::Shown("patient", "patient", "nhs_number is null and nhs_number_text = 'not known'")),
    ("another's NHS number", Found::Shown("patient", "patient", "nhs_number is not null")),
    ("no NHS number but verified", Found::Shown("patient", "patient", "nhs_number is null and nhs_number_verified is not true")),
];

#[rustfmt::skip] // a table
const HOSPITAL: &[(&str, Found)] = &[
    ("unit Banana", Found::Shown("observation", "result", "unit = 'Banana' and number is not null and canonical_number is null and unchecked is not null")),
    ("NaN", Found::Shown("observation", "result", NO_NUMBER)),
    ("infinity", Found::Shown("observation", "result", NO_NUMBER)),
    ("comma for a point", Found::Shown("observation", "result", NO_NUMBER)),
    ("comparator in the text", Found::Shown("observation", "result", "comparator = '>' and number = 6.0")),
    ("words for a number", Found::Shown("observation", "result", "value_text = 'Haemolysed' and number is null and unchecked is not null")),
    ("empty value", Found::Shown("observation", "result", "number is null")),
    ("no value", Found::Shown("observation", "result", "number is null")),
    ("unknown test", Found::Shown("observation", "result", "code_text = 'ZZUNKNOWN' and snomed is null and loinc is null")),
    ("person that does not exist", Found::Waits("missing patient")),
    ("date in the future", Found::Shown("observation", "result", "effective_at > now() + interval '300 days'")),
    ("no chain", Found::Waits("missing patient")),
    ("two units at once", Found::Shown("observation", "result", NO_UNIT)),
    ("large comment", Found::Shown("observation", "result", "length(comment) = 1048576")),
];

#[tokio::test(flavor = "multi_thread")]
async fn hostile_rows_are_shown_marked_or_quarantined() -> anyhow::Result<()> {
    let mut shared = shared().await?;
    let (gp, hospital) = (shared.running.source("riverside").await?, shared.running.source("stmarys").await?);
    let own = shared.running.own().await?;
    // Others came with the snapshot; these stream.
    let gp_after = hostile::gp_rows(&gp, shared.seed, shared.known, Timestamp::now()).await?;
    let hospital_after = hostile::hospital_rows(&hospital, shared.seed, shared.known, Timestamp::now()).await?;
    compare_views(&gp, &hospital, &own).await?;
    let waiting = quarantined(&shared).await?;
    let mut wrong = Vec::new();
    for bad in shared.gp_before.iter().chain(&gp_after) {
        wrong.extend(look(&own, "riverside", GP, bad, &waiting).await?);
    }
    for bad in shared.hospital_before.iter().chain(&hospital_after) {
        wrong.extend(look(&own, "stmarys", HOSPITAL, bad, &waiting).await?);
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    no_link_by_a_stolen_number(&own, shared.gp_before.iter().chain(&gp_after)).await?;
    compare_alerts(&shared, &gp, &hospital, &own).await?;
    the_operator_sees_where(&shared).await?;
    shared.all_well().await
}

async fn compare_views(gp: &Client, hospital: &Client, own: &Client) -> anyhow::Result<()> {
    let mut last = views::ViewsComparison::default();
    let equal = until("the record equals the sources", async || {
        last = views::compare(gp, hospital, own).await?;
        Ok(last.equal().then_some(()))
    })
    .await;
    equal.with_context(|| format!("{last:?}"))
}

async fn compare_alerts(shared: &Shared, gp: &Client, hospital: &Client, own: &Client) -> anyhow::Result<()> {
    let rules = alerts::Rules::read(&stack::repository().join("site/alerts.toml"))?;
    let mut last = alerts::AlertsComparison::default();
    let exact = until("each alert stands once", async || {
        last = alerts::compare(gp, hospital, own, &rules, shared.running.live_since).await?;
        Ok(last.exact().then_some(()))
    })
    .await;
    exact.with_context(|| format!("{last:?}"))
}

/// What is wrong with where a bad row is; nothing if it is where it should be.
async fn look(
    own: &Client,
    source: &str,
    cases: &[(&str, Found)],
    bad: &Bad,
    waiting: &[Value],
) -> anyhow::Result<Option<String>> {
    let what = bad.what;
    let case = cases
        .iter()
        .find(|(name, _)| *name == what)
        .with_context(|| format!("{source}: nobody says where `{what}` goes"))?;
    match case.1 {
        Found::Shown(table, name, holds) => {
            let sql = format!(
                "select count(*), count(*) filter (where {holds}) from record.{table} where source = $1 and record = $2 and not retracted"
            );
            let row = own.query_one(&sql, &[&source, &format!("{name}/{}", bad.key)]).await?;
            let (there, right): (i64, i64) = (row.get(0), row.get(1));
            let told = match (there, right) {
                (1, 1) => return Ok(None),
                (1, _) => "is shown, but not as it should be",
                (0, _) => "is not in the record",
                _ => "is in the record more than once",
            };
            Ok(Some(format!("{source}: `{what}` {told}")))
        }
        Found::Waits(reason) => {
            let holds =
                |row: &Value| row.as_object().is_some_and(|row| row.values().any(|value| plain(value) == bad.key));
            let item = waiting
                .iter()
                .find(|item| item["source"] == source && item["table"] == bad.table && holds(&item["row"]));
            Ok(match item {
                None => Some(format!("{source}: `{what}` is not in the quarantine")),
                Some(item) if item["reason"] != reason => {
                    Some(format!("{source}: `{what}` is quarantined for {}", item["reason"]))
                }
                Some(_) => None,
            })
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The quarantine's items, each with the row it holds.
async fn quarantined(shared: &Shared) -> anyhow::Result<Vec<Value>> {
    let brokers = shared.running.region.kafka.brokers().to_owned();
    let text = std::fs::read_to_string(stack::repository().join("schemas/quarantined.avsc"))?;
    tokio::task::spawn_blocking(move || {
        let schema = apache_avro::Schema::parse_str(&text)?;
        let mut items = Vec::new();
        topic::read(&brokers, "quarantine", |message| {
            // Another test of this group leaves foreign messages here.
            let payload = rdkafka::Message::payload(message).and_then(topic::unframe);
            let Some(datum) = payload.and_then(|(_, datum)| topic::decode(&schema, datum).ok()) else { return Ok(()) };
            items.push(item(datum)?);
            Ok(())
        })?;
        Ok(items)
    })
    .await?
}

fn item(datum: apache_avro::types::Value) -> anyhow::Result<Value> {
    let apache_avro::types::Value::Record(fields) = &datum else { anyhow::bail!("no record") };
    let original = fields.iter().find(|(name, _)| name == "original").map(|(_, value)| value.clone());
    let row = match original {
        Some(apache_avro::types::Value::Union(_, bytes)) => match *bytes {
            apache_avro::types::Value::Bytes(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            _ => Value::Null,
        },
        _ => Value::Null,
    };
    let mut item: Value = datum.try_into()?;
    item["row"] = row;
    Ok(item)
}

/// A number that somebody else holds, with another date of birth, links nobody to them.
async fn no_link_by_a_stolen_number(own: &Client, bad: impl Iterator<Item = &Bad>) -> anyhow::Result<()> {
    let sql = "select count(*) from record.link a, record.link b
               where a.source = 'riverside' and a.patient = $1 and b.source = 'riverside' and b.patient = $2 and a.person = b.person";
    for thief in bad.filter(|bad| bad.what == "another's NHS number") {
        let owner = history::gp_patient(0).to_string();
        let shared: i64 = own.query_one(sql, &[&thief.key, &owner]).await?.get(0);
        ensure!(shared == 0, "a stolen NHS number made two people one");
    }
    Ok(())
}

/// `causeway quarantine list` names table, reason and position, and no values.
async fn the_operator_sees_where(shared: &Shared) -> anyhow::Result<()> {
    let listed = shared.ask(&["quarantine", "list"], &["--limit", "1000"]).await?;
    let rows = listed.as_array().context("not a list")?;
    let missing = |row: &&Value| {
        row["reason"] == "missing patient" && row["table"] == "lims.result" && row["position"].is_string()
    };
    ensure!(rows.iter().filter(missing).count() >= 4, "the operator does not see the rows without a patient");
    let text = listed.to_string();
    for value in [hostile::MISSING_PATIENT.to_string(), hostile::MISSING_PERSON.to_string()] {
        ensure!(!text.contains(&value), "the list shows values of rows");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_dropped_mid_stream_is_told_and_stops_nothing() -> anyhow::Result<()> {
    let mut shared = shared().await?;
    let (gp, own) = (shared.running.source("riverside").await?, shared.running.own().await?);
    let told = "select count(*) from record.quarantine where source = 'riverside' and source_table = 'emis.observation'
                and reason = 'missing column' and not closed";
    let before: i64 = own.query_one(told, &[]).await?.get(0);
    hostile::drop_column(&gp).await?;
    let now = Timestamp::now();
    let bloods = story::monday_bloods(&gp, now, now).await?;
    let record = format!("observation/{}", bloods.potassium);
    until("what is written after the drop is in the record", async || {
        let sql = "select from record.observation where source = 'riverside' and record = $1 and number = 5.2";
        Ok(own.query_opt(sql, &[&record]).await?.map(drop))
    })
    .await?;
    until("the operator is told of the column", async || {
        Ok((own.query_one(told, &[]).await?.get::<_, i64>(0) > before).then_some(()))
    })
    .await?;
    // Other tests want the column back; that it comes back is one more change of the schema.
    gp.batch_execute("alter table emis.observation add column ucum_code varchar(50)").await?;
    let later = Timestamp::now();
    let bloods = story::monday_bloods(&gp, later, later).await?;
    let record = format!("observation/{}", bloods.potassium);
    until("what is written after the column came back is in the record", async || {
        let sql = "select from record.observation where source = 'riverside' and record = $1";
        Ok(own.query_opt(sql, &[&record]).await?.map(drop))
    })
    .await?;
    until("the operator is told that it is over", async || {
        Ok((own.query_one(told, &[]).await?.get::<_, i64>(0) == before).then_some(()))
    })
    .await?;
    shared.all_well().await
}
