//! Panics, told by their place alone.
//!
//! # Why
//! What a panic says may hold a value of the row that it stumbled over, and no log may. The place in the code is what
//! whoever mends it needs.

use futures_util::FutureExt;
use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, Location},
};

thread_local! {
    /// Where this thread panicked last.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A task panicked. Its message is withheld.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a defect of Causeway: it panicked at {place}")]
pub struct Panicked {
    place: String,
}

impl Panicked {
    /// Nobody saw where.
    pub fn unseen() -> Self {
        Self { place: "a place that nobody noted".to_owned() }
    }
}

/// From here on no panic of the process prints what it says.
pub fn withhold_messages() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), Location::to_string);
        tracing::error!(place, "panicked; the message is withheld, for it may hold a value");
        PLACE.with_borrow_mut(|last| *last = Some(place));
    }));
}

/// What the future comes to, or where it panicked.
pub async fn caught<F: Future>(work: F) -> Result<F::Output, Panicked> {
    let panicked = || PLACE.with_borrow_mut(Option::take).map_or_else(Panicked::unseen, |place| Panicked { place });
    AssertUnwindSafe(work).catch_unwind().await.map_err(|_| panicked())
}
