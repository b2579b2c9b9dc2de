//! What a mapping's fields say of a record's rows: texts, states, times, days, limits.

use super::view::{At, View};
use change::Value;
use coding::value::{Marks, number};
use event::{Micros, PartialDate, Precision};
use jiff::tz::TimeZone;
use mapping::{
    Field, Look, Ref, Rest, State, Take,
    moment::{self, Moment},
    plain, shown,
};
use rust_decimal::Decimal;
use std::borrow::Cow;

impl View<'_> {
    /// Is the field's own condition met?
    fn applies(&self, field: &Field) -> bool {
        self.all(&field.when, false)
    }

    /// Of the ways in which a field may say something, the first that does, or the last.
    fn way<'a>(&self, field: Option<&'a Field>) -> Option<&'a Field> {
        let mut ways = field?.each().filter(|way| self.applies(way)).peekable();
        while let Some(way) = ways.next() {
            let last = way.or_else.is_none() || way.otherwise.is_some();
            if last || self.said(way).is_some() || ways.peek().is_none() {
                return Some(way);
            }
        }
        None
    }

    /// What a field says, unless its condition fails: its expression, or the first cell that says something.
    pub fn first<'a>(&'a self, field: Option<&'a Field>) -> Option<(At<'a>, Cow<'a, Value>)> {
        self.said(self.way(field)?)
    }

    fn said<'a>(&'a self, field: &'a Field) -> Option<(At<'a>, Cow<'a, Value>)> {
        if let Some(expr) = &field.expr {
            let value = expr.value(self).unwrap_or_else(|broken| {
                self.broken(broken);
                None
            });
            return value.filter(|value| self.means(field, value)).map(|value| (At::Expr(expr), value));
        }
        field.cells.iter().find_map(|at| self.meant(field, *at).map(|value| (At::Cell(*at), Cow::Borrowed(value))))
    }

    fn meant(&self, field: &Field, at: Ref) -> Option<&Value> {
        self.value(at).filter(|value| self.means(field, value))
    }

    /// Does the value say something?
    fn means(&self, field: &Field, value: &Value) -> bool {
        let zone = &self.mapping.zone;
        match value {
            Value::Text(text) if text.trim().is_empty() => false,
            value => {
                !self.is_nothing(value)
                    && (field.nulls.is_empty() || !field.nulls.contains(&plain(value)))
                    && !field.null_days.iter().any(|day| moment::is_on(value, *day, zone))
                    // A day that its format alone tells: `31/12/9999`.
                    && (field.formats.is_empty() || !self.reads_as_nothing(field, value))
            }
        }
    }

    fn reads_as_nothing(&self, field: &Field, value: &Value) -> bool {
        let named = |day| field.null_days.contains(&day) || self.mapping.sentinels.contains(&day);
        moment::reads_as_nothing(value, &field.formats, named)
    }

    pub fn text(&self, field: Option<&Field>) -> Option<String> {
        let field = self.way(field)?;
        // A word that means nothing ends the search: the cell was there.
        let said = match &field.take {
            Take::First => self.said(field).map(|(_, value)| in_words(field, &value)),
            Take::Together(between) => {
                let told = |at: &Ref| in_words(field, self.meant(field, *at)?);
                let parts: Vec<String> = field.cells.iter().filter_map(told).collect();
                (!parts.is_empty()).then(|| Some(parts.join(between)))
            }
        };
        said.unwrap_or_else(|| field.otherwise.clone())
    }

    /// A field with a vocabulary: the mapping's word, or the source's where the mapping has none.
    pub fn state(&self, field: Option<&Field>) -> State {
        let Some(field) = self.way(field) else { return State::Nothing };
        let Some((_, value)) = self.said(field) else {
            return field.otherwise.clone().map_or(State::Nothing, State::Listed);
        };
        match field.words.get(plain(&value).trim()) {
            Some(word) if word.is_empty() => State::Nothing,
            Some(word) => State::Listed(word.clone()),
            None => State::Unlisted(shown(&value).trim().to_owned()),
        }
    }

    pub fn time(&self, field: Option<&Field>) -> Option<Micros> {
        self.moment(field, "unreadable time").map(|moment| moment.at)
    }

    fn moment(&self, field: Option<&Field>, unreadable: &'static str) -> Option<Moment> {
        let way = self.way(field)?;
        let (at, value) = self.said(way)?;
        if way.formats.is_empty() && self.reads_as_nothing(way, &value) {
            return None;
        }
        let moment = moment::read(&value, &way.formats, self.zone_of(way));
        if moment.is_none() {
            self.doubt(unreadable, at);
        }
        moment
    }

    fn zone_of<'a>(&'a self, field: &'a Field) -> &'a TimeZone {
        field.zone.as_ref().unwrap_or(&self.mapping.zone)
    }

    /// When it was so, as exactly as it is known.
    pub fn effective(&self) -> Option<Moment> {
        let moment = self.moment(self.record.effective_at.as_ref(), "unreadable time")?;
        let told = self.record.effective_precision.as_ref();
        Some(match self.state(told) {
            State::Listed(word) => {
                Precision::parse(&word).map_or(moment, |precision| moment.to(precision, &self.mapping.zone))
            }
            State::Unlisted(_) => {
                self.doubted("unknown precision", told);
                moment
            }
            State::Nothing => moment,
        })
    }

    /// Days since 1970-01-01; or the year or month, where no more is known.
    pub fn day(&self, field: Option<&Field>) -> (Option<i32>, Option<PartialDate>) {
        let Some(way) = self.way(field) else { return (None, None) };
        let Some((at, value)) = self.said(way) else { return (None, None) };
        if way.formats.is_empty() && self.reads_as_nothing(way, &value) {
            return (None, None);
        }
        let zone = self.zone_of(way);
        let known = moment::read(&value, &way.formats, zone).and_then(|moment| {
            let day = jiff::Timestamp::from_microsecond(moment.at).ok()?.to_zoned(zone.clone()).date();
            let partial = |month| Some((None, Some(PartialDate::new(u16::try_from(day.year()).ok()?, month)?)));
            match moment.precision {
                Some(Precision::Year) => partial(None),
                Some(Precision::Month) => partial(Some(u8::try_from(day.month()).ok()?)),
                Some(Precision::Day) | None => Some((Some(day_of(day)?), None)),
            }
        });
        known.unwrap_or_else(|| {
            self.doubt("unreadable date", at);
            (None, None)
        })
    }

    /// A limit of a range: infinity is no limit.
    pub fn limit(&self, field: Option<&Field>, marks: Marks) -> Option<Decimal> {
        let (at, value) = self.first(field)?;
        let text = shown(&value);
        let text = text.trim();
        if ["Infinity", "-Infinity", "inf", "-inf", "infinity", "-infinity"].contains(&text) {
            return None;
        }
        let number = number(text, marks_of(&value, marks));
        if number.is_none() {
            self.doubt("unreadable limit", at);
        }
        number
    }

    pub fn doubted(&self, reason: &'static str, field: Option<&Field>) {
        if let Some((at, _)) = self.first(field) {
            self.doubt(reason, at);
        }
    }
}

/// The mapping's word for a value, or the value as its source wrote it.
fn in_words(field: &Field, value: &Value) -> Option<String> {
    match (field.words.get(plain(value).trim()), &field.rest) {
        (Some(word), _) | (None, Rest::Word(word)) => (!word.is_empty()).then(|| word.clone()),
        (None, Rest::AsWritten) => Some(shown(value).trim().to_owned()),
    }
}

/// The mapping's marks are about text; PostgreSQL writes its own numbers with a point.
pub const fn marks_of(value: &Value, marks: Marks) -> Marks {
    match value {
        Value::Text(_) => marks,
        _ => Marks::PLAIN,
    }
}

fn day_of(date: jiff::civil::Date) -> Option<i32> {
    date.since(jiff::civil::date(1970, 1, 1)).ok().map(|span| span.get_days())
}
