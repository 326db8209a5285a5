//! The state of a sum of floating-point numbers: the sum, and the rest that it lacks. Invariant: what an earlier version kept, the sum
//! alone, goes on as a sum without a rest; so layouts and fingerprints call both by the type that they had then.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, RecordBatchOptions, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type, Schema, SchemaRef};
use arrow::error::ArrowError;

static FIELDS: LazyLock<Fields> =
    LazyLock::new(|| ["sum", "rest"].into_iter().map(|name| Field::new(name, DataType::Float64, true)).collect());

/// The type of the state.
pub fn float_sum() -> DataType {
    DataType::Struct(FIELDS.clone())
}

/// States of so many sums, each with its rest. Errors: there are more of one than of the other.
pub fn float_sums(sums: Vec<f64>, rests: Vec<f64>, nulls: Option<NullBuffer>) -> Result<StructArray, ArrowError> {
    StructArray::try_new(FIELDS.clone(), vec![Arc::new(Float64Array::from(sums)), Arc::new(Float64Array::from(rests))], nulls)
}

/// A column of states, of this version or an earlier one. Errors: it has another type.
pub fn as_float_sums(column: &ArrayRef) -> Result<StructArray, ArrowError> {
    if let Some(sums) = column.as_primitive_opt::<Float64Type>() {
        let rests = Arc::new(Float64Array::from(vec![0.0; sums.len()]));
        return StructArray::try_new(FIELDS.clone(), vec![column.clone(), rests], sums.nulls().cloned());
    }
    let sums = column.as_struct_opt().filter(|s| *s.fields() == *FIELDS);
    sums.cloned().ok_or_else(|| ArrowError::CastError(format!("{} is not the state of a sum", column.data_type())))
}

/// Rows from a snapshot of this version or an earlier one, with the columns of `schema`; if they differ in more than sums, as they are.
pub fn widened(rows: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let is_older = |(column, field): (&ArrayRef, &FieldRef)| *column.data_type() == DataType::Float64 && *field.data_type() == float_sum();
    if rows.num_columns() != schema.fields().len() || !rows.columns().iter().zip(schema.fields()).any(is_older) {
        return Ok(rows);
    }
    let column = |(column, field): (&ArrayRef, &FieldRef)| -> Result<ArrayRef, ArrowError> {
        if is_older((column, field)) { Ok(Arc::new(as_float_sums(column)?)) } else { Ok(column.clone()) }
    };
    let columns = rows.columns().iter().zip(schema.fields()).map(column).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

/// The columns of a state, with the types that tell whether it fits another.
pub(super) fn told(schema: &Schema) -> Fields {
    let field = |field: &FieldRef| match *field.data_type() == float_sum() {
        true => Arc::new(field.as_ref().clone().with_data_type(DataType::Float64)),
        false => field.clone(),
    };
    schema.fields().iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    fn schema(sum: DataType) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("key", DataType::Int64, true), Field::new("a0s0", sum, true)]))
    }

    #[test]
    fn sums_of_an_earlier_version_lack_nothing() {
        let (older, newer) = (schema(DataType::Float64), schema(float_sum()));
        let keys: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let sums: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.5), None]));
        let rows = RecordBatch::try_new(older.clone(), vec![keys.clone(), sums]).unwrap();
        let wide = widened(rows.clone(), &newer).unwrap();
        let want = float_sums(vec![0.5, 0.0], vec![0.0, 0.0], Some(NullBuffer::from(vec![true, false]))).unwrap();
        assert_eq!(wide, RecordBatch::try_new(newer.clone(), vec![keys, Arc::new(want)]).unwrap());
        assert_eq!(widened(wide.clone(), &newer).unwrap(), wide);
        assert_eq!(widened(rows.clone(), &older).unwrap(), rows);
        assert_eq!((told(&newer), told(&older)), (older.fields().clone(), older.fields().clone()));
        assert!(as_float_sums(rows.column(0)).unwrap_err().to_string().contains("Int64 is not the state of a sum"));
    }
}
