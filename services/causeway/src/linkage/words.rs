//! What the verbs of `causeway identity` print.

use linker::store::clerk::{Decided, Entry, Version};
use serde_json::{Value, json};
use std::time::SystemTime;

pub const QUEUE: [&str; 6] = ["ONE", "OTHER", "BITS", "SINCE", "LINKED BY", "REASON"];
pub const HISTORY: [&str; 8] = ["VERSION", "DECIDED", "STATUS", "PERSON", "BEFORE", "BY", "BITS", "REASON"];

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(all) if all.is_empty() => "-".to_owned(),
        Value::Array(all) => all.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn time(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(|_| String::new(), |at| at.to_string())
}

pub fn entry(entry: &Entry) -> Value {
    json!({
        "one": entry.one.to_string(), "other": entry.other.to_string(), "reason": entry.reason,
        "bits": entry.weight.map(|weight| weight.to_string()), "since": time(entry.since), "linked_by": entry.people,
    })
}

pub fn queue_cells(row: &Value) -> Vec<String> {
    ["one", "other", "bits", "since", "linked_by", "reason"].map(|key| plain(&row[key])).to_vec()
}

pub fn version(version: &Version) -> Value {
    json!({
        "version": version.version, "decided_at": time(version.decided_at), "status": version.status,
        "person": version.person, "before": version.before, "rule": version.rule,
        "bits": version.weight.map(|weight| weight.to_string()), "parameters": version.parameters,
        "other": version.other.as_ref().map(ToString::to_string), "reason": version.reason,
    })
}

pub fn history_cells(row: &Value) -> Vec<String> {
    ["version", "decided_at", "status", "person", "before", "rule", "bits", "reason"]
        .map(|key| plain(&row[key]))
        .to_vec()
}

pub fn scored(told: &Value) -> String {
    let mut lines = vec![format!("{:<12} {:>9}  {}", "prior", plain(&told["prior"]), plain(&told["parameters"]))];
    for field in told["fields"].as_array().into_iter().flatten() {
        lines.push(format!("{:<12} {:>9}  {}", plain(&field["field"]), plain(&field["bits"]), plain(&field["level"])));
    }
    let why = told["stop"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
    lines.push(format!("{:<12} {:>9}  {}{why}", "sum", plain(&told["bits"]), plain(&told["band"])));
    lines.push(format!(
        "links from {} bits, asks a clerk from {}",
        plain(&told["link_from"]),
        plain(&told["clerical_from"])
    ));
    lines.join("\n")
}

pub fn explained(told: &Value) -> String {
    let mut lines: Vec<String> = ["patient", "person", "status", "reason"]
        .iter()
        .map(|key| format!("{key:<10} {}", plain(&told[*key])))
        .collect();
    for key in ["rule", "other", "bits", "parameters", "before", "decided_at"] {
        if !told["link"][key].is_null() {
            lines.push(format!("{key:<10} {}", plain(&told["link"][key])));
        }
    }
    if !told["weighed_now"].is_null() {
        lines.push("as the two records are now:".to_owned());
        lines.push(scored(&told["weighed_now"]));
    }
    lines.join("\n")
}

pub fn decided(decided: Decided, waits: bool) -> String {
    let what = match decided {
        Decided::MustLink if waits => {
            return "noted; they have two verified NHS numbers: a second person has to link them, too".to_owned();
        }
        Decided::MustLink => "they are linked",
        Decided::CannotLink => "they are kept apart",
        Decided::Nothing => "numbers and weights decide again",
    };
    format!("noted: {what}, as soon as a linker runs; `causeway identity explain` tells")
}
