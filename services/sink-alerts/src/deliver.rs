//! Empties the outbox onto `patient.alerts`.
//!
//! # Why
//! What was delivered is deleted, row by row; no high-water mark is kept, because ids are given before
//! they are committed and a late one would be passed over. One deliverer works at a time, by a lock on
//! its own connection. When it takes over it first reads the end of the topic: what the one before
//! delivered but could not delete any more is deleted now, not delivered again.

use crate::{Alerting, Alerts, AlertsError, escalate};
use boot::{Stop, database, health::Part};
use change_log::{HearsEnds, Kept, Place, Question, TopicSpec, Versions, Watch, frame};
use event::{AlertChange, PatientAlert, SourcePatient, avro};
use futures_util::future::try_join_all;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    producer::{FutureProducer, FutureRecord},
};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, Row};

pub const TOPIC: &str = "patient.alerts";
/// Outbox rows that are on their way at once.
pub const BATCH_ROWS_MAX: i64 = 500;
/// The topic's end that is read when taking over: more than can be on its way.
const TAIL_RECORDS: i64 = 4 * BATCH_ROWS_MAX;
/// How long to sleep without a notification: one may be lost with its connection.
const POLL: Duration = Duration::from_secs(1);
/// How often to look for open alerts that went to nobody.
const FORGOTTEN_EVERY: Duration = Duration::from_secs(60);
const LOCK_AGAIN_AFTER: Duration = Duration::from_millis(500);
const KAFKA_TIMEOUT: Duration = Duration::from_secs(10);
/// One deliverer at a time. No other part of Causeway uses this number.
const DELIVERER_LOCK: i64 = 0x616c_6572_7402;
/// Notifications that wait; beyond it they are dropped, and one that waits says as much.
const WAKES_MAX: usize = 1;

const OUTBOX: &str = "select o.id, o.alert::text, o.change, a.source, a.patient, a.rule, a.severity, a.urgency, a.state, \
        (extract(epoch from o.happened_at) * 1000000)::int8, \
        array(select r.team from alert.recipient r where r.alert = a.id order by r.team) \
    from (select * from alert.outbox order by id limit $1) o join alert.alert a on a.id = o.alert order by o.id";

/// One attempt: until the stop signal or an error.
pub async fn attempt(alerting: &Alerting, hook: &Alerts, part: &Part, stop: &Stop) -> Result<(), AlertsError> {
    let world = &alerting.world;
    change_log::topics::ensure(&world.kafka, &[TopicSpec::new(TOPIC, 1, Kept::Forever)]).await?;
    let topic = world.kafka.topic(TOPIC);
    let schema = world.registry.register(&format!("{topic}-value"), avro::ALERT_SCHEMA).await?;
    let (client, mut wakes) = connect(alerting).await?;
    client.batch_execute("listen causeway_alerts").await?;
    while !lead(&client).await? {
        // Another process delivers; being ready to take over is being ready.
        part.ready();
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOCK_AGAIN_AFTER) => {}
        }
    }
    let mut config = world.kafka.client();
    config
        .set("enable.idempotence", "true")
        // Not given up by time: what is given up may arrive all the same. A producer that hangs is met by its watch.
        .set("message.timeout.ms", "0")
        .set("linger.ms", "0");
    let producer: FutureProducer = config.create()?;
    let watch = Watch::new(&world.kafka, Some(part));
    let mut deliverer = Deliverer { client, producer, watch, topic, schema };
    deliverer.forget_delivered(alerting).await?;
    part.ready();
    let (mut looked, mut escalated): (Option<Instant>, Option<Instant>) = (None, None);
    loop {
        if looked.is_none_or(|at| at.elapsed() >= FORGOTTEN_EVERY) {
            forgotten(alerting, hook).await?;
            looked = Some(Instant::now());
        }
        if escalated.is_none_or(|at| at.elapsed() >= escalate::EVERY) {
            escalate::all(&alerting.world.pool, hook).await?;
            escalated = Some(Instant::now());
        }
        while deliverer.deliver().await? > 0 {}
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            woken = wakes.recv() => woken.ok_or(AlertsError::Disconnected)?,
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Looks for open alerts that went to nobody: none may be.
async fn forgotten(alerting: &Alerting, hook: &Alerts) -> Result<(), AlertsError> {
    let mut client = alerting.world.pool.get().await.map_err(sink_views::ViewsError::from)?;
    let transaction = client.transaction().await?;
    let (found, left) = hook.route_forgotten(&transaction).await?;
    transaction.commit().await?;
    metrics::gauge!("causeway_alerts_without_recipient").set(f64::from(u32::try_from(left).unwrap_or(u32::MAX)));
    if found > 0 {
        tracing::warn!(found, left, "open alerts went to no team; they have been routed again");
    }
    Ok(())
}

async fn lead(client: &Client) -> Result<bool, AlertsError> {
    Ok(client.query_one("select pg_try_advisory_lock($1)", &[&DELIVERER_LOCK]).await?.get(0))
}

/// A connection of its own, whose notifications come through the channel. The channel ends with it.
async fn connect(alerting: &Alerting) -> Result<(Client, mpsc::Receiver<()>), AlertsError> {
    let settings = &alerting.database;
    let config = database::config(settings, "CAUSEWAY_DATABASE_PASSWORD")?;
    let (wake, wakes) = mpsc::channel(WAKES_MAX);
    let (client, connection) = config.connect(database::way(settings, &config)?).await?;
    tokio::spawn(drive(connection, wake));
    Ok((client, wakes))
}

async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, wake: mpsc::Sender<()>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        match std::future::poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(_))) => {
                // Full means that a wake waits already.
                let _ = wake.try_send(());
            }
            Some(Ok(_)) => {}
            // The deliverer sees the end of the channel.
            Some(Err(_)) | None => return,
        }
    }
}

