//! `causeway identity`: who is one person, why, and what clerks decide of it.
//!
//! # Why
//! Each of these looks at patients or changes who they are: so each says who asks and why, and that is audited first.

mod words;

use crate::{
    Config,
    output::{self, Format},
    quarantine::actor,
    settings::Settings,
};
use anyhow::{Context, bail, ensure};
use deadpool_postgres::Pool;
use event::{NhsNumber, SourcePatient};
use gateway::{
    access::Role,
    operator::{IdentityAct, identity_act},
};
use identity::{Known, parameters::Parameters, score};
use indicatif::ProgressBar;
use linker::store::clerk::{self, Decided, Record};
use serde_json::{Value, json};
use std::{
    io::BufRead as _,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

/// Patients read at a time.
const READ_AT_ONCE: i64 = 50_000;
/// Numbers taken from one input.
const NUMBERS_MAX: usize = 100_000;
/// What the estimate is counted with, so that the same patients give the same file.
const SEED: u64 = 1;

#[derive(clap::Args)]
pub struct Look {
    #[command(flatten)]
    config: Config,
    /// Why; goes into the audit.
    #[arg(long)]
    reason: String,
}

#[derive(clap::Args)]
pub struct Two {
    #[command(flatten)]
    look: Look,
    /// One patient, as `source/key`.
    #[arg(value_parser = patient)]
    one: SourcePatient,
    /// The other patient, as `source/key`.
    #[arg(value_parser = patient)]
    other: SourcePatient,
}

#[derive(clap::Args)]
pub struct One {
    #[command(flatten)]
    look: Look,
    /// The patient, as `source/key`.
    #[arg(value_parser = patient)]
    patient: SourcePatient,
}

#[derive(clap::Subcommand)]
pub enum Verb {
    /// What two patients weigh together, field by field: levels, never values. Audited.
    Score(Two),
    /// Which person a patient is, and by what. Audited.
    Explain(One),
    /// Pairs of patients that wait for a clerk, the longest first. Audited.
    Queue {
        #[command(flatten)]
        look: Look,
        /// At most so many.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=clerk::QUEUE_MAX))]
        limit: i64,
    },
    /// Decide that two patients are one person, whatever they weigh. Two verified NHS numbers need the same decision of a
    /// second person. Audited.
    Link(Two),
    /// Decide that two patients are not one person, whatever they weigh. Audited.
    Unlink(Two),
    /// Take back what was decided of two patients: numbers and weights decide again. Audited.
    Undecide(Two),
    /// Every version of a patient's link. Audited.
    History(One),
    /// Say what has become of NHS numbers: lines of `number,successor` on the standard input, or of `number` alone where one was
    /// invalidated. Audited.
    Numbers(Look),
    /// Estimate weights from all patients that are known, and write them to a file. Nothing changes until the settings name
    /// it. Audited.
    Estimate {
        #[command(flatten)]
        look: Look,
        /// The file; it must not be there.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// What the version is called: every link by weight names it.
        #[arg(long, value_name = "NAME")]
        name: String,
    },
}

fn patient(text: &str) -> Result<SourcePatient, String> {
    match text.split_once('/') {
        Some((source, id)) if !source.is_empty() && !id.is_empty() => {
            Ok(SourcePatient { source: source.into(), id: id.into() })
        }
        _ => Err("write the source, a slash, and the source's own key of the patient".into()),
    }
}

pub async fn run(verb: Verb, format: Format) -> anyhow::Result<()> {
    match verb {
        Verb::Score(two) => {
            let asked = Asked::new(&two.look, "score-patients", &[&two.one, &two.other]).await?;
            let weights = asked.weights()?;
            let (one, other) = (asked.record(&two.one).await?, asked.record(&two.other).await?);
            output::one(format, &scored(&one.known, &other.known, &weights), words::scored)
        }
        Verb::Explain(one) => explain(&one, format).await,
        Verb::Queue { look, limit } => {
            let asked = Asked::new(&look, "view-link-queue", &[]).await?;
            let entries = clerk::queue(&**asked.pool.get().await?, limit).await?;
            let rows: Vec<Value> = entries.iter().map(words::entry).collect();
            output::rows(format, &words::QUEUE, &rows, words::queue_cells)
        }
        Verb::Link(two) => decide(&two, Decided::MustLink, "link-patients", format).await,
        Verb::Unlink(two) => decide(&two, Decided::CannotLink, "unlink-patients", format).await,
        Verb::Undecide(two) => decide(&two, Decided::Nothing, "undecide-patients", format).await,
        Verb::History(one) => {
            let asked = Asked::new(&one.look, "view-link-history", &[&one.patient]).await?;
            asked.record(&one.patient).await?;
            let versions = clerk::history(&*asked.pool.get().await?, &one.patient).await?;
            let rows: Vec<Value> = versions.iter().map(words::version).collect();
            output::rows(format, &words::HISTORY, &rows, words::history_cells)
        }
        Verb::Numbers(look) => numbers(&look, format).await,
        Verb::Estimate { look, to, name } => estimate(&look, &to, &name, format).await,
    }
}

/// Settings, and the database, once the audit has it.
struct Asked {
    settings: Settings,
    pool: Pool,
    actor: String,
}

impl Asked {
    async fn new(look: &Look, action: &str, patients: &[&SourcePatient]) -> anyhow::Result<Self> {
        Self::unless(look, action, patients, |_, _| Ok(None)).await
    }

    /// `refuse`: why this one may not, for what stands in the audit; everybody else goes on.
    async fn unless(
        look: &Look,
        action: &str,
        patients: &[&SourcePatient],
        refuse: impl FnOnce(&Settings, &str) -> anyhow::Result<Option<&'static str>>,
    ) -> anyhow::Result<Self> {
        ensure!(!look.reason.trim().is_empty(), "--reason must say why");
        let settings = Settings::load(&look.config)?;
        let actor = actor();
        let refused = refuse(&settings, &actor)?;
        let pool = boot::database::pool(&settings.database, 1)?;
        let act = IdentityAct { actor: &actor, action, reason: &look.reason, patients, refused };
        identity_act(&pool, &act).await.context("this could not be audited, so nothing is done")?;
        match refused {
            Some(why) => bail!("`{actor}` (USER): {why}"),
            None => Ok(Self { settings, pool, actor }),
        }
    }

    async fn record(&self, patient: &SourcePatient) -> anyhow::Result<Record> {
        let client = self.pool.get().await?;
        clerk::record(&**client, patient)
            .await?
            .with_context(|| format!("the linker knows no patient {patient}: its demographics have not come"))
    }

    fn weights(&self) -> anyhow::Result<Parameters> {
        let weights = self.settings.site.read_weights()?;
        weights.context(
            "the settings name no weights: `site.identity` is the file, and `causeway identity estimate` writes one",
        )
    }
}

fn scored(one: &Known, other: &Known, weights: &Parameters) -> Value {
    let scored = score::score(one, other, weights);
    let parts = score::parts(one, other, weights);
    let part = |part: &score::Part| {
        json!({"field": part.field.as_str(), "level": part.level, "bits": part.weight.to_string(),
               "of_that_by_frequency": part.frequency.to_string()})
    };
    json!({
        "parameters": weights.version, "bits": scored.weight.to_string(), "prior": weights.prior().to_string(),
        "link_from": weights.link.to_string(), "clerical_from": weights.clerical.to_string(),
        "band": format!("{:?}", scored.band).to_lowercase(), "stop": scored.stop,
        "fields": parts.iter().map(part).collect::<Vec<_>>(),
    })
}

async fn explain(one: &One, format: Format) -> anyhow::Result<()> {
    let asked = Asked::new(&one.look, "explain-link", &[&one.patient]).await?;
    let record = asked.record(&one.patient).await?;
    let versions = clerk::history(&*asked.pool.get().await?, &one.patient).await?;
    let last = versions.last();
    let mut told = json!({
        "patient": one.patient.to_string(), "person": record.person, "status": record.status, "reason": record.reason,
        "link": last.map(words::version),
    });
    // The weight of the pair that it rests on, as the records are now.
    if let (Some(other), Some(weights)) =
        (last.and_then(|last| last.other.as_ref()), asked.settings.site.read_weights()?)
    {
        let other = asked.record(other).await?;
        told["weighed_now"] = scored(&record.known, &other.known, &weights);
    }
    output::one(format, &told, words::explained)
}

/// Who decides is one of those whom the site names for it, as on the page: otherwise one person under two names could join
/// two NHS numbers.
fn no_clerk(settings: &Settings, actor: &str) -> anyhow::Result<Option<&'static str>> {
    let file = &settings.site.users;
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let users = gateway::users::parse(&file.display().to_string(), &text, |_| true);
    let users = users.map_err(|mistakes| anyhow::anyhow!(mistakes.join("; ")))?;
    let clerk = users.iter().any(|user| user.id == actor && user.role == Role::DataQuality.as_str());
    Ok((!clerk).then_some("only a user of the site's users file with the role data-quality decides who is one person"))
}

