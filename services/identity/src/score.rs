//! What two records weigh together, and what that leads to.
//!
//! # Why
//! A weight is log₂ of the odds that the two are one person: the prior's, and for each field log₂(m/u) of its level. Names
//! weigh by how common they are. But the fields of twins, of a parent and a newborn, of namesakes, are not independent, and a
//! weight that says so much is wrong about just these. So what tells such people apart stops a link, whatever it weighs, and
//! asks a clerk.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::{
    Known,
    compare::{Field, Levels, compare},
    linking_number, names,
    parameters::Parameters,
    weight::Weight,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Band {
    /// One person.
    Link,
    /// A clerk decides.
    Clerical,
    None,
}

/// Why a pair that weighs enough waits for a clerk. Fixed words without patient data.
pub mod stop {
    pub const BETWEEN: &str = "the weight lies between the bands";
    pub const NEWBORN: &str = "one is a newborn without a name";
    pub const TEMPORARY: &str = "one has a temporary name";
    pub const TWINS: &str =
        "birth date and surname agree and nothing shows different homes: twins, unless forename or number agree";
    pub const SEX: &str = "sex differs";
    pub const TWO_NUMBERS: &str = "two verified NHS numbers";
    pub const TWO_BIRTH_DATES: &str = "two birth dates";
    pub const NO_BIRTH_DATE: &str = "a birth date is missing";
    pub const HELD: &str = "one has a verified NHS number that is held";
    pub const KEPT_APART: &str = "a clerk keeps members of both apart";
    pub const CONTRADICT: &str = "clerks contradict each other: some link what others keep apart";
    pub const SECOND_PERSON: &str = "two verified NHS numbers: a second person has to link them, too";
    pub const TOO_LARGE: &str = "more records than one person can have";

    /// What a stored pair can say.
    const OF_PAIRS: [&str; 8] = [BETWEEN, NEWBORN, TEMPORARY, TWINS, SEX, TWO_NUMBERS, TWO_BIRTH_DATES, NO_BIRTH_DATE];

    /// The words as they were stored with a pair.
    pub fn stored(text: &str) -> Option<&'static str> {
        OF_PAIRS.into_iter().find(|known| *known == text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scored {
    pub levels: Levels,
    pub weight: Weight,
    pub band: Band,
    /// Why it waits for a clerk.
    pub stop: Option<&'static str>,
}

/// One field's part of a weight, for those who look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub field: Field,
    pub level: &'static str,
    pub weight: Weight,
    /// Of that, by how common the name is.
    pub frequency: Weight,
}

/// The same whichever comes first.
pub fn score(one: &Known, other: &Known, parameters: &Parameters) -> Scored {
    let levels = compare(one, other);
    let weight = Field::ALL.into_iter().fold(parameters.prior(), |sum, field| {
        sum.plus(parameters.weight(&levels, field)).plus(frequency(one, &levels, field, parameters))
    });
    // Who asks to be seen by few is not shown to clerks as somebody's likely other self.
    let none = one.confidential || other.confidential || one.withdrawn || other.withdrawn;
    let stop = stop(one, other, &levels);
    let (band, stop) = match (weight, stop) {
        _ if none => (Band::None, None),
        (weight, _) if weight < parameters.clerical => (Band::None, None),
        (weight, None) if weight >= parameters.link => (Band::Link, None),
        (weight, Some(stop)) if weight >= parameters.link => (Band::Clerical, Some(stop)),
        _ => (Band::Clerical, Some(stop::BETWEEN)),
    };
    Scored { levels, weight, band, stop }
}

/// What each field weighs, but those that one of them does not tell.
pub fn parts(one: &Known, other: &Known, parameters: &Parameters) -> Vec<Part> {
    let levels = compare(one, other);
    let part = |field: Field| {
        let frequency = frequency(one, &levels, field, parameters);
        let weight = parameters.weight(&levels, field).plus(frequency);
        Some(Part { field, level: levels.name(field)?, weight, frequency })
    };
    Field::ALL.into_iter().filter_map(part).collect()
}

fn frequency(one: &Known, levels: &Levels, field: Field, parameters: &Parameters) -> Weight {
    match field {
        Field::Given if levels.is_exact(field) => parameters.frequency(field, &one.name.forename()),
        Field::Family if levels.is_exact(field) => parameters.frequency(field, one.name.family()),
        _ => Weight::default(),
    }
}

/// What never links by weight alone.
fn stop(one: &Known, other: &Known, levels: &Levels) -> Option<&'static str> {
    let numbers = linking_number(one).zip(linking_number(other));
    if numbers.is_some_and(|(one, other)| one != other) {
        return Some(stop::TWO_NUMBERS);
    }
    if one.name.placeholder() || other.name.placeholder() {
        return Some(stop::NEWBORN);
    }
    if one.name.temporary() || other.name.temporary() {
        return Some(stop::TEMPORARY);
    }
    match one.birth_date.zip(other.birth_date) {
        None => return Some(stop::NO_BIRTH_DATE),
        Some((one, other)) if one != other => return Some(stop::TWO_BIRTH_DATES),
        Some(_) => {}
    }
    if names::sexes_contradict(one.gender.as_deref(), other.gender.as_deref()) {
        return Some(stop::SEX);
    }
    may_be_twins(levels).then_some(stop::TWINS)
}

