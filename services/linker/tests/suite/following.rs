//! On a real PostgreSQL: following arrivals, changes and decisions one after the other comes to what all of them come to at
//! once, whatever their order and their batches; people keep their ids, and queue and history tell what happened.

use crate::database::{Database, database};
use event::{Action, Body, Demographics, Kind, NhsNumber, PatientEvent, SourcePatient};
use identity::{
    Known,
    compare::Field,
    parameters::{Bands, File, Parameters, Rates},
    partition::{Judged, Verdict},
    whole,
};
use linker::store::{self, clerk};
use proptest::{collection::vec, prelude::*, sample::select, test_runner::TestRunner};
use std::collections::{BTreeMap, BTreeSet};

const HISTORIES: u32 = 20;
const STEPS_MAX: usize = 24;
const NUMBERS: [&str; 3] = ["9434765919", "9000000009", "9000000025"];
const SOURCES: [&str; 3] = ["gp", "ed", "eye"];
const PATIENTS: u8 = 3;

/// Names and a birth date that agree are enough for a link, names alone for a clerk.
fn parameters(version: &str, link: &str) -> Parameters {
    let rates = |m: &str, u: &str| Rates { m: m.into(), u: u.into() };
    let field = |field: Field| {
        let levels = field.levels();
        let rates = levels.iter().enumerate().map(|(at, level)| {
            let rates = match at {
                0 => rates("0.9", "0.01"),
                at if at + 1 == levels.len() => rates("0.05", "0.9"),
                _ => rates("0.05", "0.05"),
            };
            ((*level).to_owned(), rates)
        });
        (field.as_str().to_owned(), rates.collect())
    };
    let file = File {
        version: version.into(),
        prior: "0.01".into(),
        frequency_min: "0.001".into(),
        bands: Bands { link: link.into(), clerical: "4".into() },
        field: Field::ALL.map(field).into_iter().collect(),
        frequency: BTreeMap::new(),
    };
    Parameters::of(&file).expect("good parameters")
}

/// Who is told of: source and patient.
type Whom = (usize, u8);

#[derive(Clone, Debug)]
struct Said {
    given: usize,
    family: usize,
    born: Option<i32>,
    number: Option<usize>,
    verified: bool,
    confidential: bool,
}

#[derive(Clone, Debug)]
enum Step {
    /// Said for the first time, or anew; none withdraws.
    Told(Whom, Option<Said>),
    /// A clerk, one of three.
    Decided(Whom, Whom, bool, usize),
    Undecided(Whom, Whom),
    Merged(Whom, Whom, bool),
    Renumbered(usize, Option<usize>),
    /// Other weights, or none.
    Weighed(usize),
}

fn whom() -> impl Strategy<Value = Whom> {
    (0..SOURCES.len(), 0..PATIENTS)
}

