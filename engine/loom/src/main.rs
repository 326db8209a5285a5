//! The hand-off of the log's partitions, compiled from the same file as the engine's, with locks of a model checker that tries
//! every order of events. Invariant: no line of the hand-off is repeated here.
//!
//! `thalweg-loom` lists the models and the seeded bugs; `thalweg-loom NAME` checks one and says how many orders there were. One a
//! process: the checker cannot clean up after a deadlock. `cargo xtask torture loom` runs them all.

#[expect(dead_code, reason = "time does not pass in a model, so nothing waits for it")]
#[path = "../../src/log/handoff.rs"]
mod handoff;
mod models;
mod sync;

use std::process::ExitCode;

use models::MODELS;

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        for model in MODELS {
            println!("{} {}", if model.is_bug { "bug" } else { "model" }, model.name);
        }
        return ExitCode::SUCCESS;
    };
    let Some(model) = MODELS.iter().find(|model| model.name == name) else {
        eprintln!("there is no model {name}; without a name all are listed");
        return ExitCode::from(2);
    };
    std::panic::set_hook(Box::new(|panic| eprintln!("order {}: {panic}", models::orders())));
    model.check();
    println!("{}", models::orders());
    ExitCode::SUCCESS
}
