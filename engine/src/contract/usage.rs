//! Law of `Usage`: an estimate of what state takes of memory, made from sizes of buffers and never by walking over rows or keys. It may be
//! off by the slack of allocators; it never leaves out a buffer that grows with the state.

use std::iter::Sum;
use std::ops::Add;

use serde::Serialize;

/// Memory of some state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Bytes.
    pub bytes: u64,
    /// Groups, sessions or rows that it is made of.
    pub groups: u64,
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), groups: self.groups.saturating_add(other.groups) }
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(each: I) -> Self {
        each.fold(Self::default(), Add::add)
    }
}
