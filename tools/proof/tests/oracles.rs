//! The oracles' SQL on a real PostgreSQL with the region's sources: histories, David's story, hostile rows.

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use proof::{alerts, views, witness};
use region::{history, hostile, load, story};
use stack::{Lifetime, Postgres, witness::Witness};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use tokio_postgres::Client;

const SEED: u64 = 11;
const PEOPLE: u64 = 40;

struct Sources {
    cluster: Postgres,
    gp: Client,
    hospital: Client,
    causeway: Client,
    folder: Folder,
}

struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn sources(name: &str) -> anyhow::Result<Sources> {
    let folder = Folder(std::env::temp_dir().join(format!("causeway-proof-{name}-{}", std::process::id())));
    let cluster = Postgres::start("sources", &folder.0, Lifetime::WithParent).await?;
    for database in ["riverside", "stmarys", "causeway"] {
        cluster.create_database(database, stack::SUPERUSER).await?;
    }
    let (mut gp, mut hospital) = (cluster.connect("riverside").await?, cluster.connect("stmarys").await?);
    let causeway = cluster.connect("causeway").await?;
    for owner in ["sink-views", "sink-alerts"] {
        migrate(&causeway, &stack::repository().join("services").join(owner).join("migrations")).await?;
    }
    let now = Timestamp::now();
    load::prepare(&mut gp, &mut hospital).await?;
    story::load(&mut gp, &mut hospital, now).await?;
    load::histories(&mut gp, &mut hospital, history::generate(SEED, PEOPLE, now), PEOPLE, |_| {}).await?;
    Ok(Sources { cluster, gp, hospital, causeway, folder })
}

/// All of them, in their order.
async fn migrate(client: &Client, folder: &Path) -> anyhow::Result<()> {
    let mut files = BTreeMap::new();
    for file in std::fs::read_dir(folder)?.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let version = name.strip_prefix('V').and_then(|name| name.split_once("__"));
        let version: u32 = version.with_context(|| format!("{name} names no version"))?.0.parse()?;
        files.insert(version, file.path());
    }
    for file in files.values() {
        client.batch_execute(&std::fs::read_to_string(file)?).await.with_context(|| file.display().to_string())?;
    }
    Ok(())
}

#[tokio::test]
async fn the_record_is_held_against_the_sources() -> anyhow::Result<()> {
    let sources = sources("views").await?;
    let compare = || views::compare(&sources.gp, &sources.hospital, &sources.causeway);
    let empty = compare().await?;
    assert!(empty.compared > 1_000 && empty.missing == empty.compared, "{empty:?}");
    assert_eq!((empty.extra, empty.different, empty.waiting), (0, 0, 0));

    let known = "insert into record.condition (source, patient, record, organisation, position, revision, event_id,
            committed_at, snapshot, code_text, active)
        values ('riverside', $1, $2, 'R1V01', $3, 1, $2 || $3, now(), false, $4, true)";
    let (david, problem) = (story::GP_PATIENT.to_string(), format!("problem/{}", story::ADDISONS_OBSERVATION));
    sources.causeway.execute(known, &[&david, &problem, &"1", &"Addison's disease"]).await?;
    let one = compare().await?;
    assert_eq!((one.missing, one.different, one.extra, one.doubled), (empty.missing - 1, 0, 0, 0), "{:?}", one.first);
    sources.causeway.execute("update record.condition set code_text = 'Asthma'", &[]).await?;
    assert_eq!(compare().await?.different, 1);
    sources.causeway.execute("update record.condition set code_text = 'Addison''s disease'", &[]).await?;
    sources.causeway.execute(known, &[&"another", &problem, &"2", &"Addison's disease"]).await?;
    assert_eq!(compare().await?.doubled, 1, "one record under two patients");
    sources.causeway.execute(known, &[&david, &"problem/none", &"3", &"Asthma"]).await?;
    assert_eq!(compare().await?.extra, 1);

    hostile::gp_rows(&sources.gp, SEED, 1, Timestamp::now()).await?;
    hostile::hospital_rows(&sources.hospital, SEED, 1, Timestamp::now()).await?;
    let hostile = compare().await?;
    assert!(hostile.waiting > 0 && hostile.unaccounted == hostile.waiting, "{hostile:?}");
    let told = hostile.first.context("a difference")?;
    assert!(!told.contains(&david), "{told}");
    Ok(())
}

