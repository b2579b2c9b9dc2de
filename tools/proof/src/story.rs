//! David's story, told to the sources and read back through the doors that clinicians use. Each sentence is a check; the
//! one about the test that nobody repeats is a decision of people, and has none.

use crate::{
    access::{Answer, Visitor},
    live::Stream,
    report::Check,
    running::Running,
};
use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use region::story::{self, NHS_NUMBER};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio_postgres::Client;

/// What was committed shows within this, or never.
const SHOWN_WITHIN: Duration = Duration::from_secs(20);
/// The emergency page opens within this.
const PAGE_WITHIN: Duration = Duration::from_secs(1);
const ALERT_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
const ENDOCRINOLOGIST: &str = "endo.stmarys";
const EMERGENCY: &str = "ed.stmarys";
/// Of another team, who meets David by breaking the glass.
const OTHER_TEAM: &str = "amu.stmarys";

struct Scene<'a> {
    gateway: &'a str,
    passwords: &'a BTreeMap<String, String>,
    gp: &'a Client,
    hospital: &'a Client,
}

/// Lives through the story, and says of each sentence whether it came true. David must be unknown to the users' teams.
pub async fn tell(running: &Running) -> anyhow::Result<Vec<Check>> {
    let (gp, hospital) = (running.source("riverside").await?, running.source("stmarys").await?);
    let scene = Scene { gateway: &running.gateway, passwords: &running.passwords, gp: &gp, hospital: &hospital };
    scenes(&scene).await
}

async fn scenes(scene: &Scene<'_>) -> anyhow::Result<Vec<Check>> {
    let mut checks = vec![tuesday(scene).await?];
    let encounter = story::ae_attendance(scene.hospital, ago(40)).await?;
    let emergency = scene.visitor(EMERGENCY).await?;
    checks.push(night(&emergency).await?);
    checks.push(broken_glass(scene, &emergency).await?);
    checks.push(crisis(scene, &emergency, encounter).await?);
    Ok(checks)
}

impl Scene<'_> {
    async fn visitor(&self, user: &str) -> anyhow::Result<Visitor> {
        let password = self.passwords.get(user).with_context(|| format!("no password of {user}"))?;
        Visitor::sign_in(self.gateway, user, password).await
    }
}

fn ago(minutes: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_mins(minutes)
}

fn sentence(name: &str, failures: &[String], detail: String) -> Check {
    let ok = failures.is_empty();
    Check { name: name.to_owned(), ok, detail: if ok { detail } else { failures.join("; ") } }
}

