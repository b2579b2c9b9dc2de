//! References to cells, and what is made of them: conditions, expressions, fields.

use super::{
    Condition, Expr, Field, Join, ROW, Ref, Rest, Take, Test, Type, WAYS_MAX,
    document::{Content, Node, Report, Section},
    expr::{self, Reading},
    moment,
    parse::{self, Tables},
};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

/// Says that words without an entry in `words` stay as their source wrote them.
const AS_WRITTEN: &str = "as written";
/// Names the record's own row where a join could be meant: `row.order`.
const ROOT: &str = "row";

/// What a reference can reach: the root row and the joins before it.
pub struct Scope<'a> {
    pub tables: &'a mut Tables,
    pub table: usize,
    pub joins: &'a [Join],
    /// In a condition of a join, the table of the record's own row.
    pub root: Option<usize>,
    /// How the source writes numbers and times, unless a value says otherwise.
    pub reading: &'a Reading,
}

impl Scope<'_> {
    /// `column` or `join.column`.
    pub fn cell(&mut self, section: &Section<'_>, line: usize, key: &str, text: &str) -> Option<Ref> {
        let Some((join, column)) = text.split_once('.') else {
            let column = self.tables.column(self.table, text);
            return Some(Ref { join: None, column });
        };
        let Some(index) = self.joins.iter().position(|known| known.name == join) else {
            if join == ROOT {
                let column = self.tables.column(self.root.unwrap_or(self.table), column);
                return Some(Ref { join: self.root.map(|_| ROW), column });
            }
            let known: Vec<&str> = self.joins.iter().map(|join| join.name.as_str()).collect();
            section.tell(line, key, format!("no join `{join}` above; known are: {}", known.join(", ")));
            return None;
        };
        let column = self.tables.column(self.joins[index].table, column);
        Some(Ref { join: Some(index), column })
    }

    pub fn reference(&mut self, section: &Section<'_>, key: &'static str) -> Option<Ref> {
        let line = section.need(key)?.line;
        let text = section.text(key)?;
        self.cell(section, line, key, text)
    }

    pub fn conditions(&mut self, section: &Section<'_>, key: &'static str) -> Vec<Condition> {
        let path = section.key(key);
        section.list(key).iter().filter_map(|node| self.condition(section.report, &path, node)).collect()
    }

    fn condition(&mut self, report: &Report, path: &str, node: &Node) -> Option<Condition> {
        let section = Section::of(report, path, node)?;
        if let Some(any) = section.take("any") {
            section.finish();
            let Content::List(nodes) = &any.content else {
                section.tell(any.line, "any", "expected a list of conditions");
                return None;
            };
            return Some(Condition::Any(nodes.iter().filter_map(|node| self.condition(report, path, node)).collect()));
        }
        if section.take("expr").is_some() {
            let expr = self.expr(&section, None)?;
            section.finish();
            if !matches!(expr.gives, Type::Truth | Type::Cell) {
                section.tell(
                    section.line_of("expr"),
                    "expr",
                    format!("a condition is true or false, not {}", expr.gives),
                );
            }
            return Some(Condition::Expr(Box::new(expr)));
        }
        let cell = self.reference(&section, "column");
        let mut tests = Vec::new();
        for (key, is_in) in [("is", true), ("in", true), ("is_not", false), ("not_in", false)] {
            let words: Vec<String> = section.list(key).iter().filter_map(|node| word(&section, key, node)).collect();
            if !words.is_empty() {
                tests.push(if is_in { Test::In(words) } else { Test::NotIn(words) });
            }
        }
        if let Some(node) = section.take("present") {
            match node.content {
                Content::Yes(yes) => tests.push(if yes { Test::Present } else { Test::Absent }),
                _ => section.tell(node.line, "present", "expected true or false"),
            }
        }
        if let Some(node) = section.take("above") {
            match node.content {
                Content::Number(number) => tests.push(Test::Above(number)),
                _ => section.tell(node.line, "above", "expected a whole number"),
            }
        }
        section.finish();
        if tests.len() != 1 {
            report.tell(node.line, path, "expected one of: is, is_not, in, not_in, present, above; or `expr`");
            return None;
        }
        Some(Condition::Cell { cell: cell?, test: tests.remove(0) })
    }

    /// `expr = "…"`, with every mistake in it.
    fn expr(&mut self, section: &Section<'_>, zone: Option<&TimeZone>) -> Option<Expr> {
        let (line, text) = (section.line_of("expr"), section.text("expr")?);
        let key = section.path.split_once("].").map_or(section.path.as_str(), |(_, key)| key);
        let mut reading = self.reading.clone();
        reading.zone = zone.cloned().unwrap_or(reading.zone);
        let mut cells = |name: &str| self.cell(section, line, "expr", name);
        match expr::compile(key, text, reading, &mut cells) {
            Ok(expr) => Some(expr),
            Err(mistakes) => {
                mistakes.into_iter().for_each(|what| section.tell(line, "expr", what));
                None
            }
        }
    }

    /// `"column"`, `["a", "b"]`, or a table with the details.
    pub fn field(&mut self, section: &Section<'_>, key: &'static str) -> Option<Field> {
        let node = section.take(key)?;
        self.field_of(section, key, node)
    }

    /// A field that tells a time.
    pub fn time(&mut self, section: &Section<'_>, key: &'static str) -> Option<Field> {
        let field = self.field(section, key)?;
        told_as(section, key, &field, &[Type::Time, Type::Text, Type::Cell]);
        Some(field)
    }

    /// A field that tells a number.
    pub fn number(&mut self, section: &Section<'_>, key: &'static str) -> Option<Field> {
        let field = self.field(section, key)?;
        told_as(section, key, &field, &[Type::Number, Type::Text, Type::Cell]);
        Some(field)
    }

    pub fn field_of(&mut self, section: &Section<'_>, key: &str, node: &Node) -> Option<Field> {
        let mut field = Field {
            cells: Vec::new(),
            expr: None,
            take: Take::First,
            nulls: Vec::new(),
            null_days: Vec::new(),
            formats: Vec::new(),
            words: BTreeMap::new(),
            rest: Rest::AsWritten,
            otherwise: None,
            zone: None,
            when: Vec::new(),
            or_else: None,
        };
        if let Content::List(nodes) = &node.content
            && nodes.iter().any(|node| matches!(node.content, Content::Table(_)))
        {
            return self.ways(section, key, nodes);
        }
        if !matches!(node.content, Content::Table(_)) {
            field.cells = self.cells(section, key, node);
            return Some(field);
        }
        let inner = Section::of(section.report, &section.key(key), node)?;
        field.zone = parse::zone_named(&inner);
        if let Some(from) = inner.take("from") {
            field.cells = self.cells(&inner, "from", from);
        }
        if let Some(node) = inner.take("expr") {
            field.expr = self.expr(&inner, field.zone.as_ref()).map(Box::new);
            for other in ["from", "together"].into_iter().filter(|other| inner.take(other).is_some()) {
                inner.tell(node.line, "expr", format!("stands in the place of `{other}`: name one of them"));
            }
        }
        if let Some(between) = inner.text("together") {
            field.take = Take::Together(between.to_owned());
        }
        field.nulls = inner.texts("null").into_iter().map(|(_, text)| text.to_owned()).collect();
        field.null_days = field.nulls.iter().filter_map(|text| text.parse().ok()).collect();
        field.formats = formats(&inner);
        if let Some(words) = inner.take("words") {
            field.words = dictionary_of_words(&inner, words);
        }
        field.rest = self::rest(&inner, &field);
        field.otherwise = inner.text("otherwise").map(str::to_owned);
        field.when = self.conditions(&inner, "when");
        inner.finish();
        if !field.is_of_row() && field.otherwise.is_none() && inner.take("expr").is_none() {
            section.tell(node.line, key, "needs `from` (columns), `expr` or `otherwise` (a constant)");
        }
        Some(field)
    }

    /// A list with tables in it: the first that says something.
    fn ways(&mut self, section: &Section<'_>, key: &str, nodes: &[Node]) -> Option<Field> {
        if nodes.len() > WAYS_MAX {
            section.tell(nodes[0].line, key, format!("more than {WAYS_MAX} ways"));
        }
        let mut first = None;
        for node in nodes.iter().rev() {
            if matches!(node.content, Content::List(_)) {
                section.tell(node.line, key, "expected a column or a table, not a list in a list");
                continue;
            }
            let way = self.field_of(section, key, node)?;
            first = Some(Field { or_else: first.map(Box::new), ..way });
        }
        first
    }

    fn cells(&mut self, section: &Section<'_>, key: &str, node: &Node) -> Vec<Ref> {
        let nodes = match &node.content {
            Content::List(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut cells = Vec::new();
        for node in nodes {
            match &node.content {
                Content::Text(text) => cells.extend(self.cell(section, node.line, key, text)),
                _ => section.tell(node.line, key, "expected a column, a list of columns, or a table"),
            }
        }
        cells
    }
}

fn told_as(section: &Section<'_>, key: &str, field: &Field, known: &[Type]) {
    for expr in field.each().filter_map(|way| way.expr.as_ref()).filter(|expr| !known.contains(&expr.gives)) {
        let what = format!("expected {}, and the expression gives {}", known[0], expr.gives);
        section.tell(section.line_of(key), &format!("{key}.expr"), what);
    }
}

fn formats(section: &Section<'_>) -> Vec<String> {
    let good = |(line, text): (usize, &str)| {
        if !moment::is_format(text) {
            let what = format!("`{text}` does not read what it writes; expected a year at least, as in %Y or %d/%m/%Y");
            section.tell(line, "format", what);
        }
        text.to_owned()
    };
    section.texts("format").into_iter().map(good).collect()
}

/// What words become that `words` does not list. Without an answer they stay as written, and the check says so.
fn rest(section: &Section<'_>, field: &Field) -> Rest {
    let Some(node) = section.take("rest") else {
        if !field.words.is_empty() {
            let what = "has no answer for the rest: add `rest = \"as written\"`, or the word that all others become";
            section.report.warn(section.line_of("words"), &section.key("words"), what);
        }
        return Rest::AsWritten;
    };
    if field.words.is_empty() {
        section.tell(node.line, "rest", "is about `words`, which are missing");
    }
    match section.text("rest") {
        None | Some(AS_WRITTEN) => Rest::AsWritten,
        Some(word) => Rest::Word(word.to_owned()),
    }
}

pub fn word(section: &Section<'_>, key: &str, node: &Node) -> Option<String> {
    match &node.content {
        Content::Text(text) => Some(text.clone()),
        Content::Number(number) => Some(number.to_string()),
        Content::Yes(yes) => Some(yes.to_string()),
        _ => {
            section.tell(node.line, key, "expected text, a whole number, true or false");
            None
        }
    }
}

fn dictionary_of_words(section: &Section<'_>, node: &Node) -> BTreeMap<String, String> {
    let Content::Table(entries) = &node.content else {
        section.tell(node.line, "words", "expected a table of words");
        return BTreeMap::new();
    };
    let entry = |(key, node): &(String, Node)| Some((key.clone(), word(section, "words", node)?));
    entries.iter().filter_map(entry).collect()
}
