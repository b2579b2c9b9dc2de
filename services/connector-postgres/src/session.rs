//! One session with a source: look at log and slot, decide, take the log over, pump.

use crate::{
    catalogue::{self, Member},
    charset::Charset,
    column_types::Types,
    connect::{self, Pulse, START_TIMEOUT},
    encoder::{Encoder, State},
    error::{ConnectorError, Doing},
    lag::Unconfirmed,
    left_out::{self, LeftOut},
    listed,
    meter::Meter,
    plan::{Allowed, Ends, Identity, Plan, broken, decide, needs_another_look},
    quarantine::{self, Quarantine},
    relation::Origin,
    relations::Relations,
    settings::{Settings, WhenLost},
    setup, slot,
    snapshot::{self, Coordinator, Difference, Running, State as SnapshotState},
    standing::Standing,
    status::{Phase, Status},
    stream::{Lag, Stream},
    upkeep,
    watch::Signs,
};
use boot::{Stop, failpoint, health::Part};
use change::{Lsn, pump};
use change_log::{
    KafkaSettings, Kept, LogTail, LogWriter, Registry, TopicSpec, WriterSettings, control,
    signal::{self, Desired, lives},
    topics,
};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{OnceCell, mpsc, watch};
use tokio_postgres::Client;

/// After the stop signal, what is in flight has so long to become durable.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(10);
/// A source that waits for an operator is looked at again: what is wrong may have been mended at its end.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);
/// A session says in the log which server it is of: again before the log forgets it.
const RENEWED_AFTER: Duration = Duration::from_secs(topics::CHANGES_KEPT.as_secs() / 2);
/// Between two looks at a source that seems to have lost its place.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long the server may take to end the stream.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// Everything a session needs from outside.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) settings: Arc<Settings>,
    pub(crate) kafka: KafkaSettings,
    pub(crate) registry: Registry,
    pub(crate) status: Arc<Status>,
    pub(crate) health: Part,
    pub(crate) stop: Stop,
    pub(crate) identity: Identity,
    /// What operators want, followed from the first time it is asked for.
    pub(crate) signals: Arc<OnceCell<watch::Receiver<Arc<Desired>>>>,
    /// What the watch over the slot and the tables says.
    pub(crate) signs: Signs,
    /// What the database's rows come in.
    pub(crate) charset: Charset,
    /// The tables that this session captures, …
    pub(crate) captured: BTreeSet<String>,
    /// … but for those that it leaves out.
    pub(crate) left_out: LeftOut,
    /// The last session met what the source waits for: the next one is well once it has passed it, not before.
    pub(crate) doubted: bool,
    /// The last session met WAL that the server cannot read.
    pub(crate) unreadable: bool,
}

impl Session {
    /// Runs until the stop signal or an error.
    pub(crate) async fn run(&mut self) -> Result<(), ConnectorError> {
        let mut told = None;
        while !self.stop.is_cancelled() {
            // What is wanted from here on is news to this session, even if it comes while the session is being refused.
            let mut news = self.desired().await?;
            news.mark_unchanged();
            let ended = match self.once().await {
                Err(refused @ ConnectorError::Incompatible { .. }) => self.set_aside(refused).await,
                ended => ended,
            };
            self.unreadable = matches!(ended, Err(ConnectorError::PublicationMissed { .. }));
            self.doubted = self.unreadable || matches!(ended, Err(ConnectorError::TooManyAside { .. }));
            match ended {
                // The settings say that a loss is made up for by a snapshot of all.
                Err(error) if self.unreadable && self.settings.when_lost == WhenLost::Snapshot => {
                    let why = boot::restart::in_one_line(&error);
                    tracing::warn!(
                        source = self.settings.name,
                        why,
                        "all tables are read anew, into a new epoch of the log"
                    );
                }
                Err(error) if error.waits_for_operator() => self.refused(&error, &mut told, news).await,
                ended => ended?,
            }
        }
        Ok(())
    }

