//! `./run bench normalise`: how fast a hospital's changes become coded events, beside a bare read, decode, encode and
//! produce of the same records, in the same run; how fast an empty store is filled; and how long a start takes.

use super::{
    Options, median,
    stage::{Arrived, POLL, ROLE, Stage},
    usage::resident_max_mb,
};
use crate::report::Report;
use anyhow::Context;
use change_log::{
    Item, KafkaSettings, LogPoint, LogReader, Registry, RegistrySettings, frame,
    topics::{EVENTS, changes_topic},
};
use event::{PatientEvent, avro};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    producer::{FutureProducer, FutureRecord},
};
use stack::Causeway;
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

pub const ROWS: u64 = 300_000;
const SOURCE: &str = "hospital";
const TABLES: [&str; 3] = ["pas.*", "lims.*", "epma.*"];
const WAIT_MAX: Duration = Duration::from_secs(900);
/// Changes of one transaction.
const PER_TRANSACTION: u64 = 100;
/// Records of the floor on their way.
const IN_FLIGHT_MAX: usize = 10_000;

/// What is in the hospital before: for each patient a visit and an order with its specimen, sample and analysis.
fn filled(patients: u64) -> String {
    format!(
        "insert into pas.department values ('MED', 'General medicine', null);
         insert into lims.local_test values ('K', 'Potassium', '2823-3', null, 'mmol/L');
         insert into pas.patient (person_id, local_patient_ident, family_name, given_names, birth_date, sex_code)
             select n, 'M' || n, 'Family' || n % 997, 'Given' || n % 499, date '1940-01-01' + (n % 30000)::int, '2'
             from generate_series(1, {patients}) n;
         insert into pas.encounter (encntr_id, person_id, encntr_class, department_code, start_at)
             select n, n, 'INPATIENT', 'MED', now() from generate_series(1, {patients}) n;
         insert into lims.\"order\" (order_id, person_id, encntr_id, requesting_department, ordered_at)
             select n, n, n, 'MED', now() from generate_series(1, {patients}) n;
         insert into lims.specimen select n, n, 'A' || n, 'Serum', localtimestamp, now() from generate_series(1, {patients}) n;
         insert into lims.sample select n, n, 'SST' from generate_series(1, {patients}) n;
         insert into lims.analysis select n, n, 'UE', 'a1', now() from generate_series(1, {patients}) n;"
    )
}

/// Results, joined through five tables to their patient and through three more to their ward, visit and test.
fn results(first: u64, count: u64, patients: u64) -> String {
    format!(
        "do $$ begin for t in 0..{} loop
            insert into lims.result (result_id, line_id, analysis_id, test_code, value, unit_text, status, entered_at, authorised_at)
            select id, id, 1 + id % {patients}, 'K', '4.' || id % 10, 'mmol/L', 'final', now(), now()
            from generate_series({first} + t * {PER_TRANSACTION}, {first} + t * {PER_TRANSACTION} + {PER_TRANSACTION} - 1) id;
            commit;
        end loop; end $$",
        count / PER_TRANSACTION - 1
    )
}

/// Visits, joined to their patient and their ward.
fn visits(first: u64, count: u64, patients: u64) -> String {
    format!(
        "do $$ begin for t in 0..{} loop
            insert into pas.encounter (encntr_id, person_id, encntr_class, department_code, start_at)
            select id, 1 + id % {patients}, 'OUTPATIENT', 'MED', now()
            from generate_series({first} + t * {PER_TRANSACTION}, {first} + t * {PER_TRANSACTION} + {PER_TRANSACTION} - 1) id;
            commit;
        end loop; end $$",
        count / PER_TRANSACTION - 1
    )
}

struct Round {
    /// One hop.
    visits: Figures,
    /// Five hops, eight joins.
    results: Figures,
    restart_s: f64,
}

struct Figures {
    floor: f64,
    ours: Arrived,
}

pub async fn run(options: &Options, mut say: impl FnMut(&str)) -> anyhow::Result<Report> {
    say("starting PostgreSQL, Kafka and the registry");
    let stage = Stage::start(&options.folder).await?;
    let report = rounds(&stage, options, &mut say).await;
    stage.stop().await?;
    report
}

