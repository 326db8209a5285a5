//! SQL text is split, linted, parsed and planned under libFuzzer. Invariant: what is judged, and how texts are changed, is the same as in
//! `cargo xtask torture fuzz`; libFuzzer only chooses by coverage which texts are worth changing further.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use thalweg_replay::fuzz::{Subject, corpus, mutated, repository};

/// The statements of the tests: the corpus need not be given.
static CORPUS: LazyLock<Vec<String>> = LazyLock::new(|| corpus(&repository()).expect("the tests stand in the repository"));
static SUBJECT: LazyLock<Subject> = LazyLock::new(|| Subject::new(&CORPUS).expect("the tests declare tables"));

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Some(fault) = SUBJECT.fault(text) {
            panic!("{fault}\n{text}");
        }
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut dice = StdRng::seed_from_u64(u64::from(seed));
    // Bytes now and then, so that no part of the text is out of reach.
    if dice.random_ratio(1, 8) {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut texts = vec![String::from_utf8_lossy(&data[..size]).into_owned()];
    if size < 8 || dice.random_ratio(1, 16) {
        texts.clone_from(&CORPUS);
    }
    let mut text = mutated(&texts, &mut dice);
    let cut = (0..=text.len().min(max_size)).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    text.truncate(cut);
    data[..text.len()].copy_from_slice(text.as_bytes());
    text.len()
});
