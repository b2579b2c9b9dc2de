//! On a real PostgreSQL: any split into batches and any replay leave the same rows, and versions are right.

use boot::database::{DatabaseSettings, Tls, pool};
use change::{Lsn, Position};
use deadpool_postgres::Pool;
use event::{
    Action, Body, Canonical, Code, Condition, Demographics, Kind, Link, LinkStatus, Measurement, Observation, Part,
    PartialDate, PatientEvent, Quarantined, SourcePatient, quarantined::Verdict,
};
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use rust_decimal::Decimal;
use sink_views::{
    NoHook,
    plan::{Incoming, Item, Place, Plan, Topic, digest, parts},
};
use stack::{Lifetime, Postgres};
use std::collections::BTreeMap;

const DATABASE: &str = "causeway";
const HISTORIES: u32 = 48;
const EVENTS_MAX: usize = 40;

/// What happens to one of a few records.
#[derive(Clone, Debug)]
struct Step {
    patient: u8,
    record: u8,
    kind: Kind,
    /// None retracts.
    value: Option<u8>,
    /// Said again by a newer mapping, at the same position: before there were generations.
    revised: bool,
    /// From here on another mapping tells, or the one before again, in a generation of its own that tells so much anew:
    /// a record may settle earlier than it did.
    anew: Option<u8>,
    /// From here on the log is in another epoch, which need not be a later one: it was lost.
    epoch: Option<u8>,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop::sample::select(vec![Kind::Observation, Kind::Observation, Kind::Condition, Kind::Demographics]);
    let value = prop_oneof![4 => (0_u8..3).prop_map(Some), 1 => Just(None)];
    let rarely = || prop::option::weighted(0.1, 0_u8..4);
    (0_u8..2, 0_u8..3, kind, value, prop::bool::weighted(0.1), rarely(), rarely()).prop_map(
        |(patient, record, kind, value, revised, anew, epoch)| Step {
            patient,
            record,
            kind,
            value,
            revised,
            anew,
            // A lost log is told in a generation of its own.
            epoch: epoch.filter(|_| anew.is_some()),
        },
    )
}

fn events(steps: &[Step]) -> Vec<PatientEvent> {
    let (mut commit, mut generation, mut epoch) = (0_u64, 0, 1);
    let mut events: Vec<PatientEvent> = Vec::new();
    for step in steps {
        if let Some(back) = step.anew {
            generation += 1;
            commit = commit.saturating_sub(back.into());
        }
        epoch = step.epoch.map_or(epoch, u32::from);
        let same = events.last().filter(|last| {
            step.revised && last.generation == generation && generation == 0 && !matches!(last.body, Body::Retracted(_))
        });
        if let Some(last) = same {
            let revised =
                PatientEvent { revision: last.revision + 1, body: body(last.body.kind(), step.value), ..last.clone() };
            events.push(revised);
            continue;
        }
        commit += 1;
        let record = if step.kind == Kind::Demographics { 0 } else { step.record };
        events.push(PatientEvent {
            patient: SourcePatient { source: "riverside".into(), id: format!("p{}", step.patient) },
            organisation: "R1V01".into(),
            record: format!("{}/{record}", step.kind),
            position: Position::new(epoch, Lsn(commit), 1),
            // Provenance only: A, B, and A again.
            revision: 1 + generation % 2,
            action: step.value.map_or(Action::Retracted, |_| Action::Recorded),
            part: Part { index: 1, of: 1 },
            committed_at: 1_700_000_000_000_000 + i64::try_from(commit).expect("few"),
            snapshot: false,
            entered_at: None,
            effective_at: Some(1_700_000_000_123_456),
            body: body(step.kind, step.value),
            traceparent: None,
            generation,
            confidential: false,
            reread: false,
            incomplete: None,
            effective_precision: None,
            reinterpreted: false,
            participants: Vec::new(),
            location: None,
            made_by: None,
        });
    }
    events
}

