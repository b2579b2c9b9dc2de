//! What operators want to be told again of a source: everything that is kept is looked at, and what differs from what
//! was told is told.
//!
//! # Why
//! A change of mapping is looked at by itself, as a generation of its own. This is for what nobody can see from outside:
//! a table that was mended by hand, a doubt. What it would tell can be counted first.

use super::{
    SignalError,
    register::{self, Entry},
};
use crate::KafkaSettings;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::watch;

/// Kinds of records that a replay may be limited to.
pub const KINDS_MAX: usize = 64;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Replays {
    /// How many were asked for: each is a generation.
    pub number: u32,
    /// What the last of them looks at.
    pub only: Only,
    pub dry: Option<Dry>,
}

/// What a replay is limited to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Only {
    /// Of records; none: all.
    pub kinds: Vec<String>,
    /// Records whose own row was touched since: microseconds since the epoch. What is no more is not looked for then.
    pub since: Option<i64>,
}

/// What a replay would tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dry {
    /// A UUID.
    pub id: String,
    pub only: Only,
    /// Once it is known.
    pub counted: Option<Counted>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counted {
    pub rows: u64,
    /// By kind and action.
    pub events: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Entry for Replays {
    const HEARD: bool = false;

    fn bounded(&self) -> bool {
        let dry = self.dry.iter().map(|dry| &dry.only);
        dry.chain([&self.only]).all(|only| only.kinds.len() <= KINDS_MAX)
    }
}

/// What was asked for of the source.
pub async fn read(kafka: &KafkaSettings, source: &str) -> Result<Replays, SignalError> {
    register::read(kafka, &key(source)).await
}

/// Keeps it up to date until nobody looks any more. Returns once it is known.
pub async fn follow(kafka: &KafkaSettings, source: &str) -> Result<watch::Receiver<Arc<Replays>>, SignalError> {
    register::follow(kafka, &key(source), |_: &Replays, _| {}).await
}

/// Asks for a replay. Its number.
pub async fn ask(kafka: &KafkaSettings, source: &str, only: &Only) -> Result<u32, SignalError> {
    let ask = |replays: &mut Replays| {
        replays.number = replays.number.saturating_add(1);
        replays.only = only.clone();
        Ok(())
    };
    register::change(kafka, &key(source), ask).await.map(|replays| replays.number)
}

/// Asks what a replay would tell.
pub async fn ask_dry(kafka: &KafkaSettings, source: &str, id: &str, only: &Only) -> Result<(), SignalError> {
    let ask = |replays: &mut Replays| {
        replays.dry = Some(Dry { id: id.to_owned(), only: only.clone(), counted: None });
        Ok(())
    };
    register::change(kafka, &key(source), ask).await.map(drop)
}

/// Says what it would tell, to whoever asked under this id.
pub async fn counted(kafka: &KafkaSettings, source: &str, id: &str, counted: &Counted) -> Result<(), SignalError> {
    let say = |replays: &mut Replays| {
        if let Some(dry) = replays.dry.as_mut().filter(|dry| dry.id == id) {
            dry.counted = Some(counted.clone());
        }
        Ok(())
    };
    register::change(kafka, &key(source), say).await.map(drop)
}

/// No source's name has a slash.
fn key(source: &str) -> String {
    format!("replay/{source}")
}
