//! The data-quality role's pages: who looks at pairs of patients, who decides, and that the linker acts on it.

use super::Doors;
use anyhow::{Context, ensure};
use identity::{
    compare::Field,
    parameters::{Bands, File, Parameters, Rates},
};
use reqwest::{Client, Method, StatusCode, header, redirect::Policy};
use std::collections::BTreeMap;

const RUTH: &str = "ruth.quality";
const AMIR: &str = "amir.quality";
/// Two who have two verified numbers, two who only weigh something, and one whose source keeps them back.
const PATIENTS: &str = "insert into identity.patient (source, patient, own, position, revision, nhs_number, number_now, verified,
    birth_date, withdrawn, described, given, family, gender, postcode, confidential)
  select s.source, s.patient, gen_random_uuid(), '1', 1, s.number, s.number, s.number is not null, s.born::date, false, true,
    s.given, s.family, 'female', 'RV1 2AB', s.kept
  from (values
    ('riverside', 'q-1', '9000000009', '1984-06-07', 'Annabel <b>', 'Quimby', false),
    ('stmarys', 'q-2', '9000000025', '1984-06-07', 'Annabel', 'Quimby', false),
    ('riverside', 'q-3', null, '1990-01-02', 'Beatrix', 'Quarles', false),
    ('stmarys', 'q-4', null, '1990-01-03', 'Bea', 'Quarles', false),
    ('riverside', 'q-5', null, '1950-05-05', 'Zzyzx', 'Quill', true)) as s (source, patient, number, born, given, family, kept)";
const QUEUE: &str = "insert into identity.queue (one, other, reason, weight, since) values
    (1, 2, 'two verified NHS numbers', 14000, now()), (3, 4, 'the weight lies between the bands', 7188, now()),
    (4, 5, 'two birth dates', null, now())";

/// Each field that is the same weighs 6.492 bits, one that differs -4.170.
pub fn weights() -> anyhow::Result<Parameters> {
    let rates = |m: &str, u: &str| Rates { m: m.into(), u: u.into() };
    let field = |field: Field| {
        let levels = field.levels();
        let rates = levels.iter().enumerate().map(|(at, level)| {
            let rates = match at {
                0 => rates("0.9", "0.01"),
                at if at + 1 == levels.len() => rates("0.05", "0.9"),
                _ => rates("0.05", "0.05"),
            };
            ((*level).to_owned(), rates)
        });
        (field.as_str().to_owned(), rates.collect())
    };
    let file = File {
        version: "doors-1".into(),
        prior: "0.0001".into(),
        frequency_min: "0.001".into(),
        bands: Bands { link: "12".into(), clerical: "4".into() },
        field: Field::ALL.map(field).into_iter().collect(),
        frequency: BTreeMap::new(),
    };
    Parameters::of(&file).map_err(|mistakes| anyhow::anyhow!(mistakes.join("; ")))
}

pub async fn clerks_decide_side_by_side(doors: &Doors<'_>) -> anyhow::Result<()> {
    let ruth = doors.token(RUTH).await?;
    let (status, page) = doors.get(&ruth, "/identity").await?;
    ensure!(status == StatusCode::OK && page.contains("Nobody waits."), "{status} {page}");
    let client = doors.region.pool.get().await?;
    client.batch_execute(&format!("{PATIENTS}; {QUEUE}")).await?;
    drop(client);
    the_list_names_nobody(doors, &ruth).await?;
    both_stand_side_by_side(doors, &ruth).await?;
    whoever_has_not_the_role_is_refused(doors).await?;
    two_people_join_two_numbers(doors, &ruth).await?;
    one_person_decides_the_rest(doors, &ruth).await?;
    a_browser_without_scripts_can_do_it(doors).await
}

async fn audit(doors: &Doors<'_>, user: &str, action: &str, decision: &str, patient: &str) -> anyhow::Result<i64> {
    let patient = if patient.is_empty() { "patient is null".to_owned() } else { format!("patient = '{patient}'") };
    let sql = format!(
        "select count(*) from access.audit where actor = '{user}' and action = '{action}' and decision = '{decision}' and {patient}"
    );
    doors.count(&sql).await
}

