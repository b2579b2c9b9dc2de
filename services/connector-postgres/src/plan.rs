//! What to do with a source, from what its log and its slot say. Decided without IO.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::{
    error::{Break, ConnectorError},
    settings::WhenLost,
};
use change::Lsn;
use change_log::LogTail;

/// The slot as the server shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// It is a logical slot of pgoutput in this database.
    pub(crate) ours: bool,
    pub(crate) active_pid: Option<i32>,
    /// What the other connection calls itself.
    pub(crate) active_name: Option<String>,
    pub(crate) confirmed: Option<Lsn>,
    /// `lost` when the server has removed WAL that it needs.
    pub(crate) wal_status: Option<String>,
    /// Why the server gave it up; servers before 17 do not say.
    pub(crate) invalidated: Option<String>,
}

/// Which server answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) system_id: String,
    pub(crate) timeline: u32,
    /// The end of its WAL on disk.
    pub(crate) written: Lsn,
}

/// What an operator has said beforehand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) when_lost: WhenLost,
    /// This epoch of the log is to be given up.
    pub(crate) replace_epoch: Option<u32>,
    /// The server cannot read what the slot keeps.
    pub(crate) unreadable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Make the slot (anew) and read all tables, in an epoch beyond this one.
    Snapshot { beyond: u32, drop_slot: bool },
    /// Go on from here.
    Stream { start: Lsn, epoch: u32 },
}

/// What is asked about: the names that errors carry, and what the two ends say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends<'a> {
    pub(crate) source: &'a str,
    pub(crate) slot_name: &'a str,
    pub(crate) tail: &'a LogTail,
    pub(crate) slot: Option<&'a Slot>,
    pub(crate) server: &'a Identity,
}

pub(crate) fn decide(ends: &Ends<'_>, allowed: Allowed) -> Result<Plan, ConnectorError> {
    let Ends { slot_name, tail, slot, .. } = *ends;
    if let Some((slot, pid)) = slot.and_then(|slot| slot.active_pid.map(|pid| (slot, pid))) {
        let name = slot.active_name.clone().unwrap_or_default();
        return Err(ConnectorError::SlotInUse { slot: slot_name.into(), pid, name });
    }
    if slot.is_some_and(|slot| !slot.ours) {
        return Err(ConnectorError::ForeignSlot { source_name: ends.source.into(), slot: slot_name.into() });
    }
    let epoch = tail.last.map_or(0, |last| last.position.epoch);
    let anew = Plan::Snapshot { beyond: epoch, drop_slot: slot.is_some() };
    let only_sessions = tail.last.is_none() && tail.high > 0;
    let wanted = allowed.replace_epoch.is_some_and(|given_up| given_up == epoch);
    if wanted || only_sessions || (tail.last.is_none() && slot.is_none()) {
        return Ok(anew);
    }
    match continues(ends) {
        Ok(_) if allowed.unreadable && allowed.when_lost == WhenLost::Snapshot => Ok(anew),
        Ok(start) => Ok(Plan::Stream { start, epoch }),
        Err(_) if allowed.when_lost == WhenLost::Snapshot => Ok(anew),
        Err(error) => Err(error),
    }
}

/// Whether what was decided could be wrong because something went on between two of the looks.
pub(crate) const fn needs_another_look(decided: &Result<Plan, ConnectorError>, tail: &LogTail) -> bool {
    match decided {
        Ok(Plan::Stream { .. }) => false,
        // Of a log that is empty nothing is lost.
        Ok(Plan::Snapshot { .. }) => tail.last.is_some(),
        Err(error) => matches!(error, ConnectorError::Broken { .. }),
    }
}

/// Why the slot does not continue a log that holds something.
pub(crate) fn broken(ends: &Ends<'_>) -> Option<ConnectorError> {
    ends.tail.last.and_then(|_| continues(ends).err())
}

