//! The end of a log, read back: where its last session stood.

use crate::{
    control::{Progress, Session, Snapshot},
    frame,
    header::{Headers, Kind},
    kafka::KafkaSettings,
    topics::changes_topic,
    writer::IN_FLIGHT_RECORDS_MAX,
};
use change::{Lsn, Position};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{BorrowedMessage, Headers as _},
};
use std::time::{Duration, Instant};

/// So many records are read back at first. A connector that has lost its slot can still write what it holds: more
/// than that must lie between, so that the newest session is among them.
pub const TAIL_RECORDS: i64 = 65_536;
const _: () = assert!(TAIL_RECORDS as u64 > 4 * IN_FLIGHT_RECORDS_MAX, "a stray writer cannot fill the window");
/// Each further step back is so many times as long.
const WINDOW_GROWTH: i64 = 8;
/// Without a record for so long, the brokers count as away.
const SILENCE_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);

/// What the end of a log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogTail {
    /// Offsets of the first record held and of the next one to be written.
    pub low: i64,
    pub high: i64,
    /// The last record that counts. None of an empty log.
    pub last: Option<LastRecord>,
    /// The newest end of a commit, or progress, that was seen.
    pub committed: Option<Lsn>,
    /// What the connector last remembered of snapshots.
    pub state: Option<String>,
    /// The session that wrote the last record, while it is held.
    pub session: Option<Session>,
    /// The newest session that has shown.
    pub newest_session: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRecord {
    pub position: Position,
    pub session: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error("cannot read back the end of `{topic}`")]
    Kafka { topic: String, source: KafkaError },
    #[error("Kafka gave no record of `{topic}` for {} s", SILENCE_MAX.as_secs())]
    Silent { topic: String },
    #[error(
        "`{topic}` has lost all its records: they are older than the topic keeps, so nothing says where the log ended. Give the \
         source another `name`: it begins a log of its own, with a slot and a snapshot"
    )]
    Forgotten { topic: String },
}

impl LogTail {
    /// Reads back from `until`, or from the log's end.
    pub async fn read(kafka: &KafkaSettings, source: &str, until: Option<i64>) -> Result<Self, TailError> {
        let topic = kafka.topic(&changes_topic(source));
        let failing = topic.clone();
        let failed = move |source| TailError::Kafka { topic: failing.clone(), source };
        kafka.look(failed, move |consumer| Tail { consumer, topic }.read(until)).await
    }
}

struct Tail<'a> {
    consumer: &'a BaseConsumer,
    topic: String,
}

impl Tail<'_> {
    fn read(&self, until: Option<i64>) -> Result<LogTail, TailError> {
        let (low, high) = self.consumer.fetch_watermarks(&self.topic, 0, SILENCE_MAX).map_err(|e| self.failed(e))?;
        let until = until.unwrap_or(high);
        let mut window = TAIL_RECORDS;
        loop {
            let from = (until - window).max(low);
            let mut tail = LogTail { low, high: until, ..LogTail::default() };
            self.each(from, until, |message| tail.take(message))?;
            if (tail.last.is_none() || tail.state.is_none()) && from > low {
                window = window.saturating_mul(WINDOW_GROWTH);
                continue;
            }
            if tail.last.is_none() && low > 0 {
                return Err(TailError::Forgotten { topic: self.topic.clone() });
            }
            if let Some(last) = tail.last.filter(|last| last.session >= low) {
                let session = &mut tail.session;
                self.each(last.session, last.session + 1, |message| *session = session_of(message))?;
            }
            return Ok(tail);
        }
    }

    /// Every record from one offset up to another.
    fn each(&self, from: i64, until: i64, mut take: impl FnMut(&BorrowedMessage<'_>)) -> Result<(), TailError> {
        if from >= until {
            return Ok(());
        }
        let mut assignment = TopicPartitionList::with_capacity(1);
        assignment.add_partition_offset(&self.topic, 0, Offset::Offset(from)).map_err(|e| self.failed(e))?;
        self.consumer.assign(&assignment).map_err(|e| self.failed(e))?;
        let mut heard = Instant::now();
        // The client has read for others before: what does not continue is not of this reading.
        let mut next = from;
        while next < until {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) if message.topic() == self.topic && message.offset() == next => {
                    heard = Instant::now();
                    take(&message);
                    next += 1;
                }
                // The client tries again by itself; what does not pass shows as silence.
                Some(Err(error)) => tracing::debug!(%error, "reading back a log"),
                Some(Ok(_)) | None => {}
            }
            if heard.elapsed() > SILENCE_MAX {
                return Err(TailError::Silent { topic: self.topic.clone() });
            }
        }
        Ok(())
    }

    fn failed(&self, source: KafkaError) -> TailError {
        TailError::Kafka { topic: self.topic.clone(), source }
    }
}

