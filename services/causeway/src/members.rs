//! Which sources this process works for, where several processes with the same settings share the work.
//!
//! # Why
//! Kafka's consumer groups place work on whoever is there, take it from who falls silent, and know who was given what. So
//! the members of a region are a group that reads a topic of places, which holds nothing: a source is worked for by the
//! member that has its place. Its capture, its fold and its topics move together, for they are one place; places are many
//! more than sources, so that a client that gives whole topics to one member has something to divide. The assignment is
//! cooperative: what stays where it is does not stop.
//!
//! A member that was frozen goes on for a moment with what has been given to others. Placement is no fence. The log has
//! sessions ([`change_log`]), the topics of events have owners ([`change_log::owners`]), and the slot has one reader: a new
//! owner ends the earlier one's session, once the group has confirmed that it is the owner ([`Lease`]).

use crate::sources::News;
use anyhow::Context as _;
use boot::{Stop, health::Part};
use change_log::{KafkaSettings, Kept, Lease, TopicSpec, topics::ensure};
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance},
    error::{KafkaError, KafkaResult},
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc as wait,
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Sources have places by their names.
pub const PLACES: u16 = 1_024;
const TOPIC: &str = "causeway.places";
/// Places are given back when the work for their sources has ended, or after this time.
const GIVE_UP_MAX: Duration = Duration::from_secs(25);
const POLL: Duration = Duration::from_millis(200);
const KAFKA_TIMEOUT: Duration = Duration::from_secs(10);
/// Joining and claiming are tried again after this.
const AGAIN: Duration = Duration::from_millis(500);
/// How long leaving the group may take at the end.
const LEAVE_MAX: Duration = Duration::from_secs(3);
/// What Kafka's brokers allow unless they are told otherwise.
const SESSION_S: std::ops::RangeInclusive<u16> = 6..=300;

/// `[members]`: with it, processes with these settings share their sources.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MembersSettings {
    /// Kafka's group of the members, behind the region's topic prefix.
    #[serde(default = "group")]
    pub group: String,
    /// A member that has been silent for so long loses its sources to the others.
    #[serde(default = "session_timeout_s")]
    pub session_timeout_s: u16,
}

fn group() -> String {
    "causeway-members".to_owned()
}

const fn session_timeout_s() -> u16 {
    10
}

impl MembersSettings {
    /// Every mistake that shows without a connection: key and what is wrong.
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if self.group.is_empty() {
            mistakes.push(("group", "the group needs a name".to_owned()));
        }
        if !SESSION_S.contains(&self.session_timeout_s) {
            let (least, most) = (SESSION_S.start(), SESSION_S.end());
            mistakes.push(("session_timeout_s", format!("Kafka allows {least} to {most} seconds")));
        }
        mistakes
    }
}

/// The place of a source, the same in every process and version.
pub fn place_of(source: &str) -> i32 {
    let place = xxhash_rust::xxh3::xxh3_64(source.as_bytes()) % u64::from(PLACES);
    i32::try_from(place).unwrap_or(0)
}

/// The places of this member have changed to these. Whoever gives places up waits until this is dropped.
pub struct Placed {
    pub places: BTreeSet<i32>,
    _waits: Option<wait::Sender<()>>,
}

/// This process in the group.
pub struct Members {
    group: Arc<OnceLock<Arc<Group>>>,
    leaves: Arc<AtomicBool>,
    left: tokio::sync::watch::Receiver<bool>,
}

impl Members {
    /// Joins, as soon as Kafka lets it. The first news come when places are given.
    pub fn join(
        settings: MembersSettings,
        kafka: KafkaSettings,
        part: Part,
        stop: Stop,
        news: mpsc::Sender<News>,
    ) -> Self {
        let (group, leaves) = (Arc::<OnceLock<Arc<Group>>>::default(), Arc::<AtomicBool>::default());
        let (gone, left) = tokio::sync::watch::channel(false);
        let (joined, leaving) = (Arc::clone(&group), Arc::clone(&leaves));
        part.not_ready("joins the group of members");
        tokio::spawn(async move {
            let member = loop {
                match Group::join(&settings, &kafka, part.clone(), news.clone()).await {
                    Ok(member) => break Arc::new(member),
                    Err(error) => part.not_ready(format!("{error:#}")),
                }
                tokio::select! {
                    () = stop.cancelled() => {
                        _ = gone.send(true);
                        return;
                    }
                    () = tokio::time::sleep(AGAIN) => {}
                }
            };
            drop(joined.set(Arc::clone(&member)));
            // On a thread of its own: who gives places up waits.
            let polls = move || {
                member.poll(&leaving);
                _ = gone.send(true);
            };
            if let Err(error) = std::thread::Builder::new().name("members".into()).spawn(polls) {
                tracing::error!(%error, "cannot start a thread for the group of members");
            }
        });
        Self { group, leaves, left }
    }

