//! Debezium's own connector beside ours on one database: every record of every table is compared, and what differs has to
//! be what `docs/debezium-differences.md` says.

use super::render::{Told, column_types, envelope_fields, field_names, read};
use crate::contract::capture_stack::{Bench, SOURCE, WAIT_MAX};
use anyhow::{Context, ensure};
use change_log::Registry;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::Value as Json;
use stack::{Properties, properties};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// Debezium's `topic.prefix`; its slot and its publication have the name, too.
pub(super) const PEER: &str = "peer";
const POLL: Duration = Duration::from_millis(300);
/// Its topics stand still for so many looks: everything has come.
const STILL_LOOKS: u32 = 4;
/// Rows that only say that everything before them is done.
const MARKER: &str = "kinds.marker";
const BEGINS: &str = "<!-- The table is generated: see the end of this page. -->\n";
const ENDS: &str = "<!-- The table ends. -->\n";

/// Tables of every kind, and the rows that both read first.
pub(super) const TABLES: &str = include_str!("kinds.sql");
/// What happens to them while both follow.
pub(super) const CHANGES: &str = include_str!("kinds-changes.sql");

/// Debezium's connector as it is when nothing is said, but for names and addresses.
pub(super) fn connector(bench: &Bench) -> anyhow::Result<Properties> {
    let registry = format!("http://{}/apis/registry/v2", bench.registry.address());
    let address = bench.database.address();
    let (host, port) = address.rsplit_once(':').context("an address")?;
    let mut source = properties([
        ("name", PEER),
        ("connector.class", "io.debezium.connector.postgresql.PostgresConnector"),
        ("plugin.name", "pgoutput"),
        ("database.hostname", host),
        ("database.port", port),
        ("database.user", "capture"),
        ("database.password", &bench.database.password("capture")?),
        ("database.dbname", SOURCE),
        ("topic.prefix", PEER),
        ("slot.name", PEER),
        ("publication.name", PEER),
        ("publication.autocreate.mode", "filtered"),
        ("table.include.list", r"public\..*,kinds\..*"),
        // Without it its names are not Avro's.
        ("schema.name.adjustment.mode", "avro"),
        ("field.name.adjustment.mode", "avro"),
        ("topic.creation.default.replication.factor", "1"),
        ("topic.creation.default.partitions", "1"),
    ]);
    for side in ["key", "value"] {
        let converter = [
            ("", "io.apicurio.registry.utils.converter.AvroConverter"),
            (".apicurio.registry.url", &registry),
            (".apicurio.registry.as-confluent", "true"),
            (".apicurio.registry.use-id", "contentId"),
            (".apicurio.registry.auto-register", "true"),
            (".apicurio.registry.serializer.dereference-schema", "true"),
            // Where other converters have it: in front of the datum.
            (".apicurio.registry.headers.enabled", "false"),
        ];
        source.extend(converter.map(|(key, value)| (format!("{side}.converter{key}"), value.to_owned())));
    }
    Ok(source)
}

