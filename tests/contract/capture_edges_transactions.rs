//! What is one transaction, what is none, and in which order: messages, origins, savepoints, two-phase commits, and
//! rows that share a place in the server's log.

use super::{
    capture_edges::{Stranger, Told, lines},
    capture_signal::config,
    capture_stack::{Bench, SOURCE, WAIT_MAX},
};
use anyhow::ensure;
use change_log::Item;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const SCHEMA: &str = "
    create table marker (id serial primary key);
    create table line (id integer primary key, note text);
    create table unwanted (id integer);";

const TRANSACTIONS: &str = "
    begin; insert into line values (1); select pg_logical_emit_message(true, 'audit', 'one');
        insert into line values (2); commit;
    begin; insert into line values (3); select pg_logical_emit_message(false, 'ping', 'two'); rollback;
    begin; select pg_logical_emit_message(true, 'audit', 'gone'); rollback;
    begin; select txid_current(); commit;
    insert into unwanted values (1);
    begin; insert into line values (4); savepoint a; insert into line values (5);
        select pg_logical_emit_message(true, 'audit', 'gone'); rollback to a; insert into line values (6);
        savepoint b; insert into line values (7); insert into unwanted values (2); release b; commit;
    begin; insert into line values (8); prepare transaction 'late';
    insert into line values (9);
    commit prepared 'late';
    begin; truncate unwanted, line restart identity cascade; commit;
    begin; insert into line values (10); prepare transaction 'never'; rollback prepared 'never';
    begin; insert into line values (12); select pg_logical_emit_message(false, 'ping', 'behind'); commit;";

/// Sessions that insert rows while another puts messages beside them into the server's log; and how many each.
const SESSIONS: i32 = 4;
const EACH: i32 = 250;

/// Another node's change, as its apply worker writes it.
const REPLICATED: &str = "
    select pg_replication_origin_create('elsewhere'); select pg_replication_origin_session_setup('elsewhere');
    begin; select pg_replication_origin_xact_setup('0/ABCD', now()); insert into line values (11); commit;";

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_what_was_committed_in_its_order() -> anyhow::Result<()> {
    let mut bench = Bench::start(SCHEMA).await?;
    for setting in ["max_prepared_transactions = 10", "logical_decoding_work_mem = '64kB'"] {
        bench.database.execute(SOURCE, &format!("alter system set {setting}")).await?;
    }
    bench.database.restart().await?;
    let mut settings = bench.settings();
    settings.tables = vec!["public.line".into(), "public.marker".into()];
    let connector = bench.connector(settings.clone());
    connector.wait_ready().await?;
    let mut stranger = Stranger::of(&bench)?;
    let client = bench.database.connect(SOURCE).await?;
    // One by one: several in one message would be one transaction.
    for statement in TRANSACTIONS.split(';').chain(REPLICATED.split(';')) {
        client.batch_execute(statement).await?;
    }
    let told = stranger.upto_now().await?;
    small(&told);
    crowded(&bench).await?;
    all_of_the_crowd(&stranger.upto_now().await?);

    // Rows of one COPY share their place; the connector ends wherever it is, again and again.
    connector.cut_off().await;
    let beside = "begin; insert into line values (999); select pg_logical_emit_message(false, 'ping', 'again'); commit";
    client.batch_execute(&beside.replace("999", "998").replace("again", "first")).await?;
    client.batch_execute(beside).await?;
    copy(&bench, 1_000, 4_000).await?;
    for pause in [80, 200, 400] {
        let connector = bench.connector(settings.clone());
        tokio::time::sleep(Duration::from_millis(pause)).await;
        connector.cut_off().await;
    }
    let connector = bench.connector(settings);
    connector.wait_ready().await?;
    copy(&bench, 10_000, 5_000).await?;
    let told = stranger.upto_now().await?;
    let want: Vec<String> = (998..5_000).chain(10_000..15_000).map(|id| format!("c public.line id={id} | ")).collect();
    let got = lines(&told, "public.line");
    assert_eq!(got.len(), want.len());
    assert!(got.iter().zip(&want).all(|(got, want)| got.starts_with(want.as_str())), "lost, twice or out of order");
    let messages: Vec<&str> = told.iter().filter(|record| record.op == "m").map(|record| &*record.after).collect();
    assert_eq!(messages, ["prefix=ping content=first", "prefix=ping content=again"]);
    ends(&told);
    spilled(&bench).await?;
    connector.stop().await
}

fn small(told: &[Told]) {
    let all: Vec<String> = told.iter().map(Told::line).collect();
    let row = |id: i32| format!("c public.line id={id} | id={id} note=null");
    let message = |prefix: &str, content: &str| format!("m . prefix={prefix} | - | prefix={prefix} content={content}");
    // What a transaction says that is rolled back is not told; what it says outside of itself is.
    let want = [
        row(1),
        message("audit", "one"),
        row(2),
        message("ping", "two"),
        row(4),
        row(6),
        row(7),
        row(9),
        row(8),
        "t public.line position".to_owned(),
        // It stands before the commit in the server's log, right before it.
        message("ping", "behind"),
        row(12),
        row(11),
    ];
    assert_eq!(all, want);
    assert_eq!(told[0].commit(), told[2].commit());
    // A message that is part of a transaction carries its id; one that is not has none.
    assert!(told[0].xid == told[1].xid && told[1].xid == told[2].xid && told[0].xid != "null", "{}", told[1].xid);
    assert_eq!(told[3].xid, "null");
    // Only what came from elsewhere says from where.
    for record in told {
        let origin = (record.line() == row(11)).then_some("elsewhere");
        assert_eq!(record.header("causeway.origin"), origin, "{}", record.line());
    }
    let ordinals: Vec<u64> = told[..3].iter().map(Told::ordinal).collect();
    assert_eq!(ordinals, [1, 2, 3]);
    ends(told);
}