    /// What says that this process works for the source; it is asked for until Kafka gives it. Cancel-safe.
    pub async fn lease(&self, source: &str) -> Lease {
        let place = place_of(source);
        loop {
            if let Some(group) = self.group.get() {
                let group = Arc::clone(group);
                let claimed = tokio::task::spawn_blocking(move || group.claim(place)).await;
                match claimed.unwrap_or(Err(KafkaError::Canceled)) {
                    Ok(lease) => return lease,
                    Err(error) => {
                        tracing::debug!(source, %error, "the group does not confirm yet that the source is here")
                    }
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Gives all places back at once. Nothing works for a source any more.
    pub async fn leave(mut self) {
        self.leaves.store(true, Ordering::SeqCst);
        if self.group.get().is_some() {
            drop(tokio::time::timeout(LEAVE_MAX, self.left.wait_for(|left| *left)).await);
        }
    }
}

struct Group {
    consumer: BaseConsumer<Context>,
    topic: String,
    /// What all members call themselves towards a source's server: of this cluster, and of this group.
    name: String,
}

/// What this member is to a place that was claimed.
#[derive(Clone, Copy)]
struct Claim {
    epoch: i64,
    /// The owner before it; 0 if there was none.
    before: i64,
}

impl Group {
    async fn join(
        settings: &MembersSettings,
        kafka: &KafkaSettings,
        part: Part,
        news: mpsc::Sender<News>,
    ) -> anyhow::Result<Self> {
        ensure(kafka, &[TopicSpec::new(TOPIC, PLACES, Kept::Compacted)]).await?;
        let (group, topic) = (kafka.topic(&settings.group), kafka.topic(TOPIC));
        let session = u32::from(settings.session_timeout_s) * 1_000;
        let mut config = kafka.client();
        config
            .set("group.id", &group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session.to_string())
            .set("heartbeat.interval.ms", (session / 5).to_string())
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "latest");
        let context = Context { held: Mutex::default(), claimed: Mutex::default(), news, part };
        let making = move || -> anyhow::Result<Self> {
            let consumer: BaseConsumer<Context> = config.create_with_context(context)?;
            let cluster = consumer.client().fetch_cluster_id(KAFKA_TIMEOUT);
            let cluster = cluster.context("Kafka does not tell the name of its cluster")?;
            consumer.subscribe(&[&topic]).context("cannot join the group of members")?;
            Ok(Self { consumer, topic, name: format!("{cluster}/{group}") })
        };
        tokio::task::spawn_blocking(making).await?
    }

    /// The topic holds nothing: polling is what runs the callbacks.
    fn poll(&self, leaves: &AtomicBool) {
        while !leaves.load(Ordering::SeqCst) {
            if let Some(Err(error)) = self.consumer.poll(POLL) {
                tracing::debug!(%error, "the group of members");
            }
        }
        self.consumer.unsubscribe();
        let began = Instant::now();
        while began.elapsed() < LEAVE_MAX && !self.consumer.context().held().is_empty() {
            drop(self.consumer.poll(POLL));
        }
    }

    /// An epoch beyond that of each earlier owner, which the coordinator takes of the place's owner alone. By the clock, too:
    /// the group's commits are forgotten when it has had no members for some days.
    fn claim(self: Arc<Self>, place: i32) -> KafkaResult<Lease> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.topic, place);
        let committed = self.consumer.committed_offsets(list, KAFKA_TIMEOUT)?;
        let before = match committed.find_partition(&self.topic, place).map(|element| element.offset()) {
            Some(Offset::Offset(before)) => before,
            _ => 0,
        };
        let anew = || Claim { epoch: (before + 1).max(jiff::Timestamp::now().as_second()), before };
        // Sources of one place have the same, for as long as the place stays here.
        let claim = *self.consumer.context().claimed().entry(place).or_insert_with(anew);
        if !self.holds(place) {
            return Err(KafkaError::Canceled);
        }
        let number = |epoch: i64| u32::try_from(epoch).unwrap_or(u32::MAX);
        let (epoch, earlier) = (number(claim.epoch), (claim.before > 0).then(|| number(claim.before)));
        let name = self.name.clone();
        Ok(Lease::new((epoch, earlier), name, move || self.holds(place)))
    }

    /// Is the place this member's, by its own word and by the coordinator's?
    fn holds(&self, place: i32) -> bool {
        let has = || self.consumer.context().held().contains(&place);
        has() && self.commit(place).is_ok() && has()
    }

    fn commit(&self, place: i32) -> KafkaResult<()> {
        let claim = self.consumer.context().claimed().get(&place).copied().ok_or(KafkaError::Canceled)?;
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.topic, place, Offset::Offset(claim.epoch))?;
        self.consumer.commit(&list, CommitMode::Sync)
    }
}

