//! The data-quality role's pages: pairs of patients that may be one person, both side by side with what each field weighs, and
//! what somebody decides of them.
//!
//! # Why
//! A decision is the same row as the command line's, and the linker acts on it. The list names nobody but by the sources' own
//! keys; who two patients say they are is audited for each of them, and what is decided before it is decided. Two verified
//! NHS numbers are joined by two people: whoever said so already is refused, and that is audited, too.

use super::{Frame, format, patient::REASON_CHARS_MAX, render};
use crate::{
    access::{Action, Recorded},
    app::{Problem, Shared, Signed},
    audit::{self, Entry, Subject},
    database,
};
use askama::Template;
use axum::{
    Form,
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use deadpool_postgres::GenericClient;
use identity::{
    compare::{Field, compare},
    linking_number,
    parameters::Parameters,
    score,
};
use linker::store::clerk::{self, Decided, Pair, Record};
use serde::Deserialize;

/// Pairs shown; the longest waiting come first.
const PAIRS_MAX: i64 = 200;
const VIEW_QUEUE: &str = "view-link-queue";
const VIEW_PAIR: &str = "view-link-pair";
const SAID_ALREADY: &str =
    "you have linked these two already: they have two verified NHS numbers, and a second person has to link them";
const KEPT_BACK: &str = "kept back by its source";

#[derive(Template)]
#[template(path = "identity.html")]
struct QueuePage {
    frame: Frame,
    pairs: Vec<Waiting>,
    /// There are more than are shown.
    more: bool,
    /// A linker has run here.
    linker: bool,
}

struct Waiting {
    link: String,
    one: String,
    other: String,
    reason: String,
    bits: String,
    since: String,
    linked_by: String,
}

#[derive(Template)]
#[template(path = "identity_pair.html")]
struct PairPage {
    frame: Frame,
    csrf: String,
    one: Side,
    other: Side,
    fields: Vec<Row>,
    weighed: Option<Weighed>,
    waits: Option<String>,
    said: Option<String>,
    /// Why nobody decides about them here.
    closed: Option<&'static str>,
    needs_two: bool,
    linked_by_reader: bool,
    path: String,
    reason_max: usize,
}

struct Side {
    name: String,
    standing: String,
}

struct Row {
    field: &'static str,
    one: String,
    other: String,
    level: &'static str,
    bits: String,
}

struct Weighed {
    version: String,
    prior: String,
    bits: String,
    link: String,
    clerical: String,
    band: &'static str,
    stop: Option<&'static str>,
}

#[derive(Deserialize)]
pub struct DecisionForm {
    csrf: String,
    decision: String,
    #[serde(default)]
    reason: String,
}

/// Refused, and audited, for who has not the role.
async fn allowed(
    client: &impl GenericClient,
    app: &Shared,
    signed: &Signed,
    action: &str,
    subjects: Vec<Subject>,
) -> Result<Recorded, Problem> {
    let decision = app.decide_on(&signed.actor, Action::LinkPatients, None);
    Ok(audit::record(client, &signed.actor, action, decision, subjects).await?)
}

pub async fn queue(State(app): State<Shared>, signed: Signed) -> Result<Response, Problem> {
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let decision = allowed(&transaction, &app, &signed, VIEW_QUEUE, Vec::new()).await?;
    let linker = clerk::is_there(&*transaction).await?;
    let entries = if decision.allow && linker { clerk::queue(&*transaction, PAIRS_MAX + 1).await? } else { Vec::new() };
    transaction.commit().await?;
    let shown = usize::try_from(PAIRS_MAX).unwrap_or(usize::MAX);
    let more = entries.len() > shown;
    let pair = |entry: &clerk::Entry| Waiting {
        link: format!("/identity/{}/{}", entry.pair.0, entry.pair.1),
        one: entry.one.to_string(),
        other: entry.other.to_string(),
        reason: entry.reason.clone(),
        bits: entry.weight.map_or_else(String::new, |weight| weight.to_string()),
        since: jiff::Timestamp::try_from(entry.since)
            .map_or_else(|_| String::new(), |at| format::when(at.as_microsecond())),
        linked_by: entry.people.join(", "),
    };
    let pairs: Vec<Waiting> = entries.iter().take(shown).map(pair).collect();
    let page = decision.release((pairs, more))?;
    let frame = Frame::new(&app, &signed.actor, "Same person?", "identity");
    render(page.map(|(pairs, more)| QueuePage { frame, pairs, more, linker }))
}

fn subject(record: &Record) -> Subject {
    Subject {
        organisation: None,
        source: Some(record.known.source.clone()),
        patient: Some(record.known.id.clone()),
        person: record.person.as_deref().and_then(|person| person.parse().ok()),
    }
}

pub async fn pair(
    State(app): State<Shared>,
    signed: Signed,
    Path((one, other)): Path<(i64, i64)>,
) -> Result<Response, Problem> {
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let found = find(&transaction, (one, other)).await?;
    let subjects = found.iter().flat_map(|pair| [subject(&pair.one), subject(&pair.other)]).collect();
    let decision = allowed(&transaction, &app, &signed, VIEW_PAIR, subjects).await?;
    transaction.commit().await?;
    let Some(pair) = found.filter(|_| decision.allow) else {
        return Err(if decision.allow { Problem::NotFound } else { decision.why.into() });
    };
    let released = decision.release(pair)?;
    render(released.map(|pair| page(&app, &signed, &pair)))
}

async fn find(transaction: &deadpool_postgres::Transaction<'_>, pair: (i64, i64)) -> Result<Option<Pair>, Problem> {
    if !clerk::is_there(&**transaction).await? {
        return Ok(None);
    }
    Ok(clerk::pair(&**transaction, pair).await?)
}

fn page(app: &Shared, signed: &Signed, pair: &Pair) -> PairPage {
    let kept = pair.one.known.confidential || pair.other.known.confidential;
    let weights = app.site.weights.as_deref().filter(|_| !kept);
    let said = pair.said.as_ref().map(|said| {
        let people = said.people.join(" and ");
        match said.verdict.as_str() {
            "must" => format!("{people} said that they are one person"),
            "cannot" => format!("{people} said that they are two"),
            _ => "their source says that it merged them".to_owned(),
        }
    });
    PairPage {
        frame: Frame::new(app, &signed.actor, "Same person?", "identity"),
        csrf: signed.actor.csrf.clone(),
        one: side(&pair.one),
        other: side(&pair.other),
        fields: fields(pair, kept, weights),
        weighed: weights.map(|weights| weighed(pair, weights)),
        waits: pair.waits.clone(),
        said,
        closed: kept.then_some("one of them is kept back by its source: nobody decides about it on a page"),
        needs_two: pair.needs_two(),
        linked_by_reader: pair.is_linked_by(&signed.actor.user),
        path: path(pair),
        reason_max: REASON_CHARS_MAX,
    }
}

fn path(pair: &Pair) -> String {
    format!("/identity/{}/{}", pair.one.known.seen, pair.other.known.seen)
}

fn side(record: &Record) -> Side {
    let standing = match (record.status.as_deref(), record.reason.as_deref()) {
        (Some(status), Some(reason)) => format!("{status}: {reason}"),
        _ => "not looked at yet".to_owned(),
    };
    Side { name: format!("{}/{}", record.known.source, record.known.id), standing }
}

fn fields(pair: &Pair, kept: bool, weights: Option<&Parameters>) -> Vec<Row> {
    let (one, other) = (&pair.one.known, &pair.other.known);
    let levels = compare(one, other);
    let parts = weights.map(|weights| score::parts(one, other, weights)).unwrap_or_default();
    let row = |field: Field| {
        let shown = |record: &Record| value(record, field).unwrap_or_else(|| "not told".to_owned());
        let part = parts.iter().find(|part| part.field == field);
        Row {
            field: words(field),
            one: if kept { KEPT_BACK.into() } else { shown(&pair.one) },
            other: if kept { KEPT_BACK.into() } else { shown(&pair.other) },
            level: levels.name(field).filter(|_| !kept).map_or("", level_words),
            bits: part.map_or_else(String::new, |part| part.weight.to_string()),
        }
    };
    Field::ALL.into_iter().map(row).collect()
}

/// As its source tells it.
fn value(record: &Record, field: Field) -> Option<String> {
    let known = &record.known;
    match field {
        Field::Given => record.given.clone(),
        Field::Family => record.family.clone(),
        Field::Birth => {
            let day = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().try_days(known.birth_date?).ok()?);
            Some(format::date(&day.ok()?.to_string()))
        }
        Field::Postcode => known.postcode.clone(),
        Field::Sex => known.gender.clone(),
        Field::Number => {
            let number = format::nhs_number(known.nhs_number.as_deref()?);
            Some(format!("{number}{}", if linking_number(known).is_some() { ", verified" } else { ", not verified" }))
        }
    }
}

