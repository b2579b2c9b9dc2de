//! Debezium's own consumers, in a Kafka Connect worker.

mod debezium;
mod peer;
mod render;
mod waiting;
