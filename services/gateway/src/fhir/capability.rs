//! The CapabilityStatement.

use crate::access::{AboutNobody, Released};
use serde_json::{Value, json};

/// What the server can do, whoever is in it.
struct Capability;

impl AboutNobody for Capability {}

pub fn statement() -> Released<Value> {
    Released::about_nobody(Capability).map(|_| resource())
}

fn resource() -> Value {
    let search = |name: &str, kind: &str| json!({"name": name, "type": kind});
    let resource = |name: &str, parameters: Vec<Value>| {
        json!({
            "type": name,
            "interaction": [{"code": "read"}, {"code": "search-type"}],
            "versioning": "no-version",
            "searchParam": parameters,
        })
    };
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-23",
        "kind": "instance",
        "software": {"name": "Causeway", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "Records of a region, read under data-sharing agreements; every read is audited"},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [{
            "mode": "server",
            "security": {"cors": false, "description": "A session's token as bearer token or cookie; deny by default"},
            "resource": [
                resource("Patient", vec![search("identifier", "token"), search("_id", "token")]),
                resource("Observation", vec![
                    search("patient", "reference"), search("subject", "reference"), search("code", "token"),
                ]),
            ],
        }],
    })
}
