//! What is asked, what is refused, and what is found by it.

use super::{
    cursor::{Cursor, Key, Place},
    *,
};
use crate::fhir::table::{TYPES, named};
use serde_json::json;

const BASE: &str = "http://localhost:8088/fhir";
const DAVID: &str = "0197f2a0-0000-7000-8000-000000000001";
const NOW: Micros = 1_800_000_000_000_000;

fn search(of: &str, query: &str) -> Result<Search, Refused> {
    Search::new(parameters(query)?, named(of).expect("a type"), false, BASE)
}

fn potassium() -> Value {
    json!({
        "resourceType": "Observation", "id": format!("{DAVID}.0a"), "status": "final",
        "meta": {"lastUpdated": "2026-11-23T10:00:00Z", "source": "urn:causeway:source:stmarys#e1"},
        "code": {"coding": [{"system": "http://loinc.org", "code": "2823-3", "display": "Potassium [Moles/volume]"},
                            {"code": "K", "userSelected": true}], "text": "Serum potassium"},
        "category": [{"coding": [{"system": "c", "code": "laboratory"}]}],
        "subject": {"reference": format!("Patient/{DAVID}")},
        "performer": [{"identifier": {"system": "ods", "value": "RSM01"}}],
        "effectiveDateTime": "2026-11-22", "valueQuantity":
            {"value": 6.7, "comparator": ">", "unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"},
    })
}

#[track_caller]
fn check(of: &str, resource: &Value, query: &str, want: bool) {
    let met = search(of, query).unwrap_or_else(|refused| panic!("{query}: {}", refused.words)).meets(resource, NOW);
    assert_eq!(met, want, "{query}");
}

#[test]
fn tokens_texts_dates_and_references_are_met_as_r4_says() {
    for (query, want) in [
        ("code=2823-3", true),
        ("code=2951-2,2823-3", true),
        ("code=2823-3&code=K", true),
        ("code=2823-3&code=2951-2", false),
        ("code=http://loinc.org|2823-3", true),
        ("code=http://loinc.org|", true),
        // The right code of another system, and of none.
        ("code=http://snomed.info/sct|2823-3", false),
        ("code=|2823-3", false),
        ("code=|K", true),
        ("code=k", false),
        ("code:not=2823-3", false),
        ("code:not=2951-2,K", false),
        ("code:not=2951-2", true),
        ("code:text=serum", true),
        ("code:text=potassium", true),
        ("code:text=sodium", false),
        ("status=final", true),
        ("status=http://hl7.org/fhir/observation-status|final", true),
        ("status=http://hl7.org/fhir/other|final", false),
        ("category=laboratory", true),
        ("method:missing=true", true),
        ("method:missing=false", false),
        ("method:not=x", true),
        ("code:missing=false", true),
        ("date=2026-11-22", true),
        ("date=2026-11", true),
        ("date=gt2026-11-22", false),
        ("date=ge2026-11-22&date=lt2026-11-23", true),
        ("date=2026-11-21,2026-11-22", true),
        ("_lastUpdated=gt2026-11-23T09:59:59Z", true),
        ("_lastUpdated=lt2026-11-23T10:00:00Z", false),
        ("_source=urn:causeway:source:stmarys%23e1", true),
        ("_source:below=urn:causeway:source:stmarys", true),
        ("_source=urn:causeway:source:stmarys", false),
        ("performer:identifier=ods|RSM01", true),
        ("performer:identifier=ods|R1V01", false),
        ("_id=0197f2a0-0000-7000-8000-000000000001.0a", true),
        ("_id=0197f2a0-0000-7000-8000-000000000001.0b", false),
    ] {
        check("Observation", &potassium(), query, want);
    }
    for reference in [DAVID.to_owned(), format!("Patient/{DAVID}"), format!("{BASE}/Patient/{DAVID}")] {
        check("Observation", &potassium(), &format!("subject={reference}"), true);
    }
    check("Observation", &potassium(), &format!("subject:Patient={DAVID}"), true);
    check("Observation", &potassium(), "patient=0197f2a0-0000-7000-8000-000000000002", false);
}

