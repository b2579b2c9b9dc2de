//! How the columns of a table travel, by their types: the built-in ones, and what the source's catalogue tells of the others.

use crate::{
    charset::Charset,
    error::{ConnectorError, Doing},
};
use change::{ColumnType, SECOND_DIGITS};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};
use tokio_postgres::Client;

/// A domain over a domain over an array …
const TYPE_DEPTH_MAX: usize = 8;
/// Types kept; beyond it the cache starts afresh.
const TYPES_MAX: usize = 10_000;
/// PostgreSQL's limits of `numeric(p, s)`.
const PRECISION_MAX: i32 = 1_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TypeFact {
    Enum {
        labels: Arc<[Arc<str>]>,
    },
    Domain {
        base: u32,
        modifier: i32,
    },
    Array {
        element: u32,
        name: Arc<str>,
    },
    /// A type that the server does not have built in, or not in the same way everywhere.
    Known {
        kind: ColumnType,
    },
    Other {
        name: Arc<str>,
    },
    /// The stream has named it, and the catalogue does not know it any more.
    Gone {
        name: Arc<str>,
    },
}

/// Types by their oid.
#[derive(Debug, Default)]
pub(crate) struct Types {
    facts: HashMap<u32, TypeFact>,
    /// What the labels of enums come in.
    charset: Charset,
}

impl Types {
    pub(crate) fn of(charset: &Charset) -> Self {
        Self { charset: charset.clone(), ..Self::default() }
    }

    /// Looks up what is not known yet of these types, and of what they are made of.
    pub(crate) async fn learn(
        &mut self,
        client: &Client,
        oids: impl Iterator<Item = u32>,
    ) -> Result<(), ConnectorError> {
        if self.facts.len() > TYPES_MAX {
            self.facts.clear();
        }
        let mut wanted: BTreeSet<u32> = oids.collect();
        for _ in 0..TYPE_DEPTH_MAX {
            wanted.retain(|oid| built_in(*oid, -1).is_none() && !self.facts.contains_key(oid));
            if wanted.is_empty() {
                break;
            }
            let oids: Vec<u32> = std::mem::take(&mut wanted).into_iter().collect();
            let encoding = self.charset.own().unwrap_or("UTF8");
            let rows = client.query(TYPES, &[&oids, &encoding]).await.doing("looking up types")?;
            for row in rows {
                let oid: u32 = row.get("oid");
                let fact = fact(&row, &self.charset);
                match &fact {
                    TypeFact::Domain { base, .. } => drop(wanted.insert(*base)),
                    TypeFact::Array { element, .. } => drop(wanted.insert(*element)),
                    TypeFact::Enum { .. } | TypeFact::Known { .. } | TypeFact::Other { .. } | TypeFact::Gone { .. } => {
                    }
                }
                self.insert(oid, fact);
            }
        }
        Ok(())
    }

    /// The stream names a type before its first use; the catalogue may have lost it since.
    pub(crate) fn name(&mut self, oid: u32, schema: &str, name: &str) {
        let name = if schema.is_empty() { name.into() } else { format!("{schema}.{name}").into() };
        self.facts.entry(oid).or_insert(TypeFact::Gone { name });
    }

    pub(crate) fn insert(&mut self, oid: u32, fact: TypeFact) {
        self.facts.insert(oid, fact);
    }

    /// Whether the catalogue has lost the type, or what it is made of.
    pub(crate) fn is_gone(&self, oid: u32) -> bool {
        self.is_gone_within(oid, 0)
    }

    fn is_gone_within(&self, oid: u32, depth: usize) -> bool {
        if depth > TYPE_DEPTH_MAX || built_in(oid, -1).is_some() {
            return false;
        }
        match self.facts.get(&oid) {
            None | Some(TypeFact::Gone { .. }) => true,
            Some(TypeFact::Domain { base: oid, .. } | TypeFact::Array { element: oid, .. }) => {
                self.is_gone_within(*oid, depth + 1)
            }
            Some(TypeFact::Enum { .. } | TypeFact::Known { .. } | TypeFact::Other { .. }) => false,
        }
    }

    /// How a column of the type travels.
    pub(crate) fn column_type(&self, oid: u32, modifier: i32) -> ColumnType {
        self.resolve(oid, modifier, 0).unwrap_or_else(|| ColumnType::Flagged { type_name: format!("oid {oid}").into() })
    }

