//! Seeds of the simulation. Invariant: the same seed gives the same run, no run finds a fault of the log, and every seeded bug
//! is found: a simulation that finds nothing would prove nothing.

use crate::log::sim::{Lie, simulate};

const SEEDS: u64 = 400;
/// Seeds that the test once took for a loss. In this one three bits flip, each in the last group that is left, with nothing acknowledged
/// between the last two.
const ONCE_FAILED: [u64; 1] = [616_251_241];

#[test]
fn no_seed_loses_doubles_or_reorders_what_was_acknowledged() {
    let mut acknowledged = 0;
    for seed in (0..SEEDS).chain(ONCE_FAILED) {
        match simulate(seed, Lie::None) {
            Ok(ran) => acknowledged += ran.acknowledged,
            Err(what) => panic!("{what}"),
        }
    }
    assert!(acknowledged > SEEDS * 20, "{acknowledged} records were acknowledged in {SEEDS} runs");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..40 {
        assert_eq!(simulate(seed, Lie::None), simulate(seed, Lie::None), "seed {seed}");
    }
}

#[test]
fn every_seeded_bug_is_found() {
    for (name, lie) in Lie::ALL {
        assert!((0..2_000).any(|seed| simulate(seed, *lie).is_err()), "{name} was not found");
    }
}
