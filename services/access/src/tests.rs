//! Roles × actions × relations, as a table.

use super::*;
use event::{Kind, Micros};

const NOW: Micros = 1_800_000_000_000_000;
const HOUR: Micros = 3_600_000_000;

fn team(id: &str, organisation: &str, kind: TeamKind) -> Team {
    Team { id: id.into(), name: id.into(), organisation: organisation.into(), kind, source: None }
}

fn teams(which: &str) -> Vec<Team> {
    match which {
        "practice" => vec![team("riverside", "R1V01", TeamKind::Practice)],
        "ed" => vec![team("stmarys-ed", "RSM01", TeamKind::Department)],
        "none" => Vec::new(),
        other => panic!("no such team: {other}"),
    }
}

/// A patient of the practice whom both organisations know.
fn david() -> PatientContext {
    let kinds = vec![Kind::Demographics, Kind::Observation];
    PatientContext {
        registered: vec!["R1V01".into()],
        holdings: ["R1V01", "RSM01"]
            .map(|o| Holding { organisation: o.into(), kinds: kinds.clone(), ..Holding::default() })
            .into(),
        ..PatientContext::default()
    }
}

fn agreement(disclose: &str, receive: &str) -> Agreement {
    Agreement {
        id: disclose.into(),
        title: "t".into(),
        disclose: [disclose.to_owned()].into(),
        receive: [receive.to_owned()].into(),
        kinds: [Kind::Demographics, Kind::Observation].into(),
        from: 0,
        until: i64::MAX,
        ..Agreement::default()
    }
}

fn both_ways() -> Vec<Agreement> {
    vec![agreement("R1V01", "RSM01"), agreement("RSM01", "R1V01")]
}

fn request<'a>(role: &'a [Role], teams: &'a [Team], action: Action, agreements: &'a [Agreement]) -> Request<'a> {
    Request {
        roles: role,
        teams,
        action,
        channel: Channel::ALL
            .into_iter()
            .find(|door| role.iter().any(|it| it.may(action, *door)))
            .unwrap_or(Channel::Page),
        purpose: Purpose::DirectCare,
        patient: None,
        themselves: false,
        agreements,
        grants: &[],
        encounter_grace_hours: 72,
        now: NOW,
    }
}

/// `allow` or `refuse`, why, how many (organisation, kind) are shown, and which kinds are withheld.
fn render(decision: &Decision) -> String {
    let verdict = if decision.allow { "allow" } else { "refuse" };
    let withheld: Vec<&str> = decision.withheld.iter().map(|kind| kind.as_str()).collect();
    format!("{verdict} {:?} shown={} withheld={}", decision.why, decision.shown.len(), withheld.join("+"))
}

/// The relation, set up in words.
fn with_relation(relation: &str) -> (PatientContext, Vec<Grant>) {
    let mut patient = david();
    let mut grants = Vec::new();
    let contact = |ended_hours_ago: Option<i64>, referral| Contact {
        team: "stmarys-ed".into(),
        ended_at: ended_hours_ago.map(|hours| NOW - hours * HOUR),
        referral,
    };
    let grant = |from, until| Grant { reason: "unconscious".into(), from, until };
    match relation {
        "registered" | "none" => {}
        "deregistered" => patient.registered.clear(),
        "open" => patient.contacts.push(contact(None, false)),
        "recent" => patient.contacts.push(contact(Some(71), false)),
        "old" => patient.contacts.push(contact(Some(72), false)),
        "referral" => patient.contacts.push(contact(None, true)),
        "glass" => grants.push(grant(NOW - 1, NOW + 1)),
        "glass-ended" => grants.push(grant(NOW - 2, NOW)),
        other => panic!("no such relation: {other}"),
    }
    (patient, grants)
}

#[track_caller]
fn check(role: Role, teams_of: &str, action: Action, relation: &str, want: &str) {
    let (roles, teams, agreements) = ([role], teams(teams_of), both_ways());
    let (patient, grants) = with_relation(relation);
    let request = Request { patient: Some(&patient), grants: &grants, ..request(&roles, &teams, action, &agreements) };
    assert_eq!(render(&decide(&request)), want, "{role:?} {teams_of} {action:?} {relation}");
}

