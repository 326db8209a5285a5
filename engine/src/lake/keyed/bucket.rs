//! Which bucket a key belongs to, and what its file is called. Invariant: both are on disk for as long as tables are: the hash and
//! the names never change.
//!
//! ```text
//! bucket = CRC-32C(values of the key's columns, one behind the other) mod number of buckets
//! STRING, BYTES      length u32 LE, bytes      TIMESTAMP, BIGINT, DOUBLE   8 bytes LE
//! DECIMAL            16 bytes LE               DATE, INT, FLOAT            4 bytes LE
//! BOOLEAN, TINYINT   1 byte                    SMALLINT                    2 bytes LE
//! ```

use std::collections::HashSet;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimeUnit, TimestampMicrosecondType,
};
use crc32c::crc32c_append;

use crate::contract::PreCommit;
use crate::error::{Error, Result};
use crate::lake::layout::Level;
use crate::lake::snapshot::TableSnapshot;

/// Bucket of each of `rows` keys, whose columns have no NULLs.
pub(super) fn buckets_of(keys: &[ArrayRef], rows: usize, buckets: u32) -> Result<Vec<u32>> {
    let mut sums = vec![0; rows];
    for column in keys {
        match column.data_type() {
            DataType::Utf8View => append_bytes(&mut sums, column.as_string_view().iter().flatten().map(str::as_bytes)),
            DataType::Binary => append_bytes(&mut sums, column.as_binary::<i32>().iter().flatten()),
            DataType::Boolean => append(&mut sums, column.as_boolean().values().iter().map(|v| [u8::from(v)])),
            DataType::Timestamp(TimeUnit::Microsecond, _) => numbers::<TimestampMicrosecondType, _>(&mut sums, column, i64::to_le_bytes),
            DataType::Date32 => numbers::<Date32Type, _>(&mut sums, column, i32::to_le_bytes),
            DataType::Int64 => numbers::<Int64Type, _>(&mut sums, column, i64::to_le_bytes),
            DataType::Int32 => numbers::<Int32Type, _>(&mut sums, column, i32::to_le_bytes),
            DataType::Int16 => numbers::<Int16Type, _>(&mut sums, column, i16::to_le_bytes),
            DataType::Int8 => numbers::<Int8Type, _>(&mut sums, column, i8::to_le_bytes),
            DataType::Float64 => numbers::<Float64Type, _>(&mut sums, column, f64::to_le_bytes),
            DataType::Float32 => numbers::<Float32Type, _>(&mut sums, column, f32::to_le_bytes),
            DataType::Decimal128(..) => numbers::<Decimal128Type, _>(&mut sums, column, i128::to_le_bytes),
            other => return Err(Error::internal(format!("{other} cannot be a key"))),
        }
    }
    Ok(sums.into_iter().map(|sum| sum % buckets).collect())
}

fn append<V: AsRef<[u8]>>(sums: &mut [u32], values: impl Iterator<Item = V>) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum = crc32c_append(*sum, value.as_ref());
    }
}

fn numbers<T: ArrowPrimitiveType, const N: usize>(sums: &mut [u32], column: &ArrayRef, bytes: fn(T::Native) -> [u8; N]) {
    append(sums, column.as_primitive::<T>().values().iter().map(|&v| bytes(v)));
}

fn append_bytes<'a>(sums: &mut [u32], values: impl Iterator<Item = &'a [u8]>) {
    for (sum, value) in sums.iter_mut().zip(values) {
        // No column of a table is longer than 4 GiB.
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        *sum = crc32c_append(crc32c_append(*sum, &length.to_le_bytes()), value);
    }
}

/// Path of a bucket's file, relative to the table.
pub(super) fn path(stem: &str, bucket: u32) -> String {
    format!("{}/{stem}-b{bucket:02}.parquet", Level::Bucket.directory())
}

/// Bucket that a file holds, by its path; `None` if it is no bucket's.
pub(super) fn of_path(path: &str) -> Option<u32> {
    let (stem, bucket) = path.strip_suffix(".parquet")?.rsplit_once("-b")?;
    let number = bucket.bytes().all(|b| b.is_ascii_digit()).then(|| bucket.parse().ok())?;
    stem.strip_prefix(Level::Bucket.directory())?.strip_prefix('/').and(number)
}

