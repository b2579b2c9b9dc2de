//! The log of changes on Kafka: how to reach the brokers and the schema registry, the wire
//! frame, the topics, and the two ends of `changes.<source>`.
//!
//! # Why
//! Exactly once is by position, not by broker transactions: a writer opens a *session* with a
//! record of its own, reads back to it, and goes on after the last position before it. A reader
//! ignores what an older session wrote later, and every record names the position before it,
//! so a hole cannot pass unseen.

mod beginning;
mod clients;
pub mod control;
pub mod difference;
mod ends;
pub mod frame;
pub mod header;
pub mod kafka;
pub mod lease;
mod logs;
pub mod members;
pub mod owners;
mod pace;
pub mod reader;
pub mod records;
pub mod registry;
pub mod signal;
pub mod tail;
pub mod told;
pub mod topics;
pub mod versions;
pub mod watch;
pub mod whole;
pub mod writer;

pub use clients::Clients;
pub use ends::HearsEnds;
pub use kafka::{KafkaSettings, SaslMechanism, SaslSettings, SecuritySettings};
pub use lease::Lease;
pub use owners::Owners;
pub use reader::{Control, ControlBody, Item, LogPoint, LogReader, ReadError, Rejected};
pub use records::{RecordRef, Records};
pub use registry::{Registry, RegistryError, RegistrySettings};
pub use tail::{LastRecord, LogTail, TailError};
pub use topics::{Kept, TopicError, TopicSpec};
pub use versions::Versions;
pub use watch::{Place, Question, Reading, STALLED_AFTER, Stalled, Watch};
pub use whole::{Whole, WholeReader};
pub use writer::{LogWriter, WriteError, WriterSettings};
