//! The binary. Invariant: every error ends here as one line that says what was wrong and one that says what to do, and an exit
//! code that is not zero.

use std::process::ExitCode;

use clap::Parser;
use thalweg::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match thalweg::cli::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", error.message());
            if let Some(hint) = error.hint_text() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}
