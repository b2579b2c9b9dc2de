//! Tables: which medicines are being taken, which share an ingredient, and what raises the steroid banner.

use super::*;
use crate::record::clinical::{Coded, Provenance};

const NOW: Micros = 1_800_000_000_000_000;
const HOUR: Micros = 3_600_000_000;

fn site() -> Ingredients {
    Ingredients::parse("site/medicines.toml", include_str!("../../../../site/medicines.toml")).expect("the site's file")
}

fn medication(text: &str, organisation: &str) -> Medication {
    Medication {
        from: Provenance { organisation: organisation.into(), ..Provenance::default() },
        code: Coded { text: text.into(), ..Coded::default() },
        active: true,
        ..Medication::default()
    }
}

fn reasons_of(medication: Medication) -> Vec<(By, bool)> {
    let rows = [medication];
    steroid_reasons(&[], &rows, &site(), NOW).iter().map(|reason| (reason.by, reason.lasting)).collect()
}

#[test]
fn names_that_raise_the_steroid_banner_and_names_that_do_not() {
    for (text, want) in [
        ("Hydrocortisone 10mg tablets", true),
        ("HYDROCORTISONE 100mg injection", true),
        ("Hydrocortisone sodium phosphate 100mg/1ml injection (emergency kit)", true),
        ("Hydrocortisone 10mg capsules (gelatine free)", true),
        ("Plenadren 5mg modified-release tablets", true),
        ("Alkindi 0.5mg granules in capsules for opening", true),
        ("Solu-Cortef 100mg powder for solution for injection vials", true),
        ("SoluCortef 100mg", true),
        ("Prednisolone 5mg gastro-resistant tablets", true),
        ("Deltacortril 5mg gastro-resistant tablets", true),
        ("Medrone 16mg tablets", true),
        ("Dexamethasone 2mg tablets", true),
        ("Betamethasone 500microgram soluble tablets", true),
        ("Budesonide 3mg gastro-resistant capsules", true),
        ("Hydrocortisone 100mg in sodium chloride 0.9% infusion", true),
        ("Fludrocortisone 100microgram tablets", true),
        // Where nothing tells the form, it may act in the whole body.
        ("Hydrocortisone", true),
        ("Hydrocortisone 1% cream", false),
        ("Hydrocortisone 1%", false),
        ("Hydrocortisone 2.5mg muco-adhesive buccal tablets", false),
        ("Betamethasone valerate 2.25mg medicated plasters", false),
        ("Betesil 2.25mg medicated plasters", false),
        ("Prednisolone 0.5% eye drops", false),
        ("Prednisolone 20mg/100ml enema", false),
        ("Betnesol 0.1% eye/ear/nose drops", false),
        ("Budesonide 200micrograms/dose dry powder inhaler", false),
        ("Budesonide 64micrograms/dose nasal spray", false),
        ("Beclometasone 100micrograms/dose", false),
        ("Paracetamol 500mg tablets", false),
        ("Gelatine capsules", false),
    ] {
        let got = reasons_of(medication(text, "R1V01"));
        assert_eq!(!got.is_empty(), want, "{text}");
        assert!(got.iter().all(|(by, _)| *by == By::Words), "{text}: no code was told");
    }
}

