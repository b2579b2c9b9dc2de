//! Searches: what they answer, and what they refuse.

use super::{DAVID, Doors};
use anyhow::{Context, ensure};
use reqwest::{Method, StatusCode};
use serde_json::Value;

pub async fn pages_and_refuses(doors: &Doors<'_>) -> anyhow::Result<()> {
    let token = doors.token("endo.stmarys").await?;
    let mut next = Some(format!("/fhir/Observation?patient=Patient/{DAVID}&_count=3"));
    let mut ids = Vec::new();
    while let Some(path) = next {
        let bundle = doors.json(&token, &path).await?;
        ensure!(bundle["total"] == 10, "{}", bundle["total"]);
        let entries = bundle["entry"].as_array().context("entries")?;
        let base = format!("{}/fhir/Observation/", doors.region.url);
        ensure!(entries[0]["fullUrl"].as_str().is_some_and(|url| url.starts_with(&base)), "{}", entries[0]["fullUrl"]);
        ids.extend(entries.iter().filter_map(|entry| entry["resource"]["id"].as_str().map(str::to_owned)));
        let links = bundle["link"].as_array().context("links")?;
        let next_link = links.iter().find(|link| link["relation"] == "next").and_then(|link| link["url"].as_str());
        next = match next_link {
            Some(url) => Some(url.strip_prefix(&doors.region.url).context("an absolute link of ours")?.to_owned()),
            None => None,
        };
    }
    ensure!(ids.len() == 10 && ids.iter().collect::<std::collections::HashSet<_>>().len() == 10, "{ids:?}");
    let one = doors.json(&token, &format!("/fhir/Observation/{}", ids[0])).await?;
    ensure!(one["id"] == *ids[0] && one["subject"]["reference"] == format!("Patient/{DAVID}"));
    for (code, total) in [
        ("http://loinc.org%7C2823-3", 4),
        ("2823-3", 4),
        ("2823-3,2951-2", 6),
        ("http://loinc.org%7C2823-3,http://loinc.org%7C2951-2", 6),
        ("2823-3&code=K", 2),
        ("2823-3&code=2951-2", 0),
        // The right code of another system.
        ("http://snomed.info/sct%7C2823-3", 0),
        ("%7C2823-3", 0),
        ("urn:causeway:local:stmarys%7CK", 2),
        ("http://read.info/readv2%7C", 4),
    ] {
        let coded = doors.json(&token, &format!("/fhir/Observation?patient={DAVID}&code={code}")).await?;
        ensure!(coded["total"] == total, "{code}: {}", coded["total"]);
    }
    let posted = format!("patient={DAVID}&code=2823-3,2951-2");
    let posted: Value = doors.ask(&token, Method::POST, "/fhir/Observation/_search", &posted).await?.json().await?;
    ensure!(posted["total"] == 6, "{posted}");
    let lenient = doors.client.get(format!("{}/fhir/Observation?patient={DAVID}&colour=red", doors.region.url));
    let lenient = lenient.bearer_auth(&token).header("prefer", "handling=lenient").send().await?;
    let lenient: Value = lenient.json().await?;
    let answered = format!("{}/fhir/Observation?patient={DAVID}&_count=50", doors.region.url);
    ensure!(lenient["total"] == 10 && lenient["link"][0]["url"] == answered, "{}", lenient["link"]);
    let xml = doors.client.get(format!("{}/fhir/metadata?_format=xml", doors.region.url)).send().await?;
    ensure!(xml.status() == StatusCode::NOT_ACCEPTABLE, "{}", xml.status());
    let by_number = "/fhir/Patient?identifier=https://fhir.nhs.uk/Id/nhs-number%7C";
    ensure!(doors.json(&token, &format!("{by_number}9434765919")).await?["total"] == 1);
    ensure!(doors.json(&token, &format!("{by_number}9000000025")).await?["total"] == 0, "Mary is nobody's here");
    for path in [
        "/fhir/Observation",
        "/fhir/Observation?patient=x",
        &format!("/fhir/Observation?patient={DAVID}&colour=red"),
        &format!("/fhir/Observation?patient={DAVID}&code:in=K"),
        "/fhir/Patient",
        "/fhir/Patient?identifier=x%7C1",
        "/fhir/Patient?_id=x&colour=red",
    ] {
        let (status, text) = doors.get(&token, path).await?;
        let outcome: Value = serde_json::from_str(&text)?;
        ensure!(status == StatusCode::BAD_REQUEST && outcome["resourceType"] == "OperationOutcome", "{path}: {status}");
    }
    ensure!(doors.get(&token, "/fhir/Nothing").await?.0 == StatusCode::NOT_FOUND);
    Ok(())
}
