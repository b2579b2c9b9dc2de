//! Plausible histories: the rows that a GP and a hospital hold about one person.

mod at_gp;
mod at_hospital;

pub use at_gp::{allergy_row, coded, observation, result};
pub use at_hospital::{Chain, chain, lab_result, local, sound_result};

use crate::{gp, hospital, person::Person};
use jiff::{Timestamp, ToSpan};
use rand::{Rng, rngs::StdRng};
use rust_decimal::Decimal;
use uuid::Uuid;

/// Ids of histories are the person's index times this, plus a count.
pub const IDS_PER_PERSON: i64 = 1_000;
/// Hospital person ids are the index plus this.
pub const PERSON_BASE: i64 = 5_000_000;
/// How far histories reach back.
const YEARS: i64 = 5;
/// One person in so many whom a source marks as confidential.
const CONFIDENTIAL_ONE_IN: u64 = 401;

/// One person's rows in both databases.
#[derive(Clone, Default, PartialEq)]
pub struct History {
    pub gp: GpRows,
    pub hospital: HospitalRows,
}

#[derive(Clone, Default, PartialEq)]
pub struct GpRows {
    pub patients: Vec<gp::Patient>,
    pub consultations: Vec<gp::Consultation>,
    pub observations: Vec<gp::Observation>,
    pub problems: Vec<gp::Problem>,
    pub drug_records: Vec<gp::DrugRecord>,
    pub issue_records: Vec<gp::IssueRecord>,
    pub referrals: Vec<gp::Referral>,
}

#[derive(Clone, Default, PartialEq)]
pub struct HospitalRows {
    pub patients: Vec<hospital::Patient>,
    pub aliases: Vec<hospital::Alias>,
    pub encounters: Vec<hospital::Encounter>,
    pub referrals: Vec<hospital::Referral>,
    pub orders: Vec<hospital::Order>,
    pub specimens: Vec<hospital::Specimen>,
    pub samples: Vec<hospital::Sample>,
    pub analyses: Vec<hospital::Analysis>,
    pub results: Vec<hospital::LabResult>,
    pub prescriptions: Vec<hospital::Prescription>,
    pub allergies: Vec<hospital::Allergy>,
}

macro_rules! append {
    ($rows:ident { $($field:ident),* }) => {
        impl $rows {
            pub fn append(&mut self, mut other: Self) {
                $(self.$field.append(&mut other.$field);)*
            }
        }
    };
}
append!(GpRows { patients, consultations, observations, problems, drug_records, issue_records, referrals });
append!(HospitalRows {
    patients,
    aliases,
    encounters,
    referrals,
    orders,
    specimens,
    samples,
    analyses,
    results,
    prescriptions,
    allergies
});

/// The histories of `patients` people, one at a time. The same for the same arguments; nothing lies after `today`.
pub fn generate(seed: u64, patients: u64, today: Timestamp) -> impl Iterator<Item = History> {
    (0..patients).map(move |index| history(seed, index, today))
}

pub fn history(seed: u64, index: u64, today: Timestamp) -> History {
    let person = Person::new(seed, index, today);
    let mut rng = crate::person::rng(seed.rotate_left(17), index);
    History { gp: at_gp::rows(&person, &mut rng, today), hospital: at_hospital::rows(&person, &mut rng, today) }
}

/// The GP's id of person `index`: the same for every seed, so that a story or a test can name it.
pub fn gp_patient(index: u64) -> Uuid {
    Uuid::from_u128(0x0a71_0000_0000_4000_8000_0000_0000_0000 + u128::from(index))
}

pub fn hospital_person(index: u64) -> i64 {
    PERSON_BASE + i64::try_from(index).unwrap_or(0)
}

/// A random id with UUID version 4's marks.
pub fn uuid(rng: &mut StdRng) -> Uuid {
    uuid::Builder::from_random_bytes(rng.random()).into_uuid()
}

/// A working hour of some day in the years before `today`; one in ten in the last three days.
fn moment(rng: &mut StdRng, today: Timestamp) -> Timestamp {
    let days = if rng.random_bool(0.1) { rng.random_range(1..=3) } else { rng.random_range(4..YEARS * 365) };
    let into_day = rng.random_range(0..10 * 3_600_000_i64);
    today - (days * 24).hours() + into_day.milliseconds()
}

/// About normal: the mean of a few uniform draws.
pub fn draw(rng: &mut StdRng, mean: f64, spread: f64, decimals: u32) -> Decimal {
    let sum: f64 = (0..6).map(|_| rng.random_range(-1.0..1.0_f64)).sum();
    fixed((mean + sum * spread * 0.7).max(0.1), decimals)
}

/// A number cut to `decimals`; clinical numbers fit easily.
pub fn fixed(number: f64, decimals: u32) -> Decimal {
    let scaled = (number * 10_f64.powi(i32::try_from(decimals).unwrap_or(0))).round();
    Decimal::new(scaled as i64, decimals)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const TODAY: &str = "2026-03-04T08:00:00Z";

    #[test]
    fn the_same_seed_gives_the_same_histories() {
        let today = TODAY.parse().unwrap();
        let one: Vec<_> = generate(11, 40, today).collect();
        assert!(one == generate(11, 40, today).collect::<Vec<_>>());
        assert!(one != generate(12, 40, today).collect::<Vec<_>>());
    }

    #[test]
    fn ids_are_distinct_and_rows_hang_together() {
        let today: Timestamp = TODAY.parse().unwrap();
        let (mut ids, mut results) = (HashSet::new(), HashSet::new());
        for history in generate(3, 300, today) {
            for row in &history.gp.observations {
                assert!(ids.insert(row.observation_id));
                assert!(row.effective_datetime.unwrap() <= today);
            }
            let h = &history.hospital;
            let analyses: HashSet<_> = h.analyses.iter().map(|a| a.analysis_id).collect();
            for row in &h.results {
                assert!(results.insert(row.result_id));
                assert!(analyses.contains(&row.analysis_id));
                assert!(row.entered_at <= today);
            }
            assert!(h.results.len() < IDS_PER_PERSON as usize);
        }
        assert!(ids.len() > 3_000 && results.len() > 1_000, "{} {}", ids.len(), results.len());
    }
}
