//! SQL types and Arrow types. Invariant: a column of a table has one of seven types, each with exactly one Arrow type; whatever
//! else DataFusion computes is turned into one of them or refused.
//!
//! ```text
//! STRING, VARCHAR -> Utf8View      INT -> Int32     FLOAT -> Float32     BOOLEAN -> Boolean
//! TIMESTAMP(p)    -> µs, UTC       BIGINT -> Int64  DOUBLE -> Float64
//! ```

use arrow::datatypes::DataType;
use sqlparser::ast::{DataType as SqlType, ExactNumberInfo, TimezoneInfo};
use thalweg_engine::time::{Micros, timestamp_type};

/// Precision of a `TIMESTAMP` that states none, in digits after the second.
const TIMESTAMP_PRECISION_DEFAULT: u64 = 6;

/// Type of a declared column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnType {
    /// Arrow type.
    pub(crate) data_type: DataType,
    /// For times: unit that values are cut down to, in microseconds; 1 for all others.
    pub(crate) time_unit: Micros,
}

/// The type of a column declared as `sql`. Errors: what to write instead.
pub(crate) fn column_type(sql: &SqlType) -> Result<ColumnType, &'static str> {
    let plain = |data_type| Ok(ColumnType { data_type, time_unit: 1 });
    match sql {
        SqlType::String(None) | SqlType::Varchar(None) => plain(DataType::Utf8View),
        SqlType::Boolean => plain(DataType::Boolean),
        SqlType::Int(None) | SqlType::Integer(None) => plain(DataType::Int32),
        SqlType::BigInt(None) => plain(DataType::Int64),
        SqlType::Float(ExactNumberInfo::None) => plain(DataType::Float32),
        SqlType::Double(ExactNumberInfo::None) | SqlType::DoublePrecision => plain(DataType::Float64),
        SqlType::Varchar(Some(_)) | SqlType::Char(_) | SqlType::Text | SqlType::String(Some(_)) => Err("write STRING"),
        SqlType::TinyInt(_) | SqlType::SmallInt(_) => Err("write INT"),
        SqlType::Decimal(_) | SqlType::Numeric(_) | SqlType::Dec(_) => Err("write DOUBLE, or BIGINT in the smallest unit"),
        SqlType::Real => Err("write FLOAT"),
        SqlType::Bool => Err("write BOOLEAN"),
        SqlType::Date | SqlType::Time(..) | SqlType::Datetime(_) => Err("write TIMESTAMP(3)"),
        other => match timestamp_precision(other) {
            Some(Ok(digits @ 0..=6)) => Ok(ColumnType { data_type: timestamp_type(), time_unit: unit_of(digits) }),
            Some(Ok(_)) => Err("the finest is TIMESTAMP(6), microseconds"),
            Some(Err(hint)) => Err(hint),
            None => Err("types are STRING, BOOLEAN, INT, BIGINT, FLOAT, DOUBLE and TIMESTAMP(p)"),
        },
    }
}

/// Digits after the second of a `TIMESTAMP(p)` or `TIMESTAMP_LTZ(p)`; `None` if it is no time stamp.
pub(crate) fn timestamp_precision(sql: &SqlType) -> Option<Result<u64, &'static str>> {
    match sql {
        SqlType::Timestamp(digits, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            Some(Ok(digits.unwrap_or(TIMESTAMP_PRECISION_DEFAULT)))
        }
        SqlType::Timestamp(..) => Some(Err("times are UTC: write TIMESTAMP(3) or TIMESTAMP_LTZ(3)")),
        SqlType::Custom(name, arguments) if name.to_string().eq_ignore_ascii_case("TIMESTAMP_LTZ") => match arguments.as_slice() {
            [] => Some(Ok(TIMESTAMP_PRECISION_DEFAULT)),
            [digits] => Some(digits.parse().map_err(|_| "write TIMESTAMP_LTZ(3)")),
            _ => Some(Err("write TIMESTAMP_LTZ(3)")),
        },
        _ => None,
    }
}

/// Microseconds of the last of `digits` digits after the second.
fn unit_of(digits: u64) -> Micros {
    (digits..6).fold(1, |unit, _| unit * 10)
}

/// The Arrow type of STRING and TIMESTAMP wherever a query names a type; `None` leaves it to DataFusion.
pub(crate) fn query_type(sql: &SqlType) -> Option<DataType> {
    match sql {
        SqlType::String(_) | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Text => Some(DataType::Utf8View),
        other => timestamp_precision(other).map(|_| timestamp_type()),
    }
}

/// The type in which a stream carries values that DataFusion computes as `data_type`; `None` if it cannot.
pub(crate) fn carried(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8View),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => Some(DataType::Int32),
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Some(DataType::Int64),
        DataType::Float16 | DataType::Float32 => Some(DataType::Float32),
        DataType::Float64 => Some(DataType::Float64),
        DataType::Boolean => Some(DataType::Boolean),
        DataType::Timestamp(..) => Some(timestamp_type()),
        _ => None,
    }
}

/// Whether every value of `from` is kept exactly when it is stored as `to`.
pub(crate) fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{Float32, Float64, Int32, Int64};
    from == to || matches!((from, to), (Int32, Int64 | Float64) | (Float32, Float64))
}

/// The SQL name of a type.
pub(crate) fn name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMP".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        other => other.to_string().to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_cut_to_its_precision() {
        let of = |p| column_type(&SqlType::Timestamp(p, TimezoneInfo::None)).unwrap().time_unit;
        assert_eq!([of(Some(0)), of(Some(3)), of(Some(6)), of(None)], [1_000_000, 1_000, 1, 1]);
        assert!(column_type(&SqlType::Timestamp(Some(9), TimezoneInfo::None)).is_err());
    }

    #[test]
    fn only_lossless_conversions_widen() {
        assert!(widens(&DataType::Int32, &DataType::Float64));
        assert!(!widens(&DataType::Int64, &DataType::Float64), "not every BIGINT is a DOUBLE");
        assert!(!widens(&DataType::Int32, &DataType::Float32), "not every INT is a FLOAT");
    }
}
