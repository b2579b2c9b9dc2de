//! An agreement as a TOML file. Every mistake in every file is told at once, with file, key and line.

use super::{Agreement, Paper, Party, PartyRole, Purpose, Signature};
use event::{Kind, Micros};
use serde::{Deserialize, Serializer};
use settings::{Document, Mistake};
use std::{collections::BTreeSet, fmt};

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
    version: u32,
    #[serde(default)]
    draft: bool,
    disclose: Vec<String>,
    receive: Vec<String>,
    kinds: Vec<String>,
    purpose: String,
    from: String,
    until: String,
    review: String,
    retention: String,
    incidents: Vec<String>,
    #[serde(default)]
    break_glass_overrides_objection: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenParty {
    organisation: String,
    role: String,
    name: String,
    contact: String,
    duties: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSignature {
    organisation: String,
    name: String,
    version: u32,
    on: String,
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
    let written = document.section::<Written>("agreement");
    let parties: Vec<WrittenParty> = document.sections("party");
    let signatures: Vec<WrittenSignature> = document.sections("signature");
    let Some(written) = written else {
        return Err(document.finish().err().map(|mistakes| mistakes.0).unwrap_or_default());
    };
    let agreement = terms(written, &mut document);
    let parties = named(parties, &agreement, &mut document);
    let signatures = signed(signatures, &agreement, &mut document);
    let agreement = Agreement { paper: Paper { parties, signatures, ..agreement.paper }, ..agreement };
    let unsigned = agreement.unsigned();
    if !agreement.draft && !unsigned.is_empty() {
        let who = unsigned.into_iter().collect::<Vec<_>>().join(", ");
        let what = format!(
            "{who} has not signed version {}: add a [[signature]], or say draft = true until all have signed",
            agreement.version
        );
        document.mistake("agreement", 0, "version", what);
    }
    document.finish().map_err(|mistakes| mistakes.0)?;
    Ok(agreement)
}

fn terms(written: Written, document: &mut Document) -> Agreement {
    let mut wrong = |key: &str, what: String| document.mistake("agreement", 0, key, what);
    for (key, value) in [("id", &written.id), ("title", &written.title), ("retention", &written.retention)] {
        if value.trim().is_empty() {
            wrong(key, "must not be empty".into());
        }
    }
    for (key, list) in [
        ("disclose", &written.disclose),
        ("receive", &written.receive),
        ("kinds", &written.kinds),
        ("incidents", &written.incidents),
    ] {
        if list.is_empty() || list.iter().any(|one| one.trim().is_empty()) {
            wrong(key, "must name at least one".into());
        }
    }
    if written.version == 0 {
        wrong("version", "versions are counted from 1".into());
    }
    let purpose = Purpose::parse(&written.purpose);
    if purpose.is_none() {
        let known: Vec<&str> = Purpose::ALL.iter().map(|purpose| purpose.as_str()).collect();
        wrong("purpose", format!("`{}` is not a purpose; there are {}", written.purpose, known.join(", ")));
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
    let review = date("review", &written.review, false);
    if from != 0 && until != 0 && until <= from {
        wrong("until", "lies before `from`".into());
    } else if review != 0 && until != 0 && review >= until {
        wrong("review", "lies after `until`: look at it again while it holds".into());
    }
    Agreement {
        id: written.id,
        title: written.title,
        version: written.version,
        draft: written.draft,
        purpose: purpose.unwrap_or_default(),
        disclose: written.disclose.into_iter().collect(),
        receive: written.receive.into_iter().collect(),
        kinds,
        from,
        until,
        break_glass_overrides_objection: written.break_glass_overrides_objection,
        paper: Paper {
            review: written.review,
            first_day: written.from,
            last_day: written.until,
            retention: written.retention,
            incidents: written.incidents,
            ..Paper::default()
        },
    }
}

/// Every organisation has a controller and a Caldicott guardian, and somebody answers for clinical safety.
fn named(written: Vec<WrittenParty>, agreement: &Agreement, document: &mut Document) -> Vec<Party> {
    let mut parties = Vec::new();
    for (index, party) in written.into_iter().enumerate() {
        let mut wrong = |key: &str, what: String| document.mistake("party", index, key, what);
        let role = PartyRole::ALL.into_iter().find(|role| role.as_str() == party.role);
        if role.is_none() {
            let known: Vec<&str> = PartyRole::ALL.iter().map(|role| role.as_str()).collect();
            wrong("role", format!("`{}` is not a role; there are {}", party.role, known.join(", ")));
        }
        for (key, value) in [("name", &party.name), ("contact", &party.contact)] {
            if value.trim().is_empty() {
                wrong(key, "must not be empty".into());
            }
        }
        let known = agreement.disclose.contains(&party.organisation) || agreement.receive.contains(&party.organisation);
        if !known && role != Some(PartyRole::Processor) {
            let what = format!("`{}` neither discloses nor receives anything here", party.organisation);
            wrong("organisation", what);
        }
        let WrittenParty { organisation, name, contact, duties, .. } = party;
        parties.extend(role.map(|role| Party { organisation, role, name, contact, duties }));
    }
    let has = |role: PartyRole, organisation: Option<&str>| {
        parties.iter().any(|party| party.role == role && organisation.is_none_or(|of| party.organisation == of))
    };
    for organisation in agreement.disclose.union(&agreement.receive) {
        for role in [PartyRole::Controller, PartyRole::CaldicottGuardian] {
            if !has(role, Some(organisation)) {
                let what = format!("{organisation} names no {}: add a [[party]]", role.as_str());
                document.mistake("agreement", 0, "", what);
            }
        }
    }
    if !has(PartyRole::SafetyOfficer, None) {
        document.mistake("agreement", 0, "", "no safety-officer is named: add a [[party]]");
    }
    parties
}

fn signed(written: Vec<WrittenSignature>, agreement: &Agreement, document: &mut Document) -> Vec<Signature> {
    let mut signatures = Vec::new();
    for (index, one) in written.into_iter().enumerate() {
        let mut wrong = |key: &str, what: String| document.mistake("signature", index, key, what);
        if !agreement.disclose.contains(&one.organisation) && !agreement.receive.contains(&one.organisation) {
            wrong("organisation", format!("`{}` neither discloses nor receives anything here", one.organisation));
        }
        if one.name.trim().is_empty() {
            wrong("name", "must not be empty".into());
        }
        if one.version > agreement.version {
            wrong("version", format!("there is no version {} yet", one.version));
        }
        if day(&one.on, false).is_none() {
            wrong("on", format!("`{}` is not a date like 2026-01-31", one.on));
        }
        let WrittenSignature { organisation, name, version, on } = one;
        signatures.push(Signature { organisation, name, version, on });
    }
    signatures
}

/// The day's first instant (UTC), or the next day's.
pub fn day(text: &str, next: bool) -> Option<Micros> {
    let date: jiff::civil::Date = text.parse().ok()?;
    let date = if next { date.tomorrow().ok()? } else { date };
    Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

pub(super) fn kinds<S: Serializer>(kinds: &BTreeSet<Kind>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(kinds.iter().map(|kind| kind.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEOPLE: &str = "[[party]]\norganisation = 'X'\nrole = 'controller'\nname = 'A'\ncontact = 'a@x'\n\
        [[party]]\norganisation = 'X'\nrole = 'caldicott-guardian'\nname = 'B'\ncontact = 'b@x'\n\
        [[party]]\norganisation = 'Y'\nrole = 'controller'\nname = 'C'\ncontact = 'c@y'\n\
        [[party]]\norganisation = 'Y'\nrole = 'caldicott-guardian'\nname = 'D'\ncontact = 'd@y'\n\
        [[party]]\norganisation = 'Y'\nrole = 'safety-officer'\nname = 'E'\ncontact = 'e@y'\n";
    const TERMS: &str = "[agreement]\nid = 'a'\ntitle = 't'\nversion = 2\ndisclose = ['X']\nreceive = ['Y']\n\
        kinds = ['observation']\npurpose = 'direct-care'\nfrom = '2026-01-01'\nuntil = '2026-12-31'\n\
        review = '2026-06-30'\nretention = '8 years'\nincidents = ['ig@x']\n";
    const SIGNED: &str = "[[signature]]\norganisation = 'X'\nname = 'A'\nversion = 2\non = '2025-12-01'\n\
        [[signature]]\norganisation = 'Y'\nname = 'C'\nversion = 2\non = '2025-12-02'\n";

    fn good() -> String {
        format!("{TERMS}{PEOPLE}{SIGNED}")
    }

    fn told(files: &[(&str, &str)]) -> Vec<String> {
        parse(files.iter().copied()).expect_err("mistakes").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_mistake_is_told_with_file_key_and_line() {
        let good = good();
        let bad = good
            .replace("title = 't'", "title = ' '")
            .replace("disclose = ['X']", "disclose = []")
            .replace("kinds = ['observation']", "kinds = ['observations']")
            .replace("'direct-care'", "'curiosity'")
            .replace("'2026-01-01'", "'2026-13-01'")
            .replace("role = 'safety-officer'", "role = 'boss'")
            .replace("id = 'a'", "id = 'b'");
        let told = told(&[
            ("good.toml", &good),
            ("bad.toml", &bad),
            ("again.toml", &good),
            ("unread.toml", "[agreement]\nid = 7\nkind = ['observation']\n"),
        ]);
        let all: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        let kinds = format!(
            "bad.toml: line 7: agreement.kinds: `observations` is not a kind of record; there are {}",
            all.join(", ")
        );
        for want in [
            "bad.toml: line 3: agreement.title: must not be empty",
            "bad.toml: line 5: agreement.disclose: must name at least one",
            kinds.as_str(),
            "bad.toml: line 8: agreement.purpose: `curiosity` is not a purpose; there are direct-care, planning, research",
            "bad.toml: line 9: agreement.from: `2026-13-01` is not a date like 2026-01-31",
            "bad.toml: line 36: party.role: `boss` is not a role; there are controller, processor, caldicott-guardian, safety-officer",
            "bad.toml: line 15: party.organisation: `X` neither discloses nor receives anything here",
            "bad.toml: line 1: agreement: no safety-officer is named: add a [[party]]",
            "again.toml: agreement.id: another file already has the agreement `a`",
            "unread.toml: line 2: agreement.id: invalid type: integer `7`, expected a string",
            "unread.toml: line 1: agreement.title: missing field",
        ] {
            assert!(told.iter().any(|line| line == want), "{want} is not in {told:#?}");
        }
        assert!(!told.iter().any(|line| line.starts_with("good.toml")));
    }

    #[test]
    fn who_has_not_signed_this_version_has_not_signed() {
        let unsigned = good().replace("name = 'C'\nversion = 2", "name = 'C'\nversion = 1");
        assert_eq!(
            told(&[("a.toml", &unsigned)]),
            [
                "a.toml: line 4: agreement.version: Y has not signed version 2: add a [[signature]], or say draft = true until \
              all have signed"
            ]
        );
        let draft = unsigned.replace("version = 2\ndisclose", "version = 2\ndraft = true\ndisclose");
        let draft = &parse([("a.toml", draft.as_str())]).expect("a draft may lack signatures")[0];
        let noon = day("2026-06-01", false).expect("a day");
        assert!(!draft.covers("X", &BTreeSet::from(["Y"]), Kind::Observation, Purpose::DirectCare, noon));
        let early = good().replace("version = 2\non = '2025-12-02'", "version = 3\non = '2025-12-02'");
        assert!(told(&[("a.toml", &early)]).iter().any(|line| line.contains("there is no version 3 yet")));
    }

    #[test]
    fn each_organisation_names_who_answers() {
        for (who, role) in [("X", "controller"), ("X", "caldicott-guardian"), ("Y", "controller")] {
            let party = format!("[[party]]\norganisation = '{who}'\nrole = '{role}'");
            let processor = format!("[[party]]\norganisation = '{who}'\nrole = 'processor'");
            let text = good().replace(&party, &processor);
            let want = format!("a.toml: line 1: agreement: {who} names no {role}: add a [[party]]");
            assert_eq!(told(&[("a.toml", &text)]), [want]);
        }
    }

    #[test]
    fn the_sites_own_agreements_are_right() {
        let files = [
            ("riverside-to-stmarys.toml", include_str!("../../../../site/agreements/riverside-to-stmarys.toml")),
            ("stmarys-to-riverside.toml", include_str!("../../../../site/agreements/stmarys-to-riverside.toml")),
            (
                "temple-sowerby-to-stmarys.toml",
                include_str!("../../../../site/agreements/temple-sowerby-to-stmarys.toml"),
            ),
        ];
        assert_eq!(parse(files).map(|agreements| agreements.len()), Ok(3));
    }

    #[test]
    fn the_last_day_is_covered_and_the_next_is_not() {
        let text = good();
        let agreement = &parse([("a.toml", text.as_str())]).expect("right")[0];
        let at = |text: &str| text.parse::<jiff::Timestamp>().expect("a time").as_microsecond();
        let readers = BTreeSet::from(["Y"]);
        for (time, purpose, covered) in [
            ("2025-12-31T23:59:59.999999Z", Purpose::DirectCare, false),
            ("2026-01-01T00:00:00Z", Purpose::DirectCare, true),
            ("2026-12-31T23:59:59.999999Z", Purpose::DirectCare, true),
            ("2027-01-01T00:00:00Z", Purpose::DirectCare, false),
            ("2026-06-01T00:00:00Z", Purpose::Research, false),
            ("2026-06-01T00:00:00Z", Purpose::Planning, false),
        ] {
            assert_eq!(
                agreement.covers("X", &readers, Kind::Observation, purpose, at(time)),
                covered,
                "{time} {purpose:?}"
            );
        }
    }
}
