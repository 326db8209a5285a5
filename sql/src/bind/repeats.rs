//! Items of SELECT that are called like another one. Invariant: only an item without a name of its own that repeats an earlier one gets
//! another name, as in Flink: a column `v` is `v0`, then `v1`; another expression is `EXPR$i`, `i` being its place counted from 0. What two
//! items are called with AS stays, and so does what `*` stands for.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, ObjectName, Query, Select, SelectItem, SetExpr, Value, VisitMut, VisitorMut, visit_expressions, visit_expressions_mut,
};
use sqlparser::tokenizer::Span;

use super::fields;
use crate::diagnostics::start;

/// Names the repeated items of every SELECT: those of `SELECT v, v, n + 1, n + 1 FROM t` are `v`, `v0`, one without a name, and `EXPR$3`.
pub(super) fn name(query: &mut Query) {
    let _: ControlFlow<()> = query.visit(&mut Repeats);
}

struct Repeats;

impl VisitorMut for Repeats {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        // ORDER BY sees names of items before those of columns: what it says is to mean the same.
        let mut ordered = BTreeSet::new();
        let _: ControlFlow<()> = visit_expressions(&query.order_by, |expression| {
            if let Expr::Identifier(ident) = expression {
                ordered.insert(ident.value.clone());
            }
            ControlFlow::Continue(())
        });
        let mut bodies: Vec<&mut SetExpr> = vec![&mut *query.body];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::Select(select) => rename(select, &ordered),
                SetExpr::SetOperation { left, right, .. } => {
                    bodies.push(left);
                    bodies.push(right);
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

fn rename(select: &mut Select, ordered: &BTreeSet<String>) {
    let tables = fields::tables(select);
    let single = tables.first().filter(|_| tables.len() == 1).map(String::as_str);
    // What `*` stands for is not known here.
    let Some(names) = select.projection.iter().map(|item| fields::named(item, &tables)).collect::<Option<Vec<String>>>() else {
        return;
    };
    let mut taken: BTreeSet<String> = names.iter().chain(ordered).cloned().collect();
    // An expression may be written like a column, wherever that stands.
    let columns = select.projection.iter().zip(&names).filter_map(|(item, name)| match item {
        SelectItem::UnnamedExpr(expr) if !name.is_empty() => Some(written(expr, single)),
        _ => None,
    });
    let mut expressions: BTreeSet<String> = columns.collect();
    let mut earlier: BTreeSet<&str> = BTreeSet::new();
    for (i, (item, name)) in select.projection.iter_mut().zip(&names).enumerate() {
        let is_new_name = earlier.insert(name);
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        // A field is named after this.
        if fields::field(expr, &tables).is_some() {
            continue;
        }
        let free = match name.as_str() {
            "" if expressions.insert(written(expr, single)) => continue,
            "" => numbered("EXPR$", i, &mut taken),
            _ if is_new_name => continue,
            column => numbered(column, 0, &mut taken),
        };
        let at = start(&*expr);
        let alias = Ident { value: free, quote_style: Some('"'), span: Span::new(at, at) };
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
    }
}

/// A name that no other item has.
fn numbered(name: &str, first: usize, taken: &mut BTreeSet<String>) -> String {
    let mut number = first;
    loop {
        let free = format!("{name}{number}");
        if taken.insert(free.clone()) {
            return free;
        }
        number += 1;
    }
}

/// An expression as DataFusion calls it: without casts and parentheses, quotes of names, and the name of the only table.
fn written(expression: &Expr, single: Option<&str>) -> String {
    let mut bare = expression.clone();
    let _: ControlFlow<()> = visit_expressions_mut(&mut bare, |part| {
        match part {
            Expr::Cast { expr, .. } | Expr::Nested(expr) => {
                let inner = std::mem::replace(&mut **expr, Expr::Value(Value::Null.into()));
                *part = inner;
            }
            Expr::Identifier(ident) => ident.quote_style = None,
            Expr::CompoundIdentifier(parts) => {
                parts.iter_mut().for_each(|ident| ident.quote_style = None);
                if let [table, column] = parts.as_slice()
                    && single == Some(table.value.as_str())
                {
                    let column = Expr::Identifier(column.clone());
                    *part = column;
                }
            }
            Expr::Function(function) => {
                function.name = ObjectName::from(vec![Ident::new(function.name.to_string().to_lowercase())]);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    bare.to_string()
}
