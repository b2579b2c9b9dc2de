//! The record page's words, made from rows that may be shown.

use super::{
    REASON_CHARS_MAX,
    entries::{self, EntryList},
    main_identity,
    medicines::{Medicines, Steroids},
};
use crate::{
    access::Decision,
    alerts::Alert,
    app::App,
    page::{Frame, format, units},
    record::{
        Identity, Person,
        absence::Coverage,
        clinical::{Allergy, Clinical, Coded, Condition, Freshness, Observation, Provenance},
        judged,
        summary::{self, Allergies, TREND_MAX, TestResult, Trend},
    },
};
use alert::Level;
use askama::Template;
use event::{Kind, Micros};
use rust_decimal::Decimal;

/// Entries without a value that the page lists.
const ENTRIES_MAX: usize = 100;

pub struct Facts<'a> {
    pub app: &'a App,
    pub person: &'a Person,
    pub decision: &'a Decision,
    pub clinical: &'a Clinical,
    pub held: bool,
    pub now: Micros,
}

#[derive(Template)]
#[template(path = "record.html")]
pub struct RecordPage {
    frame: Frame,
    csrf: String,
    person: String,
    name: String,
    /// When, for whoever prints it.
    read_at: String,
    born: String,
    died: Option<String>,
    gender: String,
    nhs: String,
    nhs_verified: bool,
    identities: Vec<IdentityLine>,
    glass: Option<(String, String)>,
    reason_max: usize,
    /// What waits for the reader's teams: severity, what was found, of when.
    open: Vec<(&'static str, String, String)>,
    /// Something may not be shown, is in quarantine, or a link is on hold. Which it is, is not said.
    incomplete: bool,
    /// All may be shown, and nothing of it is a general practice's.
    no_practice: bool,
    absent: Absent,
    held: bool,
    cut: bool,
    steroids: Option<Steroids>,
    allergies: Vec<Item>,
    none_known: Vec<Item>,
    medicines: Medicines,
    problems: Vec<Item>,
    past_problems: Vec<Item>,
    tests: Vec<Test>,
    results: Vec<ResultRow>,
    entries: Vec<Item>,
    /// Of each kind that needs nothing but its table and of which there is something.
    lists: Vec<EntryList>,
    /// Of these kinds nothing is shown.
    unlisted: String,
    sources: Vec<SourceLine>,
}

/// What each list says when it is empty, and each side of the medicines where it has none of an ingredient.
struct Absent {
    allergies: String,
    problems: String,
    medicines: String,
    results: String,
    gp: &'static str,
    hospital: &'static str,
}

struct IdentityLine {
    organisation: String,
    name: String,
    born: String,
    nhs: String,
    local: String,
    practice: String,
    told: String,
}

/// One line of a list, with where it comes from.
pub struct Item {
    pub text: String,
    /// What is wrong with it, in a word, before all else: suspended, stopped.
    pub state: Option<String>,
    pub detail: String,
    pub uncoded: bool,
    pub corrected: bool,
    pub from: String,
    pub at: Option<(String, String)>,
}

struct Test {
    name: String,
    unit: String,
    newest: Value,
    /// Where the newest says nothing of the patient: the newest that does.
    relied_on: Option<Value>,
    earlier: Vec<Option<Value>>,
}

#[derive(Clone, Default)]
struct Value {
    shown: String,
    /// How it stands, in words: what alerts say of it.
    flag: Option<String>,
    critical: bool,
    /// What is said of its specimen.
    doubt: Option<String>,
    unchecked: Option<String>,
    not_watched: bool,
    doubts: Vec<String>,
    at: (String, String),
    from: String,
}

struct ResultRow {
    test: String,
    value: Value,
    written: Option<String>,
    range: String,
    status: String,
    authorised: String,
    committed: String,
    uncoded: bool,
    corrected: bool,
    comment: Option<String>,
    /// What else is known of it: the panel, the material, who did it.
    more: String,
}

struct SourceLine {
    name: String,
    source: String,
    latest: String,
    ago: String,
    behind: bool,
    quarantined: i64,
    unattributed: i64,
}

impl RecordPage {
    /// With what waits for the reader's teams: each matter's open findings.
    pub fn with_open(self, matters: &[Vec<Alert>]) -> Self {
        let line = |alert: &Alert| {
            let severity = if alert.severity == "critical" { "Critical" } else { "Warning" };
            let taken = alert.taken_at.map_or_else(
                || format!("raised {}", format::when(alert.raised_at)),
                |at| format!("sample of {}", format::known(at, alert.taken_precision)),
            );
            (severity, alert.headline.clone(), taken)
        };
        let open = matters.iter().flatten().filter(|alert| alert.is_open()).map(line).collect();
        Self { open, ..self }
    }

