//! The topics that are written to: made at first sight, with their schemas under the subjects that consumers look for.

use crate::{
    error::TopicsError,
    name::topic_of,
    settings::Settings,
    tails::{State, TOPICS_MAX, Tail, Tails},
    waiting::{WaitingTables, name_of, table_of},
};
use change::{
    Entry, Position, TableId,
    avro::{EnvelopePlan, TABLE_PROPERTY},
};
use change_log::{
    KafkaSettings, Kept, Registry, RegistryError, TopicSpec, control::EXACT_KEY, frame, signal::waiting as notes,
    topics,
};
use rdkafka::{Message, message::OwnedMessage};
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

/// Schemas seen on topics; beyond it the registry is asked again.
const SCHEMAS_MAX: usize = 50_000;

pub(crate) struct Topics<'a> {
    settings: &'a Settings,
    /// Topics on which Kafka refused a record without a key.
    keyless_refused: &'a Mutex<HashSet<String>>,
    kafka: &'a KafkaSettings,
    registry: &'a Registry,
    tails: Tails,
    known: HashMap<Option<TableId>, Topic>,
    registered: HashSet<(String, u32)>,
}

pub(crate) struct Topic {
    pub(crate) name: String,
    /// What it held at the start.
    tail: Option<Tail>,
}

impl Topic {
    /// Whether the record is not in the topic yet. A tombstone follows its deletion at the same position.
    pub(crate) fn takes(&self, position: Position, tombstone: bool) -> bool {
        self.tail.is_none_or(|tail| (position, tombstone) > (tail.position, tail.tombstone))
    }
}

impl<'a> Topics<'a> {
    pub(crate) fn new(
        settings: &'a Settings,
        kafka: &'a KafkaSettings,
        registry: &'a Registry,
        keyless_refused: &'a Mutex<HashSet<String>>,
        tails: Tails,
    ) -> Self {
        Self { settings, kafka, registry, keyless_refused, tails, known: HashMap::new(), registered: HashSet::new() }
    }

    /// Whether the table has no topic.
    pub(crate) fn leaves_out(&self, table: Option<&TableId>) -> bool {
        !self.settings.without.is_empty() && self.settings.without.contains(&name_of(table))
    }

    pub(crate) fn name_of(&self, table: Option<&TableId>) -> String {
        topic_of(&self.kafka.topic_prefix, &self.settings.source, table)
    }

