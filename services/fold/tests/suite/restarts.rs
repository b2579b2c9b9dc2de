//! However often a fold is ended, and wherever: from what was on the disk it goes on as if nothing had been.

use crate::{
    properties::{Tables, history, op},
    support::World,
};
use change::Entry;
use change_log::LogPoint;
use fold::{
    Fold, Output,
    store::{Shape, shapes},
};
use proptest::{collection::vec, prelude::*};
use std::path::Path;
use store::{Checkpoint, DiskStore, Stamp, Wanted};

/// What happens after a transaction.
#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    /// A checkpoint is begun.
    Freezes,
    /// And is on the disk.
    Lands,
    /// Everything that is not on the disk is gone.
    Ends,
    /// What is in memory goes down without a stamp.
    Spills,
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![
        3 => Just(Then::Nothing),
        2 => Just(Then::Freezes),
        3 => Just(Then::Lands),
        2 => Just(Then::Ends),
        1 => Just(Then::Spills),
    ]
}

/// A step of a log: a transaction, or the two ends of a snapshot that shows nothing.
enum Item {
    Transaction(Vec<Entry>),
    Begin(change::Position),
    End((change::Position, i64)),
}

const READ: [&str; 2] = ["lims.result", "pas.patient"];
const AT: i64 = 1_766_000_000_000_000;

fn take<S: fold::store::Store>(fold: &mut Fold<S>, item: &Item) -> Vec<Output> {
    let tables = READ.map(str::to_owned);
    match item {
        Item::Transaction(entries) => fold.step(entries),
        Item::Begin(at) => {
            fold.begin_snapshot("s", &tables, *at);
            Vec::new()
        }
        Item::End(at) => {
            fold.end_snapshot("s", &tables, false, *at, AT);
            fold.settle(usize::MAX)
        }
    }
}

struct Run<'a> {
    world: &'a World,
    folder: &'a Path,
    shapes: Vec<Shape>,
    fold: Option<Fold<DiskStore>>,
    frozen: Option<(usize, Checkpoint)>,
}

impl Run<'_> {
    /// Opens what is on the disk. How many items it holds.
    fn open(&mut self) -> usize {
        let wanted =
            Wanted { source: "stmarys", generation: 0, shapes: &self.shapes, log: (0, i64::MAX), begins: Some(1) };
        (self.fold, self.frozen) = (None, None);
        let opened = store::open(self.folder, &wanted).expect("a store");
        let stands = opened.stamp.as_ref().map_or(0, |stamp| usize::try_from(stamp.point.offset).expect("an offset"));
        let fold = self.world.fold_with(opened.store);
        self.fold = Some(if opened.stamp.is_some() { fold.resume() } else { fold });
        stands
    }

    fn freeze(&mut self, upto: usize) {
        let Some(fold) = self.fold.as_mut().filter(|_| self.frozen.is_none()) else { return };
        let point = LogPoint { offset: i64::try_from(upto).expect("an offset"), ..LogPoint::default() };
        let stamp = Stamp::new("stmarys", (0, 1), point);
        self.frozen = Some((upto, fold.rest().freeze(stamp)));
    }

    fn land(&mut self) {
        let (Some((_, checkpoint)), Some(fold)) = (self.frozen.take(), self.fold.as_mut()) else { return };
        checkpoint.write().expect("written");
        fold.store_mut().landed();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_fold_goes_on_from_what_was_on_the_disk(
        ops in vec(op(), 1..60),
        cuts in vec(1..8_usize, 1..6),
        thens in vec(then(), 1..20),
        reading in (0..10_usize, 0..10_usize),
    ) {
        let mut world = World::new("stmarys.toml", "stmarys");
        let transactions = history(&mut world, &ops, &cuts, &mut Tables::default());
        let mut items = Vec::new();
        for (at, transaction) in transactions.into_iter().enumerate() {
            if at == reading.0 {
                items.push(Item::Begin(transaction[0].position));
            }
            items.push(Item::Transaction(transaction));
            if at == reading.0 + reading.1 {
                // The last place is as good as one behind it: nothing is told there but this.
                let last = items.iter().rev().find_map(|item| match item {
                    Item::Transaction(entries) => entries.last().map(|entry| (entry.position, entry.offset)),
                    _ => None,
                });
                items.extend(last.map(Item::End));
            }
        }
        let mut whole = world.fold();
        let told: Vec<Vec<Output>> = items.iter().map(|item| take(&mut whole, item)).collect();

        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("stmarys");
        let shapes = shapes(&world.mapping);
        let mut run = Run { world: &world, folder: &folder, shapes, fold: None, frozen: None };
        let (mut at, mut thens) = (run.open(), thens.into_iter());
        while at < items.len() {
            let fold = run.fold.as_mut().expect("open");
            prop_assert_eq!(&take(fold, &items[at]), &told[at], "item {}", at);
            at += 1;
            match thens.next().unwrap_or(Then::Nothing) {
                Then::Nothing => {}
                Then::Freezes => run.freeze(at),
                Then::Lands => {
                    run.freeze(at);
                    run.land();
                }
                Then::Ends => at = run.open(),
                Then::Spills if run.frozen.is_none() => {
                    run.fold.as_mut().expect("open").store_mut().spill().expect("spilt");
                }
                Then::Spills => {}
            }
        }
        let fold = run.fold.as_ref().expect("open");
        prop_assert!(fold.store().failure().is_none());
        prop_assert_eq!(fold.rows(), whole.rows());
        prop_assert_eq!(fold.open_items(), whole.open_items());
    }
}
