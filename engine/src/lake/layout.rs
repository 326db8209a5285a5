//! How the files of one table are written. Invariant: layout changes size and speed only; every layout reads back the same rows.
//!
//! Times and offsets are delta-packed, device ids and measured values keep a dictionary, payloads have neither dictionary nor
//! statistics. Sealed and merged files are sorted and say so. Statistics of times, sort columns and offsets go into the Delta log.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimestampMicrosecondType};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{RowGroupMetaData, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnPath;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::limits::ROW_GROUP_ROWS;
use crate::time::{self, DAY, Micros};

/// Rows of one data page: what a reader can skip.
const PAGE_ROWS: usize = 20_000;
/// Columns that hold whole payloads.
const PAYLOADS: [&str; 4] = ["_payload", "_payload_raw", "payload", "payload_raw"];
/// Integer columns that count upwards.
const COUNTERS: [&str; 2] = ["_offset", "_producer_sequence"];

/// Where a file belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Small, in order of arrival.
    Recent,
    /// Made of those, sorted as it will be when it is sealed. Written again with others of its size.
    Merged,
    /// Sorted, never rewritten.
    Sealed,
    /// One bucket of a table with a primary key: sorted by the key, replaced whole when one of its rows changes.
    Bucket,
}

impl Level {
    /// The directory of the level inside the table.
    pub(super) fn directory(self) -> &'static str {
        match self {
            Self::Recent | Self::Merged => "recent",
            Self::Sealed => "data",
            Self::Bucket => "keyed",
        }
    }
}

/// The primary key of a table: of each key it holds one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Its columns, in the order of the declaration.
    pub(super) columns: Vec<usize>,
    /// Files that the rows are spread over, by a hash of the key.
    pub(super) buckets: u32,
}

/// Columns of a table and what they are used for.
#[derive(Debug)]
pub(super) struct Layout {
    /// Stored columns, without the partition.
    pub(super) columns: SchemaRef,
    /// Its primary key; a table that has one is not partitioned.
    pub(super) key: Option<Key>,
    /// Column with the time of the row; its UTC day is the partition.
    pub(super) time: Option<usize>,
    /// Column that stands in where the time is NULL.
    pub(super) received: Option<usize>,
    /// Columns that sealed files are sorted by; of a table with a primary key, those of the key.
    pub(super) sort: Vec<usize>,
    /// Columns with statistics in the Delta log.
    pub(super) statistics: Vec<usize>,
}

impl Layout {
    /// The layout of a table with these columns, sorted by some of them, then by device and time; names that do not exist are left out.
    pub(super) fn new(columns: SchemaRef, time_column: Option<&str>, sort_columns: &[String]) -> Self {
        let index = |name: &str| columns.index_of(name).ok();
        let mut sort: Vec<usize> = sort_columns.iter().filter_map(|name| index(name)).collect();
        let device = index("_device_id").or_else(|| index("device_id"));
        for i in device.into_iter().chain(time_column.and_then(index)) {
            if !sort.contains(&i) {
                sort.push(i);
            }
        }
        Self::sorted(columns, time_column, sort)
    }

    fn sorted(columns: SchemaRef, time_column: Option<&str>, sort: Vec<usize>) -> Self {
        let index = |name: &str| columns.index_of(name).ok();
        let time = time_column.and_then(index);
        let received = index("_received_at").filter(|&i| *columns.field(i).data_type() == time::timestamp_type());
        let statistics = (0..columns.fields().len()).filter(|&i| has_statistics(&columns, i, &sort)).collect();
        Self { columns, key: None, time, received, sort, statistics }
    }