/// Waits until Debezium streams, its snapshot read: what changes now is a change to it, too, and no truncation empties a
/// table under its snapshot.
pub(super) async fn follows(bench: &Bench) -> anyhow::Result<()> {
    let sql = "select 1 from pg_replication_slots where slot_name = $1 and active";
    let client = bench.database.connect(SOURCE).await?;
    let deadline = Instant::now() + WAIT_MAX;
    while client.query_opt(sql, &[&PEER]).await?.is_none() {
        ensure!(Instant::now() < deadline, "Debezium does not stream");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// The topics of one prefix by table, with how many records they have.
fn topics(bench: &Bench, prefix: &str) -> anyhow::Result<BTreeMap<String, i64>> {
    let consumer: BaseConsumer = bench.kafka_settings().client().set("group.id", "peers").create()?;
    let metadata = consumer.fetch_metadata(None, WAIT_MAX)?;
    let mut topics = BTreeMap::new();
    for topic in metadata.topics() {
        let Some(table) = topic.name().strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')) else { continue };
        topics.insert(table.to_owned(), consumer.fetch_watermarks(topic.name(), 0, WAIT_MAX)?.1);
    }
    Ok(topics)
}

/// Waits until both have told the marker, and Debezium nothing more.
async fn everything_came(bench: &Bench) -> anyhow::Result<()> {
    let deadline = Instant::now() + WAIT_MAX;
    let (mut last, mut looks) = (BTreeMap::new(), 0);
    while looks < STILL_LOOKS {
        ensure!(Instant::now() < deadline, "Debezium's topics: {last:?}");
        tokio::time::sleep(POLL).await;
        let now = topics(bench, PEER)?;
        let marked = now.contains_key(MARKER) && topics(bench, SOURCE)?.contains_key(MARKER);
        looks = if marked && now == last { looks + 1 } else { 0 };
        last = now;
    }
    Ok(())
}

/// Cells that differ in one way: of what, how, and what both say of the first.
#[derive(Default)]
struct Differences(BTreeMap<(String, String), (String, String, usize)>);

impl Differences {
    fn add(&mut self, of: &str, what: &str, theirs: &str, ours: &str) {
        let first = || (theirs.to_owned(), ours.to_owned(), 0);
        self.0.entry((of.to_owned(), what.to_owned())).or_insert_with(first).2 += 1;
    }

    fn table(&self) -> String {
        let mut table = "\n| Of | What | Debezium | Causeway | Records |\n|---|---|---|---|---|\n".to_owned();
        for ((of, what), (theirs, ours, count)) in &self.0 {
            let count = if what == "schema" || what == "topic" { String::new() } else { count.to_string() };
            table.push_str(&format!("| `{of}` | {what} | {} | {} | {count} |\n", cell(theirs), cell(ours)));
        }
        table.push('\n');
        table
    }
}

/// Code in a table; long texts by their beginning.
fn cell(text: &str) -> String {
    const SHOWN_MAX: usize = 90;
    if text.is_empty() {
        return "–".into();
    }
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("`{}`", shown.replace('|', "\\|").replace('`', "'"))
}

/// Compares all topics, and what is said of them.
pub(super) async fn compare(bench: &Bench) -> anyhow::Result<()> {
    everything_came(bench).await?;
    let registry = Registry::new(&bench.registry_settings())?;
    let (theirs, ours) = (topics(bench, PEER)?, topics(bench, SOURCE)?);
    let mut differences = Differences::default();
    let tables: BTreeSet<&String> = theirs.keys().chain(ours.keys()).filter(|table| *table != MARKER).collect();
    let mut equal = 0;
    for table in tables {
        let count =
            |of: &BTreeMap<String, i64>| of.get(table).map(|count| format!("{count} records")).unwrap_or_default();
        if !theirs.contains_key(table) || !ours.contains_key(table) {
            differences.add(table, "topic", &count(&theirs), &count(&ours));
            continue;
        }
        let theirs = read(bench, &registry, PEER, table).await?;
        let ours = read(bench, &registry, SOURCE, table).await?;
        equal += topic(&mut differences, table, &theirs, &ours);
    }
    ensure!(equal > 1_000, "only {equal} cells are equal");
    documented(&differences.table())
}

/// How many cells of a topic are equal.
fn topic(differences: &mut Differences, table: &str, theirs: &[Told], ours: &[Told]) -> usize {
    let operations = |told: &[Told]| told.iter().map(|record| record.operation()).collect::<Vec<_>>().join("");
    if operations(theirs) != operations(ours) {
        differences.add(table, "operations", &operations(theirs), &operations(ours));
        return 0;
    }
    let mut equal = 0;
    for (their, our) in in_order(theirs).into_iter().zip(in_order(ours)) {
        schemas(differences, table, their, our);
        let headers = |told: &Told| told.headers.iter().cloned().collect::<Vec<_>>().join(", ");
        if their.headers != our.headers {
            differences.add("headers", &format!("header on `{}`", their.operation()), &headers(their), &headers(our));
        }
        if their.key != our.key {
            let text = |key: &Option<Json>| key.as_ref().map(Json::to_string).unwrap_or_default();
            differences.add(table, "key", &text(&their.key), &text(&our.key));
        }
        let (Some(their), Some(our)) = (&their.value, &our.value) else { continue };
        for side in ["before", "after"] {
            equal += row(differences, table, side, (&their[side], &our[side]), their["op"].as_str().unwrap_or("?"));
        }
        envelope(differences, their, our);
    }
    equal
}

/// Rows that a snapshot read have no order of their own: by their keys.
fn in_order(told: &[Told]) -> Vec<&Told> {
    let mut told: Vec<&Told> = told.iter().collect();
    let read = told.iter().take_while(|record| record.operation() == "r").count();
    told[..read].sort_by_cached_key(|record| {
        format!("{:?} {:?}", record.key, record.value.as_ref().map(|value| &value["after"]))
    });
    told
}

fn row(
    differences: &mut Differences,
    table: &str,
    side: &str,
    (theirs, ours): (&Json, &Json),
    operation: &str,
) -> usize {
    let (Some(their), Some(our)) = (theirs.as_object(), ours.as_object()) else {
        if theirs != ours {
            differences.add(table, &format!("`{side}` of `{operation}`"), &theirs.to_string(), &ours.to_string());
        }
        return 0;
    };
    let columns: BTreeSet<&String> = their.keys().chain(our.keys()).collect();
    let mut equal = 0;
    for column in columns {
        // That a column is left out, the schemas say.
        let (Some(their), Some(our)) = (their.get(column), our.get(column)) else { continue };
        if their == our {
            equal += 1;
        } else {
            let what = if side == "before" { "`before`" } else { operation_words(operation) };
            differences.add(&format!("{table}.{column}"), what, &their.to_string(), &our.to_string());
        }
    }
    equal
}

fn operation_words(operation: &str) -> &'static str {
    match operation {
        "r" => "value, snapshot",
        "c" => "value, insert",
        _ => "value, update",
    }
}

/// What surrounds the rows: whether it is there, and its numbers where both have them from the server.
fn envelope(differences: &mut Differences, theirs: &Json, ours: &Json) {
    let there = |value: &Json| if value.is_null() { "null" } else { "there" }.to_owned();
    let pair = (there(&theirs["transaction"]), there(&ours["transaction"]));
    if pair.0 != pair.1 {
        differences.add("transaction", "value", &pair.0, &pair.1);
    }
    let (Some(their), Some(our)) = (theirs["source"].as_object(), ours["source"].as_object()) else { return };
    for (name, their) in their {
        let our = our.get(name).unwrap_or(&Json::Null);
        let own = ["version", "name", "ts_ms", "ts_us", "ts_ns", "sequence", "lsn", "txId"].contains(&&**name);
        let (their, our) = if own { (there(their), there(our)) } else { (their.to_string(), our.to_string()) };
        if their != our {
            differences.add(&format!("source.{name}"), &format!("{their} → {our}"), &their, &our);
        }
    }
}

fn schemas(differences: &mut Differences, table: &str, theirs: &Told, ours: &Told) {
    let named = |schema: &Option<std::sync::Arc<str>>| {
        let text = schema.as_deref().unwrap_or("null").replace(&format!("\"{PEER}."), &format!("\"{SOURCE}."));
        serde_json::from_str::<Json>(&text).unwrap_or_default()
    };
    for (part, their, our) in [
        ("key", named(&theirs.key_schema), named(&ours.key_schema)),
        ("", named(&theirs.value_schema), named(&ours.value_schema)),
    ] {
        let of = |column: &str| format!("{table}.{column}");
        let what = if part == "key" { "schema of the key" } else { "schema" };
        let (their_columns, our_columns) = (column_types(&their), column_types(&our));
        let (names, own_names) = (field_names(&their), field_names(&our));
        let both = |names: &[String], other: &[String]| {
            names.iter().filter(|name| other.contains(name)).cloned().collect::<Vec<_>>().join(", ")
        };
        if both(&names, &own_names) != both(&own_names, &names) {
            differences.add(table, &format!("order, {what}"), &both(&names, &own_names), &both(&own_names, &names));
        }
        for column in their_columns.keys().chain(our_columns.keys()).collect::<BTreeSet<_>>() {
            let (their, our) = (their_columns.get(column), our_columns.get(column));
            if their != our {
                let text = |text: Option<&String>| text.cloned().unwrap_or_default();
                differences.add(&of(column), what, &text(their), &text(our));
            }
        }
        for (field, (their, our)) in envelope_fields(&their, &our) {
            differences.add(&format!("envelope: {field}"), what, &their, &our);
        }
    }
}

/// The page says just that.
fn documented(table: &str) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/debezium-differences.md");
    let page = fs::read_to_string(&path)?;
    let (head, rest) = page.split_once(BEGINS).context("the table's beginning")?;
    let (shown, tail) = rest.split_once(ENDS).context("the table's end")?;
    if std::env::var_os("CAUSEWAY_WRITE_DOCS").is_some() {
        fs::write(&path, [head, BEGINS, table, ENDS, tail].concat())?;
        return Ok(());
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (said, seen) = (lines(shown), lines(table));
    let new: Vec<_> = seen.difference(&said).collect();
    let gone: Vec<_> = said.difference(&seen).collect();
    ensure!(new.is_empty() && gone.is_empty(), "not on {}: {new:#?}; there, but not seen: {gone:#?}", path.display());
    Ok(())
}
