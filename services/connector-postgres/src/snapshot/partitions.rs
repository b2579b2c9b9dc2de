//! Rows that a partition holds when it is attached: the stream says nothing of them, so they are read.
//!
//! # Why
//! Attaching is a change of the catalogue alone. From then on the partition's changes come under its root's name, and its
//! older rows would be missing. Which partitions there are is kept beside what was read; a new one is read by the condition
//! that its rows fulfil, on which PostgreSQL leaves every other partition out.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::state::{Running, State};
use crate::catalogue::Member;

/// Partitions that one snapshot reads: its condition names each.
const AT_ONCE_MAX: usize = 64;
/// Of one table; the state that the log carries names each.
const FOLLOWED_MAX: usize = 10_000;

impl State {
    /// Takes in which partitions there are. True: the log does not say so yet.
    pub(crate) fn follow_partitions(&mut self, published: &[Member]) -> bool {
        let before = self.partitions.clone();
        self.partitions.retain(|since, _| published.iter().any(|member| member.since == *since));
        for member in published {
            let Some(partitions) = &member.partitions else { continue };
            if partitions.len() > FOLLOWED_MAX {
                self.partitions.remove(&member.since);
                continue;
            }
            // A table that is new here is read whole.
            let known = self.partitions.entry(member.since.clone());
            let known = known.or_insert_with(|| partitions.keys().cloned().collect());
            known.retain(|way| partitions.contains_key(way));
        }
        self.partitions != before
    }

    /// What is to be read because partitions were attached.
    pub(crate) fn attached(&self, published: &[Member], id: impl Fn() -> String) -> Vec<Running> {
        let mut wanted = Vec::new();
        for member in published.iter().filter(|member| self.knows(member)) {
            let (Some(partitions), Some(known)) = (&member.partitions, self.partitions.get(&member.since)) else {
                continue;
            };
            let read = |way: &String| self.running.as_ref().is_some_and(|running| running.partitions.contains(way));
            let new: Vec<_> = partitions.iter().filter(|(way, _)| !known.contains(*way) && !read(way)).collect();
            for some in new.chunks(AT_ONCE_MAX) {
                let conditions: Vec<String> = some.iter().map(|(_, condition)| format!("({condition})")).collect();
                let table = std::slice::from_ref(member);
                wanted.push(Running {
                    partitions: some.iter().map(|(way, _)| (*way).clone()).collect(),
                    ..Running::new(id(), false, Some(conditions.join(" or ")), table)
                });
            }
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Stored;
    use change::TableId;

    fn divided(partitions: &[&str]) -> [Member; 1] {
        let condition = |way: &&str| ((*way).to_owned(), format!("day > {way}"));
        [Member {
            table: TableId { schema: "lims".into(), name: "result".into() },
            since: "1.7".into(),
            partitions: Some(partitions.iter().map(condition).collect()),
            readable: true,
            stored: Stored::default(),
        }]
    }

    #[test]
    fn a_partition_is_read_once_for_each_time_it_is_attached() {
        let mut state = State::default();
        let attached = |state: &State, partitions: &[&str]| -> Vec<(String, Vec<String>)> {
            let wanted = state.attached(&divided(partitions), || "id".into());
            wanted.into_iter().map(|running| (running.predicate.unwrap_or_default(), running.partitions)).collect()
        };
        assert!(state.follow_partitions(&divided(&[])), "none yet is something to remember");
        assert!(attached(&state, &["1"]).is_empty(), "the whole table is going to be read");
        state.running = Some(Running::new("whole".into(), true, None, &divided(&[])));
        state.finish();

        assert!(!state.follow_partitions(&divided(&["1", "2"])));
        let want = ("(day > 1) or (day > 2)".to_owned(), vec!["1".to_owned(), "2".to_owned()]);
        assert_eq!(attached(&state, &["1", "2"]), [want]);
        state.running = state.attached(&divided(&["1", "2"]), || "id".into()).pop();
        assert!(attached(&state, &["1", "2"]).is_empty(), "it is being read");
        assert_eq!(attached(&state, &["1", "2", "3"]).len(), 1);
        state.finish();
        assert!(!state.follow_partitions(&divided(&["1", "2"])) && attached(&state, &["1", "2"]).is_empty());

        assert!(state.follow_partitions(&divided(&["2"])), "detached");
        assert_eq!(attached(&state, &["1", "2"]).len(), 1);
        assert!(state.follow_partitions(&[]) && state.partitions.is_empty());
    }

    #[test]
    fn many_are_read_in_several_parts_and_too_many_are_not_followed() {
        let names: Vec<String> = (0..=FOLLOWED_MAX).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut state = State::default();
        state.follow_partitions(&divided(&[]));
        state.read.insert("1.7".into());
        assert_eq!(state.attached(&divided(&names[..100]), String::new).len(), 2);
        assert!(state.follow_partitions(&divided(&names)) && state.partitions.is_empty());
        assert!(state.attached(&divided(&names), String::new).is_empty());
    }
}
