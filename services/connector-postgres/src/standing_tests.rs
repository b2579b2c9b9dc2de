//! A log that is written in pieces, by one session after another, is that of one session that was never ended.

use super::*;
use proptest::prelude::*;

/// What a record of the server's log makes the stream tell.
#[derive(Clone, Debug)]
enum Told {
    /// Of each change or message in the transaction: whether it is always wanted.
    Transaction(Vec<bool>),
    /// A message outside of transactions, perhaps of one that is open or that is rolled back.
    Message,
    Nothing,
}

#[derive(Clone, Debug)]
struct Written {
    start: Lsn,
    end: Lsn,
    told: Told,
}

/// A record of ours: what it tells (the server's record, the place in it), if it is not about this side alone.
#[derive(Clone, Debug, PartialEq)]
struct Logged {
    position: Position,
    commit_end: Option<Lsn>,
    what: Option<(usize, u64)>,
}

const EPOCH: u32 = 3;
const BEGINS: u64 = 0x1_0000;
const PAGE: u64 = 8192;
const HEADER: u64 = 24;

fn wal(records: &[(u64, Told)]) -> Vec<Written> {
    let mut end = BEGINS;
    let place = |(words, told): &(u64, Told)| {
        let start = if end.is_multiple_of(PAGE) { end + HEADER } else { end };
        // The smallest record has a header of 24 bytes, and all are padded to 8.
        end = start + 24 + words * 8;
        Written { start: Lsn(start), end: Lsn(end), told: told.clone() }
    };
    records.iter().map(place).collect()
}

/// Decides what is left open: whether progress is due, a snapshot has rows, Kafka has acknowledged.
struct Dice {
    rolls: Vec<u8>,
    at: usize,
}

impl Dice {
    fn roll(&mut self, sides: u8) -> u8 {
        self.at += 1;
        self.rolls[self.at % self.rolls.len()] % sides
    }
}

/// What outlives a session.
struct World {
    log: Vec<Logged>,
    confirmed: Lsn,
}

struct Session<'a> {
    world: &'a mut World,
    standing: Standing,
    /// Made, and not in the log yet.
    made: Vec<Logged>,
    dice: Dice,
    all_wanted: bool,
}

impl Session<'_> {
    fn make(&mut self, position: Position, commit_end: Option<Lsn>, what: Option<(usize, u64)>) {
        self.standing.told(position);
        self.made.push(Logged { position, commit_end, what });
    }

    fn progress(&mut self, lsn: Lsn) {
        if let Some(position) = self.standing.of_progress(lsn) {
            self.standing.complete(lsn);
            self.make(position, Some(lsn), None);
        }
    }

    fn between(&mut self) {
        if !self.standing.is_inside() && self.dice.roll(4) == 0 {
            for _ in 0..self.dice.roll(3) {
                self.make(self.standing.beside(), None, None);
            }
            self.make(self.standing.beside(), Some(self.standing.upto()), None);
        }
    }

    /// All that was made is in the log, and the slot forgets what the log has.
    fn durable(&mut self) {
        self.world.log.append(&mut self.made);
        self.world.confirmed = self.world.confirmed.max(self.standing.upto());
    }

    fn transaction(&mut self, number: usize, record: &Written, items: &[bool], stops: bool) {
        self.standing.pass(record.start);
        self.between();
        let mut held = None;
        for (ordinal, always) in (1..).zip(items) {
            if let Some(position) = self.standing.of_change(record.start, ordinal)
                && (*always || self.all_wanted)
            {
                self.made.extend(held.take());
                self.standing.told(position);
                held = Some(Logged { position, commit_end: None, what: Some((number, ordinal)) });
            }
            if self.dice.roll(6) == 0 {
                self.durable();
            }
        }
        if stops {
            return;
        }
        self.standing.pass(record.end);
        if let Some(last) = held {
            self.made.push(Logged { commit_end: Some(record.end), ..last });
            self.standing.complete(record.end);
        } else if self.standing.lacks_end_of(record.start) {
            self.progress(record.end);
        } else if !items.is_empty() && self.standing.has(record.start) {
            self.standing.complete(record.end);
        } else if self.dice.roll(2) == 0 {
            self.progress(record.end);
        }
    }

    /// Tells records from where the slot stands, and stops in the middle of one; then some of what was made gets into the log.
    fn run(mut self, wal: &[Written], start: Lsn, stop: Option<usize>) {
        let numbered = wal.iter().enumerate().filter(|(_, record)| record.start >= start);
        for (told, (number, record)) in numbered.enumerate() {
            let stops = stop == Some(told);
            match &record.told {
                Told::Transaction(items) => self.transaction(number, record, items, stops),
                Told::Message => {
                    self.between();
                    self.standing.pass(record.end);
                    if let Some(position) = self.standing.of_message(record.end) {
                        self.make(position, Some(record.end), Some((number, 1)));
                        self.standing.complete(record.end);
                    }
                }
                Told::Nothing => self.between(),
            }
            if stops {
                let kept = usize::from(self.dice.roll(u8::MAX)) % (self.made.len() + 1);
                self.world.log.extend(self.made.drain(..kept));
                return;
            }
            // The server says how far it has read.
            if self.dice.roll(3) == 0 {
                self.standing.pass(record.end);
                if self.dice.roll(2) == 0 {
                    self.progress(record.end);
                }
            }
            if self.dice.roll(3) == 0 {
                self.durable();
            }
        }
        self.durable();
    }
}

