//! What a row's change looks like, whatever the replica identity gives: nothing fabricated, nothing left unsaid.

use super::{
    capture_edges::{Stranger, Told, lines},
    capture_stack::{Bench, SOURCE},
};

/// The connector would not publish those whose old rows have no names; their owner does.
const SCHEMA: &str = "
    create table marker (id serial primary key);
    create table by_default (id integer primary key, other integer not null unique, note text, big text);
    create table by_index (id integer primary key, other integer not null unique, note text, big text);
    create table by_full (id integer primary key, other integer not null unique, note text, big text);
    create table by_nothing (id integer primary key, other integer not null unique, note text, big text);
    create table keyless_full (id integer, note text, big text);
    create table keyless (id integer, note text, big text);
    create table keyed_by_two (b text, a integer, note text, primary key (a, b) include (note));
    create table postponed (id integer primary key deferrable, note text);
    alter table by_index replica identity using index by_index_other_key;
    alter table by_full replica identity full;
    alter table by_nothing replica identity nothing;
    alter table keyless_full replica identity full;
    alter table keyless replica identity nothing;
    do $$ declare t text; begin
        foreach t in array array['by_default', 'by_index', 'by_full', 'by_nothing', 'keyless_full', 'keyless'] loop
            execute format('alter table %I alter column big set storage external', t);
        end loop;
    end $$;
    create publication causeway_clinic for table by_nothing, keyless, postponed;";

/// Large enough to be stored outside of the row.
const BIG: &str = "repeat('b', 9000)";
const IDENTITIES: [&str; 3] = ["by_default", "by_index", "by_full"];

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_told_as_its_replica_identity_gives_it() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let client = bench.database.connect(SOURCE).await?;
    for table in IDENTITIES.iter().chain(&["by_nothing"]) {
        client.batch_execute(&format!("insert into {table} values (0, 0, null, {BIG})")).await?;
    }
    client
        .batch_execute("insert into keyed_by_two values ('b', 0, 'n'); insert into postponed values (0, 'n')")
        .await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    let mut stranger = Stranger::of(&bench)?;
    for table in IDENTITIES {
        client
            .batch_execute(&format!(
                "insert into {table} values (1, 1, 'n', {BIG});
                 update {table} set note = null where id = 1;
                 update {table} set big = null where id = 1;
                 update {table} set big = {BIG}, note = '' where id = 1;
                 update {table} set id = 2 where id = 1;
                 update {table} set other = 3 where id = 2;
                 delete from {table} where id = 2;"
            ))
            .await?;
    }
    client
        .batch_execute(&format!(
            "insert into by_nothing values (1, 1, 'n', {BIG});
             insert into keyless values (1, 'n', {BIG}), (1, 'n', {BIG});
             insert into keyless_full values (1, 'n', {BIG}), (1, 'n', {BIG});
             update keyless_full set note = 'm'; delete from keyless_full where note = 'm';
             insert into keyed_by_two values ('b', 1, 'n');
             update keyed_by_two set note = 'm' where a = 1; update keyed_by_two set b = 'c' where a = 1;
             insert into postponed values (1, 'n');"
        ))
        .await?;
    let told = stranger.upto_now().await?;
    identities(&told);
    keyless(&told);
    snapshot_is_stream(&told);
    connector.stop().await
}

