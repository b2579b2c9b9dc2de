//! How verbs print: a table for people, JSON for programs.

use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Prints rows under headings, or the same rows as a JSON array.
pub fn rows<T: Serialize>(
    format: Format,
    headings: &[&str],
    items: &[T],
    cells: impl Fn(&T) -> Vec<String>,
) -> anyhow::Result<()> {
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(items)?),
        Format::Text if items.is_empty() => println!("none"),
        Format::Text => println!("{}", table(headings, items.iter().map(cells))),
    }
    Ok(())
}

/// Rows under headings, as text.
pub fn table(headings: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headings.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    table.to_string()
}

/// Prints one thing: `text` for people, the value for programs.
pub fn one<T: Serialize>(format: Format, value: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(value)?),
        Format::Text => println!("{}", text(value)),
    }
    Ok(())
}
