//! What is told while tables are being read: each record once, whole where it can be, and in time.

use crate::{
    stories::{hospital, person, result},
    support::*,
};
use change::Entry;
use event::{Action, PatientEvent};
use fold::{Fold, MISSING_PATIENT, Output, WAIT_MAX};

/// The commit time of every transaction of `support`.
const T: i64 = 1_766_000_000_000_000;
const ALL: [&str; 7] =
    ["pas.patient", "lims.order", "lims.specimen", "lims.sample", "lims.analysis", "lims.result", "lims.local_test"];

/// A log with its fold.
struct Log {
    world: World,
    fold: Fold,
}

impl Log {
    /// Everything here is told the same by a fold that is ended and goes on from its store, each time.
    fn restart(&mut self) {
        let (generation, store) = (self.fold.generation(), std::mem::take(self.fold.rest()));
        self.fold = self.world.fold_with(store).of_generation(generation, false).resume();
    }

    fn begin(&mut self, id: &str, tables: &[&str]) {
        let tables: Vec<String> = tables.iter().map(|table| (*table).to_owned()).collect();
        self.fold.begin_snapshot(id, &tables, self.world.between().0);
        self.restart();
    }

    fn end(&mut self, id: &str, tables: &[&str], at: i64) -> Vec<Output> {
        let tables: Vec<String> = tables.iter().map(|table| (*table).to_owned()).collect();
        // Positions only grow.
        self.world.transaction(Vec::new());
        self.fold.end_snapshot(id, &tables, false, self.world.between(), at);
        let outputs = self.fold.settle(usize::MAX);
        self.restart();
        outputs
    }

    fn feed(&mut self, entries: &[Entry]) -> Vec<Output> {
        let mut outputs = Vec::new();
        for entry in entries {
            if self.fold.due_before(entry) {
                outputs.extend(self.fold.settle(usize::MAX));
            }
            if self.fold.apply(entry) {
                outputs.extend(self.fold.settle(usize::MAX));
                self.restart();
            }
        }
        outputs
    }

    /// A chunk, with the record that closes it.
    fn chunk(&mut self, steps: Vec<Step>, at: i64) -> Vec<Output> {
        let entries = self.world.chunk(steps, at);
        let mut outputs = self.feed(&entries);
        self.fold.hear(at);
        outputs.extend(self.fold.settle(usize::MAX));
        self.restart();
        outputs
    }

    fn streamed(&mut self, steps: Vec<Step>, at: i64) -> Vec<Output> {
        let mut entries = self.world.transaction(steps);
        entries.iter_mut().for_each(|entry| entry.committed_at = at);
        self.feed(&entries)
    }

    fn hear(&mut self, at: i64) -> Vec<Output> {
        self.fold.hear(at);
        let outputs = self.fold.settle(usize::MAX);
        self.restart();
        outputs
    }
}

fn events(outputs: &[Output]) -> Vec<&PatientEvent> {
    let events = outputs.iter().filter_map(|output| match output {
        Output::Event(event) => Some(&**event),
        Output::Quarantined(_) => None,
    });
    events.collect()
}

#[track_caller]
fn only(outputs: &[Output]) -> &PatientEvent {
    assert_eq!(outputs.len(), 1, "{:?}", outputs.iter().map(shown).collect::<Vec<_>>());
    events(outputs)[0]
}

fn chain(world: &World) -> Vec<Step> {
    vec![
        world.insert("lims.analysis", &[("analysis_id", i(4)), ("sample_id", i(3))]),
        world.insert("lims.sample", &[("sample_id", i(3)), ("specimen_id", i(2))]),
        world.insert("lims.specimen", &[("specimen_id", i(2)), ("order", i(1))]),
        world.insert("lims.order", &[("order_id", i(1)), ("person_id", n("7"))]),
    ]
}

fn test_of(world: &World, code: &str) -> Step {
    world.insert("lims.local_test", &[("test_code", t(code)), ("name", t("Kalium")), ("loinc", t("2823-3"))])
}