#[test]
fn quantities_are_as_exact_as_they_are_written() {
    let plain = |value: f64| {
        json!({"resourceType": "Observation", "valueQuantity":
        {"value": value, "unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"}})
    };
    for (value, query, want) in [
        (5.4, "value-quantity=5.4", true),
        (5.44, "value-quantity=5.4", true),
        (5.45, "value-quantity=5.4", false),
        (5.35, "value-quantity=5.4", true),
        (5.34, "value-quantity=5.4", false),
        (5.44, "value-quantity=5.40", false),
        (5.4, "value-quantity=gt5.4", false),
        (5.41, "value-quantity=gt5.4", true),
        (5.4, "value-quantity=ge5.4", true),
        (5.39, "value-quantity=lt5.4", true),
        (5.4, "value-quantity=le5.4", true),
        (5.4, "value-quantity=ne5.4", false),
        (5.9, "value-quantity=ap5.4", true),
        (6.0, "value-quantity=ap5.4", false),
        (5.4, "value-quantity=5.4|http://unitsofmeasure.org|mmol/L", true),
        (5.4, "value-quantity=5.4||mmol/L", true),
        (5.4, "value-quantity=5.4||mg/dL", false),
        (5.4, "value-quantity=5.4|http://example.org|mmol/L", false),
        (5400.0, "value-quantity=5.4e3", true),
    ] {
        check("Observation", &plain(value), query, want);
    }
    // As large as numbers are.
    for query in
        ["79228162514264337593543950335", "-79228162514264337593543950335", "ap79228162514264337593543950335", "7e28"]
    {
        check("Observation", &plain(5.4), &format!("value-quantity={query}"), false);
    }
    for query in ["1e999999999", "1e-999999999", "1e40", "0.000000000000000000001", "NaN", "1_0", "--1", "e"] {
        // Taken or refused: never a panic.
        let _ = search("Observation", &format!("value-quantity={query}")).map(|search| search.meets(&plain(5.4), NOW));
    }
    // More than 6.7 may be 8, and is not 6.7.
    for (query, want) in [
        ("value-quantity=6.7", false),
        ("value-quantity=gt6.7", true),
        ("value-quantity=gt8", true),
        ("value-quantity=lt6.7", false),
        ("code-value-quantity=2823-3$gt6", true),
        ("code-value-quantity=2951-2$gt6", false),
        ("code-value-quantity=2951-2$gt6,K$ge6.7||mmol/L", true),
    ] {
        check("Observation", &potassium(), query, want);
    }
}

#[test]
fn people_are_found_by_what_is_shown_of_them() {
    let patient = json!({
        "resourceType": "Patient", "id": DAVID,
        "name": [{"use": "official", "family": "van der Berg-O'Neill", "given": ["Zoë", "Anne"]}],
        "birthDate": "1979-04", "gender": "female", "deceasedDateTime": "2026-02",
        "telecom": [{"system": "phone", "value": "01"}, {"system": "email", "value": "z@x"}],
        "address": [{"use": "home", "line": ["1 High St"], "city": "York", "postalCode": "YO1"}],
        "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9434765919"}],
    });
    for (query, want) in [
        ("family=vander", true),
        ("family=berg", true),
        ("family=oneill", true),
        ("family=eil", false),
        ("family:contains=eil", true),
        ("family:exact=van%20der%20Berg-O'Neill", true),
        ("family:exact=Van%20der%20Berg-O'Neill", false),
        ("given=zoe", true),
        ("given=ann,bob", true),
        ("name=zo&name=berg", true),
        ("name=official", false),
        ("birthdate=1979", true),
        // Of a month it is not known to be this day: nor that it is not.
        ("birthdate=1979-04-12", false),
        ("birthdate=ge1979-04-12", true),
        ("gender=female", true),
        ("gender=http://hl7.org/fhir/administrative-gender|male", false),
        ("deceased=true", true),
        ("deceased=false", false),
        ("death-date=2026", true),
        ("phone=01", true),
        ("phone=z@x", false),
        ("email=z@x", true),
        ("telecom=01", true),
        ("address=york", true),
        ("address-postalcode=yo1", true),
        ("address-city=leeds", false),
        ("identifier=9434765919", true),
        ("identifier=https://fhir.nhs.uk/Id/nhs-number|9000000009", false),
    ] {
        check("Patient", &patient, query, want);
    }
    let living = json!({"resourceType": "Patient", "id": DAVID});
    check("Patient", &living, "deceased=false&_id=x", false);
    check("Patient", &living, "deceased=false", true);
}

