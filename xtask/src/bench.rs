//! What is measured, and when. Invariant: everything that is compared runs in one go on one machine, in turns; a sample is written down
//! as soon as it is there, so that a run that was cut short goes on with `--resume`.
//!
//! ```text
//! fill logs and files ─► (peers) ─► run 1: row by row, engine and peers in turns ─► run 2 … ─► docs/benchmarks.md
//!                                          └─► samples.tsv
//! ```

mod measure;
mod peers;
mod report;
mod rows;
mod samples;

use std::path::{Path, PathBuf};

use crate::cargo::{cargo, succeed};
use crate::tree::{Tree, root};
use measure::Setting;
use rows::{ROWS, Row};
use samples::Samples;

const USAGE: &str = "usage: cargo xtask bench [--peers] [--only ROW,…] [--runs N] [--events SMALL,LARGE] [--resume]
                         [--profile NAME]       another profile of cargo than that of releases, for a first look
       cargo xtask bench --report      writes the document from the samples there are
       cargo xtask bench --list        rows of the table, and the criterion benchmarks
       cargo xtask bench NAME…         criterion benchmarks";
const RUNS_DEFAULT: usize = 3;
const EVENTS_DEFAULT: [u64; 2] = [2_000_000, 10_000_000];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    peers: bool,
    resume: bool,
    runs: usize,
    events: [u64; 2],
    profile: String,
    rows: Vec<&'static str>,
    criterion: Vec<String>,
    list: bool,
    report: bool,
}

/// Measures the table of `docs/benchmarks.md`, or runs the criterion benchmarks that are named.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let options = parse(arguments)?;
    if options.list {
        return list();
    }
    if !options.criterion.is_empty() {
        return criterion(&options.criterion);
    }
    let rows: Vec<&Row> = ROWS.iter().filter(|r| options.rows.is_empty() || options.rows.contains(&r.name)).collect();
    let target = target();
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut samples = Samples::open(&folder.join("samples.tsv"))?;
    if options.report {
        return report::write(&samples, options.events, &options.profile);
    }
    if !options.resume {
        samples.forget(&rows)?;
    }
    let python = if options.peers { Some(peers::install(&target)?) } else { None };
    let setting = Setting { program: measure::build(&options.profile)?, folder, python, events: options.events, runs: options.runs };
    setting.fill(&rows)?;
    setting.measure(&rows, &mut samples)?;
    report::write(&samples, options.events, &options.profile)
}

fn parse(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options {
        peers: false,
        resume: false,
        runs: RUNS_DEFAULT,
        events: EVENTS_DEFAULT,
        profile: "bench".to_owned(),
        rows: Vec::new(),
        criterion: Vec::new(),
        list: false,
        report: false,
    };
    let wrong = |what: &str| format!("{what}\n{USAGE}");
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().map(String::as_str).ok_or_else(|| wrong(&format!("{argument} needs a value")));
        match argument.as_str() {
            "--peers" => options.peers = true,
            "--resume" => options.resume = true,
            "--list" => options.list = true,
            "--report" => options.report = true,
            "--runs" => {
                options.runs = value()?.parse().ok().filter(|&n| n > 0).ok_or_else(|| wrong("--runs needs a number above 0"))?;
            }
            "--events" => options.events = sizes(value()?).ok_or_else(|| wrong("--events needs two numbers, the smaller first"))?,
            "--profile" => value()?.clone_into(&mut options.profile),
            "--only" => {
                for name in value()?.split(',') {
                    let row = ROWS.iter().find(|r| r.name == name).ok_or_else(|| wrong(&format!("there is no row {name}")))?;
                    options.rows.push(row.name);
                }
            }
            name if name.starts_with('-') => return Err(wrong(&format!("{name} is not an option"))),
            name => options.criterion.push(name.to_owned()),
        }
    }
    Ok(options)
}

fn sizes(text: &str) -> Option<[u64; 2]> {
    let (small, large) = text.split_once(',')?;
    let [small, large] = [small, large].map(|n| n.replace('_', "").parse::<u64>().ok());
    Some([small?, large?]).filter(|[small, large]| small < large)
}

fn list() -> Result<(), String> {
    println!("rows of docs/benchmarks.md, for --only:");
    ROWS.iter().for_each(|r| println!("  {:14} {}", r.name, r.title));
    println!("criterion benchmarks, by name:");
    for (name, about) in known()? {
        println!("  {name:14} {about}");
    }
    Ok(())
}

fn criterion(names: &[String]) -> Result<(), String> {
    let known = known()?;
    for name in names {
        if !known.iter().any(|(k, _)| k == name) {
            return Err(format!("there is no benches/{name}.rs; --list shows all"));
        }
        succeed(cargo(&["bench", "--workspace", "--bench", name]))?;
    }
    Ok(())
}

/// Each benchmark with the first sentence of its documentation.
fn known() -> Result<Vec<(String, String)>, String> {
    let tree = Tree::load(&root())?;
    let bench = |path: &str| path.strip_prefix("benches/")?.strip_suffix(".rs").filter(|name| !name.contains('/')).map(str::to_owned);
    let about = |text: &str| text.lines().next().unwrap_or_default().trim_start_matches("//! ").to_owned();
    Ok(tree.rust().filter_map(|f| Some((bench(&f.path)?, about(&f.text)))).collect())
}

/// Where cargo builds, and where data and samples are kept.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(Path::new(&dir)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Result<Options, String> {
        parse(&words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_and_wrong_ones_refused_with_the_usage() {
        let options = parsed("--peers --runs 5 --only tumbling,decode --events 1_000,9000").unwrap();
        assert_eq!((options.peers, options.resume, options.runs, options.events), (true, false, 5, [1_000, 9_000]));
        assert_eq!(options.rows, ["tumbling", "decode"]);
        assert_eq!(parsed("replay nexmark").unwrap().criterion, ["replay", "nexmark"]);
        for bad in ["--runs 0", "--runs", "--only rumbling", "--events 5", "--events 5,5", "--fast"] {
            assert!(parsed(bad).unwrap_err().contains("usage"), "{bad}");
        }
    }
}
