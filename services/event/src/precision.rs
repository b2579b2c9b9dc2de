//! How exactly a time or a day is known.

use std::fmt;

/// A patient says "in 1984", and a record says no more: 1 January would be made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    Year,
    Month,
    Day,
}

impl Precision {
    pub const ALL: [Self; 3] = [Self::Year, Self::Month, Self::Day];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|precision| precision.as_str() == text)
    }
}

/// A day of which no more is known than its year, or its year and month: `1984`, `1984-06`.
///
/// Invariant: a year from 1 to 9999, a month of the calendar. Made only by `new` and `parse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartialDate {
    year: u16,
    month: Option<u8>,
}

impl PartialDate {
    pub fn new(year: u16, month: Option<u8>) -> Option<Self> {
        let known = (1..=9999).contains(&year) && month.is_none_or(|month| (1..=12).contains(&month));
        known.then_some(Self { year, month })
    }

    pub fn parse(text: &str) -> Option<Self> {
        let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
        let (year, month) = match text.split_once('-') {
            None => (text, None),
            Some((year, month)) => (year, Some(month)),
        };
        if !digits(year, 4) || month.is_some_and(|month| !digits(month, 2)) {
            return None;
        }
        Self::new(year.parse().ok()?, month.map(str::parse).transpose().ok()?)
    }

    pub const fn year(self) -> u16 {
        self.year
    }

    pub const fn month(self) -> Option<u8> {
        self.month
    }
}

impl fmt::Display for PartialDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.year)?;
        self.month.map_or(Ok(()), |month| write!(f, "-{month:02}"))
    }
}

#[cfg(test)]
mod tests {
    use super::PartialDate;

    #[test]
    fn a_year_or_a_month_is_read_and_written_alike() {
        for good in ["1984", "1984-06", "0001-12"] {
            assert_eq!(PartialDate::parse(good).map(|date| date.to_string()).as_deref(), Some(good));
        }
        for bad in ["", "84", "0000", "1984-", "1984-6", "1984-13", "1984-00", "1984-06-02", "+984", "1984-+6"] {
            assert_eq!(PartialDate::parse(bad), None, "{bad}");
        }
    }
}
