//! CloudEvents 1.0, binary mode: the headers of `patient.events`.

use crate::PatientEvent;
use jiff::Timestamp;

/// Headers in a fixed order; `traceparent` only where there is one.
pub fn headers(event: &PatientEvent) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("ce_specversion", "1.0".to_owned()),
        ("ce_id", event.id()),
        ("ce_source", format!("/causeway/{}", event.patient.source)),
        ("ce_type", format!("causeway.patient.{}.{}", event.body.kind(), event.action.as_str())),
        ("ce_subject", event.patient.to_string()),
        ("ce_time", time(event.committed_at)),
        ("content-type", "application/avro".to_owned()),
    ];
    headers.extend(event.traceparent.clone().map(|trace| ("traceparent", trace)));
    headers
}

/// RFC 3339. A commit time outside the calendar (a broken clock at the source) reads as the epoch.
fn time(micros: i64) -> String {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}
