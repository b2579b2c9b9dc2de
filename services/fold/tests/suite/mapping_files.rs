//! The shipped mappings parse; a bad one tells everything at once.

#[test]
fn shipped_mappings_are_right() {
    for name in ["emis.toml", "stmarys.toml"] {
        let mapping = crate::support::mapping_of(name);
        assert!(!mapping.records.is_empty(), "{name}");
        assert_eq!(mapping.warnings, [], "{name}");
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
    let mistakes = mapping::parse("bad.toml", BAD).expect_err("mistakes");
    let told: Vec<String> = mistakes.0.iter().map(ToString::to_string).collect();
    let all: Vec<&str> = event::Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    let kinds = format!("bad.toml:7: record[1].kind: expected one of: {}", all.join(", "));
    assert_eq!(
        told,
        [
            "bad.toml:2: revision: expected 1 or more",
            "bad.toml:3: zone: no such time zone: Europe/Camelot",
            "bad.toml:4: colour: no such key here; known are system, revision, zone, numbers, sentinels, dictionary, record",
            kinds.as_str(),
            "bad.toml:15: record[2].table: expected schema.table",
            "bad.toml:18: record[3].status: is missing; for a source without one: `status = { otherwise = \"final\" }`",
            "bad.toml:18: record[3].value: is missing",
            "bad.toml:23: record[3].deleted_when.iz: no such key here; known are any, expr, column, is, in, is_not, not_in, present, above",
            "bad.toml:23: record[3].deleted_when: expected one of: is, is_not, in, not_in, present, above; or `expr`",
            "bad.toml:24: record[3].patient: no join `p` above; known are: code",
            "bad.toml:25: record[3].valeu: no such key here; known are kind, name, table, id, highest, join, deleted_when, \
             only_when, confidential_when, patient, organisation, entered_at, effective_at, effective_precision, participant, \
             location, code, status, value, corrected_when, authorised_at, range_low, range_high, flag, specimen, requester, \
             comment, interpretation, range_text, panel, report, material, method, body_site",
            "bad.toml:28: record[3].join.code.on.c: no join `nowhere` above; known are: ",
            "bad.toml:30: record[3].code.codes.system: expected one of: read-v2, ctv3, snomed, loinc, dmd, local",
        ],
        "\n{}",
        told.join("\n")
    );
}

/// A key that the record and its kind both had would be read twice.
#[test]
fn no_field_of_a_kind_is_called_like_a_key_of_every_record() {
    let keys = [
        "kind",
        "name",
        "table",
        "id",
        "highest",
        "join",
        "deleted_when",
        "only_when",
        "confidential_when",
        "patient",
        "organisation",
        "entered_at",
        "effective_at",
        "effective_precision",
        "participant",
        "location",
    ];
    for kind in event::Kind::ALL {
        for (name, _) in kind.fields() {
            assert!(!keys.contains(name), "{kind}: {name}");
        }
    }
}

#[test]
fn an_expression_is_held_to_its_place() {
    let text = r#"system = "x"
revision = 1
zone = "Europe/London"
[[record]]
kind = "observation"
name = "o"
table = "s.t"
id = "i"
patient = "p"
only_when = [{ expr = "a + 'x'" }, { expr = "a == 1" }, { expr = "nobody.a == 1" }]
status = { otherwise = "final" }
effective_at = { expr = "1 + 1" }
comment = { expr = "double(a)", from = "b" }
[record.code]
text = "c"
[record.value]
number = { expr = "a == 1" }
text = { expr = "a ? b : null" }
"#;
    let mistakes = mapping::parse("bad.toml", text).expect_err("mistakes");
    let told: Vec<String> = mistakes.0.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "bad.toml:10: record[1].only_when.expr: a condition is true or false, not text",
            "bad.toml:10: record[1].only_when.expr: no join `nobody` above; known are: ",
            "bad.toml:12: record[1].effective_at.expr: expected a time, and the expression gives a number",
            "bad.toml:13: record[1].comment.expr: `double`: numbers are decimal, never floats: write decimal() (at 7)",
            "bad.toml:13: record[1].comment.expr: stands in the place of `from`: name one of them",
            "bad.toml:17: record[1].value.number.expr: expected a number, and the expression gives true or false",
        ],
        "\n{}",
        told.join("\n")
    );
}

