//! What an operator asks of a running region by commands.

use super::region::shared;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_read_again_by_one_command_that_waits_for_its_end() -> anyhow::Result<()> {
    let mut shared = shared().await?;
    let url = format!("http://{}", shared.running.processes["connector"].ops);
    let options = ["riverside", "--table", "emis.patient", "--wait", "--url", &url];
    let asked = shared.ask(&["source", "snapshot"], &options).await?;
    let listed = shared.ask(&["source", "list"], &["--url", &url]).await?;
    let rows = listed.as_array().map(Vec::as_slice).unwrap_or_default();
    let row = rows.iter().find(|row| row["source"] == "riverside").expect("riverside is listed");
    let told = &row["view"]["snapshot"];
    assert_eq!((&told["id"], &told["done"]), (&asked["snapshot"], &true.into()), "{row}");
    let gp = shared.running.source("riverside").await?;
    let patients: i64 = gp.query_one("select count(*) from emis.patient", &[]).await?.get(0);
    assert_eq!(told["rows"].as_i64(), Some(patients), "every patient was read once");
    shared.all_well().await
}
