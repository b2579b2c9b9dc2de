//! What a loaded release adds to a code: a Read code's concept by the release's map, and what a concept that is no longer
//! in use means today. What the source wrote stays as it is.

use crate::{Given, System, read};
use event::{Code, Coding, Origin, datum::Aside};
use terminology::{
    Release,
    history::Today,
    read_maps::{Choice, ReadSystem},
    sctid,
};

/// Adds to the codings, and says which concept the thing is where nobody did.
pub fn add(code: &mut Code, codes: &[Given], release: &Release) {
    for given in codes {
        if let Some(system) = read_system(given.system) {
            mapped(code, system, &read::normal(&given.code), release);
        }
    }
    let concept = code.snomed.as_deref().and_then(sctid::parse);
    // Only what is known to have become one other concept is called that: who may mean one of several is shown as written.
    if let Some(Today::Replaced { by, how }) = concept.map(|concept| release.today(concept)) {
        let how: Vec<&str> = how.iter().map(|association| association.as_str()).collect();
        let by = tell(code, by, Origin::Replaced, &format!("{}: {}", release.id(), how.join(", ")), release);
        code.snomed = Some(by);
    }
}

const fn read_system(system: System) -> Option<ReadSystem> {
    match system {
        System::ReadV2 => Some(ReadSystem::V2),
        System::Ctv3 => Some(ReadSystem::Ctv3),
        System::Snomed | System::Loinc | System::Dmd | System::Local => None,
    }
}

/// Rows that disagree add nothing, and what nobody assured is added and not concluded from.
fn mapped(code: &mut Code, system: ReadSystem, read: &str, release: &Release) {
    let Choice::One(target) = release.read_code(system, read, None) else { return };
    let Some(concept) = target.concept else { return };
    let (origin, assured) =
        if target.assured { (Origin::Mapped, "assured") } else { (Origin::Inferred, "not assured") };
    let concept = tell(code, concept, origin, &format!("{}: map of {}, {assured}", release.id(), target.date), release);
    if target.assured && code.snomed.is_none() {
        code.snomed = Some(concept);
    }
}

