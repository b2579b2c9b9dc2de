//! The hierarchy: concepts in an order in which every ancestor comes before its descendants, and who is whose ancestor.

use crate::{
    draft::{Draft, IsA},
    lists,
    mistake::Mistakes,
    rf2::ROOT,
};

/// Concepts by ordinal, and what follows from their places.
pub struct Hierarchy {
    /// Identifiers, growing.
    pub ids: Vec<u64>,
    /// The ordinal of each of those.
    pub ordinals: Vec<u32>,
    /// Identifier and state by ordinal.
    pub by_ordinal: Vec<(u64, bool)>,
    pub parents: lists::Writer,
    pub ancestors: lists::Writer,
}

impl Hierarchy {
    pub fn ordinal(&self, id: u64) -> Option<u32> {
        self.ids.binary_search(&id).ok().map(|nth| self.ordinals[nth])
    }
}

/// One row for each component: two in one file are a mistake, of several files the newest counts.
pub fn newest<T>(
    rows: &mut Vec<T>,
    key: impl Fn(&T) -> (u64, u32, crate::table::Line),
    file_of: impl Fn(crate::table::Line) -> String,
    mistakes: &mut Mistakes,
) {
    rows.sort_by(|a, b| {
        let (a, b) = (key(a), key(b));
        (a.0, b.1, a.2.file, a.2.number).cmp(&(b.0, a.1, b.2.file, b.2.number))
    });
    for pair in rows.windows(2) {
        let ((id, _, first), (other, _, second)) = (key(&pair[0]), key(&pair[1]));
        if id == other && first.file == second.file {
            let (early, late) = (first.number.min(second.number), first.number.max(second.number));
            mistakes.add(&file_of(second), late.into(), format!("{id} was in line {early} already"));
        }
    }
    rows.dedup_by_key(|row| key(row).0);
}

/// Puts concepts in order. Cycles, and parents that are not there, are named with the line that says so.
pub fn build(draft: &mut Draft, mistakes: &mut Mistakes) -> Option<Hierarchy> {
    let mut concepts = std::mem::take(&mut draft.concepts);
    newest(&mut concepts, |row| (row.id, row.time, row.line), |line| draft.file_of(line).to_owned(), mistakes);
    let mut is_a = std::mem::take(&mut draft.is_a);
    newest(&mut is_a, |row| (row.id, row.time, row.line), |line| draft.file_of(line).to_owned(), mistakes);
    is_a.retain(|row| row.active);
    let ids: Vec<u64> = concepts.iter().map(|row| row.id).collect();
    let place = |id: u64| ids.binary_search(&id).ok();
    // Edges between places in `ids`, by the child.
    let mut edges: Vec<(u32, u32, u32)> = Vec::with_capacity(is_a.len());
    for (nth, row) in is_a.iter().enumerate() {
        match (place(row.from), place(row.to)) {
            (Some(from), Some(to)) => edges.push((from as u32, to as u32, nth as u32)),
            (from, _) => {
                let (missing, of) = if from.is_none() { (row.from, "child") } else { (row.to, "parent") };
                let what = format!("{} is-a {}: the {of} {missing} is in no Concept file", row.from, row.to);
                mistakes.add(draft.file_of(row.line), row.line.number.into(), what);
            }
        }
    }
    edges.sort_unstable();
    edges.dedup_by_key(|edge| (edge.0, edge.1));
    let active: Vec<bool> = concepts.iter().map(|row| row.active).collect();
    let mut has_parent = vec![false; ids.len()];
    edges.iter().for_each(|edge| has_parent[edge.0 as usize] = true);
    for (nth, row) in concepts.iter().enumerate() {
        if row.active && row.id != ROOT && !has_parent[nth] {
            let what = format!("the active concept {} has no parent", row.id);
            mistakes.add(draft.file_of(row.line), row.line.number.into(), what);
        }
    }
    drop((has_parent, concepts));
    let (order, left) = sorted(&edges, &active);
    if order.len() < ids.len() {
        name_cycle(&edges, &left, &is_a, draft, mistakes);
        return None;
    }
    drop(is_a);
    let mut ordinals = vec![0_u32; ids.len()];
    order.iter().enumerate().for_each(|(ordinal, nth)| ordinals[*nth as usize] = ordinal as u32);
    let by_ordinal: Vec<(u64, bool)> = order.iter().map(|nth| (ids[*nth as usize], active[*nth as usize])).collect();
    let (parents, ancestors) = closed(&edges, &order, &ordinals, mistakes);
    Some(Hierarchy { ids, ordinals, by_ordinal, parents, ancestors })
}

