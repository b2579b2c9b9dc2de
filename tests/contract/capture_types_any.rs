//! Every type of `docs/types.md` with edges and random values, and arrays of them: the snapshot and the stream write the
//! same bytes, which apache-avro reads as what the server prints. The seed is printed.

use super::{
    capture_stack::{Bench, SOURCE, WAIT_MAX},
    capture_types::decimal_text,
    capture_types_cases::{CASES, Case, TYPES},
};
use anyhow::{Context, ensure};
use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value as Avro};
use change::{Cell, Change, Value};
use change_log::Item;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
};
use serde_json::Value as Json;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};
use tokio_postgres::Client;

const ROWS: usize = 40;
const EXTENSIONS: [&str; 4] = ["citext", "hstore", "ltree", "isn"];
/// As the connector's own session.
const PRINTED_LIKE_THIS: &str = "set datestyle = 'ISO'; set intervalstyle = 'postgres'; set timezone = 'UTC';
    set extra_float_digits = 3; set bytea_output = 'hex'";

/// As any other session of the database: what the connector reads must not hang on it.
const PRINTED_OTHERWISE: &str = "do $$ begin
    execute format('alter database %I set datestyle = ''SQL, DMY''', current_database());
    execute format('alter database %I set intervalstyle = ''sql_standard''', current_database());
    execute format('alter database %I set timezone = ''Asia/Kathmandu''', current_database());
    execute format('alter database %I set extra_float_digits = -10', current_database());
    execute format('alter database %I set bytea_output = ''escape''', current_database());
    end $$";

struct Column {
    name: String,
    case: &'static Case,
    array: bool,
}

impl Column {
    fn sql(&self) -> String {
        format!("{}{}", self.case.sql, if self.array { "[]" } else { "" })
    }

    /// The value of one row, as the server is told it.
    fn value(&self, row: usize, random: &mut StdRng) -> String {
        let (sql, edges) = (self.case.sql, self.case.edges);
        let mut one = || match edges.get(row) {
            Some(edge) => format!("({edge})::{sql}"),
            None => format!("({})::{sql}", (self.case.any)(random)),
        };
        if !self.array {
            return if row == edges.len() { "null".into() } else { one() };
        }
        match row % 8 {
            0 => format!("array[{}]", one()),
            1 => format!("array[]::{sql}[]"),
            2 => format!("array_fill({}, array[2,2])", one()),
            3 => format!("array_fill({}, array[2], array[-5])", one()),
            4 => "null".into(),
            _ => format!("array[{}, null, ({})::{sql}]::{sql}[]", one(), (self.case.any)(random)),
        }
    }
}

/// The columns that this server can have.
async fn columns(client: &Client, version: i32) -> anyhow::Result<Vec<Column>> {
    let mut missing = HashSet::new();
    for extension in EXTENSIONS {
        let made = client.batch_execute(&format!("create extension {extension}")).await;
        // The servers of the matrix come without extensions; the installed one has them.
        ensure!(made.is_ok() || std::env::var_os("CAUSEWAY_TEST_POSTGRES").is_some(), "no extension {extension}");
        if made.is_err() {
            missing.insert(if extension == "isn" { "isbn" } else { extension });
        }
    }
    if client.batch_execute("select xmlelement(name a)").await.is_err() {
        missing.insert("xml");
    }
    if version < 15 {
        // No negative scales yet, and its own longest intervals are not read back.
        missing.extend(["numeric(3,-2)", "interval"]);
    }
    let documented: HashSet<&str> = connector_postgres::contract::names().collect();
    let tested: HashSet<&str> = CASES.iter().map(|case| case.name).chain(["bit"]).collect();
    let untested: Vec<_> = documented.difference(&tested).collect();
    assert!(untested.is_empty(), "documented and not tested: {untested:?}");
    let of = |(at, case): (usize, &'static Case)| {
        // A row's array of arrays would be one of two dimensions.
        let arrays = if case.sql == "tags" { 1 } else { 2 };
        (0..arrays).map(move |form| Column { name: format!("c{at}_{form}"), case, array: form == 1 })
    };
    let able = CASES.iter().filter(|case| !missing.contains(case.name)).enumerate();
    Ok(able.flat_map(of).collect())
}