struct Context {
    held: Mutex<BTreeSet<i32>>,
    claimed: Mutex<BTreeMap<i32, Claim>>,
    news: mpsc::Sender<News>,
    part: Part,
}

impl Context {
    fn held(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claimed(&self) -> MutexGuard<'_, BTreeMap<i32, Claim>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, list: &TopicPartitionList, given: bool) -> BTreeSet<i32> {
        let mut held = self.held();
        for place in list.elements().iter().map(|element| element.partition()) {
            if given {
                held.insert(place)
            } else {
                held.remove(&place)
            };
            // Whoever gets it again is another owner.
            self.claimed().remove(&place);
        }
        held.clone()
    }
}

impl ClientContext for Context {}

impl ConsumerContext for Context {
    /// What is taken away goes when nothing works for it any more.
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(list) = rebalance else { return };
        // They are this member's until the work has ended.
        let taken: BTreeSet<i32> = list.elements().iter().map(|element| element.partition()).collect();
        let places: BTreeSet<i32> = self.held().difference(&taken).copied().collect();
        tracing::info!(taken = list.count(), places = places.len(), "places of sources are taken away");
        let (waits, ended) = wait::channel();
        let placed = Placed { places, _waits: Some(waits) };
        if self.news.blocking_send(News::Placed(placed)).is_ok()
            && ended.recv_timeout(GIVE_UP_MAX) == Err(wait::RecvTimeoutError::Timeout)
        {
            let seconds = GIVE_UP_MAX.as_secs();
            tracing::warn!(
                "the work for sources did not end within {seconds} s: their places are given back as they are"
            );
        }
        self.change(list, false);
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                // There is nothing to fetch.
                if let Err(error) = consumer.pause(list) {
                    tracing::debug!(%error, "places are not paused");
                }
                let places = self.change(list, true);
                tracing::info!(given = list.count(), places = places.len(), "places of sources are given");
                self.part.ready();
                drop(self.news.blocking_send(News::Placed(Placed { places, _waits: None })));
            }
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => tracing::warn!(%error, "the group of members could not be rebalanced"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_places_of_their_own() {
        let places: BTreeSet<i32> = (0..500).map(|number| place_of(&format!("gp{number}"))).collect();
        assert!(places.len() > 350, "{} places of 500 sources", places.len());
        assert!(places.iter().all(|place| (0..i32::from(PLACES)).contains(place)));
        assert_eq!([place_of("riverside"), place_of("stmarys")], [633, 821], "every version has the same");
    }

    #[test]
    fn settings_are_checked() {
        let read = |text: &str| toml::from_str::<MembersSettings>(text).expect("settings").mistakes();
        assert!(read("").is_empty() && read("group = \"north\"\nsession_timeout_s = 30").is_empty());
        assert_eq!(read("group = \"\"\nsession_timeout_s = 5").len(), 2);
    }
}
