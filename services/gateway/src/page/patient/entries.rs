//! The lists of the record page for kinds that need nothing but their table.

use super::view::{Facts, Item};
use crate::record::entries::Entry;
use event::Kind;

pub struct EntryList {
    /// As a heading, and in a name that HTML takes.
    pub title: String,
    pub id: &'static str,
    pub items: Vec<Item>,
}

/// The lists that have something, and the kinds of which nothing is shown.
pub fn lists(facts: &Facts<'_>) -> (Vec<EntryList>, String) {
    let (mut lists, mut unlisted) = (Vec::new(), Vec::new());
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_entry()) {
        let of_kind = facts.clinical.entries.iter().filter(|entry| entry.kind == kind);
        let items: Vec<Item> = of_kind.map(|entry| item(facts, entry)).collect();
        if items.is_empty() {
            unlisted.push(kind.plural());
        } else {
            lists.push(EntryList { title: title(kind.plural()), id: kind.as_str(), items });
        }
    }
    (lists, unlisted.join(", "))
}

fn item(facts: &Facts<'_>, entry: &Entry) -> Item {
    facts.item(&entry.code, &entry.from, entry.from.more.words(entry.kind, &[]).join(", "))
}

fn title(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