/// Whether a bucket would still be one file at most after a commit. Errors: `Conflict` if another job has filled one meanwhile,
/// `Corrupt` if a file is no bucket's.
pub(in crate::lake) fn check_buckets(snapshot: &TableSnapshot, prepared: &PreCommit) -> Result<()> {
    let removed: HashSet<&str> = prepared.removes.iter().map(String::as_str).collect();
    let staying = snapshot.files.iter().map(|f| f.relative.as_str()).filter(|path| !removed.contains(path));
    let mut filled = HashSet::new();
    for path in staying.chain(prepared.files.iter().map(|f| f.path.as_str())) {
        let bucket = of_path(path).ok_or_else(|| Error::corrupt(format!("{path} holds no bucket of the table")))?;
        if !filled.insert(bucket) {
            return Err(Error::conflict(format!("bucket {bucket} was written by somebody else"))
                .hint("a table with a primary key is written by one job at a time: start this one under a new name"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
        StringViewArray,
    };

    use super::*;

    #[test]
    fn keys_stay_in_their_buckets() {
        let text: ArrayRef = Arc::new(StringViewArray::from(vec!["", "pump-1", "pump-2", "a key that does not lie inside of its view"]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, -1, i64::MAX]));
        // Tables on disk depend on these numbers: they never change.
        assert_eq!(buckets_of(from_ref(&text), 4, 16).unwrap(), [7, 12, 8, 9]);
        assert_eq!(buckets_of(from_ref(&number), 4, 16).unwrap(), [10, 13, 7, 15]);
        assert_eq!(buckets_of(&[text, number], 4, 1000).unwrap(), [173, 754, 257, 959]);
        let small: [ArrayRef; 5] = [
            Arc::new(Int32Array::from(vec![7])),
            Arc::new(Date32Array::from(vec![7])),
            Arc::new(Float32Array::from(vec![7.0])),
            Arc::new(BooleanArray::from(vec![true])),
            Arc::new(BinaryArray::from(vec![b"7".as_slice()])),
        ];
        assert_eq!(small.map(|c| buckets_of(&[c], 1, 1000).unwrap()[0]), [925, 925, 740, 682, 219]);
        let large: ArrayRef = Arc::new(Float64Array::from(vec![7.0]));
        assert_eq!(buckets_of(&[large], 1, 1000).unwrap(), [139]);
        let others: [ArrayRef; 3] = [
            Arc::new(Int8Array::from(vec![7])),
            Arc::new(Int16Array::from(vec![7])),
            Arc::new(Decimal128Array::from(vec![7]).with_precision_and_scale(20, 2).unwrap()),
        ];
        assert_eq!(others.map(|c| buckets_of(&[c], 1, 1000).unwrap()[0]), [298, 247, 914]);
    }

    #[test]
    fn keys_are_spread_evenly() {
        let text: ArrayRef = Arc::new((0..16_000).map(|i| Some(format!("device-{i:05}"))).collect::<StringViewArray>());
        let number: ArrayRef = Arc::new(Int64Array::from_iter_values(0..16_000));
        for keys in [text, number] {
            let mut rows = [0; 16];
            buckets_of(&[keys], 16_000, 16).unwrap().into_iter().for_each(|b| rows[b as usize] += 1);
            assert!(rows.iter().all(|n| (800..1200).contains(n)), "{rows:?}");
        }
    }

    #[test]
    fn a_file_tells_its_bucket() {
        assert_eq!(path("e00000012-job-main-00c0ffee", 3), "keyed/e00000012-job-main-00c0ffee-b03.parquet");
        assert_eq!(of_path("keyed/e00000012-job-b7-00c0ffee-b03.parquet"), Some(3));
        assert_eq!(of_path("keyed/e00000012-job-main-00c0ffee-o17-b03.parquet"), Some(3));
        assert_eq!(of_path(&path("e1", 4711)), Some(4711));
        for other in ["recent/e1-b03.parquet", "keyed/e1-s0.parquet", "keyed/e1-b03", "keyed/e1-b+3.parquet", "keyed/e1-b.parquet"] {
            assert_eq!(of_path(other), None, "{other}");
        }
    }
}
