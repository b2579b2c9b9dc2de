//! What is fed: the replication stream's decoder, the parsers of the server's texts, and the reader's side of the log.

use super::driver::run;
use change::{
    Column, ColumnType, Lsn, Position, TableId, TableSchema,
    avro::{
        EnvelopePlan, Folded,
        envelope::{self, Head, SourceBlock},
        schema, value, wire,
    },
};
use change_log::{
    control, frame,
    header::{Headers, SessionRule},
};
use connector_postgres::{
    charset::Charset,
    decode::{self, Message, Tuple},
    encode::{self, CopyRow},
};
use std::{mem::discriminant, sync::Arc};

/// Walks over a row; it has as many cells as it says.
fn walk(tuple: &Tuple<'_>) -> usize {
    let cells = tuple.cells().count();
    assert_eq!(cells, tuple.len(), "a row of {} cells yields {cells}", tuple.len());
    cells
}

#[test]
fn pgoutput() {
    run("pgoutput", Vec::new(), |input| match decode::decode(input, &Charset::Utf8) {
        Err(error) => (0, error.to_string(), 0),
        Ok(message) => {
            let size = match &message {
                Message::Insert { new, .. } => walk(new),
                Message::Update { old, new, .. } => old.as_ref().map_or(0, |old| walk(old.tuple())) + walk(new),
                Message::Delete { old, .. } => walk(old.tuple()),
                Message::Relation(relation) => relation.columns.len(),
                Message::Truncate { relations } => relations.len(),
                _ => 0,
            };
            (input[0], String::new(), size.min(8))
        }
    });
}

fn kinds() -> Vec<ColumnType> {
    use ColumnType::{
        Bool, Bytes, Date, Decimal, Float32, Float64, Int16, Int32, Int64, Json, Numeric, Text, Time, Timestamp,
        TimestampTz, Uuid,
    };
    let decimal = Decimal { precision: 12, scale: 3 };
    let all = [
        Bool,
        Int16,
        Int32,
        Int64,
        Float32,
        Float64,
        Numeric,
        Text,
        Bytes,
        Date,
        Time,
        Timestamp,
        TimestampTz { digits: 3 },
        Uuid,
        Json,
    ];
    all.into_iter().chain([decimal]).collect()
}

/// A text that a type takes can be read back, to its end.
fn through(kind: &ColumnType, text: &[u8]) -> bool {
    let mut out = Vec::new();
    let taken = encode::write(&mut out, kind, text);
    // Text of the server is UTF-8; what is not is refused by the reader.
    if taken && text.is_ascii() {
        let mut reader = wire::Reader::new(&out);
        let read = value::read(&mut reader, kind);
        assert!(read.is_ok() && reader.finish().is_ok(), "{kind:?} writes what cannot be read: {:?}", read.err());
    }
    taken
}

#[test]
fn texts() {
    let kinds = kinds();
    run("texts", Vec::new(), |input| -> Vec<bool> { kinds.iter().map(|kind| through(kind, input)).collect() });
}

#[test]
fn arrays() {
    let kinds: Vec<ColumnType> = kinds().into_iter().map(|kind| ColumnType::Array(Arc::new(kind))).collect();
    run("arrays", Vec::new(), |input| -> Vec<bool> { kinds.iter().map(|kind| through(kind, input)).collect() });
}

#[test]
fn copy_rows() {
    run("copy_rows", Vec::new(), |input| {
        let mut row = CopyRow::default();
        let taken: Vec<bool> = (0..4).map(|columns| row.parse(input, columns)).collect();
        if taken[3] {
            assert_eq!(row.cells().count(), 3);
        }
        taken
    });
}

fn table() -> TableSchema {
    let column = |(at, kind): (usize, ColumnType)| Column { name: format!("c{at}").into(), kind, key: at == 3 };
    let array = ColumnType::Array(Arc::new(ColumnType::Text));
    let columns = kinds().into_iter().chain([array]).enumerate().map(column).collect();
    TableSchema { table: TableId { schema: "lims".into(), name: "result".into() }, columns }
}

