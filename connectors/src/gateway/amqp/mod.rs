//! The AMQP 1.0 server. Invariant: one task a connection; a delivery is accepted only when its record is durable, in the order
//! the transfers came in; a device sends to its own addresses and to nothing else.
//!
//! ```text
//! listener ─► handshake ─► connection ── wire: bytes ⇄ frames
//!             SASL, open      ├──────── session, link: windows, credit, transfers of several frames into one message
//!                │            ├──────── message: its body and properties; ../intake: into the log, answers in order
//!                ▼            └──────── answers: dispositions of what is durable now
//!            registry: live connections by device; takeover and revocation reach a connection through it
//! ```

mod answers;
mod attach;
mod connection;
mod entry;
mod handshake;
mod link;
mod listener;
mod message;
mod registry;
mod say;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod wire;

pub use server::AmqpGateway;
