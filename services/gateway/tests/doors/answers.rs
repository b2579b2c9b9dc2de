//! One matter for each specimen; each team answers for itself, for what it was shown, and sees what others have done.

use super::{DAVID, Doors, POTASSIUM};
use anyhow::{Context, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// David's sodium and potassium, of one specimen.
pub const MATTER: &str = "0197f2a0-0000-7000-8000-0000000000b1";
/// A glucose of the same specimen, which comes later.
const GLUCOSE: &str = "0197f2a0-0000-7000-8000-0000000000a7";
const STATE: &str =
    "select count(*) from alert.alert where matter = '0197f2a0-0000-7000-8000-0000000000b1' and state = ";

async fn matter(doors: &Doors<'_>, token: &str) -> anyhow::Result<Value> {
    doors.json(token, &format!("/matters/{MATTER}")).await
}

async fn answer(doors: &Doors<'_>, token: &str, said: &Value) -> anyhow::Result<StatusCode> {
    let url = format!("{}/matters/{MATTER}/answer", doors.region.url);
    Ok(doors.client.put(url).bearer_auth(token).json(said).send().await?.status())
}

async fn said(doors: &Doors<'_>, token: &str, outcome: &str, note: &str, to: &str) -> anyhow::Result<StatusCode> {
    let shown = matter(doors, token).await?["shown"].clone();
    answer(doors, token, &json!({"shown": shown, "outcome": outcome, "note": note, "to": to})).await
}

/// The card of the matter in a list, if it is in it.
async fn card(doors: &Doors<'_>, token: &str, state: &str) -> anyhow::Result<Option<String>> {
    let (status, page) = doors.get(token, &format!("/inbox?state={state}")).await?;
    ensure!(status == StatusCode::OK, "{status}");
    let Some(begin) = page.find(&format!("id=\"matter-{MATTER}\"")) else { return Ok(None) };
    let end = page[begin..].find("<li id=\"matter-").map_or(page.len(), |next| begin + next);
    Ok(Some(page[begin..end].to_owned()))
}

pub async fn are_each_teams_own(doors: &Doors<'_>) -> anyhow::Result<()> {
    let (ed, endo) = (doors.token("ed.stmarys").await?, doors.token("endo.stmarys").await?);
    let (amu, gp) = (doors.token("amu.stmarys").await?, doors.token("gp.riverside").await?);
    let one = matter(doors, &ed).await?;
    ensure!(one["findings"].as_array().map(Vec::len) == Some(2), "one matter for the specimen: {one}");
    let theirs = matter(doors, &gp).await?;
    ensure!(
        theirs["findings"].as_array().map(Vec::len) == Some(1),
        "what rests on more was not routed there: {theirs}"
    );
    ensure!(theirs["shown"] != one["shown"], "another screen, another version");
    ensure!(theirs["findings"][0]["alert"] == POTASSIUM, "{theirs}");
    let shown = card(doors, &ed, "open").await?.context("the matter is in the list, once")?;
    ensure!(shown.contains("Potassium 6.7") && shown.contains("in known adrenal insufficiency"), "{shown}");
    let on_screen =
        format!("select count(*) from alert.delivery where user_id = 'ed.stmarys' and alert = '{POTASSIUM}'");
    ensure!(doors.count(&on_screen).await? == 1, "what stood on a screen is not known to have");
    what_is_not_an_answer(doors, &ed).await?;
    on_the_record(doors, &ed, true).await?;

    // Known already: to the team that says so, and nobody is kept from acting.
    ensure!(said(doors, &ed, "already-known", "", "").await? == StatusCode::OK);
    ensure!(doors.count(&format!("{STATE}'seen'")).await? == 2, "a team that knew it has not acted");
    ensure!(card(doors, &ed, "open").await?.is_none() && card(doors, &ed, "acknowledged").await?.is_some());
    on_the_record(doors, &ed, false).await?;
    let others = card(doors, &endo, "open").await?.context("it waits for the others")?;
    let line = "Said to be known already by Dr Tom Reid, St Mary&#39;s Emergency Department";
    ensure!(others.contains(line), "what others did is not told: {others}");

    // Taken back, and handed over.
    let form = "csrf=&note=";
    let opened = doors.ask(&ed, Method::POST, &format!("/matters/{MATTER}/reopen"), form).await?;
    ensure!(opened.status().is_success() || opened.status().is_redirection(), "{}", opened.status());
    ensure!(card(doors, &ed, "open").await?.is_some(), "opened again");
    ensure!(said(doors, &ed, "handed-over", "", "riverside").await? == StatusCode::BAD_REQUEST, "not of this result");
    ensure!(matter_status(doors, &amu).await? == StatusCode::NOT_FOUND);
    ensure!(said(doors, &ed, "handed-over", "bed 4 knows her", "stmarys-amu").await? == StatusCode::OK);
    let given = card(doors, &amu, "open").await?.context("it was handed over")?;
    ensure!(given.contains("It was handed over to your team.") && given.contains("“bed 4 knows her”"), "{given}");
    let gps = card(doors, &gp, "open").await?.context("the practice has it still")?;
    ensure!(gps.contains("Handed over to St Mary&#39;s Acute Medical Unit") && !gps.contains("bed 4"), "{gps}");

    // Acted on by one: the alert is acknowledged, and each other team is told by whom.
    ensure!(said(doors, &endo, "acted", "", "").await? == StatusCode::OK);
    let acknowledged = format!("{STATE}'acknowledged' and acknowledged_by = 'endo.stmarys'");
    ensure!(doors.count(&acknowledged).await? == 2, "acted on, and not acknowledged");
    for token in [&amu, &gp] {
        let waits = card(doors, token, "open").await?.context("each team answers for itself")?;
        ensure!(waits.contains("Acted on by"), "{waits}");
    }
    what_comes_later_is_news(doors, &endo).await?;
    for_the_next_shift(doors, &endo).await?;
    what_stood_on_a_screen_is_taken_back_there(doors, &endo).await?;
    wrong_is_told_and_answered(doors, &amu).await
}

/// What waits for the reader's teams stands on the patient's page.
async fn on_the_record(doors: &Doors<'_>, token: &str, waits: bool) -> anyhow::Result<()> {
    let (status, page) = doors.get(token, &format!("/patients/{DAVID}")).await?;
    let told = page.contains("Open alerts for your teams") && page.contains("Critical: Potassium 6.7");
    ensure!(status == StatusCode::OK && told == waits, "{status}: open alerts are told: {told}");
    Ok(())
}

async fn matter_status(doors: &Doors<'_>, token: &str) -> anyhow::Result<StatusCode> {
    Ok(doors.get(token, &format!("/matters/{MATTER}")).await?.0)
}

async fn what_is_not_an_answer(doors: &Doors<'_>, token: &str) -> anyhow::Result<()> {
    let shown = matter(doors, token).await?["shown"].clone();
    for (what, want) in [
        (json!({"shown": "another", "outcome": "acted"}), StatusCode::CONFLICT),
        (json!({"outcome": "acted"}), StatusCode::CONFLICT),
        (json!({"shown": shown, "outcome": "fine"}), StatusCode::BAD_REQUEST),
        (json!({"shown": shown}), StatusCode::BAD_REQUEST),
        (json!({"shown": shown, "outcome": "not-useful"}), StatusCode::BAD_REQUEST),
        (json!({"shown": shown, "outcome": "handed-over"}), StatusCode::BAD_REQUEST),
        (json!({"shown": shown, "outcome": "handed-over", "to": "stmarys-ed"}), StatusCode::BAD_REQUEST),
        (json!({"shown": shown, "outcome": "acted", "note": "x".repeat(501)}), StatusCode::BAD_REQUEST),
        (json!([]), StatusCode::BAD_REQUEST),
    ] {
        let status = answer(doors, token, &what).await?;
        ensure!(status == want, "{what}: {status}");
    }
    ensure!(doors.count("select count(*) from alert.step").await? == 0, "what is no answer is kept as one");
    Ok(())
}

/// A finding that was not on the screen opens the matter again, and the version from before answers nothing.
async fn what_comes_later_is_news(doors: &Doors<'_>, token: &str) -> anyhow::Result<()> {
    let before = matter(doors, token).await?["shown"].clone();
    let client = doors.region.pool.get().await?;
    client
        .batch_execute(&format!(
            "insert into alert.alert (id, fingerprint, rule, severity, source, patient, record, version, event_id, analyte, headline,
                detail, urgency, state, committed_at, matter)
             select '{GLUCOSE}', '\\x07', rule, severity, source, patient, record, version, event_id, 'glucose',
                'Glucose 2.2 mmol/L (critical low, limit 2.5)', detail, urgency, 'new', now(), matter
             from alert.alert where id = '{POTASSIUM}';
             insert into alert.recipient (alert, team, why) values ('{GLUCOSE}', 'stmarys-endocrinology', 'test')"
        ))
        .await?;
    let again = card(doors, token, "open").await?.context("a new finding waits")?;
    ensure!(again.contains("Glucose 2.2") && again.contains("Potassium 6.7"), "beside what was answered: {again}");
    let stale = json!({"shown": before, "outcome": "acted"});
    ensure!(answer(doors, token, &stale).await? == StatusCode::CONFLICT, "what was not shown was answered");
    ensure!(doors.count(&format!("{STATE}'new'")).await? == 1);
    ensure!(said(doors, token, "acted", "", "").await? == StatusCode::OK);
    ensure!(card(doors, token, "open").await?.is_none());
    Ok(())
}

