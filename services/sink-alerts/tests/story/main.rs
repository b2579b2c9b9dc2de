//! On a real PostgreSQL: what raises alerts, to whom, and what takes them back.

mod adrenal;
mod aki;
mod answers;
mod pair;
mod site;

use event::{Body, Kind, PatientEvent, SourcePatient};
use sink_views::{
    Mark,
    plan::{Incoming, Item, Place, Topic},
};
use site::{HOUR, NOW, PERSON, Site, addisons, born, david, david_at, event, registered, result, seen_by};

#[tokio::test(flavor = "multi_thread")]
async fn davids_potassium_goes_to_all_who_need_it_and_is_withdrawn_when_it_is_corrected() {
    let mut site = david("correction").await;
    let both = vec![
        event("stmarys", 10, "result/1", result("potassium", "6.7")),
        event("stmarys", 11, "result/2", result("sodium", "121")),
    ];
    site.events(both).await;
    let teams = "[riverside stmarys-amu stmarys-ed]";
    let want = [
        format!("adrenal-crisis result/1 new paged {teams}"),
        format!("critical-limit result/1 new paged {teams}"),
        format!("adrenal-crisis result/2 new paged {teams}"),
    ];
    let mut got = site.alerts().await;
    got.sort_unstable();
    let mut sorted = want.clone();
    sorted.sort_unstable();
    assert_eq!(got, sorted);
    let headline: String =
        site.one("select headline from alert.alert where rule = 'adrenal-crisis' and record = 'result/1'").await;
    assert_eq!(
        headline,
        "Potassium 6.7 mmol/L with sodium 121 mmol/L (high potassium in known adrenal insufficiency, severe)"
    );
    assert_eq!(site.one::<i64>("select count(*) from alert.outbox where change = 'raised'").await, 3);

    // Again, and in other batches: nothing new.
    for incoming in site.log.clone() {
        site.write(&[incoming], false).await;
    }
    site.write(&site.log.clone(), false).await;
    assert_eq!(site.one::<i64>("select count(*) from alert.outbox").await, 3);

    // Another comment and another zero: not a new version, but its words follow.
    let mut commented = event("stmarys", 12, "result/1", result("potassium", "6.70"));
    if let Body::Observation(it) = &mut commented.body {
        it.comment = Some("telephoned".into());
    }
    site.events(vec![commented]).await;
    assert_eq!(site.one::<i64>("select count(*) from alert.outbox").await, 3);

    // A new version that alerts: the older one goes, the new one comes.
    site.events(vec![event("stmarys", 13, "result/1", result("potassium", "6.9"))]).await;
    let sql = "select string_agg(state || ' ' || headline, '; ' order by raised_at) from alert.alert where rule = 'critical-limit'";
    let told: String = site.one(sql).await;
    assert_eq!(
        told,
        "withdrawn Potassium 6.70 mmol/L (critical high, limit 6.5); new Potassium 6.9 mmol/L (critical high, limit 6.5)"
    );
    // And one that does not.
    site.events(vec![event("stmarys", 14, "result/1", result("potassium", "4.9"))]).await;
    assert_eq!(site.standing().await, [want[2].clone()]);
    site.events(vec![event("stmarys", 15, "result/2", Body::Retracted(Kind::Observation))]).await;
    assert_eq!(site.standing().await, [""; 0]);
    let sql = "select distinct withdrawn_reason from alert.alert where record = 'result/2'";
    assert_eq!(site.one::<String>(sql).await, "the result was withdrawn or moved by its source");
    assert_eq!(site.one::<i64>("select count(*) from alert.outbox where change = 'withdrawn'").await, 5);
}

