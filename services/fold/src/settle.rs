//! From touched records to outputs: grouped by patient, compared with what was last said.

use super::{
    Fold, Group, MISSING_PATIENT, Output, PARTS_MAX, SEEN_MAX, Seen, Task, Touch,
    body::{self, Draft},
    name,
    open::{self, About},
    store::{Key, RecordId, Said, Store},
    table::made_by,
    view::{self, Doubt, View},
};
use event::{Action, Body, Part, PatientEvent, Quarantined, SourcePatient};
use std::collections::BTreeMap;

/// Sorts the touched records into one group for each patient, in the order of their first touch.
pub fn group<S: Store>(fold: &mut Fold<S>) {
    if fold.touched.is_empty() {
        return;
    }
    let mut groups: BTreeMap<Key, Group> = BTreeMap::new();
    let held = fold.touched.len() <= SEEN_MAX;
    for (id, touch) in std::mem::take(&mut fold.touched) {
        let said = fold.said(&id);
        let touch = fold.waiting.came(&fold.mapping, &fold.store, &id, touch, said.as_ref());
        let (now, seen) = match look(fold, &id, &touch, said.as_ref()) {
            Look::Waits => {
                fold.waiting.wait(&fold.mapping, &mut fold.store, id, touch, fold.clock);
                continue;
            }
            Look::Nobody => (None, Seen::Nothing),
            Look::Rows(patient, rows) => (patient, Seen::Rows(rows)),
        };
        let seen = if held { seen } else { Seen::Before };
        let told = match &said {
            Some(Said::Told { patient, organisation, .. }) => Some((patient.clone(), organisation.clone())),
            Some(Said::Waiting) | None => None,
        };
        let nobody = || Key::from("");
        let home = match (now, told) {
            (Some(now), Some((before, organisation))) if *before != *now => {
                let leave = (touch.clone(), id.clone(), Task::Leave { organisation });
                groups.entry(before).or_default().push(leave);
                fold.say(&id, None);
                Key::from(now)
            }
            (Some(now), _) => Key::from(now),
            (None, Some((before, _))) => before,
            (None, None) => nobody(),
        };
        groups.entry(home).or_default().push((touch, id, Task::Tell(seen)));
    }
    let mut ordered: Vec<(Key, Group)> = groups.into_iter().collect();
    for (_, group) in &mut ordered {
        group.sort_by(|(a, id_a, _), (b, id_b, _)| (a.position, id_a).cmp(&(b.position, id_b)));
    }
    ordered.sort_by(|(key_a, a), (key_b, b)| (a[0].0.position, key_a).cmp(&(b[0].0.position, key_b)));
    fold.groups.extend(ordered);
}

enum Look {
    /// It was never told, and what it is joined to is still being read.
    Waits,
    /// And the patient, if it says whose it is.
    Rows(Option<String>, view::Found),
    Nobody,
}

fn look<S: Store>(fold: &Fold<S>, id: &RecordId, touch: &Touch, said: Option<&Said>) -> Look {
    let record = &fold.mapping.records[id.record];
    let told = matches!(said, Some(Said::Told { .. }));
    let waits =
        |lacks| !told && fold.waiting.waits((&fold.mapping, &fold.store), id, touch, record, &fold.reading, lacks);
    let Some(view) = view::find(&fold.mapping, &fold.source, &fold.store, id) else { return Look::Nobody };
    if waits(view.unresolved(|table| fold.reading.reads(table)).is_some()) {
        return Look::Waits;
    }
    Look::Rows(view.patient(), view.found())
}

/// What has to be said of one patient's touched records.
pub fn tell<S: Store>(fold: &mut Fold<S>, patient: &Key, group: Group, outputs: &mut Vec<Output>) {
    let mut events = Vec::new();
    for (touch, id, task) in group {
        match task {
            Task::Leave { organisation } => events.push(retraction(fold, patient, &organisation, &id, &touch)),
            Task::Tell(seen) => events.extend(settle(fold, patient, &id, seen, &touch, outputs)),
        }
    }
    for part in events.chunks_mut(PARTS_MAX) {
        let of = u32::try_from(part.len()).unwrap_or(u32::MAX);
        for (event, index) in part.iter_mut().zip(1..) {
            event.part = Part { index, of };
        }
    }
    outputs.extend(events.into_iter().map(|event| Output::Event(Box::new(event))));
}

