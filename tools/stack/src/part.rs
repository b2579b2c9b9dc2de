//! A running component: ready or not, killed, paused, restarted, stopped.

use crate::process::{self, Spec, Stat};
use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use std::{
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Nothing here takes longer to become ready, even on two busy cores.
pub const READY_WAIT_MAX: Duration = Duration::from_secs(90);
/// After so long, what was asked to stop is killed.
pub const STOP_WAIT_MAX: Duration = Duration::from_secs(30);
const PROBE_WAIT_MAX: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(25);
const HTTP_ANSWER_BYTES_MAX: u64 = 4_096;

/// How a component shows that it is ready.
#[derive(Clone, Debug)]
pub enum Ready {
    /// PostgreSQL writes its id and `ready` into this file.
    Postmaster(PathBuf),
    /// This text appears in the log, and the port takes connections.
    Log { text: &'static str, address: String },
    /// A GET of the path answers 200.
    Http { address: String, path: String },
    /// It is there as soon as it has started.
    AtOnce,
}

/// One component: its recipe, and its process while there is one.
#[derive(Debug)]
pub struct Part {
    name: String,
    spec: Spec,
    ready: Ready,
    stop_signal: Signal,
    process: Option<Child>,
    /// Where this start's lines begin in the log.
    log_from: u64,
}

impl Part {
    pub fn new(name: impl Into<String>, spec: Spec, ready: Ready) -> Self {
        Self { name: name.into(), spec, ready, stop_signal: Signal::SIGTERM, process: None, log_from: 0 }
    }

    pub fn stopped_by(mut self, signal: Signal) -> Self {
        self.stop_signal = signal;
        self
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn log(&self) -> &Path {
        &self.spec.log
    }

    pub fn stop_signal(&self) -> Signal {
        self.stop_signal
    }

    /// The recipe, to change it between two starts.
    pub fn spec_mut(&mut self) -> &mut Spec {
        &mut self.spec
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Lets a detached process live on by itself.
    pub fn release(&mut self) {
        self.process = None;
    }

    /// Starts the process without waiting for it to be ready.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        if self.process.is_some() {
            bail!("{} is already running", self.name);
        }
        self.log_from = std::fs::metadata(&self.spec.log).map_or(0, |log| log.len());
        self.process = Some(self.spec.spawn()?);
        Ok(())
    }

    /// Starts the process and waits until it is ready.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        self.launch()?;
        self.wait_ready().await
    }

    /// Waits, at most [`READY_WAIT_MAX`], until the component serves. An error shows the log's tail.
    pub async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WAIT_MAX;
        loop {
            if let Some(status) = self.exited()? {
                bail!("{} ended ({status}) before it was ready; {}", self.name, self.told());
            }
            if self.is_ready().await {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} was not ready within {} s; {}", self.name, READY_WAIT_MAX.as_secs(), self.told());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The exit status, if the process has ended by itself.
    pub fn exited(&mut self) -> anyhow::Result<Option<std::process::ExitStatus>> {
        let Some(process) = &mut self.process else { bail!("{} was not started", self.name) };
        process.try_wait().with_context(|| format!("cannot look after {}", self.name))
    }

    fn told(&self) -> String {
        let log = &self.spec.log;
        format!("the end of {}:\n{}", log.display(), process::tail(log))
    }

    pub async fn is_ready(&self) -> bool {
        let Some(pid) = self.pid() else { return false };
        match &self.ready {
            Ready::AtOnce => true,
            Ready::Postmaster(file) => postmaster_ready(file, pid),
            Ready::Log { text, address } => self.logged(text) && connects(address).await,
            Ready::Http { address, path } => answers_200(address, path).await,
        }
    }

    /// Whether the text was logged since the last start.
    fn logged(&self, text: &str) -> bool {
        let log = std::fs::read(&self.spec.log).unwrap_or_default();
        let from = usize::try_from(self.log_from).unwrap_or(0).min(log.len());
        String::from_utf8_lossy(&log[from..]).contains(text)
    }

    /// The id of the process, which is still ours: not ended, so not reused either.
    fn running(&mut self) -> anyhow::Result<u32> {
        if let Some(status) = self.exited()? {
            bail!("{} is not running: it ended ({status}); {}", self.name, self.told());
        }
        self.pid().with_context(|| format!("{} is not running", self.name))
    }

    /// kill -9 of the process and of everything it started, and waits until it is gone.
    pub fn kill_9(&mut self) -> anyhow::Result<()> {
        let pid = self.running()?;
        let family = process::family(pid);
        // All are halted first, so that none has time to react to another's end.
        for member in &family {
            process::signal(*member, Signal::SIGSTOP)?;
        }
        for member in &family {
            process::signal(*member, Signal::SIGKILL)?;
        }
        self.reap()?;
        let deadline = Instant::now() + STOP_WAIT_MAX;
        while family.iter().any(|member| Stat::of(*member).is_some_and(|stat| stat.state != 'Z')) {
            if Instant::now() > deadline {
                bail!("{} does not go away after kill -9", self.name);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn reap(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        }
        Ok(())
    }

    /// Halts the process and everything it started, as a long pause of its machine would.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        let pid = self.running()?;
        process::family(pid).into_iter().try_for_each(|member| process::signal(member, Signal::SIGSTOP))
    }

    pub fn resume(&mut self) -> anyhow::Result<()> {
        let pid = self.running()?;
        process::family(pid).into_iter().rev().try_for_each(|member| process::signal(member, Signal::SIGCONT))
    }

    /// Starts again with the same ports and data: after a kill as it is, else after a stop.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.stop().await?;
        self.start().await
    }

    /// Asks the process to stop, waits, and kills what has not stopped by [`STOP_WAIT_MAX`].
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.stop_by(self.stop_signal).await
    }

    /// The same with another signal than usual: SIGQUIT is PostgreSQL's immediate stop.
    pub async fn stop_by(&mut self, signal: Signal) -> anyhow::Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        if self.exited()?.is_some() {
            return self.reap();
        }
        // What is paused would not hear it.
        self.resume()?;
        process::signal(pid, signal)?;
        let deadline = Instant::now() + STOP_WAIT_MAX;
        while self.exited()?.is_none() {
            if Instant::now() > deadline {
                self.kill_9()?;
                bail!(
                    "{} did not stop within {} s and was killed; {}",
                    self.name,
                    STOP_WAIT_MAX.as_secs(),
                    self.told()
                );
            }
            tokio::time::sleep(POLL).await;
        }
        self.reap()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.process.is_some() {
            // Nobody is left to tell of an error.
            let _ = self.kill_9();
        }
    }
}

/// `postmaster.pid`: the id on line 1, the state on line 8. One left behind by a kill has another id.
fn postmaster_ready(file: &Path, pid: u32) -> bool {
    let Ok(text) = std::fs::read_to_string(file) else { return false };
    let mut lines = text.lines();
    lines.next().is_some_and(|line| line.trim() == pid.to_string())
        && lines.nth(6).is_some_and(|line| line.trim() == "ready")
}

async fn connects(address: &str) -> bool {
    tokio::time::timeout(PROBE_WAIT_MAX, TcpStream::connect(address)).await.is_ok_and(|stream| stream.is_ok())
}

async fn answers_200(address: &str, path: &str) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(HTTP_ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.starts_with(b"HTTP/1.1 200"))
    };
    tokio::time::timeout(PROBE_WAIT_MAX, ask).await.is_ok_and(|answer| answer.unwrap_or(false))
}
