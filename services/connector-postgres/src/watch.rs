//! Watches the slot on a connection of its own, whatever the stream is doing: the server keeps WAL for a source that is
//! paused or refused, too.

use crate::{
    budget::{Budget, Look, SlotView},
    connect,
    error::{ConnectorError, Doing},
    lag::Ends,
    load::Load,
    settings::Settings,
    status::Status,
    stream::seconds_since,
    upkeep,
};
use change::Lsn;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};
use tokio_postgres::Client;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(3);
/// While the source is away.
const INTERVAL_AWAY: Duration = Duration::from_secs(10);
/// At every so many looks the tables are looked at, too: others make new ones, and publish them.
const LOOKS_A_ROUND: u32 = 3;
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Where snapshots see what they must wait for.
pub(crate) type Throttle = watch::Receiver<Option<Reason>>;

/// Why snapshots slow down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    WalBudget,
    SourceLoad,
}

/// Where the session sees what it must mind.
#[derive(Clone)]
pub(crate) struct Signs {
    pub(crate) throttle: Throttle,
    /// The tables that can be captured, as they are seen from time to time.
    pub(crate) tables: watch::Receiver<BTreeSet<String>>,
    /// Whether the tables are left out that may be; none before the slot has been looked at.
    pub(crate) pausing: watch::Receiver<Option<bool>>,
}

/// Where they come from.
pub(crate) struct Outlets {
    throttle: watch::Sender<Option<Reason>>,
    tables: watch::Sender<BTreeSet<String>>,
    pausing: watch::Sender<Option<bool>>,
}

pub(crate) fn signs() -> (Outlets, Signs) {
    let (over, throttle) = watch::channel(None);
    let (see, tables) = watch::channel(BTreeSet::new());
    let (pause, pausing) = watch::channel(None);
    (Outlets { throttle: over, tables: see, pausing: pause }, Signs { throttle, tables, pausing })
}

const LOOK: &str = "
    select greatest(pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_receive_lsn()
                                    else pg_current_wal_lsn() end, restart_lsn), 0)::bigint as retained,
           (pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_receive_lsn()
                            else pg_current_wal_lsn() end, '0/0'))::bigint as wal_end,
           safe_wal_size as safe, coalesce(wal_status, '') as wal_status, active,
           (select setting::bigint from pg_settings where name = 'max_slot_wal_keep_size') as limit_mb
    from pg_replication_slots where slot_name = $1";

const ACTIVE: &str = "select active_time from pg_stat_database where datname = current_database()";

/// Looks at the slot until it is dropped.
pub(crate) async fn run(settings: Arc<Settings>, status: Arc<Status>, outlets: Outlets) {
    let Outlets { throttle, tables, pausing } = outlets;
    let mut looks = 0_u32;
    let (started, mut budget, mut load, mut warned) = (Instant::now(), Budget::default(), Load::default(), false);
    let mut ends = Ends::default();
    let mut client: Option<Client> = None;
    loop {
        let looked = connect::within(ANSWER_MAX, look(&mut client, &settings)).await;
        let interval = match looked {
            Ok((look, active, wal_end)) => {
                wal_end.into_iter().for_each(|end| ends.see(end, started.elapsed()));
                tell_lag(&settings.name, &status, wal_end, &mut ends, started.elapsed());
                let see = |look| budget.see(started.elapsed(), &look, settings.wal_budget, settings.when_over);
                let view = look.map(see);
                show(&settings.name, view.as_ref());
                let over = view.as_ref().is_some_and(|view| view.over_budget);
                if over && !warned {
                    tracing::warn!(source = settings.name, retained = view.as_ref().map(|view| view.retained_bytes),
                        when_over = ?settings.when_over, "the slot keeps more WAL than its budget");
                }
                warned = over;
                let busy = match active {
                    Some(active_ms) => {
                        let limit = settings.snapshot.active_sessions_max;
                        let (sessions, busy) = load.see(started.elapsed(), active_ms, limit);
                        gauge(&settings.name, "causeway_source_active_sessions", sessions);
                        status.update(|shown| shown.active_sessions = Some(sessions));
                        busy
                    }
                    None => false,
                };
                throttle.send_if_modified(|reason| {
                    let over = view.as_ref().is_some_and(|view| view.throttled);
                    let wanted = if over { Some(Reason::WalBudget) } else { busy.then_some(Reason::SourceLoad) };
                    std::mem::replace(reason, wanted) != wanted
                });
                pausing.send_if_modified(|pausing| {
                    let wanted = Some(view.as_ref().is_some_and(|view| view.pauses_tables));
                    std::mem::replace(pausing, wanted) != wanted
                });
                status.update(|shown| shown.slot = view);
                looks = (looks + 1) % LOOKS_A_ROUND;
                if let Some(client) = client.as_ref().filter(|_| looks == 0) {
                    look_at_tables(client, &settings, &status, &tables).await;
                }
                INTERVAL
            }
            // The session tells why the source is away.
            Err(error) => {
                tracing::debug!(
                    source = settings.name,
                    error = boot::restart::in_one_line(&error),
                    "no look at the slot"
                );
                client = None;
                tell_lag(&settings.name, &status, None, &mut ends, started.elapsed());
                INTERVAL_AWAY
            }
        };
        tokio::time::sleep(interval).await;
    }
}

