//! The witness of what a database committed: `pg_recvlogical` with `test_decoding` on a slot of its
//! own. None of it is our code, so it can testify against ours.

use crate::{
    part::{Part, Ready},
    postgres::{Postgres, client},
    process::{Lifetime, Spec},
};
use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use std::{
    collections::BTreeSet,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio_postgres::error::SqlState;

const ANSWER_WAIT_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

/// One transaction as `test_decoding` tells it; or a message outside of transactions, as one without an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// 0: none.
    pub xid: u32,
    /// `table emis.observation: INSERT: id[integer]:7 …`, one for each change, in order. A text value may hold line breaks.
    pub changes: Vec<String>,
}

/// A slot, and the process that writes what it yields into a file.
#[derive(Debug)]
pub struct Witness {
    part: Part,
    database: String,
    slot: String,
    file: PathBuf,
}

impl Witness {
    /// Makes the slot: from here on every commit is seen.
    pub async fn start(cluster: &Postgres, database: &str, slot: &str, file: &Path) -> anyhow::Result<Self> {
        let session = cluster.connect(database).await?;
        session
            .execute("select pg_create_logical_replication_slot($1, 'test_decoding')", &[&slot])
            .await
            .with_context(|| format!("cannot make the slot {slot}"))?;
        let log = file.with_extension("log");
        let port = cluster.port().to_string();
        let options = ["--host", "127.0.0.1", "--username", crate::SUPERUSER, "--no-password"];
        let spec = Spec::new(client(cluster, "pg_recvlogical")?, log, Lifetime::WithParent)
            .arguments(options)
            .arguments(["--port", &port, "--dbname", database, "--slot", slot, "--start"])
            .arguments(["--file".to_owned(), file.display().to_string()])
            .arguments(["--status-interval=1", "--fsync-interval=1"])
            // Not `skip-empty-xacts`: of a transaction whose first is a message that would leave out where it begins.
            .arguments(["-o", "include-xids=1"])
            .environment("PGPASSWORD", cluster.password(crate::SUPERUSER)?);
        // It waits for the server by itself when that is killed, and goes on.
        let mut part = Part::new(format!("witness {slot}"), spec, Ready::AtOnce).stopped_by(Signal::SIGINT);
        part.start().await?;
        let mut witness = Self { part, database: database.to_owned(), slot: slot.to_owned(), file: file.to_owned() };
        // Only once it has been connected does it go on by itself when the server is killed.
        witness.wait_for("select active from pg_replication_slots where slot_name = $1", cluster).await?;
        Ok(witness)
    }

    /// Waits until all that is committed now has been written into the file.
    pub async fn wait_caught_up(&mut self, cluster: &Postgres) -> anyhow::Result<()> {
        let client = cluster.connect(&self.database).await?;
        // Only what is flushed is decoded.
        let now: String = client.query_one("select pg_current_wal_flush_lsn()::text", &[]).await?.get(0);
        let reached =
            format!("select confirmed_flush_lsn >= '{now}'::pg_lsn from pg_replication_slots where slot_name = $1");
        self.wait_for(&reached, cluster).await
    }

