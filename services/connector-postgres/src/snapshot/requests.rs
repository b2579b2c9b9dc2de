//! The snapshots that operators ask for.

use super::{coordinator::Coordinator, state::Running};
use crate::catalogue::Member;
use std::sync::Arc;

impl Coordinator {
    /// Takes in what operators want now.
    pub(super) fn follow(&mut self) {
        if !self.desired.has_changed().unwrap_or(false) {
            return;
        }
        let desired = Arc::clone(&self.desired.borrow_and_update());
        self.paused = desired.snapshots_paused;
        for request in &desired.snapshots {
            let id = &request.id;
            let taken = self.state.finished.contains(id)
                || self.state.running.iter().chain(&self.queue).any(|running| running.id == *id);
            if taken {
                continue;
            }
            let wanted =
                |member: &&Member| request.tables.is_empty() || request.tables.contains(&member.table.to_string());
            let tables: Vec<Member> = self.published.iter().filter(wanted).cloned().collect();
            if tables.is_empty() {
                tracing::warn!(source = self.settings.name, request = id, "no table of this snapshot is published");
            }
            self.queue.push_back(Running::new(id.clone(), false, request.predicate.clone(), &tables));
        }
    }
}
