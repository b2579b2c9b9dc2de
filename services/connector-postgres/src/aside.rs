//! What is in the stream beside rows: progress through WAL without changes of ours, and applications' messages.

use crate::{decode, encoder::Encoder, error::ConnectorError, quarantine::Oversized};
use boot::failpoint;
use change::{Lsn, avro::envelope};
use change_log::{
    Records,
    control::{PROGRESS, Progress},
    frame,
    header::Kind,
    topics::RECORD_BYTES_MAX,
};
use std::time::Duration;

/// WAL without changes of ours is confirmed this often at most, …
const PROGRESS_INTERVAL: Duration = Duration::from_secs(3);
/// … or once there is so much of it.
const PROGRESS_BYTES: u64 = 16 * 1024 * 1024;
/// Where nothing happens at all the log still says so often that it holds everything: readers tell a quiet source from one
/// that is not listened to.
const STILL_INTERVAL: Duration = Duration::from_secs(10);

impl Encoder<'_> {
    /// WAL up to here has nothing more for us: say so in the log before the slot may forget it.
    pub(crate) async fn idle(
        &mut self,
        out: &mut Records,
        lsn: Lsn,
        server_time: i64,
        captured_at: i64,
    ) -> Result<(), ConnectorError> {
        let waited = captured_at.saturating_sub(self.state.progress_at);
        let due = u128::try_from(waited).is_ok_and(|micros| micros >= PROGRESS_INTERVAL.as_micros());
        let much = lsn.0.saturating_sub(self.standing.upto().0) >= PROGRESS_BYTES;
        if self.state.transaction.is_some() || !(due || much) {
            return Ok(());
        }
        self.progress(out, lsn, server_time, captured_at).await
    }

    /// Says so now, if it is news, or again if nothing has been for long.
    pub(crate) async fn progress(
        &mut self,
        out: &mut Records,
        lsn: Lsn,
        server_time: i64,
        captured_at: i64,
    ) -> Result<(), ConnectorError> {
        let waited = captured_at.saturating_sub(self.state.progress_at);
        let long = u128::try_from(waited).is_ok_and(|micros| micros >= STILL_INTERVAL.as_micros());
        let still = || self.standing.of_standstill(lsn).filter(|_| long);
        let Some(position) = self.standing.of_progress(lsn).or_else(still) else { return Ok(()) };
        let id = self.registry.register(PROGRESS.name, PROGRESS.text).await?;
        let at = server_time.saturating_add(decode::POSTGRES_EPOCH_MICROS);
        out.buffer().extend_from_slice(Kind::Progress.name().as_bytes());
        out.end_part();
        frame::start(id, out.buffer());
        Progress { source: self.origin.source.clone(), lsn, at, state: None }.encode(out.buffer());
        out.close(Kind::Progress, position, false);
        out.end_commit(lsn);
        failpoint::reached("capture.progress");
        self.state.progress_at = captured_at;
        self.standing.complete(lsn);
        self.standing.told(position);
        Ok(())
    }

    /// A message that an application put into the log itself.
    pub(crate) async fn message(
        &mut self,
        out: &mut Records,
        transactional: bool,
        lsn: Lsn,
        prefix: &str,
        content: &[u8],
        captured_at: i64,
    ) -> Result<(), ConnectorError> {
        let (value_id, key_id) = self.message_schemas().await?;
        // One outside of transactions stands between them, within its own record: `lsn` is where that ends.
        let (position, committed_at, xid) = match &mut self.state.transaction {
            Some(transaction) if transactional => {
                transaction.ordinal += 1;
                let position = self.standing.of_change(transaction.commit, transaction.ordinal);
                (position, transaction.committed_at, Some(transaction.xid))
            }
            _ => {
                self.standing.pass(lsn);
                (self.standing.of_message(lsn), captured_at, None)
            }
        };
        let Some(position) = position else { return Ok(()) };
        let mut head = envelope::Head::default();
        head.set(&self.origin.block("", ""), committed_at, false, xid);
        frame::start(key_id, out.buffer());
        out.buffer().push(change::avro::wire::SOME);
        change::avro::wire::string(out.buffer(), prefix);
        out.end_part();
        frame::start(value_id, out.buffer());
        envelope::message(out.buffer(), &head, lsn.0, captured_at, prefix, content);
        out.close(Kind::Change, position, false);
        if out.last_bytes() > RECORD_BYTES_MAX {
            let (key, bytes) = (out.last_key().to_vec(), out.last_bytes());
            out.drop_last();
            self.state.oversized.push(Oversized { position, table: "message".into(), key, bytes, committed_at });
            return Ok(());
        }
        self.standing.told(position);
        match &mut self.state.transaction {
            Some(transaction) if transactional => transaction.written += 1,
            _ => {
                out.end_commit(lsn);
                self.standing.complete(lsn);
            }
        }
        Ok(())
    }

    async fn message_schemas(&mut self) -> Result<(u32, u32), ConnectorError> {
        if let Some(ids) = self.state.messages {
            return Ok(ids);
        }
        let ((value_name, value), (key_name, key)) = change::avro::schema::of_messages();
        let ids = (self.registry.register(&value_name, &value).await?, self.registry.register(&key_name, &key).await?);
        self.state.messages = Some(ids);
        Ok(ids)
    }
}
