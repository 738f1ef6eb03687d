//! What an expression may contain, decided when it is read: a mistake must not wait for the night it matters.

use minijinja::machinery::ast::{BinOpKind, Call, CallArg, CompareOpKind, Expr, Filter, Test};
use regex::Regex;

use super::ExprError;
use crate::domain::template::Reference;

/// Filters, in alphabetical order.
const FILTERS: &[&str] = &[
    "abs",
    "bool",
    "count",
    "default",
    "dictsort",
    "first",
    "float",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "round",
    "select",
    "selectattr",
    "sort",
    "split",
    "string",
    "sum",
    "trim",
    "unique",
    "upper",
];

/// Tests after `is`, in alphabetical order.
const TESTS: &[&str] = &[
    "!=",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "boolean",
    "defined",
    "endingwith",
    "eq",
    "false",
    "ge",
    "gt",
    "in",
    "integer",
    "le",
    "lt",
    "matches",
    "ne",
    "none",
    "number",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
];

/// Functions.
const FUNCTIONS: &[&str] = &["duration", "timestamp"];

/// Largest compiled regex of `is matches`, bytes; it bounds what one byte of text may cost.
pub(super) const REGEX_SIZE: usize = 1 << 18;

/// Checks the tree and lists the names it reads.
pub(super) fn check(source: &str, tree: &Expr<'_>) -> Result<Vec<Reference>, ExprError> {
    let mut walk = Walk { source, references: Vec::new() };
    walk.expr(tree)?;
    Ok(walk.references)
}

struct Walk<'s> {
    source: &'s str,
    references: Vec<Reference>,
}

type Checked = Result<(), ExprError>;

impl Walk<'_> {
    fn expr(&mut self, expr: &Expr<'_>) -> Checked {
        match expr {
            Expr::Const(_) => Ok(()),
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => self.path(expr),
            Expr::Slice(slice) => {
                self.expr(&slice.expr)?;
                let bounds = [&slice.start, &slice.stop, &slice.step];
                bounds.into_iter().flatten().try_for_each(|bound| self.expr(bound))
            }
            Expr::UnaryOp(op) => self.expr(&op.expr),
            Expr::BinOp(op) => {
                if matches!(op.op, BinOpKind::Lt | BinOpKind::Lte | BinOpKind::Gt | BinOpKind::Gte)
                {
                    ordered(&op.left)?;
                    ordered(&op.right)?;
                }
                self.expr(&op.left)?;
                self.expr(&op.right)
            }
            Expr::Compare(compare) => {
                let mut left = &compare.expr;
                self.expr(left)?;
                for next in &compare.ops {
                    use CompareOpKind::{Gt, Gte, Lt, Lte};
                    if matches!(next.op, Lt | Lte | Gt | Gte) {
                        ordered(left)?;
                        ordered(&next.expr)?;
                    }
                    self.expr(&next.expr)?;
                    left = &next.expr;
                }
                Ok(())
            }
            Expr::IfExpr(branch) => {
                self.expr(&branch.test_expr)?;
                self.expr(&branch.true_expr)?;
                branch.false_expr.as_ref().map_or(Ok(()), |other| self.expr(other))
            }
            Expr::Filter(filter) => self.filter(filter, start(expr)),
            Expr::Test(test) => self.test(test, start(expr)),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => list.items.iter().try_for_each(|item| self.expr(item)),
            Expr::Tuple(tuple) => tuple.items.iter().try_for_each(|item| self.expr(item)),
            Expr::Map(map) => {
                map.keys.iter().chain(&map.values).try_for_each(|item| self.expr(item))
            }
        }
    }

    /// `a.b["c"][0].d`: one reference, cut at the first part that is computed.
    fn path(&mut self, expr: &Expr<'_>) -> Checked {
        let mut parts = Vec::new();
        let mut at = expr;
        loop {
            match at {
                Expr::Var(var) => {
                    parts.push(var.id.to_owned());
                    break;
                }
                Expr::GetAttr(get) => {
                    parts.push(get.name.to_owned());
                    at = &get.expr;
                }
                Expr::GetItem(get) => {
                    if matches!(&get.expr, Expr::Var(var) if var.id == "steps") {
                        let message = "write `steps.<id>`: the order of the steps is read from these references";
                        return Err(ExprError::new(message, start(at)));
                    }
                    match &get.subscript_expr {
                        Expr::Const(key) => parts.push(
                            key.value
                                .as_str()
                                .map_or_else(|| key.value.to_string(), ToOwned::to_owned),
                        ),
                        computed => {
                            parts.clear();
                            self.expr(computed)?;
                        }
                    }
                    at = &get.expr;
                }
                other => return self.expr(other),
            }
        }
        parts.reverse();
        self.references.push(Reference { path: parts, offset: start(expr), guarded: false });
        Ok(())
    }

    fn filter(&mut self, filter: &Filter<'_>, offset: usize) -> Checked {
        let offset = self.find(filter.name, offset);
        known("filter", filter.name, FILTERS, offset)?;
        let named = match filter.name {
            "map" => filter.args.first().map(|arg| ("filter", FILTERS, arg)),
            "select" | "reject" => filter.args.first().map(|arg| ("test", TESTS, arg)),
            "selectattr" | "rejectattr" => filter.args.get(1).map(|arg| ("test", TESTS, arg)),
            _ => None,
        };
        if let Some((what, names, CallArg::Pos(name))) = named {
            let Some(text) = literal(name) else {
                let message = format!("write the name of the {what} as text in quotes");
                return Err(ExprError::new(message, start(name)));
            };
            known(what, text, names, start(name))?;
            if text == "matches" {
                let pattern = filter.args.get(if filter.name.ends_with("attr") { 2 } else { 1 });
                regex(pattern, start(name))?;
            }
        }
        if let Some(inner) = &filter.expr {
            self.expr(inner)?;
        }
        self.args(&filter.args)
    }

    fn test(&mut self, test: &Test<'_>, offset: usize) -> Checked {
        let offset = self.find(test.name, offset);
        known("test", test.name, TESTS, offset)?;
        if test.name == "matches" {
            regex(test.args.first(), offset)?;
        }
        if matches!(test.name, "lt" | "le" | "gt" | "ge" | "<" | "<=" | ">" | ">=") {
            ordered(&test.expr)?;
        }
        self.expr(&test.expr)?;
        self.args(&test.args)
    }

    fn call(&mut self, call: &Call<'_>) -> Checked {
        match &call.expr {
            Expr::Var(var) => known("function", var.id, FUNCTIONS, start(&call.expr))?,
            Expr::GetAttr(get) => {
                let message = format!(
                    "there are no methods; use a filter or a test instead of `.{}()`",
                    get.name
                );
                return Err(ExprError::new(message, start(&call.expr)));
            }
            other => return Err(ExprError::new("this cannot be called", start(other))),
        }
        self.args(&call.args)
    }

    fn args(&mut self, args: &[CallArg<'_>]) -> Checked {
        args.iter().try_for_each(|arg| match arg {
            CallArg::Pos(expr) | CallArg::Kwarg(_, expr) => self.expr(expr),
            CallArg::PosSplat(expr) | CallArg::KwargSplat(expr) => {
                Err(ExprError::new("write the arguments one by one", start(expr)))
            }
        })
    }

    /// Filters and tests carry the position of what they work on; find the name itself.
    fn find(&self, name: &str, from: usize) -> usize {
        self.source.get(from..).and_then(|rest| rest.find(name)).map_or(from, |at| from + at)
    }
}

