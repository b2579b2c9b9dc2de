//! What may leave.
//!
//! # Why
//! A check that an exit has to remember is forgotten one day. So what leaves has a type, [`Released`], and every door takes
//! nothing else: it is made from a decision that allows, once that stands in the audit, or from what names nobody. It is
//! neither `Clone` nor can it be written down, so that nothing is sent tomorrow under today's decision: whoever sends again
//! decides again.
//!
//! An exit that forgot to ask has content of its own, and no door takes it:
//!
//! ```compile_fail,E0308
//! fn page(_: access::Released<String>) {}
//! page("a record".to_owned());
//! ```
//!
//! It cannot call it released, nor allow itself what it likes, nor skip the audit:
//!
//! ```compile_fail,E0451
//! let page = access::Released { content: "a record" };
//! ```
//! ```compile_fail,E0639
//! use access::{Decision, Why};
//! let own = Decision {
//!     allow: true, why: Why::Role, shown: Default::default(), own: Default::default(), withheld: Default::default(),
//!     limited: false, glass: None,
//! };
//! ```
//! ```compile_fail,E0599
//! fn page(decision: access::Decision) -> access::Released<String> {
//!     decision.release("a record".to_owned()).unwrap()
//! }
//! ```
//! ```compile_fail,E0423
//! fn page(decision: access::Decision) -> access::Recorded {
//!     access::Recorded(decision)
//! }
//! ```
//!
//! It cannot say of just any text that it names nobody:
//!
//! ```compile_fail,E0277
//! let page = access::Released::about_nobody("a record".to_owned());
//! ```
//!
//! And what was released is sent once, and kept nowhere:
//!
//! ```compile_fail,E0382
//! fn page(_: access::Released<String>) {}
//! fn twice(released: access::Released<String>) {
//!     page(released);
//!     page(released);
//! }
//! ```
//! ```compile_fail,E0277
//! fn keep<T: Clone>(_: T) {}
//! fn outbox(released: access::Released<String>) {
//!     keep(released);
//! }
//! ```
//! ```compile_fail,E0277
//! fn keep<T: serde::Serialize>(_: T) {}
//! fn outbox(released: access::Released<String>) {
//!     keep(released);
//! }
//! ```
//!
//! This is how it is asked for:
//!
//! ```
//! fn page(decision: &access::Recorded) -> Result<String, access::Why> {
//!     let record = decision.release("a record".to_owned())?;
//!     Ok(record.map(|record| format!("<p>{record}</p>")).send(|html| html))
//! }
//! ```

use crate::{Decision, Why};
use std::ops::Deref;

/// A decision that stands in the audit.
#[derive(Debug)]
pub struct Recorded(Decision);

impl Decision {
    /// For whoever writes the audit, and nobody else: after its row has been written, in the transaction that reads the
    /// data.
    #[must_use]
    pub fn recorded(self) -> Recorded {
        Recorded(self)
    }
}

impl Deref for Recorded {
    type Target = Decision;

    fn deref(&self) -> &Decision {
        &self.0
    }
}

impl Recorded {
    /// The content may leave, if that is what was decided; else why not.
    pub fn release<T>(&self, content: T) -> Result<Released<T>, Why> {
        if self.allow { Ok(Released { content }) } else { Err(self.why) }
    }
}

/// Content that names no patient and says nothing of any: a form to sign in, how the machinery stands, an error. Whoever
/// implements it for a type says so of all that the type can hold.
pub trait AboutNobody {}

/// What may leave, and the only thing that does.
#[derive(Debug)]
#[must_use = "what was released is sent, or was decided and audited for nothing"]
pub struct Released<T> {
    content: T,
}

impl<T> Released<T> {
    /// Nobody was asked, because it is about nobody.
    pub fn about_nobody(content: T) -> Self
    where
        T: AboutNobody,
    {
        Self { content }
    }

    /// Several, each decided by itself, as one.
    pub fn all(each: impl IntoIterator<Item = Self>) -> Released<Vec<T>> {
        Released { content: each.into_iter().map(|released| released.content).collect() }
    }

    /// The same in other words: as a page, as JSON.
    pub fn map<U>(self, words: impl FnOnce(T) -> U) -> Released<U> {
        Released { content: words(self.content) }
    }

    /// As [`Self::map`], where the words may fail.
    pub fn try_map<U, E>(self, words: impl FnOnce(T) -> Result<U, E>) -> Result<Released<U>, E> {
        Ok(Released { content: words(self.content)? })
    }

    /// Beside another.
    pub fn and<U>(self, other: Released<U>) -> Released<(T, U)> {
        Released { content: (self.content, other.content) }
    }

    /// Out of the door: what becomes of it there. Only doors call it.
    pub fn send<R>(self, door: impl FnOnce(T) -> R) -> R {
        door(self.content)
    }
}

/// To look at it on its way.
impl<T> Deref for Released<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.content
    }
}
