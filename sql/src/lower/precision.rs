//! Times on their way into a column of fewer digits. Invariant: digits are cut off, never rounded, as the decoder does it: a time
//! does not move into the next window or day by being stored.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Schema, TimestampMicrosecondType};
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use thalweg_engine::time::{Micros, timestamp_type};

/// `time`, cut down to whole multiples of `unit` microseconds.
pub(super) fn cut(time: Arc<dyn PhysicalExpr>, unit: Micros) -> Arc<dyn PhysicalExpr> {
    Arc::new(Cut { time, unit })
}

#[derive(Debug, Eq)]
struct Cut {
    time: Arc<dyn PhysicalExpr>,
    unit: Micros,
}

impl PartialEq for Cut {
    fn eq(&self, other: &Self) -> bool {
        self.time.eq(&other.time) && self.unit == other.unit
    }
}

impl Hash for Cut {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.time.hash(state);
        self.unit.hash(state);
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAST({} AS TIMESTAMP({}))", self.time, 6_u32.saturating_sub(self.unit.max(1).ilog10()))
    }
}

impl PhysicalExpr for Cut {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(timestamp_type())
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        self.time.nullable(input)
    }

    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.time.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let times = self.time.evaluate(batch)?.into_array(batch.num_rows())?;
        let unit = self.unit;
        // Only times before the years that can be written would not fit; they stay the earliest there is.
        let cut = |t: Micros| t.div_euclid(unit).saturating_mul(unit);
        let cut = times.as_primitive::<TimestampMicrosecondType>().unary::<_, TimestampMicrosecondType>(cut);
        Ok(ColumnarValue::Array(Arc::new(cut.with_data_type(timestamp_type()))))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.time]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(children.pop().map_or(self.clone(), |time| Arc::new(Self { time, unit: self.unit })))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, TimestampMicrosecondArray};
    use datafusion::physical_expr::expressions::Column;

    use super::*;

    #[test]
    fn digits_are_cut_off_also_before_1970() {
        let times = [Some(1_999_999), Some(-1), None, Some(Micros::MIN)];
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter(times).with_timezone("UTC"));
        let batch = RecordBatch::try_from_iter([("ts", column)]).unwrap();
        let expression = cut(Arc::new(Column::new("ts", 0)), 1_000);
        let got = expression.evaluate(&batch).unwrap().into_array(4).unwrap();
        assert_eq!(got.data_type(), &timestamp_type());
        let got: Vec<_> = got.as_primitive::<TimestampMicrosecondType>().iter().collect();
        assert_eq!(got, [Some(1_999_000), Some(-1_000), None, Some(Micros::MIN)]);
        assert_eq!(expression.to_string(), "CAST(ts@0 AS TIMESTAMP(3))");
    }
}
