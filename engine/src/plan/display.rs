//! EXPLAIN: a plan as text. Invariant: everything that decides about a result is in it: keys, times, bounds, and what is kept how long.
//!
//! Steps show the names of Arrow, which fingerprints are made of; `names` turns them into those of SQL where a whole plan is shown.
//!
//! A plan that is one line of stages, with a window or without, prints them from the top to the bottom; any other numbers its scans,
//! inputs, steps and outputs, and says what reads what.

mod names;

use std::fmt;

use super::job::{From, Input, JobPlan, Lateness, OutputPlan, Step, StepKind};
use super::node::{LookupKind, Scan, Stage, Window, WindowParameters};
use crate::limits::KEY_GROUPS;
use crate::time::{MILLISECOND, Micros};

impl fmt::Display for WindowParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sizes: Vec<String> = self.sizes.iter().map(|s| format!("{} ms", s / MILLISECOND)).collect();
        if self.offset != 0 {
            sizes.push(format!("offset {} ms", self.offset / MILLISECOND));
        }
        write!(f, "{}({})", self.kind, sizes.join(", "))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.keys.iter().map(|(e, _)| e.to_string()).collect();
        let calls: Vec<&str> = self.aggregates.iter().map(|a| a.name.as_str()).collect();
        write!(f, "window {} keys=[{}] aggregates=[{}]", self.parameters, keys.join(", "), calls.join(", "))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assign(a) => {
                write!(f, "assign {}", a.parameters)?;
                a.early.map_or(Ok(()), |every| write!(f, ", early results every {}", span(every)))
            }
            Self::Filter(predicate) => write!(f, "filter {predicate}"),
            Self::Lookup(l) => {
                let kind = match l.kind {
                    LookupKind::Inner => "inner",
                    LookupKind::Left => "left",
                };
                let keys: Vec<String> = l.keys.iter().map(|(e, c)| format!("{e} = {c}")).collect();
                let time = l.time.as_ref().map_or_else(|| "newest version".to_owned(), |t| format!("version at {t}"));
                write!(f, "lookup {kind} {} on [{}] {time} columns=[{}]", l.table, keys.join(", "), l.columns.join(", "))
            }
            Self::Project(p) => {
                let columns: Vec<String> =
                    p.expressions.iter().zip(p.schema.fields()).map(|(e, f)| format!("{e} AS {}", f.name())).collect();
                write!(f, "project {}", columns.join(", "))
            }
            Self::Unnest(u) => {
                let outer = if u.outer { " outer" } else { "" };
                let ordinality = if u.ordinality { " with ordinality" } else { "" };
                write!(f, "unnest{outer} {}{ordinality}", u.schema.field(u.column).name())
            }
        }
    }
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(i) => write!(f, "input {i}"),
            Self::Step(s) => write!(f, "step {s}"),
        }
    }
}

impl fmt::Display for JobPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&names::in_sql(&Raw(self).to_string()))
    }
}

/// A plan with the names of Arrow.
struct Raw<'a>(&'a JobPlan);

impl fmt::Display for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.0;
        if let Some(line) = plan.one_line() {
            return line.fmt(f);
        }
        for (number, scan) in plan.scans.iter().enumerate() {
            writeln!(f, "scan {number}: {}", Read(scan))?;
            times(scan).iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        for (number, input) in plan.inputs.iter().enumerate() {
            writeln!(f, "input {number}: from scan {}", input.scan)?;
            write_stages(f, "  ", input)?;
            if let Lateness::Row { time } = input.late {
                let name = input.schema.fields().get(time).map_or("?", |c| c.name().as_str());
                writeln!(f, "  late if {name}@{time} is at or behind the watermark of its partition")?;
            }
        }
        let streams: Vec<&str> = plan.scans.iter().map(|s| s.stream.as_str()).collect();
        writeln!(f, "exchange: all partitions of {}", streams.join(", "))?;
        for (number, step) in plan.steps.iter().enumerate() {
            write_step(f, number, step)?;
            if plan.spreads(&step.kind) {
                writeln!(f, "  keys in {KEY_GROUPS} groups, by {} threads", plan.parallelism)?;
            }
        }
        for (number, output) in plan.outputs.iter().enumerate() {
            write_output(f, number, output)?;
        }
        Ok(())
    }
}

