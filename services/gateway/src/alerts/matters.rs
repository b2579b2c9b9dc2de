//! Alerts as their readers meet them: one matter for all that a specimen has shown, the most dangerous first.
//!
//! # Why
//! Order, counts and whether there is a matter at all are worked out after the decisions, from what this reader may be
//! told: how much lies beside it is no one's to see. The version that a reader answers is a digest of what was on their
//! screen, and of nothing else, for the same reason: a counter would tell that something else has changed.

use super::{Alert, Sifted, Which, decided, read, sift};
use crate::{
    GatewayError,
    access::{Action, Released},
    app::App,
    audit,
    session::Actor,
};
use alert::Severity;
use deadpool_postgres::GenericClient;
use event::Micros;
use sha2::{Digest, Sha256};
use std::{cmp::Reverse, collections::BTreeMap};
use uuid::Uuid;

/// Matters of one list: more of one team are not looked after anyway, and the page says that there are.
pub const MATTERS_MAX: usize = 1_000;
/// Matters on one page of it.
pub const PAGE_MATTERS: usize = 50;
/// How long an answered matter stays on the list for a hand-over.
const HAND_OVER_HOURS: u32 = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    Open,
    New,
    Seen,
    Acknowledged,
    Withdrawn,
    /// Withdrawn since the reader had it on their screen, and not told of it yet.
    Untold,
    /// For the next shift: open, or answered lately.
    HandOver,
}

impl Filter {
    /// The alerts whose matters are looked at. Parameters: the reader's teams and user.
    fn condition(self) -> String {
        const UNANSWERED: &str = "a.state <> 'withdrawn' and exists (select from alert.recipient r
            where r.alert = a.id and r.team = any($1) and r.answered_at is null)";
        match self {
            Self::Open => UNANSWERED.to_owned(),
            Self::New => format!("a.state = 'new' and {UNANSWERED}"),
            Self::Seen => format!("a.state in ('seen', 'acknowledged') and {UNANSWERED}"),
            Self::Acknowledged => "a.state <> 'withdrawn' and not exists (select from alert.recipient r
                where r.alert = a.id and r.team = any($1) and r.answered_at is null)"
                .to_owned(),
            Self::Withdrawn => "a.state = 'withdrawn'".to_owned(),
            Self::Untold => "a.state = 'withdrawn'
                and not exists (select from alert.sighting s
                    where s.alert = a.id and s.user_id = $2 and s.told_withdrawn_at is not null)
                and (exists (select from alert.sighting s where s.alert = a.id and s.user_id = $2)
                    or exists (select from alert.delivery d where d.alert = a.id and d.user_id = $2))"
                .to_owned(),
            Self::HandOver => format!(
                "(({UNANSWERED}) or (a.state <> 'withdrawn' and exists (select from alert.recipient r
                    where r.alert = a.id and r.team = any($1)
                        and r.answered_at > now() - make_interval(hours => {HAND_OVER_HOURS}))))"
            ),
        }
    }

    /// Whether an alert, as its reader is told of it, brings its matter into the list.
    pub fn holds(self, alert: &Alert) -> bool {
        match self {
            Self::Open => alert.is_open(),
            Self::New => alert.state == "new",
            Self::Seen => alert.state == "seen",
            Self::Acknowledged => alert.state == "acknowledged",
            Self::Withdrawn => alert.state == "withdrawn",
            Self::Untold => alert.untold,
            Self::HandOver => alert.state != "withdrawn",
        }
    }

    /// What waits is told by its danger; what is over, by when it was.
    const fn by_danger(self) -> bool {
        matches!(self, Self::Open | Self::New | Self::Seen | Self::HandOver)
    }
}

/// How dangerous, the least number first: a finding that interrupts before one that is only listed.
pub fn rank(alert: &Alert) -> u8 {
    let critical = alert.severity == Severity::Critical.as_str();
    match (alert.is_open(), alert.interrupts(), critical) {
        (true, true, true) => 0,
        (true, true, false) => 1,
        (true, false, true) => 2,
        (true, false, false) => 3,
        (false, ..) => 4,
    }
}

/// The worst of a matter's.
fn worst(matter: &[Sifted]) -> u8 {
    matter.iter().map(|(alert, _)| rank(alert)).min().unwrap_or(u8::MAX)
}

/// When its newest sample was taken, as well as that is known.
fn taken(matter: &[Sifted]) -> Option<Micros> {
    matter.iter().map(|(alert, _)| alert.taken_at.or(alert.authorised_at).unwrap_or(alert.committed_at)).max()
}

