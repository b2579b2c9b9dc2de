//! What an expression costs. Not among the daily tests: a busy machine tells nothing.

use change::Value;
use mapping::{BodyRule, Field, Look, Ref};
use std::{hint::black_box, time::Instant};

/// Nanoseconds that the expressions of one record may take.
const BUDGET: u128 = 2_000;
const ROUNDS: u32 = 200_000;

struct Row(Vec<Value>);

impl Look for Row {
    fn value(&self, at: Ref) -> Option<&Value> {
        self.0.get(at.column)
    }
    fn absent(&self, at: Ref) -> bool {
        self.value(at).is_none()
    }
    fn there(&self, _: Ref) -> bool {
        true
    }
}

fn field(expr: &str) -> Field {
    let text = format!(
        "system = \"x\"\nrevision = 1\nzone = \"Europe/London\"\n[[record]]\nkind = \"encounter\"\nname = \"r\"\ntable = \"s.t\"\nid = \"kind\"\n\
         patient = \"value\"\norganisation = [\"born\", \"taken\"]\ntext = {{ expr = \"{expr}\" }}\n"
    );
    let mapping = mapping::parse("cost.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let columns: Vec<&str> = mapping.tables[0].columns.iter().map(|name| &**name).collect();
    assert_eq!(columns, ["kind", "value", "born", "taken"]);
    let BodyRule::Encounter(rule) = mapping.records[0].body.clone() else { panic!("an encounter") };
    rule.text.expect("a field")
}

#[test]
#[ignore = "measures: run it by name, with nothing else running"]
fn an_expression_costs_two_microseconds_at_most() {
    let row = Row(vec![
        Value::Text("N".into()),
        Value::Numeric("6.70".into()),
        Value::Text("1984-06-02".into()),
        Value::Timestamp(1_766_000_000_000_000),
    ]);
    for text in [
        "value",
        "kind == 'N' && decimal(value) != 0 ? value : null",
        "kind in ['A', 'B', 'N'] ? value * 10 + 0.5 : null",
        "kind + '/' + string(value).substring(0, 2)",
        "years(timestamp(born), timestamp(taken)) >= 16 ? 'adult' : 'child'",
    ] {
        let field = field(text);
        let expr = field.expr.expect("an expression");
        let begun = Instant::now();
        for _ in 0..ROUNDS {
            let value = expr.value(black_box(&row));
            assert!(black_box(value).is_ok());
        }
        let each = begun.elapsed().as_nanos() / u128::from(ROUNDS);
        println!("{each:>6} ns  {text}");
        assert!(each <= BUDGET, "{text}: {each} ns");
    }
}
