//! What is fed: the loaders of releases, whose files come from others' downloads and disks.

use super::driver::run;
use terminology::{About, Draft, Release, build, mistake::Mistakes};

/// What is put in order, written and read again is what was told: so many concepts, or mistakes.
fn through(draft: Draft, mistakes: Mistakes) -> (u64, Option<usize>) {
    let count = mistakes.count();
    let about = About { name: "fuzz".into(), releases: Vec::new(), inputs: Vec::new() };
    let mut out = Vec::new();
    match build(draft, about, &mut out, mistakes, |_| {}) {
        Err(_) => (count.min(4), None),
        Ok(header) => {
            let release = Release::open(out.into()).expect("what was just written");
            assert_eq!(header.counts["concepts"], release.concepts() as u64);
            assert_eq!(header.id(), release.id());
            (count.min(4), Some(release.concepts().min(4)))
        }
    }
}

/// Files in one input, apart by a line of `=`: concepts, descriptions, relationships, language, association, refset.
#[test]
fn rf2() {
    run("rf2", Vec::new(), |input| {
        let (mut draft, mut mistakes) = (Draft::default(), Mistakes::default());
        let mut files = input.split(|byte| *byte == b'=');
        let mut next = || files.next().unwrap_or_default();
        draft.concepts(&mut next(), "concept", &mut mistakes);
        draft.descriptions(&mut next(), "description", &mut mistakes);
        draft.relationships(&mut next(), "relationship", &mut mistakes);
        draft.languages(&mut next(), "language", &mut mistakes);
        draft.associations(&mut next(), "association", &mut mistakes);
        draft.members(&mut next(), "refset", &mut mistakes);
        let read = (draft.concepts.len().min(4), draft.descriptions.len().min(4), draft.is_a.len().min(4));
        let first = mistakes.all().first().map(|mistake| mistake.what.clone());
        // An input that is no heading at all tells nothing of what is behind it.
        (read, first.map(|what| what.chars().take(24).collect::<String>()), through(draft, mistakes))
    });
}

#[test]
fn dmd_xml() {
    run("dmd_xml", Vec::new(), |input| {
        let (mut draft, mut mistakes) = (Draft::default(), Mistakes::default());
        draft.dmd(&mut &input[..], "f.xml", &mut mistakes);
        let read = draft.products.len().min(4);
        let first = mistakes.all().first().map(|mistake| mistake.what.chars().take(24).collect::<String>());
        (read, first, through(draft, mistakes))
    });
}

/// Files in one input, apart by `=`: a Read v2 map, a CTV3 map, LOINC, what its codes are mapped to.
#[test]
fn maps() {
    run("maps", Vec::new(), |input| {
        let (mut draft, mut mistakes) = (Draft::default(), Mistakes::default());
        let mut files = input.split(|byte| *byte == b'=');
        let mut next = || files.next().unwrap_or_default();
        draft.read_v2(&mut next(), "read", &mut mistakes);
        draft.ctv3(&mut next(), "ctv3", &mut mistakes);
        draft.loinc(&mut next(), "loinc", &mut mistakes);
        draft.loinc_map(&mut next(), "map", &mut mistakes);
        let read = (draft.maps.len().min(4), draft.loinc.len().min(4), draft.loinc_maps.len().min(4));
        let first = mistakes.all().first().map(|mistake| mistake.what.chars().take(24).collect::<String>());
        (read, first, through(draft, mistakes))
    });
}

/// Bytes that are no index are refused, whatever they are.
#[test]
fn index_files() {
    let good = || {
        let (mut draft, mut mistakes) = (Draft::default(), Mistakes::default());
        let text = "id\teffectiveTime\tactive\n138875005\t20260401\t1\n";
        draft.concepts(&mut text.as_bytes(), "concept", &mut mistakes);
        let about = About { name: "fuzz".into(), releases: Vec::new(), inputs: Vec::new() };
        let mut out = Vec::new();
        build(draft, about, &mut out, mistakes, |_| {}).expect("a root alone");
        out
    };
    let known = good();
    run("index_files", vec![known.clone()], move |input| match Release::open(input.into()) {
        Ok(_) => {
            assert_eq!(input, known, "another file is taken for an index");
            None
        }
        Err(refused) => Some(refused.to_string()),
    });
}
