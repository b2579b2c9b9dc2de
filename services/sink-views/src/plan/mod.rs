//! From what a batch holds to the rows that each table takes.
//!
//! Several events of one record collapse to the last by its place. A result's version is kept right
//! through the collapse: it is the place since which the clinical content is what it is.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod columns;
pub mod digest;
pub mod more;
pub mod parts;
pub mod rows;

use digest::Digest;
use event::{Kind, Link, Micros, PatientEvent, Quarantined};
use std::collections::BTreeMap;

/// Which of the sinks' topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    Events,
    Links,
    Quarantine,
}

impl Topic {
    pub const ALL: [Self; 3] = [Self::Events, Self::Links, Self::Quarantine];

    /// Without the region's prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "patient.events",
            Self::Links => "person.links",
            Self::Quarantine => "quarantine",
        }
    }
}

/// Where a message was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub topic: Topic,
    pub partition: i32,
    pub offset: i64,
}

#[derive(Clone, Debug)]
pub struct Incoming {
    pub place: Place,
    pub item: Item,
}

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all items of a batch are events")]
pub enum Item {
    Event(PatientEvent),
    Link(Link),
    Quarantined(Quarantined),
    /// Nothing to apply: quarantined already, or a deletion of a compacted topic. It moves the offset.
    Passed,
}

/// A result, with what its version is if it is applied.
#[derive(Clone, Debug)]
pub struct ObservationRow {
    pub event: PatientEvent,
    pub digest: Digest,
    /// The first place of the batch since which the digest is what it is.
    pub since: event::Place,
    /// The digest is the same in all of the batch: an equal digest in the table keeps its version.
    pub unbroken: bool,
}

/// The rows of one batch, each record once, in key order.
#[derive(Debug, Default)]
pub struct Plan {
    pub demographics: Vec<PatientEvent>,
    pub observations: Vec<ObservationRow>,
    pub medications: Vec<PatientEvent>,
    pub allergies: Vec<PatientEvent>,
    pub conditions: Vec<PatientEvent>,
    pub encounters: Vec<PatientEvent>,
    /// Of every kind that has no table of its own.
    pub entries: Vec<PatientEvent>,
    pub links: Vec<Link>,
    pub quarantined: Vec<(Place, Quarantined)>,
    /// How far each source has come.
    pub freshness: BTreeMap<String, (event::Place, Micros)>,
    /// The offset to go on from, of each partition.
    pub next: BTreeMap<(Topic, i32), i64>,
    /// The events that went in, before the collapse.
    pub events: usize,
}

impl Plan {
    pub fn of(items: impl IntoIterator<Item = Incoming>) -> Self {
        let mut plan = Self::default();
        let mut events = Vec::new();
        let mut links: BTreeMap<(String, String), Link> = BTreeMap::new();
        for Incoming { place, item } in items {
            let next = plan.next.entry((place.topic, place.partition)).or_default();
            *next = (*next).max(place.offset + 1);
            match item {
                Item::Event(event) => events.push(event),
                Item::Link(link) => {
                    let key = (link.patient.source.clone(), link.patient.id.clone());
                    let newer = links.get(&key).is_none_or(|known| known.version < link.version);
                    if newer {
                        links.insert(key, link);
                    }
                }
                Item::Quarantined(item) => plan.quarantined.push((place, item)),
                Item::Passed => {}
            }
        }
        plan.links = links.into_values().collect();
        plan.events = events.len();
        for event in &events {
            let reached = (event.place(), event.committed_at);
            let furthest = plan.freshness.entry(event.patient.source.clone()).or_insert(reached);
            *furthest = (*furthest).max(reached);
        }
        plan.take(events);
        plan
    }

    /// Key order keeps two writers from waiting for each other in a ring.
    fn take(&mut self, mut events: Vec<PatientEvent>) {
        events.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| order(a).cmp(&order(b))));
        let mut events = events.into_iter().peekable();
        while let Some(first) = events.next() {
            let mut row = ObservationRow::first(first);
            while let Some(next) = events.next_if(|next| key(next) == key(&row.event)) {
                row.follow(next);
            }
            self.put(row);
        }
    }

    fn put(&mut self, row: ObservationRow) {
        match row.event.body.kind() {
            Kind::Demographics => self.demographics.push(row.event),
            Kind::Observation => self.observations.push(row),
            Kind::Medication => self.medications.push(row.event),
            Kind::Allergy => self.allergies.push(row.event),
            Kind::Condition => self.conditions.push(row.event),
            Kind::Encounter => self.encounters.push(row.event),
            _ => self.entries.push(row.event),
        }
    }
}

impl ObservationRow {
    fn first(event: PatientEvent) -> Self {
        Self { digest: digest::of(&event), since: event.place(), unbroken: true, event }
    }

    /// The event that follows this one, of the same record.
    fn follow(&mut self, next: PatientEvent) {
        let digest = digest::of(&next);
        if digest != self.digest {
            (self.digest, self.since, self.unbroken) = (digest, next.place(), false);
        }
        self.event = next;
    }
}

/// What the table holds one row of. A patient has one row of demographics, whichever record tells them.
fn key(event: &PatientEvent) -> (Kind, &str, &str, &str) {
    let kind = event.body.kind();
    let record = if kind == Kind::Demographics { "" } else { event.record.as_str() };
    (kind, &event.patient.source, &event.patient.id, record)
}

/// The revision orders only what generation 0 told: in any other there is one.
fn order(event: &PatientEvent) -> (event::Place, u32) {
    (event.place(), event.revision)
}
