//! The fields of each kind of record.

use super::{
    AllergyRule, BodyRule, CodeOf, CodeRule, Condition, ConditionRule, DemographicsRule, EncounterRule, Field,
    MEDICATION_STATUSES, MedicationRule, ObservationRule, RESULT_STATUSES, Rest, Rule, TAKEN_BACK, Take, UNKNOWN,
    document::Section, parse, scope::Scope,
};
use coding::System;
use event::{Fields, Kind, Precision, Shape};

/// Fields that have rules of their own, or follow from others.
const OWN_DEMOGRAPHICS: [&str; 9] = [
    "nhs_number_text",
    "family",
    "given",
    "birth_date",
    "death_date",
    "gender",
    "postcode",
    "registered_practice",
    "nhs_number",
];
const OWN_OBSERVATION: [&str; 12] = [
    "code",
    "analyte",
    "value",
    "authorised_at",
    "range_low",
    "range_high",
    "flag",
    "specimen",
    "requester",
    "unchecked",
    "comment",
    "status_text",
];
const OWN_MEDICATION: [&str; 9] =
    ["code", "dosage", "quantity", "course", "started_at", "ended_at", "last_issued_at", "status", "status_reason"];

pub fn body(kind: Kind, s: &Section<'_>, scope: &mut Scope<'_>) -> BodyRule {
    match kind {
        Kind::Demographics => BodyRule::Demographics(Box::new(demographics(s, scope))),
        Kind::Observation => BodyRule::Observation(Box::new(observation(s, scope))),
        Kind::Medication => BodyRule::Medication(Box::new(medication(s, scope))),
        Kind::Allergy => BodyRule::Allergy(Box::new(AllergyRule {
            code: code(s, scope),
            reaction: scope.field(s, "reaction"),
            severity: scope.field(s, "severity"),
            none_known_when: scope.conditions(s, "none_known_when"),
            active_when: scope.conditions(s, "active_when"),
            more: more(kind, s, scope, &["code", "reaction", "severity"]),
        })),
        Kind::Condition => BodyRule::Condition(Box::new(ConditionRule {
            code: code(s, scope),
            active_when: scope.conditions(s, "active_when"),
            significance: scope.field(s, "significance"),
            ended_at: scope.time(s, "ended_at"),
            more: more(kind, s, scope, &["code", "significance", "ended_at"]),
        })),
        Kind::Encounter => BodyRule::Encounter(Box::new(EncounterRule {
            class: scope.field(s, "class"),
            text: scope.field(s, "text"),
            team: scope.field(s, "team"),
            started_at: scope.time(s, "started_at"),
            ended_at: scope.time(s, "ended_at"),
            referral: s.yes("referral"),
            more: more(kind, s, scope, &["class", "text", "team", "started_at", "ended_at"]),
        })),
        _ => BodyRule::Table(kind, more(kind, s, scope, &[])),
    }
}

/// What follows from the kind's table alone: of every field but these, which have rules of their own.
fn more(kind: Kind, s: &Section<'_>, scope: &mut Scope<'_>, own: &[&str]) -> Vec<Rule> {
    let rules = rules(s, scope, kind.fields(), own);
    if rules.iter().all(|rule| matches!(rule, Rule::Nothing)) { Vec::new() } else { rules }
}

fn rules(s: &Section<'_>, scope: &mut Scope<'_>, fields: Fields, own: &[&str]) -> Vec<Rule> {
    let rule = |(name, shape): &(&'static str, Shape)| {
        if own.contains(name) { Rule::Nothing } else { self::rule(s, scope, name, *shape) }
    };
    fields.iter().map(rule).collect()
}

fn rule(s: &Section<'_>, scope: &mut Scope<'_>, name: &'static str, shape: Shape) -> Rule {
    match shape {
        Shape::Text => of_field(scope.field(s, name)),
        Shape::Time | Shape::Day => of_field(scope.time(s, name)),
        Shape::Number => of_field(scope.number(s, name)),
        Shape::Code => Rule::Code(Box::new(code(s, scope))),
        Shape::One(fields) => {
            let inner = s.take(name).and_then(|node| Section::of(s.report, &s.key(name), node));
            inner.map_or(Rule::Nothing, |inner| {
                let rules = rules(&inner, scope, fields, &[]);
                inner.finish();
                Rule::One(rules)
            })
        }
        Shape::Many(fields) => {
            let entries = many(s, scope, name, fields);
            if entries.is_empty() { Rule::Nothing } else { Rule::Many(entries) }
        }
        Shape::Derived => Rule::Nothing,
    }
}

