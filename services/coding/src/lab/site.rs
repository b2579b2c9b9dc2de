//! What a site adds to the table: analytes, codes and units of its own.
//!
//! # Why
//! A code of the table cannot be given another meaning for everybody: it would be silent where it paged. But a laboratory may
//! use a code for another test, so a code that names a `source` counts there alone, and there before all others of its row.

use super::{Analyte, Codes, Lab, Member, Plausible, index};
use crate::{System, read, specimen, units};
use rust_decimal::Decimal;
use serde::Deserialize;
use std::sync::Arc;
use terminology::{loinc, sctid};

pub const ANALYTES_MAX: usize = 1_000;
pub const CODES_MAX: usize = 10_000;
pub const UNITS_MAX: usize = 5_000;
const DECIMALS_MAX: u32 = 6;

/// `[[analyte]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewAnalyte {
    pub analyte: String,
    pub name: String,
    /// UCUM.
    pub unit: String,
    /// As in the table: `mmol/L;mM=1|mg/dL=0.1665`. Without it, the unit alone is read.
    pub units: Option<String>,
    pub family: Option<String>,
    pub decimals: Option<u32>,
    pub low: Option<Decimal>,
    pub high: Option<Decimal>,
    pub specimen: Option<String>,
}

/// `[[code]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewCode {
    pub analyte: String,
    pub system: String,
    pub code: String,
    pub name: Option<String>,
    /// It counts at this source alone.
    pub source: Option<String>,
}

/// `[[unit]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUnit {
    pub analyte: String,
    pub unit: String,
    /// To the analyte's own unit: `1`, a decimal number, or `wrong`.
    pub factor: String,
}

#[derive(Clone, Debug, Default)]
pub struct Additions {
    /// In their places in the file; none of one that could not be read.
    pub analytes: Vec<Option<NewAnalyte>>,
    pub codes: Vec<Option<NewCode>>,
    pub units: Vec<Option<NewUnit>>,
}

impl Additions {
    /// Names of the sources that codes are of.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.codes.iter().flatten().filter_map(|code| code.source.as_deref())
    }
}

/// What is wrong with the `index`-th `[[section]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub section: &'static str,
    pub index: usize,
    pub key: &'static str,
    pub what: String,
}

struct Report(Vec<Mistake>);

impl Report {
    fn tell(&mut self, section: &'static str, index: usize, key: &'static str, what: impl Into<String>) {
        self.0.push(Mistake { section, index, key, what: what.into() });
    }
}

