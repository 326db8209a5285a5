//! Keys of both sides of a join as numbers. Invariant: equal keys have the same number as long as somebody holds it; a key that
//! nobody holds takes no room, and its number is given again.

use std::sync::Arc;

use ahash::RandomState;
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;
use hashbrown::HashTable;

use crate::error::{Error, Result};
use crate::operators::keys::canonical;
use crate::plan::JoinSide;

/// Numbers the keys that are held, from 0.
pub struct JoinKeys {
    expressions: [Vec<Arc<dyn PhysicalExpr>>; 2],
    converter: RowConverter,
    hasher: RandomState,
    table: HashTable<u32>,
    keys: Vec<Key>,
    free: Vec<u32>,
}

struct Key {
    hash: u64,
    bytes: Box<[u8]>,
    holders: u64,
}

/// The keys of some rows.
pub struct Encoded {
    /// `None` if there are no key columns: then all keys are equal.
    rows: Option<Rows>,
    nulls: Option<NullBuffer>,
}

impl Encoded {
    /// The key of a row; `None` if a part of it is NULL.
    fn key(&self, row: usize) -> Option<&[u8]> {
        if self.nulls.as_ref().is_some_and(|n| n.is_null(row)) {
            return None;
        }
        Some(self.rows.as_ref().map_or(&[], |rows| rows.row(row).data()))
    }
}

impl JoinKeys {
    /// For the keys of two inputs. Errors: `Internal` if their types differ.
    pub fn new(left: &JoinSide, right: &JoinSide) -> Result<Self> {
        let types = |side: &JoinSide| -> Result<Vec<DataType>> {
            Ok(side.keys.iter().map(|k| k.data_type(&side.schema)).collect::<datafusion_common::Result<_>>()?)
        };
        let (types, others) = (types(left)?, types(right)?);
        if types != others {
            return Err(Error::internal(format!("the keys of a join are {types:?} on the left and {others:?} on the right")));
        }
        Ok(Self {
            expressions: [left.keys.clone(), right.keys.clone()],
            converter: RowConverter::new(types.into_iter().map(SortField::new).collect())?,
            hasher: RandomState::with_seeds(0x7468_616c, 0x7765_6720, 0x6a6f_696e, 1),
            table: HashTable::new(),
            keys: Vec::new(),
            free: Vec::new(),
        })
    }

    /// The keys of `rows`, which are of side 0 (left) or 1.
    pub fn encode(&self, side: usize, rows: &RecordBatch) -> Result<Encoded> {
        let columns = self.expressions[side].iter().map(|e| Ok(e.evaluate(rows)?.into_array(rows.num_rows())?));
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        let nulls = columns.iter().fold(None, |all, c| NullBuffer::union(all.as_ref(), c.logical_nulls().as_ref()));
        let encoded = (!columns.is_empty()).then(|| self.converter.convert_columns(&canonical(&columns))).transpose()?;
        Ok(Encoded { rows: encoded, nulls })
    }

    /// The number of a row's key; none if a part of it is NULL, or nobody holds it.
    pub fn find(&self, encoded: &Encoded, row: usize) -> Option<u32> {
        let key = encoded.key(row)?;
        let hash = self.hasher.hash_one(key);
        self.table.find(hash, |&n| *self.keys[n as usize].bytes == *key).copied()
    }

    /// Holds a row's key: its number, until it is released as often. None if a part of it is NULL.
    pub fn hold(&mut self, encoded: &Encoded, row: usize) -> Option<u32> {
        let key = encoded.key(row)?;
        let hash = self.hasher.hash_one(key);
        if let Some(&number) = self.table.find(hash, |&n| *self.keys[n as usize].bytes == *key) {
            self.keys[number as usize].holders += 1;
            return Some(number);
        }
        let new = Key { hash, bytes: key.into(), holders: 1 };
        let number = match self.free.pop() {
            Some(number) => {
                self.keys[number as usize] = new;
                number
            }
            None => {
                self.keys.push(new);
                self.keys.len() as u32 - 1
            }
        };
        self.table.insert_unique(hash, number, |&n| self.keys[n as usize].hash);
        Some(number)
    }

    /// How many are held.
    pub fn held(&self) -> u64 {
        self.table.len() as u64
    }

    /// Takes back one `hold`.
    pub fn release(&mut self, number: u32) {
        let key = &mut self.keys[number as usize];
        key.holders -= 1;
        if key.holders == 0 {
            key.bytes = Box::default();
            if let Ok(entry) = self.table.find_entry(key.hash, |&n| n == number) {
                entry.remove();
            }
            self.free.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};
    use arrow::datatypes::{Field, Schema};
    use datafusion_physical_expr::expressions::col;

    use super::*;

    fn side(fields: &[(&str, DataType)], keys: &[&str]) -> JoinSide {
        let schema = Arc::new(Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>()));
        JoinSide { keys: keys.iter().map(|k| col(k, &schema).unwrap()).collect(), schema, time: 0, unit: 1 }
    }

    #[test]
    fn numbers_are_held_released_and_given_again() {
        let fields = [("a", DataType::Utf8View), ("b", DataType::Int64)];
        let (left, right) = (side(&fields, &["a", "b"]), side(&fields, &["a", "b"]));
        let mut keys = JoinKeys::new(&left, &right).unwrap();
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![Some("x"), Some("y"), Some("x"), None, Some("x")]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(1), Some(1), Some(1), None]));
        let encoded = keys.encode(1, &RecordBatch::try_new(right.schema, vec![texts, numbers]).unwrap()).unwrap();
        let held: Vec<_> = (0..5).map(|row| keys.hold(&encoded, row)).collect();
        assert_eq!(held, [Some(0), Some(1), Some(0), None, None]);
        keys.release(0);
        assert_eq!((keys.find(&encoded, 0), keys.table.len()), (Some(0), 2));
        keys.release(0);
        assert_eq!((keys.find(&encoded, 0), keys.find(&encoded, 1), keys.table.len()), (None, Some(1), 1));
        assert_eq!((keys.hold(&encoded, 2), keys.keys.len()), (Some(0), 2));
    }

    #[test]
    fn without_key_columns_all_keys_are_equal() {
        let none = side(&[("a", DataType::Int64)], &[]);
        let mut keys = JoinKeys::new(&none, &none).unwrap();
        let rows = RecordBatch::try_new(none.schema, vec![Arc::new(Int64Array::from(vec![Some(1), None]))]).unwrap();
        let encoded = keys.encode(0, &rows).unwrap();
        assert_eq!((keys.hold(&encoded, 0), keys.hold(&encoded, 1)), (Some(0), Some(0)));
    }

    #[test]
    fn keys_of_different_types_are_refused() {
        let error = JoinKeys::new(&side(&[("a", DataType::Int64)], &["a"]), &side(&[("a", DataType::Utf8View)], &["a"]));
        assert!(error.is_err_and(|e| e.message().contains("keys of a join are [Int64] on the left")));
    }
}
