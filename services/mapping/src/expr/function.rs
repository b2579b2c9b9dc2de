//! The functions that an expression may call.

use super::{Op, Type};

pub struct Function {
    pub name: &'static str,
    /// Called as `text.name(…)`; the text is the first argument.
    pub member: bool,
    pub takes: &'static [Type],
    /// So many of the last may be left out.
    pub optional: usize,
    pub gives: Type,
    pub op: Op,
}

const fn of(name: &'static str, takes: &'static [Type], gives: Type, op: Op) -> Function {
    Function { name, member: false, takes, optional: 0, gives, op }
}

const fn member(name: &'static str, takes: &'static [Type], gives: Type, op: Op) -> Function {
    Function { name, member: true, takes, optional: 0, gives, op }
}

use Type::{Cell, Number, Text, Time, Truth};

/// All but `coalesce` and `timestamp`, which take more than one list tells. A `Cell` here takes anything.
pub const FUNCTIONS: [Function; 20] = [
    of("present", &[Cell], Truth, Op::Present),
    of("isNumber", &[Cell], Truth, Op::IsNumber),
    of("string", &[Cell], Text, Op::AsText),
    of("decimal", &[Cell], Number, Op::AsNumber),
    of("round", &[Number, Number], Number, Op::Round),
    of("divide", &[Number, Number, Number], Number, Op::DivideTo),
    of("years", &[Time, Time], Number, Op::Years),
    of("days", &[Time, Time], Number, Op::Days),
    of("size", &[Text], Number, Op::Size),
    member("size", &[Text], Number, Op::Size),
    member("startsWith", &[Text, Text], Truth, Op::StartsWith),
    member("endsWith", &[Text, Text], Truth, Op::EndsWith),
    member("contains", &[Text, Text], Truth, Op::Contains),
    member("lowerAscii", &[Text], Text, Op::Lower),
    member("upperAscii", &[Text], Text, Op::Upper),
    member("trim", &[Text], Text, Op::Trim),
    Function { optional: 1, ..member("substring", &[Text, Number, Number], Text, Op::Substring) },
    member("indexOf", &[Text, Text], Number, Op::IndexOf),
    member("replace", &[Text, Text, Text], Text, Op::Replace),
    of("trim", &[Text], Text, Op::Trim),
];

/// Why CEL's own functions of these names are not here.
const REFUSED: [(&str, &str); 12] = [
    ("double", "numbers are decimal, never floats: write decimal()"),
    ("int", "numbers are decimal: write decimal(), or round(x, 0)"),
    ("uint", "numbers are decimal: write decimal(), or round(x, 0)"),
    ("matches", "there are no regular expressions: use contains, startsWith, endsWith, indexOf, substring"),
    ("now", "there is no clock: what is told must not depend on when it is read"),
    ("random", "there is no chance: the same row says the same always"),
    ("has", "write present(…)"),
    ("map", "there are no loops"),
    ("filter", "there are no loops"),
    ("all", "there are no loops"),
    ("exists", "there are no loops"),
    ("exists_one", "there are no loops"),
];

pub fn find(name: &str, member: bool) -> Result<&'static Function, String> {
    if let Some(known) = FUNCTIONS.iter().find(|it| it.name == name && it.member == member) {
        return Ok(known);
    }
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Err(format!("`{name}`: {why}"));
    }
    let other = FUNCTIONS.iter().any(|it| it.name == name);
    if other {
        let form = if member { format!("{name}(…)") } else { format!("text.{name}(…)") };
        return Err(format!("`{name}` is called as {form}"));
    }
    let mut known: Vec<&str> = FUNCTIONS.iter().map(|it| it.name).chain(["coalesce", "timestamp"]).collect();
    known.sort_unstable();
    known.dedup();
    Err(format!("no function `{name}`; known are: {}", known.join(", ")))
}
