//! Several processes share the sources: members come, go, are killed and frozen while all sources are written to. A frozen
//! one wakes up when its sources have long been placed elsewhere.

use super::{
    Scale,
    load::{Load, Random},
    yard::{Source, Yard},
};
use crate::{
    order,
    report::Report,
    running::{ask, tail},
    topic::{self, decode, header, unframe},
};
use anyhow::{Context, ensure};
use apache_avro::{Schema, types::Value};
use rdkafka::Message as _;
use stack::Causeway;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const SOURCES: usize = 6;
const ROWS: u64 = 60;
const MEMBERS_MAX: usize = 3;
/// A member that is silent for so long loses its sources.
const SESSION: Duration = Duration::from_secs(6);
/// So long a frozen one is silent.
const FROZEN: Duration = Duration::from_secs(14);
/// And longer, until its sources are taken up, which takes longer on a slow machine; but no longer than this.
const FROZEN_MORE_MAX: Duration = Duration::from_secs(30);
/// What a new owner's log says.
const TAKEN_OVER: &str = "ends the session of an earlier owner";
/// The server would not notice within a frozen member's silence that nobody answers.
const SENDER_TIMEOUT: &str = "120s";
const SETTLE_MAX: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(500);
const EVENTS: &str = "patient.events";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Kill,
    Freeze,
    Add,
    Remove,
}

const STEPS: [Step; 4] = [Step::Freeze, Step::Kill, Step::Add, Step::Remove];

struct Member {
    /// Its folder of what is kept: a machine's.
    slot: usize,
    ops: String,
    process: Causeway,
}

struct Group {
    config: PathBuf,
    folder: PathBuf,
    members: Vec<Member>,
    started: usize,
}

pub async fn run(
    yard: &mut Yard,
    scale: &Scale,
    seed: u64,
    report: &mut Report,
    say: &mut impl FnMut(&str),
) -> anyhow::Result<()> {
    let mut sources = Vec::new();
    for _ in 0..SOURCES {
        sources.push(yard.source(ROWS).await?);
    }
    yard.set_sender_timeout(SENDER_TIMEOUT).await?;
    let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let config = yard.write_shared_settings("members", &names, SESSION.as_secs())?;
    let folder = yard.file("members");
    let mut group = Group { config, folder, members: Vec::new(), started: 0 };
    group.add().await?;
    group.add().await?;
    let mut loads = Vec::new();
    for (source, number) in sources.iter().zip(1..) {
        loads.push(Load::start(&yard.database.config(&source.name)?, seed.wrapping_add(number)));
    }
    let mut random = Random(seed);
    let (deadline, mut steps) = (Instant::now() + scale.members_for, Vec::new());
    let mut count: BTreeMap<&str, u64> = BTreeMap::new();
    while Instant::now() < deadline {
        let (min, max) = scale.members_every;
        tokio::time::sleep(min + Duration::from_millis(random.below((max - min).as_millis() as u64 + 1))).await;
        if steps.is_empty() {
            steps = STEPS.to_vec();
            random.shuffle(&mut steps);
        }
        let step = steps.pop().unwrap_or(Step::Kill);
        if let Some(done) = group.perform(step).await? {
            *count.entry(done).or_default() += 1;
            say(&format!("{done}; {} members", group.members.len()));
        }
    }
    let mut committed = 0;
    for load in loads {
        committed += load.stop().await;
    }
    let (lost, log) = judge_logs(yard, &group, &mut sources).await?;
    report.check("members_share_the_logs", lost == 0, &format!("{count:?}, {committed} transactions: {log}"));
    let told = judge_events(yard, &sources).await?;
    let ordering = order::read(yard.kafka.brokers(), EVENTS).await?;
    report.check("events_are_whole", told.wrong == 0 && told.records > 0, &told.text());
    report.check("events_are_in_order", ordering.kept() && ordering.events > 0, &format!("{ordering:?}"));
    let taken_over = group.count(TAKEN_OVER)?;
    report.check("frozen_sessions_are_ended", taken_over > 0, &format!("{taken_over} were"));
    report.figure("members_sessions_ended", taken_over as f64);
    report.figure("members_longest_pause_s", told.longest_pause.as_secs_f64());
    report.figure("members_void_events", told.void as f64);
    group.stop().await?;
    yard.reset_sender_timeout().await?;
    for source in sources {
        yard.forget(source).await?;
    }
    Ok(())
}

