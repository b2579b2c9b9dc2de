//! A corpus of frames as PostgreSQL 15 sent them, and hostile ones.

use super::*;
use proptest::prelude::*;
use std::fmt::Write as _;

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u8> = hexadecimal.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn row(tuple: &Tuple<'_>) -> String {
    let mut out = String::new();
    for cell in tuple.cells() {
        match cell {
            Cell::Null => out.push_str(" null"),
            Cell::Unchanged => out.push_str(" unchanged"),
            Cell::Text(text) => write!(out, " {}", String::from_utf8_lossy(text)).unwrap(),
        }
    }
    out
}

fn render(frame: &[u8]) -> String {
    match decode(frame, &Charset::Utf8) {
        Ok(Message::Insert { relation, new }) => format!("insert {relation}{}", row(&new)),
        Ok(Message::Update { relation, old: None, new }) => format!("update {relation} to{}", row(&new)),
        Ok(Message::Update { relation, old: Some(OldTuple::Key(old)), new }) => {
            format!("update {relation} key{} to{}", row(&old), row(&new))
        }
        Ok(Message::Update { relation, old: Some(OldTuple::Full(old)), new }) => {
            format!("update {relation} from{} to{}", row(&old), row(&new))
        }
        Ok(Message::Delete { relation, old }) => format!("delete {relation}{}", row(old.tuple())),
        Ok(Message::Relation(relation)) => {
            let mut out = format!(
                "relation {} {}.{} {}",
                relation.oid,
                relation.schema,
                relation.name,
                char::from(relation.identity)
            );
            for column in relation.columns {
                let key = if column.in_identity { "*" } else { "" };
                write!(out, " {}{key}:{}/{}", column.name, column.type_oid, column.type_modifier).unwrap();
            }
            out
        }
        Ok(other) => format!("{other:?}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check(frame: &str, want: &str) {
    assert_eq!(render(&bytes(frame)), want);
}

#[test]
fn frames_of_a_transaction() {
    check(
        "42 0000000016B374D8 0002D5C0A1B2C3D4 000002F1",
        "Begin { final_lsn: Lsn(380859608), committed_at: 1744658076705748, xid: 753 }",
    );
    check(
        "43 00 0000000016B374D8 0000000016B37508 0000000000000000",
        "Commit { lsn: Lsn(380859608), end_lsn: Lsn(380859656), committed_at: 946684800000000 }",
    );
    check("4F 0000000016B374D8 6E6F646500", "Origin { name: \"node\" }");
    check("59 00004000 6C696D7300 73746174757300", r#"Type { oid: 16384, schema: "lims", name: "status" }"#);
    check("54 00000002 00 00000007 00000008", "Truncate { relations: [7, 8] }");
    check(
        "4D 01 0000000000000009 617564697400 00000002 0001",
        r#"Logical { transactional: true, lsn: Lsn(9), prefix: "audit", content: [0, 1] }"#,
    );
}

#[test]
fn frames_of_rows() {
    check(
        "52 00004001 656D697300 7573657200 64 0002 01 696400 00000017 FFFFFFFF 00 6E6F746500 00000413 00000068",
        "relation 16385 emis.user d id*:23/-1 note:1043/104",
    );
    check("49 00004001 4E 0002 74 00000001 37 6E", "insert 16385 7 null");
    check("55 00004001 4E 0002 74 00000001 37 75", "update 16385 to 7 unchanged");
    check("55 00004001 4B 0002 74 00000001 37 6E 4E 0002 74 00000001 38 75", "update 16385 key 7 null to 8 unchanged");
    check("55 00004001 4F 0001 74 00000001 37 4E 0001 74 00000001 38", "update 16385 from 7 to 8");
    check("44 00004001 4B 0002 74 00000001 37 6E", "delete 16385 7 null");
    // A whole row may have no values at all.
    check("44 00004001 4F 0002 6E 6E", "delete 16385 null null");
    check("49 00004001 4E 0000", "insert 16385");
}

#[test]
fn hostile_frames_are_refused() {
    let truncated = DecodeError::Truncated.to_string();
    let malformed = |part: &'static str| DecodeError::Malformed(part).to_string();
    check("", &truncated);
    check("5A", &DecodeError::UnknownKind.to_string());
    check("49 00004001 4E 0002 74 FFFFFFFF 37", &truncated);
    check("49 00004001 4E FFFF", &malformed("row"));
    check("49 00004001 4E 0001 62 00000000", &malformed("cell"));
    check("49 00004001 4E 0000 00", &DecodeError::Trailing.to_string());
    check("54 FFFFFFFF 00 00000007", &malformed("truncate"));
    check("52 00004001 6100", &malformed("name"));
    check("44 00004001 4E 0000", &malformed("old row"));
    check("42 0000000016B374D8 7FFFFFFFFFFFFFFF 00000001", &malformed("time"));
    // A key without a value names no row.
    check("44 00004001 4B 0002 6E 6E", &malformed("old row"));
    check("44 00004001 4B 0001 75", &malformed("old row"));
    check("55 00004001 4B 0001 6E 4E 0001 74 00000001 38", &malformed("old row"));
}

proptest! {
    #[test]
    fn any_frame_is_decoded_or_refused(frame: Vec<u8>) {
        let _ = render(&frame);
    }

    #[test]
    fn any_damage_is_decoded_or_refused(kind in prop::sample::select(&b"BCORYIUDTM"[..]), rest: Vec<u8>) {
        let mut frame = vec![kind];
        frame.extend(rest);
        let _ = render(&frame);
    }

    #[test]
    fn cells_come_back(cells in prop::collection::vec(prop::option::of(any::<Vec<u8>>()), 0..20)) {
        let mut frame = b"I\0\0\0\x07N".to_vec();
        frame.extend(u16::try_from(cells.len()).unwrap().to_be_bytes());
        for cell in &cells {
            match cell {
                None => frame.push(b'n'),
                Some(text) => {
                    frame.push(b't');
                    frame.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                    frame.extend(text);
                }
            }
        }
        let Ok(Message::Insert { new, .. }) = decode(&frame, &Charset::Utf8) else { panic!("an insert") };
        let back: Vec<Option<Vec<u8>>> = new.cells().map(|cell| match cell {
            Cell::Text(text) => Some(text.to_vec()),
            _ => None,
        }).collect();
        prop_assert_eq!(back, cells);
    }
}
