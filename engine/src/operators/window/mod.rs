//! Windows. One kind a file, all of them in `WINDOWS`; panes, late rows and snapshots are shared.
//!
//! ```text
//! a partition:  rows ─► slice of each row ─► pane (keys ─► accumulators) ─► closed by the watermark: keys and states
//! merged:       states of all partitions, in partition order ─► one result a window
//! ```
//!
//! Invariant: a row is in exactly one pane, and a pane closes once.

mod inputs;
mod merge;
mod operator;
mod panes;
mod slices;
mod tumbling;

#[cfg(test)]
mod tests;

pub use inputs::WindowInputs;
pub use merge::WindowMerge;
pub use operator::WindowOperator;
pub use slices::{Slices, WindowKind};

/// Every kind of window, sorted by name.
pub static WINDOWS: &[&WindowKind] = &[&tumbling::KIND];

/// The kind called `name`, in any case.
pub fn kind(name: &str) -> Option<&'static WindowKind> {
    WINDOWS.iter().find(|k| k.name.eq_ignore_ascii_case(name)).copied()
}
