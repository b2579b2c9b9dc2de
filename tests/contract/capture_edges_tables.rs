//! Every kind of table, however it is named: a row that the snapshot reads is the row that the stream brings.

use super::{
    capture_edges::{Stranger, Told, lines},
    capture_stack::{Bench, SOURCE},
};
use std::collections::BTreeMap;

/// 63 bytes, the longest that a name can be.
const LONGEST: &str = "n23456789_123456789_123456789_123456789_123456789_123456789_123";

/// Schema, table, and its columns' definitions, of which the first is the key.
const NAMED: &[(&str, &str, &str, &str)] = &[
    ("public", "user", "\"select\" integer primary key, \"order\" text", "select order"),
    ("public", "a.b", "\"c.d\" integer primary key, \"c d\" text, c_d text", "c.d c d c_d"),
    ("public", "Case", "\"Id\" integer primary key, note text, \"Note\" text", "Id note Note"),
    ("public", "case", "id integer primary key, note text", "id note"),
    ("public", "quo\"te", "\"it\"\"s\" integer primary key, \"back\\slash\" text", "it\"s back\\slash"),
    ("public", "übergröße", "\"schlüssel\" integer primary key, \"1st €\" text", "schlüssel 1st €"),
    ("dotted.schema", "t", "id integer primary key, note text", "id note"),
    ("dotted", "schema.t", "id integer primary key, note text", "id note"),
    ("public", LONGEST, "n23456789_123456789_123456789_123456789_123456789_123456789_123 integer primary key", LONGEST),
];

const SCHEMA: &str = "
    create table marker (id serial primary key);
    create table with_identity (id integer generated always as identity primary key, note text);
    create table computed (id integer primary key, twice integer generated always as (id * 2) stored, note text);
    create table parent (id integer primary key, note text);
    create table child (extra text, primary key (id)) inherits (parent);
    create unlogged table unlogged (id integer primary key);
    create table measured (id integer, day date, note text, primary key (id, day)) partition by range (day);
    create table measured_2025 partition of measured for values from ('2025-01-01') to ('2026-01-01');
    create table measured_2026 (note text, day date not null, id integer not null, gone text);
    alter table measured_2026 drop column gone;
    alter table measured attach partition measured_2026 for values from ('2026-01-01') to ('2027-01-01');
    create table bare ();
    alter table bare replica identity full;";

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn full(schema: &str, table: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(table))
}

