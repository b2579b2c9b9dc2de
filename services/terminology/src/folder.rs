//! A site's folder of release files, as they were unpacked: what is what, read once, into one index file.
#![expect(
    clippy::disallowed_types,
    reason = "the loader's door: files are streamed here, and nowhere else in the room"
)]

use crate::{
    build::{self, About},
    container::{Header, Input, Refused},
    draft::Draft,
    mistake::Mistakes,
    release::Release,
};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Folders inside each other, and entries of all of them: a release has some hundred.
const DEPTH_MAX: usize = 12;
const ENTRIES_MAX: usize = 100_000;
const INPUTS_MAX: usize = 1_000;
pub const INPUT_BYTES_MAX: u64 = 16 << 30;
pub const INDEX_BYTES_MAX: u64 = 4 << 30;
/// Of the file that holds an index.
pub const EXTENSION: &str = "terms";
const BUFFER_BYTES: usize = 1 << 20;
const NAME_CHARS_MAX: usize = 64;

/// Why a release was not loaded or is not used.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error("{0}: cannot be read: {1}")]
    Read(String, io::Error),
    #[error("{0}: cannot be written: {1}")]
    Write(String, io::Error),
    #[error("{0} {1}")]
    Refused(String, Refused),
    #[error("`{0}` is no name of a release: 1 to 64 of a–z, 0–9, dots and dashes")]
    Name(String),
    #[error("{0}")]
    Mistakes(Mistakes),
}

/// How far a load is.
pub struct Progress<'a> {
    /// A file's name, or what is being done.
    pub at: &'a str,
    pub read: u64,
    pub total: u64,
}

/// Kinds of files, by their names as they are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Concept,
    Description,
    Relationship,
    Language,
    Association,
    SimpleMap,
    Refset,
    ReadV2,
    Ctv3,
    Loinc,
    LoincMap,
    Dmd,
}

/// None: nothing that is read.
fn format(name: &str) -> Option<Format> {
    let name = name.to_ascii_lowercase();
    let begins =
        |start: &str| name.starts_with(start) || name.strip_prefix('x').is_some_and(|it| it.starts_with(start));
    let snapshot = name.contains("snapshot") && name.ends_with(".txt");
    let rf2 = [
        ("sct2_concept_", "", Format::Concept),
        ("sct2_description_", "", Format::Description),
        ("sct2_relationship_", "", Format::Relationship),
        ("der2_crefset_", "language", Format::Language),
        ("der2_crefset_", "association", Format::Association),
        ("der2_srefset_", "simplemap", Format::SimpleMap),
        ("der2_refset_", "", Format::Refset),
    ];
    if let Some((_, _, format)) = rf2.iter().find(|(start, part, _)| snapshot && begins(start) && name.contains(part)) {
        return Some(*format);
    }
    let others = [
        ("rcsctmap2_uk", ".txt", Format::ReadV2),
        ("ctv3sctmap2_uk", ".txt", Format::Ctv3),
        ("loinc.csv", "", Format::Loinc),
        ("mapto.csv", "", Format::LoincMap),
        ("f_vtm2", ".xml", Format::Dmd),
        ("f_vmp2", ".xml", Format::Dmd),
        ("f_amp2", ".xml", Format::Dmd),
        ("f_ingredient2", ".xml", Format::Dmd),
        ("f_lookup2", ".xml", Format::Dmd),
    ];
    let found = others.iter().find(|(start, end, _)| name.starts_with(start) && name.ends_with(end));
    found.map(|(_, _, format)| *format)
}

/// `SNOMED CT GB 20260401` of `sct2_Concept_MONOSnapshot_GB_20260401.txt`.
fn label(format: Format, name: &str) -> Option<String> {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let mut parts = stem.rsplit('_');
    let (date, country) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match format {
        Format::Concept => Some(format!("SNOMED CT {country} {date}")),
        Format::ReadV2 => Some(format!("Read v2 map {date}")),
        Format::Ctv3 => Some(format!("CTV3 map {date}")),
        Format::Loinc => Some("LOINC".to_owned()),
        Format::Dmd if name.to_ascii_lowercase().starts_with("f_vmp2") => Some(format!("dm+d {country}_{date}")),
        _ => None,
    }
}

struct Found {
    format: Format,
    path: PathBuf,
    /// From the folder.
    name: String,
    bytes: u64,
}

