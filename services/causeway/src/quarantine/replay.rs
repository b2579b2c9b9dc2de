//! Trying items again.
//!
//! # Why
//! What is tried depends on who set the item aside. A message that the views could not take is applied where it stands,
//! guarded by its place as every other is. What a source's normaliser keeps is no message but a row as it is now: the
//! source looks at all of its rows again, tells what differs, and closes what is mended. A row that was never read has to
//! be read anew, which needs words of the operator.

use super::{
    close::{self, Arguments},
    topic::{self, Item, State},
};
use crate::{
    output::{self, Format},
    run,
    settings::Settings,
};
use anyhow::{bail, ensure};
use change_log::{
    Registry,
    signal::replay::{self, Only},
};
use event::quarantined::Verdict;
use serde_json::{Value, json};
use sink_views::{
    World,
    again::{Again, Origin, again},
};
use std::collections::{BTreeMap, BTreeSet};

/// The audit's word for it.
const REPLAYED: &str = "replayed";
/// Who set the item aside.
const VIEWS: &str = "views";

/// How an item is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// The message there is applied.
    Message(Origin),
    /// This source looks at its rows.
    Source(String),
    /// Not from here: what to do instead.
    None(String),
}

fn way(item: &Item, configured: impl Fn(&str) -> bool) -> Way {
    let what = &item.what;
    if close::kept(item, configured) {
        return Way::Source(what.source.clone());
    }
    match (what.stage.as_str(), &what.topic, what.partition, what.offset) {
        (VIEWS, Some(topic), Some(partition), Some(offset)) => {
            Way::Message(Origin { topic: topic.clone(), partition, offset })
        }
        _ => {
            let table = what.table.as_deref().unwrap_or("TABLE");
            let source = if what.source.is_empty() { "SOURCE" } else { &what.source };
            Way::None(format!(
                "the item at offset {} stands for no message that could be applied: have its row read again (`causeway source \
                 snapshot CONFIG {source} --table {table} --where …`), then resolve it",
                item.offset
            ))
        }
    }
}

/// Whether the item may be closed, and what is said.
const fn told(again: Again) -> (bool, &'static str) {
    match again {
        Again::Applied => (true, "in the record"),
        Again::Overtaken => (true, "the record holds a later state"),
        Again::Unreadable(_) => (false, "cannot be read still"),
        Again::Refused => (false, "the database refuses it still"),
        Again::Gone => (false, "its topic does not hold it any more: have the source read again, then resolve it"),
    }
}

pub async fn run(arguments: Arguments, format: Format) -> anyhow::Result<()> {
    if let Some(mistake) = arguments.mistake() {
        bail!(mistake);
    }
    let settings = Settings::load(&arguments.config)?;
    let configured = |source: &str| settings.sources.iter().any(|known| known.name == source);
    let offsets: BTreeSet<i64> = arguments.offset.iter().copied().collect();
    let items = topic::standing(topic::read(&settings, offsets.first().copied(), None).await?);
    let chosen: Vec<Item> = if arguments.all_matching {
        items.into_values().filter(|item| item.state == State::Open && arguments.takes(item)).collect()
    } else {
        let unfit = |item: &Item| match way(item, configured) {
            Way::None(why) => Some(why),
            Way::Message(_) | Way::Source(_) => None,
        };
        close::open_at(items, &offsets, unfit).map_err(|mistakes| mistakes.context("nothing is tried"))?
    };
    let ways = chosen.into_iter().map(|item| (way(&item, configured), item));
    let (left, tried): (Vec<_>, Vec<_>) = ways.partition(|(way, _)| matches!(way, Way::None(_)));
    let done = arguments.is_meant() && !tried.is_empty();
    let outcomes = if done { again_all(&settings, &arguments.reason, tried).await? } else { untried(&tried) };
    let open = outcomes.iter().filter(|outcome| outcome["mended"] == false).count();
    let value = json!({ "tried": done, "items": outcomes, "left": left.len() });
    output::one(format, &value, |_| words(&outcomes, done, left.len()))?;
    ensure!(open == 0, "{open} items stay open");
    Ok(())
}

fn untried(items: &[(Way, Item)]) -> Vec<Value> {
    items.iter().map(|(_, item)| item.without_values()).collect()
}

