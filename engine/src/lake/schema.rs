//! Column types of lake tables: the engine's Arrow types on one side, Delta's on the other. Invariant: rows are written only if
//! names and types equal the table's exactly; nothing is ever converted on the way, because a conversion can lose digits.
//!
//! ```text
//! STRING Utf8View · TIMESTAMP Timestamp(us, UTC) · DOUBLE Float64 · FLOAT Float32 · BIGINT Int64 · INT Int32
//! BOOLEAN Boolean · BINARY Binary · DATE Date32         and last, in the log only: date DATE, the partition
//! ```

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use deltalake_core::kernel::{DataType as DeltaType, PrimitiveType, StructField, StructType};

use crate::error::{Error, Result};
use crate::time;

/// Name of the partition column, reserved.
pub(super) const DATE: &str = "date";

/// Characters that Delta does not allow in column names.
const FORBIDDEN: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// The name of a type in SQL; `None` if the lake cannot hold it.
pub(super) fn sql_name(data_type: &DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::Utf8View => "STRING",
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => "TIMESTAMP",
        DataType::Float64 => "DOUBLE",
        DataType::Float32 => "FLOAT",
        DataType::Int64 => "BIGINT",
        DataType::Int32 => "INT",
        DataType::Boolean => "BOOLEAN",
        DataType::Binary => "BINARY",
        DataType::Date32 => "DATE",
        _ => return None,
    })
}

fn delta_type(name: &str) -> DeltaType {
    match name {
        "TIMESTAMP" => DeltaType::TIMESTAMP,
        "DOUBLE" => DeltaType::DOUBLE,
        "FLOAT" => DeltaType::FLOAT,
        "BIGINT" => DeltaType::LONG,
        "INT" => DeltaType::INTEGER,
        "BOOLEAN" => DeltaType::BOOLEAN,
        "BINARY" => DeltaType::BINARY,
        "DATE" => DeltaType::DATE,
        _ => DeltaType::STRING,
    }
}

fn engine_type(data_type: &DeltaType) -> Option<DataType> {
    let DeltaType::Primitive(primitive) = data_type else { return None };
    Some(match primitive {
        PrimitiveType::String => DataType::Utf8View,
        PrimitiveType::Timestamp => time::timestamp_type(),
        PrimitiveType::Double => DataType::Float64,
        PrimitiveType::Float => DataType::Float32,
        PrimitiveType::Long => DataType::Int64,
        PrimitiveType::Integer => DataType::Int32,
        PrimitiveType::Boolean => DataType::Boolean,
        PrimitiveType::Binary => DataType::Binary,
        PrimitiveType::Date => DataType::Date32,
        _ => return None,
    })
}

/// Checks a new table's columns and gives them as Delta's, with the partition column last. Errors: `Invalid` for a reserved,
/// repeated (case does not count) or malformed name, or a type that the lake cannot hold.
pub(super) fn to_delta(schema: &Schema) -> Result<Vec<StructField>> {
    let mut seen = std::collections::HashSet::from([DATE.to_owned()]);
    let mut columns = Vec::with_capacity(schema.fields().len() + 1);
    for field in schema.fields() {
        let name = field.name();
        if name.is_empty() || name.contains(FORBIDDEN) {
            return Err(Error::invalid(format!("column {name:?} cannot be stored in the lake"))
                .hint("name it without spaces, commas, semicolons, brackets and '='"));
        }
        if !seen.insert(name.to_lowercase()) {
            let problem = if name.eq_ignore_ascii_case(DATE) { "is reserved for the partition" } else { "appears twice" };
            return Err(Error::invalid(format!("column '{name}' {problem}")).hint("give the column another name with AS"));
        }
        let type_name = sql_name(field.data_type()).ok_or_else(|| {
            Error::invalid(format!("column '{name}' has type {}, which the lake cannot hold", field.data_type()))
                .hint("cast it to STRING, TIMESTAMP, DOUBLE, BIGINT, INT, BOOLEAN or BINARY")
        })?;
        columns.push(StructField::new(name, delta_type(type_name), field.is_nullable()));
    }
    if columns.is_empty() {
        return Err(Error::invalid("a lake table needs at least one column"));
    }
    columns.push(StructField::nullable(DATE, DeltaType::DATE));
    Ok(columns)
}