/// Once: what another told already is not told again.
fn tell(code: &mut Code, concept: u64, origin: Origin, by: &str, release: &Release) -> String {
    let system = System::Snomed.uri("");
    let text = concept.to_string();
    if !code.codings.iter().any(|coding| coding.system == system && coding.code == text) {
        code.codings.push(Coding {
            system,
            version: None,
            code: text.clone(),
            display: release.preferred(concept).map(|name| name.term.to_owned()),
            origin,
            by: Aside(Some(by.to_owned())),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use terminology::{About, Draft, build, mistake::Mistakes};

    /// A root, Addison's disease in use, serum potassium in use, and six concepts that are not.
    fn release() -> Release {
        const REFSET: &str = "active\trefsetId\treferencedComponentId\ttargetComponentId\n";
        let concepts = "id\teffectiveTime\tactive\n138875005\t20260401\t1\n363732003\t20260401\t1\n\
            1000651000000109\t20260401\t1\n14669001\t20260401\t0\n24867002\t20260401\t0\n91936005\t20260401\t0\n\
            14140009\t20260401\t0\n89627008\t20260401\t0\n";
        let is_a = "id\teffectiveTime\tactive\tsourceId\tdestinationId\ttypeId\tcharacteristicTypeId\n";
        let is_a = format!(
            "{is_a}{}\t20260401\t1\t363732003\t138875005\t116680003\t900000000000011006\n\
             {}\t20260401\t1\t1000651000000109\t138875005\t116680003\t900000000000011006\n",
            sctid::with_check(30_000_102),
            sctid::with_check(30_000_202),
        );
        let history = format!(
            "{REFSET}1\t900000000000527005\t14669001\t363732003\n1\t900000000000526001\t24867002\t14669001\n\
             1\t900000000000523009\t91936005\t363732003\n1\t900000000000524003\t14140009\t363732003\n"
        );
        let maps = "MapId\tReadCode\tTermCode\tConceptId\tDescriptionId\tIS_ASSURED\tEffectiveDate\tMapStatus\n\
            a\tC1541\t00\t363732003\t\t1\t20200401\t1\nb\tZ1...\t00\t14669001\t\t1\t20200401\t1\n\
            c\tZ2...\t00\t363732003\t\t0\t20200401\t1\nd\tZ3...\t00\t363732003\t\t1\t20200401\t1\n\
            e\tZ3...\t00\t14669001\t\t1\t20200401\t1\nf\tZ4...\t00\t1000651000000109\t\t1\t20200401\t1\n";
        let (mut draft, mut mistakes) = (Draft::default(), Mistakes::default());
        draft.concepts(&mut concepts.as_bytes(), "c", &mut mistakes);
        draft.relationships(&mut is_a.as_bytes(), "r", &mut mistakes);
        draft.associations(&mut history.as_bytes(), "a", &mut mistakes);
        draft.read_v2(&mut maps.as_bytes(), "m", &mut mistakes);
        let about = About { name: "uk-1".into(), releases: Vec::new(), inputs: Vec::new() };
        let mut out = Vec::new();
        build(draft, about, &mut out, mistakes, |_| {}).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        Release::open(out.into()).expect("what was just written")
    }

    #[track_caller]
    fn check(codes: &[(System, &str)], want: &str) {
        let one = |(system, code): &(System, &str)| Given {
            system: *system,
            code: (*code).to_owned(),
            version: None,
            display: None,
        };
        let codes: Vec<Given> = codes.iter().map(one).collect();
        let snomed = codes.iter().find(|given| given.system == System::Snomed).map(|given| given.code.clone());
        let written = codes.iter().map(|given| super::super::written(given, "gp")).collect();
        let mut code = Code { snomed, codings: written, ..Code::default() };
        add(&mut code, &codes, &release());
        let coding = |coding: &Coding| {
            let by = coding.by.0.as_deref().and_then(|by| by.split_once(": ")).map_or("", |(_, by)| by);
            format!("{} {} {by}", coding.origin.as_str(), coding.code).trim_end().to_owned()
        };
        let told: Vec<String> = code.codings.iter().map(coding).collect();
        assert_eq!(format!("{} | {}", code.snomed.as_deref().unwrap_or("-"), told.join(", ")), want);
    }

    #[test]
    fn what_is_no_longer_in_use_goes_on_only_where_its_history_says_so() {
        let check = |concept: &str, want: &str| check(&[(System::Snomed, concept)], want);
        check("363732003", "363732003 | written 363732003");
        check("14669001", "363732003 | written 14669001, replaced 363732003 SAME AS");
        check("24867002", "363732003 | written 24867002, replaced 363732003 REPLACED BY, SAME AS");
        // Possibly equivalent, even to one alone; moved; and without any history: as written.
        check("91936005", "91936005 | written 91936005");
        check("14140009", "14140009 | written 14140009");
        check("89627008", "89627008 | written 89627008");
        check("386584007", "386584007 | written 386584007");
        check("not a number", "not a number | written not a number");
    }

    #[test]
    fn read_codes_are_mapped_and_what_nobody_assured_is_only_shown() {
        let check = |code: &str, want: &str| check(&[(System::ReadV2, code)], want);
        check("C1541", "363732003 | written C1541, mapped 363732003 map of 20200401, assured");
        check("C1541-1", "363732003 | written C1541-1, mapped 363732003 map of 20200401, assured");
        check("Z1", "363732003 | written Z1, mapped 14669001 map of 20200401, assured, replaced 363732003 SAME AS");
        check("Z2", "- | written Z2, inferred 363732003 map of 20200401, not assured");
        check("Z3", "- | written Z3");
        check("c1541", "- | written c1541");
    }

    #[test]
    fn what_the_source_says_goes_before_a_map() {
        let both = [(System::ReadV2, "C1541"), (System::Snomed, "1000651000000109")];
        check(
            &both,
            "1000651000000109 | written C1541, written 1000651000000109, mapped 363732003 map of 20200401, assured",
        );
        check(
            &[(System::ReadV2, "C1541"), (System::Snomed, "363732003")],
            "363732003 | written C1541, written 363732003",
        );
    }
}
