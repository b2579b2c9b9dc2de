//! Whether `patient.events` tells each patient's events in order and whole: positions only grow, and the events that one
//! transaction makes for one patient stand together, 1 to n.
//!
//! # Why
//! A new generation tells a source anew, so positions may start again when the generation grows. An exact
//! repeat of an event's id is a duplicate, not disorder.

use crate::topic::{self, decode, header, unframe};
use anyhow::Context;
use apache_avro::{Schema, types::Value};
use rdkafka::Message;
use std::collections::{HashMap, HashSet};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ordering {
    pub events: u64,
    pub duplicated: u64,
    pub reordered: u64,
    /// Source, position and what was wrong there; never a patient.
    pub first: Option<String>,
}

impl Ordering {
    pub const fn kept(&self) -> bool {
        self.duplicated + self.reordered == 0
    }
}

/// Reads the topic from its start to where it ends now.
pub async fn read(brokers: &str, topic: &str) -> anyhow::Result<Ordering> {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    let text = std::fs::read_to_string(stack::repository().join("schemas/patient_event.avsc"))?;
    tokio::task::spawn_blocking(move || {
        let schema = Schema::parse_str(&text)?;
        let mut order = Order::default();
        let mut owners: HashMap<(i32, String), u32> = HashMap::new();
        topic::read(&brokers, &topic, |message| {
            if void(&mut owners, header(message, "causeway-owner"), message.partition(), message.payload().is_none()) {
                return Ok(());
            }
            let at = || format!("offset {} of partition {} of {topic}", message.offset(), message.partition());
            let (_, datum) = message.payload().and_then(unframe).with_context(|| format!("{} is not framed", at()))?;
            let value = decode(&schema, datum).with_context(at)?;
            let told = Told::of(&value).with_context(|| format!("{} is no patient event", at()))?;
            let id = header(message, "ce_id").with_context(|| format!("{} has no id", at()))?;
            order.take(id, &told);
            Ok(())
        })?;
        Ok(order.found)
    })
    .await?
}

/// What readers pass over, where several processes work for a source: an owner's first record, and what an older owner wrote
/// behind it.
pub fn void(
    owners: &mut HashMap<(i32, String), u32>,
    owner: Option<&str>,
    partition: i32,
    without_value: bool,
) -> bool {
    let owner = owner.and_then(|text| text.rsplit_once('/'));
    let Some((source, Ok(epoch))) = owner.map(|(source, epoch)| (source, epoch.parse::<u32>())) else { return false };
    let newest = owners.entry((partition, source.to_owned())).or_insert(epoch);
    *newest = (*newest).max(epoch);
    epoch < *newest || without_value
}

/// What an event says of its place.
#[derive(Clone)]
struct Told {
    source: String,
    patient: String,
    position: String,
    generation: i64,
    index: i32,
    of: i32,
}

impl Told {
    fn of(value: &Value) -> Option<Self> {
        let Value::Record(fields) = value else { return None };
        let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value);
        let text = |name| if let Value::String(text) = field(name)? { Some(text.clone()) } else { None };
        let number = |name| if let Value::Int(number) = field(name)? { Some(*number) } else { None };
        let generation = if let Value::Long(generation) = field("generation")? { *generation } else { return None };
        Some(Self {
            source: text("source")?,
            patient: text("patient")?,
            position: text("position")?,
            generation,
            index: number("part_index")?,
            of: number("part_of")?,
        })
    }

    /// Epoch and commit, without the ordinal.
    fn transaction(&self) -> &str {
        self.position.rsplit_once('.').map_or("", |(transaction, _)| transaction)
    }
}

#[derive(Default)]
struct Order {
    seen: HashSet<String>,
    last: HashMap<(String, String), Told>,
    found: Ordering,
}

impl Order {
    fn take(&mut self, id: &str, told: &Told) {
        self.found.events += 1;
        let wrong = if self.seen.insert(id.to_owned()) {
            let last = self.last.get(&(told.source.clone(), told.patient.clone()));
            let wrong = disorder(last, told);
            self.found.reordered += u64::from(wrong.is_some());
            wrong
        } else {
            self.found.duplicated += 1;
            Some("told twice")
        };
        if let Some(wrong) = wrong {
            self.found.first.get_or_insert_with(|| format!("{wrong}: {} at {}", told.source, told.position));
        }
        if wrong != Some("told twice") {
            self.last.insert((told.source.clone(), told.patient.clone()), told.clone());
        }
    }
}

