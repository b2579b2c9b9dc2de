//! Values of every type: edges by hand, the rest by chance. Each is an expression of SQL, so that the server makes it.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

/// A type, and where its values come from.
pub struct Case {
    /// As `docs/types.md` names it.
    pub name: &'static str,
    /// As a column has it.
    pub sql: &'static str,
    pub edges: &'static [&'static str],
    pub any: fn(&mut StdRng) -> String,
}

const fn case(
    name: &'static str,
    sql: &'static str,
    edges: &'static [&'static str],
    any: fn(&mut StdRng) -> String,
) -> Case {
    Case { name, sql, edges, any }
}

/// What the columns need. The extensions' types are left out where the server does not have them.
pub const TYPES: &str = r#"
    create type state as enum ('prelim', 'final', 'with space', 'comma,"quote"');
    create domain inner_amount as numeric(12,4);
    create domain amount as inner_amount check (value <> -1);
    create domain tags as text[];
    create type reading as (id integer, "odd ""name" text, taken timestamptz, states state[]);"#;

pub const CASES: &[Case] = &[
    case("bool", "boolean", &["true", "false"], |r| r.random::<bool>().to_string()),
    case("bit(1)", "bit(1)", &["'0'", "'1'"], |r| bits(r, 1)),
    case("int2", "smallint", &["-32768", "32767", "0"], |r| r.random::<i16>().to_string()),
    case("int4", "integer", &["-2147483648", "2147483647"], |r| r.random::<i32>().to_string()),
    case("int8", "bigint", &["-9223372036854775808", "9223372036854775807"], |r| r.random::<i64>().to_string()),
    case("oid", "oid", &["'0'", "'4294967295'"], |r| format!("'{}'", r.random::<u32>())),
    case("xid", "xid", &["'4294967295'"], |r| format!("'{}'", r.random::<u32>())),
    case("cid", "cid", &["'4294967295'"], |r| format!("'{}'", r.random::<u32>())),
    case("xid8", "xid8", &["'18446744073709551615'", "'0'"], |r| format!("'{}'", r.random::<u64>() >> 1)),
    case(
        "float4",
        "real",
        &["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "'1e-45'", "'3.4028235e38'", "'0.1'"],
        |r| format!("'{:e}'", f32::from_bits(r.random())).replace("inf", "Infinity"),
    ),
    case(
        "float8",
        "double precision",
        &["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "'5e-324'", "'1.7976931348623157e308'", "'0.1'"],
        number,
    ),
    case(
        "numeric(19,3)",
        "numeric(19,3)",
        &["'NaN'", "0", "-0.001", "9999999999999999.999", "-9999999999999999.999", "12.3"],
        |r| format!("{}{}.{}", sign(r), digits(r, 1, 16), digits(r, 1, 3)),
    ),
    case(
        "numeric",
        "numeric",
        &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "0.00",
            "1.50",
            "1e-100",
            "1e1000",
            "-170141183460469231731687303715884105728",
        ],
        |r| format!("{}{}.{}", sign(r), digits(r, 1, 70), digits(r, 1, 40)),
    ),
    case("numeric(3,-2)", "numeric(3,-2)", &["0", "99900", "-149"], |r| r.random_range(-99_900..99_900).to_string()),
    case("money", "money", &["'-92233720368547758.08'", "'92233720368547758.07'", "'0'", "'-0.01'"], |r| {
        let cents: i64 = r.random();
        format!(
            "'{}{}.{:02}'",
            if cents < 0 { "-" } else { "" },
            cents.unsigned_abs() / 100,
            cents.unsigned_abs() % 100
        )
    }),
    case("bit(12)", "bit(12)", &["'000000000000'", "'111111111111'", "'100000000000'"], |r| bits(r, 12)),
    case("bit(12)", "bit(64)", &[], |r| bits(r, 64)),
    case("varbit", "bit varying", &["''", "'0'", "'0001'", "'00001'"], |r| {
        let length = r.random_range(0..40);
        bits(r, length)
    }),
    case("text", "text", &["''", "'NULL'", r"E'tab\tline\nback\\slash'", "repeat('x', 3000)"], text),
    case("varchar", "varchar(40)", &["''"], text),
    case("char(5)", "char(5)", &["''", "'ab'"], |r| format!("'{}'", digits(r, 1, 5))),
    case("name", "name", &["repeat('n', 63)"], text),
    case("\"char\"", "\"char\"", &["'\"'", "','"], |r| format!("'{}'", digits(r, 1, 1))),
    case("citext", "citext", &["'MiXed'"], text),
    case("bytea", "bytea", &[r"'\x'", r"'\x00ff5c22'"], |r| {
        let bytes: Vec<String> = (0..r.random_range(0..30)).map(|_| format!("{:02x}", r.random::<u8>())).collect();
        format!(r"'\x{}'", bytes.concat())
    }),
    case(
        "date",
        "date",
        &[
            "'infinity'",
            "'-infinity'",
            "'4714-11-24 BC'",
            "'0001-12-31 BC'",
            "'0001-01-01'",
            "'5874897-12-31'",
            "'1969-12-31'",
        ],
        |r| format!("date '2000-01-01' + ({})", r.random_range(-2_451_545_i64..2_145_000_000)),
    ),
    case("time", "time", &["'00:00'", "'24:00'", "'23:59:59.999999'"], |r| format!("'{}'", clock(r, 24))),
    case("timetz", "timetz", &["'00:00+00'", "'24:00-15:59:59'", "'23:59:59.999999+15:59'", "'01:02-00:19:32'"], |r| {
        format!(
            "'{}{}{:02}:{:02}'",
            clock(r, 24),
            if r.random() { "+" } else { "-" },
            r.random_range(0..16),
            r.random_range(0..60)
        )
    }),
    case(
        "timestamp",
        "timestamp",
        &[
            "'infinity'",
            "'-infinity'",
            "'4714-11-24 00:00 BC'",
            "'294276-12-31 23:59:59.999999'",
            "'1969-12-31 23:59:59.999999'",
        ],
        |r| moment(r, "timestamp"),
    ),
    case(
        "timestamptz",
        "timestamptz",
        &[
            "'infinity'",
            "'-infinity'",
            "'4714-11-24 00:00+00 BC'",
            "'294276-12-31 23:59:59.999999+00'",
            "'9999-12-31 23:59:59.5+00'",
        ],
        |r| moment(r, "timestamptz"),
    ),
    case("timestamptz(3)", "timestamptz(3)", &["'infinity'", "'1969-12-31 23:59:59.999+00'"], |r| {
        moment(r, "timestamptz")
    }),
    case(
        "interval",
        "interval",
        &[
            "'0'",
            "'1 mon'",
            "'30 days'",
            "'24:00'",
            "'-1 sec'",
            "'-0.000001 sec'",
            "'178956970 years 7 mons 2147483647 days 2562047788:00:54.775807'",
            "'-178956970 years -8 mons -2147483648 days'",
            "'1 year -3 mons 4 days -05:06:07.8'",
        ],
        |r| {
            let (months, days) = (r.random_range(-2_000_000_000..2_000_000_000), r.random::<i32>() / 2);
            format!("'{months} mons {days} days {}{}'", sign(r), clock(r, 2_000_000_000))
        },
    ),
    case("uuid", "uuid", &["'ffffffff-ffff-ffff-ffff-ffffffffffff'"], |r| format!("'{:032x}'", r.random::<u128>())),
    case("json", "json", &[r#"'{"b": 1,  "a":9007199254740993, "b":1.50}'"#, "'null'"], |r| {
        format!("json_build_array({}, {}, null)::json", text(r), number(r))
    }),
    case("jsonb", "jsonb", &[r#"'{"b": 1.10, "a":12345678901234567890.123}'"#, "'[]'"], |r| {
        format!("jsonb_build_object('k', {}, 'd', {}::numeric)", text(r), digits(r, 1, 60))
    }),
    case("hstore", "hstore", &["''", r#"'"a\"b"=>NULL, ""=>"NULL", "c"=>""'"#], |r| {
        format!("hstore(array[{}, 'k'], array[{}, null])", text(r), text(r))
    }),
    case("xml", "xml", &["'<a b=\"1\">x &amp; y</a>'", "''"], |r| format!("xmlelement(name a, {})", text(r))),
    case("ltree", "ltree", &["''", "'Top.Science.Astronomy'"], |r| {
        format!("'a{}.b_{}'", digits(r, 1, 9), digits(r, 1, 9))
    }),
    case("tsvector", "tsvector", &["''", "'''it''''s'':1A,2B a:3'"], |r| {
        format!("array_to_tsvector(array['a', {}||'x'])", text(r))
    }),
    case("point", "point", &["'(1e300,-1e-300)'", "'(NaN,Infinity)'", "'(-0,0)'"], |r| {
        format!("point({}, {})", number(r), number(r))
    }),
    case("line", "line", &["'{1,2.5,-3}'"], |r| format!("'{{1,{},{}}}'", small(r), small(r))),
    case("lseg", "lseg", &[], |r| format!("lseg({}, {})", spot(r), spot(r))),
    case("box", "box", &[], |r| format!("box({}, {})", spot(r), spot(r))),
    case("path", "path", &["'[(0,0),(1,1)]'"], |r| format!("'(({},0),(1,{}))'", small(r), small(r))),
    case("polygon", "polygon", &[], |r| format!("'(({},0),(1,{}),(2,2))'", small(r), small(r))),
    case("circle", "circle", &[], |r| format!("circle({}, {})", spot(r), r.random_range(0..100))),
    case("enum", "state", &["'comma,\"quote\"'"], |r| one_of(r, &["prelim", "final", "with space"])),
    case("inet", "inet", &["'10.0.0.1/8'", "'::1'"], |r| {
        format!("'{}.2.3.{}/{}'", r.random::<u8>(), r.random::<u8>(), r.random_range(0..33))
    }),
    case("cidr", "cidr", &["'10.0.0.0/8'", "'2001:db8::/32'"], |r| format!("'{}.0.0.0/8'", r.random::<u8>())),
    case("macaddr", "macaddr", &["'08:00:2b:01:02:03'"], |r| format!("'{:012x}'", r.random::<u64>() >> 16)),
    case("macaddr8", "macaddr8", &["'08:00:2b:01:02:03:04:05'"], |r| format!("'{:016x}'", r.random::<u64>())),
    case("int4range", "int4range", &["'empty'", "'(,)'"], |r| format!("int4range({}, null)", r.random::<i32>())),
    case("int8range", "int8range", &["'[1,5)'"], |r| format!("int8range(null, {})", r.random::<i64>() / 2)),
    case("numrange", "numrange", &["'[1.50,2.0]'"], |r| format!("numrange(0, {}.50)", digits(r, 1, 30))),
    case("tsrange", "tsrange", &["'[-infinity,infinity]'"], |r| format!("tsrange({}, null)", moment(r, "timestamp"))),
    case("tstzrange", "tstzrange", &["'empty'"], |r| format!("tstzrange(null, {})", moment(r, "timestamptz"))),
    case("daterange", "daterange", &["'[2024-02-29,)'"], |r| {
        format!("daterange(null, date '2000-01-01' + {})", r.random_range(0..9_999))
    }),
    case("int4multirange", "int4multirange", &["'{}'", "'{[1,3),[5,)}'"], |r| {
        format!("int4multirange(int4range(1, {}))", r.random_range(1..99))
    }),
    case("int8multirange", "int8multirange", &["'{}'"], |r| {
        format!("int8multirange(int8range(1, {}))", r.random_range(1..99))
    }),
    case("nummultirange", "nummultirange", &["'{}'"], |r| format!("nummultirange(numrange(0, {}))", digits(r, 1, 30))),
    case("tsmultirange", "tsmultirange", &["'{}'"], |r| {
        format!("tsmultirange(tsrange({}, null))", moment(r, "timestamp"))
    }),
    case("tstzmultirange", "tstzmultirange", &["'{}'"], |r| {
        format!("tstzmultirange(tstzrange(null, {}))", moment(r, "timestamptz"))
    }),
    case("datemultirange", "datemultirange", &["'{[2024-02-29,)}'"], |r| {
        format!("datemultirange(daterange(null, date '2000-01-01' + {}))", r.random_range(0..9))
    }),
    case("tsquery", "tsquery", &["'a & !b:*'"], |r| format!("plainto_tsquery('simple', {})", text(r))),
    case("jsonpath", "jsonpath", &["'$.a[*] ? (@ > 1.5)'"], |r| format!("'$.k{}'", digits(r, 1, 9))),
    case("pg_lsn", "pg_lsn", &["'FFFFFFFF/FFFFFFFF'", "'0/0'"], |r| {
        format!("'{:X}/{:X}'", r.random::<u32>(), r.random::<u32>())
    }),
    case("pg_snapshot", "pg_snapshot", &["'10:20:10,14,15'"], |r| format!("'5:{0}:'", r.random_range(5..99))),
    case("tid", "tid", &["'(4294967295,65535)'"], |r| format!("'({},{})'", r.random::<u32>(), r.random::<u16>())),
    case("regclass", "regclass", &["'pg_class'", "0::oid::regclass"], |r| one_of(r, &["pg_type", "pg_proc"])),
    case("regtype", "regtype", &["'state[]'"], |r| one_of(r, &["integer", "timestamptz", "reading"])),
    case("regproc", "regproc", &["'now'"], |r| one_of(r, &["pg_sleep", "now"])),
    case("regrole", "regrole", &["'capture'"], |r| one_of(r, &["capture", "pg_monitor"])),
    case("regnamespace", "regnamespace", &["'public'"], |r| one_of(r, &["public", "pg_catalog"])),
    case("int2vector", "int2vector", &["''", "'1 2 -3'"], |r| format!("'{} 7'", r.random::<i16>())),
    case("oidvector", "oidvector", &["''"], |r| format!("'{} 7'", r.random::<u32>())),
    case("isbn", "isbn", &["'978-0-393-04002-9'"], |r| one_of(r, &["978-0-393-04002-9", "0-11-000222-9"])),
    case(
        "composite",
        "reading",
        &["row(null, null, null, null)", "row(1, 'a \"b\",', 'infinity', '{final,NULL}')"],
        |r| format!("row({}, {}, {}, '{{prelim}}')", r.random::<i32>(), text(r), moment(r, "timestamptz")),
    ),
    case("domain", "amount", &["'NaN'", "0.5"], |r| format!("{}.{}", digits(r, 1, 8), digits(r, 1, 4))),
    case("domain", "tags", &["'{}'", "'{{a,b},{c,NULL}}'"], |r| format!("array[{}, null]", text(r))),
];

fn digits(random: &mut StdRng, least: usize, most: usize) -> String {
    let count = random.random_range(least..=most);
    let mut text: String = (0..count).map(|_| char::from(random.random_range(b'0'..=b'9'))).collect();
    // A number's first digit; texts take it too.
    text.replace_range(0..1, "7");
    text
}

fn sign(random: &mut StdRng) -> &'static str {
    if random.random() { "-" } else { "" }
}

