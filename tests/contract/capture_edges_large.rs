//! Rows up to PostgreSQL's own limits: what does not fit into the log is told in the quarantine, by reference, and the
//! stream goes on.

use super::{
    capture_edges::{Stranger, lines, quarantined},
    capture_stack::{Bench, SOURCE},
};

const SCHEMA: &str = "
    create table marker (id serial primary key);
    create table large (id integer primary key, number integer, note text);
    alter table large alter column note set storage external;";

/// 50 MB.
const HUGE: &str = "repeat('x', 52428800)";

#[tokio::test(flavor = "multi_thread")]
async fn a_row_too_large_for_the_log_is_told_by_reference() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let client = bench.database.connect(SOURCE).await?;
    client.batch_execute(&format!("insert into large values (1, 1, {HUGE}), (2, 2, 'n')")).await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    client
        .batch_execute(&format!(
            "begin; insert into large values (3, 3, 'n'), (4, 4, {HUGE}), (5, 5, 'n'); commit;
             update large set number = 40 where id = 4; update large set id = 6 where id = 4;"
        ))
        .await?;
    let told = Stranger::of(&bench)?.upto_now().await?;
    assert_eq!(
        lines(&told, "public.large"),
        [
            "r public.large id=2 | id=2 number=2 note=n",
            "c public.large id=3 | id=3 number=3 note=n",
            "c public.large id=5 | id=5 number=5 note=n",
            "u public.large id=4 | - | id=4 number=40 note=?",
            "d public.large id=4 | id=4 number=null note=null",
            "c public.large id=6 | id=6 number=40 note=?",
        ]
    );
    let reason = "row too large for the log";
    let want = [1, 4].map(|id| format!("public.large id={id} {reason}"));
    assert_eq!(quarantined(&bench, 2).await?, want);
    connector.stop().await
}
