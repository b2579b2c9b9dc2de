//! From CEL's tree to ours: each place with its type, each mistake with its place.

use super::{
    EXPR_BYTES_MAX, Expr, NODES_MAX, Node, Op, Reading, Type,
    function::{self, Function},
};
use crate::{Ref, moment};
use cel::{
    Env, IdedExpr,
    common::ast::{CallExpr, Expr as Cel, LiteralValue, SourceInfo, operators},
};
use rust_decimal::Decimal;

/// Finds the cell that a name means; tells by itself if there is none.
pub type Cells<'a> = dyn FnMut(&str) -> Option<Ref> + 'a;

struct Compiler<'a> {
    cells: &'a mut Cells<'a>,
    source: SourceInfo,
    nodes: usize,
    /// Within `present(…)` or `coalesce(…)`.
    asked: bool,
    /// Cells outside of those, and inside.
    needs: Vec<Ref>,
    optional: Vec<Ref>,
    mistakes: Vec<String>,
}

type Typed = (Node, Type);

/// Reads an expression. What is wrong with it, all at once; nothing, where `cells` has told already.
pub fn compile<'a>(key: &str, text: &str, reading: Reading, cells: &'a mut Cells<'a>) -> Result<Expr, Vec<String>> {
    if text.len() > EXPR_BYTES_MAX {
        return Err(vec![format!("is longer than {EXPR_BYTES_MAX} bytes")]);
    }
    // Without macros nothing loops: `map` and `all` are functions that nobody knows.
    let parser = Env::default().with_optional_support(false).parser().enable_ident_escape_syntax(true);
    let (tree, source) = parser.parse_with_source_info(text).map_err(|wrong| {
        let told = |error: &cel::ParseError| format!("is no expression: {} (at {})", error.msg.trim(), error.pos.1);
        wrong.errors.iter().map(told).collect::<Vec<_>>()
    })?;
    let (needs, optional, mistakes) = (Vec::new(), Vec::new(), Vec::new());
    let mut compiler = Compiler { cells, source, nodes: 0, asked: false, needs, optional, mistakes };
    let made = compiler.node(&tree);
    let Compiler { nodes, mut needs, optional, mut mistakes, .. } = compiler;
    let mut cells = needs.clone();
    cells.extend(&optional);
    needs.retain(|at| !optional.iter().any(|asked| asked.join == at.join));
    if nodes > NODES_MAX {
        mistakes.push(format!("has more than {NODES_MAX} operators, cells and constants"));
    }
    match made {
        Some((_, Type::Null)) if mistakes.is_empty() => Err(vec!["is always null".into()]),
        Some((node, gives)) if mistakes.is_empty() => {
            let (key, text) = (key.to_owned(), text.to_owned());
            Ok(Expr { key, text, gives, cells, node, needs, reading })
        }
        _ => Err(mistakes),
    }
}

