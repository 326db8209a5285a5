//! AMQP 1.0 as bytes: frames, values and performatives, for the listener of the gateway and for simulated devices. Invariant:
//! reading is total. No bytes of a peer make it panic, recurse, or allocate more than a frame holds.
//!
//! ```text
//! bytes ─► frame: size, type, channel │ body ─► value: one item after the other, borrowed ─► performative: what is said
//! encode: what we say ─► bytes
//! ```

pub(crate) mod encode;
pub(crate) mod frame;
pub(crate) mod performative;
pub(crate) mod value;
