//! Foreign and malformed messages on the topics: quarantined with the offset they were read from, and everything goes on,
//! also over a restart of every service.

use super::region::{shared, until};
use anyhow::Context;
use apache_avro::types::Value;
use jiff::Timestamp;
use proof::{running::http, topic};
use rdkafka::{
    ClientConfig, Message,
    producer::{FutureProducer, FutureRecord},
};
use region::story;
use std::{collections::BTreeSet, time::Duration};

const SEND_WAIT_MAX: Duration = Duration::from_secs(10);

type Place = (String, i32, i64);

/// A registered schema's frame around these bytes.
fn framed(id: u32, datum: &[u8]) -> Vec<u8> {
    [&[0_u8][..], &id.to_be_bytes(), datum].concat()
}

async fn schema_of(registry: &str, subject: &str) -> anyhow::Result<u32> {
    let url = format!("{registry}/subjects/{subject}/versions/latest");
    let answer: serde_json::Value = http().get(url).send().await?.error_for_status()?.json().await?;
    u32::try_from(answer["id"].as_u64().context("no id")?).context("an id out of range")
}

async fn send(producer: &FutureProducer, topic: &str, key: &str, payload: &[u8]) -> anyhow::Result<Place> {
    let record = FutureRecord::to(topic).key(key).payload(payload);
    let sent = producer.send(record, SEND_WAIT_MAX).await.map_err(|(error, _)| error)?;
    Ok((topic.to_owned(), sent.partition, sent.offset))
}

/// Topic, partition and offset that the items of the quarantine name.
async fn quarantined(brokers: &str) -> anyhow::Result<BTreeSet<Place>> {
    let brokers = brokers.to_owned();
    let text = std::fs::read_to_string(stack::repository().join("schemas/quarantined.avsc"))?;
    tokio::task::spawn_blocking(move || {
        let schema = apache_avro::Schema::parse_str(&text)?;
        let mut places = BTreeSet::new();
        topic::read(&brokers, "quarantine", |message| {
            let datum =
                message.payload().and_then(topic::unframe).and_then(|(_, datum)| topic::decode(&schema, datum).ok());
            places.extend(datum.as_ref().and_then(place));
            Ok(())
        })?;
        Ok(places)
    })
    .await?
}

fn place(datum: &Value) -> Option<Place> {
    let Value::Record(fields) = datum else { return None };
    let field = |name: &str| match &fields.iter().find(|(field, _)| field == name)?.1 {
        Value::Union(_, value) => Some((**value).clone()),
        _ => None,
    };
    match (field("topic")?, field("partition")?, field("offset")?) {
        (Value::String(topic), Value::Int(partition), Value::Long(offset)) => Some((topic, partition, offset)),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_not_ours_are_quarantined_with_their_offset() -> anyhow::Result<()> {
    let mut shared = shared().await?;
    let brokers = shared.running.region.kafka.brokers().to_owned();
    let registry = shared.running.region.registry.url();
    let own = shared.running.own().await?;
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", &brokers).set("partitioner", "murmur2_random").create()?;
    let (event, link) =
        (schema_of(&registry, "patient.events-value").await?, schema_of(&registry, "person.links-value").await?);
    let quarantine = schema_of(&registry, "quarantine-value").await?;
    let malformed: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    let mut places = BTreeSet::new();
    for (topic, payload) in [
        ("changes.riverside", b"not ours".to_vec()),
        ("changes.stmarys", framed(event, malformed)),
        ("patient.events", b"{\"json\": true}".to_vec()),
        ("patient.events", framed(event, malformed)),
        ("patient.events", framed(link, malformed)),
        ("patient.events", framed(u32::MAX, b"")),
        ("patient.events", framed(i32::MAX.cast_unsigned(), b"")),
        ("patient.events", Vec::new()),
        ("person.links", framed(link, malformed)),
    ] {
        places.insert(send(&producer, topic, "foreign", &payload).await?);
    }
    let mut own_places = BTreeSet::new();
    for payload in [b"not ours".to_vec(), framed(quarantine, malformed)] {
        let (_, partition, offset) = send(&producer, "quarantine", "foreign", &payload).await?;
        own_places.insert((partition, offset));
    }
    send(&producer, "patient.alerts", "foreign", b"not ours").await?;

    let mut missing = Vec::new();
    let all = until("each foreign message is in the quarantine", async || {
        let found = quarantined(&brokers).await?;
        missing = places.difference(&found).cloned().collect();
        Ok(missing.is_empty().then_some(()))
    })
    .await;
    all.with_context(|| format!("not quarantined: {missing:?}"))?;
    until("foreign messages on the quarantine are told with their offset", async || {
        let rows =
            own.query("select topic_partition, topic_offset from record.quarantine where stage = 'views'", &[]).await?;
        let told: BTreeSet<(i32, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        Ok(own_places.is_subset(&told).then_some(()))
    })
    .await?;
    shared.all_well().await?;

    // Whoever starts again has to get past them too.
    for (name, _) in proof::running::PROCESSES {
        let process = shared.running.process(name)?;
        process.kill_9()?;
        process.launch()?;
    }
    shared.running.wait_live(|_, _| {}).await?;
    let gp = shared.running.source("riverside").await?;
    let now = Timestamp::now();
    let bloods = story::monday_bloods(&gp, now, now).await?;
    let record = format!("observation/{}", bloods.sodium);
    until("what is written after them is in the record", async || {
        let sql = "select from record.observation where source = 'riverside' and record = $1";
        Ok(own.query_opt(sql, &[&record]).await?.map(drop))
    })
    .await
}
