//! Reading streams for many jobs. Invariant: what a job gets does not depend on who else reads: sharing saves work, and nothing more.
//!
//! ```text
//! reader of job A ─┐   ring of the partition: one decodes a batch with the columns of all ─► each takes its own columns
//! reader of job B ─┘   who is alone, or too far behind, reads and decodes for itself
//! ```
//!
//! Jobs share if they read the same stream with the same declaration; two declarations of one stream are decoded apart.

mod reader;
mod registry;
mod ring;
#[cfg(test)]
mod tests;

pub use reader::{Read, ScanReader};
pub use registry::SharedScans;
pub use ring::Company;
