//! Every door of the gateway over real PostgreSQL, Kafka and registry: who gets in, what they see, what is audited,
//! and what a live stream tells.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

mod answers;
mod audit;
mod dates;
mod entries;
mod fhir;
mod hapi;
mod identity;
mod limits;
mod live;
mod region;
mod resources;
mod revocation;
mod roles;
mod tls;

use anyhow::{Context, ensure};
use change_log::frame;
use event::{PatientAlert, SourcePatient, alert::AlertChange, avro};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    producer::{FutureProducer, FutureRecord},
};
use region::Region;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use std::time::{Duration, Instant};

const DAVID: &str = "0197f2a0-0000-7000-8000-000000000001";
const OLIVE: &str = "0197f2a0-0000-7000-8000-000000000002";
const MARY: &str = "0197f2a0-0000-7000-8000-000000000003";
const CARL: &str = "0197f2a0-0000-7000-8000-000000000004";
const POTASSIUM: &str = "0197f2a0-0000-7000-8000-0000000000a1";
const CRISIS: &str = "0197f2a0-0000-7000-8000-0000000000a2";
/// What the inbox says to everybody, whether anything is missing or not.
const ALWAYS: &str = "What agreements or patients' objections keep from you is not in this list";
const OLIVES: &str = "0197f2a0-0000-7000-8000-0000000000a4";
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_door_keeps_the_same_rules() -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("gateway-doors-{}", std::process::id()));
    let region = Region::start(&folder, "127.0.0.1:0".parse()?).await?;
    let doors = Doors { region: &region, client: Client::new() };
    live::fresh(&doors, "riverside", "R1V01", -3_600).await?;
    live::fresh(&doors, "stmarys", "RSM01", -3_600).await?;
    who_sees_whom(&doors).await?;
    the_record_page(&doors).await?;
    objection_withholds_without_saying_what(&doors).await?;
    what_a_source_keeps_back_stays_there(&doors).await?;
    glass_opens_with_a_reason(&doors).await?;
    entries::are_listed_and_withheld_unless_named(&doors).await?;
    fhir::pages_and_refuses(&doors).await?;
    let answers = resources::are_served(&doors).await?;
    hapi::finds_no_error(&doors, answers).await?;
    resources::are_taken_away(&doors).await?;
    dates::are_shown_as_they_are_known(&doors).await?;
    the_stream_tells_its_teams(&doors).await?;
    live::what_is_kept_back_reaches_no_stream(&doors).await?;
    live::readers_are_told_together_and_audited_apart(&doors).await?;
    live::pages_answer_while_streams_wait(&doors).await?;
    limits::a_nul_is_refused_everywhere(&doors).await?;
    limits::who_sends_half_a_request_is_let_go(&doors).await?;
    limits::a_lost_connection_is_a_reason_to_ask_again(&doors).await?;
    tls::only_its_authority_is_believed(&doors, &folder).await?;
    tls::a_trusted_proxy_may_say_that_it_was_tls(&doors).await?;
    audit::names_who_is_refused_and_left_out(&doors).await?;
    audit::names_who_is_not_told_on_a_stream(&doors).await?;
    identity::clerks_decide_side_by_side(&doors).await?;
    revocation::reaches_every_door(&doors).await?;
    roles::do_what_the_table_says(&doors).await?;
    answers::are_each_teams_own(&doors).await?;
    live::a_source_behind_is_told(&doors).await?;
    live::an_open_page_keeps_no_session_alive(&doors).await?;
    revocation::of_a_user_ends_the_stream(&doors).await?;
    limits::guesses_are_throttled(&doors).await?;
    the_audit_reaches_kafka(&doors).await?;
    region.stop.cancel();
    std::fs::remove_dir_all(&folder).ok();
    Ok(())
}

struct Doors<'a> {
    region: &'a Region,
    client: Client,
}

