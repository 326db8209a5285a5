//! The oracle: it knows what was sent and what was acknowledged, and judges what a log holds. Invariant: SENT is durable in
//! the journal before the record leaves its sender, so that nothing can be stored that the journal does not know.
//!
//! ```text
//! ACK           ⇒ stored exactly once
//! stored        ⇒ SENT, with the same SHA-256
//! SENT, no ACK  ⇒ stored once or not at all
//! per device    ⇒ stored in the order of SENT
//! ```

mod client;
mod event;
mod journal;
mod judge;
mod stored;

pub use client::Client;
pub use event::{Digest, Event, Key, digest};
pub use journal::{load, serve_lines, serve_socket};
pub use judge::{Verdict, judge};
pub use stored::{Contents, Stored, read, read_machine, read_open};