/// Where it begins. An attribute's own span begins after what it belongs to, so go left first.
fn start(expr: &Expr<'_>) -> usize {
    match expr {
        Expr::GetAttr(get) => start(&get.expr),
        Expr::GetItem(get) => start(&get.expr),
        other => other.span().start_offset as usize,
    }
}

fn literal<'a>(expr: &'a Expr<'_>) -> Option<&'a str> {
    match expr {
        Expr::Const(value) => value.value.as_str(),
        _ => None,
    }
}

fn known(what: &str, name: &str, names: &[&str], offset: usize) -> Checked {
    if names.contains(&name) {
        return Ok(());
    }
    let hint = crate::domain::suggest::closest(name, names).map_or_else(
        || format!("use one of {}", names.join(", ")),
        |n| format!("did you mean `{n}`?"),
    );
    Err(ExprError::new(format!("there is no {what} `{name}`; {hint}"), offset))
}

fn regex(arg: Option<&CallArg<'_>>, offset: usize) -> Checked {
    let Some(CallArg::Pos(expr)) = arg else {
        return Err(ExprError::new("`matches` needs a regex: `x is matches \"^etl-\"`", offset));
    };
    let Some(pattern) = literal(expr) else {
        return Err(ExprError::new("write the regex as text in quotes", start(expr)));
    };
    build_regex(pattern).map(drop).map_err(|message| ExprError::new(message, start(expr)))
}

/// The regex of `is matches`: unanchored, size-limited.
pub(super) fn build_regex(pattern: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(pattern).size_limit(REGEX_SIZE).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "this regex is too large".to_owned(),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("bad regex: {}", last.trim_start_matches("error: "))
        }
    })
}

/// Labels are text: `"9" > "10"`. Ordering them is a mistake unless they were made numbers.
fn ordered(expr: &Expr<'_>) -> Checked {
    let owner = match expr {
        Expr::GetAttr(get) => &get.expr,
        Expr::GetItem(get) => &get.expr,
        _ => return Ok(()),
    };
    match owner {
        Expr::Var(var) if matches!(var.id, "labels" | "annotations") => {
            let message =
                "labels are text and compare letter by letter; write `| int` or `| float` after it";
            Err(ExprError::new(message, start(expr)))
        }
        _ => Ok(()),
    }
}
