//! What of a plan keeps state, part by part, in words. Invariant: two parts are equal exactly if the state of one can be taken over by
//! the other; what stands before, between and behind them, and keeps nothing, is not in it, unless parts of one query are equal (`twins`).
//!
//! Columns are named by where they come from, not by their place: another projection or an expression more moves places and changes
//! no state.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;
use serde::{Deserialize, Serialize};

use super::display::span;
use super::job::{JobPlan, StepKind, WindowSource};
use super::lineage::{Lineage, Origins, rewrite};
use super::node::{Scan, Window};
use super::stateful::{Group, JoinSide, Over, Rank, Upsert};
use super::sums::told;
use crate::limits::KEY_GROUPS;
use crate::time::{MILLISECOND, Micros, SECOND};

/// What it says of one thing: `("size", "10 s")`.
pub type Trait = (String, String);

/// One part of a job with state of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatePart {
    /// What it is: `window`, `interval join`.
    pub what: String,
    /// Everything that its state depends on, in a fixed order.
    pub traits: Vec<Trait>,
}

/// A stream that is read: offsets and watermarks are state too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanPart {
    /// Stream of the log.
    pub stream: String,
    /// Table that it was read as.
    pub table: String,
    /// Its event time and watermark.
    pub part: StatePart,
}

/// All parts of a job, in the order in which a checkpoint holds their states.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateLayout {
    /// By number of the scan.
    pub scans: Vec<ScanPart>,
    /// Windows of inputs, each with the number of its scan; a part of their state is with each partition.
    pub windows: Vec<(usize, StatePart)>,
    /// Steps where partitions meet.
    pub steps: Vec<StatePart>,
    /// How many tables it writes.
    pub outputs: usize,
    /// If parts of it are equal and stand over different rows: a checksum of what those are, for only that tells them apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
}

impl JobPlan {
    /// What of it keeps state.
    pub fn layout(&self) -> StateLayout {
        let origins = Origins::of(self);
        let windows = self.inputs.iter().enumerate().filter_map(|(number, input)| {
            let window = input.window.as_ref()?;
            let mut part = window_part(window, &origins.before_window[number]);
            part.traits.insert(0, ("stream".to_owned(), self.scans.get(input.scan).map_or_else(String::new, |s| s.stream.to_string())));
            part.traits.push(("precision".to_owned(), length(input.unit)));
            Some((input.scan, part))
        });
        let steps = self.steps.iter().filter(|s| s.kind.has_state()).map(|step| {
            let inputs: Vec<(&Lineage, &Schema)> =
                step.inputs.iter().filter_map(|&from| Some((origins.rows(from)?, self.schema(from)?.as_ref()))).collect();
            let mut part = step_part(&step.kind, &inputs);
            if self.spreads(&step.kind) {
                part.traits.push(("key groups".to_owned(), KEY_GROUPS.to_string()));
            }
            part
        });
        let (scans, windows, steps) = (self.scans.iter().map(scan_part).collect(), windows.collect(), steps.collect());
        let layout = StateLayout { scans, windows, steps, outputs: self.outputs.len(), rows: None };
        StateLayout { rows: self.rows_of_twins(&layout), ..layout }
    }
}

fn scan_part(scan: &Scan) -> ScanPart {
    let column = |i: usize| scan.columns.get(i).map_or("?", |c| c.field.name().as_str());
    let time = match scan.row_time {
        Some(time) => match scan.computed_time() {
            Some(computed) => format!("{} as {}", column(time.column), computed.text),
            None => column(time.column).to_owned(),
        },
        None => "the time of receipt".to_owned(),
    };
    let delay = match (&scan.watermark, scan.row_time) {
        (Some(computed), _) => computed.text.clone(),
        (None, Some(time)) => format!("{} behind", length(time.delay)),
        (None, None) => "none".to_owned(),
    };
    let part = StatePart { what: "scan".to_owned(), traits: named([("event time", time), ("watermark", delay)]) };
    ScanPart { stream: scan.stream.to_string(), table: scan.table.to_string(), part }
}

