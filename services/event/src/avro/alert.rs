//! `causeway.PatientAlert`.

use super::{DecodeError, wire, wire::Reader};
use crate::{PatientAlert, SourcePatient, alert::AlertChange};

pub const SCHEMA: &str = include_str!("../../../../schemas/patient_alert.avsc");

/// An alert goes to fewer teams than this; a longer list is not ours.
const TEAMS_MAX: i64 = 10_000;

/// Appends the change to `out`.
pub fn encode(alert: &PatientAlert, out: &mut Vec<u8>) {
    wire::long(out, alert.id);
    wire::string(out, &alert.alert.to_string());
    wire::long(out, alert.change as i64);
    wire::string(out, &alert.patient.source);
    wire::string(out, &alert.patient.id);
    if !alert.teams.is_empty() {
        wire::long(out, i64::try_from(alert.teams.len()).unwrap_or(i64::MAX));
        alert.teams.iter().for_each(|team| wire::string(out, team));
    }
    wire::long(out, 0);
    wire::string(out, &alert.rule);
    wire::string(out, &alert.severity);
    wire::string(out, &alert.urgency);
    wire::string(out, &alert.state);
    wire::long(out, alert.at);
}

pub fn decode(datum: &[u8]) -> Result<PatientAlert, DecodeError> {
    let mut r = Reader::new(datum);
    let alert = PatientAlert {
        id: r.long()?,
        alert: r.parsed("alert", |text| text.parse().ok())?,
        change: r.symbol("change", &AlertChange::ALL)?,
        patient: SourcePatient { source: r.string()?, id: r.string()? },
        teams: teams(&mut r)?,
        rule: r.string()?,
        severity: r.string()?,
        urgency: r.string()?,
        state: r.string()?,
        at: r.long()?,
    };
    r.finish()?;
    Ok(alert)
}

/// An Avro array: blocks, each with its count; a negative count is followed by the block's bytes.
fn teams(r: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    let mut teams = Vec::new();
    loop {
        let count = r.long()?;
        if count == 0 {
            return Ok(teams);
        }
        if count < 0 {
            r.long()?;
        }
        let count = count.saturating_abs();
        if count > TEAMS_MAX || teams.len() > usize::try_from(TEAMS_MAX).unwrap_or_default() {
            return Err(DecodeError::Malformed("teams"));
        }
        for _ in 0..count {
            teams.push(r.string()?);
        }
    }
}