#[test]
fn a_clinician_sees_the_patients_of_their_teams_and_no_others() {
    for action in [Action::ViewRecord, Action::FindPatient] {
        for (teams, relation, want) in [
            ("practice", "registered", "allow Registered shown=4 withheld="),
            ("practice", "deregistered", "refuse NoRelation shown=0 withheld="),
            ("practice", "glass", "allow Registered shown=4 withheld="),
            ("ed", "none", "refuse NoRelation shown=0 withheld="),
            ("ed", "open", "allow Encounter shown=4 withheld="),
            ("ed", "recent", "allow Encounter shown=4 withheld="),
            ("ed", "old", "refuse NoRelation shown=0 withheld="),
            ("ed", "referral", "allow Referral shown=4 withheld="),
            ("ed", "glass", "allow BrokenGlass shown=4 withheld="),
            ("ed", "glass-ended", "refuse NoRelation shown=0 withheld="),
            ("none", "open", "refuse NoRelation shown=0 withheld="),
        ] {
            check(Role::Clinician, teams, action, relation, want);
        }
    }
}

#[test]
fn a_data_engineer_sees_no_patient_whatever_the_relation() {
    for relation in ["registered", "open", "recent", "referral", "glass"] {
        for teams in ["practice", "ed", "none"] {
            let own = [Action::ViewStatus, Action::ViewQuarantined];
            for action in Action::ALL.into_iter().filter(|action| !own.contains(action)) {
                check(Role::DataEngineer, teams, action, relation, "refuse RoleForbids shown=0 withheld=");
            }
        }
    }
}

#[test]
fn the_status_page_is_the_engineers() {
    for (roles, want) in [
        (&[Role::DataEngineer][..], "allow Role shown=0 withheld="),
        (&[Role::Clinician], "refuse RoleForbids shown=0 withheld="),
        (&[], "refuse RoleForbids shown=0 withheld="),
    ] {
        assert_eq!(render(&decide(&request(roles, &[], Action::ViewStatus, &[]))), want);
    }
}

#[test]
fn without_a_role_nothing_is_allowed() {
    let (patient, teams) = (david(), teams("practice"));
    for action in Action::ALL {
        let request = Request { patient: Some(&patient), ..request(&[], &teams, action, &[]) };
        assert!(!decide(&request).allow, "{action:?}");
    }
}

#[test]
fn another_organisations_records_need_an_agreement_for_the_kind() {
    let (roles, teams) = ([Role::Clinician], teams("ed"));
    let (mut patient, _) = with_relation("open");
    let mut partial = agreement("R1V01", "RSM01");
    partial.kinds.remove(&Kind::Observation);
    let mut over = agreement("R1V01", "RSM01");
    over.until = NOW;
    let reversed = agreement("RSM01", "R1V01");
    for (agreements, want) in [
        (vec![], "allow Encounter shown=2 withheld=demographics+observation"),
        (vec![partial.clone()], "allow Encounter shown=3 withheld=observation"),
        (vec![over], "allow Encounter shown=2 withheld=demographics+observation"),
        (vec![reversed], "allow Encounter shown=2 withheld=demographics+observation"),
        (both_ways(), "allow Encounter shown=4 withheld="),
    ] {
        let request = Request { patient: Some(&patient), ..request(&roles, &teams, Action::ViewRecord, &agreements) };
        assert_eq!(render(&decide(&request)), want);
    }
    // A relation without one covered record is refused, not shown as an empty record.
    patient.holdings.retain(|holding| holding.organisation == "R1V01");
    let request = Request { patient: Some(&patient), ..request(&roles, &teams, Action::ViewRecord, &[]) };
    assert_eq!(render(&decide(&request)), "refuse NoAgreement shown=0 withheld=demographics+observation");
}

