//! From touched records to outputs: grouped by patient, compared with what was last said.

use super::{
    Due, Fold, Group, MISSING_PATIENT, Output, PARTS_MAX, SEEN_MAX, Seen, Task, Touch,
    body::{self, Draft},
    name,
    open::{self, About},
    store::{Key, RecordId, Said, Store, Told},
    view::{self, Doubt, View},
};
use change::Position;
use event::{Action, Body, Kind, Part, PatientEvent, Quarantined, SourcePatient};
use std::collections::BTreeMap;

/// Sorts the touched records into one group for each patient, in the order of their first touch.
pub fn group<S: Store>(fold: &mut Fold<S>) {
    if fold.touched.is_empty() {
        return;
    }
    let mut groups: BTreeMap<Key, Group> = BTreeMap::new();
    let held = fold.touched.len() <= SEEN_MAX;
    for (id, touch) in std::mem::take(&mut fold.touched) {
        let name = name::of(&fold.mapping, &id);
        let said = fold.store.said(&name);
        if touch.walked.is_some() && fold.is_settled(said.as_ref()) {
            continue;
        }
        let mut touch = fold.waiting.came(&fold.store, &name, touch, said.as_ref());
        let (now, seen) = match look(fold, &id, &name, &touch, said.as_ref()) {
            Look::Waits => {
                fold.waiting.wait(&mut fold.store, &name, touch, fold.clock);
                continue;
            }
            Look::Nobody => (None, Seen::Nothing),
            Look::Rows(patient, rows) => (patient, Seen::Rows(rows)),
        };
        if let Seen::Rows(rows) = &seen
            && touch.walked.is_some()
        {
            touch.walked_over(rows.stands, rows.latest);
        }
        let seen = if held { seen } else { Seen::Before };
        let told = match &said {
            Some(Said::Told(told)) => Some(told.clone()),
            Some(Said::Waiting) | None => None,
        };
        let nobody = || Key::from("");
        let mut due = Due { touch, name, said, task: Task::Tell(id, seen) };
        let home = match (now, told) {
            (Some(now), Some(before)) if *before.patient != *now => {
                fold.store.say(&due.name, None);
                due.said = None;
                groups.entry(before.patient.clone()).or_default().push(due.leave(&before));
                Key::from(now)
            }
            (Some(now), _) => Key::from(now),
            (None, Some(before)) => before.patient,
            (None, None) => nobody(),
        };
        groups.entry(home).or_default().push(due);
    }
    take_in(fold, groups);
}

/// Groups in the order of their first touch, and what is in them likewise.
pub fn take_in<S>(fold: &mut Fold<S>, groups: BTreeMap<Key, Group>) {
    let mut ordered: Vec<(Key, Group)> = groups.into_iter().collect();
    for (_, group) in &mut ordered {
        // What was touched at one place stays in the order of the mapping's records.
        group.sort_by_key(|due| due.touch.position);
    }
    ordered.sort_by(|(key_a, a), (key_b, b)| (a[0].touch.position, key_a).cmp(&(b[0].touch.position, key_b)));
    fold.groups.extend(ordered);
}

enum Look {
    /// It was never told, and what it is joined to is still being read.
    Waits,
    /// And the patient, if it says whose it is.
    Rows(Option<String>, view::Found),
    Nobody,
}

fn look<S: Store>(fold: &Fold<S>, id: &RecordId, name: &str, touch: &Touch, said: Option<&Said>) -> Look {
    let record = &fold.mapping.records[id.record];
    // What a walk has not looked at yet waits as if it had never been told.
    let told = fold.is_settled(said);
    let waits = |lacks| !told && fold.waiting.waits(&fold.store, name, touch, record, &fold.reading, lacks);
    let Some(view) = view::find(&fold.mapping, &fold.source, &fold.store, id) else {
        // Another row may make the record that was told before.
        let reads = touch.snapshot && fold.reading.reads_any(record);
        return if matches!(said, Some(Said::Told(_))) && !told && reads { Look::Waits } else { Look::Nobody };
    };
    if waits(view.unresolved(|table| fold.reading.reads(table)).is_some()) {
        return Look::Waits;
    }
    Look::Rows(view.patient(), view.found())
}

