//! One TOML file of settings: every mistake at once, each with its key and line.
//!
//! # Why
//! Settings, agreements, users and what a site says of itself are read alike, by shells and by rooms that do no IO. So the
//! text and the environment are arguments, and nothing here opens a file.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use serde::de::DeserializeOwned;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
};
use toml::{Table, Value};

/// No settings file is larger.
pub const SETTINGS_BYTES_MAX: usize = 1024 * 1024;
/// After so many mistakes in one section the rest is not worth telling.
const MISTAKES_PER_SECTION_MAX: usize = 50;

/// What is wrong, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    pub line: Option<usize>,
    /// `kafka.brokers`; empty for the file itself.
    pub key: String,
    pub what: String,
    /// Of several sections with one name: which.
    index: usize,
}

impl Mistake {
    /// Found by whoever knows more of the file. Without a key it is of the file itself.
    pub fn new(line: Option<usize>, key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { line, key: key.into(), what: what.into(), index: 0 }
    }

    fn is_of(&self, section: &str) -> bool {
        self.key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

#[derive(Clone, Debug, thiserror::Error)]
#[error("{} mistake(s) in the settings:{}", .0.len(), .0.iter().map(|m| format!("\n  {m}")).collect::<String>())]
pub struct Mistakes(pub Vec<Mistake>);

/// A settings file that is being taken apart, with the mistakes found so far.
pub struct Document {
    text: String,
    root: Table,
    taken: BTreeSet<String>,
    mistakes: Vec<Mistake>,
}

impl Document {
    /// Parses the text and lays environment variables over it: `CAUSEWAY__KAFKA__BROKERS` is `kafka.brokers`.
    pub fn parse(text: &str, environment: impl Iterator<Item = (String, String)>) -> Result<Self, Mistakes> {
        let whole = |what: String, line| Mistakes(vec![Mistake::new(line, "", what)]);
        if text.len() > SETTINGS_BYTES_MAX {
            return Err(whole(format!("the file is larger than {SETTINGS_BYTES_MAX} bytes"), None));
        }
        let mut root: Table = toml::from_str(text)
            .map_err(|error| whole(error.message().to_owned(), error.span().map(|s| line_of(text, &s))))?;
        for (name, value) in environment {
            overlay(&mut root, &name, value);
        }
        Ok(Self { text: text.to_owned(), root, taken: BTreeSet::new(), mistakes: Vec::new() })
    }

    /// The section `[name]`; `None` if it is missing or has mistakes, which are then noted.
    pub fn section<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        self.taken.insert(name.to_owned());
        let value = self.root.get(name).cloned().unwrap_or_else(|| Value::Table(Table::new()));
        self.read(value, name, 0)
    }

    /// The section if it is there at all.
    pub fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        self.taken.insert(name.to_owned());
        let value = self.root.get(name).cloned()?;
        self.read(value, name, 0)
    }

    /// Every `[[name]]`.
    pub fn sections<T: DeserializeOwned>(&mut self, name: &str) -> Vec<T> {
        self.every_section(name).into_iter().flatten().collect()
    }

    /// Every `[[name]]`, in its place; none of one that has mistakes, which are then noted.
    pub fn every_section<T: DeserializeOwned>(&mut self, name: &str) -> Vec<Option<T>> {
        self.taken.insert(name.to_owned());
        match self.root.get(name).cloned() {
            None => Vec::new(),
            Some(Value::Array(values)) => {
                values.into_iter().enumerate().map(|(index, value)| self.read(value, name, index)).collect()
            }
            Some(_) => {
                self.mistake(name, 0, "", format!("must be written as [[{name}]]"));
                Vec::new()
            }
        }
    }

    /// A text of the `index`-th `[[section]]`, whatever else is wrong with it.
    pub fn text_in(&self, section: &str, index: usize, key: &str) -> Option<&str> {
        self.root.get(section)?.as_array()?.get(index)?.get(key)?.as_str()
    }

    /// A mistake that only the caller can see.
    pub fn mistake(&mut self, section: &str, index: usize, key: &str, what: impl Into<String>) {
        let line = line_of_key(&self.text, section, index, key);
        let key = if key.is_empty() { section.to_owned() } else { format!("{section}.{key}") };
        self.mistakes.push(Mistake { line, key, what: what.into(), index });
    }

