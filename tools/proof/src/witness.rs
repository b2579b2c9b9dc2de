//! What a source committed, read from what `pg_recvlogical` wrote of a `test_decoding` slot.
//!
//! # Why
//! `stack::witness` keeps whole transactions, each once. This reads their changes down to the key, in commit order, as
//! the log has to hold them: an update that moves a row to another key is the end of one row and the start of another.
//! Values other than those of the key are skipped, never kept.

use anyhow::{Context, bail, ensure};
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// The columns that name a row, each with its value in the server's text form.
pub type Key = Vec<(String, String)>;

/// One committed change, or a message of an application. `op` is Debezium's: c, u, d, t, m.
#[derive(Clone, PartialEq, Eq)]
pub struct Committed {
    /// 0 of a message outside of transactions.
    pub xid: u32,
    /// `schema.table`, unquoted; of a message, its prefix.
    pub table: String,
    pub op: char,
    /// In the order of the key's columns; empty of a table without a key, and of a truncation. Of a message, its content.
    pub key: Key,
}

/// Keys can be a patient's: they are never shown.
impl std::fmt::Debug for Committed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} in transaction {}", self.op, self.table, self.xid)
    }
}

/// `schema.table` → the columns of its primary key, in order.
pub type Keys = BTreeMap<String, Vec<String>>;

/// The primary keys of every table in the database.
pub async fn keys(client: &Client) -> anyhow::Result<Keys> {
    let sql = "select n.nspname || '.' || c.relname, array_agg(a.attname::text order by k.place)
               from pg_index i
               join pg_class c on c.oid = i.indrelid
               join pg_namespace n on n.oid = c.relnamespace
               cross join lateral unnest(i.indkey::int2[]) with ordinality as k(attnum, place)
               join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
               where i.indisprimary and n.nspname not in ('pg_catalog', 'pg_toast', 'information_schema')
               group by 1";
    let rows = client.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The changes of the transactions, in commit order.
pub fn committed(transactions: &[stack::witness::Transaction], keys: &Keys) -> anyhow::Result<Vec<Committed>> {
    let mut all = Vec::new();
    for transaction in transactions {
        for change in &transaction.changes {
            let read = read(change, transaction.xid, keys);
            all.extend(read.with_context(|| format!("a record of transaction {} cannot be read", transaction.xid))?);
        }
    }
    Ok(all)
}

/// One record: `table emis."user": UPDATE: old-key: a[integer]:1 new-tuple: a[integer]:2 b[text]:'x'`.
fn read(record: &str, xid: u32, keys: &Keys) -> anyhow::Result<Vec<Committed>> {
    if let Some(message) = record.strip_prefix("message: ") {
        return Ok(vec![message_of(message, xid)?]);
    }
    let Some(rest) = record.strip_prefix("table ") else { return Ok(Vec::new()) };
    let mut text = Text { rest };
    let mut tables = vec![text.table()?];
    while text.take(", ") {
        tables.push(text.table()?);
    }
    ensure!(text.take(": "), "no colon after the table");
    let change = |table: &str, op, key| Committed { xid, table: table.to_owned(), op, key };
    if text.take("TRUNCATE:") {
        return Ok(tables.iter().map(|table| change(table, 't', Key::new())).collect());
    }
    let table = tables.remove(0);
    let columns = keys.get(&table).map(Vec::as_slice).unwrap_or_default();
    if text.take("INSERT:") {
        return Ok(vec![change(&table, 'c', text.key(columns)?)]);
    }
    if text.take("DELETE:") {
        return Ok(vec![change(&table, 'd', text.key(columns)?)]);
    }
    ensure!(text.take("UPDATE:"), "an unknown operation");
    if !text.take(" old-key:") {
        return Ok(vec![change(&table, 'u', text.key(columns)?)]);
    }
    let old = text.key(columns)?;
    ensure!(text.take(" new-tuple:"), "an update without its new row");
    let new = text.key(columns)?;
    if old == new {
        return Ok(vec![change(&table, 'u', new)]);
    }
    Ok(vec![change(&table, 'd', old), change(&table, 'c', new)])
}

/// The column that stands for a message's content.
pub const CONTENT: &str = "content";

/// `transactional: 0 prefix: ping, sz: 3 content:two`
fn message_of(text: &str, xid: u32) -> anyhow::Result<Committed> {
    let rest = text.strip_prefix("transactional: 0 ").or_else(|| text.strip_prefix("transactional: 1 "));
    let rest = rest.and_then(|rest| rest.strip_prefix("prefix: ")).context("no prefix")?;
    // Neither a number nor a comma tells where a prefix ends that holds the like: the first end is taken.
    let (prefix, rest) = rest.split_once(", sz: ").context("no size")?;
    let (size, content) = rest.split_once(" content:").context("no content")?;
    ensure!(size.parse() == Ok(content.len()), "content of another size");
    Ok(Committed { xid, table: prefix.to_owned(), op: 'm', key: vec![(CONTENT.to_owned(), content.to_owned())] })
}

struct Text<'a> {
    rest: &'a str,
}

