//! `causeway labs`: the lab table, and what a site adds to it.

use crate::output::{self, Format};
use boot::settings::{Document, Mistakes};
use coding::{
    System,
    lab::{
        Analyte, Lab,
        site::{self, Additions},
    },
};
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

#[derive(clap::Subcommand)]
pub enum Verb {
    /// Tell the analytes that results are known by, with their units, codes and families.
    List {
        /// Only those whose name has all of these words, in any case of letters.
        words: Vec<String>,
        /// Only the one that this code names, in whatever system.
        #[arg(long)]
        code: Option<String>,
        /// Only those of this family.
        #[arg(long)]
        family: Option<String>,
        /// A file of the site's own (the settings' `site.labs`), read beside the table.
        #[arg(long)]
        labs: Option<PathBuf>,
    },
    /// Tell every mistake in a site's own file, with line and key.
    Check {
        /// The settings' `site.labs`.
        file: PathBuf,
    },
}

pub fn run(verb: Verb, format: Format) -> anyhow::Result<()> {
    match verb {
        Verb::List { words, code, family, labs } => {
            let lab = labs.as_deref().map_or_else(|| Ok(Lab::shipped()), read);
            let lab = lab.map_err(|mistakes| anyhow::anyhow!(mistakes.join("\n")))?;
            list(&lab, &Wanted { words, code, family }, format)
        }
        Verb::Check { file } => check(&file, format),
    }
}

struct Wanted {
    words: Vec<String>,
    code: Option<String>,
    family: Option<String>,
}

impl Wanted {
    fn has(&self, lab: &Lab, analyte: &Analyte) -> bool {
        let names = analyte.members.iter().map(|member| member.text.as_str()).chain([analyte.key.as_str()]);
        let names = names.collect::<Vec<_>>().join(" ").to_lowercase();
        let by_code = |code: &String| {
            let found = System::NAMES.iter().filter_map(|(_, system)| lab.find(*system, code));
            let own = lab.own_codes().filter(|(_, _, own, _)| own == code).map(|(.., key)| key);
            found.map(|found| found.analyte.key.as_str()).chain(own).any(|key| key == analyte.key)
        };
        self.words.iter().all(|word| names.contains(&word.to_lowercase()))
            && self.code.as_ref().is_none_or(by_code)
            && self.family.as_ref().is_none_or(|family| analyte.family.as_ref() == Some(family))
    }
}

#[derive(Serialize)]
struct Row<'a> {
    analyte: &'a str,
    name: &'a str,
    family: Option<&'a str>,
    unit: &'a str,
    units: Vec<&'a str>,
    decimals: Option<u32>,
    low: Option<String>,
    high: Option<String>,
    plausible_by: &'a str,
    specimen: &'a str,
    left: Option<&'a str>,
    members: Vec<Codes<'a>>,
}

/// Codes that mean one thing.
#[derive(Serialize)]
struct Codes<'a> {
    name: &'a str,
    read_v2: &'a [String],
    snomed: &'a [String],
    loinc: &'a [String],
    seen_in: &'a str,
}

fn list(lab: &Lab, wanted: &Wanted, format: Format) -> anyhow::Result<()> {
    let rows: Vec<Row<'_>> = lab.analytes().iter().filter(|analyte| wanted.has(lab, analyte)).map(row).collect();
    output::rows(format, &["ANALYTE", "NAME", "FAMILY", "IN", "READ IN", "CODES"], &rows, |row| {
        let codes: usize = row.members.iter().map(|it| it.read_v2.len() + it.snomed.len() + it.loinc.len()).sum();
        let family = row.family.unwrap_or_default();
        let cells = [row.analyte, row.name, family, row.unit, &row.units.join(", ")].map(str::to_owned);
        cells.into_iter().chain([codes.to_string()]).collect()
    })
}

fn row(analyte: &Analyte) -> Row<'_> {
    let members = analyte.members.iter().map(|member| Codes {
        name: &member.text,
        read_v2: &member.read,
        snomed: &member.snomed,
        loinc: &member.loinc,
        seen_in: &member.seen_in,
    });
    Row {
        analyte: &analyte.key,
        name: analyte.text(),
        family: analyte.family.as_deref(),
        unit: &analyte.unit,
        units: analyte.units.written.iter().map(|(unit, _)| unit.as_str()).collect(),
        decimals: analyte.decimals,
        low: analyte.plausible.low.map(|low| low.to_string()),
        high: analyte.plausible.high.map(|high| high.to_string()),
        plausible_by: &analyte.plausible.by,
        specimen: &analyte.specimen,
        left: analyte.left.as_deref(),
        members: members.collect(),
    }
}

#[derive(Serialize)]
struct Checked {
    file: String,
    mistakes: Vec<String>,
    release: Option<String>,
}