/// The lag as it is, whatever the stream is doing.
fn tell_lag(source: &str, status: &Status, wal_end: Option<Lsn>, ends: &mut Ends, now: Duration) {
    let (level, since) = status.view_of(|view| (view.level, view.unconfirmed_since));
    let Some(level) = level else { return };
    let unread = ends.behind(level, now).map_or(0.0, |behind| behind.as_secs_f64());
    let seconds = seconds_since(since).max(unread);
    gauge(source, "causeway_capture_lag_seconds", seconds);
    status.update(|view| {
        view.lag_s = seconds;
        if let Some(end) = wal_end {
            view.lag_bytes = end.0.saturating_sub(level.0);
        }
    });
}

async fn look_at_tables(
    client: &Client,
    settings: &Settings,
    status: &Status,
    tables: &watch::Sender<BTreeSet<String>>,
) {
    // A source that is going away is met by the next look at its slot.
    let Ok(seen) = connect::within(ANSWER_MAX, upkeep::look(client, settings)).await else { return };
    upkeep::tell(settings, status, &seen);
    tables.send_replace(seen.captured());
}

/// What was seen of the slot, for how long the database's sessions have run statements, if anybody asks, and where its WAL
/// ends; nothing of a slot that is not there.
type Looked = (Option<Look>, Option<f64>, Option<Lsn>);

async fn look(client: &mut Option<Client>, settings: &Settings) -> Result<Looked, ConnectorError> {
    if client.as_ref().is_none_or(Client::is_closed) {
        *client = Some(connect::sql(settings).await?);
    }
    let Some(client) = client else { return Ok((None, None, None)) };
    let row = client.query_opt(LOOK, &[&settings.slot()]).await.doing("looking at the slot")?;
    let active = match settings.snapshot.active_sessions_max {
        0 => None,
        _ => client.query_opt(ACTIVE, &[]).await.doing("asking how busy the database is")?.map(|row| row.get(0)),
    };
    let bytes = |found: i64| u64::try_from(found).ok();
    let wal_end = row.as_ref().and_then(|row| row.get::<_, Option<i64>>("wal_end")).and_then(bytes).map(Lsn);
    let look = row.map(|row| Look {
        retained: row.get::<_, Option<i64>>("retained").and_then(bytes).unwrap_or_default(),
        safe: safe(row.get("safe")),
        limit: row.get::<_, Option<i64>>("limit_mb").and_then(bytes).map(|megabytes| megabytes.saturating_mul(1 << 20)),
        wal_status: row.get("wal_status"),
        active: row.get("active"),
    });
    Ok((look, active, wal_end))
}

/// None: without a limit (`max_slot_wal_keep_size = -1`) the server says nothing. Below zero: the next checkpoint takes it.
fn safe(told: Option<i64>) -> Option<u64> {
    told.map(|bytes| u64::try_from(bytes).unwrap_or(0))
}

fn gauge(source: &str, name: &'static str, value: f64) {
    metrics::gauge!(name, "source" => source.to_owned()).set(value);
}

/// As metrics. What is not in sight is infinite.
#[expect(clippy::cast_precision_loss, reason = "gauges")]
fn show(source: &str, view: Option<&SlotView>) {
    let gauge = |name, value| gauge(source, name, value);
    let flag = |set: bool| f64::from(u8::from(set));
    gauge("causeway_slot_exists", flag(view.is_some()));
    let Some(view) = view else { return };
    gauge("causeway_slot_retained_bytes", view.retained_bytes as f64);
    gauge("causeway_slot_growth_bytes_per_second", view.growth_bytes_per_s);
    gauge("causeway_slot_safe_bytes", view.safe_bytes.map_or(f64::INFINITY, |bytes| bytes as f64));
    gauge("causeway_slot_forecast_seconds", view.forecast_s.unwrap_or(f64::INFINITY));
    gauge("causeway_slot_over_budget", flag(view.over_budget));
    gauge("causeway_slot_throttled", flag(view.throttled));
    gauge("causeway_slot_lost", flag(view.wal_status == "lost"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_without_a_limit_is_not_about_to_be_lost() {
        assert_eq!([None, Some(7), Some(0), Some(-7)].map(safe), [None, Some(7), Some(0), Some(0)]);
    }
}
