//! Joins with reference tables. Invariant: a lookup compares exactly the primary key, so that a row meets at most one row.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::{Column, DFSchema, JoinType, TableReference};
use datafusion::logical_expr::logical_plan::{Filter, Join, Projection, SubqueryAlias, TableScan};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, LogicalPlan, when};
use datafusion::physical_expr::PhysicalExpr;
use sqlparser::tokenizer::Location;
use thalweg_engine::plan::{Lookup, LookupKind, Stage};

use super::check::place;
use super::lowering::Lowering;
use super::markers;
use super::project::{filter as keep, materialize, project};
use super::reject::Unsupported;
use super::rel::{Physical, Rel, Slot, Visible, requalified};
use crate::bind::{RelationKind, is_newest};
use crate::diagnostics::{Problem, Result};
use crate::tables::TableDefinition;
use crate::types;

/// The right side of a join, if it is a reference table.
pub(super) struct Reference<'a> {
    definition: &'a TableDefinition,
    newest: bool,
    /// Columns that are read, as the plan names them.
    columns: Vec<Visible>,
    /// Conditions on its columns alone.
    conditions: Vec<Expr>,
    at: Location,
}

/// The reference table that a plan is, with conditions on it.
pub(super) fn reference<'a>(lowering: &Lowering<'a>, plan: &LogicalPlan) -> Result<Option<Reference<'a>>> {
    let (mut conditions, mut alias) = (Vec::new(), None);
    let mut node = plan;
    loop {
        match node {
            LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias: outer, .. }) => {
                alias.get_or_insert(outer);
                node = input;
            }
            LogicalPlan::Filter(Filter { predicate, input, .. }) => {
                conditions.extend(split_conjunction_owned(predicate.clone()));
                node = input;
            }
            LogicalPlan::Projection(Projection { expr, input, .. }) if expr.iter().all(|e| matches!(e, Expr::Column(_))) => node = input,
            LogicalPlan::TableScan(scan) => return of_scan(lowering, scan, alias, conditions),
            _ => return Ok(None),
        }
    }
}

fn of_scan<'a>(
    lowering: &Lowering<'a>,
    scan: &TableScan,
    alias: Option<&TableReference>,
    conditions: Vec<Expr>,
) -> Result<Option<Reference<'a>>> {
    let relation = lowering.relation(scan)?;
    let RelationKind::Reference { definition, version } = &relation.kind else { return Ok(None) };
    let Some(version) = version else { return Err(Unsupported::VERSION_MISSING.at(relation.at)) };
    let outside = alias.unwrap_or(&scan.table_name);
    let columns: Vec<Visible> = scan
        .projected_schema
        .fields()
        .iter()
        .enumerate()
        .map(|(i, f)| Visible {
            table: Some(outside.clone()),
            name: f.name().clone(),
            planned: f.data_type().clone(),
            slot: Slot::Physical(i),
        })
        .collect();
    // Conditions below an alias name the table by its key: give them the names of the outside.
    let conditions = conditions.into_iter().map(|e| requalified(e, &scan.table_name, &columns)).collect::<Result<Vec<_>>>()?;
    Ok(Some(Reference { definition, newest: is_newest(version), columns, conditions, at: relation.at }))
}

/// Lowers a join with a reference table.
pub(super) fn lookup<'a>(lowering: &mut Lowering<'a>, node: &Join, reference: &Reference<'a>) -> Result<Rel<'a>> {
    let Reference { definition, newest, columns, conditions, at } = reference;
    let at = *at;
    let kind = match node.join_type {
        JoinType::Inner => LookupKind::Inner,
        JoinType::Left => LookupKind::Left,
        _ => return Err(Unsupported::LOOKUP_KIND.at(at)),
    };
    let mut rel = lowering.lower(&node.left)?;
    if rel.updating {
        return Err(Unsupported::LOOKUP_UPDATING.at(at));
    }
    let of_join: Vec<Expr> = node.filter.iter().cloned().flat_map(split_conjunction_owned).collect();
    let (versions, of_join): (Vec<Expr>, Vec<Expr>) = of_join.into_iter().partition(|c| markers::version(c).is_some());
    let time = match versions.first().and_then(markers::version) {
        None if *newest => None,
        Some(time) => match rel.physical_of(time).filter(|i| rel.times.contains(i)) {
            Some(index) => Some(index),
            None => return Err(Unsupported::VERSION_TIME.at(or(place(time), at))),
        },
        // Without ON there was no place for the version.
        None => return Err(Unsupported::JOIN_CONDITION.at(at)),
    };
    let found = keys(lowering, &mut rel, node, reference)?;
    let rest: Vec<Expr> = conditions.iter().cloned().chain(of_join).collect();
    let shift = rel.physical.len();
    let mut names = Vec::new();
    for column in columns {
        // The key that an inner join found is the key that it looked for.
        let same = found.same.iter().find(|(_, name)| *name == column.name && kind == LookupKind::Inner);
        if let Some((Some(left), _)) = same {
            rel.columns.push(Visible { slot: Slot::Physical(*left), ..column.clone() });
            continue;
        }
        let declared = definition.columns.iter().find(|c| c.field.name() == &column.name);
        let declared = declared.ok_or_else(|| Problem::new(at, format!("'{}' has no column '{}'", definition.name, column.name)))?;
        let nullable = declared.field.is_nullable() || kind == LookupKind::Left;
        let field = Arc::new(declared.field.as_ref().clone().with_nullable(nullable));
        rel.physical.push(Physical { field, unit: 1 });
        rel.columns.push(Visible { slot: Slot::Physical(shift + names.len()), ..column.clone() });
        names.push(column.name.clone());
    }
    let schema = rel.schema();
    let time =
        match time {
            Some(time) => Some(Arc::new(datafusion::physical_expr::expressions::Column::new(rel.physical[time].field.name(), time))
                as Arc<dyn PhysicalExpr>),
            None => None,
        };
    let plan = Lookup { table: definition.name.clone(), kind, keys: found.keys, time, columns: names, schema: schema.clone() };
    lowering.stage(&mut rel, Stage::Lookup(plan), schema);
    if let Some(condition) = conjunction(rest.into_iter().filter(markers::says)) {
        rel = match kind {
            LookupKind::Inner => keep(lowering, rel, &condition)?,
            LookupKind::Left => blank(lowering, rel, (columns, node), &condition)?,
        };
    }
    // What only conditions needed is not seen any more.
    let seen = node
        .schema
        .iter()
        .filter_map(|(table, field)| rel.columns.iter().find(|v| v.name == *field.name() && v.table.as_ref() == table).cloned());
    rel.columns = seen.collect();
    rel.renamed(&node.schema)
}

