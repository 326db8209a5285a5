//! A whole job. Invariant: what goes to a sink fits it: columns by place and type, and changes only where a key tells rows apart.

use arrow::datatypes::FieldRef;
use datafusion::common::Column;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use sqlparser::tokenizer::Location;
use thalweg_engine::error::Error;
use thalweg_engine::plan::{JobPlan, OutputPlan, Stage, StepKind, Upsert};

use super::check::check;
use super::lowering::{Lowering, wanted};
use super::optimize::optimize;
use super::output::{Target, output, telling};
use super::planner::Planner;
use super::project::{attach_markers, materialize};
use super::rel::{At, Late, Rel};
use super::{rank, reject::Unsupported};
use crate::bind::{Bound, BoundQuery};
use crate::diagnostics::{Problem, Result};
use crate::settings::Settings;
use crate::tables::TableDefinition;
use crate::types;

/// A query of a job, and where its rows go; `None` if they are only watched.
pub(crate) struct JobQuery<'a> {
    pub(crate) planner: Planner<'a>,
    pub(crate) bound: BoundQuery,
    pub(crate) sink: Option<&'a TableDefinition>,
}

/// Lowers the queries of a job; they share what they scan.
pub(crate) fn job(queries: Vec<JobQuery<'_>>, settings: &Settings) -> Result<JobPlan> {
    let at = queries.first().map_or(Location { line: 0, column: 0 }, |q| q.bound.tokens.find("SELECT"));
    let (ttl, early) = (settings.state_ttl(), settings.early().map_err(|e| Problem::from(e).or_at(at))?);
    let mut planned = Vec::new();
    for JobQuery { planner, bound, sink } in queries {
        let BoundQuery { query, relations, windows, tokens, items } = bound;
        let plan = || {
            let logical = planner.plan(query)?;
            check(&logical)?;
            optimize(planner.coerce(logical)?, planner.options())
        };
        let logical = plan().map_err(|p: Problem| tokens.place(p))?;
        planned.push((planner, relations, windows, tokens, items, sink, logical));
    }
    let mut columns = std::collections::BTreeMap::new();
    for (_, relations, .., logical) in &planned {
        for (table, more) in wanted(logical, relations)? {
            columns.entry(table).or_insert_with(std::collections::BTreeSet::new).extend(more);
        }
    }
    let mut job =
        JobPlan { scans: Vec::new(), inputs: Vec::new(), steps: Vec::new(), outputs: Vec::new(), parallelism: settings.parallelism() };
    for (planner, relations, windows, tokens, items, sink, logical) in &planned {
        let mut lowering = Lowering {
            planner,
            relations,
            windows,
            tokens,
            ttl,
            early,
            wanted: columns.clone(),
            scans: std::mem::take(&mut job.scans),
            inputs: std::mem::take(&mut job.inputs),
            steps: std::mem::take(&mut job.steps),
            shared: 0,
        };
        let target = Target { sink: *sink, items, at: tokens.find("SELECT") };
        let out = lowering.output(logical, &target).map_err(|p| tokens.place(p))?;
        job.outputs.push(out);
        (job.scans, job.inputs, job.steps) = (lowering.scans, lowering.inputs, lowering.steps);
    }
    Ok(job)
}

impl<'a> Lowering<'a> {
    /// Lowers a whole query up to its sink.
    fn output(&mut self, plan: &LogicalPlan, target: &Target<'_>) -> Result<OutputPlan> {
        let (mut rel, items) = self.items(plan)?;
        let project = output(&items, &rel, target)?;
        let schema = project.schema.clone();
        let is_told_apart = match target.sink.filter(|_| rel.updating) {
            Some(sink) if sink.primary_key.is_empty() => {
                return Err(no_key(sink, telling(&items, &rel, sink), self.early.is_some(), target.at));
            }
            Some(sink) => telling(&items, &rel, sink).is_some_and(|key| key.iter().all(|k| sink.primary_key.iter().any(|p| p == k))),
            None => true,
        };
        self.stage(&mut rel, Stage::Project(project), schema.clone());
        if let At::Chain { .. } = rel.at {
            // The event time is not among the columns any more, and nothing behind needs it.
            rel.times.clear();
        }
        let mut from = match &rel.at {
            At::Behind(from) => *from,
            At::Chain { .. } => self.last_input(&mut rel, &schema)?,
        };
        let key = target.sink.map(|s| &s.primary_key).into_iter().flatten();
        let key = key.map(|k| schema.index_of(k)).collect::<std::result::Result<Vec<usize>, _>>();
        let key = key.map_err(|e| Error::internal(e.to_string()))?;
        if !is_told_apart {
            let upsert = Upsert { key: key.clone(), ttl: self.ttl, schema: schema.clone() };
            from = self.step(vec![from], StepKind::Upsert(upsert), schema.clone());
        }
        Ok(OutputPlan { from, schema, updating: rel.updating, key })
    }

