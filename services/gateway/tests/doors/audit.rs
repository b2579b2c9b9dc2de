//! Whoever is refused or left out, at whatever door, is in the audit by name.

use super::{CARL, DAVID, Doors, OLIVES, POTASSIUM, Stream, answers::MATTER, tell};
use anyhow::{Context, ensure};
use event::alert::AlertChange;
use reqwest::Method;
use std::time::{Duration, Instant};

const NOBODY: &str = "0197f2a0-0000-7000-8000-0000000000fe";
const WITHHELD: &str = "only what is withheld has what was asked for";

struct Case {
    user: &'static str,
    method: Method,
    path: String,
    form: &'static str,
    /// What the audit says after it, and of whom.
    want: String,
}

fn case(user: &'static str, method: Method, path: impl Into<String>, form: &'static str, want: String) -> Case {
    Case { user, method, path: path.into(), form, want }
}

fn refused(why: &str, person: &str) -> String {
    format!("decision = 'refuse' and why = '{why}' and person = '{person}'")
}

pub async fn names_who_is_refused_and_left_out(doors: &Doors<'_>) -> anyhow::Result<()> {
    let number = "/fhir/Patient?identifier=https://fhir.nhs.uk/Id/nhs-number%7C9912003888";
    let two = format!("/fhir/Patient?_id={DAVID},{CARL}&_count=1");
    let mut missing = Vec::new();
    for case in [
        // By a name and a number that only what is withheld has.
        case("ed.stmarys", Method::POST, "/patients", "csrf=&query=zachert", refused(WITHHELD, CARL)),
        case("ed.stmarys", Method::GET, number, "", refused(WITHHELD, CARL)),
        case(
            "amu.stmarys",
            Method::POST,
            "/break-glass",
            "csrf=&nhs_number=9912003888&reason=unconscious+in+resus",
            refused(WITHHELD, CARL),
        ),
        // The name is found, and one other person of that page of the answer.
        case("ed.stmarys", Method::GET, two.clone(), "", refused("not on this page of what was found", CARL)),
        case("ed.stmarys", Method::GET, two, "", format!("decision = 'allow' and person = '{DAVID}'")),
        case("ed.stmarys", Method::GET, format!("/fhir/Patient?_id={NOBODY}"), "", refused("no such person", NOBODY)),
        case(
            "amu.stmarys",
            Method::POST,
            format!("/patients/{DAVID}/break-glass"),
            "csrf=&reason=x",
            refused("no reason was given", DAVID),
        ),
        // An alert of other teams, looked at and handled.
        case("amu.stmarys", Method::GET, format!("/inbox/{MATTER}"), "", others("view-alerts")),
        case("amu.stmarys", Method::PUT, format!("/matters/{MATTER}/seen"), "", others("handle-alert")),
        case("amu.stmarys", Method::PUT, format!("/alerts/{POTASSIUM}/seen"), "", others("handle-alert")),
    ] {
        let token = doors.token(case.user).await?;
        let before = doors.count("select coalesce(max(id), 0) from access.audit").await?;
        doors.ask(&token, case.method, &case.path, case.form).await?;
        let sql = format!(
            "select count(*) from access.audit where id > {before} and actor = '{}' and {}",
            case.user, case.want
        );
        if doors.count(&sql).await? == 0 {
            missing.push(format!("{} at {}: {}", case.user, case.path, case.want));
        }
    }
    ensure!(missing.is_empty(), "not audited:\n{}", missing.join("\n"));
    Ok(())
}

fn others(action: &str) -> String {
    format!(
        "action = '{action}' and decision = 'refuse' and source = 'stmarys' and patient = '42' and person = '{DAVID}'"
    )
}

/// A change is told for a team that does not have the alert any more.
pub async fn names_who_is_not_told_on_a_stream(doors: &Doors<'_>) -> anyhow::Result<()> {
    let token = doors.token("endo.stmarys").await?;
    let mut stream = Stream::open(doors, &token, None).await?;
    let before = doors.count("select coalesce(max(id), 0) from access.audit").await?;
    tell(doors, 40, OLIVES, AlertChange::Seen, &["stmarys-endocrinology"]).await?;
    tell(doors, 41, POTASSIUM, AlertChange::Seen, &["stmarys-endocrinology"]).await?;
    let (_, told) = stream.next("alert").await?.context("their own")?;
    ensure!(told["alert"] == POTASSIUM, "{told}");
    let sql = format!(
        "select count(*) from access.audit where id > {before} and actor = 'endo.stmarys' and decision = 'refuse'
         and source = 'stmarys' and patient = '43'"
    );
    let deadline = Instant::now() + Duration::from_secs(5);
    while doors.count(&sql).await? == 0 {
        ensure!(Instant::now() < deadline, "who is not told is not in the audit");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
