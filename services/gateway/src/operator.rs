//! The audit of what an operator looks at outside the gateway: values in the quarantine.

use crate::{GatewayError, database};
use deadpool_postgres::Pool;

/// One look at an item's values.
#[derive(Debug)]
pub struct QuarantineLook<'a> {
    pub actor: &'a str,
    pub source: &'a str,
    pub offset: i64,
    /// Why the values were needed, in the operator's words.
    pub reason: &'a str,
}

const INSERT: &str = "with entry as (
    insert into access.audit (request_id, actor, role, action, decision, why, reason, source)
    values ('quarantine@' || $3::bigint, $1, 'operator', 'view-quarantine-values', 'allow', 'asked on the command line', $4, $2)
    returning id)
    insert into access.outbox (audit) select id from entry";

/// Writes the look. The caller shows nothing unless this has succeeded.
pub async fn quarantine_look(pool: &Pool, look: &QuarantineLook<'_>) -> Result<(), GatewayError> {
    database::migrate(pool).await?;
    let client = pool.get().await?;
    client.execute(INSERT, &[&look.actor, &look.source, &look.offset, &look.reason]).await?;
    Ok(())
}
