//! The first rows of each group in an order: top-N, and deduplication when one is kept. Invariant: the result after each step is
//! that of a sort of the rows that are in; rows that tie in the order are ordered by their columns from left to right.
//!
//! ```text
//! windows          rows wait for the end of their window, then leave once           inserts
//! appended rows    event-time order ─► the first rows of each group                 how those changed
//! changes          all rows of each group                                           how its first rows changed
//! ```

mod order;
mod top;
mod windowed;

use crate::changes::Changes;
use crate::contract::Stateful;
use crate::error::Result;
use crate::plan;
use crate::time::Micros;
use top::Top;
use windowed::Windowed;

/// Keeps the first rows of each group.
pub struct RankOperator {
    kind: Kind,
}

enum Kind {
    Windowed(Box<Windowed>),
    Top(Box<Top>),
}

impl RankOperator {
    /// An operator for `plan`. Errors: `Internal` if rows cannot be compared.
    pub fn new(plan: plan::Rank) -> Result<Self> {
        let kind = match plan.window_end {
            Some(end) => Kind::Windowed(Box::new(Windowed::new(plan, end)?)),
            None => Kind::Top(Box::new(Top::new(plan)?)),
        };
        Ok(Self { kind })
    }
}

impl Stateful for RankOperator {
    fn push(&mut self, _input: usize, changes: Changes, out: &mut Vec<Changes>) -> Result<()> {
        match &mut self.kind {
            Kind::Windowed(windowed) => windowed.push(changes),
            Kind::Top(top) => top.push(changes, out),
        }
    }

    fn advance(&mut self, watermark: Micros, out: &mut Vec<Changes>) -> Result<Micros> {
        match &mut self.kind {
            Kind::Windowed(windowed) => windowed.close(watermark, out),
            Kind::Top(top) => top.advance(watermark, out).map(|()| watermark),
        }
    }

    fn held(&self) -> u64 {
        match &self.kind {
            Kind::Windowed(windowed) => windowed.held(),
            Kind::Top(top) => top.held(),
        }
    }

    fn keys(&self) -> Option<u64> {
        match &self.kind {
            Kind::Windowed(_) => None,
            Kind::Top(top) => Some(top.keys_held()),
        }
    }

    fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        match &mut self.kind {
            Kind::Windowed(windowed) => windowed.encode(bytes),
            Kind::Top(top) => top.encode(bytes),
        }
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        match &mut self.kind {
            Kind::Windowed(windowed) => windowed.decode(state),
            Kind::Top(top) => top.decode(state),
        }
    }
}

#[cfg(test)]
mod tests;
