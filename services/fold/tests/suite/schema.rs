//! `schemas/mapping.schema.json`, for editors: its keys are those that the parser knows, asked of the parser itself.

use event::{Kind, Shape};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, path::PathBuf};

/// A key that nobody knows: the parser answers with those that it does.
const UNKNOWN: &str = "zzz";
const KNOWN_ARE: &str = "no such key here; known are ";

/// A mapping of one record with an unknown key in every table that there is.
fn probe(kind: Kind) -> String {
    let tables: String = kind
        .fields()
        .iter()
        .map(|(name, shape)| match shape {
            // It has rules of its own, and stands below.
            _ if *name == "value" => String::new(),
            Shape::One(_) => format!("[record.{name}]\n{UNKNOWN} = 1\n"),
            Shape::Many(_) => format!("[[record.{name}]]\n{UNKNOWN} = 1\n"),
            _ => String::new(),
        })
        .collect();
    format!(
        "system = \"x\"\nrevision = 1\nzone = \"UTC\"\n{UNKNOWN} = 1\nnumbers = {{ {UNKNOWN} = 1 }}\n\
         [[dictionary]]\ntable = \"s.d\"\n{UNKNOWN} = 1\n\
         [[record]]\nkind = \"{kind}\"\nname = \"r\"\ntable = \"s.t\"\nid = \"i\"\npatient = \"p\"\n{UNKNOWN} = 1\n\
         deleted_when = [{{ column = \"c\", is = 1, {UNKNOWN} = 1 }}]\norganisation = {{ from = \"c\", {UNKNOWN} = 1 }}\n\
         [record.join.j]\ntable = \"s.j\"\non = {{ a = \"b\", c = {{ is = 1, {UNKNOWN} = 1 }} }}\n{UNKNOWN} = 1\n\
         [record.value]\n{UNKNOWN} = 1\n[record.status_when]\n{UNKNOWN} = 1\n\
         [record.code]\n{UNKNOWN} = 1\ncodes = [{{ system = \"local\", code = \"c\", {UNKNOWN} = 1 }}]\n\
         [[record.participant]]\n{UNKNOWN} = 1\n{tables}"
    )
}

/// By table (`record`, `record.code`, …): the keys that the parser knows there.
fn known(kind: Kind) -> BTreeMap<String, Vec<String>> {
    let mistakes = mapping::parse("probe.toml", &probe(kind)).expect_err("unknown keys");
    assert!(mistakes.0.len() > 4, "{kind}: {mistakes}");
    let answers = mistakes.0.iter().filter_map(|mistake| {
        let table = mistake.key.strip_suffix(UNKNOWN)?.trim_end_matches('.').replace("[1]", "");
        let keys = mistake.what.strip_prefix(KNOWN_ARE)?;
        Some((table, keys.split(", ").map(str::to_owned).collect()))
    });
    answers.collect()
}

fn refer(name: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{name}") })
}

fn texts() -> Value {
    json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
}

fn words() -> Value {
    json!({ "anyOf": [refer("word"), { "type": "array", "items": refer("word") }] })
}

/// A table with these keys and no others.
fn table(keys: &[String], needed: &[&str], shape: impl Fn(&str) -> Value) -> Value {
    let properties: Map<String, Value> = keys.iter().map(|key| (key.clone(), shape(key))).collect();
    json!({ "type": "object", "properties": properties, "required": needed, "additionalProperties": false })
}

/// What stands at a key, where its name tells.
fn by_name(key: &str) -> Value {
    match key {
        "system" | "zone" | "name" | "table" | "highest" | "patient" | "column" | "together" | "rest" | "otherwise" => {
            json!({ "type": "string" })
        }
        "expr" => json!({ "type": "string", "maxLength": mapping::EXPR_BYTES_MAX }),
        "revision" => json!({ "type": "integer", "minimum": 1 }),
        "above" => json!({ "type": "integer" }),
        "referral" | "trim_zeros" | "present" => json!({ "type": "boolean" }),
        "decimal" => json!({ "enum": coding::value::Marks::DECIMALS }),
        "grouping" => json!({ "enum": coding::value::Marks::GROUPINGS }),
        "id" | "sentinels" | "from" | "null" | "format" => texts(),
        "is" | "is_not" | "in" | "not_in" => words(),
        "words" => json!({ "type": "object", "additionalProperties": refer("word") }),
        "any" => json!({ "type": "array", "items": refer("condition") }),
        "join" => json!({ "type": "object", "additionalProperties": refer("join") }),
        "code" | "value" | "status_when" => refer(key),
        "on" => {
            json!({ "type": "object", "additionalProperties": { "anyOf": [{ "type": "string" }, refer("constant")] } })
        }
        key if key == "when" || key.ends_with("_when") => refer("conditions"),
        _ => refer("field"),
    }
}

/// What the schema calls a record of this kind.
fn record_of(kind: Kind) -> String {
    format!("{kind}_record")
}

fn of_kind(kind: Kind, known: &BTreeMap<String, Vec<String>>) -> Value {
    let mut needed = vec!["kind", "name", "table", "id", "patient"];
    if kind == Kind::Observation {
        needed.extend(["status", "value"]);
    }
    let inner = |name: &str| table(&known[&format!("record.{name}")], &[], |_| refer("field"));
    let nested = |key: &str| match kind.fields().iter().find(|(name, _)| *name == key).map(|(_, shape)| shape) {
        Some(Shape::One(_)) => Some(inner(key)),
        Some(Shape::Many(_)) => Some(many(&inner(key))),
        _ => None,
    };
    table(&known["record"], &needed, |key| match key {
        "kind" => json!({ "const": kind.as_str() }),
        "participant" => many(&inner("participant")),
        "value" => refer("value"),
        key => nested(key).unwrap_or_else(|| by_name(key)),
    })
}

