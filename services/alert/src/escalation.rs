//! What is due when nobody has acted on an alert that interrupts.
//!
//! # Why
//! Nothing is remembered but when the alert was raised and which steps were taken: whoever looks again after a crash, or
//! after a clock that jumped, finds the same steps due, and takes each of them once.

use event::teams::{Escalation, Teams, Unanswered};

/// How an alert waits that nobody has acted on.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// Whoever answers for the result.
    pub organisation: &'a str,
    pub seconds: i64,
    /// It has been on somebody's screen.
    pub delivered: bool,
}

/// The site's steps that are due, taken or not.
pub fn due<'a>(waiting: Waiting<'a>, teams: &'a Teams) -> impl Iterator<Item = &'a Escalation> {
    teams.escalations().filter(move |step| {
        let meant = match step.when {
            Unanswered::NotActedOn => true,
            Unanswered::OnNobodysScreen => !waiting.delivered,
        };
        meant && step.organisation == waiting.organisation && i64::from(step.after_seconds) <= waiting.seconds
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn teams() -> Teams {
        let team = |id: &str, of: &str| {
            format!("[[team]]\nid = '{id}'\nname = 'A'\norganisation = '{of}'\nkind = 'department'\n")
        };
        let step = |of: &str, when: &str, after: u32, to: &str| {
            format!("[[escalation]]\norganisation = '{of}'\nwhen = '{when}'\nafter_seconds = {after}\nto = ['{to}']\n")
        };
        let text = [
            step("X", "not-acted-on", 600, "b"),
            step("X", "on-nobodys-screen", 60, "a"),
            step("X", "not-acted-on", 1_200, "c"),
            step("Y", "not-acted-on", 10, "y"),
            team("a", "X"),
            team("b", "X"),
            team("c", "X"),
            team("y", "Y"),
        ];
        Teams::parse(&text.concat()).expect("good")
    }

    #[track_caller]
    fn check(organisation: &str, seconds: i64, delivered: bool, want: &str) {
        let teams = teams();
        let due = due(Waiting { organisation, seconds, delivered }, &teams);
        assert_eq!(due.flat_map(|step| step.to.iter().map(String::as_str)).collect::<Vec<_>>().join(" "), want);
    }

    #[test]
    fn at_and_beside_every_boundary() {
        for (seconds, unseen, seen) in [
            (-5, "", ""),
            (0, "", ""),
            (59, "", ""),
            (60, "a", ""),
            (599, "a", ""),
            (600, "b a", "b"),
            (1_199, "b a", "b"),
            (1_200, "b a c", "b c"),
            (i64::MAX, "b a c", "b c"),
        ] {
            check("X", seconds, false, unseen);
            check("X", seconds, true, seen);
        }
        check("Y", 10, true, "y");
        check("Z", 1_200, false, "");
    }
}
