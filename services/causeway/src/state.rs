//! Whether a normaliser could keep what it has to in the folder that `normaliser.state` names.

use rustix::fs::{Access, access, statvfs};
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Under so many bytes the disk may be full before anybody looks.
const FREE_MIN: u64 = 5 * 1024 * 1024 * 1024;

/// What was seen of the folder or, where there is none yet, of the nearest one above it.
struct Seen {
    folder: PathBuf,
    /// It is the folder itself.
    made: bool,
    is_folder: bool,
    writable: bool,
    /// The permissions of others.
    others: u32,
    free: Option<u64>,
}

/// Mistakes, and advice.
pub fn look(state: &Path) -> (Vec<String>, Vec<String>) {
    let nearest = state.ancestors().find_map(|folder| Some((folder, std::fs::metadata(folder).ok()?)));
    let Some((folder, found)) = nearest else {
        return (vec![format!("normaliser.state: {} cannot be looked at", state.display())], Vec::new());
    };
    let free = statvfs(folder).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    judge(
        state,
        &Seen {
            made: folder == state,
            is_folder: found.is_dir(),
            writable: access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
            others: found.mode() & 0o007,
            free,
            folder: folder.to_owned(),
        },
    )
}

fn judge(state: &Path, seen: &Seen) -> (Vec<String>, Vec<String>) {
    let (mut mistakes, mut advice) = (Vec::new(), Vec::new());
    let (named, folder) = (state.display(), seen.folder.display());
    if !seen.is_folder {
        mistakes.push(format!("normaliser.state: {folder} is no folder"));
    } else if !seen.writable && seen.made {
        mistakes.push(format!("normaliser.state: {named} cannot be written to by this user"));
    } else if !seen.writable {
        mistakes.push(format!("normaliser.state: {named} cannot be made: {folder} cannot be written to by this user"));
    }
    if seen.made && seen.is_folder && seen.others != 0 {
        let why = "it holds patient data, and others of this machine may look into it";
        advice.push(format!("normaliser.state: {why}: `chmod o-rwx {named}`"));
    }
    if let Some(free) = seen.free.filter(|free| *free < FREE_MIN) {
        let (free, wanted) = (free >> 20, FREE_MIN >> 20);
        advice.push(format!("normaliser.state: the disk of {folder} has {free} MiB left; keep {wanted} at least"));
    }
    (mistakes, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_used_is_a_mistake_and_one_that_is_open_or_nearly_full_is_advised_on() {
        let state = Path::new("/var/lib/causeway");
        let good = || Seen {
            folder: state.to_owned(),
            made: true,
            is_folder: true,
            writable: true,
            others: 0,
            free: Some(2 * FREE_MIN),
        };
        let told = |seen: Seen| {
            let (mistakes, advice) = judge(state, &seen);
            format!("{} | {}", mistakes.join("; "), advice.join("; "))
        };
        assert_eq!(told(good()), " | ");
        assert_eq!(told(Seen { free: None, made: false, others: 5, folder: "/var/lib".into(), ..good() }), " | ");
        let told_of = |seen: Seen, words: &str| {
            let told = told(seen);
            assert!(told.contains(words), "{told}");
        };
        told_of(Seen { is_folder: false, ..good() }, "/var/lib/causeway is no folder");
        told_of(Seen { writable: false, ..good() }, "cannot be written to by this user | ");
        let above = Seen { made: false, folder: "/var".into(), writable: false, ..good() };
        told_of(above, "cannot be made: /var cannot be written to");
        told_of(Seen { others: 0o005, ..good() }, " | normaliser.state: it holds patient data");
        told_of(Seen { free: Some(1 << 30), ..good() }, "has 1024 MiB left; keep 5120 at least");
    }

    #[test]
    fn what_is_there_is_looked_at() {
        let (mistakes, _) = look(&std::env::temp_dir().join("no").join("such").join("state"));
        assert!(mistakes.is_empty(), "it can be made: {mistakes:?}");
        let (mistakes, _) = look(Path::new("/proc/self/status/state"));
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    }
}
