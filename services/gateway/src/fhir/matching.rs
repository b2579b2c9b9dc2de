//! `Patient/$match`: which of the reader's patients somebody means.
//!
//! # Why
//! Who is whose record is decided by `identity`, from all that sources tell. This says only how well what was asked agrees
//! with what the reader may be shown: a verified NHS number with its birth date is certain, a number whose birth date
//! disagrees is as weak as a name, and nothing is found by what is withheld.

use super::{
    Call, NHS_NUMBER_SYSTEM, Stop, fhir,
    patients::{Numbers, among_own},
    reading::Reading,
    resources::{self, Entry},
    search::{Refused, date},
    unsupported_media,
};
use crate::{
    access::{Action, Decision, Released, Why},
    app::Shared,
    audit::{self, Decided},
    database,
    page::{folded, search::subjects},
    record::{self, Identity, Person},
};
use axum::{extract::State, http::StatusCode, response::Response};
use deadpool_postgres::Transaction;
use event::NhsNumber;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

const ACTION: &str = "fhir-match-patient";
const GRADE: &str = "http://hl7.org/fhir/StructureDefinition/match-grade";
const JSON: [&str; 2] = ["application/fhir+json", "application/json"];
const FOUND_MAX: usize = 50;
const LETTERS_MIN: usize = 2;

/// How well somebody agrees. The numbers order them, and are no probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    Possible,
    Probable,
    Certain,
}

impl Grade {
    const fn told(self) -> (&'static str, f64) {
        match self {
            Self::Possible => ("possible", 0.3),
            Self::Probable => ("probable", 0.7),
            Self::Certain => ("certain", 1.0),
        }
    }
}

/// Whom somebody means.
#[derive(Debug)]
struct Meant {
    number: Option<NhsNumber>,
    family: Option<String>,
    given: Option<String>,
    birth_date: Option<String>,
    only_certain: bool,
    count: usize,
}

pub async fn post(State(app): State<Shared>, call: Call, body: String) -> Result<Response, Stop> {
    if !call.is_of(&JSON) {
        return Err(unsupported_media(JSON[0]).into());
    }
    let body: Value = serde_json::from_str(&body).map_err(|_| Refused::invalid("that is not JSON"))?;
    let meant = Meant::parse(&body)?;
    let mut client = app.pool.get().await?;
    let transaction = database::begin(&mut client).await?;
    let ids = candidates(&app, &call, &transaction, &meant).await?;
    let actor = &call.signed.actor;
    let persons = record::persons(&transaction, &app.site.consent, &ids, &actor.user).await?;
    let mut seen: Vec<(Option<Grade>, Value, Person, Decision)> = Vec::new();
    for person in persons.into_values() {
        let decision = app.decide(actor, Action::ViewRecord, &person);
        let grade = meant.grade(&person, &decision).filter(|grade| !meant.only_certain || *grade == Grade::Certain);
        let resource = Reading {
            app: &app,
            transaction: &transaction,
            person: &person,
            decision: &decision,
            what: Action::ViewRecord,
            actor,
        }
        .own();
        seen.push((grade, resource.resource, person, decision));
    }
    seen.sort_by_key(|(grade, ..)| std::cmp::Reverse(*grade));
    // Two that are certain are none.
    let certain = seen.iter().filter(|(grade, _, _, decision)| grade.is_some() && decision.allow).count();
    let ambiguous = meant.only_certain && certain > 1;
    let mut decided = Vec::new();
    for (at, (grade, resource, person, decision)) in seen.into_iter().enumerate() {
        let decision = match grade {
            _ if !decision.allow => decision,
            Some(_) if ambiguous || at >= meant.count => decision.turned_down(Why::LeftOut),
            Some(_) => decision,
            None => decision.turned_down(Why::NotMatched),
        };
        let subjects = subjects(&person);
        decided.push(((grade, resource), Decided { actor, action: ACTION, decision, subjects }));
    }
    if decided.is_empty() {
        let role = app.decide_on(actor, Action::FindPatient, None);
        let entry = audit::Entry { allow: role.allow, ..audit::Entry::refused(ACTION, "nobody found") };
        audit::write(&transaction, actor, &entry, &[]).await?;
    }
    let found = Released::all(audit::release_all(&transaction, decided).await?);
    transaction.commit().await?;
    let base = call.base(&app);
    Ok(fhir(StatusCode::OK, found.map(|found| graded(&base, found))))
}