impl Group {
    async fn add(&mut self) -> anyhow::Result<()> {
        let free = (0..).find(|slot| self.members.iter().all(|member| member.slot != *slot));
        let mut member = self.launch(free.unwrap_or(0))?;
        member.process.wait_ready().await?;
        self.members.push(member);
        Ok(())
    }

    fn launch(&mut self, slot: usize) -> anyhow::Result<Member> {
        let ops = format!("127.0.0.1:{}", stack::free_port()?);
        self.started += 1;
        let state = self.folder.join(format!("machine-{slot}"));
        std::fs::create_dir_all(&state)?;
        let log = self.log(self.started);
        let mut process = Causeway::prepare(&self.config, &["connector", "normaliser"], &ops, &log)?;
        let environment = &mut process.spec_mut().environment;
        environment.insert("CAUSEWAY__OPS__LISTEN".to_owned(), ops.clone());
        environment.insert("CAUSEWAY__NORMALISER__STATE".to_owned(), state.display().to_string());
        process.launch()?;
        Ok(Member { slot, ops, process })
    }

    fn log(&self, number: usize) -> PathBuf {
        self.folder.join(format!("{number}.log"))
    }

    /// What was done, if there was something to do it to.
    async fn perform(&mut self, step: Step) -> anyhow::Result<Option<&'static str>> {
        match step {
            Step::Kill => {
                let busiest = self.busiest().await;
                self.members[busiest].process.kill_9()?;
                let slot = self.members[busiest].slot;
                self.members[busiest] = self.launch(slot)?;
                Ok(Some("killed"))
            }
            Step::Freeze => {
                // Somebody has to be there to take its sources.
                if self.members.len() < 2 {
                    self.add().await?;
                }
                let busiest = self.busiest().await;
                let before = self.count(TAKEN_OVER)?;
                self.members[busiest].process.pause()?;
                tokio::time::sleep(FROZEN).await;
                let deadline = Instant::now() + FROZEN_MORE_MAX;
                while self.count(TAKEN_OVER)? == before && Instant::now() < deadline {
                    tokio::time::sleep(POLL).await;
                }
                self.members[busiest].process.resume()?;
                Ok(Some("frozen"))
            }
            Step::Add if self.members.len() < MEMBERS_MAX => {
                let slot = (0..).find(|slot| self.members.iter().all(|member| member.slot != *slot));
                let member = self.launch(slot.unwrap_or(0))?;
                self.members.push(member);
                Ok(Some("added"))
            }
            Step::Remove if self.members.len() > 1 => {
                let mut member = self.members.remove(0);
                member.process.stop().await?;
                Ok(Some("removed"))
            }
            Step::Add | Step::Remove => Ok(None),
        }
    }

    /// The member with the most sources.
    async fn busiest(&self) -> usize {
        let mut sources = Vec::new();
        for member in &self.members {
            let status = ask(&member.ops, "/status").await.unwrap_or_default();
            sources.push(status["sources"].as_object().map_or(0, serde_json::Map::len));
        }
        (0..sources.len()).max_by_key(|member| sources[*member]).unwrap_or(0)
    }

    /// How often the members' logs say so.
    fn count(&self, what: &str) -> anyhow::Result<usize> {
        let mut count = 0;
        for number in 1..=self.started {
            count += std::fs::read_to_string(self.log(number))?.matches(what).count();
        }
        Ok(count)
    }

    fn tails(&self) -> String {
        self.members.iter().map(|member| tail(member.process.log())).collect::<Vec<_>>().join("\n--\n")
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            member.process.stop().await?;
        }
        Ok(())
    }
}