#[test]
fn an_objection_blocks_other_organisations_and_glass_opens_it_only_where_agreed() {
    let (roles, teams) = ([Role::Clinician], teams("ed"));
    let own_only = "shown=2 withheld=demographics+observation";
    for (relation, overrides, want) in [
        ("open", false, format!("allow Encounter {own_only}")),
        ("open", true, format!("allow Encounter {own_only}")),
        ("glass", false, format!("allow BrokenGlass {own_only}")),
        ("glass", true, "allow BrokenGlass shown=4 withheld=".into()),
    ] {
        let (mut patient, grants) = with_relation(relation);
        patient.objection = true;
        let mut agreements = both_ways();
        agreements.iter_mut().for_each(|agreement| agreement.break_glass_overrides_objection = overrides);
        let request = Request {
            patient: Some(&patient),
            grants: &grants,
            ..request(&roles, &teams, Action::ViewRecord, &agreements)
        };
        assert_eq!(render(&decide(&request)), want, "{relation} {overrides}");
    }
}

#[test]
fn alerts_go_to_recipients_and_across_organisations_only_as_agreed() {
    let roles = [Role::Clinician];
    let results = |organisation: &str, recipients: &[&str], objection| PatientContext {
        holdings: vec![Holding {
            organisation: organisation.into(),
            kinds: vec![Kind::Observation],
            ..Holding::default()
        }],
        recipients: recipients.iter().map(ToString::to_string).collect(),
        objection,
        ..PatientContext::default()
    };
    for action in [Action::ViewAlerts, Action::HandleAlert] {
        for (reader, patient, agreements, want) in [
            ("ed", results("RSM01", &["stmarys-ed"], false), vec![], "allow Recipient shown=1 withheld="),
            ("ed", results("RSM01", &["stmarys-ed"], true), vec![], "allow Recipient shown=1 withheld="),
            ("ed", results("RSM01", &["riverside"], false), both_ways(), "refuse NotRecipient shown=0 withheld="),
            ("practice", results("RSM01", &["riverside"], false), both_ways(), "allow Recipient shown=1 withheld="),
            (
                "practice",
                results("RSM01", &["riverside"], true),
                both_ways(),
                "refuse NoAgreement shown=0 withheld=observation",
            ),
            (
                "practice",
                results("RSM01", &["riverside"], false),
                vec![],
                "refuse NoAgreement shown=0 withheld=observation",
            ),
        ] {
            let teams = teams(reader);
            let request = Request { patient: Some(&patient), ..request(&roles, &teams, action, &agreements) };
            assert_eq!(render(&decide(&request)), want, "{reader} {action:?}");
        }
    }
}

/// What the practice marks as confidential: who reads what of it, by whatever relation. `open` is beside it.
#[test]
fn what_a_source_keeps_back_stays_in_its_organisation_whatever_is_agreed_or_broken() {
    let mut overriding = both_ways();
    for agreement in &mut overriding {
        (agreement.break_glass_overrides_objection, agreement.kinds) = (true, Kind::ALL.into());
    }
    for (relation, reader, objection, record, open, patient) in [
        ("registered", "practice", false, true, true, true),
        ("registered", "practice", true, true, true, true),
        ("glass", "practice", false, true, true, true),
        ("open", "ed", false, false, true, false),
        ("referral", "ed", false, false, true, false),
        ("glass", "ed", false, false, true, false),
        ("glass", "ed", true, false, true, false),
    ] {
        let (mut context, grants) = with_relation(relation);
        context.objection = objection;
        context.holdings[0].confidential = vec![Kind::Observation, Kind::Condition];
        let (roles, teams) = ([Role::Clinician], teams(reader));
        let request = Request {
            patient: Some(&context),
            grants: &grants,
            ..request(&roles, &teams, Action::ViewRecord, &overriding)
        };
        let decision = decide(&request);
        let case = format!("{relation} {reader} {objection}");
        assert_eq!(decision.shows("R1V01", Kind::Observation, true), record, "{case}");
        assert_eq!(decision.shows("R1V01", Kind::Observation, false), open, "{case}");
        // The whole patient: of demographics the mark means every record.
        assert_eq!(decision.shows("R1V01", Kind::Demographics, true), patient, "{case}");
        let other = reader == "ed" || !objection;
        assert_eq!(decision.shows("RSM01", Kind::Observation, false), other, "{case}: the other source's is as it was");
        assert_eq!(decision.limited, !record || objection, "{case}: announced");
        assert_eq!(decision.withheld.contains(&Kind::Condition), !record, "{case}: in the audit");
    }
}

