//! Expressions of mappings: whatever is written, it is a mistake, fails or says something.

use super::driver::run_within;
use change::Value;
use mapping::{Condition, Look, Ref};

/// The parser's tables, and its tree of an expression: a kilobyte or two for each byte of 1,000 at most.
const HELD_BYTES: usize = 8 * 1024 * 1024;

/// Cells of a row, whichever an expression names.
struct Row(Vec<Value>);

impl Look for Row {
    fn value(&self, at: Ref) -> Option<&Value> {
        self.0.get(at.column)
    }
    fn absent(&self, at: Ref) -> bool {
        self.value(at).is_none()
    }
    fn there(&self, at: Ref) -> bool {
        at.join.is_none()
    }
}

/// A mapping of one record with this condition.
fn mapping_of(text: &str) -> Result<mapping::Mapping, mapping::Mistakes> {
    // JSON's escapes are TOML's too.
    let quoted = serde_json::Value::from(text).to_string();
    let mapping = format!(
        "system = \"x\"\nrevision = 1\nzone = \"UTC\"\n[[record]]\nkind = \"encounter\"\nname = \"r\"\ntable = \"s.t\"\nid = \"id\"\n\
         patient = \"who\"\nonly_when = [{{ expr = {quoted} }}]\n"
    );
    mapping::parse("fuzz.toml", &mapping)
}

#[test]
fn expressions() {
    // What parser and calendar keep for good is no input's doing.
    for known in ["a + 1 == 2 || !present(b) && c in ['x'] ? true : false", "a.b(", "{'a': [1]}.c[0].?d", "'"] {
        drop(mapping_of(known));
    }
    run_within("expressions", HELD_BYTES, Vec::new(), |input| {
        let text = String::from_utf8_lossy(input);
        match mapping_of(&text) {
            // What is said first tells the ways of the parser and of the checker apart, but for the texts that it quotes.
            Err(mistakes) => {
                let first = mistakes.0.first().map(|it| it.what.chars().take(24).collect::<String>());
                (mistakes.0.len().min(4), first.unwrap_or_default())
            }
            Ok(mapping) => {
                let Some(Condition::Expr(expr)) = mapping.records[0].only_when.first() else {
                    panic!("a condition that is no expression")
                };
                let words = Value::Text(text.chars().rev().take(20).collect());
                let row = Row(vec![Value::Int(7), words, Value::Numeric("1.50".into()), Value::Bool(true)]);
                let (truth, value) = (expr.truth(&row), expr.value(&row));
                if let Ok(Some(value)) = &value {
                    assert!(!matches!(**value, Value::Float(_)), "a float");
                }
                let failure = truth.err().or(value.err()).map(|broken| broken.failure.to_string());
                (9, failure.unwrap_or_default())
            }
        }
    });
}
