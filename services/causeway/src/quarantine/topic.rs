//! The quarantine as its topic has it: each item once, and how it stands.

use crate::settings::Settings;
use anyhow::{Context, bail};
use change_log::{Owners, Registry, Versions, owners::Seen};
use event::{Quarantined, avro, quarantined::Verdict};
use jiff::Timestamp;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::BorrowedMessage,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

pub const TOPIC: &str = "quarantine";
/// More records than this, the newest, are not read for one list.
pub const RECORDS_MAX: i64 = 10_000;
const BROKER_TIMEOUT: Duration = Duration::from_secs(10);

/// One item, by the record that told of it.
pub struct Item {
    pub offset: i64,
    pub told_at: Option<Timestamp>,
    pub what: Quarantined,
    /// Of its original, which is kept only where it was asked for.
    pub bytes: Option<usize>,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    /// By the service that told it, or by hand.
    Closed(Option<Verdict>),
    /// The same item was told again, there.
    ToldAgain(i64),
    /// The record closes another.
    Closing,
}

impl State {
    pub fn words(self) -> String {
        match self {
            Self::Open => "open".to_owned(),
            Self::Closed(None) => "closed".to_owned(),
            Self::Closed(Some(verdict)) => verdict.as_str().to_owned(),
            Self::ToldAgain(offset) => format!("told again at {offset}"),
            Self::Closing => "closes an item".to_owned(),
        }
    }
}

impl Item {
    pub fn without_values(&self) -> Value {
        let what = &self.what;
        json!({
            "offset": self.offset, "told": self.told_at.map(|at| at.to_string()),
            "source": what.source, "stage": what.stage, "reason": what.reason, "detail": what.detail,
            "table": what.table, "position": what.position.map(|p| p.to_string()),
            "from": what.topic.as_ref().map(|topic| format!("{topic}[{}]@{}", what.partition.unwrap_or(0), what.offset.unwrap_or(-1))),
            "bytes": self.bytes, "state": self.state.words(),
        })
    }
}

/// How each record's item stands, by the record's offset.
pub fn standing(records: Vec<Item>) -> BTreeMap<i64, Item> {
    let mut items: BTreeMap<i64, Item> = BTreeMap::new();
    let mut named: HashMap<String, i64> = HashMap::new();
    for record in records {
        // What was told before items had names goes by where it was.
        let place = || Quarantined { item: None, ..record.what.clone() }.name();
        let known = named.get(&record.what.name()).or_else(|| named.get(&place()).filter(|_| record.what.closed));
        if record.what.closed {
            let state = State::Closed(record.what.closed_as);
            match record.what.closes {
                Some(closes) => close_by_hand(&mut items, closes, state),
                None => known.and_then(|offset| items.get_mut(offset)).into_iter().for_each(|item| item.state = state),
            }
        } else {
            if let Some(again) = known.filter(|_| record.what.item.is_some()).and_then(|offset| items.get_mut(offset)) {
                again.state = State::ToldAgain(record.offset);
            }
            named.insert(record.what.name(), record.offset);
        }
        items.insert(record.offset, record);
    }
    items
}

/// That record, and what else was told of the same message: as the views have it.
fn close_by_hand(items: &mut BTreeMap<i64, Item>, closes: i64, state: State) {
    let Some(closed) = items.get_mut(&closes) else { return };
    closed.state = state;
    let of = |what: &Quarantined| {
        let nameless = what.item.is_none() && !what.closed;
        let place = what.topic.clone().zip(what.partition).zip(what.offset).filter(|_| nameless)?;
        Some((place, what.source.clone(), what.reason.clone()))
    };
    let Some(message) = of(&closed.what) else { return };
    let same = items.values_mut().filter(|item| of(&item.what).as_ref() == Some(&message));
    same.for_each(|item| item.state = state);
}

/// The topic's records: the newest [`RECORDS_MAX`], or those from one offset on. Of that one, if any, the values too.
/// Tells on standard error what was not read.
pub async fn read(settings: &Settings, from: Option<i64>, values_of: Option<i64>) -> anyhow::Result<Vec<Item>> {
    let kafka = &settings.kafka;
    let mut versions = Versions::new(Registry::new(&settings.registry)?, avro::QUARANTINED_SCHEMA);
    let topic = kafka.topic(TOPIC);
    let consumer: BaseConsumer =
        kafka.client().set("group.id", "causeway-quarantine-reader").set("enable.auto.commit", "false").create()?;
    let (low, high) = consumer
        .fetch_watermarks(&topic, 0, BROKER_TIMEOUT)
        .with_context(|| format!("cannot read the topic {topic}: is Kafka at {} up?", kafka.brokers))?;
    let start = from.unwrap_or_else(|| high.saturating_sub(RECORDS_MAX)).max(low);
    if from.is_none() && start > low {
        eprintln!(
            "causeway: of the quarantine's records only the newest {RECORDS_MAX} were read; by offset, all can be"
        );
    }
    if start >= high {
        return Ok(Vec::new());
    }
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&topic, 0, Offset::Offset(start))?;
    consumer.assign(&assignment)?;
    let (mut items, mut owners) = (Vec::new(), Owners::default());
    let mut last = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(200)) {
            Some(message) => {
                let message = message?;
                last = Instant::now();
                if owners.look(&message) == Seen::Output {
                    items.push(item(&message, &mut versions, values_of).await?);
                }
                if message.offset() + 1 >= high {
                    return Ok(items);
                }
            }
            None if last.elapsed() > BROKER_TIMEOUT => bail!("Kafka at {} stopped answering", kafka.brokers),
            None => {}
        }
    }
}

