//! A simulated table, reader and stream: whatever happens to a row, log and chunk together tell its last state.

use super::*;
use proptest::prelude::*;

fn visible(text: &str) -> Visible {
    text.parse().expect("a snapshot")
}

#[test]
fn a_snapshot_tells_who_is_seen() {
    let seen = visible("100:110:103,107");
    for (xid, want) in [(99, true), (100, true), (103, false), (107, false), (109, true), (110, false), (200, false)] {
        assert_eq!(seen.sees(xid), want, "{xid}");
    }
    // Numbers of the next and of the last round.
    let late = visible("8589934590:8589934600:");
    assert!(late.sees(4_294_967_290) && late.sees(3) && !late.sees(8) && !late.sees(100));
    assert!("1:2".parse::<Visible>().is_err() && "a:b:".parse::<Visible>().is_err());
}

#[test]
fn too_much_spoils_a_window() {
    let mut window = Window::default();
    let large = || vec![Kept::Text(vec![0; 1024 * 1024].into()), Kept::Unchanged];
    for key in 0..20_u8 {
        window.update(1, &[key], &[key], large());
    }
    assert!(window.spoilt() && window.touched.is_empty());
}

/// A row: a key, a small value, and a large one that the stream leaves out unless it changes.
type Row = (u8, u8, u8);

#[derive(Clone, Debug)]
enum Act {
    Insert(u8, u8, u8),
    Small(u8, u8),
    Large(u8, u8),
    Move(u8, u8),
    Delete(u8),
    Truncate,
    /// The reader takes its snapshot; of the transactions so far it does not see the last few.
    Read,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let key = 0..6_u8;
    let act = prop_oneof![
        4 => (key.clone(), any::<u8>(), any::<u8>()).prop_map(|(k, a, b)| Act::Insert(k, a, b)),
        6 => (key.clone(), any::<u8>()).prop_map(|(k, a)| Act::Small(k, a)),
        2 => (key.clone(), any::<u8>()).prop_map(|(k, b)| Act::Large(k, b)),
        2 => (key.clone(), key.clone()).prop_map(|(k, l)| Act::Move(k, l)),
        3 => key.prop_map(Act::Delete),
        1 => Just(Act::Truncate),
        3 => Just(Act::Read),
    ];
    proptest::collection::vec(act, 1..40)
}

/// What a reader of the log makes of it: none is a value that nobody told.
#[derive(Default)]
struct Consumer(std::collections::BTreeMap<u8, (u8, Option<u8>)>);

fn kept(small: u8, large: Option<u8>) -> Vec<Kept> {
    vec![Kept::Text([small].into()), large.map_or(Kept::Unchanged, |large| Kept::Text([large].into()))]
}

/// One transaction: what it does to the table, to the log's reader, and to the window.
fn apply(act: &Act, xid: u32, table: &mut Vec<Row>, consumer: &mut Consumer, window: &mut Window) {
    let at = |table: &[Row], key: u8| table.iter().position(|row| row.0 == key);
    match *act {
        Act::Insert(key, small, large) if at(table, key).is_none() => {
            table.push((key, small, large));
            consumer.0.insert(key, (small, Some(large)));
            window.touch(xid, &[key], Touch::Told);
        }
        Act::Small(key, small) => {
            let Some(at) = at(table, key) else { return };
            table[at].1 = small;
            let large = consumer.0.get(&key).and_then(|row| row.1);
            consumer.0.insert(key, (small, large));
            window.update(xid, &[key], &[key], kept(small, None));
        }
        Act::Large(key, large) => {
            let Some(at) = at(table, key) else { return };
            table[at].2 = large;
            consumer.0.insert(key, (table[at].1, Some(large)));
            window.update(xid, &[key], &[key], kept(table[at].1, Some(large)));
        }
        Act::Move(from, to) if from != to && at(table, to).is_none() => {
            let Some(at) = at(table, from) else { return };
            table[at].0 = to;
            let large = consumer.0.remove(&from).and_then(|row| row.1);
            consumer.0.insert(to, (table[at].1, large));
            window.update(xid, &[from], &[to], kept(table[at].1, None));
        }
        Act::Delete(key) => {
            let Some(at) = at(table, key) else { return };
            table.swap_remove(at);
            consumer.0.remove(&key);
            window.touch(xid, &[key], Touch::Told);
        }
        Act::Truncate => {
            table.clear();
            consumer.0.clear();
            window.truncate(xid);
        }
        Act::Insert(..) | Act::Move(..) | Act::Read => {}
    }
}

fn place(chunk: &[Row], superseded: &Superseded, consumer: &mut Consumer) {
    for (key, small, large) in chunk {
        if superseded.spares(&[*key]) {
            consumer.0.insert(*key, (*small, Some(*large)));
        }
    }
}

/// Newer rows with the chunk's values: the key of the newer row is not in its cells here, so the table tells it.
fn fill(chunk: &[Row], superseded: &Superseded, table: &[Row], consumer: &mut Consumer) {
    for (key, _, large) in chunk {
        for cells in superseded.fills(&[*key]) {
            let Kept::Text(small) = &cells[0] else { panic!("told") };
            let large = if let Kept::Text(text) = &cells[1] { text[0] } else { *large };
            let want = (small[0], large);
            let newer = table.iter().find(|row| (row.1, row.2) == want);
            let newer = newer.expect("a filled row is as the table has it");
            consumer.0.insert(newer.0, (newer.1, Some(newer.2)));
        }
    }
}

proptest! {
    #[test]
    fn log_and_chunk_tell_the_table(before in acts(), after in acts(), unseen in 0..4_usize) {
        let (mut table, mut consumer, mut window) = (Vec::new(), Consumer::default(), Window::default());
        // What was there before anyone looked is told by nobody but the chunk.
        for (xid, act) in (1..).zip(&before) {
            apply(act, xid, &mut table, &mut Consumer::default(), &mut Window::default());
        }
        let first = u32::try_from(before.len()).expect("few") + 1;
        let reads = after.iter().position(|act| matches!(act, Act::Read)).unwrap_or(0);
        // The reader sees all up to `reads`, but for the last few whose end it has not noticed.
        let sees = reads.saturating_sub(unseen);
        let mut chunk = table.clone();
        for (n, act) in after.iter().enumerate() {
            let xid = first + u32::try_from(n).expect("few");
            apply(act, xid, &mut table, &mut consumer, &mut window);
            if n + 1 == sees {
                chunk = table.clone();
            }
        }
        let xmax = first + u32::try_from(sees).expect("few");
        prop_assume!(!window.spoilt());
        let superseded = window.judge(&visible(&format!("{xmax}:{xmax}:")));
        fill(&chunk, &superseded, &table, &mut consumer);
        place(&chunk, &superseded, &mut consumer);
        let want: std::collections::BTreeMap<_, _> = table.iter().map(|row| (row.0, (row.1, Some(row.2)))).collect();
        prop_assert_eq!(consumer.0, want);
    }
}