/// An envelope as the connector writes it, and a logical message.
fn envelopes() -> Vec<Vec<u8>> {
    let block = SourceBlock {
        version: "0.1.0",
        connector: "postgresql",
        name: "clinic",
        db: "clinic",
        schema: "lims",
        table: "result",
    };
    let mut head = Head::default();
    head.set(&block, 1_700_000_000_000_000, false, Some(7));
    // The header's texts have a length in front, and then comes the datum.
    let mut row = vec![0, 0];
    row.push(wire::NULL);
    row.push(wire::SOME);
    let texts = ["t", "1", "2", "3", "1.5", "2.5", "0.10", "text", "\\x00ff", "2020-02-29", "23:59:59.5"];
    let more = ["2020-02-29 12:00:00", "2020-02-29 12:00:00+00", "b2c6f6a0-0000-4000-8000-000000000000", "{}", "6.700"];
    let texts = texts.into_iter().chain(more).chain(["{a,NULL,\"b c\"}"]);
    for (column, text) in table().columns.iter().zip(texts) {
        if !column.key {
            row.push(wire::SOME);
        }
        assert!(encode::write(&mut row, &column.kind, text.as_bytes()), "{:?} {text}", column.kind);
    }
    head.write(&mut row, 9);
    envelope::transaction(&mut row, "7:9", 1, 1);
    envelope::tail(&mut row, "c", 5);
    let mut message = vec![0, 0];
    envelope::message(&mut message, &head, 9, 5, "audit", b"signed");
    vec![row, message]
}

#[test]
fn envelope_codec() {
    let of_table = schema::of_table("clinic", &table());
    let ((_, of_messages), _) = schema::of_messages();
    let plans = [&of_table.envelope, &of_messages].map(|text| EnvelopePlan::compile(text).expect("our own schema"));
    let known = envelopes();
    // Both have to be read, or nothing behind their first bytes is tried.
    for (plan, input) in plans.iter().zip(&known) {
        assert!(plan.decode(&input[2..], &Folded::default()).is_ok(), "our own envelope");
    }
    run("envelope_codec", known, |input| {
        let (unchanged, rest) = prefixed(input);
        let (exact, datum) = prefixed(rest);
        let folded = Folded { unchanged, exact, exact_before: exact };
        plans.each_ref().map(|plan| match plan.decode(datum, &folded) {
            Ok(decoded) => (Some(discriminant(&decoded.change)), String::new()),
            Err(error) => (None, error.to_string()),
        })
    });
}

/// A text with its length in front.
fn prefixed(input: &[u8]) -> (Option<&str>, &[u8]) {
    let Some((length, rest)) = input.split_first() else { return (None, input) };
    let (text, rest) = rest.split_at(usize::from(*length).min(rest.len()));
    (std::str::from_utf8(text).ok().filter(|text| !text.is_empty()), rest)
}

#[test]
fn schemas() {
    let known = schema::of_table("clinic", &table());
    let extra = [Some(known.envelope), known.key.map(|(_, key)| key)].into_iter().flatten().map(String::into_bytes);
    run("schemas", extra.collect(), |input| {
        let text = std::str::from_utf8(input).unwrap_or_default();
        EnvelopePlan::compile(text).map(|plan| plan.table().map(|table| table.columns.len())).map_err(|e| e.to_string())
    });
}

#[test]
fn control_records() {
    run("control_records", Vec::new(), |input| {
        let datum = frame::unwrap(input).map_or(input, |(_, datum)| datum);
        let session = control::Session::decode(datum).map(drop).map_err(|error| error.to_string());
        let progress = control::Progress::decode(datum).map(drop).map_err(|error| error.to_string());
        (session, progress, control::Snapshot::decode(datum).map(drop).map_err(|error| error.to_string()))
    });
}

/// `name=value` on each line.
#[test]
fn headers() {
    run("headers", Vec::new(), |input| {
        let lines = input.split(|byte| *byte == b'\n').map(|line| {
            let at = line.iter().position(|byte| *byte == b'=').unwrap_or(line.len());
            (std::str::from_utf8(&line[..at]).unwrap_or_default(), line.get(at + 1..))
        });
        let parsed = Headers::parse(lines.clone());
        let mut rule = SessionRule::default();
        let judged = parsed.as_ref().map(|headers| rule.judge(0, headers.place.as_ref()).is_ok());
        for text in lines.filter_map(|(_, value)| std::str::from_utf8(value?).ok()) {
            // A position has one text only.
            if let Ok(position) = text.parse::<Position>() {
                assert_eq!(position.to_string(), text);
            }
            if let Ok(lsn) = text.parse::<Lsn>() {
                assert_eq!(lsn.to_string().parse(), Ok(lsn));
            }
        }
        (parsed.map(|headers| (headers.kind.name(), headers.in_snapshot, headers.commit_end.is_some())), judged)
    });
}
