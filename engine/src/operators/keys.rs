//! Group keys as dense numbers. Invariant: equal keys (NULL equals NULL) get the same number, numbers are given in the order
//! of first sight, and the keys can be given back in that order.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use ahash::RandomState;
use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use arrow::row::{RowConverter, Rows, SortField};
use hashbrown::HashTable;

use crate::error::Result;

/// Longest string that a view holds itself.
const INLINE_BYTES_MAX: u32 = 12;

/// Key columns whose equal values are equal bytes: 0.0 and -0.0 are one number. Only columns of numbers with a point are read.
pub fn canonical(keys: &[ArrayRef]) -> Cow<'_, [ArrayRef]> {
    if keys.iter().any(|k| k.data_type().is_floating()) { Cow::Owned(keys.iter().map(one_zero).collect()) } else { Cow::Borrowed(keys) }
}

fn one_zero(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(|x| if x == 0.0 { 0.0 } else { x })),
        DataType::Float64 => Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(|x| if x == 0.0 { 0.0 } else { x })),
        _ => column.clone(),
    }
}

/// Numbers keys from 0.
pub enum KeyInterner {
    /// No key columns: one group.
    None,
    /// One string column: compared as bytes.
    Text(TextKeys),
    /// Anything else, in arrow's row format.
    Rows(RowKeys),
}

impl KeyInterner {
    /// For key columns of these types.
    pub fn new(fields: &[FieldRef]) -> Result<Self> {
        Ok(match fields {
            [] => Self::None,
            [one] if *one.data_type() == DataType::Utf8View => Self::Text(TextKeys::new()),
            _ => Self::Rows(RowKeys::new(fields)?),
        })
    }

    /// Appends the number of each row's key to `groups`.
    pub fn intern(&mut self, keys: &[ArrayRef], rows: usize, groups: &mut Vec<usize>) -> Result<()> {
        groups.reserve(rows);
        match self {
            Self::None => groups.resize(groups.len() + rows, 0),
            Self::Text(t) => t.intern(&keys[0], groups),
            Self::Rows(r) => r.intern(keys, groups)?,
        }
        Ok(())
    }

    /// How many numbers were given.
    pub fn len(&self) -> usize {
        match self {
            Self::None => 1,
            Self::Text(t) => t.ends.len(),
            Self::Rows(r) => r.rows.num_rows(),
        }
    }

    /// Memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let table = |capacity: usize| capacity * (size_of::<(u64, usize)>() + 1);
        match self {
            Self::None => 0,
            Self::Text(t) => {
                let short = t.short.capacity() * (size_of::<(u128, usize)>() + 1);
                t.bytes.capacity() + t.ends.capacity() * size_of::<usize>() + short + table(t.long.capacity())
            }
            Self::Rows(r) => r.rows.size() + table(r.table.capacity()),
        }
    }

    /// The key columns, in the order of the numbers.
    pub fn columns(&self) -> Result<Vec<ArrayRef>> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Text(t) => Ok(vec![t.column(0..t.ends.len())]),
            Self::Rows(r) => Ok(r.converter.convert_rows(r.rows.iter())?),
        }
    }

    /// The key columns of these numbers, in their order.
    pub fn select(&self, numbers: &[usize]) -> Result<Vec<ArrayRef>> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Text(t) => Ok(vec![t.column(numbers.iter().copied())]),
            Self::Rows(r) => Ok(r.converter.convert_rows(numbers.iter().map(|&n| r.rows.row(n)))?),
        }
    }
}

fn hasher() -> RandomState {
    RandomState::with_seeds(0x7468_616c, 0x7765_6720, 0x6b65_7973, 1)
}

/// Distinct strings, end to end in one buffer. Those that a view holds itself are found by it, as one number.
pub struct TextKeys {
    hasher: RandomState,
    short: HashTable<(u128, usize)>,
    /// By hash.
    long: HashTable<(u64, usize)>,
    bytes: String,
    ends: Vec<usize>,
    null: Option<usize>,
}

impl TextKeys {
    fn new() -> Self {
        let (short, long) = (HashTable::new(), HashTable::new());
        Self { hasher: hasher(), short, long, bytes: String::new(), ends: Vec::new(), null: None }
    }

    fn text(bytes: &str, ends: &[usize], group: usize) -> (usize, usize) {
        let start = if group == 0 { 0 } else { ends[group - 1] };
        debug_assert!(ends[group] <= bytes.len());
        (start, ends[group])
    }

    fn intern(&mut self, keys: &ArrayRef, groups: &mut Vec<usize>) {
        let keys = keys.as_string_view();
        let nulls = keys.nulls().filter(|n| n.null_count() > 0);
        for (row, &view) in keys.views().iter().enumerate() {
            let group = match nulls {
                Some(nulls) if nulls.is_null(row) => self.null_group(),
                _ if view as u32 <= INLINE_BYTES_MAX => self.short_group(view, || keys.value(row)),
                _ => self.long_group(keys.value(row)),
            };
            groups.push(group);
        }
    }

    fn null_group(&mut self) -> usize {
        match self.null {
            Some(group) => group,
            None => *self.null.insert(append(&mut self.bytes, &mut self.ends, "")),
        }
    }

