//! What a generation tells of what was there before it: see [`fold::walk`].

use super::{Forgotten, Session};
use crate::{error::NormaliserError, inherited::Inherited, keeping::Keeping};
use fold::{Output, walk::Only};
use std::collections::BTreeSet;

/// Rows looked at between two batches of the log: what comes does not wait for more.
const WALK_ROWS: usize = 512;
/// Outputs made before they are sent.
const OUTPUTS_MAX: usize = 2_000;

impl Session<'_> {
    /// Where the quiet ends, everything is looked at. `before`: all in front of this offset is taken in.
    pub(super) async fn end_quiet(&mut self, before: i64) -> Result<(), NormaliserError> {
        if !self.fold.is_quiet() || self.unsettled > 0 {
            return Ok(());
        }
        if before <= self.told_earlier {
            self.fold.told_so_far();
        }
        if before < self.generation.upto || self.missing.is_some() {
            return Ok(());
        }
        self.remember().await?;
        self.inherit().await?;
        let source = &self.context.source.name;
        tracing::info!(source, rows = self.fold.rows(), "looks at everything, and tells what differs from before");
        let only = if self.generation.replayed { self.counting.only() } else { Only::default() };
        self.fold.begin_walk(only);
        self.tell_all().await?;
        self.mark(before).await
    }

    /// What earlier runs told that the store does not know of. What the log says further on is remembered when it is read.
    pub(super) async fn remember(&mut self) -> Result<(), NormaliserError> {
        let (tails, owned) = match &self.forgotten {
            Forgotten::Nothing => return Ok(()),
            Forgotten::After(tails, owned) => (tails.clone(), owned.clone()),
            Forgotten::All => Default::default(),
        };
        self.fold.remember_anew();
        let mut told = self.progress.told_since(&self.context.registry, tails, owned);
        let mut count = 0_u64;
        while let Some(event) = told.next().await {
            self.fold.remember(&event?);
            count += 1;
            // Of a large source it is more than is held in memory.
            if count.is_multiple_of(10_000) {
                Keeping::check(self.fold.store())?;
                self.keeping.bound(self.fold.store_mut())?;
            }
        }
        Keeping::check(self.fold.store())?;
        let further_on = self.fold.forgets();
        if !further_on {
            self.forgotten = Forgotten::Nothing;
        }
        tracing::info!(source = self.context.source.name, events = count, further_on, "knows what was told before");
        Ok(())
    }

    /// What is in quarantine from before, as the topic has it.
    pub(super) async fn inherit(&mut self) -> Result<(), NormaliserError> {
        self.inherited = Some(Inherited::of(self.progress.open_items(&self.context.registry).await?));
        Ok(())
    }

    /// Between two transactions.
    pub(super) fn can_walk(&self) -> bool {
        self.fold.walks() && !self.fold.is_quiet() && self.unsettled == 0 && !self.within
    }

    /// A page of what a replay would tell, counted.
    pub(super) async fn count(&mut self) {
        let context = self.context;
        let level = !self.fold.is_quiet() && !self.fold.forgets();
        if self.unsettled == 0 && !self.within && level && self.counting.is_due() {
            self.counting.count(&self.fold, &context.kafka, &context.source.name).await;
        }
    }

    /// A page of the walk. `before`: all in front of this offset is settled.
    pub(super) async fn walk(&mut self, before: i64) -> Result<(), NormaliserError> {
        // Rows that are older than what was told are not compared with it.
        if !self.can_walk() || before < self.told_before || self.fold.is_behind() {
            return Ok(());
        }
        if self.fold.forgets() {
            self.remember().await?;
        }
        if self.inherited.is_none() {
            self.inherit().await?;
        }
        let (rate, begun) = &mut self.walk_rate;
        let rows = rate.take(begun.elapsed(), WALK_ROWS);
        if rows == 0 {
            return Ok(());
        }
        self.fold.walk(rows);
        self.tell_all().await?;
        if self.fold.walks() {
            return Ok(());
        }
        let unread: BTreeSet<usize> =
            (0..self.context.mapping.tables.len()).filter(|table| !self.fold.shown(*table)).collect();
        if let Some(mut inherited) = self.inherited.take() {
            for item in inherited.over(&self.context.mapping, &unread, self.fold.open_items().iter()) {
                self.send(&Output::Quarantined(Box::new(item))).await?;
            }
        }
        tracing::info!(source = self.context.source.name, "has looked at everything");
        self.mark(before).await
    }

    /// What a walk found, whatever the log told.
    async fn tell_all(&mut self) -> Result<(), NormaliserError> {
        while !self.fold.settled() {
            let outputs = self.fold.settle(OUTPUTS_MAX);
            Keeping::check(self.fold.store())?;
            for output in outputs {
                self.send(&output).await?;
            }
        }
        Ok(())
    }
}
