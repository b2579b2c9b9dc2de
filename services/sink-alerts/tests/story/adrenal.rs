//! Signs in known adrenal insufficiency: what they make together, and what an encounter makes of them, in whatever order.

use crate::site::{HOUR, NOW, PERSON, Site, addisons, born, david_at, event, registered, result};
use event::{Body, Encounter, Kind};

fn encounter(class: &str, ended_at: Option<i64>) -> Body {
    Body::Encounter(Encounter {
        class: class.into(),
        started_at: Some(NOW - 5 * HOUR),
        ended_at,
        ..Encounter::default()
    })
}

/// "critical paged emergency result/1", of those that stand.
async fn told(site: &Site) -> String {
    let sql = "select coalesce(string_agg(concat_ws(' ', severity, urgency, detail ->> 'level', record), ', ' order by record), '') \
        from alert.alert where rule = 'adrenal-crisis' and state <> 'withdrawn'";
    site.one(sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_and_stays_make_it_graver_in_whatever_order_they_come() {
    let mut site = Site::start("adrenal").await;
    site.events(vec![
        event("riverside", 1, "patient/1", registered()),
        event("riverside", 2, "condition/1", addisons(true)),
        event("stmarys", 1, "patient/1", born()),
    ])
    .await;
    for source in ["riverside", "stmarys"] {
        site.link(&david_at(source), PERSON, 1).await;
    }
    // A hospital that tells of no encounter: whether there is a stay is not known, which is not "no".
    site.events(vec![event("stmarys", 10, "result/1", result("sodium", "130"))]).await;
    assert_eq!(told(&site).await, "critical paged urgent result/1");
    // It tells of a clinic: then it would have told of a ward.
    site.events(vec![event("stmarys", 11, "encounter/1", encounter("AMB", Some(NOW - 4 * HOUR)))]).await;
    assert_eq!(told(&site).await, "warning listed routine result/1");
    // Taken to the emergency department, and sent home: that takes nothing back.
    site.events(vec![event("stmarys", 12, "encounter/2", encounter("EMER", None))]).await;
    assert_eq!(told(&site).await, "critical paged urgent result/1");
    site.events(vec![event("stmarys", 13, "encounter/2", encounter("EMER", Some(NOW)))]).await;
    assert_eq!(told(&site).await, "critical paged urgent result/1");
    site.events(vec![event("stmarys", 14, "encounter/2", Body::Retracted(Kind::Encounter))]).await;
    assert_eq!(told(&site).await, "warning listed routine result/1");
    // A second moderate sign, from the practice: both are an emergency now. And it was a mistake.
    site.events(vec![event("riverside", 10, "result/2", result("potassium", "5.6"))]).await;
    assert_eq!(told(&site).await, "critical paged emergency result/1, critical paged emergency result/2");
    site.events(vec![event("riverside", 11, "result/2", Body::Retracted(Kind::Observation))]).await;
    assert_eq!(told(&site).await, "warning listed routine result/1");
    // All of it again, in other batches: nothing changes.
    let sent: i64 = site.one("select count(*) from alert.outbox").await;
    for incoming in site.log.clone() {
        site.write(&[incoming], false).await;
    }
    assert_eq!(site.one::<i64>("select count(*) from alert.outbox").await, sent);
    // Long ago, an admission that has ended: the hospital tells of encounters all the same.
    site.events(vec![event("stmarys", 15, "encounter/1", encounter("AMB", Some(NOW - 900 * HOUR)))]).await;
    assert_eq!(told(&site).await, "warning listed routine result/1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sodium_of_134_alone_is_listed_on_a_ward() {
    let mut site = crate::site::david("mild").await;
    site.events(vec![event("stmarys", 10, "result/1", result("sodium", "134"))]).await;
    assert_eq!(told(&site).await, "warning listed routine result/1");
    site.events(vec![event("stmarys", 11, "result/2", result("potassium", "5.4"))]).await;
    assert_eq!(told(&site).await, "critical paged urgent result/1, critical paged urgent result/2");
}
