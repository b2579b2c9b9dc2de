//! The teams of a site: `teams.toml`. A patient is with a practice while registered there, and with a
//! department while an encounter or referral with it lasts.

use serde::Deserialize;
use std::collections::BTreeSet;

pub const TEAMS_MAX: usize = 10_000;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum TeamKind {
    Practice,
    Department,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Team {
    pub id: String,
    pub name: String,
    /// ODS code.
    pub organisation: String,
    pub kind: TeamKind,
    /// The captured database that names the team.
    pub source: Option<String>,
}

/// Invariant: ids are not empty and differ. Made only by `parse`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Teams(Vec<Team>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    team: Vec<Team>,
}

impl Teams {
    /// All mistakes at once. Those of the TOML itself come with their line.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let document: Document = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
        let mut mistakes = Vec::new();
        if document.team.len() > TEAMS_MAX {
            mistakes.push(format!("more than {TEAMS_MAX} teams"));
        }
        let mut seen = BTreeSet::new();
        for (index, team) in document.team.iter().enumerate() {
            let number = index + 1;
            if team.id.trim().is_empty() || team.organisation.trim().is_empty() {
                mistakes.push(format!("team {number}: id and organisation must not be empty"));
            }
            if !seen.insert(&team.id) {
                mistakes.push(format!("team {number}: `{}` is used twice", team.id));
            }
        }
        if mistakes.is_empty() { Ok(Self(document.team)) } else { Err(mistakes) }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Team> {
        self.0.iter()
    }

    pub fn get(&self, id: &str) -> Option<&Team> {
        self.0.iter().find(|team| team.id == id)
    }

    /// The practices that are this organisation.
    pub fn practices<'a>(&'a self, organisation: &'a str) -> impl Iterator<Item = &'a Team> {
        self.of(organisation).filter(|team| team.kind == TeamKind::Practice)
    }

    /// All teams of an organisation.
    pub fn of<'a>(&'a self, organisation: &'a str) -> impl Iterator<Item = &'a Team> {
        self.0.iter().filter(move |team| team.organisation == organisation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_regions_teams_are_read() {
        let teams = Teams::parse(include_str!("../../../site/teams.toml")).expect("the file in the repository");
        assert_eq!(teams.get("stmarys-ed").map(|team| team.kind), Some(TeamKind::Department));
        assert_eq!(teams.practices("R1V01").map(|team| team.id.as_str()).collect::<Vec<_>>(), ["riverside"]);
        assert_eq!(teams.practices("RSM01").count(), 0, "a hospital is no practice");
    }

    #[test]
    fn mistakes_are_told_together() {
        let team = |id: &str| format!("[[team]]\nid = '{id}'\nname = 'A'\norganisation = 'X'\nkind = 'practice'\n");
        let told = Teams::parse(&[team("a"), team(""), team("a")].concat()).expect_err("two mistakes");
        assert_eq!(told, ["team 2: id and organisation must not be empty", "team 3: `a` is used twice"]);
        let told = Teams::parse("[[team]]\nid = 'a'\nkind = 'ward'\n").expect_err("not a kind");
        assert!(told[0].contains("line 3"), "{told:?}");
    }
}
