//! Refuses a publication that leaves out what tells rows apart.
//!
//! # Why
//! A publication of inserts alone may list columns without those of the key: PostgreSQL asks for them only where updates or
//! deletes are published. Rows without a key are all new to whoever reads the log, and no chunk of a snapshot can say where
//! the next one begins.

use crate::error::{ConnectorError, Doing};
use tokio_postgres::Client;

/// Published tables whose list of columns leaves out what tells their rows apart, with what is to be listed.
const UNLISTED: &str = "
    select p.schemaname::text as schema, p.tablename::text as name,
           quote_ident(p.schemaname) || '.' || quote_ident(p.tablename) as quoted,
           array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum = any (k.columns)
                 and not k.listed ? a.attname::text order by a.attnum) as missing,
           (select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a
            where a.attrelid = c.oid and (k.listed ? a.attname::text or a.attnum = any (k.columns))) as listed,
           to_jsonb(p) ->> 'rowfilter' as filter
    from pg_publication_tables p
    join pg_namespace n on n.nspname = p.schemaname
    join pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
    join pg_index i on i.indrelid = c.oid and case c.relreplident when 'i' then i.indisreplident when 'n' then false
        when 'd' then i.indisprimary and i.indimmediate else i.indisprimary end
    cross join lateral (select (i.indkey::int2[])[0:i.indnkeyatts - 1] as columns,
                               to_jsonb(p) -> 'attnames' as listed) k
    where p.pubname = $1 and jsonb_typeof(k.listed) = 'array' and exists (
        select from pg_attribute a where a.attrelid = c.oid and a.attnum = any (k.columns)
        and not k.listed ? a.attname::text
        and (a.attgenerated = '' or a.attgenerated = 's' and current_setting('server_version_num')::integer >= 180000))
    order by 1, 2";

/// Refuses a publication that leaves out the key of a table that is wanted.
pub(crate) async fn keys_published(
    client: &Client,
    publication: &str,
    wanted: impl Fn(&str, &str) -> bool,
) -> Result<(), ConnectorError> {
    let mut rows = client.query(UNLISTED, &[&publication]).await.doing("looking at lists of columns")?;
    rows.retain(|row| wanted(row.get("schema"), row.get("name")));
    if rows.is_empty() {
        return Ok(());
    }
    let text = |row: &tokio_postgres::Row, column: &str| row.get::<_, Option<String>>(column).unwrap_or_default();
    let table = |row: &tokio_postgres::Row| {
        format!("{} ({})", text(row, "quoted"), row.get::<_, Vec<String>>("missing").join(", "))
    };
    let mends = |row: &tokio_postgres::Row| {
        let filter = row.get::<_, Option<String>>("filter").map(|filter| format!(" where ({filter})"));
        let (table, listed) = (text(row, "quoted"), text(row, "listed"));
        format!(
            "alter publication {publication} drop table {table}; alter publication {publication} add table {table} \
             ({listed}){}",
            filter.unwrap_or_default()
        )
    };
    Err(ConnectorError::KeyNotPublished {
        publication: publication.to_owned(),
        tables: rows.iter().map(table).collect::<Vec<_>>().join(", "),
        sql: rows.iter().map(mends).collect::<Vec<_>>().join("; "),
    })
}
