//! A release of a few rows.

use std::{collections::BTreeMap, fmt::Write as _};
use terminology::{About, Draft, Release, build, mistake::Mistakes, sctid::with_check};

pub const ROOT: u64 = 138_875_005;

/// The identifier of the nth concept; the first is the root.
pub fn concept(nth: u64) -> u64 {
    if nth == 0 { ROOT } else { with_check((100_000 + nth) * 100) }
}

pub fn description(nth: u64) -> u64 {
    with_check((200_000 + nth) * 100 + 1)
}

pub fn relationship(nth: u64) -> u64 {
    with_check((300_000 + nth) * 100 + 2)
}

/// Files by name.
#[derive(Clone, Default)]
pub struct Files {
    pub concepts: String,
    pub descriptions: String,
    pub relationships: String,
    pub languages: String,
    pub associations: String,
    pub members: String,
    pub read: String,
}

impl Files {
    pub fn new() -> Self {
        let refset = "id\teffectiveTime\tactive\tmoduleId\trefsetId\treferencedComponentId";
        Self {
            concepts: "id\teffectiveTime\tactive\tmoduleId\tdefinitionStatusId\r\n".into(),
            descriptions:
                "id\teffectiveTime\tactive\tmoduleId\tconceptId\tlanguageCode\ttypeId\tterm\tcaseSignificanceId\r\n"
                    .into(),
            relationships: "id\teffectiveTime\tactive\tmoduleId\tsourceId\tdestinationId\trelationshipGroup\ttypeId\t\
                            characteristicTypeId\tmodifierId\r\n"
                .into(),
            languages: format!("{refset}\tacceptabilityId\r\n"),
            associations: format!("{refset}\ttargetComponentId\r\n"),
            members: format!("{refset}\r\n"),
            read: "MapId\tReadCode\tTermCode\tConceptId\tDescriptionId\tIS_ASSURED\tEffectiveDate\tMapStatus\r\n"
                .into(),
        }
    }

    pub fn concept(&mut self, nth: u64, active: bool) -> &mut Self {
        let _ = write!(
            self.concepts,
            "{}\t20260401\t{}\t900000000000207008\t900000000000074008\r\n",
            concept(nth),
            u8::from(active)
        );
        self
    }

    pub fn is_a(&mut self, nth: u64, child: u64, parent: u64) -> &mut Self {
        let (id, child, parent) = (relationship(nth), concept(child), concept(parent));
        let _ = write!(
            self.relationships,
            "{id}\t20260401\t1\t900000000000207008\t{child}\t{parent}\t0\t116680003\t900000000000011006\t900000000000451002\r\n"
        );
        self
    }

    /// Kind: 0 fully specified, 1 synonym. Preferred by British English where `preferred`.
    pub fn name(&mut self, nth: u64, of: u64, kind: u8, preferred: bool, term: &str) -> &mut Self {
        let id = description(nth);
        let of = concept(of);
        let kind = [900_000_000_000_003_001_u64, 900_000_000_000_013_009][usize::from(kind)];
        let _ = write!(
            self.descriptions,
            "{id}\t20260401\t1\t900000000000207008\t{of}\ten\t{kind}\t{term}\t900000000000448009\r\n"
        );
        let acceptability = if preferred { 900_000_000_000_548_007_u64 } else { 900_000_000_000_549_004 };
        let _ =
            write!(self.languages, "x\t20260401\t1\t900000000000207008\t900000000000508004\t{id}\t{acceptability}\r\n");
        self
    }

    pub fn association(&mut self, of: u64, refset: u64, target: u64) -> &mut Self {
        let (of, target) = (concept(of), concept(target));
        let _ = write!(self.associations, "x\t20260401\t1\t900000000000207008\t{refset}\t{of}\t{target}\r\n");
        self
    }

    pub fn read(&mut self, row: &str) -> &mut Self {
        let _ = write!(self.read, "{}\r\n", row.replace(' ', "\t"));
        self
    }

    pub fn build(&self) -> Result<Vec<u8>, Mistakes> {
        let (mut draft, mut mistakes) = (Draft::default(), Mistakes::default());
        draft.concepts(&mut self.concepts.as_bytes(), "concept.txt", &mut mistakes);
        draft.descriptions(&mut self.descriptions.as_bytes(), "description.txt", &mut mistakes);
        draft.relationships(&mut self.relationships.as_bytes(), "relationship.txt", &mut mistakes);
        draft.languages(&mut self.languages.as_bytes(), "language.txt", &mut mistakes);
        draft.associations(&mut self.associations.as_bytes(), "association.txt", &mut mistakes);
        draft.members(&mut self.members.as_bytes(), "refset.txt", &mut mistakes);
        draft.read_v2(&mut self.read.as_bytes(), "rcsctmap2_uk.txt", &mut mistakes);
        let about = About { name: "test".into(), releases: vec!["SNOMED CT GB 20260401".into()], inputs: Vec::new() };
        let mut out = Vec::new();
        build(draft, about, &mut out, mistakes, |_| {}).map(|_| out)
    }

    #[track_caller]
    pub fn release(&self) -> Release {
        let bytes = self.build().unwrap_or_else(|mistakes| panic!("{mistakes}"));
        Release::open(bytes.into()).expect("what was just written")
    }

    #[track_caller]
    pub fn mistakes(&self) -> String {
        self.build().expect_err("mistakes").to_string()
    }
}

/// A tree's edges as a naive reader knows them.
pub type Parents = BTreeMap<u64, Vec<u64>>;

/// Walks up, step by step.
pub fn walks_to(parents: &Parents, from: u64, to: u64) -> bool {
    from == to || parents.get(&from).is_some_and(|above| above.iter().any(|parent| walks_to(parents, *parent, to)))
}