/// What has to be said of one patient's touched records.
pub fn tell<S: Store>(fold: &mut Fold<S>, patient: &Key, group: Group, outputs: &mut Vec<Output>) {
    let mut events = Vec::new();
    for Due { touch, name, said, task } in group {
        match task {
            Task::Leave { organisation, kind } => {
                events.push(retraction(fold, patient, &organisation, &name, kind, &touch));
            }
            Task::Tell(id, seen) => events.extend(settle(fold, patient, (&id, name, said), seen, &touch, outputs)),
        }
    }
    let transaction = |event: &PatientEvent| (event.position.epoch, event.position.commit);
    for whole in events.chunk_by_mut(|a, b| transaction(a) == transaction(b)) {
        for part in whole.chunks_mut(PARTS_MAX) {
            let of = u32::try_from(part.len()).unwrap_or(u32::MAX);
            for (event, index) in part.iter_mut().zip(1..) {
                event.part = Part { index, of };
            }
        }
    }
    outputs.extend(events.into_iter().map(|event| Output::Event(Box::new(event))));
}

fn settle<S: Store>(
    fold: &mut Fold<S>,
    patient: &Key,
    (id, name, said): (&RecordId, String, Option<Said>),
    seen: Seen,
    touch: &Touch,
    outputs: &mut Vec<Output>,
) -> Option<PatientEvent> {
    let mapping = fold.mapping.clone();
    let view = match seen {
        Seen::Before => view::find(&mapping, &fold.source, &fold.store, id),
        Seen::Nothing => None,
        Seen::Rows(rows) => Some(rows.view(&mapping, &fold.source, id.record)),
    };
    let Some(view) = view else {
        if said.is_some() {
            fold.store.say(&name, None);
        }
        fold.waiting.forget(&mut fold.store, &name);
        in_quarantine(fold, &name, Vec::new(), outputs);
        return taken_back(fold, patient, &name, said, touch);
    };
    if let Some(items) = untellable(fold, &name, &view, patient, touch) {
        match view.patient() {
            Some(_) => fold.waiting.forget(&mut fold.store, &name),
            None => fold.waiting.keep(&mut fold.store, &name, touch),
        }
        in_quarantine(fold, &name, items, outputs);
        fold.store.say(&name, Some(Said::Waiting));
        return taken_back(fold, patient, &name, said, touch);
    }
    let before = match said {
        Some(Said::Told(told)) => Some(told),
        Some(Said::Waiting) | None => None,
    };
    let walk = fold.walk_number();
    let lacks = match &before {
        Some(told) if !told.incomplete && told.walk == walk => None,
        _ => view.unresolved(|table| fold.reading.reads(table)).map(|join| mapping.tables[join.table].id.to_string()),
    };
    match &lacks {
        Some(_) => fold.waiting.keep(&mut fold.store, &name, touch),
        None => fold.waiting.forget(&mut fold.store, &name),
    }
    let incomplete = lacks.is_some();
    let draft = body::draft(&view, &fold.organisation);
    let mut event = event(fold, patient, &name, touch, draft, lacks);
    let digest = digest(&event);
    let doubts = view.doubts.borrow();
    let items = doubts.iter().map(|doubt| quarantined(fold, &name, &view, doubt, Some(patient), touch)).collect();
    in_quarantine(fold, &name, items, outputs);
    let same = before.as_ref().is_some_and(|told| told.digest == digest);
    let (generation, position) = match &before {
        // Nothing is told: it stands where it was told.
        Some(told) if same => (told.generation, told.position),
        _ => (fold.generation, touch.position),
    };
    event.action = match &before {
        Some(told) if told.incomplete && !touch.own => Action::Recorded,
        Some(_) => Action::Corrected,
        None => Action::Recorded,
    };
    // Its rows were touched before what was told of it.
    let touched_after = |latest: Position| before.as_ref().is_none_or(|told| latest > told.position.max(fold.since()));
    event.reinterpreted = touch.walked.is_some_and(|latest| !touched_after(latest));
    if !same || before.is_some_and(|told| told.walk != walk) {
        let (patient, organisation) = (patient.clone(), Key::from(event.organisation.as_str()));
        let kind = event.body.kind() as u8;
        let told = Told { patient, organisation, kind, digest, incomplete, generation, position, walk };
        fold.store.say(&name, Some(Said::Told(told)));
    }
    (!same).then_some(event)
}