fn body(kind: Kind, value: Option<u8>) -> Body {
    let Some(value) = value else { return Body::Retracted(kind) };
    let code = Code { text: "Potassium\0".into(), loinc: Some("2823-3".into()), ..Code::default() };
    match kind {
        Kind::Observation => {
            let number = Decimal::new(60 + i64::from(value), 1);
            Body::Observation(Observation {
                code,
                analyte: Some("potassium".into()),
                value: Measurement {
                    number: Some(number),
                    unit: Some("mmol/L".into()),
                    canonical: Some(Canonical { number, unit: "mmol/L".into() }),
                    ..Measurement::default()
                },
                // Beyond the calendar: shown as not told, and no reason to stop.
                authorised_at: Some(i64::MAX),
                ..Observation::default()
            })
        }
        Kind::Demographics => Body::Demographics(Demographics {
            family: Some(format!("name {value}")),
            birth_date: Some(i32::MAX - i32::from(value)),
            ..Demographics::default()
        }),
        _ => Body::Condition(Condition { code, active: value == 0, ..Condition::default() }),
    }
}

fn incoming(events: &[PatientEvent], from: usize, to: usize) -> Vec<Incoming> {
    let place =
        |offset: usize| Place { topic: Topic::Events, partition: 0, offset: i64::try_from(offset).expect("few") };
    let items = events.iter().enumerate().take(to).skip(from);
    items.map(|(offset, event)| Incoming { place: place(offset), item: Item::Event(event.clone()) }).collect()
}

/// Ranges that go on from somewhere before where the last one ended, as after restarts.
fn ranges(cuts: &[(usize, usize)], count: usize) -> Vec<(usize, usize)> {
    let (mut reached, mut ranges) = (0, Vec::new());
    for (back, length) in cuts.iter().copied().chain(std::iter::repeat((0, 7))) {
        if reached == count {
            return ranges;
        }
        let from = reached.saturating_sub(back);
        let to = (from + length).min(count);
        ranges.push((from, to));
        reached = reached.max(to);
    }
    ranges
}

async fn apply(pool: &Pool, items: Vec<Incoming>) {
    let mut client = pool.get().await.expect("a connection");
    sink_views::apply(&mut client, &Plan::of(items), &NoHook, false).await.expect("applied");
}

async fn checksum_after(pool: &Pool, events: &[PatientEvent], ranges: &[(usize, usize)]) -> String {
    let mut client = pool.get().await.expect("a connection");
    sink_views::wipe(&mut client, &[]).await.expect("wiped");
    for (from, to) in ranges {
        apply(pool, incoming(events, *from, *to)).await;
    }
    sink_views::checksum(&client).await.expect("a checksum")
}

/// Version by record, folded event by event.
fn versions(events: &[PatientEvent]) -> BTreeMap<(String, String), String> {
    let mut known: BTreeMap<(String, String), (digest::Digest, event::Place)> = BTreeMap::new();
    for event in events.iter().filter(|event| event.body.kind() == Kind::Observation) {
        let key = (event.patient.id.clone(), event.record.clone());
        let now = digest::of(event);
        if known.get(&key).is_none_or(|(before, _)| *before != now) {
            known.insert(key, (now, event.place()));
        }
    }
    known.into_iter().map(|(key, (_, since))| (key, since.to_string())).collect()
}

/// What a naive rebuild shows: of each record the last event, whatever revision, epoch or position it is of.
fn shown(events: &[PatientEvent]) -> BTreeMap<(String, String), (String, bool)> {
    let observations = events.iter().filter(|event| event.body.kind() == Kind::Observation);
    let last = |event: &PatientEvent| (event.id(), matches!(event.body, Body::Retracted(_)));
    observations.map(|event| ((event.patient.id.clone(), event.record.clone()), last(event))).collect()
}