/// The engine's columns of a Delta table without the partition column. Errors: `Invalid` if the table was not made by us.
pub(super) fn from_delta(schema: &StructType) -> Result<SchemaRef> {
    let mut fields = Vec::new();
    for field in schema.fields().filter(|f| f.name() != DATE) {
        let data_type = engine_type(field.data_type())
            .ok_or_else(|| Error::invalid(format!("column '{}' has a type that this lake does not write", field.name())))?;
        fields.push(Field::new(field.name(), data_type, field.is_nullable()));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The columns that readers see: the stored ones and the partition.
pub(super) fn with_date(columns: &Schema) -> SchemaRef {
    let date = Arc::new(Field::new(DATE, DataType::Date32, true));
    Arc::new(Schema::new(columns.fields().iter().cloned().chain([date]).collect::<Vec<_>>()))
}

/// Where two schemas differ, for a person; `None` if names, types and nullability are equal.
pub(super) fn difference(expected: &Schema, found: &Schema) -> Option<String> {
    let describe = |f: &Field| {
        let null = if f.is_nullable() { "" } else { " NOT NULL" };
        format!("{} {}{null}", f.name(), sql_name(f.data_type()).unwrap_or("of another type"))
    };
    let (want, have) = (expected.fields(), found.fields());
    for (w, h) in want.iter().zip(have.iter()) {
        if w.name() != h.name() || w.data_type() != h.data_type() || w.is_nullable() != h.is_nullable() {
            return Some(format!("expected column {}, found {}", describe(w), describe(h)));
        }
    }
    (want.len() != have.len()).then(|| format!("expected {} columns, found {}", want.len(), have.len()))
}

/// Whether `rows` may be written to a table of these columns. Errors: `Invalid`, naming the first column that differs or has a
/// NULL where none may be.
pub(super) fn check_rows(columns: &Schema, rows: &RecordBatch) -> Result<()> {
    let schema = rows.schema();
    let (want, have) = (columns.fields(), schema.fields());
    for (i, field) in want.iter().enumerate() {
        let found = have.get(i).map(|f| (f.name(), f.data_type()));
        if found != Some((field.name(), field.data_type())) {
            let found = found.map_or("nothing".to_owned(), |(name, t)| format!("'{name}' {t}"));
            return Err(Error::invalid(format!("column {i} must be '{}' {}, found {found}", field.name(), field.data_type())));
        }
        if !field.is_nullable() && rows.column(i).null_count() > 0 {
            return Err(Error::invalid(format!("column '{}' has NULL, but is NOT NULL", field.name())));
        }
    }
    if have.len() != want.len() {
        return Err(Error::invalid(format!("the table has {} columns, found {}", want.len(), have.len())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Float64Array, Int64Array};

    fn schema(fields: &[(&str, DataType)]) -> Schema {
        Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>())
    }

    #[test]
    fn columns_survive_the_way_to_delta_and_back() {
        let types = [DataType::Utf8View, time::timestamp_type(), DataType::Float64, DataType::Int64, DataType::Int32, DataType::Boolean];
        let mut fields: Vec<_> = types.iter().enumerate().map(|(i, t)| Field::new(format!("c{i}"), t.clone(), i % 2 == 0)).collect();
        fields.push(Field::new("b", DataType::Binary, true));
        let want = Schema::new(fields);
        let delta = StructType::try_new(to_delta(&want).unwrap()).unwrap();
        assert_eq!(*from_delta(&delta).unwrap(), want);
        assert_eq!(with_date(&want).fields().last().unwrap().name(), DATE);
    }

    #[test]
    fn names_and_types_that_would_break_readers_are_refused() {
        for bad in [
            schema(&[("Date", DataType::Int64)]),
            schema(&[("a", DataType::Int64), ("A", DataType::Int64)]),
            schema(&[("a b", DataType::Int64)]),
            schema(&[("a", DataType::Utf8)]),
            schema(&[("a", DataType::Timestamp(TimeUnit::Nanosecond, None))]),
            schema(&[]),
        ] {
            assert!(to_delta(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rows_of_another_type_are_never_coerced() {
        let table = schema(&[("a", DataType::Int64)]);
        let float = RecordBatch::try_from_iter([("a", Arc::new(Float64Array::from(vec![7.9])) as ArrayRef)]).unwrap();
        assert!(check_rows(&table, &float).unwrap_err().message().contains("'a'"));
        let renamed = RecordBatch::try_from_iter([("b", Arc::new(Int64Array::from(vec![7])) as ArrayRef)]).unwrap();
        assert!(check_rows(&table, &renamed).is_err());
        let not_null = Schema::new(vec![Field::new("a", DataType::Int64, false)]);
        let null = RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![None])) as ArrayRef)]).unwrap();
        assert!(check_rows(&not_null, &null).is_err());
        assert!(check_rows(&table, &null).is_ok());
    }
}
