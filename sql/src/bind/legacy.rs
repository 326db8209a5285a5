//! `GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)` with TUMBLE_START, TUMBLE_END and TUMBLE_ROWTIME, as Flink had it before window
//! tables. Invariant: a call of such a function outside GROUP BY means a window that is in its GROUP BY.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, Select, SelectItem, VisitMut, VisitorMut,
};
use sqlparser::tokenizer::{Location, Span};
use thalweg_engine::operators::window::kind;

use super::windows::{WindowSpec, marker, spec, usage};
use crate::diagnostics::{Problem, Result, start_or};

/// What a function of a group window gives, by the end of its name, and which marker that is.
const PARTS: [(&str, usize); 3] = [("_start", 0), ("_end", 1), ("_rowtime", 2)];

/// A window of GROUP BY: its call, and its number.
struct Found {
    kind: &'static str,
    arguments: Vec<Expr>,
    number: usize,
}

/// Rewrites the group windows of a SELECT; new windows are added to `windows`.
pub(super) fn rewrite(select: &mut Select, windows: &mut Vec<WindowSpec>, at: Location) -> Result<()> {
    let GroupByExpr::Expressions(groups, _) = &mut select.group_by else { return Ok(()) };
    let mut found: Vec<Found> = Vec::new();
    let mut rewritten = Vec::with_capacity(groups.len());
    for group in std::mem::take(groups) {
        let Some((kind, arguments)) = call(&group).and_then(|(name, arguments)| Some((kind(&name)?, arguments))) else {
            rewritten.push(group);
            continue;
        };
        let place = start_or(&group, at);
        let [time, sizes @ ..] = arguments.as_slice() else {
            return Err(Problem::new(place, "a window in GROUP BY needs a time").hint(usage(kind)));
        };
        if sizes.len() != kind.arguments.len() {
            let message = format!("{} has {} arguments in GROUP BY", kind.name.to_uppercase(), 1 + kind.arguments.len());
            return Err(Problem::new(place, message).hint(usage(kind)));
        }
        if !found.is_empty() {
            return Err(Problem::new(place, "GROUP BY has two windows").hint("group by one window"));
        }
        let number = windows.len();
        windows.push(spec(kind, sizes, None, None, place)?);
        rewritten.extend([marker(0, time.clone(), number), marker(1, time.clone(), number)]);
        found.push(Found { kind: kind.name, number, arguments });
    }
    *groups = rewritten;
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(e) = item
            && let Some((name, _)) = call(e)
            && part(&name).is_some()
        {
            let place = start_or(e, at);
            *item = SelectItem::ExprWithAlias {
                expr: std::mem::replace(e, Expr::Identifier(Ident::new(""))),
                alias: Ident { value: name, quote_style: Some('"'), span: Span::new(place, place) },
            };
        }
    }
    let mut replace = Replace { found: found.first(), at, times: false };
    let items = select.projection.iter_mut().filter_map(|item| match item {
        SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => Some(e),
        _ => None,
    });
    for expression in items.chain(&mut select.having) {
        if let ControlFlow::Break(problem) = expression.visit(&mut replace) {
            return Err(*problem);
        }
    }
    if let (true, Some(Found { arguments, number, .. })) = (replace.times, found.first())
        && let (GroupByExpr::Expressions(groups, _), Some(time)) = (&mut select.group_by, arguments.first())
    {
        groups.push(marker(2, time.clone(), *number));
    }
    Ok(())
}

/// The name, in lower case, and the arguments of a plain call.
fn call(expression: &Expr) -> Option<(String, Vec<Expr>)> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), over: None, .. }) = expression else { return None };
    let plain = |a: &FunctionArg| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    };
    Some((name.to_string().to_lowercase(), list.args.iter().map(plain).collect::<Option<Vec<_>>>()?))
}

/// The kind of window and the marker of a function such as `tumble_start`.
fn part(name: &str) -> Option<(&'static str, usize)> {
    PARTS.iter().find_map(|(end, part)| Some((kind(name.strip_suffix(end)?)?.name, *part)))
}

struct Replace<'a> {
    found: Option<&'a Found>,
    at: Location,
    /// Whether the time of the window is named: then it must be in GROUP BY.
    times: bool,
}

impl VisitorMut for Replace<'_> {
    type Break = Box<Problem>;

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Self::Break> {
        let Some((name, arguments)) = call(expression) else { return ControlFlow::Continue(()) };
        let Some((kind, part)) = part(&name) else { return ControlFlow::Continue(()) };
        let group = self.found.filter(|f| f.kind == kind && f.arguments == arguments);
        let (Some(group), [time, ..]) = (group, arguments.as_slice()) else {
            return ControlFlow::Break(Box::new(
                Problem::new(start_or(expression, self.at), format!("{} is not about the window of GROUP BY", name.to_uppercase()))
                    .hint(format!("write it with the arguments of {} in GROUP BY", kind.to_uppercase())),
            ));
        };
        self.times |= part == 2;
        *expression = marker(part, time.clone(), group.number);
        ControlFlow::Continue(())
    }
}
