//! Whether the doors hold: a reader outside the team is refused and that is on the record; breaking the glass opens,
//! and that is on the record too.

use crate::{
    live,
    report::Check,
    running::{Running, http},
};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};
use tokio_postgres::Client;
use uuid::Uuid;

const OUTSIDER: &str = "amu.stmarys";
const OUTSIDERS_TEAM: &str = "stmarys-amu";
/// Whose patient the outsider has never met.
const PRACTICE: &str = "R1V01";
/// The record of a region that has just begun is filled by then.
const FILLED_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(250);
/// Words by which the page says that the glass is broken.
const BANNER: &str = "You broke the glass";

/// Somebody signed in.
pub struct Visitor {
    gateway: String,
    pub user: String,
    pub token: String,
}

pub struct Answer {
    pub status: u16,
    /// Where it came from in the end, redirects followed.
    pub path: String,
    pub text: String,
    pub took: Duration,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }
}

impl Visitor {
    pub async fn sign_in(gateway: &str, user: &str, password: &str) -> anyhow::Result<Self> {
        let token = live::sign_in(gateway, user, password).await?;
        Ok(Self { gateway: gateway.to_owned(), user: user.to_owned(), token })
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        answer(http().get(format!("{}{path}", self.gateway)).bearer_auth(&self.token)).await
    }

    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let request = http().post(format!("{}{path}", self.gateway)).bearer_auth(&self.token);
        answer(request.header("content-type", "application/x-www-form-urlencoded").body(form(fields))).await
    }
}

async fn answer(request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
    let began = Instant::now();
    let response = request.send().await?;
    let (status, path) = (response.status().as_u16(), response.url().path().to_owned());
    let text = response.text().await?;
    Ok(Answer { status, path, text, took: began.elapsed() })
}

