//! Joins with the elements of a list. Invariant: the rows of the left side go on as they are, their event time with them; conditions on
//! elements are looked at when the elements are rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::{JoinType, TableReference};
use datafusion::logical_expr::logical_plan::{Filter, Join, Projection, SubqueryAlias, TableScan};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use sqlparser::tokenizer::Location;
use thalweg_engine::error::Error;
use thalweg_engine::plan::{Project, Stage, Unnest};

use super::lowering::Lowering;
use super::markers;
use super::project::filter as keep;
use super::reject::Unsupported;
use super::rel::{Physical, Rel, Slot, Visible, unaliased};
use crate::bind::{Elements, Relation, RelationKind};
use crate::diagnostics::{Problem, Result};
use crate::types;

/// Name of a list that had to be computed.
const LIST: &str = "$list";

/// The columns of a list's elements. Errors: `Invalid` if `list` is none, or the names are too few or too many.
pub(super) fn schema(list: &DataType, elements: &Elements, at: Location) -> Result<SchemaRef> {
    let fields: Fields = match list {
        DataType::List(element) | DataType::LargeList(element) => match element.data_type() {
            DataType::Struct(fields) => fields.clone(),
            _ => Fields::from(vec![element.clone()]),
        },
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => fields.clone(),
            _ => Fields::empty(),
        },
        other => {
            return Err(Problem::new(at, format!("UNNEST takes an ARRAY or a MAP, found {}", types::name(other)))
                .hint("make a list of a text with string_to_array(text, ',')"));
        }
    };
    let mut fields: Vec<FieldRef> = fields.iter().cloned().collect();
    if elements.ordinality {
        fields.push(Arc::new(Field::new("ordinality", DataType::Int32, true)));
    }
    if fields.len() != elements.names.len() {
        let problem = Problem::new(at, format!("this UNNEST makes {} columns, and {} are named", fields.len(), elements.names.len()));
        let kinds: Vec<String> = fields.iter().map(|f| types::name(f.data_type())).collect();
        return Err(problem.hint(format!("name one column for each of ({})", kinds.join(", "))));
    }
    let named = fields.iter().zip(&elements.names).map(|(f, name)| f.as_ref().clone().with_name(&name.value).with_nullable(true));
    Ok(Arc::new(Schema::new(named.collect::<Vec<Field>>())))
}

/// The right side of a join, if it is made by UNNEST.
pub(super) fn elements<'a>(lowering: &Lowering<'a>, plan: &LogicalPlan) -> Result<Option<&'a Relation>> {
    match plan {
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. })
        | LogicalPlan::Filter(Filter { input, .. })
        | LogicalPlan::Projection(Projection { input, .. }) => elements(lowering, input),
        LogicalPlan::TableScan(scan) => {
            let relation = lowering.relation(scan)?;
            Ok(matches!(relation.kind, RelationKind::Elements(_)).then_some(relation))
        }
        _ => Ok(None),
    }
}