    fn resolve(&self, oid: u32, modifier: i32, depth: usize) -> Option<ColumnType> {
        if depth > TYPE_DEPTH_MAX {
            return None;
        }
        if let Some(kind) = built_in(oid, modifier) {
            return Some(kind);
        }
        match self.facts.get(&oid)? {
            TypeFact::Enum { labels } => Some(ColumnType::Enum { allowed: Arc::clone(labels) }),
            TypeFact::Domain { base, modifier } => self.resolve(*base, *modifier, depth + 1),
            TypeFact::Array { element, name } => Some(match self.resolve(*element, modifier, depth + 1)? {
                // An array of arrays (of a domain over one) has no Avro form of ours.
                ColumnType::Array(_) => ColumnType::Flagged { type_name: Arc::clone(name) },
                element => ColumnType::Array(Arc::new(element)),
            }),
            TypeFact::Known { kind } => Some(kind.clone()),
            TypeFact::Other { name } | TypeFact::Gone { name } => {
                Some(ColumnType::Flagged { type_name: Arc::clone(name) })
            }
        }
    }
}

const TYPES: &str = "
    select t.oid, format_type(t.oid, null) as name, t.typtype::text as type, t.typbasetype as base,
           t.typtypmod as modifier,
           case when t.typinput = 'array_in'::regproc
               and exists (select from pg_type e where e.oid = t.typelem and e.typdelim = ',')
               then t.typelem else 0 end as element,
           case when t.oid = 790 then scale(1::money::numeric) end as money_scale,
           (select x.extname || '.' || t.typname from pg_depend d join pg_extension x on x.oid = d.refobjid
               where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e'
               and d.refclassid = 'pg_extension'::regclass limit 1) as extension,
           array(select convert_to(e.enumlabel::text, $2) from pg_enum e where e.enumtypid = t.oid order by e.enumsortorder) as labels
    from pg_type t where t.oid = any ($1)";

fn fact(row: &tokio_postgres::Row, charset: &Charset) -> TypeFact {
    let kind: String = row.get("type");
    let name = || Arc::<str>::from(row.get::<_, String>("name"));
    // Only what is printed as arrays are: not a vector of oids, nor an array that another mark than a comma divides.
    let element: u32 = row.get("element");
    let money: Option<i32> = row.get("money_scale");
    let extension: Option<String> = row.get("extension");
    if let Some(kind) = money.and_then(|scale| Some(ColumnType::Money { scale: u16::try_from(scale).ok()? })) {
        return TypeFact::Known { kind };
    }
    if let Some(kind) = extension.as_deref().and_then(of_extension) {
        return TypeFact::Known { kind };
    }
    match &*kind {
        "e" => {
            let labels: Vec<Vec<u8>> = row.get("labels");
            TypeFact::Enum { labels: labels.iter().map(|label| Arc::from(charset.name(label))).collect() }
        }
        "d" => TypeFact::Domain { base: row.get("base"), modifier: row.get("modifier") },
        _ if element != 0 => TypeFact::Array { element, name: name() },
        _ => TypeFact::Other { name: name() },
    }
}

/// The types of extensions that Debezium has names for, by extension and type.
pub(crate) fn of_extension(name: &str) -> Option<ColumnType> {
    Some(match name {
        "citext.citext" => ColumnType::Text,
        "hstore.hstore" => ColumnType::Hstore,
        "ltree.ltree" => ColumnType::Ltree,
        _ => return None,
    })
}

/// The types that every PostgreSQL has under the same oid.
fn built_in(oid: u32, modifier: i32) -> Option<ColumnType> {
    let array = |oid| built_in(oid, modifier).map(|element| ColumnType::Array(Arc::new(element)));
    Some(match oid {
        16 => ColumnType::Bool,
        17 => ColumnType::Bytes,
        // oid, xid, cid and xid8 have no sign; what exceeds an i64 travels as text.
        20 | 26 | 28 | 29 | 5069 => ColumnType::Int64,
        21 => ColumnType::Int16,
        23 => ColumnType::Int32,
        18 | 19 | 25 | 1042 | 1043 => ColumnType::Text,
        114 | 3802 => ColumnType::Json,
        142 => ColumnType::Xml,
        600 => ColumnType::Point,
        700 => ColumnType::Float32,
        701 => ColumnType::Float64,
        1082 => ColumnType::Date,
        1083 => ColumnType::Time,
        1114 => ColumnType::Timestamp,
        // Of `timestamptz(3)` three; without a modifier, all.
        1184 => ColumnType::TimestampTz { digits: u8::try_from(modifier).unwrap_or(SECOND_DIGITS) },
        1186 => ColumnType::Interval,
        1266 => ColumnType::TimeTz,
        1560 => return bits(modifier),
        3614 => ColumnType::Tsvector,
        1700 => numeric(modifier),
        2950 => ColumnType::Uuid,
        1000 => return array(16),
        1001 => return array(17),
        271 | 1011 | 1012 | 1016 | 1028 => return array(20),
        1005 => return array(21),
        1007 => return array(23),
        1002 | 1003 | 1009 | 1014 | 1015 => return array(25),
        199 | 3807 => return array(114),
        143 => return array(142),
        1017 => return array(600),
        1021 => return array(700),
        1022 => return array(701),
        1182 => return array(1082),
        1183 => return array(1083),
        1115 => return array(1114),
        1185 => return array(1184),
        1187 => return array(1186),
        1270 => return array(1266),
        1561 => return array(1560),
        3643 => return array(3614),
        1231 => return array(1700),
        2951 => return array(2950),
        _ => return None,
    })
}