fn session(world: &mut World, wal: &[Written], rolls: &[u8], (at, stop): (usize, Option<usize>), all_wanted: bool) {
    let last = world.log.last().expect("the snapshot's beginning").position;
    let committed = world.log.iter().rev().find_map(|logged| logged.commit_end).unwrap_or_default();
    assert!(world.confirmed <= committed.max(last.commit), "the slot is ahead of its log");
    let mut dice = Dice { rolls: rolls.to_vec(), at };
    // While tables are read, all that is not confirmed is told again.
    let asked = if dice.roll(2) == 0 { Lsn(0) } else { committed };
    let (standing, start) = (Standing::resume(last, committed.max(asked)), world.confirmed.max(asked));
    Session { world, standing, made: Vec::new(), dice, all_wanted }.run(wal, start, stop);
}

fn check(records: &[(u64, Told)], rolls: &[u8], stops: &[(usize, bool)]) {
    let wal = wal(records);
    let begin = Position::START.between(EPOCH, Lsn(BEGINS));
    let first = Logged { position: begin, commit_end: Some(Lsn(BEGINS)), what: None };
    let mut world = World { log: vec![first], confirmed: Lsn(BEGINS) };
    for (number, (stop, all_wanted)) in stops.iter().enumerate() {
        session(&mut world, &wal, rolls, (number * 31, Some(*stop)), *all_wanted);
    }
    session(&mut world, &wal, rolls, (stops.len() * 31, None), true);

    let positions: Vec<Position> = world.log.iter().map(|logged| logged.position).collect();
    assert!(positions.is_sorted_by(|a, b| a < b), "positions grow: {positions:?}");
    let told: Vec<(usize, u64)> = world.log.iter().filter_map(|logged| logged.what).collect();
    assert!(told.is_sorted_by(|a, b| a < b), "in the server's order, each once: {told:?}");
    for (number, record) in wal.iter().enumerate() {
        let (items, at) = match &record.told {
            Told::Transaction(items) => (items.as_slice(), Position::new(EPOCH, record.start, 1)),
            Told::Message => (&[true][..], Position::at_end(EPOCH, record.end)),
            Told::Nothing => continue,
        };
        for (ordinal, always) in (1..).zip(items) {
            let found = world.log.iter().find(|logged| logged.what == Some((number, ordinal)));
            assert!(found.is_some() || !always, "record {number} lost its {ordinal}. of {:?}", world.log);
            let want = Position { ordinal, ..at };
            assert!(found.is_none_or(|logged| logged.position == want), "a place depends on what was written before");
        }
    }
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        3 => prop::collection::vec(prop::bool::weighted(0.8), 0..5).prop_map(Told::Transaction),
        3 => Just(Told::Message),
        1 => Just(Told::Nothing),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_restarted_everything_is_told_once_at_its_place(
        records in prop::collection::vec((prop_oneof![0_u64..40, Just(1000)], told()), 1..24),
        rolls in prop::collection::vec(any::<u8>(), 8..64),
        stops in prop::collection::vec((0_usize..12, any::<bool>()), 0..6),
    ) {
        check(&records, &rolls, &stops);
    }
}

