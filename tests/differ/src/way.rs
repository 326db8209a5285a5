//! How a case is run. Invariant: where records are cut and the run begins again is chosen before it runs.

use thalweg_replay::{Before, Fed, Piece};

use crate::dice::Dice;

/// Partitions, cuts and restarts.
#[derive(Debug, Clone)]
pub struct Way {
    /// Partitions of each stream.
    pub partitions: usize,
    /// Parallelism before and after every other restart.
    pub threads: [usize; 2],
    /// How many records are fed at once, again and again.
    cuts: Vec<usize>,
    /// In so many of a hundred pieces the run begins again from its state.
    restarts: u32,
    seed: u64,
}

impl Way {
    /// A random one.
    pub fn new(dice: &mut Dice, seed: u64) -> Self {
        let partitions = *dice.pick(&[1, 2, 3, 4, 4]);
        let most = *dice.pick(&[1, 3, 10, 40, 400]);
        let cuts = (0..1 + dice.below(5)).map(|_| 1 + dice.below(most)).collect();
        // By dice of their own: what the others choose stays as it was for every seed.
        let threads = *Dice::new(seed, 4).pick(&[[1, 1], [1, 1], [2, 3], [5, 2]]);
        Self { partitions, threads, cuts, restarts: *dice.pick(&[0, 5, 20, 60]), seed }
    }

    /// All at once in one partition.
    pub fn straight() -> Self {
        Self { partitions: 1, threads: [1, 1], cuts: vec![usize::MAX], restarts: 0, seed: 0 }
    }

    /// The pieces in which records are fed; a restart does `again`.
    pub fn pieces<'a>(&self, records: &'a [Fed], again: Before) -> Vec<Piece<'a>> {
        let mut dice = Dice::new(self.seed, 3);
        let (mut pieces, mut left) = (Vec::new(), records);
        for cut in self.cuts.iter().cycle() {
            if left.is_empty() {
                break;
            }
            let (now, later) = left.split_at((*cut).min(left.len()));
            let before = if !pieces.is_empty() && dice.chance(self.restarts) { again } else { Before::Nothing };
            pieces.push(Piece { before, records: now });
            left = later;
        }
        pieces
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { partitions, threads, cuts, restarts, .. } = self;
        write!(f, "{partitions} partitions, {threads:?} threads in turn, pieces of {cuts:?} records, restarts before {restarts} % of them")
    }
}
