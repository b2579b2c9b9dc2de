//! `causeway agreements`: who may receive what, from whom, by which agreement; and what of that changes.

use crate::{
    Config,
    output::{self, Format},
    settings::Settings,
};
use anyhow::Context;
use event::Micros;
use gateway::access::{
    Agreement,
    agreement::{self, Change, Flow},
};
use serde_json::json;
use std::path::PathBuf;

const DAY: Micros = 86_400_000_000;
/// What ends or is to be looked at again within so many days is told by `check`.
const SOON_DAYS: i64 = 90;

#[derive(clap::Subcommand)]
pub enum Verb {
    /// Every agreement: its version, whether it is in force, until when.
    List {
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        day: Day,
    },
    /// One agreement, whole.
    Show {
        #[command(flatten)]
        config: Config,
        id: String,
        /// As a page of Markdown for the people who sign it.
        #[arg(long)]
        sheet: bool,
    },
    /// What another folder of agreements would open, close and say, in place of the site's own.
    Diff {
        #[command(flatten)]
        config: Config,
        /// The folder whose agreements would come.
        folder: PathBuf,
        #[command(flatten)]
        day: Day,
    },
    /// Every mistake in the files, with file, key and line; and what ends or is to be looked at again soon.
    Check {
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        day: Day,
    },
    /// Who may receive what, from whom, for what purpose, and by which agreement.
    Matrix {
        #[command(flatten)]
        config: Config,
        /// Only what this organisation receives (its ODS code).
        #[arg(long)]
        to: Option<String>,
        /// Only what this organisation discloses.
        #[arg(long)]
        from: Option<String>,
        /// Only this kind of record.
        #[arg(long)]
        kind: Option<String>,
        #[command(flatten)]
        day: Day,
    },
}

#[derive(clap::Args)]
pub struct Day {
    /// As of this day, `2027-01-31`. Default: now.
    #[arg(long, value_name = "DATE")]
    on: Option<String>,
}

impl Day {
    fn micros(&self) -> anyhow::Result<Micros> {
        match &self.on {
            None => Ok(jiff::Timestamp::now().as_microsecond()),
            Some(date) => {
                agreement::day(date, false).with_context(|| format!("`{date}` is not a date like 2026-01-31"))
            }
        }
    }
}

pub fn run(verb: &Verb, format: Format) -> anyhow::Result<()> {
    match verb {
        Verb::List { config, day } => list(&read(config)?.1, day.micros()?, format),
        Verb::Show { config, id, sheet } => show(config, id, *sheet, format),
        Verb::Diff { config, folder, day } => {
            let (old, new) = (read(config)?.1, gateway::agreements(folder)?);
            let changes = agreement::compare(&old, &new, day.micros()?);
            output::rows(format, &["DOES", "AGREEMENT", "WHAT"], &changes, |change: &Change| {
                vec![change.does.to_owned(), change.agreement.clone(), change.what.clone()]
            })
        }
        Verb::Check { config, day } => check(config, day.micros()?, format),
        Verb::Matrix { config, to, from, kind, day } => {
            let (_, agreements) = read(config)?;
            let mut flows = agreement::flows(&agreements, day.micros()?);
            flows.retain(|flow| {
                to.as_deref().is_none_or(|to| flow.to == to)
                    && from.as_deref().is_none_or(|from| flow.from == from)
                    && kind.as_deref().is_none_or(|kind| flow.kinds.contains(&kind))
            });
            matrix(&flows, format)
        }
    }
}

fn read(config: &Config) -> anyhow::Result<(Settings, Vec<Agreement>)> {
    let settings = Settings::load(config)?;
    let agreements = gateway::agreements(&settings.site.agreements)?;
    Ok((settings, agreements))
}

