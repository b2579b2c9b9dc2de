//! Reading the record: persons by link, their identity, and what access depends on.

pub mod absence;
pub mod clinical;
pub mod consent;
pub mod entries;
pub mod judged;
pub mod medicines;
pub mod more;
pub mod rows;
pub mod summary;

use crate::{
    GatewayError,
    access::{
        Contact, Decision, Grant, Holding, PatientContext,
        consent::{Codes, standing},
    },
    app::now,
    freshness::Behind,
};
use absence::Coverage;
use deadpool_postgres::GenericClient;
use event::{Kind, Micros, NhsNumber, teams::Teams};
use more::More;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

/// Persons looked at together; lists are no longer.
pub const PERSONS_MAX: usize = 200;

/// A patient as one source tells of them.
#[derive(Clone, Default)]
pub struct Identity {
    pub source: String,
    pub patient: String,
    pub organisation: String,
    pub nhs_number: Option<String>,
    pub nhs_number_verified: bool,
    /// What the source wrote when it is not an NHS number.
    pub nhs_number_text: Option<String>,
    pub family: Option<String>,
    pub given: Option<String>,
    /// As FHIR writes days, and as exactly as known: `1984`, `1984-06`, `1984-06-02`.
    pub birth_date: Option<String>,
    pub death_date: Option<String>,
    pub gender: Option<String>,
    pub postcode: Option<String>,
    pub registered_practice: Option<String>,
    pub objection: bool,
    pub committed_at: Micros,
    pub event_id: String,
    /// Its source marks the whole patient as confidential.
    pub confidential: bool,
    /// What has no column of its own: addresses, telephone, practitioners.
    pub more: More,
}

impl Identity {
    pub fn shown_by(&self, decision: &Decision) -> bool {
        decision.shows(&self.organisation, Kind::Demographics, self.confidential)
    }
}

/// One person: their source patients, and the facts that access depends on.
#[derive(Clone)]
pub struct Person {
    pub id: Uuid,
    /// Source and patient, of the links that stand.
    pub sources: Vec<(String, String)>,
    pub identities: Vec<Identity>,
    /// A source patient may be the same person; a human has not decided yet.
    pub held: bool,
    pub context: PatientContext,
    /// The reader's own.
    pub grants: Vec<Grant>,
}

impl Person {
    /// Whether an identity that the decision shows has this number.
    pub fn shows_number(&self, decision: &Decision, number: &NhsNumber) -> bool {
        let shown = self.identities.iter().filter(|identity| identity.shown_by(decision));
        shown.into_iter().any(|identity| identity.nhs_number.as_deref() == Some(number.as_str()))
    }

    pub fn names(&self) -> (Vec<&str>, Vec<&str>) {
        self.sources.iter().map(|(source, patient)| (source.as_str(), patient.as_str())).unzip()
    }
}

/// Microseconds since 1970 of a timestamptz.
pub(crate) fn micros(column: &str) -> String {
    format!("(extract(epoch from {column}) * 1000000)::bigint")
}