async fn decide(two: &Two, decided: Decided, action: &str, format: Format) -> anyhow::Result<()> {
    ensure!(two.one != two.other, "these are one patient");
    let asked = Asked::unless(&two.look, action, &[&two.one, &two.other], no_clerk).await?;
    let (one, other) = (asked.record(&two.one).await?.known, asked.record(&two.other).await?.known);
    let mut client = asked.pool.get().await?;
    let pair = (one.seen, other.seen);
    let people = clerk::decide(&mut client, pair, decided, &asked.actor, &two.look.reason).await?;
    let waits = decided == Decided::MustLink && clerk::needs_two(&one, &other) && people.len() < 2;
    let told = json!({"one": two.one.to_string(), "other": two.other.to_string(), "people": people, "waits_for_second_person": waits});
    output::one(format, &told, |_| words::decided(decided, waits))
}

async fn numbers(look: &Look, format: Format) -> anyhow::Result<()> {
    let (mut read, mut mistakes) = (Vec::new(), Vec::new());
    for (line, text) in (1..).zip(std::io::stdin().lock().lines()) {
        let text = text.context("cannot read the standard input")?;
        if text.trim().is_empty() {
            continue;
        }
        ensure!(read.len() < NUMBERS_MAX, "at most {NUMBERS_MAX} numbers at a time");
        let (number, successor) = text.split_once(',').map_or((text.as_str(), None), |(one, other)| (one, Some(other)));
        match (NhsNumber::parse(number), successor.map(NhsNumber::parse)) {
            (Some(number), None) => read.push((number, None)),
            (Some(number), Some(Some(successor))) if number != successor => read.push((number, Some(successor))),
            _ => mistakes.push(line.to_string()),
        }
    }
    if !mistakes.is_empty() {
        bail!("nothing is done: no two different NHS numbers, nor one, in line {}", mistakes.join(", "));
    }
    let asked = Asked::new(look, "renumber-patients", &[]).await?;
    let mut client = asked.pool.get().await?;
    let mut bearers = 0;
    for (number, successor) in &read {
        let successor = successor.as_ref().map(NhsNumber::as_str);
        bearers += clerk::renumber(&mut client, number.as_str(), successor, &asked.actor, &look.reason).await?;
    }
    let told = json!({"numbers": read.len(), "patients": bearers});
    output::one(format, &told, |_| format!("{} numbers; {bearers} patients are looked at anew", read.len()))
}

