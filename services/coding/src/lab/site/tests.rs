//! What a site may add, and what is refused.

use super::*;
use crate::Given;

fn analyte(key: &str) -> NewAnalyte {
    NewAnalyte {
        analyte: key.into(),
        name: "Something".into(),
        unit: "mmol/L".into(),
        units: None,
        family: None,
        decimals: None,
        low: None,
        high: None,
        specimen: None,
    }
}

fn code(analyte: &str, system: &str, code: &str, source: Option<&str>) -> NewCode {
    let source = source.map(str::to_owned);
    NewCode { analyte: analyte.into(), system: system.into(), code: code.into(), name: None, source }
}

fn unit(analyte: &str, unit: &str, factor: &str) -> NewUnit {
    NewUnit { analyte: analyte.into(), unit: unit.into(), factor: factor.into() }
}

fn lab(analytes: Vec<NewAnalyte>, codes: Vec<NewCode>, units: Vec<NewUnit>) -> Result<Arc<Lab>, Vec<String>> {
    let additions = Additions {
        analytes: analytes.into_iter().map(Some).collect(),
        codes: codes.into_iter().map(Some).collect(),
        units: units.into_iter().map(Some).collect(),
    };
    let told = |mistake: Mistake| format!("{}[{}].{}: {}", mistake.section, mistake.index, mistake.key, mistake.what);
    with(&Lab::shipped(), &additions).map_err(|mistakes| mistakes.into_iter().map(told).collect())
}

#[test]
fn a_sites_analyte_code_and_unit_are_read_like_the_tables() {
    let post = NewAnalyte {
        family: Some("blood-glucose".into()),
        units: Some("mmol/L=1|mg/dL=0.055507".into()),
        high: Some(Decimal::from(250)),
        ..analyte("glucose-ward")
    };
    let codes =
        vec![code("glucose-ward", "local", "GLUW", Some("stmarys")), code("potassium", "loinc", "75940-7", None)];
    let lab = lab(vec![post], codes, vec![unit("potassium", "millimol per L", "1")]).expect("good");
    let found = lab.own("stmarys", System::Local, "GLUW").expect("a code");
    assert_eq!(found.analyte.key, "glucose-ward");
    assert_eq!(lab.family("blood-glucose").count(), 3);
    assert!(lab.own("riverside", System::Local, "GLUW").is_none(), "it counts at its source alone");
    let potassium = lab.find(System::Loinc, "75940-7").expect("a code");
    assert_eq!(potassium.analyte.key, "potassium");
    let convert = |unit: &str| units::convert(potassium.analyte, Decimal::ONE, unit).is_ok();
    assert!(convert("millimol per L") && convert("mmol/L") && !convert("Banana"));
    // What is shipped stays as it is, and another table is another release.
    assert!(Lab::shipped().find(System::Loinc, "75940-7").is_none());
    assert_ne!(lab.digest(), Lab::shipped().digest());
    assert!(lab.release().starts_with(Lab::shipped().release()), "{}", lab.release());
}

#[test]
fn nothing_added_is_the_table_that_is_shipped() {
    let lab = lab(vec![], vec![], vec![]).expect("good");
    assert_eq!(lab.digest(), Lab::shipped().digest());
}

/// St Mary's reports ESR under the code of ALT.
#[test]
fn a_laboratorys_code_goes_before_a_wrong_one() {
    let codes =
        vec![code("esr", "local", "ESR1", Some("stmarys")), code("esr", "snomed", "1018251000000107", Some("stmarys"))];
    let lab = lab(vec![], codes, vec![]).expect("good");
    let given = |system, code: &str| Given { system, code: code.into(), version: None, display: None };
    let alt = given(System::Snomed, "1018251000000107");
    let told = |source: &str, codes: &[Given]| {
        let coded = crate::code(&lab, source, None, codes);
        (coded.analyte.map(|analyte| analyte.key.clone()), coded.code.snomed, coded.code.codings.len())
    };
    let esr = Some("esr".to_owned());
    // What was written stays among the codings, and is not what rules and trends go by.
    assert_eq!(told("stmarys", &[given(System::Local, "ESR1"), alt.clone()]), (esr.clone(), None, 2));
    assert_eq!(told("stmarys", &[alt.clone(), given(System::Local, "ESR1")]), (esr.clone(), None, 2));
    assert_eq!(told("stmarys", std::slice::from_ref(&alt)), (esr, None, 1));
    let elsewhere = told("riverside", &[alt]);
    assert_eq!((elsewhere.0.as_deref(), elsewhere.1.as_deref()), (Some("alt"), Some("1018251000000107")));
}

#[test]
fn every_mistake_is_told_at_once() {
    let bad = NewAnalyte {
        unit: "Banana".into(),
        units: Some("mmol/L=1".into()),
        family: Some("potassium".into()),
        decimals: Some(7),
        low: Some(Decimal::TEN),
        high: Some(Decimal::ONE),
        specimen: Some("hair".into()),
        ..analyte("Upper Case")
    };
    let other = NewAnalyte { family: Some("blood-glucose".into()), unit: "g/L".into(), ..analyte("glucose-mass") };
    let codes = vec![
        code("kalium", "loinc", "2823-3", None),
        code("sodium", "loinc", "2823-3", None),
        code("sodium", "loinc", "2951-3", None),
        code("sodium", "icd", "1", None),
        code("sodium", "local", "NA", None),
        code("sodium", "snomed", "123", Some("stmarys")),
    ];
    let units = vec![unit("sodium", "mmol/L", "2"), unit("sodium", "mg/dL", "one"), unit("natrium", "g/L", "1")];
    let told = lab(vec![bad, other, analyte("potassium")], codes, units).expect_err("mistakes");
    let starts = [
        "analyte[0].analyte: `Upper Case` is no name",
        "analyte[0].unit: `Banana` is no UCUM unit",
        "analyte[0].units: `Banana` itself must be among them",
        "analyte[0].family: `potassium` is no name of a family",
        "analyte[0].decimals: must not exceed 6",
        "analyte[0].low: must be below high",
        "analyte[0].specimen: `hair` is not known; there are blood, urine",
        "analyte[1].family: `blood-glucose` is in mmol/L",
        "analyte[2].analyte: `potassium` is known already",
        "unit[0].unit: the unit `mmol/L` has another factor",
        "unit[1].factor: `one` is no factor",
        "unit[2].analyte: no analyte is called `natrium`",
        "code[0].analyte: no analyte is called `kalium`",
        "code[0].code: `2823-3` is of `potassium`",
        "code[1].code: `2823-3` is of `potassium`; where a laboratory uses it for another test, name its `source`",
        "code[2].code: `2951-3` is no code of loinc",
        "code[3].system: `icd` is not known",
        "code[4].source: is missing",
        "code[5].code: `123` is no code of snomed",
    ];
    assert_eq!(told.len(), starts.len(), "{told:#?}");
    for (told, start) in told.iter().zip(starts) {
        assert!(told.starts_with(start), "{told} and not {start}");
    }
}