fn named<const N: usize>(traits: [(&str, String); N]) -> Vec<Trait> {
    traits.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn window_part(window: &Window, before: &Lineage) -> StatePart {
    let parameters = &window.parameters;
    let names: &[&str] = match parameters.kind.as_str() {
        "hop" => &["slide", "size"],
        "cumulate" => &["step", "size"],
        "session" => &["gap"],
        _ => &["size"],
    };
    let mut traits = named([("kind", parameters.kind.clone())]);
    traits.extend(names.iter().zip(&parameters.sizes).map(|(name, &size)| ((*name).to_owned(), length(size))));
    if parameters.offset != 0 {
        traits.push(("offset".to_owned(), length(parameters.offset)));
    }
    traits.extend(named([
        ("keys", keys(&window.keys, before)),
        (
            "aggregates",
            window.aggregates.iter().map(|a| call(&a.name, &a.arguments, a.filter.as_ref(), before)).collect::<Vec<_>>().join(", "),
        ),
        ("types of state", types(&Schema::new(told(&window.partial_schema())))),
    ]));
    StatePart { what: "window".to_owned(), traits }
}

fn step_part(kind: &StepKind, inputs: &[(&Lineage, &Schema)]) -> StatePart {
    let empty = (Lineage::default(), Schema::empty());
    let first = inputs.first().copied().unwrap_or((&empty.0, &empty.1));
    let part = |what: &str, traits: Vec<Trait>| StatePart { what: what.to_owned(), traits };
    let second = inputs.get(1).copied().unwrap_or(first);
    let join = |what: &str, (left, right): (&JoinSide, &JoinSide), mut traits: Vec<Trait>, filter: Option<&Arc<dyn PhysicalExpr>>| {
        let condition = filter.map_or_else(String::new, |f| first.0.beside(second.0).text(f));
        traits.push(("condition".to_owned(), condition));
        for (name, side, (origin, schema)) in [("left", left, first), ("right", right, second)] {
            let keys: Vec<String> = side.keys.iter().map(|k| origin.text(k)).collect();
            traits.push((format!("{name} keys"), keys.join(", ")));
            traits.push((format!("{name} time"), origin.column(side.time)));
            traits.push((format!("{name} columns"), columns(schema, origin)));
        }
        part(what, traits)
    };
    match kind {
        StepKind::Stages(_) | StepKind::Union => part("step", Vec::new()),
        StepKind::Window { window, source, unit } => {
            let mut part = window_part(window, first.0);
            let column = |index: usize| first.0.column(index);
            let (source, order) = match source {
                WindowSource::Time => (format!("of the event time {}", column(window.time)), None),
                WindowSource::Attached { end, order, .. } => (format!("of the window ending at {}", column(*end)), *order),
            };
            part.traits.extend(named([
                ("source", source),
                ("order", order.map_or_else(String::new, column)),
                ("precision", length(*unit)),
            ]));
            part
        }
        StepKind::IntervalJoin(j) => {
            let bounds = format!("{} to {}", length(j.lower), length(j.upper));
            join("interval join", (&j.left, &j.right), named([("kind", j.kind.to_string()), ("bounds", bounds)]), j.filter.as_ref())
        }
        StepKind::WindowJoin(j) => join("window join", (&j.left, &j.right), named([("kind", j.kind.to_string())]), j.filter.as_ref()),
        StepKind::AsofJoin(j) => {
            let sign = if j.or_equal { ">=" } else { ">" };
            join("asof join", (&j.left, &j.right), named([("kind", j.kind.to_string()), ("comparison", sign.to_owned())]), None)
        }
        StepKind::RegularJoin(j) => join("join", (&j.left, &j.right), named([("kind", j.kind.to_string())]), j.filter.as_ref()),
        StepKind::Rank(r) => part("ranking", rank(r, first)),
        StepKind::Group(g) => part("group by", group(g, first)),
        StepKind::Over(o) => part("over", over(o, first)),
        StepKind::Upsert(u) => part("newest row of each key", upsert(u, first)),
    }
}

fn rank(rank: &Rank, (origin, schema): (&Lineage, &Schema)) -> Vec<Trait> {
    let partition: Vec<String> = rank.partition.iter().map(|&c| origin.column(c)).collect();
    let order: Vec<String> = rank.order.iter().map(|k| format!("{} {:?}", origin.column(k.column), k.options)).collect();
    let of = match (rank.window_end, rank.time) {
        (Some(end), _) => format!("the window ending at {}", origin.column(end)),
        (None, Some(time)) => format!("rows by {}", origin.column(time)),
        (None, None) => "changes".to_owned(),
    };
    named([
        ("partition", partition.join(", ")),
        ("order", order.join(", ")),
        ("places", format!("{} to {}", rank.offset.saturating_add(1), rank.offset.saturating_add(rank.limit))),
        ("rows", of),
        ("columns", columns(schema, origin)),
    ])
}

fn group(group: &Group, (origin, schema): (&Lineage, &Schema)) -> Vec<Trait> {
    let calls: Vec<String> = group.aggregates.iter().map(|a| call(&a.name, &a.arguments, a.filter.as_ref(), origin)).collect();
    let of = group.time.map_or_else(|| "changes".to_owned(), |time| format!("rows by {}", origin.column(time)));
    let mut traits = named([("keys", keys(&group.keys, origin)), ("aggregates", calls.join(", ")), ("rows", of)]);
    traits.push(("types of results".to_owned(), types(&group.schema)));
    if group.time.is_some() {
        // Rows wait for their order.
        traits.push(("columns".to_owned(), columns(schema, origin)));
    }
    traits
}

fn over(over: &Over, (origin, schema): (&Lineage, &Schema)) -> Vec<Trait> {
    let partition: Vec<String> = over.partition.iter().map(|e| origin.text(e)).collect();
    let calls: Vec<String> = over.calls.iter().map(|c| rewrite(&c.to_string(), schema, origin)).collect();
    named([
        ("partition", partition.join(", ")),
        ("order", origin.column(over.time)),
        ("calls", calls.join(", ")),
        ("columns", columns(schema, origin)),
    ])
}

fn upsert(upsert: &Upsert, (origin, schema): (&Lineage, &Schema)) -> Vec<Trait> {
    let key: Vec<String> = upsert.key.iter().map(|&c| origin.column(c)).collect();
    named([("key", key.join(", ")), ("columns", columns(schema, origin))])
}

fn keys(keys: &[(Arc<dyn PhysicalExpr>, FieldRef)], origin: &Lineage) -> String {
    keys.iter().map(|(e, field)| format!("{} {}", origin.text(e), field.data_type())).collect::<Vec<_>>().join(", ")
}

/// `avg(temperature)`; with what its arguments stand for, where its name does not say so.
fn call(name: &str, arguments: &[Arc<dyn PhysicalExpr>], filter: Option<&Arc<dyn PhysicalExpr>>, origin: &Lineage) -> String {
    let arguments = arguments.iter().map(|a| origin.text(a)).collect::<Vec<_>>().join(", ");
    let is_said = arguments.is_empty() || name.ends_with(&format!("({arguments})"));
    let of = if is_said { String::new() } else { format!(" of {arguments}") };
    let filter = filter.map_or_else(String::new, |f| format!(" where {}", origin.text(f)));
    format!("{name}{of}{filter}")
}

fn columns(schema: &Schema, origin: &Lineage) -> String {
    let column = |(i, field): (usize, &FieldRef)| format!("{} {}", origin.column(i), field.data_type());
    schema.fields().iter().enumerate().map(column).collect::<Vec<_>>().join(", ")
}

fn types(schema: &Schema) -> String {
    schema.fields().iter().map(|f| f.data_type().to_string()).collect::<Vec<_>>().join(", ")
}

/// A length of time as a reader thinks of it: `10 s`, `1500 ms`.
fn length(micros: Micros) -> String {
    if micros != 0 && micros % SECOND == 0 {
        format!("{} s", micros / SECOND)
    } else if micros % MILLISECOND == 0 {
        format!("{} ms", micros / MILLISECOND)
    } else {
        span(micros)
    }
}

#[cfg(test)]
mod tests {
    use datafusion_physical_expr::expressions::Column;

    use super::*;

    #[test]
    fn a_call_says_what_its_arguments_stand_for_unless_its_name_does() {
        let t: Arc<dyn PhysicalExpr> = Arc::new(Column::new("t", 0));
        let text = |name: &str, arguments: &[Arc<dyn PhysicalExpr>]| call(name, arguments, None, &Lineage::default());
        assert_eq!(text("avg(t@0)", std::slice::from_ref(&t)), "avg(t@0)");
        assert_eq!(text("avg(heat@0)", &[t]), "avg(heat@0) of t@0");
        assert_eq!(text("count(*)", &[]), "count(*)");
    }
}
