//! Damage is refused, and a folder says all that is wrong with it.

use crate::made::{Files, concept};
use std::{fs, path::Path};
use terminology::{Refused, Release, folder};

fn files() -> Files {
    let mut files = Files::new();
    files.concept(0, true).concept(1, true).is_a(1, 1, 0).name(1, 1, 1, true, "Addison's disease");
    files
}

#[test]
fn any_byte_that_differs_is_refused() {
    let good = files().build().expect("good");
    assert!(Release::open(good.clone().into()).is_ok());
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        assert!(Release::open(bytes.into()).is_err(), "byte {at} of {}", good.len());
    }
    for length in 0..good.len() {
        assert!(Release::open(good[..length].into()).is_err(), "{length} bytes of {}", good.len());
    }
    let longer = [good.clone(), vec![0]].concat();
    assert_eq!(Release::open(longer.into()).err(), Some(Refused::Damaged));
    let mut newer = good;
    newer[8] = 9;
    assert_eq!(Release::open(newer.into()).err(), Some(Refused::Format(9)));
    assert_eq!(Release::open(b"something else"[..].into()).err(), Some(Refused::Foreign));
}

fn put(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
}

/// As the UK Monolith is laid out.
fn monolith(folder: &Path, files: &Files) {
    let root = "SnomedCT_MonolithRF2_PRODUCTION_20260401T120000Z/Snapshot";
    let at = |name: &str| format!("{root}/{name}_GB_20260401.txt");
    put(folder, &at("Terminology/sct2_Concept_MONOSnapshot"), &files.concepts);
    put(folder, &at("Terminology/sct2_Description_MONOSnapshot-en"), &files.descriptions);
    put(folder, &at("Terminology/sct2_Relationship_MONOSnapshot"), &files.relationships);
    put(folder, &at("Terminology/sct2_StatedRelationship_MONOSnapshot"), "not read");
    put(folder, &at("Refset/Language/der2_cRefset_LanguageMONOSnapshot-en"), &files.languages);
    put(folder, &at("Refset/Content/der2_cRefset_AssociationMONOSnapshot"), &files.associations);
    put(folder, &at("Refset/Content/der2_Refset_SimpleMONOSnapshot"), &files.members);
    put(folder, "Full/Terminology/sct2_Concept_MONOFull_GB_20260401.txt", "not read");
}

fn load(folder: &Path, name: &str) -> Result<terminology::Header, folder::ReleaseError> {
    let out = folder::path(&folder.join("releases"), name)?;
    folder::load(&folder.join("in"), name, &out, &mut |_| {})
}

#[test]
fn a_folder_is_loaded_and_two_stand_side_by_side() {
    let place = tempfile::tempdir().expect("a folder");
    monolith(&place.path().join("in"), &files());
    let first = load(place.path(), "uk-1").expect("loaded");
    assert_eq!(first.releases, ["SNOMED CT GB 20260401"]);
    assert_eq!(first.inputs.len(), 6);
    assert!(first.inputs.iter().all(|input| input.sha256.len() == 64 && input.bytes > 0), "{:?}", first.inputs);
    // The same files under the same name are the same release; others are another.
    let again = load(place.path(), "uk-1").expect("loaded");
    assert_eq!(first.id(), again.id());
    monolith(&place.path().join("in"), files().name(2, 1, 1, false, "another name"));
    let second = load(place.path(), "uk-2").expect("loaded");
    assert_ne!(first.id().split_once(' ').map(|it| it.1), second.id().split_once(' ').map(|it| it.1));
    let releases = place.path().join("releases");
    assert_eq!(folder::names(&releases).expect("names"), ["uk-1", "uk-2"]);
    for (name, names) in [("uk-1", 1), ("uk-2", 2)] {
        let release = folder::open(&folder::path(&releases, name).expect("a name")).expect("opened");
        assert_eq!(release.names(concept(1)).count(), names);
        assert_eq!(release.header().name, name);
    }
    assert!(folder::path(&releases, "../x").is_err() && folder::path(&releases, "").is_err());
}

#[test]
fn of_four_packages_the_newest_row_counts() {
    let place = tempfile::tempdir().expect("a folder");
    let input = place.path().join("in");
    let (base, mut own) = (files(), Files::new());
    let at = |package: &str, name: &str, space: &str| format!("{package}/Snapshot/{name}Snapshot{space}_20260401.txt");
    put(&input, &at("SnomedCT_InternationalRF2", "sct2_Concept_", "_INT"), &base.concepts);
    put(&input, &at("SnomedCT_InternationalRF2", "sct2_Description_", "-en_INT"), &base.descriptions);
    put(&input, &at("SnomedCT_InternationalRF2", "sct2_Relationship_", "_INT"), &base.relationships);
    own.concept(2, true).is_a(2, 2, 1).name(2, 2, 1, true, "A British concept");
    // The extension has a newer row of a concept of the edition that it extends: it is not in use there.
    own.concepts.push_str(&format!("{}\t20260501\t0\t900000000000207008\t900000000000074008\r\n", concept(1)));
    put(&input, &at("SnomedCT_UKClinicalRF2", "sct2_Concept_UKCL", "_GB1000000"), &own.concepts);
    put(&input, &at("SnomedCT_UKClinicalRF2", "sct2_Description_UKCL", "-en_GB1000000"), &own.descriptions);
    put(&input, &at("SnomedCT_UKClinicalRF2", "sct2_Relationship_UKCL", "_GB1000000"), &own.relationships);
    let header = load(place.path(), "uk").expect("loaded");
    assert_eq!(header.releases, ["SNOMED CT GB1000000 20260401", "SNOMED CT INT 20260401"]);
    let release = folder::open(&place.path().join("releases/uk.terms")).expect("opened");
    assert_eq!(release.active(concept(1)), Some(false));
    assert_eq!(release.is_a(concept(2), concept(0)), Some(true));
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let place = tempfile::tempdir().expect("a folder");
    let input = place.path().join("in");
    fs::create_dir_all(&input).expect("made");
    let told = |name| load(place.path(), name).expect_err("mistakes").to_string();
    assert!(told("uk").contains("holds no file of a release"), "{}", told("uk"));
    put(&input, "uk.zip", "x");
    assert!(told("uk").contains("unpack its 1 archives first"), "{}", told("uk"));
    let mut files = files();
    files.concepts.push_str("363732004\t20260401\t1\tx\tx\r\n363732003\t2026\t1\tx\tx\r\n");
    files.relationships = files.relationships.replace("sourceId", "from");
    monolith(&input, &files);
    let all = told("uk");
    assert!(
        all.contains("sct2_Concept_MONOSnapshot_GB_20260401.txt:4: `363732004` is no SNOMED CT identifier"),
        "{all}"
    );
    assert!(all.contains("_20260401.txt:5: `2026` is no day such as 20260401"), "{all}");
    assert!(all.contains("sct2_Relationship_MONOSnapshot_GB_20260401.txt:1: no column sourceId"), "{all}");
    // Nothing is left behind.
    let left = fs::read_dir(place.path().join("releases")).map(|all| all.count()).unwrap_or(0);
    assert_eq!(left, 0);
    assert!(told("UK 1").contains("is no name of a release"), "{}", told("UK 1"));
}
