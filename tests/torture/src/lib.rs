//! Torture of the log, of jobs and of the lake: processes that die, power that goes, disks that lie or fill up, bits that flip.
//! Invariant: nothing in here knows more than a customer could: public interfaces and documented file layouts.
//!
//! ```text
//! harness (one file a test) ──► writer, a child process ──► log on the disk under test
//!      │                            │ SENT before, ACK after
//!      │                            ▼
//!      └── judge ◄── journal ◄── oracle, another process on another file system
//! ```
//!
//! Every harness has canaries: seeded bugs that it must find, or it does not count.

// who knows what was promised
pub mod oracle;

// what the tests are made of
pub mod conservation;
pub mod disk;
pub mod harness;
pub mod layout;
pub mod machine;
pub mod rig;
pub mod writer;

// the tests, one a file, sorted by name; the list is `TESTS`
mod bitflip;
mod clock;
mod crashstates;
pub mod exactly_once;
mod full;
pub mod fuzz;
mod ioerrors;
mod kill;
mod killpoints;
mod loom;
mod powercut;
mod simulate;
mod sql;

// under load for a long time; a command of its own
pub mod soak;

use harness::Test;

/// Every test, sorted by name.
pub static TESTS: &[&Test] = &[
    &bitflip::TEST,
    &clock::TEST,
    &crashstates::TEST,
    &exactly_once::TEST,
    &full::TEST,
    &fuzz::TEST,
    &ioerrors::TEST,
    &kill::TEST,
    &killpoints::TEST,
    &loom::TEST,
    &powercut::TEST,
    &simulate::TEST,
    &sql::TEST,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_sorted_and_each_has_canaries() {
        assert!(TESTS.is_sorted_by_key(|t| t.name));
        assert!(TESTS.iter().all(|t| !t.canaries.is_empty()));
    }
}
