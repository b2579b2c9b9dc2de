//! The words of capture: what changed, where in the log it stands, and the two
//! traits that every service's loop is made of.
//!
//! # Why
//! Pure on purpose: no runtime, no sockets, no clock. A position, a row and an
//! envelope mean the same to a connector, the normaliser and a test.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod avro;
pub mod described;
pub mod entry;
pub mod flow;
pub mod position;
pub mod pump;
pub mod row;
pub mod table;

pub use entry::{Change, Entry};
pub use flow::{Batch, Durable, Sink, Source, Step};
pub use position::{Lsn, ParsePositionError, Position};
pub use pump::{Pumped, pump};
pub use row::{Cell, Row, Value};
pub use table::{Column, ColumnType, SECOND_DIGITS, TableId, TableSchema};
