//! `causeway terminology`: releases are loaded, checked and looked into.

mod show;

use crate::{
    check::Finding,
    output::{self, Format},
    settings::{Settings, TerminologySettings},
};
use ::terminology::{
    FOUND_MAX, Header, Release,
    folder::{self, Progress},
    sctid,
};
use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(clap::Subcommand)]
pub enum Verb {
    /// Load a folder of unpacked release files (SNOMED CT RF2, Read maps, LOINC, dm+d) into one index file. Every mistake is
    /// told with its file and line, and then nothing is written.
    Load {
        /// The folder; whatever in it is not known by its name is passed over.
        folder: PathBuf,
        /// What the release is called from now on: a–z, 0–9, dots and dashes.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// List the releases that were loaded.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Read a release whole and hold it against its checksum; with --inputs its files, too.
    Verify {
        #[command(flatten)]
        which: Which,
        /// The folder that it was loaded from: every file's SHA-256 is compared.
        #[arg(long, value_name = "FOLDER")]
        inputs: Option<PathBuf>,
    },
    /// Find concepts by the words of their names; the last word may be the beginning of one.
    Find {
        #[arg(required = true)]
        words: Vec<String>,
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=FOUND_MAX as i64))]
        limit: u16,
        #[command(flatten)]
        which: Which,
    },
    /// Show all that a release says of a code: names, hierarchy, history, maps, ingredients.
    Show {
        code: String,
        #[arg(long, value_enum)]
        system: Option<show::System>,
        /// Of a Read code: its term code.
        #[arg(long)]
        term: Option<String>,
        #[command(flatten)]
        which: Which,
    },
    /// Whether one concept is another or lies below it: equivalent, subsumes, subsumed-by or not-subsumed.
    Subsumes {
        /// Above.
        a: String,
        /// Below.
        b: String,
        #[command(flatten)]
        which: Which,
    },
}

/// Where releases lie.
#[derive(clap::Args)]
pub struct Place {
    /// The settings file: its `[terminology]` says where releases lie.
    #[arg(long, env = "CAUSEWAY_CONFIG")]
    config: Option<PathBuf>,
    /// The folder of releases, whatever the settings say.
    #[arg(long, value_name = "FOLDER")]
    releases: Option<PathBuf>,
}

/// Which of them.
#[derive(clap::Args)]
pub struct Which {
    #[command(flatten)]
    place: Place,
    /// The release; unless said that of the settings, or the only one.
    #[arg(long)]
    release: Option<String>,
}

impl Place {
    fn settings(&self) -> anyhow::Result<TerminologySettings> {
        let mut settings = self.config.as_deref().map(TerminologySettings::read).transpose()?.unwrap_or_default();
        if let Some(releases) = &self.releases {
            settings.folder.clone_from(releases);
        }
        Ok(settings)
    }
}

impl Which {
    fn path(&self) -> anyhow::Result<PathBuf> {
        let settings = self.place.settings()?;
        let name = match self.release.clone().or(settings.release) {
            Some(name) => name,
            None => match folder::names(&settings.folder)?.as_slice() {
                [only] => only.clone(),
                [] => bail!(
                    "{}: no release is there: causeway terminology load FOLDER --name NAME",
                    settings.folder.display()
                ),
                several => bail!("which release? --release, one of {}", several.join(", ")),
            },
        };
        Ok(folder::path(&settings.folder, &name)?)
    }

    fn open(&self) -> anyhow::Result<Release> {
        Ok(folder::open(&self.path()?)?)
    }
}

pub fn run(verb: Verb, format: Format) -> anyhow::Result<()> {
    match verb {
        Verb::Load { folder, name, place } => load(&folder, &name, &place, format),
        Verb::List { place } => list(&place, format),
        Verb::Verify { which, inputs } => verify(&which, inputs, format),
        Verb::Find { words, limit, which } => find(&which.open()?, &words.join(" "), limit.into(), format),
        Verb::Show { code, system, term, which } => {
            let told = show::code(&which.open()?, &code, system, term.as_deref())?;
            output::one(format, &told, show::text)
        }
        Verb::Subsumes { a, b, which } => subsumes(&which.open()?, &a, &b, format),
    }
}

fn load(from: &std::path::Path, name: &str, place: &Place, format: Format) -> anyhow::Result<()> {
    let out = folder::path(&place.settings()?.folder, name)?;
    let style = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {bytes}/{total_bytes} {wide_msg}")?;
    let bar = ProgressBar::new(0).with_style(style);
    let mut at = String::new();
    let header = folder::load(from, name, &out, &mut |progress: Progress<'_>| {
        bar.set_length(progress.total);
        bar.set_position(progress.read);
        if at != progress.at {
            progress.at.clone_into(&mut at);
            bar.set_message(at.clone());
        }
    });
    bar.finish_and_clear();
    let header = header.with_context(|| format!("{} was not loaded", from.display()))?;
    let told = json!({ "file": out.display().to_string(), "id": header.id(), "header": header });
    output::one(format, &told, |_| format!("{}\n{}", out.display(), summary(&header)))
}

fn summary(header: &Header) -> String {
    let counts = header.counts.iter().map(|(what, count)| format!("  {what}: {count}"));
    let inputs = header.inputs.iter().map(|input| format!("  {} {} {}", input.sha256, input.bytes, input.file));
    let warnings = header.warnings.iter().map(|warning| format!("  {warning}"));
    let part = |title: &str, lines: Vec<String>| {
        if lines.is_empty() { String::new() } else { format!("\n{title}:\n{}", lines.join("\n")) }
    };
    let head = format!("{}: {}", header.id(), header.releases.join(", "));
    let parts = [("read", inputs.collect()), ("holds", counts.collect()), ("noticed", warnings.collect())];
    head + &parts.map(|(title, lines): (&str, Vec<String>)| part(title, lines)).concat()
}