fn form(fields: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() {
                text.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

/// A person whom the practice looks after and the team never met, with a record that an agreement lets it read: not one
/// whom the practice marks as confidential, whose record no glass opens.
pub async fn stranger(causeway: &Client, practice: &str, team: &str) -> anyhow::Result<Uuid> {
    let sql = "select l.person::text from record.patient p join record.link l using (source, patient)
        where p.registered_practice = $1 and not p.retracted and l.status <> 'held'
          and not exists (select from record.link m join record.patient q using (source, patient)
              where m.person = l.person and (q.objection or q.confidential))
          and not exists (select from record.link m join record.encounter e using (source, patient)
              where m.person = l.person and e.team = $2)
          and exists (select from record.observation o where o.source = p.source and o.patient = p.patient and not o.retracted
              and not o.confidential)
        order by 1 limit 1";
    // Results are told once everything that they are joined to has been read.
    let deadline = Instant::now() + FILLED_MAX;
    loop {
        if let Some(row) = causeway.query_opt(sql, &[&practice, &team]).await? {
            return Ok(row.get::<_, &str>(0).parse()?);
        }
        ensure!(Instant::now() < deadline, "nobody is a stranger to the team");
        tokio::time::sleep(POLL).await;
    }
}

/// Every door and its audit as one check, with a reader of the acute medical unit and a patient of the practice.
pub async fn check(running: &Running, causeway: &Client) -> anyhow::Result<Check> {
    let password = running.passwords.get(OUTSIDER).context("no password of the outsider")?;
    let outsider = Visitor::sign_in(&running.gateway, OUTSIDER, password).await?;
    let person = stranger(causeway, PRACTICE, OUTSIDERS_TEAM).await?;
    let checks = doors(&outsider, person, causeway).await?;
    let told: Vec<String> = checks
        .iter()
        .map(|check| format!("{} {}: {}", if check.ok { "ok" } else { "FAILED" }, check.name, check.detail))
        .collect();
    Ok(Check { name: "access_audited".to_owned(), ok: checks.iter().all(|check| check.ok), detail: told.join("; ") })
}

/// `outsider` has no relation to the person, and has not broken the glass for them.
pub async fn doors(outsider: &Visitor, person: Uuid, causeway: &Client) -> anyhow::Result<Vec<Check>> {
    let mut checks = Vec::new();
    let mut say = |name: &str, ok: bool, detail: String| checks.push(Check { name: name.to_owned(), ok, detail });
    let page = format!("/patients/{person}");
    let doors = [
        (page.clone(), "view-record"),
        (format!("/fhir/Patient/{person}"), "fhir-read-patient"),
        (format!("/fhir/Observation?patient={person}"), "fhir-search-observation"),
    ];

    let nobody = answer(http().get(format!("{}/fhir/Patient/{person}", outsider.gateway))).await?;
    say("not_signed_in_refused", nobody.status == 401, format!("FHIR answered {}", nobody.status));

    let before = newest(causeway).await?;
    let mut statuses = Vec::new();
    for (door, _) in &doors {
        statuses.push(outsider.get(door).await?.status);
    }
    let refused = statuses.iter().all(|status| *status == 403);
    say("outsider_refused", refused, format!("page, Patient and Observation answered {statuses:?}"));
    let mut audited = 0;
    for (_, action) in &doors {
        audited += u32::from(entries(causeway, before, outsider, person, action, "refuse").await? > 0);
    }
    say(
        "refusals_audited",
        audited as usize == doors.len(),
        format!("{audited} of {} refusals are in the audit", doors.len()),
    );

    let before = newest(causeway).await?;
    let unreasoned = outsider.post(&format!("{page}/break-glass"), &[("csrf", ""), ("reason", " ")]).await?;
    let still = outsider.get(&page).await?;
    say(
        "glass_wants_a_reason",
        unreasoned.status == 400 && still.status == 403,
        format!("without a reason {}, then {}", unreasoned.status, still.status),
    );

    let reason = format!("Collapsed on the ward ({})", Uuid::new_v4().simple());
    let opened = outsider.post(&format!("{page}/break-glass"), &[("csrf", ""), ("reason", &reason)]).await?;
    let fhir = outsider.get(&doors[2].0).await?;
    let ok = opened.status == 200 && opened.path == page && opened.text.contains(BANNER) && fhir.status == 200;
    say(
        "glass_opens",
        ok,
        format!(
            "page {} {} banner, FHIR {}",
            opened.status,
            if opened.text.contains(BANNER) { "with" } else { "without" },
            fhir.status
        ),
    );
    let broken = entries(causeway, before, outsider, person, "break-glass", "allow").await?;
    let seen = entries(causeway, before, outsider, person, "view-record", "allow").await?;
    let with_reason: i64 = causeway
        .query_one(
            "select count(*) from access.audit where id > $1 and action = 'break-glass' and reason = $2",
            &[&before, &reason],
        )
        .await?
        .get(0);
    let ok = broken > 0 && seen > 0 && with_reason > 0;
    say(
        "glass_audited",
        ok,
        format!("{broken} entries of the glass, {with_reason} with the reason, {seen} of the reading"),
    );
    Ok(checks)
}

/// The newest audit entry's id.
async fn newest(causeway: &Client) -> anyhow::Result<i64> {
    Ok(causeway.query_one("select coalesce(max(id), 0) from access.audit", &[]).await?.get(0))
}

async fn entries(
    causeway: &Client,
    after: i64,
    visitor: &Visitor,
    person: Uuid,
    action: &str,
    decision: &str,
) -> anyhow::Result<i64> {
    let sql = "select count(*) from access.audit
        where id > $1 and actor = $2 and person::text = $3 and action = $4 and decision = $5";
    let row = causeway.query_one(sql, &[&after, &visitor.user, &person.to_string(), &action, &decision]).await?;
    Ok(row.get(0))
}

#[cfg(test)]
mod tests {
    #[test]
    fn forms_are_encoded() {
        assert_eq!(super::form(&[("csrf", ""), ("reason", "a b&c=é")]), "csrf=&reason=a%20b%26c%3D%C3%A9");
    }
}
