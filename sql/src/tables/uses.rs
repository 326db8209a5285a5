//! Which tables a statement names. Invariant: every name is found, also where the statement cannot be planned just now; that a name of
//! WITH counts as a table of that name does no harm.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, ObjectName, Query, TableFactor, Visit, Visitor};

use super::catalog::folded;
use crate::parser::{Parsed, TABLE_ARGUMENT};

/// Names without a namespace that a query reads from.
fn reads(query: &Query) -> BTreeSet<String> {
    let mut names = Names(BTreeSet::new());
    let _: ControlFlow<()> = query.visit(&mut names);
    names.0
}

/// Names without a namespace that a statement reads from or writes to.
pub(crate) fn named_tables(statement: &Parsed) -> BTreeSet<String> {
    match statement {
        Parsed::CreateView(view) => reads(&view.query.query),
        Parsed::Query(query) => reads(&query.query),
        Parsed::Insert(insert) => reads(&insert.query.query).into_iter().chain([folded(&insert.sink)]).collect(),
        Parsed::StatementSet(inserts) => inserts.iter().flat_map(|i| reads(&i.query.query).into_iter().chain([folded(&i.sink)])).collect(),
        _ => BTreeSet::new(),
    }
}

/// Names of the tables that a statement writes, in its order.
pub(crate) fn written_tables(statement: &Parsed) -> Vec<String> {
    match statement {
        Parsed::Insert(insert) => vec![folded(&insert.sink)],
        Parsed::StatementSet(inserts) => inserts.iter().map(|i| folded(&i.sink)).collect(),
        _ => Vec::new(),
    }
}

struct Names(BTreeSet<String>);

impl Names {
    fn add(&mut self, parts: &[Ident]) {
        if let [name] = parts {
            self.0.insert(folded(name));
        }
    }
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name: ObjectName(parts), args: None, .. } = factor {
            self.add(&parts.iter().filter_map(|p| p.as_ident().cloned()).collect::<Vec<_>>());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Expr::Prefixed { prefix, value } = expression
            && prefix.value == TABLE_ARGUMENT
        {
            match value.as_ref() {
                Expr::CompoundIdentifier(parts) => self.add(parts),
                Expr::Tuple(all) => {
                    if let Some(Expr::CompoundIdentifier(parts)) = all.first() {
                        self.add(parts);
                    }
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}