fn said() -> impl Strategy<Value = Said> {
    (
        0..5_usize,
        0..2_usize,
        select(vec![Some(9), Some(9), Some(8), None]),
        prop::option::of(0..3_usize),
        any::<bool>(),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(given, family, born, number, verified, confidential)| Said {
            given,
            family,
            born,
            number,
            verified,
            confidential,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (whom(), prop::option::weighted(0.9, said())).prop_map(|(whom, said)| Step::Told(whom, said)),
        4 => (whom(), whom(), any::<bool>(), 0..3_usize).prop_map(|(one, other, must, clerk)| Step::Decided(one, other, must, clerk)),
        1 => (whom(), whom()).prop_map(|(one, other)| Step::Undecided(one, other)),
        1 => (whom(), whom(), prop::bool::weighted(0.7)).prop_map(|(one, other, merged)| Step::Merged(one, other, merged)),
        1 => (0..3_usize, prop::option::of(0..3_usize)).prop_map(|(number, next)| Step::Renumbered(number, next.filter(|next| *next != number))),
        1 => (0..3_usize).prop_map(Step::Weighed),
    ]
}

fn patient((source, id): Whom) -> SourcePatient {
    SourcePatient { source: SOURCES[source].into(), id: id.to_string() }
}

fn event(commit: u64, whom: Whom, said: Option<&Said>) -> PatientEvent {
    let body = said.map_or(Body::Retracted(Kind::Demographics), |said| {
        Body::Demographics(Demographics {
            nhs_number: said.number.and_then(|at| NhsNumber::parse(NUMBERS[at])),
            nhs_number_verified: said.verified,
            given: ["Ann", "Amy", "A", "Baby", "Unknown"].get(said.given).map(|name| (*name).into()),
            family: ["Ellis", "Patel"].get(said.family).map(|name| (*name).into()),
            birth_date: said.born,
            gender: Some("female".into()),
            postcode: Some("RG1 4PA".into()),
            ..Demographics::default()
        })
    });
    PatientEvent {
        action: if said.is_some() { Action::Recorded } else { Action::Retracted },
        committed_at: 1_700_000_000_000_000 + i64::try_from(commit).expect("few"),
        confidential: said.is_some_and(|said| said.confidential),
        ..crate::demographics(commit, patient(whom), body)
    }
}

/// What is known and decided after all steps, kept by the plainest means.
#[derive(Debug, Default)]
struct Model {
    /// In the order of first sight.
    told: Vec<(Whom, Option<Said>)>,
    verdicts: BTreeMap<(Whom, Whom), (Option<bool>, BTreeSet<usize>)>,
    renumbered: BTreeMap<usize, Option<usize>>,
}

impl Model {
    fn knows(&self, whom: Whom) -> bool {
        self.told.iter().any(|(known, _)| *known == whom)
    }

    /// The same by another clerk is a second one; another decision stands alone.
    fn decided(&mut self, pair: (Whom, Whom), must: bool, clerk: usize) {
        let entry = self.verdicts.entry(pair).or_default();
        if entry.0 != Some(must) {
            entry.1.clear();
        }
        entry.0 = Some(must);
        entry.1.insert(clerk);
    }

    fn number(&self, said: &Said) -> Option<String> {
        let mut current = said.number?;
        for _ in 0..20 {
            match self.renumbered.get(&current) {
                None => return Some(NUMBERS[current].to_owned()),
                Some(next) => current = (*next)?,
            }
        }
        None
    }

    /// Whom each is one person with, the status, and who waits.
    fn outcome(&self, own: &BTreeMap<Whom, uuid::Uuid>, weights: Option<&Parameters>) -> Outcome {
        let known = |(seen, (whom, said)): (i64, &(Whom, Option<Said>))| {
            let bare = Known {
                source: patient(*whom).source,
                id: patient(*whom).id,
                seen,
                own: own[whom],
                withdrawn: said.is_none(),
                ..Known::default()
            };
            let Some(said) = said else { return bare };
            Known {
                nhs_number: self.number(said),
                verified: said.verified,
                birth_date: said.born,
                name: identity::names::Name::new(
                    ["Ann", "Amy", "A", "Baby", "Unknown"].get(said.given).copied(),
                    ["Ellis", "Patel"].get(said.family).copied(),
                ),
                gender: Some("female".into()),
                postcode: Some("RG1 4PA".into()),
                confidential: said.confidential,
                ..bare
            }
        };
        let members: Vec<Known> = (1..).zip(&self.told).map(known).collect();
        let place = |whom: Whom| self.told.iter().position(|(known, _)| *known == whom).expect("it was told");
        let judged: Vec<Judged> = self
            .verdicts
            .iter()
            .map(|((one, other), (verdict, people))| Judged {
                one: place(*one),
                other: place(*other),
                verdict: match verdict {
                    Some(true) => Verdict::Must { people: u8::try_from(people.len()).expect("few") },
                    Some(false) => Verdict::Cannot,
                    None => Verdict::SourceMerge,
                },
            })
            .collect();
        let settlement = whole::link(&members, &judged, weights).settlement;
        let links = members.iter().zip(&settlement.settled).map(|(member, settled)| {
            let rule = settled.evidence.map_or("-", |evidence| evidence.rule.as_str());
            let decision = &settled.decision;
            let told = format!("{} {} {rule} {}", decision.person, decision.status.as_str(), decision.reason);
            (format!("{}/{}", member.source, member.id), told)
        });
        let waiting = settlement.waiting.iter().map(|waiting| {
            let (one, other) = (&members[waiting.one.min(waiting.other)], &members[waiting.one.max(waiting.other)]);
            format!("{}/{} {}/{} {}", one.source, one.id, other.source, other.id, waiting.reason)
        });
        Outcome { links: links.collect(), waiting: waiting.collect() }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    links: BTreeMap<String, String>,
    waiting: BTreeSet<String>,
}

impl Database {
    async fn own(&self) -> BTreeMap<Whom, uuid::Uuid> {
        let client = self.pool.get().await.expect("a connection");
        let rows = client.query("select source, patient, own::text from identity.patient", &[]).await.expect("read");
        let source = |name: &str| SOURCES.iter().position(|source| *source == name).expect("a source");
        let entry = |row: &tokio_postgres::Row| {
            let id: u8 = row.get::<_, &str>(1).parse().expect("a number");
            ((source(row.get(0)), id), row.get::<_, &str>(2).parse().expect("a uuid"))
        };
        rows.iter().map(entry).collect()
    }

    async fn outcome(&self) -> Outcome {
        let client = self.pool.get().await.expect("a connection");
        let links = client
            .query(
                "select source || '/' || patient, concat_ws(' ', person, status, coalesce(rule, '-'), reason) from identity.link",
                &[],
            )
            .await
            .expect("read");
        let waiting = client
            .query(
                "select concat_ws(' ', a.source || '/' || a.patient, b.source || '/' || b.patient, q.reason)
                 from identity.queue q join identity.patient a on a.seen = q.one join identity.patient b on b.seen = q.other",
                &[],
            )
            .await
            .expect("read");
        Outcome {
            links: links.iter().map(|row| (row.get(0), row.get(1))).collect(),
            waiting: waiting.iter().map(|row| row.get(0)).collect(),
        }
    }

    /// Each version of a link follows the one before, and the last is the one that stands.
    async fn history_is_whole(&self) -> bool {
        let client = self.pool.get().await.expect("a connection");
        let sql = "select not exists (
              select from (select *, lag(person) over same as last, row_number() over same as nth from identity.history
                           window same as (partition by source, patient order by version)) h
              where h.before is distinct from h.last or h.version <> h.nth)
            and not exists (select from identity.link l where not exists (select from identity.history h
              where (h.source, h.patient, h.version, h.person, h.status) = (l.source, l.patient, l.version, l.person, l.status)))
            and (select count(*) from identity.outbox) = (select count(*) from identity.history)";
        client.query_one(sql, &[]).await.expect("read").get(0)
    }

    async fn seen(&self, whom: Whom) -> i64 {
        let client = self.pool.get().await.expect("a connection");
        clerk::record(&**client, &patient(whom)).await.expect("read").expect("known").known.seen
    }

    /// Weighs everybody anew, in as many parts as it takes.
    async fn weigh(&self, weights: Option<&Parameters>) {
        let mut client = self.pool.get().await.expect("a connection");
        let mut after = 0;
        while let Some((last, _)) = store::weigh_anew(&mut client, after, 1, weights).await.expect("weighed") {
            after = last;
        }
    }

    async fn decide(&self, (one, other): (Whom, Whom), decided: clerk::Decided, actor: &str) {
        let seen = (self.seen(one).await, self.seen(other).await);
        let mut client = self.pool.get().await.expect("a connection");
        clerk::decide(&mut client, seen, decided, actor, "a test").await.expect("decided");
    }

    async fn decisions(&self, weights: Option<&Parameters>) {
        let mut client = self.pool.get().await.expect("a connection");
        while store::take_decisions(&mut client, weights).await.expect("taken").is_some() {}
    }
}

/// Follows the steps, and is told how often to write what has gathered.
async fn follow(
    database: &Database,
    steps: &[Step],
    batch: usize,
    choices: &[Option<Parameters>; 3],
) -> (Outcome, Outcome, bool) {
    database.wipe().await;
    let (mut model, mut gathered, mut weights) = (Model::default(), Vec::new(), 0_usize);
    let flush = async |gathered: &mut Vec<PatientEvent>, weights: usize| {
        let mut client = database.pool.get().await.expect("a connection");
        store::take(&mut client, gathered, choices[weights].as_ref()).await.expect("taken");
        gathered.clear();
    };
    for (commit, step) in (1..).zip(steps) {
        if !matches!(step, Step::Told(..)) {
            flush(&mut gathered, weights).await;
        }
        let pair = |one: Whom, other: Whom| {
            (one != other && model.knows(one) && model.knows(other)).then(|| (one.min(other), one.max(other)))
        };
        match step {
            Step::Told(whom, said) => {
                gathered.push(event(commit, *whom, said.as_ref()));
                match model.told.iter_mut().find(|(known, _)| known == whom) {
                    Some(known) => known.1.clone_from(said),
                    None => model.told.push((*whom, said.clone())),
                }
                if gathered.len() >= batch {
                    flush(&mut gathered, weights).await;
                }
            }
            Step::Decided(one, other, must, clerk) => {
                let Some(pair) = pair(*one, *other) else { continue };
                let decided = if *must { clerk::Decided::MustLink } else { clerk::Decided::CannotLink };
                database.decide((*one, *other), decided, ["ruth", "sam", "tess"][*clerk]).await;
                model.decided(pair, *must, *clerk);
            }
            Step::Undecided(one, other) => {
                let Some(pair) = pair(*one, *other) else { continue };
                database.decide((*one, *other), clerk::Decided::Nothing, "ruth").await;
                model.verdicts.remove(&pair);
            }
            Step::Merged(one, other, merged) => {
                let Some(pair) = pair(*one, *other) else { continue };
                let seen = (database.seen(*one).await, database.seen(*other).await);
                let mut client = database.pool.get().await.expect("a connection");
                clerk::source_merge(&mut client, seen, *merged).await.expect("written");
                if *merged {
                    model.verdicts.entry(pair).or_insert((None, BTreeSet::new()));
                } else if model.verdicts.get(&pair).is_some_and(|(verdict, _)| verdict.is_none()) {
                    model.verdicts.remove(&pair);
                }
            }
            Step::Renumbered(number, next) => {
                let mut client = database.pool.get().await.expect("a connection");
                let next_number = next.map(|next| NUMBERS[next]);
                clerk::renumber(&mut client, NUMBERS[*number], next_number, "ruth", "a test").await.expect("written");
                model.renumbered.insert(*number, *next);
            }
            Step::Weighed(other) => {
                weights = *other;
                database.weigh(choices[weights].as_ref()).await;
            }
        }
        database.decisions(choices[weights].as_ref()).await;
    }
    flush(&mut gathered, weights).await;
    let want = model.outcome(&database.own().await, choices[weights].as_ref());
    (database.outcome().await, want, database.history_is_whole().await)
}

#[test]
fn following_comes_to_what_all_come_to_at_once() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let database = runtime.block_on(database("following"));
    let choices = [Some(parameters("first", "10")), Some(parameters("second", "17")), None];
    // A failing case is shrunk and printed, with its seed.
    let config = ProptestConfig { cases: HISTORIES, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&(vec(step(), 1..STEPS_MAX), 1..5_usize), |(steps, batch)| {
        let (got, want, whole) = runtime.block_on(follow(&database, &steps, batch, &choices));
        prop_assert_eq!(got, want);
        prop_assert!(whole, "the history is whole");
        Ok(())
    });
    runtime.block_on(async { drop(database) });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