/// On Tuesday his endocrinologist sees Monday's sodium, potassium and creatinine beside her own, in the same units.
async fn tuesday(scene: &Scene<'_>) -> anyhow::Result<Check> {
    let monday = story::monday_bloods(scene.gp, ago(26 * 60), ago(24 * 60)).await?;
    let hers = story::tuesday_endocrinology(scene.hospital, ago(3 * 60), ago(2 * 60)).await?.bloods;
    let began = Instant::now();
    let visitor = scene.visitor(ENDOCRINOLOGIST).await?;
    let pairs = [
        ("sodium", monday.sodium, hers.sodium, "mmol/L"),
        ("potassium", monday.potassium, hers.potassium, "mmol/L"),
        ("creatinine", monday.creatinine, hers.creatinine, "umol/L"),
    ];
    let mut failures;
    loop {
        failures = Vec::new();
        let shown = observations(&visitor).await?;
        for (test, his, hers, unit) in &pairs {
            let of_gp = shown.get(&format!("observation/{his}"));
            let of_hospital = shown.get(&format!("result/{hers}"));
            match (of_gp, of_hospital) {
                (None, _) => failures.push(format!("Monday's {test} is not there")),
                (_, None) => failures.push(format!("Tuesday's {test} is not there")),
                (Some(one), Some(two)) => {
                    let units = (one["code"].as_str(), two["code"].as_str());
                    if units != (Some(unit), Some(unit)) {
                        failures.push(format!("{test} is in {units:?}, not both in {unit}"));
                    }
                }
            }
        }
        if failures.is_empty() || began.elapsed() > SHOWN_WITHIN {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    let detail = format!("three pairs in the same units, {:.1} s after the last commit", began.elapsed().as_secs_f64());
    Ok(sentence("story_tuesday_results_side_by_side", &failures, detail))
}

/// David's results by record id, as FHIR shows them; none while the reader may not see him.
async fn observations(visitor: &Visitor) -> anyhow::Result<BTreeMap<String, Value>> {
    let found = visitor
        .get(&format!("/fhir/Patient?identifier=https%3A%2F%2Ffhir.nhs.uk%2FId%2Fnhs-number%7C{NHS_NUMBER}"))
        .await?;
    ensure!(found.status == 200, "the search for a patient answered {}", found.status);
    let mut shown = BTreeMap::new();
    let bundle = found.json();
    let persons = bundle["entry"].as_array().into_iter().flatten();
    for person in persons.filter_map(|entry| entry["resource"]["id"].as_str()) {
        let answer = visitor.get(&format!("/fhir/Observation?patient={person}&_count=200")).await?;
        let bundle = answer.json();
        for entry in bundle["entry"].as_array().into_iter().flatten() {
            let resource = &entry["resource"];
            if let Some(record) = resource["identifier"][0]["value"].as_str() {
                shown.insert(record.to_owned(), resource["valueQuantity"].clone());
            }
        }
    }
    Ok(shown)
}

/// That night A&E sees his allergies and current medicines (GP and hospital) in one second, with his steroid dependence at
/// the top: here by the encounter.
async fn night(emergency: &Visitor) -> anyhow::Result<Check> {
    let began = Instant::now();
    let mut failures = vec!["David is not found".to_owned()];
    let mut took = Duration::ZERO;
    while !failures.is_empty() && began.elapsed() < SHOWN_WITHIN {
        if let Some(person) = person(emergency).await? {
            let page = emergency.get(&format!("/patients/{person}")).await?;
            failures = emergency_page(&page);
            took = page.took;
        }
        if !failures.is_empty() {
            tokio::time::sleep(POLL).await;
        }
    }
    let detail = format!(
        "the page took {} ms; David was found {:.1} s after his arrival",
        took.as_millis(),
        began.elapsed().as_secs_f64()
    );
    Ok(sentence("story_emergency_page_by_encounter", &failures, detail))
}

/// The person whom the reader's teams know by David's number.
async fn person(visitor: &Visitor) -> anyhow::Result<Option<String>> {
    let found = visitor.get(&format!("/fhir/Patient?identifier={NHS_NUMBER}")).await?.json();
    Ok(found["entry"][0]["resource"]["id"].as_str().map(str::to_owned))
}

/// What is wrong with the page. What it must say is of David's rows in the sources.
fn emergency_page(page: &Answer) -> Vec<String> {
    if page.status != 200 {
        return vec![format!("the page answered {}", page.status)];
    }
    let mut failures = Vec::new();
    if page.took > PAGE_WITHIN {
        failures.push(format!("the page took {} ms", page.took.as_millis()));
    }
    let wanted = [
        ("the GP's allergy", "penicillin allergy"),
        ("the GP's hydrocortisone", "Hydrocortisone 10mg tablets"),
        ("the GP's fludrocortisone", "Fludrocortisone 100microgram tablets"),
        ("the hospital's emergency kit", "(emergency kit)"),
        ("the problem", "Addison"),
    ];
    let lacking = wanted.iter().filter(|(_, words)| !page.text.contains(words));
    failures.extend(lacking.map(|(what, _)| format!("{what} is not on the page")));
    let place = |heading: &str| page.text.find(&format!("{heading}</h2>"));
    let steroids = page.text.find("Steroid dependent");
    let below = [place("Allergies"), place("Problems"), place("Current medicines"), place("Last results")];
    if !steroids.is_some_and(|top| below.iter().all(|below| below.is_some_and(|below| top < below))) {
        failures.push("steroid dependence is not at the top".to_owned());
    }
    failures
}

/// The same for somebody of another team, who is refused and then breaks the glass.
async fn broken_glass(scene: &Scene<'_>, emergency: &Visitor) -> anyhow::Result<Check> {
    let other = scene.visitor(OTHER_TEAM).await?;
    let mut failures = Vec::new();
    let Some(person) = person(emergency).await? else {
        return Ok(sentence("story_emergency_page_by_broken_glass", &["David is not found".to_owned()], String::new()));
    };
    let before = other.get(&format!("/patients/{person}")).await?;
    if before.status != 403 {
        failures.push(format!("before the glass was broken the page answered {}", before.status));
    }
    let fields = [("csrf", ""), ("nhs_number", NHS_NUMBER), ("reason", "Collapsed, cannot speak for himself")];
    let opened = other.post("/break-glass", &fields).await?;
    if opened.path != format!("/patients/{person}") {
        failures.push("the glass opened something else".to_owned());
    }
    if !opened.text.contains("You broke the glass") {
        failures.push("the page does not say that the glass is broken".to_owned());
    }
    failures.extend(emergency_page(&opened));
    let detail = format!("refused, then open in {} ms", opened.took.as_millis());
    Ok(sentence("story_emergency_page_by_broken_glass", &failures, detail))
}

/// The next potassium comes back at 6.7 with a sodium of 121, and the on-call team's screen says so.
async fn crisis(scene: &Scene<'_>, emergency: &Visitor, encounter: i64) -> anyhow::Result<Check> {
    let mut stream = Stream::open(scene.gateway, &emergency.token, None).await?;
    story::crisis_result(scene.hospital, encounter, ago(20), Timestamp::now()).await?;
    let began = Instant::now();
    let deadline = tokio::time::Instant::now() + ALERT_WITHIN;
    let (mut potassium, mut sodium) = (None, None);
    while potassium.is_none() || sodium.is_none() {
        let Ok(event) = tokio::time::timeout_at(deadline, stream.next()).await else { break };
        let event = event?;
        if event.name != "alert" || event.data["change"] != "raised" {
            continue;
        }
        let headline = event.data["headline"].as_str().unwrap_or_default();
        if headline.contains("6.7") {
            potassium.get_or_insert(began.elapsed());
        }
        if headline.contains("121") {
            sodium.get_or_insert(began.elapsed());
        }
    }
    let mut failures = Vec::new();
    if potassium.is_none() {
        failures.push("no alert of the potassium".to_owned());
    }
    if sodium.is_none() {
        failures.push("no alert of the sodium".to_owned());
    }
    let millis = |time: Option<Duration>| time.map_or(0, |time| time.as_millis());
    let detail = format!("on the screen after {} ms (potassium) and {} ms (sodium)", millis(potassium), millis(sodium));
    Ok(sentence("story_crisis_on_the_screen", &failures, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<h2>Steroid dependent: risk of adrenal crisis</h2><h2>Allergies</h2>H/O: penicillin allergy
        <h2>Problems</h2>Addison&#39;s disease<h2>Current medicines</h2>Hydrocortisone 10mg tablets
        Fludrocortisone 100microgram tablets Hydrocortisone injection (emergency kit)<h2>Last results</h2>";

    fn page(text: &str) -> Answer {
        Answer { status: 200, path: "/patients/1".into(), text: text.into(), took: Duration::from_millis(80) }
    }

    #[test]
    fn the_emergency_page_must_say_everything() {
        assert_eq!(emergency_page(&page(PAGE)), Vec::<String>::new());
        assert_eq!(
            emergency_page(&page(&PAGE.replace("(emergency kit)", ""))),
            ["the hospital's emergency kit is not on the page"]
        );
        let (top, rest) = PAGE.split_at(PAGE.find("<h2>Allergies").unwrap());
        assert_eq!(emergency_page(&page(&format!("{rest}{top}"))), ["steroid dependence is not at the top"]);
        assert_eq!(emergency_page(&Answer { status: 403, ..page(PAGE) }), ["the page answered 403"]);
        let slow = Answer { took: Duration::from_millis(1_001), ..page(PAGE) };
        assert_eq!(emergency_page(&slow), ["the page took 1001 ms"]);
    }
}
