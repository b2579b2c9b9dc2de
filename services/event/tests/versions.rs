//! What earlier versions wrote is read, and what this one writes is read by them.
//!
//! `testdata/patient_event_v1_grown.txt` was written by the last version before `PatientEvent` 2: id and datum of one event
//! a line, every kind of it recorded and taken back. Its schema stands beside it.

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value};
use change::avro::Resolution;
use event::{Kind, PatientEvent, avro};

const GROWN: &str = include_str!("../testdata/patient_event.v1_grown.avsc");
const STORED: &str = include_str!("../testdata/patient_event_v1_grown.txt");

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// Id and datum, as they were written.
fn stored() -> Vec<(&'static str, Vec<u8>)> {
    let line = |line: &'static str| {
        let (id, datum) = line.rsplit_once(' ').expect("an id and a datum");
        (id, bytes(datum))
    };
    STORED.lines().map(line).collect()
}

fn read(resolution: &Resolution, datum: &[u8]) -> PatientEvent {
    avro::decode(&resolution.datum(datum).expect("a datum of its writer")).expect("an event")
}

/// The reference codec reads it by this schema, and gives back the record's name.
fn by_reference(schema: &str, mut datum: &[u8]) -> String {
    let schema = Schema::parse_str(schema).expect("a schema");
    let reader = GenericDatumReader::builder(&schema).build().expect("a reader");
    let Ok(Value::Record(fields)) = reader.read_value(&mut datum) else { panic!("not a record") };
    assert!(datum.is_empty(), "bytes are left over");
    match fields.into_iter().find(|(name, _)| name == "record") {
        Some((_, Value::String(text))) => text,
        _ => panic!("it names no record"),
    }
}

#[test]
fn a_stored_topic_of_version_1_is_read_whole() {
    let forward = Resolution::new(GROWN, avro::SCHEMA).expect("version 1 resolves to this one");
    let back = Resolution::new(avro::SCHEMA, GROWN).expect("and this one to it");
    let stored = stored();
    let mut kinds = std::collections::BTreeMap::new();
    for (id, datum) in &stored {
        let event = read(&forward, datum);
        assert_eq!(event.id(), *id, "an upgraded region knows what it has told");
        assert_eq!(by_reference(GROWN, datum), event.record);
        *kinds.entry(event.body.kind()).or_insert(0) += 1;
        let mut again = Vec::new();
        avro::encode(&event, &mut again);
        assert_eq!(by_reference(avro::SCHEMA, &again), event.record);
        assert_eq!(back.datum(&again).as_deref(), Ok(&datum[..]), "{id}: nothing was lost, nothing was made up");
    }
    let of_version_1 =
        [Kind::Demographics, Kind::Observation, Kind::Medication, Kind::Allergy, Kind::Condition, Kind::Encounter];
    assert_eq!(kinds, of_version_1.map(|kind| (kind, 16)).into());
}
