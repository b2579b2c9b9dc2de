//! Wanted tables whose changes are not told for now, and when they are told again.
//!
//! # Why
//! The tables of `may_pause` are left out while the slot keeps too much. A table whose shape readers of its log may not
//! understand is left out alone: what else the source tells must not wait for an operator. That is noted in
//! `source.signals` before the log goes beyond the first change that is left out, and the log's own state does not count
//! the table as read any more; so whatever happens meanwhile, it is read anew once its shape can be told.

use crate::{
    catalogue::{self, Member},
    column_types::Types,
    error::{ConnectorError, Doing},
    look,
    relation::Relation,
    session::Session,
    settings::Settings,
    snapshot::end_of_record,
    status::{LeftOutTable, Status},
};
use boot::health::Part;
use change::Lsn;
use change_log::signal::{self, Aside, Desired, SignalError, aside};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_postgres::Client;

/// A table that was set aside is looked at again so often, and whenever an operator wants something.
const LOOK: Duration = Duration::from_secs(10);
/// Once its shape can be told: whether the log has passed the changes that were left out.
const PASSED_POLL: Duration = Duration::from_millis(500);

/// What a session leaves out.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeftOut {
    /// The slot keeps too much: the tables that may be left out are.
    pub(crate) pausing: bool,
    /// Tables whose shape is not let in.
    pub(crate) aside: Vec<Aside>,
}

impl LeftOut {
    /// Whether changes of the table are told.
    pub(crate) fn captures(&self, settings: &Settings, schema: &str, table: &str) -> bool {
        settings.captures(schema, table, self.pausing) && !self.aside.iter().any(|aside| aside.is_of(schema, table))
    }
}

const END: &str = "select pg_current_wal_insert_lsn()::text";

impl Session {
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

    /// Returns once a table that this session leaves out for its shape can be told again: the next one reads it anew.
    pub(crate) async fn fits_again(&self, client: &Client, mut desired: watch::Receiver<Arc<Desired>>) {
        let mut fitting: Vec<(Aside, Lsn)> = Vec::new();
        if self.left_out.aside.is_empty() {
            std::future::pending::<()>().await;
        }
        loop {
            self.let_in(&desired.borrow_and_update());
            for table in &self.left_out.aside {
                let known = fitting.iter().any(|(fitting, _)| fitting == table);
                match self.fits(client, table).await {
                    Ok(Some(_)) if known => {}
                    Ok(Some(end)) => fitting.push((table.clone(), end)),
                    Ok(None) => fitting.retain(|(fitting, _)| fitting != table),
                    Err(error) => {
                        let error = boot::restart::in_one_line(&error);
                        tracing::debug!(source = self.settings.name, error, "no look at a table that is left out");
                    }
                }
            }
            let level = self.status.view_of(|view| view.level).unwrap_or_default();
            let passed = |(table, end): &(Aside, Lsn)| (level >= *end).then(|| table.clone());
            let passed: Vec<Aside> = fitting.iter().filter_map(passed).collect();
            if !passed.is_empty() {
                match self.take_back(&passed).await {
                    Ok(()) => return,
                    Err(error) => {
                        let error = boot::restart::in_one_line(&error);
                        tracing::warn!(source = self.settings.name, error, "a table stays left out for now");
                    }
                }
            }
            let pause = if fitting.is_empty() { LOOK } else { PASSED_POLL };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Ok(()) = desired.changed() => {}
            }
        }
    }

    /// What operators have let in, and nothing else.
    pub(crate) fn let_in(&self, desired: &Desired) {
        let accepted = desired.accepted.iter();
        self.registry.accept_only(accepted.map(|accepted| (accepted.subject.clone(), accepted.after)));
    }

    /// Where the WAL ended after the table was seen to have a shape that can be told: behind it none comes that could not.
    /// Of a table that is not published any more, or not wanted, nothing is told anyway.
    async fn fits(&self, client: &Client, table: &Aside) -> Result<Option<Lsn>, ConnectorError> {
        let (publication, mut types) = (self.settings.publication(), Types::of(&self.charset));
        let found = catalogue::table(client, &publication, &mut types, &table.schema, &table.name).await?;
        if let Some(found) = found.filter(|_| self.settings.wants(&table.schema, &table.name)) {
            match Relation::register(&self.registry, &self.settings.name, Arc::new(found.schema), &self.charset).await {
                Ok(_) => {}
                Err(ConnectorError::Incompatible { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let end: String = client.query_one(END, &[]).await.doing("asking where the WAL ends")?.get(0);
        Ok(end.parse().ok().map(end_of_record))
    }

    /// The log has gone beyond what was left out, and its state says that these tables are not read.
    async fn take_back(&self, tables: &[Aside]) -> Result<(), ConnectorError> {
        let source = &self.settings.name;
        let subjects = |table: &Aside| look::subjects(source, &table.schema, &table.name);
        let subjects: Vec<String> = tables.iter().flat_map(subjects).collect();
        aside::strike(&self.kafka, source, tables).await?;
        let settle = |desired: &mut Desired| {
            desired.settle(&subjects);
            Ok(())
        };
        signal::change(&self.kafka, source, settle).await?;
        for table in tables {
            let table = format!("{}.{}", table.schema, table.name);
            tracing::info!(source, table, "its shape can be told: the table is read anew");
        }
        Ok(())
    }

    /// Says which of the published tables are left out.
    pub(crate) fn show_left_out(&self, left_out: &[Member]) {
        let refused = |member: &&Member| {
            self.left_out.aside.iter().any(|aside| aside.is_of(&member.table.schema, &member.table.name))
        };
        let paused = left_out.iter().filter(|member| !refused(member));
        let mut paused: Vec<String> = paused.map(|member| member.table.to_string()).collect();
        paused.sort_unstable();
        if !paused.is_empty() {
            tracing::warn!(
                source = self.settings.name,
                tables = paused.join(", "),
                "left out until the slot keeps half of its budget, then read anew: their changes are not told meanwhile"
            );
        }
        let aside = self.left_out.aside.iter().map(|aside| LeftOutTable {
            table: format!("{}.{}", aside.schema, aside.name),
            since: jiff::Timestamp::from_microsecond(aside.since).map(|at| at.to_string()).unwrap_or_default(),
            why: aside.why.clone(),
        });
        let aside: Vec<LeftOutTable> = aside.collect();
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
        let left_out = LeftOut { pausing: false, aside: vec![aside] };
        let captured = [("lims", "note"), ("lims", "result"), ("pas", "note")]
            .map(|(schema, table)| left_out.captures(&settings, schema, table));
        assert_eq!(captured, [false, true, true]);
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
