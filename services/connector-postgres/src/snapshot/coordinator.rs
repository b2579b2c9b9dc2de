//! Which part is read next, by whom; and what the stream does meanwhile to what is being read.

use super::{
    beside::Beside,
    named::Named,
    range::Range,
    rate::Rate,
    reader::{self, Answer, CHUNK_ROWS_MAX, Chunk, Found, Job, Planned, What},
    rests::Rests,
    state::{Running, State},
    window::{Bag, Difference, Superseded, Window},
};
use crate::{
    catalogue::{KeyColumn, Member},
    charset::Charset,
    error::ConnectorError,
    settings::Settings,
    watch::{Reason, Throttle},
};
use change::Lsn;
use change_log::signal::Desired;
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

/// Transactions of the stream that are remembered, to tell those that are visible late.
const RECENT_MAX: usize = 100_000;
/// A table that is new to the log is read once all that began before have ended: what they did to it before it was
/// published is not in the stream.
const EARLY: &str = "a table is read once every transaction has ended that was open when it was published, or when \
                     this session began";
/// Parts of tables without a key that are on the way.
const ANSWERS_BUFFERED_MAX: usize = 2;

/// Between the stream and the coordinator.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The stream waits until a table without a key has been read.
    pub(crate) hold: AtomicBool,
    /// A part of a table without a key waits for the stream: the next one waits behind it.
    pub(crate) full: AtomicBool,
    /// Something is to be done even if nothing comes.
    pub(crate) ticking: AtomicBool,
}

/// How a table of the running snapshot is read.
pub(crate) struct Reading {
    pub(crate) oid: u32,
    key: Arc<[KeyColumn]>,
    rows_max: u64,
    pub(crate) rows_estimated: u64,
}

/// One worker's job, and the stream beside it.
pub(super) struct Open {
    worker: usize,
    table: usize,
    segment: usize,
    pub(super) oid: u32,
    pub(super) beside: Beside,
    /// How many transactions had begun before it opened.
    opened: u64,
    /// What waits to be placed.
    chunk: Option<Box<Chunk>>,
    /// The first part of a table without a key is in the log.
    placing: bool,
}

/// A worker's task, by a number that no other has.
struct Worker {
    number: u64,
    jobs: mpsc::Sender<Job>,
}

/// What does not hold of a chunk.
pub(crate) enum Changed {
    Keyed(Superseded),
    /// Of a table without a key; only with its first part.
    Keyless(Option<Difference>),
}

/// A chunk that can be told now.
pub(crate) struct Due {
    pub(crate) table: usize,
    pub(crate) segment: usize,
    pub(crate) oid: u32,
    pub(crate) chunk: Box<Chunk>,
    pub(crate) changed: Changed,
}

pub(crate) struct Coordinator {
    pub(super) settings: Arc<Settings>,
    /// What rows come in.
    charset: Charset,
    pub(crate) state: State,
    /// Snapshots that wait for the running one.
    pub(crate) queue: VecDeque<Running>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) paused: bool,
    /// What operators want.
    pub(super) desired: watch::Receiver<Arc<Desired>>,
    throttle: Throttle,
    pub(super) published: Vec<Member>,
    /// By which keys their rows are told.
    pub(super) named: Named,
    workers: Vec<Option<Worker>>,
    workers_started: u64,
    busy: Vec<bool>,
    answers: mpsc::Sender<Answer>,
    pub(crate) plans: HashMap<usize, Reading>,
    planning: HashMap<usize, usize>,
    pub(super) open: Vec<Open>,
    began: u64,
    recent: VecDeque<u32>,
    /// Transactions before it began before this session.
    floor: u64,
    /// Tables that are not read before a moment.
    rests: Rests,
    pub(crate) started: Instant,
    pub(crate) rows_at_start: u64,
    pub(crate) rate: Rate,
    /// What it was last said to wait for.
    waits_shown: Option<&'static str>,
    /// Something that was read was forgotten, and the log does not say so yet.
    pub(crate) forgotten: bool,
}