fn identities(told: &[Told]) {
    // No old row: only the key changes tell what they were.
    assert_eq!(
        lines(told, "public.by_default"),
        [
            "r public.by_default id=0 | id=0 other=0 note=null big=<9000>",
            "c public.by_default id=1 | id=1 other=1 note=n big=<9000>",
            "u public.by_default id=1 | - | id=1 other=1 note=null big=?",
            "u public.by_default id=1 | - | id=1 other=1 note=null big=null",
            "u public.by_default id=1 | - | id=1 other=1 note= big=<9000>",
            "d public.by_default id=1 | id=1 other=null note=null big=null",
            "c public.by_default id=2 | id=2 other=1 note= big=?",
            "u public.by_default id=2 | - | id=2 other=3 note= big=?",
            "d public.by_default id=2 | id=2 other=null note=null big=null",
        ]
    );
    // The index is the key, in the stream as in the snapshot.
    assert_eq!(
        lines(told, "public.by_index"),
        [
            "r public.by_index other=0 | id=0 other=0 note=null big=<9000>",
            "c public.by_index other=1 | id=1 other=1 note=n big=<9000>",
            "u public.by_index other=1 | - | id=1 other=1 note=null big=?",
            "u public.by_index other=1 | - | id=1 other=1 note=null big=null",
            "u public.by_index other=1 | - | id=1 other=1 note= big=<9000>",
            "u public.by_index other=1 | - | id=2 other=1 note= big=?",
            "d public.by_index other=1 | id=null other=1 note=null big=null",
            "c public.by_index other=3 | id=2 other=3 note= big=?",
            "d public.by_index other=3 | id=null other=3 note=null big=null",
        ]
    );
    // The whole old row, its large value too; what the log left out of the new one is in the old one.
    assert_eq!(
        lines(told, "public.by_full"),
        [
            "r public.by_full id=0 | id=0 other=0 note=null big=<9000>",
            "c public.by_full id=1 | id=1 other=1 note=n big=<9000>",
            "u public.by_full id=1 | id=1 other=1 note=n big=<9000> | id=1 other=1 note=null big=<9000>",
            "u public.by_full id=1 | id=1 other=1 note=null big=<9000> | id=1 other=1 note=null big=null",
            "u public.by_full id=1 | id=1 other=1 note=null big=null | id=1 other=1 note= big=<9000>",
            "d public.by_full id=1 | id=1 other=1 note= big=<9000>",
            "c public.by_full id=2 | id=2 other=1 note= big=<9000>",
            "u public.by_full id=2 | id=2 other=1 note= big=<9000> | id=2 other=3 note= big=<9000>",
            "d public.by_full id=2 | id=2 other=3 note= big=<9000>",
        ]
    );
    // A changed key is two changes of one transaction, one after the other.
    let of_default: Vec<&Told> = told.iter().filter(|record| record.table == "public.by_default").collect();
    let (gone, come) = (of_default[5], of_default[6]);
    assert_eq!((gone.commit(), gone.ordinal() + 1), (come.commit(), come.ordinal()));
}

/// Each row is keyed by its position; of rows that are the same, each is told.
fn keyless(told: &[Told]) {
    assert_eq!(
        lines(told, "public.by_nothing"),
        [
            "r public.by_nothing position | id=0 other=0 note=null big=<9000>",
            "c public.by_nothing position | id=1 other=1 note=n big=<9000>",
        ]
    );
    assert_eq!(lines(told, "public.keyless"), ["c public.keyless position | id=1 note=n big=<9000>"; 2]);
    let mut want = vec!["c public.keyless_full position | id=1 note=n big=<9000>"; 2];
    want.extend(["u public.keyless_full position | id=1 note=n big=<9000> | id=1 note=m big=<9000>"; 2]);
    want.extend(["d public.keyless_full position | id=1 note=m big=<9000>"; 2]);
    assert_eq!(lines(told, "public.keyless_full"), want);
}

/// What an index only includes is no key, nor is one that may be violated for a while.
fn snapshot_is_stream(told: &[Told]) {
    assert_eq!(
        lines(told, "public.keyed_by_two"),
        [
            "r public.keyed_by_two b=b a=0 | b=b a=0 note=n",
            "c public.keyed_by_two b=b a=1 | b=b a=1 note=n",
            "u public.keyed_by_two b=b a=1 | - | b=b a=1 note=m",
            "d public.keyed_by_two b=b a=1 | b=b a=1 note=null",
            "c public.keyed_by_two b=c a=1 | b=c a=1 note=m",
        ]
    );
    assert_eq!(
        lines(told, "public.postponed"),
        ["r public.postponed position | id=0 note=n", "c public.postponed position | id=1 note=n"]
    );
    for read in told.iter().filter(|record| record.op == "r") {
        let mut streamed = told.iter().filter(|record| record.op != "r" && record.table == read.table);
        assert!(streamed.all(|record| record.schema == read.schema), "{} has two shapes", read.table);
    }
}