/// One record of a row, as a stranger finds it.
struct Seen {
    /// The bytes of the row alone.
    bytes: Vec<u8>,
    cells: HashMap<String, Avro>,
    exact: BTreeMap<String, String>,
}

/// The rows by their ids: of the snapshot, and of the stream.
async fn seen(bench: &Bench) -> anyhow::Result<(BTreeMap<i32, Seen>, BTreeMap<i32, Seen>, Json)> {
    let consumer: BaseConsumer = bench.kafka_settings().client().set("group.id", "stranger").create()?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&format!("changes.{SOURCE}"), 0, Offset::Beginning)?;
    consumer.assign(&assignment)?;
    let registry = change_log::Registry::new(&bench.registry_settings())?;
    let (mut snapshot, mut stream) = (BTreeMap::new(), BTreeMap::new());
    let mut known: Option<(u32, Json, Schema)> = None;
    let deadline = Instant::now() + WAIT_MAX;
    while stream.len() < ROWS {
        ensure!(Instant::now() < deadline, "only {} rows of the stream", stream.len());
        let Some(message) = consumer.poll(Duration::from_millis(20)) else { continue };
        let message = message?;
        let headers = message.headers().context("headers")?;
        let header = |name: &str| headers.iter().find(|header| header.key == name).and_then(|header| header.value);
        let payload = message.payload().unwrap_or_default();
        // A row after the change, and none before it: the marks of two unions.
        if header("causeway.kind") != Some(b"change") || payload.get(5..7) != Some(&[0, 2]) {
            continue;
        }
        let id = u32::from_be_bytes(payload[1..5].try_into()?);
        if known.as_ref().is_none_or(|(of, ..)| *of != id) {
            let envelope: Json = serde_json::from_str(&registry.schema(id).await?)?;
            let row = envelope["fields"][0]["type"][1].clone();
            let schema = Schema::parse_str(&row.to_string())?;
            known = Some((id, row, schema));
        }
        let (_, _, schema) = known.as_ref().context("a schema")?;
        let mut rest = &payload[7..];
        let Avro::Record(cells) = GenericDatumReader::builder(schema).build()?.read_value(&mut rest)? else {
            anyhow::bail!("a row is a record");
        };
        let cells: HashMap<String, Avro> = cells.into_iter().collect();
        let Some(Avro::Int(id)) = cells.get("id").cloned() else { anyhow::bail!("no id") };
        let exact = header("causeway.exact").map(serde_json::from_slice).transpose()?.unwrap_or_default();
        let bytes = payload[7..payload.len() - rest.len()].to_vec();
        let from =
            if header("causeway.snapshot").is_some() || snapshot.len() < ROWS { &mut snapshot } else { &mut stream };
        from.insert(id, Seen { bytes, cells, exact });
    }
    Ok((snapshot, stream, known.context("a schema")?.1))
}

/// A type's Avro schema, without the union around it.
fn bare(schema: &Json) -> &Json {
    match schema.as_array() {
        Some(branches) => branches.iter().find(|branch| **branch != "null").expect("a type"),
        None => schema,
    }
}

