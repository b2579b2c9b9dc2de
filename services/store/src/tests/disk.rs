//! A disk that is full, or fails: at each step of a checkpoint, what stood before stands, or all of what comes after.
//!
//! # Why
//! The kernel refuses calls here as it does on such a disk, by a filter on the thread that works: what is tested is the
//! engine itself, on a real folder, with no code of ours in between.

use super::*;
use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use std::{collections::BTreeMap, thread};

/// What is refused, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// Nothing more can be written.
    Full,
    /// What was written does not come to the disk.
    Unsynced,
    /// No file can be opened: none is made, either.
    Unopened,
    /// No file takes another's place.
    Unrenamed,
    /// No file can be cut, or made longer.
    Uncut,
}

const BROKEN: [Broken; 5] = [Broken::Full, Broken::Unsynced, Broken::Unopened, Broken::Unrenamed, Broken::Uncut];

impl Broken {
    fn calls(self) -> (Vec<libc::c_long>, i32) {
        match self {
            Self::Full => (vec![libc::SYS_write, libc::SYS_writev, libc::SYS_pwrite64], libc::ENOSPC),
            Self::Unsynced => (vec![libc::SYS_fsync, libc::SYS_fdatasync], libc::EIO),
            Self::Unopened => (vec![libc::SYS_openat], libc::EMFILE),
            Self::Unrenamed => {
                let calls = vec![libc::SYS_renameat, libc::SYS_renameat2];
                #[cfg(target_arch = "x86_64")]
                let calls = [calls, vec![libc::SYS_rename]].concat();
                (calls, libc::EIO)
            }
            Self::Uncut => (vec![libc::SYS_ftruncate, libc::SYS_fallocate], libc::ENOSPC),
        }
    }

    fn filter(self) -> BpfProgram {
        let (calls, error) = self.calls();
        let rules: BTreeMap<i64, _> = calls.into_iter().map(|call| (call, Vec::new())).collect();
        let arch: TargetArch = std::env::consts::ARCH.try_into().expect("a kernel that can filter");
        let refused = SeccompAction::Errno(error.unsigned_abs());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch).expect("a filter");
        filter.try_into().expect("a program")
    }

    /// Works with such a disk: this thread, and those that it starts.
    fn with<T: Send>(self, work: impl FnOnce() -> T + Send) -> T {
        let filter = self.filter();
        let work = || {
            seccompiler::apply_filter(&filter).expect("applied");
            work()
        };
        thread::scope(|scope| scope.spawn(work).join().expect("it does not panic"))
    }
}

/// Each kind of disk, with a folder for a store.
fn on_each(test: impl Fn(Broken, &Path)) {
    for broken in BROKEN {
        let folder = tempfile::tempdir().expect("a folder");
        test(broken, &folder.path().join("gp"));
    }
}

/// Enough for a table of its own.
const ROWS: usize = 500;

fn fill(store: &mut DiskStore, name: u8) {
    for number in 0..ROWS {
        let key = format!("k{number:05}");
        put(store, 0, &key, row(&key, name));
    }
}

/// What a start finds: the stamp's offset, and the one name that all rows have.
fn stands(folder: &Path) -> (DiskStore, (i64, Cell)) {
    let Opened { store, stamp } = opened(folder, (0, 9));
    assert!(!folder.with_extension("aside").exists(), "a disk that fails is no sign of what the store holds");
    assert!(!mark_of_damage(folder).exists(), "nor is it called damaged");
    let stamp = stamp.expect("it can be gone on with");
    let mut names: Vec<Cell> = store.scan(0, None, usize::MAX).iter().map(|(_, row)| row.cells[1].clone()).collect();
    assert_eq!(names.len(), ROWS);
    names.dedup();
    assert_eq!(names.len(), 1, "half of it is there: {names:?}");
    assert_eq!(store.scrub().run().expect("whole"), stamp.rows);
    (store, (stamp.point.offset, names.remove(0)))
}

fn named(offset: i64, name: u8) -> (i64, Cell) {
    (offset, row("", name).cells[1].clone())
}

