//! The hook in the views' transaction: what was written is judged, and alerts are raised and withdrawn with it.

use crate::{
    limits::Limits,
    read::{self, Keys, Patient},
    reconcile::{Evaluated, Key, reconcile},
    routing::recipients,
    rules::{self, Context, Finding, urgency::Times},
    write::{self, Routes},
};
use deadpool_postgres::Transaction;
use event::{Body, Micros, PatientEvent, Teams};
use sink_views::{Applied, Hook, plan::ObservationRow};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Error;

/// Results that are judged at once after a rebuild.
const PAGE_ROWS: i64 = 2_000;
const HOUR: Micros = 3_600_000_000;

/// The rules of the site, called in each transaction that writes the views.
#[derive(Clone, Debug)]
pub struct Alerts {
    pub limits: Limits,
    pub teams: Teams,
    pub encounter_grace_hours: u32,
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
            judged.extend(read::bearing(transaction, &touched, &self.limits).await?);
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
        let findings = read::findings(transaction, &Keys::of(judged)).await?;
        let patients: BTreeSet<Patient> =
            findings.keys().map(|(source, patient, _)| (source.clone(), patient.clone())).collect();
        let contexts = read::contexts(transaction, &patients, &self.limits).await?;
        let nothing = Context::default();
        let results: BTreeMap<Key, Evaluated> = findings
            .into_iter()
            .map(|(key, finding)| {
                let context = contexts.get(&(key.0.clone(), key.1.clone())).unwrap_or(&nothing);
                let demands = rules::evaluate(&finding, context, &self.limits);
                (key, Evaluated { finding, demands })
            })
            .collect();
        let changes = reconcile(&results, &existing);
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
                let placed =
                    placements.get(&(patient.source.clone(), patient.id.clone())).map_or(&[][..], Vec::as_slice);
                let teams = recipients(patient, organisation, requester.as_deref(), placed, &self.teams);
                routes.insert(raise.id.to_string(), teams);
            }
        }
        write::changes(transaction, &changes, &routes).await
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
        if open.is_empty() {
            return Ok(());
        }
        let decided = applied.relinked.iter().map(|relinked| relinked.link.decided_at);
        let now = applied.committed_at.into_iter().chain(decided).max().unwrap_or_default();
        let at: BTreeMap<Patient, Micros> = open.iter().map(|(_, patient)| (patient.clone(), now)).collect();
        let placements = read::placements(transaction, &at, self.grace()).await?;
        let mut routes = Routes::new();
        for (alert, patient) in open {
            let Some(placed) = placements.get(&patient) else { continue };
            let patient = event::SourcePatient { source: patient.0, id: patient.1 };
            // No organisation: teams that were told for want of others are not told again.
            routes.insert(alert, recipients(&patient, "", None, placed, &self.teams));
        }
        write::route(transaction, &routes).await
    }

    /// Patients about whom something changed that their results are judged by.
    fn surroundings(&self, applied: &Applied<'_>) -> BTreeSet<Patient> {
        let conditions = applied.conditions.iter().map(|event| patient(event));
        let relinked = applied.relinked.iter().map(|relinked| {
            let patient = &relinked.link.patient;
            (patient.source.clone(), patient.id.clone())
        });
        conditions.chain(relinked).collect()
    }

    fn grace(&self) -> Micros {
        Micros::from(self.encounter_grace_hours) * HOUR
    }

    fn may_alert(&self, row: &ObservationRow) -> bool {
        let Body::Observation(it) = &row.event.body else { return false };
        let finding = Finding {
            patient: row.event.patient.clone(),
            record: String::new(),
            organisation: String::new(),
            event_id: String::new(),
            version: String::new(),
            times: Times { committed_at: row.event.committed_at, ..Times::default() },
            effective_at: row.event.effective_at,
            code_text: String::new(),
            analyte: it.analyte.clone(),
            comparator: it.value.comparator,
            number: it.value.number,
            unit: None,
            text: None,
            canonical: it.value.canonical.as_ref().map(|canonical| (canonical.number, canonical.unit.clone())),
            range_low: it.range_low,
            range_high: it.range_high,
            flag: it.flag.clone(),
            unchecked: it.unchecked.clone(),
            requester: None,
            unknown_status: None,
            birth_date: None,
        };
        rules::may_alert(&finding, &self.limits)
    }
}

fn key(event: &PatientEvent) -> Key {
    (event.patient.source.clone(), event.patient.id.clone(), event.record.clone())
}

fn patient(event: &PatientEvent) -> Patient {
    (event.patient.source.clone(), event.patient.id.clone())
}