    /// `text` is asked for if the view is new.
    #[inline]
    fn short_group<'k>(&mut self, view: u128, text: impl FnOnce() -> &'k str) -> usize {
        let hash = self.hasher.hash_one(view);
        if let Some(&(_, group)) = self.short.find(hash, |&(other, _)| other == view) {
            return group;
        }
        let group = append(&mut self.bytes, &mut self.ends, text());
        self.short.insert_unique(hash, (view, group), |&(other, _)| self.hasher.hash_one(other));
        group
    }

    fn long_group(&mut self, key: &str) -> usize {
        let mut hash = self.hasher.build_hasher();
        hash.write(key.as_bytes());
        let hash = hash.finish();
        let (bytes, ends) = (&self.bytes, &self.ends);
        let same = |&(h, group): &(u64, usize)| {
            let (start, end) = Self::text(bytes, ends, group);
            h == hash && bytes.as_bytes()[start..end] == *key.as_bytes()
        };
        if let Some(&(_, group)) = self.long.find(hash, same) {
            return group;
        }
        let group = append(&mut self.bytes, &mut self.ends, key);
        self.long.insert_unique(hash, (hash, group), |&(h, _)| h);
        group
    }

    fn column(&self, groups: impl ExactSizeIterator<Item = usize>) -> ArrayRef {
        let mut builder = StringViewBuilder::with_capacity(groups.len());
        for group in groups {
            let (start, end) = Self::text(&self.bytes, &self.ends, group);
            builder.append_option((Some(group) != self.null).then(|| &self.bytes[start..end]));
        }
        Arc::new(builder.finish())
    }
}

/// Puts a string behind the others; returns its number.
fn append(bytes: &mut String, ends: &mut Vec<usize>, text: &str) -> usize {
    bytes.push_str(text);
    ends.push(bytes.len());
    ends.len() - 1
}

/// Distinct keys of any types.
pub struct RowKeys {
    hasher: RandomState,
    converter: RowConverter,
    table: HashTable<(u64, usize)>,
    rows: Rows,
}

impl RowKeys {
    fn new(fields: &[FieldRef]) -> Result<Self> {
        let converter = RowConverter::new(fields.iter().map(|f| SortField::new(f.data_type().clone())).collect())?;
        let rows = converter.empty_rows(0, 0);
        Ok(Self { hasher: hasher(), converter, table: HashTable::new(), rows })
    }

    fn intern(&mut self, keys: &[ArrayRef], groups: &mut Vec<usize>) -> Result<()> {
        let incoming = self.converter.convert_columns(&canonical(keys))?;
        for row in &incoming {
            let mut hash = self.hasher.build_hasher();
            hash.write(row.data());
            let hash = hash.finish();
            let rows = &self.rows;
            let group = match self.table.find(hash, |&(h, group)| h == hash && rows.row(group) == row) {
                Some(&(_, group)) => group,
                None => {
                    let group = self.rows.num_rows();
                    self.rows.push(row);
                    self.table.insert_unique(hash, (hash, group), |&(h, _)| h);
                    group
                }
            };
            groups.push(group);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Float64Array, Int64Array, StringViewArray};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn equal_keys_get_equal_numbers_and_come_back() {
        let text: ArrayRef =
            Arc::new(StringViewArray::from(vec![Some("b"), None, Some(""), Some("b"), None, Some("a longer key than twelve"), Some("")]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 1, 2, 6, 3]));
        let field = |n: &str, t| Arc::new(Field::new(n, t, true));
        for (fields, keys) in [
            (vec![field("t", DataType::Utf8View)], vec![text.clone()]),
            (vec![field("t", DataType::Utf8View), field("n", DataType::Int64)], vec![text.clone(), number.clone()]),
        ] {
            let mut interner = KeyInterner::new(&fields).unwrap();
            let mut groups = Vec::new();
            interner.intern(&keys, 7, &mut groups).unwrap();
            assert_eq!(groups, [0, 1, 2, 0, 1, 3, 2]);
            interner.intern(&keys, 7, &mut groups).unwrap();
            assert_eq!(groups[7..], [0, 1, 2, 0, 1, 3, 2]);
            let want = StringViewArray::from(vec![Some("b"), None, Some(""), Some("a longer key than twelve")]);
            assert_eq!(interner.columns().unwrap()[0].as_string_view(), &want);
            let some = StringViewArray::from(vec![Some("a longer key than twelve"), None, None]);
            assert_eq!(interner.select(&[3, 1, 1]).unwrap()[0].as_string_view(), &some);
        }
    }

    #[test]
    fn there_is_one_zero() {
        let single: ArrayRef = Arc::new(Float32Array::from(vec![Some(-0.0), Some(0.0), None, Some(1.0)]));
        let double: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.0), Some(-0.0), None, Some(f64::NAN)]));
        let fields = [DataType::Float32, DataType::Float64].map(|t| Arc::new(Field::new("x", t, true)));
        let mut interner = KeyInterner::new(&fields).unwrap();
        let mut groups = Vec::new();
        interner.intern(&[single, double], 4, &mut groups).unwrap();
        assert_eq!(groups, [0, 0, 1, 2]);
        let columns = interner.columns().unwrap();
        assert!(columns[0].as_primitive::<Float32Type>().value(0).is_sign_positive());
        assert!(columns[1].as_primitive::<Float64Type>().value(2).is_nan());
    }

    #[test]
    fn no_keys_is_one_group() {
        let mut interner = KeyInterner::new(&[]).unwrap();
        let mut groups = Vec::new();
        interner.intern(&[], 3, &mut groups).unwrap();
        assert_eq!((groups, interner.len()), (vec![0, 0, 0], 1));
    }
}