/// What stands of the decisions about a pair: `must ruth.quality amir.quality`.
async fn verdict(doors: &Doors<'_>, one: i64, other: i64) -> anyhow::Result<String> {
    let client = doors.region.pool.get().await?;
    let sql = "select concat_ws(' ', verdict, array_to_string(people, ' ')) from identity.verdict where one = $1 and other = $2";
    let row = client.query_opt(sql, &[&one, &other]).await?;
    Ok(row.map_or_else(|| "nothing".to_owned(), |row| row.get(0)))
}

async fn the_list_names_nobody(doors: &Doors<'_>, ruth: &str) -> anyhow::Result<()> {
    let (status, page) = doors.get(ruth, "/identity").await?;
    ensure!(status == StatusCode::OK, "{status}");
    for text in ["riverside/q-1 and stmarys/q-2", "two verified NHS numbers", "7.188", "/identity/1/2", "3 pairs"] {
        ensure!(page.contains(text), "the list does not say: {text}\n{page}");
    }
    for text in ["Quimby", "Annabel", "900 000", "9000000009", "Zzyzx"] {
        ensure!(!page.contains(text), "the list says: {text}");
    }
    ensure!(audit(doors, RUTH, "view-link-queue", "allow", "").await? == 2, "each look is audited");
    Ok(())
}

async fn both_stand_side_by_side(doors: &Doors<'_>, ruth: &str) -> anyhow::Result<()> {
    let (status, page) = doors.get(ruth, "/identity/1/2").await?;
    ensure!(status == StatusCode::OK, "{status} {page}");
    for text in [
        "Annabel &#60;b&#62;",
        "900 000 0009, verified",
        "900 000 0025, verified",
        "7 Jun 1984",
        "the same",
        "6.492",
        "doors-1",
        "two people have to say that they are one",
        "They wait because: two verified NHS numbers",
    ] {
        ensure!(page.contains(text), "the page does not say: {text}\n{page}");
    }
    for patient in ["q-1", "q-2"] {
        ensure!(audit(doors, RUTH, "view-link-pair", "allow", patient).await? == 1, "{patient}");
    }
    // In either order, they are the same pair; a short form, and neighbouring days.
    let (_, page) = doors.get(ruth, "/identity/4/3").await?;
    for text in ["Beatrix", "one digit, or two neighbours swapped", "not told", "They wait because: the weight lies"] {
        ensure!(page.contains(text), "the page does not say: {text}\n{page}");
    }
    ensure!(!page.contains("two people have to say"), "{page}");
    // What a source keeps back.
    let (status, page) = doors.get(ruth, "/identity/4/5").await?;
    ensure!(status == StatusCode::OK && page.contains("kept back by its source"), "{status} {page}");
    for text in ["Zzyzx", "Quill", "1950", "Beatrix", "Quarles", "name=\"decision\""] {
        ensure!(!page.contains(text), "of a patient who is kept back the page says: {text}");
    }
    for path in ["/identity/1/99", "/identity/1/1", "/identity/98/99"] {
        let (status, _) = doors.get(ruth, path).await?;
        ensure!(status == StatusCode::NOT_FOUND, "{path}: {status}");
    }
    Ok(())
}

