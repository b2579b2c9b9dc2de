//! Reads chunks of tables over connections of its own, read-only, each in a short transaction.

use super::{
    range::{Range, Ranged, identifier, is_behind, last_key, ranged},
    window::Visible,
};
use crate::{
    catalogue::{self, KeyColumn},
    charset::Charset,
    column_types::Types,
    connect,
    error::{ConnectorError, Doing},
    settings::Settings,
    watch::Throttle,
};
use bytes::Bytes;
use change::{Lsn, TableSchema};
use futures_util::TryStreamExt;
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use tokio_postgres::{Client, error::SqlState};

/// A chunk ends after so many bytes, at a row's end, …
pub(crate) const CHUNK_BYTES_MAX: usize = 2 * 1024 * 1024;
/// … or so many rows.
pub(crate) const CHUNK_ROWS_MAX: u64 = 20_000;
/// A table with fewer rows is one segment.
const SEGMENT_ROWS_MIN: u64 = 100_000;
pub(crate) const SEGMENTS_MAX: usize = 16;
/// Rows of unknown size are asked for in no larger numbers.
const FIRST_ROWS_MAX: u64 = 1_000;
/// A throttled worker reads one chunk in this time.
const THROTTLE_STEP: Duration = Duration::from_secs(1);
/// Reading a chunk, or planning a table, takes no longer; of a table that is read in one go, nor does the next row.
const READ_MAX: Duration = Duration::from_secs(300);
/// Rounds of the WAL writer in which a commit is flushed, with one to spare; and its longest setting.
const WRITER_ROUNDS: u32 = 4;
const WRITER_DELAY_MAX: Duration = Duration::from_secs(10);
const FLUSH_POLL: Duration = Duration::from_millis(10);
/// PostgreSQL's page, and the headers that a place at its beginning lies behind.
const PAGE_BYTES: u64 = 8192;
const PAGE_HEADERS: [u64; 2] = [24, 40];

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) schema: Arc<str>,
    pub(crate) name: Arc<str>,
    /// SQL that the rows must fulfil.
    pub(crate) predicate: Option<String>,
    pub(crate) what: What,
}

#[derive(Clone)]
pub(crate) enum What {
    /// How to read the table.
    Plan,
    /// A part of it by its key.
    Chunk { key: Arc<[KeyColumn]>, range: Range, rows_max: u64 },
    /// All of it in one go.
    Whole,
}

/// Keys are never shown.
impl std::fmt::Debug for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plan => "plan",
            Self::Chunk { .. } => "chunk",
            Self::Whole => "whole",
        })
    }
}

/// What a reader found.
pub(crate) struct Answer {
    pub(crate) worker: u64,
    pub(crate) result: Result<Found, ConnectorError>,
}

pub(crate) enum Found {
    Planned(Planned),
    Chunk(Box<Chunk>),
}

pub(crate) enum Planned {
    /// It is not published any more.
    Gone,
    Table {
        oid: u32,
        key: Arc<[KeyColumn]>,
        rows_estimated: u64,
        rows_max: u64,
        bounds: Vec<String>,
    },
}

/// Rows as `COPY` printed them, and who was visible.
pub(crate) struct Chunk {
    pub(crate) schema: Arc<TableSchema>,
    pub(crate) visible: Visible,
    /// Once the stream has passed it, it has told every transaction that is visible.
    pub(crate) high: Lsn,
    pub(crate) rows: Vec<Bytes>,
    pub(crate) bytes: usize,
    /// The last row's key.
    pub(crate) last: Option<Vec<String>>,
    /// The range has no more rows.
    pub(crate) complete: bool,
    /// Commits that are visible only once a standby has them may be told before they are visible.
    pub(crate) waits_for_standby: bool,
}