/// The persons and what `user` may base access on; `codes` are those of consent. Unknown ids are left out.
pub async fn persons(
    client: &impl GenericClient,
    codes: &Codes,
    ids: &[Uuid],
    user: &str,
) -> Result<BTreeMap<Uuid, Person>, GatewayError> {
    let texts: Vec<String> = ids.iter().take(PERSONS_MAX).map(Uuid::to_string).collect();
    let links = client
        .query(
            "select person::text, source, patient, status from record.link
             where person = any($1::text[]::uuid[]) order by source, patient",
            &[&texts],
        )
        .await?;
    let mut persons = link_persons(&links);
    let owner: BTreeMap<(String, String), Uuid> =
        persons.values().flat_map(|person| person.sources.iter().map(|key| (key.clone(), person.id))).collect();
    let (sources, patients): (Vec<&str>, Vec<&str>) =
        owner.keys().map(|(source, patient)| (source.as_str(), patient.as_str())).unzip();
    let (identity_sql, holdings_sql) = (identity_sql(), holdings_sql());
    let contact_sql = format!(
        "select t.source, t.patient, t.team, {}, coalesce(t.referral, false) from record.encounter t
         join unnest($1::text[], $2::text[]) as s(source, patient) using (source, patient)
         where not t.retracted and t.team is not null",
        micros("t.ended_at")
    );
    let grant_sql = format!(
        "select person::text, reason, {}, {} from access.break_glass
         where user_id = $1 and person = any($2::text[]::uuid[]) and until_at > now() order by until_at desc",
        micros("from_at"),
        micros("until_at")
    );
    let keys: [&(dyn ToSql + Sync); 2] = [&sources, &patients];
    let mine: [&(dyn ToSql + Sync); 2] = [&user, &texts];
    let (identities, contacts, holdings, grants) = tokio::try_join!(
        client.query(&identity_sql, &keys),
        client.query(&contact_sql, &keys),
        client.query(&holdings_sql, &keys),
        client.query(&grant_sql, &mine),
    )?;
    let person_of = |row: &Row| owner.get(&(row.get(0), row.get(1))).copied();
    for row in &identities {
        if let Some(person) = person_of(row).and_then(|id| persons.get_mut(&id)) {
            let identity = identity(row);
            person.context.registered.extend(identity.registered_practice.clone());
            person.context.objection |= identity.objection;
            person.identities.push(identity);
        }
    }
    hear(client, codes, &mut persons, &sources, &patients).await?;
    for row in &contacts {
        if let Some(person) = person_of(row).and_then(|id| persons.get_mut(&id)) {
            person.context.contacts.push(Contact { team: row.get(2), ended_at: row.get(3), referral: row.get(4) });
        }
    }
    let mut held: BTreeMap<(Uuid, String), [BTreeSet<Kind>; 2]> = BTreeMap::new();
    for row in &holdings {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == row.get::<_, &str>(3));
        if let (Some(id), Some(kind)) = (person_of(row), kind) {
            held.entry((id, row.get(2))).or_default()[usize::from(row.get::<_, bool>(4))].insert(kind);
        }
    }
    for ((id, organisation), [open, confidential]) in held {
        if let Some(person) = persons.get_mut(&id) {
            let [kinds, confidential] = [open, confidential].map(|kinds| kinds.into_iter().collect());
            person.context.holdings.push(Holding { organisation, kinds, confidential });
        }
    }
    for row in &grants {
        if let Some(person) = row.get::<_, &str>(0).parse().ok().and_then(|id: Uuid| persons.get_mut(&id)) {
            person.grants.push(Grant { reason: row.get(1), from: row.get(2), until: row.get(3) });
        }
    }
    Ok(persons)
}

/// What the persons have said of sharing, at whatever source.
async fn hear(
    client: &impl GenericClient,
    codes: &Codes,
    persons: &mut BTreeMap<Uuid, Person>,
    sources: &[&str],
    patients: &[&str],
) -> Result<(), GatewayError> {
    let said = consent::read(client, codes, sources, patients).await?;
    for person in persons.values_mut() {
        let all: Vec<_> = person.sources.iter().filter_map(|key| said.get(key)).flatten().copied().collect();
        let standing = standing(&all, now());
        // A source that has one flag for both means both.
        let flag = person.context.objection;
        person.context.objection |= standing.objection;
        person.context.opted_out |= standing.opted_out || flag;
    }
    Ok(())
}

/// Held links stand apart: they belong to the person only where nothing else does.
fn link_persons(links: &[Row]) -> BTreeMap<Uuid, Person> {
    type Keys = Vec<(String, String)>;
    let mut persons: BTreeMap<Uuid, (Keys, Keys)> = BTreeMap::new();
    for row in links {
        let Ok(id) = row.get::<_, &str>(0).parse::<Uuid>() else { continue };
        let (standing, held) = persons.entry(id).or_default();
        let list = if row.get::<_, &str>(3) == "held" { held } else { standing };
        list.push((row.get(1), row.get(2)));
    }
    persons
        .into_iter()
        .map(|(id, (standing, held))| {
            let person = Person {
                id,
                held: !held.is_empty(),
                sources: if standing.is_empty() { held } else { standing },
                identities: Vec::new(),
                context: PatientContext::default(),
                grants: Vec::new(),
            };
            (id, person)
        })
        .collect()
}

