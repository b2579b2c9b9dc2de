//! HAPI FHIR's client and validator find nothing wrong with what FHIR answers: a consumer that nobody here wrote.

use super::{CARL, DAVID, Doors, OLIVE};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::{collections::BTreeSet, process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt, process::Command};

/// The script starts a Java machine, reads R4's definitions and validates every answer: a minute, and more on a busy machine.
const DONE_WITHIN: Duration = Duration::from_secs(480);
const HEAP: &str = "-Xmx768m";
const RESULTS: usize = 10;
/// Of three and of four results.
const PAGES: [usize; 2] = [4, 3];

/// `answers`: what else was answered, of every type.
pub async fn finds_no_error(doors: &Doors<'_>, answers: Vec<String>) -> anyhow::Result<()> {
    let (endo, ed, gp) =
        (doors.token("endo.stmarys").await?, doors.token("ed.stmarys").await?, doors.token("gp.riverside").await?);
    let bundle = doors.json(&endo, &format!("/fhir/Observation?patient={DAVID}&_count=50")).await?;
    let one = bundle["entry"][0]["resource"]["id"].as_str().context("an id")?;
    let by_number = "/fhir/Patient?identifier=https://fhir.nhs.uk/Id/nhs-number%7C";
    let mut asked = vec![bundle.to_string()];
    for (token, path) in [
        (&endo, "/fhir/metadata".to_owned()),
        (&endo, format!("/fhir/Patient/{DAVID}")),
        (&endo, format!("{by_number}9434765919")),
        (&endo, format!("{by_number}9000000025")),
        (&endo, format!("/fhir/Observation/{one}")),
        (&endo, format!("/fhir/Observation?patient={DAVID}&code=no-such-code")),
        (&endo, format!("/fhir/Observation?patient={DAVID}&_count=0")),
        // What is kept from the reader is told in an outcome, with results and without.
        (&ed, format!("/fhir/Observation?patient={OLIVE}")),
        (&gp, format!("/fhir/Observation?patient={CARL}")),
        (&ed, format!("/fhir/Patient/{CARL}")),
        // Refusals are resources too.
        (&endo, format!("/fhir/Patient/{OLIVE}")),
        (&endo, "/fhir/Observation?patient=x".to_owned()),
        (&endo, "/fhir/Nothing".to_owned()),
        (&endo, "/fhir/metadata?_format=xml".to_owned()),
    ] {
        asked.push(doors.get(token, &path).await?.1);
    }
    asked.extend(answers);
    let broken = broken(&bundle);
    let texts = asked.iter().cloned().chain(broken.iter().map(Value::to_string)).map(|text| format!("text\t{text}"));
    let pages =
        [("page", 3), ("form", 4)].map(|(kind, count)| format!("{kind}\t{endo}\tObservation\t{DAVID}\t{count}"));
    let more = [
        format!("stated\t{}", asked[1]),
        format!("everything\t{endo}\t{DAVID}"),
        format!("unchanged\t{endo}\t{DAVID}"),
    ];
    let lists = OTHERS.map(|of| format!("page\t{endo}\t{of}\t{DAVID}\t1"));
    let steps: Vec<String> = texts.chain(pages).chain(more).chain(lists).collect();
    let told = hapi(&format!("{}/fhir", doors.region.url), &steps).await?;
    let wrong = asked.iter().zip(&told).filter(|(_, told)| told["errors"] != json!([]));
    let wrong: Vec<String> =
        wrong.map(|(text, told)| format!("{}\nis what HAPI's validator says of\n{text}", told["errors"])).collect();
    ensure!(wrong.is_empty(), "{} answers are wrong: {}", wrong.len(), wrong.join("\n"));
    for (broken, told) in broken.iter().zip(&told[asked.len()..]) {
        let found = told["errors"].as_array().is_some_and(|errors| !errors.is_empty());
        ensure!(found, "HAPI's validator finds nothing wrong with {broken}");
    }
    let beyond = &told[asked.len() + broken.len()..];
    for told in &beyond[PAGES.len()..] {
        ensure!(told["errors"] == json!([]) && told["validated"] != 0, "{told}");
        let ids = told["ids"].as_array().map(Vec::len);
        ensure!(ids.is_none_or(|ids| told["total"] == ids && ids > 0), "{told}");
    }
    for (pages, told) in PAGES.into_iter().zip(beyond) {
        let ids: BTreeSet<&str> = told["ids"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        ensure!(told["errors"] == json!([]) && told["pages"] == pages && told["total"] == RESULTS, "{told}");
        ensure!(told["ids"].as_array().is_some_and(|all| all.len() == RESULTS) && ids.len() == RESULTS, "{told}");
        // Every page, and the CapabilityStatement that the client asks for first.
        ensure!(told["validated"].as_u64() >= told["pages"].as_u64(), "{told}");
    }
    Ok(())
}

/// Every other type that is searched by patient.
const OTHERS: [&str; 14] = [
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
    "List",
    "Provenance",
];

/// The bundle with a mistake in it, each of a kind that was made here once or could be.
fn broken(bundle: &Value) -> Vec<Value> {
    let change = |change: fn(&mut Value)| {
        let mut broken = bundle.clone();
        change(&mut broken);
        broken
    };
    vec![
        change(|it| drop(it["entry"][0].as_object_mut().and_then(|entry| entry.remove("fullUrl")))),
        change(|it| it["entry"][0]["fullUrl"] = "Observation/1".into()),
        change(|it| drop(it["entry"][0]["resource"].as_object_mut().and_then(|entry| entry.remove("status")))),
        change(|it| it["entry"][0]["resource"]["note"] = json!([])),
        change(|it| it["entry"] = json!([])),
        change(|it| it["entry"][0]["resource"]["valueQuantity"] = json!({"value": 6.7, "unit": ""})),
    ]
}

/// What the script tells of each step, in their order.
async fn hapi(base: &str, steps: &[String]) -> anyhow::Result<Vec<Value>> {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doors/hapi.groovy");
    let mut java = Command::new("java");
    java.args([HEAP, "-XX:+UseSerialGC", "-Dslf4j.internal.verbosity=ERROR", "-cp"]).arg(stack::hapi()?);
    java.arg("groovy.ui.GroovyMain").arg(script).arg(base);
    java.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut running = java.spawn().context("cannot start java")?;
    let mut input = running.stdin.take().context("its input")?;
    let lines = steps.join("\n");
    let done = tokio::time::timeout(DONE_WITHIN, async {
        // Closed at its end: the script reads up to there.
        let fed = async move { input.write_all(lines.as_bytes()).await };
        let (fed, done) = tokio::join!(fed, running.wait_with_output());
        fed.and(done)
    });
    let done = done.await.context("HAPI's script takes too long")??;
    let (out, error) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.success(), "HAPI's script failed: {error}");
    let told: Vec<Value> =
        out.lines().map(serde_json::from_str).collect::<Result<_, _>>().with_context(|| out.clone().into_owned())?;
    ensure!(told.len() == steps.len(), "{} steps, {} told: {out}{error}", steps.len(), told.len());
    Ok(told)
}
