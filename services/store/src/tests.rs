//! The store against one in memory, and against damage.

mod disk;

use super::*;
use change::{Cell, Position, Value};
use change_log::LogPoint;
use fold::store::{Kept, Key, MemoryStore, Said, Stood, Store};
use proptest::{collection::vec, prelude::*};
use std::sync::Arc;
use std::{fs, path::Path};

fn shapes() -> Vec<Shape> {
    let columns = || vec!["id".to_owned(), "name".to_owned()];
    vec![
        Shape { table: "s.a".into(), columns: columns(), indexed: vec![0, 1] },
        Shape { table: "s.b".into(), columns: columns(), indexed: vec![1] },
    ]
}

fn row(id: &str, name: u8) -> Kept {
    let name = if name == 0 { Cell::Null } else { Cell::Value(Value::Text(format!("n{name}"))) };
    Kept {
        cells: vec![Cell::Value(Value::Text(id.into())), name].into(),
        stands: Stood {
            readings: u32::from(id.len() > 1),
            position: Position::START,
            committed_at: 7,
            snapshot: true,
            reread: false,
        },
    }
}

fn stamp(offset: i64) -> Stamp {
    let point = LogPoint { offset, ..LogPoint::default() };
    Stamp { log: Some(1), ..Stamp::new("gp", (3, 9), point) }
}

fn opened(folder: &Path, log: (i64, i64)) -> Opened {
    opened_as(folder, log, &shapes())
}

fn opened_as(folder: &Path, log: (i64, i64), shapes: &[Shape]) -> Opened {
    open(folder, &Wanted { source: "gp", generation: 3, shapes, log, begins: Some(1) }).expect("a store")
}

/// As rows come.
fn put(store: &mut impl Store, table: usize, key: &str, row: Kept) {
    store.lay_out(table, &[]);
    store.put(table, key.into(), row, &[]);
}

fn keep(store: &mut DiskStore, offset: i64) {
    store.freeze(stamp(offset)).write().expect("written");
    store.landed();
}

#[derive(Clone, Debug)]
enum Op {
    Put(usize, String, u8),
    Remove(usize, String),
    Say(String, bool),
    Note(String, Option<u8>),
    Freeze,
    Land,
    Keep,
    Spill,
}

/// Few keys, of which some begin like others.
fn key() -> impl Strategy<Value = String> {
    "[ab]{0,3}|n1|n2"
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..2_usize, key(), 0..4_u8).prop_map(|(table, key, name)| Op::Put(table, key, name)),
        4 => (0..2_usize, key()).prop_map(|(table, key)| Op::Remove(table, key)),
        2 => (key(), any::<bool>()).prop_map(|(name, said)| Op::Say(name, said)),
        2 => (key(), any::<Option<u8>>()).prop_map(|(name, note)| Op::Note(name, note)),
        1 => Just(Op::Freeze),
        1 => Just(Op::Land),
        1 => Just(Op::Keep),
        1 => Just(Op::Spill),
    ]
}

