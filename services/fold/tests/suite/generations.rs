//! Over any history of rows, mappings (A, B, and A again), kills and lost logs, what sinks hold is what one run of the last
//! mapping over the rows that are there would tell.

use crate::{
    properties::{TABLES, Tables, history, op, told},
    support::*,
};
use change::{Change, Entry};
use event::{Action, Body, Kind, PatientEvent, Place};
use fold::{
    Fold, Output,
    dry::Dry,
    store::{MemoryStore, shapes},
    walk::Only,
};
use mapping::{BodyRule, Mapping};
use proptest::{collection::vec, prelude::*};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub const MEANINGS: u8 = 3;

pub fn store() -> impl Strategy<Value = Store> {
    prop_oneof![3 => Just(Store::Kept), 1 => Just(Store::Lost)]
}

/// Mappings that tell different things of the same rows.
pub fn meaning(of: &Mapping, which: u8) -> Arc<Mapping> {
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
pub struct Views(BTreeMap<(String, String), (Place, Shown)>);

/// Nothing, once it was taken back.
pub type Shown = Option<(Option<i64>, Body)>;

impl Views {
    fn take(&mut self, event: &PatientEvent) {
        let key = (event.patient.id.clone(), event.record.clone());
        if self.0.get(&key).is_some_and(|(place, _)| *place >= event.place()) {
            return;
        }
        let shown = (event.action != Action::Retracted).then(|| (event.effective_at, event.body.clone()));
        self.0.insert(key, (event.place(), shown));
    }

    pub fn shown(&self) -> BTreeMap<(String, String), (Option<i64>, Body)> {
        self.0.iter().filter_map(|(key, (_, shown))| Some((key.clone(), shown.clone()?))).collect()
    }
}

/// `patient.events`, and the sinks that read it; and what a checkpoint holds, with how much of the log and of the topic.
#[derive(Default)]
pub struct Region {
    pub topic: Vec<PatientEvent>,
    ids: BTreeSet<String>,
    pub views: Views,
    pub kept: Option<(MemoryStore, usize, usize)>,
}

/// Rows looked at at a time.
const PAGE: usize = 2;

/// How a generation finds its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    Kept,
    Lost,
}

impl Region {
    /// As the publisher does: what an earlier run has sent is not sent again.
    pub fn send(&mut self, event: PatientEvent) {
        if self.ids.insert(event.id()) {
            self.views.take(&event);
            self.topic.push(event);
        }
    }

    pub fn keep(&mut self, fold: &mut Fold, log: usize) {
        self.kept = Some((fold.rest().clone(), log, self.topic.len()));
    }

    /// A generation that goes on with what is kept.
    fn renewed(&self, mapping: &Arc<Mapping>, generation: u32) -> Fold {
        let (kept, ..) = self.kept.as_ref().expect("a checkpoint");
        let store = kept.clone().reshaped(&shapes(mapping));
        let fold = Fold::with_store(mapping.clone(), "stmarys", "ORG01", store);
        let mut fold = fold.of_generation(generation, false).resume();
        fold.be_quiet();
        fold
    }

    /// A generation before it looks at anything: rows alone, and what was told.
    pub fn quiet(&self, log: &[Vec<Entry>], mapping: &Arc<Mapping>, generation: u32, store: Store) -> Fold {
        let (mut fold, rows, told) = match &self.kept {
            Some((_, rows, told)) if store == Store::Kept => (self.renewed(mapping, generation), *rows, *told),
            _ => {
                let fold = Fold::new(mapping.clone(), "stmarys", "ORG01");
                let mut fold = fold.of_generation(generation, false);
                all_are_read(&mut fold);
                fold.be_quiet();
                (fold, 0, 0)
            }
        };
        assert!(events(log[rows..].iter().flat_map(|entries| fold.step(entries)).collect()).next().is_none());
        fold.told_so_far();
        self.remind(&mut fold, told);
        fold.begin_walk(Only::default());
        fold
    }

    /// Of what stands on the topic.
    pub fn remind(&self, fold: &mut Fold, told: usize) {
        fold.remember_anew();
        self.topic[told..].iter().for_each(|event| fold.remember(event));
    }

    /// A page more. How many events that told.
    pub fn walk(&mut self, fold: &mut Fold, killed: usize) -> usize {
        if fold.is_behind() {
            return 0;
        }
        if fold.forgets() {
            self.remind(fold, 0);
        }
        fold.walk(PAGE);
        let told: Vec<PatientEvent> = events(fold.settle(usize::MAX)).collect();
        let count = told.len();
        told.into_iter().take(killed).for_each(|event| self.send(event));
        count
    }