    /// The log does not hold any more what the table waits with. Of one without a topic nothing is missing.
    pub(crate) fn lose(&self, waiting: &WaitingTables, note: &notes::Waiting) {
        let table = table_of(note);
        if !self.leaves_out(table.as_ref()) {
            waiting.lose(&self.settings.source, note, self.name_of(table.as_ref()));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// The topic of an entry, there and with the entry's schemas registered.
    pub(crate) async fn of(&mut self, entry: &Entry, message: &OwnedMessage) -> Result<&Topic, TopicsError> {
        let table = entry.table.as_ref().map(|schema| schema.table.clone());
        if !self.known.contains_key(&table) {
            let topic = self.open(table.as_ref()).await?;
            self.known.insert(table.clone(), topic);
        }
        let has_key = message.key().is_some_and(|key| frame::unwrap(key).is_ok());
        if !has_key {
            self.takes_without_key(&self.known[&table].name)?;
        }
        for (part, bytes) in [("key", message.key()), ("value", message.payload())] {
            let Some(Ok((id, _))) = bytes.map(frame::unwrap) else { continue };
            let subject = format!("{}-{part}", self.known[&table].name);
            if !self.registered.contains(&(subject.clone(), id)) {
                self.register(&subject, id).await?;
                if self.registered.len() >= SCHEMAS_MAX {
                    self.registered.clear();
                }
                self.registered.insert((subject, id));
            }
        }
        Ok(&self.known[&table])
    }

    /// The log's schema under the topic's subject.
    async fn register(&self, subject: &str, id: u32) -> Result<(), TopicsError> {
        // Keys that a table's own schema has no room for share a schema, which is no version of the table's.
        if id == self.registry.register(EXACT_KEY.name, EXACT_KEY.text).await? {
            return Ok(());
        }
        let schema = self.registry.schema(id).await?;
        match self.registry.register(subject, &schema).await {
            // What stands in the log under it has been accepted: the topic follows.
            Err(RegistryError::Incompatible { .. }) => {
                if let Some((latest, _)) = self.registry.latest(subject).await? {
                    self.registry.accept(subject, latest);
                }
                self.registry.register_next(subject, &schema).await?;
            }
            registered => drop(registered?),
        }
        Ok(())
    }

    fn takes_without_key(&self, topic: &str) -> Result<(), TopicsError> {
        if self.tails.states.get(topic).is_some_and(|state| state.compacted) {
            return Err(TopicsError::Compacted { topic: topic.to_owned() });
        }
        if self.keyless_refused.lock().unwrap_or_else(PoisonError::into_inner).contains(topic) {
            return Err(TopicsError::Keyless { topic: topic.to_owned() });
        }
        Ok(())
    }

    /// Of whose table the schema is, if it says so: Debezium's does not.
    fn owner(schema: &str) -> Option<TableId> {
        let says = schema.contains(&format!("\"{TABLE_PROPERTY}\""));
        let plan = says.then(|| EnvelopePlan::compile(schema).ok()).flatten()?;
        plan.table().map(|table| table.table.clone())
    }

    /// Two names can become one: a topic is that of the table whose shape was registered for it, unless that has none.
    async fn is_free_for(&self, topic: &str, table: &TableId) -> Result<(), TopicsError> {
        let Some((_, schema)) = self.registry.latest(&format!("{topic}-value")).await? else { return Ok(()) };
        match Self::owner(&schema) {
            Some(owner) if owner != *table && !self.leaves_out(Some(&owner)) => {
                Err(TopicsError::Shared { topic: topic.to_owned(), other: owner.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// What the topic holds of this table: the last record can be of another that had the topic before.
    async fn tail_of(&self, topic: &str, table: Option<&TableId>) -> Result<Option<Tail>, TopicsError> {
        let Some(tail) = self.tails.tails.get(topic).copied() else { return Ok(None) };
        let (Some(table), Some(id)) = (table, tail.schema) else { return Ok(Some(tail)) };
        let schema = match self.registry.schema(id).await {
            Ok(schema) => schema,
            Err(RegistryError::UnknownId { .. }) => return Ok(Some(tail)),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(tail).filter(|_| Self::owner(&schema).is_none_or(|owner| owner == *table)))
    }

    async fn open(&self, table: Option<&TableId>) -> Result<Topic, TopicsError> {
        if self.known.len() >= TOPICS_MAX {
            return Err(TopicsError::TooMany { max: TOPICS_MAX });
        }
        let full = self.name_of(table);
        if let Some((other, _)) = self.known.iter().find(|(_, topic)| topic.name == full) {
            return Err(TopicsError::Shared { topic: full, other: name_of(other.as_ref()) });
        }
        if let Some(table) = table {
            self.is_free_for(&full, table).await?;
        }
        match self.tails.states.get(&full) {
            Some(State { partitions: 1, .. }) => {}
            Some(State { partitions, .. }) => {
                return Err(TopicsError::Partitions { topic: full, partitions: *partitions });
            }
            None => {
                let own = full.strip_prefix(&self.kafka.topic_prefix).unwrap_or(&full);
                let spec = TopicSpec::new(own, 1, Kept::For(topics::CHANGES_KEPT));
                topics::ensure(self.kafka, &[spec]).await?;
            }
        }
        let tail = self.tail_of(&full, table).await?;
        Ok(Topic { name: full, tail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use change::Lsn;

    #[test]
    fn a_topic_takes_what_it_does_not_hold() {
        let at = |ordinal| Position::new(1, Lsn(9), ordinal);
        let topic = |tombstone| Topic {
            name: "t".into(),
            tail: Some(Tail { position: at(5), tombstone, settled: 3, schema: None }),
        };
        assert!(!topic(false).takes(at(4), true) && !topic(false).takes(at(5), false));
        assert!(topic(false).takes(at(5), true), "the deletion is there, its tombstone is not");
        assert!(!topic(true).takes(at(5), true) && topic(true).takes(at(6), false));
        assert!(Topic { name: "new".into(), tail: None }.takes(at(1), false));
    }
}