impl Doors<'_> {
    async fn token(&self, user: &str) -> anyhow::Result<String> {
        let password = self.region.passwords.get(user).context("a user")?;
        let body = serde_json::json!({"user": user, "password": password});
        let answer = self.client.post(format!("{}/session", self.region.url)).json(&body).send().await?;
        ensure!(answer.status() == StatusCode::CREATED, "{user} signs in: {}", answer.status());
        let session: Value = answer.json().await?;
        Ok(session["token"].as_str().context("a token")?.to_owned())
    }

    async fn ask(&self, token: &str, method: Method, path: &str, form: &str) -> anyhow::Result<Response> {
        let request = self.client.request(method, format!("{}{path}", self.region.url)).bearer_auth(token);
        let form = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
        Ok(form.send().await?)
    }

    async fn get(&self, token: &str, path: &str) -> anyhow::Result<(StatusCode, String)> {
        let answer = self.ask(token, Method::GET, path, "").await?;
        Ok((answer.status(), answer.text().await?))
    }

    async fn json(&self, token: &str, path: &str) -> anyhow::Result<Value> {
        let (status, text) = self.get(token, path).await?;
        ensure!(status == StatusCode::OK, "{path}: {status}");
        Ok(serde_json::from_str(&text)?)
    }

    async fn count(&self, sql: &str) -> anyhow::Result<i64> {
        Ok(self.region.pool.get().await?.query_one(sql, &[]).await?.get(0))
    }

    async fn audited(&self, user: &str, decision: &str, person: &str) -> anyhow::Result<i64> {
        let sql = format!(
            "select count(*) from access.audit where actor = '{user}' and decision = '{decision}' and person = '{person}'"
        );
        self.count(&sql).await
    }
}

/// Page and FHIR give the same verdict, and each leaves audit rows.
async fn who_sees_whom(doors: &Doors<'_>) -> anyhow::Result<()> {
    for (user, person, allowed) in [
        ("gp.riverside", DAVID, true),
        ("endo.stmarys", DAVID, true),
        ("ed.stmarys", DAVID, true),
        ("amu.stmarys", DAVID, false),
        ("engineer", DAVID, false),
        ("gp.riverside", MARY, false),
        ("ed.stmarys", MARY, false),
        ("endo.stmarys", OLIVE, false),
    ] {
        let token = doors.token(user).await?;
        let want = if allowed { StatusCode::OK } else { StatusCode::FORBIDDEN };
        let decision = if allowed { "allow" } else { "refuse" };
        for path in [
            format!("/patients/{person}"),
            format!("/fhir/Patient/{person}"),
            format!("/fhir/Observation?patient={person}"),
            format!("/fhir/Observation/{person}.00000000000000000000000000"),
        ] {
            let before = doors.audited(user, decision, person).await?;
            let (status, text) = doors.get(&token, &path).await?;
            let want = if allowed && path.contains("/Observation/") { StatusCode::NOT_FOUND } else { want };
            ensure!(status == want, "{user} {path}: {status}, not {want}");
            ensure!(
                allowed || !text.contains("Ellis") && !text.contains("943"),
                "{user} {path}: a refusal names nobody"
            );
            ensure!(doors.audited(user, decision, person).await? > before, "{user} {path} is not audited");
        }
    }
    for path in ["/fhir/Patient/x", "/inbox", "/status", "/events"] {
        let answer =
            doors.client.get(format!("{}{path}", doors.region.url)).header("accept", "application/json").send();
        ensure!(answer.await?.status() == StatusCode::UNAUTHORIZED, "{path} without a session");
    }
    let engineer = doors.token("engineer").await?;
    ensure!(doors.get(&engineer, "/status").await?.0 == StatusCode::OK);
    for path in ["/inbox", "/patients", "/events"] {
        ensure!(doors.get(&engineer, path).await?.0 == StatusCode::FORBIDDEN, "the engineer at {path}");
    }
    let clinician = doors.token("ed.stmarys").await?;
    ensure!(doors.get(&clinician, "/status").await?.0 == StatusCode::FORBIDDEN);
    Ok(())
}