/// Without the partner of a row that a further condition of ON does not hold for: there was one partner at most. What only the condition
/// needed goes too: each column that stays evaluates it.
fn blank<'a>(lowering: &mut Lowering<'a>, rel: Rel<'a>, (partner, node): (&[Visible], &Join), condition: &Expr) -> Result<Rel<'a>> {
    let (mut fields, mut blanked) = (Vec::new(), Vec::new());
    for seen in rel.columns.iter().filter(|v| node.schema.iter().any(|(t, f)| *f.name() == v.name && t == v.table.as_ref())) {
        let column = Expr::Column(Column::new(seen.table.clone(), &seen.name));
        let is_partners = partner.iter().any(|p| p.name == seen.name && p.table == seen.table);
        blanked.push(if is_partners { when(condition.clone(), column).end()? } else { column });
        fields.push((seen.table.clone(), Arc::new(Field::new(&seen.name, seen.planned.clone(), true))));
    }
    project(lowering, rel, &blanked, &DFSchema::new_with_metadata(fields, HashMap::new())?)
}

/// The keys of a lookup.
struct Keys {
    keys: Vec<(Arc<dyn PhysicalExpr>, String)>,
    /// Columns of the key with the physical column that each is compared with, if it is one.
    same: Vec<(Option<usize>, String)>,
}

/// The pairs of ON, checked against the primary key.
fn keys<'a>(lowering: &mut Lowering<'a>, rel: &mut Rel<'a>, node: &Join, reference: &Reference<'a>) -> Result<Keys> {
    let Reference { definition, columns, at, .. } = reference;
    let at = *at;
    let refused = || Unsupported::JOIN_CONDITION.at(at);
    let key_hint = || format!("its PRIMARY KEY is ({}): compare each of its columns once", definition.primary_key.join(", "));
    let mut pairs = Vec::new();
    for (l, r) in &node.on {
        let column = |e: &Expr| match e {
            Expr::Column(c) => columns.iter().find(|v| v.name == c.name && v.table == c.relation).map(|v| v.name.clone()),
            _ => None,
        };
        let Some(column) = column(r) else { return Err(refused().hint(key_hint())) };
        if pairs.iter().any(|(_, c)| *c == column) || !definition.primary_key.contains(&column) {
            return Err(refused().hint(key_hint()));
        }
        pairs.push((l.clone(), column));
    }
    if pairs.len() != definition.primary_key.len() {
        return Err(refused().hint(key_hint()));
    }
    if pairs.iter().any(|(e, _)| rel.mentions_window(e)) {
        materialize(lowering, rel)?;
    }
    let same: Vec<(Option<usize>, String)> = pairs.iter().map(|(e, c)| (rel.physical_of(e), c.clone())).collect();
    let mut keys = Vec::new();
    for (expression, column) in pairs {
        let compiled = rel.compile(&expression)?;
        let (left, right) = (compiled.data_type(&rel.schema())?, column_type(definition, &column));
        if Some(&left) != right {
            let right = right.map_or_else(String::new, types::name);
            return Err(Problem::new(at, format!("the key '{column}' is {right}, but it is compared with {}", types::name(&left)))
                .hint(format!("CAST the other side to {right}")));
        }
        keys.push((compiled, column));
    }
    Ok(Keys { keys, same })
}

fn column_type<'a>(definition: &'a TableDefinition, name: &str) -> Option<&'a arrow::datatypes::DataType> {
    definition.columns.iter().find(|c| c.field.name() == name).map(|c| c.field.data_type())
}

/// A place, or another one if it is not known.
fn or(place: Location, otherwise: Location) -> Location {
    if place.line > 0 { place } else { otherwise }
}