impl Coordinator {
    pub(crate) fn new(
        (settings, charset): (Arc<Settings>, Charset),
        state: State,
        floor: u64,
        mut desired: watch::Receiver<Arc<Desired>>,
        throttle: Throttle,
        published: Vec<Member>,
    ) -> (Self, mpsc::Receiver<Answer>) {
        desired.mark_changed();
        let (answers, received) = mpsc::channel(ANSWERS_BUFFERED_MAX);
        let workers = usize::from(settings.snapshot.workers.max(1));
        let rows = state.running.as_ref().map_or(0, |running| running.rows);
        let coordinator = Self {
            settings,
            charset,
            state,
            queue: VecDeque::new(),
            shared: Arc::default(),
            paused: false,
            desired,
            throttle,
            named: Named::of(&published),
            published,
            workers: std::iter::repeat_with(|| None).take(workers).collect(),
            workers_started: 0,
            busy: vec![false; workers],
            answers,
            plans: HashMap::new(),
            planning: HashMap::new(),
            open: Vec::new(),
            began: 0,
            recent: VecDeque::new(),
            floor,
            rests: Rests::default(),
            started: Instant::now(),
            rows_at_start: rows,
            rate: Rate::default(),
            waits_shown: None,
            forgotten: false,
        };
        (coordinator, received)
    }

    pub(crate) fn start(&mut self, running: Running) {
        self.plans.clear();
        self.rests = Rests::default();
        self.state.reads(&running, &self.published);
        self.named.round += 1;
        self.state.running = Some(running);
        (self.started, self.rows_at_start, self.rate) = (Instant::now(), 0, Rate::default());
    }

    pub(crate) fn begin_transaction(&mut self, xid: u32) {
        self.began += 1;
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(xid);
    }

    pub(crate) fn answer(&mut self, answer: Answer) {
        let known = |worker: &Option<Worker>| worker.as_ref().is_some_and(|worker| worker.number == answer.worker);
        // One that was given up may still speak.
        let Some(worker) = self.workers.iter().position(known) else { return };
        match answer.result {
            Ok(Found::Planned(planned)) => self.planned(worker, planned),
            Ok(Found::Chunk(chunk)) => {
                let more = !chunk.complete;
                if let Some(open) = self.open.iter_mut().find(|open| open.worker == worker) {
                    self.busy[worker] = matches!(open.beside, Beside::Keyless(_)) && more;
                    open.chunk = Some(chunk);
                }
            }
            Err(error) => self.failed(worker, &error),
        }
    }

    fn failed(&mut self, worker: usize, error: &ConnectorError) {
        let problem = boot::restart::in_one_line(error);
        tracing::warn!(source = self.settings.name, error = problem, "a part of the snapshot is read again");
        if let Some(table) = self.again(worker) {
            if error.is_of_the_condition() && self.give_up() {
                return;
            }
            self.rests.failed(table, problem);
            // What it was read by may be of another shape by now.
            if self.open.iter().all(|open| open.table != table) {
                self.plans.remove(&table);
            }
        }
    }

    /// Ends a snapshot whose condition some row does not take: the next ones wait behind it. False: it has none.
    fn give_up(&mut self) -> bool {
        let Some(running) = self.state.running.as_mut().filter(|running| running.is_asked_with_condition()) else {
            return false;
        };
        tracing::error!(
            source = self.settings.name,
            snapshot = running.id,
            "a row does not take the snapshot's condition: it is given up"
        );
        running.give_up();
        // Whoever still reads for it is not listened to.
        self.open.clear();
        self.planning.clear();
        self.busy.fill(false);
        self.workers.fill_with(|| None);
        self.signal();
        true
    }

    /// Why a part has to be read again.
    pub(crate) fn problem(&self) -> Option<String> {
        self.rests.why()
    }

    /// Gives up what the worker was doing, and tells of which table.
    fn again(&mut self, worker: usize) -> Option<usize> {
        self.busy[worker] = false;
        let planned = self.planning.remove(&worker);
        let Some(at) = self.open.iter().position(|open| open.worker == worker) else { return planned };
        let open = self.open.swap_remove(at);
        if open.placing {
            // Part of a table without a key is in the log: all of it comes again.
            if let Some(table) = self.state.running.as_mut().and_then(|r| r.tables.get_mut(open.table)) {
                table.restart();
            }
            self.plans.remove(&open.table);
        }
        self.signal();
        Some(open.table)
    }