impl LogTail {
    fn take(&mut self, message: &BorrowedMessage<'_>) {
        let headers = message.headers();
        let Some(headers) = headers.and_then(|h| Headers::parse(h.iter().map(|header| (header.key, header.value))))
        else {
            return;
        };
        if self.see(message.offset(), &headers)
            && let Some(state) = state_of(headers.kind, message)
        {
            self.state = Some(state);
        }
    }

    /// A record counts while no newer session has shown.
    fn see(&mut self, offset: i64, headers: &Headers<'_>) -> bool {
        let newest = self.newest_session.unwrap_or(-1);
        let Some(place) = headers.place else {
            self.newest_session = Some(offset.max(newest));
            return false;
        };
        if place.session < newest {
            return false;
        }
        self.newest_session = Some(place.session);
        self.committed = headers.commit_end.or(self.committed);
        self.last = Some(LastRecord { position: place.position, session: place.session });
        true
    }
}

fn state_of(kind: Kind, message: &BorrowedMessage<'_>) -> Option<String> {
    let datum = || frame::unwrap(message.payload()?).ok().map(|(_, datum)| datum);
    match kind {
        Kind::Progress => Progress::decode(datum()?).ok()?.state,
        Kind::SnapshotBegin | Kind::SnapshotChunk | Kind::SnapshotEnd => Snapshot::decode(datum()?).ok()?.state,
        Kind::Change | Kind::Session => None,
    }
}

fn session_of(message: &BorrowedMessage<'_>) -> Option<Session> {
    let (_, datum) = frame::unwrap(message.payload()?).ok()?;
    Session::decode(datum).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Place;

    fn record(kind: Kind, session: i64, ordinal: u64) -> Headers<'static> {
        let position = Position::new(1, Lsn(9), ordinal);
        let place = (kind != Kind::Session).then_some(Place { session, position, previous: Position::START });
        Headers {
            kind,
            place,
            commit_end: None,
            unchanged: None,
            exact: None,
            exact_before: None,
            in_snapshot: false,
            trace_parent: None,
            origin: None,
        }
    }

    fn tail(records: &[(i64, Headers<'_>)]) -> LogTail {
        let mut tail = LogTail::default();
        for (offset, headers) in records {
            tail.see(*offset, headers);
        }
        tail
    }

    #[test]
    fn what_an_older_session_wrote_later_does_not_count() {
        let seen = tail(&[
            (10, record(Kind::Change, 3, 1)),
            (11, record(Kind::Session, 0, 0)),
            (12, record(Kind::Change, 3, 2)),
            (13, record(Kind::Session, 0, 0)),
            (14, record(Kind::Change, 3, 3)),
        ]);
        assert_eq!(seen.last.map(|last| (last.session, last.position.ordinal)), Some((3, 1)));
    }

    #[test]
    fn the_last_end_of_a_commit_shows() {
        let mut seen = tail(&[(10, record(Kind::SnapshotBegin, 3, 1)), (11, record(Kind::Change, 3, 2))]);
        assert_eq!(seen.committed, None);
        let end = Headers { commit_end: Some(Lsn(9)), ..record(Kind::Progress, 3, 3) };
        assert!(seen.see(12, &end));
        assert_eq!(seen.committed, Some(Lsn(9)));
    }
}
