//! The cloud gateway: devices in, records out. Invariant: whatever the protocol, a record is acknowledged only after the log
//! has made it durable, and its device is the one that proved who it is, never one that a topic or payload claims.
//!
//! ```text
//! MQTT connection ─┐ publish                 ┌─ LogStore::append ─► ticket (partition, offset)
//! AMQP connection ─┼────────► GatewayContext ┤
//! HTTP request ────┘ ◄──────── acknowledge   └─ Progress::durable > offset
//!
//! serving, admission, login, presence, pipe, cut  what every listener does
//! intake, numbering, sums                        records of one connection into the log, answers in order
//! ```

mod admission;
mod amqp;
mod body;
mod context;
mod cut;
mod durability;
pub mod http;
mod intake;
mod login;
mod mqtt;
mod numbering;
mod pipe;
mod presence;
mod serving;
mod sums;

pub use amqp::AmqpGateway;
pub use context::GatewayContext;
pub use mqtt::MqttGateway;
pub use serving::tune;
