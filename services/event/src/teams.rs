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

/// Steps that a site may name: a few for each organisation.
pub const ESCALATIONS_MAX: usize = 1_000;
/// No step waits longer than a week.
const ESCALATION_SECONDS_MAX: u32 = 7 * 24 * 3600;

/// What of an alert that interrupts has not happened.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Unanswered {
    /// No team has acted on it, or accepted it.
    NotActedOn,
    /// Nobody has had it on their screen.
    OnNobodysScreen,
}

/// Whom an organisation tells next of what nobody has answered.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Escalation {
    /// ODS code of whoever answers for the result. Its own teams alone are told: they see it whole.
    pub organisation: String,
    pub when: Unanswered,
    /// After the alert was raised.
    pub after_seconds: u32,
    pub to: Vec<String>,
}

impl Escalation {
    /// By which a step that was taken is known again.
    pub fn name(&self) -> String {
        let when = match self.when {
            Unanswered::NotActedOn => "not-acted-on",
            Unanswered::OnNobodysScreen => "on-nobodys-screen",
        };
        format!("{}/{when}/{}", self.organisation, self.after_seconds)
    }

    fn mistakes(&self, number: usize, teams: &[Team]) -> Vec<String> {
        let mut mistakes = Vec::new();
        if !(1..=ESCALATION_SECONDS_MAX).contains(&self.after_seconds) {
            mistakes.push(format!("escalation {number}: after_seconds must be 1 to {ESCALATION_SECONDS_MAX}"));
        }
        if self.to.is_empty() {
            mistakes.push(format!("escalation {number}: `to` names no team, so nobody would be told"));
        }
        for id in &self.to {
            match teams.iter().find(|team| team.id == *id) {
                None => mistakes.push(format!("escalation {number}: there is no team `{id}`")),
                Some(team) if team.organisation != self.organisation => mistakes.push(format!(
                    "escalation {number}: `{id}` is a team of {}, which may not see what {} holds",
                    team.organisation, self.organisation
                )),
                Some(_) => {}
            }
        }
        mistakes
    }
}

/// Invariant: ids are not empty and differ; the catch-all and the teams on duty are among them. Made only by `parse`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Teams {
    teams: Vec<Team>,
    catch_all: Option<String>,
    duty: Vec<String>,
    escalation: Vec<Escalation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// The team that receives what no other team receives.
    catch_all: Option<String>,
    /// Teams that receive their organisation's own results when nobody else of it does.
    #[serde(default)]
    duty: Vec<String>,
    #[serde(default)]
    escalation: Vec<Escalation>,
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
        for (key, id) in
            document.catch_all.iter().map(|id| ("catch_all", id)).chain(document.duty.iter().map(|id| ("duty", id)))
        {
            if !seen.contains(id) {
                mistakes.push(format!("{key}: there is no team `{id}`"));
            }
        }
        if document.escalation.len() > ESCALATIONS_MAX {
            mistakes.push(format!("more than {ESCALATIONS_MAX} escalations"));
        }
        let steps = document.escalation.iter().enumerate();
        mistakes.extend(steps.flat_map(|(index, step)| step.mistakes(index + 1, &document.team)));
        if mistakes.is_empty() {
            let Document { catch_all, duty, escalation, team: teams } = document;
            Ok(Self { teams, catch_all, duty, escalation })
        } else {
            Err(mistakes)
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Team> {
        self.teams.iter()
    }

    pub fn get(&self, id: &str) -> Option<&Team> {
        self.teams.iter().find(|team| team.id == id)
    }

    /// What happens to alerts that nobody answers, in the file's order.
    pub fn escalations(&self) -> impl Iterator<Item = &Escalation> {
        self.escalation.iter()
    }

    /// The practices that are this organisation.
    pub fn practices<'a>(&'a self, organisation: &'a str) -> impl Iterator<Item = &'a Team> {
        self.of(organisation).filter(|team| team.kind == TeamKind::Practice)
    }

    /// Who receives what nobody else receives. A site that alerts has one.
    pub fn catch_all(&self) -> Option<&Team> {
        self.get(self.catch_all.as_deref()?)
    }

    /// Who is told of an organisation's own results when nobody else of it is: its teams on duty, else all of it.
    pub fn answering(&self, organisation: &str) -> Vec<&Team> {
        let all: Vec<&Team> = self.teams.iter().filter(|team| team.organisation == organisation).collect();
        let on_duty: Vec<&Team> = all.iter().copied().filter(|team| self.duty.contains(&team.id)).collect();
        if on_duty.is_empty() { all } else { on_duty }
    }

    /// The words that an organisation's teams share (`St Mary's`), or its code.
    pub fn organisation_name(&self, code: &str) -> String {
        let mut names = self.of(code).map(|team| team.name.as_str());
        let Some(first) = names.next() else { return code.to_owned() };
        let mut shared: Vec<&str> = first.split_whitespace().collect();
        for name in names {
            let same = shared.iter().zip(name.split_whitespace()).take_while(|(one, two)| *one == two).count();
            shared.truncate(same);
        }
        if shared.is_empty() { code.to_owned() } else { shared.join(" ") }
    }

    /// All teams of an organisation.
    pub fn of<'a>(&'a self, organisation: &'a str) -> impl Iterator<Item = &'a Team> {
        self.teams.iter().filter(move |team| team.organisation == organisation)
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
        assert!(teams.catch_all().is_some(), "nothing goes to nobody");
        let answering =
            |organisation| teams.answering(organisation).iter().map(|team| team.id.as_str()).collect::<Vec<_>>();
        assert_eq!(answering("RSM01"), ["stmarys-amu"], "its team on duty");
        assert_eq!(answering("R1V01"), ["riverside"], "nobody is on duty: all of it");
        assert!(answering("Y0001").is_empty());
    }

    #[test]
    fn mistakes_are_told_together() {
        let team = |id: &str| format!("[[team]]\nid = '{id}'\nname = 'A'\norganisation = 'X'\nkind = 'practice'\n");
        let told = Teams::parse(&[team("a"), team(""), team("a")].concat()).expect_err("two mistakes");
        assert_eq!(told, ["team 2: id and organisation must not be empty", "team 3: `a` is used twice"]);
        let told =
            Teams::parse(&["catch_all = 'x'\nduty = ['a', 'y']\n", &team("a")].concat()).expect_err("two mistakes");
        assert_eq!(told, ["catch_all: there is no team `x`", "duty: there is no team `y`"]);
        let step = |after: u32, to: &str| {
            format!("[[escalation]]\norganisation = 'X'\nwhen = 'not-acted-on'\nafter_seconds = {after}\nto = [{to}]\n")
        };
        let other = team("o").replace("'X'", "'Y'");
        let text =
            [step(0, "'a'"), step(604_801, ""), step(1, "'a', 'n', 'o'"), step(604_800, "'a'"), team("a"), other];
        let want = [
            "escalation 1: after_seconds must be 1 to 604800",
            "escalation 2: after_seconds must be 1 to 604800",
            "escalation 2: `to` names no team, so nobody would be told",
            "escalation 3: there is no team `n`",
            "escalation 3: `o` is a team of Y, which may not see what X holds",
        ];
        assert_eq!(Teams::parse(&text.concat()).expect_err("five mistakes"), want);
        let told = Teams::parse("[[team]]\nid = 'a'\nkind = 'ward'\n").expect_err("not a kind");
        assert!(told[0].contains("line 3"), "{told:?}");
    }
}
