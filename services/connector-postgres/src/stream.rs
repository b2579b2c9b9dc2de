//! The slot's stream as a source: frames in batches, and the place that the slot may forget up to.

use crate::{
    connect::Pulse,
    encoder::{Input, now},
    error::ConnectorError,
    lag::Unconfirmed,
    left_out,
    settings::Settings,
    snapshot::{Answer, Shared},
    status::{Phase, Status},
};
use boot::{Stop, failpoint, health::Part};
use change::{Batch, Durable, Lsn, Source};
use change_log::signal::Desired;
use futures_util::FutureExt;
use pgwire_replication::{Lsn as WireLsn, PgWireError, ReplicationClient, ReplicationEvent};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

/// Frames of one batch.
pub(crate) const BATCH_FRAMES_MAX: usize = 1_024;
/// Their bytes; a single larger frame goes alone.
pub(crate) const BATCH_BYTES_MAX: usize = 512 * 1024;

pub(crate) struct Stream<'a> {
    pub(crate) client: ReplicationClient,
    pub(crate) slot: String,
    pub(crate) settings: &'a Settings,
    pub(crate) pulse: Pulse,
    pub(crate) stop: Stop,
    pub(crate) status: &'a Status,
    pub(crate) lag: Lag,
    /// From the workers of a snapshot.
    pub(crate) answers: mpsc::Receiver<Answer>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) desired: watch::Receiver<Arc<Desired>>,
    /// When the server last said something.
    pub(crate) heard: Instant,
    /// The source is told to be well only once the log has gone beyond this place.
    pub(crate) doubted: Option<(Part, Lsn)>,
}

/// How the transport tells an `undefined_object`.
const UNDEFINED_OBJECT: &str = "(SQLSTATE 42704)";

/// While a snapshot is taken, its pace is looked at so often.
const TICK: Duration = Duration::from_millis(100);

/// The next thing that comes.
enum First {
    Event(ReplicationEvent),
    Answer(Answer),
    Tick,
    End,
}

/// How far the log is behind the server.
pub(crate) struct Lag {
    pub(crate) source: String,
    /// The last place that the server has sent.
    pub(crate) sent: Lsn,
    /// When the last transaction that was read was committed there.
    pub(crate) committed_at: i64,
    pub(crate) unconfirmed: Unconfirmed,
}

impl Stream<'_> {
    async fn first(&mut self) -> Result<First, ConnectorError> {
        let silence = self.pulse.silence_max;
        let slot = || self.slot.clone();
        let held = self.shared.hold.load(Ordering::Acquire);
        let full = self.shared.full.load(Ordering::Acquire);
        if held {
            // Nobody listens to the server.
            self.heard = Instant::now();
        }
        let silent = tokio::time::sleep_until(self.heard + silence);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Ok(First::End),
            Some(answer) = self.answers.recv(), if !full => Ok(First::Answer(answer)),
            received = self.client.recv(), if !held => match received {
                Ok(Some(event)) => Ok(First::Event(event)),
                // The server ends the stream when it shuts down.
                Ok(None) => Err(ended(slot())),
                Err(source) => Err(self.failed(source)),
            },
            Ok(()) = self.desired.changed() => Ok(First::Tick),
            () = tokio::time::sleep(TICK), if self.shared.ticking.load(Ordering::Acquire) => Ok(First::Tick),
            () = silent => Err(ConnectorError::Silent { slot: slot(), seconds: silence.as_secs() }),
        }
    }

    /// A frame that is there already. A stream that is about to end is left to the next read.
    fn more(&mut self) -> Option<Result<ReplicationEvent, ConnectorError>> {
        if !self.client.is_running() {
            return None;
        }
        match self.client.recv().now_or_never()? {
            Ok(Some(event)) => Some(Ok(event)),
            Ok(None) => Some(Err(ended(self.slot.clone()))),
            Err(source) => Some(Err(self.failed(source))),
        }
    }

    fn failed(&self, source: PgWireError) -> ConnectorError {
        let publication = self.settings.publication();
        if misses(&source, &publication) {
            let source_name = self.settings.name.clone();
            return ConnectorError::PublicationMissed { source_name, slot: self.slot.clone(), publication };
        }
        ConnectorError::Stream { slot: self.slot.clone(), source }
    }

    fn see(&mut self, event: &ReplicationEvent) -> usize {
        match event {
            ReplicationEvent::XLogData { wal_end, data, .. } => {
                self.lag.sent = self.lag.sent.max(Lsn(wal_end.as_u64()));
                data.len()
            }
            ReplicationEvent::KeepAlive { wal_end, .. } => {
                self.lag.sent = self.lag.sent.max(Lsn(wal_end.as_u64()));
                0
            }
            ReplicationEvent::Begin { commit_time_micros, .. } => {
                self.lag.committed_at = commit_time_micros.saturating_add(crate::decode::POSTGRES_EPOCH_MICROS);
                0
            }
            ReplicationEvent::Message { content, .. } => content.len(),
            ReplicationEvent::Commit { end_lsn, .. } => {
                let end = Lsn(end_lsn.as_u64());
                self.lag.sent = self.lag.sent.max(end);
                self.lag.unconfirmed.commit(end, self.lag.committed_at);
                0
            }
            ReplicationEvent::StoppedAt { .. } => 0,
        }
    }
}

