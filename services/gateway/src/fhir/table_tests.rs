//! The table of what is searched by what.

use super::table::*;
use std::collections::BTreeSet;

#[test]
fn the_table_is_whole() {
    let names: BTreeSet<&str> = TYPES.iter().map(|one| one.name).collect();
    assert_eq!(names.len(), TYPES.len());
    for one in TYPES {
        let own: BTreeSet<&str> = one.parameters.iter().map(|parameter| parameter.name).collect();
        assert_eq!(own.len(), one.parameters.len(), "{}: a name stands there twice", one.name);
        let scoped = one.parameters.iter().any(|parameter| parameter.name == "patient");
        assert_eq!(scoped, one.is_of_a_person(), "{}", one.name);
        for parameter in one.parameters {
            match parameter.by {
                By::Reference(types) => assert!(types.iter().all(|of| names.contains(of)), "{}", parameter.name),
                By::Composite(parts) => {
                    assert!(parts.len() == 2 && parts.iter().all(|part| one.parameter(part).is_some()));
                }
                _ => {}
            }
            assert_eq!(parameter.at.is_empty(), matches!(parameter.by, By::Composite(_)), "{}", parameter.name);
        }
    }
    let of_records: BTreeSet<&str> = TYPES
        .iter()
        .filter(|one| !matches!(one.made, Made::Lists | Made::Provenance | Made::Accesses))
        .map(|one| one.name)
        .collect();
    assert_eq!(of_records, EVERY_OTHER.iter().copied().collect(), "each record comes from somewhere");
}
