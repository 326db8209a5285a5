//! Parts of one query that are equal, and stand over different rows: `COUNT(*)` where the site is `x`, and `COUNT(*)` where it is `y`.
//! Invariant: state is never given from one to the other. A layout does not say which rows reach a part, because a filter may change; where
//! that is all that tells two parts apart, it has to stay as it was.

use super::fit::Fit;
use super::job::{From, Input, JobPlan, Lateness};
use super::layout::{StateLayout, StatePart};
use super::node::Stage;

impl JobPlan {
    /// A checksum of what stands before equal parts; `None` if there are none, or the same stands before them.
    pub(super) fn rows_of_twins(&self, layout: &StateLayout) -> Option<String> {
        let windows: Vec<String> = self.inputs.iter().filter(|i| i.window.is_some()).map(|i| stages(&i.stages)).collect();
        let steps = self.before_steps();
        let told: Vec<&str> = confusable(&layout.windows, &windows).chain(confusable(&layout.steps, &steps)).collect();
        (!told.is_empty()).then(|| format!("{:08x}", crc32c::crc32c(told.join("\n").as_bytes())))
    }

    /// What stands before each step with state.
    fn before_steps(&self) -> Vec<String> {
        // What leaves a step, by number: as a checksum, so that it does not grow from step to step.
        let mut leaving: Vec<String> = Vec::with_capacity(self.steps.len());
        let mut before = Vec::new();
        for step in &self.steps {
            let read = |from: &From| match *from {
                From::Input(i) => self.inputs.get(i).map(input).unwrap_or_default(),
                From::Step(s) => leaving.get(s).cloned().unwrap_or_default(),
            };
            let rows = step.inputs.iter().map(read).collect::<Vec<_>>().join(" and ");
            leaving.push(format!("{:08x}", crc32c::crc32c(format!("{} of {rows}", step.kind).as_bytes())));
            if step.kind.has_state() {
                before.push(rows);
            }
        }
        before
    }
}

fn input(input: &Input) -> String {
    let window = input.window.as_ref().map(ToString::to_string).unwrap_or_default();
    let late = if input.late == Lateness::Keep { "" } else { "timely " };
    format!("{late}rows of {}: {}; {window}", input.scan, stages(&input.stages))
}

fn stages(stages: &[Stage]) -> String {
    stages.iter().map(Stage::to_string).collect::<Vec<_>>().join("; ")
}

/// What stands before those parts that are equal to one with something else before it.
fn confusable<'a, T: PartialEq>(parts: &'a [T], before: &'a [String]) -> impl Iterator<Item = &'a str> {
    let each = move || parts.iter().zip(before);
    each().filter(move |(part, rows)| each().any(|(other, others)| other == *part && others != *rows)).map(|(_, rows)| rows.as_str())
}

impl Fit {
    /// The same without the state of parts that there are two of, in the older layout or in the newer one.
    #[must_use]
    pub fn without_twins(mut self, newer: &StateLayout, older: &StateLayout) -> Self {
        let parts = |layout: &StateLayout| layout.windows.iter().map(|(_, part)| part.clone()).collect::<Vec<StatePart>>();
        leave(&mut self.windows, &parts(newer), &parts(older), "windows", &mut self.differences);
        leave(&mut self.steps, &newer.steps, &older.steps, "steps", &mut self.differences);
        self
    }
}

fn leave(matches: &mut [Option<usize>], newer: &[StatePart], older: &[StatePart], what: &str, differences: &mut Vec<String>) {
    let is_twin = |part: &StatePart| [newer, older].iter().any(|all| all.iter().filter(|p| *p == part).count() > 1);
    if newer.iter().chain(older).any(is_twin) {
        differences.push(format!("two {what} of the query cannot be told apart"));
    }
    for (found, _) in matches.iter_mut().zip(newer).filter(|(_, part)| is_twin(part)) {
        *found = None;
    }
}
