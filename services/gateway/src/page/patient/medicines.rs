//! The medicines of the record page, and its steroid banner.

use super::view::{Facts, Item};
use crate::{
    page::{format, units},
    record::{
        clinical::Medication,
        medicines::{self, Taking},
    },
};
use event::Kind;
use medicine::By;

/// Stopped medicines that stand open on the page; older ones are with the past ones.
const STOPPED_MAX: usize = 20;

/// What the dosage and the quantity say in words.
const IN_THE_WORDS: [&str; 6] = ["dose_amount", "dose_unit", "route", "frequency", "quantity_amount", "quantity_unit"];

pub struct Medicines {
    pub lines: Vec<MedicineRow>,
    pub suspended: Vec<Item>,
    pub stopped: Vec<Item>,
    pub past: Vec<Item>,
}

pub struct MedicineRow {
    pub name: String,
    /// Said where the products of one ingredient are called differently.
    pub brands: bool,
    pub gp: Vec<Item>,
    pub hospital: Vec<Item>,
}

impl Medicines {
    pub fn of(facts: &Facts<'_>) -> Self {
        let (rows, site) = (&facts.clinical.medications, &facts.app.site);
        let items = |rows: Vec<&Medication>| rows.into_iter().map(|row| item(facts, row)).collect();
        let are = |taking| rows.iter().filter(|row| medicines::taking(row, facts.now) == taking).collect::<Vec<_>>();
        let mut stopped = are(Taking::Stopped);
        let older = stopped.split_off(stopped.len().min(STOPPED_MAX));
        let past = older.into_iter().chain(are(Taking::Ended)).collect();
        let row = |line: medicines::MedicineLine<'_>| MedicineRow {
            name: line.name,
            brands: line.brands,
            gp: items(line.gp),
            hospital: items(line.hospital),
        };
        Self {
            lines: medicines::lines(rows, &site.ingredients, &site.teams, facts.now).into_iter().map(row).collect(),
            suspended: items(are(Taking::Suspended)),
            stopped: items(stopped),
            past: items(past),
        }
    }
}

fn item(facts: &Facts<'_>, medication: &Medication) -> Item {
    // How much is handed out is no part of the dose.
    let supply =
        medication.quantity.as_deref().map(|quantity| format!("supplied as {}", units::without_zeros(quantity)));
    let dosage = medication.dosage.as_deref().map(units::without_zeros);
    let mut detail: Vec<String> = [dosage, medication.course.clone(), supply].into_iter().flatten().collect();
    let dates = [
        ("started", medication.started_at),
        ("last issued", medication.last_issued_at),
        ("ended", medication.ended_at),
    ];
    detail.extend(dates.into_iter().filter_map(|(what, at)| at.map(|at| format!("{what} {}", format::day(at)))));
    detail.extend(medication.from.more.words(Kind::Medication, &IN_THE_WORDS));
    let taking = medicines::taking(medication, facts.now);
    let state = match (taking.word(), &medication.status_reason, medicines::status_not_understood(medication)) {
        (Some(word), Some(reason), _) => Some(format!("{word}: {reason}")),
        (Some(word), None, None) if taking == Taking::Stopped => Some(format!("{word}: no reason recorded")),
        (Some(word), None, None) => Some(word.to_owned()),
        (_, _, Some(status)) => Some(format!("status not understood: {status}")),
        (None, ..) => None,
    };
    let item = facts.item(&medication.code, &medication.from, detail.join(", "));
    Item { state: state.or_else(|| item.state.clone()), ..item }
}

/// The banner above everything.
pub struct Steroids {
    pub title: &'static str,
    pub reasons: Vec<Reason>,
    pub guideline: String,
    pub url: String,
}

pub struct Reason {
    pub text: String,
    pub from: String,
    pub by_words: bool,
    pub suspended: bool,
}

impl Steroids {
    pub fn of(facts: &Facts<'_>) -> Option<Self> {
        let (clinical, known) = (facts.clinical, &facts.app.site.ingredients);
        let found = medicines::steroid_reasons(&clinical.conditions, &clinical.medications, known, facts.now);
        let lasting = found.iter().any(|reason| reason.lasting);
        let reasons: Vec<Reason> = found
            .into_iter()
            .map(|reason| Reason {
                text: reason.text.to_owned(),
                from: facts.app.organisation_name(reason.organisation),
                by_words: reason.by == By::Words,
                suspended: reason.suspended,
            })
            .collect();
        let title = if lasting {
            "Steroid dependent: risk of adrenal crisis"
        } else {
            "On a course of steroids: risk of adrenal crisis"
        };
        let (guideline, url) = (known.guideline.name.clone(), known.guideline.url.clone());
        (!reasons.is_empty()).then_some(Self { title, reasons, guideline, url })
    }
}
