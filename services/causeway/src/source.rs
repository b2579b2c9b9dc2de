//! `causeway source`: what a source database must grant, and what operators want of each source.

pub mod list;
mod progress;

use crate::{
    Config,
    output::{self, Format},
    settings::{Settings, SourceSettings},
};
use anyhow::{Context, bail, ensure};
use change_log::{
    LogTail, Registry,
    signal::{self, Desired, SignalError, SnapshotRequest, TABLES_MAX},
};
use serde_json::{Value, json};

#[derive(clap::Subcommand)]
pub enum Verb {
    /// Print the SQL that gives the connector the least privilege it needs. An administrator of the
    /// source reads it and runs it; Causeway never does. Where the database can be looked into, it names every table.
    Setup {
        #[command(flatten)]
        config: Config,
        /// The source's name in the settings.
        source: String,
        /// Print the script. (There is no other way: the script is run by the source's owner.)
        #[arg(long, required = true)]
        print_sql: bool,
        /// Look into the database as this user, without changing anything: postgres://admin@host:port/database. Unless
        /// said, as the connector's own role, if it is there already.
        #[arg(long)]
        url: Option<String>,
        /// A file that holds that user's password.
        #[arg(long, requires = "url")]
        password_file: Option<std::path::PathBuf>,
    },
    /// Every source: what it is doing, how far behind it is, what its slot keeps and for how long that goes well.
    List(list::Arguments),
    /// Stop reading a source, across restarts, until it is resumed. Its slot is kept, and keeps WAL.
    Pause(Named),
    /// Go on reading a source, and try again what waits for an operator.
    Resume(Named),
    /// Let a table's new shape in although readers of its log may not understand it. Once: the next incompatible shape
    /// is refused again.
    AcceptSchema {
        #[command(flatten)]
        named: Named,
        /// schema.table
        table: String,
    },
    /// Read tables again while the stream goes on.
    Snapshot(Snapshot),
}

#[derive(clap::Args)]
pub struct Named {
    #[command(flatten)]
    config: Config,
    /// The source's name in the settings.
    source: String,
}

#[derive(clap::Args)]
pub struct Snapshot {
    #[command(flatten)]
    named: Named,
    /// Only this table, as schema.table; may be given several times.
    #[arg(long)]
    table: Vec<String>,
    /// Only the rows of one table for which this SQL condition holds.
    #[arg(long, value_name = "SQL")]
    r#where: Option<String>,
    /// Ask for nothing, and let the source's snapshots wait.
    #[arg(long, conflicts_with_all = ["table", "where", "resume", "recreate_slot"])]
    pause: bool,
    /// Ask for nothing, and let the source's snapshots go on.
    #[arg(long, conflicts_with_all = ["table", "where", "recreate_slot"])]
    resume: bool,
    /// Give up the slot and this epoch of the log: make a new slot and read all tables anew into the next epoch.
    /// Changes that the log does not hold yet are not told one by one; what they left behind is.
    #[arg(long, conflicts_with_all = ["table", "where"])]
    recreate_slot: bool,
    /// Stay, show how far the snapshot is, and end when the log holds its end.
    #[arg(long, conflicts_with_all = ["pause", "resume", "recreate_slot"])]
    wait: bool,
    /// With `--wait`: the ops address of the running `causeway run`; otherwise the settings' `[ops] listen`.
    #[arg(long, env = "CAUSEWAY_OPS_URL")]
    url: Option<String>,
}