/// Twins share birth date and surname, and a home as long as nothing says otherwise.
fn may_be_twins(levels: &Levels) -> bool {
    let names = matches!(levels.name(Field::Given), Some("exact" | "short_form" | "swapped"));
    let surname = levels.get(Field::Family).is_none_or(|level| level < Field::Family.levels().len() - 1);
    let home = levels.get(Field::Postcode).is_none_or(|level| level == 0);
    surname && home && !names && !levels.is_exact(Field::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{names::Name, parameters::tests::file};

    /// What is the same of both, and what is changed of one.
    fn check(change: impl Fn(&mut Known), want: &str) {
        let parameters = Parameters::of(&file()).expect("good");
        let one = Known {
            name: Name::new(Some("Adam"), Some("Ellis")),
            birth_date: Some(5_271),
            gender: Some("male".into()),
            postcode: Some("RG1 4PA".into()),
            ..Known::default()
        };
        let mut other = one.clone();
        change(&mut other);
        let scored = score(&one, &other, &parameters);
        let told = format!("{} {:?} {}", scored.weight, scored.band, scored.stop.unwrap_or("-"));
        assert_eq!(told, want);
        assert_eq!(score(&other, &one, &parameters), scored, "the other way round");
        let sum = parts(&one, &other, &parameters).iter().fold(parameters.prior(), |sum, part| sum.plus(part.weight));
        assert_eq!(sum, scored.weight, "the parts are the whole");
    }

    #[test]
    fn weights_add_up_and_what_tells_people_apart_stops_a_link() {
        let named = |given: &'static str, family: &'static str| {
            move |k: &mut Known| k.name = Name::new(Some(given), Some(family))
        };
        // -13.288 and five times 6.492
        check(|_| (), "19.172 Link -");
        check(|k| k.postcode = None, "12.680 Link -");
        check(named("Adam", "Patel"), "7.188 Clerical the weight lies between the bands");
        check(|k| (k.postcode, k.gender) = (None, None), "6.188 Clerical the weight lies between the bands");
        check(|k| (k.postcode, k.gender, k.name) = (None, None, Name::default()), "-6.796 None -");
        check(|k| k.confidential = true, "19.172 None -");
        check(|k| k.withdrawn = true, "19.172 None -");
        check(|k| k.birth_date = Some(5_272), &format!("13.680 Clerical {}", stop::TWO_BIRTH_DATES));
        check(|k| k.birth_date = None, &format!("12.680 Clerical {}", stop::NO_BIRTH_DATE));
        check(named("Baby", "Ellis"), &format!("12.680 Clerical {}", stop::NEWBORN));
        check(named("Unknown", "Ellis"), "6.188 Clerical the weight lies between the bands");
        // Twins: of one home, or of none that is told; not if the forename is the same, or short for the other.
        check(named("Adan", "Ellis"), &format!("13.680 Clerical {}", stop::TWINS));
        check(named("A", "Ellis"), &format!("13.680 Clerical {}", stop::TWINS));
        check(named("Adam John", "Ellis"), "19.172 Link -");
        check(
            |k| (k.name, k.nhs_number) = (Name::new(Some("Adan"), Some("Ellis")), Some("9434765919".into())),
            &format!("13.680 Clerical {}", stop::TWINS),
        );
    }

    #[test]
    fn a_number_tells_twins_apart_and_two_of_them_stop_a_link() {
        let parameters = Parameters::of(&file()).expect("good");
        let known = |given: &str, number: Option<&str>, verified: bool, sex: &str| Known {
            name: Name::new(Some(given), Some("Ellis")),
            birth_date: Some(5_271),
            gender: Some(sex.into()),
            postcode: Some("RG1 4PA".into()),
            nhs_number: number.map(str::to_owned),
            verified,
            ..Known::default()
        };
        let (one, two) = (Some("9434765919"), Some("9000000009"));
        for (first, second, want) in [
            (known("Adam", one, true, "male"), known("Alan", one, false, "male"), None),
            (known("Adam", one, false, "male"), known("Alan", one, false, "male"), None),
            (known("Adam", one, true, "male"), known("Alan", None, false, "male"), Some(stop::TWINS)),
            (known("Adam", one, true, "male"), known("Adam", two, true, "male"), Some(stop::TWO_NUMBERS)),
            (known("Adam", one, true, "male"), known("Adam", two, false, "male"), None),
            (known("Adam", one, false, "male"), known("Adam", one, false, "female"), Some(stop::SEX)),
            (known("Adam", one, false, "unknown"), known("Adam", one, false, "female"), None),
        ] {
            assert_eq!(stop(&first, &second, &compare(&first, &second)), want, "{first:?} {second:?}");
            assert!(score(&first, &second, &parameters).weight > parameters.clerical);
        }
    }
}