/// A plan without branches: one scan, one input, stages after it, one output of new rows.
struct OneLine<'a> {
    scan: &'a Scan,
    input: &'a Input,
    after: Vec<&'a Stage>,
}

impl JobPlan {
    fn one_line(&self) -> Option<OneLine<'_>> {
        let ([scan], [input], [output]) = (self.scans.as_slice(), self.inputs.as_slice(), self.outputs.as_slice()) else { return None };
        let (mut from, mut after) = (From::Input(0), Vec::new());
        for (number, step) in self.steps.iter().enumerate() {
            let StepKind::Stages(stages) = &step.kind else { return None };
            if step.inputs != [from] {
                return None;
            }
            from = From::Step(number);
            after.extend(stages);
        }
        let plain = input.late == Lateness::Keep && output.from == from && !output.updating;
        plain.then_some(OneLine { scan, input, after })
    }
}

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "scan {}", Read(self.scan))?;
        times(self.scan).iter().try_for_each(|line| writeln!(f, "{line}"))?;
        write_stages(f, "", self.input)?;
        self.after.iter().try_for_each(|stage| writeln!(f, "{stage}"))
    }
}

/// What a scan reads.
struct Read<'a>(&'a Scan);

impl fmt::Display for Read<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scan = self.0;
        let columns: Vec<&str> = scan.projection.iter().map(|&i| scan.columns[i].field.name().as_str()).collect();
        write!(f, "{} of stream {} ({}) columns=[{}]", scan.table, scan.stream, scan.format, columns.join(", "))
    }
}

/// What is computed of each record, and its event time.
fn times(scan: &Scan) -> Vec<String> {
    let name = |i: usize| scan.columns[i].field.name();
    let computed = |&i: &usize| Some(format!("compute {} as {}", name(i), scan.columns[i].computed()?.text));
    let mut lines: Vec<String> = scan.projection.iter().filter_map(computed).collect();
    lines.extend(scan.row_time.map(|time| match &scan.watermark {
        Some(watermark) => format!("watermark of {} as {}, one a partition", name(time.column), watermark.text),
        None => format!("watermark {} - {} ms, one a partition", name(time.column), time.delay / MILLISECOND),
    }));
    lines
}

fn write_stages(f: &mut fmt::Formatter<'_>, indent: &str, input: &Input) -> fmt::Result {
    for stage in &input.stages {
        writeln!(f, "{indent}{stage}")?;
    }
    match &input.window {
        Some(window) => writeln!(f, "{indent}{window}: partial in each partition, merged when all have passed its end"),
        None => Ok(()),
    }
}

fn write_step(f: &mut fmt::Formatter<'_>, number: usize, step: &Step) -> fmt::Result {
    let inputs: Vec<String> = step.inputs.iter().map(From::to_string).collect();
    writeln!(f, "step {number}: {} [from {}]", step.kind, inputs.join(", "))?;
    match step.kind.keeps() {
        Some(keeps) => writeln!(f, "  keeps {keeps}"),
        None => Ok(()),
    }
}

fn write_output(f: &mut fmt::Formatter<'_>, number: usize, output: &OutputPlan) -> fmt::Result {
    let what = if output.updating { "changes" } else { "new rows" };
    write!(f, "output {number}: {what} [from {}]", output.from)?;
    if !output.key.is_empty() {
        let name = |&i: &usize| output.schema.fields().get(i).map_or("?", |c| c.name().as_str());
        write!(f, " key=[{}]", output.key.iter().map(name).collect::<Vec<_>>().join(", "))?;
    }
    writeln!(f)
}

/// A length of time: `10000 ms`, `5 µs`.
pub(super) fn span(micros: Micros) -> String {
    if micros % MILLISECOND == 0 { format!("{} ms", micros / MILLISECOND) } else { format!("{micros} µs") }
}

#[cfg(test)]
mod tests;
