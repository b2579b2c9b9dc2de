//! What is set of one source's topics.

/// By [`Settings::new`], as Debezium's connector is when nothing is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub source: String,
    /// Truncations are told, as `t`. Debezium skips them (`skipped.operations`), and not every reader knows them.
    pub truncations: bool,
    /// `schema.table` of tables that have no topic.
    pub without: Vec<String>,
}

impl Settings {
    pub fn new(source: impl Into<String>) -> Self {
        Self { source: source.into(), truncations: false, without: Vec::new() }
    }
}