#[tokio::test]
async fn the_alerts_are_worked_out_anew() -> anyhow::Result<()> {
    let sources = sources("alerts").await?;
    let now = Timestamp::now();
    let earlier = |minutes| now - SignedDuration::from_mins(minutes);
    let rules = alerts::Rules::read(&stack::repository().join("site/alerts.toml"))?;
    let compare = || alerts::compare(&sources.gp, &sources.hospital, &sources.causeway, &rules, now);
    let before = compare().await?;
    let encounter = story::ae_attendance(&sources.hospital, earlier(40)).await?;
    let bloods = story::crisis_result(&sources.hospital, encounter, earlier(20), earlier(1)).await?;
    let crisis = compare().await?;
    // The potassium: limit, the laboratory's own flag, Addison's. The sodium: Addison's.
    assert!(crisis.demanded >= before.demanded + 3, "{before:?} {crisis:?}");
    assert_eq!(crisis.missing, crisis.demanded);

    let raise = "insert into alert.alert (id, fingerprint, rule, severity, source, patient, record, version, event_id, headline,
            detail, urgency, state, committed_at)
        values (gen_random_uuid(), gen_random_uuid()::text::bytea, $1, 'critical', 'stmarys', $2, $3, '1', '1', '-', '{}', 'paged',
            'new', now())";
    let (david, record) = (story::HOSPITAL_PERSON.to_string(), format!("result/{}", bloods.potassium));
    for rule in ["critical-limit", "adrenal-crisis", "critical-limit"] {
        sources.causeway.execute(raise, &[&rule, &david, &record]).await?;
    }
    let raised = compare().await?;
    assert_eq!((raised.missing, raised.doubled, raised.beside), (crisis.missing - 2, 1, 0), "{:?}", raised.first);
    story::correct(&sources.hospital, bloods.potassium, "4.4", "N", now).await?;
    let corrected = compare().await?;
    assert_eq!(corrected.beside, 3, "what was raised for 6.7 has to be withdrawn");
    sources.causeway.execute("update alert.alert set state = 'withdrawn'", &[]).await?;
    assert_eq!(compare().await?.beside, 0);

    hostile::gp_rows(&sources.gp, SEED, 1, now).await?;
    hostile::hospital_rows(&sources.hospital, SEED, 1, now).await?;
    assert!(compare().await?.demanded > before.demanded + 3, "an unknown unit cannot be checked");
    Ok(())
}

#[tokio::test]
async fn the_witness_is_read_down_to_the_key() -> anyhow::Result<()> {
    let sources = sources("witness").await?;
    let file = sources.folder.0.join("witness.txt");
    let mut slot = Witness::start(&sources.cluster, "riverside", "witness", &file).await?;
    hostile::gp_rows(&sources.gp, SEED, 1, Timestamp::now()).await?;
    sources
        .gp
        .batch_execute(
            "update emis.organisation set organisation_id = gen_random_uuid() where organisation_id = (select min(organisation_id::text)::uuid from emis.organisation);
             delete from emis.sensitive_code; insert into emis.sensitive_code values (-7, 1); update emis.sensitive_code set snomed_concept_id = 2;
             truncate emis.sensitive_code, emis.referral",
        )
        .await?;
    slot.wait_caught_up(&sources.cluster).await?;
    let keys = witness::keys(&sources.gp).await?;
    assert_eq!(keys["emis.observation"], ["observation_id"]);
    let committed = witness::committed(&slot.transactions()?, &keys)?;
    let ops: BTreeSet<char> = committed.iter().map(|change| change.op).collect();
    assert_eq!(ops, BTreeSet::from(['c', 'd', 't', 'u']));
    let last: Vec<(char, &str)> =
        committed.iter().rev().take(6).map(|change| (change.op, change.table.as_str())).collect();
    assert_eq!(
        last[..4],
        [
            ('t', "emis.referral"),
            ('t', "emis.sensitive_code"),
            ('u', "emis.sensitive_code"),
            ('c', "emis.sensitive_code")
        ]
    );
    assert_eq!(committed[committed.len() - 4].key, [("code_id".to_owned(), "-7".to_owned())]);
    assert!(committed.iter().all(|change| change.op == 't' || change.key.len() == 1));
    slot.finish(&sources.cluster).await
}