/// Lowers a join with the elements of a list.
pub(super) fn unnest<'a>(lowering: &mut Lowering<'a>, node: &Join, relation: &'a Relation) -> Result<Rel<'a>> {
    let at = relation.at;
    let RelationKind::Elements(Elements { ordinality, .. }) = &relation.kind else { return Err(Unsupported::UNNEST_FIRST.at(at)) };
    let outer = match node.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        _ => return Err(Unsupported::UNNEST_KIND.at(at)),
    };
    let of_join = node.filter.iter().cloned().flat_map(split_conjunction_owned);
    let (marked, mut rest): (Vec<Expr>, Vec<Expr>) = of_join.partition(|c| markers::list(c).is_some());
    rest.extend(node.on.iter().map(|(l, r)| l.clone().eq(r.clone())));
    let Some(list) = marked.first().and_then(markers::list) else { return Err(Unsupported::UNNEST_KIND.at(at)) };
    let mut rel = lowering.lower(&node.left)?;
    let column = computed(lowering, &mut rel, list)?;
    let scan = scan(&node.right).ok_or_else(|| Error::internal("UNNEST without a scan"))?;
    let first = rel.physical.len();
    // The declared columns of the scan, whatever is read of them.
    for field in scan.source.schema().fields() {
        rel.physical.push(Physical { field: field.clone(), unit: 1 });
    }
    rel.key = None;
    let schema = rel.schema();
    lowering.stage(&mut rel, Stage::Unnest(Unnest { column, ordinality: *ordinality, outer, schema: schema.clone() }), schema);
    let left = std::mem::take(&mut rel.columns);
    let mut rel = right(lowering, rel, &node.right, first)?;
    rel.columns.splice(0..0, left);
    // What a LEFT JOIN asks of elements, it asks before it pads.
    if outer && (!rest.is_empty() || filters(&node.right)) {
        return Err(Unsupported::UNNEST_KIND.at(at));
    }
    if let Some(condition) = conjunction(rest) {
        rel = keep(lowering, rel, &condition)?;
    }
    let seen = node
        .schema
        .iter()
        .filter_map(|(table, field)| rel.columns.iter().find(|v| v.name == *field.name() && v.table.as_ref() == table).cloned());
    rel.columns = seen.collect();
    rel.renamed(&node.schema)
}

/// Index of the list among the physical columns.
fn computed<'a>(lowering: &mut Lowering<'a>, rel: &mut Rel<'a>, list: &Expr) -> Result<usize> {
    if let Some(column) = rel.physical_of(list) {
        return Ok(column);
    }
    let compiled = rel.compile(list)?;
    let field = Arc::new(Field::new(LIST, compiled.data_type(&rel.schema())?, true));
    let same = |(i, p): (usize, &Physical)| Arc::new(Column::new(p.field.name(), i)) as Arc<dyn PhysicalExpr>;
    let expressions = rel.physical.iter().enumerate().map(same).chain([compiled]).collect();
    rel.physical.push(Physical { field, unit: 1 });
    let schema = rel.schema();
    lowering.stage(rel, Stage::Project(Project { expressions, schema: schema.clone() }), schema);
    Ok(rel.physical.len() - 1)
}

fn scan(plan: &LogicalPlan) -> Option<&TableScan> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan),
        other => other.inputs().first().and_then(|input| scan(input)),
    }
}

fn filters(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Filter(_)) || plan.inputs().iter().any(|input| filters(input))
}

fn visible(table: Option<&TableReference>, field: &FieldRef, column: usize) -> Visible {
    Visible { table: table.cloned(), name: field.name().clone(), planned: field.data_type().clone(), slot: Slot::Physical(column) }
}

/// What stands above the scan of the elements; `first` is the physical column of the first of them.
fn right<'a>(lowering: &mut Lowering<'a>, mut rel: Rel<'a>, plan: &LogicalPlan, first: usize) -> Result<Rel<'a>> {
    match plan {
        LogicalPlan::TableScan(node) => {
            let all: Vec<usize> = (0..node.source.schema().fields().len()).collect();
            let read = node.projection.as_ref().unwrap_or(&all);
            rel.columns =
                read.iter().zip(node.projected_schema.iter()).map(|(i, (table, field))| visible(table, field, first + i)).collect();
            Ok(rel)
        }
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, schema, .. }) => right(lowering, rel, input, first)?.renamed(schema),
        LogicalPlan::Filter(Filter { predicate, input, .. }) => {
            let rel = right(lowering, rel, input, first)?;
            keep(lowering, rel, predicate)
        }
        LogicalPlan::Projection(Projection { expr, input, schema, .. }) => {
            let mut rel = right(lowering, rel, input, first)?;
            let columns = expr.iter().zip(schema.iter()).map(|(e, (table, field))| {
                let column = rel.physical_of(unaliased(e)).ok_or_else(|| Error::internal(format!("{e} over elements")))?;
                Ok(visible(table, field, column))
            });
            rel.columns = columns.collect::<Result<Vec<_>>>()?;
            Ok(rel)
        }
        other => Err(Error::internal(format!("{} over elements", other.display())).into()),
    }
}
