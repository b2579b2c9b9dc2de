//! W3C trace context: one trace for each transaction, the same however often it is read.

use change::{Position, position::POSITION_TEXT_BYTES};
use change_log::records::TraceParent;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// The `traceparent` of a transaction.
pub(crate) fn parent(source: &str, commit: Position) -> TraceParent {
    let mut name = Vec::with_capacity(source.len() + POSITION_TEXT_BYTES);
    name.extend_from_slice(source.as_bytes());
    name.extend_from_slice(commit.to_string().as_bytes());
    let text = format!("00-{:032x}-{:016x}-01", xxh3_128(&name) | 1, xxh3_64(&name) | 1);
    let mut parent = [b'0'; change_log::records::TRACE_PARENT_BYTES];
    parent.copy_from_slice(text.as_bytes());
    parent
}

#[cfg(test)]
mod tests {
    use super::*;
    use change::Lsn;

    #[test]
    fn a_transaction_has_one_trace() {
        let at = |commit| parent("riverside", Position::new(1, Lsn(commit), 0));
        assert_eq!(at(5), at(5));
        assert_ne!(at(5), at(6));
        let text = String::from_utf8(at(5).to_vec()).expect("text");
        assert!(text.starts_with("00-") && text.ends_with("-01"));
    }
}
