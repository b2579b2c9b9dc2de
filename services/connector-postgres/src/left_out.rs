//! Wanted tables whose changes are not told for now, and when they are told again.
//!
//! # Why
//! The tables of `may_pause` are left out while the slot keeps too much. A table whose shape readers of its log may not
//! understand is left out alone: what else the source tells must not wait for an operator. Either is noted in
//! `source.signals` before the log goes beyond the first change that is left out, and the log's own state does not count
//! the table as read any more; so whatever happens meanwhile, it is read anew once it can be told. The note stays until it
//! has been: who knows what the table is needed for sees from it that its rows may be behind.

use crate::{
    catalogue::{self, Member},
    column_types::Types,
    error::{ConnectorError, Doing},
    look,
    relation::Relation,
    session::Session,
    settings::Settings,
    snapshot::{State as SnapshotState, end_of_record},
    status::{LeftOutTable, Status},
};
use boot::health::Part;
use change::Lsn;
use change_log::{
    LogTail,
    signal::{self, Aside, Desired, SignalError, aside},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_postgres::Client;

/// A table that was set aside is looked at again so often, and whenever an operator wants something.
const LOOK: Duration = Duration::from_secs(10);
/// Once its shape can be told: whether the log has passed the changes that were left out.
const PASSED_POLL: Duration = Duration::from_millis(500);

/// For people, of a table that is paused.
const PAUSED: &str = "the slot keeps more WAL than its budget";

/// What a session leaves out.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeftOut {
    /// The slot keeps too much: the tables that may be left out are.
    pub(crate) pausing: bool,
    /// Tables that are paused, or whose shape is not let in.
    pub(crate) aside: Vec<Aside>,
    /// Those of before that are told again, and were not read whole when the session began.
    pub(crate) reading: Vec<Aside>,
}

impl LeftOut {
    fn of(pausing: bool, noted: Vec<Aside>) -> Self {
        let (reading, aside) = noted.into_iter().partition(|table| table.reading);
        Self { pausing, aside, reading }
    }

    /// Whether changes of the table are told.
    pub(crate) fn captures(&self, settings: &Settings, schema: &str, table: &str) -> bool {
        settings.wants(schema, table) && !self.aside.iter().any(|aside| aside.is_of(schema, table))
    }
}

const END: &str = "select pg_current_wal_insert_lsn()::text";

impl Session {
    /// What is left out from here on. A table that may be paused is once there is a note of it, and until the slot is known
    /// to keep less again: whoever starts has not looked at it yet.
    pub(crate) async fn leaves_out(&mut self, client: &Client) -> Result<LeftOut, ConnectorError> {
        let source = &self.settings.name;
        if *self.signs.pausing.borrow_and_update() != Some(true) {
            return Ok(LeftOut::of(false, aside::read(&self.kafka, source).await?));
        }
        let may_pause = |schema: &str, table: &str| self.settings.may_pause(schema, table);
        let tables = catalogue::published(client, &self.settings.publication(), may_pause).await?;
        let note = |member: &Member| Aside {
            schema: member.table.schema.to_string(),
            name: member.table.name.to_string(),
            since: crate::encoder::now(),
            why: PAUSED.to_owned(),
            paused: true,
            reading: false,
        };
        let notes: Vec<Aside> = tables.iter().map(note).collect();
        let left_out = LeftOut::of(true, aside::pause(&self.kafka, source, &notes).await?);
        let told = |table: &&Aside| left_out.captures(&self.settings, &table.schema, &table.name);
        let beyond = notes.iter().filter(told).count();
        if beyond > 0 {
            tracing::warn!(source, tables = beyond, "more tables may be paused than can be noted: these go on");
        }
        Ok(left_out)
    }

    /// The shape was refused: its table is left out from the next session on, and the rest of the source is told.
    pub(crate) async fn set_aside(&self, refused: ConnectorError) -> Result<(), ConnectorError> {
        let ConnectorError::Incompatible { table, .. } = &refused else { return Err(refused) };
        let why = boot::restart::in_one_line(&refused);
        let (source, name) = (&self.settings.name, table.to_string());
        let note = Aside {
            schema: table.schema.to_string(),
            name: table.name.to_string(),
            since: crate::encoder::now(),
            why: why.clone(),
            ..Aside::default()
        };
        match aside::add(&self.kafka, source, &note).await {
            Ok(()) => {}
            Err(SignalError::TooManyAside) => return Err(ConnectorError::TooManyAside { source: Box::new(refused) }),
            Err(error) => return Err(error.into()),
        }
        tracing::error!(
            source,
            table = name,
            why,
            "set aside: this table needs an operator; the rest of the source goes on"
        );
        Ok(())
    }