async fn stored(pool: &Pool) -> BTreeMap<(String, String), (String, bool)> {
    let client = pool.get().await.expect("a connection");
    let sql = "select patient, record, event_id, retracted from record.observation";
    let rows = client.query(sql, &[]).await.expect("read");
    rows.iter().map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3)))).collect()
}

async fn stored_versions(pool: &Pool) -> BTreeMap<(String, String), String> {
    let client = pool.get().await.expect("a connection");
    let rows = client.query("select patient, record, version from record.observation", &[]).await.expect("read");
    rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect()
}

struct Database {
    _server: Postgres,
    pool: Pool,
    folder: std::path::PathBuf,
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn database(name: &str) -> Database {
    let folder = std::env::temp_dir().join(format!("causeway-sink-views-{name}-{}", std::process::id()));
    let server = Postgres::start(name, &folder, Lifetime::WithParent).await.expect("PostgreSQL");
    server.create_role("sinks", "login").await.expect("a role");
    server.create_database(DATABASE, "sinks").await.expect("a database");
    let settings = DatabaseSettings {
        url: server.url("sinks", DATABASE),
        password_file: Some(server.password_file("sinks")),
        tls: Tls::default(),
        ca_file: None,
    };
    let pool = pool(&settings, 4).expect("a pool");
    sink_views::migrate(&pool).await.expect("migrated");
    sink_views::migrate(&pool).await.expect("migrated again");
    Database { _server: server, pool, folder }
}

#[test]
fn any_split_and_any_replay_leave_the_same_rows() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let database = runtime.block_on(database("replay"));
    let cuts = || vec((0_usize..12, 1_usize..12), 0..8);
    let strategy = (vec(step(), 1..EVENTS_MAX), cuts());
    // A failing case is shrunk and printed, with its seed.
    let config = ProptestConfig { cases: HISTORIES, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&strategy, |(steps, cuts)| {
        let events = events(&steps);
        let one_by_one: Vec<_> = (0..events.len()).map(|at| (at, at + 1)).collect();
        let (want, versions_want, got, versions_got, rows, whole) = runtime.block_on(async {
            let want = checksum_after(&database.pool, &events, &one_by_one).await;
            let got = checksum_after(&database.pool, &events, &ranges(&cuts, events.len())).await;
            let versions_got = stored_versions(&database.pool).await;
            let rows = stored(&database.pool).await;
            let whole = checksum_after(&database.pool, &events, &[(0, events.len())]).await;
            (want, versions(&events), got, versions_got, rows, whole)
        });
        prop_assert_eq!(&got, &want, "batches {:?}", ranges(&cuts, events.len()));
        prop_assert_eq!(&whole, &want, "one batch");
        prop_assert_eq!(versions_got, versions_want);
        prop_assert_eq!(rows, shown(&events));
        Ok(())
    });
    runtime.block_on(async { drop(database) });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retraction_leaves_a_marker_and_links_and_quarantine_are_guarded() {
    let database = database("marker").await;
    let told =
        |value| Step { patient: 0, record: 0, kind: Kind::Observation, value, revised: false, anew: None, epoch: None };
    let events = events(&[told(Some(1)), told(None)]);
    apply(&database.pool, incoming(&events, 0, 2)).await;
    apply(&database.pool, incoming(&events, 0, 1)).await;
    let client = database.pool.get().await.expect("a connection");
    let sql = "select retracted, num_nulls(code_text, number, unit, canonical_number, effective_at, status), version \
               from record.observation";
    let row = client.query_one(sql, &[]).await.expect("one row");
    assert_eq!((row.get(0), row.get(1), row.get::<_, String>(2)), (true, 6, events[1].position.to_string()));

    // Of an earlier generation than the record holds: ignored, and said; a replay in one generation is not.
    let mut connection = database.pool.get().await.expect("a connection");
    let later = PatientEvent { generation: 7, ..events[1].clone() };
    for (event, outlived) in [(&later, 0), (&events[1], 1), (&later, 0)] {
        let plan = Plan::of(incoming(std::slice::from_ref(event), 0, 1));
        let outcome = sink_views::apply(&mut connection, &plan, &NoHook, false).await.expect("applied");
        assert_eq!(outcome.outlived.len(), outlived, "{outcome:?}");
    }
    drop(connection);

    let link = |version, person: u128| Link {
        patient: events[0].patient.clone(),
        person: uuid::Uuid::from_u128(person),
        version,
        status: LinkStatus::Linked,
        reason: "verified number".into(),
        decided_at: 1_700_000_000_000_000,
        evidence: None,
    };
    let place = |topic, offset| Place { topic, partition: 0, offset };
    for (offset, item) in [(1, link(2, 2)), (0, link(1, 1))] {
        apply(&database.pool, vec![Incoming { place: place(Topic::Links, offset), item: Item::Link(item) }]).await;
    }
    let person: String = client.query_one("select person::text from record.link", &[]).await.expect("one link").get(0);
    assert_eq!(person, uuid::Uuid::from_u128(2).to_string());

    let item = Quarantined {
        source: "riverside".into(),
        stage: "normaliser".into(),
        reason: "missing patient".into(),
        ..Quarantined::default()
    };
    for _ in 0..2 {
        apply(
            &database.pool,
            vec![Incoming { place: place(Topic::Quarantine, 7), item: Item::Quarantined(item.clone()) }],
        )
        .await;
    }
    let count: i64 = client.query_one("select count(*) from record.quarantine", &[]).await.expect("counted").get(0);
    assert_eq!(count, 1);
    drop(client);
    an_item_is_one_row(&database, &item).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_of_birth_is_kept_as_a_year() {
    let database = database("partial").await;
    let told = Step {
        patient: 0,
        record: 0,
        kind: Kind::Demographics,
        value: Some(1),
        revised: false,
        anew: None,
        epoch: None,
    };
    let mut events = events(&[told]);
    let (birth_partial, death_partial) = (PartialDate::parse("1984"), PartialDate::parse("2026-02"));
    events[0].body = Body::Demographics(Demographics { birth_partial, death_partial, ..Demographics::default() });
    apply(&database.pool, incoming(&events, 0, 1)).await;
    let client = database.pool.get().await.expect("a connection");
    let sql =
        "select concat_ws(' ', coalesce(birth_date::text, '-'), birth_partial, death_partial) from record.patient";
    assert_eq!(client.query_one(sql, &[]).await.expect("one row").get::<_, String>(0), "- 1984 2026-02");
}

/// A closing by hand closes one row, and what was told of the same message: not what only looks like it.
#[tokio::test(flavor = "multi_thread")]
async fn closed_by_hand_is_that_item_and_no_other() {
    let database = database("by-hand").await;
    let client = database.pool.get().await.expect("a connection");
    let item = |stage: &str, partition: Option<i32>| Quarantined {
        stage: stage.into(),
        reason: "foreign message".into(),
        topic: partition.map(|_| "patient.events".into()),
        partition,
        offset: partition.map(|_| 3),
        ..Quarantined::default()
    };
    let closing = |closes, of: Quarantined| Quarantined {
        closed: true,
        closes: Some(closes),
        closed_as: Some(Verdict::Dropped),
        ..of
    };
    let history = [
        (0, item("views", Some(0))),
        (1, item("views", Some(1))),
        // Of a message on the quarantine itself nothing is known.
        (2, item("views", None)),
        (3, item("views", None)),
        (4, item("normaliser", Some(0))),
        (5, closing(0, item("views", Some(0)))),
        (6, closing(2, item("views", None))),
        // Of nothing that stands there, and of what is told only later.
        (7, closing(99, item("views", Some(7)))),
        (8, closing(9, item("views", None))),
        (9, item("views", None)),
    ];
    let place = |offset| Place { topic: Topic::Quarantine, partition: 0, offset };
    let incoming = |from: usize, to: usize| {
        let items = history[from..to].iter().cloned();
        items.map(|(offset, item)| Incoming { place: place(offset), item: Item::Quarantined(item) }).collect()
    };
    for ranges in [&[(0, 10)][..], &[(0, 5), (5, 10)], &[(0, 6), (2, 9), (0, 10)]] {
        client.execute("delete from record.quarantine", &[]).await.expect("deleted");
        for (from, to) in ranges {
            apply(&database.pool, incoming(*from, *to)).await;
        }
        let sql = "select array_agg(topic_offset order by topic_offset) from record.quarantine where not closed";
        let open: Vec<i64> = client.query_one(sql, &[]).await.expect("read").get(0);
        assert_eq!(open, [1, 3, 9], "{ranges:?}");
    }
}

/// One row for each name, whatever is replayed; and closed, it stays closed.
async fn an_item_is_one_row(database: &Database, item: &Quarantined) {
    let client = database.pool.get().await.expect("a connection");
    let told = |name: Option<&str>, closed| Quarantined {
        item: name.map(str::to_owned),
        offset: Some(3),
        closed,
        ..item.clone()
    };
    let history = [
        (8, told(Some("a"), false)),
        (9, told(Some("b"), false)),
        (10, told(Some("a"), true)),
        (11, told(Some("b"), true)),
        (12, told(Some("b"), false)),
        // What was told before there were names closes by where that was.
        (13, told(None, false)),
        (14, told(Some("c"), true)),
    ];
    let incoming = |from: usize, to: usize| {
        let items = history[from..to].iter().cloned();
        let place = |offset| Place { topic: Topic::Quarantine, partition: 0, offset };
        let entry = |(offset, item)| Incoming { place: place(offset), item: Item::Quarantined(item) };
        items.map(entry).collect::<Vec<_>>()
    };
    for ranges in [&[(0, 7)][..], &[(0, 2), (2, 4), (4, 7)], &[(0, 3), (1, 6), (0, 1), (5, 7), (0, 7)]] {
        client.execute("delete from record.quarantine where topic_offset > 7", &[]).await.expect("deleted");
        for (from, to) in ranges {
            apply(&database.pool, incoming(*from, *to)).await;
        }
        let sql = "select coalesce(item, '-') || case when closed then ' closed' else '' end || ' ' || topic_offset \
                   from record.quarantine where topic_offset > 7 order by 1";
        let rows = client.query(sql, &[]).await.expect("read");
        let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(rows, ["- closed 13", "a closed 10", "b 12", "c closed 14"], "{ranges:?}");
    }
}

#[test]
fn an_incomplete_transaction_waits_for_its_rest() {
    let steps: Vec<Step> = (0..4)
        .map(|record| Step {
            patient: 0,
            record,
            kind: Kind::Condition,
            value: Some(0),
            revised: false,
            anew: None,
            epoch: None,
        })
        .collect();
    let mut events = events(&steps);
    for (index, event) in events.iter_mut().enumerate().skip(1) {
        event.position = Position::new(1, Lsn(9), u64::try_from(index).expect("few"));
        event.part = Part { index: u32::try_from(index).expect("few"), of: 3 };
    }
    let split = |to: usize| {
        let (ready, held) = parts::split(incoming(&events, 0, to));
        (ready.len(), held.len())
    };
    assert_eq!([split(1), split(2), split(3), split(4)], [(1, 0), (1, 1), (1, 2), (4, 0)]);
    // What was quarantined behind it must not move the offset past it.
    let mut items = incoming(&events, 0, 3);
    items.push(Incoming { place: Place { topic: Topic::Events, partition: 0, offset: 3 }, item: Item::Passed });
    let (ready, held) = parts::split(items);
    assert_eq!((ready.len(), held.len()), (1, 3));
}
