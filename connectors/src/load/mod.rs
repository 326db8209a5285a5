//! The parts of the simulator: what devices measure, when they send, and over what. Invariant: a record counts as
//! acknowledged only once, and only when the server said so.

mod amqp_link;
mod device;
mod http_device;
mod journal;
mod link;
mod mqtt_link;
mod pace;
mod reading;
mod tally;

pub(crate) use device::LinkedDevice;
pub(crate) use http_device::HttpDevice;
pub(crate) use journal::Journal;
pub(crate) use link::Protocol;
pub(crate) use pace::Pace;
pub use reading::Mix;
pub(crate) use reading::Readings;
pub use tally::Progress;
pub(crate) use tally::{DeviceTally, Tally};