/// The table with what the site adds. All mistakes at once.
pub fn with(base: &Arc<Lab>, additions: &Additions) -> Result<Arc<Lab>, Vec<Mistake>> {
    let Additions { analytes, codes, units } = additions;
    let mut report = Report(Vec::new());
    for (section, have, max) in
        [("analyte", analytes.len(), ANALYTES_MAX), ("code", codes.len(), CODES_MAX), ("unit", units.len(), UNITS_MAX)]
    {
        if have > max {
            report.tell(section, 0, "", format!("there are more than {max}"));
        }
    }
    let mut all = base.analytes.clone();
    for (at, new) in analytes.iter().enumerate().filter_map(|(at, new)| Some((at, new.as_ref()?))) {
        if let Some(analyte) = analyte(&all, at, new, &mut report) {
            all.push(analyte);
        }
    }
    for (at, new) in units.iter().enumerate().filter_map(|(at, new)| Some((at, new.as_ref()?))) {
        unit(&mut all, at, new, &mut report);
    }
    let mut own = Vec::new();
    for (at, new) in codes.iter().enumerate().filter_map(|(at, new)| Some((at, new.as_ref()?))) {
        own.extend(code(&mut all, at, new, &mut report));
    }
    let empty = analytes.is_empty() && codes.is_empty() && units.is_empty();
    if !report.0.is_empty() || empty {
        return if empty { Ok(base.clone()) } else { Err(report.0) };
    }
    // Of what is said, not of the file: a comment changes nothing.
    let said = xxhash_rust::xxh3::xxh3_64(format!("{additions:?}").as_bytes());
    let mut lab = Lab::of(all, base.digest.rotate_left(7) ^ said);
    lab.release = format!("{} and site {:08x}", base.release, said >> 32);
    for Own { source, system, code, place } in own {
        let codes: &mut Codes<{ System::NAMES.len() }> = lab.own.entry(source).or_default();
        codes[index(system)].insert(code, place);
    }
    Ok(Arc::new(lab))
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn analyte(all: &[Analyte], at: usize, new: &NewAnalyte, report: &mut Report) -> Option<Analyte> {
    let before = report.0.len();
    let mut wrong = |key: &'static str, what: String| report.tell("analyte", at, key, what);
    let key = &new.analyte;
    if !is_key(key) {
        wrong("analyte", format!("`{key}` is no name of an analyte: small letters, digits and dashes"));
    }
    if all.iter().any(|known| known.key == *key || known.family.as_ref() == Some(key)) {
        wrong("analyte", format!("`{key}` is known already: add codes and units to it"));
    }
    if new.name.trim().is_empty() {
        wrong("name", "must not be empty".to_owned());
    }
    if ucum::validate(&new.unit).is_err() {
        wrong("unit", format!("`{}` is no UCUM unit", new.unit));
    }
    let units = units::Units::parse(new.units.as_deref().unwrap_or(&format!("{}=1", new.unit)));
    match &units {
        Err(what) => wrong("units", what.clone()),
        Ok(units) if units.find(&new.unit) != Some(units::Conversion::Same) => {
            wrong("units", format!("`{}` itself must be among them, with the factor 1", new.unit));
        }
        Ok(_) => {}
    }
    if let Some(family) = &new.family {
        let theirs = all.iter().find(|known| known.family.as_ref() == Some(family)).map(|known| &known.unit);
        if !is_key(family) || family == key || all.iter().any(|known| known.key == *family) {
            wrong(
                "family",
                format!("`{family}` is no name of a family: small letters, digits and dashes, and no analyte's"),
            );
        } else if theirs.is_some_and(|unit| *unit != new.unit) {
            wrong("family", format!("`{family}` is in {}", theirs.map_or("", |unit| unit)));
        }
    }
    if new.decimals.is_some_and(|decimals| decimals > DECIMALS_MAX) {
        wrong("decimals", format!("must not exceed {DECIMALS_MAX}"));
    }
    if let (Some(low), Some(high)) = (new.low, new.high)
        && low >= high
    {
        wrong("low", "must be below high".to_owned());
    }
    if let Some(specimen) = &new.specimen
        && !specimen::names().any(|known| known == specimen)
    {
        let known: Vec<&str> = specimen::names().collect();
        wrong("specimen", format!("`{specimen}` is not known; there are {}", known.join(", ")));
    }
    let units = units.ok().filter(|_| report.0.len() == before)?;
    let by = if new.low.is_some() || new.high.is_some() { "the site" } else { "none" };
    Some(Analyte {
        key: key.clone(),
        family: new.family.clone(),
        unit: new.unit.clone(),
        decimals: new.decimals,
        units,
        plausible: Plausible { low: new.low, high: new.high, by: by.to_owned() },
        specimen: new.specimen.clone().unwrap_or_default(),
        left: None,
        members: vec![Member { text: new.name.clone(), seen_in: "site".to_owned(), ..Member::default() }],
    })
}

fn find(all: &[Analyte], section: &'static str, at: usize, key: &str, report: &mut Report) -> Option<usize> {
    let found = all.iter().position(|analyte| analyte.key == key);
    if found.is_none() {
        report.tell(section, at, "analyte", format!("no analyte is called `{key}`; `causeway labs list` tells them"));
    }
    found
}

fn unit(all: &mut [Analyte], at: usize, new: &NewUnit, report: &mut Report) {
    let Some(analyte) = find(all, "unit", at, &new.analyte, report) else { return };
    match units::conversion(&new.factor) {
        Err(what) => report.tell("unit", at, "factor", what),
        Ok(conversion) => {
            if let Err(what) = all[analyte].units.add(&new.unit, conversion) {
                report.tell("unit", at, "unit", what);
            }
        }
    }
}

/// A code that counts at one source.
struct Own {
    source: String,
    system: System,
    code: String,
    place: (usize, usize),
}

fn code(all: &mut [Analyte], at: usize, new: &NewCode, report: &mut Report) -> Option<Own> {
    let before = report.0.len();
    let analyte = find(all, "code", at, &new.analyte, report);
    let Some(system) = System::parse(&new.system) else {
        let known: Vec<&str> = System::NAMES.iter().map(|(name, _)| *name).collect();
        report.tell("code", at, "system", format!("`{}` is not known; there are {}", new.system, known.join(", ")));
        return None;
    };
    let code =
        if system == System::ReadV2 { (*read::normal(&new.code)).to_owned() } else { new.code.trim().to_owned() };
    let good = match system {
        System::ReadV2 | System::Ctv3 | System::Local => !new.code.trim().is_empty(),
        System::Snomed | System::Dmd => sctid::is_concept(&code),
        System::Loinc => loinc::is_code(&code),
    };
    if !good {
        report.tell("code", at, "code", format!("`{code}` is no code of {}: its check digit is wrong", new.system));
    }
    let elsewhere =
        all.iter().find(|known| known.codes().any(|known| known == (system, code.as_str()))).map(|known| &known.key);
    match (&new.source, elsewhere) {
        (None, _) if matches!(system, System::Local | System::Dmd | System::Ctv3) => {
            report.tell("code", at, "source", format!("is missing: a {} code counts at one source alone", new.system));
        }
        (None, Some(key)) => {
            let what =
                format!("`{code}` is of `{key}`; where a laboratory uses it for another test, name its `source`");
            report.tell("code", at, "code", what);
        }
        _ => {}
    }
    let analyte = analyte.filter(|_| report.0.len() == before)?;
    let name = new.name.clone().unwrap_or_else(|| all[analyte].text().to_owned());
    let mut member = Member { text: name, seen_in: "site".to_owned(), ..Member::default() };
    if new.source.is_none() {
        match system {
            System::ReadV2 => member.read.push(code.clone()),
            System::Snomed => member.snomed.push(code.clone()),
            System::Loinc => member.loinc.push(code.clone()),
            System::Dmd | System::Ctv3 | System::Local => {}
        }
    }
    all[analyte].members.push(member);
    let place = (analyte, all[analyte].members.len() - 1);
    new.source.clone().map(|source| Own { source, system, code, place })
}

#[cfg(test)]
mod tests;