fn check(file: &Path, format: Format) -> anyhow::Result<()> {
    let (mistakes, release) = match read(file) {
        Ok(lab) => (Vec::new(), Some(lab.release().to_owned())),
        Err(mistakes) => (mistakes, None),
    };
    let checked = Checked { file: file.display().to_string(), mistakes, release };
    output::one(format, &checked, |it| match &it.release {
        Some(release) => format!("{}: good ({release})", it.file),
        None => it.mistakes.join("\n"),
    })?;
    anyhow::ensure!(checked.mistakes.is_empty(), "{} mistake(s) in {}", checked.mistakes.len(), checked.file);
    Ok(())
}

/// The table that is shipped with what the file adds. Every mistake with file, line and key.
pub fn read(file: &Path) -> Result<Arc<Lab>, Vec<String>> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| vec![format!("cannot read {name}: {error}")])?;
    parse(&text).map_err(|Mistakes(mistakes)| mistakes.iter().map(|mistake| format!("{name}: {mistake}")).collect())
}

fn parse(text: &str) -> Result<Arc<Lab>, Mistakes> {
    let mut document = Document::parse(text, std::iter::empty())?;
    let additions = Additions {
        analytes: document.every_section("analyte"),
        codes: document.every_section("code"),
        units: document.every_section("unit"),
    };
    let lab = site::with(&Lab::shipped(), &additions);
    for mistake in lab.as_ref().err().into_iter().flatten() {
        document.mistake(mistake.section, mistake.index, mistake.key, mistake.what.clone());
    }
    document.finish()?;
    lab.map_err(|_| Mistakes(Vec::new()))
}

/// `Fasting glucose (Read v2 44T2., LOINC 14771-0); …`
pub fn codes(analyte: &Analyte) -> String {
    let coded = analyte.members.iter().filter(|member| member.codes().next().is_some());
    let members = coded.map(|member| {
        let systems = [("Read v2", &member.read), ("SNOMED CT", &member.snomed), ("LOINC", &member.loinc)];
        let written = systems.iter().filter(|(_, codes)| !codes.is_empty());
        let written: Vec<String> = written.map(|(system, codes)| format!("{system} {}", codes.join(" "))).collect();
        format!("{} ({})", member.text, written.join(", "))
    });
    members.collect::<Vec<_>>().join("; ")
}

/// `; at stmarys: local K1`, of the codes that count at one source alone.
pub fn own_codes(lab: &Lab, key: &str) -> String {
    let own = lab.own_codes().filter(|(.., of)| *of == key);
    own.map(|(source, system, code, _)| format!("; at {source}: {} {code}", system.name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: &str = r#"
[[code]]
analyte = "potassium"
system = "local"
code = "K1"
source = "stmarys"

[[unit]]
analyte = "potassium"
unit = "millimol/L"
factor = "1"
"#;

    #[test]
    fn a_sites_own_codes_are_found_and_told() {
        let lab = parse(SITE).expect("good");
        let wanted = |words: &[&str], code: Option<&str>, family: Option<&str>| Wanted {
            words: words.iter().map(|&word| word.to_owned()).collect(),
            code: code.map(str::to_owned),
            family: family.map(str::to_owned),
        };
        let told = |wanted: Wanted| {
            let all = lab.analytes().iter().filter(|analyte| wanted.has(&lab, analyte));
            all.map(|analyte| analyte.key.as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(wanted(&[], Some("K1"), None)), "potassium");
        assert_eq!(told(wanted(&[], Some("44I4"), None)), "potassium");
        assert_eq!(told(wanted(&["POTASSIUM", "urine"], None, None)), "urine-potassium");
        assert_eq!(told(wanted(&[], None, Some("blood-glucose"))), "glucose glucose-2h");
        assert_eq!(told(wanted(&[], Some("nothing"), None)), "");
        assert_eq!(told(wanted(&[], None, None)).split(' ').count(), lab.analytes().len());
        assert_eq!(own_codes(&lab, "potassium"), "; at stmarys: local K1");
        assert!(codes(lab.analyte("potassium").expect("an analyte")).starts_with("Potassium (Read v2 44I4., "));
        assert!(lab.own_sources().eq(["stmarys"]));
    }

    #[test]
    fn mistakes_come_all_at_once_with_line_and_key() {
        let text = SITE
            .replace("\"local\"", "\"icd\"")
            .replace("factor = \"1\"", "factor = \"one\"")
            .replace("[[unit]]", "[[colour]]\nred = 1\n[[unit]]");
        let told: Vec<String> = parse(&text).expect_err("mistakes").0.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("line 4: code.system: `icd` is not known"), "{told:?}");
        assert!(told[1].contains("colour"), "{told:?}");
        assert!(told[2].starts_with("line 13: unit.factor: `one` is no factor"), "{told:?}");
    }
}
