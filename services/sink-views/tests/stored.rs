//! What the version before events could grow has stored, and what it knew each result's version by: today's binary reads
//! the one, and comes to the other.
//!
//! `services/event/testdata/patient_event_v1.txt` was written by that version: id, digest and datum of one event a line.

use change::avro::Resolution;
use event::{Body, PatientEvent, ResultStatus, avro};
use sink_views::plan::digest;

const V1: &str = include_str!("../../event/testdata/patient_event.v1.avsc");
const STORED: &str = include_str!("../../event/testdata/patient_event_v1.txt");

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn stored() -> Vec<(&'static str, Vec<u8>, PatientEvent)> {
    let resolution = Resolution::new(V1, avro::SCHEMA).expect("the first version resolves to today's");
    let line = |line: &'static str| {
        let mut parts = line.rsplitn(3, ' ');
        let (datum, digest, id) = (parts.next(), parts.next(), parts.next());
        let datum = bytes(datum.expect("a datum"));
        let resolved = resolution.datum(&datum).expect("a datum of the first version");
        (id.expect("an id"), bytes(digest.expect("a digest")), avro::decode(&resolved).expect("an event"))
    };
    STORED.lines().map(line).collect()
}

#[test]
fn stored_events_are_read_with_defaults_and_known_again() {
    let stored = stored();
    assert_eq!(stored.len(), 14);
    for (id, digest, event) in &stored {
        assert_eq!(event.id(), *id, "an upgraded region knows what it has told");
        assert_eq!(digest::of(event)[..], digest[..], "{id}: no result is a new version for the upgrade");
        let PatientEvent { generation, confidential, reread, incomplete, effective_precision, reinterpreted, .. } =
            event;
        assert_eq!((*generation, *confidential, *reread, incomplete.as_deref()), (0, false, false, None));
        assert_eq!((*effective_precision, *reinterpreted), (None, false));
        match &event.body {
            Body::Observation(it) => {
                assert!(it.status_text.is_none() && it.status != ResultStatus::Unknown);
            }
            Body::Medication(it) => assert!(it.status.is_none() && it.status_reason.is_none()),
            _ => {}
        }
    }
    let kinds: std::collections::BTreeSet<_> = stored.iter().map(|(.., event)| event.body.kind()).collect();
    assert!(event::Kind::ALL.into_iter().all(|kind| kinds.contains(&kind) == kind.is_of_version_1()), "{kinds:?}");
}

#[test]
fn what_an_event_says_is_told_apart_from_how_it_came() {
    let form = |event: &PatientEvent| {
        let mut form = Vec::new();
        event::canonical::write(event, &mut form);
        form
    };
    let stored = stored();
    for (id, _, event) in &stored {
        let mut again = event.clone();
        (again.generation, again.revision, again.snapshot, again.reread) = (9, 9, !event.snapshot, true);
        (again.position, again.part.of, again.committed_at) = (change::Position::START, 99, 1);
        again.traceparent = Some("other".into());
        again.reinterpreted = true;
        again.made_by = Some(event::MadeBy { mapping: "x 9".into(), ..event::MadeBy::default() });
        assert_eq!(form(&again), form(event), "{id}: how it came is not what it says");
        again.location = Some("Ward 7".into());
        assert_ne!(form(&again), form(event), "{id}: where is what it says");
        again.location = None;
        again.confidential = true;
        assert_ne!(form(&again), form(event), "{id}: nor is it left out");
    }
    let forms: std::collections::BTreeSet<_> = stored.iter().map(|(.., event)| form(event)).collect();
    assert_eq!(forms.len(), stored.len(), "no two say the same");
    // The form is fixed: whoever keeps digests of it finds them again.
    assert_eq!(form(&stored[12].2).escape_ascii().to_string(), FORM);
}

/// A condition's canonical form: version, then each field that says something by its name, its length and what it says.
const FORM: &str = concat!(
    r"\x02\x06source\x00\x00\x00\x00\x00\x00\x00\triverside",
    r"\x07patient\x00\x00\x00\x00\x00\x00\x00\t8f3c/p\xc3\xa91",
    r"\x0corganisation\x00\x00\x00\x00\x00\x00\x00\x05R1V01",
    r"\x06record\x00\x00\x00\x00\x00\x00\x00\tproblem/2",
    r"\x04kind\x00\x00\x00\x00\x00\x00\x00\tcondition",
    r"\nentered_at\x00\x00\x00\x00\x00\x00\x00\t\x01\x00\x06F*\xea\xac`\x00",
    r"\x0ceffective_at\x00\x00\x00\x00\x00\x00\x00\t\x01\x00\x06F*\xaf\x11\x96\r",
    r"\x04body\x00\x00\x00\x00\x00\x00\x00\x1a\x08ended_at\x00\x00\x00\x00\x00\x00\x00\t\x01\xff\xff\xff\xff\xff\xff\xff\xf9",
);