impl<'a> Text<'a> {
    fn take(&mut self, word: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(word) else { return false };
        self.rest = rest;
        true
    }

    /// `emis.observation`, `lims."order"`.
    fn table(&mut self) -> anyhow::Result<String> {
        let schema = self.name('.')?;
        ensure!(self.take("."), "a table without a schema");
        let table = self.name(':')?;
        Ok(format!("{schema}.{table}"))
    }

    /// A name up to one of its possible ends, quotes taken off.
    fn name(&mut self, end: char) -> anyhow::Result<String> {
        if self.rest.starts_with('"') {
            return self.quoted('"');
        }
        let length = self.rest.find([end, ',']).context("a name without end")?;
        let (name, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(name.to_owned())
    }

    /// A text in quotes, doubled inside.
    fn quoted(&mut self, quote: char) -> anyhow::Result<String> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1).peekable();
        while let Some((at, character)) = characters.next() {
            if character != quote {
                text.push(character);
            } else if characters.next_if(|(_, next)| *next == quote).is_some() {
                text.push(quote);
            } else {
                self.rest = &self.rest[at + quote.len_utf8()..];
                return Ok(text);
            }
        }
        bail!("a quoted text without end")
    }

    /// Reads columns up to the record's end or the new row, and keeps those of the key.
    fn key(&mut self, columns: &[String]) -> anyhow::Result<Key> {
        let mut found: Vec<Option<String>> = vec![None; columns.len()];
        while !self.rest.is_empty() && !self.rest.starts_with(" new-tuple:") {
            if self.take(" (no-tuple-data)") {
                continue;
            }
            ensure!(self.take(" "), "no space between columns");
            let name = self.name('[')?;
            self.type_name()?;
            let value = self.value()?;
            if let Some(place) = columns.iter().position(|column| *column == name) {
                found[place] = Some(value);
            }
        }
        let named = columns.iter().zip(found);
        named.map(|(column, value)| Ok((column.clone(), value.context("a column of the key is missing")?))).collect()
    }

    /// `[character varying]:`, `[integer[]]:`, `[lims.result_status]:`, `["odd]name"]:`.
    fn type_name(&mut self) -> anyhow::Result<()> {
        ensure!(self.take("["), "no type");
        let mut depth = 1;
        let mut quoted = false;
        for (at, character) in self.rest.char_indices() {
            match character {
                '"' => quoted = !quoted,
                '[' if !quoted => depth += 1,
                ']' if !quoted => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                self.rest = &self.rest[at + 1..];
                ensure!(self.take(":"), "no colon after the type");
                return Ok(());
            }
        }
        bail!("a type without end")
    }

    fn value(&mut self) -> anyhow::Result<String> {
        if self.take("unchanged-toast-datum") {
            return Ok(String::new());
        }
        if self.rest.starts_with("B'") {
            self.rest = &self.rest[1..];
        }
        if self.rest.starts_with('\'') {
            return self.quoted('\'');
        }
        let length = self.rest.find(' ').unwrap_or(self.rest.len());
        let (value, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(value.to_owned())
    }
}

#[cfg(test)]
#[path = "witness_tests.rs"]
mod tests;
