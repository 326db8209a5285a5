//! T23: the log's hand-off between threads, under a model checker. Invariant: each run is another order of events, and all of
//! them are tried; the models and what they assert stand in `engine/loom/`.

use crate::harness::{Canary, Report, Settings, Test};
use crate::machine::run as program;
use crate::rig::sibling;

/// Characters of what a checker says that are shown.
const SHOWN: usize = 300;

/// The test.
pub static TEST: Test = Test {
    name: "loom",
    about: "every order of events of the log's hand-off with at most three preemptions",
    unit: "orders of events",
    count: u64::MAX,
    gate: Some(u64::MAX),
    needs: &[],
    canaries: &[
        Canary { name: "gate-late", about: "a failure is told before the gate is closed", count: u64::MAX },
        Canary { name: "published-after-failure", about: "records whose sync failed are published", count: u64::MAX },
        Canary { name: "published-early", about: "records are published before they are durable", count: u64::MAX },
        Canary { name: "sleepy-writer", about: "a writer that looks for work goes to sleep without another look", count: u64::MAX },
    ],
    run,
};

fn run(settings: &Settings) -> Result<Report, String> {
    let checker = sibling("thalweg-loom")?.display().to_string();
    let listed = program::<&str>(&checker, &[])?;
    let known = |kind: &str| listed.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' ')).collect::<Vec<_>>();
    let names = match &settings.bug {
        None => known("model"),
        Some(bug) => known("bug").into_iter().filter(|name| name == bug).collect(),
    };
    if names.is_empty() {
        return Err(format!("there is no such model; {checker} lists them"));
    }
    let mut report = Report::default();
    for name in names {
        let orders = match program(&checker, &[name]) {
            Ok(orders) => orders.trim().parse::<u64>().map_err(|e| format!("{checker} said {orders:?}: {e}"))?,
            Err(said) => {
                let (order, what) = failed(&said).ok_or_else(|| said.clone())?;
                report.blame(format_args!("{name}, order {order}"), [what]);
                order
            }
        };
        report.runs += orders;
        report.notes.push(format!("{name}: {orders} orders"));
    }
    Ok(report)
}

/// In which order of events it went wrong, and how, in one line: `order N: …`.
fn failed(said: &str) -> Option<(u64, String)> {
    let (order, what) = said.split_once("order ")?.1.split_once(": ")?;
    let line = what.split_whitespace().collect::<Vec<_>>().join(" ");
    Some((order.parse().ok()?, line.chars().take(SHOWN).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_told_in_one_line() {
        let said = "target/thalweg-loom gate: exit status: 101: order 17: panicked at a.rs:1:2:\ndeadlock; threads = []";
        assert_eq!(failed(said), Some((17, "panicked at a.rs:1:2: deadlock; threads = []".to_owned())));
        assert_eq!(failed("target/thalweg-loom gate: exit status: 2: there is none"), None);
    }
}