struct Deliverer {
    client: Client,
    producer: FutureProducer,
    watch: Watch,
    topic: String,
    schema: u32,
}

impl Deliverer {
    /// Delivers what is there, up to a batch, and deletes it once Kafka has all of it. Tells how many.
    async fn deliver(&mut self) -> Result<usize, AlertsError> {
        let rows = self.client.query(OUTBOX, &[&BATCH_ROWS_MAX]).await?;
        if rows.is_empty() {
            metrics::gauge!("causeway_alerts_outbox_rows").set(0.0);
            return Ok(0);
        }
        let (alerts, foreign) = told(&rows);
        if !foreign.is_empty() {
            self.refuse(&foreign).await?;
        }
        let depth = u32::try_from(alerts.len()).unwrap_or(u32::MAX);
        metrics::gauge!("causeway_alerts_outbox_rows").set(f64::from(depth));
        let mut sent = Vec::with_capacity(alerts.len());
        for alert in &alerts {
            let (key, mut value) = (alert.alert.to_string(), Vec::new());
            frame::start(self.schema, &mut value);
            avro::encode_alert(alert, &mut value);
            let record = FutureRecord::to(&self.topic).key(&key).payload(&value);
            sent.push(self.producer.send_result(record).map_err(|(error, _)| error)?);
        }
        let acknowledged = async {
            for outcome in try_join_all(sent).await.map_err(|_| AlertsError::Background)? {
                outcome.map_err(|(error, _)| error)?;
            }
            Ok::<_, AlertsError>(())
        };
        let place = Place::written(&*self.topic);
        self.watch.heard();
        tokio::select! {
            biased;
            acknowledged = acknowledged => acknowledged?,
            stalled = self.watch.stalled(|| Question::writing(vec![place.clone()], alerts.len() as u64, None)) => return Err(stalled.into()),
        }
        let ids: Vec<i64> = alerts.iter().map(|alert| alert.id).collect();
        self.client.execute("delete from alert.outbox where id = any($1)", &[&ids]).await?;
        metrics::counter!("causeway_alert_changes_delivered_total").increment(ids.len() as u64);
        Ok(rows.len())
    }