#[test]
fn a_first_snapshot_tells_each_record_once_and_corrects_none() {
    let world = World::new("stmarys.toml", "stmarys");
    let mut log = Log { fold: world.fold(), world };
    log.begin("s", &ALL);
    let row = result(&log.world, 90, 1, "4.7", true);
    assert!(log.chunk(vec![row], T).is_empty());
    // Chunk by chunk, each at another place of the log, with streamed changes between them.
    for (step, other) in chain(&log.world).into_iter().zip(100..) {
        assert!(log.chunk(vec![step], T).is_empty());
        let other = log.world.insert("lims.sample", &[("sample_id", i(other)), ("specimen_id", i(other))]);
        assert!(log.streamed(vec![other], T).is_empty());
    }
    let row = person(&log.world);
    let mut told = log.chunk(vec![row], T);
    let code = test_of(&log.world, "K");
    told.extend(log.chunk(vec![code], T));
    told.extend(log.end("s", &ALL, T));
    let lines: Vec<String> = told.iter().map(shown).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("Kalium [potassium] 4.7 mmol/L")), "{lines:?}");
    assert!(
        events(&told).iter().all(|e| e.action == Action::Recorded && e.snapshot && !e.reread && e.incomplete.is_none())
    );
}

#[test]
fn a_streamed_change_whose_joins_resolve_is_told_at_its_commit() {
    let (world, fold) = hospital();
    let mut log = Log { world, fold };
    let row = person(&log.world);
    log.streamed(vec![row], T);
    log.begin("s", &ALL);
    let row = result(&log.world, 90, 1, "6.7", true);
    let told = log.streamed(vec![row], T + 1);
    let event = only(&told);
    assert_eq!((event.action, event.snapshot, event.committed_at), (Action::Recorded, false, T + 1));
}

#[test]
fn a_streamed_result_waits_a_minute_for_a_table_and_is_then_told_with_what_it_lacks() {
    let (world, fold) = hospital();
    let mut log = Log { world, fold };
    let row = person(&log.world);
    log.streamed(vec![row], T);
    log.begin("s", &["lims.local_test"]);
    let wanting = |world: &World| {
        let cells = [
            ("result_id", i(90)),
            ("line_id", i(50)),
            ("analysis_id", i(4)),
            ("test_code", t("Z")),
            ("value", t("6.9")),
            ("unit_text", t("mmol/L")),
            ("status", t("final")),
            ("revision", i(1)),
            ("is_active", b(true)),
        ];
        world.insert("lims.result", &cells)
    };
    let row = wanting(&log.world);
    assert!(log.streamed(vec![row], T).is_empty(), "the table is being read");
    assert!(log.hear(T + WAIT_MAX - 1).is_empty());
    // A later change of another record finds that it is time, and is told after it.
    let row =
        log.world.insert("pas.patient", &[("person_id", n("8")), ("family_name", t("Other")), ("active_ind", i(1))]);
    let told = log.streamed(vec![row], T + WAIT_MAX);
    assert_eq!(events(&told).len(), 2);
    let late = events(&told)[0];
    assert_eq!((late.action, &*late.record, late.snapshot), (Action::Recorded, "result/50", false));
    assert_eq!(late.incomplete.as_deref(), Some("join incomplete: lims.local_test"));
    assert_eq!(late.committed_at, T, "its own time");
    assert!(late.position < events(&told)[1].position);
    // What it lacked comes: nobody corrected it, and it is as it was streamed.
    let code = test_of(&log.world, "Z");
    let told = log.chunk(vec![code], T + 2 * WAIT_MAX);
    let whole = only(&told);
    assert_eq!((whole.action, whole.incomplete.as_deref(), whole.snapshot), (Action::Recorded, None, false));
    assert_eq!(whole.committed_at, T);
    assert!(log.end("s", &["lims.local_test"], T + 3 * WAIT_MAX).is_empty());
    // Whoever changes it now corrects it.
    let row = result(&log.world, 90, 1, "4.1", true);
    let told = log.streamed(vec![row], T + 4 * WAIT_MAX);
    assert_eq!(only(&told).action, Action::Corrected);
}

#[test]
fn what_is_not_there_when_the_table_is_read_was_never_to_come() {
    let (world, fold) = hospital();
    let mut log = Log { world, fold };
    let row = person(&log.world);
    log.streamed(vec![row], T);
    log.begin("s", &["lims.local_test"]);
    let (table, change) = result(&log.world, 90, 1, "6.9", true);
    let change::Change::Insert { new } = change else { panic!("an insert") };
    let place = new.schema().index_of("test_code").expect("mapped");
    let mut cells = new.cells().to_vec();
    cells[place] = t("unknown");
    let new = change::Row::new(new.schema().clone(), cells).expect("as many");
    assert!(log.streamed(vec![(table, change::Change::Insert { new })], T).is_empty());
    let told = log.end("s", &["lims.local_test"], T + 5);
    let event = only(&told);
    assert_eq!((event.action, event.incomplete.as_deref(), event.committed_at), (Action::Recorded, None, T));
}

