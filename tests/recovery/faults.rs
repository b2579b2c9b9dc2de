//! What is killed when: from a seed, so that a run can be repeated.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::time::Duration;

/// Each part is killed so often.
const TIMES: usize = 3;
const PAUSE_MAX: Duration = Duration::from_millis(2_500);
const DOWN_MAX: Duration = Duration::from_millis(1_500);
/// How often Kafka is halted, and for how long.
const HALTS: usize = 2;
const HALTED: Duration = Duration::from_millis(4_500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A process of `proof::running::PROCESSES`.
    Service(&'static str),
    Kafka,
    /// Halted, for longer than its own session, and not killed.
    KafkaHalted,
    Registry,
    Gp,
    Hospital,
    /// Causeway's own database.
    Own,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub target: Target,
    /// How long everything works before it.
    pub after: Duration,
    /// How long it is away.
    pub down: Duration,
}

/// Every part [`TIMES`] times, and halts of Kafka, in a random order.
pub fn schedule(seed: u64) -> Vec<Fault> {
    let mut rng = StdRng::seed_from_u64(seed);
    let services = proof::running::PROCESSES.iter().map(|(name, _)| Target::Service(name));
    let parts = [Target::Kafka, Target::Registry, Target::Gp, Target::Hospital, Target::Own];
    let mut targets: Vec<Target> = services.chain(parts).flat_map(|target| [target; TIMES]).collect();
    targets.extend([Target::KafkaHalted; HALTS]);
    targets.shuffle(&mut rng);
    let mut some = |most: Duration| Duration::from_micros(rng.random_range(0..=most.as_micros() as u64));
    let mut fault = |target| {
        let (after, down) = (some(PAUSE_MAX), some(DOWN_MAX));
        Fault { target, after, down: if target == Target::KafkaHalted { HALTED + down } else { down } }
    };
    targets.into_iter().map(&mut fault).collect()
}

#[test]
fn a_schedule_follows_from_its_seed_and_hurts_every_part() {
    assert_eq!(schedule(7), schedule(7));
    assert_ne!(schedule(7), schedule(8));
    let faults = schedule(7);
    for fault in &faults {
        let halts = fault.target == Target::KafkaHalted;
        let (times, down) = if halts { (HALTS, HALTED + DOWN_MAX) } else { (TIMES, DOWN_MAX) };
        assert_eq!(faults.iter().filter(|other| other.target == fault.target).count(), times);
        assert!(fault.after <= PAUSE_MAX && fault.down <= down);
    }
    assert_eq!(faults.len(), TIMES * (proof::running::PROCESSES.len() + 5) + HALTS);
}
