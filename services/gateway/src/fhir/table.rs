//! Every type of resource that is served, and what it is searched by: routes, searches and the CapabilityStatement follow
//! from here, and from nothing else.
//!
//! Names, types and elements are R4's (<https://hl7.org/fhir/R4/searchparameter-registry.html>): a test asks HAPI FHIR's own
//! definitions whether each is so. A parameter is here if what the record holds can meet it: one that finds nothing by its
//! nature would be taken for an answer.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use event::Kind;

/// A type of resource.
#[derive(Debug)]
pub struct Type {
    pub name: &'static str,
    pub made: Made,
    pub parameters: &'static [Parameter],
    /// Elements of `_summary=true`, beside those that cannot be left out.
    pub summary: &'static [&'static str],
    /// Elements that cannot be left out: a resource without them is none, or means something else.
    pub mandatory: &'static [&'static str],
}

/// What of the record a type is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    Patient,
    Of(Kind),
    /// Of what was issued, dispensed or given: which of these, is its phase.
    Supply(Phase),
    /// Where every other resource comes from.
    Provenance,
    /// What stands on each of the record's lists, or why nothing does.
    Lists,
    /// Who has looked, for those who watch over that: no part of the record.
    Accesses,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Issue,
    Administration,
    /// Dispensed, and whatever no other type is for.
    Dispense,
}

#[derive(Debug)]
pub struct Parameter {
    pub name: &'static str,
    pub by: By,
    /// The elements that it looks at.
    pub at: &'static [&'static str],
}

/// How a parameter compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// With the system of its codes, where the element does not write one down.
    Token(Option<&'static str>),
    Date,
    Text,
    /// To resources of these types.
    Reference(&'static [&'static str]),
    Quantity,
    Uri,
    /// Each of these parameters, on one and the same resource.
    Composite(&'static [&'static str]),
    /// Whether the element is there, and is not false.
    Present,
}

impl By {
    /// The search parameter type.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Token(_) | Self::Present => "token",
            Self::Date => "date",
            Self::Text => "string",
            Self::Reference(_) => "reference",
            Self::Quantity => "quantity",
            Self::Uri => "uri",
            Self::Composite(_) => "composite",
        }
    }
}

impl Type {
    /// One of the type's own parameters, or of those that each type has.
    pub fn parameter(&self, name: &str) -> Option<&'static Parameter> {
        self.parameters.iter().chain(COMMON).find(|one| one.name == name)
    }

    /// Whether a search has to say whose resources it asks for.
    pub fn is_of_a_person(&self) -> bool {
        self.made != Made::Patient
    }

    /// The kind of record that it is made of, where it is of one.
    pub const fn kind(&self) -> Option<Kind> {
        match self.made {
            Made::Patient => Some(Kind::Demographics),
            Made::Of(kind) => Some(kind),
            Made::Supply(_) => Some(Kind::Supply),
            Made::Provenance | Made::Lists | Made::Accesses => None,
        }
    }
}

pub fn named(name: &str) -> Option<&'static Type> {
    TYPES.iter().find(|one| one.name == name)
}

/// Parameters that name the person whose resources are asked for.
pub const SCOPE: [&str; 5] = ["patient", "subject", "target", "item", "result"];

/// How the result is written, and which part of it.
pub const RESULT: [&str; 9] =
    ["_count", "_cursor", "_sort", "_include", "_revinclude", "_summary", "_elements", "_total", "_format"];

const PATIENT: &[&str] = &["Patient"];