const fn words(field: Field) -> &'static str {
    match field {
        Field::Given => "Forenames",
        Field::Family => "Surname",
        Field::Birth => "Born",
        Field::Postcode => "Postcode",
        Field::Sex => "Sex",
        Field::Number => "NHS number",
    }
}

fn level_words(level: &'static str) -> &'static str {
    match level {
        "exact" | "full" => "the same",
        "short_form" => "a short form",
        "initial" => "an initial",
        "swapped" => "in the surname's place",
        "jaro_winkler_92" => "very alike",
        "jaro_winkler_88" => "alike",
        "jaro_winkler_70" => "somewhat alike",
        "edit_1" => "one digit, or two neighbours swapped",
        "day_month_swapped" => "day and month swapped",
        "month" => "within a month",
        "year" => "within a year",
        "ten_years" => "within ten years",
        "sector" => "the same sector",
        "district" => "the same district",
        "area" => "the same area",
        _ => "different",
    }
}

fn weighed(pair: &Pair, weights: &Parameters) -> Weighed {
    let scored = score::score(&pair.one.known, &pair.other.known, weights);
    Weighed {
        version: weights.version.clone(),
        prior: weights.prior().to_string(),
        bits: scored.weight.to_string(),
        link: weights.link.to_string(),
        clerical: weights.clerical.to_string(),
        band: match scored.band {
            score::Band::Link => "enough to be linked",
            score::Band::Clerical => "a person decides",
            score::Band::None => "too little",
        },
        stop: scored.stop,
    }
}

/// What the form says, and how the audit calls it.
fn decided(form: &DecisionForm) -> Option<(Decided, &'static str)> {
    match form.decision.as_str() {
        "one" => Some((Decided::MustLink, "link-patients")),
        "two" => Some((Decided::CannotLink, "unlink-patients")),
        "nothing" => Some((Decided::Nothing, "undecide-patients")),
        _ => None,
    }
}

pub async fn decide(
    State(app): State<Shared>,
    signed: Signed,
    Path((one, other)): Path<(i64, i64)>,
    Form(form): Form<DecisionForm>,
) -> Result<Response, Problem> {
    signed.check_csrf(Some(&form.csrf))?;
    let (decided, action) = decided(&form).ok_or(Problem::Bad("say whether they are one person or two"))?;
    let actor = &signed.actor;
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let found = find(&transaction, (one, other)).await?;
    let subjects: Vec<Subject> = found.iter().flat_map(|pair| [subject(&pair.one), subject(&pair.other)]).collect();
    let decision = app.decide_on(actor, Action::LinkPatients, None);
    if !decision.allow {
        let decision = audit::record(&transaction, actor, action, decision, subjects).await?;
        transaction.commit().await?;
        return Err(decision.why.into());
    }
    let pair = found.ok_or(Problem::NotFound)?;
    let reason = form.reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX {
        return Err(Problem::Bad("say why, in a few words"));
    }
    let refused = if pair.one.known.confidential || pair.other.known.confidential {
        Some(KEPT_BACK)
    } else if decided == Decided::MustLink && pair.needs_two() && pair.is_linked_by(&actor.user) {
        Some(SAID_ALREADY)
    } else {
        None
    };
    let why = refused.unwrap_or_else(|| decision.why.as_str());
    let entry = Entry { action, allow: refused.is_none(), why, reason: Some(reason), withheld: false };
    audit::write(&transaction, actor, &entry, &subjects).await?;
    transaction.commit().await?;
    if let Some(why) = refused {
        return Err(Problem::forbidden(why));
    }
    clerk::decide(&mut client, (pair.one.known.seen, pair.other.known.seen), decided, &actor.user, reason).await?;
    Ok(Redirect::to(&path(&pair)).into_response())
}
