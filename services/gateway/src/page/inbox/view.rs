//! A matter as the page shows it.

use crate::{
    access::Team,
    alerts::{
        Alert,
        matters::{rank, shown},
        steps::{self, Outcome, Step},
    },
    app::{Shared, now},
    page::format,
    session::Actor,
};
use alert::Rule;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Teams that a matter can be handed over to, on one card.
const TARGETS_MAX: usize = 200;

/// One finding of the matter.
pub struct Finding {
    pub severity: &'static str,
    /// None where it is live.
    pub urgency: Option<&'static str>,
    pub state: &'static str,
    pub rule: &'static str,
    pub headline: String,
    pub withdrawn: bool,
    pub withdrawn_reason: Option<String>,
    pub resulted: Option<(String, String)>,
    pub raised: (String, String, String),
}

/// One matter.
pub struct Card {
    pub id: String,
    /// The version that an answer has to name.
    pub shown: String,
    pub state: &'static str,
    pub state_key: &'static str,
    pub severity: &'static str,
    pub severity_key: String,
    /// The least is the most dangerous.
    pub rank: u8,
    pub name: String,
    pub born: Option<String>,
    pub nhs: Option<String>,
    pub link: Option<String>,
    pub from: String,
    /// Why the reader's team has it, where that is not to be expected.
    pub why: Option<&'static str>,
    pub taken: Option<(String, String)>,
    pub findings: Vec<Finding>,
    /// What was done about it, in order.
    pub steps: Vec<String>,
    pub seen_by_me: Option<String>,
    pub can_see: bool,
    pub can_answer: bool,
    pub can_reopen: bool,
    /// Whom it can be handed over to.
    pub targets: Vec<(String, String)>,
    pub outcomes: Vec<(&'static str, &'static str)>,
    pub wrong: [(&'static str, &'static str); 5],
    pub note_max: usize,
}

pub fn rule_words(rule: &str) -> &'static str {
    Rule::parse(rule).map_or("Alert", |rule| rule.card().words)
}

/// Nobody else of whoever answers for the result receives it, or it was given to them.
fn why_words(why: Option<&str>) -> Option<&'static str> {
    match why? {
        "no team is known for the result" => {
            Some("Nobody is known to look after this result. It came to you as the site's catch-all.")
        }
        "its database holds the result" => {
            Some("The organisation of this result has no team here. Its database is yours.")
        }
        "holds the result" => Some("No other team of yours is known to look after this patient."),
        "handed over" => Some("It was handed over to your team."),
        "nobody else has acted on it" => Some("It came to your team because nobody else has acted on it."),
        _ => None,
    }
}

impl Finding {
    fn new(alert: &Alert, now: event::Micros) -> Self {
        let withdrawn = alert.state == "withdrawn";
        Self {
            severity: severity(alert),
            urgency: match alert.urgency.as_str() {
                "paged" => None,
                "late" => Some("Late result"),
                _ => Some("Listed: does not interrupt"),
            },
            state: state(&alert.state),
            rule: rule_words(&alert.rule),
            headline: alert.headline.clone(),
            withdrawn,
            withdrawn_reason: alert.withdrawn_reason.clone(),
            resulted: alert.authorised_at.map(|at| (format::machine(at), format::when(at))),
            raised: (
                format::machine(alert.raised_at),
                format::when(alert.raised_at),
                format::ago(alert.raised_at, now),
            ),
        }
    }
}

fn severity(alert: &Alert) -> &'static str {
    if alert.severity == "critical" { "Critical" } else { "Warning" }
}

fn state(key: &str) -> &'static str {
    match key {
        "new" => "New",
        "seen" => "Seen",
        "acknowledged" => "Acknowledged",
        _ => "Withdrawn",
    }
}

/// Of the whole matter: of whatever of it waits, else of what was answered, else withdrawn.
fn state_of(alerts: &[Alert]) -> &'static str {
    let any = |state: &str| alerts.iter().any(|alert| alert.state == state);
    ["new", "seen", "acknowledged"].into_iter().find(|state| any(state)).unwrap_or("withdrawn")
}

