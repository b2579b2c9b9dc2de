//! Resources of one person, of whatever type, under one decision.

use super::{
    Stop, accesses, clinical, entries, interpreted, lists, provenance, resources,
    search::{Search, cursor::Place},
    supply,
    table::{Made, Type},
};
use crate::{
    access::{Action, Decision},
    app::{App, now},
    record::{
        Person,
        clinical::{Observation, Provenance as Origin},
        judged,
        rows::{self, Narrow},
    },
    session::Actor,
};
use deadpool_postgres::Transaction;
use event::{Kind, Micros};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A resource, and where it stands among others.
pub struct Found {
    /// When it was so, else what comes nearest.
    pub at: Option<Micros>,
    pub committed_at: Micros,
    pub id: String,
    pub resource: Value,
    /// The record that it was made of; none where it was made of several.
    pub origin: Option<Origin>,
}

impl Found {
    pub fn new(at: Option<Micros>, origin: &Origin, resource: Value) -> Self {
        let id = resource["id"].as_str().unwrap_or_default().to_owned();
        Self { at, committed_at: origin.committed_at, id, resource, origin: Some(origin.clone()) }
    }

    pub fn name(&self) -> String {
        format!("{}/{}", self.resource["resourceType"].as_str().unwrap_or_default(), self.id)
    }

    pub fn place(&self, search: &Search) -> Place {
        search.order.place(&self.resource, &self.id, &[self.at, Some(self.committed_at)])
    }
}

/// What was read, and whether there is more than is ever read.
#[derive(Default)]
pub struct Read {
    pub found: Vec<Found>,
    pub cut: bool,
}

/// One person, decided on, in the transaction that decided.
pub struct Reading<'a> {
    pub app: &'a App,
    pub transaction: &'a Transaction<'a>,
    pub person: &'a Person,
    pub decision: &'a Decision,
    /// What was decided on.
    pub what: Action,
    pub actor: &'a Actor,
}

impl Reading<'_> {
    /// Every resource of the type that may be shown.
    pub async fn of(&self, of: &Type, narrow: Narrow<'_>) -> Result<Read, Stop> {
        let mut read = match of.made {
            Made::Patient => Read { found: vec![self.patient()], cut: false },
            Made::Of(kind) => self.kind(kind, narrow).await?,
            Made::Supply(phase) => {
                let rows = rows::entries(self.transaction, self.whom(), Kind::Supply, narrow).await?;
                let of_phase = rows.rows.iter().filter(|entry| supply::phase(entry) == phase);
                Read { found: of_phase.map(|entry| supply::found(self.person.id, entry)).collect(), cut: rows.cut }
            }
            Made::Lists => Box::pin(lists::read(self, narrow)).await?,
            Made::Provenance => Box::pin(provenance::read(self, narrow)).await?,
            // Who may see the record may not see who looked at it.
            Made::Accesses if self.what == Action::ViewAccesses => accesses::read(self).await?,
            Made::Accesses => Read::default(),
        };
        for found in &mut read.found {
            version(&mut found.resource);
        }
        Ok(read)
    }

    pub fn whom(&self) -> (&Person, &Decision) {
        (self.person, self.decision)
    }

    /// Who the patient is.
    pub fn own(&self) -> Found {
        let mut found = self.patient();
        version(&mut found.resource);
        found
    }

    fn patient(&self) -> Found {
        let resource = resources::patient(self.person, self.decision);
        let shown = self.person.identities.iter().filter(|identity| identity.shown_by(self.decision));
        let committed_at = shown.map(|identity| identity.committed_at).max().unwrap_or_default();
        let id = self.person.id.to_string();
        Found { at: None, committed_at, id, resource, origin: None }
    }

    async fn kind(&self, kind: Kind, narrow: Narrow<'_>) -> Result<Read, Stop> {
        let (id, whom) = (self.person.id, self.whom());
        Ok(match kind {
            Kind::Observation => {
                let who = judged::who(self.person, self.decision);
                let rows = rows::observations(self.transaction, whom, narrow).await?;
                let one = |row: &Observation| {
                    Found::new(row.at(), &row.from, interpreted::observation(id, row, who, &self.app.site))
                };
                Read { found: rows.rows.iter().map(one).collect(), cut: rows.cut }
            }
            Kind::Medication => {
                let rows = rows::medications(self.transaction, whom, narrow).await?;
                let one = |row| clinical::medication(id, row, now());
                Read { found: rows.rows.iter().map(one).collect(), cut: rows.cut }
            }
            Kind::Allergy => {
                let rows = rows::allergies(self.transaction, whom, narrow).await?;
                Read { found: rows.rows.iter().map(|row| clinical::allergy(id, row)).collect(), cut: rows.cut }
            }
            Kind::Condition => {
                let rows = rows::conditions(self.transaction, whom, narrow).await?;
                Read { found: rows.rows.iter().map(|row| clinical::condition(id, row)).collect(), cut: rows.cut }
            }
            Kind::Encounter => {
                let rows = rows::encounters(self.transaction, whom, narrow).await?;
                let one = |row| clinical::encounter(id, row, now());
                Read { found: rows.rows.iter().map(one).collect(), cut: rows.cut }
            }
            Kind::SpecimenReport => self.reports(narrow).await?,
            kind => {
                let rows = rows::entries(self.transaction, whom, kind, narrow).await?;
                let one = |entry| entries::found(id, entry);
                Read { found: rows.rows.iter().filter_map(one).collect(), cut: rows.cut }
            }
        })
    }

    /// With the results that bear each report's identifier.
    async fn reports(&self, narrow: Narrow<'_>) -> Result<Read, Stop> {
        let rows = rows::entries(self.transaction, self.whom(), Kind::SpecimenReport, narrow).await?;
        if rows.rows.is_empty() {
            return Ok(Read::default());
        }
        let results = rows::observations(self.transaction, self.whom(), Narrow::default()).await?;
        let one = |entry| entries::report(self.person.id, entry, &results.rows);
        Ok(Read { found: rows.rows.iter().map(one).collect(), cut: rows.cut || results.cut })
    }
}

/// A version of a resource is what it says to this reader: the same version says the same.
pub fn version(resource: &mut Value) {
    const CHARS: usize = 20;
    let digest = Sha256::digest(resource.to_string().as_bytes());
    let version: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    resource["meta"]["versionId"] = version[..CHARS].into();
}
