//! Whether a Kafka client still gets on, and whether Kafka itself is there.
//!
//! # Why
//! A broker that was halted for longer than its own session tells, when it goes on, of topics and of no broker. librdkafka
//! 2.12 takes that for the truth: it lets go of every broker, the bootstrap ones too, and nothing brings it back (its issue
//! 5301; no setting avoids it). The client gives no error; it only never reads or delivers again. So every loop that reads
//! or writes watches its client: when nothing has come for a while, another client is asked where the topics end. Work that
//! lies there and does not move, or a client that does not answer itself, is a stall; the loop ends with an error that is
//! worth retrying, and its client is made anew.
//!
//! Only the time in which Kafka answers others counts. That tells a stall from an outage, which ends by itself, and it is
//! what makes a new producer safe: whatever the old one had under way was taken or lost long before.

use crate::kafka::KafkaSettings;
use boot::health::Part;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult},
    topic_partition_list::TopicPartitionListElem,
};
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tokio::{
    sync::Mutex,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// Work that does not move for so long, while Kafka answers others, is a stall.
pub const STALLED_AFTER: Duration = Duration::from_secs(15);
/// So long nothing may come before somebody looks.
const LOOK_AFTER: Duration = Duration::from_secs(5);
/// The next look, while something is amiss.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// An answer of Kafka may take so long.
const ANSWER_MAX: Duration = Duration::from_secs(6);
/// After an asker had no answer, nobody else waits for one for so long.
const AWAY_KEPT: Duration = Duration::from_secs(2);
const AWAY: &str = "Kafka does not answer";

/// Where topics end, asked by a client of its own, which all clones of one settings share. One that does not answer is made
/// anew, so that it cannot hang as those can that it watches over.
#[derive(Clone, Default)]
pub struct Ends(Arc<Mutex<Asker>>);

#[derive(Default)]
struct Asker {
    client: Option<BaseConsumer>,
    away: Option<(Instant, KafkaError)>,
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ends")
    }
}

/// One partition or, without a number, all of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub topic: String,
    pub partition: Option<i32>,
    /// What the client reads next; none where it only writes, or has read nothing yet.
    pub next: Option<i64>,
}

impl Place {
    pub fn written(topic: impl Into<String>) -> Self {
        Self { topic: topic.into(), partition: None, next: None }
    }

    pub fn read(topic: impl Into<String>, partition: i32, next: Option<i64>) -> Self {
        Self { topic: topic.into(), partition: Some(partition), next }
    }
}

/// Offsets of the first record held and of the next one to be written.
type Watermarks = (i64, i64);

impl KafkaSettings {
    /// The first offset that a partition holds and the one to be written next, as Kafka tells them now.
    pub async fn watermarks(&self, topic: &str, partition: i32) -> KafkaResult<Watermarks> {
        let marks = self.ends(vec![Place::read(topic, partition, None)]).await?;
        marks.first().copied().ok_or(KafkaError::Canceled)
    }

    /// The same of several places: of all partitions where none is named.
    async fn ends(&self, places: Vec<Place>) -> KafkaResult<Vec<Watermarks>> {
        let mut asker = Arc::clone(&self.clients.ends().0).lock_owned().await;
        if let Some((at, error)) = &asker.away
            && at.elapsed() < AWAY_KEPT
        {
            return Err(error.clone());
        }
        let config = self.client();
        let asking = move || {
            // The one that is there may be the one that hangs.
            let kept = asker.client.take();
            let asked = match kept.map(|client| (ask(&client, &places), client)) {
                Some((Ok(marks), client)) => Ok((marks, client)),
                _ => config.create().and_then(|client| Ok((ask(&client, &places)?, client))),
            };
            match asked {
                Ok((marks, client)) => {
                    (asker.client, asker.away) = (Some(client), None);
                    Ok(marks)
                }
                Err(error) => {
                    asker.away = Some((Instant::now(), error.clone()));
                    Err(error)
                }
            }
        };
        tokio::task::spawn_blocking(asking).await.unwrap_or(Err(KafkaError::Canceled))
    }
}

fn ask(client: &BaseConsumer, places: &[Place]) -> KafkaResult<Vec<Watermarks>> {
    let mut marks = Vec::with_capacity(places.len());
    for Place { topic, partition, .. } in places {
        if let Some(partition) = partition {
            marks.push(client.fetch_watermarks(topic, *partition, ANSWER_MAX)?);
            continue;
        }
        let metadata = client.fetch_metadata(Some(topic), ANSWER_MAX)?;
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            marks.push(client.fetch_watermarks(topic, partition.id(), ANSWER_MAX)?);
        }
    }
    Ok(marks)
}

/// What a consumer reads next, of each partition that it has.
#[derive(Clone, Debug, Default)]
pub struct Reading(BTreeMap<(String, i32), Option<i64>>);

impl Reading {
    /// As it was assigned.
    pub fn of(assignment: &TopicPartitionList) -> Self {
        let mut reading = Self::default();
        reading.assigned(assignment);
        reading
    }

