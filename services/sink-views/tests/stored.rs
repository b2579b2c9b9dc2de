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
    assert_eq!(kinds.len(), event::Kind::ALL.len(), "every kind is among them");
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
        assert_eq!(form(&again), form(event), "{id}: how it came is not what it says");
        again.confidential = true;
        assert_ne!(form(&again), form(event), "{id}: nor is it left out");
    }
    let forms: std::collections::BTreeSet<_> = stored.iter().map(|(.., event)| form(event)).collect();
    assert_eq!(forms.len(), stored.len(), "no two say the same");
    // The form is fixed: whoever keeps digests of it finds them again.
    check(
        &form(&stored[12].2),
        "1=riverside 2=8f3c/p\u{e9}1 3=R1V01 4=problem/2 5=condition 6=1766000000000000 \
        7=1765999000000013 10= 22=-7",
    );
    check(
        &form(&stored[5].2),
        "1=riverside 2=8f3c/p\u{e9}1 3=R1V01 4=observation/4 5=observation 10=Serum sodium \
        11=http://read.info/readv2 12=44I4. 13=1000731000000107 14=2823-3 21=<= 22=-118 23=Banana 27=final",
    );
}

/// Field by field, as number and text.
#[track_caller]
fn check(form: &[u8], want: &str) {
    let Some((&event::canonical::VERSION, mut rest)) = form.split_first() else { panic!("another version") };
    let mut fields = Vec::new();
    while let Some((number, more)) = rest.split_first() {
        let (length, more) = more.split_at(8);
        let length = u64::from_be_bytes(length.try_into().expect("eight bytes"));
        let (text, more) = more.split_at(usize::try_from(length).expect("short"));
        fields.push(format!("{number}={}", std::str::from_utf8(text).expect("text")));
        rest = more;
    }
    assert_eq!(fields.join(" "), want);
}