    /// A generation's beginning, killed after so many events.
    pub fn begin(
        &mut self,
        log: &[Vec<Entry>],
        mapping: &Arc<Mapping>,
        (generation, store): (u32, Store),
        mut killed: usize,
    ) -> Fold {
        let mut fold = self.quiet(log, mapping, generation, store);
        let (counted, before) = (counted(&fold), self.topic.len());
        let whole = killed == usize::MAX;
        let first: Vec<PatientEvent> = events(fold.settle(usize::MAX)).collect();
        for event in first {
            if killed > 0 {
                killed -= 1;
                self.send(event);
            }
        }
        while fold.walks() {
            killed = killed.saturating_sub(self.walk(&mut fold, killed));
        }
        if whole && fold.settled() {
            assert_eq!(self.topic.len() - before, counted, "as was counted before");
        }
        fold
    }
}

/// How many events a walk would tell.
fn counted(fold: &Fold) -> usize {
    let mut dry = Dry::of(Only::default());
    while !dry.is_over() {
        fold.count(&mut dry, PAGE);
    }
    dry.events.values().map(|count| usize::try_from(*count).expect("a count")).sum()
}

/// All tables have been read, and were empty.
pub fn all_are_read(fold: &mut Fold) {
    let names: Vec<String> = TABLES.iter().map(|table| (*table).to_owned()).collect();
    fold.begin_snapshot("before", &names, change::Position::START);
    fold.end_snapshot("before", &names, false, (change::Position::START, 0), 0);
    assert!(fold.settle(usize::MAX).is_empty());
}

pub fn events(outputs: Vec<Output>) -> impl Iterator<Item = PatientEvent> {
    outputs.into_iter().filter_map(|output| match output {
        Output::Event(event) => Some(*event),
        Output::Quarantined(_) => None,
    })
}

/// What one run of the mapping shows of the log.
pub fn naive(log: &[Vec<Entry>], mapping: &Arc<Mapping>) -> BTreeMap<(String, String), (Option<i64>, Body)> {
    let mut views = Views::default();
    let mut fold = Fold::new(mapping.clone(), "stmarys", "ORG01");
    events(told(&mut fold, log)).for_each(|event| views.take(&event));
    views.shown()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_held_is_what_the_last_mapping_tells(
        lives in vec((vec(op(), 0..25), 0..MEANINGS, prop::option::of(0..4_usize), store(), any::<bool>()), 1..5),
        cuts in vec(1..8_usize, 1..6),
    ) {
        let mut world = World::new("stmarys.toml", "stmarys");
        let (mut tables, mut log, mut region) = (Tables::default(), Vec::new(), Region::default());
        let mut last = world.mapping.clone();
        for ((ops, which, killed, store, beside), number) in lives.into_iter().zip(1..) {
            last = meaning(&world.mapping, which);
            if let Some(killed) = killed {
                region.begin(&log, &last, (number, store), killed);
            }
            let mut fold = if beside {
                // What comes is told while the rest is looked at.
                let mut fold = region.quiet(&log, &last, number, store);
                events(fold.settle(usize::MAX)).for_each(|event| region.send(event));
                fold
            } else {
                let fold = region.begin(&log, &last, (number, store), usize::MAX);
                prop_assert_eq!(region.views.shown(), naive(&log, &last), "as soon as it is told");
                fold
            };
            let more = history(&mut world, &ops, &cuts, &mut tables);
            for entries in &more {
                events(fold.step(entries)).for_each(|event| region.send(event));
                region.walk(&mut fold, usize::MAX);
            }
            while fold.walks() {
                region.walk(&mut fold, usize::MAX);
            }
            log.extend(more);
            prop_assert_eq!(region.views.shown(), naive(&log, &last));
            region.keep(&mut fold, log.len());
        }
        prop_assert_eq!(region.views.shown(), naive(&log, &last));
        // And so does whoever reads the topic anew.
        let mut rebuilt = Views::default();
        region.topic.iter().for_each(|event| rebuilt.take(event));
        prop_assert_eq!(&rebuilt.0, &region.views.0);
        // What means the same is not told again, whatever became of the store.
        for store in [Store::Kept, Store::Lost] {
            let told = region.topic.len();
            region.begin(&log, &last, (99, store), usize::MAX);
            prop_assert_eq!(region.topic.len(), told);
        }
    }

    #[test]
    fn an_upgrade_that_changes_no_meaning_tells_nothing(ops in vec(op(), 1..40), cuts in vec(1..8_usize, 1..6)) {
        let mut world = World::new("stmarys.toml", "stmarys");
        let log = history(&mut world, &ops, &cuts, &mut Tables::default());
        let mut region = Region::default();
        let mut fold = world.fold();
        events(told(&mut fold, &log)).for_each(|event| region.send(event));
        let before = region.topic.len();
        region.begin(&log, &meaning(&world.mapping, 0), (7, Store::Lost), usize::MAX);
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
        fold.be_quiet();
        region.topic.iter().for_each(|event| fold.remember(event));
        fold.begin_walk(Only::default());
        while fold.walks() {
            region.walk(&mut fold, usize::MAX);
        }
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
            assert!(event.action == Action::Retracted || event.reread);
            region.send(event);
        });
        while fold.walks() {
            region.walk(&mut fold, usize::MAX);
        }
        prop_assert_eq!(region.views.shown(), naive(&[world.transaction(rows)], &world.mapping));
    }
}