fn graded(base: &str, found: Vec<(Option<Grade>, Value)>) -> Value {
    let (grades, entries): (Vec<Option<Grade>>, Vec<Entry>) =
        found.into_iter().map(|(grade, resource)| (grade, Entry { resource, mode: "match" })).unzip();
    let mut bundle = resources::bundle(base, Some(entries.len()), entries, &[]);
    for (at, grade) in grades.into_iter().enumerate() {
        let (Some((code, score)), Some(entry)) = (grade.map(Grade::told), bundle["entry"].get_mut(at)) else {
            continue;
        };
        entry["search"]["score"] = score.into();
        entry["search"]["extension"] = json!([{"url": GRADE, "valueCode": code}]);
    }
    bundle
}

async fn candidates(
    app: &Shared,
    call: &Call,
    transaction: &Transaction<'_>,
    meant: &Meant,
) -> Result<Vec<Uuid>, Stop> {
    let too_many = || Refused::costly("more people than one answer holds: say more of whom you mean");
    let mut ids: BTreeSet<Uuid> = BTreeSet::new();
    if let Some(number) = &meant.number {
        let numbers = Numbers::nhs(*number);
        ids.extend(numbers.bearers(transaction).await?.ok_or_else(too_many)?);
    }
    if let Some(family) = meant.family.as_deref().filter(|family| folded(family).chars().count() >= LETTERS_MIN) {
        let born = meant.birth_date.as_deref().and_then(date::range).map(|range| [range]);
        let born = born.as_ref().map(|one| &one[..]);
        ids.extend(among_own(app, call, transaction, &[vec![family]], born).await?.ok_or_else(too_many)?);
    }
    Ok(ids.into_iter().take(record::PERSONS_MAX).collect())
}

impl Meant {
    fn parse(body: &Value) -> Result<Self, Refused> {
        let parameters = body["parameter"].as_array().filter(|_| body["resourceType"] == "Parameters");
        let parameters = parameters.ok_or_else(|| Refused::invalid("send Parameters with a Patient as `resource`"))?;
        let of = |name: &str| parameters.iter().find(|one| one["name"] == name).unwrap_or(&Value::Null);
        let patient = &of("resource")["resource"];
        if patient["resourceType"] != "Patient" {
            return Err(Refused::invalid("send Parameters with a Patient as `resource`"));
        }
        let identifiers = patient["identifier"].as_array().into_iter().flatten();
        let mut numbers = identifiers.filter(|one| one["system"] == NHS_NUMBER_SYSTEM);
        let number = match numbers.next().and_then(|one| one["value"].as_str()) {
            Some(text) => Some(NhsNumber::parse(text).ok_or_else(|| Refused::invalid("that is not an NHS number"))?),
            None => None,
        };
        let text = |value: &Value| value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let (name, birth) = (&patient["name"][0], text(&patient["birthDate"]));
        if birth.as_deref().is_some_and(|birth| date::range(birth).is_none()) {
            return Err(Refused::invalid("birthDate is no date"));
        }
        let count = of("count")["valueInteger"].as_u64().and_then(|count| usize::try_from(count).ok());
        let meant = Self {
            number,
            family: text(&name["family"]),
            given: text(&name["given"][0]),
            birth_date: birth,
            only_certain: of("onlyCertainMatches")["valueBoolean"] == true,
            count: count.unwrap_or(FOUND_MAX).min(FOUND_MAX),
        };
        let enough = meant.number.is_some() || meant.family.is_some();
        enough.then_some(meant).ok_or_else(|| Refused::invalid("say an NHS number or a family name"))
    }

    /// The best of the identities that are shown.
    fn grade(&self, person: &Person, decision: &Decision) -> Option<Grade> {
        let shown = person.identities.iter().filter(|identity| identity.shown_by(decision));
        shown.filter_map(|identity| self.agrees(identity)).max()
    }

