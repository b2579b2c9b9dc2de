//! What a walk finds in quarantine: what still stands is not told again, and what is over is closed.

use event::Quarantined;
use fold::{MISSING_PATIENT, Output, closed};
use mapping::Mapping;
use std::collections::{BTreeMap, BTreeSet};

/// Of those from before items had names, what can be over. The others stand for a message that cannot be read.
const CAN_BE_OVER: [&str; 8] = [
    MISSING_PATIENT,
    "unknown status",
    "unreadable time",
    "unreadable date",
    "unreadable limit",
    "unchanged value never seen",
    "missing column",
    "missing record id",
];

/// By name.
#[derive(Debug, Default)]
pub struct Inherited(BTreeMap<String, Quarantined>);

impl Inherited {
    pub fn of(open: BTreeMap<String, Quarantined>) -> Self {
        let can_be_over = |item: &Quarantined| item.item.is_some() || CAN_BE_OVER.contains(&item.reason.as_str());
        Self(open.into_iter().filter(|(_, item)| can_be_over(item)).collect())
    }

    /// Is it an item that opens, and that was told of this patient already?
    pub fn stands(&mut self, output: &Output) -> bool {
        let Output::Quarantined(item) = output else { return false };
        if item.closed {
            self.0.remove(&item.name());
            return false;
        }
        self.0.get(&item.name()).is_some_and(|known| known.patient == item.patient)
    }

    /// Closes what is not open any more. Of a table that has not been read whole nobody knows.
    pub fn over<'a>(
        &mut self,
        mapping: &Mapping,
        unread: &BTreeSet<usize>,
        open: impl Iterator<Item = &'a Quarantined>,
    ) -> Vec<Quarantined> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let open: BTreeSet<String> = open.map(Quarantined::name).collect();
        let table = |item: &Quarantined| mapping.tables.iter().position(|of| Some(of.id.to_string()) == item.table);
        let (known, waits): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(_, item)| table(item).is_none_or(|table| !unread.contains(&table)));
        self.0 = waits;
        known.into_iter().filter(|(name, _)| !open.contains(name)).map(|(_, item)| closed(item)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: Option<&str>, reason: &str, table: &str, offset: i64) -> Quarantined {
        Quarantined {
            source: "riverside".into(),
            reason: reason.into(),
            item: name.map(str::to_owned),
            table: Some(table.into()),
            offset: Some(offset),
            ..Quarantined::default()
        }
    }

    #[test]
    fn what_still_stands_is_not_told_again_and_what_is_over_is_closed_once() {
        let text = "system = \"x\"\nrevision = 1\nzone = \"Europe/London\"\n[[record]]\nkind = \"encounter\"\nname = \"r\"\ntable = \"s.a\"\n\
            id = \"id\"\npatient = \"j.id\"\n[record.join.j]\ntable = \"s.b\"\non = { id = \"p\" }\n";
        let mapping = mapping::parse("m.toml", text).expect("a mapping");
        let held = [
            item(Some("stands"), MISSING_PATIENT, "s.a", 1),
            item(Some("over"), MISSING_PATIENT, "s.a", 2),
            item(Some("unread"), "missing record id", "s.b", 3),
            item(Some("of no table"), "unknown precision", "s.gone", 4),
            // From before there were names.
            item(None, MISSING_PATIENT, "s.a", 5),
            item(None, "unreadable message", "s.a", 6),
        ];
        let mut inherited = Inherited::of(held.iter().map(|item| (item.name(), item.clone())).collect());
        let open = [item(Some("stands"), MISSING_PATIENT, "s.a", 1), item(Some("new"), MISSING_PATIENT, "s.a", 7)];
        let names = |items: Vec<Quarantined>| items.iter().map(|item| item.offset.unwrap_or(0)).collect::<Vec<_>>();
        let told = open.clone().map(|item| inherited.stands(&Output::Quarantined(Box::new(item))));
        assert_eq!(told, [true, false]);
        let other = Quarantined { patient: Some("another".into()), ..open[0].clone() };
        assert!(!inherited.stands(&Output::Quarantined(Box::new(other))));
        let over = inherited.over(&mapping, &BTreeSet::from([1]), open.iter());
        assert!(over.iter().all(|item| item.closed));
        let mut over = names(over);
        over.sort_unstable();
        assert_eq!(over, [2, 4, 5]);
        assert_eq!(names(inherited.over(&mapping, &BTreeSet::from([1]), open.iter())), [0; 0]);
        assert_eq!(names(inherited.over(&mapping, &BTreeSet::new(), open.iter())), [3]);
    }
}
