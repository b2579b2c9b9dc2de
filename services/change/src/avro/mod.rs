//! The Avro form of changes, as Debezium's PostgreSQL connector gives it through the Confluent
//! converter: schemas ([`schema`]), an encoder of primitives into a reused buffer ([`wire`],
//! [`decimal`], [`point`], [`envelope`]), and a decoder compiled from a writer's schema ([`plan`]).
//! For schemas of our own, [`Resolution`] turns what another version wrote into what ours reads.
//!
//! # Why
//! Written by hand: rows are encoded straight from the server's text without a value in between,
//! and read without one allocation more than the row needs. Property tests hold both sides to
//! apache-avro.

pub mod bits;
pub mod decimal;
pub mod envelope;
mod node;
pub mod plan;
pub mod point;
mod resolve;
pub mod schema;
pub mod value;
pub mod wire;

pub use plan::{Decoded, EnvelopePlan, Folded, PlanError};
pub use resolve::{Resolution, Unresolvable};
pub use wire::DecodeError;

/// The name a column's flagged text goes by in `connect.name`.
pub(crate) const FLAGGED_NAME: &str = "causeway.FlaggedText";
pub(crate) const DECIMAL_NAME: &str = "org.apache.kafka.connect.data.Decimal";
pub(crate) const VARIABLE_SCALE_NAME: &str = "io.debezium.data.VariableScaleDecimal";
pub(crate) const DATE_NAME: &str = "io.debezium.time.Date";
pub(crate) const TIME_NAME: &str = "io.debezium.time.MicroTime";
pub(crate) const TIMESTAMP_NAME: &str = "io.debezium.time.MicroTimestamp";
pub(crate) const ZONED_NAME: &str = "io.debezium.time.ZonedTimestamp";
pub(crate) const UUID_NAME: &str = "io.debezium.data.Uuid";
pub(crate) const JSON_NAME: &str = "io.debezium.data.Json";
pub(crate) const XML_NAME: &str = "io.debezium.data.Xml";
pub(crate) const LTREE_NAME: &str = "io.debezium.data.Ltree";
pub(crate) const TSVECTOR_NAME: &str = "io.debezium.data.Tsvector";
pub(crate) const BITS_NAME: &str = "io.debezium.data.Bits";
pub(crate) const POINT_NAME: &str = "io.debezium.data.geometry.Point";
pub(crate) const TIME_TZ_NAME: &str = "io.debezium.time.ZonedTime";
pub(crate) const INTERVAL_NAME: &str = "io.debezium.time.Interval";
pub(crate) const ENUM_NAME: &str = "io.debezium.data.Enum";
/// Properties that keep the database's own spelling where Avro's names cannot.
pub const COLUMN_PROPERTY: &str = "causeway.column";
/// Tells types apart that share an Avro form and a `connect.name`.
pub(crate) const TYPE_PROPERTY: &str = "causeway.type";
/// How many digits of a second a column's moments have, where they are fewer than six.
pub(crate) const DIGITS_PROPERTY: &str = "causeway.digits";
pub(crate) const MONEY: &str = "money";
pub(crate) const HSTORE: &str = "hstore";
pub const TABLE_PROPERTY: &str = "causeway.table";
pub(crate) const SCHEMA_PROPERTY: &str = "causeway.schema";