    pub fn new(facts: &Facts<'_>, frame: impl FnOnce(String) -> Frame, csrf: String) -> Self {
        let identity = main_identity(facts.person, facts.decision);
        let name = identity.map_or_else(|| "Name not shown".to_owned(), |identity| facts.name(identity));
        let clinical = facts.clinical;
        let coverage = facts.coverage();
        let (allergies, none_known) = facts.allergies();
        let trends = summary::trends(&clinical.observations);
        let (lists, unlisted) = entries::lists(facts);
        let (problems, past_problems): (Vec<&Condition>, Vec<&Condition>) =
            clinical.conditions.iter().partition(|condition| condition.active);
        Self {
            frame: frame(name.clone()),
            csrf,
            person: facts.person.id.to_string(),
            name,
            read_at: format::when(facts.now),
            born: identity.map_or_else(|| "not shown".into(), |identity| facts.born(identity)),
            died: identity.and_then(|identity| identity.death_date.as_deref()).map(format::date),
            gender: shown_or(identity, |identity| identity.gender.clone()),
            nhs: shown_or(identity, |identity| identity.nhs_number.as_deref().map(format::nhs_number)),
            nhs_verified: identity
                .is_some_and(|identity| identity.nhs_number.is_some() && identity.nhs_number_verified),
            identities: facts.identities(),
            glass: facts.decision.glass.as_ref().map(|grant| (grant.reason.clone(), format::when(grant.until))),
            reason_max: REASON_CHARS_MAX,
            open: Vec::new(),
            incomplete: coverage.partial,
            no_practice: !coverage.partial && !coverage.practice,
            absent: facts.absent(&coverage, !none_known.is_empty()),
            held: facts.held,
            cut: clinical.cut,
            steroids: Steroids::of(facts),
            allergies,
            none_known,
            medicines: Medicines::of(facts),
            problems: problems.into_iter().map(|condition| facts.condition(condition)).collect(),
            past_problems: past_problems.into_iter().map(|condition| facts.condition(condition)).collect(),
            tests: trends.iter().map(|trend| facts.test(trend)).collect(),
            results: trends
                .iter()
                .flat_map(|trend| trend.results.iter().map(|result| facts.result(trend, result)))
                .collect(),
            entries: summary::entries(&clinical.observations)
                .into_iter()
                .take(ENTRIES_MAX)
                .map(|entry| {
                    let more = entry.from.more.words(Kind::Observation, &[]);
                    facts.item(
                        &entry.code,
                        &entry.from,
                        entry.comment.iter().cloned().chain(more).collect::<Vec<_>>().join(", "),
                    )
                })
                .collect(),
            lists,
            unlisted,
            sources: clinical.freshness.iter().filter_map(|freshness| facts.source(freshness)).collect(),
        }
    }
}

impl Value {
    /// Whether its number can stand for how the patient is.
    const fn reliable(&self) -> bool {
        self.doubt.is_none() && self.unchecked.is_none()
    }
}

impl Facts<'_> {
    fn coverage(&self) -> Coverage {
        let (teams, freshness) = (&self.app.site.teams, &self.clinical.freshness);
        Coverage::of(self.person, self.decision, freshness, self.held, teams, &self.app.sources_behind())
    }

    fn absent(&self, coverage: &Coverage, asked: bool) -> Absent {
        let (teams, name) = (&self.app.site.teams, |code: &str| self.app.organisation_name(code));
        let words = |kind, asked| coverage.absence(kind, asked).words(kind, name);
        Absent {
            allergies: words(Kind::Allergy, asked),
            problems: words(Kind::Condition, false),
            medicines: words(Kind::Medication, false),
            results: words(Kind::Observation, false),
            gp: coverage.not_listed(true, teams),
            hospital: coverage.not_listed(false, teams),
        }
    }

    fn name(&self, identity: &Identity) -> String {
        format::name(identity.family.as_deref(), identity.given.as_deref())
    }

    fn born(&self, identity: &Identity) -> String {
        let Some(birth) = identity.birth_date.as_deref() else { return "not known".into() };
        let until = match identity.death_date.as_deref() {
            None => Some(format::today(self.now)),
            // Of somebody who died in 1984, nobody knows how old they became.
            Some(death) => death.parse().ok(),
        };
        let age = until.and_then(|until| format::age(birth, until));
        let age = age.map(|age| format!(" ({age} years)")).unwrap_or_default();
        format!("{}{age}", format::date(birth))
    }

