//! The MQTT 3.1.1 and 5 server. Invariant: one task a connection; PUBACK leaves it only for records that are durable, in the
//! order their PUBLISHes came in.
//!
//! ```text
//! listener ─► handshake ─► connection ── wire: bytes ⇄ packets (the protocol library)
//!                │             ├──────── ../intake: publish ─► log ─► (packet id, offset) ─► PUBACK when durable
//!                ▼             └──────── subscribe, delivery: messages to the device
//!            registry: live sessions by device; takeover, revocation and messages reach a connection through it
//! ```

mod connection;
mod delivery;
mod entry;
mod handshake;
mod listener;
mod packets;
mod queue;
mod registry;
mod server;
mod subscribe;
#[cfg(test)]
mod tests;
mod will;
mod wire;

pub use server::MqttGateway;
