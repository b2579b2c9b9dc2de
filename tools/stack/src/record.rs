//! Detached processes, written down so that a later run stops exactly those.

use crate::{part::Part, process};
use anyhow::Context;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(50);

/// A process, named so that no later one with the same id is taken for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub name: String,
    pub pid: u32,
    /// Clock ticks after boot.
    pub started: u64,
    /// The signal that asks it to stop.
    pub stop_signal: String,
}

/// How a recorded process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    HadGone,
    Asked,
    Killed,
}

impl Running {
    pub fn of(part: &Part) -> anyhow::Result<Self> {
        let name = part.name().to_owned();
        let pid = part.pid().with_context(|| format!("{name} is not running"))?;
        let stat = process::Stat::of(pid).with_context(|| format!("{name} has ended"))?;
        Ok(Self { name, pid, started: stat.started, stop_signal: part.stop_signal().to_string() })
    }

    pub fn is_running(&self) -> bool {
        process::Stat::of(self.pid).is_some_and(|stat| stat.started == self.started && stat.state != 'Z')
    }
}

/// Asks all to stop at once, waits, and kills those that have not stopped in time.
pub async fn stop_recorded(recorded: &[Running], wait_max: Duration) -> anyhow::Result<Vec<Stopped>> {
    let mut asked = Vec::new();
    for one in recorded {
        let running = one.is_running();
        if running {
            let stop: Signal = one.stop_signal.parse().context("the record names no signal")?;
            process::signal(one.pid, Signal::SIGCONT)?;
            process::signal(one.pid, stop)?;
        }
        asked.push(running);
    }
    let deadline = Instant::now() + wait_max;
    while recorded.iter().any(Running::is_running) && Instant::now() < deadline {
        tokio::time::sleep(POLL).await;
    }
    let mut ends = Vec::new();
    for (one, asked) in recorded.iter().zip(asked) {
        ends.push(match (asked, one.is_running()) {
            (false, _) => Stopped::HadGone,
            (true, false) => Stopped::Asked,
            (true, true) => {
                for member in process::family(one.pid) {
                    process::signal(member, Signal::SIGKILL)?;
                }
                Stopped::Killed
            }
        });
    }
    Ok(ends)
}
