//! Which items are meant.

use super::topic::Item;
use jiff::{Timestamp, civil::Date, tz::TimeZone};

#[derive(clap::Args, Default)]
pub struct Filter {
    /// Only items of this source.
    #[arg(long)]
    source: Option<String>,
    /// Only items of this table, as schema.table.
    #[arg(long)]
    table: Option<String>,
    /// Only items of this patient, by the source's own key.
    #[arg(long, requires = "source", value_name = "KEY")]
    patient: Option<String>,
    /// Only items that were told at this time or later: 2026-01-31 (UTC) or 2026-01-31T09:30:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only items that were told before this time.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
}

impl Filter {
    pub fn takes(&self, item: &Item) -> bool {
        let Self { source, table, patient, since, until } = self;
        let what = &item.what;
        source.as_ref().is_none_or(|source| what.source == *source)
            && table.as_ref().is_none_or(|table| what.table.as_ref() == Some(table))
            && patient.as_ref().is_none_or(|patient| what.patient.as_ref() == Some(patient))
            && since.is_none_or(|since| item.told_at.is_some_and(|at| at >= since))
            && until.is_none_or(|until| item.told_at.is_some_and(|at| at < until))
    }

    pub const fn is_empty(&self) -> bool {
        matches!(self, Self { source: None, table: None, patient: None, since: None, until: None })
    }
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let day = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp());
    // A date with a time parses as a date, too.
    let day = || day().filter(|_| text.len() == "2026-01-31".len());
    text.parse::<Timestamp>().ok().or_else(day).ok_or_else(|| {
        "neither a day such as 2026-01-31 nor a time with its zone such as 2026-01-31T09:30:00Z".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::{super::topic::State, *};
    use event::Quarantined;

    fn item(at: &str) -> Item {
        let what = Quarantined {
            source: "riverside".into(),
            table: Some("emis.patient".into()),
            patient: Some("12".into()),
            ..Quarantined::default()
        };
        Item { offset: 1, told_at: moment(at).ok(), what, bytes: None, state: State::Open }
    }

    #[test]
    fn an_item_has_to_fit_every_filter() {
        let some = |text: &str| Some(text.to_owned());
        let at = |text: &str| Some(moment(text).expect("a time"));
        let none = Filter::default;
        let cases = [
            (none(), true),
            (Filter { source: some("riverside"), ..none() }, true),
            (Filter { source: some("stmarys"), ..none() }, false),
            (Filter { table: some("emis.patient"), ..none() }, true),
            (Filter { table: some("emis.patients"), ..none() }, false),
            (Filter { source: some("riverside"), patient: some("12"), ..none() }, true),
            (Filter { source: some("riverside"), patient: some("1"), ..none() }, false),
            (Filter { since: at("2026-01-31"), ..none() }, true),
            (Filter { since: at("2026-01-31T09:30:00Z"), ..none() }, true),
            (Filter { since: at("2026-01-31T09:30:01Z"), ..none() }, false),
            (Filter { until: at("2026-01-31T09:30:00Z"), ..none() }, false),
            (Filter { until: at("2026-02-01"), ..none() }, true),
        ];
        for (index, (filter, want)) in cases.iter().enumerate() {
            assert_eq!(filter.takes(&item("2026-01-31T09:30:00Z")), *want, "case {index}");
            assert_eq!(filter.is_empty(), index == 0, "case {index}");
        }
    }

    #[test]
    fn a_time_without_a_zone_is_refused() {
        for (text, want) in [
            ("2026-01-31", Some("2026-01-31T00:00:00Z")),
            ("2026-01-31T10:30:00+01:00", Some("2026-01-31T09:30:00Z")),
            ("2026-01-31T09:30:00", None),
            ("yesterday", None),
            ("2026-02-30", None),
        ] {
            assert_eq!(moment(text).ok().map(|at| at.to_string()).as_deref(), want, "{text}");
        }
    }
}
