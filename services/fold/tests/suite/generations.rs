//! Over any history of rows, mappings (A, B, and A again), kills and lost logs, what sinks hold is what one run of the last
//! mapping over the rows that are there would tell.

use crate::{
    properties::{TABLES, Tables, history, op, told},
    support::*,
};
use change::{Change, Entry};
use event::{Action, Body, PatientEvent, Place};
use fold::{
    Fold, Output,
    retell::{At, Held, Stretch},
};
use mapping::{BodyRule, Mapping};
use proptest::{collection::vec, prelude::*};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const MEANINGS: u8 = 3;

/// Mappings that tell different things of the same rows.
fn meaning(of: &Mapping, which: u8) -> Arc<Mapping> {
    let mut mapping = of.clone();
    mapping.revision = 1 + u32::from(which);
    for record in mapping.records.iter_mut().filter(|record| record.name == "result") {
        match which {
            // A voided row is told.
            1 => record.deleted_when.clear(),
            // The unit is not looked at, and records have another name.
            2 => {
                record.name = "line".into();
                if let BodyRule::Observation(rule) = &mut record.body {
                    rule.unit = None;
                }
            }
            _ => {}
        }
    }
    Arc::new(mapping)
}

/// What sinks hold, guarded by place.
#[derive(Default)]
struct Views(BTreeMap<(String, String), (Place, Shown)>);

/// Nothing, once it was taken back.
type Shown = Option<(Option<i64>, Body)>;

impl Views {
    fn take(&mut self, event: &PatientEvent) {
        let key = (event.patient.id.clone(), event.record.clone());
        if self.0.get(&key).is_some_and(|(place, _)| *place >= event.place()) {
            return;
        }
        let shown = (event.action != Action::Retracted).then(|| (event.effective_at, event.body.clone()));
        self.0.insert(key, (event.place(), shown));
    }

    fn shown(&self) -> BTreeMap<(String, String), (Option<i64>, Body)> {
        self.0.iter().filter_map(|(key, (_, shown))| Some((key.clone(), shown.clone()?))).collect()
    }
}

/// `patient.events`, and the sinks that read it.
#[derive(Default)]
struct Region {
    topic: Vec<PatientEvent>,
    ids: BTreeSet<String>,
    views: Views,
}

impl Region {
    /// As the publisher does: what an earlier run has sent is not sent again.
    fn send(&mut self, event: PatientEvent) {
        if self.ids.insert(event.id()) {
            self.views.take(&event);
            self.topic.push(event);
        }
    }

    fn held(&self, below: u32) -> Held {
        let mut held = Held::default();
        self.topic.iter().filter(|event| event.generation < below).for_each(|event| held.take(event));
        held
    }

    /// A generation's beginning, killed after so many events.
    fn begin(&mut self, log: &[Vec<Entry>], mapping: &Arc<Mapping>, generation: u32, killed: usize) -> Fold {
        let mut fold = Fold::new(mapping.clone(), "stmarys", "ORG01").of_generation(generation, false);
        let mut stretch = Stretch::default();
        for event in events(told(&mut fold, log)) {
            stretch.take(event);
        }
        let held = self.held(generation);
        stretch.told(&held).into_iter().take(killed).for_each(|event| self.send(event));
        if let Some(last) = log.last().and_then(|transaction| transaction.last()) {
            let (position, committed_at) = (last.position, last.committed_at);
            let made_by = fold::made_by(mapping);
            let at = At { generation, revision: mapping.revision, position, committed_at, made_by };
            // These histories are told from their first row on: all is known.
            let gone = held.gone("stmarys", &at, |patient, record| match fold.stands(patient, record) {
                fold::Stands::Unread => fold::Stands::Gone,
                stands => stands,
            });
            gone.into_iter().take(killed).for_each(|event| self.send(event));
        }
        fold
    }
}

fn events(outputs: Vec<Output>) -> impl Iterator<Item = PatientEvent> {
    outputs.into_iter().filter_map(|output| match output {
        Output::Event(event) => Some(*event),
        Output::Quarantined(_) => None,
    })
}

