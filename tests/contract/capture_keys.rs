//! Keys out of the ordinary: those that their Avro type cannot hold, and those so large that the server leaves them out of
//! an update. No two rows share a key, in the log as on a table's topic.

use super::{
    capture_edges::{Stranger, Told, lines},
    capture_signal::want,
    capture_stack::{Bench, SOURCE, WAIT_MAX},
};
use anyhow::{Context, ensure};
use boot::{Stop, health::Health};
use change_log::Registry;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

const SCHEMA: &str = "
    create table marker (id serial primary key);
    create table day (d date primary key, note text);
    create table pair (at timestamptz, n numeric, note text, primary key (at, n));
    create table large (k text primary key, a integer, note text);
    create table large_pair (k text, a integer, note text, primary key (k, a));
    alter table large alter column k set storage external, alter column note set storage external;
    alter table large_pair alter column k set storage external;";

/// Each row has a key of its own, and two of them would have the stand-in's.
const ROWS: &str = "
    insert into day values ('1970-01-01', 'epoch'), ('infinity', 'end'), ('-infinity', 'start'), ('0044-03-15 BC', 'ides');
    insert into pair values ('infinity', 'NaN', 'n'), ('infinity', 0, 'n'), ('1970-01-01 00:00Z', 'NaN', 'n');";

/// So large that it stands outside of its row, and still fits into an index.
const LARGE: &str = "(select string_agg(md5(n::text), '') from generate_series(1, 70) n)";
const LARGE_CHARS: usize = 70 * 32;

fn odd(table: &str, columns: &str) -> String {
    format!("table=public.{table} columns={columns}")
}

fn day(text: &str) -> String {
    odd("day", &format!("{{\"d\": \"{text}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_rows_share_a_key() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let client = bench.database.connect(SOURCE).await?;
    client.batch_execute(ROWS).await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    let (registry, health, stop) = (Registry::new(&bench.registry_settings())?, Health::new(), Stop::new());
    let projecting = tokio::spawn(sink_topics::run(
        sink_topics::Settings::new(SOURCE),
        bench.kafka_settings(),
        registry.clone(),
        Arc::default(),
        health.part("topics"),
        stop.clone(),
    ));
    let mut stranger = Stranger::of(&bench)?;
    client
        .batch_execute(&format!(
            "update day set note = 'END' where d = 'infinity'; delete from day where d = '-infinity';
             update day set d = 'infinity'::date - 0 where false; update day set d = '-infinity' where d = '0044-03-15 BC';
             insert into large values ({LARGE}, 1, {LARGE}); update large set a = 2;
             insert into large_pair values ({LARGE}, 1, 'n'); update large_pair set note = 'm';
             update large_pair set a = 2;"
        ))
        .await?;
    let told = stranger.upto_now().await?;
    odd_keys(&told);
    large_keys(&told);
    // The topic holds what the table does, were it compacted.
    client.batch_execute("insert into day values ('2026-11-23', 'last')").await?;
    let rows = compacted(&bench, |value, _| value.windows(4).any(|part| part == b"last")).await?;
    assert_eq!(rows.len(), 4, "a row took another's place, or went with it");

    // An operator lets a shape in: the table's topic follows the log.
    client.batch_execute("alter table day alter column note type integer using 7").await?;
    client.batch_execute("insert into day values ('2026-11-24', 8)").await?;
    connector.wait(|connector| !connector.status.view().refused_tables.is_empty()).await?;
    let [envelope, _] = connector_postgres::subjects(SOURCE, "public", "day");
    let (after, _) = registry.latest(&envelope).await?.context("a shape")?;
    want(&bench, |desired| desired.accept(&envelope, after)).await?;
    connector.wait(|connector| connector.status.view().refused_tables.is_empty()).await?;
    compacted(&bench, |_, keys| keys == 5).await?;
    assert!(health.ready(), "{:?}", health.parts());
    stop.cancel();
    projecting.await??;
    connector.stop().await
}

fn odd_keys(told: &[Told]) {
    let [end, start, ides] = ["infinity", "-infinity", "0044-03-15 BC"].map(day);
    let want = [
        "r public.day d=0 | d=0 note=epoch".to_owned(),
        format!("u public.day {end} | - | d=0 note=END"),
        format!("d public.day {start} | d=0 note=null"),
        format!("d public.day {ides} | d=0 note=null"),
        format!("c public.day {start} | d=0 note=ides"),
    ];
    let mut got = lines(told, "public.day");
    // What the snapshot reads has no order of ours.
    got[..4].sort();
    let read =
        [&end, &start, &ides].map(|key| got[..4].iter().any(|line| line.starts_with(&format!("r public.day {key} |"))));
    assert_eq!((read, got.remove(0)), ([true; 3], want[0].clone()));
    assert_eq!(got.split_off(3), want[1..]);
    let changed = told.iter().find(|record| record.op == "u" && record.table == "public.day").expect("an update");
    assert_eq!(changed.header("causeway.exact"), Some(r#"{"d":"infinity"}"#));
    let pairs: Vec<&str> =
        told.iter().filter(|record| record.table == "public.pair").map(|record| record.key.as_str()).collect();
    let want = [("1970-01-01 00:00:00+00", "NaN"), ("infinity", "0"), ("infinity", "NaN")];
    for (at, n) in want {
        let key = odd("pair", &format!("{{\"at\": \"{at}\", \"n\": \"{n}\"}}"));
        assert!(pairs.contains(&key.as_str()), "{key} is not in {pairs:?}");
    }
}

/// The server tells a large key beside an update of other columns, and leaves it out of the new row.
fn large_keys(told: &[Told]) {
    let k = format!("k=<{LARGE_CHARS}>");
    assert_eq!(
        lines(told, "public.large"),
        [
            format!("c public.large {k} | {k} a=1 note=<{LARGE_CHARS}>"),
            format!("u public.large {k} | {k} a=null note=null | {k} a=2 note=?"),
        ]
    );
    assert_eq!(
        lines(told, "public.large_pair"),
        [
            format!("c public.large_pair {k} a=1 | {k} a=1 note=n"),
            format!("u public.large_pair {k} a=1 | {k} a=1 note=null | {k} a=1 note=m"),
            format!("d public.large_pair {k} a=1 | {k} a=1 note=null"),
            format!("c public.large_pair {k} a=2 | {k} a=2 note=m"),
        ]
    );
}

/// The newest value of each key on the topic of `day`, up to the record that is the last.
async fn compacted(bench: &Bench, last: impl Fn(&[u8], usize) -> bool) -> anyhow::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let consumer: BaseConsumer = bench.kafka_settings().client().set("group.id", "compactor").create()?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&format!("{SOURCE}.public.day"), 0, Offset::Beginning)?;
    consumer.assign(&assignment)?;
    let mut newest = BTreeMap::new();
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        ensure!(Instant::now() < deadline, "the last does not come to the topic; it has {} keys", newest.len());
        // A topic that is not there yet is an error of this moment.
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let key = message.key().context("a record without a key")?.to_vec();
        let Some(value) = message.payload() else {
            newest.remove(&key);
            continue;
        };
        newest.insert(key, value.to_vec());
        if last(value, newest.len()) {
            return Ok(newest);
        }
    }
}
