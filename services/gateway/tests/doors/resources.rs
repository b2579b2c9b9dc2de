//! Every type of resource that the record can make: read, searched, included, paged, withheld.

use super::{CARL, DAVID, Doors, OLIVE};
use anyhow::{Context, ensure};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What the doors' own record lacks: kinds without tables of their own, and the odd ends of each.
const ROWS: &str = include_str!("resources.sql");

const BACK: &str = "delete from record.entry; delete from record.encounter where record = 'encounter/odd';
    update record.observation set more = null where record in ('observation/1', 'observation/2', 'result/2');
    update record.condition set ended_at = null, more = null";

/// What is searched, and how many there are of it for the hospital's endocrinologist.
const SEARCHES: [(&str, usize); 60] = [
    ("Patient?name=ellis", 1),
    ("Patient?family=elli&given=dav&birthdate=1979-04-12&gender=male", 1),
    ("Patient?family=ellis&birthdate=1980", 0),
    ("Patient?birthdate=1979-04-12", 1),
    ("Patient?identifier=urn:causeway:source:stmarys%7C42", 1),
    ("Patient?identifier=urn:causeway:source:stmarys%7C43", 0),
    ("Patient?name=objector", 0),
    ("Observation?D&date=gt2020-01-01", 10),
    ("Observation?D&date=lt2000", 0),
    ("Observation?D&status=final", 9),
    ("Observation?D&status=unknown", 1),
    ("Observation?D&code=39972003", 1),
    ("Observation?D&code=http://snomed.info/sct%7C39972003", 1),
    ("Observation?D&code:not=2823-3", 6),
    ("Observation?D&code:text=serum", 4),
    ("Observation?D&value-quantity=gt6", 5),
    ("Observation?D&value-quantity=6.7%7C%7Cmmol/L", 1),
    ("Observation?D&code-value-quantity=2823-3$ge4.6", 3),
    ("Observation?D&value-string:contains=haemolysed", 1),
    ("Observation?D&data-absent-reason:missing=false", 1),
    ("Observation?D&category=laboratory", 10),
    ("Observation?D&performer:identifier=R1V01", 4),
    ("Observation?D&_source:below=urn:causeway:source:riverside", 4),
    ("DiagnosticReport?D", 1),
    ("DiagnosticReport?D&status=final&issued=2026-01-05&category=LAB", 1),
    ("AllergyIntolerance?D", 2),
    ("AllergyIntolerance?D&clinical-status=active&severity=severe", 1),
    ("AllergyIntolerance?D&manifestation:text=rash", 1),
    ("AllergyIntolerance?D&code=91936005", 1),
    ("MedicationStatement?D", 7),
    ("MedicationStatement?D&status=active", 4),
    ("MedicationStatement?D&status=on-hold,stopped", 2),
    ("MedicationStatement?D&code:text=hydro", 2),
    ("MedicationStatement?D&effective=lt2020-01-01", 1),
    ("MedicationRequest?D&intent=order&authoredon=2026-01-06", 1),
    ("MedicationDispense?D", 2),
    ("MedicationDispense?D&type:text=lent", 1),
    ("MedicationAdministration?D", 2),
    ("MedicationAdministration?D&effective-time:missing=true", 1),
    ("Condition?D", 2),
    ("Condition?D&clinical-status=active&code=363732003", 1),
    ("Condition?D&abatement-date=2020-01-01", 1),
    ("Condition?D&category=problem-list-item&onset-date=2009", 1),
    ("Condition?D&severity:text=moderate", 1),
    ("Encounter?D", 3),
    ("Encounter?D&class=EMER", 1),
    ("Encounter?D&status=in-progress", 1),
    ("Encounter?D&service-provider:identifier=RSM01", 2),
    ("Immunization?D", 3),
    ("Immunization?D&status=completed&lot-number=b7&date=2025", 1),
    ("Immunization?D&status=not-done", 2),
    ("Procedure?D&code=80146002&date=2025-03-01", 1),
    ("Procedure?D&status=unknown", 1),
    ("DocumentReference?D&contenttype=application/pdf&type:text=discharge", 1),
    ("DocumentReference?D", 2),
    ("Flag?D", 2),
    ("List?D", 7),
    ("List?D&code=allergies,problems", 2),
    ("Provenance?D", 2),
    ("Provenance?D&agent:identifier=R1V01", 1),
];