impl Compiler<'_> {
    fn wrong<T>(&mut self, at: &IdedExpr, what: impl Into<String>) -> Option<T> {
        let place = self.source.offset_for(at.id).map_or(0, |(start, _)| start + 1);
        self.mistakes.push(format!("{} (at {place})", what.into()));
        None
    }

    fn node(&mut self, expr: &IdedExpr) -> Option<Typed> {
        self.nodes += 1;
        match &expr.expr {
            Cel::Literal(literal) => self.literal(expr, literal),
            Cel::Ident(name) => self.cell(name),
            Cel::Select(select) => match &select.operand.expr {
                Cel::Ident(join) if !select.test => self.cell(&format!("{join}.{}", select.field)),
                _ => self.wrong(expr, "expected `column` or `join.column`"),
            },
            Cel::Call(call) => self.call(expr, call),
            Cel::List(_) => self.wrong(expr, "a list stands only behind `in`"),
            _ => self.wrong(expr, "expected a cell, a constant, an operator or a function"),
        }
    }

    fn cell(&mut self, name: &str) -> Option<Typed> {
        let at = (self.cells)(name)?;
        if self.asked {
            self.optional.push(at)
        } else {
            self.needs.push(at)
        }
        Some((Node::Cell(at), Type::Cell))
    }

    fn literal(&mut self, expr: &IdedExpr, literal: &LiteralValue) -> Option<Typed> {
        match literal {
            LiteralValue::Boolean(yes) => Some((Node::Truth(*yes.inner()), Type::Truth)),
            LiteralValue::String(text) => Some((Node::Text(text.inner().to_owned()), Type::Text)),
            LiteralValue::Null => Some((Node::Null, Type::Null)),
            LiteralValue::Int(number) => self.numeral(expr, *number.inner() < 0),
            LiteralValue::Double(number) => self.numeral(expr, number.inner().is_sign_negative()),
            LiteralValue::UInt(_) => self.wrong(expr, "numbers are decimal: write it without `u`"),
            LiteralValue::Bytes(_) => self.wrong(expr, "there are no bytes here"),
        }
    }

    /// As it is written: what the parser made of it has lost zeros, and digits.
    fn numeral(&mut self, expr: &IdedExpr, negative: bool) -> Option<Typed> {
        let place = self.source.offset_for(expr.id);
        let digits = place.and_then(|(start, stop)| self.source.source.get(start as usize..=stop as usize));
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let plain = digits.filter(|text| text.starts_with(|c: char| c.is_ascii_digit()) && is_plain(text));
        match plain.and_then(|text| Decimal::from_str_exact(text).ok()) {
            Some(number) => Some((Node::Number(if negative { -number } else { number }), Type::Number)),
            None => self.wrong(expr, "write the number out, as 0.5 or 120, of 28 digits at most"),
        }
    }

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Option<Typed> {
        let CallExpr { func_name, target, args } = call;
        let all: Vec<&IdedExpr> = target.as_deref().into_iter().chain(args).collect();
        match (func_name.as_str(), all.as_slice()) {
            (operators::CONDITIONAL, [when, then, or]) => self.choice(expr, when, then, or),
            (operators::LOGICAL_AND, _) => self.truths(expr, Op::And, &all),
            (operators::LOGICAL_OR, _) => self.truths(expr, Op::Or, &all),
            (operators::LOGICAL_NOT, _) => self.truths(expr, Op::Not, &all),
            (operators::EQUALS, [a, b]) => self.equality(expr, Op::Equal, a, b),
            (operators::NOT_EQUALS, [a, b]) => self.equality(expr, Op::Differs, a, b),
            (operators::IN, [one, of]) => self.one_of(expr, one, of),
            (operators::LESS, [a, b]) => self.ordered(expr, Op::Less, a, b),
            (operators::GREATER, [a, b]) => self.ordered(expr, Op::Less, b, a),
            (operators::LESS_EQUALS, [a, b]) => self.ordered(expr, Op::AtMost, a, b),
            (operators::GREATER_EQUALS, [a, b]) => self.ordered(expr, Op::AtMost, b, a),
            (operators::ADD, [a, b]) => self.sum(expr, a, b),
            (operators::SUBSTRACT, _) => self.numbers(expr, Op::Subtract, &all),
            (operators::MULTIPLY, _) => self.numbers(expr, Op::Multiply, &all),
            (operators::DIVIDE, _) => self.numbers(expr, Op::Divide, &all),
            (operators::NEGATE, _) => self.numbers(expr, Op::Negate, &all),
            ("coalesce", [_, _, ..]) if target.is_none() => self.first_present(expr, &all),
            ("timestamp", [text, formats @ ..]) if target.is_none() => self.time(expr, text, formats),
            (name, _) if name.starts_with(['_', '@', '!', '-']) => self.wrong(expr, "no such operator here"),
            (name, _) => match function::find(name, target.is_some()) {
                Ok(function) => self.function(expr, function, &all),
                Err(why) => self.wrong(expr, why),
            },
        }
    }

    fn function(&mut self, expr: &IdedExpr, function: &Function, args: &[&IdedExpr]) -> Option<Typed> {
        let takes = function.takes;
        if !(takes.len() - function.optional..=takes.len()).contains(&args.len()) {
            let hidden = usize::from(function.member);
            let what = format!("`{}` takes {} arguments", function.name, takes.len() - hidden);
            return self.wrong(expr, what);
        }
        let outer = self.asked;
        self.asked |= function.op == Op::Present;
        let all = args.iter().zip(takes).map(|(arg, want)| match want {
            Type::Cell => self.node(arg).map(|(node, _)| node),
            want => self.a(arg, *want),
        });
        // Every argument is looked at, so that all mistakes are told.
        let all: Vec<Option<Node>> = all.collect();
        self.asked = outer;
        Some((Node::Call(function.op, all.into_iter().collect::<Option<Vec<_>>>()?), function.gives))
    }

    /// What is written there, as this type.
    fn a(&mut self, expr: &IdedExpr, want: Type) -> Option<Node> {
        let (node, is) = self.node(expr)?;
        self.as_type(expr, node, is, want)
    }

    fn as_type(&mut self, expr: &IdedExpr, node: Node, is: Type, want: Type) -> Option<Node> {
        let read = |op| Some(Node::Call(op, vec![node.clone()]));
        match (is, want) {
            (is, want) if is == want => Some(node),
            (Type::Null, _) => Some(node),
            (Type::Cell, Type::Text) => read(Op::AsText),
            (Type::Cell, Type::Number) => read(Op::AsNumber),
            (Type::Cell, Type::Time) => read(Op::AsTime),
            (Type::Cell, Type::Truth) => read(Op::AsTruth),
            (_, want) => {
                let hint = match want {
                    Type::Text => ": write string(…)",
                    Type::Number if is == Type::Text => ": write decimal(…)",
                    Type::Time if is == Type::Text => ": write timestamp(…)",
                    _ => "",
                };
                self.wrong(expr, format!("expected {want}, not {is}{hint}"))
            }
        }
    }

    fn each(&mut self, args: &[&IdedExpr], want: Type) -> Option<Vec<Node>> {
        let all: Vec<Option<Node>> = args.iter().map(|arg| self.a(arg, want)).collect();
        all.into_iter().collect()
    }

    fn truths(&mut self, _: &IdedExpr, op: Op, args: &[&IdedExpr]) -> Option<Typed> {
        Some((Node::Call(op, self.each(args, Type::Truth)?), Type::Truth))
    }

    fn numbers(&mut self, _: &IdedExpr, op: Op, args: &[&IdedExpr]) -> Option<Typed> {
        Some((Node::Call(op, self.each(args, Type::Number)?), Type::Number))
    }

    fn both(&mut self, a: &IdedExpr, b: &IdedExpr) -> Option<(Typed, Typed)> {
        let (a, b) = (self.node(a), self.node(b));
        Some((a?, b?))
    }

    fn equality(&mut self, expr: &IdedExpr, op: Op, a: &IdedExpr, b: &IdedExpr) -> Option<Typed> {
        let ((left, is), (right, other)) = self.both(a, b)?;
        self.comparable(expr, is, other)?;
        Some((Node::Call(op, vec![left, right]), Type::Truth))
    }

    fn comparable(&mut self, expr: &IdedExpr, a: Type, b: Type) -> Option<()> {
        if a == Type::Null || b == Type::Null {
            return self.wrong(expr, "nothing equals null: write present(…) or !present(…)");
        }
        if a != b && a != Type::Cell && b != Type::Cell {
            return self.wrong(expr, format!("compares {a} with {b}, which are never equal"));
        }
        Some(())
    }

    fn one_of(&mut self, expr: &IdedExpr, one: &IdedExpr, of: &IdedExpr) -> Option<Typed> {
        let Cel::List(list) = &of.expr else { return self.wrong(of, "expected a list, as in `x in [\"a\", \"b\"]`") };
        let (node, is) = self.node(one)?;
        let mut all = vec![node];
        for element in &list.elements {
            let (node, other) = self.node(element)?;
            self.comparable(expr, is, other)?;
            all.push(node);
        }
        Some((Node::Call(Op::In, all), Type::Truth))
    }

    /// Two cells do not say what they are.
    fn ordered(&mut self, expr: &IdedExpr, op: Op, a: &IdedExpr, b: &IdedExpr) -> Option<Typed> {
        let ((left, is), (right, other)) = self.both(a, b)?;
        let want = if is == Type::Cell { other } else { is };
        if !matches!(want, Type::Number | Type::Time) {
            let what = "only numbers and times are ordered: write decimal(…) or timestamp(…)";
            return self.wrong(expr, what);
        }
        let (left, right) = (self.as_type(a, left, is, want)?, self.as_type(b, right, other, want)?);
        Some((Node::Call(op, vec![left, right]), Type::Truth))
    }

    fn sum(&mut self, expr: &IdedExpr, a: &IdedExpr, b: &IdedExpr) -> Option<Typed> {
        let ((left, is), (right, other)) = self.both(a, b)?;
        let want = if is == Type::Cell { other } else { is };
        let op = match want {
            Type::Number => Op::Add,
            Type::Text => Op::Join,
            _ => {
                let what = "`+` adds numbers or joins texts: write decimal(…) or string(…)";
                return self.wrong(expr, what);
            }
        };
        let (left, right) = (self.as_type(a, left, is, want)?, self.as_type(b, right, other, want)?);
        Some((Node::Call(op, vec![left, right]), want))
    }

    fn choice(&mut self, expr: &IdedExpr, when: &IdedExpr, then: &IdedExpr, or: &IdedExpr) -> Option<Typed> {
        let when = self.a(when, Type::Truth);
        let (nodes, gives) = self.alike(expr, &[then, or])?;
        let all = std::iter::once(when?).chain(nodes).collect();
        Some((Node::Call(Op::If, all), gives))
    }

    fn first_present(&mut self, expr: &IdedExpr, args: &[&IdedExpr]) -> Option<Typed> {
        let outer = std::mem::replace(&mut self.asked, true);
        let all = self.alike(expr, args);
        self.asked = outer;
        all.map(|(nodes, gives)| (Node::Call(Op::FirstPresent, nodes), gives))
    }

    /// Of one type: a cell becomes what the others are.
    fn alike(&mut self, _: &IdedExpr, args: &[&IdedExpr]) -> Option<(Vec<Node>, Type)> {
        let all: Vec<Option<Typed>> = args.iter().map(|arg| self.node(arg)).collect();
        let all = all.into_iter().collect::<Option<Vec<Typed>>>()?;
        let own = |it: &&Type| !matches!(it, Type::Null | Type::Cell);
        let types: Vec<Type> = all.iter().map(|(_, is)| *is).collect();
        let cell = types.iter().find(|it| **it == Type::Cell);
        let want = *types.iter().find(own).or(cell).unwrap_or(&Type::Null);
        let nodes = args.iter().zip(all).map(|(arg, (node, is))| self.as_type(arg, node, is, want));
        let nodes: Vec<Option<Node>> = nodes.collect();
        Some((nodes.into_iter().collect::<Option<Vec<_>>>()?, want))
    }

    /// `timestamp(text)`, `timestamp(text, "%d/%m/%Y", …)`.
    fn time(&mut self, _: &IdedExpr, text: &IdedExpr, formats: &[&IdedExpr]) -> Option<Typed> {
        let (node, is) = self.node(text)?;
        let mut known = Vec::new();
        for format in formats {
            match &format.expr {
                Cel::Literal(LiteralValue::String(written)) if moment::is_format(written.inner()) => {
                    known.push(written.inner().to_owned());
                }
                _ => return self.wrong(format, "expected a format with a year at least, as \"%d/%m/%Y\""),
            }
        }
        match is {
            Type::Time => Some((node, Type::Time)),
            Type::Cell | Type::Text if known.is_empty() => Some((Node::Call(Op::AsTime, vec![node]), Type::Time)),
            Type::Cell | Type::Text => Some((Node::Formatted(Box::new(node), known), Type::Time)),
            other => self.wrong(text, format!("expected text or a cell, not {other}")),
        }
    }
}