/// Whether pgoutput did not find the publication where it has read to. A slot that is not there has the same code, but is
/// missed before the stream begins. The words may be in any language.
fn misses(error: &PgWireError, publication: &str) -> bool {
    matches!(error, PgWireError::Server(told) if told.ends_with(UNDEFINED_OBJECT) && told.contains(publication))
}

fn ended(slot: String) -> ConnectorError {
    let source = PgWireError::Protocol("the server ended the stream".into());
    ConnectorError::Stream { slot, source }
}

/// From a time in microseconds until now; 0 without one.
#[expect(clippy::cast_precision_loss, reason = "a gauge")]
pub(crate) fn seconds_since(time: Option<i64>) -> f64 {
    time.map_or(0.0, |time| now().saturating_sub(time).max(0) as f64 / 1_000_000.0)
}

impl Source<Input, Lsn> for Stream<'_> {
    type Error = ConnectorError;

    async fn read(&mut self) -> Result<Option<Batch<Input, Lsn>>, ConnectorError> {
        let sent = self.lag.sent;
        let one = |input| Ok(Some(Batch { items: vec![input], upto: sent }));
        let first = match self.first().await? {
            First::Event(first) => first,
            First::Answer(answer) => return one(Input::Answer(Box::new(answer))),
            First::Tick => return one(Input::Tick),
            First::End => return Ok(None),
        };
        self.heard = Instant::now();
        let mut bytes = self.see(&first);
        let mut items = Vec::with_capacity(64);
        items.push(first);
        while items.len() < BATCH_FRAMES_MAX && bytes < BATCH_BYTES_MAX {
            match self.more() {
                Some(event) => {
                    let event = event?;
                    bytes += self.see(&event);
                    items.push(event);
                }
                None => break,
            }
        }
        // Told before it is handed on: who waits for Kafka does not come back here.
        let level = self.status.view_of(|view| view.level).unwrap_or_default();
        let since = self.lag.unconfirmed.since(level);
        self.status.update(|view| view.unconfirmed_since = since);
        failpoint::reached("stream.read");
        Ok(Some(Batch { items: vec![Input::Frames(items)], upto: self.lag.sent }))
    }

    async fn confirm(&mut self, upto: Durable<Lsn>) -> Result<(), ConnectorError> {
        let upto = upto.point();
        if let Some((health, _)) = self.doubted.take_if(|(_, at)| upto >= *at) {
            left_out::well(&health, self.status);
            self.status.update(|view| (view.phase, view.refused) = (Phase::Streaming, None));
        }
        failpoint::reached("stream.before-confirm");
        self.client.update_applied_lsn(WireLsn::from_u64(upto.0));
        failpoint::reached("stream.confirmed");
        let behind = self.lag.sent.0.saturating_sub(upto.0);
        let since = self.lag.unconfirmed.since(upto);
        let seconds = seconds_since(since);
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("causeway_capture_lag_bytes", "source" => self.lag.source.clone()).set(behind as f64);
        metrics::gauge!("causeway_capture_lag_seconds", "source" => self.lag.source.clone()).set(seconds);
        self.status.update(|view| {
            view.lag_bytes = behind;
            view.lag_s = seconds;
            (view.unconfirmed_since, view.level) = (since, Some(upto));
            view.confirmed = Some(upto.to_string());
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_that_pgoutput_does_not_find_is_told_from_other_failures() {
        let told = |text: &str| misses(&PgWireError::Server(text.into()), "causeway_clinic");
        assert!(told("publication \"causeway_clinic\" does not exist (SQLSTATE 42704)"));
        assert!(told("Publikation »causeway_clinic« existiert nicht (SQLSTATE 42704)"));
        assert!(!told("type \"lims.state\" does not exist (SQLSTATE 42704)"));
        assert!(!told("terminating connection of causeway_clinic (SQLSTATE 57P01)"));
        assert!(!misses(&PgWireError::Protocol("causeway_clinic (SQLSTATE 42704)".into()), "causeway_clinic"));
    }
}
