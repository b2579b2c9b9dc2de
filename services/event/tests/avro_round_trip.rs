//! What we write, we read; and the reference codec reads it with the schema as registered.

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value};
use change::{
    Lsn, Position,
    avro::{DecodeError, Resolution},
};
use event::{avro, datum::Record as _, quarantined::Verdict, *};
use proptest::{collection::vec, option, prelude::*};
use rust_decimal::Decimal;
use std::sync::LazyLock;

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}
fn maybe_text() -> impl Strategy<Value = Option<String>> {
    option::of(text())
}
fn decimal() -> impl Strategy<Value = Decimal> {
    (any::<i64>(), 0_u32..19).prop_map(|(units, scale)| Decimal::new(units, scale))
}
fn position() -> impl Strategy<Value = Position> {
    (any::<u32>(), any::<u64>(), any::<u64>()).prop_map(|(e, c, o)| Position::new(e, Lsn(c), o))
}
fn micros() -> impl Strategy<Value = Option<i64>> {
    option::of(-62_135_596_800_000_000_i64..253_402_300_799_000_000)
}
fn code() -> impl Strategy<Value = Code> {
    let origin = prop::sample::select(Origin::ALL.to_vec());
    let coding = (text(), text(), vec(maybe_text(), 3), origin).prop_map(|(system, code, t, origin)| Coding {
        system,
        version: t[0].clone(),
        code,
        display: t[1].clone(),
        origin,
        by: event::datum::Aside(t[2].clone()),
    });
    (text(), vec(maybe_text(), 4), vec(coding, 0..3)).prop_map(|(text, t, codings)| Code {
        text,
        original_system: t[0].clone(),
        original_code: t[1].clone(),
        snomed: t[2].clone(),
        loinc: t[3].clone(),
        codings,
    })
}

/// Anything that a mapping can tell of these fields.
fn told(fields: Fields) -> BoxedStrategy<Vec<Told>> {
    fields.iter().map(|(_, shape)| one(*shape)).collect::<Vec<_>>().boxed()
}

fn one(shape: Shape) -> BoxedStrategy<Told> {
    let some = match shape {
        Shape::Text => text().prop_map(Told::Text).boxed(),
        Shape::Time => micros().prop_map(|at| at.map_or(Told::Nothing, Told::Time)).boxed(),
        Shape::Day => (-700_000..2_900_000_i32).prop_map(Told::Day).boxed(),
        Shape::Number => decimal().prop_map(Told::Number).boxed(),
        Shape::Code => code().prop_map(|code| Told::Code(Box::new(code))).boxed(),
        Shape::One(fields) => told(fields).prop_map(Told::One).boxed(),
        Shape::Many(fields) => vec(told(fields), 0..3).prop_map(Told::Many).boxed(),
        Shape::Derived => Just(Told::Nothing).boxed(),
    };
    prop_oneof![some, Just(Told::Nothing)].boxed()
}

fn participants() -> impl Strategy<Value = Vec<Participant>> {
    vec(told(Participant::FIELDS).prop_map(Participant::of), 0..3)
}

fn demographics() -> impl Strategy<Value = Body> {
    let nhs_number = option::of(prop::sample::select(vec!["9434765919", "9000000009"]));
    let day = || option::of(-700_000..2_900_000_i32);
    (nhs_number, any::<bool>(), vec(maybe_text(), 6), day(), day()).prop_map(|(n, yes, t, birth_date, death_date)| {
        Body::Demographics(Demographics {
            nhs_number: n.and_then(NhsNumber::parse),
            nhs_number_verified: yes,
            nhs_number_text: t[0].clone(),
            family: t[1].clone(),
            given: t[2].clone(),
            birth_date,
            death_date,
            gender: t[3].clone(),
            postcode: t[4].clone(),
            registered_practice: t[5].clone(),
            objection: !yes,
            birth_partial: birth_date.is_none().then(|| PartialDate::new(1984, None)).flatten(),
            death_partial: death_date.is_none().then(|| PartialDate::new(1984, Some(6))).flatten(),
            ..Demographics::default()
        })
    })
}

