//! The empty local stack in the background.

use anyhow::{Context, bail};
use stack::{Lifetime, Region, Running, Stopped, stop_recorded};
use std::{
    fs::File,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

const STOP_WAIT_MAX: Duration = Duration::from_secs(30);

/// Where the stack of this clone keeps what it must remember.
struct Place {
    /// Data, logs and passwords.
    folder: PathBuf,
    /// The processes that run.
    record: PathBuf,
    /// The addresses, for a shell to read.
    addresses: PathBuf,
    /// Held by the one `./run up` or `down` at work.
    lock: PathBuf,
}

impl Place {
    fn here() -> Self {
        let local = stack::local();
        Self {
            folder: local.join("stack"),
            record: local.join("stack.json"),
            addresses: local.join("stack.env"),
            lock: local.join("stack.lock"),
        }
    }

    fn lock(&self) -> anyhow::Result<File> {
        std::fs::create_dir_all(stack::local())?;
        let file = File::create(&self.lock).with_context(|| format!("cannot open {}", self.lock.display()))?;
        file.try_lock().context("another ./run up or ./run down is at work in this clone")?;
        Ok(file)
    }

    /// What an earlier `up` started; nothing if there was none.
    fn recorded(&self) -> anyhow::Result<Vec<Running>> {
        if !self.record.exists() {
            return Ok(Vec::new());
        }
        let text = std::fs::read(&self.record)?;
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", self.record.display()))
    }
}

pub fn up() -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        let place = Place::here();
        let _lock = place.lock()?;
        let recorded = place.recorded()?;
        if !recorded.is_empty() && recorded.iter().all(Running::is_running) {
            println!("The stack is already up:");
            return tell(&place.addresses);
        }
        if !recorded.is_empty() {
            println!("Part of an earlier stack has ended; stopping the rest of it.");
            stop(&place, &recorded).await?;
        }
        println!("Starting PostgreSQL (riverside, stmarys, causeway), Kafka and the schema registry.");
        let began = Instant::now();
        remove(&place.folder)?;
        let mut region = tokio::select! {
            region = Region::start_for(&place.folder, Lifetime::Detached) => region?,
            signal = asked_to_stop() => bail!("stopped by {signal} before the stack was up; nothing is left running"),
        };
        write_private(&place.addresses, &environment(&region)?)?;
        write_private(&place.record, &serde_json::to_string_pretty(&region.running()?)?)?;
        region.release();
        println!("The stack is up after {:.1} s:", began.elapsed().as_secs_f32());
        tell(&place.addresses)
    })
}

pub fn down() -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        let place = Place::here();
        let _lock = place.lock()?;
        let recorded = place.recorded()?;
        if recorded.is_empty() {
            println!("The stack is not up.");
            return Ok(ExitCode::SUCCESS);
        }
        stop(&place, &recorded).await?;
        Ok(ExitCode::SUCCESS)
    })
}

async fn stop(place: &Place, recorded: &[Running]) -> anyhow::Result<()> {
    let ends = stop_recorded(recorded, STOP_WAIT_MAX).await?;
    for (one, end) in recorded.iter().zip(ends) {
        let told = match end {
            Stopped::Asked => "stopped",
            Stopped::HadGone => "had ended before",
            Stopped::Killed => "did not stop in time and was killed",
        };
        println!("{} (process {}) {told}", one.name, one.pid);
    }
    // Nobody shall connect to addresses that somebody else may hold next.
    remove(&place.addresses)?;
    remove(&place.record)
}

fn environment(region: &Region) -> anyhow::Result<String> {
    Ok(region.addresses()?.into_iter().map(|(name, value)| format!("{name}={value}\n")).collect())
}

/// The addresses, without the passwords.
fn tell(addresses: &Path) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(addresses).with_context(|| format!("cannot read {}", addresses.display()))?;
    for line in text.lines() {
        println!("  {}", without_password(line));
    }
    println!("They are in {}, with passwords; ./run down stops them.", addresses.display());
    Ok(ExitCode::SUCCESS)
}

/// `GP_URL=postgres://role:secret@host/db` → `GP_URL=postgres://role@host/db`
fn without_password(line: &str) -> String {
    let parts = line.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?)));
    match parts {
        Some((scheme, (who, host))) => {
            let role = who.split_once(':').map_or(who, |(role, _)| role);
            format!("{scheme}://{role}@{host}")
        }
        None => line.to_owned(),
    }
}

async fn asked_to_stop() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    remove(path)?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

/// Removes a file or folder, if it is there.
fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn passwords_are_not_printed() {
        let check = |line: &str, want: &str| assert_eq!(without_password(line), want);
        check("GP_URL=postgres://role:secret@127.0.0.1:1/db", "GP_URL=postgres://role@127.0.0.1:1/db");
        check("REGISTRY_URL=http://127.0.0.1:1/apis", "REGISTRY_URL=http://127.0.0.1:1/apis");
        check("KAFKA_BROKERS=127.0.0.1:1", "KAFKA_BROKERS=127.0.0.1:1");
    }
}