async fn the_record_page(doors: &Doors<'_>) -> anyhow::Result<()> {
    let token = doors.token("ed.stmarys").await?;
    let (_, page) = doors.get(&token, &format!("/patients/{DAVID}")).await?;
    let at = |text: &str| page.find(text).with_context(|| format!("the page does not say: {text}"));
    ensure!(at("Steroid dependent")? < at("Allergies</h2>")? && at("Allergies</h2>")? < at("Current medicines")?);
    for text in [
        "Addison&#39;s disease",
        "Allergy to penicillin",
        "Latex &#60;script&#62;",
        "93 µmol/L",
        "1.05 mg/dL",
        "Riverside Practice and St Mary&#39;s",
        "Could not be checked: unknown unit",
        "Not on the hospital&#39;s list",
        "Different names, the same ingredient",
        "Status not understood: Biologist?",
        "still being read: lims.sample",
        "suspended: not being given: INR 8.1",
        "stopped: kidney injury",
        "recognised by its words, not by a code",
        "https://www.endocrinology.org/adrenal-crisis/",
    ] {
        at(text)?;
    }
    ensure!(at("Suspended: not being given</h3>")? < at("Ibuprofen")?, "what is stopped is not current");
    let banner = page.get(at("Steroid dependent")?..at("Allergies</h2>")?).unwrap_or_default();
    ensure!(!banner.contains("100 mg IV or IM") && !banner.contains("saline"), "no dose stands in the banner");
    ensure!(!page.contains("<script>alert") && !page.contains("<b>"), "text of a source is never markup");
    ensure!(!page.contains("Incomplete:"), "nothing is missing of David");
    let hugo = CARL.replace("0004", "0005");
    let (_, page) = doors.get(&token, &format!("/patients/{hugo}")).await?;
    ensure!(page.contains("No GP record is linked to this patient.") && !page.contains("Incomplete:"), "{page}");
    ensure!(page.matches("No GP record is linked: nobody looked").count() == 4, "on each empty list: {page}");
    let bundle = doors.json(&token, &format!("/fhir/Observation?patient={hugo}")).await?.to_string();
    ensure!(bundle.contains("No GP record is linked: nobody looked") && bundle.contains("unavailable"), "{bundle}");
    let found = doors.ask(&token, Method::POST, "/patients", "csrf=&query=ell").await?.text().await?;
    ensure!(found.contains(DAVID), "David is found by name");
    // The answer has an address that can be gone back to, without a name in it; it is one reader's.
    let again = doors.ask(&token, Method::POST, "/patients", "csrf=&query=ell").await?;
    let (path, other) =
        (format!("/patients?{}", again.url().query().unwrap_or_default()), doors.token("endo.stmarys").await?);
    ensure!(path.starts_with("/patients?search=") && !path.contains("ell"), "{path}");
    ensure!(doors.get(&token, &path).await?.1.contains(DAVID) && !doors.get(&other, &path).await?.1.contains(DAVID));
    let wrong = doors.ask(&token, Method::POST, "/patients", "csrf=&query=943+476+5918").await?.text().await?;
    ensure!(wrong.contains("its check digit does not fit"), "{wrong}");
    let nobody = doors.ask(&token, Method::POST, "/patients", "csrf=&query=nobody").await?.text().await?;
    ensure!(!nobody.contains(MARY) && nobody.contains("No patient of your teams matches"));
    Ok(())
}

async fn objection_withholds_without_saying_what(doors: &Doors<'_>) -> anyhow::Result<()> {
    let token = doors.token("ed.stmarys").await?;
    let (status, page) = doors.get(&token, &format!("/patients/{OLIVE}")).await?;
    ensure!(status == StatusCode::OK && page.contains("Incomplete:"));
    ensure!(!page.contains("Riverside"), "what is withheld is not named");
    ensure!(page.matches("None shown here").count() == 3, "allergies, problems and medicines say the same: {page}");
    for words in ["ask the patient", "No GP record", "Not on the", "apixaban", "anaphylaxis"] {
        ensure!(!page.contains(words), "of a patient who objects the page says: {words}");
    }
    // What is withheld, taken away: not one byte that this reader gets is another.
    let seen = |page: &str| -> anyhow::Result<String> {
        let until = page.find("sources-title").context("the sources")?;
        Ok(page[page.find("patient-name").context("the patient")?..until].to_owned())
    };
    let client = doors.region.pool.get().await?;
    client.execute("update record.allergy set retracted = true where record = 'allergy/3'", &[]).await?;
    let (_, without) = doors.get(&token, &format!("/patients/{OLIVE}")).await?;
    client.execute("update record.allergy set retracted = false where record = 'allergy/3'", &[]).await?;
    ensure!(seen(&page)? == seen(&without)?, "the page tells what is withheld");
    let (_, gps) = doors.get(&doors.token("gp.riverside").await?, &format!("/patients/{OLIVE}")).await?;
    ensure!(gps.contains("anaphylaxis"), "the practice sees its own");
    let gp = doors.token("gp.riverside").await?;
    let (_, inbox) = doors.get(&gp, "/inbox").await?;
    ensure!(inbox.contains("Potassium 6.7") && !inbox.contains("Potassium of Olive"), "an objection holds for alerts");
    ensure!(inbox.contains(ALWAYS));
    // What rests on the practice's problem does not exist for the hospital, until the patient lets it know.
    let crisis = "0197f2a0-0000-7000-8000-0000000000a6";
    let (_, inbox) = doors.get(&token, "/inbox").await?;
    ensure!(inbox.contains("Potassium of Olive") && inbox.contains(ALWAYS), "{inbox}");
    ensure!(!inbox.contains("Potassium 5.6 mmol/L (high potassium in known"), "{inbox}");
    let refused = doors.ask(&token, Method::PUT, &format!("/alerts/{crisis}/seen"), "").await?;
    ensure!(refused.status() == StatusCode::NOT_FOUND, "{}", refused.status());
    client.execute("update record.patient set objection = false where patient = 'p-2'", &[]).await?;
    let (_, told) = doors.get(&token, "/inbox").await?;
    client.execute("update record.patient set objection = true where patient = 'p-2'", &[]).await?;
    ensure!(told.contains("Potassium 5.6 mmol/L (high potassium in known adrenal insufficiency"), "{told}");
    let sql =
        "select count(*) from access.audit where actor = 'gp.riverside' and decision = 'refuse' and patient = '43'
        and why = 'no agreement covers it'";
    ensure!(doors.count(sql).await? >= 1);
    Ok(())
}

