//! What to do with a source, from what its log and its slot say. Decided without IO.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::{error::ConnectorError, settings::WhenLost};
use change::Lsn;
use change_log::LogTail;

/// The slot as the server shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// It is a logical slot of pgoutput in this database.
    pub(crate) ours: bool,
    pub(crate) active_pid: Option<i32>,
    pub(crate) confirmed: Option<Lsn>,
    /// `lost` when the server has removed WAL that it needs.
    pub(crate) wal_status: Option<String>,
}

/// Which server answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) system_id: String,
    pub(crate) timeline: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Make the slot (anew) and read all tables.
    Snapshot { epoch: u32, drop_slot: bool },
    /// Go on from here.
    Stream { start: Lsn, epoch: u32 },
}

/// The names that errors carry.
pub(crate) fn decide(
    slot_name: &str,
    tail: &LogTail,
    slot: Option<&Slot>,
    server: &Identity,
    when_lost: WhenLost,
) -> Result<Plan, ConnectorError> {
    if let Some(pid) = slot.and_then(|slot| slot.active_pid) {
        return Err(ConnectorError::SlotInUse { slot: slot_name.into(), pid });
    }
    if slot.is_some_and(|slot| !slot.ours) {
        return Err(ConnectorError::ForeignSlot { slot: slot_name.into() });
    }
    let epoch = tail.last.map_or(0, |last| last.position.epoch);
    let anew = Plan::Snapshot { epoch: epoch.saturating_add(1), drop_slot: slot.is_some() };
    let only_sessions = tail.last.is_none() && tail.high > 0;
    if only_sessions || (tail.last.is_none() && slot.is_none()) {
        return Ok(anew);
    }
    match continues(slot_name, tail, slot, server) {
        Ok(start) => Ok(Plan::Stream { start, epoch }),
        Err(_) if when_lost == WhenLost::Snapshot => Ok(anew),
        Err(error) => Err(error),
    }
}

/// Where the stream goes on, if the slot continues the log.
fn continues(slot_name: &str, tail: &LogTail, slot: Option<&Slot>, server: &Identity) -> Result<Lsn, ConnectorError> {
    let name = || slot_name.to_owned();
    let last = tail.last.map(|last| last.position);
    let told = || last.map(|last| last.to_string()).unwrap_or_default();
    if let Some(session) = &tail.session
        && (session.system_id != server.system_id || session.timeline != server.timeline)
    {
        return Err(ConnectorError::OtherServer {
            log: session.system_id.clone(),
            log_timeline: session.timeline,
            found: server.system_id.clone(),
            timeline: server.timeline,
        });
    }
    let slot = slot.ok_or_else(|| ConnectorError::SlotGone { slot: name(), last: told() })?;
    if let Some(status) = slot.wal_status.as_deref().filter(|status| *status == "lost") {
        return Err(ConnectorError::SlotLost { slot: name(), status: status.into(), last: told() });
    }
    let log = tail.committed.unwrap_or_default().max(last.unwrap_or_default().commit);
    let confirmed = slot.confirmed.unwrap_or_default();
    if confirmed > log {
        return Err(ConnectorError::SlotAhead { slot: name(), confirmed, log });
    }
    Ok(tail.committed.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use change::Position;
    use change_log::{LastRecord, control::Session};

    fn server(system_id: &str, timeline: u32) -> Identity {
        Identity { system_id: system_id.into(), timeline }
    }

    fn log(commit: u64, committed: Option<u64>) -> LogTail {
        let position = Position::new(3, Lsn(commit), 7);
        let session = Session {
            source: "s".into(),
            system_id: "42".into(),
            timeline: 1,
            slot: "slot".into(),
            epoch: 3,
            owner: "o".into(),
            started_at: 0,
        };
        let last = Some(LastRecord { position, session: 0 });
        LogTail { high: 9, last, committed: committed.map(Lsn), session: Some(session), ..LogTail::default() }
    }

    fn slot(confirmed: u64) -> Slot {
        Slot { ours: true, confirmed: Some(Lsn(confirmed)), ..Slot::default() }
    }

    fn planned(tail: &LogTail, slot: Option<&Slot>) -> Result<Plan, String> {
        decide("slot", tail, slot, &server("42", 1), WhenLost::Refuse).map_err(|error| error.to_string())
    }

    #[test]
    fn a_new_source_starts_with_a_snapshot() {
        assert_eq!(planned(&LogTail::default(), None), Ok(Plan::Snapshot { epoch: 1, drop_slot: false }));
        let sessions = LogTail { high: 2, ..LogTail::default() };
        assert_eq!(planned(&sessions, Some(&slot(5))), Ok(Plan::Snapshot { epoch: 1, drop_slot: true }));
    }

    #[test]
    fn a_slot_behind_its_log_goes_on_after_the_last_commit() {
        assert_eq!(planned(&log(100, Some(120)), Some(&slot(90))), Ok(Plan::Stream { start: Lsn(120), epoch: 3 }));
        assert_eq!(planned(&log(100, Some(120)), Some(&slot(120))), Ok(Plan::Stream { start: Lsn(120), epoch: 3 }));
        // In the middle of a transaction: the server sends it again from its beginning.
        assert_eq!(planned(&log(100, Some(80)), Some(&slot(80))), Ok(Plan::Stream { start: Lsn(80), epoch: 3 }));
        assert_eq!(planned(&log(100, None), Some(&slot(80))), Ok(Plan::Stream { start: Lsn(0), epoch: 3 }));
    }

    #[test]
    fn a_slot_that_does_not_continue_the_log_is_refused() {
        #[track_caller]
        fn refused(tail: &LogTail, slot: Option<&Slot>, words: &str) {
            let error = planned(tail, slot).expect_err("refused");
            assert!(error.contains(words) && error.contains("when_lost"), "{error}");
            let server = server("42", 1);
            let again = decide("slot", tail, slot, &server, WhenLost::Snapshot).expect("allowed");
            assert!(matches!(again, Plan::Snapshot { .. }));
        }
        refused(&log(100, Some(120)), Some(&slot(121)), "ahead of its log");
        refused(&log(100, Some(120)), None, "gone");
        let lost = Slot { wal_status: Some("lost".into()), ..slot(90) };
        refused(&log(100, Some(120)), Some(&lost), "invalidated");
        refused(&LogTail::default(), Some(&slot(5)), "ahead of its log");
        for other in [server("43", 1), server("42", 2)] {
            let error = decide("slot", &log(100, Some(120)), Some(&slot(90)), &other, WhenLost::Refuse);
            assert!(matches!(error, Err(ConnectorError::OtherServer { .. })));
        }
    }

    #[test]
    fn anothers_slot_is_left_alone() {
        let busy = Slot { active_pid: Some(7), ..slot(90) };
        assert!(planned(&log(100, Some(120)), Some(&busy)).is_err_and(|error| error.contains("in use")));
        let foreign = Slot { ours: false, ..slot(90) };
        assert!(planned(&log(100, Some(120)), Some(&foreign)).is_err_and(|error| error.contains("not a logical slot")));
    }
}
