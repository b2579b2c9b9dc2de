//! A file of the corpus: lines of cells with a tab between, the first that is no comment being their names.
//!
//! What nobody sees is written as `\s` (space), `\t`, `\n` and `\u{a0}`.

pub struct Table {
    pub file: String,
    names: Vec<String>,
    /// With the number of each line.
    rows: Vec<(usize, Vec<String>)>,
}

#[derive(Clone, Copy)]
pub struct Row<'a> {
    table: &'a Table,
    pub line: usize,
    cells: &'a [String],
}

impl Table {
    pub fn read(folder: &str, file: &str) -> Self {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut lines = text.lines().zip(1..).filter(|(line, _)| !line.starts_with('#'));
        let cells = |line: &str| -> Vec<String> { line.split('\t').map(unescaped).collect() };
        let names = lines.next().map(|(line, _)| cells(line)).unwrap_or_default();
        let rows: Vec<_> = lines.map(|(line, number)| (number, cells(line))).collect();
        for (line, cells) in &rows {
            assert_eq!(cells.len(), names.len(), "{file}:{line}: as many cells as names");
        }
        Self { file: file.to_owned(), names, rows }
    }

    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|(line, cells)| Row { table: self, line: *line, cells })
    }

    /// How many rows there are, each said once: what differs in nothing but what is expected of it is said twice.
    pub fn count(&self, expected: &[&str]) -> usize {
        let told = |(_, cells): &(usize, Vec<String>)| -> Vec<String> {
            let given = self.names.iter().zip(cells).filter(|(name, _)| !expected.contains(&name.as_str()));
            given.map(|(_, cell)| cell.clone()).collect()
        };
        let mut all: Vec<(Vec<String>, usize)> = self.rows.iter().map(|row| (told(row), row.0)).collect();
        all.sort();
        for pair in all.windows(2) {
            assert!(pair[0].0 != pair[1].0, "{}: lines {} and {} are one row", self.file, pair[0].1, pair[1].1);
        }
        all.len()
    }
}

impl<'a> Row<'a> {
    pub fn get(self, name: &str) -> &'a str {
        let at = self.table.names.iter().position(|known| known == name);
        at.map_or_else(|| panic!("{} has no column {name}", self.table.file), |at| &self.cells[at])
    }
}

/// Runs every row, and tells all that differ at once.
pub fn check(table: &Table, expected: &[&str], run: impl Fn(Row<'_>) -> Vec<String>) {
    let differ = table.rows().filter_map(|row| {
        let got = run(row);
        let want: Vec<&str> = expected.iter().map(|name| row.get(name)).collect();
        (got != want).then(|| format!("{}:{}: {:?}\n  want {want:?}\n  got  {got:?}", table.file, row.line, row.cells))
    });
    let differ: Vec<String> = differ.collect();
    assert!(differ.is_empty(), "{} rows differ\n{}", differ.len(), differ.join("\n"));
}

fn unescaped(cell: &str) -> String {
    let mut parts = cell.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (letter, rest) = match part.strip_prefix("u{").and_then(|part| part.split_once('}')) {
            Some((code, rest)) => (
                u32::from_str_radix(code, 16).ok().and_then(char::from_u32).unwrap_or_else(|| panic!("\\{part}")),
                rest,
            ),
            None => match part.split_at_checked(1) {
                Some(("s", rest)) => (' ', rest),
                Some(("t", rest)) => ('\t', rest),
                Some(("n", rest)) => ('\n', rest),
                _ => panic!("\\{part} is no escape"),
            },
        };
        text.push(letter);
        text.push_str(rest);
    }
    text
}
