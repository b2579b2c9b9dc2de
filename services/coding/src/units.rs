//! Units, read only in the light of their analyte: the same letters mean different things
//! beside different tests, and `7.2 %` of HbA1c is not 72 mmol/mol.
//!
//! # Why
//! A number is multiplied exactly or not at all: a product that no decimal of ours can hold is no number, rather than a
//! rounded one. HbA1c alone goes by an equation, whose quotient has no end: it keeps two decimals, and a limit that is
//! defined in % as well is judged by the % that was reported.

use super::lab::Analyte;
use rust_decimal::{Decimal, RoundingStrategy};

/// No unit that anybody knows is longer.
pub const UNIT_BYTES_MAX: usize = 48;
/// How the table writes that a test has no unit.
const NONE: &str = "none";
const NGSP_DECIMALS: u32 = 2;

/// How a number in one unit becomes the canonical one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Conversion {
    /// Another way to write the canonical unit.
    Same,
    Times(Decimal),
    /// HbA1c: NGSP % to IFCC mmol/mol by the master equation, NGSP = 0.09148 × IFCC + 2.152.
    Ngsp,
    /// Seen in this unit, which it cannot be in.
    Wrong,
}

/// Why there is no canonical number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconverted {
    UnknownUnit,
    WrongUnit,
    /// The product has more digits than a decimal can hold.
    TooLong,
}

impl Unconverted {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownUnit => "unknown unit",
            Self::WrongUnit => "implausible unit",
            Self::TooLong => "too many digits",
        }
    }
}

/// The units that one analyte is read in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Units {
    /// As they are written, in the table's order.
    pub written: Vec<(String, Conversion)>,
    /// By their one spelling, sorted.
    spelled: Vec<(Spelled, Conversion)>,
}

impl Units {
    /// `mmol/L;mM=1|mg/dL=0.1665|%=ngsp`. What is wrong is said.
    pub fn parse(cell: &str) -> Result<Self, String> {
        let mut units = Self::default();
        for group in cell.split('|') {
            let (names, factor) = group.rsplit_once('=').ok_or_else(|| format!("`{group}` has no factor"))?;
            let conversion = conversion(factor)?;
            names.split(';').try_for_each(|name| units.add(name, conversion))?;
        }
        Ok(units)
    }

    /// One more unit. Refused where it has another factor already.
    pub fn add(&mut self, name: &str, conversion: Conversion) -> Result<(), String> {
        let name = name.trim();
        if name.is_empty() {
            return Err("a unit is empty: a test without a unit has `none`".to_owned());
        }
        let spelled = Spelled::of(if name == NONE { "" } else { name })
            .ok_or_else(|| format!("the unit `{name}` is longer than {UNIT_BYTES_MAX} bytes"))?;
        match self.spelled.binary_search_by(|(known, _)| known.as_bytes().cmp(spelled.as_bytes())) {
            Ok(at) if self.spelled[at].1 != conversion => return Err(format!("the unit `{name}` has another factor")),
            Ok(_) => {}
            Err(at) => self.spelled.insert(at, (spelled, conversion)),
        }
        self.written.push((name.to_owned(), conversion));
        Ok(())
    }

    /// Every way to write the units that convert like this.
    pub fn alike(&self, conversion: Conversion) -> Vec<String> {
        let alike = self.written.iter().filter(|(_, other)| *other == conversion);
        alike.map(|(name, _)| name.clone()).collect()
    }

    /// No scan, and nothing is allocated.
    pub fn find(&self, unit: &str) -> Option<Conversion> {
        let unit = Spelled::of(unit)?;
        let at = self.spelled.binary_search_by(|(known, _)| known.as_bytes().cmp(unit.as_bytes())).ok()?;
        Some(self.spelled[at].1)
    }
}

/// `1`, a factor, `ngsp` or `wrong`.
pub fn conversion(factor: &str) -> Result<Conversion, String> {
    match factor {
        "1" => Ok(Conversion::Same),
        "ngsp" => Ok(Conversion::Ngsp),
        "wrong" => Ok(Conversion::Wrong),
        _ => match Decimal::from_str_exact(factor) {
            Ok(factor) if factor > Decimal::ZERO => Ok(Conversion::Times(factor.normalize())),
            _ => Err(format!("`{factor}` is no factor: a decimal number above 0, ngsp or wrong")),
        },
    }
}

/// The number in the analyte's canonical unit.
pub fn convert(analyte: &Analyte, number: Decimal, unit: &str) -> Result<Decimal, Unconverted> {
    match analyte.units.find(unit).ok_or(Unconverted::UnknownUnit)? {
        Conversion::Same => Ok(number),
        Conversion::Times(factor) => exactly(number, factor).ok_or(Unconverted::TooLong),
        Conversion::Ngsp => ifcc(number).ok_or(Unconverted::TooLong),
        Conversion::Wrong => Err(Unconverted::WrongUnit),
    }
}

/// `Decimal`'s own product rounds where it has too many digits.
fn exactly(number: Decimal, factor: Decimal) -> Option<Decimal> {
    let number = number.normalize();
    let product = number.mantissa().checked_mul(factor.mantissa())?;
    Some(Decimal::try_from_i128_with_scale(product, number.scale() + factor.scale()).ok()?.normalize())
}

fn ifcc(percent: Decimal) -> Option<Decimal> {
    let (slope, intercept) = (Decimal::new(9_148, 5), Decimal::new(2_152, 3));
    let ifcc = percent.checked_sub(intercept)?.checked_div(slope)?;
    Some(ifcc.round_dp_with_strategy(NGSP_DECIMALS, RoundingStrategy::MidpointAwayFromZero).normalize())
}

/// Is it a unit at all? For what the lab table does not know: UCUM itself decides.
pub fn is_unit(unit: &str) -> bool {
    Spelled::of(unit).is_some_and(|unit| ucum::validate(unit.as_str()).is_ok())
}

/// The same unit, by its one spelling?
pub fn same(one: &str, two: &str) -> bool {
    Spelled::of(one).is_some_and(|one| Spelled::of(two).is_some_and(|two| one.as_bytes() == two.as_bytes()))
}

/// One spelling: no spaces, `u` for both micro signs, `L` for litre.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spelled {
    bytes: [u8; UNIT_BYTES_MAX],
    len: usize,
}

impl Spelled {
    /// None of what is too long to be a unit.
    fn of(unit: &str) -> Option<Self> {
        let mut spelled = Self { bytes: [0; UNIT_BYTES_MAX], len: 0 };
        for letter in unit.chars().filter(|letter| !letter.is_whitespace()) {
            let letter = if matches!(letter, '\u{b5}' | '\u{3bc}') { 'u' } else { letter };
            let end = spelled.len + letter.len_utf8();
            letter.encode_utf8(spelled.bytes.get_mut(spelled.len..end)?);
            spelled.len = end;
        }
        if ["/l", "/dl", "/ml"].iter().any(|litre| spelled.as_bytes().ends_with(litre.as_bytes())) {
            spelled.bytes[spelled.len - 1] = b'L';
        }
        Some(spelled)
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
