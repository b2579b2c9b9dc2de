//! What every proof and bench reports: one shape, `ok` being the exit status.

use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _, path::Path, process::Command};

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    name: String,
    /// Every check passed; a report without checks proves nothing and is not ok.
    ok: bool,
    figures: BTreeMap<String, f64>,
    checks: Vec<Check>,
    /// RFC 3339, when the report was begun.
    at: String,
    /// Of the repository; `unknown` outside of one.
    commit: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: String,
    pub ok: bool,
    /// Never a patient's data.
    pub detail: String,
}

impl Report {
    pub fn new(name: &str) -> Self {
        let at =
            jiff::Timestamp::now().round(jiff::Unit::Millisecond).map_or_else(|_| String::new(), |at| at.to_string());
        Self { name: name.to_owned(), ok: false, figures: BTreeMap::new(), checks: Vec::new(), at, commit: commit() }
    }

    /// A number that is none (NaN, infinity) has no place in JSON and is left out.
    pub fn figure(&mut self, key: &str, value: f64) {
        if value.is_finite() {
            self.figures.insert(key.to_owned(), value);
        }
    }

    pub fn check(&mut self, name: &str, ok: bool, detail: &str) {
        self.add(Check { name: name.to_owned(), ok, detail: detail.to_owned() });
    }

    pub fn add(&mut self, check: Check) {
        self.checks.push(check);
        self.ok = self.checks.iter().all(|check| check.ok);
    }

    pub const fn ok(&self) -> bool {
        self.ok
    }

    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(std::fs::write(path, text)?)
    }

    /// For the terminal.
    pub fn print(&self) {
        println!("{}", self.text());
    }

    fn text(&self) -> String {
        let mut text = format!("{}: {}", self.name, if self.ok { "ok" } else { "FAILED" });
        for (key, value) in &self.figures {
            let _ = write!(text, "\n  {key} = {}", plain(*value));
        }
        for check in &self.checks {
            let mark = if check.ok { "ok    " } else { "FAILED" };
            let _ = write!(text, "\n  {mark} {}: {}", check.name, check.detail);
        }
        text
    }
}

/// Whole numbers without a fraction, others with as much as a reader wants.
fn plain(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

fn commit() -> String {
    let git = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).current_dir(stack::repository()).output();
    let told =
        git.ok().filter(|output| output.status.success()).and_then(|output| String::from_utf8(output.stdout).ok());
    told.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_the_one_that_readers_know() {
        let mut report = Report::new("demo");
        assert!(!report.ok(), "nothing was checked");
        report.figure("lost", 0.0);
        report.figure("ratio", f64::NAN);
        report.check("log_complete", true, "12 changes");
        assert!(report.ok());
        report.check("order_kept", false, "1 out of order");
        let json = serde_json::to_value(&report).unwrap();
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["name", "ok", "figures", "checks", "at", "commit"]);
        assert_eq!(json["ok"], false);
        assert_eq!(json["figures"], serde_json::json!({"lost": 0.0}));
        assert_eq!(
            json["checks"][1],
            serde_json::json!({"name": "order_kept", "ok": false, "detail": "1 out of order"})
        );
        assert_eq!(report.text().lines().nth(1), Some("  lost = 0"));
    }
}
