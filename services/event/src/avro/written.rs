//! Holds `schemas/patient_event.avsc` to the tables of kinds.

use crate::{
    Body, MadeBy, Participant,
    datum::{Known, field},
};
use serde_json::{Value, json};

/// The fields of the event that are made of tables. The others stand in the file alone.
fn made() -> Vec<Value> {
    let mut known = Known::new();
    let body = Body::schema(&mut known);
    vec![
        json!({"name": "body", "type": body, "doc": "What the event says."}),
        field::<Vec<Participant>>(
            "participants",
            &["Who had a part in it: recorded it, performed it, asked for it."],
            &mut known,
        ),
        field::<Option<String>>("location", &["Where, as its source calls it."], &mut known),
        field::<Option<MadeBy>>(
            "made_by",
            &["By which revisions it was made of its source's rows; null of what was made before events said so."],
            &mut known,
        ),
    ]
}

#[test]
fn the_schema_is_what_the_tables_say() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/patient_event.avsc");
    let text = std::fs::read_to_string(&path).expect("the schema");
    let mut schema: Value = serde_json::from_str(&text).expect("json");
    let fields = schema["fields"].as_array_mut().expect("fields");
    for made in made() {
        match fields.iter_mut().find(|field| field["name"] == made["name"]) {
            Some(field) => *field = made,
            None => fields.push(made),
        }
    }
    let made = format!("{}\n", serde_json::to_string_pretty(&schema).expect("json"));
    if std::env::var_os("CAUSEWAY_WRITE_DOCS").is_some() {
        std::fs::write(&path, made).expect("the schema is written");
        return;
    }
    assert!(
        text == made,
        "schemas/patient_event.avsc is not what the tables say: CAUSEWAY_WRITE_DOCS=1 cargo test --workspace --lib schema_is"
    );
}
