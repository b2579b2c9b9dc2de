//! When a plain consumer of a topic has a marked row in its hands.

use anyhow::{Context, ensure};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio_util::sync::{CancellationToken, DropGuard};

const MARK: &[u8] = b"sample-";
const DIGITS: usize = 10;
const POLL_MAX: Duration = Duration::from_millis(100);
const CHECK: Duration = Duration::from_millis(20);

/// What a row says, whatever its record is encoded as.
pub(super) fn mark(number: u64) -> String {
    format!("sample-{number:0DIGITS$}")
}

/// The number of the marked row in a record.
fn number_in(record: &[u8]) -> Option<u64> {
    let at = record.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    std::str::from_utf8(record.get(at..at + DIGITS)?).ok()?.parse().ok()
}

type Seen = Arc<Mutex<HashMap<u64, Instant>>>;

/// A consumer on a thread of its own, from the topic's end on.
pub(super) struct Sightings {
    seen: Seen,
    thread: std::thread::JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
    _guard: DropGuard,
}

impl Sightings {
    pub(super) fn of(brokers: &str, topic: &str, from: i64) -> anyhow::Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "bench")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "5")
            .create()?;
        let mut places = TopicPartitionList::new();
        places.add_partition_offset(topic, 0, Offset::Offset(from))?;
        consumer.assign(&places)?;
        let (seen, stop) = (Seen::default(), CancellationToken::new());
        let (into, stopped) = (Arc::clone(&seen), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.is_cancelled() {
                let Some(message) = consumer.poll(POLL_MAX) else { continue };
                let (message, at) = (message?, Instant::now());
                if let Some(number) = message.payload().and_then(number_in) {
                    into.lock().unwrap_or_else(PoisonError::into_inner).entry(number).or_insert(at);
                }
            }
            Ok(())
        });
        let guard = stop.clone().drop_guard();
        Ok(Self { seen, thread, stop, _guard: guard })
    }

    /// Once so many rows are seen.
    pub(super) async fn wait(self, count: usize, wait_max: Duration) -> anyhow::Result<HashMap<u64, Instant>> {
        let deadline = Instant::now() + wait_max;
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner).len();
        while seen() < count {
            ensure!(Instant::now() < deadline, "only {} of {count} rows could be read", seen());
            ensure!(!self.thread.is_finished(), "the consumer has ended");
            tokio::time::sleep(CHECK).await;
        }
        self.stop.cancel();
        self.thread.join().ok().context("the consumer panicked")??;
        Ok(std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_in_any_encoding() {
        assert_eq!(number_in(format!("{{\"value\":\"{}\"}}", mark(42)).as_bytes()), Some(42));
        assert_eq!(number_in(format!("\0\u{1}\u{22}{}\u{2}", mark(7_000_000)).as_bytes()), Some(7_000_000));
        assert_eq!(number_in(b"sample-12"), None);
        assert_eq!(number_in(b"another row"), None);
    }
}
