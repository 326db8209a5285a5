//! Small things several connectors need. Invariant: nothing in here knows a protocol.

mod backoff;
mod throttle;

pub(crate) use backoff::Backoff;
pub(crate) use throttle::Throttle;
