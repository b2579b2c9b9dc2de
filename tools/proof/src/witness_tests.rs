//! What `test_decoding` writes, read back.

use super::*;
use stack::witness::Transaction;

fn keys() -> Keys {
    let key = |table: &str, columns: &[&str]| (table.to_owned(), columns.iter().map(|c| (*c).to_owned()).collect());
    [key("emis.observation", &["id"]), key("lims.order", &["group", "id"]), key("emis.odd.name", &["i d"])].into()
}

#[track_caller]
fn check(record: &str, want: &[&str]) {
    let transaction = Transaction { xid: 7, changes: vec![record.to_owned()] };
    let changes = committed(&[transaction], &keys()).unwrap();
    let got: Vec<String> = changes
        .iter()
        .map(|change| {
            let key: Vec<String> = change.key.iter().map(|(column, value)| format!("{column}={value}")).collect();
            format!("{} {} {}", change.op, change.table, key.join(",")).trim_end().to_owned()
        })
        .collect();
    assert_eq!(got, want);
}

#[test]
fn an_insert_is_named_by_its_key() {
    check("table emis.observation: INSERT: id[uuid]:'a-b' text[text]:'x'", &["c emis.observation id=a-b"]);
    check("table emis.observation: INSERT: v[numeric]:1.50 id[integer]:7", &["c emis.observation id=7"]);
}

#[test]
fn values_may_hold_quotes_line_breaks_and_words_of_the_format() {
    check(
        "table emis.observation: INSERT: t[text]:'it''s\nnew-tuple: id[integer]:9' id[integer]:7 n[text]:null",
        &["c emis.observation id=7"],
    );
    check(
        "table emis.observation: UPDATE: id[integer]:7 t[text]:unchanged-toast-datum b[bit varying]:B'101'",
        &["u emis.observation id=7"],
    );
}

#[test]
fn quoted_names_and_odd_types_are_read() {
    check(
        r#"table lims."order": INSERT: id[bigint]:5 "group"[character varying]:'A' tests[character varying[]]:'{K,NA}' s[lims.result_status]:'final'"#,
        &["c lims.order group=A,id=5"],
    );
    check(r#"table emis."odd.name": DELETE: "i d"["odd]type"]:'1'"#, &["d emis.odd.name i d=1"]);
}

#[test]
fn an_update_of_the_key_ends_one_row_and_starts_another() {
    check(
        "table emis.observation: UPDATE: old-key: id[integer]:7 new-tuple: id[integer]:8 t[text]:'x'",
        &["d emis.observation id=7", "c emis.observation id=8"],
    );
    check(
        "table emis.observation: UPDATE: old-key: id[integer]:7 t[text]:' new-tuple: ' new-tuple: id[integer]:7 t[text]:'x'",
        &["u emis.observation id=7"],
    );
}

#[test]
fn deletes_truncations_and_messages() {
    check("table emis.observation: DELETE: id[integer]:7", &["d emis.observation id=7"]);
    check("table emis.other: DELETE: (no-tuple-data)", &["d emis.other"]);
    check(
        r#"table emis.observation, lims."order": TRUNCATE: restart_seqs cascade"#,
        &["t emis.observation", "t lims.order"],
    );
    check("message: transactional: 1 prefix: x, sz: 1 content:y", &["m x content=y"]);
    check("message: transactional: 0 prefix: yard.beat, sz: 0 content:", &["m yard.beat content="]);
}

#[test]
fn what_cannot_be_read_is_an_error_without_values() {
    let read = |record: &str| {
        let transaction = Transaction { xid: 7, changes: vec![record.to_owned()] };
        format!("{:#}", committed(&[transaction], &keys()).unwrap_err())
    };
    let told = read("table emis.observation: INSERT: id[integer]:'secret");
    assert!(told.contains("transaction 7") && !told.contains("secret"), "{told}");
    assert!(read("table emis.observation: INSERT: t[text]:'x'").contains("key is missing"));
}
