//! A walk over everything that is kept: what a generation tells of what its source has not touched.
//!
//! # Why
//! A new generation means the same rows in another way, or begins with rows that came from elsewhere. Told on the way,
//! records would pass through their past: an old potassium of 8.9 that was corrected to 4.8 would be shown, and alerted,
//! again. So rows are taken in *quietly* up to where the generation begins: nothing is settled, nothing told. Then all rows
//! are walked over, some at a time, between two settlements and beside what comes: each record that they make is compared
//! with what was last said of it, and what differs is told, at the last place of the log: so events stay in the order of
//! their places, for each patient too. Then all that was said is walked over: what this walk has not met is no more, and is
//! taken back, unless its table has not been read whole; then that waits for the table's next reading.
//!
//! What a walk has looked at bears its number, and so does whatever is told meanwhile: it is not looked at twice. Where it
//! stands is a note in the store. A walk that was ended goes on from its last checkpoint, and from what stands on the topic
//! behind that: [`Fold::remember`]. An earlier run may have told more than this one has read: that is told again from the
//! log, and passed over as it is sent, before anything is looked at. Else the walk would tell what has changed since.

use super::{
    Due, Fold, Output, Task, Touch, layouts, name, rows, settle,
    store::{Key, Said, Store, Told, read, write},
};
use change::Position;
use event::{Action, Kind, Micros, PatientEvent};
use mapping::Mapping;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The note of where a walk stands.
const WALK: &str = "walk";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// Of the last walk that began.
    number: u32,
    /// What was touched up to here was told before it began.
    since: Option<Position>,
    only: Only,
    stage: Stage,
}

/// What a walk looks at; by default, everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Only {
    /// Kinds of records, by their places in [`Kind::ALL`]; none: all.
    kinds: Vec<u8>,
    /// Records whose own row was told since. What is no more is not looked for then.
    since: Option<Micros>,
}

impl Only {
    pub fn of(kinds: &[Kind], since: Option<Micros>) -> Self {
        Self { kinds: kinds.iter().map(|kind| *kind as u8).collect(), since }
    }

    pub fn nothing() -> Self {
        Self { kinds: vec![u8::MAX], since: None }
    }

    pub(crate) fn has_kind(&self, kind: u8) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    pub(crate) fn has_row(&self, told: Micros) -> bool {
        self.since.is_none_or(|since| told >= since)
    }

    /// Is what is no more looked for?
    pub(crate) const fn has_gone(&self) -> bool {
        self.since.is_none()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    #[default]
    None,
    /// Rows of this table of the mapping, after this key.
    Rows { table: usize, after: Option<String> },
    /// What was said, after this record.
    Said { after: Option<String>, left: bool },
    /// Something that was said waits for its table to be read.
    Rests,
}

/// What was told of a record of two patients, and not taken back of the first: the store of who told it was lost.
pub type Orphans = BTreeMap<(String, Key), (Key, u8)>;

impl Walk {
    pub fn resume(store: &impl Store) -> Self {
        store.note(WALK).as_deref().and_then(read).unwrap_or_default()
    }

    const fn goes(&self) -> bool {
        matches!(self.stage, Stage::Rows { .. } | Stage::Said { .. })
    }
}

impl<S: Store> Fold<S> {
    /// From here on rows are taken in, and nothing is settled.
    pub const fn be_quiet(&mut self) {
        self.quiet = true;
    }

    pub const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// What was taken in so far was told by an earlier generation.
    pub const fn told_so_far(&mut self) {
        self.walk.since = Some(self.last.0);
    }

    /// Is there something left to look at?
    pub const fn walks(&self) -> bool {
        self.walk.goes()
    }

    /// Everything that was told, and the store may not know of, follows.
    pub const fn remember_anew(&mut self) {
        self.ahead = None;
    }

    /// Something of what was told could not be remembered yet: the log says it further on.
    pub const fn forgets(&self) -> bool {
        self.ahead.is_some()
    }

    /// The log has not been read up to there.
    pub fn is_behind(&self) -> bool {
        self.ahead.is_some_and(|ahead| ahead > self.last.0)
    }