/// Every file that is read, by name: the same folder is read in the same order everywhere.
fn files(folder: &Path) -> Result<Vec<Found>, ReleaseError> {
    let unreadable = |path: &Path, error| ReleaseError::Read(path.display().to_string(), error);
    let (mut found, mut entries, mut zips) = (Vec::new(), 0, 0);
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((path, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&path).map_err(|error| unreadable(&path, error))? {
            let path = entry.map_err(|error| unreadable(&path, error))?.path();
            entries += 1;
            let data = std::fs::metadata(&path).map_err(|error| unreadable(&path, error))?;
            if data.is_dir() {
                if depth < DEPTH_MAX {
                    folders.push((path, depth + 1));
                }
            } else {
                let own = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                zips += usize::from(own.to_ascii_lowercase().ends_with(".zip"));
                if let Some(format) = format(&own) {
                    let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
                    found.push(Found { format, path, name, bytes: data.len() });
                }
            }
        }
        if entries > ENTRIES_MAX || found.len() > INPUTS_MAX {
            let what = format!("holds more than {ENTRIES_MAX} entries or {INPUTS_MAX} files of releases");
            return Err(mistaken(&folder.display().to_string(), &what));
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    check(folder, &found, zips)?;
    Ok(found)
}

fn mistaken(file: &str, what: &str) -> ReleaseError {
    let mut mistakes = Mistakes::default();
    mistakes.add(file, 0, what);
    ReleaseError::Mistakes(mistakes)
}

/// What has to be there.
fn check(folder: &Path, found: &[Found], zips: usize) -> Result<(), ReleaseError> {
    let mut mistakes = Mistakes::default();
    let shown = folder.display().to_string();
    if found.is_empty() {
        let zips = if zips > 0 { format!("; unpack its {zips} archives first") } else { String::new() };
        mistakes.add(
            &shown,
            0,
            format!("holds no file of a release (sct2_…Snapshot….txt, rcsctmap2_uk…, Loinc.csv, f_vmp2…){zips}"),
        );
    }
    let has = |wanted| found.iter().any(|it| it.format == wanted);
    let rf2 = [
        (Format::Concept, "sct2_Concept_…Snapshot….txt"),
        (Format::Description, "sct2_Description_…Snapshot….txt"),
        (Format::Relationship, "sct2_Relationship_…Snapshot….txt"),
    ];
    if rf2.iter().any(|(wanted, _)| has(*wanted)) {
        for (_, pattern) in rf2.iter().filter(|(wanted, _)| !has(*wanted)) {
            mistakes.add(&shown, 0, format!("holds no {pattern}: SNOMED CT needs it"));
        }
    }
    for large in found.iter().filter(|it| it.bytes > INPUT_BYTES_MAX) {
        mistakes.add(&large.name, 0, format!("has more than {INPUT_BYTES_MAX} bytes"));
    }
    if mistakes.is_empty() { Ok(()) } else { Err(ReleaseError::Mistakes(mistakes)) }
}

/// A file that is digested and counted while it is read.
struct Digested<'a> {
    file: File,
    hash: Sha256,
    bytes: u64,
    told: &'a mut dyn FnMut(u64),
}

impl Read for Digested<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(out)?;
        self.hash.update(&out[..read]);
        self.bytes += read as u64;
        (self.told)(read as u64);
        Ok(read)
    }
}

/// Loads a folder into an index file, which is there whole or not at all.
pub fn load(
    folder: &Path,
    name: &str,
    out: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Header, ReleaseError> {
    if !is_name(name) {
        return Err(ReleaseError::Name(name.to_owned()));
    }
    let files = files(folder)?;
    let total: u64 = files.iter().map(|file| file.bytes).sum();
    let (mut draft, mut mistakes) = (Draft::default(), Mistakes::default());
    let (mut inputs, mut releases, mut read) = (Vec::new(), Vec::new(), 0);
    for found in &files {
        let unreadable = |error| ReleaseError::Read(found.path.display().to_string(), error);
        let file = File::open(&found.path).map_err(unreadable)?;
        let mut told = |bytes: u64| {
            read += bytes;
            progress(Progress { at: &found.name, read, total });
        };
        let digested = Digested { file, hash: Sha256::new(), bytes: 0, told: &mut told };
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, digested);
        parse(&mut draft, found, &mut reader, &mut mistakes);
        // What a parser left lying belongs to the digest all the same.
        io::copy(&mut reader, &mut io::sink()).map_err(unreadable)?;
        let digested = reader.into_inner();
        inputs.push(Input { file: found.name.clone(), bytes: digested.bytes, sha256: hex(digested.hash) });
        let file_name = found.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        releases.extend(label(found.format, &file_name));
    }
    releases.sort();
    releases.dedup();
    let about = About { name: name.to_owned(), releases, inputs };
    let mut stage = |at: &'static str| progress(Progress { at, read: total, total });
    written(out, |file| build::build(draft, about, file, mistakes, &mut stage).map_err(ReleaseError::Mistakes))
}