async fn whoever_has_not_the_role_is_refused(doors: &Doors<'_>) -> anyhow::Result<()> {
    for user in ["ed.stmarys", "gp.riverside", "engineer"] {
        let token = doors.token(user).await?;
        for path in ["/identity", "/identity/1/2", "/identity/1/99"] {
            let (status, page) = doors.get(&token, path).await?;
            ensure!(status == StatusCode::FORBIDDEN && !page.contains("Quimby"), "{user} {path}: {status}");
        }
        let form = "csrf=&decision=one&reason=they+are";
        let answer = doors.ask(&token, Method::POST, "/identity/1/2", form).await?;
        ensure!(answer.status() == StatusCode::FORBIDDEN, "{user}: {}", answer.status());
        ensure!(audit(doors, user, "view-link-queue", "refuse", "").await? == 1);
        for (action, patient) in
            [("view-link-pair", "q-1"), ("view-link-pair", "q-2"), ("link-patients", "q-1"), ("link-patients", "q-2")]
        {
            ensure!(audit(doors, user, action, "refuse", patient).await? == 1, "{user} {action} {patient}");
        }
        // Nor is there a way to it.
        ensure!(!doors.get(&token, "/").await?.1.contains("/identity"), "{user} is shown a way");
    }
    ensure!(verdict(doors, 1, 2).await? == "nothing");
    let nobody = doors.client.get(format!("{}/identity/1/2", doors.region.url)).header("accept", "application/json");
    ensure!(nobody.send().await?.status() == StatusCode::UNAUTHORIZED);
    Ok(())
}

async fn decide(doors: &Doors<'_>, token: &str, path: &str, form: &str) -> anyhow::Result<StatusCode> {
    Ok(doors.ask(token, Method::POST, path, &format!("csrf=&{form}")).await?.status())
}

async fn two_people_join_two_numbers(doors: &Doors<'_>, ruth: &str) -> anyhow::Result<()> {
    let link = "decision=one&reason=the+same+passport";
    for (form, want) in [
        ("decision=one&reason=", StatusCode::BAD_REQUEST),
        ("decision=one&reason=+++", StatusCode::BAD_REQUEST),
        ("decision=perhaps&reason=x", StatusCode::BAD_REQUEST),
        (&format!("decision=one&reason={}", "x".repeat(2_000)), StatusCode::BAD_REQUEST),
    ] {
        let got = decide(doors, ruth, "/identity/1/2", form).await?;
        ensure!(got == want, "{form}: {got}");
    }
    ensure!(verdict(doors, 1, 2).await? == "nothing");
    ensure!(decide(doors, ruth, "/identity/1/99", link).await? == StatusCode::NOT_FOUND);
    ensure!(decide(doors, ruth, "/identity/1/2", link).await? == StatusCode::OK, "after the redirect");
    ensure!(verdict(doors, 1, 2).await? == "must ruth.quality");
    ensure!(linked(doors).await?.is_none(), "one person joins nobody's numbers");
    let (_, page) = doors.get(ruth, "/identity/1/2").await?;
    ensure!(page.contains("Somebody else has to say so, too") && !page.contains("value=\"one\""), "{page}");
    ensure!(doors.get(ruth, "/identity").await?.1.contains("ruth.quality"), "the list says who has linked them");
    // The same person once more, in either order.
    for path in ["/identity/1/2", "/identity/2/1"] {
        ensure!(decide(doors, ruth, path, link).await? == StatusCode::FORBIDDEN, "{path}");
    }
    let sql = "select count(*) from access.audit where actor = 'ruth.quality' and action = 'link-patients' \
        and decision = 'refuse' and why like '%a second person has to%' and reason = 'the same passport' and patient = 'q-1'";
    ensure!(doors.count(sql).await? == 2);
    ensure!(verdict(doors, 1, 2).await? == "must ruth.quality");
    let amir = doors.token(AMIR).await?;
    ensure!(decide(doors, &amir, "/identity/1/2", link).await? == StatusCode::OK);
    ensure!(verdict(doors, 1, 2).await? == "must ruth.quality amir.quality");
    let person = linked(doors).await?.context("the linker links them")?;
    ensure!(person.0 == person.1, "{person:?}");
    for user in [RUTH, AMIR] {
        for patient in ["q-1", "q-2"] {
            ensure!(audit(doors, user, "link-patients", "allow", patient).await? == 1, "{user} {patient}");
        }
    }
    let (_, page) = doors.get(&amir, "/identity/1/2").await?;
    ensure!(page.contains("ruth.quality and amir.quality said that they are one person"), "{page}");
    Ok(())
}