    /// Changes that this version does not know stand aside, and the rest goes on.
    async fn refuse(&self, ids: &[i64]) -> Result<(), AlertsError> {
        let sql = "with gone as (delete from alert.outbox where id = any($1) returning alert, change) \
            insert into alert.refused (alert, change, reason) select alert, change, 'a change that is not known' from gone";
        self.client.execute(sql, &[&ids]).await?;
        metrics::counter!("causeway_alerts_refused_total", "what" => "change").increment(ids.len() as u64);
        tracing::error!(
            changes = ids.len(),
            "changes of alerts are not known to this version; they stand in alert.refused"
        );
        Ok(())
    }

    /// Deletes what the end of the topic shows to be delivered.
    async fn forget_delivered(&self, alerting: &Alerting) -> Result<(), AlertsError> {
        let (kafka, topic) = (alerting.world.kafka.client(), self.topic.clone());
        let delivered = tokio::task::spawn_blocking(move || tail(&kafka, &topic)).await;
        let mut versions = Versions::new(alerting.world.registry.clone(), avro::ALERT_SCHEMA);
        let mut ids: Vec<i64> = Vec::new();
        for payload in delivered.map_err(|_| AlertsError::Background)?? {
            let datum = versions.datum(&payload).await?;
            ids.extend(datum.ok().and_then(|datum| avro::decode_alert(&datum).ok()).map(|alert| alert.id));
        }
        let gone = self.client.execute("delete from alert.outbox where id = any($1)", &[&ids]).await?;
        if gone > 0 {
            tracing::info!(changes = gone, "had been delivered before the restart");
        }
        Ok(())
    }
}

/// The last changes on the topic.
fn tail(kafka: &rdkafka::ClientConfig, topic: &str) -> Result<Vec<Vec<u8>>, AlertsError> {
    const PARTITION: i32 = 0;
    let mut config = kafka.clone();
    // No group is joined; librdkafka wants a name all the same.
    config.set("group.id", "causeway-deliverer").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    let consumer: BaseConsumer<HearsEnds> = config.create_with_context(HearsEnds)?;
    let (low, high) = consumer.fetch_watermarks(topic, PARTITION, KAFKA_TIMEOUT)?;
    let mut payloads = Vec::new();
    if low >= high {
        return Ok(payloads);
    }
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, PARTITION, Offset::Offset(low.max(high - TAIL_RECORDS)))?;
    consumer.assign(&from)?;
    loop {
        match consumer.poll(KAFKA_TIMEOUT) {
            Some(Ok(message)) => {
                payloads.extend(message.payload().map(<[u8]>::to_vec));
                if message.offset() + 1 >= high {
                    return Ok(payloads);
                }
            }
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => return Ok(payloads),
            Some(Err(error)) => return Err(error.into()),
            None => return Err(AlertsError::Kafka(rdkafka::error::KafkaError::Canceled)),
        }
    }
}

/// What the rows tell, and the ids of those that tell nothing we know.
fn told(rows: &[Row]) -> (Vec<PatientAlert>, Vec<i64>) {
    let (mut alerts, mut foreign) = (Vec::new(), Vec::new());
    for row in rows {
        match alert(row) {
            Some(alert) => alerts.push(alert),
            None => foreign.push(row.get(0)),
        }
    }
    (alerts, foreign)
}

fn alert(row: &Row) -> Option<PatientAlert> {
    let change = AlertChange::parse(row.get(2))?;
    // The alert may have gone further since.
    let state = match change {
        AlertChange::Raised => "new".to_owned(),
        AlertChange::Seen | AlertChange::Acknowledged | AlertChange::Withdrawn => change.as_str().to_owned(),
        AlertChange::Routed | AlertChange::Escalated => row.get(8),
    };
    Some(PatientAlert {
        id: row.get(0),
        alert: row.get::<_, &str>(1).parse().ok()?,
        change,
        patient: SourcePatient { source: row.get(3), id: row.get(4) },
        teams: row.get(10),
        rule: row.get(5),
        severity: row.get(6),
        urgency: row.get(7),
        state,
        at: row.get(9),
    })
}
