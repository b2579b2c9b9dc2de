//! `causeway mapping coverage` and `explain`: what a mapping makes of rows that a live database has now.

use super::database::Reached;
use crate::output::{self, Format};
use anyhow::Context;
use change::described::Described;
use connector_postgres::Asking;
use mapping::Mapping;
use serde_json::json;
use std::{path::PathBuf, sync::Arc, time::Duration};
use workbench::{
    coverage::{self, Covered, Unread},
    explain::{self, Explanation},
    sample::{ROWS_MAX, Sample, Which},
};

/// Tables and columns that are named as not read, unless all are asked for.
const UNREAD_SHOWN: usize = 40;

#[derive(clap::Args)]
pub struct Live {
    /// The mapping file.
    file: PathBuf,
    /// The database, such as postgres://user@host:5432/emis, without a password. It is only read from.
    #[arg(long, value_name = "URL")]
    database: String,
    #[command(flatten)]
    reached: Reached,
    /// The database is asked each question for so many seconds at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    within: u64,
}

#[derive(clap::Args)]
pub struct Coverage {
    #[command(flatten)]
    live: Live,
    /// Rows of each record's table that are looked at, as the database gives them out.
    #[arg(long, value_name = "ROWS", default_value_t = 10_000)]
    rows: usize,
    /// Name also what few rows have, and every table and column. Few rows may be one patient's.
    #[arg(long)]
    with_rare: bool,
}

#[derive(clap::Args)]
pub struct Explain {
    #[command(flatten)]
    live: Live,
    /// The record, as events name it: result/4711.
    record: String,
    /// What the source is called; otherwise as the mapping's system.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The source's own ODS code.
    #[arg(long, value_name = "CODE", default_value = "")]
    organisation: String,
}

/// A mapping beside its database.
struct Beside {
    mapping: Arc<Mapping>,
    tables: Vec<Described>,
    asking: Asking,
}

impl Live {
    async fn open(self) -> anyhow::Result<Beside> {
        let mapping = Arc::new(::mapping::load(&self.file)?);
        let settings = self.reached.settings(&self.database)?;
        let tables = connector_postgres::surveyed(&settings).await.context(super::database::PASSWORD)?;
        let asking = Asking::open(&settings, Duration::from_secs(self.within)).await?;
        Ok(Beside { mapping, tables, asking })
    }
}

impl Beside {
    async fn sample(&self, record: usize, which: Which) -> anyhow::Result<Sample<'_>> {
        let mut sample = Sample::new(&self.mapping, record, &self.tables, which);
        while let Some(question) = sample.question() {
            let answer = self.asking.rows(&question.sql).await;
            let answer = answer.with_context(|| {
                format!(
                    "record `{}`: --within gives more time, --rows asks for less",
                    self.mapping.records[record].name
                )
            })?;
            sample.take(&question, answer);
        }
        Ok(sample)
    }
}

pub async fn cover(arguments: Coverage, format: Format) -> anyhow::Result<()> {
    let Coverage { live, rows, with_rare } = arguments;
    anyhow::ensure!(rows <= ROWS_MAX, "--rows can be {ROWS_MAX} at most");
    let beside = live.open().await?;
    let unread = coverage::unread(&beside.mapping, &beside.tables);
    let bar = progress(beside.mapping.records.len(), format);
    let mut all = Vec::new();
    for record in 0..beside.mapping.records.len() {
        let sample = beside.sample(record, Which::Some(rows)).await?;
        all.push(coverage::covered(&beside.mapping, record, &sample));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let told = json!({
        "unread": unread.iter().map(|it| json!({ "name": it.name, "rows": it.rows, "table": it.is_table })).collect::<Vec<_>>(),
        "records": all.iter().map(|covered| json_of(covered, with_rare)).collect::<Vec<_>>(),
    });
    output::one(format, &told, |_| text_of(&unread, &all, with_rare))
}

fn progress(records: usize, format: Format) -> indicatif::ProgressBar {
    if format == Format::Json { indicatif::ProgressBar::hidden() } else { indicatif::ProgressBar::new(records as u64) }
}

fn json_of(covered: &Covered, rare: bool) -> serde_json::Value {
    let (gaps, hidden) = covered.shown(rare);
    let gaps: Vec<_> =
        gaps.iter().map(|(gap, count)| json!({ "kind": gap.kind, "about": gap.about, "rows": count })).collect();
    json!({
        "record": covered.record, "rows": covered.rows, "events": covered.events, "gaps": gaps, "rare_gaps": hidden,
    })
}

fn text_of(unread: &[Unread], all: &[Covered], rare: bool) -> String {
    let mut lines = vec!["Not read, by how many rows say something there (estimates):".to_owned()];
    let shown = if rare { unread.len() } else { UNREAD_SHOWN };
    let rows = |it: &Unread| it.rows.map_or_else(|| "not counted".to_owned(), |rows| format!("about {rows}"));
    let line = |it: &Unread| format!("  {} {}: {}", if it.is_table { "table " } else { "column" }, it.name, rows(it));
    lines.extend(unread.iter().take(shown).map(line));
    if unread.len() > shown {
        lines.push(format!("  and {} more (--with-rare)", unread.len() - shown));
    }
    for covered in all {
        lines.push(format!("{}: {} rows looked at, {} events", covered.record, covered.rows, covered.events));
        let (gaps, hidden) = covered.shown(rare);
        lines.extend(gaps.iter().map(|(gap, count)| format!("  {count:>7} {}: {}", gap.kind, gap.about)));
        if hidden > 0 {
            lines.push(format!("  and {hidden} more of fewer than {} rows each (--with-rare)", coverage::ROWS_MIN));
        }
    }
    lines.join("\n")
}

pub async fn explain(arguments: Explain, format: Format) -> anyhow::Result<()> {
    let Explain { live, record: name, source, organisation } = arguments;
    let beside = live.open().await?;
    let known = || beside.mapping.records.iter().map(|record| record.name.as_str()).collect::<Vec<_>>().join(", ");
    let id = explain::identity(&beside.mapping, &name).with_context(|| {
        format!("the mapping makes no record `{name}`: expected NAME/ID, with a NAME of {}", known())
    })?;
    let sample = beside.sample(id.record, Which::Id(id.id.to_vec())).await?;
    let source = source.unwrap_or_else(|| beside.mapping.system.clone());
    let explanation = explain::explain(&beside.mapping, (&source, &organisation), &name, &sample);
    output::one(format, &json_explained(&explanation), |_| explanation.text().trim_end().to_owned())
}

fn json_explained(it: &Explanation) -> serde_json::Value {
    let fields: Vec<_> =
        it.fields.iter().map(|field| json!({ "key": field.key, "cells": field.cells, "told": field.told })).collect();
    let came: Vec<_> = it.came.iter().map(super::cases::entry).collect();
    json!({ "row": it.head, "joins": it.joins, "conditions": it.conditions, "fields": fields, "came": came })
}
