//! Column types of lake tables: the engine's Arrow types on one side, Delta's on the other. Invariant: rows are written only if
//! names and types equal the table's exactly; nothing is ever converted on the way, because a conversion can lose digits.
//!
//! ```text
//! STRING Utf8View · BYTES Binary · TIMESTAMP Timestamp(us, UTC) · DATE Date32 · DECIMAL(p, s) Decimal128 · BOOLEAN Boolean
//! DOUBLE Float64 · FLOAT Float32 · BIGINT Int64 · INT Int32 · SMALLINT Int16 · TINYINT Int8
//! ARRAY<t> List of item · MAP<STRING, t> Map of entries, key and value · ROW<n t, …> Struct     what is nested may be NULL
//!                                              and last, in the log only: date DATE, the partition, if there is one
//! ```
//!
//! Delta has no time of day: see `stored`.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use deltalake_core::kernel::{ArrayType, DataType as DeltaType, MapType, PrimitiveType, StructField, StructType};

use crate::batch::type_name;
use crate::error::{Error, Result};
use crate::time;

/// Name of the partition column, reserved.
pub(super) const DATE: &str = "date";

/// Characters that Delta does not allow in column names.
const FORBIDDEN: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// The name of a type in SQL; `None` if the lake cannot hold it.
pub(super) fn sql_name(data_type: &DataType) -> Option<String> {
    delta_type(data_type).map(|_| type_name(data_type))
}

/// The type in which the archive holds a declared column: a time of day is stored as text such as `13:45:00.5`.
pub(super) fn stored(data_type: &DataType) -> DataType {
    let within = |f: &FieldRef| Arc::new(f.as_ref().clone().with_data_type(stored(f.data_type())));
    match data_type {
        DataType::Time64(_) => DataType::Utf8View,
        DataType::List(item) => DataType::List(within(item)),
        DataType::Map(entries, sorted) => DataType::Map(within(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(within).collect()),
        other => other.clone(),
    }
}

fn delta_type(data_type: &DataType) -> Option<DeltaType> {
    Some(match data_type {
        DataType::Utf8View => DeltaType::STRING,
        DataType::Binary => DeltaType::BINARY,
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => DeltaType::TIMESTAMP,
        DataType::Date32 => DeltaType::DATE,
        DataType::Decimal128(precision, scale) => DeltaType::decimal(*precision, u8::try_from(*scale).ok()?).ok()?,
        DataType::Boolean => DeltaType::BOOLEAN,
        DataType::Float64 => DeltaType::DOUBLE,
        DataType::Float32 => DeltaType::FLOAT,
        DataType::Int64 => DeltaType::LONG,
        DataType::Int32 => DeltaType::INTEGER,
        DataType::Int16 => DeltaType::SHORT,
        DataType::Int8 => DeltaType::BYTE,
        DataType::List(item) if *item == list_item(item.data_type().clone()) => ArrayType::new(delta_type(item.data_type())?, true).into(),
        DataType::Map(entries, false) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 && *entries == map_entries(pair[1].data_type().clone()) => {
                MapType::new(DeltaType::STRING, delta_type(pair[1].data_type())?, true).into()
            }
            _ => return None,
        },
        DataType::Struct(fields) if fields.iter().all(|f| f.is_nullable() && is_name(f.name())) => {
            let fields = fields.iter().map(|f| Some(StructField::nullable(f.name(), delta_type(f.data_type())?)));
            StructType::try_new(fields.collect::<Option<Vec<_>>>()?).ok()?.into()
        }
        _ => return None,
    })
}