/// Text that the server can read, and how (`$` stands for the text).
fn told(value: &Avro, schema: &Json) -> Option<String> {
    let schema = bare(schema);
    Some(match value {
        Avro::Union(_, inner) => return told(inner, schema),
        Avro::Null => return None,
        Avro::Boolean(value) => if *value { "t" } else { "f" }.into(),
        Avro::Int(value) => value.to_string(),
        Avro::Long(value) if schema["connect.name"] == "io.debezium.time.MicroTime" => {
            let seconds = value / 1_000_000;
            format!("{:02}:{:02}:{:02}.{:06}", seconds / 3600, seconds / 60 % 60, seconds % 60, value % 1_000_000)
        }
        Avro::Long(value) => value.to_string(),
        Avro::Float(value) => value.to_string(),
        Avro::Double(value) => value.to_string(),
        Avro::String(text) if schema["connect.name"] == "io.debezium.time.ZonedTimestamp" => {
            text.trim_start_matches('+').to_owned()
        }
        Avro::String(text) => text.clone(),
        Avro::Bytes(bytes) if schema["connect.name"] == "io.debezium.data.Bits" => {
            let length: usize = schema["connect.parameters"]["length"].as_str()?.parse().ok()?;
            let bits: String = bytes.iter().rev().map(|byte| format!("{byte:08b}")).collect();
            assert!(bytes.len() == length.div_ceil(8), "{length} bits in {} bytes", bytes.len());
            bits[bits.len() - length..].to_owned()
        }
        Avro::Bytes(bytes) => format!("\\x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        Avro::Decimal(decimal) => {
            let bytes: Vec<u8> = decimal.try_into().expect("bytes");
            decimal_text(&bytes, u32::try_from(schema["scale"].as_u64()?).ok()?)
        }
        Avro::Record(fields) => match (&fields[0].1, &fields[1].1) {
            (Avro::Int(scale), Avro::Bytes(bytes)) => decimal_text(bytes, u32::try_from(*scale).ok()?),
            (Avro::Double(x), Avro::Double(y)) => format!("({x},{y})"),
            other => panic!("{other:?}"),
        },
        Avro::Array(items) => {
            let items = items.iter().map(|item| match told(item, &schema["items"]) {
                Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
                None => "NULL".into(),
            });
            format!("{{{}}}", items.collect::<Vec<_>>().join(","))
        }
        other => panic!("{other:?}"),
    })
}

/// The expression that makes the value again from the text `x`. None where the text is what the server prints.
fn again(column: &Column, schema: &Json) -> Option<String> {
    let schema = bare(schema);
    if column.array && schema["type"] == "array" {
        let sql = &column.case.sql;
        let element = Column { name: String::new(), case: column.case, array: false };
        let Some(one) = again(&element, &schema["items"]) else { return Some(format!("x::{sql}[]")) };
        return Some(format!(
            "case when u.x is not null then (select coalesce(array_agg({one} order by o), '{{}}') \
             from unnest(x::text[]) with ordinality e(x, o))::{sql}[] end"
        ));
    }
    let base = schema.as_str().or(schema["type"].as_str()).unwrap_or("");
    Some(match (base, schema["connect.name"].as_str().unwrap_or("")) {
        (_, "io.debezium.time.Date") => "(date '1970-01-01' + x::integer)".into(),
        (_, "io.debezium.time.MicroTimestamp") => "(timestamp '1970-01-01' + make_interval(days => (x::bigint / \
             86400000000)::integer) + (x::bigint % 86400000000) * interval '1 microsecond')"
            .into(),
        (_, "io.debezium.data.Json") if schema["causeway.type"] == "hstore" => "(select case when x is not null then \
             coalesce(hstore(array_agg(j.key), array_agg(j.value)), '') end from json_each_text(x::json) j)"
            .into(),
        (
            _,
            "io.debezium.time.MicroTime"
            | "io.debezium.time.ZonedTime"
            | "io.debezium.time.ZonedTimestamp"
            | "io.debezium.time.Interval",
        )
        | ("float" | "double", _) => format!("x::{}", column.case.sql),
        ("array", _) => format!("x::{}", column.case.sql),
        ("boolean", _) if column.case.sql == "bit(1)" => "x::boolean::integer::bit(1)".into(),
        ("bytes", _) if column.case.sql == "money" => "x::numeric::money".into(),
        (_, "io.debezium.data.geometry.Point") => "x::point".into(),
        _ => return None,
    })
}