fn observation() -> impl Strategy<Value = Body> {
    let comparator = option::of(prop::sample::select(vec![
        Comparator::Less,
        Comparator::LessOrEqual,
        Comparator::GreaterOrEqual,
        Comparator::Greater,
    ]));
    let status = prop::sample::select(vec![
        ResultStatus::Preliminary,
        ResultStatus::Final,
        ResultStatus::Corrected,
        ResultStatus::Unknown,
    ]);
    (code(), comparator, vec(option::of(decimal()), 4), vec(maybe_text(), 9), status, micros()).prop_map(
        |(code, comparator, n, t, status, authorised_at)| {
            Body::Observation(Observation {
                code,
                analyte: t[0].clone(),
                value: Measurement {
                    comparator,
                    number: n[0],
                    unit: t[1].clone(),
                    text: t[2].clone(),
                    canonical: n[1].map(|number| Canonical { number, unit: "mmol/L".into() }),
                },
                status,
                authorised_at,
                range_low: n[2],
                range_high: n[3],
                flag: t[3].clone(),
                specimen: t[4].clone(),
                requester: t[5].clone(),
                unchecked: t[6].clone(),
                comment: t[7].clone(),
                status_text: t[8].clone(),
                ..Observation::default()
            })
        },
    )
}

/// Every kind by its table; the fields that follow from others by hand.
fn body() -> impl Strategy<Value = Body> {
    let kind = || prop::sample::select(Kind::ALL.to_vec());
    let by_table = kind().prop_flat_map(|kind| told(kind.fields()).prop_map(move |told| kind.of(told)));
    let flags = (code(), any::<bool>(), maybe_text()).prop_map(|(code, yes, text)| {
        if yes {
            Body::Allergy(Allergy { code, none_known: yes, active: text.is_some(), ..Allergy::default() })
        } else {
            Body::Encounter(Encounter { class: "AMB".into(), text, referral: !yes, ..Encounter::default() })
        }
    });
    prop_oneof![1 => demographics(), 1 => observation(), 1 => flags, 1 => kind().prop_map(Body::Retracted), 4 => by_table]
}

fn event() -> impl Strategy<Value = PatientEvent> {
    let action = prop::sample::select(vec![Action::Recorded, Action::Corrected, Action::Retracted]);
    let numbers = (0..i32::MAX.cast_unsigned(), 0..99_u32, 0..99_u32, any::<u32>());
    let who = (participants(), option::of(told(MadeBy::FIELDS).prop_map(MadeBy::of)));
    (vec(text(), 4), position(), numbers, action, vec(micros(), 3), any::<bool>(), body(), maybe_text(), who).prop_map(
        |(t, position, (revision, index, of, generation), action, at, snapshot, body, traceparent, who)| PatientEvent {
            patient: SourcePatient { source: t[0].clone(), id: t[1].clone() },
            organisation: t[2].clone(),
            record: t[3].clone(),
            position,
            revision,
            action,
            part: Part { index, of },
            committed_at: at[0].unwrap_or_default(),
            snapshot,
            entered_at: at[1],
            effective_at: at[2],
            body,
            incomplete: traceparent.clone(),
            traceparent,
            generation,
            confidential: snapshot,
            reread: !snapshot,
            effective_precision: Precision::ALL.get(index as usize).copied(),
            reinterpreted: !snapshot,
            location: who.1.as_ref().map(|made| made.mapping.clone()),
            participants: who.0,
            made_by: who.1,
        },
    )
}

/// Of the version before this one.
const GROWN: &str = include_str!("../testdata/patient_event.v1_grown.avsc");
static BACK: LazyLock<Resolution> = LazyLock::new(|| Resolution::new(avro::SCHEMA, GROWN).expect("it reads ours"));
static FORWARD: LazyLock<Resolution> = LazyLock::new(|| Resolution::new(GROWN, avro::SCHEMA).expect("we read its"));

/// The reference codec reads the whole datum, and gives back the named text field.
fn by_reference(schema: &str, mut datum: &[u8], field: &str) -> String {
    let schema = Schema::parse_str(schema).expect("a schema");
    let reader = GenericDatumReader::builder(&schema).build().expect("a reader");
    let Ok(Value::Record(fields)) = reader.read_value(&mut datum) else { panic!("not a record") };
    assert!(datum.is_empty(), "the reference codec left bytes over");
    match fields.into_iter().find(|(name, _)| name == field) {
        Some((_, Value::String(text) | Value::Enum(_, text))) => text,
        other => panic!("{field}: {}", other.is_some()),
    }
}

