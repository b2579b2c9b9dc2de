//! Reading `changes.<source>` with the bytes of each record beside what it says, for whoever passes them on.

use crate::reader::{Item, LogPoint, LogReader, ReadError};
use boot::health::Part;
use change::{Batch, avro::EnvelopePlan};
use rdkafka::message::OwnedMessage;
use std::sync::Arc;

/// One record: what it says, its bytes, and how its schema is read.
#[derive(Debug)]
pub struct Whole {
    pub item: Item,
    pub message: OwnedMessage,
    /// None of control records, and of what cannot be read.
    pub plan: Option<Arc<EnvelopePlan>>,
}

/// A [`LogReader`] that keeps the messages.
#[derive(Debug)]
pub struct WholeReader {
    reader: LogReader,
}

impl WholeReader {
    pub fn new(mut reader: LogReader) -> Self {
        reader.messages = Some(Vec::new());
        Self { reader }
    }

    /// As [`LogReader::tell`].
    pub fn tell(&mut self, part: &Part) {
        self.reader.tell(part);
    }

    /// As [`LogReader::read`].
    pub async fn read(&mut self) -> Result<Batch<Whole, LogPoint>, ReadError> {
        let batch = self.reader.read().await?;
        let messages = self.reader.messages.replace(Vec::new()).unwrap_or_default();
        let whole = batch.items.into_iter().zip(messages).map(|(item, message)| {
            let plan = match &item {
                Item::Entry(_) => self.reader.plan_of(&message).cloned(),
                Item::Control(_) | Item::Rejected(_) => None,
            };
            Whole { item, message, plan }
        });
        Ok(Batch { items: whole.collect(), upto: batch.upto })
    }
}