/// Two findings on a screen, of which nobody has said that they saw them, are withdrawn.
async fn what_stood_on_a_screen_is_taken_back_there(doors: &Doors<'_>, token: &str) -> anyhow::Result<()> {
    let client = doors.region.pool.get().await?;
    let gone = ["0197f2a0-0000-7000-8000-0000000000c1", "0197f2a0-0000-7000-8000-0000000000c2"];
    let other = "0197f2a0-0000-7000-8000-0000000000bc";
    for (index, id) in gone.into_iter().enumerate() {
        client
            .batch_execute(&format!(
                "insert into alert.alert (id, fingerprint, rule, severity, source, patient, record, version, event_id, analyte,
                    headline, detail, urgency, state, committed_at, matter)
                 select '{id}', '\\xc{index}', rule, severity, source, patient, record, version, event_id, analyte,
                    'Potassium 7.9 mmol/L, finding {index}', detail, urgency, 'new', now(), '{other}'
                 from alert.alert where id = '{POTASSIUM}';
                 insert into alert.recipient (alert, team, why) values ('{id}', 'stmarys-endocrinology', 'test')"
            ))
            .await?;
    }
    let (_, before) = doors.get(token, "/inbox").await?;
    ensure!(before.contains("Potassium 7.9 mmol/L, finding 1"), "{before}");
    let withdraw = format!(
        "update alert.alert set state = 'withdrawn', withdrawn_at = now(), withdrawn_reason = 'the result was corrected by its source'
         where matter = '{other}'"
    );
    client.execute(&withdraw, &[]).await?;
    // The card that an open page fetches, and the page when it is loaded anew.
    let (status, card) = doors.get(token, &format!("/inbox/{other}?state=open")).await?;
    let struck = card.matches("<s class=\"headline\">Potassium 7.9").count();
    ensure!(status == StatusCode::OK && struck == 2 && !card.contains("<button id=\"acknowledge"), "{card}");
    let (_, told) = doors.get(token, "/inbox").await?;
    ensure!(told.contains("Withdrawn since you saw them"), "whoever had it on their screen is not told: {told}");
    for id in gone {
        doors.ask(token, Method::POST, &format!("/alerts/{id}/seen"), "csrf=").await?;
    }
    ensure!(!doors.get(token, "/inbox").await?.1.contains("Withdrawn since you saw"), "read is read");
    let ed = doors.token("ed.stmarys").await?;
    ensure!(!doors.get(&ed, "/inbox").await?.1.contains("7.9 mmol/L, finding"), "those who never had it are not told");
    Ok(())
}

