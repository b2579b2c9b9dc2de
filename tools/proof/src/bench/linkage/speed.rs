//! How many records a second the linker takes, with its own tables on a real PostgreSQL, full of people.

use super::known;
use crate::bench::Options;
use anyhow::Context;
use boot::database::{DatabaseSettings, Tls, pool};
use bytes::Bytes;
use change::{Lsn, Position};
use deadpool_postgres::Object;
use event::{Action, Body, Demographics, NhsNumber, Part, PatientEvent, SourcePatient};
use futures_util::SinkExt as _;
use identity::{block::keys, parameters::Parameters};
use linker::store;
use region::linkage::{Registered, registered};
use stack::{Lifetime, Postgres};
use std::{fmt::Write as _, pin::pin, time::Instant};

const DATABASE: &str = "causeway";
/// Records that are taken: half of them of people that are known, half of others.
const RECORDS: usize = 20_000;
/// As the linker reads them.
const BATCH: usize = linker::BATCH_MESSAGES_MAX;
const COPY_CHUNK_BYTES: usize = 1 << 20;
const PROGRESS_EVERY: u64 = 500_000;
const NOW: i64 = 1_764_000_000_000_000;

pub struct Speed {
    pub known: f64,
    pub records_per_s: f64,
}

#[expect(clippy::cast_precision_loss, reason = "counts of records")]
pub async fn measure(
    options: &Options,
    persons: u64,
    seed: u64,
    parameters: &Parameters,
    say: &impl Fn(&str),
) -> anyhow::Result<Speed> {
    let folder = options.folder.join("linkage");
    let _ = std::fs::remove_dir_all(&folder);
    let server = Postgres::start("linkage", &folder, Lifetime::WithParent).await?;
    server.create_role("linker", "login").await?;
    server.create_database(DATABASE, "linker").await?;
    let settings = DatabaseSettings {
        url: server.url("linker", DATABASE),
        password_file: Some(server.password_file("linker")),
        tls: Tls::default(),
        ca_file: None,
    };
    let pool = pool(&settings, 1)?;
    let mut client = Object::take(pool.get().await?);
    store::migrate(&mut client).await?;
    fill(&client, persons, seed, parameters, say).await?;
    let events = events(seed, persons);
    say(&format!("takes {} records", events.len()));
    let started = Instant::now();
    for batch in events.chunks(BATCH) {
        store::take(&mut client, batch, Some(parameters)).await?;
    }
    let records_per_s = events.len() as f64 / started.elapsed().as_secs_f64();
    drop(client);
    let _ = std::fs::remove_dir_all(&folder);
    Ok(Speed { known: persons as f64, records_per_s })
}

/// The first record of each person, as the linker would have stored it.
async fn fill(
    client: &tokio_postgres::Client,
    persons: u64,
    seed: u64,
    parameters: &Parameters,
    say: &impl Fn(&str),
) -> anyhow::Result<()> {
    // The index is made afterwards, as in a restore.
    client
        .batch_execute(
            "set maintenance_work_mem = '256MB'; set synchronous_commit = off;
             alter table identity.block drop constraint block_pkey; drop index identity.block_patient",
        )
        .await?;
    copy(client, persons, say, "people",
        "copy identity.patient (seen, source, patient, own, position, revision, nhs_number, number_now, verified, birth_date,
           withdrawn, given, family, gender, postcode, described, weighed) from stdin",
        |person, out| {
            let record = first(seed, person);
            let number = record.number.as_deref().unwrap_or("\\N");
            let (born, postcode) = (date(record.born), &record.postcode);
            let _ = writeln!(
                out,
                "{}\t{}\t{person}\t{}\t0\t1\t{number}\t{number}\t{}\t{born}\tf\t{}\t{}\t{}\t{postcode}\tt\t{}",
                person + 1, record.source, uuid::Uuid::from_u128(u128::from(person) + 1), record.verified, record.given,
                record.family, record.sex, parameters.version,
            );
        }).await?;
    copy(client, persons, say, "people in blocks", "copy identity.block (key, patient) from stdin", |person, out| {
        let seen = i64::try_from(person + 1).unwrap_or(i64::MAX);
        for key in keys(&known(seen, &first(seed, person))) {
            let _ = writeln!(out, "{}\t{seen}", store::block_number(&key));
        }
    })
    .await?;
    say("indexes the blocks");
    client
        .batch_execute(
            "alter table identity.block add primary key (key, patient); create index block_patient on identity.block (patient);
             insert into identity.link (source, patient, person, version, status, reason, decided_at)
               select source, patient, own, 1, 'alone', 'no other patient has this verified NHS number', now() from identity.patient;
             select setval(pg_get_serial_sequence('identity.patient', 'seen'), (select max(seen) from identity.patient));
             analyze identity.patient; analyze identity.block; analyze identity.link",
        )
        .await
        .context("cannot index the people")?;
    client.batch_execute("reset synchronous_commit").await?;
    Ok(())
}

async fn copy(
    client: &tokio_postgres::Client,
    persons: u64,
    say: &impl Fn(&str),
    what: &str,
    sql: &str,
    line: impl Fn(u64, &mut String),
) -> anyhow::Result<()> {
    let mut sink = pin!(client.copy_in::<_, Bytes>(sql).await?);
    let mut chunk = String::with_capacity(COPY_CHUNK_BYTES);
    for person in 0..persons {
        line(person, &mut chunk);
        if chunk.len() >= COPY_CHUNK_BYTES {
            sink.send(Bytes::from(std::mem::take(&mut chunk))).await?;
        }
        if (person + 1).is_multiple_of(PROGRESS_EVERY) {
            say(&format!("{} of {persons} {what}", person + 1));
        }
    }
    sink.send(Bytes::from(chunk)).await?;
    sink.finish().await?;
    Ok(())
}

fn first(seed: u64, person: u64) -> Registered {
    registered(seed, person).swap_remove(0)
}

fn date(days: i32) -> String {
    let (year, month, day) = change::avro::value::civil_of_days(days.into());
    format!("{year:04}-{month:02}-{day:02}")
}

/// Further records of people that are known, and records of others, by turns.
fn events(seed: u64, persons: u64) -> Vec<PatientEvent> {
    let further = (0..persons).flat_map(|person| registered(seed, person).into_iter().skip(1));
    let new = (persons..).flat_map(|person| registered(seed, person));
    let records = further.zip(new).flat_map(|(one, other)| [one, other]).take(RECORDS);
    (1..).zip(records).map(|(commit, record)| event(commit, &record)).collect()
}

fn event(commit: u64, record: &Registered) -> PatientEvent {
    PatientEvent {
        patient: SourcePatient { source: record.source.into(), id: record.person.to_string() },
        organisation: "R1V01".into(),
        record: "patient".into(),
        position: Position::new(1, Lsn(commit), 1),
        revision: 1,
        action: Action::Recorded,
        part: Part { index: 1, of: 1 },
        committed_at: NOW,
        snapshot: false,
        entered_at: None,
        effective_at: None,
        body: Body::Demographics(Demographics {
            nhs_number: record.number.as_deref().and_then(NhsNumber::parse),
            nhs_number_verified: record.verified,
            given: Some(record.given.clone()),
            family: Some(record.family.clone()),
            birth_date: Some(record.born),
            gender: Some(record.sex.into()),
            postcode: Some(record.postcode.clone()),
            ..Demographics::default()
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
