//! What a mapping does with each of the cells that it reads.

use event::{Fields, Kind, Participant, Shape, datum::Record as _};
use mapping::{BodyRule, CodeRule, Condition, Field, Mapping, Record, Rule};

/// What a field makes of its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    Words,
    Time,
    /// A number, from a column of numbers or from text that is one.
    Number,
    /// The words of a state: only those that are listed are understood.
    State,
    Unit,
    /// A code, of this system.
    Code(&'static str),
}

/// A field of a record, by the key that a mapping has for it.
#[derive(Clone, Debug)]
pub struct Use<'a> {
    pub record: usize,
    pub key: String,
    pub field: &'a Field,
    pub wants: Wants,
}

/// Every field of every record, in the order in which a mapping's documentation has them.
pub fn fields(mapping: &Mapping) -> Vec<Use<'_>> {
    let mut all = Vec::new();
    for (place, record) in mapping.records.iter().enumerate() {
        let mut of = Of { record: place, all: &mut all };
        of.whole(record);
    }
    all
}

/// Every list of conditions of a record, by the key that a mapping has for it.
pub fn conditions(record: &Record) -> Vec<(&'static str, &[Condition])> {
    let mut all: Vec<(&'static str, &[Condition])> = vec![
        ("deleted_when", &record.deleted_when),
        ("only_when", &record.only_when),
        ("confidential_when", &record.confidential_when),
    ];
    match &record.body {
        BodyRule::Demographics(rule) => {
            all.extend([("verified_when", &*rule.verified_when), ("objection_when", &*rule.objection_when)]);
        }
        BodyRule::Observation(rule) => all.push(("corrected_when", &rule.corrected_when)),
        BodyRule::Medication(rule) => {
            all.push(("active_when", &rule.active_when));
            all.extend(rule.status_when.iter().map(|(_, conditions)| ("status_when", &**conditions)));
        }
        BodyRule::Allergy(rule) => {
            all.extend([("none_known_when", &*rule.none_known_when), ("active_when", &*rule.active_when)]);
        }
        BodyRule::Condition(rule) => all.push(("active_when", &rule.active_when)),
        BodyRule::Encounter(_) | BodyRule::Table(..) => {}
    }
    all.retain(|(_, conditions)| !conditions.is_empty());
    all
}

/// The single conditions of a list, whatever they are parts of.
pub fn each_cell<'a>(conditions: &'a [Condition], take: &mut dyn FnMut(mapping::Ref, &'a mapping::Test)) {
    for condition in conditions {
        match condition {
            Condition::Cell { cell, test } => take(*cell, test),
            Condition::Any(any) => each_cell(any, take),
            // It is checked with types of its own when the mapping is read.
            Condition::Expr(_) => {}
        }
    }
}

struct Of<'a, 'b> {
    record: usize,
    all: &'b mut Vec<Use<'a>>,
}

