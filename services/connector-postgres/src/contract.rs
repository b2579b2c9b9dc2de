//! What each type of PostgreSQL travels as, for people: the table of `docs/types.md`. The Avro forms are asked of the code
//! that writes them; only what cannot be asked (what Debezium does by default) is said here.

use crate::column_types::{TypeFact, Types};
use change::{ColumnType, avro::schema};
use serde_json::Value;
use std::sync::Arc;

/// How the catalogue tells a type.
#[derive(Clone, Copy)]
enum By {
    /// The same in every server: its oid and its modifier.
    Oid(u32, i32),
    /// `extension.type`
    Extension(&'static str),
    Fact(fn() -> TypeFact),
    /// Nothing is known of it but its name.
    Name,
}

/// Types that travel alike.
struct Promise {
    types: &'static [(&'static str, By)],
    beside: &'static str,
    debezium: &'static str,
}

const SAME: &str = "the same";
const LEFT_OUT: &str = "leaves the column out";
const PLAIN: &str = "`string` without a name";
/// No built-in type has it.
const FIRST_USER_OID: u32 = 16_384;
/// `numeric(19,3)`
const FIXED: i32 = 4 + (19 << 16 | 3);

const PROMISES: &[Promise] = &[
    Promise { types: &[("bool", By::Oid(16, -1)), ("bit(1)", By::Oid(1560, 1))], beside: "", debezium: SAME },
    Promise { types: &[("int2", By::Oid(21, -1))], beside: "", debezium: SAME },
    Promise { types: &[("int4", By::Oid(23, -1))], beside: "", debezium: SAME },
    Promise { types: &[("int8", By::Oid(20, -1)), ("oid", By::Oid(26, -1))], beside: "", debezium: SAME },
    Promise {
        types: &[("xid", By::Oid(28, -1)), ("cid", By::Oid(29, -1)), ("xid8", By::Oid(5069, -1))],
        beside: "an `xid8` of 2⁶³ or more",
        debezium: LEFT_OUT,
    },
    Promise { types: &[("float4", By::Oid(700, -1))], beside: "", debezium: SAME },
    Promise { types: &[("float8", By::Oid(701, -1))], beside: "", debezium: SAME },
    Promise { types: &[("numeric(19,3)", By::Oid(1700, FIXED))], beside: "`NaN`", debezium: "stops at `NaN`" },
    Promise {
        types: &[("numeric", By::Oid(1700, -1)), ("numeric(3,-2)", By::Oid(1700, 4 + (3 << 16 | 0x7FE)))],
        beside: "`NaN`, `Infinity`, `-Infinity`",
        debezium: "drops trailing zeros, stops at `NaN`",
    },
    Promise {
        types: &[("money", By::Fact(|| TypeFact::Known { kind: ColumnType::Money { scale: 2 } }))],
        beside: "",
        debezium: "the same, with two digits whatever the currency",
    },
    Promise { types: &[("bit(12)", By::Oid(1560, 12))], beside: "", debezium: SAME },
    Promise {
        types: &[("varbit", By::Name), ("bit", By::Name)],
        beside: "",
        debezium: "`io.debezium.data.Bits`, which does not tell how many bits there are",
    },
    Promise {
        types: &[
            ("text", By::Oid(25, -1)),
            ("varchar", By::Oid(1043, -1)),
            ("char(5)", By::Oid(1042, 9)),
            ("name", By::Oid(19, -1)),
            ("\"char\"", By::Oid(18, -1)),
            ("citext", By::Extension("citext.citext")),
        ],
        beside: "bytes that no character of the database's encoding has, as `\\x81`, with `\\\\` for a backslash",
        debezium: SAME,
    },
    Promise { types: &[("bytea", By::Oid(17, -1))], beside: "", debezium: SAME },
    Promise {
        types: &[("date", By::Oid(1082, -1))],
        beside: "infinities, years BC",
        debezium: "the same, years BC as numbers",
    },
    Promise { types: &[("time", By::Oid(1083, -1))], beside: "", debezium: "milliseconds up to `time(3)`" },
    Promise {
        types: &[("timetz", By::Oid(1266, -1))],
        beside: "`24:00:00`",
        debezium: "the same in UTC: loses the offset",
    },
    Promise {
        types: &[("timestamp", By::Oid(1114, -1))],
        beside: "infinities, years BC, years from 294247",
        debezium: "milliseconds up to `timestamp(3)`, infinities as large numbers",
    },
    Promise {
        types: &[("timestamptz", By::Oid(1184, -1)), ("timestamptz(3)", By::Oid(1184, 3))],
        beside: "infinities, years BC, years from 294247",
        debezium: "the same, infinities as text",
    },
    Promise {
        types: &[("interval", By::Oid(1186, -1))],
        beside: "infinities",
        debezium: "`io.debezium.time.MicroDuration`, months as 30.4375 days",
    },
    Promise { types: &[("uuid", By::Oid(2950, -1))], beside: "", debezium: SAME },
    Promise { types: &[("json", By::Oid(114, -1)), ("jsonb", By::Oid(3802, -1))], beside: "", debezium: SAME },
    Promise { types: &[("hstore", By::Extension("hstore.hstore"))], beside: "", debezium: SAME },
    Promise { types: &[("xml", By::Oid(142, -1))], beside: "", debezium: SAME },
    Promise { types: &[("ltree", By::Extension("ltree.ltree"))], beside: "", debezium: SAME },
    Promise { types: &[("tsvector", By::Oid(3614, -1))], beside: "", debezium: SAME },
    Promise { types: &[("point", By::Oid(600, -1))], beside: "", debezium: SAME },
    Promise {
        types: &[
            ("line", By::Name),
            ("lseg", By::Name),
            ("box", By::Name),
            ("path", By::Name),
            ("polygon", By::Name),
            ("circle", By::Name),
        ],
        beside: "",
        debezium: "records of its own",
    },
    Promise {
        types: &[(
            "enum",
            By::Fact(|| TypeFact::Enum { labels: Arc::from([Arc::from("prelim"), Arc::from("final")]) }),
        )],
        beside: "",
        debezium: SAME,
    },
    Promise {
        types: &[("inet", By::Name), ("cidr", By::Name), ("macaddr", By::Name), ("macaddr8", By::Name)],
        beside: "",
        debezium: PLAIN,
    },
    Promise {
        types: &[
            ("int4range", By::Name),
            ("int8range", By::Name),
            ("numrange", By::Name),
            ("tsrange", By::Name),
            ("tstzrange", By::Name),
            ("daterange", By::Name),
        ],
        beside: "",
        debezium: "`string` without a name, `tstzrange` in the connector's time zone",
    },
    Promise {
        types: &[
            ("int4multirange", By::Name),
            ("int8multirange", By::Name),
            ("nummultirange", By::Name),
            ("tsmultirange", By::Name),
            ("tstzmultirange", By::Name),
            ("datemultirange", By::Name),
        ],
        beside: "",
        debezium: "not documented",
    },
    Promise {
        types: &[
            ("tsquery", By::Name),
            ("jsonpath", By::Name),
            ("pg_lsn", By::Name),
            ("pg_snapshot", By::Name),
            ("tid", By::Name),
            ("regclass", By::Name),
            ("regtype", By::Name),
            ("regproc", By::Name),
            ("regrole", By::Name),
            ("regnamespace", By::Name),
            ("int2vector", By::Name),
            ("oidvector", By::Name),
        ],
        beside: "",
        debezium: LEFT_OUT,
    },
    Promise { types: &[("composite", By::Name)], beside: "", debezium: LEFT_OUT },
    Promise { types: &[("isbn", By::Name)], beside: "", debezium: PLAIN },
];

