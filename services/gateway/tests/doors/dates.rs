//! What nobody dated, and what is dated to the year.

use super::{DAVID, Doors};
use anyhow::{Context, ensure};

/// An old potassium of which nobody says when it was, read by a snapshot a moment ago.
const UNDATED: &str = "insert into record.observation (source, patient, record, organisation, position, revision, event_id, committed_at, \
        snapshot, code_text, loinc, analyte, number, unit, canonical_number, canonical_unit, status, version, version_digest) \
    values ('riverside', 'p-1', 'observation/undated', 'R1V01', '9', 1, 'undated', now() + interval '1 minute', true, \
        'Serum potassium', '2823-3', 'potassium', 9.9, 'mmol/L', 9.9, 'mmol/L', 'final', '9', '\\x00')";

pub async fn are_shown_as_they_are_known(doors: &Doors<'_>) -> anyhow::Result<()> {
    let client = doors.region.pool.get().await?;
    client.execute(UNDATED, &[]).await?;
    let precision = |precision: &'static str| {
        let sql = format!("update record.condition set effective_precision = {precision} where record = 'condition/1'");
        let client = &client;
        async move { client.execute(&sql, &[]).await }
    };
    precision("'year'").await?;
    let token = doors.token("endo.stmarys").await?;
    let bundle = doors.json(&token, &format!("/fhir/Observation?patient={DAVID}&code=2823-3")).await?;
    let values: Vec<String> = bundle["entry"]
        .as_array()
        .context("entries")?
        .iter()
        .map(|entry| entry["resource"]["valueQuantity"]["value"].to_string())
        .collect();
    ensure!(values.len() == 5 && values[0] == "6.7" && values[4] == "9.9", "the undated is last: {values:?}");
    let (_, page) = doors.get(&token, &format!("/patients/{DAVID}")).await?;
    let newest = page.find("6.7").context("the newest potassium")?;
    let undated = page.find("9.9").context("the undated potassium")?;
    ensure!(newest < undated, "the undated is shown before the newest");
    ensure!(page.contains("not dated; received "), "{page}");
    ensure!(page.contains("<time datetime=\"2009\">2009</time>"), "a year is shown as a year");
    client.execute("delete from record.observation where record = 'observation/undated'", &[]).await?;
    precision("null").await?;
    Ok(())
}