    /// Does a patient have what is another's now, and was it not taken back yet?
    pub fn has_orphans(&self) -> bool {
        !self.orphans.is_empty()
    }

    /// What was told, and the store may not know of: in the order of its partition, and as often as it was told.
    pub fn remember(&mut self, event: &PatientEvent) {
        if event.generation == self.generation && event.position > self.last.0 {
            self.ahead = self.ahead.max(Some(event.position));
            return;
        }
        let known = match self.store.said(&event.record) {
            Some(Said::Told(told)) => Some(told),
            Some(Said::Waiting) | None => None,
        };
        let (patient, place) = (Key::from(event.patient.id.as_str()), (event.generation, event.position));
        let of_patient = (event.record.clone(), patient.clone());
        if event.action == Action::Retracted {
            self.orphans.remove(&of_patient);
            if known.is_some_and(|told| told.patient == patient && (told.generation, told.position) <= place) {
                self.store.say(&event.record, None);
            }
            return;
        }
        let (organisation, kind) = (Key::from(event.organisation.as_str()), event.body.kind() as u8);
        match known {
            Some(told) if (told.generation, told.position) > place => {
                if told.patient != patient {
                    self.orphans.insert(of_patient, (organisation, kind));
                }
                return;
            }
            // The store knows of it, and whether it was looked at.
            Some(told) if (told.generation, told.position) == place && told.patient == patient => {
                self.orphans.remove(&of_patient);
                return;
            }
            Some(told) if told.patient != patient => {
                self.orphans.insert((event.record.clone(), told.patient), (told.organisation, told.kind));
            }
            _ => {}
        }
        self.orphans.remove(&of_patient);
        // What an earlier generation told is looked at.
        let walk = if event.generation == self.generation { self.walk.number } else { 0 };
        let told = Told {
            patient,
            organisation,
            kind,
            digest: settle::digest(event),
            incomplete: event.incomplete.is_some(),
            generation: event.generation,
            position: event.position,
            walk,
        };
        self.store.say(&event.record, Some(Said::Told(told)));
    }

    /// Ends the quiet, and begins to look at everything. Settle next.
    pub fn begin_walk(&mut self, only: Only) {
        self.quiet = false;
        let number = self.walk.number + 1;
        self.walk = Walk { number, since: self.walk.since, only, stage: Stage::Rows { table: 0, after: None } };
        let mapping = self.mapping.clone();
        let is_mapped = |table: &str| mapping.tables.iter().any(|of| of.id.to_string() == table);
        self.noted.extend(self.open.unmapped(&mut self.store, is_mapped));
        let touch = self.here();
        for table in 0..mapping.tables.len() {
            layouts::miss_columns(self, table, &touch);
        }
        self.keep_walk();
    }

    /// Looks at so many more. Only when all is settled, and nothing was told of what comes; settle next.
    pub fn walk(&mut self, max: usize) {
        self.leave_orphans();
        match self.walk.stage.clone() {
            Stage::Rows { table, after } => self.walk_rows(table, after.as_deref(), max),
            Stage::Said { after, left } => self.walk_said(after.as_deref(), left, max),
            Stage::None | Stage::Rests => return,
        }
        self.keep_walk();
    }

    fn leave_orphans(&mut self) {
        let touch = self.here();
        let mut groups: BTreeMap<Key, Vec<Due>> = BTreeMap::new();
        for ((name, patient), (organisation, kind)) in std::mem::take(&mut self.orphans) {
            let task = Task::Leave { organisation, kind };
            groups.entry(patient).or_default().push(Due { touch: touch.clone(), name, said: None, task });
        }
        settle::take_in(self, groups);
    }

    /// A table was read whole: what waited for that is looked at again.
    pub(crate) fn wake_walk(&mut self) {
        if self.walk.stage == Stage::Rests {
            self.walk.stage = Stage::Said { after: None, left: false };
            self.keep_walk();
        }
    }

    pub(crate) const fn walk_number(&self) -> u32 {
        self.walk.number
    }

    pub(crate) fn since(&self) -> Position {
        self.walk.since.unwrap_or(Position::START)
    }

    /// Was it told, or looked at, since the walk began?
    pub(crate) fn is_settled(&self, said: Option<&Said>) -> bool {
        matches!(said, Some(Said::Told(told)) if told.walk == self.walk.number)
    }