fn many(of: &Value) -> Value {
    json!({ "anyOf": [of, { "type": "array", "items": of }] })
}

fn schema() -> Value {
    let all: Vec<_> = Kind::ALL.into_iter().map(|kind| (kind, known(kind))).collect();
    let of = |kind: Kind| &all.iter().find(|(known, _)| *known == kind).expect("a kind").1;
    let (result, medicine) = (of(Kind::Observation), of(Kind::Medication));
    let field = table(&result["record.organisation"], &[], by_name);
    let systems: Vec<&str> = coding::System::NAMES.iter().map(|(name, _)| *name).collect();
    let code = table(&result["record.code.codes"], &["system", "code"], |key| match key {
        "system" => json!({ "enum": systems }),
        _ => refer("field"),
    });
    let kinds: Vec<Value> = all.iter().map(|(kind, _)| refer(&record_of(*kind))).collect();
    let mut definitions = json!({
        "word": { "type": ["string", "integer", "boolean"] },
        "field": { "anyOf": [
            { "type": "string" }, { "type": "array", "items": { "anyOf": [{ "type": "string" }, refer("fieldTable")] } }, refer("fieldTable"),
        ] },
        "fieldTable": field,
        "condition": table(&result["record.deleted_when"], &[], by_name),
        "conditions": many(&refer("condition")),
        "constant": table(&result["record.join.j.on.c"], &["is"], |_| refer("word")),
        "join": table(&result["record.join.j"], &["table", "on"], by_name),
        "value": table(&result["record.value"], &[], by_name),
        "status_when": table(&medicine["record.status_when"], &[], |_| refer("conditions")),
        "code": table(&result["record.code"], &[], |key| if key == "codes" { many(&code) } else { refer("field") }),
    });
    for (kind, known) in &all {
        definitions[record_of(*kind)] = of_kind(*kind, known);
    }
    let mut root = table(&result[""], &["system", "revision", "zone", "record"], |key| match key {
        "numbers" => table(&result["numbers"], &[], by_name),
        "dictionary" => many(&table(&result["dictionary"], &["table"], by_name)),
        "record" => json!({ "type": "array", "items": { "oneOf": kinds } }),
        key => by_name(key),
    });
    root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    root["title"] = json!("A Causeway mapping: docs/mappings.md");
    root["definitions"] = definitions;
    root
}

/// What of a schema these mappings need. An empty list: it is valid.
fn wrong(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = root.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("no {name}"));
        return wrong(root, schema, value, at);
    }
    for (key, one) in [("anyOf", false), ("oneOf", true)] {
        if let Some(all) = schema[key].as_array() {
            let tried: Vec<Vec<String>> = all.iter().map(|it| wrong(root, it, value, at)).collect();
            let fit = tried.iter().filter(|it| it.is_empty()).count();
            let good = fit == 1 || (fit > 1 && !one);
            return if good { Vec::new() } else { vec![format!("{at}: fits {fit} of {key}: {tried:?}")] };
        }
    }
    let types = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    let is = match value {
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::Null => "null",
    };
    let named = schema["enum"].as_array().cloned().or_else(|| schema.get("const").map(|it| vec![it.clone()]));
    if let Some(named) = named {
        return if named.contains(value) { Vec::new() } else { vec![format!("{at}: {value} is not among {named:?}")] };
    }
    if !types.iter().any(|it| it == is) {
        return vec![format!("{at}: {is}, not {types:?}")];
    }
    let mut all = Vec::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{key}");
        match (schema["properties"].get(key), &schema["additionalProperties"]) {
            (Some(of), _) | (None, of @ Value::Object(_)) => all.extend(wrong(root, of, value, &at)),
            _ => all.push(format!("{at}: no such key")),
        }
    }
    let needed = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    all.extend(needed.filter(|key| value.get(key).is_none()).map(|key| format!("{at}: no {key}")));
    for (place, value) in value.as_array().into_iter().flatten().enumerate() {
        all.extend(wrong(root, &schema["items"], value, &format!("{at}[{place}]")));
    }
    all
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// With `CAUSEWAY_WRITE_DOCS` set, the file is written anew.
#[test]
fn the_editor_s_schema_has_the_parser_s_keys_and_no_others() {
    let text = serde_json::to_string_pretty(&schema()).expect("JSON") + "\n";
    let file = folder("schemas/mapping.schema.json");
    if std::env::var_os("CAUSEWAY_WRITE_DOCS").is_some() {
        std::fs::write(&file, &text).expect("the schema is written");
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == text, "{}: set CAUSEWAY_WRITE_DOCS and run this test", file.display());
}

#[test]
fn mappings_are_valid_by_the_schema() {
    let schema = schema();
    let read = |text: &str| toml::from_str::<Value>(text).expect("TOML");
    let mut seen = 0;
    for name in ["mappings", "mappings/worked"] {
        for entry in std::fs::read_dir(folder(name)).expect("a folder").flatten() {
            if entry.path().extension().is_some_and(|it| it == "toml") {
                let text = std::fs::read_to_string(entry.path()).expect("a mapping");
                assert_eq!(wrong(&schema, &schema, &read(&text), ""), [""; 0], "{}", entry.path().display());
                seen += 1;
                for (right, bad) in
                    [("patient = ", "pateint = "), ("revision = ", "revision = \"1\" #"), ("kind = \"", "kind = \"x")]
                {
                    let bad = text.replacen(right, bad, 1);
                    assert!(!wrong(&schema, &schema, &read(&bad), "").is_empty(), "{right}");
                }
            }
        }
    }
    assert!(seen >= 4, "{seen} mappings");
}