/// Whom the practice keeps back, and what the hospital keeps back, at every exit and under a broken glass.
async fn what_a_source_keeps_back_stays_there(doors: &Doors<'_>) -> anyhow::Result<()> {
    let (ed, gp) = (doors.token("ed.stmarys").await?, doors.token("gp.riverside").await?);
    for path in [format!("/patients/{CARL}"), format!("/fhir/Patient/{CARL}")] {
        let (status, text) = doors.get(&ed, &path).await?;
        let text = text.to_lowercase();
        ensure!(status == StatusCode::OK && text.contains("carlsson"), "{path}: {status}");
        for kept in ["zachert", "zzyzx", "9912003888", "991 200 3888", "riverside"] {
            ensure!(!text.contains(kept), "{path} says: {kept}");
        }
        let (_, own) = doors.get(&gp, &path).await?;
        ensure!(own.to_lowercase().contains("zachert"), "the practice reads its own patient at {path}");
    }
    let (_, page) = doors.get(&ed, &format!("/patients/{CARL}")).await?;
    ensure!(
        page.contains("Incomplete:") && page.contains("Kept back test"),
        "announced, and the hospital's own is shown"
    );
    ensure!(page.matches("None shown here").count() == 3, "the same on every list");
    let (_, page) = doors.get(&gp, &format!("/patients/{CARL}")).await?;
    ensure!(page.contains("Incomplete:") && !page.contains("Kept back test"));
    for (token, total) in [(&ed, 1), (&gp, 0)] {
        let bundle = doors.json(token, &format!("/fhir/Observation?patient={CARL}")).await?;
        ensure!(bundle["total"] == total, "{bundle}");
        ensure!(total == 1 || bundle.to_string().contains("None shown here"), "{bundle}");
    }
    for (token, shown) in [(&ed, true), (&gp, false)] {
        let (_, inbox) = doors.get(token, "/inbox").await?;
        ensure!(inbox.contains("Kept back potassium") == shown, "an alert on what is kept back");
    }
    // By what only the practice knows, nobody else finds him; an unknown number is answered alike.
    for (query, found) in [("zachert", false), ("991 200 3888", false), ("carlsson", true)] {
        let answer = doors.ask(&ed, Method::POST, "/patients", &format!("csrf=&query={query}")).await?.text().await?;
        ensure!(answer.contains(CARL) == found, "ED asks for {query}");
    }
    let by_number = "/fhir/Patient?identifier=https://fhir.nhs.uk/Id/nhs-number%7C9912003888";
    ensure!(doors.json(&ed, by_number).await?["total"] == 0 && doors.json(&gp, by_number).await?["total"] == 1);
    let amu = doors.token("amu.stmarys").await?;
    for number in ["9912003888", "9000000017"] {
        let form = format!("csrf=&nhs_number={number}&reason=unconscious+in+resus");
        let answer = doors.ask(&amu, Method::POST, "/break-glass", &form).await?;
        ensure!(answer.status() == StatusCode::NOT_FOUND, "{number}: {}", answer.status());
    }
    let sql = "select count(*) from access.audit where actor = 'amu.stmarys' and why = 'nobody has this number'";
    ensure!(doors.count(sql).await? == 1, "attempts are audited, for a number that nobody has…");
    let sql = format!(
        "select count(*) from access.audit where actor = 'amu.stmarys' and decision = 'refuse'
        and action = 'break-glass' and why = 'only what is withheld has what was asked for' and person = '{CARL}'"
    );
    ensure!(doors.count(&sql).await? == 2, "…and for whose it is, of each source");
    doors.ask(&amu, Method::POST, &format!("/patients/{CARL}/break-glass"), "csrf=&reason=collapsed+at+home").await?;
    let (status, page) = doors.get(&amu, &format!("/patients/{CARL}")).await?;
    ensure!(status == StatusCode::OK && page.contains("You broke the glass") && !page.contains("ZACHERT"));
    doors.region.pool.get().await?.execute("delete from access.break_glass", &[]).await?;
    let unknown = "/patients/0197f2a0-0000-7000-8000-0000000000ff";
    for path in [unknown.to_owned(), format!("/patients/{MARY}")] {
        ensure!(doors.get(&ed, &path).await?.0 == StatusCode::FORBIDDEN, "{path} says whether there is one");
    }
    Ok(())
}

