//! `./run bench terminology`: a generated release of full size, loaded by the shipped program and then asked, against a bare
//! read of the same files.
//!
//! # Why
//! Nobody may ship a real release, so one of the same shape is made from a seed. Answers are timed a thousand at a time: a
//! clock takes as long as an answer.

use super::{Options, median, quantile, usage};
use crate::report::Report;
use anyhow::{Context, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    fs::File,
    hint::black_box,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use terminology::{Release, folder};

const SEED: u64 = 13;
const NAME: &str = "bench";
/// The goals: of a release of full size, on two cores.
const BUILD_MAX_S: f64 = 300.0;
const RESIDENT_MAX_MB: f64 = 1_024.0;
const ANSWER_MAX_NS: f64 = 1_000.0;
const SEARCH_MAX_US: f64 = 1_000.0;
const PAIRS: usize = 1_000_000;
const BATCH: usize = 1_000;
const SEARCHES: usize = 2_000;
/// Pairs that are held against a walk, step by step.
const WALKED: usize = 20_000;
const POLL: Duration = Duration::from_millis(20);

pub async fn run(options: &Options, mut say: impl FnMut(&str)) -> anyhow::Result<Report> {
    let concepts = usize::try_from(options.rows.unwrap_or(releases::FULL as u64))?;
    let place = options.folder.join("terminology");
    let _ = std::fs::remove_dir_all(&place);
    say(&format!("making a release of {concepts} concepts"));
    let made = releases::write(&place.join("in"), concepts, SEED).context("cannot write the release")?;
    let mut report = Report::new("terminology");
    report.figure("concepts", concepts as f64);
    report.figure("input_mb", made.bytes as f64 / 1e6);
    let read_s = bare_read(&place.join("in"))?;
    report.figure("read_s", read_s);
    say(&format!("{:.0} MB; read bare in {read_s:.1} s; loading", made.bytes as f64 / 1e6));
    let (build_s, rss_mb) = build(&place)?;
    report.figure("build_s", build_s);
    report.figure("build_times_read", build_s / read_s);
    report.figure("rss_mb", rss_mb);
    report.check("build_s", build_s <= BUILD_MAX_S, &format!("{build_s:.1} s of {BUILD_MAX_S}"));
    report.check("rss_mb", rss_mb <= RESIDENT_MAX_MB, &format!("{rss_mb:.0} MB of {RESIDENT_MAX_MB}"));
    let begun = Instant::now();
    let release = folder::open(&folder::path(&place.join("out"), NAME)?)?;
    report.figure("open_s", begun.elapsed().as_secs_f64());
    report.figure("file_mb", release.size() as f64 / 1e6);
    ask(&release, &made, &mut report);
    std::fs::remove_dir_all(&place)?;
    Ok(report)
}

/// Every byte of every file, in large pieces.
fn bare_read(folder: &Path) -> anyhow::Result<f64> {
    let (mut folders, mut buffer) = (vec![folder.to_owned()], vec![0; 1 << 20]);
    let begun = Instant::now();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut file = File::open(&path)?;
            while file.read(&mut buffer)? > 0 {
                black_box(&buffer);
            }
        }
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// By the shipped program, in a process of its own: what it holds is its own.
fn build(place: &Path) -> anyhow::Result<(f64, f64)> {
    let program: PathBuf = stack::causeway_binary()?;
    let begun = Instant::now();
    let mut child = Command::new(program)
        .args(["terminology", "load", "--name", NAME, "--releases"])
        .args([place.join("out"), place.join("in")])
        .env_clear()
        .stdout(Stdio::null())
        .spawn()?;
    let mut resident: f64 = 0.0;
    let status = loop {
        // It may have ended since: then the last look counts.
        resident = resident.max(usage::resident_max_mb(child.id()).unwrap_or(0.0));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(POLL);
    };
    ensure!(status.success(), "the load failed: {status}");
    Ok((begun.elapsed().as_secs_f64(), resident))
}

fn ask(release: &Release, made: &releases::Made, report: &mut Report) {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut pick = || made.concepts[random.random_range(0..made.concepts.len())];
    let pairs: Vec<(u64, u64)> = (0..PAIRS).map(|_| (pick(), pick())).collect();
    // At random hardly one of a thousand is below the other: every second pair is one that is.
    let below: Vec<(u64, u64)> = pairs
        .iter()
        .enumerate()
        .map(|(nth, (child, other))| {
            let above = if nth % 2 == 0 { release.ancestors(*child) } else { Vec::new() };
            (*child, above.get(nth % above.len().max(1)).copied().unwrap_or(*other))
        })
        .collect();
    let is_a_ns = timed(&below, |(a, b)| release.is_a(*a, *b));
    let lookup_ns = timed(&pairs, |(id, _)| release.active(*id));
    let name_ns = timed(&pairs[..PAIRS / 10], |(id, _)| release.preferred(*id).map(|name| name.id));
    let read_ns = timed(&made.read, |(code, _)| release.read_code(terminology::read_maps::ReadSystem::V2, code, None));
    for (key, value) in
        [("is_a_ns", is_a_ns), ("lookup_ns", lookup_ns), ("name_ns", name_ns), ("read_code_ns", read_ns)]
    {
        report.figure(key, value);
    }
    report.check("is_a_ns", is_a_ns <= ANSWER_MAX_NS, &format!("{is_a_ns:.0} ns of {ANSWER_MAX_NS}"));
    report.check("lookup_ns", lookup_ns <= ANSWER_MAX_NS, &format!("{lookup_ns:.0} ns of {ANSWER_MAX_NS}"));
    let step = (below.len() / WALKED).max(1);
    let wrong =
        below.iter().step_by(step).filter(|(a, b)| release.is_a(*a, *b) != Some(walks_to(made, *a, *b))).count();
    report.check("as_a_walk", wrong == 0, &format!("{wrong} of {WALKED} pairs differ from a walk, seed {SEED}"));
    search(release, made, report);
}

/// Nanoseconds an answer: the middle of the batches.
fn timed<Q, A>(questions: &[Q], mut answer: impl FnMut(&Q) -> A) -> f64 {
    let batches = questions.chunks(BATCH).map(|batch| {
        let begun = Instant::now();
        for question in batch {
            black_box(answer(question));
        }
        begun.elapsed().as_secs_f64() * 1e9 / batch.len() as f64
    });
    median(batches.collect())
}

fn walks_to(made: &releases::Made, from: u64, to: u64) -> bool {
    let Ok(start) = made.concepts.binary_search(&from) else { return false };
    let (mut next, mut been) = (vec![start as u32], std::collections::BTreeSet::new());
    while let Some(at) = next.pop() {
        if made.concepts[at as usize] == to {
            return true;
        }
        next.extend(made.parents[at as usize].iter().filter(|parent| been.insert(**parent)));
    }
    false
}

/// One to three words of a name, the last one cut.
fn search(release: &Release, made: &releases::Made, report: &mut Report) {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut micros = Vec::with_capacity(SEARCHES);
    let mut found = 0;
    for _ in 0..SEARCHES {
        let name = &made.names[random.random_range(0..made.names.len())];
        let mut words: Vec<&str> = name.split(' ').take(random.random_range(1..4)).collect();
        if let Some(last) = words.last_mut() {
            *last = &last[..last.len().min(4)];
        }
        let query = words.join(" ");
        let begun = Instant::now();
        let answer = release.search(&query, 20);
        micros.push(begun.elapsed().as_secs_f64() * 1e6);
        // Its own name is there, unless more was there than is looked at.
        found += usize::from(!answer.names.is_empty() || answer.more);
    }
    micros.sort_by(f64::total_cmp);
    let (middle, worst) = (quantile(&micros, 0.5), quantile(&micros, 0.99));
    report.figure("search_us", middle);
    report.figure("search_p99_us", worst);
    report.check("search_us", middle <= SEARCH_MAX_US, &format!("{middle:.0} µs of {SEARCH_MAX_US}; p99 {worst:.0}"));
    report.check("found", found == SEARCHES, &format!("{found} of {SEARCHES} found something"));
}
