//! `causeway terminology show`: all that a release says of one code.

use ::terminology::{
    Release,
    history::Today,
    is_loinc,
    read_maps::{Choice, ReadSystem, Target},
    rf2::REFSETS,
    sctid::{self, Component},
};
use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

/// Of a concept with more, so many are shown.
const SHOWN_MAX: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum System {
    Snomed,
    ReadV2,
    Ctv3,
    Loinc,
    Dmd,
}

/// Unless said, a code is of the system whose form it has; Read codes have none of their own, and have to be said.
pub fn code(release: &Release, code: &str, system: Option<System>, term: Option<&str>) -> anyhow::Result<Value> {
    match system {
        Some(System::ReadV2) => read(release, ReadSystem::V2, code, term),
        Some(System::Ctv3) => read(release, ReadSystem::Ctv3, code, term),
        Some(System::Loinc) => loinc(release, code),
        Some(System::Dmd) => {
            let id = sctid::parse(code).with_context(|| format!("`{code}` is no identifier of dm+d"))?;
            product(release, id).with_context(|| format!("the release has no product {code}"))
        }
        Some(System::Snomed) => snomed(release, code),
        None if is_loinc(code) => loinc(release, code),
        None if sctid::parse(code).is_some() => snomed(release, code),
        None => bail!("`{code}` is neither a SNOMED CT nor a LOINC code: say --system read-v2, ctv3 or dmd"),
    }
}

fn snomed(release: &Release, code: &str) -> anyhow::Result<Value> {
    let id =
        sctid::parse(code).with_context(|| format!("`{code}` is no SNOMED CT identifier: its check digit is wrong"))?;
    if sctid::component(id) == Some(Component::Description) {
        let name = release.description(id).with_context(|| format!("the release has no description {id}"))?;
        let active = name.active;
        return Ok(
            json!({ "description": code, "term": name.term, "active": active, "concept": concept(release, name.concept) }),
        );
    }
    match (release.find(id), product(release, id)) {
        (None, None) => bail!("the release has no concept and no product {id}"),
        (None, Some(product)) => Ok(product),
        (Some(_), product) => {
            let mut told = concept(release, id);
            if let (Some(product), Some(told)) = (product, told.as_object_mut()) {
                told.insert("dmd".to_owned(), product);
            }
            Ok(told)
        }
    }
}

fn named(release: &Release, id: u64) -> Value {
    json!({ "code": id.to_string(), "term": release.preferred(id).map(|name| name.term) })
}

fn concept(release: &Release, id: u64) -> Value {
    let names: Vec<Value> = release
        .names(id)
        .take(SHOWN_MAX)
        .map(|name| {
            let kind = if name.fully_specified { "fully specified" } else { "synonym" };
            json!({
                "id": name.id.to_string(), "term": name.term, "kind": kind, "active": name.active,
                "language": String::from_utf8_lossy(&name.language), "preferred": name.preference.is_some(),
            })
        })
        .collect();
    let of = |ids: Vec<u64>| {
        let count = ids.len();
        let shown: Vec<Value> = ids.into_iter().take(SHOWN_MAX).map(|id| named(release, id)).collect();
        json!({ "count": count, "shown": shown })
    };
    let refsets = REFSETS.iter().filter(|(refset, _)| release.is_member(*refset, id) == Some(true));
    json!({
        "code": id.to_string(),
        "term": release.preferred(id).map(|name| name.term),
        "active": release.active(id),
        "today": today(release, id),
        "names": names,
        "parents": of(release.parents(id)),
        "children": of(release.children(id)),
        "ancestors": release.ancestors(id).len(),
        "descendants": release.descendants(id).len(),
        "refsets": refsets.map(|(_, name)| *name).collect::<Vec<_>>(),
    })
}

