//! The file of weights: how often each level is seen among one person's records (`m`), and among two persons' (`u`).
//!
//! # Why
//! Weights that followed the data would move people whenever somebody was registered. So they are estimated rarely, written
//! to a file with a version, and every link by weight names that version.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::{
    compare::{Field, Levels},
    weight::{Share, Weight, log2},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Names whose frequency is told, of each kind.
pub const NAMES_MAX: usize = 5_000;
const VERSION_MAX: usize = 64;

/// The file as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Named by every link that is made by these weights.
    pub version: String,
    /// The share of all pairs of records that are of one person.
    pub prior: String,
    /// Two names of a frequency below this one weigh as if they had it.
    pub frequency_min: String,
    pub bands: Bands,
    /// By field, by level.
    pub field: BTreeMap<String, BTreeMap<String, Rates>>,
    /// The share of all records that bear a name: `[frequency.given]`, `[frequency.family]`.
    #[serde(default)]
    pub frequency: BTreeMap<String, BTreeMap<String, String>>,
}

/// In bits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bands {
    /// From here on a pair links.
    pub link: String,
    /// From here on a clerk is asked; below it the pair is nothing.
    pub clerical: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    pub m: String,
    pub u: String,
}

/// What weighing needs of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    pub version: String,
    pub link: Weight,
    pub clerical: Weight,
    prior: Weight,
    weights: [Vec<Weight>; Field::COUNT],
    /// Of the fields whose names have frequencies.
    names: [Option<Names>; Field::COUNT],
    frequency_min: Share,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Names {
    exact: Share,
    shares: BTreeMap<String, Share>,
}

const NAMED: [Field; 2] = [Field::Given, Field::Family];

impl Parameters {
    /// All mistakes at once. Those of the TOML itself come with their line.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let file: File = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
        Self::of(&file)
    }

    pub fn of(file: &File) -> Result<Self, Vec<String>> {
        let mut mistakes = Mistakes::default();
        let [link, clerical] = [("bands.link", &file.bands.link), ("bands.clerical", &file.bands.clerical)]
            .map(|(key, text)| mistakes.weight(key, text));
        let prior = mistakes.share("prior", &file.prior);
        let frequency_min = mistakes.share("frequency_min", &file.frequency_min);
        if clerical > link {
            mistakes.0.push("bands.clerical: lies above bands.link".into());
        }
        if file.version.trim().is_empty() || file.version.len() > VERSION_MAX {
            mistakes.0.push(format!("version: give a name of 1 to {VERSION_MAX} characters, new with each change"));
        }
        let known: Vec<&str> = Field::ALL.iter().map(|field| field.as_str()).collect();
        for name in file.field.keys().filter(|name| !known.contains(&name.as_str())) {
            mistakes.0.push(format!("field.{name}: no such field; there are {}", known.join(", ")));
        }
        let rates = Field::ALL.map(|field| mistakes.rates(field, file.field.get(field.as_str())));
        let mut names = Field::ALL.map(|_| None);
        for (name, shares) in &file.frequency {
            let Some(field) = NAMED.iter().find(|field| field.as_str() == name) else {
                mistakes.0.push(format!("frequency.{name}: no such field; there are given, family"));
                continue;
            };
            if shares.len() > NAMES_MAX {
                mistakes.0.push(format!("frequency.{name}: has {} names; at most {NAMES_MAX} are kept", shares.len()));
            }
            let read = |(word, share): (&String, &String)| {
                (word.clone(), mistakes.share(&format!("frequency.{name}.{word}"), share))
            };
            let shares = shares.iter().map(read).collect();
            let exact = rates[*field as usize].first().map_or(Share::near(1.0), |(_, u)| *u);
            names[*field as usize] = Some(Names { exact, shares });
        }
        if !mistakes.0.is_empty() {
            return Err(mistakes.0);
        }
        Ok(Self {
            version: file.version.clone(),
            link,
            clerical,
            prior: log2(prior, prior.rest()),
            weights: rates.map(|levels| levels.into_iter().map(|(m, u)| log2(m, u)).collect()),
            names,
            frequency_min,
        })
    }

    /// Before anything is compared.
    pub const fn prior(&self) -> Weight {
        self.prior
    }

    /// What a field's level weighs; nothing where it has none.
    pub fn weight(&self, levels: &Levels, field: Field) -> Weight {
        levels.get(field).and_then(|level| self.weights[field as usize].get(level)).copied().unwrap_or_default()
    }

    /// What two records that bear the same name weigh more or less than two that bear the same any name.
    pub fn frequency(&self, field: Field, name: &str) -> Weight {
        let Some(names) = &self.names[field as usize] else { return Weight::default() };
        let share = names.shares.get(name).copied().unwrap_or(self.frequency_min).max(self.frequency_min);
        log2(names.exact, share)
    }
}

