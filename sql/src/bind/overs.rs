//! OVER with a window of WINDOW. Invariant: behind this the items and QUALIFY of every SELECT say their windows in full, because
//! DataFusion forgets the window that another one is built on, and looks for names in the items only.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, Ident, NamedWindowDefinition, NamedWindowExpr, Query, Select, VisitMut, VisitorMut, WindowSpec, WindowType,
    visit_expressions, visit_expressions_mut,
};
use thalweg_engine::limits::SQL_PARTS_MAX;

use crate::diagnostics::{Problem, Result, suggestion};

/// A window and its name.
type Named<'a> = (&'a Ident, WindowSpec);

/// Writes out the windows that OVER names: `OVER w`, and `OVER (w ORDER BY ts)`.
pub(super) fn resolve(query: &mut Query) -> Result<()> {
    match query.visit(&mut Overs { parts: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(problem) => Err(*problem),
    }
}

struct Overs {
    /// Parts of the windows that were copied: those of the query are counted when it is too late for these.
    parts: usize,
}

impl VisitorMut for Overs {
    type Break = Box<Problem>;

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        let named = match self.known(&select.named_window) {
            Ok(named) => named,
            Err(problem) => return ControlFlow::Break(Box::new(problem)),
        };
        visit_expressions_mut(&mut select.projection, |e| self.write_out(e, &named))?;
        visit_expressions_mut(&mut select.qualify, |e| self.write_out(e, &named))
    }
}

impl Overs {
    /// The windows of WINDOW, each of which may be built on one before it.
    fn known<'a>(&mut self, definitions: &'a [NamedWindowDefinition]) -> Result<Vec<Named<'a>>> {
        let mut named: Vec<Named<'a>> = Vec::with_capacity(definitions.len());
        for NamedWindowDefinition(name, window) in definitions {
            if named.iter().any(|(n, _)| n.value == name.value) {
                let twice = Problem::new(name.span.start, format!("window '{name}' is defined twice"));
                return Err(twice.hint("give one of them another name"));
            }
            let spec = match window {
                NamedWindowExpr::NamedWindow(base) => self.copy(base, &named)?,
                NamedWindowExpr::WindowSpec(spec) => self.whole(spec, &named)?,
            };
            named.push((name, spec));
        }
        Ok(named)
    }

    /// Errors: there is none of this name, or copies have become too many.
    fn copy(&mut self, name: &Ident, named: &[Named<'_>]) -> Result<WindowSpec> {
        let window = find(name, named)?;
        let _ = visit_expressions(window, |_| {
            self.parts += 1;
            ControlFlow::<()>::Continue(())
        });
        if self.parts > SQL_PARTS_MAX {
            return Err(Problem::new(name.span.start, "the expressions have too many parts").hint("split the query"));
        }
        Ok(window.clone())
    }

    /// A window with what it has from the one that it is built on.
    fn whole(&mut self, spec: &WindowSpec, named: &[Named<'_>]) -> Result<WindowSpec> {
        let Some(name) = &spec.window_name else { return Ok(spec.clone()) };
        let base = self.copy(name, named)?;
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
        let order_by = if spec.order_by.is_empty() { base.order_by } else { spec.order_by.clone() };
        Ok(WindowSpec { window_name: None, partition_by: base.partition_by, order_by, window_frame: spec.window_frame.clone() })
    }

    fn write_out(&mut self, expression: &mut Expr, named: &[Named<'_>]) -> ControlFlow<Box<Problem>> {
        let Expr::Function(Function { over: Some(over), .. }) = expression else { return ControlFlow::Continue(()) };
        let written = match &*over {
            WindowType::NamedWindow(name) => self.copy(name, named),
            WindowType::WindowSpec(spec) => self.whole(spec, named),
        };
        match written {
            Ok(spec) => {
                *over = WindowType::WindowSpec(spec);
                ControlFlow::Continue(())
            }
            Err(problem) => ControlFlow::Break(Box::new(problem)),
        }
    }
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
