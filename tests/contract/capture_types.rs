//! Every type is exact: apache-avro, which shares no code with ours, reads what the server printed,
//! and a row read by the snapshot is the row that the stream brings.

use super::capture_stack::{Bench, SOURCE, WAIT_MAX};
use anyhow::Context;
use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value as Avro};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
};
use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

const SCHEMA: &str = r#"
    create type status as enum ('prelim', 'final', 'with space');
    create domain short as varchar(9);
    create table every_type (
        id integer primary key,
        small smallint, big bigint, real4 real, real8 double precision, fixed numeric(19,3), free numeric,
        flag boolean, raw bytea, words text, "odd name" varchar(20), padded char(5), moment timestamptz(6),
        wall timestamp, day date, at time, ident uuid, doc json, docb jsonb, state status, states status[],
        domained short, tags text[], numbers numeric[], counts integer[], address inet, span interval, shape point);"#;

const ROWS: &[&str] = &[
    r#"1, -32768, -9223372036854775808, 1.5, 0.1, 12.340, 0.10, true, '\x00ff', 'David "A", ümlaut', 'x', 'ab',
       '2026-03-29 01:30:00.123456+01', '1969-12-31 23:59:59.999999', '2024-02-29', '24:00:00',
       '6f9619ff-8b86-d011-b42d-00c04fc964ff', '{"b": 1,  "a":9007199254740993}', '{"b":1}', 'with space',
       '{prelim,NULL}', 'dom', '{a,"b,\"c\\",NULL,"NULL"}', '{1.50,-2}', '{1,NULL}', '10.0.0.1/8', '1 mon 2 days', '(1,2)'"#,
    "2, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
       null, null, null, null, null, null, null, null, null",
    r#"3, 32767, 9223372036854775807, 'NaN', '-Infinity', 'NaN', 'Infinity', false, '\x', '', '', '', 'infinity',
       '-infinity', 'infinity', '00:00', null, 'null', '[]', 'final', '{}', '', '{}', '{NaN}', '[2:3]={1,2}',
       '::1', '-1 sec', null"#,
    "4, 0, 0, 3.4028235e38, 1e-300, 9999999999999999.999, 123456789012345678901234567890123456789012345678901234567890.5,
       null, null, E'tab\\tline\\nback\\\\slash', null, null, '0044-03-15 12:00:00+00 BC', '4713-01-01 00:00:00 BC',
       '0001-01-01 BC', '23:59:59.999999', null, null, null, null, null, null, '{{a,b},{c,d}}', '{}', '{{1},{2}}',
       null, null, null",
];

/// One column as a reader sees it, in the server's own words where that can be compared.
fn told(value: &Avro, scale: Option<u32>) -> Option<String> {
    match value {
        Avro::Union(_, inner) => told(inner, scale),
        Avro::Null => None,
        Avro::Boolean(value) => Some(value.to_string()),
        Avro::Int(value) => Some(value.to_string()),
        Avro::Long(value) => Some(value.to_string()),
        Avro::Float(value) => Some(value.to_string()),
        Avro::Double(value) => Some(value.to_string()),
        Avro::String(text) => Some(text.clone()),
        Avro::Bytes(bytes) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        Avro::Decimal(decimal) => {
            let bytes: Vec<u8> = decimal.try_into().expect("bytes");
            Some(decimal_text(&bytes, scale.expect("a scale")))
        }
        Avro::Record(fields) if fields[0].0 == "x" => {
            Some(format!("({},{})", told(&fields[0].1, None)?, told(&fields[1].1, None)?))
        }
        Avro::Record(fields) => {
            let (Avro::Int(scale), Avro::Bytes(bytes)) = (&fields[0].1, &fields[1].1) else { panic!("{fields:?}") };
            Some(decimal_text(bytes, u32::try_from(*scale).expect("a scale")))
        }
        Avro::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| told(item, scale).unwrap_or("∅".into())).collect();
            Some(items.join("|"))
        }
        other => panic!("{other:?}"),
    }
}