fn list(place: &Place, format: Format) -> anyhow::Result<()> {
    let settings = place.settings()?;
    let mut rows = Vec::new();
    for name in folder::names(&settings.folder)? {
        let used = settings.release.as_ref() == Some(&name);
        let row = match folder::open(&folder::path(&settings.folder, &name)?) {
            Ok(release) => json!({
                "name": name, "id": release.id(), "releases": release.header().releases, "used": used,
                "concepts": release.concepts(), "bytes": release.size(), "good": true,
            }),
            Err(error) => json!({ "name": name, "used": used, "good": false, "error": error.to_string() }),
        };
        rows.push(row);
    }
    output::rows(format, &["name", "used", "id", "concepts", "bytes", "what"], &rows, |row| {
        let text = |key: &str| row[key].as_str().map_or_else(|| row[key].to_string(), str::to_owned);
        let releases = row["releases"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let what: Vec<&str> = releases.chain(row["error"].as_str()).collect();
        let number = |key: &str| if row[key].is_null() { "-".to_owned() } else { text(key) };
        let used = if row["used"] == true { "used" } else { "" };
        let id = row["id"].as_str().and_then(|id| id.split(' ').nth(1)).unwrap_or("-");
        vec![text("name"), used.to_owned(), id.to_owned(), number("concepts"), number("bytes"), what.join(", ")]
    })
}

fn verify(which: &Which, inputs: Option<PathBuf>, format: Format) -> anyhow::Result<()> {
    let release = which.open()?;
    let header = release.header();
    let mut wrong = Vec::new();
    if let Some(inputs) = inputs {
        for input in &header.inputs {
            match folder::digest(&inputs.join(&input.file)) {
                Ok(own) if own == input.sha256 => {}
                Ok(_) => wrong.push(format!("{} is another file than the one that was loaded", input.file)),
                Err(error) => wrong.push(error.to_string()),
            }
        }
    }
    let told = json!({ "name": header.name, "id": release.id(), "checksum": "good", "inputs": header.inputs.len(), "wrong": wrong });
    output::one(format, &told, |_| {
        format!("{}: its checksum is right\n{}", release.id(), wrong.join("\n")).trim_end().to_owned()
    })?;
    anyhow::ensure!(wrong.is_empty(), "{} of {} files differ", wrong.len(), header.inputs.len());
    Ok(())
}

fn find(release: &Release, words: &str, limit: usize, format: Format) -> anyhow::Result<()> {
    let found = release.search(words, limit);
    let rows: Vec<Value> = found
        .names
        .iter()
        .map(|name| {
            let full = release.fully_specified(name.concept).map(|full| full.term);
            json!({
                "code": name.concept.to_string(), "term": name.term, "fully_specified": full,
                "active": release.active(name.concept),
            })
        })
        .collect();
    output::rows(format, &["code", "term", "fully specified", "in use"], &rows, |row| {
        let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
        let used = if row["active"] == true { "yes" } else { "no" };
        vec![text("code"), text("term"), text("fully_specified"), used.to_owned()]
    })?;
    if found.more {
        eprintln!("there are others: another word, or --limit");
    }
    Ok(())
}

fn subsumes(release: &Release, a: &str, b: &str, format: Format) -> anyhow::Result<()> {
    let known = |text: &str| {
        let id = sctid::parse(text)
            .with_context(|| format!("`{text}` is no SNOMED CT identifier: its check digit is wrong"))?;
        release.find(id).with_context(|| format!("{} has no concept {id}", release.header().name))
    };
    let (above, below) = (known(a)?, known(b)?);
    let outcome = match (release.is_below(below, above), release.is_below(above, below)) {
        (true, true) => "equivalent",
        (true, false) => "subsumes",
        (false, true) => "subsumed-by",
        (false, false) => "not-subsumed",
    };
    let told = json!({ "a": a, "b": b, "outcome": outcome, "release": release.id() });
    output::one(format, &told, |_| outcome.to_owned())
}

/// What `causeway check` says of the release and of concept sets.
pub fn look(settings: &Settings, findings: &mut Vec<Finding>) {
    let mut say = |kind, what: String| findings.push(Finding { kind, what });
    let release = match settings.terminology.open() {
        Ok(release) => release,
        Err(error) => {
            say("mistake", format!("{error:#}"));
            None
        }
    };
    let sets = match settings.site.read_concept_sets() {
        Ok(sets) => sets,
        Err(error) => return say("mistake", format!("{error:#}")),
    };
    let Some(release) = release else {
        let open: Vec<&str> = sets.iter().filter(|set| set.descendants).map(|set| set.name.as_str()).collect();
        if !open.is_empty() {
            let what =
                "no release is loaded (terminology.release), so these concept sets are without their descendants";
            say("advice", format!("{what}: {}", open.join(", ")));
        }
        return;
    };
    for set in sets.iter() {
        for doubt in set.doubts(&release) {
            say("advice", format!("concept set {}: {doubt}", set.name));
        }
        let (own, all) = (set.concepts.len(), set.members(Some(&release)).len());
        say("watched", format!("concept set {}: {own} named, {all} with what is below, by {}", set.name, release.id()));
    }
}
