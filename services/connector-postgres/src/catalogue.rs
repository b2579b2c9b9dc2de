//! What the source's catalogue tells: tables, keys, and types beyond the built-in ones.
//! Advisory for types: the stream says which columns there are, the catalogue how to name their types.

use crate::{
    error::{ConnectorError, Doing},
    snapshot::Stored,
};
use change::{Column, ColumnType, TableId, TableSchema};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
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
}

impl Types {
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
            let rows = client.query(TYPES, &[&oids]).await.doing("looking up types")?;
            for row in rows {
                let oid: u32 = row.get("oid");
                let fact = fact(&row);
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
           array(select e.enumlabel::text from pg_enum e where e.enumtypid = t.oid order by e.enumsortorder) as labels
    from pg_type t where t.oid = any ($1)";

fn fact(row: &tokio_postgres::Row) -> TypeFact {
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
            let labels: Vec<String> = row.get("labels");
            TypeFact::Enum { labels: labels.into_iter().map(Arc::from).collect() }
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
        1184 => ColumnType::TimestampTz,
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

/// A table of the publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) table: TableId,
    /// Another one when the table is made anew, renamed, or taken out of the publication and put in again: what was read of
    /// it no longer holds, for changes in between were not told, or it is another table in the log.
    pub(crate) since: String,
    /// Of a table that is published with its partitions as one; they change without a word in the stream.
    pub(crate) partitions: Option<Partitions>,
    /// The connector's role may read its rows, all of them.
    pub(crate) readable: bool,
    /// Its rows may change without a word in the stream, too.
    pub(crate) stored: Stored,
}

/// What says that a partition is the same, attached where it was, and the SQL that its rows fulfil.
pub(crate) type Partitions = BTreeMap<String, String>;

/// By the table's oid and name, and the oid of its entry; of all tables, or all of a schema, by the publication's.
const PUBLISHED: &str = "
    select p.schemaname::text as schema, p.tablename::text as name,
           c.oid::text || '.' || coalesce(
               (select max(r.oid::bigint) from pg_publication_rel r where r.prpubid = b.oid
                and r.prrelid in (select c.oid union all select relid::oid from pg_partition_ancestors(c.oid))),
               b.oid::bigint)::text
           || '.' || left(md5(quote_ident(p.schemaname) || '.' || quote_ident(p.tablename)), 8) as since,
           case when c.relkind = 'p' then (
               select jsonb_object_agg(way, coalesce(nullif(pg_get_partition_constraintdef(relid), ''), 'true'))::text
               from (select t.relid, (select string_agg(i.inhrelid::oid || ':' || i.xmin, '/' order by i.inhrelid)
                                      from pg_partition_ancestors(t.relid) a join pg_inherits i on i.inhrelid = a.relid)
                     from pg_partition_tree(c.oid) t where t.isleaf and t.level > 0) l (relid, way)
               where way is not null) end as partitions,
           c.relkind = 'p' as divided,
           has_table_privilege(c.oid, 'select') and has_schema_privilege(n.oid, 'usage')
               and not row_security_active(c.oid) as readable,
           jsonb_build_object(
               'columns', (select string_agg(case when a.attisdropped or a.attgenerated <> '' then '-'
                               else left(md5(a.attname || ' ' || a.atttypid), 6) end, ',' order by a.attnum)
                           from pg_attribute a where a.attrelid = c.oid and a.attnum > 0),
               'catalogue', (select left(md5(string_agg(a.attnum || ':' || a.xmin, ',' order by a.attnum)), 12)
                             from pg_attribute a where a.attrelid = c.oid and a.attnum > 0),
               'labels', (select coalesce(jsonb_object_agg(e.oid, left(md5(e.enumlabel), 6)), '{}') from pg_enum e
                          where e.enumtypid in (
                              select case t.typelem when 0 then t.oid else t.typelem end
                              from pg_attribute a join pg_type t on t.oid = a.atttypid
                              where a.attrelid = c.oid and a.attnum > 0)),
               'files', (select coalesce(jsonb_object_agg(
                             case c.relkind when 'p' then l.oid::text else '' end,
                             l.relfilenode || coalesce((
                                 select '+' || string_agg(a.attnum::text, '+' order by a.attnum) from pg_attribute a
                                 where a.attrelid = l.oid and a.attnum > 0 and a.atthasmissing and not a.attisdropped),
                             '')), '{}')
                         from (select c.oid as relid where c.relkind = 'r'
                               union all select t.relid from pg_partition_tree(c.oid) t
                               where c.relkind = 'p' and t.isleaf and t.level > 0) m
                         join pg_class l on l.oid = m.relid and l.relkind = 'r'))::text as stored
    from pg_publication_tables p
    join pg_publication b on b.pubname = p.pubname
    join pg_namespace n on n.nspname = p.schemaname
    join pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
    where p.pubname = $1 order by 1, 2";

/// The tables of the publication that are wanted.
pub(crate) async fn published(
    client: &Client,
    publication: &str,
    wanted: impl Fn(&str, &str) -> bool,
) -> Result<Vec<Member>, ConnectorError> {
    let rows = client.query(PUBLISHED, &[&publication]).await.doing("listing published tables")?;
    let members = rows.iter().map(|row| {
        let (schema, name): (String, String) = (row.get("schema"), row.get("name"));
        let partitions = row.get::<_, bool>("divided").then(|| partitions(row.get("partitions")));
        Member {
            table: TableId { schema: schema.into(), name: name.into() },
            since: row.get("since"),
            partitions,
            readable: row.get("readable"),
            stored: Stored::parse(row.get("stored")),
        }
    });
    Ok(members.filter(|member| wanted(&member.table.schema, &member.table.name)).collect())
}

fn partitions(listed: Option<String>) -> Partitions {
    listed.and_then(|listed| serde_json::from_str(&listed).ok()).unwrap_or_default()
}

/// The key is what the stream marks as one: not what an index only includes, nor what is checked late.
const COLUMNS: &str = "
    select a.attname::text as name, a.atttypid as type, a.atttypmod as modifier,
           format_type(a.atttypid, a.atttypmod) as type_name,
           coalesce(a.attnum = any (i.indkey), false) as key, array_position(i.indkey::int2[], a.attnum) as key_place
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid
    left join lateral (
        select (x.indkey::int2[])[0:x.indnkeyatts - 1] as indkey from pg_index x where x.indrelid = c.oid
            and case c.relreplident when 'i' then x.indisreplident when 'n' then false
                when 'd' then x.indisprimary and x.indimmediate else x.indisprimary end) i on true
    where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
      and (a.attgenerated = '' or a.attgenerated = 's' and current_setting('server_version_num')::integer >= 180000)
    order by a.attnum";

/// A column of a table's key, with its type as SQL names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyColumn {
    pub(crate) name: String,
    pub(crate) type_name: String,
}

/// The key by which a table's rows are read, in the order of its index.
pub(crate) async fn key(client: &Client, table: u32) -> Result<Vec<KeyColumn>, ConnectorError> {
    let rows = client.query(COLUMNS, &[&table]).await.doing("looking up a key")?;
    let mut columns: Vec<_> = rows.iter().filter(|row| row.get("key")).collect();
    columns.sort_by_key(|row| row.get::<_, Option<i32>>("key_place"));
    let column = |row: &&tokio_postgres::Row| KeyColumn { name: row.get("name"), type_name: row.get("type_name") };
    Ok(columns.iter().map(column).collect())
}

/// A column list and a row filter of the publication, where the server knows them (from 15).
const LISTED: &str = "
    select c.oid, c.relkind = 'r' as without_heirs, to_jsonb(p) ->> 'rowfilter' as filter,
           case when to_jsonb(p) ? 'attnames' then array(
               select jsonb_array_elements_text(coalesce(nullif(to_jsonb(p) -> 'attnames', 'null'), '[]'))) end as columns
    from pg_publication_tables p
    join pg_namespace n on n.nspname = p.schemaname
    join pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
    where p.pubname = $1 and p.schemaname = $2 and p.tablename = $3";

/// A published table as it is now.
pub(crate) struct Published {
    pub(crate) schema: TableSchema,
    /// SQL that its published rows fulfil.
    pub(crate) filter: Option<String>,
    /// What inherits from it is a table of its own; what is a partition of it is not.
    pub(crate) without_heirs: bool,
}

/// None: it is not published.
pub(crate) async fn table(
    client: &Client,
    publication: &str,
    types: &mut Types,
    schema: &str,
    name: &str,
) -> Result<Option<Published>, ConnectorError> {
    let listed = client.query_opt(LISTED, &[&publication, &schema, &name]).await.doing("looking up a table")?;
    let Some(listed) = listed else { return Ok(None) };
    let (oid, list): (u32, Option<Vec<String>>) = (listed.get("oid"), listed.get("columns"));
    let mut columns = client.query(COLUMNS, &[&oid]).await.doing("listing columns")?;
    columns.retain(|column| list.as_ref().is_none_or(|list| list.contains(&column.get("name"))));
    types.learn(client, columns.iter().map(|column| column.get("type"))).await?;
    let columns = columns.iter().map(|column| Column {
        name: column.get::<_, String>("name").into(),
        kind: types.column_type(column.get("type"), column.get("modifier")),
        key: column.get("key"),
    });
    let table = TableId { schema: schema.into(), name: name.into() };
    let schema = TableSchema { table, columns: columns.collect() };
    Ok(Some(Published { schema, filter: listed.get("filter"), without_heirs: listed.get("without_heirs") }))
}

/// The primary key's columns of a table whose replica identity is the whole row. None: there is no such table any more.
pub(crate) async fn primary_key(client: &Client, table: u32) -> Result<Option<Vec<String>>, ConnectorError> {
    let there =
        client.query_opt("select from pg_class where oid = $1", &[&table]).await.doing("looking for a table")?;
    if there.is_none() {
        return Ok(None);
    }
    let rows = client.query(COLUMNS, &[&table]).await.doing("looking up a primary key")?;
    let key = rows.iter().filter(|row| row.get("key")).map(|row| row.get("name"));
    Ok(Some(key.collect()))
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