async fn rounds(stage: &Stage, options: &Options, say: &mut impl FnMut(&str)) -> anyhow::Result<Report> {
    let rows = options.rows.unwrap_or(ROWS) / PER_TRANSACTION * PER_TRANSACTION;
    let patients = rows / 5;
    say(&format!("writing a hospital of {patients} patients"));
    let schema = std::fs::read_to_string(stack::repository().join("tools/region/sql/hospital.sql"))?;
    stage.cluster.create_database(SOURCE, stack::SUPERUSER).await?;
    stage.cluster.execute(SOURCE, &format!("{schema};{}", owned())).await?;
    stage.cluster.execute(SOURCE, &filled(patients)).await?;
    stage.cluster.execute(SOURCE, &results(1, rows, patients)).await?;
    let mut connector = stage.service("connector", SOURCE, SOURCE, &TABLES)?;
    connector.start().await?;
    let filled = i64::try_from(rows + patients * 6)?;
    wait_for(stage, &mut connector, &changes_topic(SOURCE), filled).await?;

    let mut normaliser = stage.service("normaliser", SOURCE, SOURCE, &TABLES)?;
    let started = Instant::now();
    normaliser.launch()?;
    let told = i64::try_from(rows + patients * 2)?;
    let fill = stage.arrival(&mut normaliser, EVENTS, (0, told), WAIT_MAX).await?;
    let fill_s = started.elapsed().as_secs_f64();
    let fill_per_s = filled as f64 / fill_s;
    say(&format!("filled {filled} rows in {fill_s:.1} s: {fill_per_s:.0}/s, {:.0} MB", fill.resident_mb));
    normaliser.stop().await?;
    stage.create_topic("floor").await?;
    let (mut rounds, mut next) = (Vec::new(), rows * 2);
    for round in 0..=options.repeat {
        let name = super::round_name(round);
        let restart_s = restart(&mut normaliser).await?;
        let mut take = async |what: &str, sql: String| {
            let figures = drain(stage, (&mut connector, &mut normaliser), &sql, rows).await?;
            let Figures { floor, ours } = &figures;
            say(&format!("{name}: {what} {}, {:.2} of the floor ({floor:.0}/s)", ours.told(), ours.per_s / floor));
            Ok::<_, anyhow::Error>(figures)
        };
        let visits = take("visits (one hop)", visits(next, rows, patients)).await?;
        let results = take("results (five hops)", results(next, rows, patients)).await?;
        next += rows;
        say(&format!("{name}: ready {restart_s:.1} s after its start"));
        rounds.push(Round { visits, results, restart_s });
    }
    rounds.remove(0);
    connector.stop().await?;
    Ok(report(rows, fill_per_s, fill.resident_mb, &rounds))
}

/// The connector makes its publication itself, so it owns the tables.
fn owned() -> String {
    format!(
        "grant create on database {SOURCE} to {ROLE};
         do $$ declare t record; begin
             for t in select schemaname s, tablename n from pg_tables where schemaname in ('pas', 'lims', 'epma') loop
                 execute format('alter table %I.%I owner to {ROLE}', t.s, t.n);
             end loop;
         end $$;
         grant usage on schema pas, lims, epma to {ROLE}"
    )
}

