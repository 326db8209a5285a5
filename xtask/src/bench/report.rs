//! `docs/benchmarks.md`. Invariant: every figure in it comes from the samples; what was not measured is said to be missing, not left out.

use std::fmt::Write as _;
use std::process::Command;

use super::rows::{Bound, Figure, Kind, ROWS, Row, Who};
use super::samples::Samples;
use crate::tree::root;

const DOCUMENT: &str = "docs/benchmarks.md";
/// What a person has to say about the figures: part of the document.
const NOTES: &str = "benches/notes.md";
const MEGABYTE: f64 = 1e6;
const HEAD: &str = "# Benchmarks

Written by `cargo xtask bench --peers`; do not edit. What it says by hand stands in `benches/notes.md`.

Readings are JSON lines of about 130 bytes and 7 columns, from 10,000 devices, 10,000 a second of event time, up to 2 s out of order; the
reference table has 10,000 rows. The engine reads them from its log (2 partitions) and is done when its results are committed in the lake,
with a checkpoint every 10 s; DuckDB and Polars read the same bytes as files and write Parquet with zstd; Flink SQL reads the same files
in streaming mode at a parallelism of 2, without checkpoints, into its blackhole connector. Each run is a process of its own. A rate is the
slope between two sizes, so start and end of the process do not count. Runs of all programs take turns; figures are medians.
";

/// One bound, judged.
#[derive(Debug, PartialEq)]
struct Verdict {
    value: Option<f64>,
    /// Whether less is better.
    at_most: bool,
    label: &'static str,
    must: f64,
    aim: f64,
}

impl Verdict {
    fn new(value: Option<f64>, at_most: bool, Bound { label, must, aim }: Bound) -> Self {
        Self { value, at_most, label, must, aim }
    }

    fn said(&self) -> &'static str {
        let holds = |bound: f64| self.value.map(|v| if self.at_most { v <= bound } else { v >= bound });
        match (holds(self.must), holds(self.aim)) {
            (None, _) => "not measured",
            (_, Some(true)) => "held, aim reached",
            (Some(true), _) => "held",
            _ => "**missed**",
        }
    }
}

/// Writes the document from all samples there are.
pub fn write(samples: &Samples, events: [u64; 2], profile: &str) -> Result<(), String> {
    let notes = std::fs::read_to_string(root().join(NOTES)).map_err(|e| format!("{NOTES}: {e}"))?;
    let text = format!("{HEAD}\n{}\n{}\n{notes}", machine(samples, events, profile), tables(samples, events));
    std::fs::write(root().join(DOCUMENT), text).map_err(|e| format!("{DOCUMENT}: {e}"))?;
    let verdicts = ROWS.iter().flat_map(|r| verdicts(r, samples, events)).collect::<Vec<_>>();
    let count = |said: &str| verdicts.iter().filter(|v| v.said() == said).count();
    println!("{DOCUMENT} is written: {} missed, {} not measured, of {}", count("**missed**"), count("not measured"), verdicts.len());
    Ok(())
}

fn tables(samples: &Samples, events: [u64; 2]) -> String {
    let mut text = "## Against what must hold\n\n| row | measured | must | aim | |\n|---|---|---|---|---|\n".to_owned();
    for row in ROWS {
        for verdict in verdicts(row, samples, events) {
            let value = verdict.value.map_or_else(|| "–".to_owned(), number);
            let Verdict { label, must, aim, .. } = verdict;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "| {} | {value} {label} | {must} | {aim} | {} |", row.title, verdict.said());
        }
    }
    let _ = write!(
        text,
        "\n## Events a second\n\nIn brackets the seconds of each run at the larger size.\n\n| row | {} |\n|---|---|---|---|---|\n",
        [Who::Thalweg, Who::DuckDb, Who::Polars, Who::Flink].map(Who::name).join(" | ")
    );
    for row in ROWS {
        let cells = [Who::Thalweg, Who::DuckDb, Who::Polars, Who::Flink].map(|who| cell(row, who, samples, events));
        if cells.iter().any(|c| c != "–") {
            let _ = writeln!(text, "| {} | {} |", row.title, cells.join(" | "));
        }
    }
    text.push_str("\n## Other figures\n\n");
    for row in ROWS.iter().filter(|r| matches!(r.kind, Kind::Once { .. })) {
        let _ = writeln!(text, "- {}: {}", row.title, once(row, samples, events));
    }
    text
}

/// Each bound of a row.
fn verdicts(row: &Row, samples: &Samples, events: [u64; 2]) -> Vec<Verdict> {
    let ours = rate(row.name, Who::Thalweg, samples, events);
    let ratio = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
    match row.kind {
        Kind::Rate { bounds, .. } => {
            bounds.iter().map(|&(who, bound)| Verdict::new(ratio(ours, rate(row.name, who, samples, events)), false, bound)).collect()
        }
        Kind::Together { alone, bound, .. } => {
            let rates: Option<Vec<f64>> = alone.iter().map(|name| rate(name, Who::Thalweg, samples, events)).collect();
            let slowest = rates.and_then(|r| r.into_iter().min_by(f64::total_cmp));
            vec![Verdict::new(ratio(slowest, ours), true, bound)]
        }
        Kind::Faster { than, bound, .. } => vec![Verdict::new(ratio(ours, rate(than, Who::Thalweg, samples, events)), false, bound)],
        Kind::Memory { of, bound } => {
            let peak = samples.values(of, Who::Thalweg, events[1], "peak_bytes").last().map(|bytes| bytes / MEGABYTE);
            vec![Verdict::new(peak, true, bound)]
        }
        Kind::Once { bounds, .. } => {
            let value = |name: &str| samples.median(row.name, Who::Thalweg, events[0], name);
            let judged = |&(figure, bound): &(Figure, Bound)| match figure {
                Figure::Ratio(a, b) => Verdict::new(ratio(value(a), value(b)), false, bound),
                Figure::AtMost(name) => Verdict::new(value(name), true, bound),
                Figure::AtLeast(name) => Verdict::new(value(name), false, bound),
            };
            bounds.iter().map(judged).collect()
        }
    }
}