    /// All mistakes, sections that nobody asked for among them.
    pub fn finish(self) -> Result<(), Mistakes> {
        let mistakes = self.all();
        if mistakes.is_empty() { Ok(()) } else { Err(Mistakes(mistakes)) }
    }

    /// The same, but for those of each `[[section]]`: they are told by its place.
    pub fn finish_apart(self, section: &str) -> (Result<(), Mistakes>, BTreeMap<usize, Mistakes>) {
        let sections = self.root.get(section).and_then(Value::as_array).map_or(0, Vec::len);
        let (mut apart, mut rest) = (BTreeMap::new(), Vec::new());
        for mistake in self.all() {
            if mistake.is_of(section) && mistake.index < sections {
                apart.entry(mistake.index).or_insert_with(|| Mistakes(Vec::new())).0.push(mistake);
            } else {
                rest.push(mistake);
            }
        }
        (if rest.is_empty() { Ok(()) } else { Err(Mistakes(rest)) }, apart)
    }

    fn all(mut self) -> Vec<Mistake> {
        let unknown: Vec<String> = self.root.keys().filter(|name| !self.taken.contains(*name)).cloned().collect();
        for name in unknown {
            self.mistake(&name, 0, "", "no such section");
        }
        self.mistakes.sort();
        self.mistakes.dedup();
        self.mistakes
    }

    /// Reads a section again and again, each time with the key that was wrong mended, to find every mistake.
    fn read<T: DeserializeOwned>(&mut self, mut value: Value, section: &str, index: usize) -> Option<T> {
        let mut told: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..MISTAKES_PER_SECTION_MAX * FILLERS.len() {
            let error = match value.clone().try_into::<T>() {
                Ok(settings) if told.is_empty() => return Some(settings),
                Ok(_) => return None,
                Err(error) => error.to_string(),
            };
            let (key, what) = culprit(&error);
            let tries = match told.get(&key) {
                Some(tries) => *tries,
                None => {
                    self.mistake(section, index, &key, what);
                    0
                }
            };
            let mended = if tries == 0 && remove(&mut value, &key) { 0 } else { tries + 1 };
            if mended > 0 && !fill(&mut value, &key, mended - 1) {
                return None;
            }
            told.insert(key, mended);
        }
        None
    }
}

/// Stand-ins for a required value that is missing or wrong, so that reading gets to the next mistake.
const FILLERS: [fn() -> Value; 4] =
    [|| Value::String(String::new()), || Value::Integer(0), || Value::Boolean(false), || Value::Array(Vec::new())];

/// The key an error of the TOML reader is about (empty: the section itself), and its words.
fn culprit(error: &str) -> (String, String) {
    let first = error.lines().next().unwrap_or_default().trim().to_owned();
    if first.starts_with("missing field") || first.starts_with("unknown field") {
        let quoted = first.split('`').nth(1).unwrap_or_default();
        return (quoted.to_owned(), first.replace(&format!(" `{quoted}`"), ""));
    }
    let path = error.lines().find_map(|line| line.trim().strip_prefix("in `").and_then(|rest| rest.strip_suffix('`')));
    (path.unwrap_or_default().to_owned(), first)
}

fn remove(value: &mut Value, path: &str) -> bool {
    let mut parts: Vec<&str> = path.split('.').collect();
    let Some(last) = parts.pop() else {
        return false;
    };
    let mut at = value;
    for part in parts {
        let Some(next) = at.get_mut(part) else {
            return false;
        };
        at = next;
    }
    at.as_table_mut().is_some_and(|table| table.remove(last).is_some())
}

fn fill(value: &mut Value, key: &str, filler: usize) -> bool {
    let (Some(table), Some(make)) = (value.as_table_mut(), FILLERS.get(filler)) else {
        return false;
    };
    !key.is_empty() && {
        table.insert(key.to_owned(), make());
        true
    }
}

