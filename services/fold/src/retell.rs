//! What a new generation tells: how things stand, not how they came to be so.
//!
//! # Why
//! A generation folds the log from its start. Told on the way, records would pass through their past: an old potassium of
//! 8.9 that was corrected to 4.8 would be shown, and alerted, again. So the log is first folded up to where it ended when
//! the generation was fixed, quietly. Of each record the last event is kept, at its place; then those are told of which
//! the generations before told something else (or nothing), and what they told of that is no more is taken back. From
//! there on the generation is live.
//!
//! What was told is read from `patient.events` itself. It holds whatever sinks hold, also of a log that was lost, of
//! which nothing is remembered here, and of a mapping that made other records: both are taken back as soon as a snapshot
//! has shown the table whole. And an upgrade that changes no meaning tells nothing.
//!
//! All of it follows from the log up to that end and from what earlier generations told. So a run that was killed in the
//! midst of telling is repeated by the next one, with the same ids.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::{PARTS_MAX, Stands, digest};
use change::Position;
use event::{Action, Body, Kind, MadeBy, Micros, Part, PatientEvent, Place, Quarantined, SourcePatient};
use std::collections::BTreeMap;

/// Patient and record.
type Key = (String, String);

/// The quiet stretch: the last event of each patient's records, and what is in quarantine at its end.
#[derive(Debug, Default)]
pub struct Stretch {
    events: BTreeMap<Key, PatientEvent>,
    /// By name.
    items: BTreeMap<String, Quarantined>,
}

/// What earlier generations told last of each patient's records.
#[derive(Debug, Default)]
pub struct Held(BTreeMap<Key, Last>);

#[derive(Debug)]
struct Last {
    place: (Place, u32),
    kind: Kind,
    organisation: String,
    digest: u128,
    retracted: bool,
}

/// Where what is gone is taken back, and by what.
#[derive(Clone, Debug)]
pub struct At {
    pub generation: u32,
    pub revision: u32,
    pub position: Position,
    pub committed_at: Micros,
    pub made_by: MadeBy,
}

fn key(event: &PatientEvent) -> Key {
    (event.patient.id.clone(), event.record.clone())
}

impl Stretch {
    pub fn take(&mut self, event: PatientEvent) {
        self.events.insert(key(&event), event);
    }

    pub fn take_item(&mut self, item: Quarantined) {
        if item.closed {
            self.items.remove(&item.name());
        } else {
            self.items.insert(item.name(), item);
        }
    }

    /// What is in quarantine by now.
    pub fn items(&mut self) -> Vec<Quarantined> {
        std::mem::take(&mut self.items).into_values().collect()
    }

    /// The events that differ from what is held, each patient's together and in the order of their places.
    pub fn told(self, held: &Held) -> Vec<PatientEvent> {
        let differs = |(key, mut event): (Key, PatientEvent)| {
            let known = held.0.get(&key).filter(|known| !known.retracted);
            // Its source has not touched it since: what differs is how it is understood.
            event.reinterpreted = known.is_some_and(|known| event.position <= known.place.0.position);
            let same = match known {
                Some(known) => known.digest == digest(&event),
                None => event.action == Action::Retracted,
            };
            (!same).then_some(event)
        };
        in_parts(self.events.into_iter().filter_map(differs).collect())
    }
}

impl Held {
    /// In any order, and as often as it was told.
    pub fn take(&mut self, event: &PatientEvent) {
        let place = (event.place(), event.revision);
        let known = self.0.entry(key(event));
        let last = || Last {
            place,
            kind: event.body.kind(),
            organisation: event.organisation.clone(),
            digest: digest(event),
            retracted: event.action == Action::Retracted,
        };
        match known {
            std::collections::btree_map::Entry::Vacant(free) => drop(free.insert(last())),
            std::collections::btree_map::Entry::Occupied(mut known) if known.get().place < place => {
                known.insert(last());
            }
            std::collections::btree_map::Entry::Occupied(_) => {}
        }
    }

    /// Is there a record that stands so?
    pub fn any(&self, so: impl Fn(&str, &str) -> bool) -> bool {
        self.0.iter().any(|((patient, record), last)| !last.retracted && so(patient, record))
    }

    /// Takes back what is no more.
    pub fn gone(&self, source: &str, at: &At, stands: impl Fn(&str, &str) -> Stands) -> Vec<PatientEvent> {
        let live = self.0.iter().filter(|(_, last)| !last.retracted);
        let gone = live.filter(|((patient, record), _)| stands(patient, record) == Stands::Gone);
        let retraction = |((patient, record), last): (&Key, &Last)| PatientEvent {
            patient: SourcePatient { source: source.to_owned(), id: patient.clone() },
            organisation: last.organisation.clone(),
            record: record.clone(),
            position: at.position,
            revision: at.revision,
            action: Action::Retracted,
            part: Part { index: 1, of: 1 },
            committed_at: at.committed_at,
            snapshot: true,
            entered_at: None,
            effective_at: None,
            body: Body::Retracted(last.kind),
            traceparent: None,
            generation: at.generation,
            confidential: false,
            reread: false,
            incomplete: None,
            effective_precision: None,
            reinterpreted: false,
            participants: Vec::new(),
            location: None,
            made_by: Some(at.made_by.clone()),
        };
        in_parts(gone.map(retraction).collect())
    }
}

/// Sorted, and numbered as the parts of their transactions.
fn in_parts(mut events: Vec<PatientEvent>) -> Vec<PatientEvent> {
    let order = |event: &PatientEvent| (event.patient.id.clone(), event.position, event.record.clone());
    events.sort_by_cached_key(order);
    let transaction = |event: &PatientEvent| (event.patient.id.clone(), event.position.epoch, event.position.commit);
    for whole in events.chunk_by_mut(|a, b| transaction(a) == transaction(b)) {
        for part in whole.chunks_mut(PARTS_MAX) {
            let of = u32::try_from(part.len()).unwrap_or(u32::MAX);
            for (event, index) in part.iter_mut().zip(1..) {
                event.part = Part { index, of };
            }
        }
    }
    events
}