fn agree(disk: &impl Store, memory: &impl Store) {
    assert_eq!(disk.rows(), memory.rows());
    for table in 0..2 {
        let all = memory.scan(table, None, usize::MAX);
        assert_eq!(disk.scan(table, None, usize::MAX), all);
        for (at, (key, row)) in all.iter().enumerate() {
            assert_eq!(disk.get(table, key).as_ref(), Some(row));
            assert_eq!(disk.scan(table, Some(key), 2), all[at + 1..].iter().take(2).cloned().collect::<Vec<_>>());
        }
        for column in &shapes()[table].indexed {
            for value in ["", "a", "b", "ab", "n1", "n2", "n3", "n"] {
                assert_eq!(disk.find(table, *column, value), memory.find(table, *column, value), "{table} {column}");
            }
        }
    }
    for prefix in ["", "a", "ab", "n"] {
        assert_eq!(disk.notes(prefix, None, usize::MAX), memory.notes(prefix, None, usize::MAX));
        let after = Some("ab").filter(|after| after.starts_with(prefix));
        assert_eq!(disk.notes(prefix, after, 1), memory.notes(prefix, after, 1));
        assert_eq!((disk.said(prefix), disk.note(prefix)), (memory.said(prefix), memory.note(prefix)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn it_answers_as_one_in_memory_does(ops in vec(op(), 1..80)) {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("gp");
        let mut disk = opened(&folder, (0, 9)).store;
        let mut memory = MemoryStore::new(&shapes());
        let mut frozen: Option<Checkpoint> = None;
        for op in ops {
            match op {
                Op::Put(table, key, name) => {
                    // In half of the table the key is the row's own id.
                    let id = if name % 2 == 0 { key.clone() } else { "x".to_owned() };
                    put(&mut disk, table, &key, row(&id, name));
                    put(&mut memory, table, &key, row(&id, name));
                }
                Op::Remove(table, key) => prop_assert_eq!(disk.remove(table, &key), memory.remove(table, &key)),
                Op::Say(name, said) => {
                    disk.say(&name, said.then_some(Said::Waiting));
                    memory.say(&name, said.then_some(Said::Waiting));
                }
                Op::Note(name, note) => {
                    disk.keep_note(&name, note.map(|note| vec![note]));
                    memory.keep_note(&name, note.map(|note| vec![note]));
                }
                Op::Freeze if frozen.is_none() => frozen = Some(disk.freeze(stamp(1))),
                Op::Land => if let Some(checkpoint) = frozen.take() {
                    checkpoint.write().expect("written");
                    disk.landed();
                },
                Op::Keep if frozen.is_none() => {
                    keep(&mut disk, 2);
                    drop(disk);
                    disk = opened(&folder, (0, 9)).store;
                }
                Op::Spill if frozen.is_none() => disk.spill().expect("spilt"),
                Op::Freeze | Op::Keep | Op::Spill => {}
            }
        }
        agree(&disk, &memory);
        prop_assert!(disk.failure().is_none());
    }
}

#[test]
fn a_store_of_something_else_is_set_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("gp");
    let fill = |folder: &Path| {
        let mut store = opened(folder, (0, 9)).store;
        put(&mut store, 0, "a", row("a", 1));
        keep(&mut store, 5);
    };
    fill(&folder);
    assert_eq!(opened(&folder, (5, 5)).stamp.map(|stamp| (stamp.point.offset, stamp.rows)), Some((5, 1)));
    let shapes = shapes();
    let wanted = Wanted { source: "gp", generation: 3, shapes: &shapes, log: (0, 9), begins: Some(1) };
    for other in [
        Wanted { source: "hospital", ..wanted.clone() },
        Wanted { generation: 2, ..wanted.clone() },
        Wanted { generation: 4, begins: Some(2), ..wanted.clone() },
        Wanted { generation: 4, begins: None, ..wanted.clone() },
        Wanted { log: (6, 9), ..wanted.clone() },
        Wanted { log: (0, 4), ..wanted.clone() },
    ] {
        let other = open(&folder, &other).expect("a store");
        assert!(other.stamp.is_none() && other.store.rows() == 0 && other.store.get(0, "a").is_none());
        assert!(folder.with_extension("aside").exists());
        drop(other);
        fill(&folder);
    }
}

/// Another mapping uses other columns and tables, and finds rows by them.
#[test]
fn another_mapping_finds_the_rows_that_are_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("gp");
    let mut store = opened(&folder, (0, 9)).store;
    let text = |text: &str| Cell::Value(Value::Text(text.into()));
    let unit: Arc<str> = "unit".into();
    store.lay_out(0, std::slice::from_ref(&unit));
    for number in 0..10_000 {
        let key = format!("k{number:05}");
        store.put(0, Key::from(key.as_str()), row(&key, 1), &[&text(&format!("u{}", number % 5_000))]);
    }
    let other = store.add_table("s.other");
    store.lay_out(other, std::slice::from_ref(&unit));
    let none = Kept { cells: [].into(), ..row("x", 0) };
    store.put(other, "x".into(), none, &[&text("mmol/L")]);
    assert_eq!(store.others(0, "k00007"), Some(vec![(unit, text("u7"))]));
    keep(&mut store, 5);
    drop(store);

    let columns = |columns: &[&str]| columns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let other = [
        Shape { table: "s.other".into(), columns: columns(&["unit"]), indexed: vec![0] },
        Shape { table: "s.a".into(), columns: columns(&["later", "unit", "id"]), indexed: vec![1, 2] },
    ];
    let mut killed = true;
    for shapes in [&other[..], &other[..], &shapes()[..], &other[..]] {
        let Opened { mut store, stamp } = opened_as(&folder, (0, 9), shapes);
        assert_eq!((stamp.map(|stamp| stamp.point.offset), store.rows()), (Some(5), 10_001));
        if shapes.len() == other.len() && shapes[0].table == "s.other" {
            let keys = |rows: Vec<(Key, Kept)>| rows.into_iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>();
            assert_eq!(keys(store.find(0, 0, "mmol/L")), ["x"]);
            assert_eq!(keys(store.find(1, 1, "u7")), ["k00007", "k05007"]);
            assert_eq!(keys(store.find(1, 2, "k00007")), ["k00007"]);
            let cells = store.get(1, "k00007").map(|row| row.cells);
            assert_eq!(cells.as_deref(), Some(&[Cell::Null, text("u7"), text("k00007")][..]));
            assert_eq!(store.others(1, "k00007"), Some(vec![("name".into(), text("n1"))]));
        } else {
            assert_eq!(store.tables(), ["s.a", "s.b", "s.other"]);
            assert_eq!(store.find(0, 1, "n1").len(), 10_000);
        }
        // The first run is killed with its indexes made, and nothing noted of that.
        if !std::mem::take(&mut killed) {
            keep(&mut store, 5);
        }
    }
}

#[test]
fn what_went_down_untold_is_worth_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("gp");
    let mut store = opened(&folder, (0, 9)).store;
    keep(&mut store, 5);
    put(&mut store, 0, "a", row("a", 1));
    store.spill().expect("spilt");
    drop(store);
    let again = opened(&folder, (0, 9));
    assert!(again.stamp.is_none() && again.store.get(0, "a").is_none());
}