/// Everything that was answered, for who looks at it next. What was put into the record stays until it is taken away.
pub async fn are_served(doors: &Doors<'_>) -> anyhow::Result<Vec<String>> {
    doors.region.pool.get().await?.batch_execute(ROWS).await?;
    let token = doors.token("endo.stmarys").await?;
    let mut told = searches(doors, &token).await?;
    reads(doors, &token).await?;
    told.extend(what_comes_along(doors, &token).await?);
    told.extend(operations(doors, &token).await?);
    told.extend(empty_lists(doors).await?);
    parts_and_versions(doors, &token).await?;
    a_page_holds_while_data_changes(doors, &token).await?;
    told.extend(refusals(doors, &token).await?);
    told.push(who_has_looked(doors, &token).await?);
    Ok(told)
}

/// A privacy officer sees who asked for what their own organisation holds; nobody else does.
async fn who_has_looked(doors: &Doors<'_>, clinician: &str) -> anyhow::Result<String> {
    let client = doors.region.pool.get().await?;
    let engineer = doors.token("engineer").await?;
    let path = of_david("AuditEvent?D&_count=200");
    for token in [clinician, &engineer] {
        ensure!(doors.get(token, &path).await?.0 == StatusCode::FORBIDDEN);
    }
    let become_one = "update access.user set role = 'privacy-officer', teams = '{riverside}' where id = 'engineer'";
    client.execute(become_one, &[]).await?;
    let (status, text) = doors.get(&engineer, &path).await?;
    let seen: Value = serde_json::from_str(&text)?;
    ensure!(status == StatusCode::OK && matches(&seen).len() == 200, "{status} {text}");
    let sql =
        "select count(*) from access.audit where source = 'riverside' and patient = 'p-1' and organisation = 'R1V01'";
    let total = doors.count(sql).await?;
    ensure!(
        seen["total"].as_i64() == Some(total),
        "of what the practice holds, and no more: {} {total}",
        seen["total"]
    );
    for (query, some) in [
        ("altid=endo.stmarys", true),
        ("altid=nobody", false),
        ("outcome=4&altid=engineer", true),
        ("date=lt2000", false),
    ] {
        let found = doors.json(&engineer, &of_david(&format!("AuditEvent?D&_count=0&{query}"))).await?;
        ensure!((found["total"] != 0) == some, "{query}: {}", found["total"]);
    }
    // The record itself is none of theirs, and who holds nothing of a patient sees nothing.
    for path in [of_david("Condition?D"), format!("/fhir/AuditEvent?patient={}", super::MARY)] {
        ensure!(doors.get(&engineer, &path).await?.0 == StatusCode::FORBIDDEN, "{path}");
    }
    client.execute("update access.user set role = 'data-engineer', teams = '{}' where id = 'engineer'", &[]).await?;
    Ok(text)
}

pub async fn are_taken_away(doors: &Doors<'_>) -> anyhow::Result<()> {
    Ok(doors.region.pool.get().await?.batch_execute(BACK).await?)
}

fn of_david(query: &str) -> String {
    format!("/fhir/{}", query.replacen("?D", &format!("?patient={DAVID}"), 1))
}

fn matches(bundle: &Value) -> Vec<&Value> {
    let entries = bundle["entry"].as_array().into_iter().flatten();
    entries.filter(|entry| entry["search"]["mode"] == "match").map(|entry| &entry["resource"]).collect()
}

