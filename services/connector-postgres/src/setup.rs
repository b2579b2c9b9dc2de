//! What must be there before the first snapshot: server settings, privileges, publication.

use crate::{
    error::{ConnectorError, Doing},
    settings::Settings,
};
use std::{fmt::Write as _, time::Duration};
use tokio_postgres::{Client, error::SqlState};

/// What the server says about itself.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) sender_timeout: Option<Duration>,
}

const SETTINGS: &str = "select current_setting('wal_level') as wal_level,
    current_setting('server_encoding') as encoding,
    (select setting::bigint from pg_settings where name = 'wal_sender_timeout') as sender_timeout";

/// Refuses a server that cannot be captured.
pub(crate) async fn check_server(client: &Client) -> Result<Server, ConnectorError> {
    let row = client.query_one(SETTINGS, &[]).await.doing("reading the server's settings")?;
    let (wal_level, encoding): (String, String) = (row.get("wal_level"), row.get("encoding"));
    if wal_level != "logical" {
        return Err(ConnectorError::WalLevel { found: wal_level });
    }
    if encoding == "SQL_ASCII" {
        return Err(ConnectorError::Encoding { found: encoding });
    }
    let millis: Option<i64> = row.get("sender_timeout");
    let sender_timeout = millis.and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis);
    Ok(Server { sender_timeout })
}

/// Tables that can be published and are wanted, and whether they are published already: a partitioned one by itself or
/// by its partitions.
const WANTED: &str = "
    select quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name,
           p.tablename is not null or c.relkind = 'p' and exists (
               select from pg_partition_tree(c.oid) t
               join pg_class l on l.oid = t.relid
               join pg_namespace s on s.oid = l.relnamespace
               join pg_publication_tables q
                   on q.pubname = $1 and q.schemaname = s.nspname and q.tablename = l.relname) as published,
           has_table_privilege(c.oid, 'select') as readable
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    left join pg_publication_tables p
        on p.pubname = $1 and p.schemaname = n.nspname and p.tablename = c.relname
    where c.relkind in ('r', 'p') and c.relpersistence = 'p' and not c.relispartition
      and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
      and (n.nspname || '.' || c.relname) ~ $2
    order by 1";

/// From 18, stored generated columns can be streamed.
const GENERATED: &str = "select case when current_setting('server_version_num')::integer >= 180000
    then ', publish_generated_columns = stored' else '' end";

/// Makes the publication, or adds tables that it lacks.
pub(crate) async fn ensure_publication(client: &Client, settings: &Settings) -> Result<(), ConnectorError> {
    let publication = settings.publication();
    let exists = client.query_opt("select from pg_publication where pubname = $1", &[&publication]).await;
    let exists = exists.doing("looking for the publication")?.is_some();
    let pattern = settings.tables_pattern();
    let wanted = client.query(WANTED, &[&publication, &pattern]).await.doing("listing tables")?;
    if wanted.is_empty() {
        return Err(ConnectorError::NoTables);
    }
    let missing: Vec<String> =
        wanted.iter().filter(|row| !row.get::<_, bool>("published")).map(|row| row.get("name")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let tables = missing.join(", ");
    let statement = if exists {
        tracing::warn!(
            source = settings.name,
            tables,
            "adding tables to the publication: rows that are in them \
            already come only with a new snapshot"
        );
        format!("alter publication {publication} add table {tables}")
    } else {
        let generated = client.query_one(GENERATED, &[]).await.doing("reading the server's version")?;
        let generated: String = generated.get(0);
        format!(
            "create publication {publication} for table {tables} with (publish_via_partition_root = true{generated})"
        )
    };
    client.batch_execute(&statement).await.map_err(|source| match source.code() {
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => ConnectorError::Privilege {
            name: settings.name.clone(),
            what: format!("publication `{publication}` lacks tables, and this role may not add them"),
            source,
        },
        _ => ConnectorError::Database { doing: "setting up the publication", source },
    })
}

/// The script that gives the connector the least privilege it needs, for the source's administrator.
pub fn setup_sql(settings: &Settings) -> String {
    let role = role_of(settings);
    let publication = settings.publication();
    let pattern = settings.tables_pattern();
    let mut script = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        script,
        r#"-- What Causeway's connector for source "{name}" needs. Run as a superuser in the database it captures.
-- The server needs wal_level = logical, and a free slot and sender (max_replication_slots, max_wal_senders).
-- Then give the role a password: \password {role}
do $setup$
declare
    captured regclass;
    missing text[] := '{{}}';
    space text;
begin
    if not exists (select from pg_roles where rolname = {role_text}) then
        create role {role} login replication;
    end if;
    execute format('grant connect on database %I to {role}', current_database());
    for captured, space in
        select c.oid::regclass, n.nspname
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and c.relpersistence = 'p' and not c.relispartition
          and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
          and (n.nspname || '.' || c.relname) ~ {pattern_text}
        order by 1
    loop
        execute format('grant usage on schema %I to {role}', space);
        execute format('grant select on %s to {role}', captured);
        if not exists (select from pg_publication p join pg_publication_rel r on r.prpubid = p.oid
                       where p.pubname = {publication_text} and r.prrelid = captured) then
            missing := missing || captured::text;
        end if;
    end loop;
    if not exists (select from pg_publication where pubname = {publication_text}) then
        create publication {publication} with (publish_via_partition_root = true);
        if current_setting('server_version_num')::integer >= 180000 then
            alter publication {publication} set (publish_generated_columns = stored);
        end if;
    end if;
    if cardinality(missing) > 0 then
        execute format('alter publication {publication} add table %s', array_to_string(missing, ', '));
    end if;
end
$setup$;
"#,
        name = settings.name,
        role_text = literal(&role.replace('"', "")),
        pattern_text = literal(&pattern),
        publication_text = literal(&publication),
    );
    script
}

/// The role's name as an identifier.
fn role_of(settings: &Settings) -> String {
    let user = settings.url.parse::<tokio_postgres::Config>().ok();
    let user = user.as_ref().and_then(tokio_postgres::Config::get_user).unwrap_or("causeway");
    let plain = user.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { user.to_owned() } else { format!("\"{}\"", user.replace(['"', '\''], "")) }
}

fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}