    fn identities(&self) -> Vec<IdentityLine> {
        self.person
            .identities
            .iter()
            .filter(|identity| identity.shown_by(self.decision))
            .map(|identity| IdentityLine {
                organisation: self.app.organisation_name(&identity.organisation),
                name: self.name(identity),
                born: self.born(identity),
                nhs: match (&identity.nhs_number, &identity.nhs_number_text) {
                    (Some(number), _) if identity.nhs_number_verified => {
                        format!("{} (verified)", format::nhs_number(number))
                    }
                    (Some(number), _) => format!("{} (not verified)", format::nhs_number(number)),
                    (None, Some(text)) => format!("“{text}” is not an NHS number"),
                    (None, None) => "not known".into(),
                },
                local: identity.patient.clone(),
                practice: identity
                    .registered_practice
                    .as_deref()
                    .map_or_else(|| "not told".into(), |code| self.app.organisation_name(code)),
                told: format::when(identity.committed_at),
            })
            .collect()
    }

    fn allergies(&self) -> (Vec<Item>, Vec<Item>) {
        let items = |rows: Vec<&Allergy>| rows.into_iter().map(|allergy| self.allergy(allergy)).collect();
        match summary::allergies(&self.clinical.allergies) {
            Allergies::NothingRecorded => (Vec::new(), Vec::new()),
            Allergies::NoneKnown(rows) => (Vec::new(), items(rows)),
            Allergies::Recorded { active, none_known } => (items(active), items(none_known)),
        }
    }

    fn allergy(&self, allergy: &Allergy) -> Item {
        let mut detail: Vec<String> = [&allergy.reaction, &allergy.severity].into_iter().flatten().cloned().collect();
        detail.extend(allergy.from.more.words(Kind::Allergy, &[]));
        self.item(&allergy.code, &allergy.from, detail.join(", "))
    }

    fn condition(&self, condition: &Condition) -> Item {
        let mut detail: Vec<String> = condition.significance.iter().cloned().collect();
        detail.extend(condition.ended_at.map(|at| format!("ended {}", format::day(at))));
        detail.extend(condition.from.more.words(Kind::Condition, &[]));
        self.item(&condition.code, &condition.from, detail.join(", "))
    }

    pub fn item(&self, code: &Coded, from: &Provenance, detail: String) -> Item {
        Item {
            text: if code.text.is_empty() { "(no words in the source)".into() } else { code.text.clone() },
            state: from.lacks(),
            detail,
            uncoded: code.uncoded(),
            corrected: from.corrected,
            from: self.app.organisation_name(&from.organisation),
            at: dated(from),
        }
    }

    fn test(&self, trend: &Trend<'_>) -> Test {
        let mut values = trend.results.iter().map(|result| self.value(result));
        // Every trend has at least the result it was made of.
        let newest = values.next().unwrap_or_default();
        let mut earlier: Vec<Option<Value>> = values.take(TREND_MAX).map(Some).collect();
        let relied_on =
            if newest.reliable() { None } else { earlier.iter().flatten().find(|value| value.reliable()).cloned() };
        earlier.resize(TREND_MAX, None);
        Test {
            name: trend.name.to_owned(),
            unit: units::unit(trend.unit.unwrap_or_default()),
            newest,
            relied_on,
            earlier,
        }
    }

    fn value(&self, result: &TestResult<'_>) -> Value {
        let row = result.main();
        let mut from: Vec<String> =
            result.told.iter().map(|row| self.app.organisation_name(&row.from.organisation)).collect();
        from.dedup();
        let received = row.from.committed_at;
        let (machine, mut at) = match row.from.effective_at {
            Some(at) => (machine_of(at, &row.from), format::known(at, row.from.effective_precision)),
            None => row.authorised_at.map_or_else(
                || (format::machine(received), format!("not dated; received {}", format::when(received))),
                |at| (format::machine(at), format::when(at)),
            ),
        };
        if row.at().is_some_and(|at| at > self.now) {
            at.push_str(" (in the future)");
        }
        let judged = judged::judge(row, judged::who(self.person, self.decision), &self.app.site);
        Value {
            shown: shown_value(row, &self.app.site),
            critical: judged.level.is_some_and(Level::is_critical),
            flag: judged.words,
            doubt: judged.doubt,
            unchecked: judged.unchecked.or_else(|| row.unusable().cloned()),
            not_watched: row.not_watched(),
            doubts: row.doubts(),
            at: (machine, at),
            from: from.join(" and "),
        }
    }

