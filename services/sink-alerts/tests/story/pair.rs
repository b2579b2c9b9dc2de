//! A potassium and a medicine that two organisations hold: raised, told again when it is stopped, and withdrawn.

use crate::site::{HOUR, NOW, PERSON, Site, born, david_at, event, registered, result, seen_by};
use event::{Body, Code, Kind, Medication};
use sink_alerts::Limits;

fn spironolactone(active: bool, ended_at: Option<i64>) -> Body {
    let code = Code { text: "Spironolactone 25mg tablets".into(), ..Code::default() };
    Body::Medication(Medication { code, active, ended_at, ..Medication::default() })
}

/// "critical paged 6.4" of those that stand.
async fn told(site: &Site) -> String {
    let sql = "select coalesce(string_agg(concat_ws(' ', severity, urgency, substring(headline from '[0-9.]+')), ', '), '') \
        from alert.alert where rule = 'drug-laboratory' and state <> 'withdrawn'";
    site.one(sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_medicine_wakes_the_result_it_bears_on_and_the_result_the_medicine() {
    let mut site = Site::start("pair").await;
    let shipped = include_str!("../../../../site/alerts.toml");
    let (head, pairs) = shipped.split_once("[[pair]]").expect("pairs");
    let on = format!("{head}[[pair]]{}", pairs.replace("on = false", "on = true"));
    site.hook.limits = Limits::parse(&on).expect("limits");
    site.events(vec![
        event("stmarys", 1, "encounter/1", seen_by("stmarys-ed")),
        event("stmarys", 2, "patient/1", born()),
        event("riverside", 1, "patient/1", registered()),
    ])
    .await;
    // The result first, then the medicine, then the link between them.
    site.events(vec![event("stmarys", 10, "result/1", result("potassium", "6.4"))]).await;
    site.events(vec![event("riverside", 10, "medication/1", spironolactone(true, None))]).await;
    assert_eq!(told(&site).await, "");
    for source in ["riverside", "stmarys"] {
        site.link(&david_at(source), PERSON, 1).await;
    }
    assert_eq!(told(&site).await, "critical paged 6.4");
    // Stopped because of it: that takes nothing back.
    site.events(vec![event("riverside", 11, "medication/1", spironolactone(false, Some(NOW)))]).await;
    assert_eq!(told(&site).await, "critical paged 6.4");
    // It had been stopped long before.
    site.events(vec![event("riverside", 12, "medication/1", spironolactone(false, Some(NOW - 48 * HOUR)))]).await;
    assert_eq!(told(&site).await, "");
    // The medicine first, then the result.
    site.events(vec![event("riverside", 13, "medication/1", spironolactone(true, None))]).await;
    site.events(vec![event("stmarys", 11, "result/1", result("potassium", "6.0"))]).await;
    assert_eq!(told(&site).await, "");
    site.events(vec![event("stmarys", 12, "result/1", result("potassium", "6.1"))]).await;
    assert_eq!(told(&site).await, "critical paged 6.1");
    site.events(vec![event("riverside", 14, "medication/1", Body::Retracted(Kind::Medication))]).await;
    assert_eq!(told(&site).await, "");
    let sent: i64 = site.one("select count(*) from alert.outbox").await;
    for incoming in site.log.clone() {
        site.write(&[incoming], false).await;
    }
    assert_eq!(site.one::<i64>("select count(*) from alert.outbox").await, sent);
}
