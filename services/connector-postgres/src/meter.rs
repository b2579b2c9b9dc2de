//! Counting what is written: for metrics, and as a rate for people.

use crate::status::Status;
use std::time::Duration;
use tokio::time::Instant;

const RATE_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Meter<'a> {
    counter: metrics::Counter,
    status: &'a Status,
    since: Instant,
    records: u64,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(source: &str, status: &'a Status) -> Self {
        let counter = metrics::counter!("causeway_capture_changes_total", "source" => source.to_owned());
        Self { counter, status, since: Instant::now(), records: 0 }
    }

    pub(crate) fn add(&mut self, records: usize) {
        let records = records as u64;
        self.counter.increment(records);
        self.records += records;
        let elapsed = self.since.elapsed();
        self.status.update(|view| {
            view.changes += records;
            if elapsed >= RATE_INTERVAL {
                #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
                let rate = self.records as f64 / elapsed.as_secs_f64();
                view.changes_per_s = rate;
            }
        });
        if elapsed >= RATE_INTERVAL {
            (self.since, self.records) = (Instant::now(), 0);
        }
    }
}