/// A store with a checkpoint at 5, in a table of its own, and what has changed since.
fn kept(folder: &Path) -> DiskStore {
    let mut store = opened(folder, (0, 9)).store;
    fill(&mut store, 1);
    keep(&mut store, 5);
    store.flush().expect("flushed");
    fill(&mut store, 2);
    store
}

/// It goes on when the disk is well again.
fn goes_on(folder: &Path, mut store: DiskStore) {
    fill(&mut store, 3);
    keep(&mut store, 7);
    store.flush().expect("flushed");
    drop(store);
    assert_eq!(stands(folder).1, named(7, 3));
}

#[test]
fn a_checkpoint_that_the_disk_refuses_leaves_what_stood_before() {
    on_each(|broken, folder| {
        let mut store = kept(folder);
        let checkpoint = store.freeze(stamp(6));
        let written = broken.with(|| checkpoint.write());
        if matches!(broken, Broken::Full | Broken::Unsynced) {
            assert!(written.as_ref().is_err_and(EngineError::is_of_disk), "{broken:?}: {written:?}");
        }
        // Nothing of it counts, and nothing is written behind it.
        if let Err(error) = &written {
            store.condemn(error);
            let again = checkpoint.write();
            assert!(again.as_ref().is_err_and(EngineError::is_of_disk), "{broken:?}: {again:?}");
        }
        drop((checkpoint, store));
        let (store, found) = stands(folder);
        let whole = written.is_err() && found == named(5, 1) || found == named(6, 2);
        assert!(whole, "{broken:?}: {written:?}, {found:?}");
        goes_on(folder, store);
    });
}

/// What is more than memory holds goes down untold: it is worth nothing, whether it came to the disk or not.
#[test]
fn a_spill_that_the_disk_refuses_is_worth_as_little_as_one_that_it_takes() {
    on_each(|broken, folder| {
        let mut store = kept(folder);
        let spilt = broken.with(|| store.spill());
        let refused = matches!(broken, Broken::Full | Broken::Unsynced);
        assert!(!refused || spilt.as_ref().is_err_and(EngineError::is_of_disk), "{broken:?}: {spilt:?}");
        drop(store);
        let Opened { store, stamp } = opened(folder, (0, 9));
        let offset = stamp.map(|stamp| stamp.point.offset);
        assert!(offset.is_none() || spilt.is_err() && offset == Some(5), "{broken:?}: {spilt:?}, {offset:?}");
        drop(store);
        // What was not finished is set aside.
        let _ = fs::remove_dir_all(folder.with_extension("aside"));
        let store = opened(folder, (0, 9)).store;
        goes_on(folder, store);
    });
}

/// Tables and manifests are written beside whoever uses the store, who hears of it at the next checkpoint; and while the disk
/// still fails, a start sets nothing aside.
#[test]
fn a_start_on_a_disk_that_fails_sets_nothing_aside() {
    on_each(|broken, folder| {
        drop(kept(folder));
        let went = broken.with(|| {
            let shapes = shapes();
            let wanted = Wanted { source: "gp", generation: 3, shapes: &shapes, log: (0, 9), begins: Some(1) };
            let Opened { mut store, stamp: stood } = open(folder, &wanted).map_err(|error| error.to_string())?;
            assert_eq!(stood.map(|stamp| stamp.point.offset), Some(5));
            fill(&mut store, 2);
            let checkpoint = store.freeze(stamp(6));
            let written = checkpoint.write();
            let begun = store.engine.begin_flush();
            let heard = (0..LOOKS).any(|_| {
                thread::sleep(LOOK);
                checkpoint.write().is_err()
            });
            let fails = matches!(broken, Broken::Full | Broken::Unsynced | Broken::Unopened | Broken::Unrenamed);
            assert!(heard || !fails, "{broken:?}: {written:?}, {begun:?}");
            Ok::<_, String>(written.is_ok())
        });
        let (store, found) = stands(folder);
        let told = went != Ok(true) && found == named(5, 1) || found == named(6, 2);
        assert!(told, "{broken:?}: {went:?}, {found:?}");
        goes_on(folder, store);
    });
}

/// How often, and after how long, a failure beside is looked for.
const LOOKS: usize = 20;
const LOOK: std::time::Duration = std::time::Duration::from_millis(50);
