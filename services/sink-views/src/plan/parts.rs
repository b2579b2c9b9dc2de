//! The parts of one transaction for one patient are applied together: an incomplete tail waits for the rest.

use super::{Incoming, Item, Topic};
use event::PatientEvent;
use std::collections::{BTreeMap, BTreeSet};

/// A tail that is longer is applied as far as it has come.
pub const HELD_ITEMS_MAX: usize = 10_000;

/// What can be applied now, and what waits for the rest of its transaction. Both keep the order of reading.
pub fn split(items: Vec<Incoming>) -> (Vec<Incoming>, Vec<Incoming>) {
    let held = held(&items);
    if held.is_empty() || held.len() > HELD_ITEMS_MAX {
        return (items, Vec::new());
    }
    let (mut ready, mut waiting) = (Vec::with_capacity(items.len()), Vec::with_capacity(held.len()));
    for (index, item) in items.into_iter().enumerate() {
        if held.contains(&index) { waiting.push(item) } else { ready.push(item) }
    }
    (ready, waiting)
}

/// The tail of a partition of events, read from its end.
enum Tail<'a> {
    /// Only messages without an event so far.
    Unknown(Vec<usize>),
    Within(&'a PatientEvent, Vec<usize>),
    Ended(Vec<usize>),
}

fn held(items: &[Incoming]) -> BTreeSet<usize> {
    let mut tails: BTreeMap<i32, Tail<'_>> = BTreeMap::new();
    let events = items.iter().enumerate().filter(|(_, incoming)| incoming.place.topic == Topic::Events);
    for (index, incoming) in events.rev() {
        let tail = tails.entry(incoming.place.partition).or_insert(Tail::Unknown(Vec::new()));
        *tail = match (std::mem::replace(tail, Tail::Ended(Vec::new())), &incoming.item) {
            (Tail::Unknown(mut with), Item::Event(event)) if event.part.index < event.part.of => {
                with.push(index);
                Tail::Within(event, with)
            }
            (Tail::Unknown(_), Item::Event(_)) => Tail::Ended(Vec::new()),
            (Tail::Unknown(mut with), _) => {
                with.push(index);
                Tail::Unknown(with)
            }
            (Tail::Within(last, mut with), Item::Event(event)) if same_transaction(last, event) => {
                with.push(index);
                Tail::Within(event, with)
            }
            (Tail::Within(_, with) | Tail::Ended(with), _) => Tail::Ended(with),
        };
    }
    let whole = |tail| match tail {
        Tail::Within(_, with) | Tail::Ended(with) => with,
        Tail::Unknown(_) => Vec::new(),
    };
    tails.into_values().flat_map(whole).collect()
}

/// The earlier of two neighbours belongs to the same telling of the same transaction.
fn same_transaction(later: &PatientEvent, earlier: &PatientEvent) -> bool {
    later.patient == earlier.patient
        && later.generation == earlier.generation
        && (later.position.epoch, later.position.commit) == (earlier.position.epoch, earlier.position.commit)
        && earlier.part.of == later.part.of
        && earlier.part.index < later.part.index
}
