//! All records at once: what a linker that follows changes has to come to, by the plainest way.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::{
    Known,
    block::{BLOCK_MAX, Block, keys},
    linking_number,
    parameters::Parameters,
    partition::{Judged, Pair, Settlement, settle},
    score::{Band, score},
};
use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Default)]
pub struct Whole {
    pub settlement: Settlement,
    /// Pairs that were compared.
    pub compared: usize,
    /// Blocks that were too large, by kind.
    pub overflowed: BTreeMap<Block, usize>,
}

/// Links all records. Without parameters nobody is linked by weight.
pub fn link(members: &[Known], judged: &[Judged], parameters: Option<&Parameters>) -> Whole {
    let Some(parameters) = parameters else {
        return Whole { settlement: settle(members, judged, &[]), ..Whole::default() };
    };
    let (candidates, overflowed) = candidates(members);
    let scored = candidates.iter().map(|(one, other)| Pair {
        one: *one,
        other: Some(*other),
        scored: score(&members[*one], &members[*other], parameters),
    });
    let pairs: Vec<Pair> = scored.filter(|pair| pair.scored.band != Band::None).collect();
    Whole { settlement: settle(members, judged, &pairs), compared: candidates.len(), overflowed }
}

/// Whether the two are weighed at all: of those that share a verified number, the number's own rules decide.
pub fn is_weighed(one: &Known, other: &Known) -> bool {
    linking_number(one).is_none_or(|number| linking_number(other) != Some(number))
}

fn candidates(members: &[Known]) -> (Vec<(usize, usize)>, BTreeMap<Block, usize>) {
    let mut blocks: HashMap<(Block, String), Vec<usize>> = HashMap::new();
    for (at, member) in members.iter().enumerate() {
        for key in keys(member) {
            blocks.entry(key).or_default().push(at);
        }
    }
    let (mut pairs, mut overflowed) = (Vec::new(), BTreeMap::new());
    for ((block, _), members_of) in &blocks {
        if members_of.len() > BLOCK_MAX {
            *overflowed.entry(*block).or_default() += 1;
            continue;
        }
        for (index, one) in members_of.iter().enumerate() {
            pairs.extend(members_of[index + 1..].iter().map(|other| (*one, *other)));
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    pairs.retain(|(one, other)| is_weighed(&members[*one], &members[*other]));
    (pairs, overflowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{names::Name, parameters::tests::file};

    #[test]
    fn a_block_that_is_too_large_makes_no_pairs_and_is_told() {
        let parameters = Parameters::of(&file()).expect("good");
        let hostel = |count: usize| -> Vec<Known> {
            (0..count)
                .map(|at| Known {
                    source: "gp".into(),
                    id: at.to_string(),
                    birth_date: Some(i32::try_from(at).expect("few") % 300),
                    postcode: Some("RG1 4PA".into()),
                    name: Name::new(None, Some("Ellis")),
                    ..Known::default()
                })
                .collect()
        };
        let full = link(&hostel(BLOCK_MAX), &[], Some(&parameters));
        assert_eq!((full.compared, full.overflowed.len()), (BLOCK_MAX * (BLOCK_MAX - 1) / 2, 0));
        let over = link(&hostel(BLOCK_MAX + 1), &[], Some(&parameters));
        assert_eq!((over.compared, over.overflowed), (0, [(Block::PostcodeYear, 1)].into()));
    }
}
