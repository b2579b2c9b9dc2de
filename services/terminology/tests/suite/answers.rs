//! Names, search, history, maps and refsets of a small release.

use crate::made::{Files, concept, description};
use terminology::{
    Release,
    history::{Association, Today},
    read_maps::{Choice, ReadSystem},
};

const SAME_AS: u64 = 900_000_000_000_527_005;
const REPLACED_BY: u64 = 900_000_000_000_526_001;
const POSSIBLY: u64 = 900_000_000_000_523_009;
const MOVED_TO: u64 = 900_000_000_000_524_003;

fn files() -> Files {
    let mut files = Files::new();
    for nth in 0..10 {
        files.concept(nth, nth < 5);
        if (1..5).contains(&nth) {
            files.is_a(nth, nth, nth / 2);
        }
    }
    files
        .name(1, 1, 0, false, "Adrenal insufficiency (disorder)")
        .name(2, 1, 1, true, "Adrenal insufficiency")
        .name(3, 2, 0, false, "Primary adrenal insufficiency (disorder)")
        .name(4, 2, 1, false, "Primary adrenal insufficiency")
        .name(5, 2, 1, true, "Addison's disease")
        .name(6, 3, 1, true, "Ménière's disease")
        .name(7, 7, 1, true, "Adrenal disease that nobody means any more")
        .association(5, SAME_AS, 2)
        .association(6, POSSIBLY, 2)
        .association(7, POSSIBLY, 2)
        .association(7, POSSIBLY, 3)
        .association(8, MOVED_TO, 2)
        .association(9, REPLACED_BY, 5);
    files
}

#[test]
fn names_and_which_is_shown() {
    let release = files().release();
    let preferred = |nth| release.preferred(concept(nth)).map(|name| name.term.to_owned());
    assert_eq!(preferred(1).as_deref(), Some("Adrenal insufficiency"));
    assert_eq!(preferred(2).as_deref(), Some("Addison's disease"));
    assert_eq!(preferred(4), None);
    let full = release.fully_specified(concept(2)).map(|name| name.term);
    assert_eq!(full, Some("Primary adrenal insufficiency (disorder)"));
    let name = release.description(description(5)).expect("a description");
    assert_eq!((name.concept, name.term), (concept(2), "Addison's disease"));
    assert_eq!(release.description(description(99)), None);
    assert_eq!(release.header().counts["descriptions"], 7);
}

#[track_caller]
fn found(release: &Release, query: &str, want: &[u64]) {
    let found = release.search(query, 20);
    let got: Vec<u64> = found.names.iter().map(|name| name.concept).collect();
    assert_eq!(got, want.iter().map(|nth| concept(*nth)).collect::<Vec<_>>(), "{query}");
}

#[test]
fn words_find_names() {
    let release = files().release();
    found(&release, "addison", &[2]);
    found(&release, "ADDISON'S dis", &[2]);
    found(&release, "disease addison ", &[2]);
    found(&release, "meniere", &[3]);
    found(&release, "Ménière", &[3]);
    // Short before long; what is not in use comes last.
    found(&release, "adrenal", &[1, 2, 7]);
    found(&release, "adrenal disease", &[7]);
    found(&release, "insuff", &[1, 2]);
    // A word that was finished is whole.
    found(&release, "insuff ", &[]);
    found(&release, "adrenal zebra", &[]);
    found(&release, "", &[]);
    assert_eq!(release.search("adrenal", 1).names.len(), 1);
    assert!(release.search("adrenal", 1).more);
}

#[test]
fn history_goes_on_only_where_it_says_so() {
    let release = files().release();
    let today = |nth| release.today(concept(nth));
    assert_eq!(today(2), Today::Active);
    assert_eq!(today(5), Today::Replaced { by: concept(2), how: vec![Association::SameAs] });
    assert_eq!(today(9), Today::Replaced { by: concept(2), how: vec![Association::ReplacedBy, Association::SameAs] });
    // One candidate is a candidate all the same.
    assert_eq!(today(6), Today::Candidates(vec![(Association::PossiblyEquivalentTo, concept(2))]));
    let two = [2, 3].map(|nth| (Association::PossiblyEquivalentTo, concept(nth))).to_vec();
    assert_eq!(today(7), Today::Candidates(two));
    assert_eq!(today(8), Today::Moved);
    assert_eq!(today(77), Today::Unknown);
}

#[test]
fn read_codes_by_the_rule_on_a_known_mix() {
    let mut files = files();
    let [one, two, three] = [1, 2, 3].map(concept);
    // Per code: newest row of each map, none that was switched off, assured first, then newest.
    files
        .read(&format!("a1 C154. 00 {one}  1 20100401 1"))
        .read(&format!("a1 C154. 00 {two}  1 20200401 1"))
        .read(&format!("b1 44I4. 00 {one}  0 20200401 1"))
        .read(&format!("b2 44I4. 00 {two}  1 20100401 1"))
        .read(&format!("c1 F56.. 00 {one}  1 20100401 1"))
        .read(&format!("c1 F56.. 00 {one}  1 20200401 0"))
        .read(&format!("d1 G30.. 00 {one}  1 20200401 1"))
        .read(&format!("d2 G30.. 00 {two}  1 20200401 1"))
        .read(&format!("e1 H33.. 00 {one}  1 20200401 1"))
        .read(&format!("e2 H33.. 11 {three}  1 20200401 1"))
        .read("f1 a11.. 00 _DRUG  1 20200401 1");
    let release = files.release();
    let chosen = |code: &str, term: Option<&str>| match release.read_code(ReadSystem::V2, code, term) {
        Choice::One(target) => target.concept.map(|it| it.to_string()).unwrap_or_default(),
        Choice::Several(all) => format!("{} of them", all.len()),
        Choice::NoConcept => "no concept".into(),
        Choice::Unknown => "unknown".into(),
    };
    assert_eq!(chosen("C154.", None), two.to_string());
    assert_eq!(chosen("44I4.", None), two.to_string());
    assert_eq!(chosen("F56..", None), "unknown");
    assert_eq!(chosen("G30..", None), "2 of them");
    assert_eq!(chosen("H33..", None), one.to_string());
    assert_eq!(chosen("H33..", Some("11")), three.to_string());
    assert_eq!(chosen("a11..", None), "no concept");
    // Case matters, and a code is not the beginning of another.
    assert_eq!(chosen("c154.", None), "unknown");
    assert_eq!(chosen("C154", None), "unknown");
    let counts = &release.header().counts;
    let told = ["rows", "latest", "active", "assured"].map(|what| counts[&format!("read-v2 {what}")]);
    assert_eq!(told, [11, 9, 8, 7]);
}

#[test]
fn members_of_refsets_that_are_kept() {
    let mut files = files();
    let (pbcl, other) = (999_002_881_000_000_100_u64, 900_000_000_000_527_005_u64);
    for refset in [pbcl, other] {
        files.members.push_str(&format!("x\t20260401\t1\t900000000000207008\t{refset}\t{}\r\n", concept(2)));
    }
    let release = files.release();
    assert_eq!(release.is_member(pbcl, concept(2)), Some(true));
    assert_eq!(release.is_member(pbcl, concept(3)), Some(false));
    assert_eq!(release.is_member(other, concept(2)), None);
}