proptest! {
    #[test]
    fn events_come_back_as_they_were(event in event()) {
        let mut datum = Vec::new();
        avro::encode(&event, &mut datum);
        let back = avro::decode(&datum).expect("our own datum");
        // Equal to the digit: 6.70 is not 6.7.
        let mut again = Vec::new();
        avro::encode(&back, &mut again);
        prop_assert!(back == event && again == datum);
        prop_assert_eq!(by_reference(avro::SCHEMA, &datum, "record"), event.record);
    }

    /// Side by side: what it knows it reads, and what it does not know is not malformed.
    #[test]
    fn the_version_before_reads_all_that_it_knows(event in event()) {
        let mut datum = Vec::new();
        avro::encode(&event, &mut datum);
        if !event.body.kind().is_of_version_1() {
            let retracted = matches!(event.body, Body::Retracted(_));
            let what = if retracted { "a symbol" } else { "a kind of record" };
            prop_assert_eq!(BACK.datum(&datum), Err(DecodeError::Newer(what)));
            return Ok(());
        }
        let old = BACK.datum(&datum).expect("the version before reads it");
        prop_assert_eq!(by_reference(GROWN, &old, "record"), event.record.as_str());
        let again = avro::decode(&FORWARD.datum(&old).expect("resolved")).expect("an event");
        let code = |event: &PatientEvent| {
            event.body.code().map(|code| (code.text.clone(), code.snomed.clone(), code.loinc.clone(), code.original_code.clone()))
        };
        prop_assert_eq!((again.id(), code(&again)), (event.id(), code(&event)));
        prop_assert!(again.participants.is_empty() && again.made_by.is_none());
        let mut datum = Vec::new();
        avro::encode(&again, &mut datum);
        prop_assert_eq!(BACK.datum(&datum).expect("resolved"), old, "nothing that it knew was lost");
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in vec(any::<u8>(), 0..200)) {
        let _ = avro::decode(&bytes);
        let _ = avro::decode_link(&bytes);
        let _ = avro::decode_quarantined(&bytes);
    }

    #[test]
    fn a_cut_event_is_refused(event in event(), cut in 0.0..1.0_f64) {
        let mut datum = Vec::new();
        avro::encode(&event, &mut datum);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a fraction of a small length")]
        let length = (datum.len() as f64 * cut) as usize;
        prop_assert!(avro::decode(&datum[..length]).is_err());
    }

    #[test]
    fn links_come_back(t in vec(text(), 3), version in 1..u32::MAX / 2, which in 0..3_usize, at in any::<i64>(), id in any::<u128>()) {
        let link = Link {
            patient: SourcePatient { source: t[0].clone(), id: t[1].clone() },
            person: uuid::Uuid::from_u128(id),
            version,
            status: [LinkStatus::Linked, LinkStatus::Alone, LinkStatus::Held][which],
            reason: t[2].clone(),
            decided_at: at,
            evidence: (version % 2 == 0).then(|| LinkEvidence {
                rule: t[2].clone(),
                other: SourcePatient { source: t[1].clone(), id: t[0].clone() },
                weight: (version % 3 == 0).then(|| -version.cast_signed()),
                parameters: (version % 5 == 0).then(|| t[0].clone()),
            }),
        };
        let mut datum = Vec::new();
        avro::encode_link(&link, &mut datum);
        prop_assert_eq!(avro::decode_link(&datum), Ok(link.clone()));
        prop_assert_eq!(by_reference(avro::LINK_SCHEMA, &datum, "status"), link.status.as_str());
    }

    #[test]
    fn alerts_come_back(t in vec(text(), 6), teams in vec(text(), 0..4), id in any::<i64>(), at in any::<i64>(),
                        alert in any::<u128>(), which in 0..AlertChange::ALL.len()) {
        let change = AlertChange::ALL[which];
        let told = PatientAlert {
            id, alert: uuid::Uuid::from_u128(alert), change, teams, at,
            patient: SourcePatient { source: t[0].clone(), id: t[1].clone() },
            rule: t[2].clone(), severity: t[3].clone(), urgency: t[4].clone(), state: t[5].clone(),
        };
        let mut datum = Vec::new();
        avro::encode_alert(&told, &mut datum);
        prop_assert_eq!(avro::decode_alert(&datum), Ok(told.clone()));
        prop_assert_eq!(by_reference(avro::ALERT_SCHEMA, &datum, "change"), change.as_str());
    }

    #[test]
    fn quarantined_items_come_back(t in vec(text(), 4), m in vec(maybe_text(), 3), position in option::of(position()),
                                   bytes in vec(option::of(vec(any::<u8>(), 0..40)), 2), offset in option::of(any::<i64>()), partition in option::of(any::<i32>())) {
        let item = Quarantined {
            source: t[0].clone(), position, stage: t[1].clone(), reason: t[2].clone(), detail: t[3].clone(),
            table: m[0].clone(), key: bytes[0].clone(), topic: m[1].clone(), partition, offset,
            patient: m[2].clone(), original: bytes[1].clone(), committed_at: offset,
            item: m[1].clone(), closed: offset.is_some(), closes: offset,
            closed_as: partition.map(|n| if n > 0 { Verdict::Resolved } else { Verdict::Dropped }),
        };
        let mut datum = Vec::new();
        avro::encode_quarantined(&item, &mut datum);
        prop_assert_eq!(avro::decode_quarantined(&datum), Ok(item.clone()));
        prop_assert_eq!(by_reference(avro::QUARANTINED_SCHEMA, &datum, "reason"), item.reason);
    }
}

