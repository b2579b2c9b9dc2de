//! What comes of a transaction, as text: one entry for each event and each item of the quarantine, one line for each field.
//!
//! What says how an event came about (position, revision, generation, the release of a map) is not in it, as it is not in
//! the canonical form.

use event::{Action, PatientEvent, Quarantined, datum::Datum};
use fold::Output;
use serde_json::{Value, json};
use std::fmt::Write;

const ACTIONS: [Action; 3] = [Action::Recorded, Action::Corrected, Action::Retracted];
const QUARANTINED: &str = "quarantined";
const CLOSED: &str = "closed";
/// Before the fields of an entry.
const INDENT: &str = "  ";

/// An event or an item: `recorded` `observation/4711 of 8f3c`, and its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub what: String,
    pub about: String,
    /// By name, each value as JSON.
    pub fields: Vec<(String, String)>,
}

impl Entry {
    pub fn of(output: &Output) -> Self {
        match output {
            Output::Event(event) => Self::of_event(event),
            Output::Quarantined(item) => Self::of_item(item),
        }
    }

    pub fn of_event(event: &PatientEvent) -> Self {
        let about = format!("{} of {}", event.record, event.patient.id);
        let mut fields = Vec::new();
        let mut take = |name: &str, value: Value| flat(name, value, &mut fields);
        take("kind", event.body.kind().as_str().into());
        if event.action != Action::Retracted {
            take("organisation", event.organisation.as_str().into());
            take("entered_at", event.entered_at.json());
            take("effective_at", event.effective_at.json());
            take("effective_precision", event.effective_precision.map_or(Value::Null, |it| it.as_str().into()));
            take("confidential", event.confidential.json());
            take("incomplete", event.incomplete.json());
            take("snapshot", event.snapshot.json());
            take("location", event.location.json());
            take("participants", event.participants.json());
            event.body.each(&[], &mut |name, value| take(name, value));
        }
        Self { what: event.action.as_str().to_owned(), about, fields }
    }

    fn of_item(item: &Quarantined) -> Self {
        let what = if item.closed { CLOSED } else { QUARANTINED };
        let Quarantined { reason, detail, source, .. } = item;
        // What it is about stands in its name: see the fold.
        let named = item
            .item
            .as_deref()
            .and_then(|name| name.strip_prefix(&format!("{source}:"))?.strip_suffix(&format!(":{reason}:{detail}")));
        let of = named.or(item.table.as_deref()).unwrap_or_default();
        Self { what: what.to_owned(), about: format!("{reason}: {of}, {detail}"), fields: Vec::new() }
    }

    fn is_event(&self) -> bool {
        ACTIONS.iter().any(|action| action.as_str() == self.what)
    }

    /// The mapping's name of its record.
    pub fn record(&self) -> Option<&str> {
        self.is_event().then(|| self.about.split('/').next().unwrap_or_default())
    }

    /// Is it the same event or item, whatever it says?
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.about == other.about && (self.what == other.what || self.is_event() && other.is_event())
    }

    pub fn headline(&self) -> String {
        format!("{} {}", self.what, self.about)
    }
}

/// An object's fields by their paths; whatever stands in a list is one line.
fn flat(name: &str, value: Value, fields: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(object) => {
            object.into_iter().for_each(|(key, value)| flat(&format!("{name}.{key}"), value, fields));
        }
        Value::Array(entries) => {
            for (mut entry, place) in entries.into_iter().zip(1..) {
                if let Value::Object(object) = &mut entry {
                    // By which release of a map: it says how a code came there.
                    object.remove("by");
                }
                fields.push((format!("{name}[{place}]"), entry.to_string()));
            }
        }
        value => fields.push((name.to_owned(), value.to_string())),
    }
}

pub fn text(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", entry.headline());
        for (name, value) in &entry.fields {
            let _ = writeln!(text, "{INDENT}{name} = {value}");
        }
    }
    text
}

/// `mistake` hears of each line that is none, counted from 0.
pub fn read(text: &str, mistake: &mut dyn FnMut(usize, String)) -> Vec<Entry> {
    let known = || ACTIONS.iter().map(|action| action.as_str()).chain([QUARANTINED, CLOSED]);
    let mut entries: Vec<Entry> = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        if line.starts_with(INDENT) {
            match (line.trim().split_once(" = "), entries.last_mut()) {
                (Some((name, value)), Some(entry)) => entry.fields.push((name.to_owned(), normal(value))),
                _ => mistake(at, "expected `  field = value` below an event".into()),
            }
            continue;
        }
        match line.trim().split_once(' ').filter(|(what, _)| known().any(|known| known == *what)) {
            Some((what, about)) => {
                let entry = Entry { what: what.to_owned(), about: about.to_owned(), fields: Vec::new() };
                entries.push(entry);
            }
            None => mistake(at, format!("expected one of: {}", known().collect::<Vec<_>>().join(", "))),
        }
    }
    entries
}

/// JSON has several spellings of one value.
fn normal(value: &str) -> String {
    serde_json::from_str::<Value>(value).unwrap_or_else(|_| json!(value)).to_string()
}
