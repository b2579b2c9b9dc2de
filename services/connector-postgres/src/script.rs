//! The scripts by which a source's administrator prepares it: the least privilege that the connector needs.

use crate::{
    connect,
    error::{ConnectorError, Doing},
    settings::Settings,
    setup::role_of,
    upkeep::{self, NAMELESS, Seen, Table},
};
use std::{collections::BTreeSet, fmt::Write as _};

/// The script that gives the connector the least privilege it needs, for the source's administrator, where nobody can look
/// into the database: it finds the tables itself.
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
    nameless text[];
    space text;
    published boolean;
begin
    if not exists (select from pg_roles where rolname = {role_text}) then
        create role {role} login replication;
    end if;
    execute format('grant connect on database %I to {role}', current_database());
    for captured, space, nameless, published in
        select c.oid::regclass, n.nspname,
           {NAMELESS},
           exists (select from pg_publication p join pg_publication_rel r on r.prpubid = p.oid
                   where p.pubname = {publication_text} and r.prrelid = c.oid)
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and c.relpersistence = 'p' and not c.relispartition
          and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
          and (n.nspname || '.' || c.relname) ~ {pattern_text}
        order by 1
    loop
        if cardinality(nameless) > 0 and not published then
            raise warning 'not captured: % has no usable replica identity, and PostgreSQL would refuse its updates and deletes', captured
                using hint = 'Give it a primary key or a replica identity (using index, full), and run this again.';
            continue;
        end if;
        execute format('grant usage on schema %I to {role}', space);
        execute format('grant select on %s to {role}', captured);
        if not published then
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

/// What the script depends on besides tables.
struct Found {
    database: String,
    wal_level: String,
    /// May log in and replicate; none without the role.
    role: Option<bool>,
    /// Sees every row, whatever row-level security says.
    sees_all: bool,
    /// Of a new publication.
    options: String,
}

const FOUND: &str = "
    select quote_ident(current_database()) as database, current_setting('wal_level') as wal_level,
           (select rolcanlogin and rolreplication from pg_roles where rolname = $1) as role,
           coalesce((select rolsuper or rolbypassrls from pg_roles where rolname = $1), false) as sees_all";

/// The same with every table by its name, as they are now. `eyes` looks into the database: an administrator, or the role
/// itself when it is there already.
pub async fn setup_sql_of(settings: &Settings, eyes: &Settings) -> Result<String, ConnectorError> {
    let client = connect::sql(eyes).await?;
    let seen = upkeep::look(&client, settings).await?;
    if seen.tables.is_empty() {
        return Err(ConnectorError::NoTables);
    }
    let role = role_of(settings).replace('"', "");
    let row = client.query_one(FOUND, &[&role]).await.doing("looking for the role")?;
    let found = Found {
        database: row.get("database"),
        wal_level: row.get("wal_level"),
        role: row.get("role"),
        sees_all: row.get("sees_all"),
        options: upkeep::options(&client).await?,
    };
    Ok(by_name(settings, &seen, &found))
}

fn by_name(settings: &Settings, seen: &Seen, found: &Found) -> String {
    let (role, publication, database) = (role_of(settings), settings.publication(), &found.database);
    let (nameless, named): (Vec<&Table>, Vec<&Table>) =
        seen.tables.iter().partition(|table| !table.nameless.is_empty() && !table.published);
    let mut script = format!(
        "-- What Causeway's connector for source \"{}\" needs in database {database}, as it is now. Run as a superuser there.\n",
        settings.name
    );
    let mut line = |text: String| script.extend([text.as_str(), "\n"]);
    if found.wal_level != "logical" {
        line(format!("-- wal_level is {}: set it to logical and restart the server.", found.wal_level));
    }
    match found.role {
        None => line(format!("create role {role} login replication;\n-- Then give it a password: \\password {role}")),
        Some(false) => line(format!("alter role {role} login replication;")),
        Some(true) => {}
    }
    line(format!("grant connect on database {database} to {role};"));
    let schemas: BTreeSet<&str> = named.iter().map(|table| table.schema.as_str()).collect();
    schemas.iter().for_each(|schema| line(format!("grant usage on schema {schema} to {role};")));
    named.iter().for_each(|table| line(format!("grant select on {} to {role};", table.name)));
    if !found.sees_all && named.iter().any(|table| table.secured) {
        line(
            "-- Row-level security hides rows, and a snapshot without them would be wrong. Or leave these tables out:"
                .into(),
        );
        named.iter().filter(|table| table.secured).for_each(|table| line(format!("--   {}", table.name)));
        line(format!("alter role {role} bypassrls;"));
    }
    let missing: Vec<&str> = named.iter().filter(|table| !table.published).map(|table| table.name.as_str()).collect();
    let tables = missing.join(",\n    ");
    match seen.publication {
        None if missing.is_empty() => {}
        None => {
            line(format!("create publication {publication} for table\n    {tables}\n    with ({});", found.options))
        }
        Some(_) if missing.is_empty() => {}
        Some(_) => line(format!("alter publication {publication} add table\n    {tables};")),
    }
    if seen.publication.is_some_and(|publication| !publication.whole) {
        line(format!("alter publication {publication} set (publish = 'insert, update, delete, truncate');"));
    }
    for table in nameless {
        line(format!(
            "-- {0} is left out: it has no usable replica identity, so PostgreSQL would refuse its updates and deletes once it is \
             published. Choose one of",
            table.name
        ));
        table.identities().iter().for_each(|way| line(format!("--   {way};")));
        line(format!("-- and then\n--   grant usage on schema {} to {role};", table.schema));
        line(format!(
            "--   grant select on {0} to {role};\n--   alter publication {publication} add table {0};",
            table.name
        ));
    }
    script
}

fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}
