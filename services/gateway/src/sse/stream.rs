//! One reader's stream.
//!
//! # Why
//! A stream holds no queue, only its place in the ring: a slow reader costs nothing and falls behind until the ring has
//! moved on, is dropped then, and comes back to a reset. Who may see an alert is read from the database when it is sent,
//! and every few seconds, so that a revocation reaches an open stream.

use super::{
    Live,
    ring::{Entry, Resume},
};
use crate::{
    access::Action,
    alerts::{self, Which},
    app::{Problem, RequestId, Shared, Signed, now},
    audit, database,
    page::format,
    session::{self, Actor},
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
use std::{convert::Infallible, time::Duration};
use tokio::time::Instant;

/// Revocations reach a stream at least so often.
pub const RECHECK: Duration = Duration::from_secs(4);
const _: () = assert!(RECHECK.as_secs() <= 5, "revocation reaches an open stream within five seconds");
/// Heartbeats come so often, whatever else does: a client that missed two knows that the connection is dead.
pub const HEARTBEAT: Duration = Duration::from_secs(12);
/// How long a browser waits before it connects again.
const RETRY_MS: u32 = 1_000;
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
    let client = app.pool.get().await?;
    audit::write(&client, &signed.actor, &audit::Entry::of("open-stream", &decision), &[]).await?;
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
                yield Ok(event("reset", head, &json!({"reason": "the point to resume from is outside the window"})));
                head
            }
        };
        let mut grown = reader.live.grown.subscribe();
        loop {
            match reader.step().await {
                Step::Say(bytes) => yield Ok(bytes),
                Step::SayAndEnd(bytes) => { yield Ok(bytes); break; }
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
    Say(Bytes),
    SayAndEnd(Bytes),
    End,
    Skip,
    Wait(Instant),
}

struct Reader {
    app: Shared,
    live: Live,
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
            match self.recheck().await {
                Ok(true) => {}
                Ok(false) => {
                    return Step::SayAndEnd(event("bye", self.after, &json!({"reason": "the session has ended"})));
                }
                Err(_) => return self.failed(),
            }
        }
        if self.spoke.elapsed() >= HEARTBEAT {
            self.spoke = Instant::now();
            let at = jiff::Timestamp::now().to_string();
            // With an id, so that the place to resume from moves on when nothing is for this reader.
            return Step::Say(event("heartbeat", self.after, &json!({"at": at, "behind": self.app.behind()})));
        }
        let next = match self.live.next(self.after) {
            Ok(next) => next,
            // Too slow: it connects again and is told to reload.
            Err(_) => return Step::End,
        };
        if let Some(entry) = next {
            return match self.tell(&entry).await {
                Ok(told) => {
                    self.after = entry.offset;
                    self.failures = 0;
                    told.map_or(Step::Skip, Step::Say)
                }
                Err(_) => self.failed(),
            };
        }
        Step::Wait((self.checked + RECHECK).min(self.spoke + HEARTBEAT))
    }

    fn failed(&mut self) -> Step {
        self.failures += 1;
        if self.failures >= FAILURES_MAX { Step::End } else { Step::Wait(Instant::now() + Duration::from_millis(200)) }
    }

    async fn actor(&self, client: &impl deadpool_postgres::GenericClient) -> Result<Option<Actor>, Problem> {
        // Listening is not using: a stream keeps no session alive.
        Ok(session::actor(client, &self.token_hash, &self.request_id, false).await?)
    }

    async fn recheck(&mut self) -> Result<bool, Problem> {
        let client = self.app.pool.get().await?;
        let actor = self.actor(&client).await?;
        self.checked = Instant::now();
        let live = actor.is_some();
        self.teams = actor.map(|actor| actor.teams).unwrap_or_default();
        Ok(live)
    }

    /// The event, if it is for this reader now; the disclosure is in the audit before it is sent.
    async fn tell(&mut self, entry: &Entry) -> Result<Option<Bytes>, Problem> {
        if !entry.teams.iter().any(|team| self.teams.contains(team)) {
            return Ok(None);
        }
        if entry.change == AlertChange::Routed && self.live.had_before(entry, &self.teams) {
            return Ok(None);
        }
        let mut client = self.app.pool.get().await?;
        let transaction = database::begin(&mut client).await?;
        let Some(actor) = self.actor(&transaction).await? else {
            // The next check ends the stream.
            self.checked -= RECHECK;
            return Ok(None);
        };
        let found = alerts::read(&transaction, &actor, &Which::One(entry.alert)).await?;
        let mut shown = alerts::disclose(&self.app, &transaction, &actor, Action::ViewAlerts, found).await?;
        transaction.commit().await?;
        let Some(alert) = shown.pop() else { return Ok(None) };
        if entry.change == AlertChange::Raised {
            let seconds = (now() - alert.committed_at) as f64 / 1e6;
            metrics::histogram!("causeway_gateway_alert_latency_seconds").record(seconds.max(0.0));
        }
        let data = json!({
            "alert": alert.id.to_string(),
            "change": entry.change.as_str(),
            "state": alert.state,
            "severity": alert.severity,
            "urgency": alert.urgency,
            "interrupts": alert.urgency != "listed",
            "rule": alert.rule,
            "headline": alert.headline,
            "patient": format::name(alert.family.as_deref(), alert.given.as_deref()),
            "link": alert.person.map(|person| format!("/patients/{person}")),
            "committed_at": format::machine(alert.committed_at),
            "raised_at": format::machine(alert.raised_at),
        });
        Ok(Some(event("alert", entry.offset, &data)))
    }
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
