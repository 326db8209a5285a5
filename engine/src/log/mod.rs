//! The log: what was acknowledged is there, in order, after any crash, until retention says otherwise. Invariant: only this
//! module knows how records lie on disk, and it reads and writes only through `contract::Disk`.
//!
//! ```text
//! Logs (streams) ─► Log (store) ─► Partition ─┬─ append: intake ─► group ─► writer ─► appender ─► segment files
//!                                             └─ read:   reader ─► index, frames ◄─┘
//! start:  open ─► scan (frames of the newest segment) ─► recovery (pure decision) ─► act
//! ```

// the format, from the smallest part up
mod frame;
mod index;
mod little_endian;
mod record;
mod segment;

// what files hold, and what follows from it
mod open;
mod recovery;
mod scan;
mod start;
mod window;

// a partition at work
mod ahead;
mod appender;
mod chunk;
mod floors;
mod group;
mod handoff;
mod live;
mod pace;
mod partition;
mod pending;
mod producer_snapshot;
mod producers;
mod reader;
mod received;
mod retention;
mod space;
mod sync;
mod writer;

// what others use
mod ballast;
pub mod inspect;
mod memory;
mod meta;
pub mod repair;
mod salvage;
mod scrub;
pub mod sim;
mod store;
mod streams;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;

pub use floors::{Floor, Floors};
pub use memory::{Durability, MemoryLog};
pub use retention::Retained;
pub use scrub::Scrubbed;
pub use store::Log;
pub use streams::{LogConfig, Logs};
