//! Numbers of keys with a session. Invariant: a number stands for its key while somebody holds it; what nobody holds is forgotten in
//! time, so that memory follows the open sessions and not all keys that ever came.

use arrow::array::ArrayRef;
use arrow::datatypes::FieldRef;

use crate::error::Result;
use crate::operators::keys::KeyInterner;
use crate::plan;

/// Numbers that nobody holds may be so many more than twice those that somebody does.
const IDLE_MAX: usize = 4_096;

/// Keys and how many sessions hold each.
pub struct LiveKeys {
    fields: Vec<FieldRef>,
    interner: KeyInterner,
    holders: Vec<u32>,
    live: usize,
}

impl LiveKeys {
    /// For the keys of `window`.
    pub fn new(window: &plan::Window) -> Result<Self> {
        let fields: Vec<FieldRef> = window.keys.iter().map(|(_, f)| f.clone()).collect();
        Ok(Self { interner: KeyInterner::new(&fields)?, fields, holders: Vec::new(), live: 0 })
    }

    /// The number of each row's key, into `numbers`.
    pub fn intern(&mut self, keys: &[ArrayRef], rows: usize, numbers: &mut Vec<usize>) -> Result<()> {
        numbers.clear();
        self.interner.intern(keys, rows, numbers)?;
        self.holders.resize(self.interner.len().max(self.holders.len()), 0);
        Ok(())
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.holders.len()
    }

    /// Memory that they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.interner.bytes() + self.holders.capacity() * size_of::<u32>()
    }

    /// A session begins.
    pub fn hold(&mut self, number: usize) {
        self.live += usize::from(self.holders[number] == 0);
        self.holders[number] += 1;
    }

    /// A session is gone.
    pub fn release(&mut self, number: usize) {
        self.holders[number] -= 1;
        self.live -= usize::from(self.holders[number] == 0);
    }

    /// The key columns of these numbers, in their order.
    pub fn select(&self, numbers: &[usize]) -> Result<Vec<ArrayRef>> {
        self.interner.select(numbers)
    }

    /// Forgets keys that nobody holds, if they are many: the new number of each old one that is held.
    pub fn forget(&mut self) -> Result<Option<Vec<usize>>> {
        if self.holders.len() <= 2 * self.live + IDLE_MAX {
            return Ok(None);
        }
        let held: Vec<usize> = (0..self.holders.len()).filter(|&n| self.holders[n] > 0).collect();
        let columns = self.interner.select(&held)?;
        self.interner = KeyInterner::new(&self.fields)?;
        let mut new = Vec::with_capacity(held.len());
        self.interner.intern(&columns, held.len(), &mut new)?;
        let mut renumbered = vec![usize::MAX; self.holders.len()];
        let mut holders = vec![0; held.len()];
        for (&old, &new) in held.iter().zip(&new) {
            renumbered[old] = new;
            holders[new] = self.holders[old];
        }
        self.holders = holders;
        Ok(Some(renumbered))
    }
}
