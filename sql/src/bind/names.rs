//! Names written in another case. Invariant: a name is changed only if it exists nowhere in the query as written, is not quoted,
//! and matches exactly one name that does exist: so a change can turn an error into a query, never a query into another.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, TableAlias, TableFactor, VisitMut, VisitorMut,
};

use super::relations::{Relation, RelationKind};
use super::windows::WINDOW_COLUMNS;

/// Resolves names of columns and tables as declared.
pub(super) fn resolve(query: &mut Query, relations: &[Relation], windows: bool) {
    let mut known = Known::default();
    if windows {
        known.columns.extend(WINDOW_COLUMNS.map(str::to_owned));
    }
    for relation in relations {
        known.tables.insert(relation.alias.clone());
        match &relation.kind {
            RelationKind::Stream { definition } | RelationKind::Reference { definition, .. } => {
                known.columns.extend(definition.columns.iter().map(|c| c.field.name().clone()))
            }
            RelationKind::Elements(_) => {}
            RelationKind::Lake(table) => known.columns.extend(table.schema().fields().iter().map(|f| f.name().clone())),
        }
    }
    let _: ControlFlow<()> = query.visit(&mut Collect(&mut known));
    let _: ControlFlow<()> = query.visit(&mut Resolve(&known));
}

/// Columns that a query itself names.
pub(super) fn given_columns(query: &mut Query) -> BTreeSet<String> {
    let mut known = Known::default();
    let _: ControlFlow<()> = query.visit(&mut Collect(&mut known));
    known.columns
}

#[derive(Default)]
struct Known {
    tables: BTreeSet<String>,
    columns: BTreeSet<String>,
}

fn fix(known: &BTreeSet<String>, ident: &mut Ident) {
    if ident.quote_style.is_some() || known.contains(&ident.value) {
        return;
    }
    let mut same = known.iter().filter(|k| k.to_lowercase() == ident.value.to_lowercase());
    if let (Some(only), None) = (same.next(), same.next()) {
        ident.value.clone_from(only);
    }
}

/// Gathers the names that the query itself gives.
struct Collect<'a>(&'a mut Known);

impl Collect<'_> {
    fn alias(&mut self, alias: &TableAlias) {
        self.0.tables.insert(alias.name.value.clone());
        self.0.columns.extend(alias.columns.iter().map(|c| c.name.value.clone()));
    }
}

impl VisitorMut for Collect<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|w| &w.cte_tables) {
            self.alias(&cte.alias);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. } = factor
        {
            alias.iter().for_each(|a| self.alias(a));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                self.0.columns.insert(alias.value.clone());
            }
        }
        ControlFlow::Continue(())
    }
}

/// Changes names that are written in another case.
struct Resolve<'a>(&'a Known);

impl VisitorMut for Resolve<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        match expression {
            Expr::Identifier(column) => fix(&self.0.columns, column),
            Expr::CompoundIdentifier(parts) => {
                if let [table, column] = parts.as_mut_slice() {
                    fix(&self.0.tables, table);
                    fix(&self.0.columns, column);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item
                && let [ObjectNamePart::Identifier(table)] = name.0.as_mut_slice()
            {
                fix(&self.0.tables, table);
            }
        }
        ControlFlow::Continue(())
    }
}