/// Digit by digit, so that it shares nothing with the encoder.
pub fn decimal_text(bytes: &[u8], scale: u32) -> String {
    let negative = bytes[0] >= 0x80;
    let mut magnitude: Vec<u8> = bytes.iter().map(|byte| if negative { !byte } else { *byte }).collect();
    if negative {
        for byte in magnitude.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
    }
    let mut digits = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) || digits.len() <= scale as usize {
        let mut rest = 0_u32;
        for byte in &mut magnitude {
            let value = rest * 256 + u32::from(*byte);
            *byte = u8::try_from(value / 10).expect("a quotient");
            rest = value % 10;
        }
        digits.push(char::from_digit(rest, 10).expect("a digit"));
    }
    if scale > 0 {
        digits.insert(scale as usize, '.');
    }
    let text: String = digits.into_iter().rev().collect();
    if negative { format!("-{text}") } else { text }
}

/// The columns as the server prints them, turned to what Avro's forms say of them.
const WANTED: &str = r#"select id::text, small::text, big::text, real4::text, real8::text, nullif(fixed::text, 'NaN'), nullif(free::text, 'Infinity'),
    flag::text, encode(raw, 'hex'), words, "odd name", padded,
    case when isfinite(moment) and moment > '0001-01-01 00:00+00' then
        replace(to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000', '') end,
    case when isfinite(wall) and wall > '0001-01-01' then (extract(epoch from wall) * 1000000)::bigint::text end,
    case when isfinite(day) and day > '0001-01-01' then (day - date '1970-01-01')::text end,
    (extract(epoch from at) * 1000000)::bigint::text, ident::text, doc::text, docb::text, state::text,
    array_to_string(states, '|', '∅'), domained::text,
    case when array_ndims(tags) is distinct from 2 then array_to_string(tags, '|', '∅') end,
    case when numbers::text <> '{NaN}' then array_to_string(numbers, '|', '∅') end,
    case when counts::text !~ '[[]|{{' then array_to_string(counts, '|', '∅') end,
    case when address is not null then format('%s', address) end, case when span is not null then format('P%sY%sM%sDT%sH%sM%sS', extract(year from span),
        extract(month from span), extract(day from span), extract(hour from span), extract(minute from span),
        trim_scale(extract(second from span))) end, shape::text
    from every_type order by id"#;

/// What stands in the header of values that their type cannot hold.
const EXACT: &[(i32, &[(&str, &str)])] = &[
    (
        3,
        &[
            ("fixed", "NaN"),
            ("free", "Infinity"),
            ("moment", "infinity"),
            ("wall", "-infinity"),
            ("day", "infinity"),
            ("numbers", "{NaN}"),
            ("counts", "[2:3]={1,2}"),
        ],
    ),
    (
        4,
        &[
            ("moment", "0044-03-15 12:00:00+00 BC"),
            ("wall", "4713-01-01 00:00:00 BC"),
            ("day", "0001-01-01 BC"),
            ("tags", "{{a,b},{c,d}}"),
            ("counts", "{{1},{2}}"),
        ],
    ),
];

struct Seen {
    operation: String,
    columns: Vec<Option<String>>,
    exact: BTreeMap<String, String>,
}

/// Reads the log as a stranger does: Kafka, the registry's HTTP, apache-avro.
async fn strangers_view(bench: &Bench, rows: usize) -> anyhow::Result<Vec<Seen>> {
    let topic = format!("changes.{SOURCE}");
    let consumer: BaseConsumer = bench.kafka_settings().client().set("group.id", "stranger").create()?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&topic, 0, Offset::Beginning)?;
    consumer.assign(&assignment)?;
    let registry = change_log::Registry::new(&bench.registry_settings())?;
    let mut schemas: HashMap<u32, Schema> = HashMap::new();
    let mut seen = Vec::new();
    let deadline = Instant::now() + WAIT_MAX;
    while seen.len() < rows {
        anyhow::ensure!(Instant::now() < deadline, "only {} rows", seen.len());
        let Some(message) = consumer.poll(Duration::from_millis(50)) else { continue };
        let message = message?;
        let header = |name: &str| {
            let headers = message.headers()?;
            headers.iter().find(|header| header.key == name).and_then(|header| header.value)
        };
        if header("causeway.kind") != Some(b"change") {
            continue;
        }
        let payload = message.payload().context("a value")?;
        let id = u32::from_be_bytes(payload[1..5].try_into()?);
        if let std::collections::hash_map::Entry::Vacant(entry) = schemas.entry(id) {
            entry.insert(Schema::parse_str(&registry.schema(id).await?)?);
        }
        let Avro::Record(envelope) =
            GenericDatumReader::builder(&schemas[&id]).build()?.read_value(&mut &payload[5..])?
        else {
            anyhow::bail!("an envelope is a record");
        };
        let field = |name: &str| envelope.iter().find(|(field, _)| field == name).map(|(_, value)| value);
        let Some(Avro::Union(_, after)) = field("after") else { anyhow::bail!("a row") };
        // A deletion has no row after it.
        let Avro::Record(columns) = &**after else { continue };
        let scale = |name: &str| (name == "fixed").then_some(3);
        let exact = header("causeway.exact").map(serde_json::from_slice).transpose()?.unwrap_or_default();
        let Some(Avro::String(operation)) = field("op") else { anyhow::bail!("an operation") };
        let columns = columns.iter().map(|(name, value)| told(value, scale(name))).collect();
        seen.push(Seen { operation: operation.clone(), columns, exact });
    }
    Ok(seen)
}

