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

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_is_held_against_its_database() -> anyhow::Result<()> {
    let shared = shared().await?;
    let (folder, gp) = (tempfile::tempdir()?, shared.running.cluster("riverside"));
    let text = std::fs::read_to_string(stack::repository().join("mappings/emis.toml"))?;
    let wrong = folder.path().join("emis.toml");
    std::fs::write(&wrong, text.replace("\"nhs_number\"", "\"nhs_numbr\""))?;
    let url = gp.url(stack::SUPERUSER, "riverside");
    let secret = gp.password_file(stack::SUPERUSER).display().to_string();
    let mut told = Vec::new();
    for file in [stack::repository().join("mappings/emis.toml"), wrong] {
        let file = file.display().to_string();
        let verb = ["mapping", "check", &file, "--database", &url, "--password-file", &secret];
        told.push(shared.running.verb(&verb).await.map_err(|error| error.to_string()));
    }
    assert!(told[0].as_ref().is_ok_and(|told| told.contains("emis.toml: good")), "{told:?}");
    let lacks = told[1].as_ref().expect_err("a column is misspelt");
    assert!(lacks.contains("the table `emis.patient` has no column `nhs_numbr`: is `nhs_number` meant?"), "{lacks}");
    // And with all sources' settings.
    let config = shared.running.config.display().to_string();
    let all = shared.running.verb(&["check", &config, "--connect"]).await?;
    assert!(!all.contains("mistake"), "{all}");
    Ok(())
}