/// Where the stream goes on, if the slot continues the log.
fn continues(ends: &Ends<'_>) -> Result<Lsn, ConnectorError> {
    let Ends { tail, server, .. } = *ends;
    let last = tail.last.map(|last| last.position);
    let refused = |why: Break| ConnectorError::Broken {
        source_name: ends.source.to_owned(),
        slot: ends.slot_name.to_owned(),
        last: last.map(|last| last.to_string()).unwrap_or_default(),
        why,
    };
    if let Some(session) = &tail.session {
        if session.system_id != server.system_id {
            let (log, found) = (session.system_id.clone(), server.system_id.clone());
            return Err(refused(Break::OtherServer { log, found }));
        }
        if session.timeline != server.timeline {
            return Err(refused(Break::OtherTimeline { log: session.timeline, found: server.timeline }));
        }
    }
    let log = tail.committed.unwrap_or_default().max(last.unwrap_or_default().commit);
    if log > server.written {
        return Err(refused(Break::ServerBehind { log, server: server.written }));
    }
    let slot = ends.slot.ok_or_else(|| refused(Break::SlotGone))?;
    if slot.wal_status.as_deref() == Some("lost") {
        let reason = slot.invalidated.clone().unwrap_or_else(|| "wal_removed".into());
        return Err(refused(Break::SlotLost { reason }));
    }
    let confirmed = slot.confirmed.unwrap_or_default();
    if confirmed > log {
        return Err(refused(Break::SlotAhead { confirmed, log }));
    }
    Ok(tail.committed.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use change::Position;
    use change_log::{LastRecord, control::Session};

    fn server(system_id: &str, timeline: u32) -> Identity {
        Identity { system_id: system_id.into(), timeline, written: Lsn(1_000) }
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
        asked(tail, slot, &server("42", 1), Allowed::default()).map_err(|error| error.to_string())
    }

    fn asked(tail: &LogTail, slot: Option<&Slot>, server: &Identity, allowed: Allowed) -> Result<Plan, ConnectorError> {
        decide(&Ends { source: "clinic", slot_name: "slot", tail, slot, server }, allowed)
    }

    #[test]
    fn a_new_source_starts_with_a_snapshot() {
        assert_eq!(planned(&LogTail::default(), None), Ok(Plan::Snapshot { beyond: 0, drop_slot: false }));
        let sessions = LogTail { high: 2, ..LogTail::default() };
        assert_eq!(planned(&sessions, Some(&slot(5))), Ok(Plan::Snapshot { beyond: 0, drop_slot: true }));
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
        fn refused(tail: &LogTail, slot: Option<&Slot>, server: &Identity, words: &str) {
            let error = asked(tail, slot, server, Allowed::default()).expect_err("refused");
            assert!(error.waits_for_operator() && !error.worth_retrying());
            let told = error.to_string();
            assert!(told.contains(words) && told.contains("source snapshot CONFIG clinic --recreate-slot"), "{told}");
            let epoch = tail.last.map_or(0, |last| last.position.epoch);
            let anew = Plan::Snapshot { beyond: epoch, drop_slot: slot.is_some() };
            let by_setting = Allowed { when_lost: WhenLost::Snapshot, ..Allowed::default() };
            let by_command = Allowed { replace_epoch: Some(epoch), ..Allowed::default() };
            for allowed in [by_setting, by_command] {
                assert_eq!(asked(tail, slot, server, allowed).expect("allowed"), anew);
            }
            let used_up = Allowed { replace_epoch: Some(epoch + 1), ..Allowed::default() };
            assert!(asked(tail, slot, server, used_up).is_err(), "what was said of another epoch");
        }
        let here = server("42", 1);
        let whole = log(100, Some(120));
        refused(&whole, Some(&slot(121)), &here, "ahead of its log");
        refused(&whole, None, &here, "gone");
        let lost = Slot { wal_status: Some("lost".into()), invalidated: Some("idle_timeout".into()), ..slot(90) };
        refused(&whole, Some(&lost), &here, "invalidated it (idle_timeout)");
        refused(&LogTail::default(), Some(&slot(5)), &here, "ahead of its log");
        refused(&whole, Some(&slot(90)), &server("43", 1), "system id 42");
        refused(&whole, Some(&slot(90)), &server("42", 2), "timeline 1");
        let behind = Identity { written: Lsn(110), ..here };
        refused(&whole, Some(&slot(90)), &behind, "ends at 0/6E");
    }

    #[test]
    fn an_operator_can_give_up_an_epoch_that_is_well_once() {
        let allowed = Allowed { replace_epoch: Some(3), ..Allowed::default() };
        let again = asked(&log(100, Some(120)), Some(&slot(90)), &server("42", 1), allowed);
        assert!(matches!(again, Ok(Plan::Snapshot { beyond: 3, drop_slot: true })));
        let allowed = Allowed { replace_epoch: Some(2), ..Allowed::default() };
        let past = asked(&log(100, Some(120)), Some(&slot(90)), &server("42", 1), allowed);
        assert!(matches!(past, Ok(Plan::Stream { .. })));
    }

    #[test]
    fn wal_that_the_server_cannot_read_is_given_up_where_the_settings_allow_a_loss() {
        for (when_lost, anew) in [(WhenLost::Refuse, false), (WhenLost::Snapshot, true)] {
            let allowed = Allowed { when_lost, unreadable: true, ..Allowed::default() };
            let planned = asked(&log(100, Some(120)), Some(&slot(90)), &server("42", 1), allowed).expect("planned");
            assert_eq!(planned == Plan::Snapshot { beyond: 3, drop_slot: true }, anew, "{when_lost:?}");
        }
    }

    #[test]
    fn nothing_is_refused_or_begun_anew_on_one_look() {
        let whole = log(100, Some(120));
        let again = |tail: &LogTail, slot: Option<&Slot>, allowed| {
            needs_another_look(&asked(tail, slot, &server("42", 1), allowed), tail)
        };
        let by_setting = Allowed { when_lost: WhenLost::Snapshot, ..Allowed::default() };
        for allowed in [Allowed::default(), by_setting] {
            assert!(again(&whole, None, allowed) && again(&whole, Some(&slot(121)), allowed));
            assert!(!again(&whole, Some(&slot(90)), allowed), "the stream goes on");
            assert!(!again(&whole, Some(&Slot { active_pid: Some(7), ..slot(90) }), allowed), "asked again anyway");
        }
        assert!(!again(&LogTail::default(), None, Allowed::default()), "a new source");
        let (here, lost) = (server("42", 1), slot(121));
        let why = |slot| {
            broken(&Ends { source: "clinic", slot_name: "slot", tail: &whole, slot, server: &here })
                .map(|why| why.to_string())
        };
        assert!(why(Some(&lost)).is_some_and(|why| why.contains("ahead of its log")) && why(Some(&slot(90))).is_none());
    }

    #[test]
    fn anothers_slot_is_left_alone() {
        let busy = Slot { active_pid: Some(7), ..slot(90) };
        assert!(planned(&log(100, Some(120)), Some(&busy)).is_err_and(|error| error.contains("in use")));
        let foreign = Slot { ours: false, ..slot(90) };
        assert!(planned(&log(100, Some(120)), Some(&foreign)).is_err_and(|error| error.contains("not a logical slot")));
    }
}
