//! For clients that want to hear where a partition ends.

use rdkafka::{ClientContext, consumer::ConsumerContext, error::KafkaError, types::RDKafkaErrorCode};

/// The context of a consumer with `enable.partition.eof`. The client reports an end as it reports errors, and the default
/// context writes each into the log as one.
#[derive(Clone, Copy, Debug, Default)]
pub struct HearsEnds;

impl ClientContext for HearsEnds {
    fn error(&self, error: KafkaError, reason: &str) {
        if !is_end(&error) {
            tracing::error!(target: "rdkafka", %error, reason, "the Kafka client reports");
        }
    }
}

impl ConsumerContext for HearsEnds {}

fn is_end(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_no_error() {
        assert!(is_end(&KafkaError::Global(RDKafkaErrorCode::PartitionEOF)));
        assert!(!is_end(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown)));
    }
}
