//! A bag: rows in arrow's row format, each with how often it is there. Invariant: they come out in their order, which does not
//! depend on the order in which they went in.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows with counts.
#[derive(Debug, Clone, Default)]
pub struct Bag {
    rows: BTreeMap<Arc<[u8]>, u64>,
    len: u64,
}

impl Bag {
    /// Puts a row in; whether it is the first such row.
    pub fn add(&mut self, row: &[u8]) -> bool {
        self.len += 1;
        if let Some(count) = self.rows.get_mut(row) {
            *count += 1;
            return false;
        }
        self.rows.insert(row.into(), 1);
        true
    }

    /// Puts a row in `count` times, at least once.
    pub fn put(&mut self, row: &[u8], count: u64) {
        self.len += count;
        *self.rows.entry(row.into()).or_insert(0) += count;
    }

    /// Takes a row out; whether it was the last such row, or none if there is no such row.
    pub fn remove(&mut self, row: &[u8]) -> Option<bool> {
        let count = self.rows.get_mut(row)?;
        self.len -= 1;
        *count -= 1;
        if *count > 0 {
            return Some(false);
        }
        self.rows.remove(row);
        Some(true)
    }

    /// The greatest row.
    pub fn last(&self) -> Option<&Arc<[u8]>> {
        self.rows.last_key_value().map(|(row, _)| row)
    }

    /// Takes the greatest row out, once.
    pub fn pop_last(&mut self) {
        if let Some(mut last) = self.rows.last_entry() {
            self.len -= 1;
            *last.get_mut() -= 1;
            if *last.get() == 0 {
                last.remove();
            }
        }
    }

    /// Number of rows, each as often as it is there.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Different rows, with how often each is there.
    pub fn counts(&self) -> impl Iterator<Item = (&Arc<[u8]>, u64)> {
        self.rows.iter().map(|(row, count)| (row, *count))
    }

    /// Rows from place `from`, at most `limit`, each as often as it is there.
    pub fn range(&self, from: u64, limit: u64) -> Vec<Arc<[u8]>> {
        let (mut skip, mut left) = (from, limit);
        let mut rows = Vec::new();
        for (row, count) in self.counts() {
            let skipped = skip.min(count);
            skip -= skipped;
            let taken = left.min(count - skipped);
            left -= taken;
            rows.extend((0..taken).map(|_| row.clone()));
            if left == 0 {
                break;
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_and_ordered() {
        let mut bag = Bag::default();
        let added: Vec<bool> = [b"b", b"a", b"b", b"c", b"b"].into_iter().map(|r| bag.add(r)).collect();
        assert_eq!((added, bag.len()), (vec![true, true, false, true, false], 5));
        let text = |rows: Vec<Arc<[u8]>>| rows.iter().map(|r| r[0] as char).collect::<String>();
        assert_eq!(text(bag.range(0, u64::MAX)), "abbbc");
        assert_eq!((text(bag.range(2, 2)), text(bag.range(4, 9)), text(bag.range(5, 1))), ("bb".into(), "c".into(), String::new()));
        assert_eq!((bag.remove(b"b"), bag.remove(b"a"), bag.remove(b"a")), (Some(false), Some(true), None));
        bag.pop_last();
        bag.pop_last();
        assert_eq!((text(bag.range(0, 9)), bag.len(), bag.last().map(|r| r.to_vec())), ("b".into(), 1, Some(b"b".to_vec())));
        bag.pop_last();
        bag.pop_last();
        assert!(bag.is_empty() && bag.last().is_none());
    }
}