/// A file's SHA-256.
pub fn digest(path: &Path) -> Result<String, ReleaseError> {
    let unreadable = |error| ReleaseError::Read(path.display().to_string(), error);
    let digested =
        Digested { file: File::open(path).map_err(unreadable)?, hash: Sha256::new(), bytes: 0, told: &mut |_| {} };
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, digested);
    io::copy(&mut reader, &mut io::sink()).map_err(unreadable)?;
    Ok(hex(reader.into_inner().hash))
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse(draft: &mut Draft, found: &Found, reader: &mut dyn io::BufRead, mistakes: &mut Mistakes) {
    let name = found.name.as_str();
    match found.format {
        Format::Concept => draft.concepts(reader, name, mistakes),
        Format::Description => draft.descriptions(reader, name, mistakes),
        Format::Relationship => draft.relationships(reader, name, mistakes),
        Format::Language => draft.languages(reader, name, mistakes),
        Format::Association => draft.associations(reader, name, mistakes),
        Format::SimpleMap => draft.simple_maps(reader, name, mistakes),
        Format::Refset => draft.members(reader, name, mistakes),
        Format::ReadV2 => draft.read_v2(reader, name, mistakes),
        Format::Ctv3 => draft.ctv3(reader, name, mistakes),
        Format::Loinc => draft.loinc(reader, name, mistakes),
        Format::LoincMap => draft.loinc_map(reader, name, mistakes),
        Format::Dmd => draft.dmd(reader, name, mistakes),
    }
}

/// Aside, to the disk, and then in its place.
fn written<T>(out: &Path, write: impl FnOnce(BufWriter<File>) -> Result<T, ReleaseError>) -> Result<T, ReleaseError> {
    let failed = |path: &Path| {
        let shown = path.display().to_string();
        move |error| ReleaseError::Write(shown, error)
    };
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(failed(parent))?;
    let aside = out.with_extension(format!("{EXTENSION}.part"));
    let file = File::create(&aside).map_err(failed(&aside))?;
    let kept = file.try_clone().map_err(failed(&aside))?;
    let done = write(BufWriter::with_capacity(BUFFER_BYTES, file)).and_then(|done| {
        kept.sync_all().map_err(failed(&aside))?;
        std::fs::rename(&aside, out).map_err(failed(out))?;
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(failed(parent))?;
        Ok(done)
    });
    if done.is_err() {
        let _ = std::fs::remove_file(&aside);
    }
    done
}

/// Letters, digits, dots and dashes: it becomes a file's name.
pub fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(good) && !name.starts_with('.')
}

/// Where a release of this name lies in a folder of releases.
pub fn path(folder: &Path, name: &str) -> Result<PathBuf, ReleaseError> {
    if is_name(name) {
        Ok(folder.join(format!("{name}.{EXTENSION}")))
    } else {
        Err(ReleaseError::Name(name.to_owned()))
    }
}

/// Reads an index, whole and at once; what is damaged is refused.
pub fn open(path: &Path) -> Result<Release, ReleaseError> {
    let unreadable = |error| ReleaseError::Read(path.display().to_string(), error);
    let mut file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let length = usize::try_from(length).ok().filter(|_| length <= INDEX_BYTES_MAX);
    let length = length.ok_or_else(|| unreadable(io::Error::other(format!("more than {INDEX_BYTES_MAX} bytes"))))?;
    // One allocation, which is filled: a copy of it would be held beside it.
    let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, length).collect();
    match Arc::get_mut(&mut bytes) {
        Some(own) => file.read_exact(own).map_err(unreadable)?,
        None => return Err(unreadable(io::Error::other("is shared before it was read"))),
    }
    Release::open(bytes).map_err(|refused| ReleaseError::Refused(path.display().to_string(), refused))
}

/// The names of the releases of a folder.
pub fn names(folder: &Path) -> Result<Vec<String>, ReleaseError> {
    let unreadable = |error| ReleaseError::Read(folder.display().to_string(), error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}