/// Each item with `outcome`, and with `mended` where that is known now.
async fn again_all(settings: &Settings, reason: &str, tried: Vec<(Way, Item)>) -> anyhow::Result<Vec<Value>> {
    let (ways, items): (Vec<Way>, Vec<Item>) = tried.into_iter().unzip();
    close::audit(settings, REPLAYED, reason, &items).await?;
    let (mut outcomes, mut mended) = (Vec::new(), Vec::new());
    let mut replays: BTreeMap<String, u32> = BTreeMap::new();
    let world = World {
        kafka: settings.kafka.clone(),
        registry: Registry::new(&settings.registry)?,
        pool: boot::database::pool(&settings.database, 1)?,
    };
    let release = settings.terminology.open()?;
    let hook = run::alerting(settings, release.as_ref(), world.clone())?.hook(&settings.alerts);
    for (item, way) in items.into_iter().zip(ways) {
        let mut outcome = item.without_values();
        match way {
            Way::Message(origin) => {
                let (is_mended, what) = told(again(&world, &hook, &origin).await?);
                (outcome["outcome"], outcome["mended"]) = (json!(what), json!(is_mended));
                if is_mended {
                    mended.push(item);
                }
            }
            Way::Source(source) => {
                let number = match replays.get(&source) {
                    Some(number) => *number,
                    None => *replays
                        .entry(source.clone())
                        .or_insert(replay::ask(&settings.kafka, &source, &Only::default()).await?),
                };
                outcome["outcome"] = json!(format!(
                    "{source} looks at all its rows again (replay {number}), and closes it if it is mended"
                ));
            }
            Way::None(why) => outcome["outcome"] = json!(why),
        }
        outcomes.push(outcome);
    }
    close::write(settings, Verdict::Resolved, &mended).await?;
    Ok(outcomes)
}

fn words(outcomes: &[Value], done: bool, left: usize) -> String {
    let mut lines = Vec::new();
    if done {
        const COLUMNS: [&str; 5] = ["offset", "source", "stage", "reason", "outcome"];
        let headings = COLUMNS.map(str::to_uppercase);
        let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
        lines.push(output::table(
            &headings,
            outcomes.iter().map(|row| COLUMNS.map(|key| super::plain(&row[key])).to_vec()),
        ));
    } else if outcomes.is_empty() {
        lines.push("no open item matches that could be tried again".to_owned());
    } else {
        lines.push(super::table(outcomes));
        lines.push(format!("would try {} items again; say --yes to do it", outcomes.len()));
    }
    if left > 0 {
        lines.push(format!("{left} more stand for no message: have their rows read again, then resolve them"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use event::Quarantined;

    fn item(what: Quarantined) -> Item {
        Item { offset: 7, told_at: None, what, bytes: None, state: State::Open }
    }

    #[test]
    fn who_set_an_item_aside_says_how_it_is_tried_again() {
        let at = |stage: &str, name: Option<&str>| {
            item(Quarantined {
                source: "gp".into(),
                stage: stage.into(),
                topic: Some("patient.events".into()),
                partition: Some(2),
                offset: Some(40),
                table: Some("emis.patient".into()),
                item: name.map(str::to_owned),
                ..Quarantined::default()
            })
        };
        let here = |source: &str| source == "gp";
        let origin = Origin { topic: "patient.events".into(), partition: 2, offset: 40 };
        assert_eq!(way(&at("views", None), here), Way::Message(origin.clone()));
        assert_eq!(way(&at("normaliser", Some("a name")), here), Way::Source("gp".into()));
        let words = |way| match way {
            Way::None(words) => words,
            other => panic!("{other:?}"),
        };
        let read_again = "causeway source snapshot CONFIG gp --table emis.patient --where";
        assert!(words(way(&at("capture", None), here)).contains(read_again));
        // Nobody looks at the rows of a source that is not there any more.
        assert!(words(way(&at("normaliser", Some("a name")), |_| false)).contains("stands for no message"));
        let mut nowhere = at("views", None);
        nowhere.what.offset = None;
        assert!(words(way(&nowhere, here)).contains("stands for no message"));
    }

    #[test]
    fn only_what_the_record_has_closes_an_item() {
        let closes = |again| told(again).0;
        assert!(closes(Again::Applied) && closes(Again::Overtaken));
        assert!(!closes(Again::Refused) && !closes(Again::Gone) && !closes(Again::Unreadable("malformed message")));
    }
}
