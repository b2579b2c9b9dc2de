//! The whole service on a real Kafka, registry and PostgreSQL: in, through the record, and out again.

use boot::{
    Stop,
    database::{DatabaseSettings, Tls, pool},
    health::Health,
};
use change::{Lsn, Position};
use change_log::{KafkaSettings, Registry, RegistrySettings, frame};
use event::{
    Action, AlertChange, Body, Canonical, Code, Measurement, Observation, Part, PatientAlert, PatientEvent,
    SourcePatient, Teams, avro,
};
use rdkafka::{
    Message,
    consumer::{Consumer, StreamConsumer},
    producer::{FutureProducer, FutureRecord},
    util::Timeout,
};
use rust_decimal::Decimal;
use sink_alerts::{Alerting, AlertsError, Limits};
use sink_views::World;
use stack::{Kafka, Lifetime, Postgres};
use std::{
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::task::JoinHandle;

const WAIT_MAX: Duration = Duration::from_secs(60);

struct Region {
    database: Postgres,
    kafka: Kafka,
    _registry: stack::Registry,
    alerting: Alerting,
    producer: FutureProducer,
    schema: u32,
    folder: PathBuf,
}

impl Drop for Region {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Region {
    async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("causeway-sinks-{}", std::process::id()));
        let (one, two, three) = (folder.join("database"), folder.join("kafka"), folder.join("registry"));
        let (database, kafka, registry) = tokio::try_join!(
            Postgres::start("own", &one, Lifetime::WithParent),
            Kafka::start(&two, Lifetime::WithParent),
            stack::Registry::start(&three, Lifetime::WithParent),
        )
        .expect("the stack");
        database.create_role("sinks", "login").await.expect("a role");
        database.create_database("causeway", "sinks").await.expect("a database");
        let settings = DatabaseSettings {
            url: database.url("sinks", "causeway"),
            password_file: Some(database.password_file("sinks")),
            tls: Tls::default(),
            ca_file: None,
        };
        let brokers = kafka.brokers().to_owned();
        let kafka_settings = KafkaSettings {
            brokers,
            topic_prefix: "t.".into(),
            replicas: 1,
            security: None,
            clients: change_log::Clients::default(),
        };
        let client = Registry::new(&RegistrySettings { url: registry.url() }).expect("a client");
        let alerting = Alerting {
            world: World {
                kafka: kafka_settings.clone(),
                registry: client.clone(),
                pool: pool(&settings, 8).expect("a pool"),
            },
            database: settings,
            teams: Teams::parse(include_str!("../../../site/teams.toml")).expect("teams"),
            organisations: [("stmarys".to_owned(), "RSM01".to_owned())].into(),
            limits: Limits::parse(include_str!("../../../site/alerts.toml")).expect("limits"),
        };
        let schema = client.register("t.patient.events-value", avro::SCHEMA).await.expect("registered");
        let producer = kafka_settings.client().create().expect("a producer");
        Self { database, kafka, _registry: registry, alerting, producer, schema, folder }
    }

    fn run(&self) -> Running {
        let (stop, health) = (Stop::new(), Health::new());
        let running = sink_alerts::run(
            sink_alerts::Settings::default(),
            sink_views::Settings::default(),
            self.alerting.clone(),
            health.clone(),
            stop.clone(),
        );
        Running { task: tokio::spawn(running), stop, health }
    }

    async fn produce(&self, topic: &str, key: &str, value: &[u8]) {
        let record = FutureRecord::to(topic).key(key).payload(value);
        self.producer.send(record, Timeout::After(WAIT_MAX)).await.map_err(|(error, _)| error).expect("produced");
    }

    async fn tell(&self, commit: u64, number: &str) {
        let event = potassium(commit, number);
        let mut value = Vec::new();
        frame::start(self.schema, &mut value);
        avro::encode(&event, &mut value);
        self.produce("t.patient.events", &event.patient.to_string(), &value).await;
    }

    async fn count(&self, sql: &str) -> i64 {
        let client = self.alerting.world.pool.get().await.expect("a connection");
        client.query_one(sql, &[]).await.expect("a count").get(0)
    }

    async fn until(&self, sql: &str, want: i64) {
        let started = Instant::now();
        loop {
            let got = match self.alerting.world.pool.get().await {
                Ok(client) => client.query_one(sql, &[]).await.map(|row| row.get(0)).ok(),
                Err(_) => None,
            };
            if got == Some(want) {
                return;
            }
            assert!(started.elapsed() < WAIT_MAX, "{sql}: {got:?}, not {want}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Changes on `patient.alerts`, from its beginning, until so many have come or nothing more does.
    async fn delivered(&self, count: usize) -> Vec<PatientAlert> {
        let mut config = self.alerting.world.kafka.client();
        config.set("group.id", format!("reader-{:?}", Instant::now())).set("auto.offset.reset", "earliest");
        let consumer: StreamConsumer = config.create().expect("a consumer");
        consumer.subscribe(&["t.patient.alerts"]).expect("subscribed");
        let mut told = Vec::new();
        while told.len() < count {
            let message = tokio::time::timeout(WAIT_MAX, consumer.recv()).await.expect("in time").expect("a message");
            let (_, datum) = frame::unwrap(message.payload().expect("a value")).expect("framed");
            let alert = avro::decode_alert(datum).expect("an alert");
            assert_eq!(message.key(), Some(alert.alert.to_string().as_bytes()));
            told.push(alert);
        }
        let more = tokio::time::timeout(Duration::from_secs(2), consumer.recv()).await;
        assert!(more.is_err(), "nothing is told twice");
        told
    }
}

struct Running {
    task: JoinHandle<Result<(), AlertsError>>,
    stop: Stop,
    health: Health,
}

impl Running {
    async fn ready(&self) {
        let started = Instant::now();
        while !self.health.ready() {
            assert!(started.elapsed() < WAIT_MAX, "{:?}", self.health.parts());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic").expect("a good end");
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_micros()).expect("before the year 294277")
}

fn potassium(commit: u64, number: &str) -> PatientEvent {
    let number: Decimal = number.parse().expect("a number");
    PatientEvent {
        patient: SourcePatient { source: "stmarys".into(), id: "david".into() },
        organisation: "RSM01".into(),
        record: format!("result/{commit}"),
        position: Position::new(1, Lsn(commit), 1),
        revision: 1,
        action: Action::Recorded,
        part: Part { index: 1, of: 1 },
        committed_at: now(),
        snapshot: false,
        entered_at: None,
        effective_at: Some(now()),
        body: Body::Observation(Observation {
            code: Code { text: "Potassium".into(), ..Code::default() },
            analyte: Some("potassium".into()),
            value: Measurement {
                number: Some(number),
                unit: Some("mmol/L".into()),
                canonical: Some(Canonical { number, unit: "mmol/L".into() }),
                ..Measurement::default()
            },
            requester: Some("stmarys-ed".into()),
            ..Observation::default()
        }),
        traceparent: None,
        generation: 0,
        confidential: false,
        reread: false,
        incomplete: None,
        effective_precision: None,
        reinterpreted: false,
        participants: Vec::new(),
        location: None,
        made_by: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_go_out_once_through_restarts_and_nothing_malformed_stops_them() {
    let mut region = Region::start().await;
    let running = region.run();
    running.ready().await;
    region.tell(1, "6.7").await;
    region.produce("t.patient.events", "?", b"{\"not\": \"ours\"}").await;
    region.produce("t.patient.events", "?", &frame::wrap(region.schema, b"\x02")).await;
    region.produce("t.patient.events", "?", &frame::wrap(4_711, b"")).await;
    region.produce("t.quarantine", "?", b"neither").await;
    region.tell(2, "4.1").await;
    region.until("select count(*) from record.observation", 2).await;
    region.until("select count(*) from record.quarantine", 4).await;
    region.until("select count(*) from alert.outbox", 0).await;
    running.stop().await;
    // A change that a later version made: it stands aside, and what comes after it goes out.
    let client = region.alerting.world.pool.get().await.expect("a connection");
    let later = "insert into alert.outbox (alert, change) select id, 'archived' from alert.alert";
    assert_eq!(client.execute(later, &[]).await.expect("inserted"), 1);
    drop(client);

    // Ended at any moment, with work on the way: each alert goes out once.
    for round in 0..3_u64 {
        let running = region.run();
        running.ready().await;
        for number in 0..20 {
            region.tell(10 + 20 * round + number, "6.9").await;
        }
        running.task.abort();
    }
    let running = region.run();
    running.ready().await;
    region.until("select count(*) from alert.alert", 61).await;
    region.until("select count(*) from alert.outbox", 0).await;
    assert_eq!(region.count("select count(*) from alert.refused where change = 'archived'").await, 1);
    let told = region.delivered(61).await;
    assert!(told.iter().all(|alert| alert.change == AlertChange::Raised && alert.teams == ["stmarys-ed"]));
    let mut ids: Vec<_> = told.iter().map(|alert| alert.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 61);

    // The database and Kafka are killed and come back.
    region.database.kill_9().expect("killed");
    region.tell(100, "7.0").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!running.health.ready(), "it says what it waits for");
    region.database.restart().await.expect("started");
    region.until("select count(*) from alert.alert", 62).await;
    region.kafka.kill_9().expect("killed");
    region.kafka.restart().await.expect("started");
    region.tell(101, "7.0").await;
    region.until("select count(*) from alert.alert", 63).await;
    region.until("select count(*) from alert.outbox", 0).await;
    assert_eq!(region.delivered(63).await.len(), 63);

    // Wiped and replayed: the same rows, and not a word on the alerts' topic.
    let client = region.alerting.world.pool.get().await.expect("a connection");
    let sum = sink_views::checksum(&client).await.expect("a checksum");
    running.stop().await;
    sink_views::rebuild(&region.alerting.world.pool, &region.alerting.world.kafka).await.expect("wiped");
    assert_eq!(region.count("select count(*) from record.observation").await, 0);
    let running = region.run();
    running.ready().await;
    region.until("select count(*) from record.rebuild", 0).await;
    assert_eq!(sink_views::checksum(&client).await.expect("a checksum"), sum);
    assert_eq!(region.delivered(63).await.len(), 63);
    drop(client);
    running.stop().await;
}