#[test]
fn a_code_decides_whatever_the_name_says_and_directions_only_where_the_name_tells_no_form() {
    let coded = |snomed: &str, text: &str| {
        let mut row = medication(text, "R1V01");
        row.code.snomed = Some(snomed.into());
        row
    };
    assert_eq!(reasons_of(coded("325373001", "HC 10")), [(By::Code, true)]);
    assert_eq!(reasons_of(coded("331111000001100", "x")), [(By::Code, true)]);
    for product in [
        "21494611000001109", // Plenadren 5mg
        "35699311000001104", // Alkindi 0.5mg
        "13871211000001104", // Solu-Cortef 100mg
        "459611000001100",   // Deltacortril 2.5mg
        "4051911000001105",  // Medrone 16mg
        "325426006",         // Prednisolone 1mg
        "325356003",         // Dexamethasone 2mg
        "838111000001105",   // Florinef 100microgram
    ] {
        assert_eq!(reasons_of(coded(product, "x")), [(By::Code, true)], "{product}");
    }
    // An ointment that the same list has under the steroids of the whole body.
    assert_eq!(reasons_of(coded("19525311000001106", "Methylprednisolone aceponate 0.1% ointment")), []);
    // The ingredient's own code tells no form: the words do.
    assert_eq!(reasons_of(coded("16602005", "HC cream")), []);
    let mut own = medication("HC 10", "RSM01");
    (own.code.system, own.code.code) = (Some("urn:causeway:local:stmarys".into()), Some("325373001".into()));
    assert_eq!(reasons_of(own), [], "a local code means what its own system says");
    let directed = |text: &str, dosage: &str| Medication { dosage: Some(dosage.into()), ..medication(text, "R1V01") };
    assert_eq!(reasons_of(directed("Prednisolone 5mg tablets", "six daily for eye disease")).len(), 1);
    assert_eq!(reasons_of(directed("Hydrocortisone", "apply thinly twice daily")), []);
}

#[test]
fn a_course_is_told_as_one_and_only_what_is_taken_or_missed_counts() {
    let course =
        |course: &str| Medication { course: Some(course.into()), ..medication("Prednisolone 5mg tablets", "R1V01") };
    assert_eq!(reasons_of(course("acute")), [(By::Words, false)]);
    assert_eq!(reasons_of(course("repeat")), [(By::Words, true)]);
    for (status, active, want) in
        [("active", true, 1), ("on-hold", false, 1), ("stopped", true, 0), ("completed", true, 0), ("active", false, 0)]
    {
        let row = Medication { status: Some(status.into()), active, ..course("repeat") };
        assert_eq!(reasons_of(row).len(), want, "{status} {active}");
    }
}

#[test]
fn problems_that_raise_the_steroid_banner() {
    let site = site();
    for (text, snomed, want) in [
        ("Addison's disease", Some("363732003"), Some(By::Code)),
        ("Primary adrenocortical insufficiency", Some("373662000"), Some(By::Code)),
        ("CAH", Some("237751000"), Some(By::Code)),
        ("Acute adrenal insufficiency", Some("766986002"), Some(By::Code)),
        ("Addison’s disease", None, Some(By::Words)),
        ("Hypopituitarism", None, Some(By::Words)),
        ("Panhypopituitarism following surgery", None, Some(By::Words)),
        ("Secondary adrenal insufficiency", None, Some(By::Words)),
        ("Primary adrenal insufficiency", None, Some(By::Words)),
        ("Congenital adrenal hyperplasia", None, Some(By::Words)),
        ("Family history of Addison's disease", None, None),
        ("Addison's anaemia", None, None),
        ("Addison's disease excluded", None, None),
        ("No evidence of adrenal insufficiency", None, None),
        ("Adrenal insufficiency, not on steroids", None, Some(By::Words)),
        ("Adrenal adenoma", None, None),
        ("Essential hypertension", Some("59621000"), None),
    ] {
        let row = |active| Condition {
            code: Coded { text: text.into(), snomed: snomed.map(Into::into), ..Coded::default() },
            active,
            ..Condition::default()
        };
        let got = |active| steroid_reasons(&[row(active)], &[], &site, NOW).first().map(|reason| reason.by);
        assert_eq!(got(true), want, "{text}");
        assert_eq!(got(false), None, "{text}: no longer active");
    }
}

