//! The topics that are written to: made at first sight, with their schemas under the subjects that consumers look for.

use crate::{
    error::TopicsError,
    name::topic_of,
    tails::{TOPICS_MAX, Tail, Tails},
};
use change::{Entry, Position, TableId};
use change_log::{KafkaSettings, Kept, Registry, RegistryError, TopicSpec, control::EXACT_KEY, frame, topics};
use rdkafka::{Message, message::OwnedMessage};
use std::collections::{HashMap, HashSet};

/// Schemas seen on topics; beyond it the registry is asked again.
const SCHEMAS_MAX: usize = 50_000;

pub(crate) struct Topics<'a> {
    source: &'a str,
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
    pub(crate) fn new(source: &'a str, kafka: &'a KafkaSettings, registry: &'a Registry, tails: Tails) -> Self {
        Self { source, kafka, registry, tails, known: HashMap::new(), registered: HashSet::new() }
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

    async fn open(&self, table: Option<&TableId>) -> Result<Topic, TopicsError> {
        if self.known.len() >= TOPICS_MAX {
            return Err(TopicsError::TooMany { max: TOPICS_MAX });
        }
        let full = topic_of(&self.kafka.topic_prefix, self.source, table);
        if let Some((other, _)) = self.known.iter().find(|(_, topic)| topic.name == full) {
            let name = |table: Option<&TableId>| table.map_or_else(|| "message".to_owned(), TableId::to_string);
            return Err(TopicsError::Shared { topic: full, one: name(table), other: name(other.as_ref()) });
        }
        match self.tails.partitions.get(&full) {
            Some(1) => {}
            Some(partitions) => return Err(TopicsError::Partitions { topic: full, partitions: *partitions }),
            None => {
                let own = full.strip_prefix(&self.kafka.topic_prefix).unwrap_or(&full);
                let spec = TopicSpec::new(own, 1, Kept::For(topics::CHANGES_KEPT));
                topics::ensure(self.kafka, &[spec]).await?;
            }
        }
        let tail = self.tails.tails.get(&full).copied();
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
        let topic = |tombstone| Topic { name: "t".into(), tail: Some(Tail { position: at(5), tombstone, settled: 3 }) };
        assert!(!topic(false).takes(at(4), true) && !topic(false).takes(at(5), false));
        assert!(topic(false).takes(at(5), true), "the deletion is there, its tombstone is not");
        assert!(!topic(true).takes(at(5), true) && topic(true).takes(at(6), false));
        assert!(Topic { name: "new".into(), tail: None }.takes(at(1), false));
    }
}