    fn result(&self, trend: &Trend<'_>, result: &TestResult<'_>) -> ResultRow {
        let row = result.main();
        let range = match (row.range_low, row.range_high) {
            (Some(low), Some(high)) => format!("{} to {}", format::number(low), format::number(high)),
            (Some(low), None) => format!("from {}", format::number(low)),
            (None, Some(high)) => format!("up to {}", format::number(high)),
            (None, None) => String::new(),
        };
        ResultRow {
            test: if row.code.text.is_empty() { trend.name.to_owned() } else { row.code.text.clone() },
            value: self.value(result),
            written: written_value(row),
            range: if range.is_empty() {
                range
            } else {
                format!("{range} {}", row.unit.as_deref().unwrap_or_default())
            },
            status: row.status_words(),
            authorised: row.authorised_at.map_or_else(|| "not told".into(), format::when),
            committed: result
                .told
                .iter()
                .map(|row| {
                    format!(
                        "{}, {}",
                        self.app.organisation_name(&row.from.organisation),
                        format::when(row.from.committed_at)
                    )
                })
                .collect::<Vec<_>>()
                .join("; "),
            uncoded: row.code.uncoded(),
            corrected: result.told.iter().any(|row| row.from.corrected || row.status.as_deref() == Some("corrected")),
            comment: row.comment.clone(),
            more: row.from.more.words(Kind::Observation, &[]).join(", "),
        }
    }

    /// Nothing of a source whose organisation's records, or whose record of this patient, are all withheld.
    fn source(&self, freshness: &Freshness) -> Option<SourceLine> {
        let known = freshness.known();
        let shown = |identity: &&Identity| {
            let kinds = |kind| self.decision.shows(&identity.organisation, kind, identity.confidential);
            identity.source == freshness.source && Kind::ALL.into_iter().any(kinds)
        };
        let organisation = &self.person.identities.iter().find(shown)?.organisation;
        Some(SourceLine {
            name: self.app.organisation_name(organisation),
            source: freshness.source.clone(),
            latest: if known { format::when(freshness.committed_at) } else { "nothing received".into() },
            ago: if known { format::ago(freshness.applied_at, self.now) } else { String::new() },
            behind: !known || self.app.is_behind(&freshness.source),
            quarantined: freshness.quarantined,
            unattributed: freshness.unattributed,
        })
    }
}

/// When it was so, else when it was typed in.
fn dated(from: &Provenance) -> Option<(String, String)> {
    let shown = |at| (machine_of(at, from), format::known_day(at, from.effective_precision));
    let entered = |at| (format::machine(at), format::day(at));
    from.effective_at.map(shown).or_else(|| from.entered_at.map(entered))
}

fn machine_of(at: event::Micros, from: &Provenance) -> String {
    from.effective_precision.map_or_else(|| format::machine(at), |precision| format::machine_to(at, precision))
}

/// A detail of the identity: not shown and not recorded are two things.
fn shown_or(identity: Option<&Identity>, detail: impl Fn(&Identity) -> Option<String>) -> String {
    identity.map_or_else(|| "not shown".into(), |identity| detail(identity).unwrap_or_else(|| "not recorded".into()))
}

/// In canonical units where they are known; else as the source wrote it.
fn shown_value(row: &Observation, site: &crate::Site) -> String {
    let comparator = row.comparator.as_deref().unwrap_or_default();
    match (row.canonical_number, row.number, &row.text) {
        (Some(number), ..) => {
            let critical = site.limits.limit.iter().filter(|limit| Some(&limit.analyte) == row.analyte.as_ref());
            let critical = critical.flat_map(|limit| [limit.low, limit.high]).flatten().map(|bound| bound.value);
            let limits: Vec<Decimal> = [row.range_low, row.range_high].into_iter().flatten().chain(critical).collect();
            let number = if row.number == Some(number) {
                format::number(number)
            } else {
                let analyte = row.analyte.as_deref().and_then(|analyte| site.lab.analyte(analyte));
                units::converted(number, analyte.and_then(|analyte| analyte.decimals), &limits)
            };
            let unit = units::unit(row.canonical_unit.as_deref().unwrap_or_default());
            format!("{comparator}{number} {unit}").trim_end().to_owned()
        }
        // The text may turn the number's meaning round: neither is shown alone.
        (None, Some(number), Some(text)) if row.unusable().is_some() => {
            let unit = row.unit.as_deref().unwrap_or("(no unit)");
            format!("{comparator}{} {unit}; written: {text}", format::number(number))
        }
        (None, Some(number), _) => {
            format!("{comparator}{} {}", format::number(number), row.unit.as_deref().unwrap_or("(no unit)"))
        }
        (None, None, Some(text)) => text.clone(),
        (None, None, None) => "no value".into(),
    }
}

/// What the source wrote, where that differs from what is shown.
fn written_value(row: &Observation) -> Option<String> {
    let (number, unit) = (row.number?, row.unit.as_deref().unwrap_or_default());
    let differs = row.canonical_number != Some(number) || row.canonical_unit.as_deref() != Some(unit);
    (row.canonical_number.is_some() && differs)
        .then(|| format!("{}{number} {unit}", row.comparator.as_deref().unwrap_or_default()))
}
