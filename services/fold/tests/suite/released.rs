//! A release that codes are read by, and what a switch to another one tells again.

use crate::{generations::all_are_read, support::*};
use event::PatientEvent;
use fold::{Fold, Output, walk::Only};
use mapping::Mapping;
use std::sync::Arc;
use terminology::{About, Draft, Release, build, mistake::Mistakes};

const ADDISONS: &str = "363732003";
/// Of the second release no longer in use, and the same as Addison's disease.
const OLD: &str = "14669001";

fn release(name: &str, old_is_active: bool) -> Release {
    let (mut draft, mut mistakes) = (Draft::default(), Mistakes::default());
    let active = u8::from(old_is_active);
    let concepts = format!(
        "id\teffectiveTime\tactive\n138875005\t20260401\t1\n{ADDISONS}\t20260401\t1\n{OLD}\t20260401\t{active}\n"
    );
    let is_a = "id\teffectiveTime\tactive\tsourceId\tdestinationId\ttypeId\tcharacteristicTypeId\n";
    let row = |id: u64, child: &str| format!("{id}\t20260401\t1\t{child}\t138875005\t116680003\t900000000000011006\n");
    let ids = [30_000_102, 30_000_202].map(terminology::sctid::with_check);
    let is_a = format!("{is_a}{}{}", row(ids[0], ADDISONS), row(ids[1], OLD));
    let history = format!(
        "active\trefsetId\treferencedComponentId\ttargetComponentId\n{}\t900000000000527005\t{OLD}\t{ADDISONS}\n",
        1 - active
    );
    draft.concepts(&mut concepts.as_bytes(), "c", &mut mistakes);
    draft.relationships(&mut is_a.as_bytes(), "r", &mut mistakes);
    draft.associations(&mut history.as_bytes(), "a", &mut mistakes);
    let about = About { name: name.into(), releases: Vec::new(), inputs: Vec::new() };
    let mut out = Vec::new();
    build(draft, about, &mut out, mistakes, |_| {}).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    Release::open(out.into()).expect("what was just written")
}

fn mapping(release: &Release) -> Arc<Mapping> {
    let text = "system = \"x\"\nrevision = 7\nzone = \"Europe/London\"\n[[record]]\nkind = \"condition\"\nname = \"r\"\n\
        table = \"s.root\"\nid = \"id\"\npatient = \"who\"\n[record.code]\ntext = \"words\"\n\
        codes = [{ system = \"snomed\", code = \"concept\" }]\n";
    let mapping = mapping::parse("test.toml", text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    Arc::new(Mapping { release: Some(release.clone()), ..mapping })
}

fn told(outputs: Vec<Output>) -> Vec<PatientEvent> {
    outputs
        .into_iter()
        .filter_map(|output| if let Output::Event(event) = output { Some(*event) } else { None })
        .collect()
}

fn line(event: &PatientEvent) -> String {
    let code = event.body.code().expect("a code");
    let codings: Vec<String> =
        code.codings.iter().map(|coding| format!("{} {}", coding.origin.as_str(), coding.code)).collect();
    format!("{} {} ({})", event.action.as_str(), code.snomed.as_deref().unwrap_or("-"), codings.join(", "))
}

#[test]
fn a_switch_of_release_tells_what_differs_and_nothing_else() {
    let [first, second] = [release("uk-1", true), release("uk-2", false)];
    let mut world = World::of(mapping(&first), "source");
    let rows = [(1, ADDISONS), (2, OLD)].map(|(id, concept)| {
        world.insert("s.root", &[("id", i(id)), ("who", i(7)), ("words", t("Problem")), ("concept", t(concept))])
    });
    let log = world.transaction(rows.to_vec());
    let mut fold = world.fold();
    let events = told(fold.step(&log));
    let lines: Vec<String> = events.iter().map(line).collect();
    assert_eq!(lines, [format!("recorded {ADDISONS} (written {ADDISONS})"), format!("recorded {OLD} (written {OLD})")]);
    let by = |event: &PatientEvent| event.made_by.as_ref().map(|made| made.terminology.clone()).unwrap_or_default();
    assert!(by(&events[0]).ends_with(&format!("; {}", first.id())), "{}", by(&events[0]));
    // The same rows under the other release: a generation of its own, which knows what was told.
    for (release, want) in
        [(&first, Vec::new()), (&second, vec![format!("corrected {ADDISONS} (written {OLD}, replaced {ADDISONS})")])]
    {
        let mut fold = Fold::new(mapping(release), "source", "ORG01").of_generation(2, false);
        all_are_read(&mut fold);
        fold.be_quiet();
        assert!(told(fold.step(&log)).is_empty());
        fold.told_so_far();
        fold.remember_anew();
        events.iter().for_each(|event| fold.remember(event));
        fold.begin_walk(Only::default());
        let mut again = Vec::new();
        while fold.walks() {
            fold.walk(usize::MAX);
            again.extend(told(fold.settle(usize::MAX)));
        }
        assert_eq!(again.iter().map(line).collect::<Vec<_>>(), want, "{release:?}");
        assert!(again.iter().all(|event| by(event).ends_with(&release.id())));
    }
}
