//! A TOML document with the line of everything in it, and a reader that collects mistakes
//! instead of stopping at the first.

use super::{Mistake, Mistakes};
use std::{cell::RefCell, ops::Range};
use toml_edit::{Document, Item, Value};

#[derive(Clone, Debug)]
pub enum Content {
    Text(String),
    Number(i64),
    Yes(bool),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
    /// A decimal number or a time, as it is written.
    Other(String),
}

#[derive(Clone, Debug)]
pub struct Node {
    pub line: usize,
    pub content: Content,
}

/// Parses TOML; what is not TOML is one mistake with its line.
pub fn read(file: &str, text: &str) -> Result<Node, Mistakes> {
    let lines = Lines::of(text);
    match Document::parse(text) {
        Ok(document) => Ok(item(document.as_item(), &lines, 1)),
        Err(error) => Err(Mistakes(vec![Mistake {
            file: file.to_owned(),
            line: error.span().map_or(1, |span| lines.at(&span)),
            key: "file".into(),
            what: error.message().lines().next().unwrap_or("not TOML").to_owned(),
        }])),
    }
}

/// The text, and where each of its lines starts.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, starts: std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect() }
    }

    fn at(&self, span: &Range<usize>) -> usize {
        self.starts.partition_point(|start| *start <= span.start)
    }

    fn written(&self, span: Option<Range<usize>>) -> String {
        span.and_then(|span| self.text.get(span)).unwrap_or_default().trim().to_owned()
    }
}

fn item(item: &Item, lines: &Lines<'_>, line: usize) -> Node {
    let line = item.span().map_or(line, |span| lines.at(&span));
    if let Some(table) = item.as_table_like() {
        let entry = |(key, value): (&str, &Item)| {
            let at = table.key(key).and_then(toml_edit::Key::span).map_or(line, |span| lines.at(&span));
            (key.to_owned(), self::item(value, lines, at))
        };
        return Node { line, content: Content::Table(table.iter().map(entry).collect()) };
    }
    if let Some(tables) = item.as_array_of_tables() {
        let entry = |table: &toml_edit::Table| {
            let at = table.span().map_or(line, |span| lines.at(&span));
            Node { line: at, content: self::item(&Item::Table(table.clone()), lines, at).content }
        };
        return Node { line, content: Content::List(tables.iter().map(entry).collect()) };
    }
    item.as_value()
        .map_or(Node { line, content: Content::Other(String::new()) }, |value| self::value(value, lines, line))
}

fn value(value: &Value, lines: &Lines<'_>, line: usize) -> Node {
    let line = value.span().map_or(line, |span| lines.at(&span));
    let content = match value {
        Value::String(text) => Content::Text(text.value().clone()),
        Value::Integer(number) => Content::Number(*number.value()),
        Value::Boolean(yes) => Content::Yes(*yes.value()),
        Value::Array(list) => Content::List(list.iter().map(|entry| self::value(entry, lines, line)).collect()),
        Value::InlineTable(_) => return item(&Item::Value(value.clone()), lines, line),
        Value::Float(_) | Value::Datetime(_) => Content::Other(lines.written(value.span())),
    };
    Node { line, content }
}

/// Collects mistakes. Shared by all sections of one file.
pub struct Report {
    file: String,
    mistakes: RefCell<Vec<Mistake>>,
    /// What is allowed, and may not be meant.
    warnings: RefCell<Vec<Mistake>>,
}

impl Report {
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), mistakes: RefCell::default(), warnings: RefCell::default() }
    }

    pub fn tell(&self, line: usize, key: &str, what: impl Into<String>) {
        let mistake = Mistake { file: self.file.clone(), line, key: key.to_owned(), what: what.into() };
        self.mistakes.borrow_mut().push(mistake);
    }

    pub fn warn(&self, line: usize, key: &str, what: impl Into<String>) {
        let warning = Mistake { file: self.file.clone(), line, key: key.to_owned(), what: what.into() };
        self.warnings.borrow_mut().push(warning);
    }

    /// The warnings, if there are no mistakes.
    pub fn finish(self) -> Result<Vec<Mistake>, Mistakes> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort_by_key(|mistake| mistake.line);
        let mut warnings = self.warnings.into_inner();
        warnings.sort_by_key(|warning| warning.line);
        if mistakes.is_empty() { Ok(warnings) } else { Err(Mistakes(mistakes)) }
    }
}

/// One table being read: keys are taken by name, and whatever is left over is a mistake.
pub struct Section<'a> {
    pub report: &'a Report,
    pub path: String,
    pub line: usize,
    entries: &'a [(String, Node)],
    taken: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// None, and told, when the node is not a table.
    pub fn of(report: &'a Report, path: &str, node: &'a Node) -> Option<Self> {
        let Content::Table(entries) = &node.content else {
            report.tell(node.line, path, "expected a table");
            return None;
        };
        Some(Self { report, path: path.to_owned(), line: node.line, entries, taken: RefCell::default() })
    }

    pub fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub fn tell(&self, line: usize, name: &str, what: impl Into<String>) {
        self.report.tell(line, &self.key(name), what);
    }

    /// The line of a key, or of the table where the key is not there.
    pub fn line_of(&self, name: &str) -> usize {
        self.entries.iter().find(|(key, _)| key == name).map_or(self.line, |(_, node)| node.line)
    }

    pub fn take(&self, name: &'static str) -> Option<&'a Node> {
        if !self.taken.borrow().contains(&name) {
            self.taken.borrow_mut().push(name);
        }
        self.entries.iter().find(|(key, _)| key == name).map(|(_, node)| node)
    }

    pub fn need(&self, name: &'static str) -> Option<&'a Node> {
        let node = self.take(name);
        if node.is_none() {
            self.tell(self.line, name, "is missing");
        }
        node
    }

    pub fn text(&self, name: &'static str) -> Option<&'a str> {
        let node = self.take(name)?;
        let Content::Text(text) = &node.content else {
            self.tell(node.line, name, "expected text");
            return None;
        };
        Some(text)
    }

    pub fn need_text(&self, name: &'static str) -> Option<&'a str> {
        self.need(name)?;
        self.text(name)
    }

    pub fn yes(&self, name: &'static str) -> bool {
        match self.take(name).map(|node| (node.line, &node.content)) {
            None => false,
            Some((_, Content::Yes(yes))) => *yes,
            Some((line, _)) => {
                self.tell(line, name, "expected true or false");
                false
            }
        }
    }

    /// The entries of a list; a single entry counts as a list of one.
    pub fn list(&self, name: &'static str) -> &'a [Node] {
        match self.take(name) {
            None => &[],
            Some(Node { content: Content::List(list), .. }) => list,
            Some(node) => std::slice::from_ref(node),
        }
    }

    pub fn texts(&self, name: &'static str) -> Vec<(usize, &'a str)> {
        let text = |node: &'a Node| match &node.content {
            Content::Text(text) => Some((node.line, text.as_str())),
            _ => {
                self.tell(node.line, name, "expected text");
                None
            }
        };
        self.list(name).iter().filter_map(text).collect()
    }

    /// All entries, for tables whose keys are the writer's own.
    pub const fn entries(&self) -> &'a [(String, Node)] {
        self.entries
    }

    /// Tells of keys that nobody took.
    pub fn finish(&self) {
        let taken = self.taken.borrow();
        for (key, node) in self.entries.iter().filter(|(key, _)| !taken.contains(&key.as_str())) {
            let known = taken.join(", ");
            self.tell(node.line, key, format!("no such key here; known are {known}"));
        }
    }
}
