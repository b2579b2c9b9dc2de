//! An expression on a row.

use super::{Node, Op, Reading, TEXT_BYTES_MAX, number};
use crate::{
    Look, Ref,
    moment::{self, Moment},
    plain, shown,
};
use change::Value;
use coding::value::{self, Marks};
use rust_decimal::Decimal;
use std::borrow::Cow;

/// Why an expression says nothing of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("is not a number")]
    NotANumber,
    #[error("is not a time")]
    NotATime,
    #[error("is not true or false")]
    NotTrueOrFalse,
    #[error("has too many digits")]
    TooManyDigits,
    #[error("leaves a remainder: say to how many places with divide()")]
    NotExact,
    #[error("divides by zero")]
    DividedByZero,
    #[error("is out of range")]
    OutOfRange,
    #[error("is a text of more than {TEXT_BYTES_MAX} bytes")]
    TooLong,
}

#[derive(Clone, Debug)]
enum Val<'a> {
    Null,
    Cell(&'a Value),
    Text(Cow<'a, str>),
    Number(Decimal),
    Time(Moment),
    Truth(bool),
}

struct Run<'a, L> {
    row: &'a L,
    reading: &'a Reading,
}

pub fn truth(node: &Node, row: &impl Look, reading: &Reading) -> Result<bool, Failure> {
    let run = Run { row, reading };
    let val = run.eval(node)?;
    run.truth_of(&val)
}

pub fn value<'a>(node: &'a Node, row: &'a impl Look, reading: &'a Reading) -> Result<Option<Cow<'a, Value>>, Failure> {
    let run = Run { row, reading };
    Ok(Some(Cow::Owned(match run.eval(node)? {
        Val::Null => return Ok(None),
        Val::Cell(value) => return Ok(Some(Cow::Borrowed(value))),
        Val::Text(text) => Value::Text(text.into_owned()),
        Val::Number(number) => Value::Numeric(number.to_string()),
        Val::Time(moment) => moment.value(&reading.zone),
        Val::Truth(yes) => Value::Bool(yes),
    })))
}

impl<'a, L: Look> Run<'a, L> {
    fn eval(&self, node: &'a Node) -> Result<Val<'a>, Failure> {
        match node {
            Node::Null => Ok(Val::Null),
            Node::Text(text) => Ok(Val::Text(Cow::Borrowed(text))),
            Node::Number(number) => Ok(Val::Number(*number)),
            Node::Truth(yes) => Ok(Val::Truth(*yes)),
            Node::Cell(at) => Ok(self.cell(*at)),
            Node::Formatted(text, formats) => self.time(&self.eval(text)?, formats),
            Node::Call(op, args) => self.call(*op, args),
        }
    }

    /// NULL, a row that is not there, and a time that stands for none are nothing.
    fn cell(&self, at: Ref) -> Val<'a> {
        if self.row.absent(at) { Val::Null } else { self.row.value(at).map_or(Val::Null, Val::Cell) }
    }

