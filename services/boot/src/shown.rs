//! What a part of the process shows of itself: it writes, anyone reads.

use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub struct Shown<V>(Mutex<V>);

impl<V: Clone> Shown<V> {
    /// This moment's.
    pub fn view(&self) -> V {
        self.lock().clone()
    }

    /// Something of it, without a copy of all.
    pub fn view_of<T>(&self, look: impl FnOnce(&V) -> T) -> T {
        look(&self.lock())
    }

    pub fn update(&self, change: impl FnOnce(&mut V)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, V> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
