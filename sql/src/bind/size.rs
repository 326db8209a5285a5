//! How much a query asks for. Invariant: nothing that doubles with each step is left when planning begins: neither a WITH that
//! names another one twice, nor an operand that simplifying would repeat.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Query, TableFactor, Visit, Visitor};
use thalweg_engine::limits::{SQL_PARTS_MAX, SQL_PLAN_DEPTH_MAX, SQL_TABLES_MAX};

use crate::diagnostics::{Problem, Result, start_or};
use crate::parser::Tokens;

/// Functions that simplifying turns into CASE, which repeats their arguments.
const REPEATING: [&str; 5] = ["coalesce", "ifnull", "nullif", "nvl", "nvl2"];

/// Longest list of IN that simplifying turns into a chain of OR, which repeats the operand.
const IN_LIST_REPEATED: usize = 3;
/// What a repeated operand counts: more than the two or three times that it may appear, because each costs time of its own.
const REPEATED: usize = 4;

/// Errors: too many tables, steps or parts of expressions.
pub(super) fn check(query: &Query, tokens: &Tokens) -> Result<()> {
    let mut size = Size { tokens, queries: Vec::new(), common: HashMap::new(), parts: vec![0] };
    match query.visit(&mut size) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(problem) => Err(*problem),
    }
}

struct Size<'a> {
    tokens: &'a Tokens,
    /// Queries that are being visited.
    queries: Vec<Frame>,
    /// What each name of WITH stands for.
    common: HashMap<String, Extent>,
    /// Parts of the expressions that are being visited, outermost first.
    parts: Vec<usize>,
}

/// Tables that a query reads, and steps one after the other.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    tables: usize,
    steps: usize,
}

#[derive(Default)]
struct Frame {
    extent: Extent,
    /// Its names of WITH that are not visited yet, in order.
    names: VecDeque<String>,
    /// If it is itself a query of WITH: its name.
    name: Option<String>,
}

impl Frame {
    fn add(&mut self, extent: Extent) {
        self.extent.tables = self.extent.tables.saturating_add(extent.tables);
        self.extent.steps = self.extent.steps.max(extent.steps + 1);
    }
}

impl Size<'_> {
    fn refused(&self, what: &str) -> ControlFlow<Box<Problem>> {
        let problem = Problem::new(self.tokens.find("SELECT"), what).hint("split the query, or store a part of it as a table");
        ControlFlow::Break(Box::new(problem))
    }
}

impl Visitor for Size<'_> {
    type Break = Box<Problem>;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        let name = self.queries.last_mut().and_then(|parent| parent.names.pop_front());
        let names = query.with.iter().flat_map(|w| &w.cte_tables).map(|c| c.alias.name.value.clone()).collect();
        self.queries.push(Frame { extent: Extent::default(), names, name });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<Self::Break> {
        let Some(mut frame) = self.queries.pop() else { return ControlFlow::Continue(()) };
        frame.extent.tables = frame.extent.tables.max(1);
        if frame.extent.tables > SQL_TABLES_MAX {
            return self.refused("the query reads too many tables");
        }
        if frame.extent.steps > SQL_PLAN_DEPTH_MAX {
            return self.refused("the query has too many steps");
        }
        match (frame.name, self.queries.last_mut()) {
            (Some(name), _) => _ = self.common.insert(name, frame.extent),
            (None, Some(parent)) => parent.add(frame.extent),
            (None, None) => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        if let (TableFactor::Table { name, .. }, Some(query)) = (factor, self.queries.last_mut()) {
            let last = name.0.last().and_then(|p| p.as_ident()).map_or("", |i| i.value.as_str());
            query.add(self.common.get(last).copied().unwrap_or(Extent { tables: 1, steps: 0 }));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, _expression: &Expr) -> ControlFlow<Self::Break> {
        self.parts.push(0);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Self::Break> {
        let inside = self.parts.pop().unwrap_or(0);
        let times = match expression {
            Expr::Between { .. } => REPEATED,
            Expr::InList { list, .. } if list.len() <= IN_LIST_REPEATED => REPEATED,
            Expr::Function(f) if REPEATING.contains(&f.name.to_string().to_lowercase().as_str()) => REPEATED,
            _ => 1,
        };
        let all = inside.saturating_mul(times).saturating_add(1);
        if let Some(outer) = self.parts.last_mut() {
            *outer = outer.saturating_add(all);
            if *outer > SQL_PARTS_MAX {
                let at = start_or(expression, self.tokens.find("SELECT"));
                return ControlFlow::Break(Box::new(Problem::new(at, "the expressions have too many parts").hint("split the query")));
            }
        }
        ControlFlow::Continue(())
    }
}
