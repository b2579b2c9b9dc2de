//! What a source's administrator decides: which tables are published, how their rows are named, what the role may read.
//! The clinic goes on working meanwhile, and so does the rest of the source.

use super::{
    capture_signal::{causeway, config},
    capture_stack::{Bench, Connector, SOURCE},
};
use anyhow::{Context, ensure};
use change::Entry;
use change_log::Item;
use connector_postgres::{Advice, Settings};

const SCHEMA: &str = "
    create schema lims;
    create table lims.result (id bigint primary key, note text);
    create table lims.keyless (id bigint not null unique, note text);
    insert into lims.result values (1, 'r');
    insert into lims.keyless values (1, 'k');";

fn of(items: &[Item], table: &str) -> usize {
    let of =
        |item: &&Item| matches!(item, Item::Entry(Entry { table: Some(schema), .. }) if &*schema.table.name == table);
    items.iter().filter(of).count()
}

/// What is advised about the table, once there is something.
async fn advised(connector: &Connector, about: &str, word: &str) -> anyhow::Result<Advice> {
    let found = |connector: &Connector| {
        let advice = connector.status.view().advice.into_iter();
        advice.into_iter().find(|advice| advice.about == about && advice.sql.iter().any(|sql| sql.contains(word)))
    };
    connector.wait(|connector| found(connector).is_some()).await.with_context(|| format!("{about}: {word}"))?;
    found(connector).context("it is gone again")
}

