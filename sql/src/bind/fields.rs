//! Names of fields. Invariant: an item of SELECT that is nothing but a field of a row is named like the field, with a number behind it if
//! another item has the name; a field behind an element of a list is found by its name, as DataFusion wants it: `rows[1]['n']`.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{AccessExpr, Expr, Ident, Query, Select, SelectItem, TableFactor, Value, VisitMut, VisitorMut};

/// Names the items of every SELECT that are fields: `SELECT bid.price FROM t` gives a column `price`.
pub(super) fn name(query: &mut Query) {
    let _: ControlFlow<()> = query.visit(&mut Fields);
}

struct Fields;

impl VisitorMut for Fields {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let tables = tables(select);
        // What `*` stands for is not known here.
        let Some(mut taken) = select.projection.iter().map(|item| named(item, &tables)).collect::<Option<BTreeSet<String>>>() else {
            return ControlFlow::Continue(());
        };
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && let Some(field) = field(expr, &tables)
            {
                let mut alias = Ident { value: field.value.clone(), quote_style: Some('"'), span: field.span };
                let mut number = 0;
                while !taken.insert(alias.value.clone()) {
                    alias.value = format!("{}{number}", field.value);
                    number += 1;
                }
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundFieldAccess { root, access_chain } = expression {
            // What stands before the first element may be a table and its column.
            let is_name = matches!(&**root, Expr::Identifier(_));
            for access in access_chain.iter_mut().skip_while(|a| is_name && matches!(a, AccessExpr::Dot(_))) {
                if let AccessExpr::Dot(name) = access
                    && let Expr::Identifier(ident) = name
                {
                    *name = Expr::Value(Value::SingleQuotedString(ident.value.clone()).with_span(ident.span));
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// The names of the tables of a SELECT.
pub(super) fn tables(select: &Select) -> BTreeSet<String> {
    let factors = select.from.iter().flat_map(|f| std::iter::once(&f.relation).chain(f.joins.iter().map(|j| &j.relation)));
    let alias = |factor: &TableFactor| match factor {
        TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } | TableFactor::UNNEST { alias, .. } => {
            alias.as_ref().map(|a| a.name.value.clone())
        }
        _ => None,
    };
    factors.filter_map(alias).collect()
}

/// The name that an item has by itself, empty if it has none; `None` for many items.
pub(super) fn named(item: &SelectItem, tables: &BTreeSet<String>) -> Option<String> {
    Some(match item {
        SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => ident.value.clone(),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) if field(&Expr::CompoundIdentifier(parts.clone()), tables).is_none() => {
            parts.last()?.value.clone()
        }
        SelectItem::UnnamedExpr(_) => String::new(),
        _ => return None,
    })
}

/// The field that an expression is.
pub(super) fn field<'e>(expression: &'e Expr, tables: &BTreeSet<String>) -> Option<&'e Ident> {
    match expression {
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [] | [_] => None,
            [table, _] if tables.contains(&table.value) => None,
            [.., field] => Some(field),
        },
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last()? {
            AccessExpr::Dot(Expr::Identifier(field)) => Some(field),
            _ => None,
        },
        _ => None,
    }
}