    /// Waits until a question about the slot is answered with true.
    async fn wait_for(&mut self, question: &str, cluster: &Postgres) -> anyhow::Result<()> {
        let client = cluster.connect(&self.database).await?;
        let deadline = Instant::now() + ANSWER_WAIT_MAX;
        loop {
            let row = client.query_opt(question, &[&self.slot]).await?;
            let row = row.with_context(|| format!("the slot {} is gone", self.slot))?;
            if row.get::<_, Option<bool>>(0) == Some(true) {
                return Ok(());
            }
            if let Some(status) = self.part.exited()? {
                bail!("the witness of {} ended ({status}); see {}", self.database, self.part.log().display());
            }
            if Instant::now() > deadline {
                bail!("the witness of {} waited too long for: {question}", self.database);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Every transaction seen so far, in commit order.
    pub fn transactions(&self) -> anyhow::Result<Vec<Transaction>> {
        let text = std::fs::read(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        Ok(transactions(&String::from_utf8_lossy(&text)))
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Ends the process and drops the slot, which would keep WAL for ever.
    pub async fn finish(mut self, cluster: &Postgres) -> anyhow::Result<()> {
        self.part.stop().await?;
        let client = cluster.connect(&self.database).await?;
        let deadline = Instant::now() + ANSWER_WAIT_MAX;
        loop {
            match client.execute("select pg_drop_replication_slot($1)", &[&self.slot]).await {
                Ok(_) => return Ok(()),
                // The server's side of the process may outlive it by a moment.
                Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) && Instant::now() < deadline => {
                    tokio::time::sleep(POLL).await;
                }
                Err(error) => return Err(error).context("cannot drop the slot"),
            }
        }
    }
}

impl Deref for Witness {
    type Target = Part;
    fn deref(&self) -> &Part {
        &self.part
    }
}

impl DerefMut for Witness {
    fn deref_mut(&mut self) -> &mut Part {
        &mut self.part
    }
}

/// How `test_decoding` begins a message that is of no transaction.
const MESSAGE: &str = "message: transactional: 0 ";

/// After a reconnection `pg_recvlogical` writes some transactions again, and the first of two may be
/// cut off: what counts is the first whole one of each transaction id. Messages outside of transactions have none: of those
/// that read alike the first counts.
fn transactions(text: &str) -> Vec<Transaction> {
    let mut all = Vec::new();
    let (mut seen, mut messages) = (BTreeSet::new(), BTreeSet::new());
    let mut open: Option<Transaction> = None;
    for record in records(text) {
        if let Some(xid) = number_after(&record, "BEGIN ") {
            open = Some(Transaction { xid, changes: Vec::new() });
        } else if let Some(xid) = number_after(&record, "COMMIT ") {
            let whole = open.take().filter(|transaction| transaction.xid == xid);
            all.extend(whole.filter(|whole| !whole.changes.is_empty() && seen.insert(xid)));
        } else if record.starts_with(MESSAGE) {
            // A transaction that is open here was cut off.
            if messages.insert(record.clone()) {
                all.push(Transaction { xid: 0, changes: vec![record] });
            }
        } else if let Some(transaction) = &mut open {
            transaction.changes.push(record);
        }
    }
    all
}

fn number_after(record: &str, word: &str) -> Option<u32> {
    record.strip_prefix(word)?.parse().ok()
}

/// Lines, joined where a line break is inside a quoted value: `test_decoding` doubles quotes in
/// values, so a record is whole when its quotes are even.
fn records(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut open = String::new();
    for line in text.split('\n') {
        if !open.is_empty() {
            open.push('\n');
        }
        open.push_str(line);
        if open.bytes().filter(|byte| *byte == b'\'').count() % 2 == 0 {
            let record = std::mem::take(&mut open);
            all.extend(Some(record).filter(|record| !record.is_empty()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[(u32, &[&str])]) {
        let got = transactions(text);
        let got: Vec<(u32, Vec<&str>)> =
            got.iter().map(|t| (t.xid, t.changes.iter().map(String::as_str).collect())).collect();
        let want: Vec<(u32, Vec<&str>)> = want.iter().map(|(xid, changes)| (*xid, changes.to_vec())).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn a_transaction_is_what_lies_between_begin_and_commit() {
        check("BEGIN 7\ntable t: INSERT: a[text]:'x'\nCOMMIT 7\n", &[(7, &["table t: INSERT: a[text]:'x'"])]);
        check("", &[]);
    }

    #[test]
    fn a_repeated_transaction_counts_once() {
        let one = "BEGIN 7\ntable t: DELETE: a[integer]:1\nCOMMIT 7\n";
        let two = "BEGIN 8\ntable t: DELETE: a[integer]:2\nCOMMIT 8\n";
        check(
            &format!("{one}{two}{one}{two}"),
            &[(7, &["table t: DELETE: a[integer]:1"]), (8, &["table t: DELETE: a[integer]:2"])],
        );
    }

    #[test]
    fn a_transaction_cut_off_is_taken_from_its_repetition() {
        check(
            "BEGIN 7\ntable t: DELETE: a[integer]:1\nBEGIN 7\ntable t: DELETE: a[integer]:1\nCOMMIT 7\n",
            &[(7, &["table t: DELETE: a[integer]:1"])],
        );
        check("BEGIN 7\ntable t: DELETE: a[integer]:1\n", &[]);
    }

    #[test]
    fn a_transaction_of_messages_alone_is_one_and_an_empty_one_is_none() {
        let message = "message: transactional: 1 prefix: p, sz: 1 content:m";
        check(&format!("BEGIN 7\nCOMMIT 7\nBEGIN 8\n{message}\nCOMMIT 8\n"), &[(8, &[message])]);
    }

    #[test]
    fn a_message_outside_of_transactions_counts_once_however_they_are_cut_off() {
        let (message, change) = (format!("{MESSAGE}prefix: p, sz: 1 content:m"), "table t: DELETE: a[integer]:1");
        check(
            &format!("BEGIN 7\n{change}\n{message}\nBEGIN 7\n{change}\nCOMMIT 7\n{message}\n"),
            &[(0, &[&message]), (7, &[change])],
        );
    }

    #[test]
    fn a_line_break_inside_a_value_ends_nothing() {
        let change = "table t: INSERT: a[text]:'it''s\nCOMMIT 7\nso' b[integer]:1";
        check(&format!("BEGIN 7\n{change}\nCOMMIT 7\n"), &[(7, &[change])]);
    }
}