    /// Only these partitions, each from where it was read up to, or else from where it was assigned.
    pub fn assigned(&mut self, assignment: &TopicPartitionList) {
        let of = |element: &TopicPartitionListElem<'_>| {
            let place = (element.topic().to_owned(), element.partition());
            let next = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                Offset::Beginning => Some(0),
                _ => None,
            };
            let next = self.0.get(&place).copied().flatten().or(next);
            (place, next)
        };
        self.0 = assignment.elements().iter().map(of).collect();
    }

    pub fn take(&mut self, message: &impl Message) {
        let next = Some(message.offset() + 1);
        match self
            .0
            .iter_mut()
            .find(|((topic, partition), _)| *partition == message.partition() && topic == message.topic())
        {
            Some((_, place)) => *place = next,
            None => drop(self.0.insert((message.topic().to_owned(), message.partition()), next)),
        }
    }

    pub fn places(&self) -> Vec<Place> {
        self.0.iter().map(|((topic, partition), next)| Place::read(topic, *partition, *next)).collect()
    }
}

/// Whether the client that is watched gets an answer.
pub type Own = Box<dyn FnOnce(&Place, Duration) -> KafkaResult<()> + Send>;

/// What a look looks at.
pub struct Question {
    /// At least one.
    pub places: Vec<Place>,
    /// Records that were sent and are not acknowledged.
    pub waiting: u64,
    pub own: Option<Own>,
}

impl Question {
    /// Of a consumer: what it reads next, and whether it gets an answer.
    pub fn reading<C, X>(places: Vec<Place>, consumer: &Arc<C>) -> Self
    where
        C: Consumer<X> + Send + Sync + 'static,
        X: ConsumerContext,
    {
        let consumer = Arc::clone(consumer);
        let own: Own = Box::new(move |place, timeout| {
            consumer.fetch_watermarks(&place.topic, place.partition.unwrap_or(0), timeout).map(drop)
        });
        Self { places, waiting: 0, own: Some(own) }
    }

    /// Of a producer: what it writes to, and how much of it is under way.
    pub const fn writing(places: Vec<Place>, waiting: u64, own: Option<Own>) -> Self {
        Self { places, waiting, own }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Sight {
    /// Nobody gets an answer.
    Away(String),
    Well,
    /// Work lies there and does not move, or the client itself gets no answer.
    Stuck(String),
}

async fn look(kafka: KafkaSettings, question: Question) -> Sight {
    let Question { places, waiting, own } = question;
    let marks = match kafka.ends(places.clone()).await {
        Ok(marks) => marks,
        Err(error) => return Sight::Away(error.to_string()),
    };
    if let Some(stuck) = judge(&places, &marks, waiting) {
        return Sight::Stuck(stuck);
    }
    let (Some(own), Some(place)) = (own, places.into_iter().next()) else { return Sight::Well };
    let topic = place.topic.clone();
    match tokio::task::spawn_blocking(move || own(&place, ANSWER_MAX)).await {
        Ok(Err(error)) => Sight::Stuck(format!("a client of `{topic}` has no answer, and others have: {error}")),
        Ok(Ok(())) | Err(_) => Sight::Well,
    }
}

/// What is not read or not acknowledged although it is there. The marks are those of the places, one each, where any place
/// is read.
fn judge(places: &[Place], marks: &[Watermarks], waiting: u64) -> Option<String> {
    if waiting > 0 {
        let topic = places.first().map_or("", |place| &place.topic);
        return Some(format!("{waiting} records of `{topic}` are not acknowledged"));
    }
    places.iter().zip(marks).find_map(|(place, (low, high))| {
        // What is older than the topic keeps will never come.
        let next = place.next?.max(*low);
        (next < *high).then(|| format!("`{}` is not read from offset {next} on, and ends at {high}", place.topic))
    })
}

/// Since when there is work that does not move.
#[derive(Clone, Copy, Debug, Default)]
struct Patience {
    since: Option<Duration>,
}

impl Patience {
    /// `now` counts from any start. True: it is a stall.
    fn see(&mut self, now: Duration, sight: &Sight) -> bool {
        match sight {
            Sight::Away(_) | Sight::Well => {
                self.since = None;
                false
            }
            Sight::Stuck(_) => now.saturating_sub(*self.since.get_or_insert(now)) >= STALLED_AFTER,
        }
    }
}

/// A client that hangs while Kafka is well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Kafka client hangs and is made anew: for {} s, {what}", STALLED_AFTER.as_secs())]
pub struct Stalled {
    what: String,
}

/// Watches one client.
#[derive(Debug)]
pub struct Watch {
    kafka: KafkaSettings,
    part: Option<Part>,
    held: bool,
    patience: Patience,
    started: Instant,
    look_at: Instant,
    looking: Option<JoinHandle<Sight>>,
}

impl Watch {
    /// It tells the part, if there is one, while Kafka does not answer anybody.
    pub fn new(kafka: &KafkaSettings, part: Option<&Part>) -> Self {
        let now = Instant::now();
        Self {
            kafka: kafka.clone(),
            part: part.cloned(),
            held: false,
            patience: Patience::default(),
            started: now,
            look_at: now + LOOK_AFTER,
            looking: None,
        }
    }

    pub fn tell(&mut self, part: &Part) {
        self.part = Some(part.clone());
    }

    /// Something was read, or acknowledged.
    pub fn heard(&mut self) {
        self.patience = Patience::default();
        self.look_at = Instant::now() + LOOK_AFTER;
        self.looking = None;
        self.release();
    }

    /// The client complains: look soon.
    pub fn doubt(&mut self) {
        self.look_at = Instant::now();
    }

    /// Ends only with a stall. Cancel-safe: call it again and again, beside whatever waits for the client.
    pub async fn stalled(&mut self, question: impl Fn() -> Question) -> Stalled {
        loop {
            let Some(looking) = &mut self.looking else {
                sleep_until(self.look_at).await;
                self.looking = Some(tokio::spawn(look(self.kafka.clone(), question())));
                continue;
            };
            let sight = looking.await.unwrap_or(Sight::Well);
            self.looking = None;
            let stalled = self.patience.see(self.started.elapsed(), &sight);
            self.look_at = Instant::now() + if sight == Sight::Well { LOOK_AFTER } else { LOOK_AGAIN };
            match sight {
                Sight::Away(why) => self.hold(&format!("{AWAY}: {why}")),
                Sight::Well => self.release(),
                Sight::Stuck(what) => {
                    self.hold(&what);
                    if stalled {
                        self.patience = Patience::default();
                        metrics::counter!("causeway_kafka_clients_stalled_total").increment(1);
                        return Stalled { what };
                    }
                }
            }
        }
    }

    fn hold(&mut self, why: &str) {
        if !std::mem::replace(&mut self.held, true) {
            tracing::warn!(why, "waits for Kafka");
        }
        if let Some(part) = &self.part {
            part.hold(why);
        }
    }

    fn release(&mut self) {
        if std::mem::take(&mut self.held)
            && let Some(part) = &self.part
        {
            part.release();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.release();
    }
}

/// A client that is let go when it is not held any more: see [`let_go`]. Whoever drops it has others to work for.
pub(crate) struct Held<C: Send + Sync + 'static> {
    pub(crate) client: Arc<C>,
    /// Dropped after the other.
    _last: Last<C>,
}

struct Last<C: Send + Sync + 'static>(Option<Arc<C>>);

impl<C: Send + Sync + 'static> Held<C> {
    pub(crate) fn new(client: Arc<C>) -> Self {
        Self { _last: Last(Some(Arc::clone(&client))), client }
    }

    pub(crate) fn again(&self) -> Self {
        Self::new(Arc::clone(&self.client))
    }
}

impl<C: Send + Sync + 'static> Drop for Last<C> {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(let_go);
    }
}