/// A person and a result, in one transaction.
pub fn one_result(world: &mut World) -> Vec<Entry> {
    let mut rows = crate::stories::hospital_rows(world);
    rows.extend([crate::stories::person(world), crate::stories::result(world, 90, 1, "8.9", true)]);
    world.transaction(rows)
}

/// Of the kinds and of the rows that are asked for, and of nothing else.
#[test]
fn a_walk_may_be_limited() {
    let mut world = World::new("stmarys.toml", "stmarys");
    let log = [one_result(&mut world)];
    let mut region = Region::default();
    let mut fold = world.fold();
    region.keep(&mut fold, 0);
    let at = log[0][0].committed_at;
    for (kinds, since, want) in [
        (&[][..], None, 2),
        (&[Kind::Observation], None, 1),
        (&[Kind::Encounter], None, 0),
        (&[][..], Some(at), 2),
        (&[][..], Some(at + 1), 0),
    ] {
        let only = Only::of(kinds, since);
        let mut fold = region.renewed(&world.mapping, 7);
        fold.step(&log[0]);
        let mut dry = Dry::of(only.clone());
        while !dry.is_over() {
            fold.count(&mut dry, PAGE);
        }
        assert_eq!(dry.events.values().sum::<u64>(), want, "{only:?}");
        fold.begin_walk(only);
        let mut told = 0;
        while fold.walks() {
            fold.walk(PAGE);
            told += events(fold.settle(usize::MAX)).count();
        }
        assert_eq!(told, usize::try_from(want).expect("a count"));
    }
}

/// An old potassium of 8.9 that was corrected to 4.8 is not told again.
#[test]
fn a_generation_does_not_pass_through_the_past() {
    let (mut world, mut fold) = crate::stories::hospital();
    let first = vec![crate::stories::person(&world), crate::stories::result(&world, 90, 1, "8.9", true)];
    let second = vec![crate::stories::result(&world, 90, 1, "4.8", true)];
    let (first, second) = (world.transaction(first), world.transaction(second));
    fold.be_quiet();
    assert!(events(fold.step(&first)).chain(events(fold.step(&second))).next().is_none());
    fold.begin_walk(Only::default());
    let mut told = Vec::new();
    while fold.walks() {
        fold.walk(PAGE);
        told.extend(events(fold.settle(usize::MAX)));
    }
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
        let mut log = vec![one_result(&mut world)];
        let mut region = Region::default();
        events(told(&mut world.fold(), &log)).for_each(|event| region.send(event));
        let before = region.topic.len();
        if corrected {
            let mended = vec![crate::stories::result(&world, 90, 1, "4.9", true)];
            log.push(world.transaction(mended));
        }
        // The earlier generation told of the first transaction.
        let mut fold = world.fold();
        fold.step(&log[0]);
        region.keep(&mut fold, 1);
        let mut fold = region.renewed(&Arc::new(without_units), 7);
        fold.told_so_far();
        log[1..].iter().for_each(|entries| assert!(events(fold.step(entries)).next().is_none()));
        fold.begin_walk(Only::default());
        while fold.walks() {
            region.walk(&mut fold, usize::MAX);
        }
        let told: Vec<bool> = region.topic[before..].iter().map(|event| event.reinterpreted).collect();
        assert_eq!(told, [marked]);
        assert!(region.topic[..before].iter().all(|event| !event.reinterpreted));
    }
}