#[test]
fn a_sentinel_is_a_day() {
    let text = "system = \"x\"\nrevision = 1\nzone = \"Europe/London\"\nsentinels = [\"2100-12-31\", \"31/12/2100\"]\n";
    let mistakes = mapping::parse("bad.toml", text).expect_err("mistakes");
    let told: Vec<String> = mistakes.0.iter().map(ToString::to_string).collect();
    assert!(
        told.contains(&"bad.toml:4: sentinels: expected days as 2100-12-31, not `31/12/2100`".to_owned()),
        "{told:?}"
    );
}

#[test]
fn what_is_not_toml_says_where() {
    let mistakes = mapping::parse("bad.toml", "system = \n").expect_err("mistakes");
    assert_eq!(mistakes.0[0].line, 1);
}

/// A mapping of one result, with these lines.
fn told(lines: &str) -> String {
    let text = format!(
        "system = \"x\"\nrevision = 1\nzone = \"Europe/London\"\n[[record]]\nkind = \"observation\"\nname = \"r\"\n\
         table = \"s.t\"\npatient = \"p\"\n{lines}\n[record.code]\ntext = \"c\"\n[record.join.j]\ntable = \"s.j\"\non = {{ k = \"k\" }}\n"
    );
    match mapping::parse("m.toml", &text) {
        Ok(mapping) => {
            mapping.warnings.iter().map(|warning| format!("warning {}: {}", warning.key, warning.what)).collect()
        }
        Err(mistakes) => mistakes.0.iter().map(|mistake| format!("{}: {}\n", mistake.key, mistake.what)).collect(),
    }
}

#[test]
fn rules_that_could_never_fire_and_numbers_read_two_ways_are_refused() {
    let value = "[record.value]\ntext = \"v\"";
    let good = "id = \"i\"\nstatus = { otherwise = \"final\" }";
    assert_eq!(told(&format!("{good}\n{value}")), "");
    for (lines, want) in [
        (
            format!("id = \"j.i\"\nstatus = {{ otherwise = \"final\" }}\n{value}"),
            "record[1].id: expected a column of the table itself",
        ),
        (format!("{good}\nhighest = \"j.h\"\n{value}"), "record[1].highest: expected a column of the table itself"),
        (format!("id = \"i\"\nstatus = \"s\"\n{value}"), "record[1].status: needs `words`"),
        (
            format!("id = \"i\"\nstatus = {{ otherwise = \"finished\" }}\n{value}"),
            "record[1].status: `finished` is no status",
        ),
        (
            format!("id = \"i\"\nstatus = {{ from = \"s\", words = {{ F = \"final\" }}, rest = \"final\" }}\n{value}"),
            "record[1].status: `rest` of a status can only be \"unknown\"",
        ),
        (format!("{good}\n{value}\ndecimal = \";\""), "record[1].value.decimal: expected one of: \".\", \",\""),
        (
            format!("{good}\n{value}\ndecimal = \",\"\ngrouping = \",\""),
            "record[1].value.grouping: is the decimal mark too",
        ),
        (format!("{good}\n{value}\ngrouping = \".\""), "record[1].value.grouping: is the decimal mark too"),
        (
            format!("{good}\neffective_at = {{ from = \"t\", format = [\"%Y\", \"%d/%m\"] }}\n{value}"),
            "record[1].effective_at.format: `%d/%m` does not read what it writes",
        ),
        (
            format!(
                "{good}\neffective_precision = {{ from = \"t\", words = {{ Y = \"decade\" }}, rest = \"\" }}\n{value}"
            ),
            "record[1].effective_precision: `decade` is no precision",
        ),
        (format!("{good}\neffective_precision = \"t\"\n{value}"), "record[1].effective_precision: needs `words`"),
    ] {
        assert!(told(&lines).starts_with(want), "{lines}\n{}", told(&lines));
    }
}

#[test]
fn words_without_an_answer_for_the_rest_are_warned_of() {
    let with = |rest: &str| {
        told(&format!(
            "id = \"i\"\nstatus = {{ from = \"s\", words = {{ F = \"final\" }}{rest} }}\n[record.value]\ntext = \"v\""
        ))
    };
    assert_eq!(with(", rest = \"unknown\""), "");
    assert!(with("").starts_with("warning record[1].status.words: has no answer for the rest"), "{}", with(""));
}