async fn published(bench: &Bench, table: &str) -> anyhow::Result<bool> {
    let sql = "select exists (select from pg_publication_tables where tablename = $1)";
    Ok(bench.database.connect(SOURCE).await?.query_one(sql, &[&table]).await?.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_captured_is_advised_on_and_taken_up_later() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let others = "create table lims.late (id bigint primary key, note text); insert into lims.late values (1, 'l');
        create table lims.secured (id bigint primary key); insert into lims.secured values (1), (2);
        alter table lims.secured enable row level security; create policy one on lims.secured using (id = 1);
        grant select on lims.secured to capture;
        create publication causeway_clinic for table lims.secured;
        alter publication causeway_clinic owner to capture";
    bench.database.execute(SOURCE, others).await?;
    let mut settings = bench.settings();
    settings.snapshot.workers = 1;
    let connector = bench.connector(settings);
    // Rows that are hidden are not left out, and hold nothing else up.
    let hidden = |connector: &Connector| {
        let problem = connector.status.view().snapshot.and_then(|snapshot| snapshot.problem).unwrap_or_default();
        problem.contains("all rows of lims.secured") && problem.contains("bypassrls")
    };
    connector.wait(hidden).await?;
    bench.log(|items| of(items, "result") == 1).await?;
    bench.database.execute(SOURCE, "insert into lims.result values (2, 'meanwhile')").await?;
    bench.log(|items| of(items, "result") == 2).await?;
    let bypass = advised(&connector, "lims.secured", "bypassrls").await?;
    bench.database.execute(SOURCE, &bypass.sql[0]).await?;
    connector.wait_ready().await?;
    bench.log(|items| of(items, "secured") == 2).await?;

    // The clinic's own work on a table whose rows have no names goes on.
    let keyless = advised(&connector, "lims.keyless", "replica identity full").await?;
    assert!(!published(&bench, "keyless").await?, "published, and the clinic's updates with it refused");
    let work = "update lims.keyless set note = 'changed'; delete from lims.keyless where id > 1";
    bench.database.execute(SOURCE, work).await?;
    ensure!(
        keyless.sql.contains(&"alter table lims.keyless replica identity using index keyless_id_key".into()),
        "{keyless}"
    );
    // Each partition has a key, and their root, as which they are told, has none.
    let split = "create table lims.split (id bigint, day date) partition by range (day);
        create table lims.split_1 partition of lims.split (primary key (id)) for values from ('2026-01-01') to ('2027-01-01')";
    bench.database.connect_as("capture", SOURCE).await?.batch_execute(split).await?;
    let rootless = advised(&connector, "lims.split", "replica identity full").await?;
    assert_eq!(rootless.sql, ["alter table lims.split_1 replica identity full"]);
    assert!(!published(&bench, "split").await?);
    bench.database.execute(SOURCE, &rootless.sql[0]).await?;
    // What this role does not own it says so of. The owner's statements, as they are told, are enough.
    let late = advised(&connector, "lims.late", "add table").await?;
    bench.database.execute(SOURCE, &format!("{}; {}", late.sql[0], keyless.sql[1])).await?;
    let grant = advised(&connector, "lims.late", "grant select").await?;
    bench.database.execute(SOURCE, &grant.sql[0]).await?;
    bench.log(|items| of(items, "late") == 1 && of(items, "keyless") == 1).await?;
    bench
        .database
        .execute(SOURCE, "insert into lims.late values (2, 'streamed'); update lims.keyless set note = ''")
        .await?;
    bench.log(|items| of(items, "late") == 2 && of(items, "keyless") == 2).await?;
    connector.wait(|connector| connector.status.view().advice.is_empty()).await?;
    connector.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_script_is_all_that_the_connector_needs() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    bench.database.execute(SOURCE, "create schema other; create table other.secret (id bigint primary key)").await?;
    // Made to have a password file; the script makes it anew.
    bench.database.create_role("reader", "login").await?;
    bench.database.execute(SOURCE, "drop role reader").await?;
    let (config, admin) = (config(&bench, "reader")?, bench.database.url("postgres", SOURCE));
    let secret = bench.database.password_file("postgres");
    let script = async |eyes: &[&str]| -> anyhow::Result<String> {
        let output = causeway(&config, &[&["setup", SOURCE, "--print-sql"], eyes].concat()).await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    let unseen = script(&[]).await?;
    ensure!(unseen.contains("do $setup$"), "without the role nobody can look: {unseen}");
    let literal = script(&["--url", &admin, "--password-file", &secret.display().to_string()]).await?;
    let statements: Vec<&str> = literal.lines().filter(|line| !line.starts_with("--")).collect();
    let want = [
        "create role reader login replication;",
        "grant connect on database clinic to reader;",
        "grant usage on schema lims to reader;",
        "grant select on lims.result to reader;",
        "create publication causeway_clinic for table",
        "    lims.result",
    ];
    assert_eq!(statements[..want.len()], want);
    ensure!(literal.contains("--   alter table lims.keyless replica identity full;"), "{literal}");
    ensure!(!literal.contains("other"), "{literal}");
    bench.database.execute(SOURCE, &literal).await?;
    let password = bench.database.password("reader")?;
    bench.database.execute(SOURCE, &format!("alter role reader password '{password}'")).await?;

    let settings = Settings {
        url: bench.database.url("reader", SOURCE),
        password_file: Some(bench.database.password_file("reader")),
        tables: vec!["lims.*".into()],
        ..bench.settings()
    };
    let connector = bench.connector(settings);
    connector.wait_ready().await?;
    bench.database.execute(SOURCE, "insert into lims.result values (2, 'streamed')").await?;
    let items = bench.log(|items| of(items, "result") == 2).await?;
    assert_eq!(of(&items, "keyless"), 0);
    // The clinic's work goes on, and the role can do nothing but read.
    bench.database.execute(SOURCE, "update lims.keyless set note = 'changed'").await?;
    let reader = bench.database.connect_as("reader", SOURCE).await?;
    for write in [
        "insert into lims.result values (3, 'x')",
        "update lims.result set note = 'x'",
        "delete from lims.result",
        "truncate lims.result",
        "select * from lims.keyless",
        "select * from other.secret",
        "create table lims.mine (id int)",
        "create schema mine",
        "alter publication causeway_clinic add table lims.keyless",
        "create publication mine for table lims.result",
    ] {
        let refused = reader.batch_execute(write).await.err().and_then(|error| error.code().cloned());
        let code = refused.as_ref().map(|code| code.code());
        assert_eq!(code, Some("42501"), "the role may {write}");
    }
    // With the role in place its own eyes are enough, and what is there is not made again.
    let again = script(&[]).await?;
    ensure!(!again.contains("create") && !again.contains("do $setup$"), "{again}");
    // Where nobody can look, the script finds the same.
    bench.database.execute(SOURCE, &unseen).await?;
    assert!(!published(&bench, "keyless").await?, "the script published a table whose updates are refused then");
    connector.stop().await
}
