//! Empties the audit outbox onto the topic `audit`.
//!
//! # Why
//! The entry is in PostgreSQL before the reader has an answer; Kafka may be away without anybody being kept from a record.
//! An entry leaves the outbox only after Kafka has acknowledged it, so a crash repeats some, with the same id.

use crate::{GatewayError, record::micros};
use boot::Stop;
use change_log::{KafkaSettings, Kept, Registry, TopicSpec, frame};
use deadpool_postgres::Pool;
use rdkafka::{
    config::ClientConfig,
    producer::{FutureProducer, FutureRecord},
};
use std::time::Duration;
use tokio_postgres::Row;

pub const SCHEMA: &str = include_str!("../../../schemas/audit_entry.avsc");
pub const TOPIC: &str = "audit";
/// Entries taken out of the outbox at once.
pub const BATCH_ENTRIES_MAX: i64 = 500;
const IDLE: Duration = Duration::from_millis(500);
const BACKOFF: Duration = Duration::from_secs(2);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(15);
/// One gateway delivers at a time, so that entries of one actor keep their order.
const DELIVERY_LOCK: i64 = 0x6761_7465_7761_7902;

/// Runs until the stop signal; whatever is away is tried again.
pub async fn run(kafka: KafkaSettings, registry: Registry, pool: Pool, stop: Stop, part: boot::health::Part) {
    let mut told = false;
    loop {
        match deliver(&kafka, &registry, &pool, &stop, &part, &mut told).await {
            Ok(()) => return,
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "audit entries wait in the outbox");
                }
                part.not_ready(error.to_string());
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(BACKOFF) => {}
        }
    }
}

async fn deliver(
    kafka: &KafkaSettings,
    registry: &Registry,
    pool: &Pool,
    stop: &Stop,
    part: &boot::health::Part,
    told: &mut bool,
) -> Result<(), GatewayError> {
    change_log::topics::ensure(kafka, &[TopicSpec::new(TOPIC, 1, Kept::Forever)]).await?;
    let topic = kafka.topic(TOPIC);
    let schema = registry.register(&format!("{topic}-value"), SCHEMA).await?;
    let producer = producer(kafka)?;
    loop {
        let sent = batch(pool, &producer, &topic, schema).await?;
        part.ready();
        *told = false;
        if sent < BATCH_ENTRIES_MAX as usize {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(IDLE) => {}
            }
        }
    }
}

fn producer(kafka: &KafkaSettings) -> Result<FutureProducer, GatewayError> {
    let mut client: ClientConfig = kafka.client();
    client.set("enable.idempotence", "true").set("linger.ms", "5").set("compression.type", "gzip");
    client.set("message.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string());
    Ok(client.create()?)
}

async fn batch(pool: &Pool, producer: &FutureProducer, topic: &str, schema: u32) -> Result<usize, GatewayError> {
    let mut client = pool.get().await?;
    let transaction = client.transaction().await?;
    if !transaction.query_one("select pg_try_advisory_xact_lock($1)", &[&DELIVERY_LOCK]).await?.get::<_, bool>(0) {
        return Ok(0);
    }
    let sql = format!(
        "select o.id, a.id, {}, a.request_id, a.actor, a.role, a.action, a.decision, a.why, a.organisation, a.source,
            a.patient, a.person::text, a.reason, a.withheld
         from access.outbox o join access.audit a on a.id = o.audit order by o.id limit {BATCH_ENTRIES_MAX}",
        micros("a.at")
    );
    let rows = transaction.query(&sql, &[]).await?;
    let entries: Vec<(i64, String, Vec<u8>)> =
        rows.iter().map(|row| (row.get(0), row.get(4), frame::wrap(schema, &encode(&Entry::of(row))))).collect();
    let sends = entries
        .iter()
        .map(|(_, actor, value)| producer.send(FutureRecord::to(topic).key(actor).payload(value), DELIVERY_TIMEOUT));
    for sent in futures_util::future::join_all(sends).await {
        sent.map_err(|(error, _)| GatewayError::Kafka(error))?;
    }
    let ids: Vec<i64> = entries.iter().map(|(id, ..)| *id).collect();
    transaction.execute("delete from access.outbox where id = any($1)", &[&ids]).await?;
    transaction.commit().await?;
    Ok(entries.len())
}

struct Entry {
    id: i64,
    at: i64,
    /// request id, actor, role, action
    words: [String; 4],
    allow: bool,
    why: String,
    /// organisation, source, patient, person, reason
    optional: [Option<String>; 5],
    withheld: bool,
}

impl Entry {
    fn of(row: &Row) -> Self {
        Self {
            id: row.get(1),
            at: row.get(2),
            words: [row.get(3), row.get(4), row.get(5), row.get(6)],
            allow: row.get::<_, &str>(7) == "allow",
            why: row.get(8),
            optional: [row.get(9), row.get(10), row.get(11), row.get(12), row.get(13)],
            withheld: row.get(14),
        }
    }
}

/// The Avro datum of `schemas/audit_entry.avsc`.
fn encode(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    long(&mut out, entry.id);
    long(&mut out, entry.at);
    for word in &entry.words {
        string(&mut out, word);
    }
    long(&mut out, i64::from(!entry.allow));
    string(&mut out, &entry.why);
    for optional in &entry.optional {
        long(&mut out, i64::from(optional.is_some()));
        if let Some(text) = optional {
            string(&mut out, text);
        }
    }
    out.push(u8::from(entry.withheld));
    out
}

/// Zigzag and seven bits a byte.
fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7F) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn string(out: &mut Vec<u8>, text: &str) {
    long(out, i64::try_from(text.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value};

    #[test]
    fn the_datum_is_what_the_schema_says() {
        let schema = Schema::parse_str(SCHEMA).expect("a schema");
        let reader = GenericDatumReader::builder(&schema).build().expect("a reader");
        for (allow, person) in [(true, None), (false, Some("0197f2a0-0000-7000-8000-000000000001"))] {
            let entry = Entry {
                id: 300,
                at: -1,
                words: ["r".into(), "gp.riverside".into(), "clinician".into(), "view-record".into()],
                allow,
                why: "no relation".into(),
                optional: [Some("R1V01".into()), None, None, person.map(Into::into), None],
                withheld: !allow,
            };
            let datum = encode(&entry);
            let mut rest = datum.as_slice();
            let Value::Record(fields) = reader.read_value(&mut rest).expect("a datum") else { panic!("a record") };
            assert!(rest.is_empty());
            let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone());
            assert_eq!(field("id"), Some(Value::Long(300)));
            assert_eq!(field("at"), Some(Value::TimestampMicros(-1)));
            assert_eq!(field("actor"), Some(Value::String("gp.riverside".into())));
            let decision = if allow { (0, "ALLOW") } else { (1, "REFUSE") };
            assert_eq!(field("decision"), Some(Value::Enum(decision.0, decision.1.into())));
            assert_eq!(field("withheld"), Some(Value::Boolean(!allow)));
        }
    }
}
