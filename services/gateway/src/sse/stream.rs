//! One reader's stream.
//!
//! # Why
//! A stream holds no queue, only its place in the ring: a slow reader costs nothing and falls behind until the ring has
//! moved on, is dropped then, and comes back to a reset. Who may see an alert is read from the database when it is sent,
//! and every few seconds, so that a revocation reaches an open stream: for all readers that ask together at once.

use super::{
    Live,
    disclose::Desk,
    ring::{Entry, Resume},
};
use crate::{
    access::{AboutNobody, Action, Released},
    alerts::Alert,
    app::{Problem, RequestId, Shared, Signed, now},
    audit,
    page::format,
};
use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use event::alert::AlertChange;
use serde::Deserialize;
use serde_json::json;
use std::{collections::BTreeSet, convert::Infallible, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

/// Revocations reach a stream at least so often.
pub const RECHECK: Duration = Duration::from_secs(4);
const _: () = assert!(RECHECK.as_secs() <= 5, "revocation reaches an open stream within five seconds");
/// Heartbeats come so often, whatever else does: a client that missed two knows that the connection is dead.
pub const HEARTBEAT: Duration = Duration::from_secs(12);
/// How long a browser waits before it connects again.
const RETRY_MS: u32 = 1_000;
/// Events that a reader who has fallen behind is told together.
const EVENTS_AT_ONCE_MAX: usize = 64;
/// The database may fail so often in a row before the stream is dropped; it resumes.
const FAILURES_MAX: u32 = 3;

#[derive(Deserialize)]
pub struct Asked {
    after: Option<i64>,
}

/// Changes of the alerts that are routed to the reader's teams, as they happen.
#[utoipa::path(get, path = "/events", tag = "alerts",
    params(("Last-Event-ID" = Option<String>, Header, description = "Go on after this event"),
           ("after" = Option<i64>, Query, description = "The same, for a first connection")),
    responses((status = 200, description = "`alert`, `heartbeat` and `reset` events; `reset` asks to load the inbox again", content_type = "text/event-stream"),
              (status = 401), (status = 503, description = "Too many streams, or Kafka has not been reached yet")))]
pub async fn events(
    State(app): State<Shared>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    signed: Signed,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let decision = app.decide_on(&signed.actor, Action::ViewAlerts, None);
    let client = app.streams.get().await?;
    let decision = audit::record(&client, &signed.actor, "open-stream", decision, Vec::new()).await?;
    drop(client);
    if !decision.allow {
        return Err(Problem::forbidden(decision.why.as_str()));
    }
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).filter(|id| !id.is_empty());
    // An id that is no number was not ours: the reader has to start anew.
    let after = match last {
        Some(id) => Some(id.trim().parse().unwrap_or(i64::MAX)),
        None => asked.after,
    };
    let resume = app.live.resume(after).ok_or(Problem::Busy)?;
    let permit = app.live.clients.clone().try_acquire_owned().map_err(|_| Problem::Busy)?;
    let stop = app.stop.clone();
    metrics::gauge!("causeway_gateway_streams").increment(1.0);
    let gone = Gone;
    let mut reader = Reader {
        live: app.live.clone(),
        desk: app.desk.clone(),
        app,
        token_hash: signed.actor.token_hash,
        teams: signed.actor.teams,
        request_id,
        after: 0,
        checked: Instant::now(),
        spoke: Instant::now(),
        failures: 0,
    };
    let body = async_stream::stream! {
        let _permit = permit;
        let _gone = gone;
        yield Ok::<Bytes, Infallible>(Bytes::from(format!("retry: {RETRY_MS}\n\n")));
        reader.after = match resume {
            Resume::After(after) => after,
            Resume::Reset(head) => {
                yield Ok(sent(said("reset", head, Said::Reset)));
                head
            }
        };
        let mut grown = reader.live.grown.subscribe();
        loop {
            match reader.step().await {
                Step::Say(told) => yield Ok(sent(told)),
                Step::SayAndEnd(told) => { yield Ok(sent(told)); break; }
                Step::End => break,
                Step::Skip => {}
                Step::Wait(until) => tokio::select! {
                    _ = grown.changed() => {}
                    () = tokio::time::sleep_until(until) => {}
                    () = stop.cancelled() => break,
                },
            }
        }
    };
    Ok((
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store"), (X_ACCEL, "no")],
        Body::from_stream(body),
    )
        .into_response())
}

/// Tells proxies that buffer to let events through.
const X_ACCEL: header::HeaderName = header::HeaderName::from_static("x-accel-buffering");

struct Gone;

impl Drop for Gone {
    fn drop(&mut self) {
        metrics::gauge!("causeway_gateway_streams").decrement(1.0);
    }
}

enum Step {
    Say(Released<Bytes>),
    SayAndEnd(Released<Bytes>),
    End,
    Skip,
    Wait(Instant),
}

struct Reader {
    app: Shared,
    live: Live,
    desk: Desk,
    token_hash: Vec<u8>,
    /// The reader's, as of the last check.
    teams: Vec<String>,
    request_id: String,
    /// The offset of the last event that was told or passed over.
    after: i64,
    checked: Instant,
    spoke: Instant,
    failures: u32,
}

