//! Numbers that a query writes down, on their way into a column. Invariant: they make it no harder to get there than in Flink, where
//! `1` is an INT while it is a BIGINT here; whatever does not fit all the same is rejected with its row, never cut.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::Expr;

use super::rel::Rel;
use crate::types;

/// Whether `expression` goes into a column of `wanted` but for the types of the numbers that are written in it.
pub(super) fn fit(expression: &Expr, wanted: &DataType, rel: &Rel<'_>) -> bool {
    let expression = expression.clone().unalias_nested().data;
    if let Expr::Literal(value, _) = &expression {
        return is_exact(value, wanted);
    }
    let type_of = |e: &Expr| rel.compile(e).ok()?.data_type(&rel.schema()).ok();
    let narrowed = expression.transform_up(|e| match e {
        Expr::Literal(ScalarValue::Int64(Some(number)), metadata) => Ok(match i32::try_from(number) {
            Ok(small) => Transformed::yes(Expr::Literal(ScalarValue::Int32(Some(small)), metadata)),
            Err(_) => Transformed::no(Expr::Literal(ScalarValue::Int64(Some(number)), metadata)),
        }),
        // Made by the planner, to meet a number.
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Int64 && type_of(&cast.expr).is_some_and(|t| is_small(&t)) => {
            Ok(Transformed::yes(*cast.expr))
        }
        other => Ok(Transformed::no(other)),
    });
    is_small(wanted) && narrowed.ok().and_then(|narrowed| type_of(&narrowed.data)).is_some_and(|t| types::widens(&t, wanted))
}

/// Whether a type of whole numbers is narrower than BIGINT.
fn is_small(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int8 | DataType::Int16 | DataType::Int32)
}

/// Whether a number is the same in a column of `wanted`; in a FLOAT it may have fewer digits.
fn is_exact(value: &ScalarValue, wanted: &DataType) -> bool {
    let own = value.data_type();
    let stays = || value.cast_to(wanted).and_then(|there| there.cast_to(&own)).is_ok_and(|back| back == *value);
    own.is_numeric() && wanted.is_numeric() && (*wanted == DataType::Float32 || stays())
}
