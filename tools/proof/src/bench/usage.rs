//! What a process has used, from `/proc`.

use anyhow::Context;

/// Clock ticks a second in `/proc/<pid>/stat` (`getconf CLK_TCK`; 100 on every Linux we know).
const TICKS_PER_S: f64 = 100.0;
/// How the Kafka client's threads are called: its own, and the one that hands out delivery reports.
const CLIENT_THREADS: [&str; 2] = ["rdk:", "producer poll"];

/// Processor time so far, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) cpu_s: f64,
    /// The share of the Kafka client's threads.
    pub(super) client_s: f64,
}

impl Usage {
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let mut client_s = 0.0;
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            // A thread may end while we look.
            let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else { continue };
            let name = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or("", |(name, _)| name);
            if CLIENT_THREADS.iter().any(|client| name.starts_with(client)) {
                client_s += seconds(&stat)?;
            }
        }
        Ok(Self { cpu_s: seconds(&stat)?, client_s })
    }

    pub(super) fn since(self, earlier: Self) -> Self {
        Self { cpu_s: self.cpu_s - earlier.cpu_s, client_s: self.client_s - earlier.client_s }
    }

    /// Microseconds for each of so many changes: of all threads, and of the Kafka client's.
    pub(super) fn micros_per(self, changes: f64) -> (f64, f64) {
        (self.cpu_s * 1e6 / changes, self.client_s * 1e6 / changes)
    }
}

/// User and system time: fields 14 and 15, counted after the name in brackets.
fn seconds(stat: &str) -> anyhow::Result<f64> {
    let after = stat.rsplit_once(')').context("no name in stat")?.1;
    let ticks = after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>();
    Ok(ticks / TICKS_PER_S)
}

/// The most memory that was ever resident.
pub(super) fn resident_max_mb(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kb: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kb / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_behind_any_name() {
        let stat = "7 (a name) with) S 1 7 7 0 -1 4194304 10 0 0 0 150 50 0 0 20 0 1 0 100 0 0";
        assert_eq!(seconds(stat).unwrap(), 2.0);
        assert!(seconds("nothing").is_err());
    }

    #[test]
    fn this_process_uses_something() {
        let started = Usage::of(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while Usage::of(std::process::id()).unwrap().since(started).cpu_s < 0.05 {
            sum = (0..1_000_000).fold(sum, |sum: u64, n| std::hint::black_box(sum.wrapping_add(n)));
        }
        assert!(resident_max_mb(std::process::id()).unwrap() > 1.0);
    }
}