async fn for_the_next_shift(doors: &Doors<'_>, token: &str) -> anyhow::Result<()> {
    let (status, page) = doors.get(token, "/inbox/hand-over").await?;
    ensure!(
        status == StatusCode::OK && page.contains("Glucose 2.2") && page.contains("Acted on by"),
        "{status} {page}"
    );
    let sql = "select count(*) from access.audit where actor = 'endo.stmarys' and action = 'open-hand-over' and decision = 'allow'";
    ensure!(doors.count(sql).await? == 1, "the list is not in the audit");
    Ok(())
}

async fn wrong_is_told_and_answered(doors: &Doors<'_>, token: &str) -> anyhow::Result<()> {
    let path = format!("/matters/{MATTER}/feedback");
    let odd = doors.ask(token, Method::POST, &path, "csrf=&kind=odd&note=").await?;
    ensure!(odd.status() == StatusCode::BAD_REQUEST, "{}", odd.status());
    doors.ask(token, Method::POST, &path, "csrf=&kind=wrong-code&note=that+is+the+venous+gas").await?;
    let pool = &doors.region.pool;
    let items = gateway::feedback::list(pool, false, 10).await?;
    ensure!(items.len() == 2, "one for each finding of the matter that was theirs: {items:?}");
    ensure!(items.iter().all(|item| item.kind == "wrong-code" && !item.event_id.is_empty()), "{items:?}");
    let id = items.first().context("one")?.id;
    let (_, note) = gateway::feedback::show(pool, id, "dora", "which sample?").await?.context("found")?;
    ensure!(note.note.as_deref() == Some("that is the venous gas"));
    let looks = "select count(*) from access.audit where actor = 'dora' and action = 'view-feedback' and reason = 'which sample?'
        and patient = '42' and decision = 'allow'";
    ensure!(doors.count(looks).await? == 1, "a look at a note is not in the audit");
    ensure!(gateway::feedback::answer(pool, id, "dora", "mended: it is told as a gas now").await?);
    ensure!(!gateway::feedback::answer(pool, id, "dora", "twice").await?, "answered once");
    let (_, inbox) = doors.get(token, "/inbox").await?;
    ensure!(inbox.contains("mended: it is told as a gas now") && inbox.contains("that is the venous gas"), "{inbox}");
    let read = format!("/feedback/{id}/read");
    let endo = doors.token("endo.stmarys").await?;
    let foreign = doors.ask(&endo, Method::POST, &read, "csrf=").await?;
    ensure!(foreign.status() == StatusCode::NOT_FOUND, "another's answer: {}", foreign.status());
    doors.ask(token, Method::POST, &read, "csrf=").await?;
    ensure!(!doors.get(token, "/inbox").await?.1.contains("mended: it is told as a gas now"), "read is read");
    ensure!(doors.get(token, &format!("/patients/{DAVID}")).await?.0 != StatusCode::INTERNAL_SERVER_ERROR);
    Ok(())
}
