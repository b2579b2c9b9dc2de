//! The same table as an OpenAPI document.

use super::table::{COMMON, TYPES, Type};
use utoipa::openapi::{
    HttpMethod, ObjectBuilder, OpenApi, PathItem, Required, ResponseBuilder,
    path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn},
    schema::Type as SchemaType,
};

/// What each answer is, by its status.
const ANSWERS: [(&str, &str); 6] = [
    ("200", "The resource, or a Bundle"),
    ("304", "Nothing new since `If-None-Match`"),
    ("400", "Not understood: an OperationOutcome says what"),
    ("401", "Not signed in"),
    ("403", "No relation to the patient, or no agreement"),
    ("406", "Only JSON is written"),
];
/// Of a search.
const RESULT: [(&str, &str); 9] = [
    ("_count", "Entries on a page, 200 at most"),
    ("_cursor", "From a `next` link"),
    ("_sort", "`_id`, `_lastUpdated`, or a parameter that is a date; `-` before it: the last first"),
    ("_include", "`Type:parameter`"),
    ("_revinclude", "`Type:parameter`"),
    ("_summary", "true, text, data, count, false"),
    ("_elements", "Names of elements"),
    ("_total", "none, estimate, accurate"),
    ("_format", "json"),
];

pub struct Fhir;

impl utoipa::Modify for Fhir {
    fn modify(&self, document: &mut OpenApi) {
        let mut add = |path: String, method: HttpMethod, operation: Operation| {
            document.paths.paths.insert(format!("/fhir{path}"), PathItem::new(method, operation));
        };
        add("/metadata".into(), HttpMethod::Get, operation("What the server can do", &[], &[]));
        for of in TYPES {
            let name = of.name;
            add(format!("/{name}"), HttpMethod::Get, search(of));
            add(format!("/{name}/_search"), HttpMethod::Post, operation("A search, by a form", &[], &[]));
            add(format!("/{name}/{{id}}"), HttpMethod::Get, operation("One resource", &["id"], &[]));
        }
        let times = [
            ("start", "From this date"),
            ("end", "Up to this date"),
            ("_since", "What became known since"),
            ("_type", "Types, with commas"),
            ("_count", "Entries on a page"),
            ("_cursor", "From a `next` link"),
        ];
        add("/Patient/{id}/$everything".into(), HttpMethod::Get, operation("All of one person", &["id"], &times));
        add("/Patient/{id}/$summary".into(), HttpMethod::Get, operation("One person as a document", &["id"], &[]));
        add("/Patient/$match".into(), HttpMethod::Post, operation("Whom a Patient means", &[], &[]));
        let last =
            [("patient", "Whose"), ("code", "Of which test"), ("category", "Of which kind"), ("max", "Of each test")];
        add("/Observation/$lastn".into(), HttpMethod::Get, operation("The newest results of each test", &[], &last));
    }
}

fn search(of: &Type) -> Operation {
    let own = of.parameters.iter().chain(COMMON).map(|one| (one.name, one.by.code()));
    let all: Vec<(&str, &str)> = own.chain(RESULT).collect();
    operation("A search", &[], &all)
}

fn operation(summary: &str, in_path: &[&str], in_query: &[(&str, &str)]) -> Operation {
    let text = || Some(ObjectBuilder::new().schema_type(SchemaType::String).build());
    let mut operation = OperationBuilder::new().tag("fhir").summary(Some(summary));
    for name in in_path {
        let one = ParameterBuilder::new().name(*name).parameter_in(ParameterIn::Path).required(Required::True);
        operation = operation.parameter(one.schema(text()));
    }
    for (name, what) in in_query {
        let one = ParameterBuilder::new().name(*name).parameter_in(ParameterIn::Query).required(Required::False);
        operation = operation.parameter(one.description(Some(*what)).schema(text()));
    }
    for (status, what) in ANSWERS {
        operation = operation.response(status, ResponseBuilder::new().description(what).build());
    }
    operation.build()
}
