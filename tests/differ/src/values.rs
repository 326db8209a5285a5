//! Values as both sides give them. Invariant: values are compared as what they mean, not as the types that carry them; numbers with a
//! fraction may differ in their last digits.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use thalweg_engine::time::Micros;

/// How far numbers may differ, in parts of the larger one, or of 1 if that is larger.
const TOLERANCE: f64 = 1e-9;

/// A value.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum Value {
    /// NULL.
    Null,
    /// True or false.
    Truth(bool),
    /// A whole number.
    Whole(i64),
    /// A number with a fraction.
    Double(f64),
    /// A text.
    Text(String),
    /// A time.
    Time(Micros),
}

impl Value {
    /// Whether two right answers may be these.
    pub fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Double(a), Self::Double(b)) => {
                a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0)
            }
            (a, b) => a == b,
        }
    }

    /// A text that orders values of the same column; numbers with a fraction are all one.
    fn rank(&self) -> String {
        match self {
            Self::Double(_) => "d".to_owned(),
            other => format!("{other:?}"),
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => write!(f, "NULL"),
            Self::Truth(b) => write!(f, "{b}"),
            Self::Whole(n) => write!(f, "{n}"),
            Self::Double(x) => write!(f, "{x:?}"),
            Self::Text(t) => write!(f, "{t:?}"),
            Self::Time(t) => write!(f, "{}", crate::clock::plain(*t)),
        }
    }
}

/// A row.
pub type Row = Vec<Value>;

/// The rows of a batch. Errors: a type that no query of the grammar gives.
pub fn rows(batch: &RecordBatch) -> Result<Vec<Row>, ArrowError> {
    let mut rows: Vec<Row> = (0..batch.num_rows()).map(|_| Vec::with_capacity(batch.num_columns())).collect();
    for column in batch.columns() {
        let values = values(column)?;
        rows.iter_mut().zip(values).for_each(|(row, value)| row.push(value));
    }
    Ok(rows)
}

fn values(column: &dyn Array) -> Result<Vec<Value>, ArrowError> {
    let all = 0..column.len();
    let null = |i: usize, value: &dyn Fn(usize) -> Value| if column.is_null(i) { Value::Null } else { value(i) };
    Ok(match column.data_type() {
        DataType::Null => all.map(|_| Value::Null).collect(),
        DataType::Boolean => all.map(|i| null(i, &|i| Value::Truth(column.as_boolean().value(i)))).collect(),
        t if t.is_integer() => {
            let whole = cast(column, &DataType::Int64)?;
            all.map(|i| null(i, &|i| Value::Whole(whole.as_primitive::<Int64Type>().value(i)))).collect()
        }
        DataType::Decimal128(_, 0) | DataType::Decimal64(_, 0) => {
            let whole = cast(column, &DataType::Int64)?;
            all.map(|i| null(i, &|i| Value::Whole(whole.as_primitive::<Int64Type>().value(i)))).collect()
        }
        t if t.is_floating() => {
            let double = cast(column, &DataType::Float64)?;
            all.map(|i| null(i, &|i| Value::Double(double.as_primitive::<Float64Type>().value(i)))).collect()
        }
        DataType::Timestamp(..) => {
            let plain = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
            all.map(|i| null(i, &|i| Value::Time(plain.as_primitive::<TimestampMicrosecondType>().value(i)))).collect()
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let text = cast(column, &DataType::Utf8)?;
            all.map(|i| null(i, &|i| Value::Text(text.as_string::<i32>().value(i).to_owned()))).collect()
        }
        other => return Err(ArrowError::NotYetImplemented(format!("values of type {other}"))),
    })
}

/// Rows of `left` without a partner in `right`, and the other way round: empty if both are the same rows, in any order.
pub fn differences(left: &[Row], right: &[Row]) -> (Vec<Row>, Vec<Row>) {
    let key = |row: &Row| row.iter().map(Value::rank).collect::<Vec<_>>();
    let mut unmatched: std::collections::BTreeMap<Vec<String>, Vec<&Row>> = std::collections::BTreeMap::new();
    for row in right {
        unmatched.entry(key(row)).or_default().push(row);
    }
    let mut only_left = Vec::new();
    for row in left {
        let partners = unmatched.get_mut(&key(row));
        let agrees = |other: &&Row| row.len() == other.len() && row.iter().zip(other.iter()).all(|(a, b)| a.agrees(b));
        match partners.and_then(|p| p.iter().position(agrees).map(|i| p.swap_remove(i))) {
            Some(_) => {}
            None => only_left.push(row.clone()),
        }
    }
    (only_left, unmatched.into_values().flatten().cloned().collect())
}

/// A row as text.
pub fn shown(row: &Row) -> String {
    row.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(k: &str, x: f64) -> Row {
        vec![Value::Text(k.to_owned()), Value::Double(x)]
    }

    #[test]
    fn rows_are_compared_in_any_order_and_but_for_last_digits() {
        let left = [row("a", 0.1 + 0.2), row("b", 1.0), row("a", 7.0)];
        assert_eq!(differences(&left, &[row("a", 7.0), row("a", 0.3), row("b", 1.0)]), (vec![], vec![]));
        let (here, there) = differences(&left, &[row("a", 7.0), row("a", 7.0), row("b", 1.0)]);
        assert_eq!((here, there), (vec![row("a", 0.1 + 0.2)], vec![row("a", 7.0)]));
        assert_eq!(differences(&left[..1], &[]).0.len(), 1);
        assert_eq!(differences(&[vec![Value::Null]], &[vec![Value::Whole(0)]]).1.len(), 1);
    }
}
