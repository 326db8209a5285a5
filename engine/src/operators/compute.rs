//! Computed columns of a table. Invariant: a row for which an expression fails is named with the reason, alone, however rows were cut
//! into batches; every other row gets its value.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use crate::error::{Error, Result};
use crate::plan::{Computed, Scan};

/// A row that has no value, and why.
pub type Failure = (usize, String);

/// Computes one column of decoded rows.
#[derive(Debug)]
pub struct Compute {
    /// What is computed, for the reason of a failure.
    what: String,
    expression: Arc<dyn PhysicalExpr>,
    /// Positions of what it reads in the decoded rows.
    inputs: Vec<usize>,
    data_type: DataType,
}

impl Compute {
    /// Over rows that hold the columns `decoded` of `scan` first. Errors: `Internal` if one of its inputs is not among them.
    pub fn new(what: String, computed: &Computed, field: &FieldRef, decoded: &[usize]) -> Result<Self> {
        let position = |input: &usize| decoded.iter().position(|d| d == input);
        let inputs = computed.inputs.iter().map(position).collect::<Option<Vec<usize>>>();
        let inputs = inputs.ok_or_else(|| Error::internal(format!("{what} reads what is not decoded")))?;
        Ok(Self { what, expression: computed.expression.clone(), inputs, data_type: field.data_type().clone() })
    }

    /// The column at this index of `scan`, if it is computed.
    pub fn column(scan: &Scan, index: usize, decoded: &[usize]) -> Result<Option<Self>> {
        let column = &scan.columns[index];
        let new = |computed| Self::new(format!("column {}", column.field.name()), computed, &column.field, decoded);
        column.computed().map(new).transpose()
    }

    /// A value for each row; rows without one are NULL and added to `failures` in their order.
    pub fn evaluate(&self, rows: &RecordBatch, failures: &mut Vec<Failure>) -> Result<ArrayRef> {
        let mut parts = Vec::new();
        self.range(&rows.project(&self.inputs)?, 0, &mut parts, failures)?;
        match parts.as_slice() {
            [whole] => Ok(whole.clone()),
            _ => Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>())?),
        }
    }

    /// Evaluates `rows`, which begin at row `from`; if that fails, halves them until the rows that fail stand alone.
    fn range(&self, rows: &RecordBatch, from: usize, parts: &mut Vec<ArrayRef>, failures: &mut Vec<Failure>) -> Result<()> {
        let count = rows.num_rows();
        match self.expression.evaluate(rows).and_then(|value| value.into_array(count)) {
            Ok(array) if *array.data_type() == self.data_type => parts.push(array),
            Ok(array) => return Err(Error::internal(format!("{} is {}, not {}", self.what, array.data_type(), self.data_type))),
            // What fails whatever the row is, as `1 / 0` does, fails of none too.
            Err(_) if count == 0 => parts.push(new_null_array(&self.data_type, 0)),
            Err(error) if count == 1 => {
                failures.push((from, format!("{}: {}", self.what, Error::from(error).message())));
                parts.push(new_null_array(&self.data_type, count));
            }
            Err(_) => {
                let half = count / 2;
                self.range(&rows.slice(0, half), from, parts, failures)?;
                self.range(&rows.slice(half, count - half), from + half, parts, failures)?;
            }
        }
        Ok(())
    }
}

/// The same rows with columns behind theirs, which may be NULL.
pub fn widened(rows: &RecordBatch, columns: Vec<(FieldRef, ArrayRef)>) -> Result<RecordBatch> {
    let (fields, arrays): (Vec<FieldRef>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let fields = fields.into_iter().map(|f| Arc::new(f.as_ref().clone().with_nullable(true)));
    let schema = arrow::datatypes::Schema::new(rows.schema_ref().fields().iter().cloned().chain(fields).collect::<Vec<FieldRef>>());
    let columns = rows.columns().iter().cloned().chain(arrays).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{Field, Int64Type};
    use datafusion_common::ScalarValue;
    use datafusion_expr_common::operator::Operator;
    use datafusion_physical_expr::expressions::{BinaryExpr, Column, Literal};
    use proptest::prelude::*;

    use super::*;

    /// `100 / n`.
    fn hundred_by_n() -> Compute {
        let hundred = Arc::new(Literal::new(ScalarValue::Int64(Some(100))));
        let expression = Arc::new(BinaryExpr::new(hundred, Operator::Divide, Arc::new(Column::new("n", 0))));
        let computed = Computed { inputs: vec![4], expression, text: "100 / n".to_owned() };
        let field = Arc::new(Field::new("part", DataType::Int64, true));
        Compute::new("column part".to_owned(), &computed, &field, &[2, 4]).unwrap()
    }

    proptest! {
        #[test]
        fn exactly_the_rows_that_fail_are_named(values in prop::collection::vec(prop::option::of(0_i64..4), 0..40)) {
            let n: ArrayRef = Arc::new(Int64Array::from(values.clone()));
            let other: ArrayRef = Arc::new(Int64Array::from(vec![0; values.len()]));
            let rows = RecordBatch::try_from_iter([("other", other), ("n", n)]).unwrap();
            let mut failures = Vec::new();
            let got = hundred_by_n().evaluate(&rows, &mut failures).unwrap();
            let got: Vec<Option<i64>> = got.as_primitive::<Int64Type>().iter().collect();
            let want: Vec<Option<i64>> = values.iter().map(|v| v.and_then(|v| 100_i64.checked_div(v))).collect();
            prop_assert_eq!(got, want);
            let wrong: Vec<usize> = (0..values.len()).filter(|&i| values[i] == Some(0)).collect();
            prop_assert_eq!(failures.iter().map(|f| f.0).collect::<Vec<_>>(), wrong);
            prop_assert!(failures.iter().all(|f| f.1.starts_with("column part: ") && f.1.contains("ivide by zero")), "{:?}", failures);
        }
    }

    #[test]
    fn a_constant_needs_no_column_and_an_input_must_be_decoded() {
        let expression = Arc::new(Literal::new(ScalarValue::Int64(Some(7))));
        let field = Arc::new(Field::new("c", DataType::Int64, true));
        let constant = Computed { inputs: vec![], expression, text: "7".to_owned() };
        let rows = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]).unwrap();
        let got = Compute::new("c".to_owned(), &constant, &field, &[]).unwrap().evaluate(&rows, &mut Vec::new()).unwrap();
        assert_eq!(got.as_primitive::<Int64Type>().values().as_ref(), [7, 7]);
        let zero = Arc::new(Literal::new(ScalarValue::Int64(Some(0))));
        let expression = Arc::new(BinaryExpr::new(constant.expression.clone(), Operator::Divide, zero));
        let failing = Compute::new("c".to_owned(), &Computed { expression, ..constant.clone() }, &field, &[]).unwrap();
        for count in [0, 2] {
            let mut failures = Vec::new();
            let got = failing.evaluate(&rows.slice(0, count), &mut failures).unwrap();
            assert_eq!((got.len(), got.null_count(), failures.len()), (count, count, count), "no row fails that is not there");
        }
        let missing = Computed { inputs: vec![1], ..constant };
        assert!(Compute::new("c".to_owned(), &missing, &field, &[0]).is_err());
    }
}