fn settle<S: Store>(
    fold: &mut Fold<S>,
    patient: &Key,
    id: &RecordId,
    seen: Seen,
    touch: &Touch,
    outputs: &mut Vec<Output>,
) -> Option<PatientEvent> {
    let mapping = fold.mapping.clone();
    let said = fold.said(id);
    let view = match seen {
        Seen::Before => view::find(&mapping, &fold.source, &fold.store, id),
        Seen::Nothing => None,
        Seen::Rows(rows) => Some(rows.view(&mapping, &fold.source, id.record)),
    };
    let Some(view) = view else {
        fold.say(id, None);
        fold.waiting.forget(&mapping, &mut fold.store, id);
        in_quarantine(fold, id, Vec::new(), outputs);
        return match said {
            Some(Said::Told { organisation, .. }) => Some(retraction(fold, patient, &organisation, id, touch)),
            Some(Said::Waiting) | None => None,
        };
    };
    if view.patient().is_none() {
        fold.waiting.keep(&mapping, &mut fold.store, id, touch);
        let column = view.record.patient;
        let table = column.join.map_or(view.record.table, |join| view.record.joins[join].table);
        let doubt = Doubt { reason: MISSING_PATIENT, detail: mapping.tables[table].id.to_string() };
        let item = quarantined(fold, id, &view, &doubt, None, touch);
        in_quarantine(fold, id, vec![item], outputs);
        fold.say(id, Some(Said::Waiting));
        return match said {
            Some(Said::Told { organisation, .. }) => Some(retraction(fold, patient, &organisation, id, touch)),
            Some(Said::Waiting) | None => None,
        };
    }
    let lacks = match &said {
        Some(Said::Told { incomplete: false, .. }) => None,
        _ => view.unresolved(|table| fold.reading.reads(table)).map(|join| mapping.tables[join.table].id.to_string()),
    };
    match &lacks {
        Some(_) => fold.waiting.keep(&mapping, &mut fold.store, id, touch),
        None => fold.waiting.forget(&mapping, &mut fold.store, id),
    }
    let incomplete = lacks.is_some();
    let draft = body::draft(&view, &fold.organisation);
    let (event, digest) = event(fold, patient, id, touch, draft, lacks);
    let doubts = view.doubts.borrow();
    let items = doubts.iter().map(|doubt| quarantined(fold, id, &view, doubt, Some(patient), touch)).collect();
    in_quarantine(fold, id, items, outputs);
    let action = match &said {
        Some(Said::Told { digest: before, .. }) if *before == digest => return None,
        // What it lacked has come: nobody corrected it.
        Some(Said::Told { incomplete: true, .. }) if !touch.own => Action::Recorded,
        Some(Said::Told { .. }) => Action::Corrected,
        Some(Said::Waiting) | None => Action::Recorded,
    };
    let organisation = Key::from(event.organisation.as_str());
    fold.say(id, Some(Said::Told { patient: patient.clone(), organisation, digest, incomplete }));
    Some(PatientEvent { action, ..event })
}

/// The event, and the digest of what it says apart from when and how it came about.
fn event<S>(
    fold: &Fold<S>,
    patient: &Key,
    id: &RecordId,
    touch: &Touch,
    draft: Draft,
    lacks: Option<String>,
) -> (PatientEvent, u128) {
    let mut event = PatientEvent {
        patient: SourcePatient { source: fold.source.clone(), id: patient.to_string() },
        organisation: draft.organisation,
        record: name::of(&fold.mapping, id),
        position: change::Position::START,
        revision: fold.mapping.revision,
        action: Action::Recorded,
        part: Part { index: 1, of: 1 },
        committed_at: 0,
        snapshot: false,
        entered_at: draft.entered_at,
        effective_at: draft.effective_at,
        body: draft.body,
        traceparent: None,
        generation: fold.generation,
        confidential: draft.confidential,
        reread: false,
        incomplete: lacks.map(|table| format!("join incomplete: {table}")),
        effective_precision: draft.effective_precision,
        reinterpreted: false,
        participants: draft.participants,
        location: draft.location,
        made_by: Some(made_by(&fold.mapping)),
    };
    let digest = digest(&event);
    place(&mut event, touch);
    (event, digest)
}

/// Of what the event says, whatever it came by.
pub fn digest(event: &PatientEvent) -> u128 {
    let mut form = Vec::new();
    event::canonical::write(event, &mut form);
    xxhash_rust::xxh3::xxh3_128(&form)
}

fn place(event: &mut PatientEvent, touch: &Touch) {
    event.position = touch.position;
    event.committed_at = touch.committed_at;
    event.snapshot = touch.snapshot;
    event.reread = touch.reread;
    event.traceparent = touch.traceparent.as_deref().map(str::to_owned);
}

fn retraction<S>(fold: &Fold<S>, patient: &Key, organisation: &Key, id: &RecordId, touch: &Touch) -> PatientEvent {
    let kind = fold.mapping.records[id.record].kind;
    let draft = Draft {
        organisation: organisation.to_string(),
        entered_at: None,
        effective_at: None,
        effective_precision: None,
        confidential: false,
        participants: Vec::new(),
        location: None,
        body: Body::Retracted(kind),
    };
    let (event, _) = event(fold, patient, id, touch, draft, None);
    PatientEvent { action: Action::Retracted, ..event }
}

/// Everything that is wrong with a record now.
fn in_quarantine<S: Store>(fold: &mut Fold<S>, id: &RecordId, items: Vec<Quarantined>, outputs: &mut Vec<Output>) {
    let told = fold.open.settle(&fold.mapping, &mut fold.store, &About::Record(id), items);
    outputs.extend(told.into_iter().map(|item| Output::Quarantined(Box::new(item))));
}

fn quarantined<S>(
    fold: &Fold<S>,
    id: &RecordId,
    view: &View<'_>,
    doubt: &Doubt,
    patient: Option<&Key>,
    touch: &Touch,
) -> Quarantined {
    let (source, Doubt { reason, detail }) = (&fold.source, doubt);
    Quarantined {
        source: source.clone(),
        position: Some(touch.position),
        stage: "normaliser".into(),
        reason: (*reason).into(),
        detail: detail.clone(),
        table: Some(view.mapping.tables[view.record.table].id.to_string()),
        key: None,
        topic: Some(format!("changes.{source}")),
        partition: Some(0),
        offset: Some(touch.offset),
        patient: patient.map(ToString::to_string),
        original: Some(view.original()),
        committed_at: Some(touch.committed_at),
        item: Some(open::name(source, &name::of(&fold.mapping, id), reason, detail)),
        closed: false,
        closes: None,
        closed_as: None,
    }
}
