//! Who reads patient events, and whether they understand how those are ordered.
//!
//! # Why
//! A sink from before there were generations orders a record's events by position alone. To it, what a new generation
//! tells of an old position is nothing new: it would stay deaf to corrections, and look well. So every sink says with its
//! client id which order it reads, the broker says who is in the sinks' group, and no generation is told while one of them
//! does not read it.
//!
//! So it is with kinds of records that version 1 of the events' schema did not have: a sink of that version would put them
//! into quarantine as malformed. A later one waits at what it does not know.

use crate::KafkaSettings;
use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};
use std::time::Duration;

/// The sinks' consumer group on the topics of patient events, identity links and quarantine.
pub const SINKS: &str = "causeway-sinks";
/// Reads by (generation, position).
pub const GENERATIONS: u32 = 1;
/// Reads every kind of version 2, and waits at a kind that it does not know.
pub const KINDS: u32 = 2;
const ORDER: u32 = KINDS;
const CLIENT: &str = "causeway-order-";
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// The client id of a sink that reads by the order of this version.
pub fn client_id() -> String {
    format!("{CLIENT}{ORDER}")
}

/// How many members of the sinks' group do not read by this order.
pub async fn behind(kafka: &KafkaSettings, order: u32) -> KafkaResult<usize> {
    let group = kafka.topic(SINKS);
    let asking = move |client: &BaseConsumer| {
        let groups = client.client().fetch_group_list(Some(&group), ASK_TIMEOUT)?;
        let members = groups.groups().iter().flat_map(|group| group.members());
        Ok(members.filter(|member| !reads(member.client_id(), order)).count())
    };
    kafka.look(|error| error, asking).await
}

fn reads(client_id: &str, order: u32) -> bool {
    client_id.strip_prefix(CLIENT).and_then(|told| told.parse().ok()).is_some_and(|told: u32| told >= order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_tells_the_order_that_is_read() {
        for order in [GENERATIONS, KINDS] {
            assert!(reads(&client_id(), order) && reads("causeway-order-3", order));
            for before in ["causeway", "rdkafka", "", "causeway-order-", "causeway-order-0", "causeway-order-x"] {
                assert!(!reads(before, order), "{before}");
            }
        }
        // The version before reads generations, and not every kind.
        assert!(reads("causeway-order-1", GENERATIONS) && !reads("causeway-order-1", KINDS));
    }
}