fn bits(random: &mut StdRng, length: usize) -> String {
    let bits: String = (0..length).map(|_| if random.random() { '1' } else { '0' }).collect();
    format!("'{bits}'")
}

fn number(random: &mut StdRng) -> String {
    let value = f64::from_bits(random.random());
    if value.is_finite() { format!("'{value:e}'::float8") } else { "0.1::float8".into() }
}

fn small(random: &mut StdRng) -> f32 {
    random.random_range(-1000.0..1000.0)
}

fn spot(random: &mut StdRng) -> String {
    format!("point({}, {})", small(random), small(random))
}

fn one_of(random: &mut StdRng, texts: &[&str]) -> String {
    format!("'{}'", texts.choose(random).expect("some"))
}

/// Everything that arrays, JSON, COPY and headers must escape.
fn text(random: &mut StdRng) -> String {
    const PARTS: &[&str] =
        &["a", "\"", "\\", ",", "{", "}", " ", "\t", "\n", "\r", "ü", "😀", "(", "''", "NULL", "\u{1}", "=>", "\\N"];
    // XML has no control characters.
    let text: String = (0..random.random_range(0..12)).map(|_| *PARTS.choose(random).expect("some")).collect();
    format!("'{}'::text", text.replace('\u{1}', "\u{7f}"))
}

fn clock(random: &mut StdRng, hours: u32) -> String {
    let (hour, minute, second) =
        (random.random_range(0..hours), random.random_range(0..60), random.random_range(0..60));
    format!("{hour:02}:{minute:02}:{second:02}.{:06}", random.random_range(0..1_000_000))
}

/// Anywhere between 4714 BC and 294276 AD.
fn moment(random: &mut StdRng, kind: &str) -> String {
    let (days, zone) = (random.random_range(-2_451_500..106_751_900), if kind == "timestamptz" { "+00" } else { "" });
    format!("{kind} '2000-01-01 {}{zone}' + interval '{days} days'", clock(random, 24))
}