#[test]
fn what_is_not_answered_is_refused() {
    for (query, words) in [
        ("colour=red", "the search parameter `colour` is not supported"),
        ("x%3Cscript%3E=1", "the search parameter `xscript` is not supported"),
        ("patient.name=x", "the search parameter `patient.name` is not supported"),
        ("_has:Observation:patient:code=x", "the search parameter `_has` is not supported"),
        ("code:in=a", "the modifier `code:in` is not supported"),
        ("date:not=2026", "the modifier `date:not` is not supported"),
        ("patient:Group=a", "the modifier `patient:Group` is not supported"),
        ("_sort:x=date", "the modifier `_sort:x` is not supported"),
        ("code=", "the search parameter `code` is empty"),
        ("code", "the search parameter `code` is empty"),
        ("code=a|b|c", "a token is system|code; escape a bar within it"),
        ("code=a,,b", "a token without a code"),
        ("code:missing=x", "code:missing is true or false"),
        ("date=soon", "date: that is not a date, or the beginning of one"),
        ("date=gt", "date: that is not a date, or the beginning of one"),
        ("value-quantity=x", "value-quantity: that is not number|system|code"),
        ("value-quantity=1|2|3|4", "value-quantity: that is not number|system|code"),
        ("code-value-quantity=a", "code-value-quantity: that is not code$value-quantity"),
        ("subject=Group/1", "subject: that is not a reference"),
        ("subject=http://elsewhere/fhir/Patient/1", "subject: that is not a reference"),
        ("_sort=code", "_sort is by _id and by parameters that are dates"),
        ("_sort=date,date,date,date,date", "too many parameters to sort by"),
        ("_count=-1", "_count is no number"),
        ("_count=x", "_count is no number"),
        ("_count=1&_count=2", "_count is said twice"),
        ("_total=some", "_total is none, estimate or accurate"),
        ("_summary=some", "_summary is true, text, data, count or false"),
        ("_summary=true&_elements=code", "_summary and _elements do not go together"),
        ("_elements=code,%3Cb%3E", "_elements are names of elements, 50 at most: `b`"),
        ("_include=Observation:colour", "`Observation:colour` cannot be included"),
        ("_include=Observation:performer", "`Observation:performer` cannot be included"),
        ("_include=Condition:subject", "_include is of what is searched: Observation:…"),
        ("_include:iterate=Observation:subject", "the modifier `_include:iterate` is not supported"),
        ("_revinclude=Condition:subject", "_revinclude: nothing of that kind names a Observation"),
        ("_cursor=x", "_cursor is none of ours, or of another search"),
    ] {
        assert_eq!(search("Observation", query).expect_err(query).words, words);
    }
    let many = vec!["a"; query::TOKENS_MAX + 1].join(",");
    assert_eq!(search("Observation", &format!("code={many}")).expect_err("many").code, "too-costly");
    // Leniency leaves parameters out, never modifiers.
    let of = named("Observation").expect("a type");
    let lenient = |query: &str| Search::new(parameters(query).expect("a query"), of, true, BASE);
    assert!(lenient("colour=x&code:in=a").is_err());
    let lenient = lenient("colour=x&code=http://loinc.org%7Ca%2Cb&_count=9&_format=json").expect("a search");
    assert_eq!(lenient.link(None), format!("{BASE}/Observation?code=http%3A%2F%2Floinc.org%7Ca%2Cb&_count=9"));
}

