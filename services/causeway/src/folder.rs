//! A folder of sources: files of `[[source]]` blocks that are taken up, changed and removed while the process runs.
//!
//! # Why
//! A region gains and loses practices while everybody else is at work, so no restart may be needed for one of them. The
//! folder is looked at from time to time, not on SIGHUP: that is the same where nobody can send a signal (a container) and
//! where files are not written but swapped (a mounted configuration map). A file counts once two looks in a row saw the
//! same text, so that one that is being written does not. A file with mistakes stops nothing: what it said before goes on.

use crate::settings::{
    SourceSettings,
    source::{self, Bad, SECTION, SOURCES_MAX},
};
use boot::settings::{Document, Mistakes, SETTINGS_BYTES_MAX};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How often the folder is looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Files of the folder; what is beyond is left out, and that is said.
pub const FILES_MAX: usize = SOURCES_MAX;

/// What a file holds, or why that is not known.
type Text = Result<String, String>;

/// The folder, and what is known of it.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    /// Where relative paths in the files begin: that of the settings file, so that a block may stand here or there.
    base: PathBuf,
    /// The names that the settings file has given away.
    given: BTreeSet<String>,
    /// As the last look saw it; none before the first.
    seen: Option<BTreeMap<String, Text>>,
    /// What counts.
    counts: BTreeMap<String, Text>,
    /// What each file last said without mistakes.
    good: BTreeMap<String, Vec<SourceSettings>>,
    problems: BTreeMap<String, String>,
    said: Vec<SourceSettings>,
}

impl Folder {
    pub const fn new(path: PathBuf, base: PathBuf, given: BTreeSet<String>) -> Self {
        Self {
            path,
            base,
            given,
            seen: None,
            counts: BTreeMap::new(),
            good: BTreeMap::new(),
            problems: BTreeMap::new(),
            said: Vec::new(),
        }
    }

    /// What is wrong, by file; what is wrong with the folder itself by its own path.
    pub const fn problems(&self) -> &BTreeMap<String, String> {
        &self.problems
    }

    /// All sources, as the last look that brought news left them.
    pub fn all(&self) -> Vec<SourceSettings> {
        self.said.clone()
    }

    /// All sources of the folder, if that is news. The first look is.
    pub fn look(&mut self) -> Option<Vec<SourceSettings>> {
        let seen = files(&self.path);
        self.see(seen)
    }

    fn see(&mut self, seen: io::Result<BTreeMap<String, Text>>) -> Option<Vec<SourceSettings>> {
        let own = self.path.display().to_string();
        let seen = match seen {
            Ok(seen) => seen,
            // A folder that is away for a moment takes nobody's source away.
            Err(error) => {
                let first = self.seen.is_none();
                self.problems.insert(own, format!("cannot be read: {}; nothing changes", error.kind()));
                self.seen.get_or_insert_with(BTreeMap::new);
                return first.then(Vec::new);
            }
        };
        let mut news = self.problems.remove(&own).is_some();
        let (first, before) = match self.seen.replace(seen.clone()) {
            Some(before) => (false, before),
            None => (true, seen.clone()),
        };
        let names: BTreeSet<&String> = seen.keys().chain(self.counts.keys()).collect();
        let settled = names.into_iter().filter(|name| seen.get(*name) == before.get(*name));
        let changed: Vec<String> = settled.filter(|name| seen.get(*name) != self.counts.get(*name)).cloned().collect();
        news |= first || !changed.is_empty();
        for name in changed {
            match seen.get(&name) {
                Some(text) => drop(self.counts.insert(name, text.clone())),
                None => drop(self.counts.remove(&name)),
            }
        }
        news.then(|| self.judge())
    }

    /// Reads what counts.
    fn judge(&mut self) -> Vec<SourceSettings> {
        self.problems.clear();
        self.good.retain(|name, _| self.counts.contains_key(name));
        let mut given = self.given.clone();
        let mut sources = Vec::new();
        for (nth, (name, text)) in self.counts.iter().enumerate() {
            let read = if nth < FILES_MAX {
                text.clone().and_then(|text| blocks(&text, &self.base, &given))
            } else {
                Err(format!("is beyond the first {FILES_MAX} files"))
            };
            let said = match read {
                Ok(read) => {
                    self.good.insert(name.clone(), read.clone());
                    read
                }
                Err(what) => {
                    let before = self.good.get(name).cloned().unwrap_or_default();
                    let rest = if before.is_empty() { "" } else { "; what it said before goes on" };
                    self.problems.insert(name.clone(), format!("{what}{rest}"));
                    before.into_iter().filter(|source| !given.contains(&source.name)).collect()
                }
            };
            given.extend(said.iter().map(|source| source.name.clone()));
            sources.extend(said);
        }
        if given.len() > SOURCES_MAX {
            let what = format!("there are more than {SOURCES_MAX} sources: the last ones are left out");
            self.problems.insert(self.path.display().to_string(), what);
            sources.truncate(SOURCES_MAX.saturating_sub(self.given.len()));
        }
        self.said.clone_from(&sources);
        sources
    }
}

/// The sources of a file, or all that is wrong with it.
fn blocks(text: &str, base: &Path, given: &BTreeSet<String>) -> Result<Vec<SourceSettings>, String> {
    let told = |mistakes: Vec<String>| mistakes.join("; ");
    let all = |Mistakes(all): &Mistakes| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut document = Document::parse(text, std::iter::empty()).map_err(|mistakes| told(all(&mistakes)))?;
    let read = source::read(&mut document, base);
    for (index, source) in read.iter().enumerate() {
        if let Some(source) = source.as_ref().filter(|source| given.contains(&source.name)) {
            document.mistake(SECTION, index, "name", format!("`{}` is used elsewhere", source.name));
        }
    }
    let (good, bad, rest) = source::finish(document, read);
    let bad = bad.iter().flat_map(|Bad { mistakes, .. }| all(mistakes));
    let mistakes: Vec<String> = rest.err().iter().flat_map(all).chain(bad).collect();
    match mistakes.is_empty() {
        true if good.is_empty() => Err("names no [[source]]".to_owned()),
        true => Ok(good),
        false => Err(told(mistakes)),
    }
}

