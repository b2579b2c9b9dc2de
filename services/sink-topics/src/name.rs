//! Topic names as Debezium gives them.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use change::TableId;

/// Kafka's own limit, to which Debezium cuts.
const NAME_MAX: usize = 249;
/// Debezium's topic of logical messages.
const MESSAGES: &str = "message";

/// `<source>.<schema>.<table>`, or `<source>.message` of a logical message, each character that Kafka does not take
/// replaced by `_`. `prefix` is the region's, and counts.
pub fn topic_of(prefix: &str, source: &str, table: Option<&TableId>) -> String {
    let rest = table.map_or_else(|| MESSAGES.to_owned(), |table| format!("{}.{}", table.schema, table.name));
    let legal = |unit: u16| match u8::try_from(unit) {
        Ok(c) if c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-') => char::from(c),
        _ => '_',
    };
    // Java's characters are UTF-16 units: one beyond them becomes two.
    let name = format!("{source}.{rest}").encode_utf16().map(legal).collect::<String>();
    let mut name = format!("{prefix}{name}");
    name.truncate(NAME_MAX);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_debeziums() {
        let check = |schema: &str, name: &str, want: &str| {
            let table = TableId { schema: schema.into(), name: name.into() };
            assert_eq!(topic_of("", "gp", Some(&table)), want);
        };
        check("emis", "patient", "gp.emis.patient");
        check("Weird Schema", "ta.ble$1", "gp.Weird_Schema.ta.ble_1");
        check("public", "caf\u{e9}-\u{1F3E5}", "gp.public.caf_-__");
        assert_eq!(topic_of("north.", "gp", None), "north.gp.message");
        let long = TableId { schema: "s".repeat(200).into(), name: "t".repeat(200).into() };
        assert_eq!(topic_of("", "gp", Some(&long)).len(), NAME_MAX);
    }
}
