//! Single-row commits at a steady rate, each told apart by what its row says.

use super::{
    sighting::mark,
    stage::{DATABASE, Stage},
};
use rdkafka::{
    ClientConfig,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Clients that commit side by side: a commit waits for the disk.
const WRITERS: u64 = 16;
const INSERT: &str = "insert into lims.result values
    ($1, 1, 1, '00000000-0000-4000-8000-000000000000', 'K', $2, 4.1, 'mmol/L', 3.5, 5.3, 'H', now(), true)";
const FLUSH_WAIT_MAX: Duration = Duration::from_secs(10);

/// One commit, as its client saw it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commit {
    pub(super) number: u64,
    pub(super) sent: Instant,
    pub(super) done: Instant,
}

/// A client that tells Kafka itself, as soon as its commit has returned: what Kafka alone takes.
#[derive(Clone)]
pub(super) struct Direct {
    producer: Arc<ThreadedProducer<DefaultProducerContext>>,
    topic: String,
}

impl Direct {
    pub(super) fn new(stage: &Stage, topic: &str) -> anyhow::Result<Self> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", stage.brokers())
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            .create()?;
        Ok(Self { producer: Arc::new(producer), topic: topic.to_owned() })
    }

    fn tell(&self, row: &str) -> anyhow::Result<()> {
        let record = BaseRecord::<(), str>::to(&self.topic).partition(0).payload(row);
        self.producer.send(record).map_err(|(error, _)| error.into())
    }

    pub(super) fn flush(&self) -> anyhow::Result<()> {
        Ok(self.producer.flush(FLUSH_WAIT_MAX)?)
    }
}

/// Commits `count` rows, numbered from `first` on, at `rate` a second.
pub(super) async fn commit(
    stage: &Stage,
    (first, count, rate): (u64, u64, u32),
    direct: Option<&Direct>,
) -> anyhow::Result<Vec<Commit>> {
    let mut writers = Vec::new();
    let begins = tokio::time::Instant::now() + Duration::from_millis(200);
    for writer in 0..WRITERS {
        let client = stage.cluster.connect(DATABASE).await?;
        let statement = client.prepare(INSERT).await?;
        let direct = direct.cloned();
        writers.push(tokio::spawn(async move {
            let mut commits = Vec::new();
            for turn in (writer..count).step_by(WRITERS as usize) {
                let number = first + turn;
                let row = mark(number);
                tokio::time::sleep_until(begins + Duration::from_secs_f64(turn as f64 / f64::from(rate))).await;
                let sent = Instant::now();
                client.execute(&statement, &[&i64::try_from(number)?, &row]).await?;
                let done = Instant::now();
                if let Some(direct) = &direct {
                    direct.tell(&row)?;
                }
                commits.push(Commit { number, sent, done });
            }
            anyhow::Ok(commits)
        }));
    }
    let mut commits = Vec::new();
    for writer in writers {
        commits.extend(writer.await??);
    }
    Ok(commits)
}
