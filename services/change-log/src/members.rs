//! Who reads patient events, and whether they understand how those are ordered.
//!
//! # Why
//! A sink from before there were generations orders a record's events by position alone. To it, what a new generation
//! tells of an old position is nothing new: it would stay deaf to corrections, and look well. So every sink says with its
//! client id which order it reads, the broker says who is in the sinks' group, and no generation is told while one of them
//! does not read it.

use crate::KafkaSettings;
use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};
use std::time::Duration;

/// The sinks' consumer group on the topics of patient events, identity links and quarantine.
pub const SINKS: &str = "causeway-sinks";
/// Order 1 is by (generation, position).
const ORDER: u32 = 1;
const CLIENT: &str = "causeway-order-";
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// The client id of a sink that reads by the order of this version.
pub fn client_id() -> String {
    format!("{CLIENT}{ORDER}")
}

/// How many members of the sinks' group do not read by this order.
pub async fn behind(kafka: &KafkaSettings) -> KafkaResult<usize> {
    let group = kafka.topic(SINKS);
    let asking = move |client: &BaseConsumer| {
        let groups = client.client().fetch_group_list(Some(&group), ASK_TIMEOUT)?;
        let members = groups.groups().iter().flat_map(|group| group.members());
        Ok(members.filter(|member| !reads(member.client_id())).count())
    };
    kafka.look(|error| error, asking).await
}

fn reads(client_id: &str) -> bool {
    client_id.strip_prefix(CLIENT).and_then(|order| order.parse().ok()).is_some_and(|order: u32| order >= ORDER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_tells_the_order_that_is_read() {
        assert!(reads(&client_id()) && reads("causeway-order-2"));
        for before in ["causeway", "rdkafka", "", "causeway-order-", "causeway-order-0", "causeway-order-x"] {
            assert!(!reads(before), "{before}");
        }
    }
}