/// What one run of the mapping shows of the log.
fn naive(log: &[Vec<Entry>], mapping: &Arc<Mapping>) -> BTreeMap<(String, String), (Option<i64>, Body)> {
    let mut views = Views::default();
    let mut fold = Fold::new(mapping.clone(), "stmarys", "ORG01");
    events(told(&mut fold, log)).for_each(|event| views.take(&event));
    views.shown()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_held_is_what_the_last_mapping_tells(
        lives in vec((vec(op(), 0..25), 0..MEANINGS, prop::option::of(0..4_usize)), 1..5),
        cuts in vec(1..8_usize, 1..6),
    ) {
        let mut world = World::new("stmarys.toml", "stmarys");
        let (mut tables, mut log, mut region) = (Tables::default(), Vec::new(), Region::default());
        let mut last = world.mapping.clone();
        for ((ops, which, killed), number) in lives.into_iter().zip(1..) {
            last = meaning(&world.mapping, which);
            if let Some(killed) = killed {
                region.begin(&log, &last, number, killed);
            }
            let mut fold = region.begin(&log, &last, number, usize::MAX);
            prop_assert_eq!(region.views.shown(), naive(&log, &last), "as soon as it is told");
            let more = history(&mut world, &ops, &cuts, &mut tables);
            events(told(&mut fold, &more)).for_each(|event| region.send(event));
            log.extend(more);
        }
        prop_assert_eq!(region.views.shown(), naive(&log, &last));
        // And so does whoever reads the topic anew.
        let mut rebuilt = Views::default();
        region.topic.iter().for_each(|event| rebuilt.take(event));
        prop_assert_eq!(rebuilt.0, region.views.0);
    }

    #[test]
    fn an_upgrade_that_changes_no_meaning_tells_nothing(ops in vec(op(), 1..40), cuts in vec(1..8_usize, 1..6)) {
        let mut world = World::new("stmarys.toml", "stmarys");
        let log = history(&mut world, &ops, &cuts, &mut Tables::default());
        let mut region = Region::default();
        let mut fold = world.fold();
        events(told(&mut fold, &log)).for_each(|event| region.send(event));
        let before = region.topic.len();
        region.begin(&log, &meaning(&world.mapping, 0), 7, usize::MAX);
        prop_assert_eq!(region.topic.len(), before);
    }

    /// The log is lost with all that it told. The next full snapshot shows what is there: the rest is taken back.
    #[test]
    fn after_a_lost_log_the_next_snapshot_takes_back_what_is_gone(
        before in vec(op(), 1..40), unseen in vec(op(), 0..15), cuts in vec(1..8_usize, 1..6),
    ) {
        let mut world = World::new("stmarys.toml", "stmarys");
        let (mut tables, mut region) = (Tables::default(), Region::default());
        let log = history(&mut world, &before, &cuts, &mut tables);
        events(told(&mut world.fold(), &log)).for_each(|event| region.send(event));
        history(&mut world, &unseen, &cuts, &mut tables);
        let names: Vec<String> = TABLES.iter().map(|table| (*table).to_owned()).collect();
        let rows: Vec<Step> =
            tables.0.into_iter().map(|((table, _), new)| (TABLES[table], Change::Insert { new })).collect();
        let mut fold = world.fold().of_generation(5, true);
        let mut outputs = Vec::new();
        fold.begin_snapshot("s", &names, world.between().0);
        for row in rows.clone() {
            for entry in world.chunk(vec![row], 1) {
                fold.apply(&entry);
                outputs.extend(fold.settle(usize::MAX));
            }
        }
        prop_assert!(events(outputs).next().is_none(), "half of it is not told");
        world.transaction(Vec::new());
        let (position, offset) = world.between();
        fold.end_snapshot("s", &names, false, (position, offset), 2);
        events(fold.settle(usize::MAX)).for_each(|event| {
            assert!(event.action == Action::Recorded && event.reread);
            region.send(event);
        });
        let made_by = fold::made_by(&world.mapping);
        let at = At { generation: 5, revision: 1, position, committed_at: 2, made_by };
        let gone = region.held(5).gone("stmarys", &at, |patient, record| fold.stands(patient, record));
        gone.into_iter().for_each(|event| region.send(event));
        prop_assert_eq!(region.views.shown(), naive(&[world.transaction(rows)], &world.mapping));
    }
}

/// An old potassium of 8.9 that was corrected to 4.8 is not told again.
#[test]
fn a_generation_does_not_pass_through_the_past() {
    let (mut world, mut fold) = crate::stories::hospital();
    let first = vec![crate::stories::person(&world), crate::stories::result(&world, 90, 1, "8.9", true)];
    let second = vec![crate::stories::result(&world, 90, 1, "4.8", true)];
    let (first, second) = (world.transaction(first), world.transaction(second));
    let mut stretch = Stretch::default();
    for outputs in [fold.step(&first), fold.step(&second)] {
        events(outputs).for_each(|event| stretch.take(event));
    }
    let told = stretch.told(&Held::default());
    let lines: Vec<String> = told.into_iter().map(|event| shown(&Output::Event(Box::new(event)))).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines.iter().any(|line| line.contains("4.8")) && !lines.iter().any(|line| line.contains("8.9")),
        "{lines:?}"
    );
}

/// A unit is mended in the mapping; and meanwhile, in another region, the value by its source.
#[test]
fn what_only_the_mapping_changes_is_marked_as_such() {
    for (corrected, marked) in [(false, true), (true, false)] {
        let mut world = World::new("stmarys.toml", "stmarys");
        let mut without_units = (*world.mapping).clone();
        for record in without_units.records.iter_mut().filter(|record| record.name == "result") {
            if let BodyRule::Observation(rule) = &mut record.body {
                rule.unit = None;
            }
        }
        let mut rows = crate::stories::hospital_rows(&world);
        rows.extend([crate::stories::person(&world), crate::stories::result(&world, 90, 1, "8.9", true)]);
        let mut log = vec![world.transaction(rows)];
        let mut region = Region::default();
        events(told(&mut world.fold(), &log)).for_each(|event| region.send(event));
        let before = region.topic.len();
        if corrected {
            let mended = vec![crate::stories::result(&world, 90, 1, "4.9", true)];
            log.push(world.transaction(mended));
        }
        region.begin(&log, &Arc::new(without_units), 7, usize::MAX);
        let told: Vec<bool> = region.topic[before..].iter().map(|event| event.reinterpreted).collect();
        assert_eq!(told, [marked]);
        assert!(region.topic[..before].iter().all(|event| !event.reinterpreted));
    }
}