    /// Tells the stream what it must wait for.
    fn signal(&self) {
        self.shared.hold.store(self.open.iter().any(|open| open.placing), Ordering::Release);
        let full = |open: &Open| open.chunk.is_some() && self.busy[open.worker];
        self.shared.full.store(self.open.iter().any(full), Ordering::Release);
    }

    fn planned(&mut self, worker: usize, planned: Planned) {
        self.busy[worker] = false;
        let Some(table) = self.planning.remove(&worker) else { return };
        let Some(state) = self.state.running.as_mut().and_then(|running| running.tables.get_mut(table)) else { return };
        match planned {
            Planned::Gone => {
                tracing::warn!(source = self.settings.name, table = state.name, "not published any more: not read");
                (state.done, state.gone) = (true, true);
                self.rests.over(table);
            }
            Planned::Table { oid, key, rows_estimated, rows_max, bounds } => {
                state.plan(key.iter().map(|column| column.name.clone()).collect(), bounds);
                self.plans.insert(table, Reading { oid, key, rows_max, rows_estimated });
            }
        }
    }

    pub(crate) fn waiting(&self) -> bool {
        self.open.iter().any(|open| open.chunk.is_some())
    }

    /// A chunk whose every visible transaction the stream has told.
    pub(crate) fn due(&mut self, passed: Lsn) -> Option<Due> {
        let ready = |open: &Open| open.chunk.as_ref().is_some_and(|chunk| chunk.high <= passed);
        // What stands between two parts of a table without a key would be told in the middle of it.
        let placing = self.open.iter().position(|open| open.placing);
        let at = placing.or_else(|| self.open.iter().position(ready))?;
        let open = &mut self.open[at];
        let chunk = open.chunk.take()?;
        let early = chunk.visible.xmin() < self.floor
            && (chunk.waits_for_standby
                || self.state.running.as_ref().is_some_and(|r| r.is_new(open.table, &self.state.read)));
        if !open.placing && (early || open.beside.spoilt() || !trusted(&self.recent, self.began, open, &chunk)) {
            let (worker, table) = (open.worker, open.table);
            if self.busy[worker] {
                // The rest is still on its way: nobody takes it.
                self.workers[worker] = None;
            }
            self.again(worker);
            if early {
                self.rests.failed(table, EARLY.to_owned());
            } else {
                self.rests.again_soon(table);
            }
            return None;
        }
        self.rests.over(open.table);
        let (table, segment, oid) = (open.table, open.segment, open.oid);
        let changed = match &mut open.beside {
            Beside::Keyed(window) => Changed::Keyed(std::mem::take(window).judge(&chunk.visible)),
            Beside::Keyless(bag) => {
                let first = !std::mem::replace(&mut open.placing, true);
                Changed::Keyless(first.then(|| std::mem::take(bag).judge(&chunk.visible)))
            }
        };
        if chunk.complete || !open.placing {
            self.open.swap_remove(at);
        }
        self.signal();
        Some(Due { table, segment, oid, chunk, changed })
    }

    pub(crate) fn holds(&self) -> bool {
        self.shared.hold.load(Ordering::Acquire)
    }

    /// Gives idle workers something to do.
    pub(crate) fn dispatch(&mut self) {
        self.follow();
        self.signal();
        let running = self.state.running.is_some();
        self.shared.ticking.store(running || !self.queue.is_empty(), Ordering::Release);
        if !running || self.paused || self.throttled() {
            return;
        }
        // A worker whose last chunk waits for the stream waits with it.
        let free = |this: &Self| {
            let rests = |worker: &usize| !this.busy[*worker] && this.open.iter().all(|open| open.worker != *worker);
            (0..this.busy.len()).find(rests)
        };
        while let Some(worker) = free(self) {
            let Some((table, segment)) = self.next() else { return };
            if !self.give(worker, table, segment) {
                return;
            }
        }
    }

