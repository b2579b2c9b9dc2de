//! A small generated release, loaded as a site loads its own, beside the answers that its maker knows.

use rand::{Rng, SeedableRng, rngs::StdRng};
use std::collections::BTreeSet;
use terminology::{
    Release, folder,
    history::Today,
    read_maps::{Choice, ReadSystem},
};

const CONCEPTS: usize = 3_000;
const SEED: u64 = 13;

fn loaded() -> (releases::Made, Release) {
    let place = tempfile::tempdir().expect("a folder");
    let made = releases::write(&place.path().join("in"), CONCEPTS, SEED).expect("written");
    let out = folder::path(&place.path().join("out"), "small").expect("a name");
    let mut read = 0;
    folder::load(&place.path().join("in"), "small", &out, &mut |progress| read = progress.read).expect("loaded");
    assert_eq!(read, made.bytes, "all was read");
    let release = folder::open(&out).expect("opened");
    (made, release)
}

/// Every ancestor, step by step.
fn above(made: &releases::Made, nth: u32) -> BTreeSet<u32> {
    let (mut all, mut next) = (BTreeSet::new(), vec![nth]);
    while let Some(at) = next.pop() {
        next.extend(made.parents[at as usize].iter().filter(|parent| all.insert(**parent)));
    }
    all
}

#[test]
fn answers_are_its_makers() {
    let (made, release) = loaded();
    assert_eq!(release.concepts(), CONCEPTS);
    assert_eq!(release.header().warnings, Vec::<String>::new());
    let mut random = StdRng::seed_from_u64(SEED);
    for _ in 0..300 {
        let child = random.random_range(0..CONCEPTS as u32);
        let all = above(&made, child);
        for other in (0..CONCEPTS as u32).step_by(7).chain(all.iter().copied()) {
            let [a, b] = [child, other].map(|nth| made.concepts[nth as usize]);
            assert_eq!(release.is_a(a, b), Some(child == other || all.contains(&other)), "{a} {b}, seed {SEED}");
        }
    }
    for (nth, id) in made.concepts.iter().enumerate() {
        assert_eq!(release.active(*id), Some(made.active[nth]));
        assert_eq!(release.preferred(*id).map(|name| name.term), Some(made.names[nth].as_str()));
    }
    for (of, want) in &made.replaced {
        let got = match release.today(*of) {
            Today::Replaced { by, .. } => Some(by),
            _ => None,
        };
        assert_eq!(got, *want, "{of}");
    }
    for (code, want) in &made.read {
        let got = match release.read_code(ReadSystem::V2, code, None) {
            Choice::One(target) => target.concept,
            _ => None,
        };
        assert_eq!(got, *want, "{code}");
    }
}

#[test]
fn a_name_is_found_by_its_own_words() {
    let (made, release) = loaded();
    for (nth, name) in made.names.iter().enumerate().step_by(37) {
        let found = release.search(name, terminology::FOUND_MAX);
        assert!(found.names.iter().any(|it| it.concept == made.concepts[nth]), "{name}");
        // Every word of the query is in every name that was found, or begins one.
        for it in &found.names {
            assert!(name.split(' ').all(|word| it.term.contains(word)), "{name}: {}", it.term);
        }
    }
}
