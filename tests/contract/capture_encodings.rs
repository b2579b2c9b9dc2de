//! Databases in other encodings than UTF-8, with bytes in them that no character has: PostgreSQL takes them in without a
//! look. Each row is told, whatever is in it, by the snapshot as by the stream; and PostgreSQL itself is asked what its
//! encodings mean.

use super::{
    capture_edges::{Stranger, Told, lines},
    capture_stack::{Bench, SOURCE},
};
use anyhow::ensure;
use connector_postgres::{Settings, charset::Charset};
use std::collections::BTreeSet;

struct Case {
    /// In small letters the name of the database, and of the source.
    database: &'static str,
    /// A text as SQL has it by its bytes, and as a reader has it.
    good: (&'static str, &'static str),
    /// The same with bytes that the encoding has no character for, if it has such bytes.
    odd: (&'static str, &'static str),
    all_is_text: bool,
    /// A name outside of ASCII.
    column: &'static str,
}

const CASES: [Case; 4] = [
    Case {
        database: "win1252",
        good: (r"E'M\xfcller 5 \x80'", "Müller 5 €"),
        odd: (r"E'M\xfcller\\ \x81'", r"Müller\\ \x81"),
        all_is_text: false,
        column: "größe",
    },
    Case {
        database: "latin1",
        good: (r"E'M\xfcller'", "Müller"),
        odd: (r"E'M\xfcller \x81'", "Müller \u{81}"),
        all_is_text: true,
        column: "größe",
    },
    Case {
        database: "euc_jp",
        good: (r"E'\xa4\xa2\x8e\xb1\x8f\xf4\xac'", "あｱ№"),
        odd: (r"E'\xa4\xa2\xa9\xa1'", r"あ\xa9\xa1"),
        all_is_text: false,
        column: "名",
    },
    Case {
        database: "sql_ascii",
        good: (r"E'M\xc3\xbcller'", "Müller"),
        odd: (r"E'M\xfcller'", r"M\xfcller"),
        all_is_text: false,
        column: "größe",
    },
];

/// More than one chunk of a table whose size nobody has measured.
const ROWS: usize = 1_200;