/// Why a record is not told: nobody knows whose it is, or whether there is one. It is, once its rows are mended.
fn untellable<S>(
    fold: &Fold<S>,
    name: &str,
    view: &View<'_>,
    patient: &Key,
    touch: &Touch,
) -> Option<Vec<Quarantined>> {
    if view.patient().is_none() {
        let column = view.record.patient;
        let table = column.join.map_or(view.record.table, |join| view.record.joins[join].table);
        let doubt = Doubt { reason: MISSING_PATIENT, detail: view.mapping.tables[table].id.to_string() };
        return Some(vec![quarantined(fold, name, view, &doubt, None, touch)]);
    }
    let doubts = view.doubts.borrow();
    let items = || doubts.iter().map(|doubt| quarantined(fold, name, view, doubt, Some(patient), touch)).collect();
    view.unjudged().then(items)
}

/// What was told of the record is taken back.
fn taken_back<S>(fold: &Fold<S>, patient: &Key, name: &str, said: Option<Said>, touch: &Touch) -> Option<PatientEvent> {
    match said {
        Some(Said::Told(told)) => Some(retraction(fold, patient, &told.organisation, name, told.kind, touch)),
        Some(Said::Waiting) | None => None,
    }
}

pub fn event<S>(
    fold: &Fold<S>,
    patient: &Key,
    name: &str,
    touch: &Touch,
    draft: Draft,
    lacks: Option<String>,
) -> PatientEvent {
    PatientEvent {
        patient: SourcePatient { source: fold.source.clone(), id: patient.to_string() },
        organisation: draft.organisation,
        record: name.to_owned(),
        position: touch.position,
        revision: fold.mapping.revision,
        action: Action::Recorded,
        part: Part { index: 1, of: 1 },
        committed_at: touch.committed_at,
        snapshot: touch.snapshot,
        entered_at: draft.entered_at,
        effective_at: draft.effective_at,
        body: draft.body,
        traceparent: touch.traceparent.as_deref().map(str::to_owned),
        generation: fold.generation,
        confidential: draft.confidential,
        reread: touch.reread,
        incomplete: lacks.map(|table| format!("join incomplete: {table}")),
        effective_precision: draft.effective_precision,
        reinterpreted: false,
        participants: draft.participants,
        location: draft.location,
        made_by: Some(fold.made_by.clone()),
    }
}

/// Of what the event says, whatever it came by.
pub fn digest(event: &PatientEvent) -> u128 {
    let mut form = Vec::with_capacity(256);
    event::canonical::write(event, &mut form);
    xxhash_rust::xxh3::xxh3_128(&form)
}

fn retraction<S>(
    fold: &Fold<S>,
    patient: &Key,
    organisation: &Key,
    name: &str,
    kind: u8,
    touch: &Touch,
) -> PatientEvent {
    let kind = Kind::ALL.get(usize::from(kind)).copied().unwrap_or(Kind::Observation);
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
    PatientEvent { action: Action::Retracted, ..event(fold, patient, name, touch, draft, None) }
}

/// Everything that is wrong with a record now.
pub fn in_quarantine<S: Store>(fold: &mut Fold<S>, name: &str, items: Vec<Quarantined>, outputs: &mut Vec<Output>) {
    let told = fold.open.settle(&mut fold.store, &About::Record(name), items);
    outputs.extend(told.into_iter().map(|item| Output::Quarantined(Box::new(item))));
}

fn quarantined<S>(
    fold: &Fold<S>,
    name: &str,
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
        item: Some(open::name(source, name, reason, detail)),
        closed: false,
        closes: None,
        closed_as: None,
    }
}
