//! One message that was set aside, applied after all: what an operator asks for once its cause is mended.
//!
//! # Why
//! The message is read where it stands on its topic, and applied as every other is: guarded by its own place, in one
//! transaction with what the hook makes of it. So nothing is undone that the record has learnt since, and to ask twice
//! does what to ask once did.

use crate::{
    ViewsError, World,
    consume::{COLLISION_PAUSE, COLLISIONS_MAX},
    decode::Decoder,
    hook::Hook,
    plan::{Incoming, Item, Plan},
    write,
};
use boot::database::DatabaseFault;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::OwnedMessage,
};
use std::time::{Duration, Instant};

const BROKER_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

/// Where a message stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its whole name.
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// What it says is in the record.
    Applied,
    /// The record holds a later state of what it tells.
    Overtaken,
    Unreadable(&'static str),
    /// The database refuses still what it says.
    Refused,
    /// Its topic does not hold it any more.
    Gone,
}

/// Applies the message that stands there.
pub async fn again<H: Hook>(world: &World, hook: &H, origin: &Origin) -> Result<Again, ViewsError> {
    let failed = |source| ViewsError::Kafka { doing: "read a message again", source };
    let wanted = origin.clone();
    let message = world.kafka.look(failed, move |consumer| fetch(consumer, &wanted).map_err(failed)).await?;
    let Some(message) = message else { return Ok(Again::Gone) };
    let mut decoder = Decoder::new(&world.kafka, world.registry.clone()).await?;
    let Some(place) = decoder.place(&message) else { return Ok(Again::Unreadable("of no topic of the record")) };
    let item = match decoder.item(place, message.payload()).await? {
        Ok(Item::Passed) => return Ok(Again::Overtaken),
        Ok(item) => item,
        Err(reason) => return Ok(Again::Unreadable(reason)),
    };
    // How links stand is told by their versions, and none is counted.
    let is_link = matches!(item, Item::Link(_));
    let plan = Plan::of([Incoming { place, item }]);
    let mut collisions = 0;
    loop {
        let mut client = world.pool.get().await?;
        match write::apply(&mut client, &plan, hook, true).await {
            Ok(outcome) if outcome.applied > 0 || is_link => return Ok(Again::Applied),
            Ok(_) => return Ok(Again::Overtaken),
            Err(error) if error.fault().is_some_and(DatabaseFault::about_the_data) => return Ok(Again::Refused),
            Err(error) if error.fault().is_some_and(DatabaseFault::in_the_way) && collisions < COLLISIONS_MAX => {
                collisions += 1;
                tokio::time::sleep(COLLISION_PAUSE * collisions).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// None: the topic does not hold it any more.
fn fetch(consumer: &BaseConsumer, origin: &Origin) -> Result<Option<OwnedMessage>, KafkaError> {
    let (low, high) = consumer.fetch_watermarks(&origin.topic, origin.partition, BROKER_TIMEOUT)?;
    if !(low..high).contains(&origin.offset) {
        return Ok(None);
    }
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(&origin.topic, origin.partition, Offset::Offset(origin.offset))?;
    consumer.assign(&place)?;
    let deadline = Instant::now() + BROKER_TIMEOUT;
    loop {
        match consumer.poll(POLL) {
            // The client has read for others before.
            Some(Ok(message)) if message.topic() != origin.topic || message.partition() != origin.partition => {}
            Some(Ok(message)) if message.offset() < origin.offset => {}
            Some(Ok(message)) if message.offset() == origin.offset => return Ok(Some(message.detach())),
            // Compaction took it.
            Some(Ok(_)) => return Ok(None),
            Some(Err(error)) if Instant::now() > deadline => return Err(error),
            None if Instant::now() > deadline => {
                return Err(KafkaError::MessageConsumption(rdkafka::error::RDKafkaErrorCode::OperationTimedOut));
            }
            Some(Err(_)) | None => {}
        }
    }
}
