//! A creatinine beside those of every source: raised, judged graver, withdrawn.

use crate::site::{HOUR, NOW, PERSON, Site, born, david_at, event, registered, result, seen_by};
use event::{Action, Body, Canonical, Code, Condition, Kind, PatientEvent, Precision};
use sink_alerts::Limits;

const DAY: i64 = 24 * HOUR;

/// With the rule turned on.
async fn site(name: &str) -> Site {
    let mut site = Site::start(name).await;
    let shipped = include_str!("../../../../site/alerts.toml");
    site.hook.limits = Limits::parse(&shipped.replace("[aki]\non = false", "[aki]\non = true")).expect("limits");
    site.events(vec![event("riverside", 1, "patient/1", registered())]).await;
    let stay = event("stmarys", 1, "encounter/1", seen_by("stmarys-ed"));
    site.events(vec![stay, event("stmarys", 2, "patient/1", born())]).await;
    site
}

/// Taken so many days before now.
fn creatinine(source: &str, commit: u64, record: &str, number: &str, days: i64) -> PatientEvent {
    let mut body = result("creatinine", number);
    if let Body::Observation(it) = &mut body {
        it.value.unit = Some("umol/L".into());
        it.value.canonical = it.value.number.map(|number| Canonical { number, unit: "umol/L".into() });
        it.authorised_at = Some(NOW - days * DAY);
    }
    PatientEvent { effective_at: Some(NOW - HOUR - days * DAY), ..event(source, commit, record, body) }
}

async fn told(site: &Site) -> String {
    let sql = "select coalesce(string_agg(concat_ws(' ', severity, urgency, substring(headline from 'stage [0-9]'), \
            substring(headline from '[0-9.]+ times')), ', ' order by raised_at), '') \
        from alert.alert where rule = 'aki' and state <> 'withdrawn'";
    site.one(sql).await
}

async fn withdrawn(site: &Site) -> String {
    let sql = "select coalesce(string_agg(withdrawn_reason, '; ' order by withdrawn_at), '') \
        from alert.alert where rule = 'aki' and state = 'withdrawn'";
    site.one(sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rise_over_both_sources_comes_and_goes_with_what_it_rests_on() {
    let mut site = site("aki").await;
    // The practice's baseline counts only once both are known to be one person.
    site.events(vec![creatinine("riverside", 10, "result/base", "80", 30)]).await;
    site.events(vec![creatinine("stmarys", 10, "result/1", "130", 0)]).await;
    assert_eq!(told(&site).await, "");
    for source in ["riverside", "stmarys"] {
        site.link(&david_at(source), PERSON, 1).await;
    }
    assert_eq!(told(&site).await, "warning listed stage 1 1.62 times");

    // A lower one of yesterday comes late from the practice: the same result is graver now, and interrupts.
    site.events(vec![creatinine("riverside", 11, "result/late", "60", 1)]).await;
    assert_eq!(told(&site).await, "critical paged stage 2 2.16 times");
    assert!(withdrawn(&site).await.starts_with("with what is known now"), "{}", withdrawn(&site).await);

    // It was a mistake of the practice's: corrected, and then taken back.
    let corrected = PatientEvent { action: Action::Corrected, ..creatinine("riverside", 12, "result/late", "75", 1) };
    site.events(vec![corrected]).await;
    assert_eq!(told(&site).await, "warning listed stage 1 1.73 times");
    site.events(vec![event("riverside", 13, "result/late", Body::Retracted(Kind::Observation))]).await;
    assert_eq!(told(&site).await, "warning listed stage 1 1.62 times");

    // A potassium above 6.0 makes stage 1 urgent, in whatever order they come.
    site.events(vec![event("stmarys", 11, "result/k", result("potassium", "6.1"))]).await;
    assert_eq!(told(&site).await, "critical paged stage 1 1.62 times");
    let corrected =
        PatientEvent { action: Action::Corrected, ..event("stmarys", 12, "result/k", result("potassium", "5.1")) };
    site.events(vec![corrected]).await;
    assert_eq!(told(&site).await, "warning listed stage 1 1.62 times");

    // Dialysis is entered: it is not meant for them. And struck out again.
    let dialysis = |active| {
        let code = Code { text: "Renal dialysis".into(), snomed: Some("265764009".into()), ..Code::default() };
        Body::Condition(Condition { code, active, ..Condition::default() })
    };
    site.events(vec![event("riverside", 20, "condition/2", dialysis(true))]).await;
    assert_eq!(told(&site).await, "");
    site.events(vec![event("riverside", 21, "condition/2", dialysis(false))]).await;
    assert_eq!(told(&site).await, "warning listed stage 1 1.62 times");

    // All of it again, in other batches: nothing changes.
    let sent: i64 = site.one("select count(*) from alert.outbox").await;
    for incoming in site.log.clone() {
        site.write(&[incoming], false).await;
    }
    assert_eq!(site.one::<i64>("select count(*) from alert.outbox").await, sent);

    // They were two persons after all.
    site.link(&david_at("riverside"), PERSON + 1, 2).await;
    assert_eq!(told(&site).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_no_time_and_a_birth_date_that_comes_later_counts() {
    let mut site = site("bands").await;
    // 30 more than yesterday's, of which only the day is known: the 48 hours are not met.
    let dated = PatientEvent {
        effective_at: Some((NOW - DAY).div_euclid(DAY) * DAY),
        effective_precision: Some(Precision::Day),
        ..creatinine("stmarys", 10, "result/day", "100", 1)
    };
    site.events(vec![dated, creatinine("stmarys", 11, "result/1", "130", 0)]).await;
    assert_eq!(told(&site).await, "");
    site.events(vec![creatinine("stmarys", 12, "result/day", "100", 1)]).await;
    assert_eq!(
        site.one::<String>("select headline from alert.alert where rule = 'aki'").await.split(" (").next(),
        Some("Creatinine 130 umol/L")
    );

    // A sodium of 124 of somebody whose age nobody knows may be a child's.
    let sodium = |commit, record: &str| {
        let mut event = event("elsewhere", commit, record, result("sodium", "124"));
        event.patient.id = "child".into();
        event
    };
    site.events(vec![sodium(20, "result/s")]).await;
    let headline = "select coalesce(string_agg(headline, '; '), '') from alert.alert where record = 'result/s' and state <> 'withdrawn'";
    let unknown = "Sodium 124 mmol/L (critical low, limit 130, under 16 years, age not known)";
    assert_eq!(site.one::<String>(headline).await, unknown);
    let born_on = |commit, days| {
        let demographics = event::Demographics { birth_date: Some(days), ..event::Demographics::default() };
        let mut event = event("elsewhere", commit, "patient/1", Body::Demographics(demographics));
        event.patient.id = "child".into();
        event
    };
    site.events(vec![born_on(21, 0)]).await;
    assert_eq!(site.one::<String>(headline).await, "", "an adult");
    site.events(vec![born_on(22, 18_600)]).await;
    assert_eq!(site.one::<String>(headline).await, "Sodium 124 mmol/L (critical low, limit 130, under 16 years)");
}
