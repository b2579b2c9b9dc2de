//! What an operator's command can find out about a source before it asks for something.

use crate::{
    catalogue,
    charset::Charset,
    connect,
    error::{ConnectorError, Doing},
    listed,
    settings::Settings,
    setup::{CONVERTS, role_of},
    upkeep::{self, Advice},
};
use serde::Serialize;

/// A table of the publication that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Published {
    /// `schema.table`, as the database spells them.
    pub table: String,
    pub identity: ReplicaIdentity,
}

/// What tells a table's rows apart in the log: its replica identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplicaIdentity {
    Key,
    Index,
    Full,
    /// Replica identity `default` without a primary key.
    NoKey,
    Nothing,
}

impl ReplicaIdentity {
    fn of(identity: &str, has_key: bool) -> Self {
        match identity {
            "f" => Self::Full,
            "i" => Self::Index,
            "n" => Self::Nothing,
            _ if has_key => Self::Key,
            _ => Self::NoKey,
        }
    }

    /// What it costs, and the statement that mends it; none where all is well.
    pub fn advice(self, table: &str) -> Option<String> {
        let mend = format!("Give it a primary key, or run `alter table {table} replica identity full`");
        match self {
            Self::Key | Self::Index => None,
            Self::NoKey => Some(format!(
                "{table} has no primary key: PostgreSQL refuses updates and deletes of it while it is published, and its \
                 rows have no key in the log. {mend}"
            )),
            Self::Nothing => Some(format!(
                "{table} has replica identity `nothing`: PostgreSQL refuses updates and deletes of it while it is \
                 published, and its rows have no key in the log. {mend}"
            )),
            Self::Full => Some(format!(
                "{table} has replica identity `full`: every update and delete writes the whole old row to WAL and to the \
                 log. With a primary key, `alter table {table} replica identity default` costs less"
            )),
        }
    }
}

const IDENTITIES: &str = "
    select p.schemaname || '.' || p.tablename as name, c.relreplident::text as identity,
           exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary) as has_key,
           p.schemaname::text as schema, p.tablename::text as relation
    from pg_publication_tables p
    join pg_namespace n on n.nspname = p.schemaname
    join pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
    where p.pubname = $1 order by 1";

async fn identities(client: &tokio_postgres::Client, settings: &Settings) -> Result<Vec<Published>, ConnectorError> {
    let rows = client.query(IDENTITIES, &[&settings.publication()]).await.doing("looking at replica identities")?;
    let wanted = rows.iter().filter(|row| settings.wants(row.get("schema"), row.get("relation")));
    let published = wanted.map(|row| Published {
        table: row.get("name"),
        identity: ReplicaIdentity::of(row.get("identity"), row.get("has_key")),
    });
    Ok(published.collect())
}

/// The tables of the source's publication that are wanted. A publication that the connector would refuse is an error here,
/// too.
pub async fn published(settings: &Settings) -> Result<Vec<Published>, ConnectorError> {
    let client = connect::sql(settings).await?;
    listed::keys_published(&client, &settings.publication(), |schema, name| settings.wants(schema, name)).await?;
    identities(&client, settings).await
}

const ENCODING: &str = "select current_setting('server_encoding')";

/// What the source's administrator would have to decide, as the connector says it while it runs.
pub async fn advice(settings: &Settings) -> Result<Vec<Advice>, ConnectorError> {
    let client = connect::sql(settings).await?;
    let seen = upkeep::look(&client, settings).await?;
    let mut advice = seen.advice(&settings.publication(), &role_of(settings));
    let encoding = client.query_one(ENCODING, &[]).await.doing("asking for the encoding")?;
    let encoding: String = encoding.get(0);
    if matches!(Charset::of(&encoding), Charset::Servers) {
        advice.insert(0, Advice { about: encoding, why: CONVERTS.into(), sql: Vec::new() });
    }
    Ok(advice)
}

/// The registry's subjects of a table: its envelope's and its key's.
pub fn subjects(source: &str, schema: &str, table: &str) -> [String; 2] {
    let table = change::TableId { schema: schema.into(), name: table.into() };
    let shape = change::TableSchema { table, columns: Vec::new() };
    let envelope = change::avro::schema::of_table(source, &shape).envelope_name;
    let key = envelope.strip_suffix("Envelope").map(|namespace| format!("{namespace}Key")).unwrap_or_default();
    [envelope, key]
}

/// Whether the database understands the condition. It is planned and not run.
pub async fn check_predicate(settings: &Settings, table: &str, predicate: &str) -> Result<(), ConnectorError> {
    let client = connect::sql(settings).await?;
    let wanted = |schema: &str, name: &str| format!("{schema}.{name}") == table;
    let tables = catalogue::published(&client, &settings.publication(), wanted).await?;
    let Some(id) = tables.first().map(|member| &member.table) else { return Err(ConnectorError::NoTables) };
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let statement = format!("explain select from {}.{} where ({predicate}\n)", quoted(&id.schema), quoted(&id.name));
    // One statement of the extended protocol: nothing can follow it.
    client.batch_execute("begin read only").await.doing("checking the condition")?;
    client.query(&statement, &[]).await.map(drop).doing("checking the condition")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_for_tables_whose_rows_cannot_be_told_apart_or_cost_much() {
        assert_eq!(ReplicaIdentity::of("d", true), ReplicaIdentity::Key);
        assert_eq!(ReplicaIdentity::of("d", false), ReplicaIdentity::NoKey);
        assert_eq!(ReplicaIdentity::of("n", true), ReplicaIdentity::Nothing);
        let told = |identity: ReplicaIdentity| identity.advice("emis.note").unwrap_or_default();
        assert_eq!(told(ReplicaIdentity::Key), "");
        for keyless in [ReplicaIdentity::NoKey, ReplicaIdentity::Nothing] {
            assert!(told(keyless).contains("refuses updates and deletes"));
        }
        assert!(told(ReplicaIdentity::Full).contains("whole old row"));
    }
}