/// Avro's floats print as Rust prints them; the server's as it does.
fn same(column: usize, got: Option<&String>, want: Option<&String>) -> bool {
    match (column, got, want) {
        (3, Some(got), Some(want)) => floats::<f32>(got, want),
        (4, Some(got), Some(want)) => floats::<f64>(got, want),
        (12, Some(got), Some(want)) => {
            // to_char prints all six digits.
            let trimmed = |text: &str| match text.split_once('.') {
                Some((head, tail)) => format!("{head}.{}", tail.trim_end_matches('Z').trim_end_matches('0')),
                None => text.trim_end_matches('Z').to_owned(),
            };
            trimmed(got) == trimmed(want)
        }
        _ => got == want,
    }
}

fn floats<T: std::str::FromStr + PartialEq + std::fmt::Debug>(got: &str, want: &str) -> bool {
    let (got, want) = (got.parse::<T>().ok(), want.parse::<T>().ok());
    got == want || format!("{got:?}") == format!("{want:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_what_the_server_prints_in_snapshot_and_stream() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let insert = |row: &str| format!("insert into every_type values ({row})");
    let client = bench.database.connect(SOURCE).await?;
    client.batch_execute("set timezone = 'UTC'; set extra_float_digits = 3").await?;
    for row in ROWS {
        client.batch_execute(&insert(row)).await.with_context(|| format!("row {row}"))?;
    }
    let connector = bench.connector(bench.settings());
    connector.wait_ready().await?;
    // The same rows again, through the stream.
    for row in ROWS {
        let id = row.split_once(',').expect("an id").0;
        client
            .batch_execute(&format!("begin; delete from every_type where id = {id}; {}; commit", insert(row)))
            .await?;
    }
    let seen = strangers_view(&bench, 2 * ROWS.len()).await?;
    let wanted = client.query(WANTED, &[]).await?;
    for (pass, rows) in seen.chunks(ROWS.len()).enumerate() {
        for (row, want) in rows.iter().zip(&wanted) {
            assert_eq!(row.operation, if pass == 0 { "r" } else { "c" });
            for (column, got) in row.columns.iter().enumerate() {
                let want: Option<String> = want.get(column);
                assert!(
                    same(column, got.as_ref(), want.as_ref()),
                    "pass {pass}, column {column}: {got:?}, not {want:?}"
                );
            }
            let id: i32 = want_id(want);
            let exact = EXACT.iter().find(|(of, _)| *of == id).map_or(&[][..], |(_, exact)| exact);
            let exact: BTreeMap<String, String> = exact.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
            assert_eq!(row.exact, exact, "pass {pass}, row {id}");
        }
    }
    connector.stop().await
}

fn want_id(row: &tokio_postgres::Row) -> i32 {
    row.get::<_, String>(0).parse().expect("an id")
}
