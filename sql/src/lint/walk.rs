//! The way through a script. Invariant: each statement, query, SELECT, table and expression is shown to each family once; a unit of time is
//! no expression.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Query, Select, TableFactor, Visit, Visitor};

use super::report::Report;
use super::scope::Scope;
use super::script::{Script, Stated};
use crate::bind::takes_unit;
use crate::parser::{ColumnKind, Parsed};

/// Rules of one kind, and where they look.
pub(super) struct Family {
    pub(super) statement: fn(&Stated, &Script<'_>, &mut Report<'_>),
    pub(super) query: fn(&Query, &Scope<'_>, &mut Report<'_>),
    pub(super) select: fn(&Select, &Scope<'_>, &mut Report<'_>),
    pub(super) table: fn(&TableFactor, &Scope<'_>, &mut Report<'_>),
    pub(super) expression: fn(&Expr, &Scope<'_>, &mut Report<'_>),
}

impl Family {
    /// Looks nowhere.
    pub(super) const BLIND: Self =
        Self { statement: |_, _, _| {}, query: |_, _, _| {}, select: |_, _, _| {}, table: |_, _, _| {}, expression: |_, _, _| {} };
}

/// Shows a script to the families.
pub(super) fn walk(script: &Script<'_>, families: &[&Family], report: &mut Report<'_>) {
    for stated in &script.statements {
        families.iter().for_each(|f| (f.statement)(stated, script, report));
        for text in stated.queries() {
            let scope = Scope::of(script, &text.tokens, &text.query);
            let _: ControlFlow<()> = text.query.visit(&mut Walk { scope: &scope, families, report, before_unit: false });
        }
        let Parsed::CreateTable(table) = &stated.parsed else { continue };
        let scope = Scope::within(script, &stated.tokens, &table.name);
        let computed = table.columns.iter().filter_map(|c| match &c.kind {
            ColumnKind::Computed { expression, .. } => Some(expression.as_ref()),
            ColumnKind::Typed { .. } => None,
        });
        for expression in computed.chain(table.watermark.iter().map(|w| w.expression.as_ref())) {
            let _: ControlFlow<()> = expression.visit(&mut Walk { scope: &scope, families, report, before_unit: false });
        }
    }
}

struct Walk<'a, 's, 'r> {
    scope: &'a Scope<'s>,
    families: &'a [&'a Family],
    report: &'a mut Report<'r>,
    /// The next expression is a unit of time, which looks like a column.
    before_unit: bool,
}

impl Visitor for Walk<'_, '_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.families.iter().for_each(|f| (f.query)(query, self.scope, self.report));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.families.iter().for_each(|f| (f.select)(select, self.scope, self.report));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        self.families.iter().for_each(|f| (f.table)(table, self.scope, self.report));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if std::mem::replace(&mut self.before_unit, takes_unit(expression)) {
            return ControlFlow::Continue(());
        }
        self.families.iter().for_each(|f| (f.expression)(expression, self.scope, self.report));
        ControlFlow::Continue(())
    }
}
