//! How far the sinks are behind: the gauge `causeway_sink_lag_seconds`, which stands at 0 when everything is applied.

use crate::{World, plan::Topic};
use event::Micros;
use rdkafka::consumer::{Consumer, StreamConsumer};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::task::JoinHandle;

/// How often it is looked whether there is more to apply, whatever the sinks do meanwhile.
const EVERY: Duration = Duration::from_secs(5);

/// What has been applied.
#[derive(Debug, Default)]
struct Applied {
    /// The offset to go on from, of each partition of events.
    next: BTreeMap<i32, i64>,
    /// Of each source, the commit time of what was applied last.
    committed_at: BTreeMap<String, Micros>,
}

impl Applied {
    /// Seconds by source. `ends`: the end of each partition that is ours.
    fn lags(&self, ends: &BTreeMap<i32, i64>, now: Micros) -> Vec<(String, f64)> {
        // Of a partition of which nothing was applied yet, the first message says where it stands.
        let behind = ends.iter().any(|(partition, end)| self.next.get(partition).is_some_and(|next| next < end));
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        let seconds = |at: &Micros| if behind { now.saturating_sub(*at).max(0) as f64 / 1e6 } else { 0.0 };
        self.committed_at.iter().map(|(source, at)| (source.clone(), seconds(at))).collect()
    }
}

/// Looks until it is dropped.
pub struct Lag {
    applied: Arc<Mutex<Applied>>,
    looking: JoinHandle<()>,
}

impl Lag {
    pub fn watch(world: &World, consumer: &Arc<StreamConsumer>) -> Self {
        let applied = Arc::new(Mutex::new(Applied::default()));
        let looking = look(world.clone(), Arc::downgrade(consumer), Arc::clone(&applied));
        Self { applied, looking: tokio::spawn(looking) }
    }

    pub fn applied(&self, next: &BTreeMap<(Topic, i32), i64>, committed_at: BTreeMap<String, Micros>) {
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        let events = next.iter().filter(|((topic, _), _)| *topic == Topic::Events);
        applied.next.extend(events.map(|((_, partition), next)| (*partition, *next)));
        for (source, at) in committed_at {
            let latest = applied.committed_at.entry(source).or_insert(at);
            *latest = at.max(*latest);
        }
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

async fn look(world: World, consumer: std::sync::Weak<StreamConsumer>, applied: Arc<Mutex<Applied>>) {
    let topic = world.kafka.topic(Topic::Events.name());
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        let Some(ours) = consumer.upgrade().and_then(|consumer| partitions(&consumer, &topic)) else { continue };
        let mut ends = BTreeMap::new();
        for partition in ours {
            // Without an answer nobody knows that there is no more: the gauge stands.
            let Ok((_, end)) = world.kafka.watermarks(&topic, partition).await else { break };
            ends.insert(partition, end);
        }
        if ends.is_empty() {
            continue;
        }
        let now = jiff::Timestamp::now().as_microsecond();
        let lags = applied.lock().unwrap_or_else(PoisonError::into_inner).lags(&ends, now);
        for (source, seconds) in lags {
            metrics::gauge!("causeway_sink_lag_seconds", "source" => source).set(seconds);
        }
    }
}

/// Those of the topic that are this process's now.
fn partitions(consumer: &StreamConsumer, topic: &str) -> Option<Vec<i32>> {
    let assignment = consumer.assignment().ok()?;
    Some(assignment.elements_for_topic(topic).iter().map(|element| element.partition()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_applied_everything_is_not_behind() {
        let mut applied = Applied::default();
        applied.next.extend([(0, 10), (1, 4)]);
        applied.committed_at.insert("riverside".into(), 1_000_000);
        let lag = |ends: &[(i32, i64)], now| applied.lags(&ends.iter().copied().collect(), now)[0].1;
        assert!(lag(&[(0, 10), (1, 4), (2, 99)], 61_000_000).abs() < f64::EPSILON, "however long ago that was");
        assert!((lag(&[(0, 10), (1, 5)], 61_000_000) - 60.0).abs() < 1e-9, "a message waits");
        assert!(lag(&[(0, 10), (1, 5)], 0).abs() < f64::EPSILON, "a clock ahead is no lag");
        assert!(lag(&[(0, 10)], 61_000_000).abs() < f64::EPSILON, "partition 1 is another's now");
    }
}
