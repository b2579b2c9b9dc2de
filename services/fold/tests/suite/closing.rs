//! An item of the quarantine opens once and closes once, under a name that every fold gives it.

use crate::{
    stories::{check, hospital, hospital_rows, person, result},
    support::*,
};
use change::Entry;
use event::Quarantined;
use fold::Output;

fn items(outputs: Vec<Output>) -> Vec<Quarantined> {
    let item = |output| match output {
        Output::Quarantined(item) => Some(*item),
        Output::Event(_) => None,
    };
    outputs.into_iter().filter_map(item).collect()
}

#[test]
fn what_waits_is_told_once_and_closes_when_its_patient_comes_or_it_goes() {
    let (mut world, mut fold) = hospital();
    let step = result(&world, 90, 1, "4.7", true);
    check(world.tell(&mut fold, vec![step]), &["quarantined missing patient pas.patient"]);
    // Corrected while it waits, it still waits.
    let step = result(&world, 91, 2, "4.8", true);
    check(world.tell(&mut fold, vec![step]), &[]);
    let step = person(&world);
    let told = world.tell(&mut fold, vec![step]);
    assert_eq!(told[0], "closed missing patient pas.patient");
    // The patient goes: it waits again.
    let step = world.delete("pas.patient", n("7"));
    let told = world.tell(&mut fold, vec![step]);
    assert!(told.contains(&"quarantined missing patient pas.patient".to_owned()), "{told:?}");
    // The result goes: nothing waits any more.
    let steps = vec![world.delete("lims.result", i(90)), world.delete("lims.result", i(91))];
    check(world.tell(&mut fold, steps), &["closed missing patient pas.patient"]);
    assert_eq!(fold.open_items().len(), 0);
}

#[test]
fn a_status_that_is_mended_closes_its_item() {
    let (mut world, mut fold) = hospital();
    let step = person(&world);
    world.tell(&mut fold, vec![step]);
    let with = |world: &World, status: &str, value: &str| {
        world.insert(
            "lims.result",
            &[
                ("result_id", i(90)),
                ("line_id", i(50)),
                ("analysis_id", i(4)),
                ("test_code", t("K")),
                ("value", t(value)),
                ("unit_text", t("mmol/L")),
                ("status", t(status)),
                ("is_active", b(true)),
            ],
        )
    };
    let step = with(&world, "biologist?", "4.7");
    let told = world.tell(&mut fold, vec![step]);
    assert_eq!(told[0], "quarantined unknown status lims.result.status", "{told:?}");
    let step = with(&world, "biologist!", "4.8");
    let told = world.tell(&mut fold, vec![step]);
    assert!(told.len() == 1 && told[0].starts_with("corrected"), "still the same item: {told:?}");
    let step = with(&world, "final", "4.8");
    let told = world.tell(&mut fold, vec![step]);
    assert_eq!(told[0], "closed unknown status lims.result.status", "{told:?}");
}

/// Whoever folds the log again, another revision's mapping too, finds what was told by its name.
#[test]
fn names_are_the_same_in_every_fold_and_closings_repeat_where_it_was_told() {
    let mut world = World::new("stmarys.toml", "stmarys");
    let mut rows = hospital_rows(&world);
    rows.push(result(&world, 90, 1, "4.7", true));
    let first = world.transaction(rows);
    let steps = vec![person(&world)];
    let second = world.transaction(steps);
    let told = |log: &[&[Entry]]| {
        let mut fold = world.fold();
        items(log.iter().flat_map(|transaction| fold.step(transaction)).collect())
    };
    let (one, two) = (told(&[&first, &second]), told(&[&first, &second]));
    assert_eq!(one, two);
    let [opened, closed] = &one[..] else { panic!("{one:?}") };
    assert!(!opened.closed && closed.closed && opened.original.is_some() && closed.original.is_none());
    assert_eq!(opened.item.as_deref(), Some("stmarys:result/50:missing patient:pas.patient"));
    let place = |item: &Quarantined| (item.item.clone(), item.position, item.offset, item.reason.clone());
    assert_eq!(place(opened), place(closed));
}

#[test]
fn a_row_without_an_identity_closes_when_it_gets_one() {
    let (mut world, mut fold) = hospital();
    let row = |world: &World, line| {
        let cells = [("result_id", i(90)), ("line_id", line), ("analysis_id", i(4)), ("is_active", b(true))];
        world.insert("lims.result", &cells)
    };
    let step = row(&world, change::Cell::Null);
    check(world.tell(&mut fold, vec![step]), &["quarantined missing record id lims.result.line_id"]);
    let step = row(&world, change::Cell::Null);
    check(world.tell(&mut fold, vec![step]), &[]);
    let step = row(&world, i(50));
    let told = world.tell(&mut fold, vec![step]);
    assert_eq!(told[0], "closed missing record id lims.result.line_id", "{told:?}");
}