async fn glass_opens_with_a_reason(doors: &Doors<'_>) -> anyhow::Result<()> {
    let token = doors.token("amu.stmarys").await?;
    let path = format!("/patients/{DAVID}/break-glass");
    let answer = doors.ask(&token, Method::POST, &path, "csrf=&reason=x").await?;
    ensure!(answer.status() == StatusCode::BAD_REQUEST, "one letter is no reason");
    // A browser's cookie alone is not enough: the form's token is asked for.
    let forged =
        doors.client.post(format!("{}{path}", doors.region.url)).header("cookie", format!("causeway_session={token}"));
    let forged =
        forged.header("content-type", "application/x-www-form-urlencoded").body("csrf=guess&reason=unconscious");
    ensure!(forged.send().await?.status() == StatusCode::FORBIDDEN);
    ensure!(doors.count("select count(*) from access.break_glass").await? == 0);
    doors.ask(&token, Method::POST, &path, "csrf=&reason=unconscious+in+resus").await?;
    let (status, page) = doors.get(&token, &format!("/patients/{DAVID}")).await?;
    ensure!(status == StatusCode::OK && page.contains("You broke the glass") && page.contains("unconscious in resus"));
    let sql = "select count(*) from access.audit where actor = 'amu.stmarys' and action = 'view-record' and decision = 'allow'
        and reason = 'unconscious in resus'";
    ensure!(doors.count(sql).await? == 4, "one row for each source patient, of the redirect and of the page");
    doors.region.pool.get().await?.execute("update access.break_glass set until_at = now()", &[]).await?;
    ensure!(doors.get(&token, &format!("/patients/{DAVID}")).await?.0 == StatusCode::FORBIDDEN, "after its time");
    Ok(())
}

/// An alert's change as the deliverer writes it.
async fn tell(doors: &Doors<'_>, id: i64, alert: &str, change: AlertChange, teams: &[&str]) -> anyhow::Result<()> {
    let change = PatientAlert {
        id,
        alert: alert.parse()?,
        change,
        patient: SourcePatient { source: "stmarys".into(), id: "42".into() },
        teams: teams.iter().map(ToString::to_string).collect(),
        rule: "critical-limit".into(),
        severity: "critical".into(),
        urgency: "paged".into(),
        state: "new".into(),
        at: jiff::Timestamp::now().as_microsecond(),
    };
    let mut datum = Vec::new();
    avro::encode_alert(&change, &mut datum);
    let producer: FutureProducer = doors.region.kafka.client().create()?;
    let topic = doors.region.kafka.topic("patient.alerts");
    let schema = doors.region.registry.register(&format!("{topic}-value"), avro::ALERT_SCHEMA).await?;
    let value = frame::wrap(schema, &datum);
    let record = FutureRecord::to(&topic).key(alert).payload(&value);
    producer.send(record, PATIENCE).await.map_err(|(error, _)| error)?;
    Ok(())
}

struct Stream {
    answer: Response,
    text: String,
}