fn of_field(field: Option<Field>) -> Rule {
    field.map_or(Rule::Nothing, |field| Rule::Cell(Box::new(field)))
}

/// A list of tables, each with these fields.
pub fn many(s: &Section<'_>, scope: &mut Scope<'_>, name: &'static str, fields: Fields) -> Vec<Vec<Rule>> {
    let mut entries = Vec::new();
    for node in s.list(name) {
        let Some(inner) = Section::of(s.report, &s.key(name), node) else { continue };
        entries.push(rules(&inner, scope, fields, &[]));
        inner.finish();
    }
    entries
}

fn demographics(s: &Section<'_>, scope: &mut Scope<'_>) -> DemographicsRule {
    DemographicsRule {
        nhs_number: scope.field(s, "nhs_number"),
        verified_when: scope.conditions(s, "verified_when"),
        family: scope.field(s, "family"),
        given: scope.field(s, "given"),
        birth_date: scope.time(s, "birth_date"),
        death_date: scope.time(s, "death_date"),
        gender: scope.field(s, "gender"),
        postcode: scope.field(s, "postcode"),
        registered_practice: scope.field(s, "registered_practice"),
        objection_when: scope.conditions(s, "objection_when"),
        more: more(Kind::Demographics, s, scope, &OWN_DEMOGRAPHICS),
    }
}

fn observation(s: &Section<'_>, scope: &mut Scope<'_>) -> ObservationRule {
    let (mut number, mut text, mut unit, mut comparator, mut trim_zeros) = (None, None, None, None, false);
    let mut marks = scope.reading.marks;
    let code = code(s, scope);
    let known: Vec<&str> = RESULT_STATUSES.into_iter().chain(TAKEN_BACK).collect();
    if s.take("status").is_none() {
        s.tell(s.line, "status", "is missing; for a source without one: `status = { otherwise = \"final\" }`");
    }
    let status = status(s, scope, &known);
    if let Some(value) = s.need("value").and_then(|node| Section::of(s.report, &s.key("value"), node)) {
        number = scope.number(&value, "number");
        text = scope.field(&value, "text");
        unit = scope.field(&value, "unit");
        comparator = scope.field(&value, "comparator");
        trim_zeros = value.yes("trim_zeros");
        marks = parse::marks(&value).unwrap_or(marks);
        value.finish();
        if number.is_none() && text.is_none() {
            value.tell(value.line, "number", "a value needs a column `number`, `text`, or both");
        }
    }
    ObservationRule {
        code,
        number,
        text,
        unit,
        comparator,
        trim_zeros,
        marks,
        status,
        corrected_when: scope.conditions(s, "corrected_when"),
        authorised_at: scope.time(s, "authorised_at"),
        range_low: scope.number(s, "range_low"),
        range_high: scope.number(s, "range_high"),
        flag: scope.field(s, "flag"),
        specimen: scope.field(s, "specimen"),
        requester: scope.field(s, "requester"),
        comment: scope.field(s, "comment"),
        more: more(Kind::Observation, s, scope, &OWN_OBSERVATION),
    }
}

/// A field whose words are statuses. Only what the mapping lists is understood, so it has to list something.
fn status(s: &Section<'_>, scope: &mut Scope<'_>, known: &[&str]) -> Option<Field> {
    let line = s.line_of("status");
    let mut field = scope.field(s, "status")?;
    let mut next = Some(&mut field);
    while let Some(way) = next {
        status_of(s, line, way, known);
        next = way.or_else.as_deref_mut();
    }
    Some(field)
}

