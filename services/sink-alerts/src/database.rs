//! The schema `alert`.

use deadpool_postgres::Pool;
use sink_views::{ViewsError, migrate_schema};

/// No other part of Causeway uses this number.
const MIGRATION_LOCK: i64 = 0x616c_6572_7401;

mod migrations {
    refinery::embed_migrations!("migrations");
}

/// Brings the schemas `record` and `alert` up to date, in this order: alerts read the record.
///
/// The role that runs the sinks owns both. The gateway needs `usage` on `alert`, `select` on its
/// tables, and `execute` on its functions `mark_seen`, `mark_delivered`, `acknowledge`,
/// `answer`, `reopen`, `give_feedback` and `read_answer`, and nothing more.
pub async fn migrate(pool: &Pool) -> Result<(), ViewsError> {
    sink_views::migrate(pool).await?;
    migrate_schema(pool, "alert", MIGRATION_LOCK, migrations::migrations::runner).await
}