#[test]
fn a_transaction_that_the_log_holds_in_part_is_told_to_its_end() {
    let part = Position::new(EPOCH, Lsn(100), 2);
    let mut standing = Standing::resume(part, Lsn(80));
    assert_eq!((standing.of_change(Lsn(100), 2), standing.of_message(Lsn(96))), (None, None), "the log has them");
    assert_eq!(standing.of_change(Lsn(100), 3), Some(Position::new(EPOCH, Lsn(100), 3)));
    // A place behind the last record is that of the next change: nothing is said, and no progress, before it is told.
    standing.pass(Lsn(100));
    assert!(standing.is_inside() && standing.of_progress(Lsn(100)).is_none() && standing.lacks_end_of(Lsn(100)));
    standing.pass(Lsn(148));
    assert!(!standing.is_inside());
    assert_eq!(standing.of_progress(Lsn(148)), Some(Position::at_end(EPOCH, Lsn(148))));
    standing.complete(Lsn(148));
    assert!(!standing.lacks_end_of(Lsn(100)) && standing.beside() > part);
}

#[test]
fn a_message_takes_no_place_of_the_transaction_behind_it() {
    // `begin; insert …; select pg_logical_emit_message(false, …); commit;`: the commit's record begins where the
    // message's ends.
    let records = [(3, Told::Message), (2, Told::Transaction(vec![true])), (0, Told::Message)];
    check(&records, &[1], &[]);
    let end = wal(&records)[0].end;
    let standing = Standing::resume(Position::at_end(EPOCH, end), end);
    assert_eq!(standing.of_message(end), None, "told once, whatever was confirmed");
    assert_eq!(standing.of_change(end, 1), Some(Position::new(EPOCH, end, 1)));
    assert!(!standing.is_inside() && standing.beside() > Position::at_end(EPOCH, end));
}

#[test]
fn a_standstill_is_told_behind_everything_and_before_whatever_comes() {
    let part = Position::new(EPOCH, Lsn(100), 2);
    let mut standing = Standing::resume(part, Lsn(80));
    assert_eq!(standing.of_standstill(Lsn(80)), None, "inside a transaction");
    standing.pass(Lsn(148));
    assert_eq!(standing.of_standstill(Lsn(148)), None, "that is news");
    let mut last = standing.of_progress(Lsn(148)).expect("news");
    standing.complete(Lsn(148));
    standing.told(last);
    for _ in 0..3 {
        assert_eq!(standing.of_progress(Lsn(148)), None, "no news");
        let again = standing.of_standstill(Lsn(148)).expect("a standstill");
        assert!(again > last);
        standing.told(again);
        last = again;
    }
    assert_eq!(standing.of_standstill(Lsn(147)), None, "a server that went back");
    // The next record begins where the standstill is.
    assert_eq!(standing.of_change(Lsn(148), 1), Some(Position::new(EPOCH, Lsn(148), 1)));
    let resumed = Standing::resume(last, Lsn(148));
    assert!(!resumed.is_inside() && resumed.of_change(Lsn(148), 1).is_some() && resumed.of_message(Lsn(148)).is_none());
}
