//! Data-sharing agreements, one TOML file each: which organisations disclose which kinds of records to which others,
//! for what purpose, from when until when. Every mistake in every file is told at once, with file, key and line.

use event::{Kind, Micros};
use serde::Deserialize;
use settings::{Document, Mistake};
use std::{collections::BTreeSet, fmt};

/// The one purpose that the gateway serves.
pub const DIRECT_CARE: &str = "direct-care";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    pub id: String,
    pub title: String,
    /// ODS codes.
    pub disclose: BTreeSet<String>,
    pub receive: BTreeSet<String>,
    pub kinds: BTreeSet<Kind>,
    pub from: Micros,
    /// The first instant at which it no longer holds.
    pub until: Micros,
    pub break_glass_overrides_objection: bool,
}

impl Agreement {
    /// Whether it lets one of the `readers` see what `holder` has of this kind.
    pub fn covers(&self, holder: &str, readers: &BTreeSet<&str>, kind: Kind, now: Micros) -> bool {
        self.from <= now
            && now < self.until
            && self.disclose.contains(holder)
            && self.kinds.contains(&kind)
            && self.receive.iter().any(|organisation| readers.contains(organisation.as_str()))
    }
}

/// A mistake and the file it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMistake {
    pub file: String,
    pub mistake: Mistake,
}

impl fmt::Display for FileMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.mistake)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    title: String,
    disclose: Vec<String>,
    receive: Vec<String>,
    kinds: Vec<String>,
    purpose: String,
    from: String,
    until: String,
    #[serde(default)]
    break_glass_overrides_objection: bool,
}

/// Reads all files, given as name and text.
pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Vec<Agreement>, Vec<FileMistake>> {
    let (mut agreements, mut mistakes): (Vec<Agreement>, Vec<FileMistake>) = (Vec::new(), Vec::new());
    for (file, text) in files {
        match parse_one(text) {
            Ok(agreement) if agreements.iter().any(|other| other.id == agreement.id) => {
                let what = format!("another file already has the agreement `{}`", agreement.id);
                let mistake = Mistake::new(None, "agreement.id", what);
                mistakes.push(FileMistake { file: file.to_owned(), mistake });
            }
            Ok(agreement) => agreements.push(agreement),
            Err(found) => {
                mistakes.extend(found.into_iter().map(|mistake| FileMistake { file: file.to_owned(), mistake }));
            }
        }
    }
    if mistakes.is_empty() { Ok(agreements) } else { Err(mistakes) }
}

fn parse_one(text: &str) -> Result<Agreement, Vec<Mistake>> {
    let mut document = Document::parse(text, std::iter::empty()).map_err(|mistakes| mistakes.0)?;
    let Some(written) = document.section::<Written>("agreement") else {
        return Err(document.finish().err().map(|mistakes| mistakes.0).unwrap_or_default());
    };
    let mut wrong = |key: &str, what: String| document.mistake("agreement", 0, key, what);
    for (key, value) in [("id", &written.id), ("title", &written.title)] {
        if value.trim().is_empty() {
            wrong(key, "must not be empty".into());
        }
    }
    for (key, list) in [("disclose", &written.disclose), ("receive", &written.receive), ("kinds", &written.kinds)] {
        if list.is_empty() {
            wrong(key, "must name at least one".into());
        }
    }
    if written.purpose != DIRECT_CARE {
        wrong("purpose", format!("`{}` is not a purpose that is served; there is `{DIRECT_CARE}`", written.purpose));
    }
    let mut kinds = BTreeSet::new();
    for name in &written.kinds {
        match Kind::ALL.into_iter().find(|kind| kind.as_str() == name) {
            Some(kind) => drop(kinds.insert(kind)),
            None => {
                let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
                wrong("kinds", format!("`{name}` is not a kind of record; there are {}", known.join(", ")));
            }
        }
    }
    let mut date = |key: &str, text: &str, next_day: bool| {
        let read = day(text, next_day);
        if read.is_none() {
            wrong(key, format!("`{text}` is not a date like 2026-01-31"));
        }
        read.unwrap_or_default()
    };
    let (from, until) = (date("from", &written.from, false), date("until", &written.until, true));
    if from != 0 && until != 0 && until <= from {
        wrong("until", "lies before `from`".into());
    }
    document.finish().map_err(|mistakes| mistakes.0)?;
    Ok(Agreement {
        id: written.id,
        title: written.title,
        disclose: written.disclose.into_iter().collect(),
        receive: written.receive.into_iter().collect(),
        kinds,
        from,
        until,
        break_glass_overrides_objection: written.break_glass_overrides_objection,
    })
}

