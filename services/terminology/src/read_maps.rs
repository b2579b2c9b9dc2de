//! Read v2 and CTV3 to SNOMED CT: the last national tables, and the rule that chooses among their rows.
//!
//! # Why
//! A table has the history of each of its maps (`MapId`), and several maps of one code. So the newest row of each map
//! counts, one that was switched off (`MapStatus` 0) is none, and an assured one goes before one that nobody assured, a
//! newer before an older. Where what is left names two concepts, nothing is chosen: a guess would look like a fact.

use crate::{
    draft::Draft,
    mistake::{Mistakes, short},
    rf2::each,
    sctid::{self, Component},
    table::{day, flag},
};
use serde::{Deserialize, Serialize};
use std::{cmp::Reverse, collections::BTreeMap, io::BufRead};

pub const MAP_ROWS_MAX: usize = 10_000_000;
const CODE_BYTES_MAX: usize = 16;

/// The two systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReadSystem {
    V2,
    Ctv3,
}

impl ReadSystem {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "read-v2",
            Self::Ctv3 => "ctv3",
        }
    }

    /// The term of a code that is asked for where a source names none.
    const fn preferred(self) -> &'static str {
        match self {
            Self::V2 => "00",
            Self::Ctv3 => "P",
        }
    }
}

/// A row of a table.
#[derive(Clone, Debug)]
pub struct MapRow {
    pub system: ReadSystem,
    pub map: String,
    pub code: String,
    pub term: String,
    pub target: Target,
    pub active: bool,
}

/// What a map says, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// None: the table has no concept for the code (a drug, or nothing).
    pub concept: Option<u64>,
    pub description: Option<u64>,
    /// For CTV3: preferred (P) or synonym (S).
    pub term_kind: String,
    pub assured: bool,
    pub date: u32,
}

/// What the rule chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// One concept.
    One(Target),
    /// Two rows of one rank that name two concepts: both, and nothing is chosen.
    Several(Vec<Target>),
    /// There are rows, and none names a concept.
    NoConcept,
    Unknown,
}

/// Prefers what is assured, then what is newer.
pub fn choose(rows: &[Target]) -> Choice {
    let named: Vec<&Target> = rows.iter().filter(|row| row.concept.is_some()).collect();
    let rank = |row: &Target| (row.assured, row.date);
    let Some(best) = named.iter().map(|row| rank(row)).max() else {
        return if rows.is_empty() { Choice::Unknown } else { Choice::NoConcept };
    };
    let mut chosen: Vec<Target> = named.into_iter().filter(|row| rank(row) == best).cloned().collect();
    chosen.sort_by_key(|row| (row.concept, row.description));
    if chosen.iter().all(|row| row.concept == chosen[0].concept) {
        return Choice::One(chosen.swap_remove(0));
    }
    Choice::Several(chosen)
}

/// Rows of one code, each with its term: those of the term that was asked for, else those of the preferred one, else all.
pub fn choose_term(system: ReadSystem, rows: Vec<(String, Target)>, term: Option<&str>) -> Choice {
    let of_term = |wanted: &str| -> Vec<Target> {
        let is = |(own, target): &&(String, Target)| match system {
            ReadSystem::Ctv3 if term.is_none() => target.term_kind == wanted,
            _ => own == wanted,
        };
        rows.iter().filter(is).map(|(_, target)| target.clone()).collect()
    };
    let asked = term.map(of_term).unwrap_or_default();
    let wanted = if asked.is_empty() && term.is_none() { of_term(system.preferred()) } else { asked };
    if wanted.is_empty() {
        let all: Vec<Target> = rows.into_iter().map(|(_, target)| target).collect();
        return choose(&all);
    }
    choose(&wanted)
}

/// How many rows of a table counted, as its publishers count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub rows: u64,
    /// Newest rows of a map.
    pub latest: u64,
    /// Of those, not switched off.
    pub active: u64,
    /// Of those, assured.
    pub assured: u64,
}