    fn call(&self, op: Op, args: &'a [Node]) -> Result<Val<'a>, Failure> {
        match op {
            Op::And => self.junction(args, false),
            Op::Or => self.junction(args, true),
            Op::Not => Ok(Val::Truth(!self.truth(&args[0])?)),
            Op::If => self.eval(&args[if self.truth(&args[0])? { 1 } else { 2 }]),
            Op::FirstPresent => {
                for arg in args {
                    let val = self.eval(arg)?;
                    if !matches!(val, Val::Null) {
                        return Ok(val);
                    }
                }
                Ok(Val::Null)
            }
            Op::Present => Ok(Val::Truth(!matches!(self.eval(&args[0])?, Val::Null))),
            Op::IsNumber => Ok(Val::Truth(self.number_of(&self.eval(&args[0])?).is_some())),
            Op::Equal => Ok(Val::Truth(self.equal(&self.eval(&args[0])?, &self.eval(&args[1])?))),
            Op::Differs => Ok(Val::Truth(!self.equal(&self.eval(&args[0])?, &self.eval(&args[1])?))),
            Op::In => {
                let one = self.eval(&args[0])?;
                for arg in &args[1..] {
                    if self.equal(&one, &self.eval(arg)?) {
                        return Ok(Val::Truth(true));
                    }
                }
                Ok(Val::Truth(false))
            }
            Op::AsText => self.text(self.eval(&args[0])?),
            Op::AsNumber => self.number(&self.eval(&args[0])?),
            Op::AsTime => self.time(&self.eval(&args[0])?, &[]),
            Op::AsTruth => Ok(Val::Truth(self.truth(&args[0])?)),
            _ => {
                // NULL makes a condition false, and anything else NULL.
                let mut vals = Vec::with_capacity(args.len());
                for arg in args {
                    match self.eval(arg)? {
                        Val::Null => return Ok(null_of(op)),
                        val => vals.push(val),
                    }
                }
                self.of_values(op, vals)
            }
        }
    }

    /// What decides, decides, whether or not the others fail.
    fn junction(&self, args: &'a [Node], decides: bool) -> Result<Val<'a>, Failure> {
        let mut failed = None;
        for arg in args {
            match self.truth(arg) {
                Ok(yes) if yes == decides => return Ok(Val::Truth(decides)),
                Ok(_) => {}
                Err(failure) => failed = failed.or(Some(failure)),
            }
        }
        failed.map_or(Ok(Val::Truth(!decides)), Err)
    }

    fn truth(&self, node: &'a Node) -> Result<bool, Failure> {
        self.truth_of(&self.eval(node)?)
    }

    fn truth_of(&self, val: &Val<'_>) -> Result<bool, Failure> {
        match val {
            Val::Truth(yes) | Val::Cell(Value::Bool(yes)) => Ok(*yes),
            Val::Null => Ok(false),
            Val::Cell(Value::Text(text)) if text == "true" => Ok(true),
            Val::Cell(Value::Text(text)) if text == "false" => Ok(false),
            _ => Err(Failure::NotTrueOrFalse),
        }
    }

    /// NULL equals nothing. A cell is compared as what stands beside it; with text, and with a cell, as text.
    fn equal(&self, a: &Val<'_>, b: &Val<'_>) -> bool {
        match (a, b) {
            (Val::Null, _) | (_, Val::Null) => false,
            (Val::Cell(a), Val::Cell(b)) => plain(a) == plain(b),
            (Val::Cell(cell), Val::Text(text)) | (Val::Text(text), Val::Cell(cell)) => match cell {
                Value::Text(own) => own == text,
                cell => plain(cell) == *text,
            },
            (cell @ Val::Cell(_), Val::Number(number)) | (Val::Number(number), cell @ Val::Cell(_)) => {
                self.number_of(cell) == Some(*number)
            }
            (cell @ Val::Cell(_), Val::Time(time)) | (Val::Time(time), cell @ Val::Cell(_)) => {
                self.moment_of(cell, &[]).is_some_and(|own| own.at == time.at)
            }
            (Val::Cell(cell), Val::Truth(yes)) | (Val::Truth(yes), Val::Cell(cell)) => plain(cell) == yes.to_string(),
            (Val::Text(a), Val::Text(b)) => a == b,
            (Val::Number(a), Val::Number(b)) => a == b,
            (Val::Time(a), Val::Time(b)) => a.at == b.at,
            (Val::Truth(a), Val::Truth(b)) => a == b,
            _ => false,
        }
    }

    fn number(&self, val: &Val<'_>) -> Result<Val<'a>, Failure> {
        match val {
            Val::Null => Ok(Val::Null),
            val => self.number_of(val).map(Val::Number).ok_or(Failure::NotANumber),
        }
    }

    fn number_of(&self, val: &Val<'_>) -> Option<Decimal> {
        let read = |text: &str, marks: Marks| value::number(text.trim(), marks);
        match val {
            Val::Number(number) => Some(*number),
            Val::Text(text) => read(text, self.reading.marks),
            Val::Cell(Value::Text(text)) => read(text, self.reading.marks),
            Val::Cell(Value::Int(number)) => Some(Decimal::from(*number)),
            Val::Cell(value @ (Value::Numeric(_) | Value::Float(_))) => read(&shown(value), Marks::PLAIN),
            _ => None,
        }
    }

    fn time(&self, val: &Val<'_>, formats: &[String]) -> Result<Val<'a>, Failure> {
        match val {
            Val::Null => Ok(Val::Null),
            val => self.moment_of(val, formats).map(Val::Time).ok_or(Failure::NotATime),
        }
    }

    fn moment_of(&self, val: &Val<'_>, formats: &[String]) -> Option<Moment> {
        match val {
            Val::Time(moment) => Some(*moment),
            Val::Cell(value) => moment::read(value, formats, &self.reading.zone),
            Val::Text(text) => moment::read(&Value::Text(text.clone().into_owned()), formats, &self.reading.zone),
            _ => None,
        }
    }

    fn text(&self, val: Val<'a>) -> Result<Val<'a>, Failure> {
        short(match val {
            Val::Null => return Ok(Val::Null),
            Val::Text(text) => text,
            Val::Cell(Value::Text(text)) => Cow::Borrowed(text.as_str()),
            Val::Cell(value) => Cow::Owned(shown(value)),
            Val::Number(number) => Cow::Owned(number.to_string()),
            Val::Time(moment) => Cow::Owned(shown(&moment.value(&self.reading.zone))),
            Val::Truth(yes) => Cow::Borrowed(if yes { "true" } else { "false" }),
        })
    }

    fn of_values(&self, op: Op, vals: Vec<Val<'a>>) -> Result<Val<'a>, Failure> {
        let mut vals = vals.into_iter();
        let (a, b, c) = (vals.next(), vals.next(), vals.next());
        match (op, a, b, c) {
            (Op::Less, Some(Val::Number(a)), Some(Val::Number(b)), _) => Ok(Val::Truth(a < b)),
            (Op::Less, Some(Val::Time(a)), Some(Val::Time(b)), _) => Ok(Val::Truth(a.at < b.at)),
            (Op::AtMost, Some(Val::Number(a)), Some(Val::Number(b)), _) => Ok(Val::Truth(a <= b)),
            (Op::AtMost, Some(Val::Time(a)), Some(Val::Time(b)), _) => Ok(Val::Truth(a.at <= b.at)),
            (Op::Negate, Some(Val::Number(a)), None, _) => Ok(Val::Number(-a)),
            (op, Some(Val::Number(a)), Some(Val::Number(b)), c) => arithmetic(op, a, b, c).map(Val::Number),
            (op, Some(Val::Time(a)), Some(Val::Time(b)), None) => Ok(self.between(op, a, b)),
            (op, Some(Val::Text(text)), b, c) => of_text(op, text, b, c),
            // What the compiler lets through has its types.
            _ => Err(Failure::OutOfRange),
        }
    }

    /// Whole years or days from one to the other; of a day that is not known, nobody can say.
    fn between(&self, op: Op, from: Moment, to: Moment) -> Val<'a> {
        let zone = &self.reading.zone;
        let (Some(from), Some(to)) = (from.day(zone), to.day(zone)) else { return Val::Null };
        let unit = if op == Op::Years { jiff::Unit::Year } else { jiff::Unit::Day };
        let span = from.until((unit, to)).ok();
        span.map_or(Val::Null, |span| {
            let count = if op == Op::Years { i64::from(span.get_years()) } else { i64::from(span.get_days()) };
            Val::Number(Decimal::from(count))
        })
    }
}

const fn null_of<'a>(op: Op) -> Val<'a> {
    match op {
        Op::Less | Op::AtMost | Op::StartsWith | Op::EndsWith | Op::Contains => Val::Truth(false),
        _ => Val::Null,
    }
}

fn arithmetic(op: Op, a: Decimal, b: Decimal, c: Option<Val<'_>>) -> Result<Decimal, Failure> {
    match (op, c) {
        (Op::Add, None) => number::add(a, b),
        (Op::Subtract, None) => number::add(a, -b),
        (Op::Multiply, None) => number::multiply(a, b),
        (Op::Divide, None) => number::divide(a, b),
        (Op::Round, None) => number::round(a, b),
        (Op::DivideTo, Some(Val::Number(places))) => number::divide_to(a, b, places),
        _ => Err(Failure::OutOfRange),
    }
}

fn short(text: Cow<'_, str>) -> Result<Val<'_>, Failure> {
    if text.len() > TEXT_BYTES_MAX { Err(Failure::TooLong) } else { Ok(Val::Text(text)) }
}

fn of_text<'a>(op: Op, text: Cow<'a, str>, b: Option<Val<'a>>, c: Option<Val<'a>>) -> Result<Val<'a>, Failure> {
    let truth = |yes: bool| Ok(Val::Truth(yes));
    let count = |count: usize| Ok(Val::Number(Decimal::from(count)));
    match (op, b, c) {
        (Op::Join, Some(Val::Text(b)), _) => {
            if text.len() + b.len() > TEXT_BYTES_MAX {
                return Err(Failure::TooLong);
            }
            Ok(Val::Text(text + b))
        }
        (Op::StartsWith, Some(Val::Text(b)), _) => truth(text.starts_with(&*b)),
        (Op::EndsWith, Some(Val::Text(b)), _) => truth(text.ends_with(&*b)),
        (Op::Contains, Some(Val::Text(b)), _) => truth(text.contains(&*b)),
        (Op::Size, ..) => count(text.chars().count()),
        (Op::Lower, ..) => Ok(Val::Text(Cow::Owned(text.to_ascii_lowercase()))),
        (Op::Upper, ..) => Ok(Val::Text(Cow::Owned(text.to_ascii_uppercase()))),
        (Op::Trim, ..) => Ok(Val::Text(Cow::Owned(text.trim().to_owned()))),
        (Op::IndexOf, Some(Val::Text(b)), _) => match text.find(&*b) {
            Some(at) => count(text[..at].chars().count()),
            None => Ok(Val::Number(Decimal::NEGATIVE_ONE)),
        },
        (Op::Substring, Some(Val::Number(from)), to) => substring(&text, from, to),
        (Op::Replace, Some(Val::Text(old)), Some(Val::Text(new))) => {
            let more = text.matches(&*old).count().saturating_mul(new.len());
            if text.len().saturating_add(more) > TEXT_BYTES_MAX {
                return Err(Failure::TooLong);
            }
            short(Cow::Owned(text.replace(&*old, &new)))
        }
        _ => Err(Failure::OutOfRange),
    }
}

/// Letters, not bytes: from this one, up to that one.
fn substring<'a>(text: &str, from: Decimal, to: Option<Val<'_>>) -> Result<Val<'a>, Failure> {
    let letters = text.chars().count();
    let from = number::whole(from).ok_or(Failure::OutOfRange)?;
    let to = match to {
        Some(Val::Number(to)) => number::whole(to).ok_or(Failure::OutOfRange)?,
        _ => letters,
    };
    if from > to || to > letters {
        return Err(Failure::OutOfRange);
    }
    Ok(Val::Text(Cow::Owned(text.chars().skip(from).take(to - from).collect())))
}