async fn searches(doors: &Doors<'_>, token: &str) -> anyhow::Result<Vec<String>> {
    let (mut told, mut wrong) = (Vec::new(), Vec::new());
    for (query, want) in SEARCHES {
        let (status, text) = doors.get(token, &of_david(query)).await?;
        let bundle: Value = serde_json::from_str(&text)?;
        if status != StatusCode::OK || bundle["total"] != want || matches(&bundle).len() != want {
            wrong.push(format!("{query}: {status}, {} and not {want}", bundle["total"]));
        }
        told.push(text);
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let sorted = doors.json(token, &of_david("Observation?D&_sort=date&_count=200")).await?;
    let times: Vec<&str> = matches(&sorted).iter().filter_map(|one| one["effectiveDateTime"].as_str()).collect();
    ensure!(times.len() == 10 && times.is_sorted(), "{times:?}");
    Ok(told)
}

/// Each resource is read as it was found; nobody else reads it.
async fn reads(doors: &Doors<'_>, token: &str) -> anyhow::Result<()> {
    let outsider = doors.token("engineer").await?;
    let types = doors.json(token, "/fhir/metadata").await?;
    let types: Vec<&str> =
        types["rest"][0]["resource"].as_array().context("types")?.iter().filter_map(|of| of["type"].as_str()).collect();
    ensure!(types.len() == 17, "{types:?}");
    for of in types.iter().filter(|of| !["Patient", "AuditEvent"].contains(of)) {
        let bundle = doors.json(token, &of_david(&format!("{of}?D"))).await?;
        let found = matches(&bundle);
        ensure!(!found.is_empty(), "there is no {of}");
        for resource in found {
            let path = format!("/fhir/{of}/{}", resource["id"].as_str().context("an id")?);
            let (status, text) = doors.get(token, &path).await?;
            ensure!(status == StatusCode::OK, "{path}: {status}");
            ensure!(
                serde_json::from_str::<Value>(&text)? == *resource,
                "{path} is read as it was found:\n{text}\n{resource}"
            );
            ensure!(doors.get(&outsider, &path).await?.0 == StatusCode::FORBIDDEN, "{path} for who may not");
        }
        let (status, text) = doors.get(&outsider, &of_david(&format!("{of}?D"))).await?;
        ensure!(status == StatusCode::FORBIDDEN && !text.contains("R1V01"), "{of} for who may not: {status}");
        let sql = format!(
            "select count(*) from access.audit where actor = 'engineer' and decision = 'refuse' and person = '{DAVID}'
             and action = 'fhir-search-{}'",
            of.to_lowercase()
        );
        ensure!(doors.count(&sql).await? >= 2, "{of}: a refusal is audited, for each source");
    }
    Ok(())
}

async fn what_comes_along(doors: &Doors<'_>, token: &str) -> anyhow::Result<Vec<String>> {
    let mut told = Vec::new();
    for (query, matched, along) in [
        ("Observation?D&_include=Observation:subject", 10, "Patient 1"),
        ("Observation?D&_include=Observation:subject:Patient&_count=1", 1, "Patient 1"),
        (
            "DiagnosticReport?D&_include=DiagnosticReport:result&_include=DiagnosticReport:patient",
            1,
            "Observation 2 Patient 1",
        ),
        ("Observation?D&code=2951-2&_revinclude=DiagnosticReport:result", 2, "DiagnosticReport 1"),
        ("AllergyIntolerance?D&_revinclude=Provenance:target&_revinclude=List:item", 2, "List 1 Provenance 2"),
        ("Patient?_id=P&_revinclude=Condition:subject&_revinclude=Provenance:target", 1, "Condition 2 Provenance 2"),
        ("List?D&code=problems&_include=List:item", 1, "Condition 1"),
    ] {
        let (status, text) = doors.get(token, &of_david(&query.replace("=P&", &format!("={DAVID}&")))).await?;
        ensure!(status == StatusCode::OK, "{query}: {status} {text}");
        let bundle: Value = serde_json::from_str(&text)?;
        let included = bundle["entry"].as_array().context("entries")?.iter();
        let included = included.filter(|entry| entry["search"]["mode"] == "include").map(|entry| &entry["resource"]);
        let mut counts = std::collections::BTreeMap::<&str, usize>::new();
        for resource in included {
            *counts.entry(resource["resourceType"].as_str().unwrap_or_default()).or_default() += 1;
        }
        let counts: Vec<String> = counts.iter().map(|(of, count)| format!("{of} {count}")).collect();
        ensure!(matches(&bundle).len() == matched && counts.join(" ") == along, "{query}: {counts:?}");
        told.push(text);
    }
    Ok(told)
}

async fn operations(doors: &Doors<'_>, token: &str) -> anyhow::Result<Vec<String>> {
    let mut told = Vec::new();
    // All of a person, page by page, is what the searches find one by one.
    let mut next = Some(format!("/fhir/Patient/{DAVID}/$everything?_count=7"));
    let (mut ids, mut pages, mut total) = (BTreeSet::new(), 0, Value::Null);
    while let Some(path) = next {
        let (_, text) = doors.get(token, &path).await?;
        let bundle: Value = serde_json::from_str(&text)?;
        for resource in matches(&bundle) {
            ensure!(ids.insert(format!("{}/{}", resource["resourceType"], resource["id"])), "told twice: {resource}");
        }
        total = bundle["total"].clone();
        pages += 1;
        next = next_of(doors, &bundle)?;
        told.push(text);
    }
    ensure!(total == ids.len() && pages == ids.len().div_ceil(7) && ids.len() == 47, "{total} {} {pages}", ids.len());
    let some = format!("/fhir/Patient/{DAVID}/$everything?_type=Condition,Observation&start=2020-01-01");
    ensure!(doors.json(token, &some).await?["total"] == 10, "results, and no older problem");
    let (_, summary) = doors.get(token, &format!("/fhir/Patient/{DAVID}/$summary")).await?;
    let document: Value = serde_json::from_str(&summary)?;
    let sections = document["entry"][0]["resource"]["section"].as_array().context("sections")?;
    ensure!(document["type"] == "document" && sections.len() >= 6, "{document}");
    let narrative: String = sections.iter().map(|section| section["text"]["div"].to_string()).collect();
    ensure!(narrative.contains("suspended: not being given") && !narrative.contains("<script"), "{narrative}");
    told.push(summary);
    for (query, want) in [("?D", 5), ("?D&max=2", 8), ("?D&code=2823-3", 1), ("?D&code=2823-3&max=9", 4)] {
        let (status, text) = doors.get(token, &of_david(&format!("Observation/$lastn{query}"))).await?;
        let bundle: Value = serde_json::from_str(&text)?;
        ensure!(
            status == StatusCode::OK && matches(&bundle).len() == want,
            "$lastn{query}: {} {text}",
            matches(&bundle).len()
        );
        told.push(text);
    }
    let last = doors.json(token, &of_david("Observation/$lastn?D&code=2823-3")).await?;
    ensure!(matches(&last)[0]["valueQuantity"]["value"] == 6.7, "the newest potassium");
    told.extend(matching(doors, token).await?);
    Ok(told)
}

async fn matching(doors: &Doors<'_>, token: &str) -> anyhow::Result<Vec<String>> {
    let mut told = Vec::new();
    let number = |number: &str| json!([{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": number}]);
    let david = json!({"resourceType": "Patient", "identifier": number("9434765919"), "birthDate": "1979-04-12"});
    let named = json!({"resourceType": "Patient", "name": [{"family": "Ellis", "given": ["David"]}], "birthDate": "1979-04-12"});
    let mary = json!({"resourceType": "Patient", "identifier": number("9000000025"), "birthDate": "1990-06-06"});
    for (patient, certain, want) in [
        (&david, false, Some("certain")),
        (&david, true, Some("certain")),
        (&named, false, Some("probable")),
        (&named, true, None),
        (&mary, false, None),
    ] {
        let body = json!({"resourceType": "Parameters", "parameter": [
            {"name": "resource", "resource": patient}, {"name": "onlyCertainMatches", "valueBoolean": certain}]});
        let request = doors.client.post(format!("{}/fhir/Patient/$match", doors.region.url)).bearer_auth(token);
        let answer = request.header("content-type", "application/fhir+json").body(body.to_string()).send().await?;
        ensure!(answer.status() == StatusCode::OK, "{}", answer.status());
        let text = answer.text().await?;
        let bundle: Value = serde_json::from_str(&text)?;
        let grade = bundle["entry"][0]["search"]["extension"][0]["valueCode"].as_str();
        ensure!(grade == want && bundle["total"] == usize::from(want.is_some()), "{patient}: {bundle}");
        told.push(text);
    }
    Ok(told)
}

/// Why a list is empty, and the same on each where something is withheld.
async fn empty_lists(doors: &Doors<'_>) -> anyhow::Result<Vec<String>> {
    let (ed, gp) = (doors.token("ed.stmarys").await?, doors.token("gp.riverside").await?);
    let client = doors.region.pool.get().await?;
    let mut told = Vec::new();
    for (token, person) in [(&ed, OLIVE), (&ed, CARL), (&gp, CARL)] {
        let (_, text) = doors.get(token, &format!("/fhir/List?patient={person}")).await?;
        let bundle: Value = serde_json::from_str(&text)?;
        let empty: Vec<&Value> = matches(&bundle).into_iter().filter(|list| list["entry"].is_null()).collect();
        let reasons: BTreeSet<String> = empty.iter().map(|list| list["emptyReason"].to_string()).collect();
        ensure!(empty.len() >= 5 && reasons.len() == 1, "{person}: {reasons:?}");
        ensure!(reasons.first().is_some_and(|why| why.contains("unavailable") && why.contains("None shown here")));
        told.push(text);
    }
    let path = of_david("List?D&code=allergies");
    let reason = async |sql: &str| -> anyhow::Result<Value> {
        client.batch_execute(sql).await?;
        let bundle = doors.json(&ed, &path).await?;
        Ok(matches(&bundle).first().context("a list")?["emptyReason"]["coding"][0]["code"].clone())
    };
    let none = "update record.allergy set retracted = true where patient in ('p-1', '42');
        insert into record.allergy (source, patient, record, organisation, position, revision, event_id, committed_at, snapshot,
            code_text, none_known, active)
        values ('riverside', 'p-1', 'allergy/none', 'R1V01', '1', 1, 'xn', now(), true, 'No known allergies', true, true)";
    ensure!(reason(none).await? == "nilknown");
    told.push(doors.get(&ed, &format!("/fhir/Patient/{DAVID}/$summary")).await?.1);
    ensure!(reason("delete from record.allergy where record = 'allergy/none'").await? == "notasked");
    told.push(doors.get(&ed, &of_david("AllergyIntolerance?D")).await?.1);
    let back = "update record.allergy set retracted = false where patient in ('p-1', '42')";
    ensure!(reason(back).await?.is_null(), "it is not empty any more");
    Ok(told)
}

async fn parts_and_versions(doors: &Doors<'_>, token: &str) -> anyhow::Result<()> {
    let get = async |path: &str, tag: Option<&str>| {
        let request = doors.client.get(format!("{}{path}", doors.region.url)).bearer_auth(token);
        match tag {
            Some(tag) => request.header(header::IF_NONE_MATCH, tag).send().await,
            None => request.send().await,
        }
    };
    for path in [format!("/fhir/Patient/{DAVID}"), of_david("Condition?D"), "/fhir/metadata".to_owned()] {
        let first = get(&path, None).await?;
        let tag = first.headers()[header::ETAG].to_str()?.to_owned();
        ensure!(tag.starts_with("W/\""), "{tag}");
        let before = doors.audited("endo.stmarys", "allow", DAVID).await?;
        for known in [tag.as_str(), &format!("\"x\", {tag}"), "*"] {
            let again = get(&path, Some(known)).await?;
            ensure!(again.status() == StatusCode::NOT_MODIFIED && again.bytes().await?.is_empty(), "{path} {known}");
        }
        ensure!(
            path.contains("metadata") || doors.audited("endo.stmarys", "allow", DAVID).await? > before,
            "a read all the same"
        );
        ensure!(get(&path, Some("W/\"other\"")).await?.status() == StatusCode::OK);
    }
    let path = format!("/fhir/Patient/{DAVID}");
    let tag = get(&path, None).await?.headers()[header::ETAG].to_str()?.to_owned();
    let client = doors.region.pool.get().await?;
    client.execute("update record.patient set postcode = 'RV9 9ZZ' where patient in ('p-1', '42')", &[]).await?;
    ensure!(get(&path, Some(&tag)).await?.status() == StatusCode::OK, "what has changed is told");
    client.execute("update record.patient set postcode = 'RV1 2AB' where patient in ('p-1', '42')", &[]).await?;
    ensure!(get(&path, Some(&tag)).await?.status() == StatusCode::NOT_MODIFIED);
    let count = doors.json(token, &of_david("Observation?D&_summary=count")).await?;
    ensure!(count["total"] == 10 && matches(&count).is_empty(), "{count}");
    let none = doors.json(token, &of_david("Observation?D&_total=none&_elements=value&_count=1")).await?;
    ensure!(none["total"].is_null() && matches(&none)[0]["category"].is_null(), "{none}");
    Ok(())
}

fn next_of(doors: &Doors<'_>, bundle: &Value) -> anyhow::Result<Option<String>> {
    let links = bundle["link"].as_array().context("links")?;
    let next = links.iter().find(|link| link["relation"] == "next").and_then(|link| link["url"].as_str());
    let own = |url: &str| url.strip_prefix(&doors.region.url).map(str::to_owned).context("an absolute link of ours");
    next.map(own).transpose()
}

/// What is added, taken back and changed between two pages makes nothing else be told twice or never.
async fn a_page_holds_while_data_changes(doors: &Doors<'_>, token: &str) -> anyhow::Result<()> {
    let client = doors.region.pool.get().await?;
    let all = doors.json(token, &of_david("Observation?D&_count=200")).await?;
    let id = |one: &Value| one["id"].as_str().map(str::to_owned);
    let all: Vec<String> = matches(&all).into_iter().filter_map(id).collect();
    let mut next = Some(of_david("Observation?D&_count=3"));
    let mut told: Vec<String> = Vec::new();
    let changes = [
        // Newer than everything, and of an hour that was told already.
        "insert into record.observation (source, patient, record, organisation, position, revision, event_id, committed_at, effective_at,
            snapshot, code_text, number, unit, status, version, version_digest)
         select 'stmarys', '42', 'new/' || n, 'RSM01', '1', 1, 'n' || n, now(), now() - make_interval(mins => n), false, 'New', n, 'x',
            'final', '1', '\\x00' from generate_series(0, 4) n",
        // What was told already is taken back.
        "update record.observation set retracted = true where record in ('result/1', 'result/2')",
        "update record.observation set retracted = false where record in ('result/1', 'result/2')",
    ];
    let mut changes = changes.into_iter();
    while let Some(path) = next {
        let bundle = doors.json(token, &path).await?;
        told.extend(matches(&bundle).into_iter().filter_map(id));
        next = next_of(doors, &bundle)?;
        if let Some(change) = changes.next() {
            client.batch_execute(change).await?;
        }
    }
    ensure!(told == all, "told {told:?}\nof   {all:?}");
    client.execute("delete from record.observation where record like 'new/%'", &[]).await?;
    Ok(())
}

/// What cannot be answered has its status and an OperationOutcome, at every door of FHIR.
async fn refusals(doors: &Doors<'_>, token: &str) -> anyhow::Result<Vec<String>> {
    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/fhir+json";
    let first = doors.json(token, &of_david("Observation?D&_count=1")).await?;
    let stolen = next_of(doors, &first)?.context("a next page")?;
    let stolen = stolen.split("_cursor=").nth(1).context("a cursor")?.to_owned();
    let large = "x".repeat(gateway::BODY_BYTES_MAX + 1);
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let mut told = Vec::new();
    for (method, path, kind, body, want) in [
        (&get, of_david("Observation?D&colour=red"), FORM, "", 400_u16),
        (&get, of_david("Observation?D&code:in=x"), FORM, "", 400),
        (&get, of_david("Observation?D&date=soon"), FORM, "", 400),
        (&get, of_david("Observation?D&_cursor=AAAA"), FORM, "", 400),
        (&get, of_david("Condition?D&_cursor=x"), FORM, "", 400),
        (&get, format!("{}&_cursor={stolen}", of_david("Condition?D")), FORM, "", 400),
        (&get, format!("/fhir/Patient/{DAVID}/$everything?_cursor={stolen}"), FORM, "", 400),
        (&get, format!("/fhir/Patient/{DAVID}/$everything?colour=red"), FORM, "", 400),
        (&get, format!("/fhir/Patient/{DAVID}/$everything?_type=Binary"), FORM, "", 400),
        (&get, format!("/fhir/Patient/{DAVID}/$summary?x=1"), FORM, "", 400),
        (&get, of_david("Observation/$lastn?D&max=0"), FORM, "", 400),
        (&get, "/fhir/Condition".into(), FORM, "", 400),
        (&get, "/fhir/Patient?gender=male".into(), FORM, "", 400),
        (&get, "/fhir/Patient?name=e".into(), FORM, "", 400),
        (&get, "/fhir/Condition/x".into(), FORM, "", 404),
        (&get, format!("/fhir/Condition/{DAVID}.00000000000000000000000000"), FORM, "", 404),
        (&get, format!("/fhir/Condition/{DAVID}"), FORM, "", 404),
        (&get, format!("/fhir/Patient/{DAVID}.00000000000000000000000000"), FORM, "", 404),
        (&get, "/fhir/Patient/x/$everything".into(), FORM, "", 404),
        (&get, format!("/fhir/Patient/{DAVID}/$erase"), FORM, "", 404),
        (&get, "/fhir/Binary?patient=1".into(), FORM, "", 404),
        (&get, format!("/fhir/Patient/{OLIVE}/$everything"), FORM, "", 403),
        (&get, format!("/fhir/Patient/{OLIVE}/$summary"), FORM, "", 403),
        (&get, format!("/fhir/Observation/$lastn?patient={OLIVE}"), FORM, "", 403),
        (&post, "/fhir/Patient".into(), JSON, "{}", 405),
        (&put, format!("/fhir/Patient/{DAVID}"), JSON, "{}", 405),
        (&Method::DELETE, format!("/fhir/Condition/{DAVID}.0"), JSON, "", 405),
        (&get, "/fhir/Patient/$match".into(), FORM, "", 405),
        (&post, "/fhir/Condition/_search".into(), JSON, "{}", 415),
        (&post, "/fhir/Patient/$match".into(), FORM, "a=b", 415),
        (&post, "/fhir/Patient/$match".into(), JSON, "{", 400),
        (&post, "/fhir/Patient/$match".into(), JSON, deep.as_str(), 400),
        (&post, "/fhir/Patient/$match".into(), JSON, "{\"resourceType\": \"Patient\"}", 400),
        (&post, "/fhir/Patient/_search".into(), FORM, large.as_str(), 413),
        (&get, of_david("Patient?_id=x&_revinclude=AuditEvent:patient"), FORM, "", 400),
        (&get, format!("/fhir/Patient/{DAVID}/$everything?_type=AuditEvent"), FORM, "", 400),
        (&get, of_david("Condition?D&_format=xml"), FORM, "", 406),
    ] {
        let request = doors.client.request(method.clone(), format!("{}{path}", doors.region.url)).bearer_auth(token);
        let answer = request.header("content-type", kind).body(body.to_owned()).send().await?;
        let (status, allow) = (answer.status(), answer.headers().contains_key(header::ALLOW));
        let text = answer.text().await?;
        let outcome = serde_json::from_str::<Value>(&text).unwrap_or_default();
        ensure!(status == want && outcome["resourceType"] == "OperationOutcome", "{method} {path}: {status} {text}");
        ensure!(allow == (want == 405), "{method} {path}: what is allowed is said");
        told.push(text);
    }
    for path in ["/fhir/Condition?patient=x", "/fhir/Nothing", "/fhir/Patient/x/$everything"] {
        let answer = doors.client.get(format!("{}{path}", doors.region.url)).send().await?;
        ensure!(
            answer.status() == StatusCode::UNAUTHORIZED && answer.headers().contains_key(header::WWW_AUTHENTICATE),
            "{path}"
        );
    }
    Ok(told)
}