/// What a reader answers: the open alerts that they were shown, in the words that they were shown.
pub fn shown<'a>(alerts: impl IntoIterator<Item = &'a Alert>) -> String {
    let mut open: Vec<&Alert> = alerts.into_iter().filter(|alert| alert.is_open()).collect();
    open.sort_by_key(|alert| alert.id);
    let mut digest = Sha256::new();
    for alert in open {
        for field in [&alert.id.to_string(), &alert.severity, &alert.headline] {
            digest.update((field.len() as u64).to_be_bytes());
            digest.update(field.as_bytes());
        }
    }
    digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// One page of a list.
pub struct Page {
    /// The alerts of each matter, the worst first.
    pub matters: Vec<Released<Vec<Alert>>>,
    pub pages: usize,
    /// How many there are on all pages.
    pub count: usize,
    /// There are more than are looked at.
    pub capped: bool,
}

pub async fn page(
    app: &App,
    client: &impl GenericClient,
    actor: &Actor,
    filter: Filter,
    // Of so many matters, the nth.
    (size, nth): (usize, usize),
) -> Result<Page, GatewayError> {
    let mut ids = newest(client, actor, filter).await?;
    let capped = ids.len() > MATTERS_MAX;
    ids.truncate(MATTERS_MAX);
    let alerts = read(client, actor, &Which::Matters(ids)).await?;
    let sifted = sift(app, client, actor, Action::ViewAlerts, alerts).await?;
    let (allowed, withheld): (Vec<Sifted>, Vec<Sifted>) = sifted.into_iter().partition(|(_, decision)| decision.allow);
    let mut matters = grouped(allowed);
    matters.retain(|matter| matter.iter().any(|(alert, _)| filter.holds(alert)));
    let by_danger = filter.by_danger();
    matters.sort_by_key(|matter| (if by_danger { worst(matter) } else { 0 }, Reverse(taken(matter))));
    let (count, pages) = (matters.len(), matters.len().div_ceil(size).max(1));
    let shown = matters.into_iter().skip(nth * size).take(size).flatten();
    let matters = release(client, actor, Action::ViewAlerts, shown.chain(withheld).collect()).await?;
    Ok(Page { matters, pages, count, capped })
}

/// The open matters of one person for the reader's teams, the most dangerous first, disclosed and audited. A link on hold
/// joins nobody.
pub async fn of_person(
    app: &App,
    client: &impl GenericClient,
    actor: &Actor,
    person: Uuid,
) -> Result<Vec<Released<Vec<Alert>>>, GatewayError> {
    if !app.decide_on(actor, Action::ViewAlerts, None).allow {
        return Ok(Vec::new());
    }
    let sql = format!(
        "select distinct a.matter::text from record.link l join alert.alert a on a.source = l.source and a.patient = l.patient
         where l.person = $3::text::uuid and l.status <> 'held' and $2::text is not null and {} limit {MATTERS_MAX}",
        Filter::Open.condition()
    );
    let rows = client.query(&sql, &[&actor.teams, &actor.user, &person.to_string()]).await?;
    let ids: Vec<Uuid> = rows.iter().filter_map(|row| row.get::<_, &str>(0).parse().ok()).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let alerts = read(client, actor, &Which::Matters(ids)).await?;
    let sifted = sift(app, client, actor, Action::ViewAlerts, alerts).await?;
    let (allowed, withheld): (Vec<Sifted>, Vec<Sifted>) = sifted.into_iter().partition(|(_, decision)| decision.allow);
    let mut matters = grouped(allowed);
    matters.retain(|matter| matter.iter().any(|(alert, _)| alert.is_open()));
    matters.sort_by_key(|matter| (worst(matter), Reverse(taken(matter))));
    release(client, actor, Action::ViewAlerts, matters.into_iter().flatten().chain(withheld).collect()).await
}

/// One matter, disclosed and audited: empty if nothing of it may be told, none if it is not of the reader's teams.
pub async fn one(
    app: &App,
    client: &impl GenericClient,
    actor: &Actor,
    action: Action,
    id: Uuid,
) -> Result<Option<Released<Vec<Alert>>>, GatewayError> {
    let alerts = read(client, actor, &Which::Matters(vec![id])).await?;
    if alerts.is_empty() {
        return Ok(None);
    }
    let sifted = sift(app, client, actor, action, alerts).await?;
    let released = Released::all(release(client, actor, action, sifted).await?);
    Ok(Some(released.map(|matters| matters.into_iter().flatten().collect())))
}

/// Their ids, the newest first.
async fn newest(client: &impl GenericClient, actor: &Actor, filter: Filter) -> Result<Vec<Uuid>, GatewayError> {
    let sql = format!(
        "select a.matter::text from alert.alert a
         where exists (select from alert.recipient r where r.alert = a.id and r.team = any($1)) and $2::text is not null
            and {}
         group by a.matter order by max(a.raised_at) desc, a.matter limit {}",
        filter.condition(),
        MATTERS_MAX + 1
    );
    let rows = client.query(&sql, &[&actor.teams, &actor.user]).await?;
    Ok(rows.iter().filter_map(|row| row.get::<_, &str>(0).parse().ok()).collect())
}

/// By matter, and in each the worst first.
fn grouped(alerts: Vec<Sifted>) -> Vec<Vec<Sifted>> {
    let mut matters: BTreeMap<Uuid, Vec<Sifted>> = BTreeMap::new();
    for sifted in alerts {
        matters.entry(sifted.0.matter).or_default().push(sifted);
    }
    for matter in matters.values_mut() {
        matter.sort_by_key(|(alert, _)| (rank(alert), Reverse(alert.raised_at), alert.id));
    }
    matters.into_values().collect()
}

/// All of it is in the audit; what may be told is put together again, in the same order.
async fn release(
    client: &impl GenericClient,
    actor: &Actor,
    action: Action,
    sifted: Vec<Sifted>,
) -> Result<Vec<Released<Vec<Alert>>>, GatewayError> {
    let decided = sifted.into_iter().map(|(alert, decision)| {
        let decided = decided(actor, action, &alert, decision);
        (alert, decided)
    });
    let released = audit::release_all(client, decided.collect()).await?;
    let mut matters: Vec<(Uuid, Vec<Released<Alert>>)> = Vec::new();
    for alert in released {
        match matters.last_mut() {
            Some((matter, alerts)) if *matter == alert.matter => alerts.push(alert),
            _ => matters.push((alert.matter, vec![alert])),
        }
    }
    Ok(matters.into_iter().map(|(_, alerts)| Released::all(alerts)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::PatientContext;

    fn alert(id: u128, severity: &str, urgency: &str, state: &str) -> Alert {
        Alert {
            id: Uuid::from_u128(id),
            matter: Uuid::nil(),
            rule: "critical-limit".into(),
            severity: severity.into(),
            urgency: urgency.into(),
            state: state.into(),
            headline: format!("finding {id}"),
            withdrawn_reason: None,
            source: "stmarys".into(),
            patient: "1".into(),
            record: "result/1".into(),
            version: "v".into(),
            detail: None,
            why: None,
            authorised_at: None,
            committed_at: 0,
            raised_at: 0,
            taken_at: None,
            taken_precision: None,
            organisation: None,
            family: None,
            given: None,
            birth_date: None,
            nhs_number: None,
            person: None,
            seen_by_me: None,
            untold: false,
            context: PatientContext::default(),
        }
    }

    #[test]
    fn what_interrupts_comes_first_and_what_is_answered_last() {
        let mut alerts = [
            alert(1, "warning", "listed", "new"),
            alert(2, "critical", "paged", "acknowledged"),
            alert(3, "critical", "listed", "seen"),
            alert(4, "warning", "late", "new"),
            alert(5, "critical", "late", "seen"),
            alert(6, "critical", "paged", "withdrawn"),
        ];
        alerts.sort_by_key(rank);
        assert_eq!(alerts.iter().map(|alert| alert.id.as_u128()).collect::<Vec<_>>(), [5, 4, 3, 1, 2, 6]);
    }

    #[test]
    fn the_version_is_of_what_is_open_and_shown_and_of_nothing_else() {
        let one = alert(1, "critical", "paged", "new");
        let version = shown([&one]);
        assert_eq!(version.len(), 32);
        // A finding more, other words, another severity: another version.
        let second = alert(2, "warning", "paged", "seen");
        assert_ne!(shown([&one, &second]), version);
        assert_ne!(shown([&Alert { headline: "finding 1, corrected".into(), ..one.clone() }]), version);
        assert_ne!(shown([&Alert { severity: "warning".into(), ..one.clone() }]), version);
        // Another order, a look at it, what was answered or withdrawn before: the same.
        assert_eq!(shown([&one, &second]), shown([&second, &one]));
        assert_eq!(shown([&Alert { state: "seen".into(), seen_by_me: Some(1), ..one.clone() }]), version);
        for over in ["acknowledged", "withdrawn"] {
            assert_eq!(shown([&one, &alert(3, "critical", "paged", over)]), version, "{over}");
        }
    }
}
