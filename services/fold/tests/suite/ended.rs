//! Wherever a run is ended, what the next one tells stands in order behind it.

use crate::{
    generations::{MEANINGS, Region, Store, all_are_read, events, meaning, naive, one_result, store},
    properties::{Tables, history, op, told},
    support::*,
};
use change::Entry;
use event::PatientEvent;
use fold::{Fold, walk::Only};
use mapping::Mapping;
use proptest::{collection::vec, prelude::*};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

impl Region {
    /// A run that takes in the log up to a mark quietly, and is ended after so many events. How much of the log it told.
    fn run(
        &mut self,
        log: &[Vec<Entry>],
        mapping: &Arc<Mapping>,
        (mark, store): (usize, Store),
        mut sent: usize,
        beside: bool,
    ) -> usize {
        let mut fold = self.quiet(&log[..mark], mapping, 2, store);
        let first: Vec<PatientEvent> = events(fold.settle(usize::MAX)).collect();
        self.send_some(first, &mut sent);
        for (entries, number) in log[mark..].iter().zip(mark..) {
            if !beside {
                self.walk_some(&mut fold, usize::MAX, &mut sent);
            }
            let told: Vec<PatientEvent> = events(fold.step(entries)).collect();
            self.send_some(told, &mut sent);
            if sent == 0 {
                return number;
            }
            self.walk_some(&mut fold, 1, &mut sent);
        }
        self.walk_some(&mut fold, usize::MAX, &mut sent);
        assert!(sent < usize::MAX / 2 || !fold.walks(), "it looks at everything in the end");
        log.len()
    }

    fn send_some(&mut self, told: Vec<PatientEvent>, sent: &mut usize) {
        let some = told.len().min(*sent);
        *sent -= some;
        told.into_iter().take(some).for_each(|event| self.send(event));
    }

    fn walk_some(&mut self, fold: &mut Fold, mut pages: usize, sent: &mut usize) {
        while pages > 0 && *sent > 0 && fold.walks() && !fold.is_behind() {
            let told = self.walk(fold, *sent);
            *sent -= told.min(*sent);
            pages -= 1;
        }
    }
}

/// Places grow, and what one transaction says of one patient stands together.
fn in_order(topic: &[PatientEvent]) -> Result<(), TestCaseError> {
    let mut last: BTreeMap<&str, &PatientEvent> = BTreeMap::new();
    for event in topic {
        let before = last.insert(&event.patient.id, event);
        let lines = || format!("{:?}, then {:?}", before.map(line), line(event));
        if let Some(before) = before.filter(|before| before.generation == event.generation) {
            prop_assert!(before.position <= event.position, "out of order: {}", lines());
        }
        let goes_on = before.is_some_and(|before| before.part.index < before.part.of);
        let next = before.filter(|_| goes_on).map_or(1, |before| before.part.index + 1);
        prop_assert_eq!(event.part.index, next, "torn: {}", lines());
    }
    Ok(())
}

fn line(event: &PatientEvent) -> String {
    format!("{} part {} of {}", event.id(), event.part.index, event.part.of)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// What was told of one patient is in the order of its places, whole, and none of it twice, wherever a run was ended.
    #[test]
    fn however_a_run_is_ended_each_patient_is_told_in_order(
        (before, after) in (vec(op(), 1..25), vec(op(), 1..25)),
        cuts in vec(1..8_usize, 1..6),
        ends in vec((0..12_usize, 0..4_usize, any::<bool>()), 1..4),
        (which, store) in (0..MEANINGS, store()),
    ) {
        let mut world = World::new("stmarys.toml", "stmarys");
        let (mut tables, mut region) = (Tables::default(), Region::default());
        let mut log = history(&mut world, &before, &cuts, &mut tables);
        let mut fold = world.fold();
        events(told(&mut fold, &log)).for_each(|event| region.send(event));
        region.keep(&mut fold, log.len());
        let (upto, mapping) = (log.len(), meaning(&world.mapping, which));
        log.extend(history(&mut world, &after, &cuts, &mut tables));
        let mut mark = upto;
        for (sent, unmarked, beside) in ends.into_iter().chain([(usize::MAX, 0, true)]) {
            let ended = region.run(&log, &mapping, (mark, store), sent, beside);
            mark = mark.max(ended.saturating_sub(unmarked));
        }
        in_order(&region.topic)?;
        prop_assert_eq!(region.views.shown(), naive(&log, &mapping));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A walk goes on from any of its checkpoints, each with ends of the topic that may lie before it, and tells what one that
    /// was never ended tells.
    #[test]
    fn a_walk_that_goes_on_tells_what_one_that_was_not_ended_tells(
        ops in vec(op(), 1..40), cuts in vec(1..8_usize, 1..6),
        ends in vec((0..6_usize, 0..40_usize, 0..4_usize), 1..4),
        (which, store) in (0..MEANINGS, store()),
    ) {
        let mut world = World::new("stmarys.toml", "stmarys");
        let log = history(&mut world, &ops, &cuts, &mut Tables::default());
        let told_once = || {
            let (mut region, mut fold) = (Region::default(), world.fold());
            events(told(&mut fold, &log)).for_each(|event| region.send(event));
            region.keep(&mut fold, log.len());
            region
        };
        let mapping = meaning(&world.mapping, which);
        let mut whole = told_once();
        whole.begin(&log, &mapping, (2, store), usize::MAX);

        let mut region = told_once();
        let mut fold = region.quiet(&log, &mapping, 2, store);
        events(fold.settle(usize::MAX)).for_each(|event| region.send(event));
        for (pages, earlier, untold) in ends {
            for _ in 0..pages {
                region.walk(&mut fold, usize::MAX);
            }
            let (kept, ends) = (fold.rest().clone(), region.topic.len().saturating_sub(earlier));
            // Told, and not kept.
            for _ in 0..untold {
                region.walk(&mut fold, usize::MAX);
            }
            fold = Fold::with_store(mapping.clone(), "stmarys", "ORG01", kept).of_generation(2, false).resume();
            region.remind(&mut fold, ends);
        }
        while fold.walks() {
            region.walk(&mut fold, usize::MAX);
        }
        prop_assert_eq!(region.views.shown(), naive(&log, &mapping));
        let told = |region: &Region| region.topic.iter().map(PatientEvent::id).collect::<BTreeSet<_>>();
        prop_assert_eq!(told(&region), told(&whole));
    }
}

/// A walk was ended, and an earlier generation had told more than its last checkpoint knows of.
#[test]
fn a_walk_that_goes_on_looks_at_what_an_earlier_generation_told() {
    let mut world = World::new("stmarys.toml", "stmarys");
    let log = [one_result(&mut world)];
    let mut region = Region::default();
    events(told(&mut world.fold(), &log)).for_each(|event| region.send(event));
    let renamed = meaning(&world.mapping, 2);
    let fold = Fold::new(renamed.clone(), "stmarys", "ORG01");
    let mut fold = fold.of_generation(2, false);
    all_are_read(&mut fold);
    fold.be_quiet();
    fold.step(&log[0]);
    fold.told_so_far();
    fold.begin_walk(Only::default());
    let kept = fold.rest().clone();
    let mut fold = Fold::with_store(renamed.clone(), "stmarys", "ORG01", kept).of_generation(2, false).resume();
    region.remind(&mut fold, 0);
    while fold.walks() {
        region.walk(&mut fold, usize::MAX);
    }
    assert_eq!(region.views.shown(), naive(&log, &renamed));
}