async fn estimate(look: &Look, to: &PathBuf, name: &str, format: Format) -> anyhow::Result<()> {
    ensure!(!to.exists(), "{} is there already; weights get a new file with a new name", to.display());
    let asked = Asked::new(look, "estimate-weights", &[]).await?;
    let client = asked.pool.get().await?;
    let progress = ProgressBar::new_spinner();
    let (mut known, mut after) = (Vec::new(), i64::MIN);
    loop {
        let part = clerk::known_after(&client, after, READ_AT_ONCE).await?;
        let Some(last) = part.last() else { break };
        after = last.seen;
        known.extend(part);
        progress.set_message(format!("{} patients read", known.len()));
        progress.tick();
    }
    progress.set_message(format!("{} patients read; estimating", known.len()));
    let patients = known.len();
    let estimating =
        move |name: &str| identity::estimate::estimate(&known, name, identity::estimate::RANDOM_PAIRS, SEED);
    let estimated = estimating(name).map_err(|why| anyhow::anyhow!(why))?;
    progress.finish_and_clear();
    if let Err(mistakes) = Parameters::of(&estimated.file) {
        bail!("{}", mistakes.join("; "));
    }
    std::fs::write(to, estimated.file.to_toml()).with_context(|| format!("cannot write {}", to.display()))?;
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let trainings = estimated.trainings.map(|(rounds, pairs)| json!({"rounds": rounds, "pairs": pairs}));
    let told = json!({"file": to, "version": name, "patients": patients, "trainings": trainings, "at": at});
    output::one(format, &told, |_| {
        format!("{patients} patients; {} is written. Look at it, then name it as `site.identity`", to.display())
    })
}