fn today(release: &Release, id: u64) -> Value {
    match release.today(id) {
        Today::Active => json!("in use"),
        Today::Moved => json!("moved to another organisation"),
        Today::Unknown => json!("not in the release"),
        Today::Replaced { by, how } => {
            let how: Vec<&str> = how.iter().map(|association| association.as_str()).collect();
            json!({ "replaced_by": named(release, by), "how": how })
        }
        Today::Candidates(all) => {
            let all = all.into_iter().map(|(how, id)| json!({ "how": how.as_str(), "concept": named(release, id) }));
            json!({ "not_in_use": all.collect::<Vec<_>>() })
        }
    }
}

fn read(release: &Release, system: ReadSystem, code: &str, term: Option<&str>) -> anyhow::Result<Value> {
    let target = |target: &Target| {
        json!({
            "concept": target.concept.map(|id| named(release, id)), "assured": target.assured, "date": target.date,
            "today": target.concept.map(|id| today(release, id)),
        })
    };
    let rows = release.map_rows(system.as_str(), code);
    if rows.is_empty() {
        bail!("the release maps no {} code `{code}` (case matters, and dots fill it up to five)", system.as_str());
    }
    let choice = match release.read_code(system, code, term) {
        Choice::One(chosen) => target(&chosen),
        Choice::Several(all) => {
            json!({ "none": "rows of one rank disagree", "rows": all.iter().map(target).collect::<Vec<_>>() })
        }
        Choice::NoConcept => json!({ "none": "no row names a concept" }),
        Choice::Unknown => Value::Null,
    };
    let rows: Vec<Value> = rows
        .iter()
        .map(|(term, row)| {
            let mut told = target(row).as_object().cloned().unwrap_or_else(Map::new);
            told.insert("term_code".to_owned(), json!(term));
            Value::Object(told)
        })
        .collect();
    Ok(json!({ "system": system.as_str(), "code": code, "chosen": choice, "rows": rows }))
}

fn loinc(release: &Release, code: &str) -> anyhow::Result<Value> {
    let entry = release.loinc(code).with_context(|| format!("the release has no LOINC code `{code}`"))?;
    let term = entry.term;
    Ok(json!({
        "code": term.code, "term": term.name, "status": term.status, "property": term.property, "system": term.system,
        "map_to": entry.map_to,
    }))
}

fn product(release: &Release, id: u64) -> Option<Value> {
    let medicine = release.medicine(id)?;
    let own = |id: u64| {
        let name = release.medicine(id).map(|it| it.product.name);
        json!({ "code": id.to_string(), "name": name })
    };
    let unit = |id: &str| {
        sctid::parse(id).and_then(|id| release.medicine(id)).map_or_else(|| id.to_owned(), |it| it.product.name)
    };
    let held = release.ingredients(medicine.product.id);
    let held = held.iter().map(|held| {
        let [number, of, per, per_unit] = &held.strength;
        let strength = [number.clone(), unit(of), per.clone(), unit(per_unit)].join(" ");
        json!({ "ingredient": own(held.ingredient), "strength": strength.trim() })
    });
    let product = &medicine.product;
    Some(json!({
        "code": product.id.to_string(), "kind": product.kind, "name": product.name, "invalid": product.invalid,
        "of": product.of.map(own), "holds": held.collect::<Vec<_>>(),
    }))
}

/// Line by line; what is inside is indented.
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    lines(value, 0, &mut out);
    out.trim_end().to_owned()
}

fn lines(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::Null => {}
                    Value::Object(_) | Value::Array(_) => {
                        out.push_str(&format!("{indent}{key}:\n"));
                        lines(value, depth + 1, out);
                    }
                    plain => out.push_str(&format!("{indent}{key}: {}\n", flat(plain))),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::Object(fields) if fields.values().all(|it| !it.is_object() && !it.is_array()) => {
                        let cells: Vec<String> = fields.values().filter(|it| !it.is_null()).map(flat).collect();
                        out.push_str(&format!("{indent}{}\n", cells.join("  ")));
                    }
                    other => lines(other, depth, out),
                }
            }
        }
        plain => out.push_str(&format!("{indent}{}\n", flat(plain))),
    }
}

fn flat(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
