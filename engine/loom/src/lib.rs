//! The hand-off of the log's partitions, compiled from the same file as the engine's, with locks of a model checker that tries
//! every order of events. Invariant: no line of the hand-off is repeated here.

#[cfg(test)]
#[expect(dead_code, reason = "time does not pass in a model, so nothing waits for it")]
#[path = "../../src/log/handoff.rs"]
mod handoff;
#[cfg(test)]
mod sync;
#[cfg(test)]
mod tests;