    fn keep_walk(&mut self) {
        self.store.keep_note(WALK, Some(write(&self.walk)));
    }

    fn here(&self) -> Touch {
        let ((position, offset), committed_at) = (self.last, self.clock);
        let (snapshot, reread, own) = (true, false, true);
        Touch { position, offset, committed_at, snapshot, reread, own, walked: Some(position), traceparent: None }
    }

    fn walk_rows(&mut self, table: usize, after: Option<&str>, max: usize) {
        let (mapping, here) = (self.mapping.clone(), self.last);
        if table >= mapping.tables.len() {
            let gone = self.walk.only.has_gone();
            self.walk.stage = if gone { Stage::Said { after: None, left: false } } else { Stage::None };
            return;
        }
        let page = self.store.scan(table, after, max);
        let uses = self.layouts.uses(table);
        for (key, row) in &page {
            let touch = Touch::of_row(row.stands, here);
            rows::look_at(self, table, key, &row.cells, &touch);
            let told = self.walk.only.has_row(row.stands.committed_at);
            let kind = |record: &&usize| self.walk.only.has_kind(mapping.records[**record].kind as u8);
            let records: Vec<usize> = uses.roots.iter().filter(|record| told && kind(record)).copied().collect();
            for record in &records {
                rows::touch_root(self, &mapping, *record, &row.cells, &touch);
            }
        }
        self.walk.stage = match page.into_iter().next_back() {
            Some((key, _)) => Stage::Rows { table, after: Some(key.to_string()) },
            None => Stage::Rows { table: table + 1, after: None },
        };
    }

    fn walk_said(&mut self, after: Option<&str>, mut left: bool, max: usize) {
        let touch = self.here();
        let page = self.store.all_said(after, max);
        let mut groups: BTreeMap<Key, Vec<Due>> = BTreeMap::new();
        for (name, said) in &page {
            let looked_at = !matches!(said, Said::Told(told) if !self.walk.only.has_kind(told.kind));
            if self.is_settled(Some(said)) || !looked_at {
                continue;
            }
            match (table_of(&self.mapping, name), said) {
                // Nobody knows, or not yet.
                (Some(table), Said::Told(_)) if !self.reading.shown(table) => left = true,
                (Some(_), Said::Told(_)) if self.waiting.has(&self.store, name) => left = true,
                // It waits for what it lacks.
                (Some(_), Said::Waiting) => {}
                (_, said) => {
                    self.store.say(name, None);
                    self.waiting.forget(&mut self.store, name);
                    let mut closed = Vec::new();
                    settle::in_quarantine(self, name, Vec::new(), &mut closed);
                    self.noted.extend(closed.into_iter().filter_map(Output::item));
                    if let Said::Told(told) = said {
                        let task = Task::Leave { organisation: told.organisation.clone(), kind: told.kind };
                        let due = Due { touch: touch.clone(), name: name.clone(), said: None, task };
                        groups.entry(told.patient.clone()).or_default().push(due);
                    }
                }
            }
        }
        settle::take_in(self, groups);
        self.walk.stage = match page.into_iter().next_back() {
            Some((name, _)) => Stage::Said { after: Some(name), left },
            None if left => Stage::Rests,
            None => Stage::None,
        };
    }

    /// How far a walk is, for people; none if there is none.
    pub fn walk_stands(&self) -> Option<String> {
        let at = match &self.walk.stage {
            Stage::Rows { table, .. } => {
                let of = self.mapping.tables.len();
                let id = self.mapping.tables.get(*table).map_or_else(String::new, |table| table.id.to_string());
                format!("at the rows of {id}, table {} of {of}", of.min(table + 1))
            }
            Stage::Said { .. } => "at what was told and is no more".into(),
            Stage::None | Stage::Rests => return None,
        };
        Some(format!("looks at everything that is kept, for a new generation: {at}"))
    }
}

/// The table of whose rows this record is made; none if the mapping makes no such records.
fn table_of(mapping: &Mapping, name: &str) -> Option<usize> {
    name::record(mapping, name).map(|id| mapping.records[id.record].table)
}