/// What the linker makes of it: the persons of the first two, where they are linked.
async fn linked(doors: &Doors<'_>) -> anyhow::Result<Option<(String, String)>> {
    let mut client = doors.region.pool.get().await?;
    while linker::store::take_decisions(&mut client, None).await?.is_some() {}
    let sql =
        "select person::text from identity.link where patient in ('q-1', 'q-2') and status = 'linked' order by patient";
    let rows = client.query(sql, &[]).await?;
    Ok(rows.first().zip(rows.get(1)).map(|(one, other)| (one.get(0), other.get(0))))
}

async fn one_person_decides_the_rest(doors: &Doors<'_>, ruth: &str) -> anyhow::Result<()> {
    for (form, want) in [
        ("decision=two&reason=sisters", "cannot ruth.quality"),
        ("decision=one&reason=no,+one", "must ruth.quality"),
        ("decision=one&reason=said+twice", "must ruth.quality"),
        ("decision=nothing&reason=not+sure", "nothing"),
    ] {
        let status = decide(doors, ruth, "/identity/3/4", form).await?;
        ensure!(status == StatusCode::OK && verdict(doors, 3, 4).await? == want, "{form}: {status}");
    }
    for (action, want) in [("unlink-patients", 1), ("link-patients", 2), ("undecide-patients", 1)] {
        ensure!(audit(doors, RUTH, action, "allow", "q-4").await? == want, "{action}");
    }
    // About who is kept back nobody decides on a page.
    let status = decide(doors, ruth, "/identity/4/5", "decision=one&reason=x").await?;
    ensure!(status == StatusCode::FORBIDDEN && verdict(doors, 4, 5).await? == "nothing", "{status}");
    ensure!(audit(doors, RUTH, "link-patients", "refuse", "q-5").await? == 1);
    Ok(())
}

/// Forms and redirects, with the session's cookie and the form's own token.
async fn a_browser_without_scripts_can_do_it(doors: &Doors<'_>) -> anyhow::Result<()> {
    let url = &doors.region.url;
    let browser = Client::builder().redirect(Policy::none()).build()?;
    let form = |body: String| (header::CONTENT_TYPE, "application/x-www-form-urlencoded", body);
    let password = doors.region.passwords.get(AMIR).context("a password")?.replace(' ', "+");
    let (name, kind, body) = form(format!("user={AMIR}&password={password}"));
    let signed = browser.post(format!("{url}/sign-in")).header(&name, kind).body(body).send().await?;
    let cookie = signed.headers().get(header::SET_COOKIE).context("a cookie")?.to_str()?.split(';').next();
    let cookie = cookie.context("a cookie")?.to_owned();
    let get = async |path: &str| browser.get(format!("{url}{path}")).header(header::COOKIE, &cookie).send().await;
    ensure!(get("/").await?.headers().get(header::LOCATION).is_some_and(|to| to == "/identity"), "their own place");
    let page = get("/identity").await?.text().await?;
    ensure!(page.contains("href=\"/identity/3/4\""), "{page}");
    let page = get("/identity/3/4").await?.text().await?;
    ensure!(page.contains("action=\"/identity/3/4\"") && !page.contains("<script"), "{page}");
    let token =
        page.split("name=\"csrf\" value=\"").nth(2).and_then(|rest| rest.split('"').next()).context("a token")?;
    for (token, want) in [("", StatusCode::FORBIDDEN), ("wrong", StatusCode::FORBIDDEN), (token, StatusCode::SEE_OTHER)]
    {
        let (name, kind, body) = form(format!("csrf={token}&decision=two&reason=sisters"));
        let request = browser.post(format!("{url}/identity/3/4")).header(header::COOKIE, &cookie);
        let answer = request.header(&name, kind).body(body).send().await?;
        ensure!(answer.status() == want, "{}", answer.status());
        if want == StatusCode::SEE_OTHER {
            ensure!(answer.headers().get(header::LOCATION).is_some_and(|to| to == "/identity/3/4"));
        }
    }
    ensure!(verdict(doors, 3, 4).await? == "cannot amir.quality");
    Ok(())
}