    /// Returns once a table that this session leaves out can be told again: the next one reads it anew.
    pub(crate) async fn fits_again(&self, client: &Client, mut desired: watch::Receiver<Arc<Desired>>) {
        let (mut fitting, mut reading): (Vec<(Aside, Lsn)>, _) = (Vec::new(), self.left_out.reading.clone());
        let mut pausing = self.signs.pausing.clone();
        while !self.left_out.aside.is_empty() || !reading.is_empty() {
            self.let_in(&desired.borrow_and_update());
            pausing.mark_unchanged();
            for table in &self.left_out.aside {
                let known = fitting.iter().any(|(fitting, _)| fitting == table);
                match self.fits(client, table).await {
                    Ok(Some(_)) if known => {}
                    Ok(Some(end)) => fitting.push((table.clone(), end)),
                    Ok(None) => fitting.retain(|(fitting, _)| fitting != table),
                    Err(error) => self.no_look(&error),
                }
            }
            let level = self.status.view_of(|view| view.level).unwrap_or_default();
            let passed = |(table, end): &(Aside, Lsn)| (level >= *end).then(|| table.clone());
            let passed: Vec<Aside> = fitting.iter().filter_map(passed).collect();
            match self.take_back(client, &passed).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    let error = boot::restart::in_one_line(&error);
                    tracing::warn!(source = self.settings.name, error, "a table stays left out for now");
                }
            }
            if let Err(error) = self.strike_read(client, &mut reading).await {
                self.no_look(&error);
            }
            let pause = if fitting.is_empty() { LOOK } else { PASSED_POLL };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Ok(()) = desired.changed() => {}
                Ok(()) = pausing.changed() => {}
            }
        }
        std::future::pending::<()>().await;
    }

    fn no_look(&self, error: &ConnectorError) {
        let error = boot::restart::in_one_line(error);
        tracing::debug!(source = self.settings.name, error, "no look at a table that is left out");
    }

    /// What operators have let in, and nothing else.
    pub(crate) fn let_in(&self, desired: &Desired) {
        let accepted = desired.accepted.iter();
        self.registry.accept_only(accepted.map(|accepted| (accepted.subject.clone(), accepted.after)));
    }

    /// Where the WAL ended after the table was seen to have a shape that can be told: behind it none comes that could not.
    /// Of a table that is not published any more, or not wanted, nothing is told anyway. One that is paused waits for the
    /// slot; its shape is looked at when it is told.
    async fn fits(&self, client: &Client, table: &Aside) -> Result<Option<Lsn>, ConnectorError> {
        if table.paused {
            let over = *self.signs.pausing.borrow() != Some(false);
            if over && self.settings.may_pause(&table.schema, &table.name) {
                return Ok(None);
            }
            return self.end_of_wal(client).await;
        }
        let (publication, mut types) = (self.settings.publication(), Types::of(&self.charset));
        let found = catalogue::table(client, &publication, &mut types, &table.schema, &table.name).await?;
        if let Some(found) = found.filter(|_| self.settings.wants(&table.schema, &table.name)) {
            match Relation::register(&self.registry, &self.settings.name, Arc::new(found.schema), &self.charset).await {
                Ok(_) => {}
                Err(ConnectorError::Incompatible { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        self.end_of_wal(client).await
    }

    async fn end_of_wal(&self, client: &Client) -> Result<Option<Lsn>, ConnectorError> {
        let end: String = client.query_one(END, &[]).await.doing("asking where the WAL ends")?.get(0);
        Ok(end.parse().ok().map(end_of_record))
    }

    /// Which of these tables are published, and what the log says has been read.
    async fn read_of(&self, client: &Client, of: &[Aside]) -> Result<(Vec<Member>, SnapshotState), ConnectorError> {
        let tail = LogTail::read(&self.kafka, &self.settings.name, None).await?;
        let wanted = |schema: &str, name: &str| of.iter().any(|table| table.is_of(schema, name));
        let published = catalogue::published(client, &self.settings.publication(), wanted).await?;
        Ok((published, SnapshotState::of(&tail)))
    }

    /// The log has gone beyond what was left out of these tables. True: it says itself that they are not read, so they are
    /// told again.
    async fn take_back(&self, client: &Client, tables: &[Aside]) -> Result<bool, ConnectorError> {
        if tables.is_empty() {
            return Ok(false);
        }
        let (published, state) = self.read_of(client, tables).await?;
        if published.iter().any(|member| state.knows(member)) {
            return Ok(false);
        }
        let source = &self.settings.name;
        let subjects = |table: &Aside| look::subjects(source, &table.schema, &table.name);
        let subjects: Vec<String> = tables.iter().filter(|table| !table.paused).flat_map(subjects).collect();
        aside::read_anew(&self.kafka, source, tables).await?;
        let settle = |desired: &mut Desired| {
            desired.settle(&subjects);
            Ok(())
        };
        signal::change(&self.kafka, source, settle).await?;
        for table in tables {
            let why = if table.paused { "the slot keeps less" } else { "its shape can be told" };
            let table = format!("{}.{}", table.schema, table.name);
            tracing::info!(source, table, why, "the table is read anew");
        }
        Ok(true)
    }

    /// Strikes out what is noted of tables that the log holds whole, or that are not published any more.
    async fn strike_read(&self, client: &Client, reading: &mut Vec<Aside>) -> Result<(), ConnectorError> {
        // Reading back the end of a log costs something: not while it is known that a snapshot is under way.
        let over = self.status.view_of(|view| view.snapshot.as_ref().is_none_or(|snapshot| snapshot.done));
        if reading.is_empty() || !over {
            return Ok(());
        }
        let (published, state) = self.read_of(client, reading).await?;
        let unread = |table: &Aside| {
            let member = published.iter().find(|member| table.is_of(&member.table.schema, &member.table.name));
            member.is_some_and(|member| !state.read.contains(&member.since))
        };
        let (unread, read): (Vec<Aside>, Vec<Aside>) = reading.iter().cloned().partition(unread);
        if !read.is_empty() {
            aside::strike(&self.kafka, &self.settings.name, &read).await?;
            *reading = unread;
        }
        Ok(())
    }

    /// Says which tables are left out.
    pub(crate) fn show_left_out(&self) {
        let name = |aside: &Aside| format!("{}.{}", aside.schema, aside.name);
        let (paused, refused): (Vec<&Aside>, Vec<&Aside>) = self.left_out.aside.iter().partition(|aside| aside.paused);
        let mut paused: Vec<String> = paused.into_iter().map(name).collect();
        paused.sort_unstable();
        if !paused.is_empty() {
            tracing::warn!(
                source = self.settings.name,
                tables = paused.join(", "),
                "left out until the slot keeps half of its budget, then read anew: their changes are not told meanwhile"
            );
        }
        let refused = refused.into_iter().map(|aside| LeftOutTable {
            table: name(aside),
            since: jiff::Timestamp::from_microsecond(aside.since).map(|at| at.to_string()).unwrap_or_default(),
            why: aside.why.clone(),
        });
        let aside: Vec<LeftOutTable> = refused.collect();
        #[expect(clippy::cast_precision_loss, reason = "gauges")]
        for (name, count) in
            [("causeway_source_tables_paused", paused.len()), ("causeway_source_tables_refused", aside.len())]
        {
            metrics::gauge!(name, "source" => self.settings.name.clone()).set(count as f64);
        }
        self.status.update(|view| (view.paused_tables, view.refused_tables) = (paused, aside));
    }
}

/// All is told, or all but the tables whose shape is not let in.
pub(crate) fn well(health: &Part, status: &Status) {
    let told = |table: &LeftOutTable| format!("left out since {}: {}", table.since, table.why);
    let refused: Vec<String> = status.view_of(|view| view.refused_tables.iter().map(told).collect());
    if refused.is_empty() { health.ready() } else { health.ready_but(refused.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_set_aside_is_left_out_alone() {
        let settings = Settings::new("clinic", "postgres://u@127.0.0.1:1/d");
        let aside = Aside { schema: "lims".into(), name: "note".into(), ..Aside::default() };
        let again = Aside { name: "log".into(), reading: true, ..aside.clone() };
        let left_out = LeftOut::of(false, vec![aside, again]);
        let captured = [("lims", "note"), ("lims", "result"), ("pas", "note"), ("lims", "log")]
            .map(|(schema, table)| left_out.captures(&settings, schema, table));
        assert_eq!(captured, [false, true, true, true]);
        assert_eq!(left_out.reading.len(), 1, "what is read anew is told");
    }

    #[test]
    fn who_is_well_but_for_a_table_says_so() {
        let (health, status) = (boot::health::Health::new(), Status::default());
        let part = health.part("capture");
        well(&part, &status);
        assert_eq!((health.ready(), health.parts()["capture"].clone()), (true, None));
        let table = LeftOutTable { table: "lims.note".into(), since: "2026-11-27T09:00:00Z".into(), why: "no".into() };
        status.update(|view| view.refused_tables = vec![table]);
        well(&part, &status);
        let why = health.parts()["capture"].clone().unwrap_or_default();
        assert!(health.ready() && why == "left out since 2026-11-27T09:00:00Z: no", "{why}");
    }
}
