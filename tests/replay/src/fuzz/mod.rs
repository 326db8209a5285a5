//! SQL of all sorts: is any text treated as it should be? Invariant: a text is a function of the corpus and a seed, and a verdict one of
//! the text.
//!
//! ```text
//! tests/sql, tests/nexmark ─► corpus ─► mutate (seed) ─► subject: split, lint, parse, plan ─► a fault, or none
//! ```
//!
//! `cargo xtask torture fuzz` draws texts at random; the target in `fuzz/` lets coverage choose.

mod corpus;
mod mutate;
mod pieces;
mod subject;

pub use corpus::{corpus, repository};
pub use mutate::mutated;
pub use subject::Subject;