/// The newest row of each map, without those that were switched off. Of two of one day the one that is switched off
/// counts; where they name two concepts, the map names none.
pub fn newest(rows: Vec<MapRow>) -> (Vec<MapRow>, BTreeMap<ReadSystem, Counts>) {
    let mut counts: BTreeMap<ReadSystem, Counts> = BTreeMap::new();
    let mut rows = rows;
    rows.sort_by(|a, b| {
        let key = |row: &MapRow| (Reverse(row.target.date), row.active);
        (a.system, &a.map, key(a)).cmp(&(b.system, &b.map, key(b)))
    });
    for row in &rows {
        counts.entry(row.system).or_default().rows += 1;
    }
    // Sorted: the newest of each map comes first, and stays.
    rows.dedup_by(|later, first| {
        let same = (later.system, &later.map) == (first.system, &first.map);
        if same && later.target.date == first.target.date && later.target.concept != first.target.concept {
            first.target.concept = None;
        }
        same
    });
    for row in &rows {
        let count = counts.entry(row.system).or_default();
        count.latest += 1;
        count.active += u64::from(row.active);
        count.assured += u64::from(row.active && row.target.assured);
    }
    rows.retain(|row| row.active);
    (rows, counts)
}

impl Draft {
    pub fn read_v2(&mut self, reader: &mut dyn BufRead, name: &str, mistakes: &mut Mistakes) {
        const COLUMNS: [&str; 8] =
            ["MapId", "ReadCode", "TermCode", "ConceptId", "DescriptionId", "IS_ASSURED", "EffectiveDate", "MapStatus"];
        self.file(name);
        each(reader, name, &COLUMNS, mistakes, |row| {
            let cell = |nth| row.cell(nth);
            let row = [cell(0), cell(1), cell(2), "", cell(3), cell(4), cell(5), cell(6), cell(7)];
            self.map_row(ReadSystem::V2, row)
        });
    }

    pub fn ctv3(&mut self, reader: &mut dyn BufRead, name: &str, mistakes: &mut Mistakes) {
        const COLUMNS: [&str; 9] = [
            "MAPID",
            "CTV3_CONCEPTID",
            "CTV3_TERMID",
            "CTV3_TERMTYPE",
            "SCT_CONCEPTID",
            "SCT_DESCRIPTIONID",
            "IS_ASSURED",
            "EFFECTIVEDATE",
            "MAPSTATUS",
        ];
        self.file(name);
        each(reader, name, &COLUMNS, mistakes, |row| {
            let cells = std::array::from_fn(|nth| row.cell(nth));
            self.map_row(ReadSystem::Ctv3, cells)
        });
    }

