//! `causeway replay`: tell again what differs, or count what would.

use crate::{
    Config,
    output::{self, Format},
    settings::Settings,
};
use anyhow::{bail, ensure};
use change_log::{
    KafkaSettings,
    signal::replay::{self, Counted, Only},
};
use event::Kind;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::time::{Duration, Instant};

/// How often it is looked whether the counting is over.
const LOOK: Duration = Duration::from_secs(1);
/// A normaliser that does not count within this time is not there.
const COUNTED_MAX: Duration = Duration::from_secs(3_600);

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: Config,
    /// The source's name in the settings.
    source: String,
    /// Tell nothing: count what would be told, by kind. The normaliser has to run.
    #[arg(long)]
    dry_run: bool,
    /// Only records of these kinds, as `observation,medication`.
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    kinds: Vec<String>,
    /// Only records whose own row was written since, as `2026-11-01` (UTC) or `2026-11-01T08:00:00Z`. What is no more is
    /// not looked for then.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

pub async fn run(arguments: Arguments, format: Format) -> anyhow::Result<()> {
    let settings = Settings::load(&arguments.config)?;
    let Arguments { source, dry_run, kinds, since, .. } = arguments;
    let known: Vec<&str> = settings.sources.iter().map(|source| source.name.as_str()).collect();
    ensure!(known.contains(&source.as_str()), "the settings have no source `{source}`; they have {}", known.join(", "));
    let all: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    if let Some(other) = kinds.iter().find(|kind| !all.contains(&kind.as_str())) {
        bail!("`{other}` is no kind of record: there are {}", all.join(", "));
    }
    let only = Only { kinds, since: since.as_deref().map(moment).transpose()? };
    if dry_run {
        let counted = count(&settings.kafka, &source, &only).await?;
        return output::one(format, &json!({ "source": source, "would_tell": counted }), |_| told(&source, &counted));
    }
    let number = replay::ask(&settings.kafka, &source, &only).await?;
    let value = json!({ "source": source, "replay": number });
    output::one(format, &value, |_| {
        format!(
            "replay {number} of {source} is asked for: what differs from what was told is told in a new generation, beside \
             what comes. `causeway status` says how far it is"
        )
    })
}

/// Microseconds since the epoch.
fn moment(text: &str) -> anyhow::Result<i64> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.as_microsecond());
    }
    let day = text.parse::<jiff::civil::Date>();
    let Ok(at) = day.and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC)) else {
        bail!("`{text}` is no time: write 2026-11-01, or 2026-11-01T08:00:00Z");
    };
    Ok(at.timestamp().as_microsecond())
}

/// Asks the running normaliser, and waits for what it says.
async fn count(kafka: &KafkaSettings, source: &str, only: &Only) -> anyhow::Result<Counted> {
    let id = uuid::Uuid::now_v7().to_string();
    replay::ask_dry(kafka, source, &id, only).await?;
    let style = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}")?;
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.set_message(format!("the normaliser of {source} counts"));
    let since = Instant::now();
    loop {
        let dry = replay::read(kafka, source).await?.dry.filter(|dry| dry.id == id);
        let Some(dry) = dry else { bail!("somebody else asks the same of {source} now: try again") };
        if let Some(counted) = dry.counted {
            bar.finish_and_clear();
            return Ok(counted);
        }
        ensure!(
            since.elapsed() < COUNTED_MAX,
            "the normaliser of {source} has not counted within {} minutes: is it running, and level with its log? See \
             `causeway status`",
            COUNTED_MAX.as_secs() / 60
        );
        bar.tick();
        tokio::time::sleep(LOOK).await;
    }
}

fn told(source: &str, counted: &Counted) -> String {
    let rows = format!("{} rows of {source} were looked at", counted.rows);
    if counted.events.is_empty() {
        return format!("{rows}: nothing differs from what was told");
    }
    let lines = counted.events.iter().flat_map(|(kind, actions)| {
        actions.iter().map(move |(action, count)| vec![kind.clone(), action.clone(), count.to_string()])
    });
    format!("{rows}; a replay would tell\n{}", output::table(&["kind", "action", "events"], lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_and_a_moment_are_times_and_words_are_not() {
        assert_eq!(moment("1970-01-02").ok(), Some(86_400_000_000));
        assert_eq!(moment("1970-01-01T00:00:01Z").ok(), Some(1_000_000));
        assert!(moment("yesterday").is_err_and(|error| error.to_string().contains("2026-11-01")));
    }

    #[test]
    fn what_differs_is_told_by_kind_and_action() {
        let mut counted = Counted { rows: 9, ..Counted::default() };
        assert_eq!(told("gp", &counted), "9 rows of gp were looked at: nothing differs from what was told");
        counted.events.entry("observation".into()).or_default().insert("corrected".into(), 2);
        assert!(told("gp", &counted).contains("observation") && told("gp", &counted).contains("corrected"));
    }
}
