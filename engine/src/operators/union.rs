//! UNION ALL. Invariant: every row of every input leaves once, as what it came.

use crate::changes::Changes;
use crate::contract::Stateful;
use crate::error::Result;
use crate::time::Micros;

/// All rows of its inputs.
pub struct Union;

impl Stateful for Union {
    fn push(&mut self, _input: usize, changes: Changes, out: &mut Vec<Changes>) -> Result<()> {
        out.push(changes);
        Ok(())
    }

    fn advance(&mut self, watermark: Micros, _out: &mut Vec<Changes>) -> Result<Micros> {
        Ok(watermark)
    }

    fn held(&self) -> u64 {
        0
    }

    fn snapshot_into(&mut self, _bytes: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn restore(&mut self, _state: &[u8]) -> Result<()> {
        Ok(())
    }
}