    /// Says what an operator must decide, and waits until one has.
    async fn refused(
        &self,
        error: &ConnectorError,
        told: &mut Option<String>,
        mut news: watch::Receiver<Arc<Desired>>,
    ) {
        let why = boot::restart::in_one_line(error);
        self.health.needs_operator(why.clone());
        self.status.update(|view| {
            view.phase = Phase::Refused;
            view.refused = Some(why.clone());
        });
        if told.as_ref() != Some(&why) {
            tracing::error!(source = self.settings.name, why, "stopped: this needs an operator");
            *told = Some(why);
        }
        tokio::select! {
            () = self.stop.cancelled() => {}
            changed = news.changed() => drop(changed),
            () = self.other_tables() => {}
            () = tokio::time::sleep(REFUSED_AGAIN) => {}
        }
    }

    async fn once(&mut self) -> Result<(), ConnectorError> {
        let quarantine = TopicSpec::new(quarantine::TOPIC, 1, Kept::Forever);
        let specs = [TopicSpec::changes(&self.settings.name), quarantine, signal::topic()];
        topics::ensure(&self.kafka, &specs).await?;
        let mut desired = self.desired().await?;
        self.while_paused(&mut desired).await;
        self.let_in(&desired.borrow());
        let client = connect::sql(&self.settings).await?;
        let server = setup::check_server(&client, &self.settings.name).await?;
        self.charset = server.charset;
        self.signs.tables.mark_unchanged();
        self.captured = upkeep::ensure(&client, &self.settings, &self.status).await?;
        self.left_out = self.leaves_out(&client).await?;
        let wanted = |schema: &str, table: &str| self.settings.wants(schema, table);
        listed::keys_published(&client, &self.settings.publication(), wanted).await?;
        failpoint::reached("source.published");
        let pulse = Pulse::of(server.sender_timeout);
        let replace_epoch = desired.borrow_and_update().replace_epoch;
        let allowed = Allowed { when_lost: self.settings.when_lost, replace_epoch, unreadable: self.unreadable };
        let (plan, tail) = self.plan(&client, pulse, allowed).await?;
        self.use_up(replace_epoch, &tail).await?;
        match plan {
            Plan::Snapshot { beyond, drop_slot } => {
                let epoch = lives::next_epoch(&self.kafka, &self.settings.name, beyond).await?;
                snapshot::begin(self, &client, pulse, (epoch, drop_slot), tail.last).await.map(drop)
            }
            Plan::Stream { start, epoch } => {
                // A transaction may be in the log without what it means for the tables that are being read: that stands
                // right behind it. What the slot has not confirmed comes again; it is not written again.
                let reading = SnapshotState::of(&tail).running.is_some();
                self.stream(&client, pulse, if reading { Lsn(0) } else { start }, epoch, desired).await
            }
        }
    }

