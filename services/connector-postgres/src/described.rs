//! What a database's catalogue tells of its tables: columns and types, keys, foreign keys, and statistics where they are asked
//! for and this role may see them.

use crate::{
    connect,
    error::{ConnectorError, Doing},
    settings::Settings,
};
use change::{
    TableId,
    described::{Described, DescribedColumn, Family, Reference, Seen},
};
use std::collections::HashMap;
use tokio_postgres::{Client, Row};

/// More tables and views of a database than this are not looked at, unless they are asked for.
const DESCRIBED_MAX: i64 = 50_000;
/// The server gives a look at its catalogue up after this.
const LOOK_MS: u32 = 30_000;

const TABLES: &str = "
    select c.oid, n.nspname::text as schema, c.relname::text as relation, c.relkind in ('r', 'p') as is_table,
           obj_description(c.oid, 'pg_class') as comment, c.reltuples::float8 as rows
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
    order by n.nspname || '.' || c.relname = any($1) desc, 2, 3 limit $2";

/// A domain is what it is made of, one level deep.
const COLUMNS: &str = "
    select a.attrelid as relation, a.attname::text as name,
           case when t.typtype = 'd' then format_type(t.typbasetype, t.typtypmod) else format_type(a.atttypid, a.atttypmod) end
               as type_name,
           array(select e.enumlabel::text from pg_enum e where e.enumtypid = t.oid order by e.enumsortorder) as labels,
           col_description(a.attrelid, a.attnum) as comment
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
    where a.attrelid = any($1) and a.attnum > 0 and not a.attisdropped
    order by a.attrelid, a.attnum";

/// Unique indexes over plain columns of all rows; the primary key's is one.
const UNIQUE: &str = "
    select i.indrelid as relation, i.indisprimary as is_key,
           array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality k(number, place)
                 join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
                 where k.place <= i.indnkeyatts order by k.place) as columns
    from pg_index i
    where i.indrelid = any($1) and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
    order by i.indrelid, i.indexrelid";

const REFERENCES: &str = "
    select c.conrelid as relation, n.nspname::text as schema, f.relname::text as name,
           array(select a.attname::text from unnest(c.conkey) with ordinality k(number, place)
                 join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.number order by k.place) as columns,
           array(select a.attname::text from unnest(c.confkey) with ordinality k(number, place)
                 join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.number order by k.place) as theirs
    from pg_constraint c
    join pg_class f on f.oid = c.confrelid
    join pg_namespace n on n.oid = f.relnamespace
    where c.contype = 'f' and c.conrelid = any($1)
    order by c.conrelid, c.conname";

/// A role sees statistics only of columns that it may read.
const STATISTICS: &str = "
    select c.oid as relation, s.attname::text as name, s.null_frac::float8 as nulls, s.n_distinct::float8 as different,
           coalesce(s.most_common_vals::text::text[], '{}') as common,
           coalesce(s.most_common_freqs::float8[], '{}') as parts
    from pg_stats s
    join pg_namespace n on n.nspname = s.schemaname
    join pg_class c on c.relnamespace = n.oid and c.relname = s.tablename
    where c.oid = any($1) and s.n_distinct > 0 and s.avg_width <= 64";

/// Of the rest, without values: they are of no use, and may be somebody's.
const NULLS: &str = "
    select c.oid as relation, s.attname::text as name, s.null_frac::float8 as nulls
    from pg_stats s
    join pg_namespace n on n.nspname = s.schemaname
    join pg_class c on c.relnamespace = n.oid and c.relname = s.tablename
    where c.oid = any($1) and not (s.n_distinct > 0 and s.avg_width <= 64)";

/// The tables and views of the database: those of these names (`schema.table`) first.
pub async fn described(settings: &Settings, first: &[String]) -> Result<Vec<Described>, ConnectorError> {
    let client = connect::sql(settings).await?;
    Ok(look(&client, first).await?.into_iter().map(|(_, table)| table).collect())
}

