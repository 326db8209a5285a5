//! What state belongs to which plan. Invariant: two plans whose state can be exchanged have the same fingerprint, and only those do:
//! steps without state are not in it, and a plan of one scan and one input has the fingerprint that it always had.

use super::job::{Input, JobPlan, OutputPlan, Step};
use super::node::Scan;
use super::sums::told;
use crate::limits::KEY_GROUPS;

impl JobPlan {
    /// Text that changes when state of an older checkpoint no longer fits: streams and their row times, windows of inputs, steps with
    /// state and what they read, outputs.
    pub fn fingerprint(&self) -> String {
        let scans = joined(self.scans.iter().map(scan));
        let inputs = joined(self.inputs.iter().map(input));
        let steps: String = self.steps.iter().filter(|s| s.kind.has_state()).map(|s| self.step(s)).collect();
        let outputs = joined(self.outputs.iter().map(output));
        let text = format!("{scans}|{inputs}{steps}|{outputs}");
        format!("{:08x}", crc32c::crc32c(text.as_bytes()))
    }

    fn step(&self, step: &Step) -> String {
        let schemas: Vec<_> = step.inputs.iter().filter_map(|&from| self.schema(from)).map(|s| s.fields()).collect();
        let groups = if self.spreads(&step.kind) { format!(" in {KEY_GROUPS} groups") } else { String::new() };
        format!(";{}{groups} of {:?} {schemas:?} {:?}", step.kind, step.inputs, step.schema.fields())
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join("+")
}

fn scan(scan: &Scan) -> String {
    let computed = [("", scan.computed_time()), ("watermark ", scan.watermark.as_ref())];
    let computed = computed.into_iter().filter_map(|(what, computed)| Some(format!(" {what}as {}", computed?.text)));
    format!("{}|{:?}{}", scan.stream, scan.row_time, computed.collect::<String>())
}

fn input(input: &Input) -> String {
    let scan = if input.scan == 0 { String::new() } else { format!("{}:", input.scan) };
    let window = input.window.as_ref().map(|w| format!("{w} {:?}", told(&w.partial_schema()))).unwrap_or_default();
    scan + &window
}

fn output(output: &OutputPlan) -> String {
    let changes = if output.updating { format!("changes by {:?} ", output.key) } else { String::new() };
    format!("{changes}{:?}", output.schema.fields())
}
