//! The table of who may do what (`services/access/tests/who_may/table.md`), held against the doors of a running gateway:
//! each role, at each relation and consent that its rows can have, through page, FHIR and stream. And each is audited.

#[path = "../../../access/tests/who_may/table.rs"]
mod table;

use super::{DAVID, Doors, POTASSIUM, answers::MATTER};
use anyhow::ensure;
use gateway::access::Role;
use reqwest::{Method, StatusCode};
use table::{Line, lines, says};

const USER: &str = "endo.stmarys";
/// A relation, and the team that has it to David.
const RELATIONS: [(&str, &str); 5] = [
    ("registered", "riverside"),
    ("encounter", "stmarys-ed"),
    ("referral", "stmarys-endocrinology"),
    ("none", "stmarys-amu"),
    ("glass", "stmarys-amu"),
];
/// The table's columns that rows of the record can bring about: agrees, objects, and all that the other holds is confidential.
const CONSENTS: [(usize, &str); 3] = [(0, ""), (1, "objection"), (3, "confidential")];

pub async fn do_what_the_table_says(doors: &Doors<'_>) -> anyhow::Result<()> {
    let (lines, token) = (lines(), doors.token(USER).await?);
    let client = doors.region.pool.get().await?;
    let mut cells = 0;
    for role in Role::ALL {
        for (relation, team) in RELATIONS {
            let sql = "update access.user set role = $1, teams = array[$2] where id = $3";
            client.execute(sql, &[&role.as_str(), &team, &USER]).await?;
            if relation == "glass" {
                let sql = format!(
                    "insert into access.break_glass (id, user_id, person, reason, until_at)
                     values (gen_random_uuid(), '{USER}', '{DAVID}', 'unconscious in resus', now() + interval '1 hour')"
                );
                client.batch_execute(&sql).await?;
            }
            for (consent, column) in CONSENTS {
                let other = if relation == "registered" { "42" } else { "p-1" };
                // An objection is the patient's: the practice recorded it.
                let marked = if column == "objection" { "p-1" } else { other };
                let mark = |set: bool| match column {
                    "" => "select 1".to_owned(),
                    column => format!("update record.patient set {column} = {set} where patient = '{marked}'"),
                };
                client.batch_execute(&mark(true)).await?;
                let cell = Cell { doors, token: &token, lines: &lines, role: role.as_str(), relation, consent };
                cells += cell.record().await? + cell.alerts_and_places().await?;
                client.batch_execute(&mark(false)).await?;
            }
            client.batch_execute("delete from access.break_glass").await?;
        }
    }
    client
        .execute("update access.user set role = 'clinician', teams = '{stmarys-endocrinology}' where id = $1", &[&USER])
        .await?;
    ensure!(cells >= 780, "only {cells} cells");
    Ok(())
}

struct Cell<'a> {
    doors: &'a Doors<'a>,
    token: &'a str,
    lines: &'a [Line],
    role: &'a str,
    relation: &'a str,
    consent: usize,
}

impl Cell<'_> {
    /// Asks at a door, and holds what it `gives` against the table; whatever it gives is in the audit.
    async fn check(
        &self,
        (action, door): (&str, &str),
        (method, path, form): (Method, &str, &str),
        gives: impl Fn(StatusCode, &str) -> String,
    ) -> anyhow::Result<usize> {
        let newest = "select coalesce(max(id), 0) from access.audit";
        let before = self.doors.count(newest).await?;
        let answer = self.doors.ask(self.token, method, path, form).await?;
        let status = answer.status();
        // A stream has no end.
        let text = if path == "/events" { String::new() } else { answer.text().await? };
        let got = gives(status, &text);
        let Self { role, relation, consent, .. } = self;
        let want = says(self.lines, role, action, relation, door, *consent);
        ensure!(got == want, "{role} {action} {relation} {door} {consent}: {got}, not {want} ({status})");
        ensure!(self.doors.count(newest).await? > before, "{role} {action} {relation} {door}: not audited");
        Ok(1)
    }

    async fn record(&self) -> anyhow::Result<usize> {
        let (own, other) = if self.relation == "registered" { ("p-1", "42") } else { ("42", "p-1") };
        let page = |status: StatusCode, text: &str| {
            let has = |patient: &str| text.contains(&format!("<td>{patient}</td>"));
            both_or_own(status, has(own), has(other))
        };
        let (of_own, of_other) =
            if self.relation == "registered" { ("riverside", "stmarys") } else { ("stmarys", "riverside") };
        let fhir = |status: StatusCode, text: &str| {
            let has = |source: &str| text.contains(&format!("urn:causeway:source:{source}\""));
            both_or_own(status, has(of_own), has(of_other))
        };
        let path = format!("/patients/{DAVID}");
        let mut cells = self.check(("view-record", "page"), (Method::GET, &path, ""), page).await?;
        let path = format!("/fhir/Patient/{DAVID}");
        cells += self.check(("view-record", "fhir"), (Method::GET, &path, ""), fhir).await?;
        let path = format!("/fhir/Patient?_id={DAVID}");
        cells += self
            .check(("view-record", "fhir"), (Method::GET, &path, ""), |status, text| {
                if text.contains("\"total\":0") { "-".to_owned() } else { fhir(status, text) }
            })
            .await?;
        // Whoever has broken the glass goes to the record, and finds nobody by name.
        if self.relation != "glass" {
            let want = says(self.lines, self.role, "find-patient", self.relation, "page", self.consent);
            let found = |_: StatusCode, text: &str| if text.contains(DAVID) { want.clone() } else { "-".to_owned() };
            let form = "csrf=&query=ellis";
            cells += self.check(("find-patient", "page"), (Method::POST, "/patients", form), found).await?;
        }
        Ok(cells)
    }

    async fn alerts_and_places(&self) -> anyhow::Result<usize> {
        let yes = |status: StatusCode, _: &str| if status.is_success() { "yes" } else { "-" }.to_owned();
        let mut cells = self.check(("view-status", "page"), (Method::GET, "/status", ""), yes).await?;
        cells += self.check(("link-patients", "page"), (Method::GET, "/identity", ""), yes).await?;
        // The table's alert is on a result of the other organisation: of the hospital, for the practice.
        if matches!(self.relation, "registered" | "none") {
            let path = format!("/inbox/{MATTER}?state=seen");
            let handled = format!("/alerts/{POTASSIUM}/seen");
            cells += self.check(("handle-alert", "page"), (Method::PUT, &handled, ""), yes).await?;
            cells += self.check(("view-alerts", "page"), (Method::GET, &path, ""), yes).await?;
        }
        // Opened by role; what it tells is decided for each alert.
        if self.relation == "registered" && self.consent == 0 {
            cells += self.check(("view-alerts", "stream"), (Method::GET, "/events", ""), yes).await?;
        }
        let path = format!("/patients/{DAVID}/break-glass");
        if self.relation == "none" && self.consent == 0 {
            let form = "csrf=&reason=unconscious+in+resus";
            cells += self.check(("break-glass", "page"), (Method::POST, &path, form), yes).await?;
            self.doors.region.pool.get().await?.batch_execute("delete from access.break_glass").await?;
        }
        Ok(cells)
    }
}

fn both_or_own(status: StatusCode, own: bool, other: bool) -> String {
    match (status.is_success(), own, other) {
        (false, ..) => "-",
        (true, true, true) => "both",
        (true, true, false) => "own",
        (true, ..) => "something else",
    }
    .to_owned()
}
