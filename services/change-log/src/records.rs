//! A block of encoded records: one buffer, and where each part of each record lies in it.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::header::Kind;
use change::{Lsn, Position};
use std::{ops::Range, sync::Arc};

/// A W3C `traceparent`: version, trace, parent and flags.
pub const TRACE_PARENT_BYTES: usize = 55;
pub type TraceParent = [u8; TRACE_PARENT_BYTES];

/// Encoded records in the order of the log. Building one record: write its key into [`Records::buffer`], then
/// [`Records::end_part`]; its value, `end_part`; and so on; at last [`Records::close`].
#[derive(Debug, Default)]
pub struct Records {
    buffer: Vec<u8>,
    spans: Vec<Span>,
    traces: Vec<TraceParent>,
    origins: Vec<Arc<str>>,
    /// Of records closed from now on: one more than the index in `origins`; 0 is none.
    origin: usize,
    /// Where the parts of the open record end, and where it starts.
    draft: Draft,
    /// The snapshot that these records belong to.
    pub snapshot: Option<Arc<str>>,
}

/// Key, value, unchanged columns, exact values, exact values of `before`.
const PARTS: usize = 5;

#[derive(Clone, Copy, Debug, Default)]
struct Draft {
    start: usize,
    ends: [usize; PARTS],
    ended: usize,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    draft: Draft,
    kind: Kind,
    position: Position,
    commit_end: Option<Lsn>,
    /// One more than the index in `traces`; 0 is none.
    trace: usize,
    /// The same in `origins`.
    origin: usize,
}

/// One record, borrowed from its block. Empty parts are absent.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    pub kind: Kind,
    pub position: Position,
    pub commit_end: Option<Lsn>,
    pub key: &'a [u8],
    pub value: &'a [u8],
    pub unchanged: &'a [u8],
    pub exact: &'a [u8],
    pub exact_before: &'a [u8],
    pub trace_parent: Option<&'a TraceParent>,
    pub origin: Option<&'a str>,
}

impl Records {
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Bytes of all closed records, and of the open one.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes of the last record.
    pub fn last_bytes(&self) -> usize {
        self.spans.last().map_or(0, |span| span.draft.ends[PARTS - 1] - span.draft.start)
    }

    /// The last record's key.
    pub fn last_key(&self) -> &[u8] {
        self.spans.last().map_or(&[], |span| &self.buffer[span.draft.start..span.draft.ends[0]])
    }

    /// Takes the last record back.
    pub fn drop_last(&mut self) {
        if let Some(span) = self.spans.pop() {
            self.buffer.truncate(span.draft.start);
            self.draft = Draft { start: span.draft.start, ..Draft::default() };
        }
    }

    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    #[inline]
    pub fn end_part(&mut self) {
        self.draft.ends[self.draft.ended] = self.buffer.len();
        self.draft.ended += 1;
    }

    #[inline]
    pub fn close(&mut self, kind: Kind, position: Position, traced: bool) {
        while self.draft.ended < PARTS {
            self.end_part();
        }
        let trace = if traced { self.traces.len() } else { 0 };
        self.spans.push(Span { draft: self.draft, kind, position, commit_end: None, trace, origin: self.origin });
        self.draft = Draft { start: self.buffer.len(), ..Draft::default() };
    }

    /// The trace that records closed as traced belong to from now on.
    pub fn set_trace(&mut self, trace: TraceParent) {
        self.traces.push(trace);
    }

    /// The node from which the source received what the records closed from now on tell.
    pub fn set_origin(&mut self, origin: Option<Arc<str>>) {
        self.origin = match origin {
            None => 0,
            Some(origin) => {
                self.origins.push(origin);
                self.origins.len()
            }
        };
    }

    /// The last record ends its transaction.
    pub fn end_commit(&mut self, end: Lsn) {
        if let Some(span) = self.spans.last_mut() {
            span.commit_end = Some(end);
        }
    }

