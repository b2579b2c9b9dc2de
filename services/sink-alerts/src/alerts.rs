//! The hook in the views' transaction: what was written is judged, and alerts are raised and withdrawn with it.

use crate::{
    read::{self, Keys, Open, Patient},
    reconcile::{Evaluated, Existing, Key, reconcile},
    write::{self, Routes},
};
use alert::{
    Facts, Finding, Limits,
    facts::Setting,
    routing::{self, Reached},
    rules::{self, urgency::Times},
};
use boot::{database::DatabaseFault, organisations::Organisations};
use deadpool_postgres::Transaction;
use event::{Action, Body, Kind, Micros, PatientEvent, SourcePatient, Teams};
use sink_views::{Applied, Hook, plan::ObservationRow};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Error;

/// Results that are judged at once after a rebuild.
const PAGE_ROWS: i64 = 2_000;
/// ODS codes are shorter.
const ODS_MAX: usize = 12;
const HOUR: Micros = 3_600_000_000;

/// The rules of the site, called in each transaction that writes the views.
#[derive(Clone, Debug)]
pub struct Alerts {
    pub limits: Limits,
    pub teams: Teams,
    /// The organisation whose database each source is, by its ODS code.
    pub organisations: Organisations,
    pub encounter_grace_hours: u32,
    pub clock: fn() -> Micros,
}

impl Hook for Alerts {
    async fn applied(&self, transaction: &Transaction<'_>, applied: &Applied<'_>) -> Result<(), Error> {
        let changed: BTreeSet<Key> = applied.observations.iter().map(|row| key(&row.event)).collect();
        let mut judged: BTreeSet<Key> =
            applied.observations.iter().filter(|row| self.may_alert(row)).map(|row| key(&row.event)).collect();
        let surroundings = self.surroundings(applied);
        if !surroundings.is_empty() {
            let persons: Vec<&str> =
                applied.relinked.iter().filter_map(|relinked| relinked.before.as_deref()).collect();
            let touched = read::touched(transaction, &surroundings, &persons).await?;
            judged.extend(read::bearing(transaction, &touched, &self.limits, (self.clock)()).await?);
        }
        self.bring_up_to_date(transaction, &changed, &judged).await?;
        self.route_again(transaction, applied).await
    }

    async fn rebuilt(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        let standing: BTreeSet<Key> = read::standing(transaction).await?.into_iter().collect();
        self.bring_up_to_date(transaction, &BTreeSet::new(), &standing).await?;
        let mut after = Key::default();
        loop {
            let page = read::page(transaction, &after, &self.limits, PAGE_ROWS).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(last);
            self.bring_up_to_date(transaction, &BTreeSet::new(), &page.into_iter().collect()).await?;
        }
    }
}

impl Alerts {
    /// `changed`: records whose alerts may have to go. `judged`: records that may ask for alerts.
    async fn bring_up_to_date(
        &self,
        transaction: &Transaction<'_>,
        changed: &BTreeSet<Key>,
        judged: &BTreeSet<Key>,
    ) -> Result<(), Error> {
        let all = Keys::of(changed.union(judged));
        if all.sources.is_empty() {
            return Ok(());
        }
        let existing = read::existing(transaction, &all).await?;
        // Records with alerts are judged too: they may still ask for them.
        let judged: BTreeSet<&Key> = judged.iter().chain(existing.iter().map(|alert| &alert.key)).collect();
        if judged.is_empty() {
            return Ok(());
        }
        let refused = match self.guarded(transaction, &judged, &existing, changed).await? {
            None => return Ok(()),
            Some(refused) => refused,
        };
        // One of them is what the database refuses: alone it stands aside, and the others are judged.
        if let [only] = judged.iter().copied().collect::<Vec<_>>()[..] {
            return write::refuse(transaction, only, &refused).await;
        }
        for key in judged {
            let own: Vec<Existing> = existing.iter().filter(|alert| alert.key == *key).cloned().collect();
            if let Some(refused) = self.guarded(transaction, &BTreeSet::from([key]), &own, changed).await? {
                write::refuse(transaction, key, &refused).await?;
            }
        }
        Ok(())
    }

    /// Judges and writes, or leaves everything as it was if the database refuses something for what it says: then tells
    /// its fault. Any other error is one.
    async fn guarded(
        &self,
        transaction: &Transaction<'_>,
        judged: &BTreeSet<&Key>,
        existing: &[Existing],
        changed: &BTreeSet<Key>,
    ) -> Result<Option<DatabaseFault>, Error> {
        transaction.batch_execute("savepoint alerts").await?;
        let Err(error) = self.judge(transaction, judged, existing, changed).await else {
            transaction.batch_execute("release savepoint alerts").await?;
            return Ok(None);
        };
        if !DatabaseFault::is_about_the_data(&error) {
            return Err(error);
        }
        transaction.batch_execute("rollback to savepoint alerts; release savepoint alerts").await?;
        Ok(Some(error.into()))
    }

