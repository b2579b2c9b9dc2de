//! One matter for each specimen; what nobody acts on goes to the next team.

use super::site::{Site, david, event, result};
use event::{Body, PatientEvent, Teams};

fn of_specimen(commit: u64, record: &str, analyte: &str, number: &str, specimen: Option<&str>) -> PatientEvent {
    let mut event = event("stmarys", commit, record, result(analyte, number));
    if let Body::Observation(it) = &mut event.body {
        it.specimen = specimen.map(Into::into);
    }
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_one_specimen_are_one_matter_however_they_arrive() {
    let mut site = david("matters").await;
    let matters =
        "select string_agg(n::text, ' ' order by n) from (select count(*) as n from alert.alert group by matter) m";
    let sodium = of_specimen(10, "result/1", "sodium", "119", Some("S1"));
    site.events(vec![sodium, of_specimen(11, "result/2", "potassium", "6.88", Some("S1"))]).await;
    // Each is critical and a sign of the disease: four alerts, and one thing to do.
    assert_eq!(site.one::<String>(matters).await, "4");
    site.events(vec![of_specimen(12, "result/3", "glucose", "2.2", Some("S1"))]).await;
    assert_eq!(site.one::<String>(matters).await, "6", "a later batch");
    site.events(vec![of_specimen(13, "result/4", "glucose", "2.2", Some("S2"))]).await;
    assert_eq!(site.one::<String>(matters).await, "2 6", "another specimen");
    for incoming in site.log.clone() {
        site.write(&[incoming], false).await;
    }
    assert_eq!(site.one::<String>(matters).await, "2 6", "told again");
}

/// `after_seconds` and the team that is told then.
fn teams(steps: &[(&str, u32, &str)]) -> Teams {
    let steps = steps.iter().map(|(when, after, to)| {
        format!("[[escalation]]\norganisation = 'RSM01'\nwhen = '{when}'\nafter_seconds = {after}\nto = ['{to}']\n")
    });
    let text = include_str!("../../../../site/teams.toml").to_owned() + &steps.collect::<String>();
    Teams::parse(&text).expect("good")
}

/// As if it had been raised so long ago.
async fn raised(site: &Site, seconds: i64) {
    let client = site.pool.get().await.expect("a connection");
    let sql = "update alert.alert set raised_at = clock_timestamp() - make_interval(secs => $1::int8)";
    client.execute(sql, &[&seconds]).await.expect("dated");
}

async fn escalated(site: &Site) -> i64 {
    sink_alerts::escalate::all(&site.pool, &site.hook).await.expect("escalated")
}

const TOLD: &str = "select coalesce(string_agg(to_team, ' ' order by id), '') from alert.step where what = 'escalated'";

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_acts_on_goes_to_the_next_team_once() {
    let mut site = david("escalation").await;
    site.hook.teams = teams(&[
        ("on-nobodys-screen", 60, "stmarys-lab"),
        ("not-acted-on", 600, "stmarys-endocrinology"),
        ("not-acted-on", 1_200, "stmarys-amu"),
    ]);
    site.events(vec![event("stmarys", 10, "result/1", result("sodium", "165"))]).await;
    let answer = |team: &str, outcome: &str| {
        format!("select alert.answer(id, 'amy', array['{team}'], '{outcome}', 'x', null) from alert.alert")
    };
    raised(&site, 58).await;
    assert_eq!(escalated(&site).await, 0, "not yet");
    raised(&site, 61).await;
    assert_eq!(escalated(&site).await, 1);
    assert_eq!(escalated(&site).await, 0, "taken once");
    assert_eq!(site.one::<String>(TOLD).await, "stmarys-lab");
    let news = "select string_agg(change, ' ' order by id) from alert.outbox";
    assert_eq!(site.one::<String>(news).await, "raised escalated");
    // A team that only knew it already keeps nobody from being asked.
    site.one::<String>(&answer("stmarys-ed", "already-known")).await;
    raised(&site, 601).await;
    assert_eq!(escalated(&site).await, 1);
    assert_eq!(site.one::<String>(TOLD).await, "stmarys-lab stmarys-endocrinology");
    let why = "select why from alert.recipient where team = 'stmarys-endocrinology'";
    assert_eq!(site.one::<String>(why).await, "nobody else has acted on it");
    // A clock that jumps back, and a start anew, find what was taken.
    raised(&site, -50_000).await;
    assert_eq!(escalated(&site).await, 0);
    raised(&site, 700).await;
    assert_eq!(escalated(&site).await, 0);
    // Acted on: it stops there; opened again, it goes on.
    assert_eq!(site.one::<String>(&answer("stmarys-endocrinology", "acted")).await, "acknowledged");
    raised(&site, 1_201).await;
    assert_eq!(escalated(&site).await, 0, "somebody has acted");
    let reopen = "select alert.reopen(id, 'amy', array['stmarys-endocrinology'], null) from alert.alert";
    assert_eq!(site.one::<String>(reopen).await, "seen");
    assert_eq!(escalated(&site).await, 1);
    assert_eq!(site.one::<String>(TOLD).await, "stmarys-lab stmarys-endocrinology stmarys-amu");
    let steps = "select string_agg(what, ' ' order by id) from alert.step";
    assert_eq!(site.one::<String>(steps).await, "escalated answered escalated answered reopened escalated");
    let client = site.pool.get().await.expect("a connection");
    assert!(client.execute("delete from alert.step", &[]).await.is_err(), "what was done is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_listed_or_stood_on_a_screen_is_not_escalated_for_that() {
    let mut site = david("delivered").await;
    site.hook.teams = teams(&[("on-nobodys-screen", 60, "stmarys-lab")]);
    let listed = PatientEvent { snapshot: true, ..event("stmarys", 10, "result/1", result("sodium", "165")) };
    site.events(vec![listed, event("stmarys", 11, "result/2", result("sodium", "166"))]).await;
    let shown =
        "select alert.mark_delivered(array_agg(id), array_agg('amy'::text)) from alert.alert where record = 'result/2'";
    let client = site.pool.get().await.expect("a connection");
    client.execute(shown, &[]).await.expect("delivered");
    raised(&site, 61).await;
    assert_eq!(escalated(&site).await, 0);
    client.execute("delete from alert.delivery", &[]).await.expect("deleted");
    assert_eq!(escalated(&site).await, 1, "nothing but the screen kept it from it");
}

/// A team that answered and is asked once more, by name.
#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_asks_a_team_that_had_answered_again() {
    let mut site = david("handover").await;
    site.events(vec![event("stmarys", 10, "result/1", result("sodium", "165"))]).await;
    let answer = |team: &str, outcome: &str, to: &str| {
        format!(
            "select alert.answer(id, 'amy', array['{team}'], '{outcome}', null, nullif('{to}', '')) from alert.alert"
        )
    };
    site.one::<String>(&answer("stmarys-ed", "not-useful", "")).await;
    assert_eq!(site.one::<String>(&answer("stmarys-amu", "handed-over", "stmarys-ed")).await, "seen");
    let open = "select string_agg(team, ' ' order by team) from alert.recipient where answered_at is null";
    assert_eq!(site.one::<String>(open).await, "riverside stmarys-ed");
    assert_eq!(site.one::<String>(&answer("stmarys-ed", "accepted", "")).await, "acknowledged");
    // Said twice, it is said once.
    site.one::<String>(&answer("stmarys-ed", "acted", "")).await;
    let said = "select string_agg(team || ' ' || outcome, ', ' order by id) from alert.step";
    let want = "stmarys-ed not-useful, stmarys-amu handed-over, stmarys-ed accepted";
    assert_eq!(site.one::<String>(said).await, want);
    assert_eq!(site.one::<String>("select acknowledged_by from alert.alert").await, "amy");
    // What is said of it afterwards tells nobody that it was only seen.
    site.one::<String>(&answer("riverside", "already-known", "")).await;
    let news = "select string_agg(change, ' ' order by id) from alert.outbox";
    assert_eq!(site.one::<String>(news).await, "raised seen seen escalated acknowledged acknowledged");
}
