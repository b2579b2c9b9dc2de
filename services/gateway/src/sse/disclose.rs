//! What streams may tell: many readers' questions in one transaction.
//!
//! # Why
//! One change of an alert is told to everybody who listens, at once. A transaction for each of them is as many commits for
//! one potassium, and the last one waits for all the others. So readers ask here, and whoever has asked meanwhile is
//! answered together: sessions are read once, an alert once for each user, and what all of them are shown is in the audit,
//! a row for each reader and alert, before any of them is answered. Connections are the streams' own: however many
//! readers there are, pages have theirs.

use crate::{
    GatewayError,
    access::{Action, Channel, PatientContext, Released},
    alerts::{self, Alert, Sifted, Which},
    app::{App, Problem, Shared},
    audit::{self, Decided},
    database, session,
    session::Actor,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use uuid::Uuid;

/// Readers answered in one transaction.
const READERS_AT_ONCE_MAX: usize = 256;
/// Questions that wait. A reader asks one at a time, and there are no more readers.
const WAITING_MAX: usize = super::CLIENTS_MAX;
/// Transactions at once: those of the streams' connections that opening a stream does not need.
const TRANSACTIONS_MAX: usize = 4;
const _: () =
    assert!(TRANSACTIONS_MAX < database::STREAM_CONNECTIONS_MAX, "streams can be opened while others are told");

/// What a reader is told: their teams as they are now, and of the alerts asked for those that may be shown.
pub struct Told {
    pub teams: Vec<String>,
    pub alerts: Vec<Released<Alert>>,
}

struct Question {
    token_hash: Vec<u8>,
    request_id: String,
    alerts: BTreeSet<Uuid>,
    answer: oneshot::Sender<Result<Option<Told>, Problem>>,
}

/// Where readers ask. Clones share it.
#[derive(Clone)]
pub struct Desk(mpsc::Sender<Question>);

/// What arrives at the desk.
pub struct Questions(mpsc::Receiver<Question>);

impl Desk {
    pub fn new() -> (Self, Questions) {
        let (asked, questions) = mpsc::channel(WAITING_MAX);
        (Self(asked), Questions(questions))
    }

    /// What this session may be told of these alerts now; `None` when it has ended. It is in the audit already.
    pub async fn ask(
        &self,
        token_hash: &[u8],
        request_id: &str,
        alerts: BTreeSet<Uuid>,
    ) -> Result<Option<Told>, Problem> {
        let (answer, told) = oneshot::channel();
        let (token_hash, request_id) = (token_hash.to_vec(), request_id.to_owned());
        self.0.send(Question { token_hash, request_id, alerts, answer }).await.map_err(|_| Problem::Busy)?;
        told.await.unwrap_or(Err(Problem::Busy))
    }
}

/// Answers until the stop signal.
pub async fn run(app: Shared, mut questions: Questions) {
    let places = Arc::new(Semaphore::new(TRANSACTIONS_MAX));
    loop {
        let mut batch = Vec::new();
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = questions.0.recv_many(&mut batch, READERS_AT_ONCE_MAX) => {}
        }
        let app = app.clone();
        tokio::spawn(async move {
            let _place = place;
            answer_all(&app, batch).await;
        });
    }
}

async fn answer_all(app: &App, batch: Vec<Question>) {
    metrics::histogram!("causeway_gateway_stream_readers_at_once").record(batch.len() as f64);
    let told = tell(app, &batch).await.map_err(Problem::from);
    match told {
        Ok(told) => {
            for (question, told) in batch.into_iter().zip(told) {
                // Whoever has gone meanwhile is not there to be told.
                question.answer.send(Ok(told)).ok();
            }
        }
        Err(problem) => {
            for question in batch {
                question.answer.send(Err(problem.clone())).ok();
            }
        }
    }
}

/// For each question, in their order.
async fn tell(app: &App, batch: &[Question]) -> Result<Vec<Option<Told>>, GatewayError> {
    let mut client = app.streams.get().await?;
    let transaction = database::begin(&mut client).await?;
    let hashes: Vec<&[u8]> = batch.iter().map(|question| question.token_hash.as_slice()).collect();
    let sessions = session::actors(&transaction, &hashes).await?;
    let actor = |question: &Question| {
        let actor = sessions.get(&question.token_hash)?;
        Some(Actor { request_id: question.request_id.clone(), channel: Channel::Stream, ..actor.clone() })
    };
    let actors: Vec<Option<Actor>> = batch.iter().map(actor).collect();
    // What one user may see does not depend on which of their tabs asks.
    let mut wanted: BTreeMap<&str, (&Actor, BTreeSet<Uuid>)> = BTreeMap::new();
    for (question, actor) in batch.iter().zip(&actors) {
        if let Some(actor) = actor.as_ref().filter(|_| !question.alerts.is_empty()) {
            wanted.entry(&actor.user).or_insert((actor, BTreeSet::new())).1.extend(&question.alerts);
        }
    }
    let (mut found, mut others): (BTreeMap<&str, Vec<Sifted>>, BTreeSet<Uuid>) = (BTreeMap::new(), BTreeSet::new());
    for (user, (actor, ids)) in wanted {
        let alerts = alerts::read(&transaction, actor, &Which::These(ids.iter().copied().collect())).await?;
        let sifted = alerts::sift(app, &transaction, actor, Action::ViewAlerts, alerts).await?;
        others.extend(ids.iter().filter(|id| !sifted.iter().any(|(alert, _)| alert.id == **id)));
        found.insert(user, sifted);
    }
    let others = alerts::subjects(&transaction, &Which::These(others.into_iter().collect())).await?;
    let mut told: Vec<Option<Told>> = actors
        .iter()
        .map(|actor| actor.as_ref().map(|actor| Told { teams: actor.teams.clone(), alerts: vec![] }))
        .collect();
    let (mut asked, mut decided) = (Vec::new(), Vec::new());
    for (index, (question, actor)) in batch.iter().zip(&actors).enumerate() {
        let Some(actor) = actor else { continue };
        let sifted = found.get(actor.user.as_str()).into_iter().flatten();
        for (alert, decision) in sifted.clone().filter(|(alert, _)| question.alerts.contains(&alert.id)) {
            decided.push(alerts::decided(actor, Action::ViewAlerts, alert, decision.clone()));
            asked.push((index, Some(alert)));
        }
        // It was routed to them when it was told, and is not any more.
        for id in question.alerts.iter().filter(|id| !sifted.clone().any(|(alert, _)| alert.id == **id)) {
            let decision = app.decide_on(actor, Action::ViewAlerts, Some(&PatientContext::default()));
            let subjects = others.get(id).cloned().into_iter().collect();
            decided.push(Decided { actor, action: Action::ViewAlerts.as_str(), decision, subjects });
            asked.push((index, None));
        }
    }
    let recorded = audit::record_all(&transaction, decided).await?;
    for ((index, alert), recorded) in asked.into_iter().zip(recorded) {
        let released = alert.and_then(|alert| recorded.release(alert.clone()).ok());
        if let (Some(told), Some(alert)) = (&mut told[index], released) {
            told.alerts.push(alert);
        }
    }
    transaction.commit().await?;
    Ok(told)
}
