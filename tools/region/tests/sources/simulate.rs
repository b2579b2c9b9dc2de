//! Histories, David's story and the simulator on a real PostgreSQL.

use crate::server::Server;
use jiff::{Timestamp, ToSpan};
use region::{history, load, simulator::Simulator, story};
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

const PEOPLE: u64 = 300;
/// A simulator on a busy machine has done some work within this.
const WORKED_WAIT_MAX: Duration = Duration::from_secs(60);

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// From a result to its person, as a mapping must go.
const RESULTS_OF: &str = "select count(*) from lims.result r join lims.analysis a using (analysis_id)
    join lims.sample s using (sample_id) join lims.specimen sp using (specimen_id)
    join lims.\"order\" o on o.order_id = sp.\"order\" join pas.patient p using (person_id)";

#[tokio::test]
async fn a_region_is_loaded_and_worked_on() {
    let server = Server::start("simulate").await;
    let (mut gp, mut hospital) = (server.client("gp").await, server.client("hospital").await);
    let today = Timestamp::now();
    load::prepare(&mut gp, &mut hospital).await.unwrap();
    let mut heard = Vec::new();
    let people = history::generate(1, PEOPLE, today);
    let done = load::histories(&mut gp, &mut hospital, people, PEOPLE, |p| heard.push(p.people_done)).await.unwrap();
    assert_eq!(heard, [250, 300]);
    assert_eq!(done.people_done, PEOPLE);
    let observations = count(&gp, "select count(*) from emis.observation").await;
    assert!(observations > 1_000 && done.gp_rows > observations as u64);
    let results = count(&hospital, "select count(*) from lims.result").await;
    assert_eq!(results, count(&hospital, RESULTS_OF).await, "each result leads to a person");

    davids_story(&mut gp, &mut hospital, today).await;

    let simulator = Simulator::new(5, server.config("gp"), server.config("hospital"), 600.0);
    let stop = CancellationToken::new();
    let ending = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(4)).await;
        ending.cancel();
    });
    let counts = simulator.run(stop).await.unwrap();
    assert_eq!((counts.refused, counts.unknown), (0, 0));
    assert!(counts.changes_total() > 800, "{counts:?}");
    assert!(counts.changes["lims.result"].contains_key("update"), "{counts:?}");
    let twice =
        "select count(*) from (select line_id from lims.result where is_active group by 1 having count(*) > 1) t";
    assert_eq!(count(&hospital, twice).await, 0, "a line has one row in force");
    let blanked =
        "select count(*) from emis.observation where is_deleted and (patient_id is not null or code_id is not null)";
    assert_eq!(count(&gp, blanked).await, 0, "a deletion blanks the row");
    let of_david = format!("select count(*) from lims.\"order\" where person_id = {}", story::HOSPITAL_PERSON);
    assert_eq!(count(&hospital, &of_david).await, 3, "the simulator leaves David alone");
}

async fn davids_story(gp: &mut Client, hospital: &mut Client, today: Timestamp) {
    story::load(gp, hospital, today).await.unwrap();
    let monday = story::monday_bloods(gp, today - 30.hours(), today - 22.hours()).await.unwrap();
    let potassium = format!(
        "select count(*) from emis.observation o join emis.clinical_code c using (code_id)
         where observation_id = '{}' and numeric_value = 5.2 and c.readv2_code = '44I4.' and patient_id = '{}'",
        monday.potassium,
        story::GP_PATIENT
    );
    assert_eq!(count(gp, &potassium).await, 1);
    let tuesday = story::tuesday_endocrinology(hospital, today - 8.hours(), today - 6.hours()).await.unwrap();
    let visit = story::ae_attendance(hospital, today - 1.hours()).await.unwrap();
    assert_ne!(visit, tuesday.encounter);
    let crisis = story::crisis_result(hospital, visit, today - 30.minutes(), today).await.unwrap();
    let wrong = story::wrong_result(hospital, visit, today - 20.minutes(), today).await.unwrap();
    story::correct(hospital, wrong.potassium, "4.1", "N", today + 1.minutes()).await.unwrap();
    story::withdraw(hospital, wrong.sodium).await.unwrap();
    let rows = hospital
        .query(
            "select r.line_id, r.\"value\", r.unit_text, r.status::text, d.team from lims.result r
             join lims.analysis a using (analysis_id) join lims.sample s using (sample_id)
             join lims.specimen sp using (specimen_id) join lims.\"order\" o on o.order_id = sp.\"order\"
             join pas.department d on d.department_code = o.requesting_department
             where o.person_id = 4000919 and r.is_active and r.test_code in ('NA', 'K') order by r.line_id",
            &[],
        )
        .await
        .unwrap();
    let seen: Vec<(i64, String)> = rows
        .iter()
        .map(|r| {
            let words: Vec<&str> = (1..5).map(|i| r.get(i)).collect();
            (r.get(0), words.join(" "))
        })
        .collect();
    let want = [
        (tuesday.bloods.sodium, "134 mEq/L final stmarys-endocrinology"),
        (tuesday.bloods.potassium, "5.1 mEq/L final stmarys-endocrinology"),
        (crisis.sodium, "121 mmol/L final stmarys-ed"),
        (crisis.potassium, "6.7 mmol/L final stmarys-ed"),
        (wrong.potassium, "4.1 mmol/L corrected stmarys-ed"),
    ];
    assert_eq!(seen, want.map(|(line, words)| (line, words.to_owned())));
}

#[tokio::test]
async fn the_simulator_survives_a_crash_of_its_databases() {
    let mut server = Server::start("crash").await;
    let (mut gp, mut hospital) = (server.client("gp").await, server.client("hospital").await);
    load::prepare(&mut gp, &mut hospital).await.unwrap();
    load::histories(&mut gp, &mut hospital, history::generate(2, 50, Timestamp::now()), 50, |_| {}).await.unwrap();
    let simulator = Simulator::new(6, server.config("gp"), server.config("hospital"), 300.0);
    let (counts, stop) = (simulator.counts(), CancellationToken::new());
    let ending = stop.clone();
    let running = tokio::spawn(async move { simulator.run(ending).await });
    let committed = async |least: u64| {
        let deadline = Instant::now() + WORKED_WAIT_MAX;
        while counts().committed < least && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    committed(100).await;
    server.kill_9().unwrap();
    let before = counts();
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.restart().await.unwrap();
    committed(before.committed + 100).await;
    stop.cancel();
    let after = running.await.unwrap().unwrap();
    assert!(before.committed > 20 && after.committed > before.committed + 20, "{before:?} {after:?}");
    assert_eq!(after.refused, 0);
    // At most what was under way on each of the two connections, and one more attempt each on a dying server.
    assert!(after.unknown <= 4, "{after:?}");
}