/// Those whose parents are all there before them; active ones first. Behind it: how many parents each still waits for.
fn sorted(edges: &[(u32, u32, u32)], active: &[bool]) -> (Vec<u32>, Vec<u32>) {
    let count = active.len();
    let (mut waits, mut starts) = (vec![0_u32; count], vec![0_u32; count + 1]);
    for (child, parent, _) in edges {
        waits[*child as usize] += 1;
        starts[*parent as usize + 1] += 1;
    }
    for nth in 0..count {
        starts[nth + 1] += starts[nth];
    }
    let (mut children, mut fill) = (vec![0_u32; edges.len()], starts.clone());
    for (child, parent, _) in edges {
        children[fill[*parent as usize] as usize] = *child;
        fill[*parent as usize] += 1;
    }
    let free = |state: bool| (0..count as u32).filter(move |nth| active[*nth as usize] == state);
    let mut order: Vec<u32> = free(true).filter(|nth| waits[*nth as usize] == 0).collect();
    let inactive: Vec<u32> = free(false).filter(|nth| waits[*nth as usize] == 0).collect();
    let mut next = 0;
    let mut follow = |order: &mut Vec<u32>, waits: &mut Vec<u32>| {
        while let Some(parent) = order.get(next).map(|nth| *nth as usize) {
            next += 1;
            for child in &children[starts[parent] as usize..starts[parent + 1] as usize] {
                waits[*child as usize] -= 1;
                if waits[*child as usize] == 0 {
                    order.push(*child);
                }
            }
        }
    };
    follow(&mut order, &mut waits);
    order.extend(inactive);
    follow(&mut order, &mut waits);
    (order, waits)
}

fn name_cycle(edges: &[(u32, u32, u32)], left: &[u32], is_a: &[IsA], draft: &Draft, mistakes: &mut Mistakes) {
    const SHOWN: usize = 10;
    let waits = |nth: u32| left[nth as usize] > 0;
    // Whoever waits has a parent that waits: going up must come round.
    let up = |child: u32| {
        let from = edges.partition_point(|edge| edge.0 < child);
        edges[from..].iter().take_while(|edge| edge.0 == child).find(|edge| waits(edge.1))
    };
    let Some(mut at) = (0..left.len() as u32).find(|nth| waits(*nth)) else { return };
    let mut seen: Vec<u32> = Vec::new();
    let (mut row, mut been) = (None, vec![false; left.len()]);
    while !std::mem::replace(&mut been[at as usize], true) {
        seen.push(at);
        let Some(edge) = up(at) else { break };
        row = is_a.get(edge.2 as usize);
        at = edge.1;
    }
    let begin = seen.iter().position(|nth| *nth == at).unwrap_or(0);
    let Some(row) = row else { return };
    let ring: Vec<String> = seen[begin..].iter().take(SHOWN).filter_map(|nth| edge_from(edges, is_a, *nth)).collect();
    let what = format!("a cycle: {} is-a {} closes the ring {}", row.from, row.to, ring.join(" → "));
    mistakes.add(draft.file_of(row.line), row.line.number.into(), what);
}

fn edge_from(edges: &[(u32, u32, u32)], is_a: &[IsA], child: u32) -> Option<String> {
    let from = edges.partition_point(|edge| edge.0 < child);
    edges.get(from).and_then(|edge| is_a.get(edge.2 as usize)).map(|row| row.from.to_string())
}

/// Parents and all ancestors, by ordinal.
fn closed(
    edges: &[(u32, u32, u32)],
    order: &[u32],
    ordinals: &[u32],
    mistakes: &mut Mistakes,
) -> (lists::Writer, lists::Writer) {
    let (mut parents, mut ancestors) = (lists::Writer::default(), lists::Writer::default());
    let (mut above, mut all) = (Vec::new(), Vec::new());
    for nth in order {
        above.clear();
        all.clear();
        let from = edges.partition_point(|edge| edge.0 < *nth);
        for (_, parent, _) in edges[from..].iter().take_while(|edge| edge.0 == *nth) {
            let parent = ordinals[*parent as usize];
            above.push(parent);
            all.push(parent);
            all.extend(ancestors.lists().get(parent as usize).iter());
        }
        above.sort_unstable();
        all.sort_unstable();
        all.dedup();
        parents.push(&above);
        ancestors.push(&all);
    }
    if parents.is_full() || ancestors.is_full() {
        mistakes.add("", 0, "the hierarchy has more ancestors than an index can hold");
    }
    (parents, ancestors)
}
