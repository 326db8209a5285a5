//! Functions that binding puts into a query for the planner to carry. Invariant: they are never evaluated; they count as volatile, so
//! that no rule moves or repeats them.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use thalweg_engine::plan::JoinKind;
use thalweg_engine::time::timestamp_type;

use crate::bind::{ASOF_INNER_MARKER, ASOF_MARKER, KEPT_MARKER, MARKERS, UNNEST_MARKER, VERSION_MARKER};

/// The marker of this name.
pub(super) fn function(name: &str) -> Option<Arc<ScalarUDF>> {
    let (name, result) = match MARKERS.iter().find(|m| **m == name) {
        Some(name) => (*name, timestamp_type()),
        None if name == ASOF_MARKER => (ASOF_MARKER, DataType::Boolean),
        None if name == ASOF_INNER_MARKER => (ASOF_INNER_MARKER, DataType::Boolean),
        None if name == KEPT_MARKER => (KEPT_MARKER, DataType::Boolean),
        None if name == VERSION_MARKER => (VERSION_MARKER, DataType::Boolean),
        None if name == UNNEST_MARKER => (UNNEST_MARKER, DataType::Boolean),
        None => return None,
    };
    let arguments = if [ASOF_INNER_MARKER, ASOF_MARKER, KEPT_MARKER].contains(&name) { 1 } else { 2 };
    let signature = Signature::any(arguments, Volatility::Volatile);
    Some(Arc::new(ScalarUDF::new_from_impl(Marker { name, result, signature })))
}

/// The time, part and number of a window's marker.
pub(super) fn window(expression: &Expr) -> Option<(&Expr, usize, usize)> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expression else { return None };
    let part = MARKERS.iter().position(|m| *m == func.name())?;
    let [time, Expr::Literal(ScalarValue::Int64(Some(number)), _)] = args.as_slice() else { return None };
    Some((time, part, usize::try_from(*number).ok()?))
}

/// The condition of an ASOF join, and its kind.
pub(super) fn asof(expression: &Expr) -> Option<(&Expr, JoinKind)> {
    let left = first_argument(expression, ASOF_MARKER).map(|condition| (condition, JoinKind::Left));
    left.or_else(|| Some((first_argument(expression, ASOF_INNER_MARKER)?, JoinKind::Inner)))
}

/// Whether a condition says anything of rows: it is neither that the columns of a window stay nor the version of a lookup.
pub(super) fn says(condition: &Expr) -> bool {
    let is_silent = |name: &str| [KEPT_MARKER, VERSION_MARKER].contains(&name);
    !matches!(condition, Expr::ScalarFunction(ScalarFunction { func, .. }) if is_silent(func.name()))
}

/// The time of a version.
pub(super) fn version(expression: &Expr) -> Option<&Expr> {
    first_argument(expression, VERSION_MARKER)
}

/// The list that is unnested.
pub(super) fn list(expression: &Expr) -> Option<&Expr> {
    first_argument(expression, UNNEST_MARKER)
}

fn first_argument<'e>(expression: &'e Expr, marker: &str) -> Option<&'e Expr> {
    match expression {
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == marker => args.first(),
        _ => None,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Marker {
    name: &'static str,
    result: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for Marker {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("the marker {} is not evaluated", self.name)
    }
}