fn identity_sql() -> String {
    format!(
        "select t.source, t.patient, t.organisation, t.nhs_number, coalesce(t.nhs_number_verified, false),
            t.nhs_number_text, t.family, t.given, coalesce(t.birth_date::text, t.birth_partial),
            coalesce(t.death_date::text, t.death_partial), t.gender, t.postcode,
            t.registered_practice, coalesce(t.objection, false), {}, t.event_id, t.confidential, t.more
         from record.patient t join unnest($1::text[], $2::text[]) as s(source, patient) using (source, patient)
         where not t.retracted order by t.source, t.patient",
        micros("t.committed_at")
    )
}

fn identity(row: &Row) -> Identity {
    Identity {
        source: row.get(0),
        patient: row.get(1),
        organisation: row.get(2),
        nhs_number: row.get(3),
        nhs_number_verified: row.get(4),
        nhs_number_text: row.get(5),
        family: row.get(6),
        given: row.get(7),
        birth_date: row.get(8),
        death_date: row.get(9),
        gender: row.get(10),
        postcode: row.get(11),
        registered_practice: row.get(12),
        objection: row.get(13),
        committed_at: row.get(14),
        event_id: row.get(15),
        confidential: row.get(16),
        more: More::of(row.get(17)),
    }
}

/// Whether the source of the row `t` marks it, or its whole patient, as confidential. Of a patient who was taken back
/// nobody can say any more, so what is left of them stays where it is.
pub(crate) const CONFIDENTIAL: &str = "(t.confidential or exists (select from record.patient c
    where c.source = t.source and c.patient = t.patient and (c.confidential or c.retracted)))";

/// Whether the row `t` may leave: one of the organisations in `$shown` holds it, and where it is confidential, one of
/// those in `$own` (see [`Decision::own`]). Every read of clinical rows has this condition.
pub(crate) fn released(shown: usize, own: usize) -> String {
    format!("(t.organisation = any(${shown}) and (t.organisation = any(${own}) or not {CONFIDENTIAL}))")
}

fn holdings_sql() -> String {
    let tables = [
        ("patient", "demographics"),
        ("observation", "observation"),
        ("medication", "medication"),
        ("allergy", "allergy"),
        ("condition", "condition"),
        ("encounter", "encounter"),
    ];
    let of_table = tables.map(|(table, kind)| {
        format!(
            "select distinct t.source, t.patient, t.organisation, '{kind}', {CONFIDENTIAL}
             from record.{table} t join s using (source, patient) where not t.retracted"
        )
    });
    let entries = format!(
        "select distinct t.source, t.patient, t.organisation, t.kind, {CONFIDENTIAL}
         from record.entry t join s using (source, patient) where not t.retracted"
    );
    let all = of_table.into_iter().chain([entries]).collect::<Vec<_>>().join(" union all ");
    format!("with s as (select * from unnest($1::text[], $2::text[]) as s(source, patient)) {all}")
}

/// What there is to look in for this reader.
pub async fn coverage(
    client: &impl GenericClient,
    person: &Person,
    decision: &Decision,
    teams: &Teams,
    late: &[Behind],
) -> Result<Coverage, GatewayError> {
    let held = person.held || held_elsewhere(client, person, decision).await?;
    let freshness = clinical::freshness(client, person).await?;
    Ok(Coverage::of(person, decision, &freshness, held, teams, late))
}

/// Whether a source patient with one of the NHS numbers that the decision shows is held apart from this person.
pub async fn held_elsewhere(
    client: &impl GenericClient,
    person: &Person,
    decision: &Decision,
) -> Result<bool, GatewayError> {
    let shown = person.identities.iter().filter(|identity| identity.shown_by(decision));
    let numbers: Vec<&str> = shown.filter_map(|identity| identity.nhs_number.as_deref()).collect();
    let own: Vec<&str> = decision.own.iter().map(String::as_str).collect();
    let sql = "select exists (select from record.patient p join record.link l using (source, patient)
        where l.status = 'held' and not p.retracted and p.nhs_number = any($1) and l.person <> $2::text::uuid
            and (not p.confidential or p.organisation = any($3)))";
    Ok(client.query_one(sql, &[&numbers, &person.id.to_string(), &own]).await?.get(0))
}
