//! OVER with a window of WINDOW. Invariant: behind this the items and QUALIFY of every SELECT say their windows in full, because
//! DataFusion forgets the window that another one is built on, and looks for names in the items only.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, Ident, NamedWindowDefinition, NamedWindowExpr, Query, Select, VisitMut, VisitorMut, WindowSpec, WindowType,
    visit_expressions_mut,
};

use crate::diagnostics::{Problem, Result, suggestion};

/// A window and its name.
type Named<'a> = (&'a Ident, WindowSpec);

/// Writes out the windows that OVER names: `OVER w`, and `OVER (w ORDER BY ts)`.
pub(super) fn resolve(query: &mut Query) -> Result<()> {
    match query.visit(&mut Overs) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(problem) => Err(*problem),
    }
}

struct Overs;

impl VisitorMut for Overs {
    type Break = Box<Problem>;

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        let named = match known(&select.named_window) {
            Ok(named) => named,
            Err(problem) => return ControlFlow::Break(Box::new(problem)),
        };
        visit_expressions_mut(&mut select.projection, |e| write_out(e, &named))?;
        visit_expressions_mut(&mut select.qualify, |e| write_out(e, &named))
    }
}

/// The windows of WINDOW, each of which may be built on one before it.
fn known(definitions: &[NamedWindowDefinition]) -> Result<Vec<Named<'_>>> {
    let mut named: Vec<Named<'_>> = Vec::with_capacity(definitions.len());
    for NamedWindowDefinition(name, window) in definitions {
        if named.iter().any(|(n, _)| n.value == name.value) {
            return Err(Problem::new(name.span.start, format!("window '{name}' is defined twice")).hint("give one of them another name"));
        }
        let spec = match window {
            NamedWindowExpr::NamedWindow(base) => find(base, &named)?.clone(),
            NamedWindowExpr::WindowSpec(spec) => whole(spec, &named)?,
        };
        named.push((name, spec));
    }
    Ok(named)
}

fn find<'n>(name: &Ident, named: &'n [Named<'_>]) -> Result<&'n WindowSpec> {
    match named.iter().find(|(n, _)| n.value == name.value) {
        Some((_, spec)) => Ok(spec),
        None => {
            let hint = suggestion(&name.value, named.iter().map(|(n, _)| n.value.as_str()))
                .unwrap_or_else(|| format!("write WINDOW {name} AS (PARTITION BY … ORDER BY …) behind FROM, WHERE and GROUP BY"));
            Err(Problem::new(name.span.start, format!("window '{name}' is not defined")).hint(hint))
        }
    }
}

/// A window with what it has from the one that it is built on.
fn whole(spec: &WindowSpec, named: &[Named<'_>]) -> Result<WindowSpec> {
    let Some(name) = &spec.window_name else { return Ok(spec.clone()) };
    let base = find(name, named)?;
    let refused = |why: String| Problem::new(name.span.start, why).hint("write the window out: OVER (PARTITION BY … ORDER BY …)");
    if !spec.partition_by.is_empty() {
        return Err(refused(format!("a window built on '{name}' takes PARTITION BY from there")));
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        return Err(refused(format!("a window built on '{name}' takes ORDER BY from there")));
    }
    if base.window_frame.is_some() {
        return Err(refused(format!("window '{name}' has a frame, so that no other is built on it")));
    }
    let order_by = if spec.order_by.is_empty() { base.order_by.clone() } else { spec.order_by.clone() };
    Ok(WindowSpec { window_name: None, partition_by: base.partition_by.clone(), order_by, window_frame: spec.window_frame.clone() })
}

fn write_out(expression: &mut Expr, named: &[Named<'_>]) -> ControlFlow<Box<Problem>> {
    let Expr::Function(Function { over: Some(over), .. }) = expression else { return ControlFlow::Continue(()) };
    let written = match &*over {
        WindowType::NamedWindow(name) => find(name, named).cloned(),
        WindowType::WindowSpec(spec) => whole(spec, named),
    };
    match written {
        Ok(spec) => {
            *over = WindowType::WindowSpec(spec);
            ControlFlow::Continue(())
        }
        Err(problem) => ControlFlow::Break(Box::new(problem)),
    }
}