    fn map_row(&mut self, system: ReadSystem, cells: [&str; 9]) -> Result<(), String> {
        let [map, code, term, term_kind, concept, description, assured, date, status] = cells;
        if self.maps.len() >= MAP_ROWS_MAX {
            return Err(format!("more than {MAP_ROWS_MAX} rows of Read maps"));
        }
        if map.is_empty() || code.is_empty() || code.len() > CODE_BYTES_MAX {
            return Err(format!("`{}` with the map `{}` is no row of a map", short(code), short(map)));
        }
        // `_DRUG` and empty cells say that no concept of the clinical part is meant.
        let concept = match concept {
            "" | "_DRUG" | "_NONE" => None,
            text => Some(sctid::parse_as(text, Component::Concept)?),
        };
        let description = match description {
            text if text.is_empty() || concept.is_none() => None,
            text => Some(sctid::parse_as(text, Component::Description)?),
        };
        let (assured, date, active) = (flag(assured)?, day(date)?, flag(status)?);
        let target = Target { concept, description, term_kind: term_kind.to_owned(), assured, date };
        let (map, code, term) = (map.to_owned(), code.to_owned(), term.to_owned());
        self.maps.push(MapRow { system, map, code, term, target, active });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(concept: u64, assured: bool, date: u32) -> Target {
        let concept = (concept > 0).then_some(concept);
        Target { concept, description: None, term_kind: String::new(), assured, date }
    }

    #[track_caller]
    fn check(rows: &[(u64, bool, u32)], want: &str) {
        let rows: Vec<Target> = rows.iter().map(|(concept, assured, date)| target(*concept, *assured, *date)).collect();
        let got = match choose(&rows) {
            Choice::One(target) => format!("{}", target.concept.unwrap_or_default()),
            Choice::Several(all) => {
                all.iter().map(|it| it.concept.unwrap_or_default().to_string()).collect::<Vec<_>>().join(" or ")
            }
            Choice::NoConcept => "no concept".into(),
            Choice::Unknown => "unknown".into(),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn assured_then_newest_and_no_guess() {
        check(&[], "unknown");
        check(&[(0, true, 20_200_401)], "no concept");
        check(&[(1, false, 20_200_401)], "1");
        check(&[(1, true, 20_100_401), (2, false, 20_200_401)], "1");
        check(&[(1, true, 20_100_401), (2, true, 20_200_401)], "2");
        check(&[(1, true, 20_200_401), (2, true, 20_200_401)], "1 or 2");
        check(&[(2, true, 20_200_401), (2, true, 20_200_401)], "2");
        check(&[(0, true, 20_200_401), (3, false, 20_100_401)], "3");
    }

    #[test]
    fn the_newest_row_of_a_map_counts() {
        let text = "MapId\tReadCode\tTermCode\tConceptId\tDescriptionId\tIS_ASSURED\tEffectiveDate\tMapStatus\r\n\
            {a}\tC154.\t00\t138875005\t\t1\t20100401\t1\r\n\
            {a}\tC154.\t00\t116680003\t\t1\t20200401\t1\r\n\
            {b}\tC154.\t11\t138875005\t\t1\t20100401\t1\r\n\
            {b}\tC154.\t11\t138875005\t\t1\t20150401\t0\r\n\
            {c}\t44I4.\t00\t363732003\t\t0\t20100401\t1\r\n\
            {e}\tG30..\t00\t138875005\t\t1\t20200401\t1\r\n\
            {e}\tG30..\t00\t116680003\t\t1\t20200401\t1\r\n\
            {f}\tH33..\t00\t138875005\t\t1\t20200401\t1\r\n\
            {f}\tH33..\t00\t138875005\t\t1\t20200401\t0\r\n\
            {d}\tx\t00\t363732004\t\t0\t20100401\t1\r\n";
        let (mut draft, mut mistakes) = (Draft::default(), Mistakes::default());
        draft.read_v2(&mut text.as_bytes(), "rcsctmap2_uk.txt", &mut mistakes);
        assert!(
            mistakes.to_string().starts_with("rcsctmap2_uk.txt:11: `363732004` is no SNOMED CT identifier"),
            "{mistakes}"
        );
        let (rows, counts) = newest(draft.maps);
        let told: Vec<String> =
            rows.iter().map(|row| format!("{} {} {:?}", row.code, row.term, row.target.concept)).collect();
        assert_eq!(told, ["C154. 00 Some(116680003)", "44I4. 00 Some(363732003)", "G30.. 00 None"]);
        assert_eq!(counts[&ReadSystem::V2], Counts { rows: 9, latest: 5, active: 3, assured: 2 });
    }

    #[test]
    fn the_term_that_was_asked_for_goes_first() {
        let rows = || {
            let one = |term: &str, concept| (term.to_owned(), target(concept, true, 20_200_401));
            vec![one("00", 1), one("11", 2), one("12", 3)]
        };
        let chosen = |term| match choose_term(ReadSystem::V2, rows(), term) {
            Choice::One(target) => target.concept,
            _ => None,
        };
        assert_eq!(chosen(None), Some(1));
        assert_eq!(chosen(Some("11")), Some(2));
        // A term that the table does not have: the three disagree, and nothing is chosen.
        assert_eq!(chosen(Some("99")), None);
    }
}
