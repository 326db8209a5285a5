//! Cells become a typed column. Invariant: every cell is the text of a value or nothing; what does not parse as the declared
//! type refuses the whole file, naming place, column, type and text.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, PrimitiveArray, StringViewBuilder};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::batch::type_name;
use crate::decimal;
use crate::error::{Error, Result};
use crate::time::{self, MILLISECOND, Micros};

/// Text of a value, none for NULL.
pub(super) type Cell<'a> = Option<Cow<'a, str>>;

/// A column of the declared type; `place` says where a row stands in the file, for messages. Errors: `Invalid`.
pub(super) fn column<'a>(field: &Field, cells: impl Iterator<Item = Cell<'a>>, place: &dyn Fn(usize) -> String) -> Result<ArrayRef> {
    let reader = Reader { field, place };
    match field.data_type() {
        DataType::Boolean => Ok(Arc::new(reader.collect::<bool, BooleanArray>(cells, boolean)?)),
        DataType::Int8 => reader.numbers::<Int8Type>(cells),
        DataType::Int16 => reader.numbers::<Int16Type>(cells),
        DataType::Int32 => reader.numbers::<Int32Type>(cells),
        DataType::Int64 => reader.numbers::<Int64Type>(cells),
        DataType::Float32 => reader.primitives::<Float32Type>(cells, |t| t.parse().ok().filter(|v: &f32| v.is_finite())),
        DataType::Float64 => reader.primitives::<Float64Type>(cells, |t| t.parse().ok().filter(|v: &f64| v.is_finite())),
        DataType::Decimal128(precision, scale) => {
            let scale = u32::try_from(*scale).map_err(|_| reader.unknown())?;
            reader.primitives::<Decimal128Type>(cells, |t| decimal::parse(t.as_bytes(), *precision, scale))
        }
        DataType::Date32 => reader.primitives::<Date32Type>(cells, |t| time::parse_date(t.as_bytes())),
        DataType::Time64(TimeUnit::Microsecond) => {
            reader.primitives::<Time64MicrosecondType>(cells, |t| time::parse_time_of_day(t.as_bytes()))
        }
        DataType::Utf8View => reader.texts(cells),
        DataType::Binary => {
            let bytes: Vec<Option<Vec<u8>>> = reader.collect(cells, |t| STANDARD.decode(t).ok())?;
            Ok(Arc::new(bytes.into_iter().collect::<BinaryArray>()))
        }
        time if *time == time::timestamp_type() => reader.primitives::<TimestampMicrosecondType>(cells, timestamp),
        _ => Err(reader.unknown()),
    }
}

struct Reader<'f> {
    field: &'f Field,
    place: &'f dyn Fn(usize) -> String,
}

impl Reader<'_> {
    fn collect<'a, T, A: FromIterator<Option<T>>>(
        &self,
        cells: impl Iterator<Item = Cell<'a>>,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<A> {
        let parsed = cells.enumerate().map(|(row, cell)| match cell {
            None => self.null(row),
            Some(text) => parse(text.trim()).map(Some).ok_or_else(|| {
                let shown: String = text.chars().take(40).collect();
                self.wrong(row, &format!("expected {}, found {shown:?}", type_name(self.field.data_type())))
            }),
        });
        parsed.collect()
    }

    fn numbers<'a, T: ArrowPrimitiveType<Native: FromStr>>(&self, cells: impl Iterator<Item = Cell<'a>>) -> Result<ArrayRef> {
        self.primitives::<T>(cells, |text| text.parse().ok())
    }

    fn primitives<'a, T: ArrowPrimitiveType>(
        &self,
        cells: impl Iterator<Item = Cell<'a>>,
        parse: impl Fn(&str) -> Option<T::Native>,
    ) -> Result<ArrayRef> {
        let values: Vec<Option<T::Native>> = self.collect(cells, parse)?;
        let array = PrimitiveArray::<T>::from_iter(values);
        Ok(Arc::new(array.with_data_type(self.field.data_type().clone())))
    }

    fn texts<'a>(&self, cells: impl Iterator<Item = Cell<'a>>) -> Result<ArrayRef> {
        let mut builder = StringViewBuilder::new();
        for (row, cell) in cells.enumerate() {
            match cell {
                Some(text) => builder.append_value(text),
                None => builder.append_option(self.null::<&str>(row)?),
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    fn null<T>(&self, row: usize) -> Result<Option<T>> {
        if self.field.is_nullable() { Ok(None) } else { Err(self.wrong(row, "declared NOT NULL, but has no value")) }
    }

    fn unknown(&self) -> Error {
        Error::invalid(format!("column {}: a reference table cannot hold {}", self.field.name(), type_name(self.field.data_type())))
    }

    fn wrong(&self, row: usize, what: &str) -> Error {
        Error::invalid(format!("{}, column {}: {what}", (self.place)(row), self.field.name()))
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// ISO or SQL form, or milliseconds since the epoch.
fn timestamp(text: &str) -> Option<Micros> {
    time::parse(text.as_bytes()).or_else(|| text.parse::<i64>().ok()?.checked_mul(MILLISECOND))
}
