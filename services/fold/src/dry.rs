//! What a walk would tell, counted and not told.

use super::{
    Fold, Touch, body, name, settle,
    store::{Key, RecordId, Said, Store},
    view,
    walk::Only,
};
use event::{Action, Kind};
use std::collections::BTreeMap;

/// Where the counting stands.
#[derive(Debug, Default)]
pub struct Dry {
    only: Only,
    stage: Stage,
    pub rows: u64,
    pub events: BTreeMap<(Kind, Action), u64>,
}

#[derive(Debug)]
enum Stage {
    Rows { table: usize, after: Option<Key> },
    Said { after: Option<String> },
    Over,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Rows { table: 0, after: None }
    }
}

impl Dry {
    pub fn of(only: Only) -> Self {
        Self { only, ..Self::default() }
    }

    pub const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    fn count(&mut self, kind: Kind, action: Action) {
        *self.events.entry((kind, action)).or_default() += 1;
    }
}

impl<S: Store> Fold<S> {
    /// Counts on over so many rows, or so many things that were said. Only when all is settled.
    pub fn count(&self, dry: &mut Dry, max: usize) {
        match std::mem::replace(&mut dry.stage, Stage::Over) {
            Stage::Rows { table, after } if table < self.mapping.tables.len() => {
                let page = self.store.scan(table, after.as_deref(), max);
                for (_, row) in &page {
                    dry.rows += 1;
                    for record in &self.layouts.uses(table).roots {
                        self.count_record(dry, *record, row);
                    }
                }
                dry.stage = match page.into_iter().next_back() {
                    Some((key, _)) => Stage::Rows { table, after: Some(key) },
                    None => Stage::Rows { table: table + 1, after: None },
                };
            }
            Stage::Rows { .. } if dry.only.has_gone() => dry.stage = Stage::Said { after: None },
            Stage::Said { after } => {
                let page = self.store.all_said(after.as_deref(), max);
                page.iter().for_each(|(name, said)| self.count_gone(dry, name, said));
                if let Some((name, _)) = page.into_iter().next_back() {
                    dry.stage = Stage::Said { after: Some(name) };
                }
            }
            Stage::Rows { .. } | Stage::Over => {}
        }
    }

    fn count_record(&self, dry: &mut Dry, record: usize, row: &super::store::Kept) {
        let rule = &self.mapping.records[record];
        if !dry.only.has_kind(rule.kind as u8) || !dry.only.has_row(row.stands.committed_at) {
            return;
        }
        let id: Option<Vec<String>> = rule.id.iter().map(|column| view::text(&row.cells, *column)).collect();
        let Some(id) = id.map(|id| RecordId { record, id: id.into() }) else { return };
        let Some(view) = view::find(&self.mapping, &self.source, &self.store, &id) else { return };
        // Of several rows of one record, the one that makes it counts.
        let Some(patient) = view.patient().filter(|_| view.stood() == row.stands && !view.unjudged()) else { return };
        let name = name::of(&self.mapping, &id);
        let said = match self.store.said(&name) {
            Some(Said::Told(told)) if *told.patient == *patient => Some(told),
            _ => None,
        };
        let touch = Touch::of_row(row.stands, self.last);
        let draft = body::draft(&view, &self.organisation);
        let event = settle::event(self, &patient.as_str().into(), &name, &touch, draft, None);
        match said {
            None => dry.count(rule.kind, Action::Recorded),
            Some(told) if told.digest != settle::digest(&event) => dry.count(rule.kind, Action::Corrected),
            Some(_) => {}
        }
    }

    fn count_gone(&self, dry: &mut Dry, name: &str, said: &Said) {
        let Said::Told(told) = said else { return };
        if !dry.only.has_kind(told.kind) {
            return;
        }
        let id = name::record(&self.mapping, name);
        let view = id.and_then(|id| view::find(&self.mapping, &self.source, &self.store, &id));
        if view.and_then(|view| view.patient()).is_none_or(|patient| *patient != *told.patient)
            && let Some(kind) = Kind::ALL.get(usize::from(told.kind))
        {
            dry.count(*kind, Action::Retracted);
        }
    }
}
