//! The Kafka clients that a whole process shares.
//!
//! # Why
//! Each client of librdkafka has threads of its own: one for itself, one for each broker and coordinator, one that hands
//! out reports. A process that works for hundreds of sources cannot give each source a handful of clients. What has no
//! order to keep among its users, and of which a failure is one user's alone, is shared by all clones of one settings:
//! asking, reading back, making topics, what operators want, and events. A source's log is another matter: see
//! [`crate::writer`].

use crate::{
    KafkaSettings,
    logs::Logs,
    signal::Hub,
    watch::{Ends, let_go},
    writer::Quiet,
};
use rdkafka::{
    admin::AdminClient,
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    producer::{FutureProducer, Producer, PurgeConfig},
};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// So many read back at a time; who comes next waits.
pub const LOOKS_MAX: usize = 4;
/// A client that nobody has used for so long is not used again: it may have begun to hang.
const LOOK_KEPT: Duration = Duration::from_secs(30);
/// Messages of all sources that wait in the outbox.
const OUTBOX_MESSAGES_MAX: usize = 100_000;
/// What is said of a source beside its log is of use at once or not at all.
const SIGNAL_TIMEOUT_MS: &str = "10000";

/// All clones of one settings have the same.
#[derive(Clone, Default)]
pub struct Clients(Arc<Inner>);

#[derive(Default)]
struct Inner {
    ends: Ends,
    admin: Kept<AdminClient<DefaultClientContext>>,
    looks: Looks,
    signals: Kept<FutureProducer>,
    hub: Hub,
    outbox: Kept<FutureProducer>,
    quiet: Kept<Quiet>,
    logs: Logs,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl Clients {
    pub(crate) fn ends(&self) -> &Ends {
        &self.0.ends
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.0.hub
    }

    pub(crate) fn logs(&self) -> &Logs {
        &self.0.logs
    }

    pub(crate) fn quiet(&self) -> &Kept<Quiet> {
        &self.0.quiet
    }
}

impl KafkaSettings {
    /// The same brokers for somebody whom the clients themselves own: nothing is shared but where topics end.
    pub(crate) fn apart(&self) -> Self {
        let inner = Inner { ends: self.clients.0.ends.clone(), ..Inner::default() };
        Self { clients: Clients(Arc::new(inner)), ..self.clone() }
    }

    /// Makes topics, and asks about them.
    pub(crate) fn admin(&self) -> KafkaResult<Arc<AdminClient<DefaultClientContext>>> {
        self.clients.0.admin.get(|| self.client().create())
    }

    pub(crate) fn let_go_of_admin(&self, client: &Arc<AdminClient<DefaultClientContext>>) {
        self.clients.0.admin.let_go(client);
    }

    /// Writes what is wanted or noted of sources.
    pub(crate) fn signals(&self) -> KafkaResult<Arc<FutureProducer>> {
        let mut config = self.client();
        config.set("acks", "all").set("message.timeout.ms", SIGNAL_TIMEOUT_MS);
        self.clients.0.signals.get(|| config.create())
    }

    pub(crate) fn let_go_of_signals(&self, client: &Arc<FutureProducer>) {
        self.clients.0.signals.let_go(client);
    }

    /// The producer of events and of what goes into quarantine, of all sources. Each topic and partition keeps its order.
    /// A delivery that fails is told to who sent it, and nobody else.
    pub fn shared_outbox(&self) -> KafkaResult<Arc<FutureProducer>> {
        self.clients.0.outbox.get(|| self.outbox(OUTBOX_MESSAGES_MAX).create())
    }

    /// It hangs, or cannot be used again: what is in it is given up, and who asks next gets another.
    pub fn let_go_of_outbox(&self, client: &Arc<FutureProducer>) {
        client.purge(PurgeConfig::default().queue().inflight());
        self.clients.0.outbox.let_go(client);
    }

    /// Runs what reads topics back, on a client that nobody else uses meanwhile. A thread waits for Kafka, not the caller's.
    /// What comes may still be of another topic: look at each message's own.
    pub async fn look<T, E>(
        &self,
        failed: impl Fn(KafkaError) -> E + Clone + Send + 'static,
        read: impl FnOnce(&BaseConsumer) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (clients, config) = (self.clients.clone(), self.looking());
        let permits = Arc::clone(&clients.0.looks.permits);
        let Ok(permit) = permits.acquire_owned().await else { return Err(failed(KafkaError::Canceled)) };
        let canceled = failed.clone();
        let looking = move || {
            let _permit = permit;
            let looks = &clients.0.looks;
            let consumer: BaseConsumer = match looks.take() {
                Some(consumer) => consumer,
                None => config.create().map_err(failed)?,
            };
            let read = read(&consumer);
            if read.is_ok() && consumer.unassign().is_ok() {
                looks.give_back(consumer);
            } else {
                // The others may be as it is.
                looks.idle().clear();
            }
            read
        };
        tokio::task::spawn_blocking(looking).await.unwrap_or_else(|_| Err(canceled(KafkaError::Canceled)))
    }

    fn looking(&self) -> rdkafka::ClientConfig {
        let mut client = self.client();
        client
            .set("group.id", "causeway-looks")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "50")
            .set("queued.max.messages.kbytes", "4096")
            .set("allow.auto.create.topics", "false");
        client
    }
}

/// One client for all: made when it is first asked for, and anew once it was let go.
pub(crate) struct Kept<C>(Mutex<Option<Arc<C>>>);

impl<C> Default for Kept<C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<C: Send + Sync + 'static> Kept<C> {
    pub(crate) fn get(&self, make: impl FnOnce() -> KafkaResult<C>) -> KafkaResult<Arc<C>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*kept {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(make()?);
        *kept = Some(Arc::clone(&client));
        Ok(client)
    }

    /// Unless somebody has done so already.
    pub(crate) fn let_go(&self, client: &Arc<C>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, client)) {
            kept.take().into_iter().for_each(let_go);
        }
    }
}

/// Clients that read back, each for one at a time.
struct Looks {
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<(Instant, BaseConsumer)>>,
}

impl Default for Looks {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(LOOKS_MAX)), idle: Mutex::default() }
    }
}

impl Looks {
    fn idle(&self) -> MutexGuard<'_, Vec<(Instant, BaseConsumer)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<BaseConsumer> {
        let (fresh, old): (Vec<_>, Vec<_>) = self.idle().drain(..).partition(|(since, _)| since.elapsed() < LOOK_KEPT);
        drop(old);
        let mut idle = self.idle();
        idle.extend(fresh);
        idle.pop().map(|(_, consumer)| consumer)
    }

    fn give_back(&self, consumer: BaseConsumer) {
        self.idle().push((Instant::now(), consumer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_made_once_and_anew_when_it_was_let_go() {
        let kept = Kept::<u8>::default();
        let one = kept.get(|| Ok(1)).expect("a client");
        assert_eq!(kept.get(|| Ok(2)).as_deref(), Ok(&1), "all have the same");
        kept.let_go(&one);
        let two = kept.get(|| Ok(2)).expect("a client");
        kept.let_go(&one);
        assert_eq!((*two, kept.get(|| Ok(3)).as_deref()), (2, Ok(&2)), "who comes late lets nobody else's go");
        kept.let_go(&two);
        assert!(kept.get(|| Err(KafkaError::Canceled)).is_err());
        assert_eq!(kept.get(|| Ok(4)).as_deref(), Ok(&4), "one that could not be made is made later");
    }
}
