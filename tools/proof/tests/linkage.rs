//! The small form of `./run bench linkage`: how well a population is linked, never how fast.

use proof::bench::linkage::{PRECISION_MIN, RECALL_MIN, measured};

#[test]
fn two_thousand_people_are_linked_as_they_should_be() {
    let (weights, accuracy) = measured(2_000, 100_000).expect("linked");
    assert_eq!(weights.version, "bench");
    assert!(accuracy.all.precision() >= PRECISION_MIN, "{accuracy:?}");
    assert!(accuracy.all.recall() >= RECALL_MIN, "{accuracy:?}");
    assert_eq!(accuracy.false_twins(), 0, "{accuracy:?}");
    assert!(accuracy.of.len() >= 8, "every error is there: {accuracy:?}");
}
