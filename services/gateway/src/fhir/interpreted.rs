//! How a result stands, in FHIR's words: the same judgement as the page's and the alerts'.

use super::resources;
use crate::{
    record::{
        clinical::Observation,
        judged::{self, Who},
    },
    site::Site,
};
use alert::{Judgement, Level};
use serde_json::{Value, json};
use uuid::Uuid;

const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation";

pub fn observation(person: Uuid, row: &Observation, who: Who, site: &Site) -> Value {
    let mut resource = resources::observation(person, row);
    match concept(&judged::judge(row, who, site)) {
        Some(concept) => resource["interpretation"] = json!([concept]),
        None => drop(resource.as_object_mut().and_then(|fields| fields.remove("interpretation"))),
    }
    resource
}

fn concept(judged: &Judgement) -> Option<Value> {
    let words: Vec<&str> = judged.words.as_deref().into_iter().chain(judged.doubt.as_deref()).collect();
    if words.is_empty() {
        return None;
    }
    let mut concept = json!({"text": words.join("; ")});
    if let Some(code) = judged.level.and_then(Level::interpretation) {
        concept["coding"] = json!([{"system": SYSTEM, "code": code}]);
    }
    Some(concept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn potassium(number: &str, comment: Option<&str>) -> Value {
        let number = number.parse().ok();
        let row = Observation {
            analyte: Some("potassium".into()),
            number,
            unit: Some("mmol/L".into()),
            canonical_number: number,
            canonical_unit: Some("mmol/L".into()),
            comment: comment.map(Into::into),
            status: Some("final".into()),
            ..Observation::default()
        };
        observation(Uuid::nil(), &row, Who::default(), &site())["interpretation"].clone()
    }

    fn site() -> Site {
        let limits = alert::Limits::parse(include_str!("../../../../site/alerts.toml"));
        Site { limits: limits.expect("the file in the repository"), ..Site::default() }
    }

    #[test]
    fn fhir_flags_what_the_alerts_call_critical() {
        let critical = |text: &str| json!([{"text": text, "coding": [{"system": SYSTEM, "code": "HH"}]}]);
        assert_eq!(potassium("8.25", None), critical("Critical high (limit 6.5)"));
        assert_eq!(potassium("8.25", Some("Haemolysed")), critical("Critical high (limit 6.5); haemolysed specimen"));
        assert_eq!(potassium("4.1", Some("Haemolysed")), json!([{"text": "haemolysed specimen"}]));
        // A number that cannot be is critical all the same, and says so.
        let mut row = Observation {
            analyte: Some("potassium".into()),
            canonical_number: Some(rust_decimal::Decimal::from(140)),
            canonical_unit: Some("mmol/L".into()),
            unchecked: Some(event::IMPLAUSIBLE.into()),
            ..Observation::default()
        };
        let site = site();
        let told = observation(Uuid::nil(), &row, Who::default(), &site);
        assert_eq!(told["interpretation"], critical("Critical high (limit 6.5); implausible value"));
        assert_eq!(told["valueQuantity"]["value"], 140);
        row.analyte = Some("chloride".into());
        let told = observation(Uuid::nil(), &row, Who::default(), &site);
        assert_eq!(told["interpretation"], json!([{"text": "implausible value"}]));
        // Nothing judges it: that is not "normal".
        assert_eq!(potassium("4.1", None), Value::Null);
    }
}