/// Events a second: the slope between the two sizes.
fn rate(row: &str, who: Who, samples: &Samples, [small, large]: [u64; 2]) -> Option<f64> {
    let seconds = |events| samples.median(row, who, events, "seconds");
    let between = seconds(large)? - seconds(small)?;
    (between > 0.0).then(|| (large - small) as f64 / between)
}

fn cell(row: &Row, who: Who, samples: &Samples, events: [u64; 2]) -> String {
    let seconds: Vec<String> = samples.values(row.name, who, events[1], "seconds").iter().map(|s| format!("{s:.1}")).collect();
    match rate(row.name, who, samples, events) {
        Some(rate) => format!("{} ({})", thousands(rate), seconds.join(", ")),
        None => "–".to_owned(),
    }
}

/// Every figure that a command printed.
fn once(row: &Row, samples: &Samples, events: [u64; 2]) -> String {
    let names: &[&str] = match row.name {
        "decode" => &["all", "arrow_all", "three", "arrow_three"],
        "latency" => &["rate", "rows", "row_p50", "row_p99", "windows", "window_p50", "window_p99", "ack_p99"],
        _ => &["rate", "cores", "lag"],
    };
    let figure = |name: &&str| Some(format!("{name} {}", number(samples.median(row.name, Who::Thalweg, events[0], name)?)));
    let figures: Vec<String> = names.iter().filter_map(figure).collect();
    if figures.is_empty() { "not measured".to_owned() } else { figures.join(", ") }
}

fn number(value: f64) -> String {
    match value.abs() {
        10_000.0.. => thousands(value),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn thousands(value: f64) -> String {
    format!("{:.0} k", value / 1_000.0)
}

fn machine(samples: &Samples, [small, large]: [u64; 2], profile: &str) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(root()).output();
        output.map_or_else(|_| "unknown".to_owned(), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
    };
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|l| l.starts_with(name)).and_then(|l| l.split_once(':'));
        line.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1e6;
    let cpu = field(&read("/proc/cpuinfo"), "model name");
    let version = |who: Who| samples.word(who, "version").unwrap_or("not measured").to_owned();
    format!(
        "| machine | {cores} cores of {cpu}, {memory:.0} GB, {} |\n|---|---|\n| measured | {}, commit {}, {}, profile {profile} |\n| peers | DuckDB {}, Polars {}, Flink {} |\n| sizes | {small} and {large} events |\n",
        said("uname", &["-sr"]),
        said("date", &["-u", "+%F"]),
        said("git", &["rev-parse", "--short", "HEAD"]),
        said("rustc", &["--version"]),
        version(Who::DuckDb),
        version(Who::Polars),
        version(Who::Flink),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [u64; 2] = [2_000_000, 10_000_000];

    fn verdict(row: &str, samples: &Samples) -> Vec<(Option<f64>, &'static str)> {
        let row = ROWS.iter().find(|r| r.name == row).unwrap();
        verdicts(row, samples, EVENTS).iter().map(|v| (v.value, v.said())).collect()
    }

    #[test]
    fn a_rate_is_a_slope_and_is_judged_against_each_peer() {
        let samples = Samples::of(&[
            ("tumbling", Who::Thalweg, EVENTS[0], "seconds=2"),
            ("tumbling", Who::Thalweg, EVENTS[1], "seconds=6 peak_bytes=200000000"),
            ("tumbling", Who::DuckDb, EVENTS[0], "seconds=3"),
            ("tumbling", Who::DuckDb, EVENTS[1], "seconds=5"),
        ]);
        assert_eq!(rate("tumbling", Who::Thalweg, &samples, EVENTS), Some(2_000_000.0));
        assert_eq!(verdict("tumbling", &samples), [(None, "not measured"), (Some(0.5), "**missed**")]);
        assert_eq!(verdict("memory", &samples), [(Some(200.0), "held")]);
    }

    #[test]
    fn jobs_together_are_judged_against_the_slowest_alone() {
        let mut lines = vec![("four-jobs", Who::Thalweg, EVENTS[0], "seconds=1"), ("four-jobs", Who::Thalweg, EVENTS[1], "seconds=13")];
        for (name, seconds) in [("tumbling", "seconds=5"), ("hopping", "seconds=9"), ("filter", "seconds=4")] {
            lines.push((name, Who::Thalweg, EVENTS[0], "seconds=1"));
            lines.push((name, Who::Thalweg, EVENTS[1], seconds));
        }
        assert_eq!(verdict("four-jobs", &Samples::of(&lines)), [(None, "not measured")]);
        lines.push(("session", Who::Thalweg, EVENTS[0], "seconds=1"));
        lines.push(("session", Who::Thalweg, EVENTS[1], "seconds=5"));
        assert_eq!(verdict("four-jobs", &Samples::of(&lines)), [(Some(1.5), "held")]);
    }

    #[test]
    fn the_document_says_what_is_missing() {
        let text = tables(&Samples::of(&[("decode", Who::Thalweg, EVENTS[0], "all=4000000 arrow_all=1000000")]), EVENTS);
        assert!(
            text.contains("| JSON decode alone, one core | 4.00 × arrow-json, 7 of 7 columns | 1.5 | 2.5 | held, aim reached |"),
            "{text}"
        );
        assert!(text.contains("– × arrow-json, 3 of 7 columns | 3 | 5 | not measured |"), "{text}");
    }
}
