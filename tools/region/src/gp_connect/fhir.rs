//! FHIR JSON, read so that what was not read can be told.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use rust_decimal::Decimal;
use serde_json::Value;
use std::{cell::RefCell, collections::BTreeSet};
use uuid::Uuid;

const SNOMED: &str = "http://snomed.info/sct";
const READ: &str = "http://read.info/readv2";
/// EMIS's own codes for clinical terms; those for medicines are another system.
const EMIS: &str = "https://fhir.hl7.org.uk/Id/egton-codes";
/// "Transfer-degraded record entry" and "… medication entry": the meaning is in the text.
const DEGRADED: [i64; 2] = [196_411_000_000_103, 196_421_000_000_109];

/// One resource, and which of its leaves were read (as JSON pointers).
pub struct Resource<'a> {
    pub kind: &'a str,
    pub id: &'a str,
    value: &'a Value,
    read: RefCell<BTreeSet<String>>,
}

/// A `CodeableConcept` as EMIS writes it: the code that was picked, and its SNOMED CT map.
#[derive(Default)]
pub struct Concept {
    pub term: Option<String>,
    /// The words beside the code, where they are not its own.
    pub text: Option<String>,
    pub read: Option<String>,
    pub emis: Option<String>,
    pub snomed: Option<i64>,
    pub description: Option<i64>,
    /// SNOMED CT's term, where another was picked.
    pub snomed_term: Option<String>,
}

impl<'a> Resource<'a> {
    pub fn new(value: &'a Value) -> Option<Self> {
        let kind = value.get("resourceType")?.as_str()?;
        let id = value.get("id").and_then(Value::as_str).unwrap_or_default();
        let read = ["/resourceType", "/id"].map(str::to_owned).into();
        Some(Self { kind, id, value, read: RefCell::new(read) })
    }

    pub fn mark(&self, pointer: &str) {
        self.read.borrow_mut().insert(pointer.to_owned());
    }

    /// The text at a pointer. A template's placeholder (`{{…}}`) is no text, and stays unread.
    pub fn text(&self, pointer: &str) -> Option<String> {
        let text = self.value.pointer(pointer)?.as_str()?;
        if text.contains("{{") {
            return None;
        }
        self.mark(pointer);
        Some(text.to_owned())
    }

    pub fn number(&self, pointer: &str) -> Option<Decimal> {
        let number = self.value.pointer(pointer)?.as_number()?.to_string().parse().ok()?;
        self.mark(pointer);
        Some(number)
    }

    pub fn len(&self, pointer: &str) -> usize {
        self.value.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// All texts of one field of a list's items, one per line.
    pub fn lines(&self, list: &str, field: &str) -> Option<String> {
        let lines: Vec<_> = (0..self.len(list)).filter_map(|i| self.text(&format!("{list}/{i}{field}"))).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// `Kind/id`, split.
    pub fn reference(&self, pointer: &str) -> Option<(&'a str, &'a str)> {
        self.reference_to(pointer, |_| true)
    }

    /// A reference to a kind that can be held; another stays unread.
    pub fn reference_to(&self, pointer: &str, held: impl Fn(&str) -> bool) -> Option<(&'a str, &'a str)> {
        let pointer = format!("{pointer}/reference");
        let reference = self.value.pointer(&pointer)?.as_str()?.split_once('/').filter(|(kind, _)| held(kind))?;
        self.mark(&pointer);
        Some(reference)
    }

    pub fn referred(&self, pointer: &str) -> Option<Uuid> {
        self.reference(pointer).map(|(_, id)| key(id))
    }

    /// A date or time of any precision, and which: `Y`, `YM`, `YMD` or `YMDT`.
    pub fn time(&self, pointer: &str) -> Option<(Timestamp, &'static str)> {
        let text = self.value.pointer(pointer)?.as_str()?;
        let (at, precision) = match text.len() {
            4 => (midnight(&format!("{text}-01-01"))?, "Y"),
            7 => (midnight(&format!("{text}-01"))?, "YM"),
            10 => (midnight(text)?, "YMD"),
            _ => (text.parse().ok()?, "YMDT"),
        };
        self.mark(pointer);
        Some((at, precision))
    }

    pub fn at(&self, pointer: &str) -> Option<Timestamp> {
        self.time(pointer).map(|(at, _)| at)
    }

    /// Pointers of the extensions whose URL ends so, under `base`.
    pub fn extensions(&self, base: &str, url: &str) -> Vec<String> {
        let found = (0..self.len(&format!("{base}/extension"))).map(|i| format!("{base}/extension/{i}"));
        let found = found.filter(|p| {
            let address = format!("{p}/url");
            let fits = self.value.pointer(&address).and_then(Value::as_str).is_some_and(|u| u.ends_with(url));
            if fits {
                self.mark(&address);
            }
            fits
        });
        found.collect()
    }

    pub fn extension(&self, base: &str, url: &str) -> Option<String> {
        self.extensions(base, url).into_iter().next()
    }

    pub fn concept(&self, base: &str) -> Concept {
        let mut concept = Concept { text: self.text(&format!("{base}/text")), ..Default::default() };
        for i in 0..self.len(&format!("{base}/coding")) {
            self.coding(&format!("{base}/coding/{i}"), &mut concept);
        }
        if concept.term.is_none() {
            concept.term = concept.snomed_term.take();
        }
        if concept.snomed.is_some_and(|code| DEGRADED.contains(&code)) || concept.term.is_none() {
            // What the record says is the text; what stands in for its code follows.
            concept.snomed_term = concept.term.take();
            concept.term = concept.text.take();
        }
        if concept.text == concept.term {
            concept.text = None;
        }
        concept
    }

    fn coding(&self, coding: &str, concept: &mut Concept) {
        let system = self.value.pointer(&format!("{coding}/system")).and_then(Value::as_str).unwrap_or_default();
        let Some(code) = self.value.pointer(&format!("{coding}/code")).and_then(Value::as_str) else {
            return;
        };
        let term = self.value.pointer(&format!("{coding}/display")).and_then(Value::as_str).map(str::to_owned);
        match system {
            READ => (concept.read, concept.term) = (Some(code.to_owned()), term),
            EMIS => (concept.emis, concept.term) = (Some(code.to_owned()), term),
            SNOMED => {
                concept.snomed = code.parse().ok();
                concept.snomed_term = term;
                let extension = self.extension(coding, "Extension-coding-sctdescid");
                let id = extension.and_then(|p| self.extension(&p, "descriptionId"));
                concept.description =
                    id.and_then(|p| self.text(&format!("{p}/valueId"))).and_then(|id| id.parse().ok());
            }
            // Another system's code has no column; its term may stand in.
            _ => {
                if concept.term.is_none() && term.is_some() {
                    concept.term = term;
                    self.mark(&format!("{coding}/display"));
                }
                return;
            }
        }
        for field in ["system", "code", "display", "userSelected"] {
            self.mark(&format!("{coding}/{field}"));
        }
    }

    /// The same leaf stands in another resource that is held: so is this one.
    pub fn mark_if_same(&self, pointer: &str, other: &Resource<'_>, there: &str) {
        let ours = self.value.pointer(pointer);
        if ours.is_some() && ours == other.value.pointer(there) {
            self.mark(pointer);
        }
    }

    /// The leaf says what the schema takes for granted.
    pub fn mark_if(&self, pointer: &str, usual: &str) {
        if self.value.pointer(pointer).and_then(Value::as_str) == Some(usual) {
            self.mark(pointer);
        }
    }

    /// Paths of the leaves that nobody read, as `Observation.component[].code.text`.
    pub fn unread(&self) -> Vec<String> {
        let mut paths = Vec::new();
        walk(self.value, String::new(), self.kind.to_owned(), &self.read.borrow(), &mut paths);
        paths
    }
}

fn walk(value: &Value, pointer: String, path: String, read: &BTreeSet<String>, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                walk(value, format!("{pointer}/{name}"), format!("{path}.{name}"), read, out);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                walk(value, format!("{pointer}/{index}"), format!("{path}[]"), read, out);
            }
        }
        _ if read.contains(&pointer) => {}
        _ => out.push(path),
    }
}

