//! The hierarchy beside a naive walk, and what is refused.

use crate::made::{Files, Parents, concept, walks_to};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// For each concept but the root: which of the concepts before it in some order are its parents.
    #[test]
    fn is_a_is_what_a_walk_finds(
        picks in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 1..4), 1..60),
        shuffle in any::<u64>(),
    ) {
        let count = picks.len() as u64 + 1;
        // Identifiers in another order than the hierarchy's.
        let place = |nth: u64| if nth == 0 { 0 } else { (nth.wrapping_mul(shuffle | 1) % 100_003) * 100 + nth };
        let (mut files, mut parents, mut edges) = (Files::new(), Parents::new(), 0);
        for nth in (0..count).rev() {
            files.concept(place(nth), true);
        }
        for (nth, picks) in picks.iter().enumerate() {
            let child = nth as u64 + 1;
            for pick in picks {
                let parent = pick.index(nth + 1) as u64;
                files.is_a(edges, place(child), place(parent));
                edges += 1;
                parents.entry(child).or_default().push(parent);
            }
        }
        let release = files.release();
        for child in 0..count {
            for other in 0..count {
                let got = release.is_a(concept(place(child)), concept(place(other)));
                prop_assert_eq!(got, Some(walks_to(&parents, child, other)), "{} {}", child, other);
            }
            let below: Vec<u64> = (0..count).filter(|it| *it != child && walks_to(&parents, *it, child)).collect();
            let mut below: Vec<u64> = below.into_iter().map(|it| concept(place(it))).collect();
            let mut got = release.descendants(concept(place(child)));
            below.sort_unstable();
            got.sort_unstable();
            prop_assert_eq!(got, below);
        }
    }
}

fn chain(count: u64) -> Files {
    let mut files = Files::new();
    for nth in 0..count {
        files.concept(nth, true);
        if nth > 0 {
            files.is_a(nth, nth, nth - 1);
        }
    }
    files
}

#[test]
fn what_is_not_there_is_not_known() {
    let release = chain(100).release();
    assert_eq!(release.is_a(concept(99), concept(0)), Some(true));
    assert_eq!(release.is_a(concept(0), concept(99)), Some(false));
    assert_eq!(release.is_a(concept(5), concept(5)), Some(true));
    assert_eq!(release.is_a(concept(500), concept(0)), None);
    assert_eq!(release.is_a(concept(5), concept(500)), None);
    assert_eq!(release.ancestors(concept(3)), [concept(0), concept(1), concept(2)]);
    assert_eq!((release.parents(concept(3)), release.children(concept(3))), (vec![concept(2)], vec![concept(4)]));
    assert_eq!(release.descendants(concept(98)), [concept(99)]);
}

#[test]
fn a_cycle_is_named() {
    let told = chain(5).is_a(9, 2, 4).mistakes();
    assert!(told.contains("relationship.txt:"), "{told}");
    assert!(told.contains("a cycle: "), "{told}");
    for nth in [2, 3, 4] {
        assert!(told.contains(&concept(nth).to_string()), "{told}");
    }
    let own = chain(3).is_a(9, 2, 2).mistakes();
    assert!(own.contains("relationship.txt:4: a cycle: "), "{own}");
}

#[test]
fn a_parent_that_is_missing_is_named() {
    let told = chain(3).is_a(9, 2, 7).mistakes();
    let want = format!(
        "relationship.txt:4: {} is-a {}: the parent {} is in no Concept file",
        concept(2),
        concept(7),
        concept(7)
    );
    assert_eq!(told, want);
    let told = chain(3).is_a(9, 7, 2).mistakes();
    assert!(told.contains("the child"), "{told}");
    let told = chain(3).concept(8, true).mistakes();
    assert_eq!(told, format!("concept.txt:5: the active concept {} has no parent", concept(8)));
    // One that is not in use needs none.
    assert_eq!(chain(3).concept(8, false).release().active(concept(8)), Some(false));
}

#[test]
fn a_component_that_is_there_twice_is_named() {
    assert_eq!(chain(3).concept(1, true).mistakes(), format!("concept.txt:5: {} was in line 3 already", concept(1)));
    let told = chain(3).is_a(1, 2, 1).mistakes();
    assert!(told.starts_with("relationship.txt:4: ") && told.ends_with("was in line 2 already"), "{told}");
    let mut files = chain(3);
    files.name(1, 1, 1, true, "one").name(1, 2, 1, true, "two");
    assert!(files.mistakes().contains("description.txt:3: "), "{}", files.mistakes());
}
