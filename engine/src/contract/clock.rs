//! Law of `Clock`: it is the only source of "now". `monotonic` never goes back; `now` may jump either way, so it orders nothing.

use std::time::Duration;

use crate::time::Micros;

/// Hands out time. Tests hand in one that they move themselves.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Wall-clock time in microseconds since the Unix epoch.
    fn now(&self) -> Micros;

    /// Time since an arbitrary start; never decreases.
    fn monotonic(&self) -> Duration;
}
