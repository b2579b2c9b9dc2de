"""Reads patient.events: a whole consumer, with confluent-kafka and fastavro.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python consume_events.py --brokers localhost:9092 --registry http://localhost:8080/apis/ccompat/v7

It keeps the rules of docs/subscribers.md: per record only what exceeds the (generation, position) applied last, a marker for what was
retracted, and offsets committed only after the work is done. Without --bodies no clinical value is printed.
"""

import argparse
import datetime
import json
import sys

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

BATCH_EVENTS_MAX = 500
POLL_SECONDS = 1.0


class Records:
    """What a service would keep in its own database: the newest word on each record."""

    def __init__(self):
        self.newest = {}

    def apply(self, event):
        """Returns whether the event said anything new."""
        record = (event["source"], event["patient"], event["record"])
        # Events from before there were generations have none; among them an equal position goes by the revision.
        place = (event.get("generation", 0), event["position"], event["revision"])
        if record in self.newest and place <= self.newest[record][0]:
            return False
        # A retracted record stays as a marker: an older event cannot bring it back.
        self.newest[record] = (place, None if event["action"] == "retracted" else event["body"])
        return True

    def live(self):
        return sum(body is not None for _, body in self.newest.values())


class Owners:
    """Where several processes share the work: what an older owner of a source wrote behind a newer one's first is void."""

    def __init__(self):
        self.newest = {}

    def void(self, message):
        """Also an owner's first record, which has no value and says nothing else."""
        source, _, epoch = headers(message).get("causeway-owner", "").rpartition("/")
        if not source:
            return False
        newest = max(int(epoch), self.newest.get((message.partition(), source), 0))
        self.newest[message.partition(), source] = newest
        return int(epoch) < newest or message.value() is None


def headers(message):
    return {name: value.decode() for name, value in message.headers() or [] if value is not None}


def line(message, event, new, bodies):
    told = headers(message)
    shown = {
        "id": told.get("ce_id"),
        "type": told.get("ce_type"),
        "partition": message.partition(),
        "offset": message.offset(),
        "position": event["position"],
        "part": f"{event['part_index']}/{event['part_of']}",
        "new": new,
    }
    if bodies:
        shown.update(subject=told.get("ce_subject"), record=event["record"], body=event["body"])
    return json.dumps(shown, default=text, ensure_ascii=False)


def text(value):
    """Dates and times; everything else in an event is JSON already. Numbers are text: decimals stay exact."""
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    raise TypeError(f"unexpected {type(value).__name__}")


def event_of(message, decode):
    """The event, or None for a message that is none: of another schema, cut off, or without a value."""
    try:
        event = decode(message.value(), SerializationContext(message.topic(), MessageField.VALUE))
        return event if isinstance(event, dict) and "position" in event else None
    except Exception:  # noqa: BLE001: decoders fail in many ways, and a consumer must outlive all of them
        return None


def ends(consumer, topic):
    """Where each partition ends now, of those that hold anything."""
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    marks = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10) for p in partitions}
    return {p: high for p, (low, high) in marks.items() if high > low}


def consume(options, out=sys.stdout):
    registry = SchemaRegistryClient({"url": options.registry})
    decode = AvroDeserializer(registry)
    consumer = Consumer(
        {
            "bootstrap.servers": options.brokers,
            "group.id": options.group,
            "auto.offset.reset": "earliest",
            # Committed below, after the work.
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    waiting = ends(consumer, options.topic) if options.until_end else None
    consumer.subscribe([options.topic])
    records, owners, refused = Records(), Owners(), 0
    try:
        while waiting is None or waiting:
            messages = consumer.consume(BATCH_EVENTS_MAX, POLL_SECONDS)
            for message in messages:
                if message.error():
                    raise KafkaException(message.error())
                void = owners.void(message)
                event = None if void else event_of(message, decode)
                if void:
                    pass
                elif event is None:
                    refused += 1
                    where = f"{message.topic()}[{message.partition()}]@{message.offset()}"
                    print(f"not an event: {where}", file=sys.stderr)
                else:
                    print(line(message, event, records.apply(event), options.bodies), file=out)
                if waiting and message.offset() + 1 >= waiting.get(message.partition(), 0):
                    waiting.pop(message.partition(), None)
            if messages:
                consumer.commit(asynchronous=False)
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()
    print(f"{len(records.newest)} records, {records.live()} of them live, {refused} messages refused", file=sys.stderr)


def arguments():
    parser = argparse.ArgumentParser(description="Read patient.events and print a line of JSON for each event.")
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--registry", required=True, help="the Confluent-compatible base URL")
    parser.add_argument("--topic", default="patient.events")
    parser.add_argument("--group", default="example-consumer", help="work is shared by the members of a group")
    parser.add_argument("--until-end", action="store_true", help="stop where the topic ends now")
    parser.add_argument("--bodies", action="store_true", help="print the clinical content, which is patient data")
    return parser.parse_args()


if __name__ == "__main__":
    consume(arguments())
