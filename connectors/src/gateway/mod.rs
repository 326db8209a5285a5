//! The cloud gateway: devices in, records out. Invariant: whatever the protocol, a record is acknowledged only after the log
//! has made it durable, and its device is the one that proved who it is, never one that a topic or payload claims.
//!
//! ```text
//! MQTT connection ─┐ publish                 ┌─ LogStore::append ─► ticket (partition, offset)
//!                  ├────────► GatewayContext ┤
//! HTTP request ────┘ ◄──────── acknowledge   └─ Progress::durable > offset
//! ```

mod body;
mod context;
mod durability;
pub mod http;
mod mqtt;

pub use context::GatewayContext;
pub use mqtt::MqttGateway;