/// Works until nobody asks any more.
pub(crate) async fn work(
    worker: u64,
    (settings, charset): (Arc<Settings>, Charset),
    mut throttle: Throttle,
    mut jobs: mpsc::Receiver<Job>,
    answers: mpsc::Sender<Answer>,
) {
    let types = Types::of(&charset);
    let mut reader = Reader { worker, settings, charset, client: None, types };
    while let Some(job) = jobs.recv().await {
        // While the slot keeps too much or the source is busy, a snapshot goes on in small steps.
        let _ = tokio::time::timeout(THROTTLE_STEP, throttle.wait_for(Option::is_none)).await;
        let reading = reader.read(&job, &answers);
        // A large table takes as long as the log takes its rows.
        let result = if matches!(job.what, What::Whole) { reading.await } else { in_time(reading).await };
        let result = result.map_err(|error| error.of_table(&job.schema, &job.name));
        if result.is_err() {
            reader.client = None;
        }
        if answers.send(Answer { worker, result }).await.is_err() {
            return;
        }
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, ConnectorError>>) -> Result<T, ConnectorError> {
    let slow = |_| ConnectorError::Slow { seconds: READ_MAX.as_secs() };
    tokio::time::timeout(READ_MAX, work).await.map_err(slow)?
}

struct Reader {
    worker: u64,
    settings: Arc<Settings>,
    charset: Charset,
    client: Option<Client>,
    types: Types,
}

impl Reader {
    async fn read(&mut self, job: &Job, answers: &mpsc::Sender<Answer>) -> Result<Found, ConnectorError> {
        let mut client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => connect::sql(&self.settings).await?,
        };
        let found = match &job.what {
            What::Plan => plan(&client, &self.settings, &self.charset, job).await.map(Found::Planned),
            What::Chunk { key, range, rows_max } => self.chunk(&mut client, job, (key, range, *rows_max)).await,
            What::Whole => self.whole(&mut client, job, answers).await,
        };
        self.client = Some(client);
        found
    }

    async fn chunk(
        &mut self,
        client: &mut Client,
        job: &Job,
        (key, range, rows_max): (&[KeyColumn], &Range, u64),
    ) -> Result<Found, ConnectorError> {
        let (mut chunk, filters, only) = self.begin(client, job).await?;
        let range_sql = ranged((&self.charset, key), range, rows_max);
        let select = self.select((&chunk.schema, only), job, filters, range_sql);
        let ending = copy(&self.settings, client, &select, &mut chunk).await?;
        chunk.complete = ending == Ending::Whole && (chunk.rows.len() as u64) < rows_max;
        chunk.last = last_key(&chunk, (&self.charset, key));
        finish(&self.settings, client, ending).await?;
        if !chunk.complete && !advances(client, (&self.charset, key), range, chunk.last.as_deref()).await? {
            return Err(ConnectorError::NoProgress { table: chunk.schema.table.to_string() });
        }
        chunk.high = flushed(client, &self.settings.slot(), chunk.high).await?;
        Ok(Found::Chunk(Box::new(chunk)))
    }

    /// One transaction for all of the table: its rows have no names by which to go on.
    async fn whole(
        &mut self,
        client: &mut Client,
        job: &Job,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Found, ConnectorError> {
        let (mut chunk, filters, only) = in_time(self.begin(client, job)).await?;
        chunk.high = in_time(flushed(client, &self.settings.slot(), chunk.high)).await?;
        let select = self.select((&chunk.schema, only), job, filters, Ranged::default());
        let rows = in_time(async { client.copy_out(select.as_str()).await.doing("reading a table") }).await?;
        let mut rows = pin!(rows);
        while let Some(row) = in_time(async { rows.try_next().await.doing("reading a table") }).await? {
            chunk.bytes += row.len();
            chunk.rows.push(row);
            if chunk.bytes >= CHUNK_BYTES_MAX {
                let next = Chunk {
                    rows: Vec::new(),
                    bytes: 0,
                    schema: Arc::clone(&chunk.schema),
                    visible: chunk.visible.clone(),
                    last: None,
                    ..chunk
                };
                let part = std::mem::replace(&mut chunk, next);
                let part = Answer { worker: self.worker, result: Ok(Found::Chunk(Box::new(part))) };
                // Nobody waits any more: the next send tells.
                let _ = answers.send(part).await;
            }
        }
        chunk.complete = true;
        finish(&self.settings, client, Ending::Whole).await?;
        Ok(Found::Chunk(Box::new(chunk)))
    }

    /// Opens the transaction: an empty chunk, what its rows must fulfil, and whether only the table itself is read. The
    /// table's shape cannot change before its end.
    async fn begin(
        &mut self,
        client: &Client,
        job: &Job,
    ) -> Result<(Chunk, Vec<String>, &'static str), ConnectorError> {
        let table = format!("{}.{}", identifier(&job.schema), identifier(&job.name));
        let begin = format!(
            "begin transaction isolation level repeatable read read only; lock table {table} in access share mode"
        );
        client.batch_execute(&begin).await.doing("locking a table against changes of its shape")?;
        let row = client.query_one(SEEN, &[]).await.doing("asking for a snapshot")?;
        let (visible, high): (String, String) = (row.get("visible"), row.get("high"));
        let unclear = || ConnectorError::SnapshotRow { table: table.clone() };
        let published =
            catalogue::table(client, &self.settings.publication(), &mut self.types, &job.schema, &job.name).await?;
        let published = published.ok_or_else(unclear)?;
        let chunk = Chunk {
            schema: Arc::new(published.schema),
            visible: visible.parse().map_err(|()| unclear())?,
            high: end_of_record(high.parse().map_err(|_| unclear())?),
            rows: Vec::new(),
            bytes: 0,
            last: None,
            complete: false,
            waits_for_standby: row.get("waits"),
        };
        // Otherwise rows of tables that inherit from this one would be read twice, once as its own.
        let only = if published.without_heirs { "only " } else { "" };
        Ok((chunk, published.filter.into_iter().chain(job.predicate.clone()).collect(), only))
    }

    fn select(&self, (schema, only): (&TableSchema, &str), job: &Job, filters: Vec<String>, range: Ranged) -> String {
        let columns: Vec<String> = schema.columns.iter().map(|column| identifier(&column.name)).collect();
        let mut conditions = range.conditions;
        conditions.extend(filters.into_iter().map(|filter| format!("({filter}\n)")));
        let condition =
            if conditions.is_empty() { String::new() } else { format!(" where {}", conditions.join(" and ")) };
        // Rows alone come like that: what else the session says and hears is UTF-8.
        let encoding = self.charset.own().map(|own| format!(" with (encoding '{own}')")).unwrap_or_default();
        format!(
            "copy (select {} from {only}{}.{}{condition}{}) to stdout{encoding}",
            columns.join(", "),
            identifier(&job.schema),
            identifier(&job.name),
            range.tail,
        )
    }
}

const SEEN: &str = "select pg_current_snapshot()::text as visible, pg_current_wal_insert_lsn()::text as high,
    current_setting('synchronous_standby_names') <> '' as waits";

/// How far the WAL is flushed, and the slot's sender if it waits for more: how far it has read. Only roles with
/// `pg_read_all_stats` are told that.
const FLUSHED: &str = "select pg_current_wal_flush_lsn()::text as flushed,
    (select setting::bigint from pg_settings where name = 'wal_writer_delay') as delay,
    (select r.sent_lsn::text from pg_replication_slots s
     join pg_stat_replication r on r.pid = s.active_pid join pg_stat_activity a on a.pid = s.active_pid
     where s.slot_name = $1 and a.wait_event ilike 'WalSenderWaitForWal') as caught_up";

/// The stream tells only what is flushed, and WAL that ends no transaction may stay unflushed for long. A commit does
/// not: an asynchronous one is flushed within three rounds of the WAL writer (PostgreSQL, "Asynchronous Commit"), and
/// any other before it is visible. After that, what is flushed holds every commit that counts, and the sender comes to the
/// end of its last record: that is where the flushing ended, unless it ended with a page, which may cut a record. Then a
/// sender that waits has read all it can.
async fn flushed(client: &Client, slot: &str, high: Lsn) -> Result<Lsn, ConnectorError> {
    let began = Instant::now();
    loop {
        let row = client.query_one(FLUSHED, &[&slot]).await.doing("asking how far the WAL is flushed")?;
        let (flushed, delay): (String, Option<i64>) = (row.get("flushed"), row.get("delay"));
        let flushed: Option<Lsn> = flushed.parse().ok();
        if flushed.is_some_and(|flushed| flushed >= high) {
            return Ok(high);
        }
        let delay = delay.and_then(|delay| u64::try_from(delay).ok()).map_or(WRITER_DELAY_MAX, Duration::from_millis);
        if began.elapsed() > WRITER_ROUNDS * delay {
            let sent: Option<Lsn> = row.get::<_, Option<String>>("caught_up").and_then(|sent| sent.parse().ok());
            let whole = flushed.filter(|flushed| flushed.0 % PAGE_BYTES != 0);
            if let Some(told) = sent.or(whole) {
                return Ok(high.min(told));
            }
        }
        tokio::time::sleep(FLUSH_POLL).await;
    }
}

const SIZE: &str = "select c.oid, greatest(c.reltuples, 0)::bigint as rows, pg_total_relation_size(c.oid) as bytes
    from pg_publication_tables p
    join pg_namespace n on n.nspname = p.schemaname
    join pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
    where p.pubname = $1 and p.schemaname = $2 and p.tablename = $3";

/// The statistics' own cuts of a column into parts of about as many rows.
const BOUNDS: &str =
    "select convert_to(bound, $4) as bound from pg_stats, unnest(histogram_bounds::text::text[]) with ordinality as b (bound, n)
    where schemaname = $1 and tablename = $2 and attname = $3 and histogram_bounds is not null order by n";

async fn plan(client: &Client, settings: &Settings, charset: &Charset, job: &Job) -> Result<Planned, ConnectorError> {
    let publication = settings.publication();
    let size = client.query_opt(SIZE, &[&publication, &&*job.schema, &&*job.name]).await.doing("measuring a table")?;
    let Some(size) = size else { return Ok(Planned::Gone) };
    let (oid, rows, bytes): (u32, i64, i64) = (size.get("oid"), size.get("rows"), size.get("bytes"));
    let (rows, bytes) = (u64::try_from(rows).unwrap_or(0), u64::try_from(bytes).unwrap_or(0));
    let key = catalogue::key(client, oid).await?;
    let rows_max = match bytes.checked_div(rows) {
        Some(each) => (CHUNK_BYTES_MAX as u64 / each.max(1)).clamp(1, CHUNK_ROWS_MAX),
        None => FIRST_ROWS_MAX,
    };
    let mut bounds: Vec<String> = Vec::new();
    if let Some(first) = key.first().filter(|_| rows >= 2 * SEGMENT_ROWS_MIN) {
        let encoding = charset.own().unwrap_or("UTF8");
        let found = client.query(BOUNDS, &[&&*job.schema, &&*job.name, &first.name, &encoding]).await;
        let found = found.doing("reading a table's statistics")?;
        let parts = usize::try_from(rows / SEGMENT_ROWS_MIN).unwrap_or(SEGMENTS_MAX).min(SEGMENTS_MAX);
        // The first and the last bound are the column's ends.
        let inner = found.get(1..found.len().saturating_sub(1)).unwrap_or_default();
        let at = |part: usize| Some(charset.kept(inner.get(part * inner.len() / parts)?.get(0)));
        bounds = (1..parts).filter_map(at).collect();
        bounds.dedup();
    }
    Ok(Planned::Table { oid, key: key.into(), rows_estimated: rows, rows_max, bounds })
}

/// Whether the next chunk begins behind this one, as the server orders keys. Then each row is read once and the reading
/// ends, whatever is wrong with the key; else the same rows would be told for ever.
async fn advances(
    client: &Client,
    key: (&Charset, &[KeyColumn]),
    range: &Range,
    last: Option<&[String]>,
) -> Result<bool, ConnectorError> {
    let Some(last) = last else { return Ok(false) };
    let Some(question) = is_behind(key, &range.after, last) else { return Ok(true) };
    let answer = client.query_one(&question, &[]).await.doing("comparing keys")?;
    Ok(answer.get::<_, Option<bool>>(0) == Some(true))
}

/// How the server came to the end of a `COPY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Whole,
    /// At the byte limit: it stopped when asked to.
    Cut,
    /// It had sent all before it was asked: the request still comes, and would stop another statement.
    Missed,
}