fn engine_type(data_type: &DeltaType) -> Option<DataType> {
    let primitive = match data_type {
        DeltaType::Primitive(primitive) => primitive,
        DeltaType::Array(array) => return Some(DataType::List(list_item(engine_type(array.element_type())?))),
        DeltaType::Map(map) if map.key_type == DeltaType::STRING => {
            return Some(DataType::Map(map_entries(engine_type(&map.value_type)?), false));
        }
        DeltaType::Struct(fields) => {
            let field = |f: &StructField| Some(Field::new(f.name(), engine_type(f.data_type())?, true));
            return Some(DataType::Struct(fields.fields().map(field).collect::<Option<_>>()?));
        }
        _ => return None,
    };
    Some(match primitive {
        PrimitiveType::String => DataType::Utf8View,
        PrimitiveType::Timestamp => time::timestamp_type(),
        PrimitiveType::Double => DataType::Float64,
        PrimitiveType::Float => DataType::Float32,
        PrimitiveType::Long => DataType::Int64,
        PrimitiveType::Integer => DataType::Int32,
        PrimitiveType::Short => DataType::Int16,
        PrimitiveType::Byte => DataType::Int8,
        PrimitiveType::Boolean => DataType::Boolean,
        PrimitiveType::Binary => DataType::Binary,
        PrimitiveType::Date => DataType::Date32,
        PrimitiveType::Decimal(decimal) => DataType::Decimal128(decimal.precision(), i8::try_from(decimal.scale()).ok()?),
        _ => return None,
    })
}

fn list_item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(data_type, true))
}

fn map_entries(value: DataType) -> FieldRef {
    let pair = vec![Field::new("key", DataType::Utf8View, false), Field::new("value", value, true)];
    Arc::new(Field::new("entries", DataType::Struct(pair.into()), false))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(FORBIDDEN)
}

/// Checks a new table's columns and gives them as Delta's. Errors: `Invalid` for a reserved,
/// repeated (case does not count) or malformed name, or a type that the lake cannot hold.
pub(super) fn to_delta(schema: &Schema) -> Result<Vec<StructField>> {
    let mut seen = std::collections::HashSet::from([DATE.to_owned()]);
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let name = field.name();
        if !is_name(name) {
            return Err(Error::invalid(format!("column {name:?} cannot be stored in the lake"))
                .hint("name it without spaces, commas, semicolons, brackets and '='"));
        }
        if !seen.insert(name.to_lowercase()) {
            let problem = if name.eq_ignore_ascii_case(DATE) { "is reserved for the partition" } else { "appears twice" };
            return Err(Error::invalid(format!("column '{name}' {problem}")).hint("give the column another name with AS"));
        }
        let delta_type = delta_type(field.data_type()).ok_or_else(|| {
            Error::invalid(format!("column '{name}' has type {}, which the lake cannot hold", type_name(field.data_type())))
                .hint("cast it to STRING, TIMESTAMP, DOUBLE, BIGINT, INT, BOOLEAN or BYTES")
        })?;
        columns.push(StructField::new(name, delta_type, field.is_nullable()));
    }
    if columns.is_empty() {
        return Err(Error::invalid("a lake table needs at least one column"));
    }
    Ok(columns)
}

/// The partition column.
pub(super) fn partition() -> StructField {
    StructField::nullable(DATE, DeltaType::DATE)
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
        format!("{} {}{null}", f.name(), sql_name(f.data_type()).unwrap_or_else(|| "of another type".to_owned()))
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
        let row = DataType::Struct(vec![Field::new("a", DataType::List(list_item(DataType::Utf8View)), true)].into());
        let types = [
            DataType::Utf8View,
            time::timestamp_type(),
            DataType::Float64,
            DataType::Float32,
            DataType::Int64,
            DataType::Int32,
            DataType::Int16,
            DataType::Int8,
            DataType::Boolean,
            DataType::Date32,
            DataType::Decimal128(38, 10),
            DataType::List(list_item(row.clone())),
            DataType::Map(map_entries(row.clone()), false),
            row,
        ];
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
            schema(&[("a", DataType::Time64(TimeUnit::Microsecond))]),
            schema(&[("a", DataType::List(list_item(DataType::Utf8)))]),
            schema(&[("a", DataType::List(Arc::new(Field::new("element", DataType::Int64, true))))]),
            schema(&[("a", DataType::Struct(vec![Field::new("b c", DataType::Int64, true)].into()))]),
            schema(&[("a", DataType::Timestamp(TimeUnit::Nanosecond, None))]),
            schema(&[]),
        ] {
            assert!(to_delta(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_of_day_are_stored_as_text_wherever_they_are() {
        let time = DataType::Time64(TimeUnit::Microsecond);
        assert_eq!(stored(&time), DataType::Utf8View);
        let nested = |t: DataType| DataType::Map(map_entries(DataType::List(list_item(t))), false);
        assert_eq!(stored(&nested(time)), nested(DataType::Utf8View));
        assert_eq!(stored(&nested(DataType::Int64)), nested(DataType::Int64));
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
