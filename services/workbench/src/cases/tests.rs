//! What is read of cases, how they run, and what counts as a difference.

use super::{run, *};
use mapping::parse;

const MAPPING: &str = "system = \"x\"\nrevision = 1\nzone = \"Europe/London\"\n\
    [[record]]\nkind = \"demographics\"\nname = \"patient\"\ntable = \"s.person\"\nid = \"id\"\npatient = \"id\"\n\
    family = \"name\"\nbirth_date = \"born\"\n\
    [[record]]\nkind = \"flag\"\nname = \"flag\"\ntable = \"s.flag\"\nid = \"id\"\npatient = \"person.id\"\n\
    started_at = \"since\"\n[record.code]\ntext = \"words\"\n[record.join.person]\ntable = \"s.person\"\n\
    on = { id = \"person\" }\n";
const KEYS: &str = "[keys]\n\"s.person\" = \"id\"\n\"s.flag\" = \"id\"\n";

fn mapping() -> Arc<Mapping> {
    Arc::new(parse("m.toml", MAPPING).expect("a mapping"))
}

fn source() -> Source {
    read::source(&mapping(), Path::new(SOURCE), KEYS).expect("a source")
}

fn case(text: &str) -> Case {
    read::case(&mapping(), &source(), PathBuf::from("case.toml"), text.to_owned()).expect("a case")
}

/// What comes of each transaction, as text.
fn came(text: &str) -> Vec<String> {
    run::run(&mapping(), &source(), &case(text)).iter().map(|entries| told::text(entries)).collect()
}

const STORY: &str = r#"about = "A flag that comes before its patient."
[[transaction]]
changes = [{ insert = "s.flag", row = { id = 1, person = "p1", words = "Falls", since = 2026-01-02 } }]
[[transaction]]
# The patient comes.
changes = [{ insert = "s.person", row = { id = "p1", name = "Hale", born = 1984-06-02 } }]
[[transaction]]
changes = [
  { update = "s.person", row = { id = "p1", name = "Hale", born = "1984" } },
  { delete = "s.flag", row = { id = 1 } },
]
"#;

const CAME: [&str; 3] = [
    "quarantined missing patient: flag/1, s.person\n",
    "closed missing patient: flag/1, s.person\nrecorded patient/p1 of p1\n  kind = \"demographics\"\n  \
     organisation = \"\"\n  family = \"Hale\"\n  birth_date = \"1984-06-02\"\nrecorded flag/1 of p1\n  \
     kind = \"flag\"\n  organisation = \"\"\n  code.text = \"Falls\"\n  started_at = \"2026-01-02T00:00:00Z\"\n",
    "corrected patient/p1 of p1\n  kind = \"demographics\"\n  organisation = \"\"\n  family = \"Hale\"\n  \
     birth_partial = \"1984\"\nretracted flag/1 of p1\n  kind = \"flag\"\n",
];

#[test]
fn rows_go_through_the_fold_and_what_comes_is_text() {
    assert_eq!(came(STORY), CAME);
}

#[test]
fn rows_of_a_first_snapshot_say_so_and_wait_for_each_other() {
    let text = "about = \"\"\n[[transaction]]\nsnapshot = true\nchanges = [\n\
        { insert = \"s.flag\", row = { id = 1, person = \"p1\", words = \"Falls\" } },\n\
        { insert = \"s.person\", row = { id = \"p1\" } },\n]\n";
    let came = came(text);
    assert!(came[0].contains("recorded flag/1 of p1\n  kind = \"flag\"\n  organisation = \"\"\n  snapshot = true\n"));
    assert!(!came[0].contains("quarantined"), "{}", came[0]);
}

#[test]
fn what_came_is_written_into_the_case_and_is_no_difference_then() {
    let case = case(STORY);
    let got = run::run(&mapping(), &source(), &case);
    let text = updated(&case, &got).expect("written as [[transaction]]");
    assert!(text.contains("# The patient comes.\n") && text.contains("retracted flag/1 of p1\n"), "{text}");
    let again = read::case(&mapping(), &source(), PathBuf::new(), text.clone()).expect("a case");
    for (transaction, got) in again.transactions.iter().zip(&got) {
        assert_eq!(transaction.expected, *got);
        assert_eq!(differences(&transaction.expected, got), []);
    }
    assert_eq!(updated(&again, &got), Some(text), "writing twice changes nothing");
}

fn entries(text: &str) -> Vec<Entry> {
    told::read(text, &mut |at, what| panic!("line {at}: {what}"))
}

#[track_caller]
fn differs(expected: &str, got: &str, want: &[&str]) {
    let told: Vec<String> = differences(&entries(expected), &entries(got)).iter().map(ToString::to_string).collect();
    assert_eq!(told, want);
}