/// A snapshot's commit is no time of the results that it reads: they do not crowd out what has one.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_time_of_its_own_is_not_the_newest() {
    let mut site = david("undated").await;
    site.events(vec![event("stmarys", 10, "result/1", result("sodium", "121"))]).await;
    let undated = |number: u64| {
        let mut event = event("stmarys", 20 + number, &format!("result/old/{number}"), result("sodium", "140"));
        (event.snapshot, event.reread, event.effective_at) = (true, true, None);
        if let Body::Observation(it) = &mut event.body {
            it.authorised_at = None;
        }
        event
    };
    site.events((0..25).map(undated).collect()).await;
    site.events(vec![event("stmarys", 60, "result/2", result("potassium", "6.7"))]).await;
    let sql = "select headline from alert.alert where rule = 'adrenal-crisis' and record = 'result/2'";
    let want = "Potassium 6.7 mmol/L with sodium 121 mmol/L (high potassium in known adrenal insufficiency, severe)";
    assert_eq!(site.one::<String>(sql).await, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_conditions_are_followed_whatever_comes_first() {
    let mut site = Site::start("links").await;
    site.events(vec![
        event("stmarys", 1, "encounter/1", seen_by("stmarys-ed")),
        event("stmarys", 1, "patient/1", born()),
    ])
    .await;
    site.events(vec![
        event("stmarys", 10, "result/1", result("potassium", "6.7")),
        event("stmarys", 11, "result/2", result("sodium", "121")),
    ])
    .await;
    assert_eq!(site.standing().await, ["critical-limit result/1 new paged [stmarys-amu stmarys-ed]"]);
    site.events(vec![
        event("riverside", 1, "patient/1", registered()),
        event("riverside", 2, "condition/1", addisons(true)),
    ])
    .await;
    site.link(&david_at("riverside"), PERSON, 1).await;
    assert_eq!(site.standing().await.len(), 1, "not linked yet");
    site.link(&david_at("stmarys"), PERSON, 1).await;
    let all = "[riverside stmarys-amu stmarys-ed]";
    let mut standing = site.standing().await;
    standing.sort_unstable();
    let mut want = ["adrenal-crisis result/1", "adrenal-crisis result/2", "critical-limit result/1"]
        .map(|alert| format!("{alert} new paged {all}"));
    assert_eq!(standing, want);
    assert_eq!(site.one::<i64>("select count(*) from alert.outbox where change = 'routed'").await, 1);

    // The condition is struck out, and put back: the same results ask for it again.
    site.events(vec![event("riverside", 3, "condition/1", addisons(false))]).await;
    assert_eq!(site.standing().await.len(), 1);
    site.events(vec![event("riverside", 4, "condition/1", addisons(true))]).await;
    assert_eq!(site.standing().await.len(), 3);

    // It was another person after all: what went to the practice is taken back, and raised for the others.
    site.link(&david_at("riverside"), PERSON + 1, 2).await;
    assert_eq!(site.standing().await, ["critical-limit result/1 new paged [stmarys-amu stmarys-ed]"]);
    let unlinked: i64 =
        site.one("select count(*) from alert.alert where withdrawn_reason like 'the patient is no longer%'").await;
    assert_eq!(unlinked, 1);
    // And the same person again.
    site.link(&david_at("riverside"), PERSON, 3).await;
    standing = site.standing().await;
    standing.sort_unstable();
    want.sort_unstable();
    assert_eq!(standing, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_results_and_the_go_live_do_not_page_and_a_move_takes_alerts_along() {
    let mut site = david("window").await;
    let at = |hours: i64, commit, record: &str| {
        let mut event = event("stmarys", commit, record, result("potassium", "2.0"));
        if let Body::Observation(it) = &mut event.body {
            it.authorised_at = Some(NOW - hours * HOUR);
        }
        event
    };
    site.events(vec![at(1, 10, "result/1"), at(3, 11, "result/2"), at(73, 12, "result/3")]).await;
    let listed = PatientEvent { snapshot: true, ..at(3, 13, "result/4") };
    site.events(vec![listed, PatientEvent { snapshot: true, ..at(73, 14, "result/5") }]).await;
    let urgencies: Vec<String> =
        site.alerts().await.iter().map(|alert| alert.split(' ').take(4).collect::<Vec<_>>().join(" ")).collect();
    let want = ["1 new paged", "2 new late", "4 new listed"].map(|told| format!("critical-limit result/{told}"));
    assert_eq!(urgencies, want);
    late_by_whatever_path(&mut site, at).await;

    site.one::<Option<String>>(
        "select alert.acknowledge(id, 'amy', 'stmarys-ed') from alert.alert where record = 'result/1'",
    )
    .await;
    site.events(vec![event("stmarys", 20, "encounter/2", seen_by("stmarys-endocrinology"))]).await;
    let told = site.alerts().await;
    assert!(told[1].contains("stmarys-endocrinology"), "open alerts go along: {told:?}");
    assert!(!told[0].contains("stmarys-endocrinology"), "acknowledged ones do not: {told:?}");
    an_alert_never_goes_to_nobody(&mut site).await;
    what_the_database_refuses_stands_aside(&mut site).await;
}

/// First seen by a snapshot that reads a table again, or overtaken, or without a time of its own.
async fn late_by_whatever_path(site: &mut Site, at: impl Fn(i64, u64, &str) -> PatientEvent) {
    let reread = |event| PatientEvent { snapshot: true, reread: true, ..event };
    let undated = |mut event: PatientEvent| {
        if let Body::Observation(it) = &mut event.body {
            it.authorised_at = None;
        }
        event
    };
    let taken = |hours: i64, event| PatientEvent { effective_at: Some(NOW - hours * HOUR), ..event };
    site.events(vec![
        reread(at(1, 30, "result/a")),
        reread(at(3, 31, "result/b")),
        reread(at(73, 32, "result/c")),
        reread(undated(at(1, 33, "result/d"))),
    ])
    .await;
    site.events(vec![taken(2, event("stmarys", 34, "result/e", result("potassium", "4.4")))]).await;
    site.events(vec![taken(1, at(3, 35, "result/f")), taken(3, at(3, 36, "result/g"))]).await;
    let urgencies = "select string_agg(right(record, 1) || ' ' || urgency, ', ' order by record) \
        from alert.alert where record ~ '[a-z]$'";
    let want = "a paged, b late, d listed, f late, g listed";
    assert_eq!(site.one::<String>(urgencies).await, want);
}

/// A hub's result, that of a source nobody knows, and an alert that an older version left to nobody.
async fn an_alert_never_goes_to_nobody(site: &mut Site) {
    let of = |source: &str, record: &str, commit| {
        let mut event = event(source, commit, record, result("potassium", "1.9"));
        event.patient.id = "left".into();
        event.organisation = "Y0001".into();
        if let Body::Observation(it) = &mut event.body {
            it.requester = None;
        }
        event
    };
    site.events(vec![of("riverside", "hub/1", 40), of("elsewhere", "hub/2", 41)]).await;
    let teams = "select string_agg(a.record || ' ' || r.team, ', ' order by a.record, r.team) \
        from alert.alert a join alert.recipient r on r.alert = a.id where a.record like 'hub/%'";
    let want = "hub/1 riverside, hub/2 stmarys-amu";
    assert_eq!(site.one::<String>(teams).await, want);
    let mut client = site.pool.get().await.expect("a connection");
    client.execute("delete from alert.recipient", &[]).await.expect("deleted");
    let open: i64 = site.one("select count(*) from alert.alert where state in ('new', 'seen')").await;
    let transaction = client.transaction().await.expect("begun");
    let (found, left) = site.hook.route_forgotten(&transaction).await.expect("routed");
    transaction.commit().await.expect("committed");
    assert_eq!((i64::try_from(found).expect("few"), left), (open, 0));
    assert_eq!(site.one::<String>(teams).await, want);
}

/// One result that cannot be judged keeps neither the record nor the alerts beside it.
async fn what_the_database_refuses_stands_aside(site: &mut Site) {
    let client = site.pool.get().await.expect("a connection");
    let poison = "create function alert.poison() returns trigger language plpgsql as $$ begin
            if new.record = 'result/poison' then raise exception 'no' using errcode = '22023'; end if;
            return new;
        end $$;
        create trigger poison before insert on alert.alert for each row execute function alert.poison()";
    client.batch_execute(poison).await.expect("a trigger");
    let critical = |commit, record: &str| event("stmarys", commit, record, result("potassium", "1.8"));
    site.events(vec![critical(50, "result/poison"), critical(51, "result/sound"), critical(52, "result/well")]).await;
    let told = "select string_agg(o.record || coalesce(' ' || a.state, '') || coalesce(' ' || r.reason, ''), ', ' order by o.record)
        from record.observation o left join alert.alert a using (source, patient, record)
        left join alert.refused r using (source, patient, record)
        where o.record in ('result/poison', 'result/sound', 'result/well')";
    assert_eq!(site.one::<String>(told).await, "result/poison 22023, result/sound new, result/well new");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_cycle_makes_legal_steps_only() {
    let mut site = david("lifecycle").await;
    site.events(vec![event("stmarys", 10, "result/1", result("potassium", "2.0"))]).await;
    let step =
        |function: &str, user: &str| format!("select alert.{function}(id, '{user}', 'stmarys-ed') from alert.alert");
    assert_eq!(site.one::<String>(&step("mark_seen", "amy")).await, "seen");
    assert_eq!(site.one::<String>(&step("mark_seen", "amy")).await, "seen");
    assert_eq!(site.one::<String>(&step("acknowledge", "ben")).await, "acknowledged");
    assert_eq!(site.one::<String>(&step("acknowledge", "amy")).await, "acknowledged");
    assert_eq!(site.one::<String>("select acknowledged_by from alert.alert").await, "ben");
    let changes = "select string_agg(change || coalesce(' ' || actor, ''), ', ' order by id) from alert.outbox";
    assert_eq!(site.one::<String>(changes).await, "raised, seen amy, acknowledged ben");
    site.events(vec![event("stmarys", 11, "result/1", Body::Retracted(Kind::Observation))]).await;
    assert_eq!(site.one::<String>(&step("acknowledge", "amy")).await, "withdrawn");
    assert_eq!(site.one::<String>(changes).await, "raised, seen amy, acknowledged ben, withdrawn");
    let told = "select string_agg(user_id, ' ') from alert.sighting where told_withdrawn_at is not null";
    assert_eq!(site.one::<String>(told).await, "amy");
    let none = "select alert.mark_seen('00000000-0000-0000-0000-000000000000', 'amy', null)";
    assert_eq!(site.one::<Option<String>>(none).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_passes_through_the_past_without_a_word() {
    let mut site = david("rebuild").await;
    site.events(vec![event("stmarys", 10, "result/1", result("potassium", "6.7"))]).await;
    site.events(vec![event("stmarys", 11, "result/2", result("sodium", "119"))]).await;
    site.events(vec![event("stmarys", 12, "result/2", result("sodium", "140"))]).await;
    site.one::<Option<String>>("select alert.acknowledge(id, 'amy', 'stmarys-ed') from alert.alert where rule = 'critical-limit' and record = 'result/1'").await;
    let before = (site.alerts().await, site.one::<i64>("select count(*) from alert.outbox").await);
    let mut client = site.pool.get().await.expect("a connection");
    let sum = sink_views::checksum(&client).await.expect("a checksum");
    let upto = i64::try_from(site.log.len()).expect("few");
    let ends = |topic| {
        site.log.iter().filter(|incoming| incoming.place.topic == topic).map(|incoming| incoming.place.offset + 1).max()
    };
    let marks: Vec<Mark> = [Topic::Events, Topic::Links]
        .into_iter()
        .map(|topic| Mark { topic, partition: 0, upto: ends(topic).unwrap_or(upto) })
        .collect();
    sink_views::wipe(&mut client, &marks).await.expect("wiped");
    let mut rebuilding = true;
    for incoming in &site.log {
        assert!(rebuilding, "over too early");
        rebuilding = site.write(std::slice::from_ref(incoming), rebuilding).await;
        let now = (site.alerts().await, site.one::<i64>("select count(*) from alert.outbox").await);
        assert_eq!(now, before);
    }
    assert!(!rebuilding);
    assert_eq!(sink_views::checksum(&client).await.expect("a checksum"), sum);
    // And from then on as ever.
    site.events(vec![event("stmarys", 20, "result/3", result("potassium", "2.0"))]).await;
    assert_eq!(site.alerts().await.len(), before.0.len() + 1);
}

/// Two sinks write for one person at the same time: whichever is second has to see what the first wrote.
#[tokio::test(flavor = "multi_thread")]
async fn writers_of_one_person_wait_for_each_other() {
    const PERSONS: u64 = 40;
    let mut site = Site::start("race").await;
    let of = |mut event: PatientEvent, person: u64| {
        event.patient.id = format!("p{person}");
        event
    };
    for person in 0..PERSONS {
        for source in ["riverside", "stmarys"] {
            let patient = SourcePatient { source: source.into(), id: format!("p{person}") };
            site.link(&patient, 1_000 + u128::from(person), 1).await;
        }
    }
    for person in 0..PERSONS {
        let batch = |event| {
            let place = Place { topic: Topic::Events, partition: 0, offset: 0 };
            [Incoming { place, item: Item::Event(event) }]
        };
        let problem = batch(of(event("riverside", 2, "condition/1", addisons(true)), person));
        let sodium = batch(of(event("stmarys", 10, "result/1", result("sodium", "130")), person));
        tokio::join!(site.write(&problem, false), site.write(&sodium, false));
    }
    let raised: i64 = site.one("select count(*) from alert.alert where rule = 'adrenal-crisis'").await;
    assert_eq!(raised, i64::try_from(PERSONS).expect("few"));
}
