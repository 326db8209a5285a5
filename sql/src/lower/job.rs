//! A whole job. Invariant: filters stand as early as their columns allow; the event time is always read.

use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use sqlparser::tokenizer::Location;
use thalweg_engine::error::Error;
use thalweg_engine::plan::{JobPlan, Scan, Stage};

use super::check::{check, place};
use super::columns::{Needed, mentions_window};
use super::output::{Target, output};
use super::planner::Planner;
use super::reject::Unsupported;
use super::row::{Row, RowColumn};
use super::shape::{Shape, shape};
use super::{lookup, window};
use crate::bind::{BoundQuery, Relation, RelationKind, Tumble};
use crate::diagnostics::{Problem, Result};
use crate::parser::Tokens;
use crate::tables::TableDefinition;
use crate::types;

/// Lowers a query over a stream; its output goes to `sink`, or is only watched.
pub(crate) fn job(planner: &Planner<'_>, bound: BoundQuery, sink: Option<&TableDefinition>) -> Result<JobPlan> {
    let BoundQuery { query, relations, tokens, items } = bound;
    let plan = || {
        let logical = planner.plan(query)?;
        check(&logical)?;
        let shape = shape(planner.coerce(logical)?)?;
        let lowering = Lowering::new(planner, &shape, &relations, &tokens)?;
        lowering.run(&Target { sink, items: &items, at: tokens.find("SELECT") })
    };
    plan().map_err(|p| tokens.place(p))
}

/// EXPLAIN: the plan, the columns of its output, and the fingerprint of its state.
pub(crate) fn explain(plan: &JobPlan, target: &str) -> String {
    let column = |f: &arrow::datatypes::FieldRef| format!("{} {}", f.name(), types::name(f.data_type()));
    let columns: Vec<String> = plan.output.fields().iter().map(column).collect();
    format!("{plan}{target}: {}\nstate {}\n", columns.join(", "), plan.fingerprint())
}

struct Lowering<'a> {
    planner: &'a Planner<'a>,
    shape: &'a Shape,
    relations: &'a [Relation],
    tokens: &'a Tokens,
    needed: Needed,
    stream: &'a Relation,
    definition: &'a TableDefinition,
    tumble: Option<Tumble>,
}

impl<'a> Lowering<'a> {
    fn new(planner: &'a Planner<'a>, shape: &'a Shape, relations: &'a [Relation], tokens: &'a Tokens) -> Result<Self> {
        let stream = relations.iter().find(|r| r.alias == shape.first);
        let Some(stream) = stream else { return Err(Error::internal("the stream of a query is not among its tables").into()) };
        let RelationKind::Stream { definition, tumble } = &stream.kind else {
            return Err(Error::internal("the first table of a query is no stream").into());
        };
        Ok(Self { planner, shape, relations, tokens, needed: Needed::new(shape), stream, definition, tumble: *tumble })
    }

    fn run(&self, target: &Target<'_>) -> Result<JobPlan> {
        let (scan, mut row) = self.scan()?;
        let mut pending = self.conjuncts(&row)?;
        let mut before = Vec::new();
        place_filters(&row, &mut pending, &mut before)?;
        for join in &self.shape.joins {
            let (relation, definition) = self.reference(&join.alias)?;
            let event_time = self.event_time().ok_or_else(|| Unsupported::VERSION_TIME.at(relation.at))?;
            let context = lookup::Context {
                relation,
                definition,
                needed: &self.needed,
                stream: &self.stream.alias,
                event_time: &event_time,
                windowed: self.tumble.is_some(),
            };
            let (lookup, next) = lookup::lookup(join, &row, &context)?;
            before.push(Stage::Lookup(lookup));
            row = next;
            place_filters(&row, &mut pending, &mut before)?;
        }
        if let Some(left) = pending.first() {
            return Err(Error::internal(format!("the condition {left} has no place")).into());
        }
        match (&self.shape.aggregate, self.tumble) {
            (None, None) => {
                let project = output(&self.shape.projection, &row, target)?;
                let schema = project.schema.clone();
                before.push(Stage::Project(project));
                Ok(JobPlan { scan, before, window: None, after: Vec::new(), output: schema })
            }
            (None, Some(_)) => Err(Unsupported::WINDOW_UNGROUPED.at(self.stream.at)),
            (Some(_), None) => Err(Unsupported::GROUP_WITHOUT_WINDOW.at(self.group_at())),
            (Some(node), Some(tumble)) => {
                let event_time = self.event_time().ok_or_else(|| Unsupported::VERSION_TIME.at(self.stream.at))?;
                let context = window::Context { tumble, stream: &self.stream.alias, event_time: &event_time, at: self.group_at() };
                let windowed = window::window(node, &row, self.planner.state(), &context)?;
                let mut after = Vec::new();
                if let Some(having) = &self.shape.having {
                    after.push(Stage::Filter(windowed.row.compile(&windowed.rebase(having.clone())?)?));
                }
                let rebase = |(e, name): &(Expr, String)| Ok((windowed.rebase(e.clone())?, name.clone()));
                let items = self.shape.projection.iter().map(rebase).collect::<Result<Vec<_>>>()?;
                let project = output(&items, &windowed.row, target)?;
                let schema = project.schema.clone();
                after.push(Stage::Project(project));
                Ok(JobPlan { scan, before, window: Some(windowed.window), after, output: schema })
            }
        }
    }