/// The names of the types in the table.
pub fn names() -> impl Iterator<Item = &'static str> {
    PROMISES.iter().flat_map(|promise| promise.types.iter().map(|(name, _)| *name))
}

/// The table as Markdown.
pub fn table() -> String {
    let mut table = String::from(
        "| PostgreSQL | Avro | `connect.name` | Beside the datum | Debezium by default |\n|---|---|---|---|---|\n",
    );
    for promise in PROMISES {
        let names: Vec<String> = promise.types.iter().map(|(name, _)| format!("`{name}`")).collect();
        let schema = schema::of_type(&kind(promise.types[0]));
        let name = schema.get("connect.name").and_then(Value::as_str).map(|name| format!("`{name}`"));
        let cells = [&*names.join(", "), &avro(&schema), &name.unwrap_or_default(), promise.beside, promise.debezium]
            .join(" | ");
        table.push_str(&format!("| {cells} |\n"));
    }
    table.push_str(
        "| domain | as its base type, through every level | | | loses a nested domain's modifiers |\n\
         | array of any of these | `array` of a union with `null` | the element's | several dimensions, lower bounds other \
         than 1, an element that does not fit | no several dimensions; no arrays of `money`, `interval`, `varbit`, `xml`, \
         `point`, `name` |\n\
         | any other type | as `inet` | | | leaves the column out, or bytes |\n",
    );
    table
}