    /// The layout of a table with a primary key. Errors: `Invalid` if the key is empty, or a column of it does not exist, comes
    /// twice, is nested or may be NULL.
    pub(super) fn keyed(columns: SchemaRef, time_column: Option<&str>, key: &[String], buckets: u32) -> Result<Self> {
        let mut indices = Vec::with_capacity(key.len());
        for name in key {
            let wrong = |what: &str| Error::invalid(format!("column '{name}' of the primary key {what}"));
            let i = columns.index_of(name).map_err(|_| wrong("does not exist"))?;
            if columns.field(i).data_type().is_nested() {
                return Err(wrong("has values inside").hint("make a key of columns with one value each"));
            }
            if columns.field(i).is_nullable() {
                return Err(wrong("may be NULL").hint("declare it NOT NULL"));
            }
            if indices.contains(&i) {
                return Err(wrong("comes twice"));
            }
            indices.push(i);
        }
        if indices.is_empty() || buckets == 0 {
            return Err(Error::invalid("a primary key needs a column and a bucket"));
        }
        Ok(Self { key: Some(Key { columns: indices.clone(), buckets }), ..Self::sorted(columns, time_column, indices) })
    }

    /// Columns of the primary key; none if there is none.
    pub(super) fn key_names(&self) -> Vec<String> {
        let columns = self.key.iter().flat_map(|k| &k.columns);
        columns.map(|&i| self.columns.field(i).name().clone()).collect()
    }

    /// Columns that sealed files are sorted by.
    pub(super) fn sort_names(&self) -> Vec<&str> {
        self.sort.iter().map(|&i| self.columns.field(i).name().as_str()).collect()
    }

    /// Newest time of some rows; `None` if none has any, or the newest is none that a date can name.
    pub(super) fn event_time_max(&self, rows: &RecordBatch) -> Option<Micros> {
        let times = rows.column(self.time?).as_primitive::<TimestampMicrosecondType>();
        arrow::compute::max(times).filter(|&t| is_plain_time(t))
    }

    /// Names of the columns with statistics, as the Delta property wants them.
    pub(super) fn statistics_property(&self) -> String {
        let names: Vec<&str> = self.statistics.iter().map(|&i| self.columns.field(i).name().as_str()).collect();
        names.join(",")
    }

    /// How a file of this level is written.
    pub(super) fn properties(&self, level: Level) -> Result<WriterProperties> {
        let zstd = ZstdLevel::try_new(if level == Level::Sealed { 3 } else { 1 })?;
        let mut builder = WriterProperties::builder()
            .set_compression(Compression::ZSTD(zstd))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_data_page_row_count_limit(PAGE_ROWS)
            .set_statistics_truncate_length(None);
        for field in self.columns.fields() {
            let path = || ColumnPath::new(vec![field.name().clone()]);
            let is_time = matches!(field.data_type(), DataType::Timestamp(..));
            if is_time || COUNTERS.contains(&field.name().as_str()) {
                builder = builder.set_column_dictionary_enabled(path(), false).set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
            } else if PAYLOADS.contains(&field.name().as_str()) {
                builder =
                    builder.set_column_dictionary_enabled(path(), false).set_column_statistics_enabled(path(), EnabledStatistics::None);
            }
        }
        if level != Level::Recent && !self.sort.is_empty() {
            let column = |&i: &usize| SortingColumn { column_idx: leaf(&self.columns, i) as i32, descending: false, nulls_first: true };
            builder = builder.set_sorting_columns(Some(self.sort.iter().map(column).collect()));
        }
        Ok(builder.build())
    }

    /// Statistics of a finished file as the Delta log wants them (JSON).
    pub(super) fn statistics_json(&self, groups: &[RowGroupMetaData]) -> String {
        let (mut least, mut greatest, mut nulls) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for &i in &self.statistics {
            let field = self.columns.field(i);
            let Some((min, max, null_count)) = column_statistics(groups, leaf(&self.columns, i)) else { continue };
            nulls.insert(field.name(), null_count);
            if let (Some(min), Some(max)) = (delta_value(field.data_type(), min), delta_value(field.data_type(), max)) {
                least.insert(field.name(), min);
                greatest.insert(field.name(), max);
            }
        }
        let rows: i64 = groups.iter().map(RowGroupMetaData::num_rows).sum();
        json!({ "numRecords": rows, "minValues": least, "maxValues": greatest, "nullCount": nulls }).to_string()
    }
}

/// The place of a column among those of Parquet, where each value inside of a nested one is a column of its own.
fn leaf(columns: &Schema, i: usize) -> usize {
    columns.fields()[..i].iter().map(|f| leaves(f.data_type())).sum()
}

