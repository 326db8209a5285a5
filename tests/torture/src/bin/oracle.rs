//! `thalweg-oracle`: keeps what was sent and acknowledged, and judges a log by it. Invariant: exit code 0 means that every
//! promise was kept, 1 that one was broken, 2 that no judgement was possible.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use thalweg_torture::oracle;

const VIOLATIONS_SHOWN: usize = 20;

/// Judges whether a Thalweg log kept its promises.
///
/// Run `journal` on another machine or file system than the server, and let your senders tell it what they do: a SENT line
/// before a record leaves, and after its confirmation the record itself; an ACK line when the server acknowledged it. After
/// whatever you did to the server, stop it and run `check`:
///
///   acknowledged => stored exactly once;  stored => sent, with the same SHA-256;
///   sent but not acknowledged => stored once or not at all;  per device => stored in the order of sending.
///
/// Records must carry a producer's epoch and sequence (HTTP and MQTT 5 senders can set them).
#[derive(Debug, Parser)]
#[command(name = "thalweg-oracle", version, verbatim_doc_comment)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keeps the lines of senders and confirms each once it is synced: `OK <lines so far>`.
    ///
    /// Lines are `SENT <device> <epoch> <sequence> <sha256>` and `ACK <device> <epoch> <sequence> <sha256> [<position>]`.
    #[command(verbatim_doc_comment)]
    Journal {
        /// File that keeps the lines; added to if it exists. Not on the file system of the log.
        #[arg(long)]
        file: PathBuf,
        /// Unix socket to take connections on until the standard input ends; without it, lines come on the standard input.
        #[arg(long)]
        socket: Option<PathBuf>,
    },
    /// Reads the whole log and compares it with the journal; prints counts and violations.
    ///
    /// Opens the log as a server does, so no server may run; a torn tail is cut off as at any start.
    #[command(verbatim_doc_comment)]
    Check {
        /// The journal.
        #[arg(long)]
        journal: PathBuf,
        /// Directory of the log: `<data>/log` of a server.
        #[arg(long)]
        dir: PathBuf,
        /// Leaves out acknowledgements at a later position.
        #[arg(long)]
        until: Option<u64>,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Journal { file, socket } => {
            let served = match socket {
                Some(socket) => oracle::serve_socket(&file, &socket),
                None => oracle::serve_lines(&file, std::io::stdin(), std::io::stdout()),
            };
            match served {
                Ok(()) => ExitCode::SUCCESS,
                Err(e) => failed(&format!("{}: {e}", file.display())),
            }
        }
        Command::Check { journal, dir, until } => {
            if !dir.is_dir() {
                return failed(&format!("{} is no directory", dir.display()));
            }
            match oracle::load(&journal) {
                Ok(events) => report(&events, &oracle::read_machine(&dir), until),
                Err(e) => failed(&e),
            }
        }
    }
}

fn report(events: &[oracle::Event], contents: &oracle::Contents, until: Option<u64>) -> ExitCode {
    let verdict = oracle::judge(events, &contents.records, until);
    println!("{verdict}, {} problems of the log", contents.problems.len());
    let all: Vec<&String> = contents.problems.iter().chain(&verdict.violations).collect();
    all.iter().take(VIOLATIONS_SHOWN).for_each(|line| println!("  {line}"));
    if all.len() > VIOLATIONS_SHOWN {
        println!("  and {} more", all.len() - VIOLATIONS_SHOWN);
    }
    if all.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn failed(message: &str) -> ExitCode {
    eprintln!("thalweg-oracle: {message}");
    ExitCode::from(2)
}