async fn item(message: &BorrowedMessage<'_>, versions: &mut Versions, values_of: Option<i64>) -> anyhow::Result<Item> {
    let mut what = decode(versions, message.payload().unwrap_or_default()).await?;
    let bytes = what.original.as_ref().map(Vec::len);
    if values_of != Some(message.offset()) {
        (what.key, what.original) = (None, None);
    }
    let told_at = message.timestamp().to_millis().and_then(|at| Timestamp::from_millisecond(at).ok());
    let state = if what.closed { State::Closing } else { State::Open };
    Ok(Item { offset: message.offset(), told_at, what, bytes, state })
}

/// A message that is not one of ours is shown as such, not hidden.
async fn decode(versions: &mut Versions, payload: &[u8]) -> anyhow::Result<Quarantined> {
    let datum = versions.datum(payload).await.context("the registry does not tell the schema of an item")?;
    let ours = datum.ok().and_then(|datum| avro::decode_quarantined(&datum).ok());
    Ok(ours.unwrap_or_else(|| Quarantined {
        reason: "not a quarantine record".to_owned(),
        original: Some(payload.to_vec()),
        ..Quarantined::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: i64, name: Option<&str>, at: i64, closed: bool) -> Item {
        let what = Quarantined {
            source: "riverside".into(),
            reason: "missing patient".into(),
            item: name.map(str::to_owned),
            offset: Some(at),
            closed,
            ..Quarantined::default()
        };
        let state = if closed { State::Closing } else { State::Open };
        Item { offset, told_at: None, what, bytes: None, state }
    }

    fn told(records: Vec<Item>) -> Vec<(i64, String)> {
        let items = standing(records).into_values().filter(|item| item.state != State::Closing);
        items.map(|item| (item.offset, item.state.words())).collect()
    }

    #[track_caller]
    fn check(records: Vec<Item>, want: &[(i64, &str)]) {
        let want: Vec<(i64, String)> = want.iter().map(|(offset, state)| (*offset, (*state).to_owned())).collect();
        assert_eq!(told(records), want);
    }

    #[test]
    fn an_item_stands_once_and_is_closed_by_its_name_or_its_place() {
        let records = vec![
            record(0, None, 7, false),
            record(1, Some("a"), 8, false),
            record(2, Some("b"), 9, false),
            // Closed under its name, and by it what was told of it before there were names.
            record(3, Some("c"), 7, true),
            record(4, Some("a"), 8, true),
            record(5, Some("a"), 10, false),
            record(6, Some("a"), 10, true),
            record(7, Some("a"), 11, false),
            // Of one whose beginning is not read any more.
            record(8, Some("d"), 12, true),
        ];
        check(records, &[(0, "closed"), (1, "told again at 5"), (2, "open"), (5, "told again at 7"), (7, "open")]);
    }

    #[test]
    fn closed_by_hand_is_that_record_and_what_was_told_of_the_same_message() {
        let of = |offset, partition| {
            let mut record = record(offset, None, 7, false);
            (record.what.topic, record.what.partition) = (Some("patient.events".into()), partition);
            record
        };
        let by_hand = |offset, verdict, mut closes: Item| {
            closes.what =
                Quarantined { closed: true, closes: Some(closes.offset), closed_as: Some(verdict), ..closes.what };
            Item { offset, state: State::Closing, ..closes }
        };
        check(
            vec![
                of(0, Some(0)),
                // Another partition's message, and what has no place: told apart by their offsets alone.
                of(1, Some(1)),
                of(2, None),
                of(3, None),
                of(4, Some(0)),
                by_hand(5, Verdict::Dropped, of(0, Some(0))),
                by_hand(6, Verdict::Resolved, of(2, None)),
                by_hand(7, Verdict::Resolved, of(99, Some(3))),
            ],
            &[(0, "dropped"), (1, "open"), (2, "resolved"), (3, "open"), (4, "dropped")],
        );
    }
}