fn kind((name, by): (&str, By)) -> ColumnType {
    let flagged = || ColumnType::Flagged { type_name: name.into() };
    let mut types = Types::default();
    match by {
        By::Oid(oid, modifier) => types.column_type(oid, modifier),
        By::Extension(name) => crate::column_types::of_extension(name).unwrap_or_else(flagged),
        By::Fact(fact) => {
            types.insert(FIRST_USER_OID, fact());
            types.column_type(FIRST_USER_OID, -1)
        }
        By::Name => flagged(),
    }
}

/// An Avro type in a few words.
fn avro(schema: &Value) -> String {
    let property = |name: &str| schema.get(name).and_then(Value::as_str);
    let base = schema.as_str().or_else(|| property("type")).unwrap_or("?");
    let mut words = vec![format!("`{base}`")];
    if property("logicalType") == Some("decimal") {
        words.push(format!("`decimal({},{})`", schema["precision"], schema["scale"]));
    }
    if let Some(fields) = schema.get("fields").and_then(Value::as_array) {
        let names: Vec<String> =
            fields.iter().filter_map(|field| Some(format!("`{}`", field["name"].as_str()?))).collect();
        words.push(format!("of {}", names.join(", ")));
    }
    for name in ["connect.type", "causeway.type"] {
        words.extend(property(name).map(|value| format!("`{name}` `{value}`")));
    }
    if let Some(parameters) = schema.get("connect.parameters").and_then(Value::as_object) {
        // What a decimal's parameters say, the logical type says already.
        let own = parameters.iter().filter(|_| property("logicalType").is_none());
        words.extend(own.map(|(name, value)| match &**name {
            "type" => "parameter `type`: its name".to_owned(),
            name => format!("parameter `{name}` `{}`", value.as_str().unwrap_or("?")),
        }));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    const BEGINS: &str = "<!-- The table is generated: see the end of this page. -->\n";
    const ENDS: &str = "<!-- The table ends. -->\n";

    #[test]
    fn the_documented_table_is_the_codes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/types.md");
        let page = fs::read_to_string(&path).expect("the page");
        let (head, rest) = page.split_once(BEGINS).expect("the table's beginning");
        let (shown, tail) = rest.split_once(ENDS).expect("the table's end");
        let table = format!("\n{}\n", table());
        if std::env::var_os("CAUSEWAY_WRITE_DOCS").is_some() {
            fs::write(&path, [head, BEGINS, &table, ENDS, tail].concat()).expect("the page is written");
            return;
        }
        assert!(
            shown == table,
            "docs/types.md tells another table than the code: CAUSEWAY_WRITE_DOCS=1 cargo test -p connector-postgres contract"
        );
    }

    #[test]
    fn types_of_one_line_travel_alike() {
        for promise in PROMISES {
            let form = |named| avro(&schema::of_type(&kind(named)));
            let first = form(promise.types[0]);
            for named in promise.types.iter().filter(|(_, by)| !matches!(by, By::Name)) {
                assert_eq!(form(*named), first, "{}", named.0);
            }
        }
    }
}