#[derive(Default)]
struct Mistakes(Vec<String>);

impl Mistakes {
    fn share(&mut self, key: &str, text: &str) -> Share {
        Share::parse(text).unwrap_or_else(|| {
            self.0
                .push(format!("{key}: `{text}` is no share: write a decimal above 0 and up to 1, nine places at most"));
            Share::near(1.0)
        })
    }

    fn weight(&mut self, key: &str, text: &str) -> Weight {
        Weight::parse(text).unwrap_or_else(|| {
            self.0.push(format!("{key}: `{text}` is no weight: write a decimal number of bits, three places at most"));
            Weight::default()
        })
    }

    /// m and u of each level.
    fn rates(&mut self, field: Field, told: Option<&BTreeMap<String, Rates>>) -> Vec<(Share, Share)> {
        let name = field.as_str();
        let Some(told) = told else {
            self.0.push(format!("field.{name}: is missing"));
            return Vec::new();
        };
        for level in told.keys().filter(|level| !field.levels().contains(&level.as_str())) {
            self.0.push(format!("field.{name}.{level}: no such level; there are {}", field.levels().join(", ")));
        }
        let mut rates = Vec::new();
        for level in field.levels() {
            match told.get(*level) {
                Some(Rates { m, u }) => {
                    let key = format!("field.{name}.{level}");
                    rates.push((self.share(&format!("{key}.m"), m), self.share(&format!("{key}.u"), u)));
                }
                None => self.0.push(format!("field.{name}.{level}: is missing")),
            }
        }
        rates
    }
}

impl File {
    /// As `Parameters::parse` reads it.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Every level of every field; m halves from level to level, u grows.
    pub fn file() -> File {
        let rates = |m: f64, u: f64| Rates { m: Share::near(m).to_string(), u: Share::near(u).to_string() };
        let levels = |field: Field| {
            let last = field.levels().len() - 1;
            let named = field.levels().iter().enumerate().map(|(at, level)| {
                let rates = match at {
                    0 => rates(0.9, 0.01),
                    at if at == last => rates(0.02, 0.9),
                    _ => rates(0.04, 0.02),
                };
                ((*level).to_owned(), rates)
            });
            (field.as_str().to_owned(), named.collect())
        };
        File {
            version: "test".into(),
            prior: "0.0001".into(),
            frequency_min: "0.0001".into(),
            bands: Bands { link: "10".into(), clerical: "0".into() },
            field: Field::ALL.map(levels).into_iter().collect(),
            frequency: BTreeMap::new(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut file = file();
        file.frequency.insert("family".into(), [("smith".to_owned(), "0.02".to_owned())].into());
        let parameters = Parameters::of(&file).expect("good");
        assert_eq!(Parameters::parse(&file.to_toml()), Ok(parameters.clone()));
        assert_eq!(parameters.prior().to_string(), "-13.288");
        // Twice as frequent as a pair of equal names: one bit less; and a rare one 6.6 more, down to the floor.
        assert_eq!(parameters.frequency(Field::Family, "smith").to_string(), "-1.000");
        assert_eq!(parameters.frequency(Field::Family, "rare").to_string(), "6.644");
        assert_eq!(parameters.frequency(Field::Given, "smith"), Weight(0));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let mut file = file();
        file.version = " ".into();
        file.prior = "2".into();
        file.bands = Bands { link: "1".into(), clerical: "1.5".into() };
        file.field.remove("sex");
        file.field.insert("shoe".into(), BTreeMap::new());
        let given = file.field.get_mut("given").expect("a field");
        given.remove("else");
        given.insert("near".into(), Rates { m: "1".into(), u: "1".into() });
        given.get_mut("exact").expect("a level").m = "much".into();
        file.frequency.insert("postcode".into(), BTreeMap::new());
        let told = Parameters::of(&file).expect_err("mistakes").join("\n");
        for words in [
            "version: give",
            "prior: `2` is no share",
            "bands.clerical: lies above",
            "field.sex: is missing",
            "field.shoe: no such field",
            "field.given.else: is missing",
            "field.given.near: no such level",
            "field.given.exact.m: `much`",
            "frequency.postcode: no such field",
        ] {
            assert!(told.contains(words), "{words} in:\n{told}");
        }
        let told = Parameters::parse("version = \"1\"\nprior 3").expect_err("no TOML").join("\n");
        assert!(told.contains("line 2"), "{told}");
    }
}
