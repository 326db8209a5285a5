//! Windows. One kind a file, all of them in `WINDOWS`; panes, late rows, merging and snapshots are shared.
//!
//! ```text
//! a partition:  rows ─► slice of each row ─► pane (keys ─► accumulators) ─► closed by the watermark: keys and states
//! merged:       states of all slices and partitions, in their order ─► one result a window
//! ```
//!
//! Sessions have no slices: there a partition keeps a state a session. Behind the exchange `WindowStep` does both parts at one place.
//!
//! Invariant: a row is in exactly one pane or session of its partition, and each of those leaves once.

mod accumulators;
mod assign;
mod compose;
mod cumulate;
mod hopping;
mod inputs;
mod kind;
mod late;
mod merge;
mod operator;
mod panes;
mod session;
mod sessions;
mod sliced;
mod slices;
mod step;
mod tumbling;

#[cfg(test)]
mod tests;

pub use assign::AssignOperator;
pub use inputs::WindowInputs;
pub use kind::{Shape, WindowKind};
pub(in crate::operators) use merge::behind;
pub use merge::{Closed, WindowMerge};
pub use operator::WindowOperator;
pub use slices::Slices;
pub use step::WindowStep;

/// Every kind of window, sorted by name of its file.
pub static WINDOWS: &[&WindowKind] = &[&cumulate::KIND, &hopping::KIND, &session::KIND, &tumbling::KIND];

/// The kind called `name`, in any case.
pub fn kind(name: &str) -> Option<&'static WindowKind> {
    WINDOWS.iter().find(|k| k.name.eq_ignore_ascii_case(name)).copied()
}