#[test]
fn whatever_is_not_as_expected_is_told() {
    const ONE: &str = "recorded flag/1 of p1\n  code.text = \"Falls\"\n";
    const TWO: &str = "recorded flag/2 of p1\n  code.text = \"Deaf\"\n";
    const ITEM: &str = "quarantined missing patient: flag/1, s.person\n";
    differs("", "", &[]);
    differs(ONE, ONE, &[]);
    differs(ONE, "", &["did not come:  recorded flag/1 of p1"]);
    differs("", ONE, &["not expected:  recorded flag/1 of p1\n    code.text = \"Falls\""]);
    // Told twice is once too often.
    differs(ONE, &[ONE, ONE].concat(), &["not expected:  recorded flag/1 of p1\n    code.text = \"Falls\""]);
    differs(&[ONE, ONE].concat(), ONE, &["did not come:  recorded flag/1 of p1"]);
    differs(
        ONE,
        "corrected flag/1 of p1\n  code.text = \"Fall\"\n  confidential = true\n",
        &[
            "differs:       flag/1 of p1\n    action\n      expected recorded\n      got      corrected\n    code.text\n      \
           expected \"Falls\"\n      got      \"Fall\"\n    confidential\n      expected nothing\n      got      true",
        ],
    );
    differs(
        &[ONE, TWO].concat(),
        &[TWO, ONE].concat(),
        &["came in another order:\n    recorded flag/2 of p1\n    recorded flag/1 of p1"],
    );
    // Of another patient it is another event.
    differs(
        ONE,
        &ONE.replace("p1", "p2"),
        &["did not come:  recorded flag/1 of p1", "not expected:  recorded flag/1 of p2\n    code.text = \"Falls\""],
    );
    differs(ITEM, "", &["did not come:  quarantined missing patient: flag/1, s.person"]);
    differs(
        ITEM,
        &ITEM.replace("quarantined", "closed"),
        &[
            "did not come:  quarantined missing patient: flag/1, s.person",
            "not expected:  closed missing patient: flag/1, s.person",
        ],
    );
    // An item is never an event of the same name.
    differs(
        ITEM,
        &ITEM.replace("quarantined", "recorded"),
        &[
            "did not come:  quarantined missing patient: flag/1, s.person",
            "not expected:  recorded missing patient: flag/1, s.person",
        ],
    );
}

#[track_caller]
fn mistakes(text: &str, want: &[&str]) {
    let Mistakes(told) = read::case(&mapping(), &source(), PathBuf::from("c.toml"), text.to_owned()).unwrap_err();
    assert_eq!(told.iter().map(ToString::to_string).collect::<Vec<_>>(), want);
}

#[test]
fn every_mistake_of_a_case_is_told_at_once_with_its_line() {
    mistakes(
        "abuot = \"x\"\n",
        &[
            "c.toml:1: about: is missing",
            "c.toml:1: transaction: is missing: a case has at least one [[transaction]]",
            "c.toml:1: abuot: no such key here; known are about, transaction",
        ],
    );
    let text = r#"about = "x"
[[transaction]]
snapshot = true
changes = [
  { update = "s.flag", row = { person = "p1", wrods = "Falls" } },
  { insert = "s.flags", row = { id = 1 } },
  { row = { id = 1 } },
  { insert = "s.flag", row = { id = 1.5e3, since = { nothing = true } } },
]
expected = '''
record flag/1 of p1
recorded flag/1 of p1
  code.text "Falls"
'''
"#;
    mistakes(
        text,
        &[
            "c.toml:3: transaction[1].snapshot: a snapshot reads rows: only `insert` may stand in it",
            "c.toml:5: transaction[1].changes[1].row.wrods: the mapping reads no such column of `s.flag`: is `words` meant?",
            "c.toml:5: transaction[1].changes[1].row: has no `id`, which is of the key of `s.flag`",
            "c.toml:6: transaction[1].changes[2].insert: the mapping reads no table `s.flags`: is `s.flag` meant?",
            "c.toml:7: transaction[1].changes[3].: expected one of insert, update, delete, truncate = \"schema.table\"",
            "c.toml:8: transaction[1].changes[4].row.id: expected digits with a point (6.70), inf, nan, or a time as \
         2026-11-23T09:00:00Z",
            "c.toml:8: transaction[1].changes[4].row.since: expected { unchanged = true }, { bytes = \"00ff\" }, \
         { float = \"0.1\" } or { exact = \"infinity\" }",
            "c.toml:8: transaction[1].changes[4].row: has no `id`, which is of the key of `s.flag`",
            "c.toml:11: transaction[1].expected: expected one of: recorded, corrected, retracted, quarantined, closed",
            "c.toml:13: transaction[1].expected: expected `  field = value` below an event",
        ],
    );
}

#[test]
fn values_are_as_toml_writes_them() {
    let text = "about = \"\"\n[[transaction]]\nchanges = [{ insert = \"s.flag\", row = { id = 7.00, person = nan, \
        since = 2026-01-02T03:04:05+01:00, words = VALUE } }]\n";
    for (value, want) in [
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05"),
        ("2026-01-02 03:04:05Z", "2026-01-02T03:04:05"),
        ("2026-01-02", "2026-01-02"),
        ("-inf", "-Infinity"),
        ("6.70", "6.70"),
        ("1_000.5", "1000.5"),
        ("true", "true"),
        ("{ bytes = \"00ff\" }", "00ff"),
        ("{ float = \"0.1\" }", "0.1"),
        ("{ exact = \"infinity\" }", "infinity"),
        ("[\"a\", \"b\"]", "a, b"),
    ] {
        let case = case(&text.replace("VALUE", value));
        let Some(Cell::Value(words)) = case.transactions[0].changes[0].row.last().map(|(_, cell)| cell) else {
            panic!("{value} is a value")
        };
        assert_eq!(mapping::shown(words), want, "{value}");
    }
}
