//! SQL types and Arrow types. Invariant: each SQL type has exactly one Arrow type; whatever else DataFusion computes is turned into
//! one of them or refused.
//!
//! ```text
//! BOOLEAN -> Boolean      TINYINT -> Int8    FLOAT  -> Float32       STRING, VARCHAR  -> Utf8View
//! DATE    -> Date32       SMALLINT -> Int16  DOUBLE -> Float64       BYTES, VARBINARY -> Binary
//! TIME(p) -> Time64(µs)   INT -> Int32       DECIMAL(p, s)           ARRAY<t>        -> List
//! TIMESTAMP(p) -> µs, UTC BIGINT -> Int64      -> Decimal128(p, s)   MAP<STRING, t>  -> Map     ROW<n t, …> -> Struct
//! ```
//!
//! What is nested may be NULL; items of a list are called `item`, entries of a map have `key` and `value`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use sqlparser::ast::{DataType as SqlType, ExactNumberInfo, TimezoneInfo};
use thalweg_engine::batch::type_name;
use thalweg_engine::time::{Micros, timestamp_type};

use crate::parser::TypeName;

/// Precision of a `TIMESTAMP` that states none, in digits after the second.
const TIMESTAMP_PRECISION_DEFAULT: u64 = 6;
/// Precision of a `TIME` that states none.
const TIME_PRECISION_DEFAULT: u64 = 0;
/// Digits of a `DECIMAL` that states none.
const DECIMAL_PRECISION_DEFAULT: u64 = 10;
/// Most digits of a `DECIMAL`.
const DECIMAL_PRECISION_MAX: u64 = 38;
/// Every type, for hints.
const TYPES: &str = "types are STRING, BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p, s), DATE, TIME(p), \
    TIMESTAMP(p), BYTES, ARRAY<t>, MAP<STRING, t> and ROW<name t, …>";

/// Type of a declared column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnType {
    /// Arrow type.
    pub(crate) data_type: DataType,
    /// For times, nested ones included: unit that values are cut down to, in microseconds; 1 for all others.
    pub(crate) time_unit: Micros,
}

/// The type of a column declared as `declared`. Errors: what to write instead.
pub(crate) fn column_type(declared: &TypeName) -> Result<ColumnType, &'static str> {
    let mut unit = None;
    let data_type = declared_type(declared, &mut unit)?;
    Ok(ColumnType { data_type, time_unit: unit.unwrap_or(1) })
}

/// The Arrow type; `unit` gets that of the times in it, of which there is one.
fn declared_type(declared: &TypeName, unit: &mut Option<Micros>) -> Result<DataType, &'static str> {
    Ok(match declared {
        TypeName::Plain(sql) => {
            let digits = match time_precision(sql) {
                Some(digits) => Some(digits?),
                None => timestamp_precision(sql).transpose()?,
            };
            if let Some(of_this) = digits.filter(|d| *d <= 6).map(unit_of)
                && *unit.get_or_insert(of_this) != of_this
            {
                return Err("give all times of the column the same precision");
            }
            plain_type(sql)?
        }
        TypeName::Array(item) => list_of(declared_type(item, unit)?),
        TypeName::Map(key, value) => match declared_type(key, unit)? {
            DataType::Utf8View => map_of(declared_type(value, unit)?),
            _ => return Err("write MAP<STRING, …>: keys are texts"),
        },
        TypeName::Row(fields) => {
            let field = |(name, t): &(_, TypeName)| {
                let name: &sqlparser::ast::Ident = name;
                Ok(Field::new(&name.value, declared_type(t, unit)?, true))
            };
            DataType::Struct(fields.iter().map(field).collect::<Result<Fields, &'static str>>()?)
        }
    })
}

/// The Arrow type of a type without nested ones, in a query or a declaration. Errors: what to write instead.
pub(crate) fn plain_type(sql: &SqlType) -> Result<DataType, &'static str> {
    Ok(match sql {
        SqlType::String(None) | SqlType::Varchar(None) => DataType::Utf8View,
        SqlType::Boolean => DataType::Boolean,
        SqlType::TinyInt(None) => DataType::Int8,
        SqlType::SmallInt(None) => DataType::Int16,
        SqlType::Int(None) | SqlType::Integer(None) => DataType::Int32,
        SqlType::BigInt(None) => DataType::Int64,
        SqlType::Float(ExactNumberInfo::None) => DataType::Float32,
        SqlType::Double(ExactNumberInfo::None) | SqlType::DoublePrecision => DataType::Float64,
        SqlType::Decimal(digits) | SqlType::Numeric(digits) | SqlType::Dec(digits) => decimal_type(digits)?,
        SqlType::Date => DataType::Date32,
        SqlType::Bytes(None) | SqlType::Varbinary(None) => DataType::Binary,
        SqlType::Varchar(Some(_)) | SqlType::Char(_) | SqlType::Text | SqlType::String(Some(_)) => return Err("write STRING"),
        SqlType::Bytes(_) | SqlType::Varbinary(_) | SqlType::Binary(_) | SqlType::Blob(_) => return Err("write BYTES"),
        SqlType::Real => return Err("write FLOAT"),
        SqlType::Bool => return Err("write BOOLEAN"),
        SqlType::Datetime(_) => return Err("write TIMESTAMP(3)"),
        SqlType::Interval { .. } => return Err("an interval stands in expressions only: declare a BIGINT in a unit of your choice"),
        SqlType::JSON | SqlType::JSONB => return Err("write STRING, or ROW<…>"),
        SqlType::Array(_) => return Err("cast the values in it"),
        other => match (time_precision(other), timestamp_precision(other)) {
            (Some(Ok(_)), _) => time_type(),
            (_, Some(Ok(0..=6))) => timestamp_type(),
            (_, Some(Ok(_))) => return Err("the finest is TIMESTAMP(6), microseconds"),
            (Some(Err(hint)), _) | (_, Some(Err(hint))) => return Err(hint),
            (None, None) => return Err(TYPES),
        },
    })
}