    /// Takes the last record out into a block of its own: whether it ends its transaction is not known yet.
    #[must_use]
    pub fn split_last(&mut self) -> Self {
        let Some(mut span) = self.spans.pop() else { return Self::default() };
        let start = span.draft.start;
        let buffer = self.buffer.split_off(start);
        span.draft.start = 0;
        span.draft.ends = span.draft.ends.map(|end| end - start);
        let traces: Vec<TraceParent> = span.trace.checked_sub(1).map(|at| self.traces[at]).into_iter().collect();
        span.trace = traces.len();
        let origins: Vec<Arc<str>> =
            span.origin.checked_sub(1).map(|at| Arc::clone(&self.origins[at])).into_iter().collect();
        span.origin = origins.len();
        self.draft = Draft { start, ..Draft::default() };
        let draft = Draft { start: buffer.len(), ..Draft::default() };
        Self {
            buffer,
            origin: origins.len(),
            spans: vec![span],
            traces,
            origins,
            draft,
            snapshot: self.snapshot.clone(),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.spans.iter().map(|span| {
            let ends = &span.draft.ends;
            let part = |range: Range<usize>| &self.buffer[range];
            RecordRef {
                kind: span.kind,
                position: span.position,
                commit_end: span.commit_end,
                key: part(span.draft.start..ends[0]),
                value: part(ends[0]..ends[1]),
                unchanged: part(ends[1]..ends[2]),
                exact: part(ends[2]..ends[3]),
                exact_before: part(ends[3]..ends[4]),
                trace_parent: span.trace.checked_sub(1).map(|at| &self.traces[at]),
                origin: span.origin.checked_sub(1).map(|at| &*self.origins[at]),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Records {
        let mut records = Records::default();
        records.set_trace([b'1'; TRACE_PARENT_BYTES]);
        for (key, value, ordinal) in [("k1", "v1", 1), ("k2", "value two", 2)] {
            records.buffer().extend_from_slice(key.as_bytes());
            records.end_part();
            records.buffer().extend_from_slice(value.as_bytes());
            records.close(Kind::Change, Position::new(1, Lsn(5), ordinal), true);
        }
        records
    }

    fn told(records: &Records) -> Vec<(String, String, u64)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        records.iter().map(|record| (text(record.key), text(record.value), record.position.ordinal)).collect()
    }

    #[test]
    fn an_origin_is_of_its_transactions_records_alone() {
        let mut records = Records::default();
        for (origin, ordinal) in [(None, 1), (Some("elsewhere"), 2), (Some("elsewhere"), 3), (None, 4)] {
            if ordinal != 3 {
                records.set_origin(origin.map(Arc::from));
            }
            records.buffer().push(b'k');
            records.end_part();
            records.close(Kind::Change, Position::new(1, Lsn(5), ordinal), false);
            if ordinal == 2 {
                // The transaction goes on in the block that its last record was split off into.
                let mut last = records.split_last();
                assert!(last.iter().all(|record| record.origin == Some("elsewhere")));
                assert!(records.iter().all(|record| record.origin.is_none()));
                std::mem::swap(&mut records, &mut last);
            }
        }
        let origins: Vec<Option<&str>> = records.iter().map(|record| record.origin).collect();
        assert_eq!(origins, [Some("elsewhere"), Some("elsewhere"), None]);
    }

    #[test]
    fn the_last_record_is_carried_whole() {
        let mut records = block();
        let mut last = records.split_last();
        assert_eq!(told(&records), [("k1".into(), "v1".into(), 1)]);
        assert_eq!(told(&last), [("k2".into(), "value two".into(), 2)]);
        last.end_commit(Lsn(9));
        let record = last.iter().next().expect("one record");
        assert_eq!((record.commit_end, record.trace_parent), (Some(Lsn(9)), Some(&[b'1'; TRACE_PARENT_BYTES])));
        assert!(record.unchanged.is_empty());
    }

    #[test]
    fn a_record_taken_back_leaves_nothing() {
        let mut records = block();
        assert_eq!((records.last_key(), records.last_bytes()), (&b"k2"[..], 11));
        records.drop_last();
        assert_eq!(told(&records), [("k1".into(), "v1".into(), 1)]);
        assert_eq!(records.bytes(), 4);
    }
}