/// The same, with statistics.
pub async fn surveyed(settings: &Settings) -> Result<Vec<Described>, ConnectorError> {
    let client = connect::sql(settings).await?;
    let mut all = look(&client, &[]).await?;
    let oids: Vec<u32> = all.iter().map(|(oid, _)| *oid).collect();
    let mut seen: HashMap<(u32, String), Seen> = HashMap::new();
    for row in client.query(STATISTICS, &[&oids]).await.doing("looking at statistics")? {
        seen.insert((row.get("relation"), row.get("name")), statistics(&row));
    }
    for row in client.query(NULLS, &[&oids]).await.doing("looking at statistics")? {
        let nulls = Seen { nulls: row.get("nulls"), distinct: None, common: Vec::new() };
        seen.insert((row.get("relation"), row.get("name")), nulls);
    }
    for (oid, table) in &mut all {
        for column in &mut table.columns {
            column.seen = seen.remove(&(*oid, column.name.clone()));
        }
    }
    Ok(all.into_iter().map(|(_, table)| table).collect())
}

fn statistics(row: &Row) -> Seen {
    let (common, parts): (Vec<String>, Vec<f64>) = (row.get("common"), row.get("parts"));
    let common = common.into_iter().zip(parts).collect();
    Seen { nulls: row.get("nulls"), distinct: whole(row.get("different")), common }
}

/// An estimate without a sign; nothing below zero is one.
fn whole(number: f64) -> Option<u64> {
    (number >= 0.0).then(|| format!("{number:.0}").parse().ok()).flatten()
}

async fn look(client: &Client, first: &[String]) -> Result<Vec<(u32, Described)>, ConnectorError> {
    let doing = "looking at the tables of the database";
    client.batch_execute(&format!("set statement_timeout = {LOOK_MS}")).await.doing(doing)?;
    let tables = client.query(TABLES, &[&first, &DESCRIBED_MAX]).await.doing(doing)?;
    let oids: Vec<u32> = tables.iter().map(|row| row.get("oid")).collect();
    let mut columns: HashMap<u32, Vec<DescribedColumn>> = HashMap::new();
    for row in client.query(COLUMNS, &[&oids]).await.doing(doing)? {
        columns.entry(row.get("relation")).or_default().push(column(&row));
    }
    let mut unique: HashMap<u32, Vec<(bool, Vec<String>)>> = HashMap::new();
    for row in client.query(UNIQUE, &[&oids]).await.doing(doing)? {
        unique.entry(row.get("relation")).or_default().push((row.get("is_key"), row.get("columns")));
    }
    let mut references: HashMap<u32, Vec<Reference>> = HashMap::new();
    for row in client.query(REFERENCES, &[&oids]).await.doing(doing)? {
        let table = table_id(&row, "name");
        let reference = Reference { columns: row.get("columns"), table, theirs: row.get("theirs") };
        references.entry(row.get("relation")).or_default().push(reference);
    }
    let described = tables.iter().map(|row| {
        let oid: u32 = row.get("oid");
        let unique = unique.remove(&oid).unwrap_or_default();
        let key = unique.iter().find(|(is_key, _)| *is_key).map(|(_, columns)| columns.clone()).unwrap_or_default();
        let table = Described {
            table: table_id(row, "relation"),
            is_table: row.get("is_table"),
            comment: row.get("comment"),
            rows: whole(row.get("rows")),
            columns: columns.remove(&oid).unwrap_or_default(),
            key,
            unique: unique.into_iter().map(|(_, columns)| columns).collect(),
            references: references.remove(&oid).unwrap_or_default(),
        };
        (oid, table)
    });
    Ok(described.collect())
}

fn table_id(row: &Row, name: &str) -> TableId {
    TableId { schema: row.get::<_, String>("schema").into(), name: row.get::<_, String>(name).into() }
}

fn column(row: &Row) -> DescribedColumn {
    let type_name: String = row.get("type_name");
    DescribedColumn {
        name: row.get("name"),
        family: Family::of(&type_name),
        type_name,
        labels: row.get("labels"),
        comment: row.get("comment"),
        seen: None,
    }
}
