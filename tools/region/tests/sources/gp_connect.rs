//! GP Connect records become rows, twice the same; hostile rows are accepted by the schemas.

use crate::server::Server;
use jiff::Timestamp;
use region::{gp_connect, history, hostile, load};
use std::path::Path;
use tokio_postgres::Client;

const EXCERPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/gp-connect");

/// Each row's columns, joined; a null is `-`.
async fn check(client: &Client, sql: &str, want: &[&str]) {
    let rows = client.query(sql, &[]).await.unwrap();
    let show = |row: &tokio_postgres::Row| {
        let cells = (0..row.len()).map(|i| row.get::<_, Option<String>>(i).unwrap_or_else(|| "-".into()));
        cells.collect::<Vec<_>>().join(" | ")
    };
    assert_eq!(rows.iter().map(show).collect::<Vec<_>>(), want, "{sql}");
}

#[tokio::test]
async fn records_become_rows_and_loading_again_changes_nothing() {
    let server = Server::start("gp-connect").await;
    let mut gp = server.client("gp").await;
    gp.batch_execute(load::GP_DDL).await.unwrap();
    let first = gp_connect::load(Path::new(EXCERPT), &mut gp).await.unwrap();
    assert_eq!((first.files, first.patients), (1, 1));
    assert_eq!(first.rows_changed, first.rows.values().sum::<u64>());

    assert_rows(&gp).await;
    assert_eq!(first.not_held["Patient.identifier[].value"], 1);

    let again = gp_connect::load(Path::new(EXCERPT), &mut gp).await.unwrap();
    assert_eq!(again.rows_changed, 0);
    assert_eq!((again.rows, again.not_held), (first.rows, first.not_held));
}

async fn assert_rows(gp: &Client) {
    assert_observations(gp).await;
    assert_problems_and_medicines(gp).await;
}

async fn assert_observations(gp: &Client) {
    check(
        gp,
        "select o.ods_code, p.given_name, p.surname, p.nhs_number, p.nhs_number_status, p.sex
         from emis.patient p join emis.organisation o using (organisation_id)",
        // The number was a template's placeholder: none, and the report says so.
        &["A82038 | Arthur | Fryer | - | 01 | M"],
    )
    .await;
    check(
        gp,
        "select c.read_term_id, c.readv2_code, c.snomed_concept_id::text, c.snomed_description_id::text, c.term
         from emis.observation o join emis.clinical_code c using (code_id)
         where o.observation_type = 'Allergy' and c.code_category = 'Allergy & Adverse Drug Reactions' order by c.term",
        &[
            "14LK. | 14LK. | 293586001 | 433808014 | H/O: aspirin allergy",
            "14LP. | 14LP. | 294881007 | 435198016 | H/O: warfarin allergy",
            "SN582 | SN582 | 91935009 | 152306018 | Peanut allergy",
            "SN582 | SN582 | 91935009 | 152306018 | Peanut allergy",
        ],
    )
    .await;
    check(
        gp,
        "select c.term, o.numeric_value::text, o.numeric_unit, p.range_minimum::text from emis.observation o
         join emis.clinical_code c using (code_id) join emis.observation p on p.observation_id = o.parent_observation_id
         where o.numeric_value is not null order by p.entered_datetime, c.term",
        // The first panel has a range in words.
        &[
            "O/E - Diastolic BP reading | 90.000 | mm[Hg] | 23.000",
            "O/E - Systolic BP reading | 134.000 | mm[Hg] | 23.000",
            "O/E - Diastolic BP reading | 75.000 | mm[Hg] | -",
            "O/E - Systolic BP reading | 120.000 | mm[Hg] | -",
        ],
    )
    .await;
}

async fn assert_problems_and_medicines(gp: &Client) {
    check(
        gp,
        "select c.term, p.problem_status, p.significance, q.term from emis.problem p
         join emis.observation o using (observation_id) join emis.clinical_code c using (code_id)
         left join emis.observation po on po.observation_id = p.parent_problem_observation_id
         left join emis.clinical_code q on q.code_id = po.code_id order by c.term",
        &[
            "Endometriosis of uterus | Active | Significant | -",
            "H/O: aspirin allergy | Active | Minor | -",
            "Peanut allergy | Past | Significant | H/O: aspirin allergy",
        ],
    )
    .await;
    check(
        gp,
        "select d.term, d.dmd_product_code_id::text, r.dosage, r.prescription_type_description, r.is_active::text,
                count(i.issue_record_id)::text
         from emis.medication_drug_record r join emis.drug_code d using (code_id)
         left join emis.medication_issue_record i using (drug_record_id) group by 1, 2, 3, 4, 5 order by 1",
        &[
            "Flexi-T 300 intrauterine contraceptive device (IPC Pharma Ltd) | 786411000001105 | n/a | Acute | false | 1",
            "Gygel 2% contraceptive jelly (Marlborough Pharmaceuticals Ltd) | 13331511000001101 | 1 | Repeat Dispensing | true | 1",
        ],
    )
    .await;
    check(
        gp,
        "select c.term, c.national_description, h.term from emis.observation o join emis.clinical_code c using (code_id)
         join emis.observation p on p.observation_id = o.parent_observation_id
         join emis.clinical_code h on h.code_id = p.code_id where c.snomed_concept_id = 196411000000103 order by 1",
        &[
            "Comments | Transfer-degraded record entry | Happy puppet syndrome",
            "Option A | Transfer-degraded record entry | Happy puppet syndrome",
        ],
    )
    .await;
}

#[tokio::test]
async fn hostile_rows_are_taken_by_the_sources() {
    let server = Server::start("hostile").await;
    let (mut gp, mut hospital) = (server.client("gp").await, server.client("hospital").await);
    let now = Timestamp::now();
    load::prepare(&mut gp, &mut hospital).await.unwrap();
    load::histories(&mut gp, &mut hospital, history::generate(1, 5, now), 5, |_| {}).await.unwrap();
    let at_gp = hostile::gp_rows(&gp, 1, 0, now).await.unwrap();
    let at_hospital = hostile::hospital_rows(&hospital, 1, 0, now).await.unwrap();
    assert_eq!((at_gp.len(), at_hospital.len()), (16, 14));
    check(&gp, "select count(*)::text from emis.observation where numeric_value = 'NaN'", &["1"]).await;
    check(&gp, "select count(*)::text from emis.observation where length(associated_text) >= 1048576", &["1"]).await;
    hostile::drop_column(&gp).await.unwrap();
    // What is written afterwards does not know the column.
    hostile::gp_rows(&gp, 2, 1, now).await.unwrap();
}
