//! One operating system process: how it is started, signalled and seen to be gone.

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{OnceLock, mpsc},
};

/// How much of a log an error message shows.
const LOG_TAIL_BYTES_MAX: u64 = 3_000;

/// How long a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Killed by the kernel when the process that started it ends.
    WithParent,
    /// In a session of its own, until it is stopped.
    Detached,
}

/// The unprivileged user that root starts servers as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
    /// Keeps root's right to walk through folders: for a clone below `/root`.
    pub enters_all: bool,
}

impl Owner {
    /// Who PostgreSQL runs as with its files in `folders`: as we do, unless we are root, whom it refuses.
    pub fn of_servers(folders: &[&Path]) -> anyhow::Result<Option<Self>> {
        if std::fs::metadata("/proc/self").context("cannot read /proc")?.uid() != 0 {
            return Ok(None);
        }
        let open = folders.iter().map(|folder| open_to_others(folder)).collect::<anyhow::Result<Vec<bool>>>()?;
        let users = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        for name in ["postgres", "nobody"] {
            if let Some(owner) = users.lines().find_map(|line| parse_user(line, name)) {
                return Ok(Some(Self { enters_all: open.contains(&false), ..owner }));
            }
        }
        bail!("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`")
    }
}

/// Whether any user may walk to the folder.
fn open_to_others(folder: &Path) -> anyhow::Result<bool> {
    const OTHERS_MAY_ENTER: u32 = 0o001;
    let mut modes = folder.ancestors().map(|ancestor| Ok(std::fs::metadata(ancestor)?.mode()));
    modes.try_fold(true, |open, mode: std::io::Result<u32>| Ok(open && mode? & OTHERS_MAY_ENTER != 0))
}

/// A line of /etc/passwd: `postgres:x:101:104:…`.
fn parse_user(line: &str, name: &str) -> Option<Owner> {
    let mut fields = line.split(':');
    (fields.next()? == name).then_some(())?;
    Some(Owner { uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()?, enters_all: false })
}

/// Everything needed to start a process, again and again.
#[derive(Clone, Debug)]
pub struct Spec {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    /// Standard output and error are appended here.
    pub log: PathBuf,
    pub owner: Option<Owner>,
    pub lifetime: Lifetime,
}

impl Spec {
    pub fn new(program: impl Into<PathBuf>, log: impl Into<PathBuf>, lifetime: Lifetime) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            log: log.into(),
            owner: None,
            lifetime,
        }
    }

    pub fn arguments<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub fn environment(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Starts the process. Its id is that of the program itself: the wrappers replace themselves.
    pub fn spawn(&self) -> anyhow::Result<Child> {
        let command = self.command()?;
        let program = self.program.display();
        spawn_from_lasting_thread(command).with_context(|| format!("cannot start {program}"))
    }

    fn command(&self) -> anyhow::Result<Command> {
        let log = self.log.display();
        let out = OpenOptions::new().create(true).append(true).open(&self.log);
        let out = out.with_context(|| format!("cannot open {log}"))?;
        let mut command = match self.lifetime {
            Lifetime::WithParent => {
                let mut command = wrapped(self.owner, &self.program);
                // A group of its own: Ctrl-C reaches the parent only, which then stops it in order.
                command.process_group(0);
                command
            }
            Lifetime::Detached => {
                let mut command = Command::new("setsid");
                let inner = detached(self.owner, &self.program);
                command.arg(inner.get_program()).args(inner.get_args());
                command
            }
        };
        let err = out.try_clone().with_context(|| format!("cannot open {log}"))?;
        command.args(&self.arguments).envs(&self.environment);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        Ok(command)
    }
}

/// The program under a wrapper that asks the kernel to kill it when its parent ends.
fn wrapped(owner: Option<Owner>, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig").arg("KILL");
    command.args(owner.iter().flat_map(identity)).arg("--").arg(program);
    command
}

fn detached(owner: Option<Owner>, program: &Path) -> Command {
    let Some(owner) = owner else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args(identity(&owner)).arg("--").arg(program);
    command
}

fn identity(owner: &Owner) -> Vec<String> {
    let mut options = vec![format!("--reuid={}", owner.uid), format!("--regid={}", owner.gid)];
    options.push("--clear-groups".to_owned());
    if owner.enters_all {
        options.extend(["--inh-caps=+dac_override".to_owned(), "--ambient-caps=+dac_override".to_owned()]);
    }
    options
}

/// A command run to its end as `owner`, its output returned; it fails with what it printed.
pub async fn run_as(owner: Option<Owner>, program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = tokio::process::Command::from(detached(owner, program));
    command.args(arguments).current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed: {}", program.display(), told.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Linux sends the parent-death signal when the *thread* that forked ends, and test threads end
/// early: so one thread that lasts as long as the process starts every child.
fn spawn_from_lasting_thread(command: Command) -> anyhow::Result<Child> {
    static ORDERS: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                // Whoever ordered waits below; if it has gone, the child is reaped by nobody, as asked.
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, started) = mpsc::channel();
    orders.send((command, answer)).ok().context("the thread that starts processes has ended")?;
    Ok(started.recv().context("the thread that starts processes has ended")??)
}

/// The process and all that descend from it, parents first. PostgreSQL's backends put themselves
/// into sessions of their own, so a process group does not hold them.
pub fn family(pid: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for child in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if let Some(stat) = Stat::of(child) {
            children.entry(stat.parent).or_default().push(child);
        }
    }
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(member) = family.get(next) {
        family.extend(children.remove(member).unwrap_or_default());
        next += 1;
    }
    family
}

/// Sends a signal; a process that has already gone is not an error.
pub fn signal(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let target = Pid::from_raw(i32::try_from(pid).context("no such process id")?);
    match kill(target, signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot send {signal} to process {pid}")),
    }
}

/// What `/proc/<pid>/stat` tells.
pub struct Stat {
    pub state: char,
    pub parent: u32,
    /// In clock ticks since boot: with the id it names one process for ever.
    pub started: u64,
}

impl Stat {
    pub fn of(pid: u32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in brackets and may hold spaces and brackets itself.
        let mut fields = text.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        Some(Self { state, parent, started: fields.nth(17)?.parse().ok()? })
    }
}

/// The end of a log, for error messages.
pub fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES_MAX)))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("(cannot read it: {error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_in_passwd() {
        let line = "postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash";
        assert_eq!(parse_user(line, "postgres"), Some(Owner { uid: 101, gid: 104, enters_all: false }));
        assert_eq!(parse_user(line, "nobody"), None);
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let log = std::env::temp_dir().join(format!("stack-process-{}.log", std::process::id()));
        let spec = Spec::new("sleep", &log, Lifetime::WithParent).arguments(["60"]);
        let mut child = std::thread::spawn(move || spec.spawn().unwrap()).join().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert!(child.try_wait().unwrap().is_none(), "the child died with the thread");
        let seen = Stat::of(child.id()).unwrap();
        assert_eq!(seen.parent, std::process::id());
        assert!(family(std::process::id()).contains(&child.id()));
        signal(child.id(), Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        signal(child.id(), Signal::SIGKILL).unwrap();
        std::fs::remove_file(log).unwrap();
    }
}
