//! The parts of an envelope around its two rows, appended in the order of the schema:
//! `before`, `after`, then [`Head::write`], [`transaction`], [`tail`].

use super::wire;

/// What the source block says of every record of one table.
#[derive(Clone, Copy, Debug)]
pub struct SourceBlock<'a> {
    /// Causeway's version.
    pub version: &'a str,
    /// `postgresql`.
    pub connector: &'a str,
    /// The source's name.
    pub name: &'a str,
    pub db: &'a str,
    pub schema: &'a str,
    pub table: &'a str,
}

/// The source block up to the LSN, encoded once for a transaction and table.
#[derive(Clone, Debug, Default)]
pub struct Head {
    bytes: Vec<u8>,
}

impl Head {
    /// Encodes the block's constant part.
    pub fn set(&mut self, block: &SourceBlock<'_>, committed_at: i64, snapshot: bool, transaction_id: Option<u32>) {
        let out = &mut self.bytes;
        out.clear();
        for text in [block.version, block.connector, block.name] {
            wire::string(out, text);
        }
        wire::long(out, committed_at.div_euclid(1_000));
        // The union is [string, null]: the default comes first.
        out.push(0);
        wire::string(out, if snapshot { "true" } else { "false" });
        wire::string(out, block.db);
        out.push(wire::NULL);
        wire::optional_long(out, Some(committed_at));
        wire::optional_long(out, committed_at.checked_mul(1_000));
        wire::string(out, block.schema);
        wire::string(out, block.table);
        wire::optional_long(out, transaction_id.map(i64::from));
    }

    /// Appends the source block.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, lsn: u64) {
        out.extend_from_slice(&self.bytes);
        wire::optional_long(out, Some(lsn.cast_signed()));
        out.push(wire::NULL);
    }
}

/// Appends the transaction block.
#[inline]
pub fn transaction(out: &mut Vec<u8>, id: &str, total_order: u64, table_order: u64) {
    out.push(wire::SOME);
    wire::string(out, id);
    wire::long(out, total_order.cast_signed());
    wire::long(out, table_order.cast_signed());
}

/// Appends the operation (`c`, `u`, `d`, `r`, `t`) and the time of capture.
#[inline]
pub fn tail(out: &mut Vec<u8>, operation: &str, captured_at: i64) {
    wire::string(out, operation);
    wire::optional_long(out, Some(captured_at.div_euclid(1_000)));
    wire::optional_long(out, Some(captured_at));
    wire::optional_long(out, captured_at.checked_mul(1_000));
}

/// Appends a whole logical message.
pub fn message(out: &mut Vec<u8>, head: &Head, lsn: u64, captured_at: i64, prefix: &str, content: &[u8]) {
    wire::string(out, "m");
    wire::optional_long(out, Some(captured_at.div_euclid(1_000)));
    head.write(out, lsn);
    out.push(wire::SOME);
    wire::string(out, prefix);
    out.push(wire::SOME);
    wire::bytes(out, content);
}