impl Card {
    /// The worst first; none of nothing. What was withdrawn stands struck through beside what replaced it: it may have
    /// been on this reader's screen a moment ago.
    pub fn new(app: &Shared, actor: &Actor, alerts: &[Alert], taken: &BTreeMap<Uuid, Vec<Step>>) -> Option<Self> {
        let now = now();
        let first = alerts.first()?;
        let open = || alerts.iter().filter(|alert| alert.is_open());
        let state_key = state_of(alerts);
        let born = first.birth_date.as_ref().map(|birth| {
            let age = format::age(birth, format::today(now)).map(|age| format!(" ({age} years)")).unwrap_or_default();
            format!("{}{age}", format::date(birth))
        });
        let why = alerts.iter().find_map(|alert| why_words(alert.why.as_deref()));
        Some(Self {
            id: first.matter.to_string(),
            shown: shown(alerts),
            state: state(state_key),
            state_key,
            severity: severity(first),
            severity_key: first.severity.clone(),
            rank: rank(first),
            name: format::name(first.family.as_deref(), first.given.as_deref()),
            born,
            nhs: first.nhs_number.as_deref().map(format::nhs_number),
            link: first.person.map(|person| format!("/patients/{person}")),
            from: first
                .organisation
                .as_deref()
                .map_or_else(|| first.source.clone(), |code| app.organisation_name(code)),
            why,
            taken: first.taken_at.map(|at| {
                let machine = first.taken_precision.map(|precision| format::machine_to(at, precision));
                (machine.unwrap_or_else(|| format::machine(at)), format::known(at, first.taken_precision))
            }),
            findings: alerts.iter().map(|alert| Finding::new(alert, now)).collect(),
            steps: lines(app, alerts, taken),
            seen_by_me: alerts.iter().filter_map(|alert| alert.seen_by_me).max().map(format::when),
            can_see: open().any(|alert| alert.seen_by_me.is_none()),
            can_answer: open().next().is_some(),
            can_reopen: alerts.iter().any(|alert| alert.state == "acknowledged"),
            targets: targets(app, actor, first).into_iter().map(|team| (team.id, team.name)).collect(),
            outcomes: outcomes(alerts),
            wrong: steps::FEEDBACK,
            note_max: steps::NOTE_CHARS_MAX,
        })
    }
}

/// What can be answered beside "acted on".
fn outcomes(alerts: &[Alert]) -> Vec<(&'static str, &'static str)> {
    let handed = alerts.iter().any(|alert| alert.why.as_deref() == Some("handed over"));
    let accept = handed.then_some((Outcome::Accepted.as_str(), "We have taken it over"));
    let others = [
        (Outcome::AlreadyKnown.as_str(), "We know it already"),
        (Outcome::HandedOver.as_str(), "Hand over to the team below"),
        (Outcome::NotUseful.as_str(), "It is not useful, because of the note below"),
    ];
    accept.into_iter().chain(others).collect()
}

/// Teams that see the result as well as the reader's do: of the reader's organisations, and of whoever answers for it.
pub fn targets(app: &Shared, actor: &Actor, alert: &Alert) -> Vec<Team> {
    let own = app.teams_of(actor);
    let holder = alert.context.holdings.first().map(|holding| holding.organisation.clone());
    let near = |team: &&Team| {
        !own.iter().any(|mine| mine.id == team.id)
            && (own.iter().any(|mine| mine.organisation == team.organisation)
                || holder.as_ref() == Some(&team.organisation))
    };
    app.site.teams.iter().filter(near).take(TARGETS_MAX).cloned().collect()
}

/// Steps of several findings that were taken at once are one line.
fn lines(app: &Shared, alerts: &[Alert], taken: &BTreeMap<Uuid, Vec<Step>>) -> Vec<String> {
    let mut steps: Vec<&Step> = alerts.iter().filter_map(|alert| taken.get(&alert.id)).flatten().collect();
    steps.sort_by_key(|step| step.at);
    let mut lines: Vec<String> = Vec::new();
    for step in steps {
        let line = line(app, step);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

fn line(app: &Shared, step: &Step) -> String {
    let team = |id: &Option<String>| id.as_deref().map(|id| app.team_name(id).to_owned());
    let by = step.by.as_deref().unwrap_or("somebody who is not known here any more");
    let whose = team(&step.team).map(|team| format!(", {team}")).unwrap_or_default();
    let to = team(&step.to).map(|team| format!(" to {team}")).unwrap_or_default();
    let note = step.note.as_deref().map(|note| format!(": “{note}”")).unwrap_or_default();
    let at = format::when(step.at);
    match (step.what.as_str(), step.outcome) {
        ("escalated", _) => format!("Nobody had acted on it: told{to}, {at}"),
        ("reopened", _) => format!("Opened again by {by}{whose}, {at}{note}"),
        (_, Some(outcome)) => format!("{}{to} by {by}{whose}, {at}{note}", outcome.words()),
        (_, None) => format!("Answered by {by}{whose}, {at}{note}"),
    }
}
