//! `alerts.toml`: what raises an alert at this site, as data.
use crate::{
    egfr::Egfr,
    facts::{Finding, Setting, Sex},
    rules::{
        adrenal::Adrenal,
        aki::Aki,
        delta::{DELTAS_MAX, Delta},
        pair::{PAIRS_MAX, Pair},
    },
};
use coding::{lab::Lab, units};
use medicine::Ingredients;
use rust_decimal::Decimal;
use serde::Deserialize;
use std::sync::{Arc, LazyLock};
use terminology::{Release, sets::ConceptSets};

pub const LIMITS_MAX: usize = 1_000;
/// Units that one limit is defined in.
pub const REPORTED_MAX: usize = 10;
/// Kinds of doubt, and words of each.
pub const DOUBTS_MAX: usize = 100;

static SHIPPED: LazyLock<Result<Arc<Ingredients>, Vec<String>>> =
    LazyLock::new(|| Ingredients::shipped().map(Arc::new));

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub window_hours: u32,
    pub late_after_minutes: u32,
    /// What its source had in the window and we only learn of after it is listed, up to so many hours after its time.
    #[serde(default = "catch_up_hours")]
    pub catch_up_hours: u32,
    pub future_tolerance_minutes: u32,
    pub critical_flags: Vec<String>,
    #[serde(default)]
    pub limit: Vec<Limit>,
    /// What makes a specimen doubtful.
    #[serde(default)]
    pub doubt: Vec<Doubt>,
    /// Without signals the rule is off.
    #[serde(default)]
    pub adrenal: Adrenal,
    /// Without it the rule is off.
    pub aki: Option<Aki>,
    /// Results with medicines.
    #[serde(default)]
    pub pair: Vec<Pair>,
    /// Changes since the last result. Without one the rule is off.
    #[serde(default)]
    pub delta: Vec<Delta>,
    pub egfr: Option<Egfr>,
    /// What is known about medicines: of the document that is shipped, until the site's own is known.
    #[serde(skip)]
    pub ingredients: Arc<Ingredients>,
}

/// How long the logs of changes are kept.
const fn catch_up_hours() -> u32 {
    14 * 24
}

/// Words in a result's comment or value that make its specimen doubtful.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Doubt {
    /// `haemolysed specimen`: shown beside the result.
    pub says: String,
    /// Parts of words, in small letters.
    pub words: Vec<String>,
    /// Phrases that hold such a word and say the opposite.
    #[serde(default)]
    pub unless: Vec<String>,
}

/// The critical limits of one analyte, for an age band or for all.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    #[serde(default)]
    pub analyte: String,
    /// Of all analytes of a family, instead.
    pub family: Option<String>,
    /// UCUM; numbers in another canonical unit cannot be checked.
    pub unit: String,
    pub low: Option<Bound>,
    pub high: Option<Bound>,
    /// Years, and above.
    pub age_from: Option<u16>,
    /// Years, and not the age itself.
    pub age_below: Option<u16>,
    /// Only for this sex.
    pub sex: Option<Sex>,
    /// Only where the result is held there.
    pub setting: Option<Setting>,
    /// Where it is defined in other units, too: what was reported in one of them is judged by that.
    #[serde(default)]
    pub reported: Vec<Reported>,
}

/// A limit in a unit that results are reported in.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Reported {
    pub unit: String,
    pub low: Option<Bound>,
    pub high: Option<Bound>,
    /// How people write that unit, by the lab table.
    #[serde(skip)]
    pub written: Vec<String>,
}

impl Limit {
    /// An age that is not known is in every band.
    pub fn covers(&self, age: Option<u16>) -> bool {
        age.is_none_or(|age| {
            self.age_from.is_none_or(|from| age >= from) && self.age_below.is_none_or(|below| age < below)
        })
    }

    /// The same limit in the unit that a result was reported in, if it is defined in that.
    pub fn reported_in(&self, unit: Option<&str>) -> Option<&Reported> {
        let unit = unit?;
        let is_in = |it: &&Reported| it.written.iter().chain([&it.unit]).any(|known| units::same(known, unit));
        self.reported.iter().find(is_in)
    }

