//! Mutates a corpus for a while, and keeps the input that breaks something.

use super::meter;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

pub const SECONDS_VARIABLE: &str = "CAUSEWAY_FUZZ_SECONDS";
const SEED_VARIABLE: &str = "CAUSEWAY_SEED";
const SECONDS: u64 = 8;
const INPUT_BYTES_MAX: usize = 4_096;
const POPULATION_MAX: usize = 2_048;
const MUTATIONS_MAX: usize = 4;
/// The clock is looked at this seldom.
const ROUND: usize = 256;
/// Every target may hold this much, whatever its input is.
const HELD_BYTES: usize = 512 * 1024;
/// And so many times its input beside.
const HELD_TIMES_INPUT: usize = 256;

/// Runs the target on the corpus, and on mutations of it until the time is over. The target answers with whatever tells
/// its ways apart.
pub fn run<T: Hash>(name: &str, extra: Vec<Vec<u8>>, target: impl Fn(&[u8]) -> T) {
    run_within(name, HELD_BYTES, extra, target);
}

/// The same, for a target that may hold this much whatever its input is.
pub fn run_within<T: Hash>(name: &str, held: usize, extra: Vec<Vec<u8>>, target: impl Fn(&[u8]) -> T) {
    let seed = number(SEED_VARIABLE).unwrap_or_else(|| rand::rng().random::<u32>().into());
    let seconds = number(SECONDS_VARIABLE).unwrap_or(SECONDS);
    let mut population = corpus(name);
    population.extend(extra);
    assert!(!population.is_empty(), "no corpus for {name}");
    let (mut answers, mut inputs) = (BTreeSet::new(), 0_u64);
    for input in population.clone() {
        answers.insert(answer((name, seed, held), &input, &target));
    }
    let mut random = StdRng::seed_from_u64(seed);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < deadline {
        for _ in 0..ROUND {
            let input = mutated(&population, &mut random);
            inputs += 1;
            if answers.insert(answer((name, seed, held), &input, &target)) && population.len() < POPULATION_MAX {
                population.push(input);
            }
        }
    }
    println!("{name}: {inputs} inputs, {} answers, {SEED_VARIABLE}={seed}", answers.len());
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Lines of hexadecimal digits; `#` begins a comment.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let file = stack::repository().join("tests/fuzz/corpus").join(name).with_extension("hex");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(bytes).collect()
}

fn bytes(line: &str) -> Vec<u8> {
    let digits: Vec<u8> = line.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
    digits.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn answer<T: Hash>((name, seed, most): (&str, u64, usize), input: &[u8], target: &impl Fn(&[u8]) -> T) -> u64 {
    let (answer, held) = meter::measured(|| catch_unwind(AssertUnwindSafe(|| target(input))));
    let allowed = most + HELD_TIMES_INPUT * input.len();
    let Ok(answer) = answer else { keep(name, seed, input, "panics") };
    if held > allowed {
        keep(name, seed, input, &format!("holds {held} bytes, more than {allowed},"));
    }
    let mut hasher = DefaultHasher::new();
    answer.hash(&mut hasher);
    hasher.finish()
}

/// Fails, and leaves the input behind: a line of it in the corpus makes the failure a test.
fn keep(name: &str, seed: u64, input: &[u8], what: &str) -> ! {
    let folder = stack::local().join("fuzz");
    let line: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
    let file = folder.join(format!("{name}.hex"));
    let kept = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, line + "\n"));
    panic!("{name} {what} on an input of {} bytes, {SEED_VARIABLE}={seed}; {kept:?}: {}", input.len(), file.display());
}

fn mutated(population: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut input = population[random.random_range(0..population.len())].clone();
    for _ in 0..random.random_range(1..=MUTATIONS_MAX) {
        mutate(&mut input, population, random);
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

fn mutate(input: &mut Vec<u8>, population: &[Vec<u8>], random: &mut StdRng) {
    const EDGES: [u8; 12] = [0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF, b'"', b'\\', b'{', b'N', b'-'];
    const NUMBERS: [u32; 8] = [0, 1, 0x7F, 0x680, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF];
    let at = random.random_range(0..=input.len());
    let end = (at + random.random_range(0..16)).min(input.len());
    match random.random_range(0..9) {
        0 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.random_range(0..8)),
        1 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte = EDGES[random.random_range(0..EDGES.len())]),
        2 => input.insert(at, EDGES[random.random_range(0..EDGES.len())]),
        3 => input.insert(at, random.random()),
        4 => drop(input.drain(at..end)),
        5 => {
            let piece = input[at..end].to_vec();
            let times = random.random_range(1..40);
            input.splice(at..at, piece.repeat(times));
        }
        6 => input.truncate(at),
        7 => {
            let number = NUMBERS[random.random_range(0..NUMBERS.len())].to_be_bytes();
            let width = [2, 4][random.random_range(0..2)];
            let number = &number[4 - width..];
            input.iter_mut().skip(at).zip(number).for_each(|(byte, new)| *byte = *new);
        }
        _ => {
            let other = &population[random.random_range(0..population.len())];
            input.truncate(at);
            input.extend_from_slice(&other[random.random_range(0..=other.len())..]);
        }
    }
}