/// Every parameter of every type takes some value, `:missing`, and no modifier that nobody has.
#[test]
fn every_parameter_of_the_table_is_read() {
    for of in TYPES {
        for parameter in of.parameters.iter().chain(crate::fhir::table::COMMON) {
            let value = match parameter.by {
                By::Token(_) => "a",
                By::Present => "true",
                By::Date => "2026",
                By::Text => "ab",
                By::Reference(types) => types.first().map_or("x", |_| DAVID),
                By::Quantity => "1",
                By::Uri => "urn:a",
                By::Composite(_) if parameter.name.ends_with("quantity") => "a$1",
                By::Composite(_) => "a$b",
            };
            for query in [format!("{}={value}", parameter.name), format!("{}:missing=true", parameter.name)] {
                assert!(search(of.name, &query).is_ok(), "{} {query}", of.name);
            }
            let odd = format!("{}:nonsense={value}", parameter.name);
            assert_eq!(search(of.name, &odd).expect_err(&odd).code, "not-supported");
            if parameter.by == By::Date {
                assert!(search(of.name, &format!("_sort=-{},_id", parameter.name)).is_ok());
            }
        }
    }
}

#[test]
fn one_patient_at_a_time() {
    let person = |query: &str| search("Observation", query).and_then(|search| search.person());
    for query in [
        format!("patient={DAVID}"),
        format!("subject=Patient/{DAVID}"),
        format!("patient={BASE}/Patient/{DAVID}&subject={DAVID}"),
        format!("_id={DAVID}.0a,{DAVID}.0b"),
    ] {
        assert_eq!(person(&query), Ok(DAVID.parse().ok()), "{query}");
    }
    assert_eq!(person("code=a"), Ok(None));
    assert_eq!(person("patient:missing=true"), Ok(None));
    for query in [
        "patient=x".to_owned(),
        format!("patient={DAVID}&patient=0197f2a0-0000-7000-8000-000000000002"),
        format!("patient={DAVID},0197f2a0-0000-7000-8000-000000000002"),
        format!("_id={DAVID}.0a,0197f2a0-0000-7000-8000-000000000002.0b"),
        "_id=x".to_owned(),
    ] {
        assert!(person(&query).is_err(), "{query}");
    }
    let target = search("Provenance", &format!("target=Observation/{DAVID}.0a")).expect("a search");
    assert_eq!((target.person(), target.digests()), (Ok(DAVID.parse().ok()), Some(vec!["0a".into()])));
    let patient = search("Provenance", &format!("target=Patient/{DAVID}")).expect("a search");
    assert_eq!((patient.person(), patient.digests()), (Ok(DAVID.parse().ok()), None));
}

#[test]
fn codes_narrow_only_where_every_answer_has_one() {
    for (of, query, want) in [
        ("Observation", "code=a,x|b", Some(vec!["a", "b"])),
        ("Observation", "code=a,x|", None),
        ("Observation", "code:not=a", None),
        ("Observation", "code:text=a", None),
        ("Observation", "status=a", None),
        ("Immunization", "vaccine-code=a", Some(vec!["a"])),
        // A list's code, and a document's, are none of a record's own.
        ("List", "code=a", None),
    ] {
        let codes = search(of, query).expect(query).codes();
        assert_eq!(codes, want.map(|all| all.into_iter().map(str::to_owned).collect::<Vec<_>>()), "{of} {query}");
    }
}

