//! Chores of the project: `cargo xtask <command>`. Invariant: it depends on nothing, ours or others', and knows the rest of
//! the repository only as text; so it builds in seconds and can judge a tree that does not compile.

mod bench;
mod cargo;
mod codegen;
mod dependencies;
mod features;
mod install;
mod layers;
mod links;
mod marks;
mod modules;
mod reference;
mod registries;
mod rust;
mod sizes;
mod test;
mod tidy;
mod torture;
mod tree;

use std::process::ExitCode;

/// One command.
struct Command {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<(), String>,
}

/// Every command, sorted by name.
static COMMANDS: &[Command] = &[
    Command {
        name: "bench",
        about: "measure docs/benchmarks.md, or run the criterion benchmarks that are named (release build)",
        run: bench::run,
    },
    Command { name: "codegen", about: "write the documents that are made from source text", run: codegen::run },
    Command { name: "test", about: "the whole gate: formatting, tidy, lints, tests, examples, end to end", run: test::run },
    Command { name: "tidy", about: "check layout, layers, registries, sizes and generated documents", run: tidy::run },
    Command { name: "torture", about: "list the torture tests, or run the one that is named", run: torture::run },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("help", String::as_str);
    let Some(command) = COMMANDS.iter().find(|c| c.name == name) else {
        println!("usage: cargo xtask <command>\n");
        for command in COMMANDS {
            println!("  {:8} {}", command.name, command.about);
        }
        let asked = matches!(name, "help" | "--help" | "-h");
        return if asked { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    };
    match (command.run)(&arguments[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask {name}: {message}");
            ExitCode::FAILURE
        }
    }
}
