//! Things that exist and can be worked on again.

use rand::{Rng, rngs::StdRng};

const POOL_MAX: usize = 5_000;

/// A bounded bag; when it is full, a newcomer takes a random member's place.
pub struct Pool<T>(Vec<T>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Pool<T> {
    pub fn put(&mut self, rng: &mut StdRng, one: T) {
        if self.0.len() < POOL_MAX {
            self.0.push(one);
        } else {
            let index = rng.random_range(0..self.0.len());
            self.0[index] = one;
        }
    }

    pub fn any(&self, rng: &mut StdRng) -> Option<&T> {
        (!self.0.is_empty()).then(|| &self.0[rng.random_range(0..self.0.len())])
    }

    pub fn take(&mut self, rng: &mut StdRng) -> Option<T> {
        (!self.0.is_empty()).then(|| self.0.swap_remove(rng.random_range(0..self.0.len())))
    }
}