/// How many columns of Parquet a type is.
pub(super) fn leaves(data_type: &DataType) -> usize {
    match data_type {
        DataType::List(inner) | DataType::Map(inner, _) => leaves(inner.data_type()),
        DataType::Struct(fields) => fields.iter().map(|f| leaves(f.data_type())).sum(),
        _ => 1,
    }
}

/// Whether a time lies in the years 1 to 9999: others cannot be written as a date that every reader understands.
pub(super) fn is_plain_time(t: Micros) -> bool {
    (-719_162 * DAY..2_932_897 * DAY).contains(&t)
}

fn has_statistics(columns: &Schema, i: usize, sort: &[usize]) -> bool {
    let field = columns.field(i);
    let plain = field.name().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let wanted = match field.data_type() {
        DataType::Timestamp(..) => true,
        DataType::Int32 | DataType::Int64 => field.name() == "_offset" || sort.contains(&i),
        DataType::Utf8View | DataType::Int8 | DataType::Int16 | DataType::Date32 => sort.contains(&i),
        _ => false,
    };
    plain && wanted
}

/// A bound of a column: what Parquet counts in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    Number(i64),
    Text(Vec<u8>),
}

/// Least and greatest value and number of NULLs of a Parquet column over all row groups; `None` if one of them does not say. The bounds are `None`
/// if every value is NULL.
fn column_statistics(groups: &[RowGroupMetaData], column: usize) -> Option<(Option<Bound>, Option<Bound>, u64)> {
    let (mut least, mut greatest, mut nulls) = (None, None, 0);
    for group in groups {
        let statistics = group.column(column).statistics()?;
        let null_count = statistics.null_count_opt()?;
        nulls += null_count;
        let bounds = match statistics {
            Statistics::Int64(v) => v.min_opt().zip(v.max_opt()).map(|(a, b)| (Bound::Number(*a), Bound::Number(*b))),
            Statistics::Int32(v) => v.min_opt().zip(v.max_opt()).map(|(a, b)| (Bound::Number((*a).into()), Bound::Number((*b).into()))),
            Statistics::ByteArray(v) => v.min_opt().zip(v.max_opt()).map(|(a, b)| (text(a.data()), text(b.data()))),
            _ => None,
        };
        match bounds {
            Some((min, max)) => {
                least = Some(least.map_or(min.clone(), |l: Bound| l.min(min)));
                greatest = Some(greatest.map_or(max.clone(), |g: Bound| g.max(max)));
            }
            None if null_count == group.num_rows() as u64 => {}
            None => return None,
        }
    }
    Some((least, greatest, nulls))
}

fn text(bytes: &[u8]) -> Bound {
    Bound::Text(bytes.to_vec())
}

fn delta_value(data_type: &DataType, bound: Option<Bound>) -> Option<Value> {
    Some(match bound? {
        Bound::Number(n) if matches!(data_type, DataType::Timestamp(..)) => Value::String(is_plain_time(n).then(|| time::format(n))?),
        Bound::Number(n) if *data_type == DataType::Date32 => {
            Value::String(n.checked_mul(DAY).filter(|&t| is_plain_time(t)).map(time::date)?)
        }
        Bound::Number(n) => Value::from(n),
        Bound::Text(bytes) => Value::String(String::from_utf8(bytes).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_no_date_can_name_are_left_out() {
        let parse = |text: &str| time::parse(text.as_bytes()).unwrap();
        assert!(is_plain_time(parse("0001-01-01T00:00:00Z")));
        assert!(is_plain_time(parse("9999-12-31T23:59:59.999999Z")));
        assert!(!is_plain_time(parse("0001-01-01T00:00:00Z") - 1));
        assert!(!is_plain_time(parse("9999-12-31T23:59:59.999999Z") + 1));
        assert_eq!(delta_value(&time::timestamp_type(), Some(Bound::Number(i64::MAX))), None);
        assert_eq!(delta_value(&DataType::Int64, Some(Bound::Number(7))), Some(Value::from(7)));
        assert_eq!(delta_value(&DataType::Date32, Some(Bound::Number(-1))), Some(Value::from("1969-12-31")));
        assert_eq!(delta_value(&DataType::Date32, Some(Bound::Number(i32::MAX.into()))), None);
    }
}