impl Stream {
    async fn open(doors: &Doors<'_>, token: &str, last: Option<&str>) -> anyhow::Result<Self> {
        let mut request = doors.client.get(format!("{}/events", doors.region.url)).bearer_auth(token);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await?;
        ensure!(answer.status() == StatusCode::OK, "the stream opens: {}", answer.status());
        Ok(Self { answer, text: String::new() })
    }

    /// The next event of this kind: its id and data. `None` when the stream ends.
    async fn next(&mut self, kind: &str) -> anyhow::Result<Option<(String, Value)>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n").map(|(e, r)| (e.to_owned(), r.to_owned())) {
                self.text = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
                if field("event: ") == kind {
                    return Ok(Some((field("id: ").to_owned(), serde_json::from_str(field("data: "))?)));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.answer.chunk()).await.with_context(|| format!("no {kind} came"))?? {
                Some(chunk) => self.text.push_str(std::str::from_utf8(&chunk)?),
                None => return Ok(None),
            }
        }
    }
}

async fn the_stream_tells_its_teams(doors: &Doors<'_>) -> anyhow::Result<()> {
    let (ed, gp) = (doors.token("ed.stmarys").await?, doors.token("gp.riverside").await?);
    let (mut at_ed, mut at_gp) = (Stream::open(doors, &ed, None).await?, Stream::open(doors, &gp, None).await?);
    let hospital = ["stmarys-ed", "stmarys-endocrinology"];
    tell(doors, 1, CRISIS, AlertChange::Raised, &hospital).await?;
    // Olive objects: the practice is not told of the hospital's result, whatever the routing says.
    tell(doors, 2, OLIVES, AlertChange::Raised, &["riverside"]).await?;
    let all = ["stmarys-ed", "stmarys-endocrinology", "riverside"];
    tell(doors, 3, POTASSIUM, AlertChange::Raised, &all).await?;
    let (first, crisis) = at_ed.next("alert").await?.context("the crisis")?;
    ensure!(crisis["alert"] == CRISIS && crisis["change"] == "raised" && crisis["severity"] == "critical", "{crisis}");
    ensure!(crisis["link"] == format!("/patients/{DAVID}") && crisis["patient"] == "ELLIS, David", "{crisis}");
    let (second, potassium) = at_ed.next("alert").await?.context("the potassium")?;
    ensure!(potassium["alert"] == POTASSIUM);
    let (_, only) = at_gp.next("alert").await?.context("the practice's")?;
    ensure!(only["alert"] == POTASSIUM, "the practice got {only}");
    // A change told again is not told again; a resumed stream goes on after its last event.
    tell(doors, 3, POTASSIUM, AlertChange::Raised, &all).await?;
    tell(doors, 4, POTASSIUM, AlertChange::Seen, &all).await?;
    let (_, seen) = at_ed.next("alert").await?.context("the next")?;
    ensure!(seen["change"] == "seen", "{seen}");
    let mut resumed = Stream::open(doors, &ed, Some(&first)).await?;
    ensure!(resumed.next("alert").await?.context("resumed")?.0 == second);
    for outside in ["999999", "-5", "not an id"] {
        let mut lost = Stream::open(doors, &ed, Some(outside)).await?;
        lost.next("reset").await?.with_context(|| format!("{outside} is outside the window"))?;
    }
    let sql =
        "select count(*) from access.audit where actor = 'ed.stmarys' and action = 'view-alerts' and patient = '42'";
    ensure!(doors.count(sql).await? >= 4, "what a stream shows is audited");
    Ok(())
}

async fn the_audit_reaches_kafka(doors: &Doors<'_>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while doors.count("select count(*) from access.outbox").await? > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut client = doors.region.kafka.client();
    client.set("group.id", "test").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = client.create()?;
    let topic = doors.region.kafka.topic("audit");
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&topic, 0, Offset::Beginning)?;
    consumer.assign(&assignment)?;
    let want = doors.count("select count(*) from access.audit").await?;
    let mut got = 0;
    while got < want && Instant::now() < deadline {
        if let Some(message) = consumer.poll(Duration::from_millis(200)) {
            ensure!(message?.key().is_some_and(|key| !key.is_empty()), "keyed by the actor");
            got += 1;
        }
    }
    ensure!(got == want, "{got} of {want} entries are on the topic");
    let changed = doors.region.pool.get().await?.execute("delete from access.audit", &[]).await;
    ensure!(changed.is_err(), "the audit is only added to");
    Ok(())
}