    fn bounds_mistakes(low: Option<Bound>, high: Option<Bound>, mut mistake: impl FnMut(&str)) {
        if low.is_none() && high.is_none() {
            mistake("has neither low nor high");
        }
        if low.is_some_and(|low| !low.inequality.is_low()) {
            mistake("low must be `<` or `<=`");
        }
        if high.is_some_and(|high| high.inequality.is_low()) {
            mistake("high must be `>` or `>=`");
        }
        if let (Some(low), Some(high)) = (low, high)
            && low.value >= high.value
        {
            mistake("low is not below high");
        }
    }

    /// A sex or setting that is not known is in every limit.
    pub fn is_for(&self, finding: &Finding) -> bool {
        let sex = self.sex.is_none_or(|sex| finding.sex.is_none_or(|known| known == sex));
        sex && self.setting.is_none_or(|setting| finding.setting.is_none_or(|known| known == setting))
    }

    /// `, under 16 years`, `, from 16 years, male`: for whom it holds, where that is not everybody, and what of it is not
    /// known of this patient.
    pub fn whose(&self, finding: &Finding, age: Option<u16>) -> String {
        let from = self.age_from.map(|from| format!("from {from} years"));
        let below = self.age_below.map(|below| format!("under {below} years"));
        let banded = (from.is_some() || below.is_some()) && age.is_none();
        let words = [
            from,
            below,
            self.sex.map(|sex| sex.as_str().to_owned()),
            self.setting.map(|setting| setting.as_str().to_owned()),
            banded.then(|| "age not known".to_owned()),
            (self.sex.is_some() && finding.sex.is_none()).then(|| "sex not known".to_owned()),
            (self.setting.is_some() && finding.setting.is_none()).then(|| "setting not known".to_owned()),
        ];
        words.into_iter().flatten().map(|word| format!(", {word}")).collect()
    }
}

/// Beyond what number it is so: `<= 2.5`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    pub inequality: Inequality,
    pub value: Decimal,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Inequality {
    #[serde(rename = "<")]
    Less,
    #[serde(rename = "<=")]
    LessOrEqual,
    #[serde(rename = ">=")]
    GreaterOrEqual,
    #[serde(rename = ">")]
    Greater,
}

impl Inequality {
    pub const fn is_low(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
        }
    }
}