/// Lays `CAUSEWAY__SECTION__KEY` over `section.key`. A value that reads as TOML is taken as such, else as text.
fn overlay(root: &mut Table, name: &str, value: String) {
    let Some(path) = name.strip_prefix("CAUSEWAY__") else {
        return;
    };
    let parts: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
    let [section, key] = parts.as_slice() else {
        return;
    };
    let parsed = toml::from_str::<Table>(&format!("v = {value}")).ok().and_then(|mut t| t.remove("v"));
    let entry = root.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
    if let Some(table) = entry.as_table_mut() {
        table.insert(key.clone(), parsed.unwrap_or(Value::String(value)));
    }
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    text.get(..span.start).unwrap_or_default().matches('\n').count() + 1
}

/// The line of `key` in the `index`-th `[section]` or `[[section]]`, or of its header.
fn line_of_key(text: &str, section: &str, index: usize, key: &str) -> Option<usize> {
    let (single, many) = (format!("[{section}]"), format!("[[{section}]]"));
    let mut seen = 0;
    let mut header = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with(&single) || line.starts_with(&many) {
            header = (seen == index).then_some(number + 1);
            seen += 1;
        } else if line.starts_with('[') && !line.starts_with(&format!("[{section}.")) {
            if header.is_some() {
                break;
            }
        } else if header.is_some() && !key.is_empty() {
            let last = key.rsplit('.').next().unwrap_or(key);
            if line.split('=').next().is_some_and(|name| name.trim().trim_matches('"') == last) {
                return Some(number + 1);
            }
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Kafka {
        brokers: String,
        linger_ms: Option<u32>,
        group: String,
    }

    fn check(text: &str, want: &[&str]) {
        let mistakes = match Document::parse(text, std::iter::empty()) {
            Err(mistakes) => mistakes,
            Ok(mut document) => {
                let kafka: Option<Kafka> = document.section("kafka");
                let done = document.finish();
                assert!(kafka.is_none() || done.is_ok() || !want.is_empty());
                done.err().unwrap_or(Mistakes(Vec::new()))
            }
        };
        let got: Vec<String> = mistakes.0.iter().map(ToString::to_string).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn a_good_file_has_no_mistakes() {
        check("[kafka]\nbrokers = 'a:1'\ngroup = 'g'\n", &[]);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        check(
            "[kafka]\nbrokers = 7\nlinger_ms = 'x'\nbroker = 'typo'\n\n[kafak]\n",
            &[
                "line 1: kafka.group: missing field",
                "line 2: kafka.brokers: invalid type: integer `7`, expected a string",
                "line 3: kafka.linger_ms: invalid type: string \"x\", expected u32",
                "line 4: kafka.broker: unknown field, expected one of `brokers`, `linger_ms`, `group`",
                "line 6: kafak: no such section",
            ],
        );
    }

    #[test]
    fn the_environment_wins() {
        let overlay = [("CAUSEWAY__KAFKA__BROKERS".to_owned(), "b:2".to_owned())];
        let mut document = Document::parse("[kafka]\nbrokers = 'a:1'\ngroup = 'g'", overlay.into_iter()).unwrap();
        assert_eq!(document.section::<Kafka>("kafka").unwrap().brokers, "b:2");
    }

    #[test]
    fn one_sections_mistakes_can_be_told_apart() {
        let text = "[[kafka]]\nbrokers = 'a:1'\ngroup = 'g'\n[[kafka]]\nbrokers = 7\ngroup = 'h'\n[other]\n";
        let mut document = Document::parse(text, std::iter::empty()).unwrap();
        let read: Vec<Option<Kafka>> = document.every_section("kafka");
        assert_eq!(read.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
        assert_eq!(document.text_in("kafka", 1, "group"), Some("h"), "it has a name nonetheless");
        let (rest, apart) = document.finish_apart("kafka");
        assert_eq!(rest.err().map(|rest| rest.0.len()), Some(1), "what concerns no section of that name");
        let told: Vec<(usize, String)> = apart.iter().map(|(at, mistakes)| (*at, mistakes.0[0].to_string())).collect();
        assert_eq!(told, [(1, "line 5: kafka.brokers: invalid type: integer `7`, expected a string".to_owned())]);
    }

    #[test]
    fn what_is_not_toml_says_where() {
        let mistakes = Document::parse("[kafka]\nbrokers = \n", std::iter::empty()).err().unwrap();
        assert_eq!(mistakes.0[0].line, Some(2));
    }
}