    async fn judge(
        &self,
        transaction: &Transaction<'_>,
        judged: &BTreeSet<&Key>,
        existing: &[Existing],
        changed: &BTreeSet<Key>,
    ) -> Result<(), Error> {
        let mut findings = read::findings(transaction, &Keys::of(judged.iter().copied())).await?;
        for finding in findings.values_mut() {
            finding.setting = Setting::of(&finding.organisation, &self.teams);
        }
        let facts = read::facts(transaction, &findings, &self.limits, (self.clock)()).await?;
        let nothing = Facts::default();
        let results: BTreeMap<Key, Evaluated> = findings
            .into_iter()
            .map(|(key, finding)| {
                let around = facts.get(&(key.0.clone(), key.1.clone())).unwrap_or(&nothing);
                let demands = rules::evaluate(&finding, around, &self.limits);
                let written = changed.contains(&key);
                (key, Evaluated { finding, demands, written })
            })
            .collect();
        let changes = reconcile(&results, existing);
        let mut at: BTreeMap<Patient, Micros> = BTreeMap::new();
        for raise in &changes.raise {
            let patient = &raise.finding.patient;
            let latest = at.entry((patient.source.clone(), patient.id.clone())).or_insert(Micros::MIN);
            *latest = (*latest).max(raise.finding.times.committed_at);
        }
        let mut routes = Routes::new();
        if !at.is_empty() {
            let placements = read::placements(transaction, &at, self.grace()).await?;
            for raise in &changes.raise {
                let Finding { patient, organisation, requester, .. } = raise.finding;
                let placed = placements.get(&(patient.source.clone(), patient.id.clone()));
                let placed = placed.map_or(&[][..], Vec::as_slice);
                routes.insert(raise.id.to_string(), self.route(patient, organisation, requester.as_deref(), placed));
            }
            let undated = changes.raise.iter().filter(|raise| raise.finding.times.undated(&self.limits)).count();
            metrics::counter!("causeway_alerts_undated_total").increment(undated as u64);
        }
        write::changes(transaction, &changes, &routes).await
    }

    /// Never to nobody; how far it had to look is counted, and said where no team is known.
    fn route(
        &self,
        patient: &SourcePatient,
        organisation: &str,
        requester: Option<&str>,
        placed: &[routing::Placement],
    ) -> BTreeMap<String, routing::Recipient> {
        let source = &patient.source;
        let source_organisation = self.organisations.of(source);
        let source_organisation = source_organisation.as_deref();
        let from = routing::From { patient, organisation, source_organisation, requester };
        let (recipients, reached) = routing::recipients(&from, placed, &self.teams);
        if reached != Reached::Holder {
            metrics::counter!("causeway_alerts_without_own_team_total", "source" => source.clone(), "to" => reached.as_str())
                .increment(1);
        }
        // An ODS code is neither long nor odd; whatever else stands in its column is not for a log.
        let code =
            Some(organisation).filter(|code| code.len() <= ODS_MAX && code.chars().all(|c| c.is_ascii_alphanumeric()));
        match reached {
            Reached::Holder | Reached::Source => {}
            Reached::CatchAll => tracing::warn!(
                source,
                organisation = code.unwrap_or("not an ODS code"),
                "no team is known for an alert's organisation: the site's catch-all answers for it"
            ),
            Reached::Nobody => tracing::warn!(
                source,
                organisation = code.unwrap_or("not an ODS code"),
                recipients = recipients.len(),
                "nobody answers for an alert: site/teams.toml names no catch_all"
            ),
        }
        recipients
    }

    /// Alerts that stand and went to nobody, as an older version could leave them, are routed now. Tells how many it
    /// found and how many are left.
    pub async fn route_forgotten(&self, transaction: &Transaction<'_>) -> Result<(usize, usize), Error> {
        let forgotten = read::unrouted(transaction, PAGE_ROWS).await?;
        let now = (self.clock)();
        let found = forgotten.len();
        self.route_open(transaction, forgotten, now).await?;
        let left = if found == 0 { 0 } else { read::unrouted(transaction, PAGE_ROWS).await?.len() };
        Ok((found, left))
    }

