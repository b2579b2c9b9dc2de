//! What the source's catalogue tells of its tables: which are published, their columns and their keys.
//! Advisory for types: the stream says which columns there are, the catalogue how to name their types.

use crate::{
    column_types::Types,
    error::{ConnectorError, Doing},
    snapshot::Stored,
};
use change::{Column, TableId, TableSchema};
use std::collections::BTreeMap;
use tokio_postgres::Client;

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