pub async fn run(verb: Verb, format: Format) -> anyhow::Result<()> {
    match verb {
        Verb::Setup { config, source, print_sql: _, url, password_file } => {
            let sources = Settings::sources_to_print(&config)?;
            print!("{}", setup(&find(&sources, &source)?.connector(), url, password_file).await?);
            Ok(())
        }
        Verb::List(arguments) => list::run(arguments, format).await,
        Verb::Pause(named) => {
            want(&named, |desired| desired.paused = true).await?;
            let told = format!(
                "{} is paused. Its slot is kept, and keeps WAL: see `causeway source list CONFIG`",
                named.source
            );
            tell(format, json!({ "source": named.source, "paused": true }), told)
        }
        Verb::Resume(named) => {
            want(&named, |desired| desired.paused = false).await?;
            let told = format!("{} goes on", named.source);
            tell(format, json!({ "source": named.source, "paused": false }), told)
        }
        Verb::Snapshot(asked) => snapshot(asked, format).await,
        Verb::AcceptSchema { named, table } => accept_schema(&named, &table, format).await,
    }
}

/// What was done, for a program or for a person.
fn tell(format: Format, value: Value, text: String) -> anyhow::Result<()> {
    output::one(format, &value, |_| text)
}

/// By name where somebody can look, which must succeed if it was asked for.
async fn setup(
    settings: &connector_postgres::Settings,
    url: Option<String>,
    password_file: Option<std::path::PathBuf>,
) -> anyhow::Result<String> {
    if let Some(url) = url {
        let eyes = connector_postgres::Settings { url, password_file, ..settings.clone() };
        let looked = connector_postgres::setup_sql_of(settings, &eyes).await;
        return looked.with_context(|| format!("cannot look into the database of {}", settings.name));
    }
    match connector_postgres::setup_sql_of(settings, settings).await {
        Ok(script) => Ok(script),
        Err(error) => {
            let why = boot::restart::in_one_line(&error);
            eprintln!(
                "causeway: nobody looked into the database ({why}): the script finds the tables itself; see --url"
            );
            Ok(connector_postgres::setup_sql(settings))
        }
    }
}

fn find<'a>(sources: &'a [SourceSettings], name: &str) -> anyhow::Result<&'a SourceSettings> {
    let names = || sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = sources.iter().find(|source| source.name == name);
    found.with_context(|| format!("no [[source]] is named `{name}`; there are: {}", names()))
}

/// Changes what is wanted of a source that the settings name.
async fn want(named: &Named, change: impl Fn(&mut Desired)) -> anyhow::Result<Desired> {
    let settings = Settings::load(&named.config)?;
    find(&settings.sources, &named.source)?;
    let change = |desired: &mut Desired| {
        change(desired);
        Ok(())
    };
    Ok(signal::change(&settings.kafka, &named.source, change).await?)
}

async fn snapshot(asked: Snapshot, format: Format) -> anyhow::Result<()> {
    let source = &asked.named.source;
    if asked.pause || asked.resume {
        want(&asked.named, |desired| desired.snapshots_paused = asked.pause).await?;
        let told = format!("snapshots of {source} {}", if asked.pause { "wait" } else { "go on" });
        return tell(format, json!({ "source": source, "snapshots_paused": asked.pause }), told);
    }
    let settings = Settings::load(&asked.named.config)?;
    let found = find(&settings.sources, source)?;
    if asked.recreate_slot {
        return recreate_slot(&settings, source, format).await;
    }
    let request = request(&found.connector(), &asked).await?;
    let done = LogTail::read(&settings.kafka, source, None).await;
    let done = done.map(|tail| connector_postgres::finished_snapshots(&tail)).unwrap_or_default();
    let desired = signal::change(&settings.kafka, source, |desired| desired.request(request.clone(), &done)).await?;
    let what = if request.tables.is_empty() { "all tables".to_owned() } else { request.tables.join(", ") };
    let mut told = format!("snapshot {} of {what} of {source} is asked for", request.id);
    if desired.snapshots_paused {
        told += &format!(
            "\nsnapshots of {source} are paused: `causeway source snapshot CONFIG {source} --resume` lets them go on"
        );
    }
    if desired.paused {
        told += &format!("\n{source} is paused: `causeway source resume CONFIG {source}` lets it go on");
    }
    let value = json!({ "source": source, "snapshot": request.id, "tables": request.tables,
        "snapshots_paused": desired.snapshots_paused, "paused": desired.paused });
    tell(format, value, told)?;
    if asked.wait {
        let url = asked.url.clone().unwrap_or_else(|| format!("http://{}", settings.ops.listen));
        progress::follow(&settings, &url, source, &request.id).await?;
    }
    Ok(())
}