    /// How to go on, and the end of the log that says so.
    ///
    /// # Why
    /// The source may be taken over from a connector that still works. What each of the three says goes on meanwhile, and
    /// each follows the next: the slot what the log holds, the log the server's WAL. Looked at in this order, none seems to
    /// be ahead. A slot that is not there may be on its way; so nothing is refused or begun anew on one look.
    async fn plan(
        &mut self,
        client: &Client,
        pulse: Pulse,
        allowed: Allowed,
    ) -> Result<(Plan, LogTail), ConnectorError> {
        let (source, slot_name) = (self.settings.name.clone(), self.settings.slot());
        let mut look_again = true;
        loop {
            let slot = slot::look(client, &slot_name).await?;
            failpoint::reached("source.slot-seen");
            let tail = LogTail::read(&self.kafka, &source, None).await?;
            failpoint::reached("source.tail-seen");
            self.identity = self.identify(pulse).await?;
            let ends = Ends {
                source: &source,
                slot_name: &slot_name,
                tail: &tail,
                slot: slot.as_ref(),
                server: &self.identity,
            };
            let decided = decide(&ends, allowed);
            if needs_another_look(&decided, &tail) && std::mem::take(&mut look_again) {
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
            if let Err(ConnectorError::SlotInUse { pid, name, .. }) = &decided {
                slot::take_over(&self.settings, client, *pid, name).await?;
            }
            let plan = decided?;
            if let Plan::Snapshot { .. } = plan
                && let Some(why) = broken(&ends)
            {
                let why = boot::restart::in_one_line(&why);
                tracing::warn!(source, why, "all tables are read anew, into a new epoch of the log");
            }
            return Ok((plan, tail));
        }
    }

    /// What operators want of this source.
    pub(crate) async fn desired(&self) -> Result<watch::Receiver<Arc<Desired>>, ConnectorError> {
        let following = async || signal::follow(&self.kafka, &self.settings.name).await;
        Ok(self.signals.get_or_try_init(following).await?.clone())
    }

    /// A consent to a loss is for one use: once the log has moved on, the next loss is asked about again.
    async fn use_up(&self, consent: Option<u32>, tail: &LogTail) -> Result<(), ConnectorError> {
        let epoch = tail.last.map_or(0, |last| last.position.epoch);
        if consent.is_some_and(|given_up| given_up < epoch) {
            let moved_on = |desired: &mut Desired| {
                desired.moved_on(epoch);
                Ok(())
            };
            signal::change(&self.kafka, &self.settings.name, moved_on).await?;
        }
        Ok(())
    }

    /// Waits as long as the source is paused.
    async fn while_paused(&self, desired: &mut watch::Receiver<Arc<Desired>>) {
        if desired.borrow_and_update().paused {
            tracing::info!(source = self.settings.name, "paused; the slot keeps WAL meanwhile");
            self.health.ready_but("paused by an operator; `causeway source resume CONFIG SOURCE` goes on");
            self.status.update(|view| view.phase = Phase::Paused);
            tokio::select! {
                () = self.stop.cancelled() => {}
                resumed = desired.wait_for(|desired| !desired.paused) => drop(resumed),
            }
            self.health.not_ready("starting");
            self.status.update(|view| view.phase = Phase::Starting);
        }
    }

    /// `initial`: the source's first snapshot is being taken.
    fn say_streaming(&self, initial: bool) {
        if initial {
            self.health.not_ready("taking a snapshot");
            self.status.update(|view| (view.phase, view.refused) = (Phase::Snapshot, None));
        } else if !self.doubted {
            left_out::well(&self.health, &self.status);
            self.status.update(|view| (view.phase, view.refused) = (Phase::Streaming, None));
        }
    }

    async fn stream(
        &self,
        client: &Client,
        pulse: Pulse,
        start: Lsn,
        epoch: u32,
        mut desired: watch::Receiver<Arc<Desired>>,
    ) -> Result<(), ConnectorError> {
        let slot = self.settings.slot();
        let lost = |source| ConnectorError::Stream { slot: slot.clone(), source };
        let mut replication = connect::replication(&self.settings, pulse, start).await?;
        connect::speak(&mut replication, &self.settings, &self.charset).await?;
        let starting = async {
            replication.start().await.map_err(lost)?;
            replication.wait_started().await.map_err(lost)
        };
        connect::within(START_TIMEOUT, starting).await?;
        failpoint::reached("stream.started");
        // From here on the slot is ours: take the log over.
        let (mut writer, tail) = self.open_log::<Lsn>(epoch).await?;
        let last = tail.last.filter(|last| last.position.epoch == epoch);
        let last = last.ok_or(ConnectorError::LogMoved)?.position;
        let upto = tail.committed.unwrap_or_default().max(start);
        let (snapshots, answers) = self.snapshots(client, &tail, desired.clone()).await?;
        let initial = snapshots.state.running.as_ref().is_some_and(|running| running.initial);
        let shared = Arc::clone(&snapshots.shared);
        let mut encoder = self.encoder(client, Standing::resume(last, upto), snapshots);
        let lag = Lag {
            source: self.settings.name.clone(),
            sent: upto,
            committed_at: crate::encoder::now(),
            unconfirmed: Unconfirmed::default(),
        };
        let (stop, left_out) = (self.stop.child_token(), desired.clone());
        let mut stream = Stream {
            client: replication,
            slot: slot.clone(),
            settings: &self.settings,
            pulse,
            stop: stop.clone(),
            status: &self.status,
            lag,
            answers,
            desired: desired.clone(),
            shared,
            heard: tokio::time::Instant::now(),
            doubted: self.doubted.then(|| (self.health.clone(), self.identity.written)),
        };
        tracing::info!(source = self.settings.name, slot, from = %upto, last = %last, "streaming");
        self.say_streaming(initial);
        let drained = async {
            tokio::select! {
                () = stop.cancelled() => {}
                other = desired.wait_for(|d| d.paused || d.replace_epoch == Some(epoch)) => drop(other),
                () = self.other_tables() => tracing::info!(source = self.settings.name, "there are other tables to capture"),
                () = self.fits_again(client, left_out) => {}
                () = tokio::time::sleep(RENEWED_AFTER) => tracing::info!(source = self.settings.name, "the session is renewed"),
            }
            stop.cancel();
            tokio::time::sleep(DRAIN_MAX).await;
        };
        let pumped = async {
            let pumped: Result<_, ConnectorError> = pump(&mut stream, &mut encoder, &mut writer).await;
            pumped?;
            // What a snapshot read last confirms nothing of the stream, and is worth waiting for, too.
            writer.delivered().await.map_err(ConnectorError::from)
        };
        let ended = tokio::select! {
            pumped = pumped => pumped,
            () = drained => {
                tracing::warn!(source = self.settings.name,
                    "stopped before all records were acknowledged; the next start goes on from the log");
                Ok(())
            }
        };
        // The server lets go of the slot at once, not when it notices that nobody is there.
        let _ = tokio::time::timeout(GOODBYE_MAX, stream.client.shutdown()).await;
        ended
    }

    /// Waits until there are other tables to capture than this session does: the next one reads what is new, and forgets
    /// what is away.
    async fn other_tables(&self) {
        let Signs { mut tables, mut pausing, .. } = self.signs.clone();
        let ended = loop {
            tokio::select! {
                changed = tables.changed() => match changed {
                    Ok(()) if *tables.borrow_and_update() == self.captured => {}
                    changed => break changed,
                },
                // When they need not be left out any more, [`left_out`] waits until the log says so.
                changed = pausing.wait_for(|pausing| *pausing == Some(true) && !self.left_out.pausing) => {
                    break changed.map(drop);
                }
            }
        };
        if ended.is_err() {
            std::future::pending().await
        }
    }

    /// What is being read, and what is to be: tables that were published since the last time.
    async fn snapshots(
        &self,
        client: &Client,
        tail: &LogTail,
        desired: watch::Receiver<Arc<Desired>>,
    ) -> Result<(Coordinator, mpsc::Receiver<snapshot::Answer>), ConnectorError> {
        let mut state = SnapshotState::of(tail);
        let wanted = |schema: &str, table: &str| self.settings.wants(schema, table);
        let published = catalogue::published(client, &self.settings.publication(), wanted).await?;
        let captures =
            |member: &Member| self.left_out.captures(&self.settings, &member.table.schema, &member.table.name);
        let (mut tables, left_out): (Vec<Member>, Vec<Member>) = published.into_iter().partition(captures);
        self.show_left_out();
        // After the tables: whoever began before one of them was published is below it.
        let xmax: String = client.query_one(XMAX, &[]).await.doing("asking for a snapshot")?.get(0);
        let floor = xmax.parse().unwrap_or(u64::MAX);
        let forgotten = state.leave_out(&left_out) | state.forget(&tables) | state.follow_partitions(&tables);
        let attached = state.attached(&tables, || self.unique_id());
        let (mut wrong, news) = state.follow_stored(&tables);
        let renamed = state.still_renamed(&tables).into_iter();
        let renamed: Vec<_> = renamed.filter(|(member, _)| wrong.iter().all(|(other, _)| other != member)).collect();
        wrong.extend(renamed);
        let (mut snapshots, answers) = Coordinator::new(
            (Arc::clone(&self.settings), self.charset.clone()),
            state,
            floor,
            desired,
            self.signs.throttle.clone(),
            tables.clone(),
        );
        tables.retain(|member| !snapshots.state.knows(member));
        snapshots.forgotten = forgotten | news;
        if !tables.is_empty() {
            snapshots.queue.push_back(Running::new(self.unique_id(), false, None, &tables));
        }
        for running in attached {
            let (table, partitions) = (running.names().join(", "), running.partitions.len());
            tracing::info!(source = self.settings.name, table, partitions, "attached partitions are read");
            snapshots.queue.push_back(running);
        }
        let again = snapshot::readable(&self.settings.name, wrong);
        if !again.is_empty() {
            snapshots.queue.push_back(Running::new(self.unique_id(), false, None, &again));
        }
        Ok((snapshots, answers))
    }

    fn encoder<'e>(&'e self, client: &'e Client, standing: Standing, snapshots: Coordinator) -> Encoder<'e> {
        Encoder {
            settings: &self.settings,
            left_out: &self.left_out,
            origin: self.origin(),
            registry: &self.registry,
            catalogue: client,
            types: Types::of(&self.charset),
            charset: self.charset.clone(),
            quarantine: Quarantine::new(&self.kafka, &self.settings.name, &self.health),
            relations: Relations::default(),
            standing,
            snapshots,
            read_relations: HashMap::new(),
            difference: Difference::default(),
            deferred: VecDeque::new(),
            meter: Meter::new(&self.settings.name, &self.status),
            status: &self.status,
            health: &self.health,
            state: State::default(),
        }
    }

    /// Takes the source's log over.
    pub(crate) async fn open_log<P: Copy + Send>(&self, epoch: u32) -> Result<(LogWriter<P>, LogTail), ConnectorError> {
        let record = control::Session {
            source: self.settings.name.clone(),
            system_id: self.identity.system_id.clone(),
            timeline: self.identity.timeline,
            slot: self.settings.slot(),
            epoch,
            owner: self.unique_id(),
            started_at: crate::encoder::now(),
        };
        let writer = WriterSettings { linger_ms: self.settings.linger_ms };
        let (mut writer, tail) = LogWriter::open(&self.kafka, &self.registry, writer, &record).await?;
        writer.tell(&self.health);
        Ok((writer, tail))
    }

    async fn identify(&self, pulse: Pulse) -> Result<Identity, ConnectorError> {
        let mut replication = connect::replication(&self.settings, pulse, Lsn(0)).await?;
        let asking = async {
            let system = replication.identify_system().await;
            system.map_err(|source| ConnectorError::Stream { slot: self.settings.slot(), source })
        };
        let system = connect::within(START_TIMEOUT, asking).await?;
        let written = Lsn(system.xlogpos.as_u64());
        Ok(Identity { system_id: system.system_id, timeline: system.timeline, written })
    }

    pub(crate) fn origin(&self) -> Origin {
        let database = self.settings.url.parse::<tokio_postgres::Config>().ok();
        let database = database.as_ref().and_then(|config| config.get_dbname()).unwrap_or_default().to_owned();
        Origin { source: self.settings.name.clone(), database }
    }

    pub(crate) fn unique_id(&self) -> String {
        uuid::Uuid::now_v7().to_string()
    }
}

const XMAX: &str = "select pg_snapshot_xmax(pg_current_snapshot())::text";
