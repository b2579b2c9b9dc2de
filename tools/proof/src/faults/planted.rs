//! The oracle itself: a loss and a repetition that were put there are seen.

use super::yard::Yard;
use crate::report::Report;
use anyhow::Context;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::{Headers as _, OwnedMessage},
    producer::{BaseRecord, Producer, ThreadedProducer},
};
use std::time::Duration;

const ROWS: u64 = 50;
const CALM: Duration = Duration::from_secs(10);

pub async fn run(yard: &mut Yard, report: &mut Report) -> anyhow::Result<()> {
    let mut source = yard.source(ROWS).await?;
    let mut connector = source.ready_connector().await?;
    let publication = format!("causeway_{}", source.name);
    let insert = |note: &str| format!("insert into yard.row values (nextval('yard.ids'), 0, '{note}')");
    yard.database.execute(&source.name, &insert("seen")).await?;
    yard.settle(&source, &mut connector).await?;
    let clean = yard.verdict(&mut source).await?;
    report.check("nothing_planted_nothing_found", clean.ok() && clean.committed > 0, &clean.text());
    // Committed, and never sent to the connector. In one transaction, and without touching the table's membership: whoever looks
    // at the publication finds it as it was, and has no reason to read the table again.
    let publishes = |what: &str| format!("alter publication {publication} set (publish = '{what}')");
    let (none, all) = (publishes("update, delete, truncate"), publishes("insert, update, delete, truncate"));
    let client = yard.database.connect(&source.name).await?;
    client.batch_execute(&format!("begin; {none}; {}; {all}; commit", insert("hidden"))).await?;
    client.batch_execute(&insert("seen, too")).await?;
    yard.settle(&source, &mut connector).await?;
    let loss = yard.verdict(&mut source).await?;
    report.check("a_planted_loss_is_found", loss.lost == 1 && loss.wrong_rows == 1, &loss.text());
    connector.stop().await?;
    let (brokers, topic) = (yard.kafka.brokers().to_owned(), format!("changes.{}", source.name));
    tokio::task::spawn_blocking(move || repeat_last(&brokers, &topic)).await??;
    let twice = yard.verdict(&mut source).await?;
    report.check("a_planted_repetition_is_found", twice.duplicated == 1 && twice.holes > 0, &twice.text());
    Ok(())
}

/// Writes the last change once more, as it is.
fn repeat_last(brokers: &str, topic: &str) -> anyhow::Result<()> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", "planted").create()?;
    let (_, high) = consumer.fetch_watermarks(topic, 0, CALM)?;
    let mut last: Option<OwnedMessage> = None;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&assignment)?;
    while let Some(message) = consumer.poll(CALM) {
        let message = message?;
        let change =
            message.headers().is_some_and(|headers| headers.iter().any(|header| header.value == Some(b"change")));
        if change {
            last = Some(message.detach());
        }
        if message.offset() + 1 >= high {
            break;
        }
    }
    let last = last.context("no change in the log")?;
    let producer: ThreadedProducer<rdkafka::producer::DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(0);
    record = record.key(last.key().unwrap_or_default()).payload(last.payload().unwrap_or_default());
    if let Some(headers) = last.headers() {
        record = record.headers(headers.clone());
    }
    producer.send(record).map_err(|(error, _)| error)?;
    Ok(producer.flush(CALM)?)
}