/// The day's first instant (UTC), or the next day's.
fn day(text: &str, next: bool) -> Option<Micros> {
    let date: jiff::civil::Date = text.parse().ok()?;
    let date = if next { date.tomorrow().ok()? } else { date };
    Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_told_with_file_key_and_line() {
        let good = "[agreement]\nid = 'a'\ntitle = 't'\ndisclose = ['X']\nreceive = ['Y']\nkinds = ['observation']\n\
                    purpose = 'direct-care'\nfrom = '2026-01-01'\nuntil = '2026-12-31'\n";
        let bad = "[agreement]\nid = 'b'\ntitle = ' '\ndisclose = []\nreceive = ['Y']\nkinds = ['observations']\n\
                   purpose = 'research'\nfrom = '2026-13-01'\nuntil = '2025-12-31'\n";
        let unread = "[agreement]\nid = 7\nkind = ['observation']\n";
        let told: Vec<String> =
            parse([("good.toml", good), ("bad.toml", bad), ("again.toml", good), ("unread.toml", unread)])
                .expect_err("mistakes")
                .iter()
                .map(ToString::to_string)
                .collect();
        let all: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        let kinds = format!(
            "bad.toml: line 6: agreement.kinds: `observations` is not a kind of record; there are {}",
            all.join(", ")
        );
        for want in [
            "bad.toml: line 3: agreement.title: must not be empty",
            "bad.toml: line 4: agreement.disclose: must name at least one",
            kinds.as_str(),
            "bad.toml: line 7: agreement.purpose: `research` is not a purpose that is served; there is `direct-care`",
            "bad.toml: line 8: agreement.from: `2026-13-01` is not a date like 2026-01-31",
            "again.toml: agreement.id: another file already has the agreement `a`",
            "unread.toml: line 2: agreement.id: invalid type: integer `7`, expected a string",
            "unread.toml: line 1: agreement.title: missing field",
        ] {
            assert!(told.iter().any(|line| line == want), "{want} is not in {told:#?}");
        }
        assert!(!told.iter().any(|line| line.starts_with("good.toml")));
    }

    #[test]
    fn the_sites_own_agreements_are_right() {
        let files = [
            ("riverside-to-stmarys.toml", include_str!("../../../site/agreements/riverside-to-stmarys.toml")),
            ("stmarys-to-riverside.toml", include_str!("../../../site/agreements/stmarys-to-riverside.toml")),
            ("temple-sowerby-to-stmarys.toml", include_str!("../../../site/agreements/temple-sowerby-to-stmarys.toml")),
        ];
        assert_eq!(parse(files).map(|agreements| agreements.len()), Ok(3));
    }

    #[test]
    fn the_last_day_is_covered_and_the_next_is_not() {
        let text = "[agreement]\nid = 'a'\ntitle = 't'\ndisclose = ['X']\nreceive = ['Y']\nkinds = ['observation']\n\
                    purpose = 'direct-care'\nfrom = '2026-01-01'\nuntil = '2026-12-31'\n";
        let agreement = &parse([("a.toml", text)]).expect("right")[0];
        let at = |text: &str| text.parse::<jiff::Timestamp>().expect("a time").as_microsecond();
        let covers = |time| agreement.covers("X", &BTreeSet::from(["Y"]), Kind::Observation, at(time));
        assert!(!covers("2025-12-31T23:59:59Z"));
        assert!(covers("2026-01-01T00:00:00Z"));
        assert!(covers("2026-12-31T23:59:59Z"));
        assert!(!covers("2027-01-01T00:00:00Z"));
    }
}
