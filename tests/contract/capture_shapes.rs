//! Tables change their shape, their name, their key and their place in the publication while others write: every row is
//! told in the shape that it had, and what was not told for a while is read again.

use super::{
    capture_edges::{Stranger, Told, lines},
    capture_schema::each,
    capture_signal::want,
    capture_stack::{Bench, Connector, SOURCE},
};
use change_log::Registry;
use connector_postgres::Phase;
use std::{collections::BTreeSet, time::Duration};

const SCHEMA: &str = "
    create table marker (id serial primary key);
    create schema lims;
    create table lims.load (id bigint generated always as identity primary key, note text);
    create table lims.result (id integer primary key, note text);
    create table lims.code (id integer primary key, term text);
    create table lims.keyed (a integer primary key, b integer not null);
    create table lims.parent (id serial primary key);
    create table lims.child (id integer primary key, parent integer references lims.parent);
    create type lims.state as enum ('open');
    create table lims.sample (id integer primary key, state lims.state);";
/// The load's table takes so many columns on, and lets them go.
const RESHAPED: usize = 20;

/// Commits a row every now and then; another session reshapes the table meanwhile.
async fn load(bench: &Bench, stop: boot::Stop) -> anyhow::Result<()> {
    let (writer, owner) = (bench.database.connect(SOURCE).await?, bench.database.connect_as("capture", SOURCE).await?);
    let writing = async {
        while !stop.is_cancelled() {
            writer.batch_execute("insert into lims.load (note) values ('n')").await?;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        anyhow::Ok(())
    };
    let reshaping = async {
        for number in 0..RESHAPED {
            owner
                .batch_execute(&format!("alter table lims.load add column c{number} integer default {number}"))
                .await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
            owner.batch_execute(&format!("alter table lims.load drop column c{number}")).await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(writing, reshaping).map(drop)
}

async fn within_one_transaction(
    owner: &tokio_postgres::Client,
    stranger: &mut Stranger<'_>,
) -> anyhow::Result<Vec<Told>> {
    owner
        .batch_execute(
            "begin; insert into lims.result values (1, 'a');
             alter table lims.result add column unit text default 'g'; insert into lims.result values (2, 'b', 'mg');
             update lims.result set note = 'c' where id = 1;
             alter table lims.result drop column note; insert into lims.result values (3, 'kg'); commit",
        )
        .await?;
    each(
        owner,
        "insert into lims.parent default values; insert into lims.child values (1, 1);
         truncate lims.parent restart identity cascade; insert into lims.parent default values",
    )
    .await?;
    let told = stranger.upto_now().await?;
    let want = [
        "c lims.result id=1 | id=1 note=a",
        "c lims.result id=2 | id=2 note=b unit=mg",
        "u lims.result id=1 | - | id=1 note=c unit=g",
        "c lims.result id=3 | id=3 unit=kg",
    ];
    assert_eq!(lines(&told, "lims.result"), want);
    let parents = ["c lims.parent id=1 | id=1", "t lims.parent position", "c lims.parent id=1 | id=1"];
    assert_eq!(lines(&told, "lims.parent"), parents);
    let children = ["c lims.child id=1 | id=1 parent=1", "t lims.child position"];
    assert_eq!(lines(&told, "lims.child"), children, "it went with the other");
    Ok(told)
}

/// Tables that are renamed, made anew under a name, taken out of the publication and put in again.
async fn moved(owner: &tokio_postgres::Client, stranger: &mut Stranger<'_>) -> anyhow::Result<Vec<Told>> {
    each(
        owner,
        "alter table lims.code rename to code_before; insert into lims.code_before values (2, 'under another name');
         create table lims.code (id integer primary key, term text);
         insert into lims.code values (7, 'before it is published')",
    )
    .await?;
    let mut told = stranger.until(|told| told.line() == "r lims.code id=7 | id=7 term=before it is published").await?;
    assert_eq!(lines(&told, "lims.code_before")[0], "c lims.code_before id=2 | id=2 term=under another name");
    each(
        owner,
        "alter publication causeway_clinic drop table lims.result; insert into lims.result values (4, 'gap');
         alter publication causeway_clinic add table lims.result; insert into lims.result values (5, 'after');
         drop table lims.code; create table lims.code (id integer primary key, term text);
         insert into lims.code values (8, 'anew')",
    )
    .await?;
    let mut wanted = BTreeSet::from(["r lims.result id=4 | id=4 unit=gap", "r lims.code id=8 | id=8 term=anew"]);
    while !wanted.is_empty() {
        let mut last = String::new();
        told.extend(
            stranger
                .until(|told| {
                    last = told.line();
                    wanted.contains(last.as_str())
                })
                .await?,
        );
        wanted.remove(last.as_str());
    }
    assert!(lines(&told, "lims.result").contains(&"c lims.result id=5 | id=5 unit=after".to_owned()));
    Ok(told)
}

async fn another_key(
    bench: &Bench,
    connector: &Connector,
    owner: &tokio_postgres::Client,
    stranger: &mut Stranger<'_>,
) -> anyhow::Result<Vec<Told>> {
    each(
        owner,
        "insert into lims.keyed values (1, 1);
         alter table lims.keyed drop constraint keyed_pkey, add primary key (a, b); insert into lims.keyed values (1, 2)",
    )
    .await?;
    connector.wait(|connector| connector.status.view().phase == Phase::Refused).await?;
    let why = connector.unready().unwrap_or_default();
    assert!(why.contains("lims.keyed has a new shape") && why.contains("accept-schema clinic lims.keyed"), "{why}");
    let registry = Registry::new(&bench.registry_settings())?;
    let mut accepted = Vec::new();
    for subject in connector_postgres::subjects(SOURCE, "lims", "keyed") {
        accepted.extend(registry.latest(&subject).await?.map(|(after, _)| (subject, after)));
    }
    want(bench, |desired| accepted.iter().for_each(|(subject, after)| desired.accept(subject, *after))).await?;
    connector.wait_ready().await?;
    let told = stranger.upto_now().await?;
    assert_eq!(lines(&told, "lims.keyed"), ["c lims.keyed a=1 | a=1 b=1", "c lims.keyed a=1 b=2 | a=1 b=2"]);
    Ok(told)
}

/// A type goes while rows that have it are not read yet: it has a name in the stream, and no place in the catalogue.
async fn without_its_type(
    bench: &Bench,
    connector: Connector,
    owner: &tokio_postgres::Client,
    stranger: &mut Stranger<'_>,
) -> anyhow::Result<(Connector, Vec<Told>)> {
    owner.batch_execute("insert into lims.sample values (1, 'open')").await?;
    let mut told = stranger.upto_now().await?;
    connector.stop().await?;
    each(
        owner,
        "insert into lims.sample values (2, 'open');
         alter table lims.sample alter column state type text using state::text; drop type lims.state;
         insert into lims.sample values (3, 'free')",
    )
    .await?;
    let connector = bench.connector(bench.settings());
    told.extend(stranger.upto_now().await?);
    let want = ["open", "open", "free"].into_iter().zip(1..);
    let want: Vec<String> = want.map(|(state, id)| format!("c lims.sample id={id} | id={id} state={state}")).collect();
    assert_eq!(lines(&told, "lims.sample"), want);
    Ok((connector, told))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_a_table_each_row_is_told_as_it_was() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    bench.database.execute(SOURCE, "insert into lims.code values (1, 'first')").await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    let owner = bench.database.connect_as("capture", SOURCE).await?;
    let mut stranger = Stranger::of(&bench)?;
    let stop = boot::Stop::new();
    let steps = async {
        let mut told = within_one_transaction(&owner, &mut stranger).await?;
        told.extend(moved(&owner, &mut stranger).await?);
        told.extend(another_key(&bench, &connector, &owner, &mut stranger).await?);
        let (connector, more) = without_its_type(&bench, connector, &owner, &mut stranger).await?;
        told.extend(more);
        stop.cancel();
        anyhow::Ok((told, connector))
    };
    let (_, (mut told, connector)) = tokio::try_join!(load(&bench, stop.clone()), steps)?;
    told.extend(stranger.upto_now().await?);
    let ids: BTreeSet<&str> =
        told.iter().filter(|t| t.table == "lims.load" && t.op == "c").map(|t| t.key.as_str()).collect();
    let rows = told.iter().filter(|t| t.table == "lims.load" && t.op == "c").count();
    let client = bench.database.connect(SOURCE).await?;
    let written: i64 = client.query_one("select count(*) from lims.load", &[]).await?.get(0);
    assert_eq!((i64::try_from(rows)?, ids.len()), (written, rows), "each row of the load is told once");
    let shapes: BTreeSet<u32> = told.iter().filter(|t| t.table == "lims.load").map(|t| t.schema).collect();
    assert!(shapes.len() > RESHAPED / 2, "{} shapes of the load's table", shapes.len());
    connector.stop().await
}
