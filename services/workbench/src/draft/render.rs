//! Lines of TOML with their evidence.

use super::values;
use change::described::{Described, DescribedColumn};

/// A comment of the schema is cut here.
const COMMENT_LETTERS_MAX: usize = 100;

#[derive(Default)]
pub struct Out(String);

impl Out {
    pub fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    pub fn comment(&mut self, text: &str) {
        self.line(&format!("# {}", one_line(text)));
    }

    pub fn text(self) -> String {
        self.0
    }
}

/// A TOML string on one line: JSON's escapes are TOML's, which asks for one more.
pub fn text(value: &str) -> String {
    serde_json::Value::from(value).to_string().replace('\u{7f}', "\\u007f")
}

/// A TOML key.
pub fn key(name: &str) -> String {
    let bare =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if bare { name.to_owned() } else { text(name) }
}

/// What may stand in a comment.
pub fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// What is known of a column, and may be said.
pub fn evidence(table: &Described, column: &DescribedColumn, samples: bool) -> String {
    let mut said = vec![format!("{} {}", column.name, column.type_name)];
    if let Some(seen) = &column.seen {
        if seen.nulls > 0.0 {
            said.push(format!("{} NULL", percent(seen.nulls)));
        }
        said.extend(seen.distinct.map(|distinct| format!("{distinct} different")));
    }
    let values = values::shown(table, column, samples);
    if !values.is_empty() {
        let values: Vec<String> = values.iter().map(|(value, part)| format!("{value:?} {}", percent(*part))).collect();
        said.push(values.join(", "));
    }
    if !column.labels.is_empty() {
        said.push(format!("one of {}", column.labels.join(", ")));
    }
    if let Some(comment) = &column.comment {
        let cut: String = comment.chars().take(COMMENT_LETTERS_MAX).collect();
        said.push(format!("\"{cut}\""));
    }
    one_line(&said.join("; "))
}

pub fn percent(part: f64) -> String {
    let percent = part * 100.0;
    if percent < 1.0 { "under 1 %".into() } else { format!("{percent:.0} %") }
}