/// How much was lost, doubled, out of order or wrong in all logs.
async fn judge_logs(yard: &Yard, group: &Group, sources: &mut [Source]) -> anyhow::Result<(u64, String)> {
    let mut wrong = 0;
    let (mut committed, mut sessions, mut void, mut first) = (0, 0, 0, String::new());
    for source in sources {
        reach(yard, group, source).await?;
        let verdict = yard.verdict(source).await?;
        if !verdict.ok() {
            wrong += 1;
            first = format!("; {}: {}", source.name, verdict.text());
        }
        (committed, sessions, void) = (committed + verdict.committed, sessions + verdict.sessions, void + verdict.void);
    }
    let text = format!("{committed} changes, {sessions} sessions, {void} void records, {wrong} sources wrong{first}");
    Ok((wrong, text))
}

/// Waits until the source's slot knows that all that is committed now is in the log.
async fn reach(yard: &Yard, group: &Group, source: &Source) -> anyhow::Result<()> {
    let client = yard.database.connect(&source.name).await?;
    client.batch_execute("insert into yard.loose values (-1)").await?;
    let here: String = client.query_one("select pg_current_wal_flush_lsn()::text", &[]).await?.get(0);
    let reached = "select coalesce(confirmed_flush_lsn >= $2::text::pg_lsn, false) from pg_replication_slots \
                   where slot_name = $1";
    let deadline = Instant::now() + SETTLE_MAX;
    loop {
        let row = client.query_opt(reached, &[&format!("causeway_{}", source.name), &here]).await?;
        if row.is_some_and(|row| row.get(0)) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the log of {} does not catch up:\n{}", source.name, group.tails());
        tokio::time::sleep(POLL).await;
    }
}

#[derive(Default)]
struct Told {
    records: usize,
    /// Records that are shown and not there, there and not shown, or shown as they were before.
    wrong: usize,
    first: Option<String>,
    void: u64,
    longest_pause: Duration,
    /// Where events stand twice, and whose they are: the first few.
    twice: Vec<String>,
}

const TWICE_MAX: usize = 6;

impl Told {
    fn text(&self) -> String {
        let first = self.first.as_ref().map(|first| format!("; {first}")).unwrap_or_default();
        let (pause, void) = (self.longest_pause.as_secs_f64(), self.void);
        let twice = self.twice.iter().map(|twice| format!("; {twice}")).collect::<String>();
        format!(
            "{} records, {} wrong, {void} void events, longest pause {pause:.1} s{first}{twice}",
            self.records, self.wrong
        )
    }
}

