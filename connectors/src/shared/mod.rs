//! Small things several connectors need. Invariant: nothing in here knows a protocol.

mod backoff;
mod lock;
mod throttle;

pub(crate) use backoff::Backoff;
pub(crate) use lock::lock;
pub(crate) use throttle::Throttle;