impl Reader {
    async fn step(&mut self) -> Step {
        if self.checked.elapsed() >= RECHECK {
            match self.ask(BTreeSet::new()).await {
                Ok(Some(_)) => {}
                Ok(None) => return self.bye(),
                Err(_) => return self.failed(),
            }
        }
        if self.spoke.elapsed() >= HEARTBEAT {
            self.spoke = Instant::now();
            let at = jiff::Timestamp::now().to_string();
            // With an id, so that the place to resume from moves on when nothing is for this reader.
            return Step::Say(said("heartbeat", self.after, Said::Heartbeat { at, behind: self.app.behind() }));
        }
        let next = match self.live.next(self.after, EVENTS_AT_ONCE_MAX) {
            Ok(next) => next,
            // Too slow: it connects again and is told to reload.
            Err(_) => return Step::End,
        };
        let Some(last) = next.last().map(|entry| entry.offset) else {
            return Step::Wait((self.checked + RECHECK).min(self.spoke + HEARTBEAT));
        };
        match self.tell(&next).await {
            Ok(Some(told)) => {
                self.after = last;
                self.failures = 0;
                if told.is_empty() { Step::Skip } else { Step::Say(told) }
            }
            Ok(None) => self.bye(),
            Err(_) => self.failed(),
        }
    }

    fn bye(&self) -> Step {
        Step::SayAndEnd(said("bye", self.after, Said::Bye))
    }

    fn failed(&mut self) -> Step {
        self.failures += 1;
        if self.failures >= FAILURES_MAX { Step::End } else { Step::Wait(Instant::now() + Duration::from_millis(200)) }
    }

    /// Listening is not using: it keeps no session alive.
    async fn ask(&mut self, alerts: BTreeSet<Uuid>) -> Result<Option<Vec<Released<Alert>>>, Problem> {
        let told = self.desk.ask(&self.token_hash, &self.request_id, alerts).await?;
        self.checked = Instant::now();
        Ok(told.map(|told| {
            self.teams = told.teams;
            told.alerts
        }))
    }

    /// The events that are for this reader now, in their order; their disclosure is in the audit. `None`: no session.
    async fn tell(&mut self, entries: &[Entry]) -> Result<Option<Released<Bytes>>, Problem> {
        let routed_elsewhere =
            |entry: &Entry| entry.change == AlertChange::Routed && self.live.had_before(entry, &self.teams);
        let mine =
            |entry: &&Entry| entry.teams.iter().any(|team| self.teams.contains(team)) && !routed_elsewhere(entry);
        let mine: Vec<&Entry> = entries.iter().filter(mine).collect();
        if mine.is_empty() {
            return Ok(Some(told(Vec::new())));
        }
        let Some(mut shown) = self.ask(mine.iter().map(|entry| entry.alert).collect()).await? else { return Ok(None) };
        let mut events = Vec::new();
        // One alert may have changed more than once, and is released once: each change is told with it as it is now.
        while let Some(alert) = shown.pop() {
            let changes: Vec<&Entry> = mine.iter().copied().filter(|entry| entry.alert == alert.id).collect();
            events.push(alert.map(|alert| changes.iter().map(|of| (of.offset, alert_event(of, &alert))).collect()));
        }
        Ok(Some(told(events)))
    }
}

/// The events of each alert, with their offsets, as one answer in the order of the stream.
fn told(events: Vec<Released<Vec<(i64, Bytes)>>>) -> Released<Bytes> {
    Released::all(events).map(|events| {
        let mut events: Vec<(i64, Bytes)> = events.into_iter().flatten().collect();
        events.sort_by_key(|(offset, _)| *offset);
        events.iter().flat_map(|(_, event)| event.iter().copied()).collect::<Vec<u8>>().into()
    })
}

/// What a stream says of itself.
enum Said {
    Heartbeat { at: String, behind: Option<String> },
    Reset,
    Bye,
}

impl AboutNobody for Said {}

fn said(kind: &str, id: i64, what: Said) -> Released<Bytes> {
    let data = |what| match what {
        Said::Heartbeat { at, behind } => json!({"at": at, "behind": behind}),
        Said::Reset => json!({"reason": "the point to resume from is outside the window"}),
        Said::Bye => json!({"reason": "the session has ended"}),
    };
    Released::about_nobody(what).map(|what| event(kind, id, &data(what)))
}

/// The door of the stream.
fn sent(told: Released<Bytes>) -> Bytes {
    told.send(|bytes| bytes)
}

fn alert_event(entry: &Entry, alert: &Alert) -> Bytes {
    if entry.change == AlertChange::Raised {
        let seconds = (now() - alert.committed_at) as f64 / 1e6;
        metrics::histogram!("causeway_gateway_alert_latency_seconds").record(seconds.max(0.0));
    }
    let data = json!({
        "alert": alert.id.to_string(),
        "matter": alert.matter.to_string(),
        "change": entry.change.as_str(),
        "state": alert.state,
        "severity": alert.severity,
        "urgency": alert.urgency,
        "interrupts": alert.interrupts(),
        "rule": alert.rule,
        "headline": alert.headline,
        "patient": format::name(alert.family.as_deref(), alert.given.as_deref()),
        "link": alert.person.map(|person| format!("/patients/{person}")),
        "committed_at": format::machine(alert.committed_at),
        "raised_at": format::machine(alert.raised_at),
    });
    event("alert", entry.offset, &data)
}

/// JSON holds no line break, so one `data` line is enough.
fn event(kind: &str, id: i64, data: &serde_json::Value) -> Bytes {
    Bytes::from(format!("id: {id}\nevent: {kind}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_frame_whatever_it_says() {
        let bytes = event("alert", 7, &json!({"headline": "a\n\ndata: b\r"}));
        assert_eq!(bytes, "id: 7\nevent: alert\ndata: {\"headline\":\"a\\n\\ndata: b\\r\"}\n\n");
    }
}