fn list(agreements: &[Agreement], now: Micros, format: Format) -> anyhow::Result<()> {
    let rows: Vec<_> = agreements.iter().map(|it| listed(it, now)).collect();
    output::rows(
        format,
        &["AGREEMENT", "VERSION", "STANDS", "FROM", "UNTIL", "REVIEW", "DISCLOSE", "RECEIVE", "PURPOSE"],
        &rows,
        |row| {
            let keys = ["id", "version", "stands", "from", "until", "review", "disclose", "receive", "purpose"]
                .map(|key| &row[key]);
            keys.into_iter().map(plain).collect()
        },
    )
}

fn listed(agreement: &Agreement, now: Micros) -> serde_json::Value {
    let Agreement { id, title, version, purpose, disclose, receive, paper, .. } = agreement;
    json!({
        "id": id, "title": title, "version": version, "stands": agreement.standing(now), "from": paper.first_day,
        "until": paper.last_day, "review": paper.review, "disclose": disclose, "receive": receive, "purpose": purpose,
    })
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(all) => all.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn show(config: &Config, id: &str, sheet: bool, format: Format) -> anyhow::Result<()> {
    let (settings, agreements) = read(config)?;
    let known: Vec<&str> = agreements.iter().map(|agreement| agreement.id.as_str()).collect();
    let agreement = agreements.iter().find(|agreement| agreement.id == id);
    let agreement =
        agreement.with_context(|| format!("there is no agreement `{id}`; there are {}", known.join(", ")))?;
    let teams = settings.site.read_teams()?;
    // The sheet says what runs, so text is the sheet, too.
    let page = agreement::sheet(agreement, |code| teams.organisation_name(code));
    if sheet {
        return output::one(format, &json!({"id": id, "sheet": page}), |_| page.trim_end().to_owned());
    }
    output::one(format, agreement, |_| page.trim_end().to_owned())
}

fn check(config: &Config, now: Micros, format: Format) -> anyhow::Result<()> {
    let (_, agreements) = read(config)?;
    let mut told = Vec::new();
    for it in &agreements {
        let review = agreement::day(&it.paper.review, false).unwrap_or_default();
        let soon = now + SOON_DAYS * DAY;
        let what = match it.standing(now) {
            "ended" => Some(format!("ended on {}: take its file away", it.paper.last_day)),
            "draft" => Some(format!("lets nothing through: {}", unsigned(it))),
            "in force" if it.until <= soon => Some(format!("ends on {}", it.paper.last_day)),
            "in force" if review < now => Some(format!("was to be looked at again by {}", it.paper.review)),
            "in force" if review <= soon => Some(format!("is to be looked at again by {}", it.paper.review)),
            _ => None,
        };
        told.extend(what.map(|what| json!({"agreement": it.id, "what": what})));
    }
    output::one(format, &told, |told| {
        let lines = told.iter().map(|it| format!("{} {}", plain(&it["agreement"]), plain(&it["what"])));
        let good = format!("{} agreements are good", agreements.len());
        lines.chain([good]).collect::<Vec<_>>().join("\n")
    })
}

fn unsigned(agreement: &Agreement) -> String {
    let missing: Vec<&str> = agreement.unsigned().into_iter().collect();
    if missing.is_empty() {
        return "all have signed; take `draft` away".to_owned();
    }
    format!("{} has not signed version {}", missing.join(", "), agreement.version)
}

fn matrix(flows: &[Flow<'_>], format: Format) -> anyhow::Result<()> {
    output::rows(format, &["TO", "FROM", "PURPOSE", "BY", "UNTIL", "OBJECTION", "KINDS"], flows, |flow| {
        let objection = if flow.glass_overrides_objection { "closes; glass opens" } else { "closes" };
        vec![
            flow.to.to_owned(),
            flow.from.to_owned(),
            flow.purpose.as_str().to_owned(),
            format!("{} v{}", flow.agreement, flow.version),
            flow.until.to_owned(),
            objection.to_owned(),
            flow.kinds.join(", "),
        ]
    })
}
