//! Whose database each source is.

use crate::shown::Shown;
use std::{collections::BTreeMap, sync::Arc};

/// The organisation of each source, by its ODS code. All clones see what is noted while the process runs.
#[derive(Clone, Debug, Default)]
pub struct Organisations(Arc<Shown<BTreeMap<String, String>>>);

impl Organisations {
    pub fn of(&self, source: &str) -> Option<String> {
        self.0.view_of(|all| all.get(source).cloned())
    }

    /// A source that is not worked for any more keeps its own: its records are still here.
    pub fn note(&self, source: &str, organisation: &str) {
        self.0.update(|all| drop(all.insert(source.to_owned(), organisation.to_owned())));
    }
}

impl FromIterator<(String, String)> for Organisations {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(sources: I) -> Self {
        let organisations = Self::default();
        sources.into_iter().for_each(|(source, organisation)| organisations.note(&source, &organisation));
        organisations
    }
}

impl<const N: usize> From<[(String, String); N]> for Organisations {
    fn from(sources: [(String, String); N]) -> Self {
        sources.into_iter().collect()
    }
}