/// A single bit is a truth value, as Debezium has it. Without a length (in a table made from a query), rows may differ.
fn bits(modifier: i32) -> Option<ColumnType> {
    match u32::try_from(modifier).ok()? {
        0 => None,
        1 => Some(ColumnType::Bool),
        length => Some(ColumnType::Bits { length }),
    }
}

/// Scales beyond the precision, and negative ones, have no `Decimal`.
fn numeric(modifier: i32) -> ColumnType {
    if modifier < 4 {
        return ColumnType::Numeric;
    }
    let packed = modifier - 4;
    let precision = packed >> 16 & 0xFFFF;
    // Eleven bits with a sign.
    let scale = (packed & 0x7FF ^ 0x400) - 0x400;
    match (u16::try_from(precision), u16::try_from(scale)) {
        (Ok(p), Ok(s)) if precision <= PRECISION_MAX && scale <= precision => {
            ColumnType::Decimal { precision: p, scale: s }
        }
        _ => ColumnType::Numeric,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerics_need_a_scale_that_fits() {
        let packed = |precision: i32, scale: i32| 4 + (precision << 16 | scale & 0x7FF);
        assert_eq!(numeric(-1), ColumnType::Numeric);
        assert_eq!(numeric(packed(19, 3)), ColumnType::Decimal { precision: 19, scale: 3 });
        assert_eq!(numeric(packed(18, 0)), ColumnType::Decimal { precision: 18, scale: 0 });
        assert_eq!(numeric(packed(3, 5)), ColumnType::Numeric);
        assert_eq!(numeric(packed(3, -2)), ColumnType::Numeric);
    }

    #[test]
    fn a_type_is_gone_with_what_it_is_made_of() {
        let mut types = Types::default();
        types.insert(20_000, TypeFact::Other { name: "box".into() });
        types.insert(20_001, TypeFact::Domain { base: 23, modifier: -1 });
        types.insert(20_002, TypeFact::Array { element: 20_003, name: "state[]".into() });
        types.name(20_000, "s", "known");
        types.name(20_003, "s", "state");
        for (oid, gone) in
            [(23, false), (20_000, false), (20_001, false), (20_002, true), (20_003, true), (20_004, true)]
        {
            assert_eq!(types.is_gone(oid), gone, "{oid}");
        }
        assert_eq!(types.column_type(20_003, -1), ColumnType::Flagged { type_name: "s.state".into() });
    }

    #[test]
    fn types_are_resolved_through_domains_and_arrays() {
        let mut types = Types::default();
        let labels: Arc<[Arc<str>]> = ["prelim".into(), "final".into()].into();
        types.facts.insert(20_000, TypeFact::Enum { labels: Arc::clone(&labels) });
        types.facts.insert(20_001, TypeFact::Array { element: 20_000, name: "status[]".into() });
        types.facts.insert(20_005, TypeFact::Domain { base: 20_001, modifier: -1 });
        types.facts.insert(20_006, TypeFact::Array { element: 20_005, name: "statuses[]".into() });
        types.facts.insert(20_002, TypeFact::Domain { base: 1043, modifier: 24 });
        types.facts.insert(20_003, TypeFact::Domain { base: 20_003, modifier: -1 });
        types.name(20_004, "ext", "hstore");
        let status = ColumnType::Enum { allowed: labels };
        assert_eq!(types.column_type(20_001, -1), ColumnType::Array(Arc::new(status)));
        assert_eq!(types.column_type(20_006, -1), ColumnType::Flagged { type_name: "statuses[]".into() });
        assert_eq!(types.column_type(20_002, -1), ColumnType::Text);
        assert_eq!(types.column_type(1560, 1), ColumnType::Bool);
        assert_eq!(types.column_type(1561, 12), ColumnType::Array(Arc::new(ColumnType::Bits { length: 12 })));
        assert_eq!(types.column_type(20_003, -1), ColumnType::Flagged { type_name: "oid 20003".into() });
        assert_eq!(types.column_type(20_004, -1), ColumnType::Flagged { type_name: "ext.hstore".into() });
        assert_eq!(
            types.column_type(1231, 4 + (9 << 16 | 2)),
            ColumnType::Array(Arc::new(ColumnType::Decimal { precision: 9, scale: 2 }))
        );
    }
}