fn decimal_type(digits: &ExactNumberInfo) -> Result<DataType, &'static str> {
    let (precision, scale) = match digits {
        ExactNumberInfo::None => (DECIMAL_PRECISION_DEFAULT, 0),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let hint = "write DECIMAL(p, s) with p from 1 to 38 and s from 0 to p";
    let precision = u8::try_from(precision).ok().filter(|p| (1..=DECIMAL_PRECISION_MAX).contains(&u64::from(*p))).ok_or(hint)?;
    let scale = i8::try_from(scale).ok().filter(|s| u8::try_from(*s).is_ok_and(|s| s <= precision)).ok_or(hint)?;
    Ok(DataType::Decimal128(precision, scale))
}

fn time_type() -> DataType {
    DataType::Time64(TimeUnit::Microsecond)
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

fn map_of(value: DataType) -> DataType {
    let pair = vec![Field::new("key", DataType::Utf8View, false), Field::new("value", value, true)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair.into()), false)), false)
}

/// Digits after the second of a `TIME(p)`; `None` if it is none.
pub(crate) fn time_precision(sql: &SqlType) -> Option<Result<u64, &'static str>> {
    match sql {
        SqlType::Time(digits, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => match digits.unwrap_or(TIME_PRECISION_DEFAULT) {
            digits @ 0..=6 => Some(Ok(digits)),
            _ => Some(Err("the finest is TIME(6), microseconds")),
        },
        SqlType::Time(..) => Some(Err("a time of day has no zone: write TIME(3)")),
        _ => None,
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

/// The Arrow type wherever a query names a type; `None` leaves it to DataFusion.
pub(crate) fn query_type(sql: &SqlType) -> Option<DataType> {
    match sql {
        SqlType::String(_) | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Text => Some(DataType::Utf8View),
        _ if timestamp_precision(sql).is_some() => Some(timestamp_type()),
        _ if time_precision(sql).is_some() => Some(time_type()),
        _ => plain_type(sql).ok(),
    }
}

/// The type in which a stream carries values that DataFusion computes as `data_type`; `None` if it cannot.
pub(crate) fn carried(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => data_type.clone(),
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 | DataType::Float32 => DataType::Float32,
        DataType::Float64 | DataType::Boolean | DataType::Date32 => data_type.clone(),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) | DataType::Decimal128(precision, scale)
            if *scale >= 0 =>
        {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Time32(_) | DataType::Time64(_) => time_type(),
        DataType::Timestamp(..) => timestamp_type(),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => list_of(carried(item.data_type())?),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 && carried(pair[0].data_type()) == Some(DataType::Utf8View) => {
                map_of(carried(pair[1].data_type())?)
            }
            _ => return None,
        },
        DataType::Struct(fields) => {
            let field = |f: &FieldRef| Some(Field::new(f.name(), carried(f.data_type())?, true));
            DataType::Struct(fields.iter().map(field).collect::<Option<Fields>>()?)
        }
        _ => return None,
    })
}

/// Whether every value of `from` is kept exactly when it is stored as `to`.
pub(crate) fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{Decimal128, Float32, Float64, Int8, Int16, Int32, Int64};
    let whole_digits = |t: &DataType| match t {
        Int8 => Some(3),
        Int16 => Some(5),
        Int32 => Some(10),
        Int64 => Some(19),
        _ => None,
    };
    match (from, to) {
        _ if from == to => true,
        (Int8, Int16 | Int32 | Int64 | Float32 | Float64) | (Int16, Int32 | Int64 | Float32 | Float64) => true,
        (Int32, Int64 | Float64) | (Float32, Float64) => true,
        (Decimal128(p, s), Decimal128(to_p, to_s)) => to_s >= s && i32::from(*to_p) - i32::from(*to_s) >= i32::from(*p) - i32::from(*s),
        (_, Decimal128(p, s)) => whole_digits(from).is_some_and(|digits| i32::from(*p) - i32::from(*s) >= digits),
        _ => false,
    }
}

/// The SQL of a column's type with the digits of its times, which are cut to whole multiples of `unit`, in microseconds.
pub(crate) fn declared_name(data_type: &DataType, unit: Micros) -> String {
    let digits = (0..=6).find(|&digits| unit_of(digits) <= unit).unwrap_or(6);
    match data_type {
        DataType::Timestamp(..) => format!("TIMESTAMP({digits})"),
        DataType::Time64(_) => format!("TIME({digits})"),
        other => name(other),
    }
}

/// The SQL of a type, which declares it.
pub(crate) fn name(data_type: &DataType) -> String {
    let name = type_name(data_type);
    // A type that SQL does not have keeps its Arrow name.
    if name == data_type.to_string() { name.to_uppercase() } else { name }
}

#[cfg(test)]
mod tests;