/// Refuses what the connector could not do, before it is asked for.
async fn request(settings: &connector_postgres::Settings, asked: &Snapshot) -> anyhow::Result<SnapshotRequest> {
    ensure!(asked.table.len() <= TABLES_MAX, "at most {TABLES_MAX} tables at a time");
    let published = connector_postgres::published(settings).await?;
    for table in &asked.table {
        if !published.iter().any(|published| published.table == *table) {
            let names: Vec<&str> = published.iter().map(|published| published.table.as_str()).collect();
            bail!(
                "{table} is not captured from {}: publication `{}` and the setting `tables` give {}",
                settings.name,
                settings.publication(),
                names.join(", ")
            );
        }
    }
    if let Some(predicate) = &asked.r#where {
        let [table] = asked.table.as_slice() else { bail!("--where needs exactly one --table") };
        let checked = connector_postgres::check_predicate(settings, table, predicate).await;
        checked.with_context(|| format!("the database does not take the condition for {table}"))?;
    }
    Ok(SnapshotRequest {
        id: uuid::Uuid::now_v7().to_string(),
        tables: asked.table.clone(),
        predicate: asked.r#where.clone(),
        requested_at: jiff::Timestamp::now().as_microsecond(),
    })
}

async fn accept_schema(named: &Named, table: &str, format: Format) -> anyhow::Result<()> {
    let settings = Settings::load(&named.config)?;
    let source = &find(&settings.sources, &named.source)?.name;
    ensure!(table.contains('.'), "`{table}` is not schema.table");
    let registry = Registry::new(&settings.registry)?;
    let mut subjects = Vec::new();
    // A name may hold dots itself.
    let splits = table.match_indices('.').map(|(dot, _)| (&table[..dot], &table[dot + 1..]));
    for subject in splits.flat_map(|(schema, name)| connector_postgres::subjects(source, schema, name)) {
        subjects.extend(registry.latest(&subject).await?.map(|(id, _)| (subject, id)));
    }
    ensure!(!subjects.is_empty(), "the registry knows no shape of {table} of {source} yet: there is nothing to accept");
    let accept = |desired: &mut Desired| -> Result<(), SignalError> {
        subjects.iter().for_each(|(subject, after)| desired.accept(subject, *after));
        Ok(())
    };
    signal::change(&settings.kafka, source, accept).await?;
    let left_out = signal::aside::read(&settings.kafka, source).await?;
    let refused = left_out.iter().filter(|aside| !aside.paused && !aside.reading);
    let left_out = refused.map(|aside| format!("{}.{}", aside.schema, aside.name)).any(|name| name == table);
    let mut told = format!("the next shape of {table} of {source} is let in");
    if left_out {
        told += "; its changes are left out, and it is read anew";
    }
    tell(format, json!({ "source": source, "table": table, "left_out": left_out }), told)
}

async fn recreate_slot(settings: &Settings, source: &str, format: Format) -> anyhow::Result<()> {
    let tail = LogTail::read(&settings.kafka, source, None).await?;
    let epoch = tail.last.map_or(0, |last| last.position.epoch);
    let give_up = |desired: &mut Desired| -> Result<(), SignalError> {
        desired.replace_epoch = Some(epoch);
        Ok(())
    };
    signal::change(&settings.kafka, source, give_up).await?;
    let told = format!("{source} gives up epoch {epoch} of its log, once, and reads all tables anew into the next one");
    tell(format, json!({ "source": source, "given_up": epoch }), told)
}
