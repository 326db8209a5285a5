//! From DataFusion's plan to steps. Invariant: every node is matched with all that it says; another one is refused with a way out.
//!
//! ```text
//! TableScan            scan.rs        Filter, Projection   project.rs, rank.rs     Join    join.rs, lookup.rs, unnest.rs
//! Aggregate            aggregate.rs, window.rs, group.rs   Window  over.rs         Union   here
//! ```

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::logical_plan::{Filter, SubqueryAlias, TableScan};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::expressions::Column;
use sqlparser::tokenizer::Location;
use thalweg_engine::error::Error;
use thalweg_engine::ids::Name;
use thalweg_engine::plan::{From, Input, Lateness, Scan, Stage, Step, StepKind};
use thalweg_engine::time::Micros;

use super::planner::Planner;
use super::reject::Unsupported;
use super::rel::{At, Late, Rel};
use super::{join, over, project, rank, scan, window};
use crate::bind::{Relation, WINDOW_COLUMNS, WindowSpec};
use crate::diagnostics::{Problem, Result};
use crate::parser::Tokens;

/// What is known of the query while it is lowered, and what has come of it.
pub(super) struct Lowering<'a> {
    pub(super) planner: &'a Planner<'a>,
    pub(super) relations: &'a [Relation],
    pub(super) windows: &'a [WindowSpec],
    pub(super) tokens: &'a Tokens,
    /// How long rows of joins and groups are kept, in microseconds of event time; `None` if nobody said.
    pub(super) ttl: Option<Micros>,
    /// How often windows tell early results, in microseconds of event time; `None` if they do not.
    pub(super) early: Option<Micros>,
    /// Columns that are read of each table.
    pub(super) wanted: BTreeMap<Name, BTreeSet<usize>>,
    pub(super) scans: Vec<Scan>,
    pub(super) inputs: Vec<Input>,
    pub(super) steps: Vec<Step>,
    /// The steps before this one may have several readers: they take no more stages.
    pub(super) shared: usize,
}