    /// What keeps the snapshot from going on as fast as it could.
    pub(crate) fn waits_for(&self) -> Option<&'static str> {
        match *self.throttle.borrow() {
            _ if self.paused => Some("an operator: `causeway source snapshot CONFIG SOURCE --resume` lets it go on"),
            Some(Reason::WalBudget) => Some("the slot to keep less WAL than its budget"),
            Some(Reason::SourceLoad) => Some("the source to be less busy"),
            None => None,
        }
    }

    /// Whether that is news.
    pub(crate) fn waits_otherwise(&mut self) -> bool {
        let waits = self.waits_for();
        std::mem::replace(&mut self.waits_shown, waits) != waits
    }

    fn throttled(&mut self) -> bool {
        self.rate.waits(Instant::now().duration_since(self.started), self.settings.snapshot.rows_per_s_max)
    }

    /// The next part that nobody reads: of a table that has begun, else of the next table. Of those without a key one is
    /// read at a time.
    fn next(&self) -> Option<(usize, Option<usize>)> {
        let running = self.state.running.as_ref()?;
        let now = Instant::now();
        let taken = |table, segment| self.open.iter().any(|open| (open.table, open.segment) == (table, segment));
        let keyless = self.open.iter().any(|open| matches!(open.beside, Beside::Keyless(_)));
        let mut unplanned = None;
        for (at, table) in
            running.tables.iter().enumerate().filter(|(at, table)| !table.done && !self.rests.rests(*at, now))
        {
            if let Some(plan) = self.plans.get(&at) {
                if keyless && plan.key.is_empty() {
                    continue;
                }
                let free = (0..table.segments.len()).find(|n| !table.segments[*n].done && !taken(at, *n));
                if let Some(segment) = free {
                    return Some((at, Some(segment)));
                }
            } else if unplanned.is_none() && !self.planning.values().any(|planned| *planned == at) {
                unplanned = Some((at, None));
            }
        }
        unplanned
    }

    fn give(&mut self, worker: usize, table: usize, segment: Option<usize>) -> bool {
        let Some(running) = &self.state.running else { return false };
        let state = &running.tables[table];
        let part = segment.and_then(|segment| Some((segment, self.plans.get(&table)?)));
        let what = match part {
            None => What::Plan,
            Some((_, plan)) if plan.key.is_empty() => What::Whole,
            Some((segment, plan)) => {
                let part = &state.segments[segment];
                let range = Range {
                    from: part.from.clone(),
                    upto: part.upto.clone(),
                    after: part.after.clone(),
                    only: part.only.clone(),
                };
                What::Chunk { key: Arc::clone(&plan.key), range, rows_max: plan.rows_max.min(CHUNK_ROWS_MAX) }
            }
        };
        let beside = if matches!(what, What::Whole) {
            Beside::Keyless(Bag::default())
        } else {
            Beside::Keyed(Window::default())
        };
        let id = state.id();
        let job = Job { schema: id.schema, name: id.name, predicate: running.predicate.clone(), what };
        match part {
            None => drop(self.planning.insert(worker, table)),
            Some((segment, plan)) => {
                let (oid, opened) = (plan.oid, self.began);
                self.open.push(Open { worker, table, segment, oid, beside, opened, chunk: None, placing: false });
            }
        }
        self.busy[worker] = true;
        let sent = self.worker(worker).try_send(job).is_ok();
        if !sent {
            self.workers[worker] = None;
            self.again(worker);
        }
        sent
    }

    /// Starts the worker if it does not run.
    fn worker(&mut self, worker: usize) -> &mpsc::Sender<Job> {
        let started = &mut self.workers_started;
        let running = self.workers[worker].get_or_insert_with(|| {
            *started += 1;
            let (jobs, received) = mpsc::channel(1);
            tokio::spawn(reader::work(
                *started,
                (Arc::clone(&self.settings), self.charset.clone()),
                self.throttle.clone(),
                received,
                self.answers.clone(),
            ));
            Worker { number: *started, jobs }
        });
        &running.jobs
    }
}

/// Whether the window holds every transaction that the reader may have missed. One that began in the stream before the
/// window opened must be visible.
fn trusted(recent: &VecDeque<u32>, began: u64, open: &Open, chunk: &Chunk) -> bool {
    let since = usize::try_from(began - open.opened).unwrap_or(usize::MAX);
    let before = recent.len().saturating_sub(since);
    recent.iter().take(before).all(|xid| chunk.visible.sees(*xid))
}