const fn token(name: &'static str, at: &'static [&'static str]) -> Parameter {
    Parameter { name, by: By::Token(None), at }
}

/// A `code`, whose system stands in no resource.
const fn code(name: &'static str, at: &'static [&'static str], system: &'static str) -> Parameter {
    Parameter { name, by: By::Token(Some(system)), at }
}

const fn date(name: &'static str, at: &'static [&'static str]) -> Parameter {
    Parameter { name, by: By::Date, at }
}

const fn words(name: &'static str, at: &'static [&'static str]) -> Parameter {
    Parameter { name, by: By::Text, at }
}

const fn to(name: &'static str, at: &'static [&'static str], types: &'static [&'static str]) -> Parameter {
    Parameter { name, by: By::Reference(types), at }
}

/// Organisations and people, whom resources name and no resource of their own describes: found by identifier.
const fn who(name: &'static str, at: &'static [&'static str]) -> Parameter {
    Parameter { name, by: By::Reference(&[]), at }
}

/// Of every type.
pub const COMMON: &[Parameter] = &[
    token("_id", &["id"]),
    date("_lastUpdated", &["meta.lastUpdated"]),
    Parameter { name: "_source", by: By::Uri, at: &["meta.source"] },
];

pub const TYPES: &[Type] = &[
    Type {
        name: "Patient",
        made: Made::Patient,
        parameters: &[
            token("identifier", &["identifier"]),
            words("name", &["name"]),
            words("family", &["name.family"]),
            words("given", &["name.given"]),
            date("birthdate", &["birthDate"]),
            date("death-date", &["deceasedDateTime"]),
            Parameter { name: "deceased", by: By::Present, at: &["deceasedDateTime", "deceasedBoolean"] },
            code("gender", &["gender"], "http://hl7.org/fhir/administrative-gender"),
            words("address", &["address"]),
            words("address-city", &["address.city"]),
            words("address-postalcode", &["address.postalCode"]),
            token("telecom", &["telecom"]),
            token("phone", &["telecom(system=phone)"]),
            token("email", &["telecom(system=email)"]),
            who("general-practitioner", &["generalPractitioner"]),
        ],
        summary: &["identifier", "name", "telecom", "gender", "birthDate", "deceasedDateTime", "address"],
        mandatory: &["deceasedDateTime"],
    },
    Type {
        name: "Observation",
        made: Made::Of(Kind::Observation),
        parameters: &[
            to("patient", &["subject"], PATIENT),
            to("subject", &["subject"], PATIENT),
            token("identifier", &["identifier"]),
            token("code", &["code"]),
            token("combo-code", &["code"]),
            token("category", &["category"]),
            token("method", &["method"]),
            date("date", &["effectiveDateTime"]),
            code("status", &["status"], "http://hl7.org/fhir/observation-status"),
            Parameter { name: "value-quantity", by: By::Quantity, at: &["valueQuantity"] },
            Parameter { name: "combo-value-quantity", by: By::Quantity, at: &["valueQuantity"] },
            words("value-string", &["valueString"]),
            token("data-absent-reason", &["dataAbsentReason"]),
            who("performer", &["performer"]),
            Parameter { name: "code-value-quantity", by: By::Composite(&["code", "value-quantity"]), at: &[] },
            Parameter { name: "code-value-string", by: By::Composite(&["code", "value-string"]), at: &[] },
        ],
        summary: &["identifier", "subject", "effectiveDateTime", "issued", "performer", "valueQuantity", "valueString"],
        mandatory: &["status", "code", "dataAbsentReason"],
    },
    Type {
        name: "DiagnosticReport",
        made: Made::Of(Kind::SpecimenReport),
        parameters: &[
            to("patient", &["subject"], PATIENT),
            to("subject", &["subject"], PATIENT),
            token("identifier", &["identifier"]),
            token("code", &["code"]),
            token("category", &["category"]),
            date("date", &["effectiveDateTime"]),
            date("issued", &["issued"]),
            code("status", &["status"], "http://hl7.org/fhir/diagnostic-report-status"),
            to("result", &["result"], &["Observation"]),
            who("performer", &["performer"]),
        ],
        summary: &["identifier", "category", "subject", "effectiveDateTime", "issued", "performer"],
        mandatory: &["status", "code"],
    },
    Type {
        name: "AllergyIntolerance",
        made: Made::Of(Kind::Allergy),
        parameters: &[
            to("patient", &["patient"], PATIENT),
            token("identifier", &["identifier"]),
            token("code", &["code"]),
            token("clinical-status", &["clinicalStatus"]),
            token("verification-status", &["verificationStatus"]),
            token("manifestation", &["reaction.manifestation"]),
            code("severity", &["reaction.severity"], "http://hl7.org/fhir/reaction-event-severity"),
            date("date", &["recordedDate"]),
        ],
        summary: &["identifier", "code"],
        mandatory: &["patient", "clinicalStatus", "verificationStatus", "reaction"],
    },
    Type {
        name: "MedicationStatement",
        made: Made::Of(Kind::Medication),
        parameters: &[
            to("patient", &["subject"], PATIENT),
            to("subject", &["subject"], PATIENT),
            token("identifier", &["identifier"]),
            token("code", &["medicationCodeableConcept"]),
            token("category", &["category"]),
            code("status", &["status"], "http://hl7.org/fhir/CodeSystem/medication-statement-status"),
            date("effective", &["effectivePeriod"]),
        ],
        summary: &["identifier", "category", "effectivePeriod", "dateAsserted"],
        mandatory: &["status", "medicationCodeableConcept", "subject", "statusReason"],
    },
    Type {
        name: "MedicationRequest",
        made: Made::Supply(Phase::Issue),
        parameters: &[
            to("patient", &["subject"], PATIENT),
            to("subject", &["subject"], PATIENT),
            token("identifier", &["identifier"]),
            token("code", &["medicationCodeableConcept"]),
            code("status", &["status"], "http://hl7.org/fhir/CodeSystem/medicationrequest-status"),
            code("intent", &["intent"], "http://hl7.org/fhir/CodeSystem/medicationrequest-intent"),
            date("authoredon", &["authoredOn"]),
        ],
        summary: &["authoredOn", "requester"],
        mandatory: &["status", "intent", "medicationCodeableConcept", "subject"],
    },
    Type {
        name: "MedicationDispense",
        made: Made::Supply(Phase::Dispense),
        parameters: &[
            to("patient", &["subject"], PATIENT),
            to("subject", &["subject"], PATIENT),
            token("identifier", &["identifier"]),
            token("code", &["medicationCodeableConcept"]),
            code("status", &["status"], "http://terminology.hl7.org/CodeSystem/medicationdispense-status"),
            token("type", &["type"]),
            date("whenhandedover", &["whenHandedOver"]),
        ],
        summary: &["subject"],
        mandatory: &["status", "medicationCodeableConcept", "type"],
    },
    Type {
        name: "MedicationAdministration",
        made: Made::Supply(Phase::Administration),
        parameters: &[
            to("patient", &["subject"], PATIENT),
            to("subject", &["subject"], PATIENT),
            token("identifier", &["identifier"]),
            token("code", &["medicationCodeableConcept"]),
            code("status", &["status"], "http://terminology.hl7.org/CodeSystem/medication-admin-status"),
            date("effective-time", &["effectiveDateTime"]),
        ],
        summary: &[],
        mandatory: &["status", "medicationCodeableConcept", "subject", "effectiveDateTime", "_effectiveDateTime"],
    },
    Type {
        name: "Condition",
        made: Made::Of(Kind::Condition),
        parameters: &[
            to("patient", &["subject"], PATIENT),
            to("subject", &["subject"], PATIENT),
            token("identifier", &["identifier"]),
            token("code", &["code"]),
            token("category", &["category"]),
            token("clinical-status", &["clinicalStatus"]),
            token("verification-status", &["verificationStatus"]),
            token("severity", &["severity"]),
            token("body-site", &["bodySite"]),
            date("onset-date", &["onsetDateTime"]),
            date("abatement-date", &["abatementDateTime"]),
            date("recorded-date", &["recordedDate"]),
        ],
        summary: &["identifier", "code", "bodySite", "onsetDateTime", "recordedDate"],
        // An abatement needs its clinical status, and a clinical status its category.
        mandatory: &["subject", "clinicalStatus", "verificationStatus", "category"],
    },
    Type {
        name: "Encounter",
        made: Made::Of(Kind::Encounter),
        parameters: &[
            to("patient", &["subject"], PATIENT),
            to("subject", &["subject"], PATIENT),
            token("identifier", &["identifier"]),
            token("class", &["class"]),
            token("type", &["type"]),
            token("reason-code", &["reasonCode"]),
            code("status", &["status"], "http://hl7.org/fhir/encounter-status"),
            date("date", &["period"]),
            who("service-provider", &["serviceProvider"]),
        ],
        summary: &["identifier", "type", "serviceType", "subject", "participant", "reasonCode"],
        mandatory: &["status", "class"],
    },
    Type {
        name: "Immunization",
        made: Made::Of(Kind::Immunisation),
        parameters: &[
            to("patient", &["patient"], PATIENT),
            token("identifier", &["identifier"]),
            token("vaccine-code", &["vaccineCode"]),
            code("status", &["status"], "http://hl7.org/fhir/event-status"),
            token("status-reason", &["statusReason"]),
            token("reason-code", &["reasonCode"]),
            words("lot-number", &["lotNumber"]),
            date("date", &["occurrenceDateTime"]),
        ],
        summary: &["performer", "note"],
        mandatory: &["status", "_status", "vaccineCode", "patient", "occurrenceDateTime", "occurrenceString"],
    },
    Type {
        name: "Procedure",
        made: Made::Of(Kind::Procedure),
        parameters: &[
            to("patient", &["subject"], PATIENT),
            to("subject", &["subject"], PATIENT),
            token("identifier", &["identifier"]),
            token("code", &["code"]),
            code("status", &["status"], "http://hl7.org/fhir/event-status"),
            token("reason-code", &["reasonCode"]),
            date("date", &["performedDateTime", "performedPeriod"]),
        ],
        summary: &[
            "identifier",
            "statusReason",
            "code",
            "performedDateTime",
            "performedPeriod",
            "performer",
            "reasonCode",
            "bodySite",
            "outcome",
        ],
        mandatory: &["status", "subject"],
    },
    Type {
        name: "DocumentReference",
        made: Made::Of(Kind::Document),
        parameters: &[
            to("patient", &["subject"], PATIENT),
            to("subject", &["subject"], PATIENT),
            token("identifier", &["identifier"]),
            token("type", &["type"]),
            code("status", &["status"], "http://hl7.org/fhir/document-reference-status"),
            code("contenttype", &["content.attachment.contentType"], "urn:ietf:bcp:13"),
            words("description", &["description"]),
            date("date", &["date"]),
            who("custodian", &["custodian"]),
        ],
        summary: &["identifier", "type", "subject", "date", "author", "description"],
        mandatory: &["status", "_status", "content"],
    },
    Type {
        name: "Flag",
        made: Made::Of(Kind::Flag),
        parameters: &[
            to("patient", &["subject"], PATIENT),
            to("subject", &["subject"], PATIENT),
            token("identifier", &["identifier"]),
            date("date", &["period"]),
        ],
        summary: &["identifier", "category", "period"],
        mandatory: &["status", "code", "subject"],
    },
    Type {
        name: "List",
        made: Made::Lists,
        parameters: &[
            to("patient", &["subject"], PATIENT),
            to("subject", &["subject"], PATIENT),
            token("code", &["code"]),
            code("status", &["status"], "http://hl7.org/fhir/list-status"),
            token("empty-reason", &["emptyReason"]),
            words("title", &["title"]),
            to(
                "item",
                &["entry.item"],
                &[
                    "Observation",
                    "AllergyIntolerance",
                    "MedicationStatement",
                    "Condition",
                    "Immunization",
                    "Procedure",
                    "Flag",
                ],
            ),
        ],
        summary: &["title", "code", "subject"],
        // Without its reason, an empty list would say that there is nothing.
        mandatory: &["status", "mode", "emptyReason"],
    },
    Type {
        name: "Provenance",
        made: Made::Provenance,
        parameters: &[
            to("target", &["target"], EVERY_OTHER),
            to("patient", &["target"], PATIENT),
            date("recorded", &["recorded"]),
            token("agent-type", &["agent.type"]),
            who("agent", &["agent.who"]),
        ],
        summary: &[],
        mandatory: &["target", "recorded", "agent"],
    },
    Type {
        name: "AuditEvent",
        made: Made::Accesses,
        parameters: &[
            to("patient", &["entity.what"], PATIENT),
            date("date", &["recorded"]),
            token("subtype", &["subtype"]),
            code("action", &["action"], "http://hl7.org/fhir/audit-event-action"),
            code("outcome", &["outcome"], "http://hl7.org/fhir/audit-event-outcome"),
            token("altid", &["agent.altId"]),
            token("agent-role", &["agent.role"]),
        ],
        summary: &["subtype", "action", "outcome", "outcomeDesc", "purposeOfEvent"],
        mandatory: &["type", "recorded", "agent", "source"],
    },
];

/// What comes from one record of one source.
pub const EVERY_OTHER: &[&str] = &[
    "Patient",
    "Observation",
    "DiagnosticReport",
    "AllergyIntolerance",
    "MedicationStatement",
    "MedicationRequest",
    "MedicationDispense",
    "MedicationAdministration",
    "Condition",
    "Encounter",
    "Immunization",
    "Procedure",
    "DocumentReference",
    "Flag",
];
