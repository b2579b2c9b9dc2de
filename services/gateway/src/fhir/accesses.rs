//! `AuditEvent`: who has looked at a patient's record, for those who watch over that.
//!
//! # Why
//! A privacy officer answers for what their own organisation holds, so they see who asked for that and nothing of what
//! others hold. The record itself is not shown to them, here or elsewhere.

use super::{
    Stop,
    reading::{Found, Read, Reading},
    shape,
};
use crate::record::{micros, rows::ROWS_MAX};
use event::Micros;
use serde_json::{Value, json};
use tokio_postgres::Row;
use uuid::Uuid;

const TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
/// What the audit calls what was done.
const ACTIONS: &str = "urn:causeway:action";
const REQUESTS: &str = "urn:causeway:request";

pub async fn read(reading: &Reading<'_>) -> Result<Read, Stop> {
    let teams = reading.app.teams_of(reading.actor);
    let own: Vec<&str> = teams.iter().map(|team| team.organisation.as_str()).collect();
    let (sources, patients) = reading.person.names();
    let sql = format!(
        "select t.id, {}, t.request_id, t.actor, t.role, t.action, t.decision, t.why, t.reason, t.withheld
         from access.audit t join unnest($1::text[], $2::text[]) as s(source, patient) using (source, patient)
         where t.organisation = any($3) order by t.at desc, t.id desc limit {}",
        micros("t.at"),
        ROWS_MAX + 1
    );
    let rows = reading.transaction.query(&sql, &[&sources, &patients, &own]).await?;
    let found = rows.iter().take(ROWS_MAX).map(|row| event(reading.person.id, row)).collect();
    Ok(Read { found, cut: rows.len() > ROWS_MAX })
}

fn event(person: Uuid, row: &Row) -> Found {
    let text = |column: usize| row.get::<_, Option<&str>>(column);
    let (number, at): (i64, Micros) = (row.get(0), row.get(1));
    let id = format!("{person}.{number}");
    let allowed = text(6) == Some("allow");
    let withheld = if row.get(9) { "; something was withheld" } else { "" };
    let mut resource = json!({
        "resourceType": "AuditEvent",
        "id": id,
        "type": {"system": TYPE, "code": "rest"},
        "subtype": [{"system": ACTIONS, "code": text(5)}],
        "action": "R",
        "outcome": if allowed { "0" } else { "4" },
        "outcomeDesc": format!("{}{withheld}", text(7).unwrap_or_default()),
        "agent": [{"altId": text(3), "role": [{"text": text(4)}], "requestor": true}],
        "source": {"observer": {"display": "Causeway"}},
        "entity": [
            {"what": shape::reference(person)},
            {"what": {"identifier": {"system": REQUESTS, "value": text(2)}}},
        ],
    });
    shape::set(&mut resource, "recorded", shape::time(Some(at)));
    shape::set(&mut resource, "purposeOfEvent", shape::several(shape::words(text(8))));
    Found { at: Some(at), committed_at: at, id, resource: settled(resource), origin: None }
}

/// Of a request without an id nothing is named by it.
fn settled(mut resource: Value) -> Value {
    if let Some(entities) = resource["entity"].as_array_mut() {
        entities.retain(|entity| entity["what"]["identifier"]["value"] != "");
    }
    resource
}
