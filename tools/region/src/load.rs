//! Writes schemas, dictionaries and histories, by COPY.

use crate::history::{GpRows, History, HospitalRows};
use crate::{RegionError, catalogue, row, row::Row};
use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::{Client, Transaction};

pub const GP_DDL: &str = include_str!("../sql/gp.sql");
pub const HOSPITAL_DDL: &str = include_str!("../sql/hospital.sql");

/// People whose rows are written in one transaction.
const PEOPLE_PER_TRANSACTION: usize = 250;
/// Bytes handed to the driver at once.
const COPY_CHUNK_BYTES: usize = 1 << 20;

/// How far loading has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub people_done: u64,
    pub people_total: u64,
    pub gp_rows: u64,
    pub hospital_rows: u64,
}

/// The schemas and what does not depend on people: dictionaries, organisations, users, departments.
pub async fn prepare(gp: &mut Client, hospital: &mut Client) -> Result<(), RegionError> {
    gp.batch_execute(GP_DDL).await?;
    hospital.batch_execute(HOSPITAL_DDL).await?;
    let reference = catalogue::gp_reference();
    let tx = gp.transaction().await?;
    copy(&tx, &reference.organisations).await?;
    copy(&tx, &reference.users).await?;
    copy(&tx, &reference.clinical_codes).await?;
    copy(&tx, &reference.drug_codes).await?;
    copy(&tx, &reference.sensitive_codes).await?;
    tx.commit().await?;
    let tx = hospital.transaction().await?;
    copy(&tx, &catalogue::departments()).await?;
    copy(&tx, &catalogue::local_tests()).await?;
    Ok(tx.commit().await?)
}

/// Writes histories into both databases; `progress` hears of each transaction.
pub async fn histories(
    gp: &mut Client,
    hospital: &mut Client,
    histories: impl Iterator<Item = History>,
    people_total: u64,
    mut progress: impl FnMut(Progress),
) -> Result<Progress, RegionError> {
    let mut done = Progress { people_total, ..Default::default() };
    let mut histories = histories.peekable();
    while histories.peek().is_some() {
        let mut batch = History::default();
        for history in histories.by_ref().take(PEOPLE_PER_TRANSACTION) {
            batch.gp.append(history.gp);
            batch.hospital.append(history.hospital);
            done.people_done += 1;
        }
        let (gp_rows, hospital_rows) =
            tokio::try_join!(gp_rows(gp, &batch.gp), hospital_rows(hospital, &batch.hospital))?;
        done.gp_rows += gp_rows;
        done.hospital_rows += hospital_rows;
        progress(done);
    }
    Ok(done)
}

pub(crate) async fn gp_rows(client: &mut Client, rows: &GpRows) -> Result<u64, RegionError> {
    let tx = client.transaction().await?;
    let written = copy(&tx, &rows.patients).await?
        + copy(&tx, &rows.consultations).await?
        + copy(&tx, &rows.observations).await?
        + copy(&tx, &rows.problems).await?
        + copy(&tx, &rows.drug_records).await?
        + copy(&tx, &rows.issue_records).await?
        + copy(&tx, &rows.referrals).await?;
    tx.commit().await?;
    Ok(written)
}

pub(crate) async fn hospital_rows(client: &mut Client, rows: &HospitalRows) -> Result<u64, RegionError> {
    let tx = client.transaction().await?;
    let written = copy(&tx, &rows.patients).await?
        + copy(&tx, &rows.aliases).await?
        + copy(&tx, &rows.encounters).await?
        + copy(&tx, &rows.referrals).await?
        + copy(&tx, &rows.orders).await?
        + copy(&tx, &rows.specimens).await?
        + copy(&tx, &rows.samples).await?
        + copy(&tx, &rows.analyses).await?
        + copy(&tx, &rows.results).await?
        + copy(&tx, &rows.prescriptions).await?
        + copy(&tx, &rows.allergies).await?;
    tx.commit().await?;
    Ok(written)
}

async fn copy<R: Row>(tx: &Transaction<'_>, rows: &[R]) -> Result<u64, RegionError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let sink = tx.copy_in::<_, Bytes>(&row::copy_statement::<R>()).await?;
    let mut sink = std::pin::pin!(sink);
    let mut chunk = Vec::with_capacity(COPY_CHUNK_BYTES);
    for one in rows {
        row::copy_line(one, &mut chunk);
        if chunk.len() >= COPY_CHUNK_BYTES {
            sink.send(Bytes::from(std::mem::take(&mut chunk))).await?;
        }
    }
    sink.send(Bytes::from(chunk)).await?;
    Ok(sink.finish().await?)
}