#[test]
fn a_cursor_goes_with_its_search_alone() {
    let first = search("Observation", "code=a&_count=2").expect("a search");
    let place = Place { keys: vec![Some(Key::Number(5)), None], id: "x".into() };
    let link = first.link(Some(&Cursor(place.clone())));
    let query = link.split_once('?').expect("a query").1;
    assert_eq!(search("Observation", query).expect("ours").cursor, Some(Cursor(place)));
    // Pages of another length are pages of the same answer.
    assert!(search("Observation", &query.replace("_count=2", "_count=7")).is_ok());
    for other in [
        query.replace("code=a", "code=b"),
        query.replacen("code=a&", "", 1),
        format!("{query}A"),
        format!("_sort=date&{query}"),
    ] {
        assert!(search("Observation", &other).is_err(), "{other}");
    }
    assert!(search("Condition", query).is_err());
    let cursor = query.split("_cursor=").nth(1).expect("a cursor");
    for at in 0..cursor.len() {
        let mut bytes = cursor.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes).expect("text");
        assert!(search("Observation", &format!("code=a&_cursor={forged}")).is_err(), "{forged}");
    }
    for hostile in ["", "%00", "AAAA", &"A".repeat(5_000), "e30", "..", "%F0%9F%92%A9"] {
        let refused = search("Observation", &format!("code=a&_cursor={hostile}"));
        assert!(refused.is_err(), "{hostile}");
    }
}

#[test]
fn the_newest_comes_first_and_what_nobody_dated_last() {
    let ours = search("Observation", "code=a").expect("a search").order;
    let place = |at: Option<i64>, id: &str| ours.place(&Value::Null, id, &[at, Some(1)]);
    let mut all = [place(None, "a"), place(Some(1), "c"), place(Some(1), "b"), place(Some(2), "d")];
    all.sort_by(|one, two| ours.compare(one, two));
    assert_eq!(all.map(|place| place.id), ["d", "b", "c", "a"]);
    for (sort, want) in [
        ("date", ["b", "c", "a", "none"]),
        ("-date", ["a", "c", "b", "none"]),
        ("_id", ["a", "b", "c", "none"]),
        ("-_id", ["none", "c", "b", "a"]),
    ] {
        let order = search("Observation", &format!("_sort={sort}")).expect("a search").order;
        let of = |id: &str, date: Option<&str>| order.place(&json!({"effectiveDateTime": date}), id, &[]);
        let mut all = [
            of("none", None),
            of("a", Some("2026-11-22")),
            of("b", Some("2025")),
            of("c", Some("2026-01-01T00:00:00Z")),
        ];
        all.sort_by(|one, two| order.compare(one, two));
        assert_eq!(all.map(|place| place.id), want, "{sort}");
    }
}

#[test]
fn a_part_keeps_what_says_how_to_read_it() {
    let part = |query: &str| search("Observation", query).expect(query).part.of(potassium());
    let keys = |value: &Value| {
        value.as_object().expect("an object").keys().cloned().collect::<std::collections::BTreeSet<_>>()
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<std::collections::BTreeSet<_>>();
    let elements = part("_elements=value,Observation.code,Patient.name");
    assert_eq!(keys(&elements), set(&["code", "id", "meta", "resourceType", "status", "valueQuantity"]));
    assert_eq!(elements["meta"]["tag"][0]["code"], "SUBSETTED");
    let summary = part("_summary=true");
    assert!(summary.get("category").is_none() && summary["valueQuantity"]["value"] == 6.7, "{summary}");
    assert_eq!(summary["meta"]["tag"][0]["code"], "SUBSETTED");
    let text = part("_summary=text");
    assert_eq!(keys(&text), set(&["code", "id", "meta", "resourceType", "status"]));
    for whole in ["_summary=data", "_summary=false", "_total=none"] {
        assert_eq!(part(whole), potassium(), "{whole}");
    }
    let absent = json!({"resourceType": "Observation", "dataAbsentReason": {"text": "x"}});
    let told = search("Observation", "_elements=value").expect("a search").part.of(absent);
    assert_eq!(told["dataAbsentReason"]["text"], "x");
}