/// The same rows before and after the connector starts, but for the id.
fn rows(id: i32) -> String {
    let mut sql = String::new();
    for (schema, table, columns, _) in NAMED {
        let others = columns.matches(" text").count();
        sql += &format!("insert into {} values ({id}{});", full(schema, table), ", 'v'".repeat(others));
    }
    let big = id + 1;
    sql += &format!(
        "insert into with_identity overriding system value values ({id}, 'v');
         insert into computed (id, note) values ({id}, 'v');
         insert into parent values ({id}, 'of the parent');
         insert into child values ({id}, 'of the child', 'v');
         insert into unlogged values ({id});
         insert into measured values ({id}, '2025-06-01', 'old'), ({big}, '2026-06-01', 'new');
         insert into bare default values;
         insert into wide (c0, c1, c1599) values ({id}, 1, -1);"
    );
    sql
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_any_kind_and_name_is_read_as_it_is_streamed() -> anyhow::Result<()> {
    let mut schema = SCHEMA.to_owned();
    schema += "create schema \"dotted.schema\"; create schema dotted;";
    for (space, table, columns, _) in NAMED {
        schema += &format!("create table {} ({columns});", full(space, table));
    }
    let wide: Vec<String> = (1..1_600).map(|number| format!("c{number} integer")).collect();
    schema += &format!("create table wide (c0 integer primary key, {})", wide.join(", "));
    let bench = Bench::start(&schema).await?;
    let client = bench.database.connect(SOURCE).await?;
    client.batch_execute(&rows(10)).await?;
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    client.batch_execute(&rows(20)).await?;
    client.batch_execute("update measured set day = '2026-07-01' where id = 20").await?;
    let told = Stranger::of(&bench)?.upto_now().await?;
    names(&told);
    kinds(&told, client.query_one("select current_setting('server_version_num')::integer", &[]).await?.get(0));
    snapshot_is_stream(&told);
    // The server describes partitions, too: what is captured by its root gets no shapes of theirs.
    let registry = change_log::Registry::new(&bench.registry_settings())?;
    for (table, known) in [("measured", true), ("measured_2025", false), ("measured_2026", false)] {
        let [envelope, _] = connector_postgres::subjects(SOURCE, "public", table);
        assert_eq!(registry.latest(&envelope).await?.is_some(), known, "{table}");
    }
    connector.stop().await
}

fn names(told: &[Told]) {
    for (schema, table, _, columns) in NAMED {
        let columns: Vec<String> = match *columns {
            "c.d c d c_d" => ["c.d", "c d", "c_d"].map(str::to_owned).to_vec(),
            "schlüssel 1st €" => ["schlüssel", "1st €"].map(str::to_owned).to_vec(),
            columns => columns.split(' ').map(str::to_owned).collect(),
        };
        let line = |op: &str, id: i32| {
            let others: String = columns[1..].iter().map(|name| format!(" {name}=v")).collect();
            format!("{op} {schema}.{table} {0}={id} | {0}={id}{others}", columns[0])
        };
        // `dotted.schema`.`t` and `dotted`.`schema.t` are told as one name here: each has its own lines.
        let got = lines(told, &format!("{schema}.{table}"));
        for want in [line("r", 10), line("c", 20)] {
            assert!(got.contains(&want), "{want} is not in {got:?}");
        }
    }
    let schemas: Vec<u32> = told.iter().filter(|t| t.table == "dotted.schema.t").map(|t| t.schema).collect();
    assert_eq!(schemas.len(), 4);
    assert!(schemas[0] != schemas[1] && schemas[2] != schemas[3], "two tables share a schema");
}

fn kinds(told: &[Told], version: i32) {
    let check = |table: &str, want: &[&str]| assert_eq!(lines(told, table), want);
    check(
        "public.with_identity",
        &["r public.with_identity id=10 | id=10 note=v", "c public.with_identity id=20 | id=20 note=v"],
    );
    let computed: [String; 2] = [("r", 10), ("c", 20)].map(|(op, id)| {
        let twice = if version >= 180_000 { format!(" twice={}", 2 * id) } else { String::new() };
        format!("{op} public.computed id={id} | id={id}{twice} note=v")
    });
    assert_eq!(lines(told, "public.computed"), computed);
    // A row is in one table, though SELECT shows it in two.
    check(
        "public.parent",
        &["r public.parent id=10 | id=10 note=of the parent", "c public.parent id=20 | id=20 note=of the parent"],
    );
    check(
        "public.child",
        &[
            "r public.child id=10 | id=10 note=of the child extra=v",
            "c public.child id=20 | id=20 note=of the child extra=v",
        ],
    );
    check("public.unlogged", &[]);
    // By root, whatever the partition's own columns are; a row that moves between two is a changed key here.
    check(
        "public.measured",
        &[
            "r public.measured id=10 day=20240 | id=10 day=20240 note=old",
            "r public.measured id=11 day=20605 | id=11 day=20605 note=new",
            "c public.measured id=20 day=20240 | id=20 day=20240 note=old",
            "c public.measured id=21 day=20605 | id=21 day=20605 note=new",
            "d public.measured id=20 day=20240 | id=20 day=20240 note=null",
            "c public.measured id=20 day=20635 | id=20 day=20635 note=old",
        ],
    );
    check("public.bare", &["r public.bare position | ", "c public.bare position | "]);
    let wide: Vec<&Told> = told.iter().filter(|record| record.table == "public.wide").collect();
    assert_eq!(wide.len(), 2);
    for (record, id) in wide.iter().zip([10, 20]) {
        assert!(record.after.starts_with(&format!("c0={id} c1=1 c2=null ")) && record.after.ends_with(" c1599=-1"));
    }
}

fn snapshot_is_stream(told: &[Told]) {
    let mut shapes: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for record in told {
        let shapes = shapes.entry(&record.table).or_default();
        if !shapes.contains(&record.schema) {
            shapes.push(record.schema);
        }
    }
    for (table, shapes) in shapes {
        let tables = if table == "dotted.schema.t" { 2 } else { 1 };
        assert_eq!(shapes.len(), tables, "{table}: the snapshot has another shape than the stream");
    }
}
