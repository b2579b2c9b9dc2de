//! Kinds that need nothing but their table: shown in plain lists, and withheld unless an agreement names them.

use super::{CARL, DAVID, Doors};
use anyhow::{Context, ensure};

/// Of David's practice, and of another one whose agreement names vaccinations and no appointments.
const ROWS: &str = r#"
insert into record.entry (source, patient, record, organisation, position, revision, event_id, committed_at, effective_at, snapshot,
    kind, code_text, code_system, code, snomed, more)
values
    ('riverside', 'p-1', 'immunisation/1', 'R1V01', '1', 1, 'x1', now(), '2025-10-01', true, 'immunisation', 'Influenza <i>', null, null, null,
        '{"batch": "B7", "status": "completed", "participants": [{"role": "performer", "name": "N. Hall", "job": "nurse"}]}'),
    ('riverside', 'p-1', 'flag/1', 'R1V01', '1', 1, 'x2', now(), now(), true, 'flag', 'Carries a steroid card', null, null, null, null),
    ('riverside', 'p-1', 'gone/1', 'R1V01', '1', 1, 'x3', now(), now(), true, 'procedure', 'Taken back', null, null, null, null),
    ('riverside', 'p-1', 'immunisation/2', 'A82038', '1', 1, 'x4', now(), now(), true, 'immunisation', 'Named by the agreement', null, null, null, null),
    ('riverside', 'p-1', 'appointment/1', 'A82038', '1', 1, 'x5', now(), now(), true, 'appointment', 'Not named by it', null, null, null, null),
    ('stmarys', '45', 'procedure/1', 'RSM01', '1', 1, 'x6', now(), now(), true, 'procedure', 'Of a patient kept back', null, null, null, null);
update record.entry set retracted = true where record = 'gone/1';
update record.entry set confidential = true where record = 'procedure/1';
"#;

pub async fn are_listed_and_withheld_unless_named(doors: &Doors<'_>) -> anyhow::Result<()> {
    let client = doors.region.pool.get().await?;
    let token = doors.token("ed.stmarys").await?;
    let record = format!("/patients/{DAVID}");
    let (_, before) = doors.get(&token, &record).await?;
    ensure!(!before.contains("Also recorded") && !before.contains("Incomplete:"), "there is nothing of the kind yet");
    client.batch_execute(ROWS).await?;
    let (_, page) = doors.get(&token, &record).await?;
    let at = |text: &str| page.find(text).with_context(|| format!("the page does not say: {text}"));
    ensure!(at("Carries a steroid card")? < at("Allergies</h2>")?, "a flag stands above everything");
    at("Immunisations (2)")?;
    at("status: completed, batch: B7, performer: N. Hall, nurse")?;
    at("Influenza &#60;i&#62;")?;
    at("Named by the agreement")?;
    at("Nothing is shown of: procedures, documents")?;
    at("Incomplete:")?;
    for withheld in ["Not named by it", "Taken back", "Appointments ("] {
        ensure!(!page.contains(withheld), "the page says: {withheld}");
    }
    // What its source marks is for its own.
    let (_, own) = doors.get(&token, &format!("/patients/{CARL}")).await?;
    let (_, other) = doors.get(&doors.token("gp.riverside").await?, &format!("/patients/{CARL}")).await?;
    ensure!(own.contains("Of a patient kept back") && !other.contains("Of a patient kept back"));
    client.execute("delete from record.entry", &[]).await?;
    let (_, after) = doors.get(&token, &record).await?;
    ensure!(!after.contains("Incomplete:"));
    Ok(())
}