fn midnight(text: &str) -> Option<Timestamp> {
    let day: Date = text.parse().ok()?;
    day.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// EMIS ids are UUIDs; an id made from one (`…-FI-1`) gets a UUID of its own, always the same.
pub fn key(id: &str) -> Uuid {
    Uuid::try_parse(id).unwrap_or_else(|_| {
        uuid::Builder::from_custom_bytes(xxhash_rust::xxh3::xxh3_128(id.as_bytes()).to_be_bytes()).into_uuid()
    })
}

/// The files were kept as a test server's templates. A section for what is absent (`{{^x}} … {{/x}}`) stays, one for
/// what is present (`{{#x}} … {{/x}}`) goes: then they are JSON.
pub fn without_template(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut dropping = false;
    for line in text.trim_start_matches('\u{feff}').lines() {
        let mark = line.trim();
        if mark.starts_with("{{#") {
            dropping = true;
        } else if mark.starts_with("{{/") {
            dropping = false;
        } else if !mark.starts_with("{{^") && !dropping {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_read_is_told_by_path() {
        let value = serde_json::json!({"resourceType": "Observation", "id": "1", "comment": "c", "status": "final",
            "component": [{"code": {"text": "a"}}, {"code": {"text": "b"}}], "subject": {"reference": "Patient/{{id}}"}});
        let resource = Resource::new(&value).unwrap();
        assert_eq!(resource.text("/comment").as_deref(), Some("c"));
        assert_eq!(resource.text("/component/1/code/text").as_deref(), Some("b"));
        assert_eq!(resource.text("/subject/reference"), None);
        assert_eq!(
            resource.unread(),
            ["Observation.status", "Observation.component[].code.text", "Observation.subject.reference"]
        );
    }

    #[test]
    fn dates_keep_their_precision() {
        let value = serde_json::json!({"resourceType": "X", "a": "2019", "b": "2019-03", "c": "2019-03-28",
            "d": "2011-06-20T13:36:16.487+01:00", "e": "soon"});
        let resource = Resource::new(&value).unwrap();
        let seen: Vec<_> = ["/a", "/b", "/c", "/d", "/e"]
            .iter()
            .map(|p| resource.time(p).map(|(at, precision)| format!("{at} {precision}")))
            .collect();
        let want = [
            "2019-01-01T00:00:00Z Y",
            "2019-03-01T00:00:00Z YM",
            "2019-03-28T00:00:00Z YMD",
            "2011-06-20T12:36:16.487Z YMDT",
        ];
        assert_eq!(seen[..4], want.map(|w| Some(w.to_owned())));
        assert_eq!(seen[4], None);
    }

    #[test]
    fn templates_become_json() {
        let text = "{\n {{^p}}\n \"a\": 1,\n {{/p}}\n {{#p}}\n \"a\": 2,\n {{/p}}\n \"b\": \"{{x}}\"\n}";
        let value: Value = serde_json::from_str(&without_template(text)).unwrap();
        assert_eq!(value, serde_json::json!({"a": 1, "b": "{{x}}"}));
    }
}