impl<'a> Of<'a, '_> {
    fn put(&mut self, key: &str, field: Option<&'a Field>, wants: Wants) {
        let record = self.record;
        let ways = field.into_iter().flat_map(Field::each);
        self.all.extend(ways.map(|field| Use { record, key: key.to_owned(), field, wants }));
    }

    fn each(&mut self, wants: Wants, fields: &[(&str, &'a Option<Field>)]) {
        fields.iter().for_each(|(key, field)| self.put(key, field.as_ref(), wants));
    }

    fn whole(&mut self, record: &'a Record) {
        self.each(Wants::Words, &[("organisation", &record.organisation), ("location", &record.location)]);
        self.each(Wants::Time, &[("entered_at", &record.entered_at), ("effective_at", &record.effective_at)]);
        self.each(Wants::State, &[("effective_precision", &record.effective_precision)]);
        for rules in &record.participants {
            self.rules("participant", Participant::FIELDS, rules);
        }
        match &record.body {
            BodyRule::Table(kind, rules) => self.rules("", kind.fields(), rules),
            BodyRule::Demographics(rule) => {
                let words = [("nhs_number", &rule.nhs_number), ("family", &rule.family), ("given", &rule.given)];
                self.each(Wants::Words, &words);
                self.each(Wants::Time, &[("birth_date", &rule.birth_date), ("death_date", &rule.death_date)]);
                let words = [("gender", &rule.gender), ("postcode", &rule.postcode)];
                self.each(Wants::Words, &words);
                self.each(Wants::Words, &[("registered_practice", &rule.registered_practice)]);
                self.rules("", Kind::Demographics.fields(), &rule.more);
            }
            BodyRule::Observation(rule) => {
                self.code("code", &rule.code);
                self.each(Wants::Number, &[("value.number", &rule.number)]);
                self.each(Wants::Words, &[("value.text", &rule.text)]);
                self.each(Wants::Unit, &[("value.unit", &rule.unit)]);
                self.each(Wants::Words, &[("value.comparator", &rule.comparator)]);
                self.each(Wants::State, &[("status", &rule.status)]);
                self.each(Wants::Time, &[("authorised_at", &rule.authorised_at)]);
                self.each(Wants::Number, &[("range_low", &rule.range_low), ("range_high", &rule.range_high)]);
                let words = [("flag", &rule.flag), ("specimen", &rule.specimen), ("requester", &rule.requester)];
                self.each(Wants::Words, &words);
                self.each(Wants::Words, &[("comment", &rule.comment)]);
                self.rules("", Kind::Observation.fields(), &rule.more);
            }
            BodyRule::Medication(rule) => {
                self.code("code", &rule.code);
                let words = [("dosage", &rule.dosage), ("quantity", &rule.quantity), ("course", &rule.course)];
                self.each(Wants::Words, &words);
                let times = [("started_at", &rule.started_at), ("ended_at", &rule.ended_at)];
                self.each(Wants::Time, &times);
                self.each(Wants::Time, &[("last_issued_at", &rule.last_issued_at)]);
                self.each(Wants::State, &[("status", &rule.status)]);
                self.each(Wants::Words, &[("status_reason", &rule.status_reason)]);
                self.rules("", Kind::Medication.fields(), &rule.more);
            }
            BodyRule::Allergy(rule) => {
                self.code("code", &rule.code);
                self.each(Wants::Words, &[("reaction", &rule.reaction), ("severity", &rule.severity)]);
                self.rules("", Kind::Allergy.fields(), &rule.more);
            }
            BodyRule::Condition(rule) => {
                self.code("code", &rule.code);
                self.each(Wants::Words, &[("significance", &rule.significance)]);
                self.each(Wants::Time, &[("ended_at", &rule.ended_at)]);
                self.rules("", Kind::Condition.fields(), &rule.more);
            }
            BodyRule::Encounter(rule) => {
                let words = [("class", &rule.class), ("text", &rule.text), ("team", &rule.team)];
                self.each(Wants::Words, &words);
                self.each(Wants::Time, &[("started_at", &rule.started_at), ("ended_at", &rule.ended_at)]);
                self.rules("", Kind::Encounter.fields(), &rule.more);
            }
        }
    }

    fn code(&mut self, key: &str, rule: &'a CodeRule) {
        self.put(&format!("{key}.text"), rule.text.as_ref(), Wants::Words);
        for (code, place) in rule.codes.iter().zip(1..) {
            self.put(&format!("{key}.codes[{place}].code"), Some(&code.code), Wants::Code(system(code.system)));
            self.put(&format!("{key}.codes[{place}].version"), code.version.as_ref(), Wants::Words);
            self.put(&format!("{key}.codes[{place}].display"), code.display.as_ref(), Wants::Words);
        }
    }

    fn rules(&mut self, path: &str, fields: Fields, rules: &'a [Rule]) {
        for ((name, shape), rule) in fields.iter().zip(rules) {
            let key = if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") };
            match (rule, shape) {
                (Rule::Cell(field), Shape::Time | Shape::Day) => self.put(&key, Some(field), Wants::Time),
                (Rule::Cell(field), Shape::Number) => self.put(&key, Some(field), Wants::Number),
                (Rule::Cell(field), _) => self.put(&key, Some(field), Wants::Words),
                (Rule::Code(code), _) => self.code(&key, code),
                (Rule::One(rules), Shape::One(fields)) => self.rules(&key, fields, rules),
                (Rule::Many(entries), Shape::Many(fields)) => {
                    entries.iter().for_each(|rules| self.rules(&key, fields, rules));
                }
                _ => {}
            }
        }
    }
}

/// As a mapping calls it.
fn system(system: coding::System) -> &'static str {
    let named = coding::System::NAMES.iter().find(|(_, known)| *known == system);
    named.map_or("local", |(name, _)| name)
}