    /// The scan with the columns that are needed, and its row.
    fn scan(&self) -> Result<(Scan, Row<'a>)> {
        let Some(mut scan) = self.definition.scan() else {
            return Err(Error::internal(format!("table '{}' is no stream", self.definition.name)).into());
        };
        let time = self.definition.event_time();
        let wanted = |i: &usize| Some(*i) == time || self.needed.contains(&self.stream.alias, scan.columns[*i].field.name());
        let mut projection: Vec<usize> = (0..scan.columns.len()).filter(wanted).collect();
        if projection.is_empty() {
            projection.push(0);
        }
        scan.projection = projection;
        let column = |&i: &usize| RowColumn {
            table: Some(TableReference::bare(self.stream.alias.clone())),
            name: scan.columns[i].field.name().clone(),
            field: scan.columns[i].field.clone(),
            time_unit: scan.columns[i].time_unit,
        };
        let row = Row::new(self.planner.state(), scan.projection.iter().map(column).collect());
        Ok((scan, row))
    }

    /// The conditions of WHERE, simplified.
    fn conjuncts(&self, scanned: &Row<'a>) -> Result<Vec<Expr>> {
        let Some(filter) = &self.shape.filter else { return Ok(Vec::new()) };
        if self.tumble.is_some() && mentions_window(filter, &self.stream.alias) {
            return Err(Unsupported::WINDOW_COLUMN.at(place(filter)));
        }
        let mut all = scanned.columns().to_vec();
        for join in &self.shape.joins {
            let (_, definition) = self.reference(&join.alias)?;
            all.extend(definition.columns.iter().map(|c| RowColumn {
                table: Some(TableReference::bare(join.alias.clone())),
                name: c.field.name().clone(),
                field: c.field.as_ref().clone().with_nullable(true).into(),
                time_unit: 1,
            }));
        }
        let simple = Row::new(self.planner.state(), all).simplify(filter.clone())?;
        let conjuncts = split_conjunction_owned(simple);
        Ok(conjuncts.into_iter().filter(|c| !is_true(c)).collect())
    }

    fn reference(&self, alias: &str) -> Result<(&'a Relation, &'a TableDefinition)> {
        let relation = self.relations.iter().find(|r| r.alias == alias);
        match relation.map(|r| (r, &r.kind)) {
            Some((relation, RelationKind::Reference { definition, .. })) => Ok((relation, definition)),
            _ => Err(Problem::from(Error::internal(format!("the join with '{alias}' is with no reference table")))),
        }
    }

    /// The event time as a column of the query.
    fn event_time(&self) -> Option<Column> {
        let name = self.definition.columns[self.definition.event_time()?].field.name();
        Some(Column::new(Some(TableReference::bare(self.stream.alias.clone())), name))
    }

    /// Where GROUP BY stands, or the SELECT.
    fn group_at(&self) -> Location {
        match self.tokens.find("GROUP BY") {
            found if found.line > 0 => found,
            _ => self.tokens.find("SELECT"),
        }
    }
}

/// Moves the conditions whose columns are all there into one filter.
fn place_filters(row: &Row<'_>, pending: &mut Vec<Expr>, stages: &mut Vec<Stage>) -> Result<()> {
    let (ready, later): (Vec<Expr>, Vec<Expr>) = pending.drain(..).partition(|e| row.covers(e));
    *pending = later;
    if let Some(filter) = conjunction(ready) {
        stages.push(Stage::Filter(row.compile(&filter)?));
    }
    Ok(())
}

fn is_true(expression: &Expr) -> bool {
    matches!(expression, Expr::Literal(datafusion::common::ScalarValue::Boolean(Some(true)), _))
}
