//! What the people who sign read: an agreement as a page of Markdown, made from what runs.

use super::{Agreement, PartyRole};
use crate::{BREAK_GLASS_MINUTES, ENCOUNTER_GRACE_HOURS_DEFAULT};
use event::Kind;
use std::fmt::Write as _;

/// The page. `name` gives an organisation's name by its ODS code.
pub fn sheet(agreement: &Agreement, name: impl Fn(&str) -> String) -> String {
    let Agreement { title, version, paper, .. } = agreement;
    let organisations = |all: &std::collections::BTreeSet<String>| {
        all.iter().map(|code| format!("{} ({code})", name(code))).collect::<Vec<_>>().join(", ")
    };
    let mut page = format!("# {}\n\n", line(title));
    if agreement.draft {
        page.push_str("**Draft: not signed by all. Nothing is shared under it.**\n\n");
    }
    let glass = if agreement.break_glass_overrides_objection {
        "A clinician who breaks the glass, with a reason, sees the record in spite of the objection"
    } else {
        "Breaking the glass does not open what a patient objects to"
    };
    let kinds = |shared: bool| {
        let all = Kind::ALL.into_iter().filter(|kind| agreement.kinds.contains(kind) == shared);
        let words = all.map(Kind::plural).collect::<Vec<_>>().join(", ");
        if words.is_empty() { "nothing".to_owned() } else { words }
    };
    for (what, says) in [
        ("Agreement", format!("{}, version {version}", line(&agreement.id))),
        ("Purpose", agreement.purpose.as_str().replace('-', " ")),
        ("Who discloses", organisations(&agreement.disclose)),
        ("Who receives", organisations(&agreement.receive)),
        ("What is shared", kinds(true)),
        ("What is not shared", kinds(false)),
        ("Holds", format!("from {} to {}, both included", line(&paper.first_day), line(&paper.last_day))),
        ("Reviewed", line(&paper.review)),
        ("Kept by who receives", line(&paper.retention)),
        ("A patient's objection", format!("Closes all of it. {glass}")),
        (
            "Never shared",
            "What its source marks as confidential; whatever is agreed, and however the glass is broken".to_owned(),
        ),
        (
            "Who reads",
            format!(
                "Teams that the patient is registered with, is seen by or is referred to, and for \
                 {ENCOUNTER_GRACE_HOURS_DEFAULT} hours after an encounter unless the site says otherwise; anybody else only \
                 by breaking the glass with a reason, for {BREAK_GLASS_MINUTES} minutes"
            ),
        ),
        ("Audit", "Each patient shown or refused, with who, when and why, before the answer leaves".to_owned()),
        ("In an incident tell", paper.incidents.iter().map(|one| line(one)).collect::<Vec<_>>().join(", ")),
    ] {
        writeln!(page, "- **{what}:** {says}").ok();
    }
    page.push_str("\n## Who answers\n\n| Organisation | As | Name | Contact | Duties |\n|---|---|---|---|---|\n");
    for party in &paper.parties {
        let duties = party.duties.as_deref().map(line).unwrap_or_default();
        let (organisation, role) = (line(&name(&party.organisation)), role(party.role));
        writeln!(page, "| {organisation} | {role} | {} | {} | {duties} |", line(&party.name), line(&party.contact))
            .ok();
    }
    let _ = write!(page, "\n## Signatures under version {version}\n\n| Organisation | Name | On |\n|---|---|---|\n");
    for one in paper.signatures.iter().filter(|one| one.version == *version) {
        writeln!(page, "| {} | {} | {} |", line(&name(&one.organisation)), line(&one.name), line(&one.on)).ok();
    }
    for organisation in agreement.unsigned() {
        writeln!(page, "| {} | | |", line(&name(organisation))).ok();
    }
    page
}

/// On one line, and no cell of a table breaks.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

const fn role(role: PartyRole) -> &'static str {
    match role {
        PartyRole::Controller => "Controller",
        PartyRole::Processor => "Processor",
        PartyRole::CaldicottGuardian => "Caldicott guardian",
        PartyRole::SafetyOfficer => "Clinical safety officer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::parse;

    #[test]
    fn the_page_says_what_is_shared_and_who_has_yet_to_sign() {
        let text = include_str!("../../../../site/agreements/temple-sowerby-to-stmarys.toml");
        let mut agreement = parse([("a.toml", text)]).expect("the file in the repository").remove(0);
        let name = |code: &str| if code == "RSM01" { "St Mary's".to_owned() } else { code.to_owned() };
        let page = sheet(&agreement, name);
        for want in [
            "- **Who receives:** St Mary's (RSM01)",
            "- **What is not shared:** encounters, appointments",
            "- **Holds:** from 2026-01-01 to 2029-12-31, both included",
            "sees the record in spite of the objection",
            "| St Mary's | Caldicott guardian | ",
        ] {
            assert!(page.contains(want), "{want}\nis not in\n{page}");
        }
        assert!(!page.contains("Draft") && !page.contains("| | |"), "{page}");
        (agreement.draft, agreement.version, agreement.title) = (true, 9, "a | b\nc".into());
        let page = sheet(&agreement, name);
        assert!(page.starts_with("# a \\| b c\n\n**Draft"), "{page}");
        assert!(page.contains("| St Mary's | | |"), "{page}");
    }
}