    async fn route_open(&self, transaction: &Transaction<'_>, open: Vec<Open>, now: Micros) -> Result<(), Error> {
        if open.is_empty() {
            return Ok(());
        }
        let at: BTreeMap<Patient, Micros> = open.iter().map(|open| (open.patient.clone(), now)).collect();
        let placements = read::placements(transaction, &at, self.grace()).await?;
        let mut routes = Routes::new();
        for Open { alert, patient, organisation, requester } in open {
            let placed = placements.get(&patient).map_or(&[][..], Vec::as_slice);
            let patient = SourcePatient { source: patient.0, id: patient.1 };
            routes.insert(alert, self.route(&patient, &organisation, requester.as_deref(), placed));
        }
        write::route(transaction, &routes).await
    }

    /// A patient who moves on takes open alerts along: the team they are with now receives them too.
    async fn route_again(&self, transaction: &Transaction<'_>, applied: &Applied<'_>) -> Result<(), Error> {
        let mut moved: BTreeSet<Patient> = applied.placements.iter().map(|event| patient(event)).collect();
        moved.extend(applied.relinked.iter().map(|relinked| {
            let patient = &relinked.link.patient;
            (patient.source.clone(), patient.id.clone())
        }));
        if moved.is_empty() {
            return Ok(());
        }
        let moved = read::touched(transaction, &moved, &[]).await?;
        let open = read::open(transaction, &moved).await?;
        let decided = applied.relinked.iter().map(|relinked| relinked.link.decided_at);
        let now = applied.committed_at.into_iter().chain(decided).max().unwrap_or_default();
        self.route_open(transaction, open, now).await
    }

    /// Patients about whom something changed that their results are judged by.
    fn surroundings(&self, applied: &Applied<'_>) -> BTreeSet<Patient> {
        let stays = rules::any_rests_on_stays(&self.limits);
        let bears = |event: &&&PatientEvent| match event.body {
            Body::Demographics(_) | Body::Retracted(Kind::Demographics) => true,
            Body::Encounter(_) | Body::Retracted(Kind::Encounter) => stays,
            _ => false,
        };
        let medicines = if rules::any_rests_on_medicines(&self.limits) { &applied.medicines[..] } else { &[] };
        let around = applied.conditions.iter().chain(medicines).chain(applied.placements.iter().filter(bears));
        let around = around.map(|event| patient(event));
        let results =
            applied.observations.iter().filter(|row| self.bears_on_others(row)).map(|row| patient(&row.event));
        let relinked = applied.relinked.iter().map(|relinked| {
            let patient = &relinked.link.patient;
            (patient.source.clone(), patient.id.clone())
        });
        around.chain(results).chain(relinked).collect()
    }

    fn grace(&self) -> Micros {
        Micros::from(self.encounter_grace_hours) * HOUR
    }

    fn may_alert(&self, row: &ObservationRow) -> bool {
        written(&row.event).is_some_and(|finding| rules::may_alert(&finding, &self.limits))
    }

    /// What it was before a correction or retraction is not in the event: then it may have borne on others.
    fn bears_on_others(&self, row: &ObservationRow) -> bool {
        match (row.event.action, written(&row.event)) {
            (Action::Recorded, Some(finding)) => rules::bears_on_others(&finding, &self.limits),
            _ => rules::any_bears_on_others(&self.limits),
        }
    }
}

/// The result as an event tells it: what the record knows besides, of the patient and the row before, is not in it.
fn written(event: &PatientEvent) -> Option<Finding> {
    let Body::Observation(it) = &event.body else { return None };
    Some(Finding {
        times: Times {
            committed_at: event.committed_at,
            entered_at: event.entered_at,
            authorised_at: it.authorised_at,
            snapshot: event.snapshot,
            reread: event.reread,
        },
        effective_at: event.effective_at,
        effective_precision: event.effective_precision,
        analyte: it.analyte.clone(),
        comparator: it.value.comparator,
        number: it.value.number,
        text: it.value.text.clone(),
        canonical: it.value.canonical.as_ref().map(|canonical| (canonical.number, canonical.unit.clone())),
        range_low: it.range_low,
        range_high: it.range_high,
        flag: it.flag.clone(),
        unchecked: it.unchecked.clone(),
        comment: it.comment.clone(),
        status: Some(it.status.as_str().to_owned()),
        codes: it.code.snomed.iter().chain(&it.code.original_code).cloned().collect(),
        ..Finding::of(event.patient.clone(), String::new())
    })
}

fn key(event: &PatientEvent) -> Key {
    (event.patient.source.clone(), event.patient.id.clone(), event.record.clone())
}

fn patient(event: &PatientEvent) -> Patient {
    (event.patient.source.clone(), event.patient.id.clone())
}
