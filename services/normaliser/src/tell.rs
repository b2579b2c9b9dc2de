//! What logs and metrics are told of the normaliser's outputs and of how far it is. Never a value.

use change_log::{KafkaSettings, topics::changes_topic};
use event::Micros;
use fold::Output;

pub fn output(source: &str, output: &Output) {
    let source_label = source.to_owned();
    match output {
        Output::Event(event) => {
            let (kind, action) = (event.body.kind().as_str(), event.action.as_str());
            let trace_id = event.traceparent.as_deref().and_then(boot::logs::trace_id);
            tracing::debug!(source, kind, action, position = %event.position, trace_id, "an event");
            metrics::counter!("causeway_normaliser_events_total", "source" => source_label, "kind" => kind, "action" => action)
                .increment(1);
        }
        Output::Quarantined(item) if item.closed => {
            tracing::info!(source, reason = item.reason, detail = item.detail, "an item of the quarantine is resolved");
            metrics::counter!("causeway_quarantine_closed_total", "source" => source_label, "reason" => item.reason.clone())
                .increment(1);
        }
        Output::Quarantined(item) => {
            tracing::warn!(source, reason = item.reason, detail = item.detail, "quarantined");
            metrics::counter!("causeway_quarantined_total", "source" => source_label, "stage" => "normaliser",
                "reason" => item.reason.clone())
            .increment(1);
        }
    }
}

/// How many records of the log are not read yet: beside the loop, which does not wait for an answer.
///
/// In seconds, by the time that the log tells: 0 when all of it is read.
pub fn lag(kafka: &KafkaSettings, source: &str, offset: i64, reached: Micros) {
    let (kafka, source) = (kafka.clone(), source.to_owned());
    tokio::spawn(async move {
        let Ok((_, high)) = kafka.watermarks(&kafka.topic(&changes_topic(&source)), 0).await else { return };
        #[expect(clippy::cast_precision_loss, reason = "a gauge of a count")]
        let behind = (high - offset).max(0) as f64;
        metrics::gauge!("causeway_normaliser_lag_records", "source" => source.clone()).set(behind);
        let now = jiff::Timestamp::now().as_microsecond();
        metrics::gauge!("causeway_normaliser_lag_seconds", "source" => source).set(seconds(
            high > offset,
            reached,
            now,
        ));
    });
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of seconds")]
fn seconds(behind: bool, reached: Micros, now: Micros) -> f64 {
    // Of a log that has told no time yet, nobody knows.
    if behind && reached > 0 { now.saturating_sub(reached).max(0) as f64 / 1e6 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn who_has_read_all_is_not_behind() {
        for (behind, reached, want) in
            [(false, 1_000_000, 0.0), (true, 1_000_000, 60.0), (true, i64::MIN, 0.0), (true, 99_000_000, 0.0)]
        {
            assert!((seconds(behind, reached, 61_000_000) - want).abs() < 1e-9, "{behind} {reached}");
        }
    }
}
