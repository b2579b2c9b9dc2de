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
    a_year_of_birth(doors, &token).await
}

async fn a_year_of_birth(doors: &Doors<'_>, token: &str) -> anyhow::Result<()> {
    let client = doors.region.pool.get().await?;
    let born = async |columns: &str| {
        client.execute(&format!("update record.patient set {columns} where family ilike 'ellis'"), &[]).await
    };
    born("birth_date = null, birth_partial = '1979', death_partial = '2026-02'").await?;
    let patient = doors.json(token, &format!("/fhir/Patient/{DAVID}")).await?;
    ensure!((&patient["birthDate"], &patient["deceasedDateTime"]) == (&"1979".into(), &"2026-02".into()), "{patient}");
    let (_, page) = doors.get(token, &format!("/patients/{DAVID}")).await?;
    ensure!(page.contains("<dt>Born</dt><dd>1979</dd>"), "a year of birth is shown, and no age is made up");
    ensure!(page.contains("<dt>Died</dt><dd>Feb 2026</dd>"), "a month of death is shown");
    born("birth_date = '1979-04-12', birth_partial = null, death_partial = null").await?;
    Ok(())
}
