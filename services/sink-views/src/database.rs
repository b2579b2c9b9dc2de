//! The schema `record`: migrations, the checksum, and wiping it for a rebuild.

use crate::{ViewsError, plan::Topic};
use change_log::KafkaSettings;
use deadpool_postgres::{Client, Pool};
use rdkafka::{
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use std::time::Duration;

/// The consumer group of the sinks, without the region's prefix.
pub const GROUP: &str = change_log::members::SINKS;
/// One of several sinks migrates; the others wait. No other part of Causeway uses this number.
const MIGRATION_LOCK: i64 = 0x7669_6577_7301;
const ADMIN_TIMEOUT: Duration = Duration::from_secs(15);
/// A sink that was killed stays in its group until its session ends.
const LEAVING_MAX: Duration = Duration::from_secs(20);
const LEAVING_POLL: Duration = Duration::from_millis(500);

mod migrations {
    refinery::embed_migrations!("migrations");
}

/// Brings the schema `record` up to date.
///
/// The role that runs the sinks owns the schema. Readers need `usage` on it and `select` on its
/// tables, and nothing more.
pub async fn migrate(pool: &Pool) -> Result<(), ViewsError> {
    migrate_schema(pool, "record", MIGRATION_LOCK, migrations::migrations::runner).await
}

/// Runs migrations under an advisory lock. Their history stands beside the schema, not in it,
/// because the first migration makes the schema.
pub async fn migrate_schema(
    pool: &Pool,
    schema: &'static str,
    lock: i64,
    runner: impl FnOnce() -> refinery::Runner,
) -> Result<(), ViewsError> {
    let mut client = pool.get().await?;
    client.execute("select pg_advisory_lock($1)", &[&lock]).await?;
    let mut runner = runner();
    runner.set_migration_table_name(format!("migrations_{schema}"));
    let done = runner.run_async(&mut **client).await;
    // A connection that broke has given its locks back already.
    let unlocked = client.execute("select pg_advisory_unlock($1)", &[&lock]).await;
    done.map_err(|error| ViewsError::Migration { schema, source: Box::new(error) })?;
    unlocked?;
    Ok(())
}

/// A digest over every row of the record. Equal before and after a rebuild.
pub async fn checksum(client: &tokio_postgres::Client) -> Result<String, ViewsError> {
    Ok(client.query_one("select record.checksum()", &[]).await?.get(0))
}

/// Wipes the record and forgets how far the sinks have read, so that they start again from the
/// beginning of the topics. Alerts stay as they are. The sinks must not be running.
pub async fn rebuild(pool: &Pool, kafka: &KafkaSettings) -> Result<(), ViewsError> {
    migrate(pool).await?;
    forget_offsets(kafka).await?;
    let marks = {
        let kafka = kafka.clone();
        tokio::task::spawn_blocking(move || ends(&kafka)).await.map_err(|_| ViewsError::Background)??
    };
    let mut client = pool.get().await?;
    wipe(&mut client, &marks).await
}

/// Where the past ends in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub topic: Topic,
    pub partition: i32,
    pub upto: i64,
}

/// Empties the record's tables, and sets the marks that the replay has to come to.
pub async fn wipe(client: &mut Client, marks: &[Mark]) -> Result<(), ViewsError> {
    let topics: Vec<&str> = marks.iter().map(|mark| mark.topic.name()).collect();
    let partitions: Vec<i32> = marks.iter().map(|mark| mark.partition).collect();
    let upto: Vec<i64> = marks.iter().map(|mark| mark.upto).collect();
    let transaction = client.transaction().await?;
    transaction
        .batch_execute(
            "truncate record.patient, record.observation, record.medication, record.allergy, record.condition, \
             record.encounter, record.entry, record.link, record.quarantine, record.freshness, record.rebuild",
        )
        .await?;
    transaction
        .execute(
            "insert into record.rebuild (topic, partition, upto) select * from unnest($1::text[], $2::int4[], $3::int8[])",
            &[&topics, &partitions, &upto],
        )
        .await?;
    transaction.commit().await?;
    Ok(())
}

async fn forget_offsets(kafka: &KafkaSettings) -> Result<(), ViewsError> {
    let failed = ViewsError::kafka("reset the offsets of the sinks");
    let admin: AdminClient<DefaultClientContext> = kafka.client().create().map_err(&failed)?;
    let options = AdminOptions::new().request_timeout(Some(ADMIN_TIMEOUT)).operation_timeout(Some(ADMIN_TIMEOUT));
    let group = kafka.topic(GROUP);
    let started = tokio::time::Instant::now();
    loop {
        let outcomes = admin.delete_groups(&[&group], &options).await.map_err(&failed)?;
        match outcomes.into_iter().next() {
            None | Some(Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound))) => return Ok(()),
            Some(Err((_, RDKafkaErrorCode::NonEmptyGroup))) if started.elapsed() < LEAVING_MAX => {
                tokio::time::sleep(LEAVING_POLL).await;
            }
            Some(Err((_, RDKafkaErrorCode::NonEmptyGroup))) => return Err(ViewsError::Running),
            Some(Err((_, code))) => return Err(failed(KafkaError::AdminOp(code))),
        }
    }
}

/// The end of every partition that holds anything.
fn ends(kafka: &KafkaSettings) -> Result<Vec<Mark>, ViewsError> {
    let failed = ViewsError::kafka("find the ends of the sinks' topics");
    let consumer: BaseConsumer = kafka.client().create().map_err(&failed)?;
    let mut marks = Vec::new();
    for topic in Topic::ALL {
        let name = kafka.topic(topic.name());
        let metadata = consumer.fetch_metadata(Some(&name), ADMIN_TIMEOUT).map_err(&failed)?;
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            let partition = partition.id();
            let (low, high) = consumer.fetch_watermarks(&name, partition, ADMIN_TIMEOUT).map_err(&failed)?;
            if low < high {
                marks.push(Mark { topic, partition, upto: high });
            }
        }
    }
    Ok(marks)
}