#[test]
fn what_is_not_being_given_is_not_current() {
    for (status, active, ended, want) in [
        (None, true, None, Taking::Current),
        (None, false, None, Taking::Ended),
        (None, true, Some(-1), Taking::Ended),
        (None, true, Some(1), Taking::Current),
        (Some("active"), true, None, Taking::Current),
        (Some("active"), true, Some(-1), Taking::Ended),
        (Some("active"), false, None, Taking::Ended),
        (Some("on-hold"), true, None, Taking::Suspended),
        (Some("on-hold"), false, None, Taking::Suspended),
        (Some("on-hold"), true, Some(-1), Taking::Ended),
        (Some("stopped"), true, None, Taking::Stopped),
        (Some("stopped"), false, Some(-1), Taking::Stopped),
        (Some("cancelled"), true, None, Taking::Stopped),
        (Some("completed"), true, None, Taking::Ended),
        (Some("draft"), true, None, Taking::Ended),
        (Some("entered-in-error"), true, None, Taking::Stopped),
        (Some("HELD?"), true, None, Taking::Current),
        (Some("HELD?"), false, None, Taking::Ended),
    ] {
        let row = Medication {
            status: status.map(Into::into),
            active,
            ended_at: ended.map(|hours: i64| NOW + hours * HOUR),
            ..medication("Gentamicin 320mg injection", "RSM01")
        };
        assert_eq!(taking(&row, NOW), want, "{status:?} {active} {ended:?}");
        assert_eq!(status_not_understood(&row).is_some(), status == Some("HELD?"));
        let teams = Teams::default();
        assert_eq!(lines(&[row], &site(), &teams, NOW).len(), usize::from(want == Taking::Current));
    }
}

#[test]
fn medicines_stand_side_by_side_by_ingredient() {
    let text = "[[team]]\nid = 'r'\nname = 'R'\norganisation = 'R1V01'\nkind = 'practice'\n";
    let teams = Teams::parse(text).expect("teams");
    let status = |status: &str, row: Medication| Medication { status: Some(status.into()), ..row };
    let rows = [
        medication("Hydrocortisone 10mg tablets", "R1V01"),
        medication("hydrocortisone 100mg injection", "RSM01"),
        medication("Plenadren 5mg modified-release tablets", "RSM01"),
        medication("Ramipril 5mg capsules", "R1V01"),
        Medication { active: false, ..medication("Aspirin 75mg tablets", "R1V01") },
        medication("Warfarin 3mg tablets", "R1V01"),
        status("on-hold", medication("Marevan 3mg tablets", "RSM01")),
        status("on-hold", medication("Apixaban 5mg tablets", "RSM01")),
        medication("Amlodipine 5mg / Warfarin 1mg tablets", "RSM01"),
    ];
    let lines: Vec<(String, bool, usize, usize)> = lines(&rows, &site(), &teams, NOW)
        .into_iter()
        .map(|line| (line.name, line.brands, line.gp.len(), line.hospital.len()))
        .collect();
    assert_eq!(
        lines,
        [
            ("Amlodipine".into(), false, 0, 1),
            ("Hydrocortisone".into(), true, 1, 2),
            ("Ramipril".into(), false, 1, 0),
            // The hospital suspended what the GP still has: beside it, not missing. Suspended apixaban is on no line.
            ("Warfarin".into(), true, 1, 1),
        ]
    );
}

#[test]
fn every_mistake_of_the_file_is_told() {
    let text = "[guideline]\nname = 'g'\nurl = 'http://x'\n[forms]\nlocal = []\nsystemic = []\n[[source]]\nid = 's'\nwhat = ''\n\
                [[ingredient]]\nname = 'a'\nwords = ['a']\ncodes = ['325373002']\nsource = ['t']\n";
    let told = Ingredients::parse("m.toml", text).expect_err("mistakes");
    for want in
        ["an https address", "does not say what was read", "`t` is not a source", "`325373002` fails the check digit"]
    {
        assert!(told.iter().any(|line| line.starts_with("m.toml: ") && line.contains(want)), "{want}: {told:?}");
    }
}

#[test]
fn a_set_that_is_not_there_is_told() {
    let missing = site().close(&terminology::sets::ConceptSets::default(), None).expect_err("no sets");
    assert!(missing.iter().any(|line| line.contains("there is no concept set `addisons-disease`")), "{missing:?}");
}
