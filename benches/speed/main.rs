//! The engine's side of `cargo xtask bench`: fills logs, replays them through queries, and measures. Invariant: one command is one
//! process that measures one thing and prints it as `name=value` words on one line; who compares, and how often, is not its matter.
//!
//! ```text
//! fill EVENTS DIR [avro]              DIR/log, DIR/devices.csv, and DIR/events/*.ndjson unless it is Avro
//! run  DIR EVENTS QUERY… [set|avro]   the queries as jobs over DIR/log, from process start to their last commit
//! decode DIR                          the JSON decoder beside arrow-json, on one core
//! latency DIR SECONDS                 a server, 50,000 events a second over MQTT, results as a client sees them
//! jobs DIR COUNT SECONDS              a server with so many jobs on one stream at 20,000 events a second
//! ```

mod decode;
mod fill;
mod fleet;
mod queries;
mod run;
mod server;

use std::path::PathBuf;

use thalweg_engine::error::{Error, Result};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if words.is_empty() {
        println!("measures what `cargo xtask bench` asks for; see benches/speed/main.rs");
        return;
    }
    if let Err(error) = command(&words) {
        eprintln!("speed {}: {error}", words.join(" "));
        std::process::exit(1);
    }
}

fn command(words: &[&str]) -> Result<()> {
    match words {
        ["fill", events, dir] => fill::json(number(events)?, &PathBuf::from(dir)),
        ["fill", events, dir, "avro"] => fill::avro(number(events)?, &PathBuf::from(dir)),
        ["run", dir, events, rest @ ..] if !rest.is_empty() => run::run(&PathBuf::from(dir), number(events)?, rest),
        ["decode", dir] => decode::compare(&PathBuf::from(dir)),
        ["latency", dir, seconds] => server::latency(&PathBuf::from(dir), number(seconds)?),
        ["jobs", dir, count, seconds] => server::jobs(&PathBuf::from(dir), number(count)?, number(seconds)?),
        _ => Err(Error::invalid("not a command").hint("fill, run, decode, latency, jobs; see benches/speed/main.rs")),
    }
}

fn number(text: &str) -> Result<u64> {
    text.replace('_', "").parse().map_err(|_| Error::invalid(format!("{text} is not a number")))
}

/// Most memory that this process has held at once, in bytes.
pub(crate) fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |kilobytes| kilobytes * 1024)
}