/// At the limit it is whole, and a byte beyond it is cut and says so.
#[test]
fn an_item_that_is_too_large_is_cut_with_a_note() {
    let item = |original: usize, key: usize| Quarantined {
        source: "riverside".into(),
        reason: "unreadable message".into(),
        detail: "truncated".into(),
        key: Some(vec![7; key]),
        original: Some(vec![8; original]),
        ..Quarantined::default()
    };
    let written = |item: &Quarantined, max: usize| {
        let mut out = b"frame".to_vec();
        avro::encode_quarantined_within(item, max, &mut out);
        assert!(out.starts_with(b"frame") && out.len() - 5 <= max, "{} of {max} bytes", out.len());
        avro::decode_quarantined(&out[5..]).expect("our own datum")
    };
    let whole = item(100_000, 10);
    let mut datum = Vec::new();
    avro::encode_quarantined(&whole, &mut datum);
    assert_eq!(written(&whole, datum.len()), whole);
    let cut = written(&whole, datum.len() - 1);
    let left = cut.original.as_ref().map_or(0, Vec::len);
    assert_eq!(cut.detail, format!("truncated; the value is cut to {left} of 100000 bytes"));
    assert!(left < 100_000 && left > 99_000 && cut.key == whole.key, "{left}");
    // A key that is larger than the room.
    let cut = written(&item(10, 100_000), 5_000);
    assert_eq!(cut.original, Some(Vec::new()));
    assert!(cut.detail.contains("the value is cut to 0 of 10 bytes; the key is cut to "), "{}", cut.detail);
}

#[test]
fn every_field_of_every_schema_is_documented() {
    fn check(value: &serde_json::Value, path: &str) {
        if let Some(fields) = value.get("fields").and_then(|f| f.as_array()) {
            for field in fields {
                let path = format!("{path}.{}", field["name"]);
                assert!(field["doc"].as_str().is_some_and(|doc| !doc.is_empty()), "{path} has no doc");
                check(&field["type"], &path);
            }
        }
        for branch in value.as_array().into_iter().flatten() {
            check(branch, path);
        }
    }
    for schema in [avro::SCHEMA, avro::LINK_SCHEMA, avro::QUARANTINED_SCHEMA, avro::ALERT_SCHEMA] {
        check(&serde_json::from_str(schema).expect("json"), "");
    }
}

#[test]
fn headers_are_cloud_events() {
    let event = PatientEvent {
        patient: SourcePatient { source: "riverside".into(), id: "p1".into() },
        organisation: "A81001".into(),
        record: "observation/7".into(),
        position: Position::new(1, Lsn(255), 2),
        revision: 1,
        action: Action::Retracted,
        part: Part { index: 1, of: 1 },
        committed_at: 1_766_000_000_000_000,
        snapshot: false,
        entered_at: None,
        effective_at: None,
        body: Body::Retracted(Kind::Observation),
        traceparent: None,
        generation: 0,
        confidential: false,
        reread: false,
        incomplete: None,
        effective_precision: None,
        reinterpreted: false,
        participants: Vec::new(),
        location: None,
        made_by: None,
    };
    let headers = cloud_events::headers(&event);
    let text: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(
        text,
        [
            "ce_specversion: 1.0",
            "ce_id: riverside:00000001.00000000000000ff.0000000000000002:observation/7:observation:1:retracted",
            "ce_source: /causeway/riverside",
            "ce_type: causeway.patient.observation.retracted",
            "ce_subject: riverside/p1",
            "ce_time: 2025-12-17T19:33:20Z",
            "content-type: application/avro",
        ]
    );
    // In a generation, the mapping that made it does not name it, and what happened does.
    let of = |generation, revision, action| PatientEvent { generation, revision, action, ..event.clone() }.id();
    let place = "00000001.00000000000000ff.0000000000000002:observation/7:observation";
    assert_eq!(of(1_764_000_000, 1, Action::Retracted), format!("riverside:1764000000:{place}:retracted"));
    assert_eq!(of(1_764_000_000, 2, Action::Recorded), format!("riverside:1764000000:{place}:recorded"));
    assert_eq!(of(0, 2, Action::Recorded), format!("riverside:{place}:2"), "as before there were generations");
}