/// Messages of no transaction end where a commit begins, again and again.
async fn crowded(bench: &Bench) -> anyhow::Result<()> {
    let mut working = Vec::new();
    for session in 0..=SESSIONS {
        let client = bench.database.connect(SOURCE).await?;
        working.push(tokio::spawn(async move {
            for number in 0..EACH {
                let statement = match session {
                    SESSIONS => format!("select pg_logical_emit_message(false, 'beat', '{number}')"),
                    _ => format!("insert into line values ({})", 100_000 + session * EACH + number),
                };
                client.batch_execute(&statement).await?;
            }
            anyhow::Ok(())
        }));
    }
    for session in working {
        session.await??;
    }
    Ok(())
}

fn all_of_the_crowd(told: &[Told]) {
    let mut rows = lines(told, "public.line");
    let want = (100_000..100_000 + SESSIONS * EACH).map(|id| format!("c public.line id={id} | id={id} note=null"));
    rows.sort_unstable();
    assert_eq!(rows, want.collect::<Vec<_>>(), "each row once");
    let beats: Vec<&str> = told.iter().filter(|record| record.op == "m").map(|record| &*record.after).collect();
    assert_eq!(beats, (0..EACH).map(|number| format!("prefix=beat content={number}")).collect::<Vec<_>>());
    ends(told);
}

/// The last record of a transaction, and no other, says where it ends.
fn ends(told: &[Told]) {
    let mut transactions: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
    for record in told {
        transactions.entry(record.commit()).or_default().push(record.header("causeway.commit-end").is_some());
    }
    for (commit, ends) in transactions {
        assert_eq!(ends.iter().position(|end| *end), Some(ends.len() - 1), "{commit}");
    }
}

async fn copy(bench: &Bench, first: i32, rows: i32) -> anyhow::Result<()> {
    let client = bench.database.connect(SOURCE).await?;
    let (last, padding) = (first + rows - 1, "x".repeat(200));
    client.batch_execute(&format!("copy line from program E'seq -f \"%.0f\\t{padding}\" {first} {last}'")).await?;
    Ok(())
}

/// The server did put a transaction on its disk: the test has tested that.
async fn spilled(bench: &Bench) -> anyhow::Result<()> {
    let client = bench.database.connect(SOURCE).await?;
    let question = "select coalesce(sum(spill_txns), 0)::bigint > 0 from pg_stat_replication_slots";
    for _ in 0..200 {
        if client.query_one(question, &[]).await?.get(0) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("no transaction was spilled")
}

/// Where the log ends, of a transaction that has not ended, too.
fn end(bench: &Bench) -> anyhow::Result<i64> {
    let consumer: BaseConsumer = bench.kafka_settings().client().set("group.id", "stranger").create()?;
    Ok(consumer.fetch_watermarks(&format!("changes.{SOURCE}"), 0, WAIT_MAX)?.1)
}

/// The connector is killed when the log holds a part of a transaction. Whoever goes on says first what was read, and tables
/// are published meanwhile: nothing of that may take the place of the transaction's next change.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_log_holds_in_part_is_told_whole() -> anyhow::Result<()> {
    const ROWS: usize = 60;
    let bench = Bench::start("create schema lims; create table lims.part (id integer primary key)").await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    connector.stop().await?;
    let before = end(&bench)?;
    bench.database.execute(SOURCE, &format!("insert into lims.part select generate_series(1, {ROWS})")).await?;
    let ops = format!("127.0.0.1:{}", stack::free_port()?);
    let mut killed =
        stack::Causeway::prepare(&config(&bench, "capture")?, &["connector"], &ops, &bench.file("killed.log"))?;
    let environment = &mut killed.spec_mut().environment;
    environment.insert("CAUSEWAY__OPS__LISTEN".to_owned(), ops);
    environment.insert("CAUSEWAY_FAILPOINT".to_owned(), "log.produced:20:pause=600000".to_owned());
    killed.launch()?;
    let told = |items: &[Item]| -> Vec<change::Position> {
        let entry = |item: &Item| if let Item::Entry(entry) = item { Some(entry.position) } else { None };
        items.iter().filter_map(entry).collect()
    };
    let deadline = Instant::now() + WAIT_MAX;
    while end(&bench)? < before + 15 {
        ensure!(Instant::now() < deadline, "nothing of the transaction came");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(end(&bench)? < before + 30, "all of it came");
    killed.kill_9()?;
    let owner = bench.database.connect_as("capture", SOURCE).await?;
    owner.batch_execute("create table lims.other (id integer primary key)").await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    owner.batch_execute("insert into lims.other values (1)").await?;
    let items = bench.log(|items| told(items).len() > ROWS).await?;
    let ordinals: Vec<u64> = told(&items).iter().take(ROWS).map(|position| position.ordinal).collect();
    assert_eq!(ordinals, (1..=ROWS as u64).collect::<Vec<_>>());
    connector.stop().await
}