/// The `*.toml` files of the folder.
fn files(folder: &Path) -> io::Result<BTreeMap<String, Text>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') || path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = match std::fs::metadata(&path).map(|file| file.len()) {
            Ok(bytes) if bytes > SETTINGS_BYTES_MAX as u64 => Err(format!("is larger than {SETTINGS_BYTES_MAX} bytes")),
            Ok(_) => std::fs::read_to_string(&path).map_err(|error| format!("cannot be read: {}", error.kind())),
            // It went between two looks at it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => Err(format!("cannot be read: {}", error.kind())),
        };
        files.insert(name, text);
    }
    Ok(files)
}

/// What the folder's files say, for what is printed and connects to nothing: secrets and certificates need not be here.
pub fn to_print(folder: &Path) -> Vec<SourceSettings> {
    let texts = files(folder).unwrap_or_default().into_values().flatten();
    let documents = texts.filter_map(|text| Document::parse(&text, std::iter::empty()).ok());
    documents.flat_map(|mut document| document.sections(SECTION)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(name: &str, tables: &str) -> Text {
        Ok(format!(
            "[[source]]\nname = \"{name}\"\norganisation = \"R1V01\"\nmapping = \"emis.toml\"\n\
             url = \"postgres://u@127.0.0.1/{name}\"\ntables = [\"{tables}\"]\n"
        ))
    }

    fn folder() -> Folder {
        let given = BTreeSet::from(["main".to_owned()]);
        Folder::new("/etc/causeway/sources.d".into(), "/etc/causeway".into(), given)
    }

    /// What a look comes to: the sources with their tables, or nothing new.
    fn look(folder: &mut Folder, files: &[(&str, &Text)]) -> Option<Vec<String>> {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).clone())).collect();
        let told = |source: SourceSettings| format!("{} {}", source.name, source.tables.join(" "));
        Some(folder.see(Ok(files))?.into_iter().map(told).collect())
    }

    #[test]
    fn files_come_change_and_go_once_they_were_seen_twice() {
        let (mut folder, one, two) = (folder(), block("one", "emis.*"), block("two", "emis.*"));
        assert_eq!(look(&mut folder, &[("1.toml", &one)]), Some(vec!["one emis.*".into()]), "at the start at once");
        assert_eq!(look(&mut folder, &[("1.toml", &one)]), None);
        assert_eq!(look(&mut folder, &[("1.toml", &one), ("2.toml", &two)]), None, "it may be half written");
        let both = Some(vec!["one emis.*".to_owned(), "two emis.*".to_owned()]);
        assert_eq!(look(&mut folder, &[("1.toml", &one), ("2.toml", &two)]), both);
        let other = block("one", "lims.*");
        assert_eq!(look(&mut folder, &[("1.toml", &other), ("2.toml", &two)]), None);
        let changed = Some(vec!["one lims.*".to_owned(), "two emis.*".to_owned()]);
        assert_eq!(look(&mut folder, &[("1.toml", &other), ("2.toml", &two)]), changed);
        assert_eq!(look(&mut folder, &[("2.toml", &two)]), None);
        assert_eq!(look(&mut folder, &[("2.toml", &two)]), Some(vec!["two emis.*".into()]));
        assert!(folder.problems().is_empty());
    }

    #[test]
    fn what_has_mistakes_stops_nothing_and_is_told() {
        let (mut folder, one) = (folder(), block("one", "emis.*"));
        let (bad, twice) = (Ok("[[source]]\nname = \"one\"\ntabels = []\n".to_owned()), block("main", "emis.*"));
        look(&mut folder, &[("1.toml", &one), ("2.toml", &twice)]);
        assert_eq!(folder.problems()["2.toml"], "line 2: source.name: `main` is used elsewhere");
        for _ in 0..2 {
            let all = look(&mut folder, &[("1.toml", &bad), ("2.toml", &twice)]);
            assert!(all.is_none() || all == Some(vec!["one emis.*".into()]), "what it said before goes on");
        }
        let told = &folder.problems()["1.toml"];
        assert!(told.contains("line 3: source.tabels: unknown field") && told.ends_with("goes on"), "{told}");
        let closed = Err("cannot be read: permission denied".to_owned());
        for _ in 0..2 {
            look(&mut folder, &[("1.toml", &closed), ("3.toml", &Ok(String::new()))]);
        }
        let told: Vec<&str> = folder.problems().values().map(String::as_str).collect();
        assert_eq!(told, ["cannot be read: permission denied; what it said before goes on", "names no [[source]]"]);
        assert_eq!(folder.see(Err(io::ErrorKind::NotFound.into())), None, "a folder that is away changes nothing");
        assert!(folder.problems()["/etc/causeway/sources.d"].contains("nothing changes"));
        for _ in 0..2 {
            look(&mut folder, &[("1.toml", &one)]);
        }
        assert!(folder.problems().is_empty(), "{:?}", folder.problems());
    }

    #[test]
    fn paths_begin_where_those_of_the_settings_file_do() {
        let mut folder = folder();
        let files = BTreeMap::from([("1.toml".to_owned(), block("one", "emis.*"))]);
        let all = folder.see(Ok(files)).expect("news");
        assert_eq!(all[0].mapping, Path::new("/etc/causeway/emis.toml"));
    }
}
