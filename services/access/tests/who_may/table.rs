//! The table of who may do what, as people read it: `table.md`, row by row.

use std::collections::BTreeSet;

const TABLE: &str = include_str!("table.md");
/// The columns of the table after the first four.
pub const CONSENTS: usize = 5;

/// Sets of words, and what each consent gives.
pub struct Line {
    pub roles: BTreeSet<String>,
    pub actions: BTreeSet<String>,
    pub relations: BTreeSet<String>,
    pub doors: BTreeSet<String>,
    pub gives: [String; CONSENTS],
}

pub fn lines() -> Vec<Line> {
    let rows = TABLE.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let words = |at: usize| cells[at].split(',').map(|word| word.trim().to_owned()).collect();
        assert_eq!(cells.len(), 4 + CONSENTS, "{row}");
        let gives = std::array::from_fn(|at| cells[4 + at].to_owned());
        Line { roles: words(0), actions: words(1), relations: words(2), doors: words(3), gives }
    })
    .collect()
}

/// What the table says of one cell: no row, no access.
pub fn says(lines: &[Line], role: &str, action: &str, relation: &str, door: &str, consent: usize) -> String {
    let has = |words: &BTreeSet<String>, word: &str| words.contains(word) || words.contains("any");
    let mut found = lines.iter().filter(|line| {
        has(&line.roles, role) && has(&line.actions, action) && has(&line.relations, relation) && has(&line.doors, door)
    });
    let line = found.next();
    assert!(found.next().is_none(), "two rows speak of {role} {action} {relation} {door}");
    line.map_or_else(|| "-".to_owned(), |line| line.gives[consent].clone())
}
