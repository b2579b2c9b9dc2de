//! The shipped mappings parse; a bad one tells everything at once.

#[test]
fn shipped_mappings_are_right() {
    for name in ["emis.toml", "stmarys.toml"] {
        let mapping = crate::support::mapping_of(name);
        assert!(!mapping.records.is_empty(), "{name}");
    }
}

const BAD: &str = r#"system = "x"
revision = 0
zone = "Europe/Camelot"
colour = "red"

[[record]]
kind = "observatoin"
name = "a"
table = "s.t"
id = "i"

[[record]]
kind = "observation"
name = "o"
table = "t"
id = "i"

[[record]]
kind = "observation"
name = "o"
table = "s.t"
id = "i"
deleted_when = [{ column = "x", iz = true }]
patient = "p.q"
valeu = 1
[record.join.code]
table = "s.c"
on = { c = "nowhere.c" }
[record.code]
codes = [{ system = "read", code = "code.r" }]
"#;

#[test]
fn every_mistake_is_told_with_its_line() {
    let mistakes = normaliser::mapping::parse("bad.toml", BAD).expect_err("mistakes");
    let told: Vec<String> = mistakes.0.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "bad.toml:2: revision: expected 1 or more",
            "bad.toml:3: zone: no such time zone: Europe/Camelot",
            "bad.toml:4: colour: no such key here; known are system, revision, zone, dictionary, record",
            "bad.toml:7: record[1].kind: expected one of: demographics, observation, medication, allergy, condition, encounter",
            "bad.toml:15: record[2].table: expected schema.table",
            "bad.toml:18: record[3].value: is missing",
            "bad.toml:23: record[3].deleted_when.iz: no such key here; known are any, column, is, in, is_not, not_in, present, above",
            "bad.toml:23: record[3].deleted_when: expected one of: is, is_not, in, not_in, present, above",
            "bad.toml:24: record[3].patient: no join `p` above; known are: code",
            "bad.toml:25: record[3].valeu: no such key here; known are kind, name, table, id, highest, join, deleted_when, \
             only_when, patient, organisation, entered_at, effective_at, code, status, corrected_when, authorised_at, \
             range_low, range_high, flag, specimen, requester, comment, value",
            "bad.toml:28: record[3].join.code.on.c: no join `nowhere` above; known are: ",
            "bad.toml:30: record[3].code.codes.system: expected one of: read-v2, snomed, loinc, dmd, local",
        ],
        "\n{}",
        told.join("\n")
    );
}

#[test]
fn what_is_not_toml_says_where() {
    let mistakes = normaliser::mapping::parse("bad.toml", "system = \n").expect_err("mistakes");
    assert_eq!(mistakes.0[0].line, 1);
}