/// Up to the byte limit.
async fn copy(settings: &Settings, client: &Client, select: &str, chunk: &mut Chunk) -> Result<Ending, ConnectorError> {
    let rows = client.copy_out(select).await.doing("reading a chunk")?;
    let mut rows = pin!(rows);
    while let Some(row) = rows.try_next().await.doing("reading a chunk")? {
        chunk.bytes += row.len();
        chunk.rows.push(row);
        if chunk.bytes >= CHUNK_BYTES_MAX {
            connect::cancel(settings, client).await;
            return loop {
                match rows.try_next().await {
                    Ok(Some(_)) => {}
                    Ok(None) => break Ok(Ending::Missed),
                    Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => break Ok(Ending::Cut),
                    Err(error) => break Err(error).doing("reading a chunk"),
                }
            };
        }
    }
    Ok(Ending::Whole)
}

/// Ends the transaction.
async fn finish(settings: &Settings, client: &mut Client, ending: Ending) -> Result<(), ConnectorError> {
    match ending {
        Ending::Whole | Ending::Cut => client.batch_execute("rollback").await.doing("ending a chunk"),
        Ending::Missed => {
            *client = connect::sql(settings).await?;
            Ok(())
        }
    }
}

/// Where the last record ends: at the beginning of a page the insert position lies behind its header.
pub(crate) const fn end_of_record(insert: Lsn) -> Lsn {
    let into = insert.0 % PAGE_BYTES;
    if into == PAGE_HEADERS[0] || into == PAGE_HEADERS[1] { Lsn(insert.0 - into) } else { insert }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_ends_before_the_next_pages_header() {
        assert_eq!(end_of_record(Lsn(3 * PAGE_BYTES + 24)), Lsn(3 * PAGE_BYTES));
        assert_eq!(end_of_record(Lsn(3 * PAGE_BYTES + 100)), Lsn(3 * PAGE_BYTES + 100));
    }
}
