//! What becomes of late rows, by the plan alone. Invariant: the plan says which steps take late rows out; that they do, and take nothing
//! else, is checked against the records that were fed.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use thalweg_engine::plan::{Input, JobPlan, Lateness, Stage, StepKind};

use crate::data::Entry;
use crate::shapes::ELEMENTS_MAX;
use crate::tables::TABLES;

/// What becomes of the late rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They count like all others: nothing depends on when rows come.
    Kept,
    /// They are late, for so many readers of the table: at least, and at most. A reader whose WHERE drops them first does not say so.
    Late {
        /// Readers that take every late row out.
        least: u64,
        /// As many as readers make rows of one.
        most: u64,
    },
    /// Some readers take them and others do not: then none are fed.
    Open,
}

impl Fate {
    /// That of the late rows of a table in a plan.
    pub fn of(plan: &JobPlan, table: &str) -> Self {
        let reads = |i: &&Input| plan.scans.get(i.scan).is_some_and(|s| s.stream.as_str() == table);
        let inputs: Vec<&Input> = plan.inputs.iter().filter(reads).collect();
        let late = inputs.iter().filter(|i| takes_out(i)).count();
        let goes_by_time = plan.steps.iter().any(|s| !matches!(s.kind, StepKind::Stages(_) | StepKind::Union));
        match (late, inputs.len()) {
            (0, _) if !goes_by_time => Self::Kept,
            (0, 0) => Self::Kept,
            (late, all) if late == all => Self::Late {
                least: inputs.iter().filter(|i| takes_all(i)).count() as u64,
                most: inputs.iter().map(|i| rows_of_one(i)).sum(),
            },
            _ => Self::Open,
        }
    }
}

/// Whether late rows do not come through.
fn takes_out(input: &Input) -> bool {
    input.window.is_some() || input.late != Lateness::Keep || input.stages.iter().any(|s| matches!(s, Stage::Assign(_)))
}

/// Most rows that an input makes of one.
fn rows_of_one(input: &Input) -> u64 {
    let lists = input.stages.iter().filter(|s| matches!(s, Stage::Unnest(_)));
    lists.map(|_| ELEMENTS_MAX as u64).product()
}

/// Whether every late row is told to be: nothing before drops any, and none lies between windows.
fn takes_all(input: &Input) -> bool {
    let has_gaps = |kind: &str, sizes: &[i64]| kind == "hop" && sizes.first() > sizes.get(1);
    let stage = |s: &Stage| match s {
        Stage::Project(_) => true,
        Stage::Assign(a) => !has_gaps(&a.parameters.kind, &a.parameters.sizes),
        Stage::Filter(_) | Stage::Lookup(_) | Stage::Unnest(_) => false,
    };
    input.stages.iter().all(stage) && input.window.as_ref().is_none_or(|w| !has_gaps(&w.parameters.kind, &w.parameters.sizes))
}

/// Whether the late rows are those that were left out, as often as they are read. Errors: one that is not, or is missing.
pub fn check_late(late: &[RecordBatch], fed: &[Entry], left_out: &[bool], fates: &[Fate]) -> Result<(), String> {
    let mut told: BTreeMap<&str, u64> = BTreeMap::new();
    for rows in late {
        let payloads = rows.column_by_name("payload").ok_or("late rows have no payload")?;
        payloads.as_string_view().iter().flatten().for_each(|p| *told.entry(p).or_default() += 1);
    }
    for (entry, left_out) in fed.iter().zip(left_out) {
        let count = told.remove(entry.payload.as_str()).unwrap_or(0);
        let (least, most) = match fates[entry.table] {
            Fate::Late { least, most } if *left_out => (least, most),
            _ => (0, 0),
        };
        if !(least..=most).contains(&count) {
            let what = format!("{} times late, {least} to {most} times expected", count);
            return Err(format!("a row of {} is {what}: {}", TABLES[entry.table].name, entry.payload));
        }
    }
    match told.first_key_value() {
        Some((payload, _)) => Err(format!("a row is late that was not fed: {payload}")),
        None => Ok(()),
    }
}
