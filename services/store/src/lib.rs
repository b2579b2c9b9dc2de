//! What a fold keeps, on a disk: it outlives the log that it was made from.
//!
//! # Why
//! A fold that lives in memory reads its log from the first record at every start, and a log is kept for two weeks. Here
//! rows, what was said of records, and notes stand in an embedded store, as of one place in the log: what a [`Stamp`]
//! names. Changes since then are held in a layer in memory; between two transactions it is frozen, and goes down in one
//! batch with its stamp as soon as Kafka has acknowledged everything that was made of it. So the store is never ahead of
//! what was told, and a start reads on from the stamp.
//!
//! Whatever is wrong with a store, its log and its source can make it again. So it is not repaired: it is set aside, and
//! filled anew.

mod catalogue;
mod engine;
mod index;
mod layer;
mod rows;
mod stamp;
#[cfg(test)]
mod tests;

pub use engine::EngineError;
pub use layer::LAYER_BYTES_MAX;
pub use rows::{Checkpoint, DiskStore, Scrub};
pub use stamp::{Stamp, Tails};

use engine::Engine;
use fold::store::{FORM, Shape};
use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A layer of this size goes down.
pub const CHECKPOINT_BYTES: usize = 64 * 1024 * 1024;
/// All of it is read this often, so that damage to what nobody asks for is found too.
pub const SCRUB_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Whoever had it open may be about to let it go.
const LOCKED_MAX: Duration = Duration::from_secs(20);
const LOCKED_LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot use the folder of the store `{folder}`")]
    Folder { folder: PathBuf, source: io::Error },
    #[error("the store in `{folder}` is open in another process")]
    Locked { folder: PathBuf },
    #[error("the store in `{folder}` cannot be used")]
    Engine { folder: PathBuf, source: EngineError },
}

/// What a store has to be to be gone on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    pub source: &'a str,
    /// This one, or one before it of the same log.
    pub generation: u32,
    pub shapes: &'a [Shape],
    /// The log holds these offsets: from the first that is left, to the next to be written.
    pub log: (i64, i64),
    /// The epoch of its first record; none while it is empty.
    pub begins: Option<u32>,
}

/// An open store, and where it stands; none if it is empty, and has to be filled.
pub struct Opened {
    pub store: DiskStore,
    pub stamp: Option<Stamp>,
}

/// Opens the store in a folder. One that is damaged, or of something else, is set aside, and an empty one takes its place.
/// Blocks.
pub fn open(folder: &Path, wanted: &Wanted<'_>) -> Result<Opened, StoreError> {
    let at_engine = |source| StoreError::Engine { folder: folder.to_owned(), source };
    let at_folder = |source| StoreError::Folder { folder: folder.to_owned(), source };
    private(folder).map_err(at_folder)?;
    if let Ok(why) = std::fs::read_to_string(mark_of_damage(folder)) {
        set_aside(folder, wanted.source, &why).map_err(at_folder)?;
    }
    let opened = |engine, stamp: Option<Stamp>| {
        let rows = stamp.as_ref().map_or(0, |stamp| stamp.rows);
        Ok(Opened { store: DiskStore::new(folder, engine, wanted.shapes, rows)?, stamp })
    };
    let looked = unlocked(folder).and_then(|engine| match look(&engine, wanted)? {
        Look::Stands(stamp) => opened(engine, Some(stamp)).map(Ok),
        Look::Empty => opened(engine, None).map(Ok),
        Look::Other(why) => Ok(Err(why)),
    });
    let why = match looked {
        Ok(Ok(opened)) => return Ok(opened),
        Ok(Err(why)) => why,
        Err(EngineError::Locked) => return Err(StoreError::Locked { folder: folder.to_owned() }),
        // Such an error is the disk's, and no sign of what the store holds.
        Err(error) if error.is_of_disk() => return Err(at_engine(error)),
        Err(error) => error.to_string(),
    };
    set_aside(folder, wanted.source, &why).map_err(at_folder)?;
    unlocked(folder).and_then(|engine| opened(engine, None)).map_err(at_engine)
}

fn unlocked(folder: &Path) -> Result<Engine, EngineError> {
    let begun = Instant::now();
    loop {
        match Engine::open(folder) {
            Err(EngineError::Locked) if begun.elapsed() < LOCKED_MAX => std::thread::sleep(LOCKED_LOOK),
            opened => return opened,
        }
    }
}

enum Look {
    /// It can be gone on with.
    Stands(Stamp),
    Empty,
    /// Why it cannot.
    Other(String),
}

fn look(engine: &Engine, wanted: &Wanted<'_>) -> Result<Look, EngineError> {
    let Some(stamp) = engine.get(stamp::KEY)? else {
        return Ok(if engine.is_empty()? { Look::Empty } else { Look::Other("it was not finished".into()) });
    };
    let stamp = Stamp::read(&stamp).ok_or(EngineError::Damaged("the stamp"))?;
    let (low, high) = wanted.log;
    let offset = stamp.point.offset;
    let why = if stamp.form != FORM {
        "it is of another version's form".into()
    } else if stamp.source != wanted.source {
        "it is of another source".into()
    } else if stamp.generation > wanted.generation {
        "it is of a later generation".into()
    } else if stamp.generation < wanted.generation && !(low > 0 || stamp.log.is_some() && stamp.log == wanted.begins) {
        "it is of another log".into()
    } else if offset < low {
        format!("it stands at offset {offset}, and the log has lost what was before {low}")
    } else if offset > high {
        format!("it stands at offset {offset}, and the log ends at {high}")
    } else {
        return Ok(Look::Stands(stamp));
    };
    Ok(Look::Other(why))
}

/// It holds patient data: nobody else looks into it.
fn private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// A file beside the store: an earlier run found that it is damaged, and how.
fn mark_of_damage(folder: &Path) -> PathBuf {
    folder.with_extension("damaged")
}

/// One store is kept for whoever wants to know what happened; the one that was set aside before it goes.
fn set_aside(folder: &Path, source: &str, why: &str) -> io::Result<()> {
    let aside = folder.with_extension("aside");
    tracing::warn!(source, why, aside = %aside.display(), "the store is set aside, and filled anew from the log");
    if aside.exists() {
        std::fs::remove_dir_all(&aside)?;
    }
    std::fs::rename(folder, &aside)?;
    match std::fs::remove_file(mark_of_damage(folder)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    private(folder)
}
