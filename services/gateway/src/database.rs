//! The gateway's own schema, and transactions that cannot run for ever.

use crate::GatewayError;
use boot::database::{DatabaseError, DatabaseSettings};
use deadpool_postgres::{Client, Pool, Transaction};
use tokio_postgres::IsolationLevel;

/// No statement of a page or an API call runs longer.
const STATEMENT_TIMEOUT: &str =
    "set local statement_timeout = '5s'; set local idle_in_transaction_session_timeout = '10s'";
/// One of several gateways migrates; the others wait. Any fixed number that no other service uses.
const MIGRATION_LOCK: i64 = 0x6761_7465_7761_7901;

/// Connections of pages, FHIR, sign-in, and of the audit on its way to Kafka.
pub const PAGE_CONNECTIONS_MAX: usize = 12;
/// Connections of live streams, and of the rows that open pages ask for by themselves.
pub const STREAM_CONNECTIONS_MAX: usize = 6;

/// The gateway's connections to Causeway's database: each use has its own, so that none keeps another waiting.
#[derive(Clone)]
pub struct Pools {
    pub pages: Pool,
    pub streams: Pool,
}

impl Pools {
    pub fn new(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        Ok(Self {
            pages: boot::database::pool(settings, PAGE_CONNECTIONS_MAX)?,
            streams: boot::database::pool(settings, STREAM_CONNECTIONS_MAX)?,
        })
    }
}

mod migrations {
    refinery::embed_migrations!("migrations");
}

/// Brings the schema `access` up to date.
pub async fn migrate(pool: &Pool) -> Result<(), GatewayError> {
    let mut client = pool.get().await?;
    client.execute("select pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
    let done = migrate_locked(&mut client).await;
    client.execute("select pg_advisory_unlock($1)", &[&MIGRATION_LOCK]).await?;
    done
}

async fn migrate_locked(client: &mut Client) -> Result<(), GatewayError> {
    client.batch_execute("create schema if not exists access").await?;
    let mut runner = migrations::migrations::runner();
    runner.set_migration_table_name("access.migrations");
    runner.run_async(&mut ***client).await.map_err(|error| GatewayError::Migration(Box::new(error)))?;
    Ok(())
}

/// One snapshot for all that a request reads, and one commit for what it audits.
pub async fn begin(client: &mut Client) -> Result<Transaction<'_>, GatewayError> {
    let transaction = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await?;
    transaction.batch_execute(STATEMENT_TIMEOUT).await?;
    Ok(transaction)
}

/// As `begin`, for work that changes rows which others change too.
pub async fn begin_change(client: &mut Client) -> Result<Transaction<'_>, GatewayError> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(STATEMENT_TIMEOUT).await?;
    Ok(transaction)
}
