//! The window of one partition, of any kind. Invariant: input columns are those that `WindowInputs` gives, and whether a row is late
//! is decided by the watermark that stood before it in this partition.

use super::kind::Shape;
use super::sessions::SessionOperator;
use super::sliced::SlicedOperator;
use crate::batch::Batch;
use crate::contract::{Operator, Output, Usage};
use crate::error::Result;
use crate::plan;
use crate::time::Micros;

/// Aggregates rows and gives partial results when the watermark has passed them.
pub enum WindowOperator {
    /// Windows at times known beforehand.
    Sliced(SlicedOperator),
    /// Windows where rows are.
    Sessions(Box<SessionOperator>),
}

impl WindowOperator {
    /// `unit` is the smallest step of event time in microseconds.
    pub fn new(window: plan::Window, unit: Micros) -> Result<Self> {
        Ok(match window.parameters.shape()? {
            Shape::Sliced(slices) => Self::Sliced(SlicedOperator::new(window, slices, unit)),
            Shape::Session { gap } => Self::Sessions(Box::new(SessionOperator::new(window, gap, unit)?)),
        })
    }

    /// Rows that have not left yet.
    pub fn open_rows(&self) -> u64 {
        match self {
            Self::Sliced(o) => o.open_rows(),
            Self::Sessions(o) => o.open_rows(),
        }
    }

    /// What it takes of memory.
    pub fn usage(&self) -> Usage {
        match self {
            Self::Sliced(o) => o.usage(),
            Self::Sessions(o) => o.usage(),
        }
    }

    fn inner(&mut self) -> &mut dyn Operator {
        match self {
            Self::Sliced(o) => o,
            Self::Sessions(o) => o.as_mut(),
        }
    }
}

impl Operator for WindowOperator {
    fn push(&mut self, batch: Batch, out: &mut Output) -> Result<Option<Batch>> {
        self.inner().push(batch, out)
    }

    fn advance(&mut self, watermark: Micros, out: &mut Output) -> Result<()> {
        self.inner().advance(watermark, out)
    }

    fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        self.inner().snapshot_into(bytes)
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        self.inner().restore(state)
    }
}
