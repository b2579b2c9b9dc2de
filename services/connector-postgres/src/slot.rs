//! The slot as the server shows it, and the session of an earlier owner that still has it.

use crate::{
    error::{ConnectorError, Doing},
    plan::Slot,
    settings::Settings,
};
use tokio_postgres::Client;

const SLOT: &str = "
    select s.plugin = 'pgoutput' and s.slot_type = 'logical' and s.database = current_database()
               and not s.temporary as ours,
           s.active_pid, a.application_name as active_name, s.confirmed_flush_lsn::text as confirmed,
           s.wal_status::text as wal_status, to_jsonb(s) ->> 'invalidation_reason' as invalidated
    from pg_replication_slots s left join pg_stat_activity a on a.pid = s.active_pid where s.slot_name = $1";

/// Of the role's own: it may end no other's.
const END_SENDER: &str = "
    select pg_terminate_backend(a.pid) from pg_replication_slots s join pg_stat_activity a on a.pid = s.active_pid
    where a.pid = $1 and s.slot_name = $2 and a.application_name = $3 and a.usename = current_user";

pub(crate) async fn look(client: &Client, name: &str) -> Result<Option<Slot>, ConnectorError> {
    let row = client.query_opt(SLOT, &[&name]).await.doing("looking at the slot")?;
    Ok(row.map(|row| Slot {
        ours: row.get::<_, Option<bool>>("ours").unwrap_or(false),
        active_pid: row.get("active_pid"),
        active_name: row.get("active_name"),
        confirmed: row.get::<_, Option<String>>("confirmed").and_then(|text| text.parse().ok()),
        wal_status: row.get("wal_status"),
        invalidated: row.get("invalidated"),
    }))
}

/// Ends the session of another member of the group that does not know yet that the source has been placed here. It
/// may be frozen. What calls itself otherwise is somebody else's.
pub(crate) async fn take_over(
    settings: &Settings,
    client: &Client,
    pid: i32,
    name: &str,
) -> Result<(), ConnectorError> {
    let Some(lease) = &settings.lease else { return Ok(()) };
    if name != settings.application_name() || !lease.holds().await {
        return Ok(());
    }
    tracing::warn!(source = settings.name, pid, "ends the session of an earlier owner of the source");
    client.execute(END_SENDER, &[&pid, &settings.slot(), &name]).await.doing("ending another's session")?;
    metrics::counter!("causeway_capture_taken_over_total", "source" => settings.name.clone()).increment(1);
    Ok(())
}