fn status_of(s: &Section<'_>, line: usize, field: &mut Field, known: &[&str]) {
    let said = field.words.values().chain(&field.otherwise);
    for word in said.filter(|word| !word.is_empty() && !known.contains(&word.as_str())) {
        s.tell(line, "status", format!("`{word}` is no status; known are: {}", known.join(", ")));
    }
    if field.words.is_empty() && (field.expr.is_some() || !field.cells.is_empty()) {
        s.tell(line, "status", "needs `words`: a status is understood only where the mapping lists it");
    }
    if matches!(field.take, Take::Together(_)) {
        s.tell(line, "status", "`together` makes no status");
    }
    // A default would be a clinical judgement that nobody made.
    if matches!(&field.rest, Rest::Word(word) if word != UNKNOWN) {
        s.tell(line, "status", format!("`rest` of a status can only be \"{UNKNOWN}\"; its text is kept"));
    }
    field.rest = Rest::AsWritten;
}

/// `effective_precision`: how exactly it is known when it was so, as another column tells.
pub fn precision(s: &Section<'_>, scope: &mut Scope<'_>) -> Option<Field> {
    let line = s.line_of("effective_precision");
    let field = scope.field(s, "effective_precision")?;
    let said = field.each().flat_map(|way| way.words.values().chain(&way.otherwise));
    for word in said.filter(|word| !word.is_empty() && Precision::parse(word).is_none()) {
        let known = Precision::ALL.map(Precision::as_str).join(", ");
        let what = format!("`{word}` is no precision; known are: {known}, and \"\" for times that are exact");
        s.tell(line, "effective_precision", what);
    }
    if field.each().any(|way| way.words.is_empty() && (way.expr.is_some() || !way.cells.is_empty())) {
        s.tell(line, "effective_precision", "needs `words`: a precision is understood only where the mapping lists it");
    }
    Some(field)
}

/// `status_when`: statuses that follow from conditions.
fn status_when(s: &Section<'_>, scope: &mut Scope<'_>) -> Vec<(&'static str, Vec<Condition>)> {
    let Some(inner) = s.take("status_when").and_then(|node| Section::of(s.report, &s.key("status_when"), node)) else {
        return Vec::new();
    };
    let taken = MEDICATION_STATUSES.into_iter().filter(|status| inner.take(status).is_some()).collect::<Vec<_>>();
    let all = taken.into_iter().map(|status| (status, scope.conditions(&inner, status))).collect();
    inner.finish();
    all
}

fn medication(s: &Section<'_>, scope: &mut Scope<'_>) -> MedicationRule {
    MedicationRule {
        code: code(s, scope),
        dosage: scope.field(s, "dosage"),
        quantity: scope.field(s, "quantity"),
        course: scope.field(s, "course"),
        active_when: scope.conditions(s, "active_when"),
        started_at: scope.time(s, "started_at"),
        ended_at: scope.time(s, "ended_at"),
        last_issued_at: scope.time(s, "last_issued_at"),
        status: status(s, scope, &MEDICATION_STATUSES),
        status_reason: scope.field(s, "status_reason"),
        status_when: status_when(s, scope),
        more: more(Kind::Medication, s, scope, &OWN_MEDICATION),
    }
}

/// `[record.code]`: the words, and the codes in order of preference.
fn code(s: &Section<'_>, scope: &mut Scope<'_>) -> CodeRule {
    let Some(inner) = s.need("code").and_then(|node| Section::of(s.report, &s.key("code"), node)) else {
        return CodeRule::default();
    };
    let mut rule = CodeRule { text: scope.field(&inner, "text"), codes: Vec::new() };
    for node in inner.list("codes") {
        let Some(entry) = Section::of(s.report, &inner.key("codes"), node) else { continue };
        let system = entry.need_text("system").and_then(|name| {
            let system = System::parse(name);
            if system.is_none() {
                let known: Vec<&str> = System::NAMES.iter().map(|(name, _)| *name).collect();
                entry.tell(node.line, "system", format!("expected one of: {}", known.join(", ")));
            }
            system
        });
        let field = entry.need("code").and_then(|node| scope.field_of(&entry, "code", node));
        let (version, display) = (scope.field(&entry, "version"), scope.field(&entry, "display"));
        entry.finish();
        rule.codes.extend(system.zip(field).map(|(system, code)| CodeOf { system, code, version, display }));
    }
    inner.finish();
    rule
}