fn disorder(last: Option<&Told>, next: &Told) -> Option<&'static str> {
    if next.index < 1 || next.index > next.of {
        return Some("a part outside of its whole");
    }
    let Some(last) = last else { return (next.index != 1).then_some("a whole without its beginning") };
    if next.generation > last.generation {
        return (next.index != 1).then_some("a whole without its beginning");
    }
    if (next.generation, &next.position) < (last.generation, &last.position) {
        return Some("after a later one");
    }
    if last.index < last.of {
        let follows = next.index == last.index + 1 && next.of == last.of && next.transaction() == last.transaction();
        return (!follows).then_some("a whole torn apart");
    }
    (next.index != 1).then_some("a whole without its beginning")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `patient@commit.ordinal part/of`, and the same line twice is the same event.
    #[track_caller]
    fn check(lines: &[&str], want: (u64, u64)) {
        let mut order = Order::default();
        for line in lines {
            let (patient, rest) = line.split_once('@').unwrap();
            let (position, part) = rest.split_once(' ').unwrap();
            let (index, of) = part.split_once('/').unwrap();
            let (of, generation) = of.split_once('g').unwrap_or((of, "1"));
            let told = Told {
                source: "riverside".into(),
                patient: patient.into(),
                position: position.into(),
                generation: generation.parse().unwrap(),
                index: index.parse().unwrap(),
                of: of.parse().unwrap(),
            };
            order.take(line, &told);
        }
        let found = order.found;
        assert_eq!((found.duplicated, found.reordered), want, "{:?}", found.first);
        assert_eq!(found.kept(), found.first.is_none());
        assert_eq!(found.events, lines.len() as u64);
    }

    #[test]
    fn order_is_kept_per_patient() {
        check(&["a@1.1 1/1", "b@1.2 1/2", "a@2.1 1/2", "b@1.3 2/2", "a@2.2 2/2"], (0, 0));
        check(&["a@2.1 1/1", "a@1.1 1/1"], (0, 1));
        check(&["a@2.1 1/1", "b@1.1 1/1"], (0, 0));
    }

    #[test]
    fn a_repeat_is_a_duplicate_and_not_disorder() {
        check(&["a@1.1 1/1", "a@2.1 1/1", "a@1.1 1/1", "a@3.1 1/1"], (1, 0));
    }

    #[test]
    fn parts_stand_together_and_are_whole() {
        check(&["a@1.1 1/2", "a@2.1 1/1"], (0, 1));
        check(&["a@1.1 2/2"], (0, 1));
        check(&["a@1.1 1/3", "a@1.2 3/3"], (0, 1));
        check(&["a@1.1 1/2", "a@2.2 2/2"], (0, 1));
        check(&["a@1.1 3/2"], (0, 1));
    }

    #[test]
    fn what_an_older_owner_wrote_behind_a_newer_ones_first_is_void() {
        let mut owners = HashMap::new();
        let mut is_void = |owner, partition, first| void(&mut owners, owner, partition, first);
        assert!(is_void(Some("gp/1"), 0, true) && !is_void(Some("gp/1"), 0, false));
        assert!(is_void(Some("gp/2"), 0, true) && is_void(Some("gp/1"), 0, false));
        assert!(!is_void(Some("gp/1"), 1, false) && !is_void(Some("pas/1"), 0, false) && !is_void(None, 0, false));
    }

    #[test]
    fn a_new_generation_tells_the_source_anew() {
        check(&["a@1.1 1/1", "a@2.1 1/1", "a@1.1 1/1g2", "a@2.1 1/1g2"], (0, 0));
        check(&["a@2.1 1/1g2", "a@1.1 1/1g1"], (0, 1));
        check(&["a@1.1 1/1g2", "a@2.1 1/1g1"], (0, 1));
    }
}