/// Text by row, as the server prints it.
async fn printed(client: &Client, sql: &str, texts: &[Option<String>]) -> anyhow::Result<Vec<Option<String>>> {
    let query = format!(
        "select case when v is distinct from null then format('%s', v) end
         from (select o, {sql} as v from unnest($1::text[]) with ordinality u(x, o)) w order by o"
    );
    let rows = client.query(&query, &[&texts]).await.with_context(|| format!("asking for {sql}"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What the stranger read of one column is what the server prints of it.
async fn assert_same(
    client: &Client,
    column: &Column,
    rows: &BTreeMap<i32, Seen>,
    schema: &Json,
) -> anyhow::Result<()> {
    let Column { name, .. } = column;
    let query = format!(
        "select case when {name} is distinct from null then format('%s', {name}) end from every_type order by id"
    );
    let want: Vec<Option<String>> = client.query(&query, &[]).await?.iter().map(|row| row.get(0)).collect();
    let read: Vec<Option<String>> = rows.values().map(|row| told(&row.cells[name], schema)).collect();
    let read = match again(column, schema) {
        Some(sql) => printed(client, &sql, &read).await?,
        None => read,
    };
    for ((row, read), want) in rows.values().zip(read).zip(want) {
        let got = row.exact.get(name).cloned().or(read.clone());
        assert!(read.is_none() || !row.exact.contains_key(name), "{} is told twice", column.sql());
        assert_eq!(got, want, "a value of {}", column.sql());
    }
    Ok(())
}

/// Whether our decoder read what the stranger did.
fn agrees(ours: &Value, theirs: &Avro, schema: &Json) -> bool {
    let schema = bare(schema);
    match (ours, theirs) {
        (ours, Avro::Union(_, inner)) => agrees(ours, inner, schema),
        (Value::Bool(ours), Avro::Boolean(theirs)) => ours == theirs,
        (Value::Int(ours), Avro::Int(theirs)) => *ours == i64::from(*theirs),
        (Value::Date(ours), Avro::Int(theirs)) => ours == theirs,
        (Value::Int(ours) | Value::Time(ours) | Value::Timestamp(ours), Avro::Long(theirs)) => ours == theirs,
        (Value::Float(ours), Avro::Float(theirs)) => ours.to_string() == f64::from(*theirs).to_string(),
        (Value::Float(ours), Avro::Double(theirs)) => ours.to_string() == theirs.to_string(),
        (Value::Bytes(ours), Avro::Bytes(theirs)) => ours == theirs,
        (Value::TimestampTz(ours), Avro::String(theirs)) => {
            let digits = schema["causeway.digits"].as_u64().and_then(|digits| u8::try_from(digits).ok());
            let digits = digits.unwrap_or(change::SECOND_DIGITS);
            change::avro::value::zoned(*ours, digits) == *theirs
        }
        (Value::Array(ours), Avro::Array(theirs)) => {
            let mut pairs = ours.iter().zip(theirs);
            let same = |(ours, theirs): (&Option<Value>, &Avro)| match (ours, told(theirs, &schema["items"])) {
                (None, told) => told.is_none(),
                (Some(ours), _) => agrees(ours, theirs, &schema["items"]),
            };
            ours.len() == theirs.len() && pairs.all(same)
        }
        // A point's coordinates are numbers, which two printers print in two ways.
        (Value::Text(ours), Avro::Record(_)) => {
            let numbers = |text: &str| {
                let inner = text.trim_matches(['(', ')']).replace("Infinity", "inf");
                inner.split(',').map(|number| format!("{:?}", number.parse::<f64>())).collect::<Vec<_>>()
            };
            told(theirs, schema).is_some_and(|theirs| numbers(ours) == numbers(&theirs))
        }
        (Value::Numeric(ours) | Value::Text(ours), theirs) => {
            told(theirs, schema).is_some_and(|theirs| *ours == theirs)
        }
        _ => false,
    }
}

fn assert_ours_agrees(items: &[Item], columns: &[Column], seen: &BTreeMap<i32, Seen>, schemas: &HashMap<&str, &Json>) {
    let mut rows = 0;
    for item in items {
        let Item::Entry(entry) = item else { continue };
        let (Change::Snapshot { new } | Change::Insert { new }) = &entry.change else { continue };
        let Some(Cell::Value(Value::Int(id))) = new.get("id") else { panic!("no id") };
        let row = &seen[&i32::try_from(*id).expect("an id")];
        rows += 1;
        for column in columns {
            let name = column.name.as_str();
            let same = match (new.get(name).expect("a column"), row.exact.get(name)) {
                (Cell::Value(Value::Exact(ours)), Some(theirs)) => ours == theirs,
                (Cell::Value(ours), None) => agrees(ours, &row.cells[name], schemas[name]),
                (Cell::Null, None) => matches!(&row.cells[name], Avro::Union(_, inner) if **inner == Avro::Null),
                _ => false,
            };
            assert!(same, "our decoder reads another {}", column.sql());
        }
    }
    assert_eq!(rows, 2 * ROWS, "rows of the snapshot and of the stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_value_of_any_type_is_exact_in_snapshot_and_stream() -> anyhow::Result<()> {
    let seed: u64 =
        std::env::var("CAUSEWAY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(rand::rng().random());
    println!("seed {seed}: CAUSEWAY_SEED repeats it");
    let mut random = StdRng::seed_from_u64(seed);
    let bench = Bench::start(PRINTED_OTHERWISE).await?;
    let owner = bench.database.connect_as("capture", SOURCE).await?;
    owner.batch_execute(PRINTED_LIKE_THIS).await?;
    let version: i32 =
        owner.query_one("select current_setting('server_version_num')::integer / 10000", &[]).await?.get(0);
    let columns = columns(&owner, version).await?;
    owner.batch_execute(TYPES).await?;
    let list: Vec<String> = columns.iter().map(|column| format!("{} {}", column.name, column.sql())).collect();
    owner.batch_execute(&format!("create table every_type (id integer primary key, {})", list.join(", "))).await?;
    for row in 0..ROWS {
        let values: Vec<String> = columns.iter().map(|column| column.value(row, &mut random)).collect();
        let insert = format!("insert into every_type values ({row}, {})", values.join(", "));
        owner.batch_execute(&insert).await.with_context(|| format!("row {row}"))?;
    }
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    // The same values again, through the stream.
    owner
        .batch_execute(
            "begin; create temp table kept on commit drop as table every_type; delete from every_type;
             insert into every_type table kept order by 1; commit",
        )
        .await?;
    let (snapshot, stream, schema) = seen(&bench).await?;
    let fields = schema["fields"].as_array().context("fields")?;
    let schemas: HashMap<&str, &Json> =
        fields.iter().filter_map(|field| Some((field["name"].as_str()?, &field["type"]))).collect();
    for (id, row) in &snapshot {
        let again = stream.get(id).with_context(|| format!("row {id} in the stream"))?;
        assert!(row.bytes == again.bytes, "row {id} has other bytes in the stream");
        assert!(row.exact == again.exact, "row {id} has another header in the stream");
    }
    for column in &columns {
        assert_same(&owner, column, &stream, schemas[column.name.as_str()]).await?;
    }
    let entries = |items: &[Item]| {
        let row = |item: &&Item| matches!(item, Item::Entry(entry) if matches!(entry.change, Change::Snapshot { .. } | Change::Insert { .. }));
        items.iter().filter(row).count()
    };
    let items = bench.log(|items| entries(items) == 2 * ROWS).await?;
    assert_ours_agrees(&items, &columns, &stream, &schemas);
    connector.stop().await
}