/// All that is in the database before it is captured. `long` is cut into parts, for it seems to be large.
fn before(case: &Case) -> String {
    let Case { good: (good, _), odd: (odd, _), column, .. } = case;
    format!(
        "create table marker (id serial primary key);
         create table other (id integer primary key, note text);
         create type state as enum ({good}, 'x');
         create table note (k text primary key, n integer, \"{column}\" text, st state, words text[]);
         create table loose (note text);
         alter table loose replica identity full;
         create table long (k text primary key);
         insert into note select {odd} || n, n, {good}, {good}, array[{good}] from generate_series(1, {ROWS}) n;
         insert into note values ({good}, 0, {odd}, null, array[{odd}]);
         insert into loose values ({odd}), ({odd}), ({good});
         insert into other values (1, {good});
         insert into long select {odd} || n from generate_series(1, {ROWS}) n;
         analyze long;"
    )
}

fn after(case: &Case) -> String {
    let Case { good: (good, _), odd: (odd, _), .. } = case;
    format!(
        "insert into note values ({odd} || 's', -1, {odd}, {good}, null);
         update note set n = 0 where n = 0; update note set n = 0 where n = 1; delete from note where n = 2;
         update loose set note = {good} where note = {odd};
         insert into other values (2, {good});"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_is_told_whatever_bytes_are_in_it() -> anyhow::Result<()> {
    let bench = Bench::start("").await?;
    for case in &CASES {
        tell(&bench, case).await.map_err(|error| error.context(case.database))?;
    }
    every_encoding_means_what_it_means_to_the_server(&bench).await
}

async fn tell(bench: &Bench, case: &Case) -> anyhow::Result<()> {
    let Case { database, .. } = case;
    let encoding = database.to_uppercase();
    bench
        .database
        .execute(
            "postgres",
            &format!(
                "create database {database} owner capture encoding '{encoding}' template template0 lc_collate 'C' lc_ctype 'C'"
            ),
        )
        .await?;
    bench.database.connect_as("capture", database).await?.batch_execute(&before(case)).await?;
    bench.database.execute(database, "update pg_class set reltuples = 300000 where relname = 'long'").await?;
    let mut settings = Settings::new(*database, bench.database.url("capture", database));
    settings.password_file = Some(bench.database.password_file("capture"));
    let connector = bench.connector(settings);
    connector.wait_ready().await?;
    bench.database.execute(database, &after(case)).await?;
    let told = Stranger::of_source(bench, database)?.upto_now().await?;
    snapshot_is_stream(case, &told);
    all_are_told(case, &told);
    let spelt = connector.status.view().spelt;
    ensure!(case.all_is_text == (spelt == 0), "{spelt} changes are shown as spelt");
    connector.stop().await
}

/// A key as a reader has it, of the row of this number.
fn key(case: &Case, n: &str) -> String {
    let text = format!("{}{n}", case.odd.1);
    if case.all_is_text { format!("k={text}") } else { format!("table=public.note columns={{\"k\": {text:?}}}") }
}

/// What stands in the datum.
fn shown(case: &Case, text: &str) -> String {
    if case.all_is_text { text.to_owned() } else { "null".to_owned() }
}

fn snapshot_is_stream(case: &Case, told: &[Told]) {
    let Case { good: (_, good), odd: (_, odd), column, .. } = case;
    let of = |op: &str, key: &str| {
        let mut all =
            told.iter().filter(|record| record.op == op && record.table == "public.note" && record.key == key);
        let found = all.next().unwrap_or_else(|| panic!("no {op} of {key}"));
        assert!(all.next().is_none(), "two {op} of {key}");
        found
    };
    let exact = |record: &Told| {
        let json = record.header("causeway.exact").map(serde_json::from_str::<serde_json::Value>);
        json.transpose().expect("JSON").unwrap_or_default()
    };
    // By a good key, what is beside it is told by both alike.
    let (read, updated) = (of("r", &format!("k={good}")), of("u", &format!("k={good}")));
    let bytes = shown(case, odd);
    let words = if case.all_is_text { format!("[{odd}]") } else { "null".to_owned() };
    assert_eq!(read.after, format!("k={good} n=0 {column}={bytes} st=null words={words}"));
    assert_eq!((&read.after, exact(read), read.schema), (&updated.after, exact(updated), updated.schema));
    if !case.all_is_text {
        // In an array's text the server doubles each backslash by itself.
        let words = format!("{{{}}}", odd.replace(r"\\ ", r"\\\\ "));
        let quoted = if odd.contains(' ') { words.replace('{', "{\"").replace('}', "\"}") } else { words };
        assert_eq!(exact(read), serde_json::json!({ *column: odd, "words": quoted }));
    }
    // So is what is beside such a key.
    let (read, updated) = (of("r", &key(case, "1")), of("u", &key(case, "1")));
    let rest = format!("{column}={good} st={good} words=[{good}]");
    let stand_in = if case.all_is_text { format!("{odd}1") } else { String::new() };
    assert_eq!(read.after, format!("k={stand_in} n=1 {rest}"));
    assert_eq!(updated.after, format!("k={stand_in} n=0 {rest}"));
    assert_eq!((exact(read), read.schema), (exact(updated), updated.schema));
    of("r", &key(case, "2"));
    of("d", &key(case, "2"));
    let inserted = of("c", &key(case, "s"));
    assert!(inserted.after.ends_with(&format!(" n=-1 {column}={bytes} st={good} words=null")), "{}", inserted.after);
    let want = serde_json::json!({ "k": format!("{odd}s"), *column: odd });
    assert_eq!(exact(inserted), if case.all_is_text { serde_json::Value::Null } else { want });
}

fn all_are_told(case: &Case, told: &[Told]) {
    let good = case.good.1;
    for (table, rows) in [("public.note", ROWS + 1), ("public.long", ROWS)] {
        let read: Vec<&Told> = told.iter().filter(|record| record.op == "r" && record.table == table).collect();
        let keys: BTreeSet<&str> = read.iter().map(|record| record.key.as_str()).collect();
        assert_eq!((read.len(), keys.len()), (rows, rows), "{table}: each row is read once");
    }
    assert_eq!(
        lines(told, "public.other"),
        [format!("r public.other id=1 | id=1 note={good}"), format!("c public.other id=2 | id=2 note={good}")]
    );
    let bytes = shown(case, case.odd.1);
    let mut loose = lines(told, "public.loose");
    loose.sort();
    let read = |text: &str| format!("r public.loose position | note={text}");
    let mut want = vec![read(good), read(&bytes), read(&bytes)];
    want.extend(vec![format!("u public.loose position | note={bytes} | note={good}"); 2]);
    want.sort();
    assert_eq!(loose, want);
    let before = told.iter().filter_map(|record| record.header("causeway.exact-before")).count();
    assert_eq!(before, if case.all_is_text { 0 } else { 2 }, "old rows are told as they were");
}

/// Those that the server converts.
const NOT_KNOWN: [&str; 3] = ["EUC_TW", "EUC_JIS_2004", "MULE_INTERNAL"];

/// PostgreSQL is asked for each character of each of its encodings: what it can convert is the same here.
async fn every_encoding_means_what_it_means_to_the_server(bench: &Bench) -> anyhow::Result<()> {
    let client = bench.database.connect(SOURCE).await?;
    client
        .batch_execute(
            "create function means(b bytea, e text) returns text language plpgsql as
             $$ begin return convert_from(b, e); exception when others then return null; end $$;
             create table pairs as select set_byte(set_byte('\\x0000', 0, a), 1, b) as b
             from generate_series(161, 254) a, generate_series(161, 254) b;",
        )
        .await?;
    // Those that a database can have come first.
    let encodings = client
        .query("select pg_encoding_to_char(n) from generate_series(0, pg_char_to_encoding('KOI8U')) n", &[])
        .await?;
    let encodings: Vec<String> =
        encodings.iter().map(|row| row.get(0)).filter(|name: &String| !name.is_empty()).collect();
    ensure!(encodings.len() > 30, "the server lists {encodings:?}");
    for encoding in encodings.iter().filter(|name| !["UTF8", "SQL_ASCII"].contains(&name.as_str())) {
        let charset = Charset::of(encoding);
        assert_eq!(charset.own().is_none(), NOT_KNOWN.contains(&encoding.as_str()), "{encoding}");
        if charset.own().is_none() {
            continue;
        }
        let of_several = encoding.starts_with("EUC_");
        let bytes = match of_several {
            false => "select set_byte('\\x00', 0, n) as b from generate_series(128, 255) n",
            true => {
                "select b from pairs union all select '\\x8f' || b from pairs
                 union all select set_byte('\\x8e00', 1, n) from generate_series(161, 254) n"
            }
        };
        let rows = client.query(&format!("select b, means(b, '{encoding}') from ({bytes}) x"), &[]).await?;
        let mut scratch = String::new();
        for row in rows {
            let (bytes, means): (Vec<u8>, Option<String>) = (row.get(0), row.get(1));
            let read = charset.read(&bytes, &mut scratch).map(String::from_utf8_lossy);
            // Of the encodings of several bytes the WHATWG knows some characters more.
            if means.is_some() || !of_several {
                assert_eq!(read.as_deref(), means.as_deref(), "{encoding} {bytes:02x?}");
            }
        }
    }
    Ok(())
}
