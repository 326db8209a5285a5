//! Where columns come from. Invariant: a column is told by the columns of streams and the expressions that make it, never by its place,
//! so that the same value has the same text in every plan that computes it.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use super::job::{From, JobPlan, StepKind};
use super::node::{Scan, Stage, Window};

/// The origin of each column of a batch, with its name there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lineage {
    names: Vec<String>,
    origins: Vec<String>,
}

/// Origins of every row of a plan.
#[derive(Debug)]
pub(super) struct Origins {
    /// Of each input's rows, before its window if it has one.
    pub(super) before_window: Vec<Lineage>,
    inputs: Vec<Lineage>,
    steps: Vec<Lineage>,
}

impl Lineage {
    fn of(schema: &Schema, origins: Vec<String>) -> Self {
        Self { names: schema.fields().iter().map(|f| f.name().clone()).collect(), origins }
    }

    /// Where a column comes from.
    pub(super) fn column(&self, index: usize) -> String {
        self.origins.get(index).cloned().unwrap_or_else(|| format!("column {index}"))
    }

    /// An expression, over origins.
    pub(super) fn text(&self, expression: &Arc<dyn PhysicalExpr>) -> String {
        self.rewrite(&expression.to_string())
    }

    /// Of rows with the columns of both, of which each says on which side it stood: they may be the same ones.
    pub(super) fn beside(&self, other: &Self) -> Self {
        let from = |side: &str, origins: &[String]| origins.iter().map(|o| format!("{side} {o}")).collect::<Vec<_>>();
        Self {
            names: [self.names.as_slice(), &other.names].concat(),
            origins: [from("left", &self.origins), from("right", &other.origins)].concat(),
        }
    }

    /// Expressions print columns as `name@place`: the greatest places first, so that `@1` is not found in `@12`.
    fn rewrite(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (place, (name, origin)) in self.names.iter().zip(&self.origins).enumerate().rev() {
            text = text.replace(&format!("{name}@{place}"), origin);
        }
        text
    }
}

/// A text about rows of `schema`, over origins.
pub(super) fn rewrite(text: &str, schema: &Schema, origin: &Lineage) -> String {
    Lineage::of(schema, origin.origins.clone()).rewrite(text)
}

impl Origins {
    pub(super) fn of(plan: &JobPlan) -> Self {
        let mut origins = Self { before_window: Vec::new(), inputs: Vec::new(), steps: Vec::new() };
        for input in &plan.inputs {
            let scan = plan.scans.get(input.scan);
            let mut rows = scan.map_or_else(Lineage::default, |s| Lineage::of(&s.schema(), scan_columns(s, plan.scans.len() == 1)));
            for stage in &input.stages {
                rows = behind_stage(stage, &rows);
            }
            let after = input.window.as_ref().map_or_else(|| rows.clone(), |w| behind_window(w, &rows));
            origins.before_window.push(rows);
            origins.inputs.push(Lineage::of(&input.schema, after.origins));
        }
        for step in &plan.steps {
            let inputs: Vec<Lineage> = step.inputs.iter().map(|&from| origins.rows(from).cloned().unwrap_or_default()).collect();
            let rows = behind_step(&step.kind, &inputs, step.schema.fields().len());
            origins.steps.push(Lineage::of(&step.schema, rows));
        }
        origins
    }

    /// Of the rows of an input or step.
    pub(super) fn rows(&self, from: From) -> Option<&Lineage> {
        match from {
            From::Input(i) => self.inputs.get(i),
            From::Step(s) => self.steps.get(s),
        }
    }
}

/// A plan of one stream says `site`, one of several says `telemetry.site`.
fn scan_columns(scan: &Scan, is_only: bool) -> Vec<String> {
    let name = |&i: &usize| {
        let name = scan.columns[i].field.name();
        let name = if is_only { name.clone() } else { format!("{}.{name}", scan.table) };
        scan.columns[i].computed().map_or(name.clone(), |c| format!("{name} as {}", c.text))
    };
    scan.projection.iter().map(name).collect()
}

fn behind_stage(stage: &Stage, before: &Lineage) -> Lineage {
    let Some(schema) = stage.schema() else { return before.clone() };
    let kept = before.origins.clone();
    let added = |what: &str| {
        let names = schema.fields().iter().skip(kept.len()).map(|f| format!("{} {what}", f.name()));
        kept.iter().cloned().chain(names.collect::<Vec<_>>()).collect()
    };
    let origins = match stage {
        Stage::Filter(_) => kept,
        Stage::Project(p) => p.expressions.iter().map(|e| before.text(e)).collect(),
        Stage::Lookup(l) => {
            let keys: Vec<String> = l.keys.iter().map(|(e, column)| format!("{} = {column}", before.text(e))).collect();
            let version = l.time.as_ref().map_or_else(String::new, |time| format!(" at {}", before.text(time)));
            added(&format!("of {} on {}{version}", l.table, keys.join(", ")))
        }
        Stage::Assign(a) => added(&format!("of {}", a.parameters)),
        Stage::Unnest(u) => added(&format!("of the elements of {}", before.column(u.column))),
    };
    Lineage::of(schema, origins)
}

fn behind_window(window: &Window, before: &Lineage) -> Lineage {
    let ends = ["window_start", "window_end"].map(|end| format!("{end} of {}", window.parameters));
    let keys = window.keys.iter().map(|(e, _)| before.text(e));
    let calls = window.aggregates.iter().map(|a| a.name.clone());
    Lineage::of(&window.schema(), ends.into_iter().chain(keys).chain(calls).collect())
}

/// Origins of `width` columns.
fn behind_step(kind: &StepKind, inputs: &[Lineage], width: usize) -> Vec<String> {
    let first = inputs.first().cloned().unwrap_or_default();
    let mut origins = match kind {
        StepKind::Stages(stages) => stages.iter().fold(first, |rows, stage| behind_stage(stage, &rows)).origins,
        StepKind::Union => {
            let all = |column: usize| {
                let mut each: Vec<String> = inputs.iter().map(|i| i.column(column)).collect();
                each.dedup();
                each.join(" or ")
            };
            (0..width).map(all).collect()
        }
        StepKind::Window { window, .. } => behind_window(window, &first).origins,
        StepKind::Group(g) => g.keys.iter().map(|(e, _)| first.text(e)).chain(g.aggregates.iter().map(|a| a.name.clone())).collect(),
        StepKind::Over(o) => first.origins.iter().cloned().chain(o.calls.iter().map(|c| first.rewrite(&c.to_string()))).collect(),
        StepKind::Rank(_) => first.origins.iter().cloned().chain(["place".to_owned()]).collect(),
        StepKind::Upsert(_) => first.origins,
        StepKind::IntervalJoin(_) | StepKind::WindowJoin(_) | StepKind::AsofJoin(_) | StepKind::RegularJoin(_) => {
            first.beside(&inputs.get(1).cloned().unwrap_or_default()).origins
        }
    };
    origins.truncate(width);
    origins.resize_with(width, || "another column".to_owned());
    origins
}