async fn wait_for(stage: &Stage, part: &mut Causeway, topic: &str, records: i64) -> anyhow::Result<i64> {
    let (ends, deadline) = (stage.ends(topic)?, Instant::now() + WAIT_MAX);
    let mut still = (0, Instant::now());
    // All of them, and nothing more for a while.
    loop {
        let now = ends.now();
        if now != still.0 {
            still = (now, Instant::now());
        }
        if now >= records && still.1.elapsed() > Duration::from_secs(2) {
            return Ok(now);
        }
        stage.alive(part, deadline)?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Seconds from its start until it follows its log, with nothing new in it.
async fn restart(normaliser: &mut Causeway) -> anyhow::Result<f64> {
    let started = Instant::now();
    normaliser.start().await?;
    let seconds = started.elapsed().as_secs_f64();
    normaliser.stop().await?;
    Ok(seconds)
}

/// A backlog of so many changes: the floor over it, and then a normaliser that goes on from its store.
async fn drain(
    stage: &Stage,
    (connector, normaliser): (&mut Causeway, &mut Causeway),
    sql: &str,
    changes: u64,
) -> anyhow::Result<Figures> {
    let topic = changes_topic(SOURCE);
    let from = stage.ends(&topic)?.now();
    stage.cluster.execute(SOURCE, sql).await?;
    let changes = i64::try_from(changes)?;
    wait_for(stage, connector, &topic, from + changes).await?;
    let floor = floor(stage, from, changes).await?;
    let told = stage.ends(EVENTS)?.now();
    normaliser.launch()?;
    let ours = stage.arrival(normaliser, EVENTS, (told, changes), WAIT_MAX).await?;
    let pid = normaliser.pid().context("the normaliser is gone")?;
    let ours = Arrived { resident_mb: resident_max_mb(pid)?, ..ours };
    normaliser.stop().await?;
    Ok(Figures { floor, ours })
}

/// The same records read and decoded, and for each an event encoded and produced: changes a second.
async fn floor(stage: &Stage, from: i64, changes: i64) -> anyhow::Result<f64> {
    let kafka = KafkaSettings {
        brokers: stage.brokers().to_owned(),
        topic_prefix: String::new(),
        replicas: 1,
        security: None,
        clients: change_log::Clients::default(),
    };
    let registry = Registry::new(&RegistrySettings { url: stage.registry.url().to_owned() })?;
    let (schema, event) = an_event(stage)?;
    let producer: FutureProducer = kafka.outbox(2 * IN_FLIGHT_MAX).create()?;
    let point = LogPoint { offset: from, ..LogPoint::default() };
    let mut reader = LogReader::resume(&kafka, &registry, SOURCE, point)?;
    let (mut taken, mut under_way, mut started) = (0, VecDeque::new(), None);
    while taken < changes {
        for item in reader.read().await?.items {
            let Item::Entry(entry) = item else { continue };
            started.get_or_insert_with(Instant::now);
            let mut payload = Vec::new();
            frame::start(schema, &mut payload);
            avro::encode(&PatientEvent { position: entry.position, ..event.clone() }, &mut payload);
            let key = event.patient.to_string();
            let record = FutureRecord::to("floor").key(&key).payload(&payload);
            under_way.push_back(producer.send_result(record).map_err(|(error, _)| error)?);
            taken += 1;
            if under_way.len() >= IN_FLIGHT_MAX
                && let Some(delivery) = under_way.pop_front()
            {
                delivery.await?.map_err(|(error, _)| error)?;
            }
        }
    }
    for delivery in under_way {
        delivery.await?.map_err(|(error, _)| error)?;
    }
    let started = started.context("nothing was read")?;
    Ok(taken as f64 / started.elapsed().as_secs_f64())
}

/// The newest event, and the id of its schema.
fn an_event(stage: &Stage) -> anyhow::Result<(u32, PatientEvent)> {
    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", stage.brokers())
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut last = TopicPartitionList::new();
    last.add_partition_offset(EVENTS, 0, Offset::OffsetTail(1))?;
    consumer.assign(&last)?;
    let deadline = Instant::now() + WAIT_MAX;
    while Instant::now() < deadline {
        if let Some(message) = consumer.poll(POLL) {
            let message = message?;
            let (schema, datum) = frame::unwrap(message.payload().context("an event")?)?;
            return Ok((schema, avro::decode(datum)?));
        }
    }
    anyhow::bail!("no event was told")
}

fn report(rows: u64, fill_per_s: f64, fill_mb: f64, rounds: &[Round]) -> Report {
    let middle = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let resident = rounds.iter().map(|round| round.results.ours.resident_mb).fold(fill_mb, f64::max);
    let ratio = middle(|round| round.visits.ours.per_s / round.visits.floor);
    let hops = middle(|round| round.results.ours.per_s / round.results.floor);
    let restart_s = middle(|round| round.restart_s);
    let mut report = Report::new("normalise");
    report.figure("rows", rows as f64);
    report.figure("rounds", rounds.len() as f64);
    report.figure("changes_per_s", middle(|round| round.visits.ours.per_s));
    report.figure("changes_per_s_three_hops", middle(|round| round.results.ours.per_s));
    report.figure("floor_per_s", middle(|round| round.visits.floor));
    report.figure("ratio_to_floor", ratio);
    report.figure("ratio_to_floor_three_hops", hops);
    report.figure("cpu_us_per_change", middle(|round| round.visits.ours.cpu_us));
    report.figure("cpu_us_per_change_three_hops", middle(|round| round.results.ours.cpu_us));
    report.figure("fill_rows_per_s", fill_per_s);
    report.figure("rss_mb", resident);
    report.figure("restart_s", restart_s);
    report.check("ratio_to_floor", ratio >= 0.5, &format!("{ratio:.2} of the floor; at least 0.50"));
    report.check("ratio_to_floor_three_hops", hops >= 0.3, &format!("{hops:.2} of the floor; at least 0.30"));
    report.check("restart_s", restart_s <= 5.0, &format!("{restart_s:.1} s; at most 5"));
    report.check("rss_mb", resident <= 1024.0, &format!("{resident:.0} MB; at most 1024"));
    report
}