    /// An input whose rows leave as they are.
    fn last_input(&mut self, rel: &mut Rel<'a>, schema: &arrow::datatypes::SchemaRef) -> Result<thalweg_engine::plan::From> {
        let from = self.behind(rel, Late::Keep)?;
        if let Some(input) = self.inputs.last_mut() {
            input.schema = schema.clone();
        }
        Ok(from)
    }

    /// The rows below the last SELECT, and its items with their names.
    fn items(&mut self, plan: &LogicalPlan) -> Result<(Rel<'a>, Vec<(Expr, String)>)> {
        let named = |e: &Expr, name: &String| (e.clone(), name.clone());
        if let LogicalPlan::Projection(node) = plan
            && rank::above(&node.input).is_none()
        {
            let mut rel = self.lower(&node.input)?;
            let items = attach_markers(self, &mut rel, &node.expr)?;
            materialize(self, &mut rel)?;
            let items = items.iter().zip(node.schema.fields()).map(|(e, f)| named(e, f.name())).collect();
            return Ok((rel, items));
        }
        let mut rel = self.lower(plan)?;
        materialize(self, &mut rel)?;
        let items = rel.columns.iter().map(|v| (Expr::Column(Column::new(v.table.clone(), &v.name)), v.name.clone())).collect();
        Ok((rel, items))
    }
}

/// The refusal of changes for a table without a key; `telling` are the columns that would do.
fn no_key(sink: &TableDefinition, telling: Option<Vec<&str>>, is_early: bool, at: Location) -> Problem {
    let problem = Unsupported::UPDATES.named(&sink.name, at);
    let otherwise = if is_early { "RESET 'table.exec.emit.early-fire.enabled'" } else { "group by windows" };
    match telling {
        Some(key) if !key.is_empty() => {
            problem.hint(format!("declare PRIMARY KEY ({}) NOT ENFORCED in the table, or {otherwise}", key.join(", ")))
        }
        _ => problem,
    }
}

/// Columns of a query, as far as they are known before it is lowered: that is enough for a view, which is lowered with the query
/// that names it.
pub(crate) fn columns(state: &SessionState, bound: Bound) -> Result<Vec<FieldRef>> {
    let (bound, on_stream) = match bound {
        Bound::Stream(bound) => (bound, true),
        Bound::Batch(bound) => (bound, false),
    };
    let planner = Planner::new(state, &bound.relations).map_err(|p| bound.tokens.place(p))?;
    let plan = || {
        let logical = planner.plan(bound.query)?;
        if on_stream {
            check(&logical)?;
        }
        planner.coerce(logical)
    };
    let logical = plan().map_err(|p: Problem| bound.tokens.place(p))?;
    Ok(logical.schema().fields().iter().cloned().collect())
}

/// EXPLAIN: the plan, the columns of each output, and the fingerprint of its state.
pub(crate) fn explain(plan: &JobPlan, targets: &[String]) -> String {
    let column = |f: &FieldRef| format!("{} {}", f.name(), types::name(f.data_type()));
    let mut text = plan.to_string();
    for (output, target) in plan.outputs.iter().zip(targets) {
        let columns: Vec<String> = output.schema.fields().iter().map(column).collect();
        text.push_str(&format!("{target}: {}\n", columns.join(", ")));
        if !output.key.is_empty() {
            let key: Vec<&str> = output.key.iter().map(|&i| output.schema.field(i).name().as_str()).collect();
            text.push_str(&format!("  upsert: of each ({}) the newest row\n", key.join(", ")));
        }
    }
    text.push_str(&format!("state {}\n", plan.fingerprint()));
    text
}