/// What readers hold of the events in the end, beside the tables; read again until it is the same, or for too long.
async fn judge_events(yard: &Yard, sources: &[Source]) -> anyhow::Result<Told> {
    let mut wanted: BTreeMap<(String, String), String> = BTreeMap::new();
    for source in sources {
        let client = yard.database.connect(&source.name).await?;
        for row in client.query("select id::text, version::text from yard.row", &[]).await? {
            wanted.insert((source.name.clone(), format!("row/{}", row.get::<_, String>(0))), row.get(1));
        }
    }
    let deadline = Instant::now() + SETTLE_MAX;
    loop {
        let brokers = yard.kafka.brokers().to_owned();
        let (shown, mut told) = tokio::task::spawn_blocking(move || shown(&brokers)).await??;
        let differs = |key: &&(String, String)| wanted.get(*key) != shown.get(*key);
        let mut wrong: Vec<&(String, String)> = wanted.keys().chain(shown.keys()).filter(differs).collect();
        wrong.sort();
        wrong.dedup();
        (told.records, told.wrong) = (wanted.len(), wrong.len());
        told.first = wrong.first().map(|key| format!("{key:?}: {:?} and not {:?}", shown.get(*key), wanted.get(*key)));
        if wrong.is_empty() || Instant::now() > deadline {
            return Ok(told);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Generation and position, and what was told there; none if it was taken back.
type Newest = ((i64, String), Option<String>);
type Shown = BTreeMap<(String, String), String>;

/// By source and record, what was told last: the newest by generation and position of what counts.
fn shown(brokers: &str) -> anyhow::Result<(Shown, Told)> {
    let schema = Schema::parse_str(&std::fs::read_to_string(stack::repository().join("schemas/patient_event.avsc"))?)?;
    let mut owners: HashMap<(i32, String), u32> = HashMap::new();
    let mut newest: BTreeMap<(String, String), Newest> = BTreeMap::new();
    // Of each source, the tenths of seconds in which something was told.
    let (mut told, mut moments) = (Told::default(), HashMap::<String, BTreeSet<i64>>::new());
    let mut places: HashMap<String, String> = HashMap::new();
    let mut last_of: HashMap<(String, String), ((i64, String), String)> = HashMap::new();
    topic::read(brokers, EVENTS, |message| {
        let owner = header(message, "causeway-owner");
        if order::void(&mut owners, owner, message.partition(), message.payload().is_none()) {
            told.void += u64::from(message.payload().is_some());
            return Ok(());
        }
        let at = message.timestamp().to_millis().unwrap_or(0);
        let here = format!("{}@{} by {} at {at}", message.partition(), message.offset(), owner.unwrap_or("nobody"));
        if let Some(before) = places.insert(header(message, "ce_id").unwrap_or_default().to_owned(), here.clone())
            && told.twice.len() < TWICE_MAX
        {
            told.twice.push(format!("twice: {before}, {here}"));
        }
        let (_, datum) = message.payload().and_then(unframe).context("an event without a frame")?;
        let event = decode(&schema, datum)?;
        let text = |name: &str| field(&event, name).and_then(string).unwrap_or_default();
        let generation = if let Some(Value::Long(generation)) = field(&event, "generation") { *generation } else { 0 };
        let (source, place) = (text("source"), (generation, text("position")));
        let whole = (place.clone(), format!("{} {here}", header(message, "ce_id").unwrap_or_default()));
        if let Some(last) = last_of.insert((source.clone(), text("patient")), whole.clone())
            && last.0 > place
            && told.twice.len() < TWICE_MAX
        {
            told.twice.push(format!("out of order: {}, then {}", last.1, whole.1));
        }
        moments.entry(source.clone()).or_default().insert(at / 100);
        let live = (!is_retracted(&event)).then(|| version(&event));
        let known = newest.entry((source, text("record"))).or_default();
        if place > known.0 {
            *known = (place, live);
        }
        Ok(())
    })?;
    // Partitions are read one beside another: only sorted, times tell how long nothing was told.
    let gaps = moments.values().flat_map(|of| of.iter().zip(of.iter().skip(1)).map(|(a, b)| b.abs_diff(*a)));
    told.longest_pause = Duration::from_millis(gaps.max().unwrap_or(0) * 100);
    let shown = newest.into_iter().filter_map(|(key, (_, live))| Some((key, live?))).collect();
    Ok((shown, told))
}

fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let Value::Record(fields) = value else { return None };
    fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
}

fn string(value: &Value) -> Option<String> {
    match value {
        Value::String(text) | Value::Enum(_, text) => Some(text.clone()),
        Value::Union(_, inner) => string(inner),
        _ => None,
    }
}

fn is_retracted(event: &Value) -> bool {
    field(event, "action").and_then(string).is_some_and(|action| action == "retracted")
}

/// The row's version, which its text begins with.
fn version(event: &Value) -> String {
    let mut body = field(event, "body");
    while let Some(Value::Union(_, inner)) = body {
        body = Some(inner);
    }
    let text = body.and_then(|body| field(body, "text")).and_then(string).unwrap_or_default();
    text.split(':').next().unwrap_or_default().trim().to_owned()
}

/// The mapping of what the yard's load writes.
pub const MAPPING: &str = "system = \"yard\"\nrevision = 1\nzone = \"Europe/London\"\n[[record]]\nkind = \"encounter\"\n\
    name = \"row\"\ntable = \"yard.row\"\nid = \"id\"\npatient = \"id\"\nclass = { otherwise = \"AMB\" }\n\
    text = { from = [\"version\", \"note\"], together = \": \" }\n";

/// Of all these sources, for processes that share them.
pub fn settings(own: &str, blocks: &[String], session_s: u64, mapping: &Path) -> String {
    let blocks: Vec<String> =
        blocks.iter().map(|block| format!("{block}mapping = \"{}\"\n", mapping.display())).collect();
    format!("{own}[members]\nsession_timeout_s = {session_s}\n{}", blocks.join(""))
}
