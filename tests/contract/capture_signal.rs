//! What operators want of a source holds across restarts, and is asked for with commands.

use super::capture_stack::{Bench, Connector, SOURCE};
use change::{Change, Entry};
use change_log::{
    Item,
    signal::{self, Desired},
};
use connector_postgres::Phase;
use std::{path::Path, process::Output, time::Duration};
use tokio::process::Command;

const SCHEMA: &str = "create schema lims; create table lims.result (id bigint primary key, note text)";

pub fn inserts(items: &[Item]) -> usize {
    let insert = |item: &&Item| matches!(item, Item::Entry(Entry { change: Change::Insert { .. }, .. }));
    items.iter().filter(insert).count()
}

pub async fn want(bench: &Bench, change: impl Fn(&mut Desired)) -> anyhow::Result<()> {
    let change = |desired: &mut Desired| {
        change(desired);
        Ok(())
    };
    signal::change(&bench.kafka_settings(), SOURCE, change).await?;
    Ok(())
}

fn paused(connector: &Connector) -> bool {
    connector.status.view().phase == Phase::Paused
}

async fn slot_is_active(bench: &Bench) -> anyhow::Result<bool> {
    let client = bench.database.connect(SOURCE).await?;
    Ok(client.query_one("select active from pg_replication_slots", &[]).await?.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_source_stands_still_across_restarts_and_goes_on_without_a_gap() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    bench.database.execute(SOURCE, "insert into lims.result values (1, 'before')").await?;
    bench.log(|items| inserts(items) == 1).await?;
    want(&bench, |desired| desired.paused = true).await?;
    connector.wait(paused).await?;
    assert!(connector.health.ready(), "a pause is no failure");
    assert!(connector.unready().is_some_and(|why| why.contains("paused")), "{:?}", connector.unready());
    while slot_is_active(&bench).await? {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bench.database.execute(SOURCE, "insert into lims.result values (2, 'meanwhile')").await?;
    connector.stop().await?;

    let connector = bench.connector(bench.settings());
    connector.wait(paused).await?;
    connector.wait(|connector| connector.status.view().slot.is_some()).await?;
    assert!(!slot_is_active(&bench).await?, "a paused source holds no stream after a restart either");
    // Several change what is wanted at the same moment: all get through.
    let accept = |number: u32| want(&bench, move |desired| desired.accept(&format!("subject {number}"), 7));
    let resume = want(&bench, |desired| desired.paused = false);
    tokio::try_join!(resume, accept(1), accept(2), accept(3), accept(4))?;
    let items = bench.log(|items| inserts(items) == 2).await?;
    assert_eq!(inserts(&items), 2, "the row of the pause came once");
    let desired = signal::read(&bench.kafka_settings(), SOURCE).await?;
    let accepted = (1..=4).all(|number| desired.accepts(&format!("subject {number}"), 7));
    assert!(!desired.paused && accepted, "{desired:?}");
    connector.stop().await
}

/// The binary, as an operator runs it.
pub async fn causeway(config: &Path, verb: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(stack::causeway::binary()?);
    command.args(["source", verb[0]]).arg(config).args(&verb[1..]);
    Ok(command.output().await?)
}

/// A settings file with any mapping and site.
pub fn config(bench: &Bench, role: &str) -> anyhow::Result<std::path::PathBuf> {
    let (mappings, site) = (stack::repository().join("mappings"), stack::repository().join("site"));
    let (mapping, site) = (mappings.join("emis.toml").display().to_string(), site.display());
    let text = format!(
        "[kafka]\nbrokers = \"{}\"\n[registry]\nurl = \"{}\"\n\
         [database]\nurl = \"postgres://nobody@127.0.0.1:1/nothing\"\n[gateway]\nlisten = \"127.0.0.1:1\"\n\
         [ops]\nlisten = \"127.0.0.1:1\"\n\
         [site]\nteams = \"{site}/teams.toml\"\nalerts = \"{site}/alerts.toml\"\nusers = \"{site}/users.toml\"\n\
         agreements = \"{site}/agreements\"\n\
         [[source]]\nname = \"{SOURCE}\"\norganisation = \"R1V01\"\nmapping = \"{mapping}\"\nurl = \"{}\"\n\
         password_file = \"{}\"\ntables = [\"lims.*\"]\n",
        bench.kafka.brokers(),
        bench.registry.url(),
        bench.database.url(role, SOURCE),
        bench.database.password_file(role).display(),
    );
    let file = bench.file("causeway.toml");
    std::fs::write(&file, text)?;
    Ok(file)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_say_what_is_wrong_before_anything_is_asked_for() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    let config = config(&bench, "capture")?;
    let refused = async |verb: &[&str], words: &str| -> anyhow::Result<()> {
        let output = causeway(&config, verb).await?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        anyhow::ensure!(!output.status.success() && told.contains(words), "{verb:?} says: {told}");
        Ok(())
    };
    refused(&["pause", "elsewhere"], "no [[source]] is named `elsewhere`; there are: clinic").await?;
    refused(&["snapshot", SOURCE, "--table", "lims.other"], "lims.other is not captured from clinic").await?;
    refused(&["snapshot", SOURCE, "--where", "id > 1"], "--where needs exactly one --table").await?;
    let bad = ["snapshot", SOURCE, "--table", "lims.result", "--where", "nothing > 1"];
    refused(&bad, "does not take the condition").await?;
    let sly = ["snapshot", SOURCE, "--table", "lims.result", "--where", "true); drop table lims.result; --"];
    refused(&sly, "does not take the condition").await?;
    assert_eq!(signal::read(&bench.kafka_settings(), SOURCE).await?, Desired::default());

    let told = causeway(&config, &["snapshot", SOURCE, "--table", "lims.result", "--where", "id > 1"]).await?;
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told = causeway(&config, &["pause", SOURCE]).await?;
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    connector.wait(paused).await?;
    let desired = signal::read(&bench.kafka_settings(), SOURCE).await?;
    assert!(desired.paused && desired.snapshots[0].predicate.as_deref() == Some("id > 1"), "{desired:?}");
    let listed = causeway(&config, &["list", "-o", "json"]).await?;
    let rows: serde_json::Value = serde_json::from_slice(&listed.stdout)?;
    assert_eq!((&rows[0]["paused"], &rows[0]["phase"]), (&true.into(), &"unknown".into()), "no process answers");
    connector.stop().await
}
