//! Logs: one JSON object a line on standard error, or plain text for a terminal.

use serde::Deserialize;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Json,
    Text,
}

/// What the Kafka client says of each broker that comes and goes is noise: whoever waits for Kafka says so once.
const DEFAULT: &str = "info,tokio_postgres=warn,refinery_core=warn,rdkafka=error,librdkafka=error";

/// Starts logging. `CAUSEWAY_LOG` filters as `RUST_LOG` would; the default is `info`.
/// Traces are told by the `trace_id` field that spans carry.
pub fn start(format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("CAUSEWAY_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()?
        }
        LogFormat::Text => registry.with(fmt::layer().with_writer(std::io::stderr)).try_init()?,
    }
    Ok(())
}

/// The trace id inside a W3C `traceparent`, for log fields.
pub fn trace_id(traceparent: &str) -> Option<&str> {
    let id = traceparent.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(id)
}

#[cfg(test)]
mod tests {
    #[test]
    fn trace_id_is_the_second_part() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(super::trace_id(parent), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(super::trace_id("nonsense"), None);
    }
}