/// A byte of a block that nobody asks for: found by reading everything, and the next start begins anew.
#[test]
fn damage_is_found_and_set_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("gp");
    let mut store = opened(&folder, (0, 9)).store;
    for number in 0..5_000 {
        let key = format!("k{number:05}");
        put(&mut store, 0, &key, row(&key, 1));
    }
    keep(&mut store, 5);
    store.flush().expect("flushed");
    drop(store);
    let mut tables = Vec::new();
    let mut folders = vec![folder.clone()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { tables.push(path) }
        }
    }
    let table = tables.into_iter().max_by_key(|path| {
        let in_tables = path.components().any(|part| part.as_os_str() == "tables");
        (in_tables, fs::metadata(path).map_or(0, |metadata| metadata.len()))
    });
    let table = table.expect("a table");
    let mut bytes = fs::read(&table).expect("its bytes");
    assert!(bytes.len() > 20_000, "{} has {} bytes", table.display(), bytes.len());
    let cold = bytes.len() / 3;
    bytes[cold] ^= 1;
    fs::write(&table, bytes).expect("written");

    let damaged = opened(&folder, (0, 9));
    assert!(damaged.stamp.is_some(), "nobody has looked there yet");
    let error = damaged.store.scrub().run().expect_err("damage");
    damaged.store.condemn(&error);
    drop(damaged);
    assert!(opened(&folder, (0, 9)).stamp.is_none());
    assert!(opened(&folder, (0, 9)).stamp.is_none(), "once");
}