    fn agrees(&self, identity: &Identity) -> Option<Grade> {
        let same = |asked: &Option<String>, told: &Option<String>| {
            asked.as_deref().zip(told.as_deref()).map(|(asked, told)| folded(asked) == folded(told))
        };
        let number =
            self.number.as_ref().zip(identity.nhs_number.as_deref()).map(|(asked, told)| asked.as_str() == told);
        // A year agrees with each of its days.
        let birth = self.birth_date.as_deref().zip(identity.birth_date.as_deref());
        let birth = birth.map(|(asked, told)| told.starts_with(asked) || asked.starts_with(told));
        let exact = self.birth_date.is_some() && self.birth_date == identity.birth_date;
        let family = same(&self.family, &identity.family);
        let first = identity.given.as_ref().and_then(|given| given.split_whitespace().next().map(str::to_owned));
        let given = same(&self.given, &first);
        let contradicted = birth == Some(false) || (family == Some(false) && given == Some(false));
        match (number, family) {
            (Some(true), _) if contradicted => Some(Grade::Possible),
            (Some(true), _) if exact && identity.nhs_number_verified => Some(Grade::Certain),
            (Some(true), _) => Some(Grade::Probable),
            // Another number is another person, unless somebody mistyped it.
            (Some(false), Some(true)) if exact && given == Some(true) => Some(Grade::Possible),
            (Some(false), _) => None,
            (None, Some(true)) if exact && given == Some(true) => Some(Grade::Probable),
            (None, Some(true)) if birth != Some(false) => Some(Grade::Possible),
            (None, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(number: Option<&str>, family: &str, given: &str, birth: &str) -> Meant {
        let mut patient =
            json!({"resourceType": "Patient", "birthDate": birth, "name": [{"family": family, "given": [given]}]});
        if let Some(number) = number {
            patient["identifier"] = json!([{"system": NHS_NUMBER_SYSTEM, "value": number}]);
        }
        Meant::parse(&json!({"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": patient}]}))
            .expect("somebody")
    }

    #[test]
    fn a_verified_number_with_its_birth_date_is_certain_and_nothing_else_is() {
        let (number, other) = (Some("9434765919"), Some("9000000009"));
        let david = Identity {
            nhs_number: number.map(Into::into),
            nhs_number_verified: true,
            family: Some("Ellis".into()),
            given: Some("David John".into()),
            birth_date: Some("1979-04-12".into()),
            ..Identity::default()
        };
        let unverified = Identity { nhs_number_verified: false, ..david.clone() };
        let year = Identity { birth_date: Some("1979".into()), ..david.clone() };
        for (of, asked, want) in [
            (&david, meant(number, "Ellis", "David", "1979-04-12"), Some(Grade::Certain)),
            (&david, meant(number, "ELLIS", "Dave", "1979-04-12"), Some(Grade::Certain)),
            (&david, meant(number, "Smith", "Ann", "1979-04-12"), Some(Grade::Possible)),
            (&david, meant(number, "Ellis", "David", "1979-04-13"), Some(Grade::Possible)),
            (&unverified, meant(number, "Ellis", "David", "1979-04-12"), Some(Grade::Probable)),
            (&year, meant(number, "Ellis", "David", "1979-04-12"), Some(Grade::Probable)),
            (&david, meant(None, "Éllis", "david", "1979-04-12"), Some(Grade::Probable)),
            (&david, meant(None, "Ellis", "Ann", "1979-04-12"), Some(Grade::Possible)),
            (&david, meant(None, "Ellis", "David", "1980-04-12"), None),
            (&david, meant(other, "Ellis", "David", "1979-04-12"), Some(Grade::Possible)),
            (&david, meant(other, "Ellis", "Ann", "1979-04-12"), None),
        ] {
            assert_eq!(asked.agrees(of), want, "{asked:?}");
        }
    }

    #[test]
    fn what_says_too_little_is_refused() {
        let of = |patient: Value| {
            Meant::parse(
                &json!({"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": patient}]}),
            )
        };
        for patient in [
            json!(null),
            json!({"resourceType": "Observation"}),
            json!({"resourceType": "Patient"}),
            json!({"resourceType": "Patient", "birthDate": "1979-04-12"}),
            json!({"resourceType": "Patient", "name": [{"family": "Ellis"}], "birthDate": "soon"}),
            json!({"resourceType": "Patient", "identifier": [{"system": NHS_NUMBER_SYSTEM, "value": "1"}]}),
        ] {
            assert!(of(patient.clone()).is_err(), "{patient}");
        }
        assert!(Meant::parse(&json!([])).is_err() && Meant::parse(&json!({"parameter": []})).is_err());
    }
}
