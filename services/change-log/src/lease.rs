//! That this process works for a source: Kafka's group of members has placed it here.
//!
//! # Why
//! A member that was frozen does not know that its sources have been placed elsewhere. So a lease can be asked about: the
//! group's coordinator takes a commit of no member but the one that it has placed the source on.

use crate::{
    KafkaSettings,
    owners::{self, Owned},
};
use rdkafka::error::KafkaResult;
use std::{fmt, sync::Arc};
use tokio::sync::OnceCell;

#[derive(Clone)]
pub struct Lease(Arc<Inner>);

struct Inner {
    epoch: u32,
    /// The owner before this one.
    before: Option<u32>,
    opened: OnceCell<Owned>,
    members: String,
    holds: Box<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({})", self.0.epoch)
    }
}

impl Lease {
    /// `epoch` grows with each owner of the source. `members` is what all members of the group, and nobody else, call
    /// themselves. `holds` asks Kafka, and may block.
    pub fn new(
        (epoch, before): (u32, Option<u32>),
        members: String,
        holds: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let opened = OnceCell::new();
        Self(Arc::new(Inner { epoch, before, opened, members, holds: Box::new(holds) }))
    }

    pub fn epoch(&self) -> u32 {
        self.0.epoch
    }

    /// The owner before this one, if there was any.
    pub fn before(&self) -> Option<u32> {
        self.0.before
    }

    /// Opens the source's outputs for this owner, once.
    pub async fn open(&self, kafka: &KafkaSettings, topics: &[&str], source: &str) -> KafkaResult<&Owned> {
        self.0.opened.get_or_try_init(|| owners::open(kafka, topics, source, self.0.epoch)).await
    }

    pub fn members(&self) -> &str {
        &self.0.members
    }

    /// Is the source placed here now? What cannot be asked is not.
    pub async fn holds(&self) -> bool {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || (inner.holds)()).await.unwrap_or(false)
    }
}