impl<'a> Lowering<'a> {
    /// Lowers a node and everything below it.
    pub(super) fn lower(&mut self, plan: &LogicalPlan) -> Result<Rel<'a>> {
        match plan {
            LogicalPlan::TableScan(node) => scan::scan(self, node),
            LogicalPlan::SubqueryAlias(SubqueryAlias { input, schema, .. }) => self.lower(input)?.renamed(schema),
            LogicalPlan::Projection(node) => match rank::above(&node.input) {
                Some(found) => {
                    let shown = node.expr.iter().any(|e| e.column_refs().into_iter().any(|c| c.name == found.name));
                    let rel = rank::rank(self, &found, shown)?;
                    project::project(self, rel, &node.expr, &node.schema)
                }
                None => {
                    let rel = self.lower(&node.input)?;
                    project::project(self, rel, &node.expr, &node.schema)
                }
            },
            LogicalPlan::Filter(Filter { predicate, input, .. }) => match rank::above(plan) {
                Some(found) => {
                    let rel = rank::rank(self, &found, true)?;
                    match found.between {
                        Some(between) => project::project(self, rel, &between.expr, &between.schema),
                        None => Ok(rel),
                    }
                }
                None => {
                    let rel = self.lower(input)?;
                    project::filter(self, rel, predicate)
                }
            },
            LogicalPlan::Aggregate(node) => {
                let rel = self.lower(&node.input)?;
                window::aggregate(self, rel, node)
            }
            LogicalPlan::Join(node) => join::join(self, node),
            LogicalPlan::Window(node) => over::over(self, node),
            LogicalPlan::Union(node) => {
                let inputs = node.inputs.iter().map(|i| self.lower(i)).collect::<Result<Vec<_>>>()?;
                self.union(inputs, &node.schema)
            }
            other => Err(self.refused(other)),
        }
    }

    /// All rows of several queries, under the names of `schema`.
    fn union(&mut self, inputs: Vec<Rel<'a>>, schema: &datafusion::common::DFSchema) -> Result<Rel<'a>> {
        let aligned = project::align_all(self, inputs, schema)?;
        let Some(mut first) = aligned.first().cloned() else { return Err(Error::internal("a UNION of nothing").into()) };
        // What holds for the whole must hold for each.
        let count = schema.fields().len();
        let timed = aligned.iter().all(|r| r.physical.len() > count || r.times.iter().any(|t| *t < count));
        let common: BTreeSet<usize> = (0..first.physical.len()).filter(|i| timed && aligned.iter().all(|r| r.times.contains(i))).collect();
        let attached = first.attached.filter(|a| aligned.iter().all(|r| r.attached == Some(*a)));
        let updating = aligned.iter().any(|r| r.updating);
        let unit = aligned.iter().map(|r| r.unit).min().unwrap_or(1);
        let froms = aligned.into_iter().map(|mut r| self.behind(&mut r, Late::Keep)).collect::<Result<Vec<_>>>()?;
        let schema = first.schema();
        first.at = At::Behind(self.step(froms, StepKind::Union, schema));
        first.times = common;
        first.attached = attached;
        first.updating = updating;
        first.unit = unit;
        first.key = None;
        Ok(first)
    }

    /// Adds a step.
    pub(super) fn step(&mut self, inputs: Vec<From>, kind: StepKind, schema: arrow::datatypes::SchemaRef) -> From {
        self.steps.push(Step { inputs, kind, schema });
        From::Step(self.steps.len() - 1)
    }

    /// Brings rows behind the exchange.
    pub(super) fn behind(&mut self, rel: &mut Rel<'a>, late: Late) -> Result<From> {
        match &mut rel.at {
            At::Behind(from) => {
                let from = *from;
                if let Late::Row(time) = late {
                    self.on_time(from, time);
                }
                Ok(from)
            }
            At::Chain { scan, stages } => {
                let late = match late {
                    Late::Row(time) => Lateness::Row { time },
                    Late::Keep => Lateness::Keep,
                };
                let (scan, stages) = (*scan, std::mem::take(stages));
                let schema = rel.schema();
                self.inputs.push(Input { scan, stages, window: None, late, unit: rel.unit, schema });
                let from = From::Input(self.inputs.len() - 1);
                rel.at = At::Behind(from);
                Ok(from)
            }
        }
    }

    /// Rows that come when the watermark has passed their column `time` are late where they enter: what follows needs the order of time,
    /// and what stands between passes them on as they come.
    pub(super) fn on_time(&mut self, from: From, time: usize) {
        match from {
            From::Input(i) => {
                if let Some(input) = self.inputs.get_mut(i).filter(|i| i.window.is_none() && i.late == Lateness::Keep) {
                    input.late = Lateness::Row { time };
                }
            }
            From::Step(s) => {
                let Some(step) = self.steps.get(s) else { return };
                let time = match &step.kind {
                    StepKind::Union => Some(time),
                    StepKind::Stages(stages) => stages.iter().rev().try_fold(time, before),
                    _ => None,
                };
                let inputs = step.inputs.clone();
                if let Some(time) = time {
                    inputs.into_iter().for_each(|from| self.on_time(from, time));
                }
            }
        }
    }

    /// Adds a step without state.
    pub(super) fn stage(&mut self, rel: &mut Rel<'a>, stage: Stage, schema: arrow::datatypes::SchemaRef) {
        match &mut rel.at {
            At::Chain { stages, .. } => stages.push(stage),
            At::Behind(from) => {
                // A step of stages that nobody else reads takes one more.
                if let From::Step(last) = *from
                    && last + 1 == self.steps.len()
                    && last >= self.shared
                    && let Some(Step { kind: StepKind::Stages(stages), schema: out, .. }) = self.steps.last_mut()
                {
                    stages.push(stage);
                    *out = schema;
                } else {
                    *from = self.step(vec![*from], StepKind::Stages(vec![stage]), schema);
                }
            }
        }
    }

    /// The relation that a scan reads.
    pub(super) fn relation(&self, node: &TableScan) -> Result<&'a Relation> {
        let found = self.relations.iter().find(|r| r.key == node.table_name.table());
        found.ok_or_else(|| Error::internal(format!("'{}' is not among the tables of the query", node.table_name)).into())
    }

    /// The refusal of a node that no step does.
    fn refused(&self, plan: &LogicalPlan) -> Problem {
        let hint = "leave it out, or number rows: ROW_NUMBER() OVER (…) <= n";
        match plan {
            LogicalPlan::Sort(_) => Unsupported::on_stream("ORDER BY", hint).at(self.tokens.clause_inside("ORDER BY")),
            LogicalPlan::Limit(limit) => {
                let words = if limit.fetch.is_some() { "LIMIT" } else { "OFFSET" };
                Unsupported::on_stream("LIMIT", hint).at(self.tokens.clause_inside(words))
            }
            _ => {
                let text = plan.display().to_string();
                let node = text.split([':', ' ']).next().unwrap_or_default().to_owned();
                Problem::new(Location { line: 0, column: 0 }, format!("this form of query is not supported on a stream ({node})"))
                    .hint("docs/sql.md lists what is")
            }
        }
    }

    /// Where a clause stands, or the SELECT.
    pub(super) fn place(&self, words: &str) -> Location {
        match self.tokens.find(words) {
            found if found.line > 0 => found,
            _ => self.tokens.find("SELECT"),
        }
    }

    /// Where a function with OVER is called; an OVER if that is written elsewhere, as in a view.
    pub(super) fn call_place(&self, name: &str) -> Location {
        match self.tokens.call(name) {
            found if found.line > 0 => found,
            _ => self.place("OVER"),
        }
    }

    /// Where a join stands, or the subquery that became one.
    pub(super) fn join_place(&self) -> Location {
        let written = [self.tokens.find("JOIN"), self.tokens.subquery()].into_iter().find(|at| at.line > 0);
        written.unwrap_or_else(|| self.tokens.find("SELECT"))
    }
}

/// The column before a stage that is the event time `column` behind it.
fn before(column: usize, stage: &Stage) -> Option<usize> {
    match stage {
        Stage::Project(project) => {
            let expression: &dyn std::any::Any = project.expressions.get(column)?.as_ref();
            expression.downcast_ref::<Column>().map(Column::index)
        }
        // Its window tells a row's time too, and so does when it counts in an early result.
        Stage::Assign(assign) if column + WINDOW_COLUMNS.len() + usize::from(assign.early.is_some()) >= assign.schema.fields().len() => {
            Some(assign.time)
        }
        Stage::Assign(_) | Stage::Filter(_) | Stage::Lookup(_) | Stage::Unnest(_) => Some(column),
    }
}

/// The columns that every scan of a plan reads.
pub(super) fn wanted(plan: &LogicalPlan, relations: &[Relation]) -> Result<BTreeMap<Name, BTreeSet<usize>>> {
    let mut wanted: BTreeMap<Name, BTreeSet<usize>> = BTreeMap::new();
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(definition) = relations.iter().find(|r| r.key == scan.table_name.table()).and_then(Relation::stream)
        {
            let columns = wanted.entry(definition.name.clone()).or_default();
            match &scan.projection {
                Some(projection) => columns.extend(projection),
                None => columns.extend(0..definition.columns.len()),
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(wanted)
}

/// Conjuncts of a condition that say nothing are left out.
pub(super) fn is_true(expression: &Expr) -> bool {
    matches!(expression, Expr::Literal(datafusion::common::ScalarValue::Boolean(Some(true)), _))
}
