//! `./run bench`: what the benches share: their options, and how many runs become one figure.
//!
//! # Why
//! Only ratios mean something on a shared machine. So every bench measures its floor (what the parts alone can do) in
//! the same run as ours, they take turns, and the median of the rounds counts.

pub mod capture;
pub mod capture_latency;
mod commits;
pub mod large;
pub mod latency;
pub mod linkage;
pub mod normalise;
mod peer;
mod sighting;
pub mod snapshot;
pub mod sources;
mod stage;
pub mod terminology;
pub mod units;
mod usage;

use crate::report::Report;
use stage::Arrived;
use std::path::PathBuf;

/// Rounds of one run. Each needs a slot of its own for each contestant.
pub const REPEAT_MAX: usize = 6;

/// What the command line chose.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the components keep their files; emptied first.
    pub folder: PathBuf,
    /// Rows, where the bench's own number is not wanted.
    pub rows: Option<u64>,
    /// Rounds.
    pub repeat: usize,
    /// Commits a second.
    pub rate: u32,
    /// How long latencies are measured.
    pub seconds: u32,
    /// Measure Debezium in the same run, too.
    pub debezium: bool,
}

/// Ours beside the peer's, of each round, and how many times as fast ours is to be.
fn against(report: &mut Report, rounds: &[(&Arrived, &Arrived)], goal: f64) {
    if rounds.is_empty() {
        return;
    }
    let middle = |figure: fn(&Arrived) -> f64| median(rounds.iter().map(|(_, peer)| figure(peer)).collect());
    let times = median(rounds.iter().map(|(ours, peer)| ours.per_s / peer.per_s).collect());
    report.figure("peer_per_s", middle(|peer| peer.per_s));
    report.figure("peer_cpu_us", middle(|peer| peer.cpu_us));
    report.figure("peer_rss_mb", middle(|peer| peer.resident_mb));
    report.figure("times_the_peer", times);
    report.check("times_the_peer", times >= goal, &format!("{times:.1} times Debezium; at least {goal:.0}"));
}

/// The first round warms Kafka and the caches for all alike, and is not counted.
fn round_name(round: usize) -> String {
    if round == 0 { "warming up".to_owned() } else { format!("round {round}") }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value that this share of the sorted values does not exceed.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index of a short list"
    )]
    let at = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_tail() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert!(median(Vec::new()).is_nan());
        let hundred: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!((quantile(&hundred, 0.5), quantile(&hundred, 0.99)), (50.0, 99.0));
        assert!(quantile(&[], 0.5).is_nan());
    }
}
