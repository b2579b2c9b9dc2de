//! A region that runs: the real components, the clinics' databases with their histories, and
//! Causeway's services as processes of their own, so that each can be killed alone.

use anyhow::{Context, ensure};
use jiff::Timestamp;
use region::{history, load, story};
use serde_json::Value;
use stack::{Causeway, Forgetful, Postgres, Region, witness::Witness};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio_postgres::Client;

/// The processes of a region, in the order in which they start: name and services.
pub const PROCESSES: [(&str, &[&str]); 4] = [
    ("connector", &["connector"]),
    ("normaliser", &["normaliser", "linker"]),
    ("sinks", &["sinks"]),
    ("gateway", &["gateway"]),
];
pub const USERS: [&str; 7] =
    ["gp.riverside", "endo.stmarys", "ed.stmarys", "amu.stmarys", "engineer", "ruth.quality", "amir.quality"];
const CAPTURE_ROLE: &str = "causeway_capture";
/// A snapshot of the demo's histories takes seconds; this is for a machine that is busy.
const LIVE_WAIT_MAX: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(200);

/// The two clinics: name of the source and of its database, organisation, mapping, tables.
struct Clinic {
    name: &'static str,
    organisation: &'static str,
    mapping: &'static str,
    tables: &'static str,
}

const CLINICS: [Clinic; 2] = [
    Clinic { name: "riverside", organisation: "R1V01", mapping: "emis", tables: r#""emis.*""# },
    Clinic { name: "stmarys", organisation: "RSM01", mapping: "stmarys", tables: r#""pas.*", "lims.*", "epma.*""# },
];

fn empty(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    Ok(std::fs::create_dir_all(folder)?)
}

/// One process of Causeway and where it tells how it is.
pub struct Process {
    pub part: Causeway,
    pub ops: String,
}

pub struct Running {
    pub region: Region,
    pub folder: PathBuf,
    pub config: PathBuf,
    pub processes: BTreeMap<&'static str, Process>,
    /// `http://127.0.0.1:…`
    pub gateway: String,
    /// Of the users who may sign in; made anew for each run.
    pub passwords: BTreeMap<String, String>,
    pub witnesses: Vec<Witness>,
    /// When Causeway was started.
    pub live_since: Timestamp,
}

/// What to put into the clinics before Causeway sees them.
pub struct Histories {
    pub seed: u64,
    pub people: u64,
}

impl Running {
    /// Starts the components in an empty `folder` and fills the clinics. No service runs yet.
    pub async fn prepare(
        folder: &Path,
        histories: &Histories,
        progress: impl FnMut(load::Progress),
    ) -> anyhow::Result<Self> {
        empty(folder)?;
        Self::fill(folder, Region::start(folder).await?, histories, progress).await
    }

    /// The same, with a Kafka that can be made to forget its brokers.
    pub async fn prepare_forgetful(folder: &Path, histories: &Histories) -> anyhow::Result<Self> {
        empty(folder)?;
        Self::fill(folder, Region::start_behind(folder).await?, histories, |_| {}).await
    }

    async fn fill(
        folder: &Path,
        region: Region,
        histories: &Histories,
        progress: impl FnMut(load::Progress),
    ) -> anyhow::Result<Self> {
        let (mut gp, mut hospital) =
            tokio::try_join!(region.gp.connect("riverside"), region.hospital.connect("stmarys"))?;
        let today = Timestamp::now();
        load::prepare(&mut gp, &mut hospital).await?;
        story::load(&mut gp, &mut hospital, today).await?;
        let people = history::generate(histories.seed, histories.people, today);
        load::histories(&mut gp, &mut hospital, people, histories.people, progress).await?;
        let mut running = Self {
            region,
            folder: folder.to_owned(),
            config: folder.join("causeway.toml"),
            processes: BTreeMap::new(),
            gateway: String::new(),
            passwords: USERS
                .iter()
                .map(|user| ((*user).to_owned(), uuid::Uuid::new_v4().simple().to_string()))
                .collect(),
            witnesses: Vec::new(),
            live_since: today,
        };
        running.write_settings().await?;
        running.grant().await?;
        Ok(running)
    }

    async fn write_settings(&mut self) -> anyhow::Result<()> {
        let repository = stack::repository();
        let mut text = String::new();
        let gateway = format!("127.0.0.1:{}", stack::free_port()?);
        let brokers = self.region.forgetful.as_ref().map_or(self.region.kafka.brokers().to_owned(), Forgetful::address);
        write!(text, "[kafka]\nbrokers = \"{brokers}\"\n\n")?;
        write!(text, "[registry]\nurl = \"{}\"\n\n", self.region.registry.url())?;
        let own = &self.region.own;
        write!(text, "[database]\nurl = \"{}\"\n", own.url("causeway", "causeway"))?;
        write!(text, "password_file = \"{}\"\n\n", own.password_file("causeway").display())?;
        write!(text, "[ops]\nlisten = \"127.0.0.1:{}\"\n\n[gateway]\nlisten = \"{gateway}\"\n\n", stack::free_port()?)?;
        let passwords = self.folder.join("passwords");
        write!(text, "[site]\npasswords_file = \"{}\"\n", passwords.display())?;
        for (key, file) in
            [("teams", "teams.toml"), ("alerts", "alerts.toml"), ("users", "users.toml"), ("agreements", "agreements")]
        {
            writeln!(text, "{key} = \"{}\"", repository.join("site").join(file).display())?;
        }
        for clinic in &CLINICS {
            let cluster = self.cluster(clinic.name);
            cluster.create_role(CAPTURE_ROLE, "login replication").await?;
            write!(text, "\n[[source]]\nname = \"{}\"\norganisation = \"{}\"\n", clinic.name, clinic.organisation)?;
            writeln!(text, "url = \"{}\"", cluster.url(CAPTURE_ROLE, clinic.name))?;
            writeln!(text, "password_file = \"{}\"", cluster.password_file(CAPTURE_ROLE).display())?;
            writeln!(text, "tables = [{}]", clinic.tables)?;
            writeln!(
                text,
                "mapping = \"{}\"",
                repository.join("mappings").join(clinic.mapping).with_extension("toml").display()
            )?;
        }
        std::fs::write(&self.config, text)?;
        let lines: String = self.passwords.iter().map(|(user, password)| format!("{user} = {password}\n")).collect();
        std::fs::write(passwords, lines)?;
        self.gateway = format!("http://{gateway}");
        Ok(())
    }

    /// Runs the script that `causeway source setup --print-sql` prints, as the sources' administrators would.
    async fn grant(&self) -> anyhow::Result<()> {
        for clinic in &CLINICS {
            let output =
                self.verb(&["source", "setup", &self.config.display().to_string(), clinic.name, "--print-sql"]).await?;
            self.cluster(clinic.name).execute(clinic.name, &output).await.context("the printed SQL does not run")?;
        }
        Ok(())
    }

    /// What a verb of the binary prints.
    pub async fn verb(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let program = std::env::current_exe()?;
        let binary =
            program.ancestors().skip(1).take(2).map(|folder| folder.join("causeway")).find(|file| file.is_file());
        let binary = binary.context("no `causeway` beside this program: cargo build -p causeway")?;
        let output = tokio::process::Command::new(binary).args(arguments).output().await?;
        let told = [&output.stdout, &output.stderr].map(|told| String::from_utf8_lossy(told).into_owned());
        ensure!(output.status.success(), "causeway {}: {}", arguments.join(" "), told.concat());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The slots that testify to what is committed from now on.
    pub async fn call_witnesses(&mut self) -> anyhow::Result<()> {
        for clinic in &CLINICS {
            let file = self.folder.join(format!("{}.witness", clinic.name));
            let witness =
                Witness::start(self.cluster(clinic.name), clinic.name, &format!("witness_{}", clinic.name), &file)
                    .await?;
            self.witnesses.push(witness);
        }
        Ok(())
    }

    pub fn cluster(&self, source: &str) -> &Postgres {
        if source == "stmarys" { &self.region.hospital } else { &self.region.gp }
    }

    pub async fn source(&self, source: &str) -> anyhow::Result<Client> {
        self.cluster(source).connect(source).await
    }

    /// Causeway's own database.
    pub async fn own(&self) -> anyhow::Result<Client> {
        self.region.own.connect("causeway").await
    }

    /// Starts every process, without waiting for it to be ready.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        self.live_since = Timestamp::now();
        for (name, services) in PROCESSES {
            let ops = format!("127.0.0.1:{}", stack::free_port()?);
            let log = self.folder.join(format!("{name}.log"));
            let mut part = Causeway::prepare(&self.config, services, &ops, &log)?;
            part.spec_mut().environment.insert("CAUSEWAY__OPS__LISTEN".to_owned(), ops.clone());
            part.launch()?;
            self.processes.insert(name, Process { part, ops });
        }
        Ok(())
    }

    /// Waits until every process is ready: the snapshots are in the log, the page answers. `waiting` hears for whom.
    pub async fn wait_live(&mut self, mut waiting: impl FnMut(&str, &Value)) -> anyhow::Result<()> {
        let deadline = Instant::now() + LIVE_WAIT_MAX;
        loop {
            let mut missing = Vec::new();
            for (name, process) in &mut self.processes {
                if let Some(status) = process.part.exited()? {
                    anyhow::bail!(
                        "{name} ended ({status}); the end of {}:\n{}",
                        process.part.log().display(),
                        tail(process.part.log())
                    );
                }
                if !process.part.is_ready().await {
                    missing.push(*name);
                }
            }
            if missing.is_empty() {
                return Ok(());
            }
            let status = ask(&self.processes["connector"].ops, "/status").await.unwrap_or_default();
            waiting(&missing.join(", "), &status);
            if Instant::now() > deadline {
                let parts = ask(&self.processes[missing[0]].ops, "/readyz").await.unwrap_or_default();
                anyhow::bail!(
                    "{} not ready within {} s: {parts}; see {}",
                    missing.join(", "),
                    LIVE_WAIT_MAX.as_secs(),
                    self.folder.display()
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub fn process(&mut self, name: &str) -> anyhow::Result<&mut Causeway> {
        Ok(&mut self.processes.get_mut(name).with_context(|| format!("no process {name}"))?.part)
    }

    /// Stops services, witnesses and components. Everything is asked, whatever happens to one of them.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let mut first = Ok(());
        for (name, _) in PROCESSES.iter().rev() {
            if let Some(mut process) = self.processes.remove(name) {
                first = first.and(process.part.stop().await);
            }
        }
        for mut witness in self.witnesses.drain(..) {
            first = first.and(witness.stop().await);
        }
        first.and(self.region.stop().await)
    }
}

/// A GET on an ops port, as JSON whatever the code.
pub async fn ask(ops: &str, path: &str) -> anyhow::Result<Value> {
    Ok(http().get(format!("http://{ops}{path}")).send().await?.json().await?)
}

/// A client for loopback, with time-outs.
pub fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap_or_default()
}

/// The end of a log, for an error.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