impl Limits {
    /// All mistakes at once. Those of the TOML itself come with their line.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let mut limits: Self = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
        // Of the document that is shipped, until the site's own is known.
        let _ = limits.close(&ConceptSets::shipped(), None);
        limits.ingredients = SHIPPED.clone()?;
        let mistakes = limits.mistakes();
        if mistakes.is_empty() { Ok(limits) } else { Err(mistakes) }
    }

    /// Takes the concepts of the sets that are named; tells a set that is not there.
    pub fn close(&mut self, sets: &ConceptSets, release: Option<&Release>) -> Result<(), String> {
        self.adrenal.close(sets, release)
    }

    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.window_hours == 0 {
            mistakes.push("window_hours is 0, so nothing would ever be alerted".to_owned());
        }
        if self.limit.len() > LIMITS_MAX {
            mistakes.push(format!("more than {LIMITS_MAX} limits"));
        }
        for (index, limit) in self.limit.iter().enumerate() {
            let name = limit.family.as_ref().unwrap_or(&limit.analyte);
            let mut mistake = |what: &str| mistakes.push(format!("limit {} ({name}): {what}", index + 1));
            if name.trim().is_empty() || limit.unit.trim().is_empty() {
                mistake("analyte and unit must not be empty");
            }
            if limit.family.is_some() && !limit.analyte.is_empty() {
                mistake("names an analyte and a family: one of them");
            }
            Limit::bounds_mistakes(limit.low, limit.high, &mut mistake);
            if limit.reported.len() > REPORTED_MAX {
                mistake(&format!("is reported in more than {REPORTED_MAX} units"));
            }
            for it in &limit.reported {
                Limit::bounds_mistakes(it.low, it.high, |what| mistake(&format!("reported in {}: {what}", it.unit)));
            }
            if let (Some(from), Some(below)) = (limit.age_from, limit.age_below)
                && from >= below
            {
                mistake("no age is in the band");
            }
        }
        if self.catch_up_hours < self.window_hours {
            mistakes.push("catch_up_hours is shorter than window_hours".to_owned());
        }
        if self.doubt.len() > DOUBTS_MAX
            || self.doubt.iter().any(|doubt| doubt.words.len().max(doubt.unless.len()) > DOUBTS_MAX)
        {
            mistakes.push(format!("more than {DOUBTS_MAX} kinds of doubt, or words of one"));
        }
        for (index, doubt) in self.doubt.iter().enumerate() {
            let empty = |text: &String| text.trim().is_empty();
            if empty(&doubt.says) || doubt.words.is_empty() || doubt.words.iter().chain(&doubt.unless).any(empty) {
                mistakes.push(format!("doubt {}: says and words must not be empty", index + 1));
            }
        }
        mistakes.extend(self.adrenal.mistakes());
        mistakes.extend(self.aki.iter().flat_map(Aki::mistakes));
        mistakes.extend(self.pair.iter().flat_map(Pair::mistakes));
        mistakes.extend(self.delta.iter().flat_map(Delta::mistakes));
        if self.pair.len() > PAIRS_MAX || self.delta.len() > DELTAS_MAX {
            mistakes.push(format!("more than {PAIRS_MAX} pairs or {DELTAS_MAX} deltas"));
        }
        mistakes
    }

    /// With what the site knows about medicines: tells names of medicines that are none.
    pub fn with_medicines(mut self, ingredients: Ingredients) -> Result<Self, Vec<String>> {
        self.ingredients = Arc::new(ingredients);
        let mistakes: Vec<String> = self.pair.iter().flat_map(|pair| pair.unknown(&self.ingredients)).collect();
        if mistakes.is_empty() { Ok(self) } else { Err(mistakes) }
    }

    /// With its families as the analytes that the lab table has in them, and reported units as people write them.
    pub fn of_lab(mut self, lab: &Lab) -> Result<Self, Vec<String>> {
        let (mut limits, mut mistakes) = (Vec::new(), Vec::new());
        for (index, mut limit) in self.limit.into_iter().enumerate() {
            let keys: Vec<String> = match limit.family.take() {
                None => vec![limit.analyte.clone()],
                Some(family) => {
                    let keys: Vec<String> = lab.family(&family).map(|analyte| analyte.key.clone()).collect();
                    if keys.is_empty() {
                        mistakes.push(format!("limit {}: no analyte is of the family `{family}`", index + 1));
                    }
                    keys
                }
            };
            for analyte in keys {
                let mut limit = Limit { analyte, ..limit.clone() };
                for it in &mut limit.reported {
                    let known = lab.analyte(&limit.analyte).map(|analyte| &analyte.units);
                    let wanted = known.and_then(|units| Some((units, units.find(&it.unit)?)));
                    match wanted {
                        None => mistakes.push(format!(
                            "limit {}: {} is not read in `{}`",
                            index + 1,
                            limit.analyte,
                            it.unit
                        )),
                        Some((units, wanted)) => it.written = units.alike(wanted),
                    }
                }
                limits.push(limit);
            }
        }
        self.limit = limits;
        if mistakes.is_empty() { Ok(self) } else { Err(mistakes) }
    }

    /// Every analyte and unit that the file names, with the key it stands under.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &str, &str)> {
        let limits = self.limit.iter().map(|it| ("limit", it.analyte.as_str(), it.unit.as_str()));
        let pairs = self
            .pair
            .iter()
            .flat_map(|pair| pair.analytes.iter().map(|analyte| ("pair", analyte.as_str(), pair.unit.as_str())));
        let deltas = self.delta.iter().map(|it| ("delta", it.analyte.as_str(), it.unit.as_str()));
        let egfr = self.egfr.iter().map(|it| ("egfr", it.analyte.as_str(), it.unit.as_str()));
        let rules = self.adrenal.named().chain(self.aki.iter().flat_map(Aki::named)).chain(pairs).chain(deltas);
        limits.chain(rules).chain(egfr)
    }

    /// Analytes that have to be checked, and say so when they cannot be.
    pub fn watches(&self, analyte: &str) -> bool {
        self.limit.iter().any(|limit| limit.analyte == analyte)
    }

    /// Whether it has to be checked of this patient: limits of the under-16 alone watch no adult.
    pub fn watches_of(&self, finding: &Finding, age: Option<u16>) -> bool {
        let analyte = finding.analyte.as_deref();
        self.limit
            .iter()
            .any(|limit| Some(limit.analyte.as_str()) == analyte && limit.covers(age) && limit.is_for(finding))
    }

    pub fn is_critical(&self, flag: &str) -> bool {
        self.critical_flags.iter().any(|critical| critical.eq_ignore_ascii_case(flag.trim()))
    }

    /// What makes the specimen doubtful, if one of these texts says so.
    pub fn doubted<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Option<&str> {
        let texts: Vec<String> = texts.into_iter().map(str::to_lowercase).collect();
        self.doubt
            .iter()
            .find(|doubt| {
                texts.iter().any(|text| {
                    let left =
                        doubt.unless.iter().fold(text.clone(), |text, not| text.replace(&not.to_lowercase(), " "));
                    doubt.words.iter().any(|word| left.contains(&word.to_lowercase()))
                })
            })
            .map(|doubt| doubt.says.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use terminology::sctid::is_concept;

    const SITE: &str = include_str!("../../../site/alerts.toml");
    const SETS: &str = "concept_sets = [\"addisons-disease\", \"primary-adrenal-insufficiency\", \
                        \"adrenal-insufficiency\", \"adrenal-crisis\"]";

    #[test]
    fn the_sites_file_is_good() {
        let limits = Limits::parse(SITE).expect("the file in the repository");
        assert!(limits.watches("potassium") && limits.watches("sodium") && limits.watches("glucose"));
        assert!(limits.is_critical("hh") && !limits.is_critical("high"));
        assert_eq!(limits.adrenal.analytes().into_iter().collect::<Vec<_>>(), ["glucose", "potassium", "sodium"]);
    }

    #[test]
    fn mistakes_are_told_together() {
        let text = SITE
            .replace("low = { inequality = \"<=\", value = \"120\" }", "low = { inequality = \">=\", value = \"120\" }")
            .replace("value = \"25\"", "value = \"2\"")
            .replace("window_hours = 72", "window_hours = 0");
        let told = Limits::parse(&text).expect_err("three mistakes");
        assert_eq!(
            told,
            [
                "window_hours is 0, so nothing would ever be alerted",
                "limit 1 (sodium): low must be `<` or `<=`",
                "limit 3 (glucose): low is not below high",
            ]
        );
    }

    #[test]
    fn a_mistyped_concept_is_told() {
        // Concepts that other files of this repository and FHIR examples name.
        for known in ["363732003", "24867002", "14669001", "91936005", "14140009", "89627008", "1000651000000109"] {
            assert!(is_concept(known), "{known}");
            let bytes: Vec<u8> = known.bytes().collect();
            for place in 0..bytes.len() {
                for digit in b'0'..=b'9' {
                    let mut typed = bytes.clone();
                    typed[place] = digit;
                    let typed = String::from_utf8(typed).expect("digits");
                    assert_eq!(is_concept(&typed), typed == known, "{typed}");
                }
                let mut swapped = bytes.clone();
                swapped.swap(place, (place + 1).min(bytes.len() - 1));
                let swapped = String::from_utf8(swapped).expect("digits");
                assert_eq!(is_concept(&swapped), swapped == known, "{swapped}");
            }
        }
        assert!(!is_concept("") && !is_concept("C1541") && !is_concept("36373200３"));
        let told = Limits::parse(&SITE.replace(SETS, "snomed = [\"363732004\"]")).expect_err("a wrong check digit");
        assert_eq!(told, ["adrenal.snomed: `363732004` is no SNOMED CT identifier: its check digit is wrong"]);
    }

    #[test]
    fn the_problem_is_a_concept_set() {
        let mut limits = Limits::parse(SITE).expect("good");
        assert_eq!(limits.adrenal.snomed, ["24867002", "363732003", "373662000", "386584007", "766986002"]);
        let told = limits.close(&ConceptSets::default(), None);
        assert_eq!(told, Err("adrenal.concept_sets: there is no concept set `addisons-disease`".to_owned()));
        let none = Limits::parse(&SITE.replace(SETS, "")).expect_err("no concept");
        assert_eq!(none, ["adrenal: names no concept"]);
    }

    #[test]
    fn a_number_that_is_none_names_its_line() {
        let told = Limits::parse(&SITE.replace("\"6.5\"", "\"six\"")).expect_err("not a number");
        assert!(told[0].contains("line"), "{told:?}");
    }

    #[test]
    fn a_comment_makes_a_specimen_doubtful_unless_it_says_the_opposite() {
        let limits = Limits::parse(SITE).expect("good");
        for (text, want) in [
            ("Haemolysed", true),
            ("Sample grossly HAEMOLYSED, please repeat", true),
            ("hemolyzed +", true),
            ("marked haemolysis", true),
            ("No haemolysis seen", false),
            ("not haemolysed", false),
            ("Not haemolysed at first; second tube haemolysed", true),
            ("Known haemolytic anaemia", false),
            ("telephoned to the ward", false),
            ("", false),
        ] {
            assert_eq!(limits.doubted([text]).is_some(), want, "{text}");
        }
    }

    #[test]
    fn an_unknown_age_is_in_every_band() {
        let limit = Limit { age_from: Some(16), ..Limits::parse(SITE).expect("good").limit.remove(0) };
        assert!(limit.covers(None) && limit.covers(Some(16)) && !limit.covers(Some(15)));
        let limit = Limit { age_from: None, age_below: Some(16), ..limit };
        assert!(limit.covers(None) && limit.covers(Some(15)) && !limit.covers(Some(16)));
    }

    #[test]
    fn a_family_is_all_its_analytes() {
        let lab = Lab::shipped();
        let of = |text: &str| Limits::parse(text).and_then(|limits| limits.of_lab(&lab));
        let limits = of(&SITE.replacen("analyte = \"glucose\"", "family = \"blood-glucose\"", 1)).expect("a family");
        let one_more = Limits::parse(SITE).expect("good").limit.len() + 1;
        assert!(limits.watches("glucose") && limits.watches("glucose-2h") && limits.limit.len() == one_more);
        assert!(limits.limit.iter().all(|limit| limit.family.is_none()));
        assert_eq!(of(SITE), Limits::parse(SITE), "an analyte is itself");
        let told = of(&SITE.replacen("analyte = \"glucose\"", "family = \"sugar\"", 1)).expect_err("no family");
        assert_eq!(told, ["limit 3: no analyte is of the family `sugar`"]);
        let both = SITE.replacen("analyte = \"glucose\"", "analyte = \"glucose\"\nfamily = \"blood-glucose\"", 1);
        assert_eq!(of(&both), Err(vec!["limit 3 (blood-glucose): names an analyte and a family: one of them".into()]));
        let reported =
            "analyte = \"glucose\"\nreported = [{ unit = \"stone\", low = { inequality = \"<\", value = \"1\" } }]";
        let told = of(&SITE.replacen("analyte = \"glucose\"", reported, 1));
        assert_eq!(told, Err(vec!["limit 3: glucose is not read in `stone`".into()]));
    }
}
