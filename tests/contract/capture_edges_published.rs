//! A publication made by hand says which columns, which rows and which partitions: the snapshot keeps to it as the
//! stream does.

use super::{
    capture_edges::{Stranger, lines},
    capture_stack::{Bench, SOURCE},
};

const SCHEMA: &str = "
    create table marker (id serial primary key);
    create table chosen (id integer primary key, note text, secret text);
    create table measured (id integer, day date, note text, primary key (id, day)) partition by range (day);
    create table measured_2025 partition of measured for values from ('2025-01-01') to ('2026-01-01');
    create table measured_2026 partition of measured for values from ('2026-01-01') to ('2027-01-01');
    create table computed (id integer primary key, twice integer generated always as (id * 2) stored);";

/// Its first chunk would be read for ever, and nothing would tell one row from another.
async fn leaves_out_a_key(bench: &Bench) -> anyhow::Result<()> {
    let client = bench.database.connect(SOURCE).await?;
    client
        .batch_execute(
            "insert into chosen select g, 'n', 's' from generate_series(1, 3000) g;
             create publication keyless for table chosen (note), marker with (publish = 'insert')",
        )
        .await?;
    let mut settings = bench.settings();
    settings.publication = Some("keyless".into());
    let connector = bench.connector(settings.clone());
    connector.wait(|connector| connector.status.view().refused.is_some()).await?;
    let refused = connector.status.view().refused.unwrap_or_default();
    connector.stop().await?;
    let found = connector_postgres::published(&settings).await.expect_err("the check says the same");
    assert_eq!(refused, found.to_string());
    assert!(refused.contains("public.chosen (id)"), "{refused}");
    // What it says mends it.
    let mends = refused.split('`').nth(3).expect("a statement");
    client.batch_execute(mends).await?;
    connector_postgres::published(&settings).await?;
    client.batch_execute("drop publication keyless; truncate chosen").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_made_publication_is_kept_to() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let client = bench.database.connect(SOURCE).await?;
    let version: i32 = client.query_one("select current_setting('server_version_num')::integer", &[]).await?.get(0);
    if version >= 150_000 {
        leaves_out_a_key(&bench).await?;
    }
    let chosen = if version >= 150_000 { "chosen (id, note) where (id < 100)" } else { "chosen" };
    // By leaf, and without generated columns, even where they could be had.
    client.batch_execute(&format!("create publication by_hand for table {chosen}, measured, marker, computed")).await?;
    client
        .batch_execute(
            "insert into chosen values (1, 'n', 'secret'), (200, 'n', 'secret');
             insert into measured values (1, '2025-06-01', 'old'), (2, '2026-06-01', 'new');
             insert into computed (id) values (1);",
        )
        .await?;
    let mut settings = bench.settings();
    settings.publication = Some("by_hand".into());
    let connector = bench.connector(settings);
    connector.wait_ready().await?;
    client
        .batch_execute(
            "insert into chosen values (3, 'n', 'secret'), (400, 'n', 'secret');
             update chosen set note = 'm' where id = 3; update chosen set secret = '' where id = 3;
             update chosen set id = 300 where id = 3; update chosen set id = 4 where id = 400;
             delete from chosen where id = 4; insert into measured values (3, '2025-06-02', 'old');
             update measured set day = '2026-07-01' where id = 3; insert into computed (id) values (3);",
        )
        .await?;
    let told = Stranger::of(&bench)?.upto_now().await?;
    let check = |table: &str, want: &[&str]| assert_eq!(lines(&told, table), want);
    check(
        "public.measured_2025",
        &[
            "r public.measured_2025 id=1 day=20240 | id=1 day=20240 note=old",
            "c public.measured_2025 id=3 day=20241 | id=3 day=20241 note=old",
            "d public.measured_2025 id=3 day=20241 | id=3 day=20241 note=null",
        ],
    );
    check(
        "public.measured_2026",
        &[
            "r public.measured_2026 id=2 day=20605 | id=2 day=20605 note=new",
            "c public.measured_2026 id=3 day=20635 | id=3 day=20635 note=old",
        ],
    );
    check("public.measured", &[]);
    check("public.computed", &["r public.computed id=1 | id=1", "c public.computed id=3 | id=3"]);
    if version >= 150_000 {
        // An update across the filter's border is a row that comes or goes.
        check(
            "public.chosen",
            &[
                "r public.chosen id=1 | id=1 note=n",
                "c public.chosen id=3 | id=3 note=n",
                "u public.chosen id=3 | - | id=3 note=m",
                "u public.chosen id=3 | - | id=3 note=m",
                "d public.chosen id=3 | id=3 note=null",
                "c public.chosen id=4 | id=4 note=n",
                "d public.chosen id=4 | id=4 note=null",
            ],
        );
    }
    connector.stop().await
}