#[test]
fn a_streamed_result_stays_one_although_a_snapshot_brings_its_patient() {
    let (world, fold) = hospital();
    let mut log = Log { world, fold };
    log.begin("s", &["pas.patient", "lims.result"]);
    let row = result(&log.world, 90, 1, "6.9", true);
    assert!(log.streamed(vec![row], T).is_empty());
    // The chunk of its own table shows it, too.
    let row = result(&log.world, 90, 1, "6.9", true);
    assert!(log.chunk(vec![row], T + 1).is_empty());
    let row = person(&log.world);
    let told = log.chunk(vec![row], T + 2);
    let event = only(&told);
    assert_eq!((&*event.record, event.snapshot, event.committed_at), ("result/50", false, T));
    // The patient is the snapshot's, and comes with its end.
    let told = log.end("s", &["pas.patient", "lims.result"], T + 3);
    assert!(only(&told).snapshot);
}

#[test]
fn a_patient_who_does_not_come_in_time_is_in_quarantine_until_then() {
    let (world, fold) = hospital();
    let mut log = Log { world, fold };
    log.begin("s", &["pas.patient"]);
    let row = result(&log.world, 90, 1, "6.9", true);
    assert!(log.streamed(vec![row], T).is_empty());
    let told = log.hear(T + WAIT_MAX);
    assert!(matches!(&told[..], [Output::Quarantined(item)] if item.reason == MISSING_PATIENT));
    let row = person(&log.world);
    let told = log.chunk(vec![row], T + 2 * WAIT_MAX);
    assert!(matches!(&told[0], Output::Quarantined(item) if item.closed && item.reason == MISSING_PATIENT));
    let event = only(&told[1..]);
    assert_eq!((&*event.record, event.snapshot), ("result/50", false), "it was streamed");
    assert_eq!(event.committed_at, T + 2 * WAIT_MAX, "known from now on");
}

#[test]
fn only_a_table_s_first_completed_snapshot_is_its_go_live() {
    let (world, fold) = hospital();
    let mut log = Log { world, fold };
    let row = person(&log.world);
    log.streamed(vec![row], T);
    // Begun and given up with its epoch: not completed.
    log.begin("aborted", &["lims.result"]);
    log.fold.begin_snapshot("first", &["lims.result".to_owned()], change::Position::new(2, change::Lsn(1), 1));
    let row = result(&log.world, 90, 1, "4.7", true);
    log.chunk(vec![row], T);
    let told = log.end("first", &["lims.result"], T);
    assert_eq!((only(&told).snapshot, only(&told).reread), (true, false));
    log.fold.begin_snapshot("again", &["lims.result".to_owned()], change::Position::new(2, change::Lsn(2), 1));
    let old = result(&log.world, 90, 1, "4.7", true);
    let (table, change) = result(&log.world, 91, 1, "6.7", true);
    let change::Change::Insert { new } = change else { panic!("an insert") };
    let place = new.schema().index_of("line_id").expect("mapped");
    let mut cells = new.cells().to_vec();
    cells[place] = i(51);
    let new = change::Row::new(new.schema().clone(), cells).expect("as many");
    let mut told = log.chunk(vec![old, (table, change::Change::Insert { new })], T);
    told.extend(log.end("again", &["lims.result"], T));
    let event = only(&told);
    assert_eq!((&*event.record, event.snapshot, event.reread), ("result/51", true, true), "missed, and seen now");
    // A log that was lost is not remembered, but that there was one is.
    let world = World::new("stmarys.toml", "stmarys");
    let mut log = Log { fold: world.fold().of_generation(9, true), world };
    log.begin("s", &["pas.patient"]);
    let row = person(&log.world);
    log.chunk(vec![row], T);
    let told = log.end("s", &["pas.patient"], T);
    assert_eq!((only(&told).reread, only(&told).generation), (true, 9));
}
