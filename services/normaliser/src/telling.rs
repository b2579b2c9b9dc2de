//! Says on `source.progress` up to when a source's changes have been told, once Kafka holds them.

use change_log::{
    KafkaSettings,
    told::{TOPIC, Told},
};
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Said so often at most.
const EVERY: Duration = Duration::from_secs(2);

pub struct Telling {
    producer: Arc<FutureProducer>,
    topic: String,
    source: String,
    organisation: String,
    due: Due,
}

/// What has been settled, and what of it waits until it is durable.
#[derive(Debug, Default)]
struct Due {
    /// Before this offset all is settled, and by this time it was committed.
    settled: Option<(i64, i64)>,
    waiting: Option<(i64, i64)>,
    said: Option<Instant>,
}

impl Due {
    /// The time to say now, if there is one.
    fn say(&mut self, durable: Option<i64>, now: Instant) -> Option<i64> {
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < EVERY) {
            return None;
        }
        // One waits at a time: what is settled meanwhile cannot put it off for ever.
        let (offset, at) = match self.waiting {
            Some(waiting) => waiting,
            None => *self.waiting.insert(self.settled.take()?),
        };
        durable.filter(|durable| *durable >= offset)?;
        self.waiting = None;
        self.said = Some(now);
        Some(at)
    }
}

impl Telling {
    pub fn new(producer: Arc<FutureProducer>, kafka: &KafkaSettings, source: &str, organisation: &str) -> Self {
        Self {
            producer,
            topic: kafka.topic(TOPIC),
            source: source.to_owned(),
            organisation: organisation.to_owned(),
            due: Due::default(),
        }
    }

    /// Everything before this offset is settled; the source had committed it by then.
    pub const fn settled(&mut self, offset: i64, at: i64) {
        self.due.settled = Some((offset, at));
    }

    /// Says how far it is, if all before that is acknowledged. A record that Kafka does not take is followed by a later one.
    pub fn say(&mut self, durable: Option<i64>) {
        let Some(at) = self.due.say(durable, Instant::now()) else { return };
        // A source whose clock is ahead is not fresher than what was told.
        let at = at.min(jiff::Timestamp::now().as_microsecond());
        let told = Told { source: self.source.clone(), organisation: self.organisation.clone(), at };
        let payload = told.encode();
        if let Err((error, _)) =
            self.producer.send_result(FutureRecord::to(&self.topic).key(&self.source).payload(&payload))
        {
            tracing::debug!(%error, source = self.source, "did not say how far it is");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_it_is_durable_and_not_too_often() {
        let start = Instant::now();
        let mut due = Due::default();
        assert_eq!(due.say(Some(9), start), None, "nothing is settled");
        due.settled = Some((10, 100));
        assert_eq!(due.say(None, start), None);
        // What is settled later does not put off what waits.
        due.settled = Some((20, 200));
        assert_eq!(due.say(Some(9), start), None);
        assert_eq!(due.say(Some(10), start), Some(100));
        assert_eq!(due.say(Some(20), start + EVERY / 2), None, "a moment ago");
        assert_eq!(due.say(Some(20), start + EVERY), Some(200));
        assert_eq!(due.say(Some(20), start + EVERY * 3), None, "nothing new");
    }
}