/// Lets a client go on a thread of its own: one that hangs may take long to end, and nobody waits for it.
pub fn let_go<C: Send + 'static>(client: C) {
    let thread = std::thread::Builder::new().name("kafka client ends".into());
    if let Err(error) = thread.spawn(move || drop(client)) {
        tracing::warn!(%error, "no thread to end a Kafka client on");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn only_time_in_which_kafka_answers_and_work_does_not_move_counts() {
        let (stuck, away) = (Sight::Stuck("x".into()), Sight::Away("y".into()));
        let mut patience = Patience::default();
        assert!(!patience.see(at(0), &stuck));
        assert!(!patience.see(at(14), &stuck));
        assert!(patience.see(at(15), &stuck), "15 s without progress while Kafka answers");
        for between in [&away, &Sight::Well] {
            let mut patience = Patience::default();
            assert!(!patience.see(at(0), &stuck));
            assert!(!patience.see(at(10), between));
            assert!(!patience.see(at(20), &stuck), "the time before {between:?} does not count");
            assert!(patience.see(at(35), &stuck));
        }
        let mut patience = Patience::default();
        (0..1_000).for_each(|second| assert!(!patience.see(at(second), &away), "an outage is no stall"));
    }

    #[test]
    fn work_is_what_is_there_and_not_read_or_sent_and_not_acknowledged() {
        let stuck = |next, low, high, waiting| judge(&[Place::read("t", 0, next)], &[(low, high)], waiting).is_some();
        assert!(!stuck(Some(7), 0, 7, 0), "all is read");
        assert!(stuck(Some(6), 0, 7, 0));
        assert!(!stuck(Some(0), 7, 7, 0), "what was deleted is not waited for");
        assert!(stuck(Some(0), 6, 7, 0));
        assert!(!stuck(None, 0, 7, 0), "what is only written is not read");
        assert!(stuck(None, 0, 7, 1));
        let (read, behind) = (Place::read("a", 0, Some(3)), Place::read("b", 1, Some(1)));
        let told = judge(&[read, behind], &[(0, 3), (0, 2)], 0);
        assert_eq!(told.as_deref(), Some("`b` is not read from offset 1 on, and ends at 2"));
        assert_eq!(judge(&[Place::written("e")], &[(0, 9), (0, 8)], 0), None);
    }
}