/// A patient whom the practice keeps back altogether: to others it is as if nobody knew them.
#[test]
fn a_confidential_patient_of_one_source_is_nobody_to_others() {
    let (mut patient, grants) = with_relation("open");
    let all = vec![Kind::Demographics, Kind::Observation];
    patient.holdings = vec![Holding { organisation: "R1V01".into(), kinds: Vec::new(), confidential: all }];
    let agreements = both_ways();
    for (reader, action, allow) in [
        ("ed", Action::ViewRecord, false),
        ("ed", Action::FindPatient, false),
        ("practice", Action::ViewRecord, true),
        ("practice", Action::FindPatient, true),
    ] {
        let (roles, teams) = ([Role::Clinician], teams(reader));
        let request =
            Request { patient: Some(&patient), grants: &grants, ..request(&roles, &teams, action, &agreements) };
        assert_eq!(decide(&request).allow, allow, "{reader} {action:?}");
    }
}

#[test]
fn an_alert_on_a_confidential_result_reaches_only_its_own_organisation() {
    let (roles, agreements) = ([Role::Clinician], both_ways());
    for (reader, confidential, allow) in
        [("ed", false, true), ("ed", true, true), ("practice", false, true), ("practice", true, false)]
    {
        let (kinds, none) = (vec![Kind::Observation], Vec::new());
        let (kinds, confidential) = if confidential { (none, kinds) } else { (kinds, none) };
        let patient = PatientContext {
            holdings: vec![Holding { organisation: "RSM01".into(), kinds, confidential }],
            recipients: vec!["riverside".into(), "stmarys-ed".into()],
            ..PatientContext::default()
        };
        let teams = teams(reader);
        for action in [Action::ViewAlerts, Action::HandleAlert] {
            let request = Request { patient: Some(&patient), ..request(&roles, &teams, action, &agreements) };
            let decision = decide(&request);
            assert_eq!((decision.allow, decision.shown.is_empty()), (allow, !allow), "{reader} {action:?}");
        }
    }
}

/// Taking away what is withheld, kind by kind, changes nothing that the reader is told.
#[test]
fn that_something_may_not_be_shown_does_not_depend_on_what_is_held() {
    let (roles, teams, agreements) = ([Role::Clinician], teams("ed"), both_ways());
    let (mut patient, _) = with_relation("open");
    patient.objection = true;
    for kinds in [vec![Kind::Demographics, Kind::Allergy, Kind::Medication], vec![Kind::Demographics]] {
        patient.holdings[0].kinds = kinds;
        let request = Request { patient: Some(&patient), ..request(&roles, &teams, Action::ViewRecord, &agreements) };
        assert!(decide(&request).limited);
    }
    // Nobody objects, but the agreement covers two kinds only: whether others are held is not told either.
    patient.objection = false;
    let request = Request { patient: Some(&patient), ..request(&roles, &teams, Action::ViewRecord, &agreements) };
    let decision = decide(&request);
    assert!(decision.limited && decision.withheld.is_empty());
    let mut all = both_ways();
    all.iter_mut().for_each(|agreement| agreement.kinds = Kind::ALL.into());
    let request = Request { agreements: &all, ..request };
    assert!(!decide(&request).limited);
}

#[test]
fn glass_is_for_clinicians() {
    let roles = [Role::Clinician];
    assert!(decide(&request(&roles, &[], Action::BreakGlass, &[])).allow);
    let roles = [Role::DataEngineer];
    assert!(!decide(&request(&roles, &[], Action::BreakGlass, &[])).allow);
}
